"""Can any OpenAI-compatible endpoint be the generator? A scripted one stands in: it records what it is
asked, and answers with one good mark and one that points at nothing."""

import atexit
import http.server
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import openai

from product import ARTIFACTS, BINARY, check, close, run

PROJECT = pathlib.Path(os.environ["SEXTANT_SPARE"])
SECRET = "sk-scripted-4f1d9a"
QUESTION = "How do I roll back a release?"
REPLY = "The release before is made live again in one step [1]. Nobody knows the rest [99]."
seen = []
broken = threading.Event()


class Scripted(http.server.BaseHTTPRequestHandler):
    """A stock endpoint: whole or streamed, as it is asked."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        seen.append((self.path, self.headers.get("Authorization"), body))
        if broken.is_set():
            self.send_error(500, "the model fell over")
            return
        head = {"id": "scripted-1", "created": 0, "model": body["model"]}
        if body.get("stream"):
            pieces = [{"role": "assistant", "content": ""}]
            pieces += [{"content": word} for word in REPLY.split(" ")[:1]]
            pieces += [{"content": " " + word} for word in REPLY.split(" ")[1:]]
            lines = [self.chunk(head, piece, None) for piece in pieces]
            lines.append(self.chunk(head, {}, "stop"))
            payload = "".join(f"data: {line}\n\n" for line in lines) + "data: [DONE]\n\n"
            kind = "text/event-stream"
        else:
            message = {"role": "assistant", "content": REPLY}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
            whole = head | {"object": "chat.completion", "choices": [choice], "usage": usage}
            payload, kind = json.dumps(whole), "application/json"
        data = payload.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    @staticmethod
    def chunk(head, delta, finish):
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return json.dumps(head | {"object": "chat.completion.chunk", "choices": [choice]})

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["SCRIPTED_KEY"] = SECRET

agent = PROJECT / "agents" / "assistant.toml"
agent.write_text(
    agent.read_text().rstrip()
    + f"""

[generator]
base_url = "http://127.0.0.1:{server.server_port}/v1"
model = "scripted"
api_key_env = "SCRIPTED_KEY"
"""
)
built = run("build", project=PROJECT)
names = {row["asset"]: row["outcome"] for row in built["assets"]}
check(names.get("agents/assistant") == "built", "a new generator makes a new version of the agent")
check(names.get("train/embedder") != "built", "and trains nothing")

answer = run("ask", QUESTION, project=PROJECT)
check(len(seen) == 1, "the endpoint was asked once")
if seen:
    path, key, body = seen[0]
    check(path == "/v1/chat/completions", "at the usual path")
    check(key == f"Bearer {SECRET}", "with the key from the environment")
    check(body["model"] == "scripted", "by the model's name")
    check(body["messages"][-1] == {"role": "user", "content": QUESTION}, "the question comes last")
    check("roll" in body["messages"][0]["content"].lower(), "passages are in the prompt")

check("one step [1]" in answer["answer"], "the generator's words are the answer")
check("[99]" not in answer["answer"], "a mark that points at nothing is taken out")
check([c["n"] for c in answer["citations"]] == [1], "the good mark is a citation")
check(answer["model"] == "scripted", "the answer names its model")
tree = run("why", answer["id"], project=PROJECT)
check(tree["holes"] == 0, "its chain has no hole")

# The same through the server, whole and streamed, for a stock client.
log = (ARTIFACTS / "generator-server.log").open("w")
own = {key: value for key, value in os.environ.items() if key != "SEXTANT_PROJECT"}
served = subprocess.Popen(
    [BINARY, "serve", "--port", "0"], cwd=PROJECT, env=own, stdout=log, stderr=log
)
atexit.register(served.kill)
address = None
for _ in range(150):
    found = subprocess.run([sys.executable, "../address.py", PROJECT], capture_output=True, text=True)
    if found.returncode == 0:
        address = found.stdout.strip()
        break
    time.sleep(0.2)
check(address, "the server starts with a generator")
if not address:
    sys.exit((ARTIFACTS / "generator-server.log").read_text())
client = openai.OpenAI(base_url=f"{address}/v1", api_key="unused", max_retries=0)
model = next(iter(client.models.list())).id
request = {"model": model, "messages": [{"role": "user", "content": QUESTION}]}
whole = client.chat.completions.create(**request)
text = whole.choices[0].message.content
check("one step [1]" in text and "[99]" not in text, "the client is given the generator's words")
cited = whole.choices[0].message.model_extra["sextant"]["citations"]
check([c["n"] for c in cited] == [1], "with the citation")
pieces = list(client.chat.completions.create(**request, stream=True))
streamed = "".join(p.choices[0].delta.content or "" for p in pieces if p.choices)
check(len([p for p in pieces if p.choices and p.choices[0].delta.content]) > 1, "in pieces when asked")
check("one step [1]" in streamed, "the pieces are the generator's words")
last = next(p.model_extra["sextant"] for p in reversed(pieces) if p.model_extra.get("sextant"))
check("[99]" not in last["answer"], "the last piece has the answer without the stray mark")
check([c["n"] for c in last["citations"]] == [1], "and its citation")
check(run("why", pieces[0].id, project=PROJECT)["holes"] == 0, "a streamed answer has its chain")
answers = len(run("answers", project=PROJECT)["answers"])
broken.set()
for stream in (False, True):
    try:
        list(client.chat.completions.create(**request, stream=stream))
        check(False, f"a generator that fails is an error, stream={stream}")
    except openai.APIError as error:
        check("generator" in str(error).lower() or "500" in str(error), f"a failure is told: {error}")
broken.clear()
check(len(run("answers", project=PROJECT)["answers"]) == answers, "a failure records no answer")
served.terminate()
check(served.wait(timeout=30) == 0, "the server stops when it is told to")

leaks = [
    path for path in (PROJECT / ".sextant").rglob("*")
    if path.is_file() and SECRET.encode() in path.read_bytes()
]
check(not leaks, f"the key is stored nowhere, found in {leaks}")

server.shutdown()
server.server_close()
run("ask", QUESTION, project=PROJECT, expect=6)
check(True, "an endpoint that is gone is exit status 6")
close(at_least=27)
