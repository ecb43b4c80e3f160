"use strict";
// The gallery of report and view. Pictures come with the images, or are asked for when a card comes into sight (gallery.panels).
const ORDERS = { quality: "least quality", miou: "worst IoU", confidence: "least confidence", agreement: "disagreement of stages", id: "name" };
const gallery = { images: [], classes: [], stages: [], shown: {}, class: "", sort: "quality", at: -1, opacity: 60, masks: true, panels: null, decorate: null, changed: null };
const percent = (value) => (value === null || value === undefined ? "unknown" : (100 * value).toFixed(1));
const className = (id) => gallery.classes.find((one) => one.id === id)?.name ?? (id === 255 ? "ignore" : String(id));

function swatch(id) {
  const box = made("span", { class: "swatch", "aria-hidden": "true" });
  box.style.setProperty("background-color", gallery.classes.find((one) => one.id === id)?.colour || "#808080");
  return box;
}

function chips(image) {
  const told = made("p", { class: "told" });
  for (const name of ["quality", "agreement", "confidence", "miou"]) {
    if (image[name] !== null && image[name] !== undefined) told.append(made("span", { class: "chip", text: (name === "miou" ? "mIoU" : name) + " " + percent(image[name]) }));
  }
  for (const id of image.classes) {
    const name = className(id), part = image.parts?.[name], iou = image.iou?.[name];
    const words = [name + (image.tags && !image.tags.includes(id) ? " (not tagged)" : "")];
    if (part && part.quality !== null) words.push("quality " + percent(part.quality));
    if (iou !== undefined) words.push("IoU " + percent(iou));
    told.append(made("span", { class: "chip" }, swatch(id), " " + words.join(", ")));
  }
  return told;
}

function describe(panel) {
  if (panel.missing) return panel.missing;
  const names = panel.layers.map((layer) => className(layer.class));
  return names.length ? names.join(", ") : "no class";
}

function fill(figure, image, panel) {
  const picture = figure.querySelector(".picture");
  for (const old of picture.querySelectorAll(".layer, .missing")) old.remove();
  if (panel.missing) picture.append(made("p", { class: "missing", text: panel.missing }));
  for (const layer of panel.layers) {
    const shown = made("img", { class: "layer" + (panel.stage.startsWith("affinity-labels") ? " pixels" : ""), alt: "", src: layer.source, "data-class": layer.class });
    shown.hidden = gallery.class !== "" && Number(gallery.class) !== layer.class;
    picture.append(shown);
  }
  picture.setAttribute("aria-label", panel.stage + " of " + image.id + ": " + describe(panel));
}

function figureOf(image, stage) {
  const picture = made("div", { class: "picture", role: "img", "aria-label": stage + " of " + image.id }, made("img", { alt: "", src: image.photo, loading: "lazy" }));
  const shape = (width, height) => picture.style.setProperty("aspect-ratio", width + " / " + height);
  const photo = picture.firstChild;
  if (image.width) shape(image.width, image.height);
  else { shape(4, 3); photo.addEventListener("load", () => shape(photo.naturalWidth, photo.naturalHeight)); }
  const figure = made("figure", { "data-stage": stage }, picture, made("figcaption", { text: stage }));
  figure.hidden = gallery.shown[stage] === false;
  return figure;
}

function card(image) {
  const panels = made("div", { class: "panels" }, figureOf(image, "image"), ...gallery.stages.map((stage) => figureOf(image, stage)));
  const element = made("article", { class: "card", tabindex: "-1", "data-id": image.id, "aria-label": image.id }, made("h3", { text: image.id }), chips(image), panels);
  if (gallery.decorate) gallery.decorate(element, image);
  element.addEventListener("focus", () => { gallery.at = [...$("gallery").children].indexOf(element); });
  for (const panel of image.panels || []) fill(element.querySelector('figure[data-stage="' + CSS.escape(panel.stage) + '"]'), image, panel);
  element.image = image;
  if (gallery.panels) watch.observe(element);
  return element;
}

const watch = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((one) => one.isIntersecting)) { watch.unobserve(entry.target); load(entry.target); }
}, { rootMargin: "200px" });

