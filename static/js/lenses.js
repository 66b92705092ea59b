// Ways to look at the answers: words that differ, scrolling in step, cards on a phone. Nothing of it moves the text.
"use strict";
(() => {
  const FEW_CELLS = 250_000;     // of a table of words by words: so many are compared without looking for anchors first
  const MOST_CELLS = 4_000_000;  // a stretch with more is taken to differ as a whole
  const words = document.getElementById("words").dataset;
  const LINE = 24;               // pixels, where a wheel counts in lines
  const SCROLLS = ["page", "together", "apart"];
  const work = () => document.getElementById("work");
  const remembered = (key, fallback) => { try { return localStorage.getItem(key) ?? fallback; } catch { return fallback; } };
  const remember = (key, value) => { try { localStorage.setItem(key, value); } catch { /* private mode */ } };
  let diffing = remembered("label-diff", "off") === "on";
  let scrolling = remembered("label-scroll", "page");

  // Words with their places in the text nodes of an element. Languages without spaces are cut by the browser's rules.
  const segmenter = globalThis.Intl?.Segmenter ? new Intl.Segmenter(undefined, { granularity: "word" }) : null;
  const cut = (text) => segmenter
    ? [...segmenter.segment(text)].map((part) => [part.segment, part.index])
    : [...text.matchAll(/[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu)].map((match) => [match[0], match.index]);
  const tokensOf = (element) => {
    const found = [];
    const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      for (const [word, at] of cut(node.data)) if (word.trim()) found.push({ word, node, at });
    }
    return found;
  };

  // Which words of two lists are not in their longest common subsequence. Common ends are taken off first, and words that
  // both have once (patience diff) cut long lists into short stretches.
  const differing = (a, b) => {
    const kept = [new Set(), new Set()];
    const match = (i, j) => { kept[0].add(i); kept[1].add(j); };
    const between = (a0, a1, b0, b1) => {
      while (a0 < a1 && b0 < b1 && a[a0].word === b[b0].word) match(a0++, b0++);
      while (a0 < a1 && b0 < b1 && a[a1 - 1].word === b[b1 - 1].word) match(--a1, --b1);
      if (a0 === a1 || b0 === b1) return;
      const anchors = (a1 - a0) * (b1 - b0) > FEW_CELLS ? uniqueInBoth(a0, a1, b0, b1) : [];
      if (!anchors.length) return table(a0, a1, b0, b1);
      for (const [i, j] of [...anchors, [a1, b1]]) {
        between(a0, i, b0, j);
        if (i < a1) match(i, j);
        [a0, b0] = [i + 1, j + 1];
      }
    };
    const once = (list, from, to) => {
      const places = new Map();
      for (let n = from; n < to; n++) places.set(list[n].word, places.has(list[n].word) ? -1 : n);
      return places;
    };
    const uniqueInBoth = (a0, a1, b0, b1) => {
      const [inA, inB] = [once(a, a0, a1), once(b, b0, b1)];
      const pairs = [...inA].filter(([word, i]) => i >= 0 && inB.get(word) >= 0).map(([word, i]) => [i, inB.get(word)]);
      return rising(pairs.sort((one, other) => one[0] - other[0]));
    };
    const rising = (pairs) => {  // the longest run in which the second number rises too
      const ends = [];
      pairs.forEach((pair, n) => {
        let at = ends.findIndex((end) => pairs[end][1] >= pair[1]);
        if (at < 0) at = ends.length;
        pair[2] = at ? ends[at - 1] : -1;
        ends[at] = n;
      });
      const run = [];
      for (let n = ends.at(-1) ?? -1; n >= 0; n = pairs[n][2]) run.unshift(pairs[n]);
      return run;
    };
    const table = (a0, a1, b0, b1) => {
      const [rows, columns] = [a1 - a0, b1 - b0];
      if ((rows + 1) * (columns + 1) > MOST_CELLS) return;
      const best = new Uint16Array((rows + 1) * (columns + 1));
      const at = (row, column) => row * (columns + 1) + column;
      for (let r = rows - 1; r >= 0; r--) {
        for (let c = columns - 1; c >= 0; c--) {
          best[at(r, c)] = a[a0 + r].word === b[b0 + c].word
            ? best[at(r + 1, c + 1)] + 1 : Math.max(best[at(r + 1, c)], best[at(r, c + 1)]);
        }
      }
      for (let r = 0, c = 0; r < rows && c < columns;) {
        if (a[a0 + r].word === b[b0 + c].word) match(a0 + r++, b0 + c++);
        else if (best[at(r + 1, c)] >= best[at(r, c + 1)]) r++;
        else c++;
      }
    };
    between(0, a.length, 0, b.length);
    return [a, b].map((list, side) => list.filter((_, n) => !kept[side].has(n)));
  };

  // Drawn as a highlight, which changes no element, so no line moves.
  const markDiff = () => {  // whether there is anything to draw
    globalThis.CSS?.highlights?.delete("differs");
    const button = work().querySelector("[data-lens=diff]");
    button?.setAttribute("aria-pressed", String(diffing));
    return Boolean(button && diffing && globalThis.CSS?.highlights);
  };
  const drawDiff = () => {  // returns what to say of it
    if (!markDiff()) return "";
    const [a, b] = [...work().querySelectorAll(".answer .text")].map(tokensOf);
    const differs = differing(a, b);
    const ranges = differs.flat().map(({ node, at, word }) => {
      const range = document.createRange();
      range.setStart(node, at);
      range.setEnd(node, at + word.length);
      return range;
    });
    CSS.highlights.set("differs", new Highlight(...ranges));
    return ranges.length ? words.differences.replace("{n}", differs.map((list) => list.length).join(" / ")) : words.same;
  };

  // Scrolling: the page as a whole, or each answer in a pane of its own, in step by its share or apart.
  const setScrolling = () => {
    const button = work().querySelector("[data-lens=scroll]");
    if (!button) return;
    work().dataset.scroll = scrolling;
    button.toggleAttribute("data-on", scrolling !== "page");
    button.querySelector("span").textContent = words[`scroll${scrolling[0].toUpperCase()}${scrolling.slice(1)}`];
    for (const pane of work().querySelectorAll(".answer .text")) reachable(pane, scrolling !== "page");
  };
  const reachable = (pane, scrolls) => {  // by the keyboard, where it scrolls by itself
    if (scrolls) pane.tabIndex = 0;
    else pane.removeAttribute("tabindex");
  };
  let leading = null;
  document.addEventListener("scroll", (event) => {
    const pane = event.target;
    if (scrolling !== "together" || !pane.matches?.(".answer .text") || (leading && leading !== pane)) return;
    leading = pane;
    requestAnimationFrame(() => requestAnimationFrame(() => { leading = null; }));
    const share = pane.scrollTop / Math.max(1, pane.scrollHeight - pane.clientHeight);
    for (const other of work().querySelectorAll(".answer .text")) {
      if (other !== pane) other.scrollTop = share * (other.scrollHeight - other.clientHeight);
    }
  }, true);

  // Over an answer that has nothing to scroll the wheel moves the longest one.
  document.addEventListener("wheel", ({ target, deltaY, deltaMode }) => {
    const over = target.closest?.(".answer .text");
    if (scrolling !== "together" || !over || over.scrollHeight > over.clientHeight) return;
    const panes = [...work().querySelectorAll(".answer .text")];
    const longest = panes.reduce((one, other) => other.scrollHeight > one.scrollHeight ? other : one);
    longest.scrollTop += deltaMode === WheelEvent.DOM_DELTA_LINE ? deltaY * LINE : deltaY;
  }, { passive: true });

  // Cards on a phone: the tab of the card in view is marked, and a tab brings its card.
  let watcher = null;
  const watchCards = () => {
    watcher?.disconnect();
    const cards = work().querySelector(".answers");
    if (!cards || !work().querySelector(".sides")) return;
    reachable(cards, cards.scrollWidth > cards.clientWidth);
    watcher = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const tab = work().querySelector(`[data-tab="${entry.target.id.slice(5)}"]`);
        if (entry.intersectionRatio > 0.6) tab?.setAttribute("aria-current", "true");
        else tab?.removeAttribute("aria-current");
      }
    }, { root: cards, threshold: [0.6] });
    for (const card of cards.querySelectorAll(".answer")) watcher.observe(card);
  };

  document.addEventListener("click", (event) => {
    const lens = event.target.closest("[data-lens]")?.dataset.lens;
    if (lens === "diff") {
      diffing = !diffing;
      remember("label-diff", diffing ? "on" : "off");
      document.getElementById("said").textContent = drawDiff();
    }
    if (lens === "scroll") {
      scrolling = SCROLLS[(SCROLLS.indexOf(scrolling) + 1) % SCROLLS.length];
      remember("label-scroll", scrolling);
      setScrolling();
    }
    const tab = event.target.closest("[data-tab]");
    if (tab) {
      event.preventDefault();
      bring(document.getElementById(`card-${tab.dataset.tab}`));
    }
  });
  const bring = (card) => {
    const cards = card.parentElement;
    cards.scrollTo({ left: cards.scrollLeft + card.getBoundingClientRect().left - cards.getBoundingClientRect().left - 12 });
  };
  document.addEventListener("focusin", ({ target }) => {  // what has the focus is not left in the strip of the next card
    const card = target.closest("#work .answer");
    if (card && card.parentElement.scrollWidth > card.parentElement.clientWidth) bring(card);
  });
  document.addEventListener("work-shown", () => {
    markDiff();
    setScrolling();
    watchCards();
    requestAnimationFrame(() => setTimeout(drawDiff));  // the next pair does not wait to be seen until long texts are compared
  });
})();
