"use strict";
// All that is said to the server may be sent again: each thing has a number of its own, and the server knows what it has.
const unique = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
const browser = (() => {
  try { const id = sessionStorage.getItem("labelseg.browser") || unique(); sessionStorage.setItem("labelseg.browser", id); return id; } catch { return unique(); }
})();
const who = new URLSearchParams(location.search).get("who") || "";
const state = { setup: null, now: null, busy: true, bare: false, since: null, hidden: false, zoom: kept("zoom", 8), overlay: kept("overlay", false), order: kept("order", "image") };
const pictures = new Map();

async function send(path, values, post) {
  const all = { browser, order: state.order, ...(who && { who }), ...values };
  for (let wait = 300; ; wait = Math.min(wait * 2, 5000)) {
    try {
      const reply = post
        ? await fetch("api/" + path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(all) })
        : await fetch("api/" + path + "?" + new URLSearchParams(all));
      const told = await reply.json().catch(() => ({ error: "The server says: " + reply.status }));
      if (reply.status !== 507 && reply.status < 500) return { ok: reply.ok, ...told };
      notice(told.error + " Trying again.");
    } catch { notice("The server cannot be reached. Nothing is lost; trying again. If it was started anew, open the address that it printed."); }
    await new Promise((go) => setTimeout(go, wait));
  }
}

const notice = (text) => { $("notice").textContent = text; };
const colour = (name) => state.setup.classes.find((one) => one.name === name)?.colour || "#000";

function picture(kind, number) {
  const address = kind + "/" + number;
  if (!pictures.has(address)) {
    if (pictures.size > 24) pictures.delete(pictures.keys().next().value);
    pictures.set(address, new Promise((done) => {
      const image = new Image();
      image.onload = () => done(image);
      image.onerror = () => { pictures.delete(address); done(null); };
      image.src = address;
    }));
  }
  return pictures.get(address);
}

// One thing at a time: what is pressed while an answer is on its way would be meant for a question that nobody has seen.
async function during(work) {
  if (state.busy) return;
  state.busy = true;
  document.body.setAttribute("aria-busy", "true");
  try { await show(await work()); } finally { state.busy = false; document.body.removeAttribute("aria-busy"); }
}

async function show(told) {
  notice(told.error || "");
  if (told.progress) progress(told.progress);
  if (!("question" in told)) return;
  state.now = told.question;
  const now = state.now;
  if (!now) {
    $("question").textContent = told.progress.done ? "All questions are answered. Thank you. Now: labelseg run" : "Nothing is left to take back.";
    if (told.progress.open) return show(await send("next", {}));
    buttons();
    draw();
    return;
  }
  [state.photo, state.mask] = await Promise.all([picture("photo", now.number), picture("mask", now.number)]);
  if (!state.photo) notice("The image " + now.image + " cannot be read. Look at others with the arrows.");
  words(now);
  buttons();
  draw();
  state.since = performance.now();
  state.hidden = document.hidden;
  if (now.number + 1 < state.setup.images) { picture("photo", now.number + 1); picture("mask", now.number + 1); }
}

function words(now) {
  const region = now.points.length > 0;
  const parts = [];
  if (now.guess) {
    parts.push(region ? "Is all of this " : "Is this ", swatch(now.guess), bold(now.guess), "?");
  } else parts.push(region ? "What is all of this?" : "What is in the ring?");
  const small = document.createElement("small");
  small.textContent = now.image + ", row " + now.place[0] + ", column " + now.place[1] + (region ? ", " + now.points.length + " pixels" : "")
    + (now.said ? ". Answered: " + (now.said.class ?? "cannot tell") : "") + (now.flagged ? ". Flagged" : "");
  $("question").replaceChildren(...parts, small);
  $("crop").setAttribute("aria-label", "Row " + now.place[0] + ", column " + now.place[1] + " of " + now.image + ", in a ring");
}

function swatch(name) { const box = document.createElement("span"); box.className = "swatch"; box.style.setProperty("background-color", colour(name)); return box; }
function bold(name) { const text = document.createElement("strong"); text.textContent = name; return text; }

function buttons() {
  const now = state.now;
  for (const id of ["unknown", "flag", "bare", "back", "forth", "find"]) $(id).disabled = !now;
  $("right").disabled = !now?.guess;
  $("right").lastChild.textContent = now?.points.length ? " all of it" : " right";
  $("mixed").hidden = !now?.points.length;
  $("flag").setAttribute("aria-pressed", String(Boolean(now?.flagged)));
  $("overlay").setAttribute("aria-pressed", String(state.overlay));
  for (const button of $("classes").querySelectorAll("button")) {
    button.disabled = !now;
    button.classList.toggle("guess", now?.guess === button.dataset.name);
    button.classList.toggle("said", now?.said?.class === button.dataset.name);
  }
}