async function load(element) {
  const figures = [...element.querySelectorAll("figure:not([hidden])")].filter((figure) => figure.dataset.stage !== "image" && !figure.dataset.asked);
  if (!figures.length) return;
  for (const figure of figures) figure.dataset.asked = "yes";
  const drawn = await gallery.panels(element.image, figures.map((figure) => figure.dataset.stage));
  figures.forEach((figure, place) => fill(figure, element.image, drawn[place]));
}

function visible() {
  const value = (image) => (gallery.sort === "id" ? image.id : image[gallery.sort]);
  const first = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === y || (x == null && y == null)) return a.id < b.id ? -1 : 1;
    return x == null ? 1 : y == null ? -1 : x < y ? -1 : 1;
  };
  return gallery.images.filter((image) => gallery.class === "" || image.classes.includes(Number(gallery.class))).sort(first);
}

function showGallery(images, found) {
  gallery.at = -1;
  $("gallery").replaceChildren(...images.map(card));
  $("found").textContent = found;
}

function showAll() { const images = visible(); showGallery(images, images.length + " of " + gallery.images.length + " images"); }

function filterLayers() {
  for (const layer of document.querySelectorAll(".layer")) layer.hidden = gallery.class !== "" && layer.dataset.class !== gallery.class;
}

function opacity(value) {
  gallery.opacity = Math.min(Math.max(value, 0), 100);
  $("opacity").value = gallery.opacity;
  $("gallery").style.setProperty("--opacity", gallery.masks ? gallery.opacity / 100 : 0);
  $("toggle").setAttribute("aria-pressed", String(gallery.masks));
}

function move(step) {
  const cards = [...$("gallery").children];
  if (!cards.length) return;
  const next = Math.min(Math.max(gallery.at + step, 0), cards.length - 1);
  cards[next].focus();
  cards[next].scrollIntoView({ block: "nearest" });
}

const large = () => { const on = $("gallery").classList.toggle("large"); $("large").setAttribute("aria-pressed", String(on)); };
const masks = () => { gallery.masks = !gallery.masks; opacity(gallery.opacity); };
const deeds = { j: () => move(1), k: () => move(-1), "[": () => opacity(gallery.opacity - 10), "]": () => opacity(gallery.opacity + 10), o: masks, l: large, c: () => $("class").focus(), s: () => $("sort").focus(), "?": () => $("keys").showModal() };

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open || event.target.matches("select, textarea, input:not([type=checkbox])")) return;
  const deed = deeds[event.key];
  if (deed) { event.preventDefault(); deed(); }
}

function beginGallery() {
  const known = Object.keys(ORDERS).filter((name) => name === "id" || gallery.orders.includes(name));
  for (const name of known) $("sort").append(made("option", { value: name, text: ORDERS[name] }));
  gallery.sort = known[0];
  for (const one of gallery.classes) $("class").append(made("option", { value: one.id, text: one.name }));
  for (const stage of ["image", ...gallery.stages]) {
    const box = made("input", { type: "checkbox", checked: "", "data-stage": stage });
    box.addEventListener("change", () => {
      gallery.shown[stage] = box.checked;
      for (const figure of document.querySelectorAll('figure[data-stage="' + CSS.escape(stage) + '"]')) figure.hidden = !box.checked;
      if (gallery.panels) for (const element of $("gallery").children) watch.observe(element);
    });
    $("stages").append(made("label", {}, box, stage));
  }
  $("sort").addEventListener("change", () => { gallery.sort = $("sort").value; gallery.changed(); });
  $("class").addEventListener("change", () => { gallery.class = $("class").value; gallery.changed(); filterLayers(); });
  $("opacity").addEventListener("input", () => opacity(Number($("opacity").value)));
  $("toggle").addEventListener("click", masks);
  $("large").addEventListener("click", large);
  $("help")?.addEventListener("click", () => $("keys").showModal());
  document.addEventListener("keydown", onKey);
  opacity(gallery.opacity);
  themeSwitch();
  gallery.changed();
}
