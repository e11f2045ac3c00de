"use strict";
(() => {
const $ = (id) => document.getElementById(id);
const make = (tag, text, className) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
};

// Unpacking: the way back from kisbt/report/pack.py.
async function inflate(text) {
  const raw = atob(text.trim());
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function integers(bytes, at, n, planes, order) {
  const out = new Int32Array(n);
  for (let p = 0; p < planes; p++)
    for (let i = 0, k = at + p * n; i < n; i++, k++) out[i] |= bytes[k] << (8 * p);
  for (let i = 0; i < n; i++) out[i] = (out[i] >>> 1) ^ -(out[i] & 1);
  for (let turn = 0; turn < order; turn++)
    for (let i = 1; i < n; i++) out[i] = (out[i] + out[i - 1]) | 0;
  return out;
}

async function unpack(text) {
  const bytes = await inflate(text);
  const size = new DataView(bytes.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + size)));
  let at = 4 + size;
  const places = [];
  for (const column of header.columns) {
    if (column.as === undefined) {
      places.push([at, column.bytes]);
      at += column.bytes * header.n;
    } else places.push(places[column.as]);
    const [start, planes] = places[places.length - 1];
    column.values = integers(bytes, start, header.n, planes, column.order || 0);
  }
  return header;
}

// Words and numbers.
let data, words, axis;
let number, decimals, percentFormat, shareFormat;
const minus = (text) => text.replace("-", "\u2212");
const whole = (value) => minus(number.format(Math.round(value) || 0));
const won = (value) => words.wonAmount.replace("{amount}", whole(value));
const signedWon = (value) => (value > 0 ? "+" : "") + won(value);
const percent = (value) => minus(percentFormat.format(value));
const price = (value) => minus(decimals.format(Number(value.toPrecision(9))));
const tone = (value) => (value > 0 ? "up" : value < 0 ? "down" : "");
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (whole, key) => values[key] ?? whole);
const two = (value) => String(value).padStart(2, "0");
function when(minute, daily = data.daily) {
  // Minutes are naive KST: read as UTC they show the exchange's own clock.
  const t = new Date(minute * 60000);
  const day = `${t.getUTCFullYear()}-${two(t.getUTCMonth() + 1)}-${two(t.getUTCDate())}`;
  return daily ? day : `${day} ${two(t.getUTCHours())}:${two(t.getUTCMinutes())}`;
}
// Plotly reads a few HTML tags in its texts: names must not become any.
const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

// Look.
const dark = matchMedia("(prefers-color-scheme: dark)");
let look;
function readLook() {
  const css = getComputedStyle(document.documentElement);
  const get = (name) => css.getPropertyValue(name).trim();
  look = {
    ink: get("--ink"), soft: get("--soft"), line: get("--line"), panel: get("--panel"),
    up: get("--up"), down: get("--down"), upc: get("--upc"), downc: get("--downc"),
    lines: dark.matches
      ? ["#f0b35a", "#7fd1b9", "#b9a3ff", "#9aa6b5", "#d98fc5", "#8fbf6a", "#e0e36a"]
      : ["#c77700", "#0f8f75", "#7452d6", "#7b8794", "#b0468f", "#548c2f", "#8a8d12"],
  };
}
const plotConfig = {
  displaylogo: false, responsive: true,
  modeBarButtons: [["toImage"]], // only what works without a network
};
const baseLayout = () => ({
  paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
  font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: look.soft },
  margin: { l: 12, r: 76, t: 28, b: 30 },
  hovermode: "x", showlegend: true, dragmode: "zoom",
  legend: { orientation: "h", x: 0, y: 1.0, yanchor: "bottom", font: { color: look.ink } },
  modebar: { bgcolor: "rgba(0,0,0,0)", color: look.soft, activecolor: look.ink },
});
const xAxis = (more) => ({
  showgrid: true, gridcolor: look.line, zeroline: false, showspikes: true, spikemode: "across",
  spikethickness: 1, spikedash: "dot", spikecolor: look.soft, spikesnap: "cursor", ...more,
});
const yAxis = (more) => ({
  side: "right", gridcolor: look.line, zeroline: false, automargin: false,
  tickfont: { size: 11 }, ...more,
});

