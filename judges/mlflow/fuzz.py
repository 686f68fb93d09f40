"""Does anything that a client may send make the server fail? Every call of the table is sent again and
again with something wrong in it. It may be refused in any way, but not by a failure of our own, and not
late; and the server is there afterwards."""

import argparse
import http.client
import json
import os
import random
import re
import socket
import time
import urllib.parse

import clients
import replay
import table
from check import check, close

parser = argparse.ArgumentParser()
parser.add_argument("--fuzz", action="store_true")
parser.add_argument("--url", default=os.environ.get("SEXTANT_MLFLOW_URL"))
parser.add_argument("--share", type=float, default=1.0, help="of what can be sent, by chance")
parser.add_argument("areas", nargs="*", help="areas of the table; all if none")
arguments = parser.parse_args()

SECONDS_MAX = 20
LEVELS = 10_000
# Requests of one caller that may wait at once are 64; one more is told 429.
WAITING = 48
LARGE = "x" * (2 << 20)
HOSTILE = [
    "", "\0", "a\0b", "\ud800", "../../etc/passwd", "%00", "%2e%2e%2f", "' OR 1=1 --", "`", '"', "[", "%s{}", "NaN",
    "9" * 400, "-1", "\u202e", "ü" * 9000, "a/b", "/", ".", "..", "a' AND " * 200,
    "metrics.`a` > 1 AND " * 300, "(" * 5000, "*" * 5000, "[[:alpha:]]{1000}{1000}",
]  # fmt: skip
WRONG = [
    None, True, False, 0, -1, 1.5, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 10**400, 1e308, [], {}, [None], [[]], [{}],
    [1, "a", {}], {"": ""}, {"key": {"key": []}}, ["a"] * 20_000, [{"key": "a", "value": "b"}] * 5000,
]  # fmt: skip


class Raw:
    """Sends bytes as they are; a new connection for each, as the server may close a bad one."""

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self.host, self.port = parts.hostname, parts.port

    def send(self, method, path, body, headers):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=SECONDS_MAX)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders()
            try:
                if body:
                    connection.send(body)
            except OSError:
                pass  # It may answer before it has read all.
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def nested(levels, kind):
    return {"list": b"[" * levels + b"]" * levels, "object": b'{"a":' * levels + b"1" + b"}" * levels}[kind]


