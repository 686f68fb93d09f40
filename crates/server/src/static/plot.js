// One plot: lines over two axes on a canvas, with smoothing, log axes, zoom by dragging, and the values
// under the pointer.

const inset = { left: 52, right: 16, top: 10, bottom: 22 };
// Lines whose values are told at once.
const TOLD_MAX = 8;
const DRAG_PIXELS_MIN = 6;

export const make = (tag, style, text) => {
  const element = document.createElement(tag);
  if (style) element.className = style;
  if (text !== undefined) element.textContent = text;
  return element;
};

export const figure = (value) => {
  const size = Math.abs(value);
  if (!Number.isFinite(value)) return String(value);
  return size !== 0 && (size < 0.001 || size >= 1e5) ? value.toExponential(1) : String(+value.toPrecision(4));
};

// Resolves light-dark() and other functions to a colour that a canvas takes.
const probe = make("span");
probe.hidden = true;
document.body.append(probe);
function ink(name) {
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

// An exponential average that starts unbiased; a gap stays a gap.
function smoothed(points, weight) {
  let [sum, norm] = [0, 0];
  return points.map(([x, y]) => {
    if (!Number.isFinite(y)) return [x, y];
    sum = sum * weight + y * (1 - weight);
    norm = norm * weight + (1 - weight);
    return [x, sum / norm];
  });
}

// Round values between two places of an axis, about so many, as places. A log axis has whole powers of ten
// when it has two of them.
function ticks(from, to, count, log) {
  const powers = log && Math.floor(to) - Math.ceil(from) >= 1;
  if (log && !powers) return ticks(10 ** from, 10 ** to, count, false).filter((value) => value > 0).map(Math.log10);
  const step = Math.max(powers ? 1 : 0, 10 ** Math.floor(Math.log10((to - from) / count || 1)));
  const nice = [1, 2, 5, 10].map((factor) => factor * step).find((size) => (to - from) / size <= count) ?? step;
  const first = Math.ceil(from / nice) * nice;
  return Array.from({ length: Math.max(0, Math.floor((to - first) / nice + 1e-9)) + 1 }, (_, n) => first + n * nice);
}

function range(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low > high ? [0, 1] : [low, high];
}

// `view` is shared by the plots of a page: { weight, logX, logY, zoom }. `lines` are objects with a label,
// the name of an ink, a dash, and points [x, y] in the order of x. `zoomed` is called with the part of the
// x axis that was dragged over, or with null.
export class Plot {
  constructor(title, zoomed) {
    this.title = title;
    this.zoomed = zoomed;
    this.lines = [];
    this.view = { weight: 0, logX: false, logY: false, zoom: null };
    this.box = make("figure", "plot");
    this.read = make("span");
    this.canvas = make("canvas");
    this.canvas.setAttribute("role", "img");
    this.tip = make("ul", "plot-tip");
    this.tip.hidden = true;
    const caption = make("figcaption");
    caption.append(make("strong", "", title), this.read);
    this.box.append(caption, this.canvas, this.tip);
    this.listen();
  }

  listen() {
    const at = (event) => event.clientX - this.canvas.getBoundingClientRect().left;
    const on = (name, take) => this.canvas.addEventListener(name, take);
    on("pointerdown", (event) => {
      this.drag = [at(event), at(event)];
      this.canvas.setPointerCapture(event.pointerId);
    });
    on("pointermove", (event) => {
      this.hover = at(event);
      if (this.drag) this.drag[1] = this.hover;
      this.draw();
    });
    on("pointerleave", () => { this.hover = null; this.draw(); });
    on("pointerup", () => {
      const [a, b] = (this.drag ?? [0, 0]).toSorted((x, y) => x - y);
      this.drag = null;
      if (b - a > DRAG_PIXELS_MIN) this.zoomed([this.value(a), this.value(b)]);
      else this.draw();
    });
    on("dblclick", () => this.zoomed(null));
  }

  show(lines, view) {
    Object.assign(this, { lines, view });
    this.draw();
  }

  onX(value) { return this.view.logX ? Math.log10(value) : value; }
  onY(value) { return this.view.logY ? Math.log10(value) : value; }
  x(value) { return inset.left + ((this.onX(value) - this.x0) / (this.x1 - this.x0)) * this.width; }
  y(value) { return inset.top + (1 - (this.onY(value) - this.y0) / (this.y1 - this.y0)) * this.height; }

  value(pixel) {
    const on = this.x0 + ((pixel - inset.left) / this.width) * (this.x1 - this.x0);
    return this.view.logX ? 10 ** on : on;
  }

  drawable([x, y]) { return Number.isFinite(this.onX(x)) && Number.isFinite(this.onY(y)); }

  // The ranges of both axes over what is visible.
  measure() {
    const all = this.lines.flatMap((line) => line.points).filter((point) => this.drawable(point));
    [this.x0, this.x1] = (this.view.zoom ?? []).map((x) => this.onX(x));
    if (!Number.isFinite(this.x0) || !Number.isFinite(this.x1)) [this.x0, this.x1] = range(all.map(([x]) => this.onX(x)));
    const seen = all.filter(([x]) => this.onX(x) >= this.x0 && this.onX(x) <= this.x1);
    const [low, high] = range(seen.map(([, y]) => this.onY(y)));
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
    pen.font = `11px ${getComputedStyle(document.documentElement).getPropertyValue("--sans")}`;
    this.width = wide - inset.left - inset.right;
    this.height = high - inset.top - inset.bottom;
    this.measure();
    this.grid(pen, wide, high);
    pen.save();
    pen.beginPath();
    pen.rect(inset.left, inset.top, this.width, this.height);
    pen.clip();
    const { weight } = this.view;
    const drawn = this.lines.filter((line) => line.points.length).map((line) => {
      const points = weight ? smoothed(line.points, weight) : line.points;
      return { ...line, points, raw: line.points, colour: ink(line.ink) };
    });
    for (const line of drawn) {
      if (weight) this.stroke(pen, line.raw, line.colour, 0.22, 1, []);
      this.stroke(pen, line.points, line.colour, 1, 1.8, line.dash ?? []);
    }
    pen.restore();
    this.point(pen, drawn);
    const ends = drawn.slice(0, TOLD_MAX).map((line) => `${line.label} ends at ${figure(line.raw.at(-1)[1])}`);
    this.canvas.setAttribute("aria-label", `${this.title}: ${ends.join(", ") || "no points"}`);
  }

  grid(pen, wide, high) {
    pen.strokeStyle = ink("--line");
    pen.fillStyle = ink("--quiet");
    pen.lineWidth = 1;
    pen.textAlign = "right";
    for (const tick of ticks(this.y0, this.y1, 4, this.view.logY)) {
      const at = Math.round(inset.top + (1 - (tick - this.y0) / (this.y1 - this.y0)) * this.height) + 0.5;
      pen.beginPath();
      pen.moveTo(inset.left, at);
      pen.lineTo(wide - inset.right, at);
      pen.stroke();
      pen.fillText(figure(this.view.logY ? 10 ** tick : tick), inset.left - 8, at + 3.5);
    }
    pen.textAlign = "center";
    for (const tick of ticks(this.x0, this.x1, 6, this.view.logX)) {
      const value = this.view.logX ? 10 ** tick : tick;
      pen.fillText(figure(value), this.x(value), high - 6);
    }
  }

  stroke(pen, points, style, alpha, width, dash) {
    Object.assign(pen, { strokeStyle: style, globalAlpha: alpha, lineWidth: width, lineJoin: "round" });
    pen.setLineDash(dash);
    pen.beginPath();
    let down = false;
    let alone = null;
    const dot = () => alone && pen.rect(this.x(alone[0]) - 1, this.y(alone[1]) - 1, 2, 2);
    for (const point of points) {
      const drawable = this.drawable(point);
      if (drawable) pen[down ? "lineTo" : "moveTo"](this.x(point[0]), this.y(point[1]));
      if (!drawable) dot();
      alone = drawable && !down ? point : null;
      down = drawable;
    }
    dot();
    pen.stroke();
    pen.setLineDash([]);
    pen.globalAlpha = 1;
  }

  // What is under the pointer, and the part being dragged.
  point(pen, drawn) {
    if (this.drag && Math.abs(this.drag[1] - this.drag[0]) > DRAG_PIXELS_MIN) {
      pen.fillStyle = ink("--accent");
      pen.globalAlpha = 0.12;
      pen.fillRect(this.drag[0], inset.top, this.drag[1] - this.drag[0], this.height);
      pen.globalAlpha = 1;
    }
    const few = drawn.length <= 2;
    if (this.hover == null) {
      this.tip.hidden = true;
      const words = few ? drawn.map((line) => `${few && drawn.length > 1 ? `${line.label} ` : ""}${figure(line.points.at(-1)[1])}`) : [];
      this.read.textContent = words.join("  ·  ");
      return;
    }
    const target = this.onX(this.value(this.hover));
    const near = (points) => points.reduce((a, b) => (Math.abs(this.onX(b[0]) - target) < Math.abs(this.onX(a[0]) - target) ? b : a));
    const found = drawn.map((line) => ({ line, at: near(line.points) }));
    for (const { line, at } of found) {
      pen.fillStyle = line.colour;
      pen.beginPath();
      pen.arc(this.x(at[0]), this.y(at[1]), 3.5, 0, 7);
      pen.fill();
    }
    const words = ({ line, at }) => `${drawn.length > 1 ? `${line.label} ` : ""}${figure(at[1])} at ${figure(at[0])}`;
    this.read.textContent = few ? found.map(words).join("  ·  ") : "";
    this.tip.hidden = few;
    if (!few) this.tell(found, words);
  }

  tell(found, words) {
    const items = found.toSorted((a, b) => b.at[1] - a.at[1]);
    const rows = items.slice(0, TOLD_MAX).map((item) => {
      const row = make("li");
      const mark = make("i");
      mark.style.background = item.line.colour;
      row.append(mark, words(item));
      return row;
    });
    if (items.length > TOLD_MAX) rows.push(make("li", "quiet", `and ${items.length - TOLD_MAX} more`));
    this.tip.replaceChildren(...rows);
    const right = this.hover > this.canvas.clientWidth / 2;
    this.tip.style.left = right ? "" : `${this.hover + 26}px`;
    this.tip.style.right = right ? `${this.canvas.clientWidth - this.hover + 26}px` : "";
  }
}

// Draws again when colours or sizes changed.
export function whenLooksChange(draw) {
  addEventListener("resize", draw);
  document.addEventListener("themechange", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}
