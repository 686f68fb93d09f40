// Can a person do the whole job in a browser, with the mouse and with the keyboard alone, in light and
// in dark? Screenshots of every page go to the artifacts folder.
"use strict";

const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const { chromium } = require("playwright-core");

const { SEXTANT_URL: url, SEXTANT_PROJECT: project, SEXTANT_BIN: binary } = process.env;
const shots = path.join(process.env.SEXTANT_ARTIFACTS, "screenshots");
const CITED = "[data-turns] button.cite, [data-turns] .sources button";
const QUESTION = "How do I roll back a release?";

// Fewer mean that the judge was led past what it is there for.
const CHECKS_MIN = 95;

let checks = 0;
let failed = 0;
function check(condition, what) {
  checks += 1;
  if (!condition) {
    failed += 1;
    console.log(`   NOT: ${what}`);
  } else {
    console.log(`   ok   ${what}`);
  }
}

function sextant(...words) {
  const environment = { ...process.env };
  delete environment.SEXTANT_PROJECT;
  return JSON.parse(
    execFileSync(binary, [...words, "--json"], {
      cwd: project,
      env: environment,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    }),
  );
}

// A second release, so that there is something to compare, promote and roll back; and a second run,
// a short one, for the curves.
function secondRelease() {
  const live = () => sextant("release", "list").releases.find((release) => release.live).digest;
  const before = live();
  const pages = [];
  (function walk(folder) {
    for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
      const whole = path.join(folder, entry.name);
      if (entry.isDirectory()) walk(whole);
      else if (entry.name.endsWith(".md")) pages.push(whole);
    }
  })(path.join(project, "docs"));
  fs.appendFileSync(pages.sort()[0], "\n## A section for the browser\n\nThe browser reads this sentence.\n");
  const training = path.join(project, "train", "embedder.toml");
  const shorter = { steps: 20, checkpoint_every: 10, eval_every: 10 };
  let text = fs.readFileSync(training, "utf8");
  for (const [key, value] of Object.entries(shorter)) {
    text = text.replace(new RegExp(`^${key} = .*$`, "m"), `${key} = ${value}`);
  }
  fs.writeFileSync(training, text);
  sextant("build");
  const after = live();
  check(before !== after, "a changed page makes a new live release");
  return { before, after };
}

async function visit(page, address, name) {
  const response = await page.goto(url + address, { waitUntil: "load" });
  check(response.ok(), `${address} answers ${response.status()}`);
  check((await page.locator("main h1").count()) >= 1, `${address} has a heading`);
  check((await page.locator("[role=alert]").count()) === 0, `${address} shows no failure`);
  await page.waitForTimeout(150);
  await page.screenshot({ path: path.join(shots, `${name}.png`), fullPage: true });
}

async function looks(page) {
  await visit(page, "/", "home");
  check(await page.getByText("Released").first().isVisible(), "Home says what is released");
  await visit(page, "/assets", "assets");
  const nodes = page.locator("svg a[data-asset]");
  check((await nodes.count()) >= 8, "the graph has a node for every asset");
  await nodes.first().click();
  await page.waitForURL(/\/assets\/.+/);
  await page.screenshot({ path: path.join(shots, "asset.png"), fullPage: true });
  await page.locator("table a.id").first().click();
  await page.waitForURL(/\/v\/.+/);
  check(await page.getByText("Why: where it comes from").isVisible(), "a version shows its chain");
  check(await page.getByText("Impact: what was made from it").isVisible(), "and what came of it");
  await page.screenshot({ path: path.join(shots, "version.png"), fullPage: true });
}

async function others(page) {
  await visit(page, "/docs", "docs");
  check((await page.locator(".contents a").count()) >= 25, "the manual is there, with its contents");
  await visit(page, "/login", "login");
}

async function runs(page) {
  await visit(page, "/runs", "runs");
  const rows = page.locator("table#runs tbody tr");
  check((await rows.count()) >= 2, "there are two runs");
  check(await page.getByText("Best checkpoint").isVisible(), "the best checkpoint is named");
  await page.locator("table#runs thead th").nth(2).click();
  check((await rows.count()) >= 1, "a click on a column's head sorts");
  await rows.first().locator("a").first().click();
  await page.waitForURL(/\/runs\/.+/);
  await page.waitForTimeout(300);
  const drawn = page.locator(".curves svg, .curves canvas");
  check((await drawn.count()) >= 1, "the curves are drawn");
  await page.locator("[data-smooth]").fill("0.5");
  await page.screenshot({ path: path.join(shots, "run.png"), fullPage: true });
  await page.locator("[data-reset]").click();
  await page.locator("select[name=compare]").selectOption({ index: 1 });
  await page.waitForURL(/compare=/);
  check((await page.locator(".legend span").count()) === 2, "two runs are drawn in one plot");
  check((await page.locator(".facts .moved").count()) >= 1, "parameters that differ are marked");
  await page.screenshot({ path: path.join(shots, "compare.png"), fullPage: true });
}

