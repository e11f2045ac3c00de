"use strict";
(() => {
const $ = (id) => document.getElementById(id);
async function inflate(text) {
  const bytes = Uint8Array.from(atob(text.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).text();
}
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const day = (minute) => new Date(minute * 60000).toISOString().slice(0, 16).replace("T", " ");
const middle = (list) => {
  const sorted = [...list].sort((a, b) => a - b), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
};
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const dark = matchMedia("(prefers-color-scheme: dark)");
const palette = () => [css("--ink"), dark.matches ? "#f0b35a" : "#c77700", css("--down"), css("--c2")];
const axis = (more) => ({ gridcolor: css("--line"), zeroline: false, ...more });
const layout = (more) => ({
  paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
  font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: css("--soft") },
  margin: { l: 60, r: 24, t: 28, b: 44 }, showlegend: false,
  hoverlabel: { font: { family: getComputedStyle(document.body).fontFamily } },
  modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--soft"), activecolor: css("--ink") }, ...more,
});
const options = { displaylogo: false, responsive: true, modeBarButtons: [["toImage"]] };
const line = (x, more) => ({ type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1, line: { width: 1, color: css("--soft"), dash: "dot" }, ...more });

const draw = {
  curves(spot, plot) {
    const colors = palette();
    return Plotly.react(spot, plot.curves.map((curve, k) => ({
      type: "scatter", mode: "lines", name: plain(curve.name), x: curve.time.map(day), y: curve.y,
      line: { width: k ? 1.3 : 1.8, color: colors[k % colors.length] }, hovertemplate: "%{x|%Y-%m-%d} %{y:+.1%}<extra>%{fullData.name}</extra>",
    })), layout({
      showlegend: true, legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom" },
      shapes: plot.borders.map((when) => line(when)),
      xaxis: axis({ type: "date", tickformat: "%Y-%m-%d" }), yaxis: axis({ tickformat: ".0%" }),
    }), options);
  },
  points(spot, plot) {
    const colors = palette();
    let best = -Infinity;
    const top = plot.y.map((y) => { if (y !== null && y > best) best = y; return best === -Infinity ? null : best; });
    const x = plot.y.map((_, k) => k);
    return Plotly.react(spot, [
      { type: "scatter", mode: "markers", x, y: plot.y, text: plot.hover.map(plain), hovertemplate: "%{text}<extra></extra>", marker: { size: 6, color: colors[2], opacity: .6 } },
      { type: "scatter", mode: "lines", name: plot.bestSoFar, x, y: top, line: { width: 1.6, color: colors[0], shape: "hv" }, hoverinfo: "skip" },
    ], layout({ xaxis: axis({ title: { text: plot.xTitle } }), yaxis: axis({ title: { text: plot.yTitle } }) }), options);
  },
  bars(spot, plot) {
    spot.style.height = `${Math.max(140, 70 + 34 * plot.labels.length)}px`;
    return Plotly.react(spot, [{
      type: "bar", orientation: "h", y: plot.labels.map(plain), x: plot.values, marker: { color: palette()[2] },
      hovertemplate: `%{y}: %{x:${plot.percent ? ".0%" : ".3g"}}<extra></extra>`,
    }], layout({ margin: { l: 150, r: 24, t: 8, b: 40 }, xaxis: axis({ tickformat: plot.percent ? ".0%" : "", rangemode: "tozero" }), yaxis: axis({ type: "category" }) }), options);
  },
  histogram(spot, plot) {
    return Plotly.react(spot, [{ type: "histogram", x: plot.values, marker: { color: palette()[2] }, nbinsx: 50, hovertemplate: "%{x}: %{y}<extra></extra>" }],
      layout({ bargap: .03, shapes: plot.mark === null ? [] : [line(plot.mark, { line: { width: 2, color: palette()[1] } })],
        xaxis: axis({ title: { text: plot.xTitle }, tickformat: plot.percent ? ".0%" : "" }), yaxis: axis() }), options);
  },
  heat(spot, plot, words) {
    const at = (name) => Number(spot.parentNode.querySelector(`[data-choose=${name}]`).value);
    const across = plot.parameters[at("x")], up = plot.parameters[at("y")], value = plot.values[at("v")];
    const best = spot.parentNode.querySelector("[data-choose=how]").value === "best";
    const cells = up.labels.map(() => across.labels.map(() => []));
    value.data.forEach((number, k) => { if (number !== null) cells[up.cell[k]][across.cell[k]].push(number); });
    const one = (list) => list.length ? (best ? (value.low ? Math.min(...list) : Math.max(...list)) : middle(list)) : null;
    const z = cells.map((row) => row.map(one));
    const text = cells.map((row) => row.map((list) => words.trials.replace("{count}", list.length)));
    const format = value.percent ? ".1%" : ".4~g";
    return Plotly.react(spot, [{
      type: "heatmap", x: across.labels.map(plain), y: up.labels.map(plain), z, text, colorscale: "Viridis", reversescale: Boolean(value.low), hoverongaps: false,
      colorbar: { tickformat: value.percent ? ".0%" : "", outlinewidth: 0, thickness: 14 },
      hovertemplate: `${plain(across.name)} %{x}<br>${plain(up.name)} %{y}<br>${plain(value.label)} %{z:${format}}<br>%{text}<extra></extra>`,
    }], layout({ xaxis: axis({ type: "category", title: { text: plain(across.name) } }), yaxis: axis({ type: "category", title: { text: plain(up.name) } }) }), options);
  },
};

function chooser(spot, plot, words, redraw) {
  const bar = document.createElement("div");
  bar.className = "choose";
  const add = (key, label, names, chosen) => {
    const box = document.createElement("label"), list = document.createElement("select");
    list.dataset.choose = key;
    names.forEach(([name, value], k) => list.add(new Option(name, value ?? k, false, k === chosen)));
    list.addEventListener("change", redraw);
    box.append(label, list);
    bar.append(box);
  };
  const names = plot.parameters.map((parameter) => [parameter.name]);
  add("x", words.across, names, 0);
  add("y", words.up, names, 1);
  add("v", words.colour, plot.values.map((value) => [value.label]), 0);
  add("how", "", [[words.best, "best"], [words.median, "median"]], 0);
  spot.before(bar);
}

async function start() {
  const data = JSON.parse(await inflate($("payload").textContent));
  const all = [];
  for (const plot of data.plots) {
    const spot = $(plot.id), redraw = () => draw[plot.kind](spot, plot, data.words);
    if (plot.kind === "heat") chooser(spot, plot, data.words, redraw);
    all.push(redraw);
    await redraw();
  }
  dark.addEventListener("change", () => all.forEach((redraw) => redraw()));
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
}
start().catch((error) => {
  $("fault").hidden = false;
  $("fault").textContent = String(error);
  document.documentElement.dataset.ready = "failed";
  console.error(error);
});
})();
