// The curves of a run, one plot a metric: zoom by dragging, smoothing, a second run beside it.

const host = document.querySelector("[data-series]");
const series = JSON.parse(host.dataset.series);
const control = (name) => document.querySelector(`[data-${name}]`);
const [smooth, log, axis] = ["smooth", "log", "axis"].map(control);
const inset = { left: 52, right: 16, top: 10, bottom: 22 };
const plots = [];
let zoom = null; // [from, to] on the x axis, shared by all plots

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const figure = (value) => {
  const size = Math.abs(value);
  return size !== 0 && (size < 0.001 || size >= 1e5) ? value.toExponential(1) : String(+value.toPrecision(4));
};

// Resolves light-dark() and other functions to a colour that a canvas takes.
const probe = document.createElement("span");
probe.hidden = true;
document.body.append(probe);
function ink(name) {
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

// An exponential average that starts unbiased.
function smoothed(points, weight) {
  let [sum, norm] = [0, 0];
  return points.map(([x, y]) => {
    sum = sum * weight + y * (1 - weight);
    norm = norm * weight + (1 - weight);
    return [x, sum / norm];
  });
}

function points(run, metric) {
  const rows = run.curves?.[metric] ?? [];
  if (axis.value === "step") return rows.map(([step, value]) => [step, value]);
  const start = rows[0]?.[2] ?? 0;
  // Times are microseconds, milliseconds or seconds; the axis shows seconds since the first point.
  const unit = start > 1e14 ? 1e6 : start > 1e11 ? 1e3 : 1;
  return rows.map(([, value, time]) => [(time - start) / unit, value]);
}

function ticks(from, to, count) {
  const step = 10 ** Math.floor(Math.log10((to - from) / count || 1));
  const nice = [1, 2, 5, 10].map((factor) => factor * step).find((size) => (to - from) / size <= count) ?? step;
  const first = Math.ceil(from / nice) * nice;
  return Array.from({ length: Math.max(0, Math.floor((to - first) / nice + 1e-9)) + 1 }, (_, n) => first + n * nice);
}

class Plot {
  constructor(metric) {
    this.metric = metric;
    const box = document.createElement("figure");
    box.className = "plot";
    const caption = document.createElement("figcaption");
    this.read = document.createElement("span");
    caption.append(metric, this.read);
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("role", "img");
    box.append(caption, this.canvas);
    host.append(box);
    this.listen();
  }

  listen() {
    const at = (event) => event.clientX - this.canvas.getBoundingClientRect().left;
    this.canvas.addEventListener("pointerdown", (event) => {
      this.drag = [at(event), at(event)];
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      this.hover = at(event);
      if (this.drag) this.drag[1] = this.hover;
      this.draw();
    });
    this.canvas.addEventListener("pointerleave", () => { this.hover = null; this.draw(); });
    this.canvas.addEventListener("pointerup", () => {
      const [a, b] = (this.drag ?? [0, 0]).toSorted((x, y) => x - y);
      this.drag = null;
      if (b - a > 6) zoom = [this.value(a), this.value(b)];
      drawAll();
    });
    this.canvas.addEventListener("dblclick", () => { zoom = null; drawAll(); });
  }

  value(pixel) {
    return this.x0 + ((pixel - inset.left) / this.width) * (this.x1 - this.x0);
  }

  // The ranges of both axes over what is visible.
  measure(lines) {
    const all = lines.flatMap((line) => line.points);
    [this.x0, this.x1] = zoom ?? [Math.min(...all.map((p) => p[0])), Math.max(...all.map((p) => p[0]))];
    const seen = all.filter(([x, y]) => x >= this.x0 && x <= this.x1 && Number.isFinite(y) && (!log.checked || y > 0));
    const values = seen.map(([, y]) => (log.checked ? Math.log10(y) : y));
    let [low, high] = [Math.min(...values), Math.max(...values)];
    if (!values.length) [low, high] = [0, 1];
    const room = (high - low || Math.abs(high) || 1) * 0.06;
    [this.y0, this.y1] = [low - room, high + room];
    if (this.x1 === this.x0) this.x1 = this.x0 + 1;
  }

  draw() {
    const scale = devicePixelRatio || 1;
    const { clientWidth: wide, clientHeight: high } = this.canvas;
    Object.assign(this.canvas, { width: wide * scale, height: high * scale });
    const pen = this.canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.font = `11px ${colour("--sans")}`;
    this.width = wide - inset.left - inset.right;
    const height = high - inset.top - inset.bottom;
    const weight = Number(smooth.value);
    const lines = series.map((run, n) => {
      const raw = points(run, this.metric);
      return { label: run.label, ink: ink(n ? "--held" : "--accent"), raw, points: smoothed(raw, weight) };
    }).filter((line) => line.raw.length);
    this.measure(lines.map((line) => ({ points: weight ? line.raw : line.points })));
    const x = (value) => inset.left + ((value - this.x0) / (this.x1 - this.x0)) * this.width;
    const y = (value) => inset.top + (1 - ((log.checked ? Math.log10(value) : value) - this.y0) / (this.y1 - this.y0)) * height;
    this.grid(pen, x, height, wide, high);
    pen.save();
    pen.beginPath();
    pen.rect(inset.left, inset.top, this.width, height);
    pen.clip();
    for (const line of lines) {
      if (weight) stroke(pen, line.raw, x, y, line.ink, 0.22, 1);
      stroke(pen, line.points, x, y, line.ink, 1, 1.8);
    }
    pen.restore();
    this.point(pen, lines, x, y, height);
    this.canvas.setAttribute("aria-label", `${this.metric}: ${lines.map((line) => `${line.label} ends at ${figure(line.raw.at(-1)[1])}`).join(", ")}`);
  }

  grid(pen, x, height, wide, high) {
    pen.strokeStyle = ink("--line");
    pen.fillStyle = ink("--quiet");
    pen.lineWidth = 1;
    pen.textAlign = "right";
    for (const tick of ticks(this.y0, this.y1, 4)) {
      const at = Math.round(inset.top + (1 - (tick - this.y0) / (this.y1 - this.y0)) * height) + 0.5;
      pen.beginPath();
      pen.moveTo(inset.left, at);
      pen.lineTo(wide - inset.right, at);
      pen.stroke();
      pen.fillText(figure(log.checked ? 10 ** tick : tick), inset.left - 8, at + 3.5);
    }
    pen.textAlign = "center";
    for (const tick of ticks(this.x0, this.x1, 6)) pen.fillText(figure(tick), x(tick), high - 6);
  }

  // What is under the pointer, and the part being dragged.
  point(pen, lines, x, y, height) {
    if (this.drag && Math.abs(this.drag[1] - this.drag[0]) > 6) {
      pen.fillStyle = ink("--accent");
      pen.globalAlpha = 0.12;
      pen.fillRect(this.drag[0], inset.top, this.drag[1] - this.drag[0], height);
      pen.globalAlpha = 1;
    }
    const words = lines.map((line) => {
      const near = (target) => line.points.reduce((a, b) => (Math.abs(b[0] - target) < Math.abs(a[0] - target) ? b : a));
      const found = this.hover == null ? line.points.at(-1) : near(this.value(this.hover));
      if (this.hover != null) {
        pen.fillStyle = line.ink;
        pen.beginPath();
        pen.arc(x(found[0]), y(found[1]), 3.5, 0, 7);
        pen.fill();
      }
      const name = lines.length > 1 ? `${line.label} ` : "";
      return `${name}${figure(found[1])}${this.hover == null ? "" : ` at ${figure(found[0])}`}`;
    });
    this.read.textContent = words.join("  ·  ");
  }
}

function stroke(pen, line, x, y, style, alpha, width) {
  pen.strokeStyle = style;
  pen.globalAlpha = alpha;
  pen.lineWidth = width;
  pen.lineJoin = "round";
  pen.beginPath();
  let down = false;
  for (const [at, value] of line) {
    const drawable = Number.isFinite(value) && (!log.checked || value > 0);
    if (drawable) pen[down ? "lineTo" : "moveTo"](x(at), y(value));
    down = drawable;
  }
  pen.stroke();
  pen.globalAlpha = 1;
}

function drawAll() {
  control("smooth-value").textContent = smooth.value;
  plots.forEach((plot) => plot.draw());
}

if (series.length > 1) {
  const legend = document.createElement("p");
  legend.className = "legend";
  series.forEach((run, n) => {
    const item = document.createElement("span");
    const mark = document.createElement("i");
    mark.className = n ? "two" : "one";
    item.className = mark.className;
    item.append(mark, run.label);
    legend.append(item);
  });
  host.before(legend);
}
for (const metric of new Set(series.flatMap((run) => Object.keys(run.curves ?? {})))) plots.push(new Plot(metric));
for (const field of [smooth, log, axis]) field.addEventListener("input", () => {
  if (field === axis) zoom = null;
  drawAll();
});
control("reset").addEventListener("click", () => { zoom = null; drawAll(); });
addEventListener("resize", drawAll);
document.addEventListener("themechange", drawAll);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
drawAll();
