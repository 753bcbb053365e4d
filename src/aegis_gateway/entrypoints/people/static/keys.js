// Keys for those who have their hands on them: `g` and a letter opens a page, `?` says which there are. They can be switched
// off, and are never taken from somebody who writes.
"use strict";

(() => {
  const OFF = "aegis-keys-off";
  const WAIT_MS = 1500;
  let begun = 0;

  const isOff = () => {
    try {
      return localStorage.getItem(OFF) === "yes";
    } catch {
      return false; // a browser that keeps nothing
    }
  };
  const keep = (off) => {
    try {
      if (off) localStorage.setItem(OFF, "yes");
      else localStorage.removeItem(OFF);
    } catch {
      // then they are as they were, next time
    }
  };

  const make = (name, text = "", attributes = {}) => {
    const element = document.createElement(name);
    element.textContent = text;
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };

  // The rows of the page's tables, each with the link that it leads to.
  const rows = () => Array.from(document.querySelectorAll("main tbody th a, main .card-link"));
  const move = (step) => {
    const all = rows();
    const at = all.indexOf(document.activeElement);
    const next = all[at < 0 ? (step > 0 ? 0 : all.length - 1) : at + step];
    next?.focus();
    next?.scrollIntoView({ block: "nearest" });
  };
  const first = () => document.querySelector("main form input:not([type=hidden]), main form select")?.focus();
  const views = () => document.querySelector("#views-menu")?.togglePopover?.();

  const acts = {
    j: [() => move(1), "next row"],
    k: [() => move(-1), "row before"],
    "/": [first, "to what is looked for"],
    v: [views, "saved views"],
    "?": [() => help().showModal(), "these keys"],
  };

  const line = (list, keys, words) => {
    const at = make("div");
    const term = make("dt");
    for (const key of keys) term.append(make("kbd", key), " ");
    at.append(term, make("dd", words));
    list.append(at);
  };
  const help = () => {
    let dialog = document.getElementById("keys");
    if (dialog) return dialog;
    dialog = make("dialog", "", { id: "keys", class: "over-page", "aria-labelledby": "keys-title" });
    const head = make("form", "", { method: "dialog", class: "row" });
    const title = make("h2", "Keys", { id: "keys-title" });
    head.append(title, make("button", "Close", { class: "quiet slim" }));
    const list = make("dl", "", { class: "keys" });
    for (const link of document.querySelectorAll("#menu a[data-key]")) line(list, ["g", link.dataset.key], link.textContent.trim());
    for (const [key, [, words]] of Object.entries(acts)) line(list, [key], words);
    const check = make("p", "", { class: "check" });
    const box = make("input", "", { type: "checkbox", id: "keys-on" });
    box.checked = !isOff();
    box.addEventListener("change", () => keep(!box.checked));
    check.append(box, make("label", "Keys are on in this browser (? always is)", { for: "keys-on" }));
    dialog.append(head, list, check);
    document.body.append(dialog);
    return dialog;
  };

  // What was in a dialog keeps the focus for a moment after it is closed.
  const writes = (target) =>
    target.closest?.("input, textarea, select, [contenteditable], dialog, :popover-open") && !target.closest("dialog:not([open])");
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (!document.getElementById("menu") || writes(event.target) || document.querySelector("dialog[open]")) return;
    if (isOff() && event.key !== "?") return;
    if (Date.now() - begun < WAIT_MS) {
      begun = 0;
      const link = document.querySelector(`#menu a[data-key="${CSS.escape(event.key)}"]`);
      if (link) {
        event.preventDefault();
        link.click();
        return;
      }
    }
    if (event.key === "g") {
      begun = Date.now();
      return;
    }
    const act = Object.hasOwn(acts, event.key) ? acts[event.key] : null;
    if (act) {
      event.preventDefault();
      act[0]();
    }
  });

  document.addEventListener("DOMContentLoaded", () => {
    const tools = document.querySelector(".top .tools");
    if (!tools) return;
    const button = make("button", "Keys ", { class: "quiet keys-button", type: "button" });
    button.append(make("kbd", "?"));
    button.addEventListener("click", () => help().showModal());
    tools.append(button);
  });
})();
