"""How fast does a tracking server take metric points and answer searches? Prints for each server: points
a second and the times of one request with several clients at once, single metrics, searches over many
runs, and the history that a chart needs. Only the standard library, one process for each client."""

import argparse
import http.client
import json
import multiprocessing
import os
import pathlib
import platform
import sys
import time
import urllib.parse

parser = argparse.ArgumentParser()
parser.add_argument("servers", nargs="+", metavar="NAME=URL[,PID]", help="PID: print the memory of this process")
parser.add_argument("--seconds", type=float, default=10)
parser.add_argument("--clients", default="1,8,32", help="how many at once, each in a round of its own")
parser.add_argument("--points", type=int, default=1000, help="points in a batch, 1000 at most")
parser.add_argument("--runs", type=int, default=10_000, help="runs that are searched")
parser.add_argument("--searches", type=int, default=50)
parser.add_argument("--only", default="batches,metrics,search", help="which parts")
arguments = parser.parse_args()
API = "/api/2.0/mlflow/"


class Client:
    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=300)

    def post(self, path, body):
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.connection.request("POST", API + path, body=text, headers={"Content-Type": "application/json"})
        return self.answer(path)

    def get(self, path):
        self.connection.request("GET", API + path)
        return self.answer(path)

    def answer(self, path):
        response = self.connection.getresponse()
        text = response.read()
        if response.status != 200:
            sys.exit(f"{path}: {response.status} {text[:300]!r}")
        return json.loads(text)

    def run(self, experiment, name):
        made = self.post("runs/create", {"experiment_id": experiment, "run_name": name, "start_time": now()})
        return made["run"]["info"]["run_id"]


def now():
    return int(time.time() * 1000)


def several(count, work, *given):
    """Runs `work(number, …)` in as many processes at once and gives what each returned."""
    with multiprocessing.Pool(count) as pool:
        return pool.starmap(work, [(number, *given) for number in range(count)], chunksize=1)


