// The curves of a run, one plot a metric: zoom by dragging, smoothing, a second run beside it.

import { Plot, make, whenLooksChange } from "./plot.js";

const host = document.querySelector("[data-series]");
const series = JSON.parse(host.dataset.series);
const control = (name) => document.querySelector(`[data-${name}]`);
const [smooth, log, axis] = ["smooth", "log", "axis"].map(control);
let zoom = null; // [from, to] on the x axis, shared by all plots

function points(run, metric) {
  const rows = run.curves?.[metric] ?? [];
  if (axis.value === "step") return rows.map(([step, value]) => [step, value]);
  const start = rows[0]?.[2] ?? 0;
  // Times are microseconds, milliseconds or seconds; the axis shows seconds since the first point.
  const unit = start > 1e14 ? 1e6 : start > 1e11 ? 1e3 : 1;
  return rows.map(([, value, time]) => [(time - start) / unit, value]);
}

const metrics = [...new Set(series.flatMap((run) => Object.keys(run.curves ?? {})))];
const plots = metrics.map((metric) => new Plot(metric, (part) => { zoom = part; drawAll(); }));

function drawAll() {
  control("smooth-value").textContent = smooth.value;
  const view = { weight: Number(smooth.value), logX: false, logY: log.checked, zoom };
  plots.forEach((plot) => plot.show(
    series.map((run, n) => ({ label: run.label, ink: n ? "--held" : "--accent", points: points(run, plot.title) })),
    view,
  ));
}

if (series.length > 1) {
  const legend = make("p", "legend");
  series.forEach((run, n) => {
    const mark = make("i", n ? "two" : "one");
    const item = make("span", mark.className);
    item.append(mark, run.label);
    legend.append(item);
  });
  host.before(legend);
}
host.append(...plots.map((plot) => plot.box));
for (const field of [smooth, log, axis]) field.addEventListener("input", () => {
  if (field === axis) zoom = null;
  drawAll();
});
control("reset").addEventListener("click", () => { zoom = null; drawAll(); });
whenLooksChange(drawAll);
drawAll();
