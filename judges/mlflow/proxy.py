"""A proxy in front of a server. It notes which calls were made, and in the test of the judge itself it
answers wrongly on purpose: each fault is one that the judge must find."""

import http.client
import json
import re
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOP = {"connection", "transfer-encoding", "content-length", "date", "server", "keep-alive"}


class Proxy:
    def __init__(self, target, faults=()):
        self.target = urllib.parse.urlsplit(target)
        self.faults = faults
        self.calls = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()


def handler(proxy):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self):
            length = int(self.headers.get("Content-Length") or 0)
            body = self.read_body(length)
            proxy.calls.append((self.command, urllib.parse.urlsplit(self.path).path, self.path, body))
            status, headers, answer = self.ask(body)
            for fault in proxy.faults:
                status, headers, answer = fault(self.command, self.path, body, status, headers, answer)
            self.send_response_only(status)
            for key, value in headers:
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer)

        def read_body(self, length):
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(length)
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def ask(self, body):
            connection = http.client.HTTPConnection(proxy.target.hostname, proxy.target.port, timeout=120)
            headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP}
            if headers.get("Host", "").startswith("127.0.0.1:"):
                headers["Host"] = proxy.target.netloc
            connection.request(self.command, self.path, body=body or None, headers=headers)
            response = connection.getresponse()
            kept = [(k, v) for k, v in response.getheaders() if k.lower() not in HOP]
            answer = response.read()
            connection.close()
            return response.status, kept, answer

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = forward

        def log_message(self, *_):
            pass

    return Handler


def changed(pattern, change):
    """A fault: where the path fits and the answer is JSON, `change` alters the value."""

    def fault(method, path, _body, status, headers, answer):
        if re.search(pattern, path):
            try:
                answer = json.dumps(change(json.loads(answer))).encode()
            except (ValueError, LookupError, TypeError):
                pass
        return status, headers, answer

    return fault


def whole_numbers_as_texts(value):
    value["run"]["info"]["start_time"] = str(value["run"]["info"]["start_time"])
    return value


def without_last_page(value):
    value.pop("next_page_token")
    return value


def one_run_moved(value):
    value["runs"] = value["runs"][1:] + value["runs"][:1]
    return value


def nan_as_null(value):
    for point in value["metrics"]:
        point["value"] = None if point["value"] == "NaN" else point["value"]
    return value


def status_of_conflict(_method, _path, _body, status, headers, answer):
    return (409 if b"RESOURCE_ALREADY_EXISTS" in answer else status), headers, answer


def json_for_unknown_routes(_method, path, _body, status, headers, answer):
    if status == 404 and b"<title>404" in answer and "/nope" in path:
        headers = [(k, v) for k, v in headers if k.lower() != "content-type"]
        return 404, [*headers, ("Content-Type", "application/json")], b'{"error_code":"RESOURCE_DOES_NOT_EXIST"}'
    return status, headers, answer


def without_attachment(_method, path, _body, status, headers, answer):
    if "/artifacts/page.html" in path:
        headers = [(k, v) for k, v in headers if k.lower() != "content-disposition"]
    return status, headers, answer


def another_run(value):
    value["run"]["info"]["run_id"] = "0" * 32
    return value


# Which request must show which fault, and in which part of its answer.
FAULTS = [
    ("experiments/create-again", "status", status_of_conflict),
    ("runs/create", "body.run.info.start_time", changed("runs/create", whole_numbers_as_texts)),
    ("runs/get", "body.run.info.run_id", changed("runs/get", another_run)),
    ("search/page-1", "body.next_page_token", changed("runs/search", without_last_page)),
    ("search/order-name", "body.runs.0.info.run_id", changed("runs/search", one_run_moved)),
    ("batches/history-nan", "body.metrics.0.value", changed("metrics/get-history\\?", nan_as_null)),
    ("server/unknown-route", "content-type", json_for_unknown_routes),
    ("artifacts/get-html", "content-disposition", without_attachment),
]