def log_batches(number, url, experiment, seconds, points):
    """Batches of one run until the time is over. What was acknowledged last must be there."""
    client = Client(url)
    run = client.run(experiment, f"batches {number}")
    times, step, start = [], 0, now()
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        metrics = [
            {"key": f"m{n % 10}", "value": n / 7, "timestamp": start + step, "step": step + n // 10}
            for n in range(points)
        ]
        body = json.dumps({"run_id": run, "metrics": metrics}).encode()
        begun = time.perf_counter()
        client.post("runs/log-batch", body)
        times.append(time.perf_counter() - begun)
        step += (points + 9) // 10
    latest = {m["key"]: m["step"] for m in client.get(f"runs/get?run_id={run}")["run"]["data"]["metrics"]}
    if latest["m0"] != step - 1:
        sys.exit(f"step {step - 1} was acknowledged, the last there is {latest['m0']}")
    return times


def log_metrics(number, url, experiment, seconds, _points):
    client = Client(url)
    run = client.run(experiment, f"metrics {number}")
    times, step = [], 0
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        begun = time.perf_counter()
        client.post("runs/log-metric", {"run_id": run, "key": "m", "value": step, "timestamp": now(), "step": step})
        times.append(time.perf_counter() - begun)
        step += 1
    return times


def fill(number, url, experiment, runs, workers):
    """A share of the runs that are searched, each with metrics, parameters and a tag."""
    client = Client(url)
    for place in range(number, runs, workers):
        run = client.run(experiment, f"run {place}")
        value = place * 7919 % 10007 / 10007
        client.post("runs/log-batch", {
            "run_id": run,
            "metrics": [{"key": key, "value": value, "timestamp": 1, "step": 0} for key in ("acc", "loss", "f1")],
            "params": [{"key": "lr", "value": str(place % 10)}, {"key": "depth", "value": str(place % 3)}],
            "tags": [{"key": "team", "value": ("red", "blue")[place % 2]}],
        })  # fmt: skip


SEARCHES = {
    "first page": {},
    "by metric": {"filter": "metrics.acc > 0.5", "order_by": ["metrics.acc DESC"]},
    "by metric, parameter, tag": {
        "filter": "metrics.acc > 0.5 AND params.lr = '3' AND tags.team = 'blue'",
        "order_by": ["metrics.loss ASC"],
    },
    "by name": {"filter": "run_name LIKE '%99%'"},
}


def search(client, experiment):
    for name, asked in SEARCHES.items():
        times = []
        for _ in range(arguments.searches):
            begun = time.perf_counter()
            found = client.post("runs/search", {"experiment_ids": [experiment], "max_results": 100, **asked})
            times.append(time.perf_counter() - begun)
        tell(f"search {name}", f"{len(found.get('runs', []))} of a page of 100", times)
    tell_pages(client, experiment)


def tell_pages(client, experiment):
    """All pages one after the other; every run is there once."""
    token, seen, times = None, set(), []
    while True:
        asked = {"experiment_ids": [experiment], "max_results": 1000, "order_by": ["metrics.acc DESC"]}
        begun = time.perf_counter()
        found = client.post("runs/search", asked | ({"page_token": token} if token else {}))
        times.append(time.perf_counter() - begun)
        seen.update(run["info"]["run_id"] for run in found.get("runs", []))
        token = found.get("next_page_token")
        if not token:
            break
    if len(seen) != arguments.runs:
        sys.exit(f"{arguments.runs} runs are there, {len(seen)} were on the pages")
    tell("search all pages of 1000", f"{len(seen) / sum(times):,.0f} runs/s", times)


def tell(what, figure, times):
    times = sorted(times)
    p50, p95, p99 = (times[min(len(times) - 1, int(len(times) * share))] * 1000 for share in (0.5, 0.95, 0.99))
    print(f"  {what:40} {figure:>26}   p50 {p50:9.2f}  p95 {p95:9.2f}  p99 {p99:9.2f} ms", flush=True)


def memory(pid):
    """Resident memory of a process and its children, in MiB."""
    total, waiting = 0, [pid]
    while waiting:
        one = waiting.pop()
        for line in pathlib.Path(f"/proc/{one}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
        for task in pathlib.Path(f"/proc/{one}/task").iterdir():
            waiting.extend(map(int, (task / "children").read_text().split()))
    return total / 1024


def bench(name, url, pid):
    print(f"{name} at {url}")
    client = Client(url)
    parts = arguments.only.split(",")
    experiment = client.post("experiments/create", {"name": f"bench {now()}"})["experiment_id"]
    tell_memory("at first", pid)
    for count in map(int, arguments.clients.split(",")):
        given = (url, experiment, arguments.seconds, arguments.points)
        if "batches" in parts:
            begun = time.perf_counter()
            times = sum(several(count, log_batches, *given), [])
            took = min(time.perf_counter() - begun, arguments.seconds + max(times))
            rate = f"{len(times) * arguments.points / took:,.0f} points/s"
            tell(f"log-batch of {arguments.points}, {count} clients", rate, times)
        if "metrics" in parts:
            times = sum(several(count, log_metrics, *given), [])
            tell(f"log-metric, {count} clients", f"{len(times) / arguments.seconds:,.0f} requests/s", times)
    tell_memory("after the points", pid)
    if "search" in parts:
        # The connection of before may have been closed while it was idle.
        client = Client(url)
        searched = client.post("experiments/create", {"name": f"bench search {now()}"})["experiment_id"]
        workers = 8
        begun = time.perf_counter()
        several(workers, fill, url, searched, arguments.runs, workers)
        took = time.perf_counter() - begun
        print(f"  {arguments.runs} runs were made in {took:.1f} s by {workers} clients")
        search(Client(url), searched)
        tell_memory("after the searches", pid)


def tell_memory(when, pid):
    if pid:
        print(f"  memory {when}: {memory(pid):.0f} MiB")


if __name__ == "__main__":
    print(f"{platform.machine()}, {os.cpu_count()} cores, {arguments.seconds:g} s a round")
    for server in arguments.servers:
        name, _, where = server.partition("=")
        url, _, pid = where.partition(",")
        bench(name, url.rstrip("/"), int(pid) if pid else None)
