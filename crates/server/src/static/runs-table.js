// The table of an experiment's runs. Only the rows in view are in the page; the server sorts and filters,
// and gives the rows in pages as one scrolls, each with the cells of the chosen columns only. Filter,
// order, columns and the selected runs stay in the address.

import { figure, make } from "./plot.js";

const ROW_PIXELS = 36;
const AHEAD = 12;
const PAGE = 100;
const PAGES_KEPT = 60;
// Browsers draw no element that is much higher.
const ROWS_MAX = 400_000;
const SELECTED_MAX = 50;
const KEYS_SHOWN = 300;
const SCROLL_REST_MS = 40;

const host = document.querySelector("[data-runs-table]");
const experiment = host.dataset.runsTable;
const part = (name) => document.querySelector(`[data-${name}]`);
const [form, field, stage, refusal, told, bar, count, compare, clear, chooser, keyField, keyList] =
  ["run-filter", "run-words", "run-stage", "run-refusal", "run-count", "run-bar", "selected-count", "compare", "clear", "columns", "column-words", "column-list"].map(part);
const [table, headRow, body] = [host.querySelector("table"), host.querySelector("thead tr"), host.querySelector("tbody")];

// Columns that every run has: title, name in an order, what a cell shows.
const FIXED = [
  { title: "Run", order: "attributes.run_name", show: nameCell },
  { title: "State", order: "attributes.status", show: (info) => badge(info.status) },
  { title: "Started", order: "attributes.start_time", show: (info) => time(info.start_time) },
  { title: "Took", show: (info) => lasted(info.start_time, info.end_time) },
];

const address = new URL(location.href).searchParams;
const state = {
  filter: address.get("filter") ?? "",
  order: address.get("order") ?? "",
  stage: address.get("stage") ?? "ACTIVE_ONLY",
  columns: address.has("column") ? address.getAll("column") : null,
  selected: new Set((address.get("runs") ?? "").split(",").filter(Boolean).slice(0, SELECTED_MAX)),
  total: 0,
  active: 0,
};
let pages = new Map();
let asking = new AbortController();
const drawn = new Map();
const [above, below] = [spacer(), spacer()];

function spacer() {
  const row = make("tr", "spacer");
  row.setAttribute("aria-hidden", "true");
  row.append(make("td"));
  return row;
}

// What cells show.
function nameCell(info) {
  const link = make("a", "strong", info.run_name || info.run_id);
  link.href = `/experiments/${experiment}/runs/${encodeURIComponent(info.run_id)}`;
  link.tabIndex = -1;
  return link;
}

function badge(status) {
  const tones = { FINISHED: "good", RUNNING: "warn", SCHEDULED: "held", FAILED: "bad", KILLED: "bad" };
  return make("span", `state ${tones[status] ?? ""}`, (status ?? "").toLowerCase());
}

function time(milliseconds) {
  if (!milliseconds) return "–";
  const date = new Date(milliseconds);
  const shown = make("time", "", date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }));
  shown.dateTime = shown.title = date.toISOString();
  return shown;
}