// Bars stand side by side without gaps for nights and holidays; the axis counts
// bars, and the labels are the dates of the first bar of a year, month, day ...
const LEVELS = [
  [(t) => t.getUTCFullYear(), (t) => `${t.getUTCFullYear()}`],
  [(t) => t.getUTCFullYear() * 4 + Math.floor(t.getUTCMonth() / 3), (t) => `${t.getUTCFullYear()}-${two(t.getUTCMonth() + 1)}`],
  [(t) => t.getUTCFullYear() * 12 + t.getUTCMonth(), (t) => `${t.getUTCFullYear()}-${two(t.getUTCMonth() + 1)}`],
  [(t) => Math.floor((t.getTime() / 864e5 + 3) / 7), (t) => `${two(t.getUTCMonth() + 1)}-${two(t.getUTCDate())}`],
  [(t) => Math.floor(t.getTime() / 864e5), (t) => `${two(t.getUTCMonth() + 1)}-${two(t.getUTCDate())}`],
  [(t) => Math.floor(t.getTime() / 36e5), (t) => `${two(t.getUTCHours())}:${two(t.getUTCMinutes())}`],
  [(t) => Math.floor(t.getTime() / 9e5), (t) => `${two(t.getUTCHours())}:${two(t.getUTCMinutes())}`],
];
function ticks(places, minutes, from, to, most) {
  const inside = [];
  for (let i = 0; i < places.length; i++) if (places[i] >= from && places[i] <= to) inside.push(i);
  let best = [[], []];
  for (const [key, label] of LEVELS) {
    const at = [], text = [];
    let last = null;
    for (const i of inside) {
      const t = new Date(minutes[i] * 60000);
      const now = key(t);
      if (last !== null && now !== last) { at.push(places[i]); text.push(label(t)); }
      last = now;
      if (at.length > 400) break;
    }
    if (at.length > most) {
      // Too many: thin them out only if nothing coarser gave enough.
      if (best[0].length >= 3) break;
      const every = Math.ceil(at.length / most);
      best = [at.filter((v, i) => i % every === 0), text.filter((v, i) => i % every === 0)];
      break;
    }
    if (at.length >= best[0].length) best = [at, text];
  }
  if (!best[0].length && inside.length) {
    const i = inside[0];
    best = [[places[i]], [when(minutes[i])]];
  }
  return { tickmode: "array", tickvals: best[0], ticktext: best[1] };
}
function readout(node, parts) {
  node.replaceChildren(...parts.map(([label, value, className, color]) => {
    const span = make("span", label ? `${label} ` : "");
    if (color) {
      const swatch = make("i", undefined, "swatch");
      swatch.style.background = color;
      span.prepend(swatch);
    }
    span.append(make("b", value, className));
    return span;
  }));
}
const tickRoom = (plot) => Math.max(3, Math.floor(plot.clientWidth / 95));