const live = () => sextant("release", "list").releases.find((release) => release.live).digest;

async function releases(page, { before, after }) {
  await visit(page, "/releases", "releases");
  await visit(page, `/releases/diff?a=${before}&b=${after}`, "diff");
  check((await page.locator(".change").count()) >= 1, "the diff names the parts");
  check(await page.getByText("documents").first().isVisible(), "the documents are among them");

  await page.goto(`${url}/releases`);
  await page.getByRole("button", { name: "Roll back" }).first().click();
  await page.screenshot({ path: path.join(shots, "rollback.png") });
  await page.locator("[popover]:popover-open button[type=submit]").click();
  await page.waitForURL(/\/releases$/);
  check(live() === before, "the button rolls back");

  await page.goto(`${url}/releases/${after}`);
  await page.getByRole("button", { name: "Promote" }).first().click();
  await page.locator("[popover]:popover-open button[type=submit]").click();
  await page.waitForURL(/\/releases$/);
  check(live() === after, "the button promotes");
}

// Records are sent, one does not fit; it is found on the pages, its column is mended, and the button
// puts it through again.
async function sources(page) {
  const file = path.join(project, "sources", "arrivals.toml");
  const describe = (type) => fs.writeFileSync(file, `type = "push"\nflush_seconds = 1\n[schema]\nn = "${type}"\n`);
  describe("bigint");
  const body = '{"n":1}\n{"n":"two \u202e <b>bold</b>"}\n{"n":3}\n';
  const headers = { "content-type": "application/x-ndjson" };
  const reply = await fetch(`${url}/ingest/arrivals`, { method: "POST", headers, body });
  check(reply.ok, "records are taken");
  const found = () => sextant("data", "sources").sources.find((source) => source.name === "arrivals");
  for (let tries = 0; tries < 60 && found()?.waiting !== 1; tries += 1) await page.waitForTimeout(500);
  await visit(page, "/sources", "sources");
  check((await page.locator("table#sources tbody tr").count()) >= 2, "every source is listed");
  await page.locator("[data-filter=sources]").fill("arrivals");
  check((await page.locator("table#sources tbody tr:visible").count()) === 1, "the filter finds one");
  await page.locator("table#sources tbody tr:visible a").first().click();
  await page.waitForURL(/\/sources\/arrivals$/);
  const shown = await page.locator("main").innerText();
  check(shown.includes("must be bigint"), "the quarantine says why");
  check(/0–2/.test(shown), "the newest commit names its offsets");
  await page.locator("#quarantine details summary").click();
  const payload = await page.locator("#quarantine pre").innerText();
  check(payload.includes("\\u{202e} <b>bold</b>"), `what arrived is shown as it is: ${payload}`);
  await page.screenshot({ path: path.join(shots, "source.png"), fullPage: true });
  describe("text");
  await page.locator("#quarantine").getByRole("button", { name: "Put through again" }).first().focus();
  await page.keyboard.press("Enter");
  await page.screenshot({ path: path.join(shots, "source-replay.png") });
  await page.locator("[popover]:popover-open button[type=submit]").click();
  await page.waitForURL(/passed=1/);
  check(await page.locator("p.notice", { hasText: "1 went into the table" }).isVisible(), "the button puts it through again");
  await page.screenshot({ path: path.join(shots, "source-replayed.png"), fullPage: true });
  const rows = sextant("data", "query", "select count(*) from arrivals").rows;
  check(JSON.stringify(rows) === "[[3]]", `all records are in the table: ${JSON.stringify(rows)}`);
  fs.unlinkSync(file);
}

