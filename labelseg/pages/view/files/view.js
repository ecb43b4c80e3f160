"use strict";
const NAMES = { good: "good", bad: "bad", fix: "to fix" };
const view = { page: 0, pages: 1, busy: 0 };
const notice = (text) => { $("notice").textContent = text || ""; };

async function ask(path, body) {
  view.busy += 1;
  try {
    const reply = await fetch(path, body ? { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) } : {});
    const told = await reply.json();
    if (told.error) notice(told.error);
    return told;
  } catch { notice("The server cannot be reached. Open the address that labelseg printed."); return { error: "unreachable" }; } finally { view.busy -= 1; }
}

function lists(counts) {
  $("lists").replaceChildren(...Object.entries(counts).map(([mark, count]) => made("a", { href: "list/" + mark + ".txt", download: mark + ".txt", text: count.toLocaleString() + " " + NAMES[mark] + " (list)" })));
}

async function showPage() {
  const asked = new URLSearchParams({ sort: gallery.sort, class: gallery.class, mark: $("mark").value, page: view.page });
  const told = await ask("api/images?" + asked);
  if (told.error) return;
  [view.page, view.pages] = [told.page, told.pages];
  showGallery(told.images, told.found.toLocaleString() + " of " + view.total.toLocaleString() + " images");
  $("page").textContent = "page " + (told.page + 1) + " of " + told.pages;
  $("before").disabled = told.page === 0;
  $("after").disabled = told.page + 1 >= told.pages;
  lists(told.marks);
}

function buttons(element) {
  for (const button of element.querySelectorAll(".marks button")) button.setAttribute("aria-pressed", String(button.dataset.mark === element.image.mark));
}

async function mark(element, name) {
  const told = await ask("api/mark", { number: element.image.number, mark: element.image.mark === name ? null : name });
  if (told.error) return;
  notice("");
  element.image.mark = told.mark;
  buttons(element);
  lists(told.marks);
}

function decorate(element, image) {
  element.image = image;
  const group = made("div", { class: "marks", role: "group", "aria-label": "Mark " + image.id });
  for (const name of Object.keys(NAMES)) {
    const button = made("button", { type: "button", "data-mark": name, "aria-keyshortcuts": name[0] }, made("kbd", { text: name[0] }), " " + NAMES[name]);
    button.addEventListener("click", () => mark(element, name));
    group.append(button);
  }
  element.querySelector(".told").after(group);
  buttons(element);
}

const marked = (name) => () => { const element = $("gallery").children[gallery.at]; if (element) mark(element, name); else notice("Choose an image first: j"); };
const turn = (step) => () => { const next = view.page + step; if (next >= 0 && next < view.pages) { view.page = next; showPage().then(() => window.scrollTo(0, 0)); } };

async function begin() {
  const told = await ask("api/setup");
  if (told.error) return;
  view.total = told.images;
  document.title = told.title + " · labelseg view";
  $("title").textContent = told.title;
  const troubles = [...told.troubles];
  if (told.unknown) troubles.push("The quality of " + told.unknown.toLocaleString() + " images is not known; measure it: labelseg quality");
  notice(troubles.join(" "));
  Object.assign(deeds, { g: marked("good"), b: marked("bad"), f: marked("fix"), n: turn(1), p: turn(-1) });
  $("after").addEventListener("click", turn(1));
  $("before").addEventListener("click", turn(-1));
  $("mark").addEventListener("change", () => { view.page = 0; showPage(); });
  const panels = async (image, stages) => {
    const drawn = await ask("api/panels/" + image.number + "?" + new URLSearchParams(stages.map((stage) => ["stage", stage])));
    return drawn.error ? stages.map((stage) => ({ stage, layers: [], missing: drawn.error })) : drawn.panels;
  };
  let before = "";
  const changed = () => { const now = gallery.sort + "/" + gallery.class; if (now !== before) view.page = 0; before = now; return showPage(); };
  Object.assign(gallery, { classes: told.classes, stages: told.stages, orders: told.orders, decorate, panels, changed });
  beginGallery();
}
begin();
