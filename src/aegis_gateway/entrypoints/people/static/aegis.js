// Keeps open pages right. A living part is asked for anew as soon as the gateway says that something has changed
// (server-sent events); where that can't be heard, every few seconds. Nothing is asked for, or listened to, while nobody
// looks: a page that is left open in the background costs nothing.
"use strict";

(() => {
  const SOON_MS = 400; // Between two askings for a part, however much changes;
  const TIMES = 10; // and so many times as long as it took to read, so that pages take little from calls.
  const POLL_MS = 4000; // Where changes aren't told.
  const TIDY_MS = 15000; // Where they are: for what only the clock changes.
  const SILENT_MS = 40000; // A line on which nothing is heard for so long is none; it beats every 15 s.
  const AGAIN_MS = 30000; // After how long one that was refused is tried again.
  const PRESSED_MS = 3000; // Nobody presses longer; where they let go may not be heard of.
  const STUCK_MS = 20000; // An answer isn't waited for longer.

  const parts = new Map(); // By id, because a part may be put in another's place: when it was asked for last, and so on.
  let source = null;
  let heard = 0;
  let tried = 0;
  let planned = 0;
  let pressed = 0;
  let paused = false;

  const told = () => source !== null && Date.now() - heard < SILENT_MS;
  const all = () => document.querySelectorAll("[data-live]");
  const of = (part) => {
    if (!parts.has(part.id)) parts.set(part.id, { asked: Date.now(), wants: false, waits: 0, took: 0 });
    return parts.get(part.id);
  };

  // Nobody's writing or pressing is disturbed.
  const isDisturbed = (part) => {
    const active = document.activeElement;
    const writes = active && part.contains(active) && active.matches("input, textarea, select");
    return writes || Date.now() - pressed < PRESSED_MS;
  };

  // Asks for what is wanted and may be asked for, and comes back when the next may be.
  const ask = () => {
    clearTimeout(planned);
    if (document.hidden || paused) return;
    const now = Date.now();
    let next = Infinity;
    for (const part of all()) {
      const state = of(part);
      if (!state.wants || now - state.waits < STUCK_MS) continue;
      const due = state.asked + Math.max(SOON_MS, TIMES * state.took);
      if (due > now || isDisturbed(part)) {
        next = Math.min(next, Math.max(due, now + SOON_MS));
        continue;
      }
      state.wants = false;
      state.asked = state.waits = now;
      part.dispatchEvent(new Event("refresh"));
    }
    if (next < Infinity) planned = setTimeout(ask, next - now);
  };

  const want = () => {
    for (const part of all()) of(part).wants = true;
    ask();
  };

  const answered = (event) => {
    const state = parts.get(event.detail?.ctx?.sourceElement?.id);
    if (!state) return;
    const timing = event.detail.ctx.response?.headers?.get("server-timing") ?? "";
    state.waits = 0;
    state.took = Number(/dur=([0-9.]+)/.exec(timing)?.[1] ?? 0);
    ask();
  };

  const listen = () => {
    const [first, ...others] = all();
    tried = Date.now();
    heard = 0;
    const tenant = others.length ? "" : first.dataset.tenant || "";
    source = new EventSource(tenant ? `/live?tenant=${encodeURIComponent(tenant)}` : "/live");
    const hear = (what) => () => {
      heard = Date.now();
      what();
      show();
    };
    source.addEventListener("changed", hear(want));
    source.addEventListener("beat", hear(() => {}));
    source.addEventListener("over", () => {
      leave();
      want();
    });
    source.addEventListener("error", () => {
      heard = 0;
      if (source?.readyState === EventSource.CLOSED) leave();
      show();
    });
  };

  const leave = () => {
    source?.close();
    source = null;
    heard = 0;
  };

  // Once a second: what is due by time alone, and whether the line still works.
  const look = () => {
    if (document.hidden || paused || !all().length) return;
    const now = Date.now();
    if (source && now - Math.max(heard, tried) > SILENT_MS) leave();
    if (!source && now - tried > AGAIN_MS) listen();
    for (const part of all()) {
      const state = of(part);
      // Some of what is shown isn't told of.
      const each = told() && !("poll" in part.dataset) ? TIDY_MS : POLL_MS;
      if (now - state.asked >= each) state.wants = true;
    }
    ask();
    show();
  };

  // Says how the page is kept right, and lets whoever reads stop it.
  const show = () => {
    const sign = document.getElementById("live");
    if (!sign || !all().length) return;
    const how = paused ? "paused" : told() ? "live" : "slow";
    const mayBeLive = source && !sign.dataset.how && Date.now() - tried < POLL_MS;
    if (sign.dataset.how === how || (how === "slow" && mayBeLive)) return;
    sign.dataset.how = how;
    sign.hidden = false;
    sign.querySelector("span").textContent = { paused: "Paused", live: "Live", slow: "Every few seconds" }[how];
    sign.querySelector("button").textContent = paused ? "Go on" : "Pause";
  };

  const watch = () => {
    if (document.hidden || paused || !all().length) {
      leave();
    } else {
      if (!source) listen();
      want();
    }
    show();
  };

  document.addEventListener("visibilitychange", watch);
  document.addEventListener("htmx:finally:request", answered);
  document.addEventListener("pointerdown", () => { pressed = Date.now(); });
  for (const end of ["pointerup", "pointercancel", "dragend"]) document.addEventListener(end, () => { pressed = 0; });
  document.addEventListener("DOMContentLoaded", () => {
    if (!all().length) return;
    for (const part of all()) of(part);
    if (!document.hidden) listen();
    show();
    setInterval(look, 1000);
    document.querySelector("#live button")?.addEventListener("click", () => {
      paused = !paused;
      watch();
    });
  });
  window.addEventListener("pagehide", leave);
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) watch();
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
