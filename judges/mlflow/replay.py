"""Do two servers answer alike? Sends every request of the table to both and compares what is left
after ids, times and addresses are replaced."""

import dataclasses
import fnmatch
import http.client
import json
import pathlib
import tomllib
import urllib.parse

import normal
import table

DIFFERENCES = pathlib.Path(__file__).parent / "differences.toml"
# The headers that clients and browsers act upon.
HEADERS = ["content-type", "content-disposition", "x-content-type-options", "allow", "www-authenticate"]


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict
    body: bytes

    def json(self):
        """The body as JSON, where it says that it is; an artifact is compared byte for byte."""
        if not self.headers.get("content-type", "").startswith("application/json"):
            return None
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Server:
    """One of the two: where it is, and what its answers gave to later requests."""

    def __init__(self, url):
        self.url = url.rstrip("/")
        self.values = {}
        self.connection = None

    def send(self, request):
        body, headers = self.body_of(request)
        path = table.fill(request.path, self.values)
        sent = headers | {key: table.fill(text, self.values) for key, text in request.headers.items()}
        for attempt in (1, 2):
            try:
                answer = self.exchange(request.method, path, body, sent)
                break
            except (http.client.HTTPException, ConnectionError):
                # A server may close an idle connection at any time; a second failure is an answer.
                self.connection = None
                if attempt == 2:
                    answer = Answer(0, {}, b"the connection broke")
        self.capture(request, answer)
        return answer

    def body_of(self, request):
        if request.body is None:
            return None, {}
        text = table.fill(request.body, self.values)
        if text.startswith("text:"):
            return text[5:].encode(), {"Content-Type": "text/plain"}
        if text.startswith("file:"):
            return text[5:].encode(), {"Content-Type": "application/octet-stream"}
        return text.encode(), {"Content-Type": "application/json"}

    def exchange(self, method, path, body, headers):
        if self.connection is None:
            parts = urllib.parse.urlsplit(self.url)
            self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        self.connection.request(method, path, body=body, headers=headers)
        response = self.connection.getresponse()
        found = {key.lower(): value for key, value in response.getheaders()}
        return Answer(response.status, found, response.read())

    def capture(self, request, answer):
        for name, path in request.captures.items():
            value = answer.json()
            for step in path.split("."):
                try:
                    value = value[int(step)] if isinstance(value, list) else value[step]
                except (LookupError, TypeError, ValueError):
                    value = f"nothing-{name}"
                    break
            self.values[name] = value


def compare(request, left, left_values, right, right_values):
    """The parts in which two answers differ, each as (part, left, right)."""
    found = []
    if left.status != right.status:
        found.append(("status", left.status, right.status))
    for name in HEADERS:
        ours, theirs = (normal.header(name, answer.headers.get(name)) for answer in (left, right))
        if ours != theirs:
            found.append((name, ours, theirs))
    bodies = [
        normal.body(request, answer.body, answer.json(), values)
        for answer, values in ((left, left_values), (right, right_values))
    ]
    found.extend(("body" + path, ours, theirs) for path, ours, theirs in unlike(*bodies))
    return found


def unlike(left, right, path=""):
    """Where two JSON values differ: numbers and texts are never alike, nor 1 and true or 1.0."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(left.keys() | right.keys()):
            if key not in left or key not in right:
                yield f"{path}.{key}", left.get(key, "(absent)"), right.get(key, "(absent)")
            else:
                yield from unlike(left[key], right[key], f"{path}.{key}")
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for number, (one, other) in enumerate(zip(left, right)):
            yield from unlike(one, other, f"{path}.{number}")
    elif type(left) is not type(right) or left != right:
        yield path, left, right


class Known:
    """The differences that are named with a reason. Each must still occur."""

    def __init__(self, path=DIFFERENCES):
        self.entries = tomllib.loads(path.read_text()).get("difference", []) if path else []
        self.used = set()

    def explains(self, name, part):
        explained = False
        for number, entry in enumerate(self.entries):
            for pattern in entry["requests"]:
                if fnmatch.fnmatchcase(name, pattern) and any(
                    fnmatch.fnmatchcase(part, parts) for parts in entry["parts"]
                ):
                    self.used.add((number, pattern))
                    explained = True
        return explained

    def gone(self, names, whole):
        """Entries of which nothing that ran differs any more, and in a whole run those of nothing."""
        for number, entry in enumerate(self.entries):
            if not entry.get("reason", "").strip():
                yield f"{entry['requests']}: a difference without a reason"
            for pattern in entry["requests"]:
                ran = fnmatch.filter(names, pattern)
                if ran and (number, pattern) not in self.used:
                    yield f"{pattern}: no longer differs in {', '.join(entry['parts'])}"
                elif whole and not ran:
                    yield f"{pattern}: nothing has this name"


def both(requests, left_url, right_url):
    """Sends each request to both servers; gives (request, left, right, what differs)."""
    left, right = Server(left_url), Server(right_url)
    for request in requests:
        ours, theirs = left.send(request), right.send(request)
        yield request, ours, theirs, compare(
            request, ours, normal.Values(left), theirs, normal.Values(right)
        )