// What a client of MLflow logs is found, filtered, chosen, compared and looked at, and nothing that it
// wrote runs.
async function tracking(page) {
  await visit(page, "/models", "models");
  await visit(page, "/traces", "traces");
  const { experiment, names } = await logRuns();
  await visit(page, "/experiments", "experiments");
  await page.locator("table#experiments a", { hasText: "bold" }).first().click();
  await page.waitForURL(/\/experiments\/\d+$/);
  const rows = page.locator(".grid tbody tr[aria-rowindex]");
  await rows.locator("a").first().waitFor();
  check((await page.locator("[data-run-count]").innerText()) === `${names.length} runs`, "all runs are counted");
  check((await rows.count()) < names.length, "only the rows in view are in the page");
  await page.locator(".grid").evaluate((grid) => { grid.scrollTop = grid.scrollHeight; });
  await page.getByText(names[0], { exact: true }).waitFor();
  check(true, "the last row is there after a jump");
  await page.keyboard.press("/");
  await page.keyboard.type("metrics.`val/loss` < 0.05 AND params.kind = '<i>odd</i>'");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => /^[0-9]+ runs$/.test(document.querySelector("[data-run-count]").textContent) && document.querySelectorAll(".grid tbody a").length < 10);
  check((await rows.count()) === 2, `the filter finds two: ${await rows.count()}`);
  check(page.url().includes("filter="), "the filter is kept in the address");
  await page.screenshot({ path: path.join(shots, "experiment.png"), fullPage: true });
  await page.locator(".grid table").focus();
  for (const key of [" ", "ArrowDown", " "]) await page.keyboard.press(key);
  await page.locator("[data-compare]").click();
  await page.waitForURL(/compare\?runs=/);
  await page.locator(".plot.loaded").first().waitFor();
  check((await page.locator(".legend span").count()) === 2, "two runs are drawn over each other");
  await page.locator("[data-chart-smooth]").fill("0.6");
  check(page.url().includes("smooth=0.6"), "smoothing is kept in the address");
  await page.getByText("Differences only").click();
  await page.waitForURL(/only=differences/);
  check((await page.locator("tr.differs").count()) >= 1, "what differs is marked");
  await page.screenshot({ path: path.join(shots, "experiment-compare.png"), fullPage: true });
  await page.locator("th a").first().click();
  await page.waitForURL(/\/runs\/[0-9a-f]{32}$/);
  await page.locator("[data-artifact-list] button").first().click();
  await page.locator("[data-artifact-preview] pre", { hasText: "<script>" }).waitFor();
  check(true, "a page among the files is shown as text");
  await page.screenshot({ path: path.join(shots, "experiment-run.png"), fullPage: true });
  // A browser complains of every refused call in its console: this one is on a page of its own.
  const other = await page.context().newPage();
  await other.goto(`${url}/experiments/${experiment}?filter=metrics.loss+%3D`);
  await other.locator("[data-run-refusal]:visible").waitFor();
  check(/filter/i.test(await other.locator("[data-run-refusal]").innerText()), "a filter that is wrong is told in words");
  await other.close();
}

async function logRuns() {
  const send = async (method, address, fields) => {
    const reply = await fetch(`${url}/api/2.0/${address}`, {
      method, headers: { "content-type": "application/json" }, body: typeof fields === "string" ? fields : JSON.stringify(fields),
    });
    if (!reply.ok) throw new Error(`${address}: ${reply.status} ${await reply.text()}`);
    return reply.json().catch(() => ({}));
  };
  const experiment = (await send("POST", "mlflow/experiments/create", { name: "<b>bold</b> 'quoted' \"name\"" })).experiment_id;
  const names = [];
  for (let n = 0; n < 60; n += 1) {
    const name = `<img src=x onerror=alert(${n})>`;
    const made = await send("POST", "mlflow/runs/create", { experiment_id: experiment, run_name: name, start_time: 1_700_000_000_000 + n });
    const { run_id: run } = made.run.info;
    const metrics = [0, 1, 2, 3].map((step) => ({ key: "val/loss", value: n / 100 + step / 1000, step, timestamp: 1_700_000_000_000 + step }));
    await send("POST", "mlflow/runs/log-batch", { run_id: run, metrics, params: [{ key: "kind", value: n % 2 ? "<i>odd</i>" : "even" }] });
    if (n < 5) await send("PUT", `mlflow-artifacts/artifacts/${experiment}/${run}/artifacts/report.html`, "<script>alert(1)</script>");
    names.push(name);
  }
  return { experiment, names };
}

