"""Can stock MLflow clients tell Sextant from a stock `mlflow server`? Programs of every area run against
both, and a table of raw requests is sent to both; what they answer is compared."""

import argparse
import os
import pathlib
import sys

import clients
import proxy
import record
import replay
import table
from check import check, close
from stock import Stock

parser = argparse.ArgumentParser()
parser.add_argument("parts", nargs="*", help="areas of the table, or programs of clients/; all if none")
parser.add_argument("--prove", action="store_true", help="judge the judge: stock against stock, and faults")
parser.add_argument("--record", metavar="FILE", help="write what the stock server answers")
parser.add_argument("--url", default=os.environ.get("SEXTANT_MLFLOW_URL"))
arguments = parser.parse_args()


def areas():
    known = {file.stem.split("_", 1)[1] for file in table.FOLDER.glob("*.txt")}
    wrong = set(arguments.parts) - known - set(clients.NAMES)
    if wrong:
        sys.exit(f"neither an area nor a program: {', '.join(sorted(wrong))}")
    return known & set(arguments.parts) if arguments.parts else known


def judge_requests(left, right, known):
    """Sends the table to both; every difference is known, and every known one is there."""
    requests = table.read(areas())
    wrong = 0
    for request, _, _, found in replay.both(requests, left, right):
        unknown = [part for part in found if not known.explains(request.name, part[0])]
        wrong += bool(unknown)
        for part, stock, ours in unknown:
            check(False, f"{request.name}: {part} is {shown(ours)}, stock has {shown(stock)}")
    check(not wrong, f"{len(requests)} requests are answered alike ({wrong} were not)")
    for gone in known.gone([request.name for request in requests]):
        check(False, gone)
    return len(requests)


def shown(value):
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:150]} … {text[-140:]}"


def judge_clients(left, right):
    names = [name for name in clients.NAMES if not arguments.parts or name in arguments.parts]
    for name in names:
        stock, ours = clients.run(name, left), clients.run(name, right)
        check(stock.ended, f"{name} runs against stock mlflow{stock.why}")
        check(ours.ended, f"{name} runs{ours.why}")
        unlike = list(replay.unlike(stock.seen, ours.seen))
        for part, theirs, mine in unlike:
            check(False, f"{name}: {part} is {shown(mine)}, stock has {shown(theirs)}")
        check(not unlike and stock.seen, f"{name} sees the same ({len(stock.seen)} things)")
    return len(names)


def prove():
    """Two stock servers do not differ, and a server with faults differs in each of them."""
    left, right = Stock(), Stock()
    watching = proxy.Proxy(right.url)
    judge_requests(left.url, right.url, replay.Known(None))
    judge_clients(left.url, watching.url)
    if not arguments.parts:
        judge_coverage(watching.calls)
    left, right = Stock(), Stock()
    wrong = proxy.Proxy(right.url, [fault for _, _, fault in proxy.FAULTS])
    found = {}
    for request, _, _, differs in replay.both(table.read(), left.url, wrong.url):
        found[request.name] = {part for part, _, _ in differs}
    for name, part, _ in proxy.FAULTS:
        check(part in found[name], f"the fault in {part} of {name} is found")
    close(30)


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
    stock = Stock()
    sent = judge_requests(stock.url, arguments.url, replay.Known())
    ran = judge_clients(stock.url, arguments.url)
    close(1 if arguments.parts else 3 * len(clients.NAMES))
