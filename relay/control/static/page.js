// Keeps an open page fresh: asks for the same page again and puts in what has changed.  Without it, reload.
"use strict";
(() => {
  const every = 3000, slow = 15000;

  // The page shows the time of whoever looks: the server learns the zone by a cookie.
  const zone = encodeURIComponent(Intl.DateTimeFormat().resolvedOptions().timeZone || "");
  const told = () => document.cookie.split("; ").includes(`relay_zone=${zone}`);
  if (zone && !told()) {
    document.cookie = `relay_zone=${zone}; Path=/; Max-Age=31536000; SameSite=Strict`;
    const elsewhere = -new Date().getTimezoneOffset() !== Number(document.documentElement.dataset.east);
    if (elsewhere && told() && document.querySelector("time")) location.replace(location.href.split("#")[0]);
  }

  // Beside what is to be typed elsewhere.  Over plain HTTP browsers have no navigator.clipboard.
  const selected = (node) => {
    const range = document.createRange();
    range.selectNodeContents(node);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    return document.execCommand("copy");
  };
  document.documentElement.classList.add("scripted");
  addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-show]"), field = button && document.getElementById(button.dataset.show);
    if (!field) return;
    const hidden = field.type === "password";
    field.type = hidden ? "text" : "password";
    button.setAttribute("aria-pressed", hidden);
  });
  addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-copy]"), node = button && document.getElementById(button.dataset.copy);
    if (!node) return;
    let done = false;
    try { await navigator.clipboard.writeText(node.textContent.trim()); done = true; } catch { done = selected(node); }
    if (done) button.textContent = button.dataset.copied;
  });

  // A link in a mail leads to the log-in page even who is logged in: browsers keep the cookie back on the way from elsewhere.
  const login = document.getElementById("login");
  if (login) {
    fetch(login.dataset.next, {headers: {accept: "text/html"}, cache: "no-store"}).then((answer) => {
      if (answer.ok && !new URL(answer.url).pathname.endsWith("/login")) location.replace(login.dataset.next);
    }).catch(() => {});
  }
  // Set-up has ended, and the relay starts in its place: whoever asks waits until it is there.
  const written = document.getElementById("written");
  if (written) {
    const next = written.dataset.next, pause = 4000;
    history.replaceState(null, "", next);  // a reload must not send the form again
    const go = () => fetch(next, {headers: {accept: "text/html"}, cache: "no-store"})
      .then(() => location.replace(next)).catch(() => setTimeout(go, pause));
    setTimeout(go, pause);
  }
  const live = document.getElementById("live");
  if (!live) return;
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
        const answer = await fetch(url, {
          credentials: "same-origin", cache: "no-store", headers: {accept: "text/html"}, signal: AbortSignal.timeout(10000),
        });
        if (!answer.ok) throw new Error(answer.status);
        if (answer.redirected && new URL(answer.url).pathname.endsWith("/login")) return location.replace(answer.url);
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

// The draft of the settings is checked while it is typed; a mistake leads to its line.
(() => {
  const form = document.querySelector("form[data-check]");
  if (!form) return;
  const text = form.querySelector("textarea"), said = document.getElementById("said"), pause = 700;
  let timer = 0, asking = null;

  const make = (name, words, kind) => {
    const one = document.createElement(name);
    if (kind) one.className = kind;
    one.textContent = words;
    return one;
  };

  const mistake = (one) => {
    const item = document.createElement("li"), link = make("a", form.dataset.at.replace("%l", one.line).replace("%c", one.column));
    link.href = "#text";
    link.dataset.line = one.line;
    link.dataset.column = one.column;
    item.append(link, ": ");
    if (one.path) item.append(make("code", one.path), ": ");
    item.append(one.text);
    const line = text.value.split("\n")[one.line - 1];
    if (line !== undefined) item.append(make("pre", line, "line-said"));
    return item;
  };

  const list = (kind, items) => {
    const all = document.createElement("ul");
    all.className = kind;
    all.append(...items);
    return all;
  };

  const check = async () => {
    asking?.abort();
    asking = new AbortController();
    try {
      const answer = await fetch(new URL(form.dataset.check, location.origin), {
        method: "POST", credentials: "same-origin", headers: {"Content-Type": "application/json"},
        body: JSON.stringify({text: text.value}), signal: asking.signal,
      });
      if (!answer.ok) throw new Error(answer.status);
      const {mistakes, remarks} = await answer.json();
      const parts = [mistakes.length ? list("mistakes", mistakes.map(mistake)) : make("p", form.dataset.fine, "fine")];
      if (remarks.length) parts.push(list("remarks", remarks.map((words) => make("li", words))));
      said.replaceChildren(...parts);
      document.getElementById("told")?.remove();  // of the draft before
    } catch (error) {
      if (error.name !== "AbortError") said.replaceChildren(make("p", form.dataset.away, "fine"));
    }
  };

  text.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(check, pause);
  });

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-line]");
    if (!link) return;
    event.preventDefault();
    const lines = text.value.split("\n"), line = Math.min(Math.max(link.dataset.line, 1), lines.length);
    const start = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
    const at = start + Math.min(Math.max(link.dataset.column - 1, 0), lines[line - 1].length);
    text.focus();
    text.setSelectionRange(at, start + lines[line - 1].length);
  });
})();