// Equity, drawdown, exposure.
const equityPlot = $("equity-plot");
let logScale = false;
function drawEquity() {
  const o = data.overview, x = o.at;
  const line = (y, name, color, width, more) => ({
    type: "scatter", mode: "lines", x, y, name, hoverinfo: "none",
    line: { color, width, ...(more || {}) },
  });
  const traces = [line(o.equity, words.equity, look.ink, 1.8)];
  if (o.hold) traces.push(line(o.hold, words.hold, look.lines[0], 1.2));
  if (o.benchmark) traces.push(line(o.benchmark, words.benchmark, look.lines[2], 1.2));
  traces.push(
    { ...line(o.drawdown, words.drawdown, look.down, 1), yaxis: "y2", fill: "tozeroy", fillcolor: `rgba(${look.downc},.18)`, showlegend: false },
    { ...line(o.exposure, words.exposure, look.soft, 1), yaxis: "y3", fill: "tozeroy", fillcolor: `rgba(128,140,155,.22)`, showlegend: false },
  );
  const range = [x[0] ?? 0, x[x.length - 1] ?? 1];
  const title = (text, y) => ({ text, x: 0, y, xref: "paper", yref: "paper", xanchor: "left", yanchor: "bottom", showarrow: false, font: { size: 12, color: look.soft } });
  return Plotly.react(equityPlot, traces, {
    ...baseLayout(),
    xaxis: xAxis({ anchor: "y3", range, autorange: false, ...ticks(x, o.time, range[0], range[1], tickRoom(equityPlot)) }),
    yaxis: yAxis({ domain: [0.44, 1], type: logScale ? "log" : "linear", ...wonTicks(o, range) }),
    yaxis2: yAxis({ domain: [0.2, 0.38], tickformat: ".0%", nticks: 5 }),
    yaxis3: yAxis({ domain: [0, 0.14], tickformat: ".0%", nticks: 4, rangemode: "tozero" }),
    annotations: [title(words.drawdown, 0.385), title(words.exposure, 0.145)],
  }, plotConfig);
}
// Won read better in the reader's own units: 만 and 억, or k and M.
function compact(value) {
  return new Intl.NumberFormat(data.language === "ko" ? "ko-KR" : "en-US", { notation: "compact", maximumFractionDigits: 2 }).format(value);
}
function wonTicks(o, range) {
  let low = Infinity, high = -Infinity;
  for (const column of [o.equity, o.hold, o.benchmark]) {
    if (!column) continue;
    for (let i = 0; i < column.length; i++) {
      if (o.at[i] < range[0] || o.at[i] > range[1] || column[i] === null) continue;
      if (logScale && column[i] <= 0) continue;
      if (column[i] < low) low = column[i];
      if (column[i] > high) high = column[i];
    }
  }
  if (!(high >= low)) return {};
  if (high === low) { high *= 1.01; low *= 0.99; }
  const vals = [];
  if (logScale && high / low > 4) {
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
      for (const digit of [1, 2, 5]) vals.push(digit * 10 ** power);
  } else {
    const rough = (high - low) / 6, unit = 10 ** Math.floor(Math.log10(rough));
    const step = unit * [1, 2, 2.5, 5, 10].find((m) => m * unit >= rough);
    for (let v = Math.ceil(low / step) * step; v <= high + step / 2; v += step) vals.push(v);
  }
  const pad = 0.04;
  const bounds = logScale
    ? [Math.log10(low) - pad * Math.log10(high / low), Math.log10(high) + pad * Math.log10(high / low)]
    : [low - pad * (high - low), high + pad * (high - low)];
  return { tickmode: "array", tickvals: vals, ticktext: vals.map(compact), range: bounds, autorange: false };
}
function equityReadout(i) {
  const o = data.overview;
  if (i < 0 || i >= o.at.length) return;
  const gain = (value) => percent(value / o.start - 1);
  const parts = [["", when(o.time[i])], [words.equity, `${won(o.equity[i])} (${gain(o.equity[i])})`, tone(o.equity[i] - o.start)]];
  if (o.hold && o.hold[i] !== null) parts.push([words.hold, gain(o.hold[i])]);
  if (o.benchmark && o.benchmark[i] !== null) parts.push([words.benchmark, gain(o.benchmark[i])]);
  parts.push([words.drawdown, percent(o.drawdown[i])], [words.exposure, shareFormat.format(o.exposure[i])]);
  readout($("equity-readout"), parts);
}
function equityRange(event) {
  const o = data.overview, last = o.at.length - 1;
  let range;
  if (event["xaxis.range[0]"] !== undefined) range = [event["xaxis.range[0]"], event["xaxis.range[1]"]];
  else if (event["xaxis.range"]) range = event["xaxis.range"];
  else if (event["xaxis.autorange"] || event.whole) range = [o.at[0] ?? 0, o.at[last] ?? 1];
  else return;
  range = [Number(range[0]), Number(range[1])];
  const t = ticks(o.at, o.time, range[0], range[1], tickRoom(equityPlot));
  const y = wonTicks(o, range);
  const change = { "xaxis.range": range, "xaxis.autorange": false, "xaxis.tickvals": t.tickvals, "xaxis.ticktext": t.ticktext };
  if (y.range) Object.assign(change, { "yaxis.range": y.range, "yaxis.autorange": false, "yaxis.tickvals": y.tickvals, "yaxis.ticktext": y.ticktext });
  settle(equityPlot, change);
}
// Our own relayout raises the event that asked for it: that echo is ignored.
const busy = new WeakSet();
function settle(plot, change) {
  busy.add(plot);
  return Plotly.relayout(plot, change).finally(() => busy.delete(plot));
}
function startEquity() {
  equityPlot.on("plotly_hover", (event) => equityReadout(event.points[0].pointIndex));
  equityPlot.on("plotly_relayout", (event) => { if (!busy.has(equityPlot)) equityRange(event); });
  const scale = (log) => {
    logScale = log;
    $("log").setAttribute("aria-pressed", String(log));
    $("linear").setAttribute("aria-pressed", String(!log));
    drawEquity();
  };
  $("log").addEventListener("click", () => scale(true));
  $("linear").addEventListener("click", () => scale(false));
  $("equity-all").addEventListener("click", () => equityRange({ whole: true }));
}

// Candles.
const symbolPlot = $("symbol-plot");
// A candle or volume bar narrower than this vanishes between two pixels.
const CANDLE_PX = 2;
const texts = new Map();
const unpacked = new Map();
let shown = null, view = null, drawn = null, turn = 0;

