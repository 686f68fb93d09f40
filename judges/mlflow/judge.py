"""Can stock MLflow clients tell Sextant from a stock `mlflow server`? Programs of every area run against
both, and a table of raw requests is sent to both; what they answer is compared."""

import argparse
import json
import os
import pathlib
import sys
import urllib.request

import clients
import proxy
import record
import replay
import table
import walk
from check import check, close
from stock import Stock

WALK_STEPS_MIN = 10

parser = argparse.ArgumentParser()
parser.add_argument("parts", nargs="*", help="areas of the table, or programs of clients/; all if none")
parser.add_argument("--prove", action="store_true", help="judge the judge: stock against stock, and faults")
parser.add_argument("--record", metavar="FILE", help="write what the stock server answers")
parser.add_argument("--url", default=os.environ.get("SEXTANT_MLFLOW_URL"))
parser.add_argument("--pages", default=os.environ.get("SEXTANT_MLFLOW_PAGES"), help="where MLflow's pages are")
arguments = parser.parse_args()


def areas():
    known = {file.stem.split("_", 1)[1] for file in table.FOLDER.glob("*.txt")}
    wrong = set(arguments.parts) - known - {*clients.NAMES, walk.NAME}
    if wrong:
        sys.exit(f"neither an area nor a program: {', '.join(sorted(wrong))}")
    return known & set(arguments.parts) if arguments.parts else known


def must_be_empty(url):
    """The requests ask what is there, so nothing may be there before."""
    with urllib.request.urlopen(url + "/api/2.0/mlflow/experiments/search?max_results=2", timeout=30) as response:
        names = [one["name"] for one in json.load(response).get("experiments", [])]
    if names != ["Default"]:
        sys.exit(f"   NOT: the tracking server is not empty: it has {names}")


def judge_requests(left, right, known):
    """Sends the table to both; every difference is known."""
    requests = table.read(areas())
    wrong = 0
    for request, _, _, found in replay.both(requests, left, right):
        wrong += tell(request.name, found, known)
    check(not wrong, f"{len(requests)} requests are answered alike ({wrong} were not)")
    return [request.name for request in requests]


def judge_clients(left, right, known):
    """Runs the programs against both; they see the same."""
    names = [name for name in clients.NAMES if not arguments.parts or name in arguments.parts]
    for name in names:
        stock, ours = clients.run(name, left), clients.run(name, right)
        check(stock.ended, f"{name} runs against stock mlflow{stock.why}")
        check(ours.ended, f"{name} runs{ours.why}")
        found = replay.unlike(stock.seen, ours.seen)
        unknown = tell(f"programs/{name}", [("seen" + path, *both) for path, *both in found], known)
        check(not unknown and stock.seen, f"{name} sees the same ({len(stock.seen)} things)")
    return [f"programs/{name}" for name in names]


def tell(name, found, known):
    """Names the differences that nobody explained; is there one?"""
    unknown = [part for part in found if not known.explains(name, part[0])]
    for part, stock, ours in unknown:
        check(False, f"{name}: {part} is {shown(ours)}, stock has {shown(stock)}")
    return bool(unknown)


def shown(value):
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:150]} … {text[-140:]}"


def judge_walk(left, right, known):
    """MLflow's own pages, where there is a browser to walk through them."""
    if arguments.parts and walk.NAME not in arguments.parts:
        return []
    absent = walk.missing() or (None if right else "SEXTANT_MLFLOW_PAGES")
    if absent:
        print(f"   (no walk through MLflow's pages: needs {absent})")
        return []
    stock, ours = walk.both(left, right)
    steps = ours.get("steps", {})
    for step, went in steps.items():
        check(went == "shown", f"MLflow's page: {step}" + ("" if went == "shown" else f": {went}"))
    check(len(steps) >= WALK_STEPS_MIN, f"the walk has {len(steps)} steps")
    check(ours.get("outside") == [], f"nothing is loaded from elsewhere: {ours.get('outside')}")
    found = [("seen" + path, *values) for path, *values in replay.unlike(stock, ours)]
    unknown = tell(f"programs/{walk.NAME}", found, known)
    check(not unknown, f"the walk is as with stock mlflow ({len(stock.get('asked', {}))} questions)")
    return [f"programs/{walk.NAME}"]


