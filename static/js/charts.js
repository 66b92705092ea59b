// Charts of a run: thin for training, bold with dots for held-out data; fed by ?after= until the run has ended.
"use strict";
(() => {
  const section = document.querySelector("[data-charts]");
  if (!section || !window.uPlot) return;
  const spoken = section.dataset; // step, training, heldOut: in the reader's language
  const plan = JSON.parse(document.getElementById("chart-plan").textContent);
  const places = { main: section.querySelector("[data-charts-main]"), more: section.querySelector("[data-charts-more]") };
  const more = section.querySelector("[data-charts-details]");
  const empty = section.querySelector("[data-charts-empty]");
  const legend = section.querySelector("[data-charts-legend]");
  const seen = new Map(); // metric -> {train: Map(step -> value), held: Map(step -> value)}
  const drawn = new Map(); // chart title -> {figure, plot, last}
  let after = 0;
  let active = section.dataset.active === "true";
  section.hidden = false;

  const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // A canvas cannot read light-dark(): let the browser resolve it.
  const colour = (name) => {
    const probe = document.createElement("i");
    probe.style.color = `var(${name})`;
    section.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };
  const language = document.documentElement.lang;
  const point = (0.5).toLocaleString(language).charAt(1);
  const digits = (value) => value == null ? "–" : Math.abs(value) >= 10000 ? Math.round(value).toLocaleString(language) : Number(value.toPrecision(4)).toString().replace(".", point).replace(/^-/, "\u2212");

  function store(rows) {
    for (const [, step, held, metrics] of rows) {
      for (const [name, value] of Object.entries(metrics)) {
        if (typeof value !== "number" || step === null) continue;
        if (!seen.has(name)) seen.set(name, { train: new Map(), held: new Map() });
        seen.get(name)[held ? "held" : "train"].set(step, value);
      }
    }
  }

  function data(chart) {
    const lines = chart.metrics.flatMap((name) => {
      const points = seen.get(name);
      return points ? [points.train, points.held] : [new Map(), new Map()];
    });
    const steps = [...new Set(lines.flatMap((line) => [...line.keys()]))].sort((a, b) => a - b);
    return [steps, ...lines.map((line) => steps.map((step) => line.get(step) ?? null))];
  }

  function options(chart, width) {
    const text = colour("--muted");
    const grid = { stroke: colour("--line"), width: 1 };
    const axis = { stroke: text, grid, ticks: grid, font: `12px ${token("--font")}` };
    const series = chart.metrics.flatMap((name, index) => {
      const stroke = colour(`--series-${index + 1}`);
      const label = chart.names[index];
      return [
        { label: `${label} ${spoken.training}`.trim(), stroke, width: 1, spanGaps: true, points: { show: false } },
        { label: `${label} ${spoken.heldOut}`.trim(), stroke, width: 2.5, spanGaps: true, points: { show: true, size: 7, fill: stroke } },
      ];
    });
    return {
      width, height: 190, legend: { show: false }, cursor: { drag: { x: false, y: false } }, scales: { x: { time: false } },
      axes: [{ ...axis, size: 30, space: 60 }, { ...axis, size: 56, space: 34, values: (_, splits) => splits.map(digits) }],
      series: [{ label: spoken.step }, ...series],
      hooks: { setCursor: [(plot) => say(chart, plot.cursor.idx)] },
    };
  }

  function say(chart, index) {
    const entry = drawn.get(chart.title);
    if (!entry) return;
    const [steps, ...lines] = data(chart);
    const at = index ?? steps.length - 1;
    const words = lines.flatMap((line, position) => {
      let value = line[at];
      let earlier = at;
      while (value == null && earlier > 0 && index == null) value = line[--earlier];
      if (value == null) return [];
      const name = [chart.names[position >> 1], position % 2 ? spoken.heldOut : ""].filter(Boolean).join(" ");
      return [`${name} ${digits(value)}`.trim()];
    });
    entry.caption.textContent = words.length ? `${spoken.step} ${steps[at]}: ${words.join(" · ")}` : "";
  }

  function draw() {
    for (const chart of plan) {
      const values = data(chart);
      if (!values[0].length) continue;
      let entry = drawn.get(chart.title);
      if (!entry) {
        const figure = document.createElement("figure");
        figure.className = "chart";
        figure.title = chart.help;
        const title = document.createElement("figcaption");
        const name = document.createElement("strong");
        name.textContent = chart.title;
        title.append(name, chart.unit ? ` ${chart.unit}` : "");
        if (chart.metrics.length > 1) chart.names.forEach((label, index) => {
          const key = document.createElement("span");
          key.className = `key series-${index + 1}`;
          key.textContent = label;
          title.append(key);
        });
        const caption = document.createElement("p");
        caption.className = "small muted number reading";
        figure.append(title, caption);
        places[chart.more ? "more" : "main"].append(figure);
        entry = { figure, caption, plot: null };
        drawn.set(chart.title, entry);
        if (chart.more) more.hidden = false;
        wide.observe(figure);
      }
      if (entry.plot) entry.plot.setData(values);
      else if (entry.figure.clientWidth) make(chart, entry, values);
      say(chart, null);
    }
    empty.hidden = drawn.size > 0;
    legend.hidden = !drawn.size;
  }

  function make(chart, entry, values) {
    entry.plot?.destroy();
    entry.plot = new window.uPlot(options(chart, inner(entry.figure)), values, entry.figure);
    entry.plot.root.setAttribute("aria-hidden", "true"); // its numbers are in the table below
  }
  const inner = (figure) => figure.clientWidth - 2 * parseFloat(getComputedStyle(figure).paddingLeft);

  const wide = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      for (const chart of plan) {
        const entry = drawn.get(chart.title);
        if (entry?.figure !== target || !target.clientWidth) continue;
        if (!entry.plot) make(chart, entry, data(chart));
        else if (entry.plot.width !== inner(target)) entry.plot.setSize({ width: inner(target), height: 190 });
      }
    }
  });

  function repaint() {
    for (const chart of plan) {
      const entry = drawn.get(chart.title);
      if (entry?.plot) make(chart, entry, data(chart));
    }
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  new MutationObserver(repaint).observe(document.documentElement, { attributeFilter: ["data-theme"] });

  async function load() {
    if (document.hidden) return;
    try {
      let more;
      do {
        const response = await fetch(`${section.dataset.url}?after=${after}`, { headers: { Accept: "application/json" } });
        if (!response.ok) return;
        more = await response.json();
        store(more.rows);
        after = more.after;
        active = more.active;
      } while (more.rows.length >= 5000);
      draw();
    } catch { /* offline for a moment: the next round asks again */ }
  }
  async function loop() {
    await load();
    if (active) setTimeout(loop, 2000);
  }
  document.addEventListener("visibilitychange", () => { if (!document.hidden) load(); });
  loop();
})();