async function chartOf(code) {
  if (unpacked.has(code)) return unpacked.get(code);
  const node = texts.get(code);
  if (!node) return null;
  const packed = await unpack(node.textContent);
  const n = packed.n, chart = { n, lines: [] };
  const raw = {};
  for (const column of packed.columns) {
    if (column.name) { raw[column.name] = column; continue; }
    const values = new Float64Array(n);
    for (let i = 0; i < n; i++) values[i] = column.values[i] * column.step;
    for (let g = 0; g < column.gaps.length; g += 2) values.fill(NaN, column.gaps[g], column.gaps[g + 1]);
    // Minus one, nought and one are a signal: worth reading, not worth a plot.
    const signal = !column.overlay && values.every((v) => Number.isNaN(v) || v === 0 || Math.abs(v) === 1);
    chart.lines.push({ name: column.line, overlay: column.overlay, values, signal });
  }
  const close = raw.close.values, step = raw.close.step;
  for (const name of ["open", "high", "low", "close", "volume"]) chart[name] = new Float64Array(n);
  chart.minute = new Int32Array(n);
  for (let i = 0; i < n; i++) {
    const open = close[i] + raw.open.values[i];
    chart.minute[i] = axis[raw.at.values[i]];
    chart.open[i] = open * step;
    chart.close[i] = close[i] * step;
    chart.high[i] = (Math.max(open, close[i]) + raw.high.values[i]) * step;
    chart.low[i] = (Math.min(open, close[i]) - raw.low.values[i]) * step;
    chart.volume[i] = raw.volume.values[i] * raw.volume.step;
  }
  chart.fills = fillsOf(code, chart);
  if (unpacked.size > 12) unpacked.delete(unpacked.keys().next().value);
  unpacked.set(code, chart);
  return chart;
}
function barAt(chart, minute) {
  let low = 0, high = chart.n;
  while (low < high) { const mid = (low + high) >> 1; if (chart.minute[mid] < minute) low = mid + 1; else high = mid; }
  return Math.min(low, chart.n - 1);
}
function fillsOf(code, chart) {
  const f = data.fills, wanted = data.symbols.findIndex((s) => s.code === code), found = [];
  for (let i = 0; i < f.symbol.length; i++)
    if (f.symbol[i] === wanted) found.push({ at: barAt(chart, f.bar[i]), buy: f.buy[i] === 1, price: f.price[i], quantity: f.quantity[i], reason: f.reason[i], minute: f.bar[i] });
  return found;
}

// A candle per bar, or per group of bars where the screen has no room for all.
function grouped(chart, from, to, size) {
  const out = { x: [], open: [], high: [], low: [], close: [], volume: [], color: [] };
  for (let i = from; i < to; i += size) {
    const end = Math.min(i + size, to);
    let high = -Infinity, low = Infinity, volume = 0;
    for (let k = i; k < end; k++) {
      if (chart.high[k] > high) high = chart.high[k];
      if (chart.low[k] < low) low = chart.low[k];
      volume += chart.volume[k];
    }
    out.x.push((i + end - 1) / 2);
    out.open.push(chart.open[i]); out.close.push(chart.close[end - 1]);
    out.high.push(high); out.low.push(low); out.volume.push(volume);
    out.color.push(chart.close[end - 1] >= chart.open[i] ? `rgba(${look.upc},.55)` : `rgba(${look.downc},.55)`);
  }
  return out;
}
// Lines of one indicator share a plot, and those of one setting a colour.
const family = (name) => name.split(/[\s.(]/)[0];
const setting = (name) => name.replace(/\)[\s.].*$/, ")");
function lineColor(chart, line) {
  const known = [...new Set(chart.lines.filter((l) => !l.signal).map((l) => setting(l.name)))];
  return look.lines[known.indexOf(setting(line.name)) % look.lines.length];
}

