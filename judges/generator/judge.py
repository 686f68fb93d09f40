"""Can any OpenAI-compatible endpoint be the generator? A scripted one stands in: it records what it is
asked, and answers with one good mark and one that points at nothing."""

import http.server
import json
import os
import pathlib
import threading

from product import check, close, run

PROJECT = pathlib.Path(os.environ["SEXTANT_SPARE"])
SECRET = "sk-scripted-4f1d9a"
QUESTION = "How do I roll back a release?"
REPLY = "The release before is made live again in one step [1]. Nobody knows the rest [99]."
seen = []


class Scripted(http.server.BaseHTTPRequestHandler):
    """A stock endpoint: whole or streamed, as it is asked."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        seen.append((self.path, self.headers.get("Authorization"), body))
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

leaks = [
    path for path in (PROJECT / ".sextant").rglob("*")
    if path.is_file() and SECRET.encode() in path.read_bytes()
]
check(not leaks, f"the key is stored nowhere, found in {leaks}")

server.shutdown()
server.server_close()
run("ask", QUESTION, project=PROJECT, expect=6)
check(True, "an endpoint that is gone is exit status 6")
close(at_least=15)
