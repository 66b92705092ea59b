// Charts by week: dots joined by a line, a band for the 95 % interval, dashes for what to compare with.
"use strict";
(() => {
  const place = document.querySelector("[data-quality-charts]");
  if (!place || !window.uPlot) return;
  const charts = JSON.parse(document.getElementById("quality-charts").textContent);
  document.querySelector("[data-quality-help]").hidden = false;
  const height = 170;

  const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // A canvas cannot read light-dark(): let the browser resolve it.
  const colour = (name) => {
    const probe = document.createElement("i");
    probe.style.color = `var(${name})`;
    place.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };
  const minus = (text) => text.replace("-", "\u2212");
  const written = (chart, value) => chart.style === "share" ? `${Math.round(100 * value)} %` : Number.isInteger(value) ? value.toLocaleString("en") : minus(value.toFixed(2));
  const plain = (value) => minus(String(Number(value.toFixed(2))));

  function data(chart) {
    const columns = [0, 1, 2, 3].map((column) => chart.points.map((point) => point[column]));
    columns[0] = columns[0].map((week) => Date.parse(`${week}T00:00:00Z`) / 1000);
    return chart.mark === null ? columns : [...columns, columns[0].map(() => chart.mark)];
  }

  function options(chart, width) {
    const stroke = token("--series-1");
    const grid = { stroke: colour("--line"), width: 1 };
    const axis = { stroke: colour("--muted"), grid, ticks: grid, font: `12px ${token("--font")}` };
    const end = { stroke: "transparent", points: { show: false }, spanGaps: true };
    const series = [
      { label: "week" },
      { label: chart.title, stroke, width: 2, spanGaps: true, points: { show: true, size: 6, fill: stroke } },
      { label: "low", ...end },
      { label: "high", ...end },
    ];
    if (chart.mark !== null) series.push({ label: "compare", stroke: colour("--line-strong"), dash: [4, 4], points: { show: false } });
    const values = (_, splits) => splits.map((split) => chart.style === "share" ? `${Math.round(100 * split)}` : plain(split));
    const days = (_, splits) => splits.map((split) => new Date(split * 1000).toISOString().slice(5, 10));
    // A single week still gets room on both sides.
    const range = (_, low, high) => [low - 3 * 86400, high + 3 * 86400];
    return {
      width, height, series, legend: { show: false }, cursor: { drag: { x: false, y: false } },
      scales: { x: { time: false, range }, y: { range: chart.style === "share" ? [0, 1] : (_, low, high) => [Math.min(0, low), Math.max(high, low + 0.1)] } },
      bands: [{ series: [3, 2], fill: `${stroke}33` }],
      axes: [{ ...axis, size: 30, space: 60, incrs: [7 * 86400, 14 * 86400, 28 * 86400, 91 * 86400, 364 * 86400], values: days }, { ...axis, size: 46, space: 34, values }],
      hooks: { setCursor: [(plot) => say(chart, plot.cursor.idx)] },
    };
  }

  function say(chart, index) {
    const [week, value, low, high, n] = chart.points[index ?? chart.points.length - 1];
    const band = low === null ? "" : ` (${written(chart, low)} to ${written(chart, high)}, n ${n})`;
    chart.reading.textContent = `week from ${week}: ${written(chart, value)}${band}`;
  }

  const inner = (figure) => figure.clientWidth;
  function make(chart) {
    chart.plot?.destroy();
    chart.plot = new window.uPlot(options(chart, inner(chart.figure)), data(chart), chart.figure);
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
    place.append(chart.figure);
  }
  charts.forEach(make);

  new ResizeObserver(() => {
    for (const chart of charts) if (chart.plot.width !== inner(chart.figure)) chart.plot.setSize({ width: inner(chart.figure), height });
  }).observe(place);
  const repaint = () => charts.forEach(make);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  new MutationObserver(repaint).observe(document.documentElement, { attributeFilter: ["data-theme"] });
})();