function drawSymbol() {
  const chart = shown && shown.chart;
  if (!chart) return Promise.resolve();
  const span = Math.max(5, view[1] - view[0]);
  const room = Math.max(100, (symbolPlot.clientWidth - 90) / CANDLE_PX);
  const size = Math.max(1, Math.ceil(span / room));
  const from = Math.max(0, Math.floor((view[0] - span) / size) * size);
  const to = Math.min(chart.n, Math.ceil((view[1] + span) / size) * size);
  drawn = { from, to, size };
  const c = grouped(chart, from, to, size);
  const panes = [...new Set(chart.lines.filter((l) => !l.overlay && !l.signal).map((l) => family(l.name)))].slice(0, 4);
  const height = `${480 + 95 * panes.length}px`;
  if (symbolPlot.style.height !== height) symbolPlot.style.height = height;
  const below = 0.14, gap = 0.03;
  const floor = panes.length * (below + gap);
  const traces = [{
    type: "candlestick", x: c.x, open: c.open, high: c.high, low: c.low, close: c.close, name: words.price,
    hoverinfo: "none", showlegend: false,
    increasing: { line: { color: look.up, width: 1 }, fillcolor: look.up },
    decreasing: { line: { color: look.down, width: 1 }, fillcolor: look.down },
  }, {
    type: "bar", x: c.x, y: c.volume, yaxis: "y2", marker: { color: c.color, line: { width: 0 } }, width: size > 1 ? size : 0.8,
    hoverinfo: "none", showlegend: false, name: words.volume,
  }];
  const at = [];
  for (let i = from; i < to; i += size) at.push(Math.min(i + size, to) - 1);
  for (const line of chart.lines) {
    const pane = line.overlay ? -1 : panes.indexOf(family(line.name));
    if (!line.overlay && pane < 0) continue;
    traces.push({
      type: "scatter", mode: "lines", x: at, y: at.map((i) => (Number.isNaN(line.values[i]) ? null : line.values[i])),
      name: plain(line.name), hoverinfo: "none", connectgaps: false,
      yaxis: line.overlay ? "y" : `y${pane + 3}`, line: { width: 1.2, color: lineColor(chart, line) },
    });
  }
  const marks = chart.fills.filter((f) => f.at >= from && f.at < to);
  for (const buy of [true, false]) {
    const mine = marks.filter((f) => f.buy === buy);
    traces.push({
      type: "scatter", mode: "markers", x: mine.map((f) => f.at), y: mine.map((f) => f.price),
      name: buy ? words.buy : words.sell, hoverinfo: "text", hovertemplate: "%{text}<extra></extra>",
      text: mine.map((f) => `${when(f.minute)}<br>${buy ? words.buy : words.sell} ${number.format(f.quantity)} × ${price(f.price)}${f.reason ? `<br>${plain(f.reason)}` : ""}`),
      marker: { symbol: buy ? "triangle-up" : "triangle-down", size: span > 500 ? 8 : 12, color: buy ? look.up : look.down, line: { color: look.panel, width: 1.5 } },
    });
  }
  const axes = {}, shapes = [], annotations = [];
  panes.forEach((name, k) => {
    const top = floor - gap - k * (below + gap);
    axes[`yaxis${k + 3}`] = yAxis({ domain: [top - below, top], nticks: 4 });
    annotations.push({ text: plain(name), x: 0, y: top, xref: "paper", yref: "paper", xanchor: "left", yanchor: "top", showarrow: false, font: { size: 11, color: look.soft } });
    for (const value of data.guides[name] || [])
      shapes.push({ type: "line", xref: "paper", x0: 0, x1: 1, yref: `y${k + 3}`, y0: value, y1: value, line: { color: look.soft, width: 1, dash: "dot" } });
  });
  const bottom = panes.length ? `y${panes.length + 2}` : "y2";
  const minutes = Array.from(at, (i) => chart.minute[i]);
  $("symbol-note").textContent = size > 1 ? fill(words.barsGrouped, { count: size }) : "";
  return Plotly.react(symbolPlot, traces, {
    ...baseLayout(), showlegend: false, margin: { l: 12, r: 76, t: 8, b: 30 }, dragmode: "pan", shapes, bargap: 0, annotations,
    xaxis: xAxis({ anchor: bottom, range: view, autorange: false, rangeslider: { visible: false }, ...ticks(at, minutes, view[0], view[1], tickRoom(symbolPlot)) }),
    yaxis: yAxis({ domain: [floor + 0.16, 1], tickformat: ",", range: priceRange(chart), autorange: false }),
    yaxis2: yAxis({ domain: [floor, floor + 0.13], rangemode: "tozero", fixedrange: true, ...volumeTicks(c) }),
    ...axes,
  }, { ...plotConfig, scrollZoom: true });
}
function volumeTicks(c) {
  let most = 0;
  for (let i = 0; i < c.x.length; i++) if (c.x[i] >= view[0] && c.x[i] <= view[1] && c.volume[i] > most) most = c.volume[i];
  if (!most) return {};
  const unit = 10 ** Math.floor(Math.log10(most)), half = [5, 2, 1, 0.5].find((m) => m * unit <= most * 0.9) * unit;
  return { range: [0, most * 1.05], tickmode: "array", tickvals: [0, half], ticktext: ["0", compact(half)] };
}
function priceRange(chart) {
  let low = Infinity, high = -Infinity;
  const from = Math.max(0, Math.floor(view[0])), to = Math.min(chart.n, Math.ceil(view[1]) + 1);
  for (let i = from; i < to; i++) {
    if (chart.low[i] < low) low = chart.low[i];
    if (chart.high[i] > high) high = chart.high[i];
  }
  if (!(high >= low)) return undefined;
  const pad = Math.max((high - low) * 0.06, high * 0.002);
  return [low - pad, high + pad];
}
function lookAt(from, to) {
  const chart = shown.chart, width = Math.max(5, to - from);
  view = [Math.max(-1, Math.min(from, chart.n - 5)), 0];
  view[1] = Math.min(chart.n, view[0] + width);
}
let waiting = 0;
function symbolMoved(event) {
  if (busy.has(symbolPlot) || !shown || !shown.chart) return;
  if (event["xaxis.range[0]"] !== undefined) lookAt(Number(event["xaxis.range[0]"]), Number(event["xaxis.range[1]"]));
  else if (event["xaxis.range"]) lookAt(...event["xaxis.range"].map(Number));
  else if (event["xaxis.autorange"]) lookAt(-1, shown.chart.n);
  else return;
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    busy.add(symbolPlot);
    drawSymbol().finally(() => busy.delete(symbolPlot));
  }, 40);
}
function symbolReadout(i) {
  const c = shown && shown.chart;
  if (!c || i < 0 || i >= c.n) return;
  const before = i ? c.close[i - 1] : c.open[i], change = before ? c.close[i] / before - 1 : 0;
  const parts = [["", when(c.minute[i])], [words.open, price(c.open[i])], [words.high, price(c.high[i])], [words.low, price(c.low[i])],
    [words.close, `${price(c.close[i])} (${percent(change)})`, tone(change)], [words.volume, number.format(c.volume[i])]];
  for (const line of c.lines) if (!Number.isNaN(line.values[i])) parts.push([line.name, price(line.values[i]), "", line.signal ? "" : lineColor(c, line)]);
  readout($("symbol-readout"), parts);
}
async function showSymbol(code, around) {
  const mine = ++turn;
  const info = data.symbols.find((s) => s.code === code);
  const chart = await chartOf(code);
  if (mine !== turn) return;
  shown = { code, chart };
  $("symbol-title").textContent = `${code} ${info.name}`.trim();
  for (const item of $("symbol-list").children) item.setAttribute("aria-selected", String(item.dataset.code === code));
  if (!chart) {
    $("symbol-readout").textContent = words.noCandles;
    Plotly.purge(symbolPlot);
    symbolPlot.replaceChildren();
    delete symbolPlot.dataset.code;
    return;
  }
  if (around) {
    const a = barAt(chart, around[0]), b = barAt(chart, around[1]), room = Math.max(30, b - a);
    lookAt(a - room, b + room);
  } else lookAt(chart.n - 250, chart.n);
  await drawSymbol();
  if (!symbolPlot.dataset.wired) {
    symbolPlot.dataset.wired = "yes";
    symbolPlot.on("plotly_relayout", symbolMoved);
    symbolPlot.on("plotly_hover", (event) => symbolReadout(Math.round(event.points[0].x)));
  }
  symbolPlot.dataset.code = code;
  symbolReadout(Math.min(chart.n - 1, Math.floor(view[1])));
}
function startSymbols() {
  const list = $("symbol-list"), search = $("symbol-search");
  const order = [...data.symbols].sort((a, b) => Number(b.drawn) - Number(a.drawn) || Number(b.trades > 0) - Number(a.trades > 0) || (a.code < b.code ? -1 : 1));
  const items = order.map((s, k) => {
    const item = make("li");
    item.id = `symbol-${k}`;
    item.dataset.code = s.code;
    item.setAttribute("role", "option");
    item.setAttribute("aria-selected", "false");
    item.title = `${s.code} ${s.name}`.trim();
    item.append(make("span", s.name || s.code, "name"), make("span", s.trades ? signedWon(s.net) : "", tone(s.net)));
    const small = make("small");
    small.append(make("span", [s.code, s.market, s.product === "STOCK" ? "" : s.product].filter(Boolean).join(" · ")), make("span", s.trades ? fill(words.tradesOf, { count: number.format(s.trades) }) : ""));
    item.append(small);
    return item;
  });
  const none = make("li", words.noSymbols, "empty");
  const filter = () => {
    const wanted = search.value.trim().toLowerCase();
    const keep = items.filter((item, k) => `${order[k].code} ${order[k].name}`.toLowerCase().includes(wanted));
    list.replaceChildren(...(keep.length ? keep : [none]));
  };
  const choose = (item) => {
    if (!item || !item.dataset.code) return;
    list.setAttribute("aria-activedescendant", item.id);
    item.scrollIntoView({ block: "nearest" });
    showSymbol(item.dataset.code);
  };
  list.addEventListener("click", (event) => choose(event.target.closest("li")));
  list.addEventListener("keydown", (event) => {
    const all = [...list.children], now = all.findIndex((item) => item.getAttribute("aria-selected") === "true");
    const to = { ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(all[Math.max(0, Math.min(all.length - 1, to))]);
  });
  search.addEventListener("input", filter);
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === "ArrowDown") { event.preventDefault(); choose(list.firstElementChild); list.focus(); }
  });
  $("spans").addEventListener("click", (event) => {
    const bars = event.target.dataset.bars;
    if (bars === undefined || !shown || !shown.chart) return;
    const n = shown.chart.n, wide = Number(bars) || n + 1, end = Math.min(n, Math.max(view[1], wide));
    lookAt(end - wide, end);
    drawSymbol();
  });
  filter();
  return order[0];
}

