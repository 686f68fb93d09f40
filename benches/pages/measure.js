// How quickly is the table of an experiment with many runs there? Makes such an experiment in a running
// server, opens its pages in Chromium, and prints the times. See run.
"use strict";

const { chromium } = require("playwright-core");

const url = process.env.SEXTANT_URL;
const number = (name, usual) => Number(process.env[name] ?? usual);
const runs = number("RUNS", 10_000);
const keys = number("KEYS", 10);
const wideRuns = number("WIDE_RUNS", 100);
const wideKeys = number("WIDE_KEYS", 1000);
const visits = number("VISITS", 5);
const CALLS_MAX = 8;

async function call(path, fields) {
  const reply = await fetch(`${url}/api/2.0/mlflow/${path}`, {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(fields),
  });
  const said = await reply.json();
  if (!reply.ok) throw new Error(`${path}: ${JSON.stringify(said)}`);
  return said;
}

async function makeRun(experiment, n) {
  const started = 1_700_000_000_000 + n * 60_000;
  const made = await call("runs/create", { experiment_id: experiment, run_name: `run ${n}`, start_time: started });
  const run = made.run.info.run_id;
  const count = n < runs - wideRuns ? keys : wideKeys;
  const value = (key) => ((n * 7919 + key * 104_729) % 100_003) / 100_003;
  const metrics = Array.from({ length: count }, (_, key) => ({
    key: key === 0 ? "loss" : `metric/${String(key).padStart(4, "0")}`, value: value(key), timestamp: started + 1, step: 0,
  }));
  const params = [{ key: "lr", value: String(1 / (1 + (n % 97))) }, { key: "optimizer", value: n % 2 ? "adam" : "sgd" }];
  await call("runs/log-batch", { run_id: run, params });
  await call("runs/log-batch", { run_id: run, metrics });
  await call("runs/update", { run_id: run, status: "FINISHED", end_time: started + 30_000 });
}

async function fill() {
  const experiment = (await call("experiments/create", { name: `many ${Date.now()}` })).experiment_id;
  let next = 0;
  const begun = performance.now();
  const worker = async () => {
    for (let n = next++; n < runs; n = next++) await makeRun(experiment, n);
  };
  await Promise.all(Array.from({ length: CALLS_MAX }, worker));
  console.log(`${runs} runs, ${runs - wideRuns} of ${keys} metrics and ${wideRuns} of ${wideKeys}, logged in ${((performance.now() - begun) / 1000).toFixed(0)} s`);
  return experiment;
}

// One visit: when something is painted, when rows are there, and the longest request.
async function visit(browser, address, ready) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  await page.goto(url + address, { waitUntil: "commit" });
  await page.waitForFunction(ready);
  const rows = await page.evaluate(() => performance.now());
  await page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint").length > 0);
  const times = await page.evaluate((rows) => ({
    rows,
    paint: performance.getEntriesByName("first-contentful-paint")[0].startTime,
    longest: Math.max(...performance.getEntriesByType("resource").map((one) => one.duration)),
    elements: document.querySelectorAll("tbody tr").length,
  }), rows);
  await context.close();
  return times;
}

const middle = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

async function measure(browser, name, address, ready) {
  const seen = [];
  for (let n = 0; n < visits; n += 1) seen.push(await visit(browser, address, ready));
  const of = (field) => middle(seen.map((times) => times[field])).toFixed(0).padStart(5);
  console.log(`${name.padEnd(34)} first paint ${of("paint")} ms   rows ${of("rows")} ms   longest request ${of("longest")} ms   rows in the page ${of("elements")}`);
}

// How long after a jump of the scroll bar the rows there are shown.
async function scroll(browser, experiment) {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  await page.goto(`${url}/experiments/${experiment}`);
  await page.waitForSelector(".grid tbody tr[aria-rowindex] a");
  const took = [];
  for (const part of [0.5, 0.9, 0.25, 0.75, 0.1]) {
    took.push(await page.evaluate(async (part) => {
      const grid = document.querySelector(".grid");
      grid.scrollTop = grid.scrollHeight * part;
      const begun = performance.now();
      const whole = () => [...grid.querySelectorAll("tbody tr[aria-rowindex]")].filter((row) => {
        const { top, bottom } = row.getBoundingClientRect();
        const frame = grid.getBoundingClientRect();
        return bottom > frame.top + 40 && top < frame.bottom;
      });
      for (;;) {
        await new Promise(requestAnimationFrame);
        const rows = whole();
        if (rows.length > 10 && rows.every((row) => row.querySelector("a"))) return performance.now() - begun;
      }
    }, part));
  }
  console.log(`a jump to another place              rows ${middle(took).toFixed(0)} ms, the slowest ${Math.max(...took).toFixed(0)} ms`);
  await page.close();
}

async function main() {
  const experiment = process.env.EXPERIMENT ?? (await fill());
  const browser = await chromium.launch({ executablePath: process.env.SEXTANT_CHROMIUM, args: ["--no-sandbox"] });
  try {
    const rows = () => document.querySelector(".grid tbody tr[aria-rowindex] a") !== null;
    const table = `/experiments/${experiment}`;
    await measure(browser, "experiments", "/experiments", () => document.querySelector("table tbody a") !== null);
    await measure(browser, "table of runs", table, rows);
    await measure(browser, "ordered by a metric", `${table}?order=${encodeURIComponent("metrics.`loss` DESC")}`, rows);
    await measure(browser, "filtered", `${table}?filter=${encodeURIComponent("metrics.loss < 0.5 AND params.optimizer = 'adam'")}`, rows);
    await scroll(browser, experiment);
    const wide = await call("runs/search", { experiment_ids: [experiment], max_results: 1 });
    const run = wide.runs[0].info.run_id;
    await measure(browser, "a run of many metrics", `${table}/runs/${run}`, () => document.querySelector(".plot.loaded") !== null);
  } finally {
    await browser.close();
  }
}

main();
