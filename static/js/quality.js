// Charts of quality: by week dots joined by a line, a bar for each 95 % interval, dashes for what to compare with; and counts
// as columns.
"use strict";
(() => {
  const source = document.getElementById("quality-charts");
  if (!source || !window.uPlot) return;
  const charts = JSON.parse(source.textContent);
  for (const help of document.querySelectorAll("[data-quality-help]")) help.hidden = false;
  const height = 170;
  const day = 86400;

  const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // A canvas cannot read light-dark(): let the browser resolve it.
  const colour = (name) => {
    const probe = document.createElement("i");
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };
  const minus = (text) => text.replace("-", "\u2212");
  const number = (value, least, most, useGrouping = false) => minus(value.toLocaleString(document.documentElement.lang, { minimumFractionDigits: least, maximumFractionDigits: most, useGrouping }));
  const written = (chart, value) => chart.style === "share" ? `${Math.round(100 * value)} %` : Number.isInteger(value) ? number(value, 0, 0, true) : number(value, 2, 2);
  const plain = (value) => number(value, 0, 2);

  function data(chart) {
    const columns = [0, 1].map((column) => chart.points.map((point) => point[column]));
    columns[0] = chart.by_week ? columns[0].map((week) => Date.parse(`${week}T00:00:00Z`) / 1000) : columns[0].map((_, index) => index);
    return chart.mark === null ? columns : [...columns, columns[0].map(() => chart.mark)];
  }

  // As many points as there is room for get a tick, the last one among them.
  function ticks(plot, _axis, low, high) {
    const points = plot.data[0];
    const step = Math.ceil(points.length * 64 / Math.max(plot.bbox.width / devicePixelRatio, 64));
    return points.filter((at, index) => at >= low && at <= high && (points.length - 1 - index) % step === 0);
  }

  function scales(chart, points) {
    const ends = chart.points.flatMap(([, value, low, high]) => [value, low ?? value, high ?? value]);
    const top = Math.max(...ends), bottom = Math.min(0, ...ends);
    const y = chart.style === "share" ? [0, 1] : [bottom * 1.05, top * 1.08 || 1];
    // The first and the last point, and a single one, get room on both sides.
    const room = chart.by_week ? 4 * day : 0.6;
    return { x: { time: false, range: [points[0] - room, points.at(-1) + room] }, y: { range: y } };
  }

  function options(chart, points, width) {
    const stroke = colour("--series-1");
    const grid = { stroke: colour("--line"), width: 1 };
    const axis = { stroke: colour("--muted"), grid, ticks: grid, font: `12px ${token("--font")}` };
    const line = { stroke, width: 2, spanGaps: true, points: { show: true, size: 6, fill: stroke } };
    const column = { fill: stroke, width: 0, paths: window.uPlot.paths.bars({ size: [0.8, 60] }), points: { show: false } };
    const series = [{}, chart.by_week ? line : column];
    if (chart.mark !== null) series.push({ stroke: colour("--line-strong"), dash: [4, 4], points: { show: false } });
    const years = chart.by_week && points.at(-1) - points[0] > 330 * day;
    const named = (_, splits) => splits.map((at) => chart.by_week ? new Date(at * 1000).toISOString().slice(...(years ? [0, 7] : [5, 10])) : chart.points[at][0]);
    const values = (_, splits) => splits.map((split) => chart.style === "share" ? `${Math.round(100 * split)}` : plain(split));
    return {
      width, height, series, scales: scales(chart, points), legend: { show: false }, cursor: { drag: { x: false, y: false } },
      axes: [
        { ...axis, grid: { show: false }, size: 30, splits: ticks, values: named },
        { ...axis, size: 46, space: 34, incrs: chart.style === "number" ? undefined : [0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6], values },
      ],
      hooks: { draw: [(plot) => intervals(plot, chart, stroke)], setCursor: [(plot) => say(chart, plot.cursor.idx)] },
    };
  }

  function intervals(plot, chart, stroke) {
    const draw = plot.ctx;
    draw.save();
    draw.strokeStyle = `${stroke}80`;
    draw.lineWidth = 2 * devicePixelRatio;
    draw.setLineDash([]);
    draw.beginPath();
    chart.points.forEach(([, , low, high], index) => {
      if (low === null) return;
      const x = plot.valToPos(plot.data[0][index], "x", true);
      draw.moveTo(x, plot.valToPos(low, "y", true));
      draw.lineTo(x, plot.valToPos(high, "y", true));
    });
    draw.stroke();
    draw.restore();
  }

  function say(chart, index) {
    const place = index ?? chart.points.length - 1;
    const [at, value, low, high, n] = chart.points[place];
    const band = low === null ? "" : ` (${written(chart, low)} – ${written(chart, high)}, n ${n})`;
    chart.reading.textContent = chart.by_week ? `${at}: ${written(chart, value)}${band}` : `${at}: ${chart.counted[place]}`;
  }

  const inner = (figure) => figure.clientWidth;
  function make(chart) {
    chart.plot?.destroy();
    const columns = data(chart);
    chart.plot = new window.uPlot(options(chart, columns[0], inner(chart.figure)), columns, chart.figure);
    chart.plot.root.setAttribute("aria-hidden", "true"); // its numbers are in the table below
    say(chart, null);
  }

  for (const chart of charts) {
    chart.figure = document.createElement("figure");
    chart.figure.className = "chart";
    const title = document.createElement("figcaption");
    const name = document.createElement("strong");
    name.textContent = chart.title;
    title.append(name, chart.unit ? ` ${chart.unit}` : "");
    chart.reading = document.createElement("p");
    chart.reading.className = "small muted number reading";
    chart.figure.append(title, chart.reading);
    document.querySelector(`[data-quality-charts="${chart.place}"]`).append(chart.figure);
  }
  charts.forEach(make);

  const resized = new ResizeObserver(() => {
    for (const chart of charts) if (chart.plot.width !== inner(chart.figure)) chart.plot.setSize({ width: inner(chart.figure), height });
  });
  for (const place of document.querySelectorAll("[data-quality-charts]")) resized.observe(place);
  const repaint = () => charts.forEach(make);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  new MutationObserver(repaint).observe(document.documentElement, { attributeFilter: ["data-theme"] });
})();
