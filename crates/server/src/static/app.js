// What every page can do: theme, keys, sorting, filtering, copying, building with live progress.

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

// Light and dark. The server reads the cookie, so a page never flashes in the wrong colours.
function toggleTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  document.cookie = `sxt_theme=${root.dataset.theme}; path=/; max-age=31536000; samesite=strict`;
  document.dispatchEvent(new Event("themechange"));
}
$$("[data-theme-toggle]").forEach((button) => button.addEventListener("click", toggleTheme));

// Keys: g and a letter goes to a page, / to the field, ? to the list, t to the other theme.
let waitingForPlace = 0;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest?.("input, textarea, select, [contenteditable]")) {
    if (event.key === "Escape" && !event.defaultPrevented) event.target.blur();
    return;
  }
  if (performance.now() < waitingForPlace) {
    waitingForPlace = 0;
    const link = $(`[data-go="${CSS.escape(event.key)}"]`);
    if (link) link.click();
    return;
  }
  if (event.key === "g") waitingForPlace = performance.now() + 1500;
  else if (event.key === "t") toggleTheme();
  else if (event.key === "?") $("#shortcuts")?.togglePopover();
  else if (event.key === "/") {
    event.preventDefault();
    const field = $("[data-slash]");
    if (field) field.focus();
    else location.href = "/ask";
  }
});

// Tables: a click on a heading sorts, a second one the other way.
for (const table of $$("table[data-sortable]")) {
  $$("thead th", table).forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => sort(table, heading, column));
  });
}
function sort(table, heading, column) {
  const down = heading.getAttribute("aria-sort") === "ascending";
  $$("th", table).forEach((other) => other.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
  const compare = (a, b) => {
    const [x, y] = [key(a), key(b)];
    const numbers = x !== "" && y !== "" && !isNaN(x) && !isNaN(y);
    return (numbers ? x - y : x.localeCompare(y)) * (down ? -1 : 1);
  };
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
}

// A filter hides the rows (and nodes of the graph) without its words.
for (const field of $$("[data-filter]")) {
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (text) => words.every((word) => text.toLowerCase().includes(word));
    for (const row of document.getElementById(field.dataset.filter)?.tBodies[0].rows ?? []) {
      row.hidden = !fits(row.textContent);
    }
    const graph = $(".graph");
    if (!graph) return;
    graph.classList.toggle("tracing", words.length > 0);
    $$(".node", graph).forEach((node) => node.classList.toggle("lit", fits(node.dataset.asset)));
  });
}

// Pointing at a node lights everything it comes from and everything made from it.
for (const graph of $$(".graph")) {
  const edges = $$(".edges path", graph);
  const walk = (start, from, to) => {
    const seen = new Set([start]);
    for (const name of seen) edges.forEach((edge) => edge.dataset[from] === name && seen.add(edge.dataset[to]));
    return seen;
  };
  const light = (name) => {
    const up = name ? walk(name, "to", "from") : new Set();
    const down = name ? walk(name, "from", "to") : new Set();
    graph.classList.toggle("tracing", Boolean(name));
    const both = (edge, set) => set.has(edge.dataset.from) && set.has(edge.dataset.to);
    edges.forEach((edge) => edge.classList.toggle("lit", both(edge, up) || both(edge, down)));
    $$(".node", graph).forEach((node) => {
      node.classList.toggle("lit", up.has(node.dataset.asset) || down.has(node.dataset.asset));
    });
  };
  for (const node of $$(".node", graph)) {
    for (const event of ["mouseenter", "focus"]) node.addEventListener(event, () => light(node.dataset.asset));
    for (const event of ["mouseleave", "blur"]) node.addEventListener(event, () => light(null));
  }
}

for (const code of $$("[data-copy]")) {
  code.addEventListener("click", async () => {
    await navigator.clipboard.writeText(code.dataset.copy);
    code.classList.add("done");
    setTimeout(() => code.classList.remove("done"), 1200);
  });
}
$$("[data-submit]").forEach((field) => field.addEventListener("change", () => field.form.submit()));

// Reads a stream of lines, one JSON value each.
export async function* lines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const line of parts) if (line.trim()) yield line;
  }
  if (rest.trim()) yield rest;
}

// The build button: runs the operation and shows its events as they come. Leaving the page does
// not stop a build.
const panel = $("[data-build-panel]");
$("[data-build-close]")?.addEventListener("click", () => location.reload());
$$("[data-build]").forEach((button) => button.addEventListener("click", () => build(button)));

async function build(button) {
  const [title, steps] = [$("[data-build-title]", panel), $("[data-build-steps]", panel)];
  button.disabled = true;
  panel.hidden = false;
  steps.replaceChildren();
  title.textContent = "Building";
  const rows = new Map();
  const row = (name) => {
    if (!rows.has(name)) {
      const item = document.createElement("li");
      const make = (tag, style) => Object.assign(document.createElement(tag), { className: style });
      const parts = { item, dot: make("span", "dot"), name: make("span", "name"), what: make("span", "what"), side: make("span", "row-side") };
      parts.name.textContent = name;
      item.append(parts.dot, parts.name, parts.what, parts.side);
      steps.append(item);
      rows.set(name, parts);
    }
    return rows.get(name);
  };
  const take = (event) => {
    if (event.event === "step_started") {
      const step = row(event.step);
      step.item.className = "running";
      step.what.textContent = event.why;
    } else if (event.event === "progress") {
      const step = row(event.step);
      step.what.textContent = event.detail;
      let bar = step.side.querySelector("progress");
      if (!bar) step.side.replaceChildren((bar = document.createElement("progress")));
      if (event.total) Object.assign(bar, { max: event.total, value: event.done });
    } else if (event.event === "step_finished") {
      const step = row(event.step);
      step.item.className = event.outcome;
      step.what.textContent = [event.outcome, event.detail].filter(Boolean).join(": ");
      step.side.textContent = `${event.seconds.toFixed(1)} s`;
    } else if (event.event === "line") {
      row(event.level === "warn" ? "warning" : "note").what.textContent = event.text;
    } else if (event.error) {
      title.textContent = "The build failed";
      const step = row(event.error.code);
      step.item.className = "failed";
      step.what.textContent = [event.error.message, event.error.hint].filter(Boolean).join(" – ");
    } else if (event.result) {
      const { built = 0, unchanged = 0, failed = 0, skipped = 0 } = event.result;
      title.textContent = `Done: ${built} built, ${unchanged} unchanged, ${failed} failed, ${skipped} skipped`;
    }
    steps.scrollTop = steps.scrollHeight;
  };
  try {
    const select = button.dataset.build ? [button.dataset.build] : [];
    const response = await fetch("/api/v1/ops", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ op: "build", select, full: false }),
    });
    if (!response.ok) take(await response.json());
    else for await (const line of lines(response)) take(JSON.parse(line));
  } catch (error) {
    take({ error: { code: "connection", message: String(error), hint: "the build may go on in the server" } });
  }
  button.disabled = false;
}
