// The files of a run: folders open in place, and of a file what can be shown safely. Text is shown as
// text and pictures by an <img>; nothing of a file runs here: pages and SVG drawings are only text.

import { make } from "./plot.js";

const host = document.querySelector("[data-artifacts]");
const run = host.dataset.artifacts;
const [list, preview] = [host.querySelector("[data-artifact-list]"), host.querySelector("[data-artifact-preview]")];
const TEXT_BYTES_MAX = 256 * 1024;
const IMAGE_BYTES_MAX = 16 * 1024 * 1024;
const IMAGES = /\.(png|jpe?g|gif|webp|bmp)$/i;
const BINARIES = /\.(bin|pkl|pickle|pt|pth|onnx|safetensors|npy|npz|parquet|zip|gz|tar|h5|pdf|whl|so|joblib)$/i;

const size = (bytes) => {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  const step = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  return `${step ? (bytes / 1024 ** step).toFixed(1) : bytes} ${units[step]}`;
};
const addressOf = (path) => `/get-artifact?${new URLSearchParams({ run_id: run, path })}`;

async function files(path, token) {
  const query = new URLSearchParams({ run_id: run });
  if (path) query.set("path", path);
  if (token) query.set("page_token", token);
  const reply = await fetch(`/ajax-api/2.0/mlflow/artifacts/list?${query}`);
  const said = await reply.json().catch(() => ({}));
  if (reply.status === 404 && !said.message) throw new Error("This server keeps no files of runs.");
  if (!reply.ok) throw new Error(said.message ?? said.error?.message ?? `the server answered ${reply.status}`);
  return said;
}

async function fill(into, path) {
  into.replaceChildren(make("li", "quiet", "…"));
  try {
    const found = [];
    let said = await files(path);
    found.push(...(said.files ?? []));
    // A folder may have more pages; ten are plenty for a person.
    for (let page = 0; said.next_page_token && page < 10; page += 1) {
      said = await files(path, said.next_page_token);
      found.push(...(said.files ?? []));
    }
    found.sort((a, b) => Boolean(b.is_dir) - Boolean(a.is_dir) || a.path.localeCompare(b.path));
    into.replaceChildren(...found.map(item));
    if (!found.length) into.append(make("li", "quiet", path ? "This folder is empty." : "This run logged no files."));
    if (said.next_page_token) into.append(make("li", "quiet", "and more"));
  } catch (error) {
    into.replaceChildren(make("li", "quiet", error.message));
  }
}

function item(file) {
  const row = make("li");
  const name = file.path.split("/").at(-1);
  const bytes = Number(file.file_size ?? 0);
  if (file.is_dir) {
    const [folder, title, inside] = [make("details"), make("summary", "", `${name}/`), make("ul")];
    folder.append(title, inside);
    folder.addEventListener("toggle", () => folder.open && !inside.childElementCount && fill(inside, file.path));
    row.append(folder);
    return row;
  }
  const button = make("button", "link", name);
  button.type = "button";
  button.addEventListener("click", () => show(file.path, name, bytes, button));
  row.append(button, make("span", "quiet", ` ${size(bytes)}`));
  return row;
}

async function show(path, name, bytes, button) {
  host.querySelectorAll("[aria-pressed]").forEach((other) => other.removeAttribute("aria-pressed"));
  button.setAttribute("aria-pressed", "true");
  const head = make("p", "artifact-head");
  const link = make("a", "", "Download");
  link.href = addressOf(path);
  link.setAttribute("download", name);
  head.append(make("strong", "", path), make("span", "quiet", size(bytes)), link);
  const tell = (content) => preview.replaceChildren(head, content);
  preview.hidden = false;
  if (IMAGES.test(name) && bytes <= IMAGE_BYTES_MAX) {
    const image = make("img");
    image.alt = path;
    image.addEventListener("error", () => tell(make("p", "quiet", "This picture cannot be shown.")));
    image.src = addressOf(path);
    tell(image);
    return;
  }
  if (BINARIES.test(name)) return tell(make("p", "quiet", "No preview of files of this kind."));
  tell(make("p", "quiet", "…"));
  try {
    tell(make("pre", "", await text(path, name, bytes)));
  } catch (error) {
    tell(make("p", "quiet", error.message));
  }
}

// The beginning of a file as text; JSON is indented when it is all there.
async function text(path, name, bytes) {
  const reply = await fetch(addressOf(path), { headers: { range: `bytes=0-${TEXT_BYTES_MAX - 1}` } });
  if (!reply.ok && reply.status !== 416) throw new Error(`the server answered ${reply.status}`);
  if (bytes === 0) return "";
  const reader = reply.body.getReader();
  const pieces = [];
  for (let read = 0; read < TEXT_BYTES_MAX;) {
    const { value, done } = await reader.read();
    if (done) break;
    pieces.push(value);
    read += value.length;
  }
  reader.cancel().catch(() => {});
  const all = new Uint8Array(await new Blob(pieces).arrayBuffer()).subarray(0, TEXT_BYTES_MAX);
  if (all.subarray(0, 4096).includes(0)) throw new Error("This file is not text.");
  const words = new TextDecoder().decode(all);
  if (bytes > TEXT_BYTES_MAX) return `${words}\n… the first ${size(TEXT_BYTES_MAX)} of ${size(bytes)}`;
  if (!/\.json$/i.test(name)) return words;
  try {
    return JSON.stringify(JSON.parse(words), null, 2);
  } catch {
    return words;
  }
}

fill(list, "");