function progress(told) {
  $("bar").value = told.total ? told.done / told.total : 0;
  const parts = [told.done.toLocaleString() + " of " + told.total.toLocaleString()];
  if (told.seconds !== null) parts.push(told.seconds.toFixed(1) + " s an answer");
  if (told.left) parts.push(told.left < 90 ? Math.ceil(told.left) + " s left" : Math.ceil(told.left / 60) + " min left");
  $("progress").textContent = parts.join(" · ");
}

function canvas(id) {
  const element = $(id), box = element.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
  const width = Math.max(1, Math.round(box.width * ratio)), height = Math.max(1, Math.round(box.height * ratio));
  if (element.width !== width || element.height !== height) { element.width = width; element.height = height; }
  const pen = element.getContext("2d");
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, width, height);
  return { pen, width, height, ratio };
}

function draw() {
  const crop = canvas("crop"), whole = canvas("whole"), now = state.now;
  if (!now || !state.photo) return;
  const [y, x] = [now.place[0] + 0.5, now.place[1] + 0.5], zoom = state.zoom * crop.ratio;
  const left = crop.width / 2 - x * zoom, top = crop.height / 2 - y * zoom;
  crop.pen.imageSmoothingEnabled = state.zoom < 3;
  paint(crop.pen, left, top, zoom);
  if (!state.bare) { if (now.points.length) outline(crop.pen, now.points, left, top, zoom, crop.ratio); else ring(crop.pen, crop.width / 2, crop.height / 2, Math.max(14 * crop.ratio, 1.6 * zoom), crop.ratio); }
  const fit = Math.min(whole.width / state.photo.width, whole.height / state.photo.height);
  const [a, b] = [(whole.width - state.photo.width * fit) / 2, (whole.height - state.photo.height * fit) / 2];
  whole.pen.imageSmoothingEnabled = true;
  paint(whole.pen, a, b, fit);
  if (!state.bare) {
    ring(whole.pen, a + x * fit, b + y * fit, 7 * whole.ratio, whole.ratio);
    const [w, h] = [crop.width / zoom, crop.height / zoom];
    double(whole.pen, whole.ratio, () => whole.pen.strokeRect(a + (x - w / 2) * fit, b + (y - h / 2) * fit, w * fit, h * fit));
  }
}

function paint(pen, left, top, zoom) {
  pen.drawImage(state.photo, left, top, state.photo.width * zoom, state.photo.height * zoom);
  if (state.overlay && !state.bare && state.mask) pen.drawImage(state.mask, left, top, state.photo.width * zoom, state.photo.height * zoom);
}

// Dark on light, so that it is seen on anything.
function double(pen, ratio, stroke) { for (const [style, width] of [["#000", 4], ["#fff", 1.6]]) { pen.strokeStyle = style; pen.lineWidth = width * ratio; stroke(); } }
function ring(pen, x, y, radius, ratio) { double(pen, ratio, () => { pen.beginPath(); pen.arc(x, y, radius, 0, 2 * Math.PI); pen.stroke(); }); }

function outline(pen, points, left, top, zoom, ratio) {
  const inside = new Set(points.map(([y, x]) => y + "," + x));
  double(pen, ratio, () => {
    pen.beginPath();
    for (const [y, x] of points) {
      const [l, t, r, b] = [left + x * zoom, top + y * zoom, left + (x + 1) * zoom, top + (y + 1) * zoom];
      if (!inside.has(y - 1 + "," + x)) { pen.moveTo(l, t); pen.lineTo(r, t); }
      if (!inside.has(y + 1 + "," + x)) { pen.moveTo(l, b); pen.lineTo(r, b); }
      if (!inside.has(y + "," + (x - 1))) { pen.moveTo(l, t); pen.lineTo(l, b); }
      if (!inside.has(y + "," + (x + 1))) { pen.moveTo(r, t); pen.lineTo(r, b); }
    }
    pen.stroke();
  });
}

