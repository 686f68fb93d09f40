// The metrics of runs, one chart a metric, the runs over each other. A chart is made when it comes into
// view and let go when it leaves it; its points are asked for in as many as it has pixels.

import { Plot, make, whenLooksChange } from "./plot.js";

const host = document.querySelector("[data-charts]");
const { runs, keys } = JSON.parse(host.dataset.charts);
const control = (name) => document.querySelector(`[data-chart-${name}]`);
const [smooth, axis, logX, logY, find, reset, told] =
  ["smooth", "axis", "log-x", "log-y", "find", "reset", "told"].map(control);
// Points that one call gives of a run at most.
const POINTS_MAX = 2500;
// Metrics whose points are kept.
const KEPT_MAX = 200;
// Calls under way at once.
const CALLS_MAX = 4;
const INKS = 10;
const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3]];
const view = { weight: 0, logX: false, logY: false, zoom: null };
const kept = new Map();
const shown = new Map();

const ink = (n) => `--run-${n % INKS}`;
const dash = (n) => DASHES[Math.floor(n / INKS) % DASHES.length];

// At most so many calls at once, in the order in which they were asked for.
let free = CALLS_MAX;
const waiting = [];
async function inTurn(work) {
  if (free === 0) await new Promise((go) => waiting.push(go));
  else free -= 1;
  try {
    return await work();
  } finally {
    if (waiting.length) waiting.shift()();
    else free += 1;
  }
}

function history(key, width) {
  const known = kept.get(key);
  if (known) {
    kept.delete(key);
    kept.set(key, known);
    return known;
  }
  const asked = inTurn(async () => {
    const query = new URLSearchParams(runs.map((run) => ["run_ids", run.id]));
    query.set("metric_key", key);
    query.set("max_results", Math.min(POINTS_MAX, Math.max(100, Math.round(width))));
    const reply = await fetch(`/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?${query}`);
    const said = await reply.json().catch(() => ({}));
    if (!reply.ok) throw new Error(said.message ?? said.error?.message ?? `status ${reply.status}`);
    const of = new Map(runs.map((run) => [run.id, []]));
    for (const point of said.metrics ?? []) of.get(point.run_id)?.push({ ...point, value: Number(point.value) });
    return of;
  });
  asked.catch(() => kept.delete(key));
  kept.set(key, asked);
  if (kept.size > KEPT_MAX) kept.delete(kept.keys().next().value);
  return asked;
}

// The value of a metric at a step: that of the last point before it.
function at(points, step) {
  let [low, high] = [0, points.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle].step <= step) low = middle + 1;
    else high = middle;
  }
  return points[low - 1]?.value;
}

function pairs(points, across) {
  const inSteps = points.toSorted((a, b) => a.step - b.step || a.timestamp - b.timestamp);
  if (axis.value === "step") return inSteps.map((point) => [point.step, point.value]);
  if (axis.value === "time") {
    const start = points[0]?.timestamp;
    return points.map((point) => [(point.timestamp - start) / 1000, point.value]).toSorted((a, b) => a[0] - b[0]);
  }
  const other = across.toSorted((a, b) => a.step - b.step || a.timestamp - b.timestamp);
  return inSteps.map((point) => [at(other, point.step), point.value]).filter(([x]) => Number.isFinite(x)).toSorted((a, b) => a[0] - b[0]);
}

async function fill(place) {
  const plot = new Plot(place.dataset.key, (part) => { view.zoom = part; drawAll(); });
  shown.set(place, plot);
  place.replaceChildren(plot.box);
  await load(place, plot);
}

async function load(place, plot) {
  try {
    const width = plot.canvas.clientWidth;
    const across = axis.value.startsWith("metric:") ? await history(axis.value.slice(7), width) : null;
    const points = await history(plot.title, width);
    if (shown.get(place) !== plot) return;
    const lines = runs.map((run, n) => ({
      label: run.label, ink: ink(n), dash: dash(n), points: pairs(points.get(run.id), across?.get(run.id) ?? []),
    }));
    plot.box.classList.add("loaded");
    plot.show(lines, view);
  } catch (error) {
    plot.box.replaceChildren(make("figcaption", "", plot.title), make("p", "bad-text pad", error.message));
  }
}

const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting && !shown.has(target)) fill(target);
    else if (!isIntersecting && shown.delete(target)) target.replaceChildren();
  }
}, { rootMargin: "240px" });

// The charts whose metric has the words that are looked for.
function choose() {
  const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = keys.filter((key) => words.every((word) => key.toLowerCase().includes(word)));
  watcher.disconnect();
  shown.clear();
  const places = found.map((key) => {
    const place = make("div", "chart-place");
    place.dataset.key = key;
    return place;
  });
  host.replaceChildren(...places);
  places.forEach((place) => watcher.observe(place));
  told.textContent = found.length === keys.length ? `${keys.length}` : `${found.length} of ${keys.length}`;
}

function drawAll() {
  control("smooth-value").textContent = smooth.value;
  shown.forEach((plot) => plot.box.classList.contains("loaded") && plot.show(plot.lines, view));
}

// What is set stays in the address, so that a link shows the same.
const fields = { smooth, axis, logx: logX, logy: logY, charts: find };
function remember() {
  const address = new URL(location.href);
  for (const [name, field] of Object.entries(fields)) {
    const value = field.type === "checkbox" ? (field.checked ? "1" : "") : field.value;
    if (value && value !== "0" && value !== "step") address.searchParams.set(name, value);
    else address.searchParams.delete(name);
  }
  window.history.replaceState(null, "", address);
  keep();
}

// Links to the same charts keep what is set.
function keep() {
  for (const link of document.querySelectorAll("a[data-keep]")) {
    const to = new URL(link.href);
    for (const name of Object.keys(fields)) {
      const value = new URL(location.href).searchParams.get(name);
      if (value === null) to.searchParams.delete(name);
      else to.searchParams.set(name, value);
    }
    link.href = to;
  }
}

function take() {
  Object.assign(view, { weight: Number(smooth.value), logX: logX.checked, logY: logY.checked });
}

for (const key of keys) axis.append(new Option(key, `metric:${key}`));
const address = new URL(location.href).searchParams;
for (const [name, field] of Object.entries(fields)) {
  const value = address.get(name);
  if (value === null) continue;
  if (field.type === "checkbox") field.checked = value === "1";
  else if (field !== axis || [...axis.options].some((option) => option.value === value)) field.value = value;
}
if (runs.length > 1) {
  const legend = make("p", "legend");
  runs.forEach((run, n) => {
    const item = make("span", "", run.label);
    const mark = make("i");
    mark.style.background = `var(${ink(n)})`;
    item.prepend(mark);
    legend.append(item);
  });
  host.before(legend);
}
take();
keep();
choose();
drawAll();
for (const field of [smooth, logX, logY]) field.addEventListener("input", () => { take(); remember(); drawAll(); });
axis.addEventListener("input", () => {
  view.zoom = null;
  remember();
  shown.forEach((plot, place) => load(place, plot));
});
find.addEventListener("input", () => { remember(); choose(); });
reset.addEventListener("click", () => { view.zoom = null; drawAll(); });
whenLooksChange(drawAll);
