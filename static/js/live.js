// Live parts ask again every few seconds, but not while nobody looks: a hidden tab asks once when it is shown again.
// An answer is laid over what is there, so that focus, scrolling and a reader's place stay; what a part has come to
// (its data-said) is told to screen readers when it changes.
"use strict";
(() => {
  document.body.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && event.target.id.endsWith("-live")) event.preventDefault();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) window.htmx.trigger(document.body, "live-again");
  });

  const alike = (one, other) => one.nodeName === other.nodeName && one.id === other.id;

  // Makes `old` what `fresh` is. A child stays if it comes again, by its kind and id, and what stands before it goes:
  // but no child with an id that comes again, and nothing for the sake of a text.
  function morph(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name); // open: the reader's
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    let at = old.firstChild;
    const dropUntil = (end) => {
      while (at !== end) {
        const next = at.nextSibling;
        at.remove();
        at = next;
      }
    };
    const ids = new Set([...fresh.children].map((child) => child.id).filter(Boolean));
    for (const child of [...fresh.childNodes]) {
      let same = at;
      while (same && !alike(same, child)) same = child.nodeType === Node.TEXT_NODE || ids.has(same.id) ? null : same.nextSibling;
      if (same) {
        dropUntil(same);
        morph(same, child);
        at = same.nextSibling;
      } else old.insertBefore(child, at);
    }
    dropUntil(null);
  }

  const status = document.createElement("p");
  status.className = "visually-hidden";
  status.setAttribute("role", "status");
  document.getElementById("main").append(status);

  function update(part, fresh) {
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const { said } = part.dataset;
    morph(part, fresh);
    if (part.dataset.said !== said) status.textContent = part.dataset.said;
    if (focused && (!focused.isConnected || focused.disabled)) document.querySelector("h1").focus();
  }

  window.htmx.defineExtension("live", {
    isInlineSwap: (style) => style === "morph",
    handleSwap(style, part, fragment) {
      if (style !== "morph") return false;
      update(part, fragment.firstElementChild ?? fragment);
      return [part];
    },
  });
})();