def judge_parts(right):
    """A server that offers uploads in parts gets the large artifact in parts."""
    with urllib.request.urlopen(right + "/api/3.0/mlflow/server-info", timeout=30) as response:
        if not json.load(response).get("multipart_uploads_enabled"):
            print("   (no uploads in parts are offered: the large artifact went whole)")
            return
    watching = proxy.Proxy(right)
    ended = clients.run("artifacts", watching.url).ended
    completed = [path for _, path, _, _ in watching.calls if "/mpu/complete/" in path]
    check(ended and completed, "the large artifact went in parts")


def prove():
    """Two stock servers do not differ, and a server with faults differs in each of them."""
    left, right = Stock(), Stock()
    watching = proxy.Proxy(right.url)
    judge_requests(left.url, right.url, replay.Known(None))
    judge_clients(left.url, watching.url, replay.Known(None))
    if not arguments.parts:
        judge_coverage(watching.calls)
    prove_faults()
    prove_differences()
    close(1 if arguments.parts else 3 * len(clients.NAMES) + len(proxy.FAULTS))


def prove_faults():
    left, right = Stock(), Stock()
    wrong = proxy.Proxy(right.url, [fault for _, _, fault in proxy.FAULTS])
    requests = table.read({name.split("/")[0] for name, _, _ in proxy.FAULTS})
    found = {}
    for request, _, _, differs in replay.both(requests, left.url, wrong.url):
        found[request.name] = {part for part, _, _ in differs}
    for name, part, _ in proxy.FAULTS:
        check(part in found[name], f"the fault in {part} of {name} is found")


def prove_differences():
    """A named difference is let pass, one that is gone is not, nor one without a reason."""
    known = replay.Known(None)
    known.entries = [
        {"requests": ["a/*"], "parts": ["body.x*"], "reason": "because"},
        {"requests": ["b/one"], "parts": ["status"], "reason": "because"},
        {"requests": ["a/two"], "parts": ["body.x"], "reason": " "},
    ]
    check(known.explains("a/one", "body.x.y"), "a named difference is let pass")
    check(not known.explains("a/one", "status"), "another part of the same answer is not")
    known.explains("a/two", "body.x")
    gone = list(known.gone(["a/one", "a/two", "b/one"], whole=True))
    check(len(gone) == 2, f"one that is gone fails, and one without a reason: {gone}")


def judge_coverage(calls):
    """Every call that the programs made has a request in the table."""
    asked = {(request.method, clients.route(request.path)) for request in table.read()}
    made = {(method, clients.route(path)) for method, path, _, _ in calls}
    missing = sorted(f"{method} {path}" for method, path in made - asked)
    check(not missing, f"the table has each of the {len(made)} calls of the clients: {missing}")


if arguments.record:
    record.record(Stock().url, pathlib.Path(arguments.record), areas())
elif arguments.prove:
    prove()
elif not arguments.url:
    print("   skipped: SEXTANT_MLFLOW_URL does not say where the tracking server is")
    sys.exit(77)
else:
    ours = arguments.url.rstrip("/")
    must_be_empty(ours)
    stock, known = Stock(), replay.Known()
    names = judge_requests(stock.url, ours, known)
    names += judge_clients(stock.url, ours, known)
    names += judge_walk(stock.url, arguments.pages and arguments.pages.rstrip("/"), known)
    if "programs/artifacts" in names:
        judge_parts(ours)
    for gone in known.gone(names, whole=not arguments.parts):
        check(False, gone)
    close(1 if arguments.parts else 3 * len(clients.NAMES) + 1)
