// Keeps open pages right: a live part is asked for anew while somebody looks, and at once when they come back.
"use strict";

(() => {
  const EVERY_MS = 4000;
  let timer = 0;
  let last = Date.now();

  const refresh = (now) => {
    for (const part of document.querySelectorAll("[data-live]")) {
      // What costs more to read says how many seconds it may be old.
      const every = Number(part.dataset.every || 0) * 1000;
      if (now !== true && Date.now() - last < every) continue;
      last = Date.now();
      // Nobody's reading, writing or pressing is disturbed: not while a field in it has the focus.
      const active = document.activeElement;
      const writes = active && part.contains(active) && active.matches("input, textarea, select");
      if (!writes) part.dispatchEvent(new Event("refresh"));
    }
  };

  const watch = () => {
    clearInterval(timer);
    timer = 0;
    if (document.hidden) return;
    refresh(true);
    timer = setInterval(refresh, EVERY_MS);
  };

  document.addEventListener("visibilitychange", watch);
  document.addEventListener("DOMContentLoaded", () => {
    if (!document.hidden) timer = setInterval(refresh, EVERY_MS);
  });
  // What somebody has unfolded stays so.
  let unfolded = [];
  document.addEventListener("htmx:before:swap", () => {
    unfolded = Array.from(document.querySelectorAll("details[id][open]"), (each) => each.id);
  });
  document.addEventListener("htmx:after:swap", () => {
    for (const id of unfolded) document.getElementById(id)?.setAttribute("open", "");
  });
  // A form is sent once, however often its button is pressed.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    if (form.method === "post") form.dataset.sent = "yes";
  });
  window.addEventListener("pageshow", () => {
    for (const form of document.forms) delete form.dataset.sent;
  });
})();
