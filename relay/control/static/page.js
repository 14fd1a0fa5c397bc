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
  let fails = 0;

  const busy = (part) => part.contains(document.activeElement) && document.activeElement.matches("select, input, button, summary")
    || part.querySelector("input:checked") !== null;

  const say = (ok) => {
    live.classList.toggle("off", !ok);
    const text = ok ? live.dataset.on : live.dataset.off;
    if (live.textContent !== text) live.textContent = text;
  };

  const put = (fresh) => {
    for (const part of document.querySelectorAll("[data-live]")) {
      const next = fresh.querySelector(`[data-live="${CSS.escape(part.dataset.live)}"]`);
      if (!next || next.innerHTML === part.shown || busy(part)) continue;
      part.shown = next.innerHTML;
      const open = [...part.querySelectorAll("details[open]")].map((one) => one.id);
      part.replaceChildren(...next.childNodes);
      part.className = next.className;
      for (const id of open) {
        const one = document.getElementById(id);
        if (one) one.open = true;
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
