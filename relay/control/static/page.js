// Keeps an open page fresh: asks for the same page again and puts in what has changed.  Without it, reload.
"use strict";
(() => {
  const every = 3000, slow = 15000;
  const live = document.getElementById("live");
  const url = new URL(location.href);
  if (url.searchParams.has("done")) {  // what was said once is not said again after a reload
    url.searchParams.delete("done");
    url.searchParams.delete("n");
    history.replaceState(null, "", url);
  }
  if (!document.querySelector("[data-live]")) return;  // nothing on this page changes by itself
  let fails = 0;

  let pressed = false;
  for (const [name, down] of [["pointerdown", true], ["pointerup", false], ["pointercancel", false]]) {
    addEventListener(name, () => { pressed = down; }, true);
  }

  // A choice that somebody is making must not be taken from under their hands.
  const busy = (part) => pressed || part.querySelector("input:checked, select:focus") !== null
    || [...part.querySelectorAll("select")].some((one) => one.selectedIndex > 0);

  const shape = (part) => part.innerHTML.replace(/(<time[^>]*>)[^<]*/g, "$1");

  const tick = (part, next) => {
    const fresh = next.querySelectorAll("time");
    part.querySelectorAll("time").forEach((one, number) => {
      if (one.textContent !== fresh[number].textContent) one.textContent = fresh[number].textContent;
    });
  };

  // How to find again what had the focus.
  const focused = (part) => {
    const one = document.activeElement;
    if (!one || !part.contains(one)) return null;
    if (one.id) return "#" + CSS.escape(one.id);
    if (one.matches("details[id] > summary")) return `#${CSS.escape(one.parentElement.id)} > summary`;
    for (const name of ["href", "value"]) {
      if (one.hasAttribute(name)) return `${one.localName}[${name}="${CSS.escape(one.getAttribute(name))}"]`;
    }
    return null;
  };

  const say = (ok) => {
    live.classList.toggle("off", !ok);
    const text = ok ? live.dataset.on : live.dataset.off;
    if (live.textContent !== text) live.textContent = text;
  };

  const put = (fresh) => {
    for (const part of document.querySelectorAll("[data-live]")) {
      const next = fresh.querySelector(`[data-live="${CSS.escape(part.dataset.live)}"]`);
      if (!next) continue;
      const wanted = shape(next);
      part.shape ??= shape(part).replaceAll(' open=""', "");
      if (wanted === part.shape) {
        tick(part, next);
      } else if (!busy(part)) {
        part.shape = wanted;
        const open = [...part.querySelectorAll("details[open]")].map((one) => one.id), focus = focused(part);
        part.replaceChildren(...next.childNodes);
        part.className = next.className;
        for (const id of open) document.getElementById(id)?.setAttribute("open", "");
        if (focus) part.querySelector(focus)?.focus({preventScroll: true});
      }
    }
  };

  const ask = async () => {
    if (!document.hidden) {
      try {
        const answer = await fetch(url, {credentials: "same-origin", cache: "no-store", signal: AbortSignal.timeout(10000)});
        if (!answer.ok) throw new Error(answer.status);
        put(new DOMParser().parseFromString(await answer.text(), "text/html"));
        fails = 0;
      } catch {
        fails += 1;
      }
      say(fails < 2);
    }
    setTimeout(ask, fails > 3 ? slow : every);
  };

  say(true);
  setTimeout(ask, every);
})();