const said = (values) => ({ question: state.now.id, nonce: unique(), ...values });
function answer(name) {
  if (!state.now) return;
  const ms = state.hidden || state.since === null ? null : Math.min(Math.round(performance.now() - state.since), 3600000);
  during(() => send("answer", said({ class: name, ms, ...(state.now.said && { instead: state.now.said.nonce }) }), true));
}
const right = () => { if (state.now?.guess) answer(state.now.guess); };
const mixed = () => { if (state.now?.points.length) during(() => send("mixed", said({}), true)); };
const undo = () => during(() => send("undo", { nonce: unique() }, true));
const flag = () => { if (state.now) during(() => send("flag", said({ on: !state.now.flagged }), true)); };
const move = (step) => { if (state.now) during(() => send("move", { question: state.now.id, step })); };
const zoom = (factor) => { state.zoom = Math.min(Math.max(state.zoom * factor, 0.25), 64); keep("zoom", state.zoom); draw(); };
const overlay = () => { state.overlay = !state.overlay; keep("overlay", state.overlay); buttons(); draw(); };
const bare = (on) => { if (state.bare !== on) { state.bare = on; draw(); } };
const find = (on) => { $("named").hidden = !on; $("name").value = ""; if (on) $("name").focus(); else $("name").blur(); };
const keyOf = (number) => (number < 10 ? String(number) : number < 20 ? "⇧" + (number - 10) : "");

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  if (event.target.id === "name") { if (event.key === "Escape") find(false); return; }
  if (event.target.tagName === "SELECT") return;
  const digit = /^(?:Digit|Numpad)([0-9])$/.exec(event.code);
  const number = digit ? Number(digit[1]) + (event.shiftKey ? 10 : 0) : -1;
  const onButton = event.target.tagName === "BUTTON" && event.key === "Enter" && event.target.id !== "right";
  if (onButton) return;
  const deeds = {
    Enter: right, s: () => answer(null), m: mixed, Backspace: undo, f: flag, o: overlay, b: () => bare(true), "/": () => find(true), "?": () => $("keys").showModal(),
    ArrowLeft: () => move(-1), ArrowRight: () => move(1), ArrowUp: () => move(-1), ArrowDown: () => move(1), "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8),
  };
  const name = digit ? state.setup?.classes[number]?.name : undefined;
  const deed = digit ? name !== undefined && (() => answer(name)) : deeds[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!deed) return;
  event.preventDefault();
  if (!event.repeat || ["+", "=", "-"].includes(event.key)) deed();
}

function listClasses() {
  state.setup.classes.forEach((one, number) => {
    const item = document.createElement("li"), button = document.createElement("button");
    if (keyOf(number)) { const key = document.createElement("kbd"); key.textContent = keyOf(number); button.append(key, " "); }
    button.append(swatch(one.name), " " + one.name);
    button.dataset.name = one.name;
    button.title = one.name;
    button.addEventListener("click", () => { button.blur(); answer(one.name); });
    item.append(button);
    $("classes").append(item);
    const option = document.createElement("option");
    option.value = one.name;
    $("names").append(option);
  });
}

function named(event) {
  event.preventDefault();
  const typed = $("name").value.trim().toLowerCase(), all = state.setup.classes.map((one) => one.name);
  const exact = all.filter((name) => name.toLowerCase() === typed), near = all.filter((name) => name.toLowerCase().startsWith(typed));
  const found = exact.length === 1 ? exact : near;
  if (typed && found.length === 1) { find(false); answer(found[0]); } else notice(found.length ? "Several classes begin so: " + found.join(", ") : "No class has that name.");
}

async function begin() {
  const deeds = { right, mixed, unknown: () => answer(null), undo, flag, overlay, back: () => move(-1), forth: () => move(1), nearer: () => zoom(1.25), farther: () => zoom(0.8), find: () => find($("named").hidden), help: () => $("keys").showModal() };
  for (const [id, deed] of Object.entries(deeds)) $(id).addEventListener("click", () => { $(id).blur(); deed(); });
  for (const kind of ["pointerdown", "pointerup", "pointerleave", "pointercancel"]) $("bare").addEventListener(kind, () => bare(kind === "pointerdown"));
  document.addEventListener("keydown", onKey);
  document.addEventListener("keyup", (event) => { if (event.key.toLowerCase() === "b") bare(false); });
  window.addEventListener("blur", () => bare(false));
  document.addEventListener("visibilitychange", () => { if (document.hidden) state.hidden = true; });
  $("crop").addEventListener("wheel", (event) => { event.preventDefault(); zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15); }, { passive: false });
  $("named").addEventListener("submit", named);
  $("order").value = state.order;
  $("order").addEventListener("change", () => { state.order = $("order").value; keep("order", state.order); $("order").blur(); during(() => send("next", {})); });
  new ResizeObserver(draw).observe($("views"));
  state.setup = await send("setup", {});
  document.title = state.setup.title + " · labelseg annotate";
  $("title").textContent = state.setup.title + ", " + state.setup.who;
  listClasses();
  state.busy = false;
  during(() => send("next", {}));
}
themeSwitch();
begin();
