// Comfort for the labelling page: keys, the next pair at once, votes and drafts kept through what may happen, active time.
// Without this file every button still works, by plain forms.
"use strict";
(() => {
  const HEARTBEAT_MS = 60_000;
  const IDLE_MS = 30_000;        // after that long without a key or a pointer the clock stands still
  const ABANDONED_MS = 300_000;  // after that long the page no longer holds its pair
  const RETRY_MS = 3_000;
  const STILL_HELD = 0.8;        // of the time of a lease: a pair ahead not heard of for longer may be another's by now
  const BLIND_MS = 250;          // a vote this soon after a new pair was meant for the last one
  const NOT_DRAFTED = ["csrfmiddlewaretoken", "ticket", "active_seconds", "choice"];

  const words = document.getElementById("words").dataset;
  const outbox = [];             // { url, body, words, kind, of } in order, each until the server has it
  let given = false;             // the pair in view has been voted on, and no other is here yet
  let ahead = null;              // the next pair, ready to be shown
  let aheadHeldAt = 0;           // when the server last said so, by the wall clock: laptops sleep
  let chosen = null;
  let paused = false;
  let shownAt = performance.now();
  let activeSeconds = 0;
  let lastActivity = performance.now();
  let dozing = false;            // told that the pair will not be held for ever

  const work = () => document.getElementById("work");
  const form = () => work().querySelector("form");
  const ticketOf = (section) => section?.querySelector("[name=ticket]")?.value;
  const say = (text) => { document.getElementById("said").textContent = text; };
  const show = (state, text) => {
    const place = work().querySelector(".state");
    place.dataset.state = state;
    place.toggleAttribute("data-usual", [words.saving, words.saved].includes(text));
    place.textContent = text;
  };
  const tell = (state, text) => { show(state, text); say(text); };
  const store = (key, value) => {  // private mode has no storage: then nothing outlives the page
    try { if (value === null) localStorage.removeItem(key); else localStorage.setItem(key, value); } catch { /* none */ }
  };
  const stored = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
  const keysOf = (start) => { try { return Object.keys(localStorage).filter((key) => key.startsWith(start)); } catch { return []; } };

  // Time: seconds with the page in view and a sign of life in the last half minute.
  for (const kind of ["pointermove", "pointerdown", "keydown", "scroll", "touchmove"]) {
    addEventListener(kind, () => { lastActivity = performance.now(); wake(); }, { passive: true, capture: true });
  }
  setInterval(() => {
    const here = document.visibilityState === "visible" && performance.now() - lastActivity < IDLE_MS;
    if (here && !paused) activeSeconds += 1;
  }, 1000);
  const pause = (wanted) => {
    paused = wanted;
    document.getElementById("paused").hidden = !paused;
    work().inert = paused;
    if (paused) document.querySelector("[data-resume]").focus();
    else { work().querySelector("[data-focus]")?.focus({ preventScroll: true }); lastActivity = performance.now(); beat(); }
  };

  // Holding the pair, and the one ahead
  const token = () => document.cookie.split("; ").find((part) => part.startsWith("csrftoken="))?.slice(10);
  const small = (fields) => {
    const body = new URLSearchParams(fields);
    body.set("csrfmiddlewaretoken", token() ?? form().elements.csrfmiddlewaretoken.value);
    return body;
  };
  const beat = async () => {  // says that this person is still at it
    if (!ticketOf(work()) || outbox.length || paused || document.visibilityState !== "visible") return;
    if (performance.now() - lastActivity > ABANDONED_MS) return doze();
    try {
      const hold = (ticket) => fetch(work().dataset.heartbeat, { method: "POST", body: small({ ticket }) });
      const second = ahead;
      if (second) {
        const { status } = await hold(ticketOf(second));
        if (status === 204) aheadHeldAt = Date.now();
        if (status === 409 && ahead === second) ahead = null;
      }
      if ((await hold(ticketOf(work()))).status === 409 && !given) complain("failed", words.lost);
    } catch { /* the vote itself will say that the connection is gone */ }
  };
  const doze = () => {  // who only listens to the page presses no key
    if (!dozing) tell("missing", words.dozing);
    dozing = true;
  };
  const wake = () => {
    if (!dozing) return;
    dozing = false;
    show("ready", "");
    beat();
  };
  setInterval(beat, HEARTBEAT_MS);
  document.addEventListener("visibilitychange", () => { if (document.visibilityState === "visible") beat(); });

  const parsed = (html) => {
    const holder = document.createElement("template");
    holder.innerHTML = html;
    return holder.content.querySelector("#work");
  };
  const fetchAhead = async () => {
    const now = work().dataset.work;
    ahead = null;
    if (!ticketOf(work())) return;
    try {
      const answer = await fetch(work().dataset.ahead, { method: "POST", body: small(), headers: { "X-Fragment": "1" } });
      if (answer.status !== 200 || answer.redirected) return;
      const section = parsed(await answer.text());
      if (given || work().dataset.work !== now || section.dataset.work === now) return;
      [ahead, aheadHeldAt] = [section, Date.now()];
    } catch { /* then the next pair comes with the answer to the vote */ }
  };

  // Sending. A vote is let go only when the server has it, or says that it never will.
  const UNSENT = `unsent:${words.person}:${location.pathname}:`;  // whoever signs in next cannot send them
  const MINE = UNSENT + Math.random();  // a page of one's own each: two would wipe out each other's
  const keep = () => {  // votes and skips outlive the page; an undo would mean something else later
    const kept = outbox.filter((one) => one.kind !== "undo").map((one) => ({ ...one, body: [...one.body] }));
    store(MINE, kept.length ? JSON.stringify(kept) : null);
  };
  const wordsOf = (name, { kind }) => words[name + { skip: "Skip", undo: "Undo" }[kind]] ?? words[name];
  const missed = [];             // what the server had to say of votes behind which others waited
  let sending = false;           // one at a time: an answer takes exactly the vote off that it is for
  const send = async () => {
    if (sending) return;
    sending = true;
    const mine = outbox[0];
    // Signing in again, in another tab, makes a new token for forms.
    if (token()) mine.body.set("csrfmiddlewaretoken", token());
    if (!mine.tried) show("saving", words.saving);  // later what went wrong stays to be read, with its link
    mine.tried = true;
    if (given) work().setAttribute("aria-busy", "true");
    let answer, text;
    try {
      answer = await fetch(mine.url, { method: "POST", body: mine.body, headers: { "X-Fragment": "1" } });
      text = await answer.text();
    } catch { answer = null; }
    sending = false;
    const section = answer?.ok && !answer.redirected ? parsed(text) : null;
    if (section) {
      outbox.shift();
      keep();
      if (!outbox.length) return arrived(section, mine);
      missed.push(...section.querySelectorAll("[data-amiss]"));
      return send();
    }
    // What is fine and none of ours is of something in between, which asks for its own sign-in.
    const said = answer && !answer.redirected && !answer.ok ? answer.status : 500;
    if (said < 500 && ![403, 408, 429].includes(said)) return refused();
    const signedOut = answer && (answer.redirected || answer.status === 403);
    if (signedOut) complain("failed", wordsOf("signedOut", mine), words.signIn);
    else complain(answer ? "failed" : "offline", answer ? words.unsaved : wordsOf("offline", mine));
    setTimeout(() => { if (outbox[0] === mine) send(); }, RETRY_MS);
  };
  addEventListener("online", () => { if (outbox.length) send(); });
  addEventListener("beforeunload", (event) => { if (outbox.length) event.preventDefault(); });

  let complaint = null;  // said last: said once, and its link is left alone while somebody is on the way to it
  const complain = (state, text, link = "") => {
    if (work().querySelector(".state").textContent !== text + link) {
      show(state, text);
      if (link) offer(link, work().dataset.signIn, "_blank");
    }
    if (complaint?.text !== text) say(text + link);
    complaint = { state, text };
  };
  const offer = (text, address, target = "") => {
    const link = document.createElement("a");
    Object.assign(link, { href: address, target, textContent: text });
    work().querySelector(".state").append(link);
  };
  const refused = () => {
    outbox.length = 0;
    keep();
    work().removeAttribute("aria-busy");
    complaint = null;
    show("failed", words.refused);
    offer(words.reload, location.href);
    say(words.refused + words.reload);
  };

  // The server's word on what comes next. Where it is in view already, only what changed is taken over.
  const arrived = (section, sent) => {
    complaint = null;
    const told = [...missed, ...section.querySelectorAll("[data-say]")].map((notice) => notice.textContent);
    document.getElementById("progress").replaceChildren(section.querySelector("[data-progress]").content.cloneNode(true));
    const done = section.querySelector("[data-amiss]") ? "" : sent.words;  // else the notice says what became of it
    const inView = !given && section.dataset.work && section.dataset.work === work().dataset.work;
    if (inView) document.getElementById("told").replaceChildren(...section.querySelectorAll("[data-say]"));
    else display(section);
    document.getElementById("told").append(...missed.splice(0));
    show(done ? "saved" : "ready", done);
    say([...told, done && `${done}.`, follows(sent, done)].filter(Boolean).join(" "));
    fetchAhead();
  };
  const follows = (sent, done) => {
    if (!ticketOf(work())) return work().querySelector(".empty h1")?.textContent ?? "";
    if (sent.kind === "undo" && done) return words.back;
    return work().dataset.work === sent.of ? "" : words.next;
  };
  const display = (section) => {
    work().replaceWith(section);
    document.getElementById("told").replaceChildren();
    section.inert = paused;
    ahead = chosen = null;
    given = false;
    activeSeconds = 0;
    shownAt = lastActivity = performance.now();
    scrollTo(0, 0);
    dress();
    work().querySelector("[data-focus]")?.focus({ preventScroll: true });
  };

  const addressOf = (button) => button.hasAttribute("formaction") ? button.formAction : form().action;
  const submit = (button) => {
    if (given) return;
    const kind = ["undo", "skip"].find((name) => addressOf(button).endsWith(`/${name}/`)) ?? "vote";
    if (kind === "vote" && "asksMore" in form().dataset && !isComplete()) return;
    const other = form().elements.skip_other;
    if (kind === "skip" && !button.value && !other.value.trim()) return ask(other, words.reasonless);
    const body = new FormData(form());
    if (button.name) body.set(button.name, button.value);
    body.set("active_seconds", String(activeSeconds));
    const said = { undo: words.takenBack, skip: words.skipped, vote: words.saved }[kind];
    const plain = new URLSearchParams([...body].map(([name, value]) => [name, String(value)]));
    const of = work().dataset.work;
    outbox.push({ url: addressOf(button), body: plain, words: said, kind, of });
    keep();
    store(DRAFT, null);
    given = true;
    if (kind === "skip") document.dispatchEvent(new CustomEvent("close-all"));
    if (kind === "undo") ahead = null;
    if (ahead && Date.now() - aheadHeldAt < Number(work().dataset.leaseSeconds) * 1000 * STILL_HELD) display(ahead);
    if (outbox.length === 1) send();
    else show(complaint?.state ?? "saving", complaint?.text ?? words.saving);
  };
  const ask = (field, text) => {  // for what was left empty
    field.setCustomValidity(text);
    field.reportValidity();
    say(text);
  };
  const flag = async (button) => {
    const comment = document.getElementById("flag-comment");
    if (!comment.value.trim()) return ask(comment, words.commentless);
    try {
      const body = small({ ticket: ticketOf(work()), flag: comment.value });
      const answer = await fetch(button.formAction, { method: "POST", body, headers: { "X-Fragment": "1" } });
      if (answer.status !== 204) throw new Error(answer.status);
      comment.value = "";
      document.dispatchEvent(new CustomEvent("close-all"));
      tell("saved", words.flagged);
    } catch {
      tell("failed", words.unflagged);
    }
  };

  // A project that asks for more than one key marks the choice first and sends it with Enter.
  const choose = (button) => {
    if (given) return;
    chosen = button;
    for (const other of work().querySelectorAll(".choice")) other.setAttribute("aria-pressed", String(other === button));
    const next = work().querySelector("[data-next]");
    next.disabled = false;
    next.onclick = () => deliver(chosen);
    draft();
    document.dispatchEvent(new CustomEvent("choice-made"));
  };
  const isComplete = () => {
    const detail = { isChosen: () => chosen !== null || !("asksMore" in form().dataset), show, say };
    return document.dispatchEvent(new CustomEvent("vote-check", { cancelable: true, detail }));
  };
  const deliver = (button) => {
    if (!("plain" in form().dataset)) return submit(button);
    if (!isComplete()) return;
    store(DRAFT, null);
    form().elements.active_seconds.value = String(activeSeconds);
    delivering = true;
    setTimeout(() => form().requestSubmit(button));  // not from within the event of a submission, where browsers ignore it
  };
  let delivering = false;  // a form that leads elsewhere is on its way by itself

  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (event.target !== form() || !button || "leave" in button.dataset || delivering) return;
    event.preventDefault();
    if ("flag" in button.dataset) flag(button);
    else if ("asksMore" in form().dataset && button.classList.contains("choice")) {
      choose(button);
      say(words.chosen.replace("{choice}", button.querySelector(".words").textContent.replace(/\s+/g, " ").trim()));
    }
    else if (button.hasAttribute("formaction")) submit(button);
    else deliver(button);
  });

  // Drafts: what was typed and marked is still there after a reload.
  const DRAFT = `draft:${location.pathname}`;
  const draft = () => {
    const fields = [...new FormData(form())].filter(([name]) => !NOT_DRAFTED.includes(name));
    store(DRAFT, JSON.stringify({ work: work().dataset.work, choice: chosen?.value, seconds: activeSeconds, fields }));
  };
  document.addEventListener("input", (event) => {
    if (event.target.closest("form") !== form()) return;
    if (!given) draft();
    if (event.target.validity.customError) event.target.setCustomValidity("");
  });
  const restore = () => {  // whether there was one
    const kept = JSON.parse(stored(DRAFT) ?? "null");
    if (!kept || !kept.work || kept.work !== work().dataset.work) return false;
    const said = new Map();
    for (const [name, value] of kept.fields) said.set(name, [...(said.get(name) ?? []), value]);
    for (const field of form().elements) {
      if (!field.name || NOT_DRAFTED.includes(field.name) || field.type === "submit") continue;
      const values = said.get(field.name) ?? [];
      if (["checkbox", "radio"].includes(field.type)) field.checked = values.includes(field.value);
      else if (values.length) field.value = values[0];
      if (field.dataset.edit && values.length) { field.closest("details").open = true; field.disabled = false; }
    }
    activeSeconds = kept.seconds;
    const button = kept.choice && form().querySelector(`.choice[value="${CSS.escape(kept.choice)}"]`);
    if (button) choose(button);
    tell("saved", words.draft);
    return true;
  };

  // Keys. What is printed on a button is what presses it.
  const keysOn = document.getElementById("keys-on");
  keysOn.checked = stored("label-keys") !== "off";
  keysOn.addEventListener("change", () => store("label-keys", keysOn.checked ? "on" : "off"));

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("textarea, select, input:not([type=checkbox], [type=radio])");
    if (event.key === "Escape") return stepBack();
    if (typing && event.key === "Enter" && !event.shiftKey && !event.isComposing && chosen && typing.id === "reason") {
      event.preventDefault();
      return deliver(chosen);
    }
    if (typing?.closest(".pop") && event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      return typing.closest(".pop").querySelector(".panel > button:last-of-type").click();
    }
    if (typing || !keysOn.checked || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    const letter = letterOf(event);
    if (paused) return letter === "p" ? pause(false) : undefined;
    if (letter === "Enter" && event.target.closest("button, a, summary")) return;
    if (letter === "Enter" && event.target.matches("input")) event.preventDefault();
    // Arrows move between the options of a question, and between cards, before they choose a side.
    if (letter.startsWith("Arrow") && event.target.closest("[type=radio], .answers")) return;
    // Where digits themselves take shift, it is no shift.
    const digit = /^Digit\d$/.test(event.code) && !/\d/.test(letter) ? event.code.slice(5) : "";
    const name = digit ? `${event.shiftKey ? "⇧" : ""}${digit}` : letter;
    const drawer = document.querySelector(".drawer[open] .panel");
    if (drawer?.offsetWidth >= innerWidth && name !== "g") return;  // in a narrow window it hides the answers, so the votes too
    const pop = document.querySelector(".pop[open]");  // what is open takes the keys: behind it nothing is voted or marked
    if (!pop && name === "e" && openEdit()) return event.preventDefault();
    if (!pop && name === "c" && foldStart()) return event.preventDefault();
    const target = find(name, pop);
    if (!target && pop) return name.length === 1 && name !== " " ? pop.querySelector("textarea").focus() : undefined;
    if (!target && name === "Enter" && work().querySelector("[data-next]:disabled")) return isComplete();
    if (!target) return rank(name, event);
    event.preventDefault();
    if (target.matches("textarea")) return target.focus();
    if (target.matches(".pop > summary")) heldBefore = document.activeElement;
    if (performance.now() - shownAt < BLIND_MS && target.closest(".choices, [data-next]")) return;
    target.click();
    if (target.matches(".choice, .chip input")) stepOut();
    if (target.matches("#flag > summary")) document.getElementById("flag-comment").focus();
    else if (target.matches(".pop > summary")) target.focus();
  });

  // A keyboard of another script has no Latin letters: there the place of the key counts.
  const letterOf = ({ key, code }) => {
    if (key.length > 1) return key;
    if (!/\p{L}/u.test(key) || /\p{Script=Latin}/u.test(key)) return key.toLowerCase();
    return { Comma: ",", Period: "." }[code] ?? code.replace(/^Key/, "").toLowerCase();
  };
  const find = (key, pop) => {
    const selector = `[data-key="${CSS.escape(key)}"]`;
    const button = pop ? pop.querySelector(selector) : [...document.querySelectorAll(selector)].find((one) => !one.closest(".panel"));
    return button && !button.disabled && !button.hidden ? button : null;
  };
  const rank = (key, event) => {
    if (work().dataset.kind !== "ranking" || !/^([1-9t]|Backspace)$/.test(key)) return;
    event.preventDefault();
    document.dispatchEvent(new CustomEvent("rank-key", { detail: key }));
    stepOut();
  };
  const stepOut = () => {  // of what opens something: enter, which sends, would open it again
    if (!document.activeElement.closest("#guidelines, .pop")) return;
    document.activeElement.blur();
    work().querySelector("[data-next]:not(:disabled)")?.focus({ preventScroll: true });
  };
  let heldBefore = null;  // what had the focus when a key opened something: after Escape it has it again, and Enter sends
  const stepBack = () => {
    document.dispatchEvent(new CustomEvent("close-all"));
    if (heldBefore === document.body) document.activeElement.blur();
    else heldBefore?.focus({ preventScroll: true });
    heldBefore = null;
  };
  const openEdit = () => {  // of the answer that is chosen, or the first
    const first = [...work().querySelectorAll("[data-rank]")].find((one) => one.value === "1");
    const side = first?.dataset.rank ?? /^[ab](?=\d?$)/.exec(chosen?.value ?? "")?.[0].toUpperCase();
    const field = work().querySelector(`[data-edit="${side}"]`) ?? work().querySelector("[data-edit]");
    if (!field) return false;
    field.closest("details").open = true;
    field.disabled = false;
    field.focus({ preventScroll: true });
    field.scrollIntoView({ block: "center" });  // clear of the bar
    return true;
  };
  const foldStart = () => {
    const starts = [...work().querySelectorAll("details.start")];
    const open = starts.some((one) => one.open);
    for (const start of starts) start.open = !open;
    return starts.length > 0;
  };

  let clickedAt = 0;  // first of those at one place that the browser counts together
  addEventListener("click", (event) => {
    if (event.detail < 2) clickedAt = performance.now();
    else if (shownAt >= clickedAt) {  // meant for the pair that was here
      event.preventDefault();
      event.stopPropagation();
    }
  }, true);
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-pause]")) pause(true);
    if (event.target.closest("[data-resume]")) pause(false);
  });
  document.addEventListener("toggle", (event) => {
    if (event.target.matches?.(".pop") && !event.target.open) heldBefore = null;
    const field = event.target.matches?.("details.edit") && event.target.querySelector("textarea");
    if (field) field.disabled = !event.target.open;  // an edit that is not open is not sent
  }, true);

  const dress = () => {
    form().noValidate = true;  // a choice is marked before everything is filled in; sending checks
    for (const field of work().querySelectorAll("[data-edit]")) field.disabled = !field.closest("details").open;
    const earlier = work().querySelector(".choice[data-earlier]");
    if (!restore() && earlier && "asksMore" in form().dataset) choose(earlier);
    document.dispatchEvent(new CustomEvent("work-shown"));
  };
  const resume = () => {  // votes that a closed page could not send
    const left = keysOf(UNSENT);
    const votes = left.flatMap((key) => JSON.parse(stored(key) ?? "[]"));
    outbox.push(...votes.map((one) => ({ ...one, body: new URLSearchParams(one.body) })));
    keep();
    for (const key of left) store(key, null);
    if (outbox.length) send();
    else fetchAhead();
  };
  addEventListener("DOMContentLoaded", () => { dress(); resume(); });  // when the other scripts listen too
})();
