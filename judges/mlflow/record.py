"""What does the stock server answer? Starts one, sends the table and writes each request with its
answer: `judges/mlflow/run --record FILE [AREA…]`. Long lists and texts are cut, and
what was written before is only named."""

import json

import normal
import replay
import table

MOST_ENTRIES = 6
MOST_CHARACTERS = 400
# What goes with a code; an answer that says something else is written whole.
ERRORS = {
    "INVALID_PARAMETER_VALUE": ("KAM00", "INVALID_PARAMETER_VALUE"),
    "RESOURCE_DOES_NOT_EXIST": ("KAM00", "RESOURCE_NOT_FOUND"),
    "RESOURCE_ALREADY_EXISTS": ("KAM00", "RESOURCE_ALREADY_EXISTS"),
    "BAD_REQUEST": ("KAM00", "INVALID_PARAMETER_VALUE"),
    "INTERNAL_ERROR": ("XXM00", "CLIENT_INTERNAL_ERROR"),
}
PAGES = {
    404: "(the page of an unknown route)",
    405: "(the page of a wrong method)",
    500: "(the page of an internal error)",
}


def record(url, path, areas=None):
    server = replay.Server(url)
    server.told = {}
    with open(path, "w", encoding="utf-8") as file:
        area = None
        for request in table.read(areas):
            answer = server.send(request)
            if request.area != area:
                area = request.area
                file.write(f"\n# {area}\n")
            file.write(describe(request, answer, server) + "\n")


def describe(request, answer, server):
    path = request.path
    for version, prefix in table.PREFIXES.items():
        if path.startswith(prefix):
            path = ("" if version == "2" else f"{version}:") + path.removeprefix(prefix)
    parts = [request.method, path, request.body or ""]
    parts.extend(f"[{key}: {value}]" for key, value in request.headers.items())
    parts.extend(f"(gives ${name})" for name in request.captures)
    told = [
        f"; {key}: {value}"
        for key, value in answer.headers.items()
        if key in replay.HEADERS and value not in ("nosniff", "application/json")
    ]
    missing = "" if answer.headers.get("x-content-type-options") else "; without nosniff"
    asked = " ".join(part for part in parts if part)
    return f"{request.label}: {asked}\n  {answer.status}{''.join(told)}{missing} {body(request, answer, server)}"


def body(request, answer, server):
    parsed = answer.json()
    if isinstance(parsed, dict) and "error_code" in parsed:
        code = parsed["error_code"]
        known = ERRORS.get(code) == (parsed.get("sqlstate"), parsed.get("error_class"))
        if set(parsed) == {"error_code", "message", "sqlstate", "error_class"} and known:
            return f"{code}: {shortened(normal.text(parsed['message'], normal.Values(server), {}))}"
    if parsed is not None:
        named = normal.value("", shortened(parsed), normal.Values(server), {}, sort=False)
        return json.dumps(once(request.label, named, server.told), ensure_ascii=False)
    text = answer.body.decode("utf-8", "backslashreplace")
    if text.startswith("<!doctype html>") and answer.status in PAGES:
        return PAGES[answer.status]
    return shortened(text.replace("\n", "⏎"))


def once(label, found, told):
    """The value, with each large part that was written before replaced by where that was."""
    if isinstance(found, list):
        return [once(label, inner, told) for inner in found]
    if not isinstance(found, dict):
        return found
    text = json.dumps(found)
    if len(text) > 250 and told.setdefault(text, label) != label:
        return f"(as in {told[text]})"
    return {key: once(label, inner, told) for key, inner in found.items()}


def shortened(found):
    if isinstance(found, dict):
        return {key: shortened(inner) for key, inner in found.items()}
    if isinstance(found, list):
        more = len(found) - MOST_ENTRIES
        kept = [shortened(inner) for inner in found[:MOST_ENTRIES]]
        return kept + [f"… {more} more"] if more > 0 else kept
    if isinstance(found, str) and len(found) > MOST_CHARACTERS * 2:
        return f"{found[:MOST_CHARACTERS]}… ({len(found)} characters) …{found[-100:]}"
    return found
