// Can MLflow's own pages be used? Walks through them as a person does, and writes down which steps
// went well, what was asked and how it was answered, and what the console says.
//
//   node walk.js ADDRESS FILE [FOLDER]    what is seen goes to FILE, screenshots to FOLDER
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { chromium } = require("playwright-core");

const [url, told, shots] = process.argv.slice(2);
const STEPS = 30;
const WAIT = { timeout: 20_000 };
const seen = { steps: {}, asked: {}, console: [], outside: [] };

async function call(name, body) {
  const headers = { "content-type": "application/json" };
  const address = `${url}/ajax-api/2.0/mlflow/${name}`;
  const reply = await fetch(address, { method: "POST", headers, body: JSON.stringify(body) });
  if (!reply.ok) throw new Error(`${name}: ${reply.status} ${await reply.text()}`);
  return reply.json();
}

// One experiment with two runs that differ in a parameter and in how they learn.
async function fill() {
  const { experiment_id: experiment } = await call("experiments/create", { name: "walked" });
  const runs = [];
  for (const [name, lr] of [["slow", "0.01"], ["fast", "0.5"]]) {
    const started = Date.now();
    const made = await call("runs/create", { experiment_id: experiment, run_name: name, start_time: started });
    const run = made.run.info.run_id;
    const metrics = [];
    for (let step = 0; step < STEPS; step += 1) {
      const at = { timestamp: started + step, step };
      metrics.push({ key: "loss", value: Math.exp(-step * Number(lr)), ...at });
      metrics.push({ key: "val/acc", value: 1 - 1 / (step + 1.5), ...at });
    }
    const params = [{ key: "lr", value: lr }, { key: "depth", value: "3" }];
    await call("runs/log-batch", { run_id: run, metrics, params, tags: [{ key: "team", value: "blue" }] });
    await call("runs/update", { run_id: run, status: "FINISHED", end_time: started + 60_000 });
    runs.push(run);
  }
  return { experiment, runs };
}

// What was asked, without what names one thing.
function route(address) {
  const { pathname } = new URL(address);
  return pathname.replace(/[0-9a-f]{32}/g, "…").replace(/\/\d+(?=\/|$)/g, "/…");
}

// The bundle's own files are not of interest, nor what depends on the speed of the machine.
const CHANCE = /ResizeObserver|WebGL|sizeColumnsToFit/;

function watch(page) {
  const note = (list, text) => {
    if (!CHANCE.test(text) && !list.includes(text)) list.push(text);
  };
  page.on("pageerror", (error) => note(seen.console, error.message));
  page.on("console", (message) => {
    const { url: from } = message.location();
    const at = from.includes("/static-files/") || !from.startsWith(url) ? "" : ` at ${route(from)}`;
    if (message.type() === "error") note(seen.console, message.text().replaceAll(url, "") + at);
  });
  page.on("request", (request) => {
    const address = request.url();
    if (!address.startsWith(`${url}/`) && !/^(data|blob):/.test(address)) note(seen.outside, address);
  });
  page.on("response", (response) => {
    if (!response.url().startsWith(`${url}/`)) return;
    const named = response.url().includes("/static-files/") ? "a file of the package" : route(response.url());
    note((seen.asked[`${response.request().method()} ${named}`] ??= []), response.status());
  });
}

async function step(page, name, at, work) {
  try {
    await page.goto(`${url}/${at}`);
    await work();
    // What a page asks when it is shown, it asks before the next step.
    await page.waitForLoadState("networkidle", { timeout: 1500 }).catch(() => {});
    seen.steps[name] = "shown";
  } catch (error) {
    seen.steps[name] = error.message.split("\n").slice(0, 3).join(" ");
  }
  if (shots) await page.screenshot({ path: path.join(shots, `${name}.png`) });
}

async function texts(page, wanted) {
  for (const text of wanted) await page.getByText(text, { exact: true }).first().waitFor(WAIT);
}

// So many plots, each with a line or bars, not only axes.
async function plots(page, count) {
  const drawn = page.locator(".js-plotly-plot").filter({ has: page.locator(".js-line, .barlayer .point, .parcoords") });
  await drawn.nth(count - 1).waitFor(WAIT);
  const unsupported = await page.getByText("WebGL is not supported").count();
  if (unsupported) throw new Error("a plot could not be drawn");
}

async function walk(page, { experiment, runs }) {
  const runsAt = `#/experiments/${experiment}/runs`;
  const list = (ids) => encodeURIComponent(JSON.stringify(ids));
  const both = `runs=${list(runs)}&experiments=${list([experiment])}`;
  await step(page, "home", "", () => texts(page, ["Experiments"]));
  await step(page, "experiments", "#/experiments", () => texts(page, ["walked"]));
  await step(page, "runs", runsAt, () => texts(page, ["slow", "fast"]));
  await step(page, "columns", runsAt, async () => {
    await page.getByRole("button", { name: "Columns" }).click(WAIT);
    for (const group of ["Metrics (2)", "Parameters (2)"]) await page.getByText(group, { exact: true }).click(WAIT);
    await page.keyboard.press("Escape");
    await texts(page, ["loss", "val/acc", "depth", "lr", "0.5", "0.01"]);
  });
  await step(page, "charts", `${runsAt}?compareRunsMode=CHART`, () => plots(page, 2));
  await step(page, "run", `${runsAt}/${runs[1]}`, () => texts(page, ["fast", "loss", "val/acc", "lr", "0.5", "depth", "Finished"]));
  await step(page, "metrics of a run", `${runsAt}/${runs[1]}/model-metrics`, () => plots(page, 2));
  await step(page, "artifacts of a run", `${runsAt}/${runs[1]}/artifacts`, () => texts(page, ["No Artifacts Recorded"]));
  const metric = `metric=%22loss%22&plot_metric_keys=%5B%22loss%22%5D`;
  await step(page, "metric", `#/metric?${both}&${metric}`, () => plots(page, 1));
  await step(page, "compare", `#/compare-runs?${both}`, async () => {
    await texts(page, ["slow", "fast", "lr"]);
    await plots(page, 1);
  });
}

async function main() {
  if (shots) fs.mkdirSync(shots, { recursive: true });
  const filled = await fill();
  const browser = await chromium.launch({
    executablePath: process.env.SEXTANT_CHROMIUM,
    headless: true,
    args: [
      "--no-sandbox",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  try {
    const page = await (await browser.newContext({ viewport: { width: 2600, height: 1000 } })).newPage();
    watch(page);
    await walk(page, filled);
  } finally {
    await browser.close();
  }
  seen.console.sort();
  fs.writeFileSync(told, JSON.stringify(seen, null, 1));
}

main().catch((error) => {
  console.log(`   NOT: ${error.message}`);
  process.exitCode = 1;
});
