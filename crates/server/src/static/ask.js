// The chat: streams from the OpenAI wire, opens cited passages and the chain beside it.

import { lines } from "./app.js";

const chat = document.querySelector("[data-chat]");
const part = (name) => chat.querySelector(`[data-${name}]`);
const [turns, composer, drawer, model] = ["turns", "composer", "drawer", "model"].map(part);
const field = composer.querySelector("textarea");
const messages = [];
let running = null;

const make = (tag, style, text) => {
  const element = document.createElement(tag);
  if (style) element.className = style;
  if (text !== undefined) element.textContent = text;
  return element;
};

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!running && field.value.trim()) ask(field.value.trim());
});
field.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    composer.requestSubmit();
  } else if (event.key === "Escape" && running) {
    event.preventDefault();
    running.abort();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !drawer.hidden) close();
});
part("drawer-close").addEventListener("click", close);

async function ask(question) {
  part("empty")?.remove();
  field.value = "";
  messages.push({ role: "user", content: question });
  turns.append(make("li", "turn user", question));
  const turn = make("li", "turn assistant waiting");
  const text = make("div", "text");
  turn.append(text);
  turns.append(turn);
  turn.scrollIntoView({ block: "nearest" });
  running = new AbortController();
  try {
    const answer = await stream(text, running.signal);
    messages.push({ role: "assistant", content: text.textContent });
    finish(turn, text, answer);
  } catch (error) {
    messages.pop();
    const stopped = error.name === "AbortError";
    turn.append(make("p", stopped ? "quiet" : "notice bad", stopped ? "Stopped." : error.message));
  }
  turn.classList.remove("waiting");
  turn.scrollIntoView({ block: "nearest" });
  running = null;
}

async function stream(text, signal) {
  const response = await fetch("/v1/chat/completions", {
    method: "POST",
    signal,
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: model.value, messages, stream: true }),
  });
  if (!response.ok) throw fault((await response.json()).error);
  let answer = null;
  for await (const line of lines(response)) {
    if (!line.startsWith("data: ")) continue;
    if (line === "data: [DONE]") return answer ?? {};
    const event = JSON.parse(line.slice(6));
    if (event.error) throw fault(event.error);
    text.textContent += event.choices[0]?.delta.content ?? "";
    if (event.sextant) answer = event.sextant;
  }
  throw new Error("The connection broke before the answer was complete.");
}

function fault(error) {
  return new Error([error.message, error.hint].filter(Boolean).join(". "));
}

// Turns [n] in the text into buttons and lists the sources below.
function finish(turn, text, answer) {
  const citations = new Map((answer.citations ?? []).map((citation) => [String(citation.n), citation]));
  const blocks = text.textContent.split(/^```[^\n]*\n([\s\S]*?)\n?^```[^\S\n]*$\n*/m);
  text.replaceChildren(...blocks.flatMap((block, place) => {
    if (place % 2 === 0) return prose(block, citations);
    const code = make("pre");
    code.append(make("code", "", block));
    return [code];
  }));
  turn.classList.toggle("abstained", Boolean(answer.abstained));
  const sources = make("div", "sources");
  for (const [n, citation] of citations) {
    const source = button("", "", citation);
    source.append(make("b", "", n), make("span", "", citation.heading || citation.path || "passage"));
    source.title = citation.path ?? "";
    sources.append(source);
  }
  const meta = make("div", "meta");
  if (answer.id) {
    const why = make("button", "link", "Why this answer?");
    why.type = "button";
    why.addEventListener("click", () => showWhy(answer.id));
    meta.append(why);
  }
  const about = [answer.release_name, answer.mode, answer.seconds && `${answer.seconds.toFixed(2)} s`];
  meta.append(make("span", "", about.filter(Boolean).join(" · ")));
  turn.append(...(citations.size ? [sources] : []), meta);
}

// A paragraph with its marks as buttons. Lines broken in the source run on.
function prose(text, citations) {
  const joined = text.replace(/^\n+|\n+$/g, "").replace(/([^\n])\n(?![\n>|#]|[-*+] |\d+\. )/g, "$1 ");
  return joined.split(/\[(\d+)\]/).flatMap((piece, place) => {
    if (place % 2 === 0) return words(piece);
    return citations.has(piece) ? [button("cite", piece, citations.get(piece))] : [`[${piece}]`];
  });
}

// Plain text, with `code` set as code.
function words(text) {
  return text.split(/`([^`\n]+)`/).map((piece, place) => (place % 2 ? make("code", "", piece) : piece));
}

function button(style, label, citation) {
  const element = make("button", style, label);
  element.type = "button";
  element.addEventListener("click", () => showPassage(citation, element));
  return element;
}

function open(title) {
  chat.classList.add("open");
  drawer.hidden = false;
  part("drawer-title").textContent = title;
  const body = part("drawer-body");
  body.replaceChildren(make("p", "quiet", "Loading…"));
  drawer.focus({ preventScroll: true });
  return body;
}

function close() {
  chat.classList.remove("open");
  drawer.hidden = true;
  chat.querySelectorAll(".cite.active").forEach((cite) => cite.classList.remove("active"));
  field.focus();
}

async function showPassage(citation, from) {
  chat.querySelectorAll(".cite.active").forEach((cite) => cite.classList.remove("active"));
  if (from.classList.contains("cite")) from.classList.add("active");
  const body = open(citation.heading || "Passage");
  const where = make("p", "where");
  where.textContent = `${citation.path ?? ""} · bytes ${citation.byte_start}–${citation.byte_end} `;
  const version = make("a", "id", (citation.doc_version ?? "").slice(7, 19));
  version.href = `/v/${encodeURIComponent(citation.doc_version ?? "")}`;
  where.append(version);
  const passage = make("div", "passage");
  passage.append(make("mark", "", citation.quote ?? ""));
  body.replaceChildren(where, passage);
  const response = await fetch(`/api/v1/passages/${encodeURIComponent(citation.chunk)}`);
  const reply = await response.json();
  if (!response.ok) {
    body.append(make("p", "quiet", `The text around it cannot be shown: ${reply.error.message}`));
    return;
  }
  highlight(passage, reply.body ?? "", citation.quote ?? "");
}

// The passage with its quote marked; white space may differ between the two.
function highlight(element, text, quote) {
  const words = quote.trim().split(/\s+/).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const found = quote.trim() ? new RegExp(words.join("\\s+")).exec(text) : null;
  if (!found) {
    if (text) element.append(make("p", "", text));
    return;
  }
  const end = found.index + found[0].length;
  element.replaceChildren(text.slice(0, found.index), make("mark", "", found[0]), text.slice(end));
  element.querySelector("mark").scrollIntoView({ block: "nearest" });
}

async function showWhy(id) {
  const body = open("Why this answer");
  const response = await fetch(`/fragments/why/${encodeURIComponent(id)}`);
  if (!response.ok) {
    body.replaceChildren(make("p", "notice bad", (await response.json()).error.message));
    return;
  }
  // Markup of our own server, escaped there.
  body.innerHTML = await response.text();
  const whole = make("a", "button", "Whole page");
  whole.href = `/v/${encodeURIComponent(id)}`;
  body.append(whole);
}

if (field.value.trim()) composer.requestSubmit();
else field.focus();