// Trades.
const PAGE = 25;
const COLUMNS = ["symbol", "entryTime", "entryPrice", "exitTime", "exitPrice", "quantity", "gross", "costs", "net", "returnPct", "bars", "entryReason", "exitReason"];
const LEFT = new Set(["symbol", "entryTime", "exitTime", "entryReason", "exitReason"]);
const table = { rows: [], sort: "exitTime", up: false, page: 0 };
function cell(name, i) {
  const t = data.trades, value = t[name][i];
  if (name === "symbol") return `${data.symbols[value].code} ${data.symbols[value].name}`.trim();
  if (name === "entryTime" || name === "exitTime") return when(value);
  if (name === "entryPrice" || name === "exitPrice") return price(value);
  if (name === "returnPct") return percent(value / 100);
  if (name === "quantity" || name === "bars") return number.format(value);
  if (name === "entryReason" || name === "exitReason") return value;
  return whole(value);
}
function sortKey(name, i) {
  const value = data.trades[name][i];
  return name === "symbol" ? data.symbols[value].code : value;
}
function selectTrades() {
  const t = data.trades, wanted = $("f-symbol").value.trim().toLowerCase();
  const entry = $("f-entry").value, exit = $("f-exit").value, result = $("f-result").value;
  const match = data.symbols.map((s) => `${s.code} ${s.name}`.toLowerCase().includes(wanted));
  table.rows = [];
  for (let i = 0; i < t.symbol.length; i++)
    if (match[t.symbol[i]] && (!entry || `=${t.entryReason[i]}` === entry) && (!exit || `=${t.exitReason[i]}` === exit) && (!result || (result === "win") === (t.net[i] > 0))) table.rows.push(i);
  const sign = table.up ? 1 : -1;
  const keys = new Map(table.rows.map((i) => [i, sortKey(table.sort, i)]));
  table.rows.sort((a, b) => { const x = keys.get(a), y = keys.get(b); return (x < y ? -sign : x > y ? sign : a - b); });
  table.page = 0;
  drawTrades();
}
function drawTrades() {
  const body = $("trade-table").tBodies[0], total = table.rows.length, first = table.page * PAGE;
  const rows = table.rows.slice(first, first + PAGE).map((i) => {
    const row = make("tr");
    for (const name of COLUMNS) {
      const node = make("td", undefined, LEFT.has(name) ? (name.endsWith("Time") ? "t" : "") : "n");
      if (name === "symbol") {
        const button = make("button", cell(name, i), "symbol");
        button.type = "button";
        button.title = words.showOnChart;
        button.addEventListener("click", () => {
          showSymbol(data.symbols[data.trades.symbol[i]].code, [data.trades.entryTime[i], data.trades.exitTime[i]]);
          $("candles").scrollIntoView();
        });
        node.append(button);
        node.title = button.textContent;
      } else node.textContent = cell(name, i);
      if (name.endsWith("Reason")) { node.className = "reason"; node.title = node.textContent; }
      if (name === "net" || name === "returnPct" || name === "gross") node.classList.add(tone(data.trades[name][i]) || "n");
      row.append(node);
    }
    return row;
  });
  if (!rows.length) {
    const row = make("tr"), node = make("td", words.noTrades, "empty");
    node.colSpan = COLUMNS.length;
    row.append(node);
    rows.push(row);
  }
  body.replaceChildren(...rows);
  let net = 0;
  for (const i of table.rows) net += data.trades.net[i];
  $("page-state").textContent = total ? `${fill(words.rows, { first: number.format(first + 1), last: number.format(Math.min(first + PAGE, total)), total: number.format(total) })} · ${fill(words.sum, { net: signedWon(net) })}` : "";
  $("page-back").disabled = table.page === 0;
  $("page-next").disabled = first + PAGE >= total;
  for (const head of $("trade-table").tHead.rows[0].cells)
    head.setAttribute("aria-sort", head.dataset.name === table.sort ? (table.up ? "ascending" : "descending") : "none");
}
function csvCell(text) {
  // A spreadsheet must not take a reason for a formula.
  const safe = /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
}
function tradesAsCsv() {
  const raw = (name, i) => {
    const value = data.trades[name][i];
    if (name === "symbol" || name.endsWith("Time")) return cell(name, i);
    return String(value);
  };
  const lines = [COLUMNS.map((name) => csvCell(words[name])).join(",")];
  for (const i of table.rows) lines.push(COLUMNS.map((name) => csvCell(raw(name, i))).join(","));
  return lines.join("\r\n");
}
async function copy(text) {
  if (navigator.clipboard && window.isSecureContext) {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* the older way follows */ }
  }
  const area = make("textarea", text);
  area.style.position = "fixed";
  area.style.opacity = "0";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}
