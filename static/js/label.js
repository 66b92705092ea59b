// Comfort for the labelling page: keys, the next pair in place, votes kept through a lost connection, active time.
// Without this file every button still works, by plain forms.
"use strict";
(() => {
  const HEARTBEAT_MS = 60_000;
  const IDLE_MS = 30_000;        // after that long without a key or a pointer the clock stands still
  const ABANDONED_MS = 300_000;  // after that long the page no longer holds its pair
  const RETRY_MS = 3_000;
  const BLIND_MS = 250;          // a vote this soon after a new pair was meant for the last one

  let shownAt = performance.now();
  let activeSeconds = 0;
  let lastActivity = performance.now();
  let sending = null;            // { url, body } until the server has it
  let chosen = null;

  const work = () => document.getElementById("work");
  const form = () => work().querySelector("form");
  const say = (words) => { document.getElementById("said").textContent = words; };
  const show = (state, words) => {
    const place = work().querySelector(".state");
    place.dataset.state = state;
    place.textContent = words;
  };

  // Time: seconds with the page in view and a sign of life in the last half minute.
  for (const kind of ["pointermove", "pointerdown", "keydown", "scroll", "touchmove"]) {
    addEventListener(kind, () => { lastActivity = performance.now(); }, { passive: true, capture: true });
  }
  setInterval(() => {
    if (document.visibilityState === "visible" && performance.now() - lastActivity < IDLE_MS) activeSeconds += 1;
  }, 1000);

  // Holding the pair
  const beat = async () => {  // says that this person is still at it
    const ticket = form().elements.ticket;
    if (!ticket || sending || document.visibilityState !== "visible") return;
    if (performance.now() - lastActivity > ABANDONED_MS) return;
    try {
      const answer = await fetch(work().dataset.heartbeat, { method: "POST", body: new FormData(form()) });
      if (answer.status === 409) show("failed", "Held by you no longer. Your vote is kept, and counts if a seat is free.");
    } catch { /* the vote itself will say that the connection is gone */ }
  };
  setInterval(beat, HEARTBEAT_MS);
  document.addEventListener("visibilitychange", () => { if (document.visibilityState === "visible") beat(); });

  // Sending. A vote is let go only when the server has it, or says that it never will.
  const cookie = (name) => document.cookie.split("; ").find((part) => part.startsWith(`${name}=`))?.slice(name.length + 1);
  const send = async () => {
    const mine = sending;
    // Signing in again, in another tab, makes a new token for forms.
    if (cookie("csrftoken")) mine.body.set("csrfmiddlewaretoken", cookie("csrftoken"));
    show("saving", "Saving…");
    work().setAttribute("aria-busy", "true");
    let answer;
    try {
      answer = await fetch(mine.url, { method: "POST", body: mine.body, headers: { "X-Fragment": "1" } });
      const text = await answer.text();
      if (answer.ok && !answer.redirected) {
        sending = null;
        return swap(text, mine);
      }
    } catch { answer = null; }
    if (sending !== mine) return;
    if (answer && !answer.redirected && answer.status < 500 && ![403, 408, 429].includes(answer.status)) return refused();
    const signedOut = answer && (answer.redirected || answer.status === 403);
    if (signedOut) show("failed", "You are signed out. Your vote is kept here: ");
    else show(answer ? "failed" : "offline", answer ? "Not saved yet. Trying again." : "Offline. Your vote is kept here and sent again.");
    if (signedOut) offer("sign in in a new tab", work().dataset.signIn, "_blank");
    say("Not saved yet. Trying again.");
    setTimeout(() => { if (sending === mine) send(); }, RETRY_MS);
  };
  addEventListener("online", () => { if (sending) send(); });
  addEventListener("beforeunload", (event) => { if (sending) event.preventDefault(); });

  const offer = (words, address, target = "") => {
    const link = document.createElement("a");
    Object.assign(link, { href: address, target, textContent: words });
    work().querySelector(".state").append(link);
  };
  const refused = () => {
    sending = null;
    work().removeAttribute("aria-busy");
    show("failed", "The server took no vote here. ");
    offer("Load the page again", location.href);
    say("The server took no vote here. Load the page again.");
  };

  const swap = (html, sent) => {
    const holder = document.createElement("template");
    holder.innerHTML = html;
    work().replaceWith(holder.content.querySelector("#work"));
    document.getElementById("progress").replaceChildren(work().querySelector("[data-progress]").content.cloneNode(true));
    activeSeconds = 0;
    chosen = null;
    shownAt = lastActivity = performance.now();
    dress();
    scrollTo(0, 0);
    work().querySelector("[data-focus]")?.focus({ preventScroll: true });
    const told = [...work().querySelectorAll("[data-say]")].map((notice) => notice.textContent);
    show("saved", sent.words);
    say([...told, `${sent.words}. ${form().elements.ticket ? "Next pair." : "Nothing is left."}`].join(" "));
  };

  const submit = (button) => {
    if (sending) return;
    const body = new FormData(form());
    if (button.name) body.set(button.name, button.value);
    body.set("active_seconds", String(activeSeconds));
    const url = button.formAction || form().action;
    sending = { url, body, words: /undo\/$/.test(url) ? "Taken back" : /skip\/$/.test(url) ? "Skipped" : "Saved" };
    send();
  };

  // A project that asks for more than one key marks the choice first and sends it with Enter.
  const choose = (button) => {
    chosen = button;
    for (const other of work().querySelectorAll(".choice")) other.setAttribute("aria-pressed", String(other === button));
    const next = work().querySelector("[data-next]");
    next.disabled = false;
    next.onclick = () => submit(chosen);
  };

  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (event.target !== form() || !button || "leave" in button.dataset) return;
    event.preventDefault();
    if ("asksMore" in form().dataset && button.classList.contains("choice")) choose(button);
    else submit(button);
  });

  // Keys. What is printed on a button is what presses it.
  const keysOn = document.getElementById("keys-on");
  try { keysOn.checked = localStorage.getItem("label-keys") !== "off"; } catch { /* private mode */ }
  keysOn.addEventListener("change", () => {
    try { localStorage.setItem("label-keys", keysOn.checked ? "on" : "off"); } catch { /* private mode */ }
  });

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("textarea, input:not([type=checkbox])");
    if (event.key === "Escape") return closeAll();
    if (typing && event.key === "Enter" && !event.shiftKey && chosen && typing.id === "reason") {
      event.preventDefault();
      return submit(chosen);
    }
    if (typing || !keysOn.checked || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" && event.target.closest("button, a, summary")) return;
    const target = find(event.key);
    if (!target) return;
    event.preventDefault();
    if (target.matches("textarea")) return target.focus();
    if (performance.now() - shownAt < BLIND_MS && target.closest(".choices")) return;
    target.click();
    if (target.matches("summary") && target.parentElement.id === "skip") target.focus();
  });

  const find = (key) => {
    const name = key.length === 1 ? key.toLowerCase() : key;
    const selector = `[data-key="${CSS.escape(name)}"]`;
    const skip = document.getElementById("skip");
    const button = (skip?.open && skip.querySelector(`.panel ${selector}`))
      || [...document.querySelectorAll(selector)].find((one) => !one.closest(".panel"));
    return button && !button.disabled && !button.hidden ? button : null;
  };

  const closeAll = () => {
    if (document.activeElement?.matches("textarea")) document.activeElement.blur();
    for (const drawer of document.querySelectorAll("details[open]")) {
      drawer.open = false;
      if (drawer.contains(document.activeElement)) drawer.querySelector("summary").focus();
    }
  };
  document.addEventListener("click", (event) => {
    const skip = document.getElementById("skip");
    if (skip?.open && !skip.contains(event.target)) skip.open = false;
    if (event.target.closest("[data-close]")) closeAll();
  });

  const dress = () => {
    for (const part of document.querySelectorAll("[data-needs-script]")) part.hidden = false;
    const earlier = work().querySelector(".choice[data-earlier]");
    if (earlier && "asksMore" in form().dataset) choose(earlier);
  };
  dress();
})();
