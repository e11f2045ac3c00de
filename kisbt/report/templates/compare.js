"use strict";
(() => {
const $ = (id) => document.getElementById(id);
async function inflate(text) {
  const bytes = Uint8Array.from(atob(text.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).text();
}
const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
// Minutes are naive KST; plotly shows a text without a zone as it is.
const day = (minute) => new Date(minute * 60000).toISOString().slice(0, 16).replace("T", " ");
async function start() {
  const data = JSON.parse(await inflate($("payload").textContent));
  const locale = data.language === "ko" ? "ko-KR" : "en-US";
  const percent = new Intl.NumberFormat(locale, { style: "percent", minimumFractionDigits: 2, signDisplay: "exceptZero" });
  const number = new Intl.NumberFormat(locale);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const plot = $("plot");
  let log = false;
  const gains = data.curves.flatMap((curve) => curve.gain).filter((gain) => gain !== null);
  const minutes = data.curves.flatMap((curve) => curve.time);
  const least = (list) => list.reduce((a, b) => Math.min(a, b), Infinity), most = (list) => list.reduce((a, b) => Math.max(a, b), -Infinity);
  // Curves of a single session: the date says nothing, and whole per cents too little.
  const clock = most(minutes) - least(minutes) < 3 * 1440 ? "%m-%d %H:%M" : "%Y-%m-%d";
  const share = most(gains) - least(gains) < 0.05 ? ".2%" : ".0%";
  const draw = () => {
    const css = getComputedStyle(document.documentElement);
    const get = (name) => css.getPropertyValue(name).trim();
    const colors = [get("--ink"), dark.matches ? "#f0b35a" : "#c77700"];
    const axis = { gridcolor: get("--line"), zeroline: false };
    return Plotly.react(plot, data.curves.map((curve, k) => ({
      type: "scatter", mode: "lines", name: `${"AB"[k]} ${plain(curve.name)}`, x: curve.time.map(day), y: log ? curve.gain.map((gain) => 1 + gain) : curve.gain,
      hoverinfo: "none", line: { width: k ? 1.4 : 1.8, color: colors[k] },
    })), {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: get("--soft") },
      margin: { l: 12, r: 76, t: 28, b: 30 }, hovermode: "x", showlegend: true,
      legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", font: { color: get("--ink") } },
      xaxis: { ...axis, type: "date", tickformat: clock, hoverformat: clock },
      yaxis: { ...axis, side: "right", type: log ? "log" : "linear", tickformat: log ? "~g" : share, ticksuffix: log ? "×" : "", dtick: log ? "D2" : undefined },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: get("--soft"), activecolor: get("--ink") },
    }, { displaylogo: false, responsive: true, modeBarButtons: [["toImage"]] });
  };
  await draw();
  plot.on("plotly_hover", (event) => {
    const parts = event.points.map((point) => {
      const curve = data.curves[point.curveNumber], i = point.pointIndex, span = document.createElement("span");
      const value = document.createElement("b");
      value.textContent = `${percent.format(curve.gain[i])} (${data.words.wonAmount.replace("{amount}", number.format(curve.equity[i]))})`;
      span.append(`${"AB"[point.curveNumber]} ${day(curve.time[i])} `, value);
      return span;
    });
    $("readout").replaceChildren(...parts);
  });
  const scale = (wanted) => {
    log = wanted;
    $("log").setAttribute("aria-pressed", String(log));
    $("linear").setAttribute("aria-pressed", String(!log));
    draw();
  };
  $("log").addEventListener("click", () => scale(true));
  $("linear").addEventListener("click", () => scale(false));
  dark.addEventListener("change", draw);
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
}
start().catch((error) => {
  $("fault").hidden = false;
  $("fault").textContent = String(error);
  document.documentElement.dataset.ready = "failed";
  console.error(error);
});
})();