function startTrades() {
  const head = make("tr");
  for (const name of COLUMNS) {
    const th = make("th", undefined, LEFT.has(name) ? "" : "n");
    th.scope = "col";
    th.dataset.name = name;
    const button = make("button", words[name]);
    button.type = "button";
    button.addEventListener("click", () => {
      table.up = table.sort === name ? !table.up : LEFT.has(name);
      table.sort = name;
      selectTrades();
    });
    th.append(button);
    head.append(th);
  }
  $("trade-table").tHead.replaceChildren(head);
  for (const [id, name] of [["f-entry", "entryReason"], ["f-exit", "exitReason"]]) {
    for (const reason of [...new Set(data.trades[name])].sort()) {
      const option = make("option", reason || words.noReason);
      option.value = `=${reason}`;
      $(id).append(option);
    }
  }
  $("trade-filters").addEventListener("input", selectTrades);
  $("trade-filters").addEventListener("submit", (event) => event.preventDefault());
  $("trade-filters").addEventListener("reset", () => setTimeout(selectTrades));
  $("page-back").addEventListener("click", () => { table.page -= 1; drawTrades(); });
  $("page-next").addEventListener("click", () => { table.page += 1; drawTrades(); });
  $("copy-csv").addEventListener("click", async () => {
    const done = await copy(tradesAsCsv());
    $("copy-state").textContent = done ? fill(words.copied, { count: number.format(table.rows.length) }) : words.copyFailed;
  });
  selectTrades();
}

