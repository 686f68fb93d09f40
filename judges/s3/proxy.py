"""A store that fails: stands between a client and a server of S3, and at random does what networks and
services do. Requests that must not write over a file are forwarded one at a time, because the server
behind it looks and writes in two steps."""

import http.client
import http.server
import random
import threading
import time

FAULTS = {
    "500": "answers 500 and does nothing",
    "503": "answers 503 and does nothing",
    "late 500": "does what was asked and answers 500",
    "lost": "does what was asked and closes the connection without a word",
    "stalled": "waits, does nothing, and closes the connection",
    "cut": "answers with half of the body",
}
# Longer than a statement of ours ever waits between two requests.
STALL_SECONDS = 0.5


class Proxy(http.server.ThreadingHTTPServer):
    daemon_threads = True
    # Thirty-two writers open their connections at once.
    request_queue_size = 256

    def __init__(self, behind, seed):
        super().__init__(("127.0.0.1", 0), Handler)
        self.behind, self.random = behind, random.Random(seed)
        self.rate, self.only, self.forgets_conditions = 0.0, None, False
        self.done = dict.fromkeys(FAULTS, 0)
        self.one_at_a_time, self.counting = threading.Lock(), threading.Lock()
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def fault(self, request):
        """What happens to this request; mostly nothing."""
        with self.counting:
            if self.random.random() >= self.rate or (self.only and not self.only(request)):
                return None
            name = self.random.choice(list(FAULTS))
            self.done[name] += 1
            return name

    def handle_error(self, request, client_address):
        """A client that went away is no news."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def forward(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else None
        proxy = self.server
        fault = proxy.fault(self)
        if fault in ("500", "503"):
            return self.reply(int(fault), {}, b"<Error><Code>InternalError</Code></Error>")
        if fault == "stalled":
            time.sleep(STALL_SECONDS)
            return self.hang_up()
        headers = {k: v for k, v in self.headers.items() if k.lower() != "connection"}
        is_conditional = self.headers.get("If-None-Match") is not None
        if is_conditional and proxy.forgets_conditions:
            headers = {k: v for k, v in headers.items() if k.lower() != "if-none-match"}
        if is_conditional:
            with proxy.one_at_a_time:
                status, answered, text = self.ask(headers, body)
        else:
            status, answered, text = self.ask(headers, body)
        if fault == "late 500":
            return self.reply(500, {}, b"<Error><Code>InternalError</Code></Error>")
        if fault == "lost":
            return self.hang_up()
        if fault == "cut" and len(text) > 1 and self.command == "GET":
            answered["Content-Length"] = str(len(text))
            self.reply(status, answered, text[: len(text) // 2])
            return self.hang_up()
        if self.command != "HEAD":
            answered["Content-Length"] = str(len(text))
        return self.reply(status, answered, text)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = forward

    def ask(self, headers, body):
        connection = http.client.HTTPConnection(*self.server.behind, timeout=30)
        try:
            connection.request(self.command, self.path, body=body, headers=headers)
            answer = connection.getresponse()
            text = answer.read()
            hop = ("transfer-encoding", "connection", "date", "server")
            kept = {k: v for k, v in answer.getheaders() if k.lower() not in hop}
            return answer.status, kept, text
        finally:
            connection.close()

    def reply(self, status, headers, text):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers and self.command != "HEAD":
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)
            self.wfile.flush()

    def hang_up(self):
        self.close_connection = True