async function ask(page) {
  await visit(page, "/ask", "ask-empty");
  await page.locator("#question").fill(QUESTION);
  await page.keyboard.press("Enter");
  const cited = page.locator(CITED);
  await cited.first().waitFor({ timeout: 30_000 });
  await page.screenshot({ path: path.join(shots, "ask.png"), fullPage: true });
  await cited.first().click();
  const drawer = page.locator("[data-drawer]");
  await drawer.waitFor({ state: "visible" });
  await page.waitForTimeout(400);
  check((await drawer.innerText()).length > 60, "a citation opens its passage");
  await page.screenshot({ path: path.join(shots, "ask-passage.png"), fullPage: true });
  await page.keyboard.press("Escape");
  await drawer.waitFor({ state: "hidden" });
  await page.locator("[data-turns]").getByRole("button", { name: /why/i }).first().click();
  await drawer.waitFor({ state: "visible" });
  await page.getByText(/nodes, no holes/).waitFor({ timeout: 15_000 });
  check(true, "the why panel draws the chain");
  await page.screenshot({ path: path.join(shots, "ask-why.png"), fullPage: true });
}

// Nothing but keys: to the page, to the question, and back.
async function keyboard(page) {
  await page.goto(url);
  await page.keyboard.press("Tab");
  const first = await page.evaluate(() => document.activeElement.textContent);
  check(/skip/i.test(first), "the first Tab stop skips the navigation");
  await page.keyboard.press("g");
  await page.keyboard.press("q");
  await page.waitForURL(/\/ask$/);
  await page.waitForFunction(() => document.activeElement.id === "question");
  check(true, "the page of questions waits for one");
  await page.keyboard.type("What is a hole in the chain?");
  await page.keyboard.press("Enter");
  await page.locator(CITED).first().waitFor({ timeout: 30_000 });
  check(true, "a question is asked and answered by keys alone");
  await page.locator("#question").blur();
  await page.keyboard.press("g");
  await page.keyboard.press("a");
  await page.waitForURL(/\/assets$/);
  check(true, "g a goes to the assets");
  await page.keyboard.press("g");
  await page.keyboard.press("s");
  await page.waitForURL(/\/sources$/);
  check(true, "g s goes to the sources");
}

async function dark(browser) {
  const context = await browser.newContext({ colorScheme: "dark", viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  for (const [address, name] of [["/", "home"], ["/assets", "assets"], ["/sources", "sources"], ["/runs", "runs"], ["/experiments", "experiments"], ["/releases", "releases"], ["/ask", "ask"]]) {
    await visit(page, address, `${name}-dark`);
  }
  const colour = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = colour.match(/[\d.]+/g).slice(0, 3).every((part) => Number(part) > 128);
  check(!light, `the dark scheme is dark, the page is ${colour}`);
  await context.close();
}

async function narrow(browser) {
  const context = await browser.newContext({ viewport: { width: 390, height: 844 } });
  const page = await context.newPage();
  for (const [address, name] of [["/", "home"], ["/ask", "ask"], ["/sources", "sources"], ["/experiments", "experiments"], ["/traces", "traces"], ["/releases", "releases"]]) {
    await visit(page, address, `${name}-narrow`);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth + 1);
    check(!wide, `${address} fits a narrow screen`);
  }
  await context.close();
}

async function main() {
  fs.mkdirSync(shots, { recursive: true });
  const pair = secondRelease();
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
    const context = await browser.newContext({ colorScheme: "light", viewport: { width: 1280, height: 800 } });
    const page = await context.newPage();
    const trouble = [];
    const outside = [];
    page.on("pageerror", (error) => trouble.push(error.message));
    page.on("console", (message) => message.type() === "error" && trouble.push(message.text()));
    page.on("request", (request) => {
      const address = request.url();
      if (!address.startsWith(url) && !address.startsWith("data:")) outside.push(address);
    });
    for (const part of [looks, others, runs, tracking, (p) => releases(p, pair), sources, ask, keyboard]) {
      try {
        await part(page);
      } catch (error) {
        check(false, `${part.name || "releases"}: ${error.message.split("\n").slice(0, 4).join(" ")}`);
        await page.screenshot({ path: path.join(shots, `failed-${part.name || "releases"}.png`), fullPage: true });
      }
    }
    await dark(browser);
    await narrow(browser);
    check(trouble.length === 0, `no errors in the console: ${trouble.slice(0, 3).join(" | ")}`);
    check(outside.length === 0, `nothing is loaded from elsewhere: ${outside.slice(0, 3).join(" ")}`);
  } finally {
    await browser.close();
  }
  console.log(`   ${checks} checks, ${failed} failed; screenshots in ${shots}`);
  const few = checks < CHECKS_MIN;
  if (few) console.log(`   NOT: at least ${CHECKS_MIN} checks were wanted`);
  process.exitCode = failed === 0 && !few ? 0 : 1;
}

main().catch((error) => {
  console.log(`   NOT: ${error.message}`);
  process.exitCode = 1;
});