// Start.
async function start() {
  data = JSON.parse(new TextDecoder().decode(await inflate($("payload").textContent)));
  words = data.words;
  const locale = data.language === "ko" ? "ko-KR" : "en-US";
  number = new Intl.NumberFormat(locale);
  decimals = new Intl.NumberFormat(locale, { maximumFractionDigits: 4 });
  percentFormat = new Intl.NumberFormat(locale, { style: "percent", minimumFractionDigits: 2, maximumFractionDigits: 2, signDisplay: "exceptZero" });
  shareFormat = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 1 });
  axis = (await unpack($("axis").textContent)).columns[0].values;
  for (const node of document.querySelectorAll("script.chart")) texts.set(node.dataset.code, node);
  readLook();
  startTrades();
  if (data.overview.at.length) {
    await drawEquity();
    startEquity();
    equityReadout(data.overview.at.length - 1);
  }
  const first = startSymbols();
  if (first) await showSymbol(first.code);
  const again = () => { readLook(); if (data.overview.at.length) drawEquity(); drawSymbol(); };
  dark.addEventListener("change", again);
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
}
start().catch((error) => {
  const old = typeof DecompressionStream === "undefined";
  $("fault").hidden = false;
  $("fault").textContent = old && words === undefined ? $("fault").dataset.old : String(error);
  document.documentElement.dataset.ready = "failed";
  console.error(error);
});
})();
