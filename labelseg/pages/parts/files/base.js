"use strict";
const $ = (id) => document.getElementById(id);
const kept = (name, otherwise) => { try { return JSON.parse(localStorage.getItem("labelseg." + name)) ?? otherwise; } catch { return otherwise; } };
const keep = (name, value) => { try { localStorage.setItem("labelseg." + name, JSON.stringify(value)); } catch { /* a private window */ } };

// Light, dark, or as the system has it: a switch goes round.
const THEMES = ["auto", "light", "dark"];
function theme(name) {
  if (name === "auto") document.documentElement.removeAttribute("data-theme"); else document.documentElement.setAttribute("data-theme", name);
  const button = $("theme");
  if (button) { button.textContent = "Colours: " + name; button.dataset.theme = name; }
}
function themeSwitch() {
  theme(THEMES.includes(kept("theme", "auto")) ? kept("theme", "auto") : "auto");
  $("theme")?.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf($("theme").dataset.theme) + 1) % THEMES.length];
    keep("theme", next);
    theme(next);
  });
}
function made(kind, values, ...inner) {
  const element = document.createElement(kind);
  for (const [name, value] of Object.entries(values || {})) {
    if (name === "class") element.className = value; else if (name === "text") element.textContent = value; else element.setAttribute(name, value);
  }
  element.append(...inner);
  return element;
}