def places(value, path=()):
    """Where a value or a part of it can be replaced."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for name, part in parts:
        yield from places(part, (*path, name))


def replaced(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def wrong_bodies(text):
    """Bodies that are wrong as a whole, with what is wrong."""
    yield from ((name, name.encode()) for name in ("null", "[]", "1", '"a"', "", "{", "{}", "\0"))
    yield "cut", text[: len(text) // 2]
    yield "not UTF-8", b'{"a":"\xff\xfe"}'
    yield "a key twice", text[:-1] + b"," + text[1:] if len(text) > 2 else text
    yield "deep lists", nested(LEVELS, "list")
    yield "deep objects", nested(LEVELS, "object")
    yield "large", b'{"a":"' + LARGE.encode() + b'"}'
    yield "many fields", b"{" + b",".join(b'"f%d":1' % n for n in range(50_000)) + b"}"


def wrong_values(body):
    """The body with each of its parts replaced by each wrong value."""
    for path in places(body):
        if not path:
            continue
        for new in [*WRONG, *HOSTILE, LARGE]:
            yield f"{path} = {str(new)[:40]!r}", json.dumps(replaced(body, path, new)).encode()
        for kind in ("list", "object"):
            marked = json.dumps(replaced(body, path, "@deep@")).encode()
            yield f"{path} = deep {kind}", marked.replace(b'"@deep@"', nested(LEVELS, kind))


def wrong_addresses(path):
    """The address with each value in its query, and each step of its path, replaced."""
    before, _, query = path.partition("?")
    pairs = urllib.parse.parse_qsl(query, keep_blank_values=True)
    values = [*HOSTILE, "9" * 30, "true", '{"a":1}', "x" * 20_000]
    for place, (name, old) in enumerate(pairs):
        for new in values:
            others = [*pairs[:place], (name, new), *pairs[place + 1 :]]
            yield f"?{name} = {new[:40]!r}", f"{before}?{encoded(others)}"
        yield f"?{name} often", f"{before}?{encoded(pairs + [(name, old)] * 500)}"
        yield f"?{name} not UTF-8", f"{before}?{encoded(pairs[:place] + pairs[place + 1 :])}&{name}=%ff%fe"
    steps = before.split("/")
    for place in range(4, len(steps)):
        for new in [*values, "%ff"]:
            quoted = new if new == "%ff" else quote(new)
            changed = "/".join([*steps[:place], quoted, *steps[place + 1 :]])
            yield f"step {place} = {new[:40]!r}", changed + ("?" + query if query else "")


def encoded(pairs):
    return "&".join(f"{quote(name)}={quote(value)}" for name, value in pairs)


def quote(text):
    return urllib.parse.quote(text.encode("utf-8", "surrogatepass"), safe="")


def variants(request, body, path, headers):
    """What is sent instead: (what is wrong, method, path, body, headers)."""
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"):
        if method != request.method:
            yield f"method {method}", method, path, body, headers
    for what, address in wrong_addresses(path):
        yield what, request.method, address, body, headers
    if body is None or request.method == "GET":
        return
    for kind in ("", "text/plain", "application/json; charset=utf-16", "application/x-protobuf", "x" * 5000):
        yield f"type {kind[:30]}", request.method, path, body, headers | {"Content-Type": kind}
    for packed in ("gzip", "br", "nothing"):
        yield f"packed {packed}", request.method, path, body, headers | {"Content-Encoding": packed}
    for what, text in wrong_bodies(body):
        yield f"body {what}", request.method, path, text, headers
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return
    if isinstance(fields, dict):
        for what, text in wrong_values(fields):
            yield what, request.method, path, text, headers


def fault(status, answer, took):
    """What is wrong with an answer, if anything."""
    if took > SECONDS_MAX / 2:
        return f"it took {took:.1f} s"
    own = re.search(rb"SXT-\d+[^\"]*|panic[^\"]*", answer)
    if status >= 500 and own:
        return f"{status} {own[0][:200]!r}"
    if status == 500 and not re.search(rb'"error_code": *"[A-Z_]+"', answer):
        return f"{status} {answer[:200]!r}"
    return None


def fuzz(url, requests):
    """Sends each request as it is, so that there is something, and its variants once for each call."""
    server, raw, done, sent, wrong = replay.Server(url), Raw(url), set(), 0, {}
    chance = random.Random(7)
    for request in requests:
        server.send(request)
        path = table.fill(request.path, server.values)
        body, headers = server.body_of(request)
        headers |= {name: table.fill(text, server.values) for name, text in request.headers.items()}
        route = f"{request.method} {clients.route(path)}"
        for what, *variant in variants(request, body, path, headers):
            if (route, what) in done:
                continue
            done.add((route, what))
            if chance.random() >= arguments.share:
                continue
            begun = time.monotonic()
            try:
                status, answer = raw.send(*variant)
                found = fault(status, answer, time.monotonic() - begun)
            except (OSError, http.client.HTTPException, ValueError) as error:
                found = f"no answer: {type(error).__name__} {error}"
            sent += 1
            if found:
                wrong.setdefault(route, []).append(f"{what}: {found}")
    return sent, wrong


def slow(url):
    """Bodies that never come to an end do not keep others from being answered."""
    raw, waiting = Raw(url), []
    for _ in range(WAITING):
        one = socket.create_connection((raw.host, raw.port), timeout=SECONDS_MAX)
        one.sendall(b"POST /api/2.0/mlflow/runs/search HTTP/1.1\r\nHost: localhost\r\n")
        one.sendall(b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
        waiting.append(one)
    begun = time.monotonic()
    status, _ = raw.send("GET", "/api/2.0/mlflow/experiments/search?max_results=1", None, {})
    soon = status == 200 and time.monotonic() - begun < 5
    check(soon, f"{WAITING} bodies without an end do not hold it up ({status})")
    for one in waiting:
        one.close()


url = arguments.url.rstrip("/")
sent, wrong = fuzz(url, table.read(set(arguments.areas)))
for route, found in wrong.items():
    check(False, f"{route}: {len(found)} times, such as {' / '.join(found[:3])}")
check(sent > 1000 and not wrong, f"{sent} wrong requests were answered, none by a failure of the server")
slow(url)
status, answer = Raw(url).send("GET", "/health", None, {})
check(status == 200, f"the server is there ({status})")
close(3)