function lasted(start, end) {
  if (!start || !end) return "–";
  const seconds = (end - start) / 1000;
  if (seconds < 100) return `${+seconds.toPrecision(3)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 120 ? `${minutes} min ${Math.round(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

// Calls.
async function call(path, fields, signal) {
  const reply = await fetch(`/ajax-api/2.0/sextant/${path}`, {
    method: "POST", signal, headers: { "content-type": "application/json" }, body: JSON.stringify(fields),
  });
  const said = await reply.json().catch(() => ({}));
  if (!reply.ok) throw new Error(said.message ?? said.error?.message ?? `the server answered ${reply.status}`);
  return said;
}

function load(page) {
  if (pages.has(page)) return;
  pages.set(page, null);
  const { signal } = asking;
  const fields = {
    experiment_ids: [experiment], filter: state.filter, run_view_type: state.stage,
    order_by: state.order ? [state.order] : [], offset: page * PAGE, max_results: PAGE,
    columns: state.columns ?? undefined,
  };
  call("runs/rows", fields, signal).then((said) => {
    if (signal.aborted) return;
    pages.set(page, said.runs);
    for (const old of pages.keys()) if (pages.size > PAGES_KEPT && old !== page) pages.delete(old);
    if (!state.columns) state.columns = said.columns;
    state.total = said.total;
    refusal.hidden = true;
    redraw();
  }).catch((error) => {
    if (signal.aborted) return;
    pages.delete(page);
    refusal.textContent = error.message;
    refusal.hidden = false;
    if (page === 0) state.total = 0;
    redraw();
  });
}

// Begins again from the first row: another filter, order, or columns.
function again() {
  asking.abort();
  asking = new AbortController();
  pages = new Map();
  remember();
  load(0);
}

function remember() {
  const now = new URL(location.href);
  const set = (name, value, usual = "") => (value === usual ? now.searchParams.delete(name) : now.searchParams.set(name, value));
  set("filter", state.filter);
  set("order", state.order);
  set("stage", state.stage, "ACTIVE_ONLY");
  set("runs", [...state.selected].join(","));
  now.searchParams.delete("column");
  for (const column of state.columns ?? []) now.searchParams.append("column", column);
  history.replaceState(null, "", now);
}

// Drawing.
const runAt = (index) => pages.get(Math.floor(index / PAGE))?.[index % PAGE];
const rowsShown = () => Math.min(state.total, ROWS_MAX);

function redraw() {
  drawn.forEach((row) => row.remove());
  drawn.clear();
  drawHead();
  draw();
}

function orderOf(column) {
  const dot = column.indexOf(".");
  const quote = column.includes("`") ? '"' : "`";
  return `${column.slice(0, dot)}.${quote}${column.slice(dot + 1)}${quote}`;
}

function drawHead() {
  const [ordered, down] = [state.order.replace(/ DESC$/, ""), state.order.endsWith(" DESC")];
  const heads = FIXED.map(({ title, order }) => ({ title, order, full: title }));
  for (const column of state.columns ?? []) {
    const dot = column.indexOf(".");
    heads.push({ title: column.slice(dot + 1), kind: column.slice(0, dot), full: column, order: orderOf(column) });
  }
  const cells = heads.map(({ title, kind, full, order }) => {
    const cell = make("th", kind === "metrics" ? "num" : "");
    cell.scope = "col";
    cell.title = full;
    const words = make(order ? "button" : "span", "", title);
    if (order) words.type = "button";
    if (order) words.addEventListener("click", () => {
      state.order = ordered === order && !down ? `${order} DESC` : ordered === order ? "" : order;
      host.scrollTop = 0;
      again();
    });
    if (order && order === ordered) cell.setAttribute("aria-sort", down ? "descending" : "ascending");
    if (kind) cell.append(make("small", "", kind.slice(0, -1)));
    cell.append(words);
    return cell;
  });
  const mark = make("th", "mark-cell");
  mark.scope = "col";
  mark.append(make("span", "hidden", "Selected"));
  headRow.replaceChildren(mark, ...cells);
  table.setAttribute("aria-rowcount", String(state.total + 1));
  const runs = state.total === 1 ? "run" : "runs";
  told.textContent = `${state.total.toLocaleString()} ${runs}${state.total > ROWS_MAX ? `, the first ${ROWS_MAX.toLocaleString()} are shown; a filter finds the others` : ""}`;
  const nothing = state.total === 0 && pages.get(0) !== null;
  host.classList.toggle("nothing", nothing && refusal.hidden);
  host.classList.toggle("refused", nothing && !refusal.hidden);
}

function cell(row, content, style) {
  const made = make("td", style);
  if (content instanceof Node) made.append(content);
  else made.textContent = content;
  if (typeof content === "string" && content.length > 16) made.title = content;
  row.append(made);
}

function drawRow(index) {
  const row = make("tr");
  row.id = `row-${index}`;
  row.dataset.index = index;
  row.setAttribute("aria-rowindex", String(index + 2));
  const run = runAt(index);
  if (!run) {
    row.className = "waiting";
    for (let n = 0; n <= FIXED.length + (state.columns?.length ?? 0); n += 1) cell(row, n === 1 ? "…" : "");
    return row;
  }
  const box = make("input");
  Object.assign(box, { type: "checkbox", tabIndex: -1, checked: state.selected.has(run.info.run_id) });
  box.setAttribute("aria-label", `select ${run.info.run_name}`);
  cell(row, box, "mark-cell");
  for (const { show } of FIXED) cell(row, show(run.info));
  run.cells.forEach((value) => {
    const number = typeof value === "number";
    cell(row, value === null ? "" : number ? figure(value) : String(value), number ? "num" : "");
    if (number) row.lastChild.title = String(value);
  });
  row.setAttribute("aria-selected", String(box.checked));
  return row;
}

// Puts the rows in view into the page and takes the others out.
function draw() {
  const first = Math.max(0, Math.floor(host.scrollTop / ROW_PIXELS) - AHEAD);
  const last = Math.min(rowsShown(), Math.ceil((host.scrollTop + host.clientHeight) / ROW_PIXELS) + AHEAD);
  for (const [index, row] of drawn) {
    if (index >= first && index < last) continue;
    row.remove();
    drawn.delete(index);
  }
  if (!above.isConnected) body.replaceChildren(above, below);
  let next = above.nextSibling;
  for (let index = first; index < last; index += 1) {
    if (drawn.has(index)) {
      next = drawn.get(index).nextSibling;
      continue;
    }
    const row = drawRow(index);
    row.classList.toggle("active", index === state.active);
    drawn.set(index, row);
    body.insertBefore(row, next);
  }
  above.firstChild.style.height = `${first * ROW_PIXELS}px`;
  below.firstChild.style.height = `${Math.max(0, rowsShown() - last) * ROW_PIXELS}px`;
  drawBar();
}

function drawBar() {
  bar.hidden = state.selected.size === 0;
  count.textContent = `${state.selected.size} selected`;
  compare.href = `/experiments/${experiment}/compare?runs=${[...state.selected].map(encodeURIComponent).join(",")}`;
}

let rest = 0;
host.addEventListener("scroll", () => {
  requestAnimationFrame(draw);
  clearTimeout(rest);
  rest = setTimeout(() => {
    const first = Math.floor(host.scrollTop / ROW_PIXELS / PAGE);
    const last = Math.floor((host.scrollTop + host.clientHeight) / ROW_PIXELS / PAGE);
    for (let page = first; page <= last && page * PAGE < state.total; page += 1) load(page);
  }, SCROLL_REST_MS);
});
addEventListener("resize", draw);

// Selecting, with the mouse and with keys.
function select(index) {
  const id = runAt(index)?.info.run_id;
  if (!id) return;
  if (!state.selected.delete(id) && state.selected.size < SELECTED_MAX) state.selected.add(id);
  const row = drawn.get(index);
  if (row) row.querySelector("input").checked = state.selected.has(id);
  row?.setAttribute("aria-selected", String(state.selected.has(id)));
  drawBar();
  remember();
}

function activate(index) {
  drawn.get(state.active)?.classList.remove("active");
  state.active = Math.max(0, Math.min(rowsShown() - 1, index));
  const top = state.active * ROW_PIXELS;
  const room = host.clientHeight - headRow.offsetHeight - ROW_PIXELS;
  if (top < host.scrollTop) host.scrollTop = top;
  else if (top > host.scrollTop + room) host.scrollTop = top - room;
  draw();
  drawn.get(state.active)?.classList.add("active");
  table.setAttribute("aria-activedescendant", `row-${state.active}`);
}

body.addEventListener("click", (event) => {
  const row = event.target.closest("tr[data-index]");
  if (!row || event.target.closest("a")) return;
  activate(Number(row.dataset.index));
  if (event.target.matches("input")) {
    event.preventDefault();
    setTimeout(() => select(Number(row.dataset.index)));
  }
});
table.addEventListener("keydown", (event) => {
  const step = Math.max(1, Math.floor(host.clientHeight / ROW_PIXELS) - 2);
  const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: step, PageUp: -step, Home: -Infinity, End: Infinity };
  if (event.target !== table || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key in moves) activate(state.active + moves[event.key]);
  else if (event.key === " ") select(state.active);
  else if (event.key === "Enter") drawn.get(state.active)?.querySelector("a")?.click();
  else return;
  event.preventDefault();
});
clear.addEventListener("click", () => {
  state.selected.clear();
  remember();
  redraw();
});

// Filter and stage.
form.addEventListener("submit", (event) => {
  event.preventDefault();
  Object.assign(state, { filter: field.value.trim(), stage: stage.value, active: 0 });
  host.scrollTop = 0;
  again();
});
stage.addEventListener("change", () => form.requestSubmit());
field.addEventListener("search", () => form.requestSubmit());

// Columns: the keys of the loaded runs.
async function listKeys() {
  const ids = [...pages.values()].flatMap((rows) => rows ?? []).map((run) => run.info.run_id).slice(0, 500);
  const words = keyField.value.trim();
  try {
    const said = await call("runs/keys", { run_ids: ids, contains: words });
    if (words !== keyField.value.trim()) return;
    const found = ["metrics", "params", "tags"].flatMap((kind) => said[kind].map((key) => `${kind}.${key}`));
    const chosen = (state.columns ?? []).filter((column) => column.toLowerCase().includes(words.toLowerCase()));
    const all = [...new Set([...chosen, ...found])];
    keyList.replaceChildren(...all.slice(0, KEYS_SHOWN).map(keyRow));
    if (all.length > KEYS_SHOWN || said.more.length) keyList.append(make("li", "quiet", "There are more; look for a part of the name."));
    if (!all.length) keyList.append(make("li", "quiet", "The loaded runs have no such metric, parameter or tag."));
  } catch (error) {
    keyList.replaceChildren(make("li", "bad-text", error.message));
  }
}

function keyRow(column) {
  const [item, label, box] = [make("li"), make("label"), make("input")];
  Object.assign(box, { type: "checkbox", checked: state.columns?.includes(column) ?? false });
  box.addEventListener("change", () => {
    const others = (state.columns ?? []).filter((other) => other !== column);
    state.columns = box.checked ? [...others, column] : others;
    again();
  });
  const dot = column.indexOf(".");
  label.append(box, make("span", "", column.slice(dot + 1)), make("small", "quiet", column.slice(0, dot - 1)));
  item.append(label);
  return item;
}
chooser.addEventListener("toggle", (event) => event.newState === "open" && listKeys());
keyField.addEventListener("input", listKeys);

field.value = state.filter;
stage.value = state.stage;
drawBar();
load(0);
