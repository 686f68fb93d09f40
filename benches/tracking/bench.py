"""How fast does a tracking server take metric points, answer searches and draw charts? The same load for
each server, one after the other; at the end what each did, and who was better. Plain HTTP with kept
connections, one process for each client, since MLflow's own client is slower than either server."""

import argparse
import json
import multiprocessing
import os
import platform
import sys
import time

import servers
from servers import Client, Refused

parser = argparse.ArgumentParser()
parser.add_argument("servers", nargs="*", metavar="NAME=URL[,PID]", help="that run already; else stock and ours")
parser.add_argument("--seconds", type=float, default=10)
parser.add_argument("--clients", default="1,8,32", help="how many at once, each in a round of its own")
parser.add_argument("--points", type=int, default=1000, help="points in a batch, 1000 at most")
parser.add_argument("--stored", type=int, default=1_000_000, help="points after which memory and charts are measured")
parser.add_argument("--runs", default="1000,20000,100000", help="runs that are searched, each in an experiment")
parser.add_argument("--searches", type=int, default=50)
parser.add_argument("--only", default="batches,metrics,stored,search", help="which parts")
arguments = parser.parse_args()
API = "/api/2.0/mlflow/"
FILLERS = 8
KEYS = 10
# What each server did: {what: {name of the server: (figure, unit)}}; more is better for rates.
results = {}


def post(client, path, body):
    return json.loads(client.ask("POST", API + path, json.dumps(body)))


def new_run(client, experiment, name, start=None):
    asked = {"experiment_id": experiment, "run_name": name, "start_time": start or now()}
    return post(client, "runs/create", asked)["run"]["info"]["run_id"]


def new_experiment(client, name):
    return post(client, "experiments/create", {"name": f"{name} {time.time_ns()}"})["experiment_id"]


def now():
    return int(time.time() * 1000)


def several(count, work, *given):
    """Runs `work(number, …)` in as many processes at once and gives what each returned."""
    with multiprocessing.Pool(count) as pool:
        return pool.starmap(work, [(number, *given) for number in range(count)], chunksize=1)


def batch_form(run, points):
    """A batch whose steps and times move on when its `@@@@@@` becomes a number: building the JSON of each
    anew would take longer than the server does."""
    metrics = [
        f'{{"key":"m{n % KEYS}","value":{n / 7},"timestamp":17@@@@@@{n:05},"step":1@@@@@@{n // KEYS:03}}}'
        for n in range(points)
    ]
    return f'{{"run_id":"{run}","metrics":[{",".join(metrics)}]}}'.encode()


def log_batches(number, url, experiment, seconds, points, most):
    """Batches of one run until the time is over, `most` of them. What was acknowledged last is there."""
    client = Client(url)
    run = new_run(client, experiment, f"batches {number}")
    form, times = batch_form(run, points), []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until and len(times) < most:
        body = form.replace(b"@@@@@@", b"%06d" % len(times))
        begun = time.perf_counter()
        client.ask("POST", API + "runs/log-batch", body)
        times.append(time.perf_counter() - begun)
    told = json.loads(client.ask("GET", f"{API}runs/get?run_id={run}"))["run"]["data"]["metrics"]
    latest, wanted = max(m["step"] for m in told), int(f"1{len(times) - 1:06}{(points - 1) // KEYS:03}")
    if latest != wanted:
        raise RuntimeError(f"step {wanted} was acknowledged, the last there is {latest}")
    return run, times


def log_metrics(number, url, experiment, seconds):
    client = Client(url)
    run = new_run(client, experiment, f"metrics {number}")
    times, step = [], 0
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        begun = time.perf_counter()
        post(client, "runs/log-metric", {"run_id": run, "key": "m", "value": step, "timestamp": now(), "step": step})
        times.append(time.perf_counter() - begun)
        step += 1
    return times


def searched_run(place):
    """One of the runs that are searched: its name, its start, and what it logs."""
    value = place * 7919 % 10007 / 10007
    return f"run {place}", 1_700_000_000_000 + place, {
        "metrics": [{"key": key, "value": value, "timestamp": 1, "step": 0} for key in ("acc", "loss", "f1")],
        "params": [{"key": "lr", "value": str(place % 10)}, {"key": "depth", "value": str(place % 3)}],
        "tags": [{"key": "team", "value": ("red", "blue")[place % 2]}],
    }  # fmt: skip


def fill(number, url, experiment, runs):
    """A share of the runs that are searched."""
    client = Client(url)
    for place in range(number, runs, FILLERS):
        name, start, log = searched_run(place)
        run = new_run(client, experiment, name, start)
        client.ask("POST", API + "runs/log-batch", json.dumps({"run_id": run, **log}))


SEARCHES = {
    "first page": {},
    "by metric": {"filter": "metrics.acc > 0.5", "order_by": ["metrics.acc DESC"]},
    "by metric, parameter, tag": {
        "filter": "metrics.acc > 0.5 AND params.lr = '3' AND tags.team = 'blue'",
        "order_by": ["metrics.loss ASC"],
    },
    "by name": {"filter": "run_name LIKE '%99%'"},
}


def bench_search(server, runs):
    client = Client(server.url)
    experiment = new_experiment(client, "search")
    begun = time.perf_counter()
    directly = server.fill(int(experiment), [searched_run(place) for place in range(runs)])
    if not directly:
        several(FILLERS, fill, server.url, experiment, runs)
    how = "directly in its store" if directly else f"by {FILLERS} clients"
    print(f"  {runs} runs were made in {time.perf_counter() - begun:.1f} s {how}", flush=True)
    client, found = Client(server.url), {}
    for name, asked in SEARCHES.items():
        body = {"experiment_ids": [experiment], "max_results": 100, **asked}
        times = timed(arguments.searches, lambda: found.update(post(client, "runs/search", body)))
        tell(server, f"search {runs}: {name}", None, times, f"{len(found.get('runs', []))} found")
        found.clear()
    tell_pages(server, client, experiment, runs)


def tell_pages(server, client, experiment, runs):
    """All pages one after the other; every run is there once."""
    token, seen, times = None, [], []
    while True:
        asked = {"experiment_ids": [experiment], "max_results": 1000, "order_by": ["metrics.acc DESC"]}
        begun = time.perf_counter()
        found = post(client, "runs/search", asked | ({"page_token": token} if token else {}))
        times.append(time.perf_counter() - begun)
        seen.extend(run["info"]["run_id"] for run in found.get("runs", []))
        token = found.get("next_page_token")
        if not token:
            break
    if not len(seen) == len(set(seen)) == runs:
        sys.exit(f"{runs} runs are there, {len(seen)} were on the pages, {len(set(seen))} different")
    tell(server, f"search {runs}: all pages of 1000", (len(seen) / sum(times), "runs/s"), times)


def bench_stored(server, experiment):
    """So many points, then what the server holds, how it draws them, and how it starts with them."""
    share = max(1, arguments.stored // arguments.points // FILLERS)
    given = (server.url, experiment, 3600, arguments.points, share)
    begun = time.perf_counter()
    told = several(FILLERS, log_batches, *given)
    took, points = time.perf_counter() - begun, share * FILLERS * arguments.points
    times = sum((times for _, times in told), [])
    tell(server, f"{points:,} points in batches, {FILLERS} clients", (points / took, "points/s"), times)
    tell_memory(server, f"after {points:,} points")
    client, runs = Client(server.url), [run for run, _ in told]
    each = "&".join(f"run_id={run}" for run in runs)
    asked = f"/ajax-api/2.0/mlflow/metrics/get-history-bulk?{each}&metric_key=m0&max_results=25000"
    several_runs = f"chart of {len(runs)} runs"
    tell(server, f"{several_runs}: bulk, 25000 points", None, timed(10, lambda: client.ask("GET", asked)))
    asked = asked.replace("run_id=", "run_ids=").replace("get-history-bulk", "get-history-bulk-interval")
    asked = asked.replace("max_results=25000", "max_results=320")
    tell(server, f"{several_runs}: 320 points of each", None, timed(10, lambda: client.ask("GET", asked)))
    tell_memory(server, "after the charts")
    if isinstance(server, servers.Started):
        server.stop()
        told_seconds(server, f"start with {points:,} points", server.start())


def timed(count, work):
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return times


def keep(server, what, figure, unit):
    results.setdefault(what, {})[server.name] = (figure, unit)


def tell(server, what, rate, times, note=""):
    """Prints a rate, if there is one, and the times of one request."""
    times = sorted(times)
    p50, p95, p99 = (times[min(len(times) - 1, int(len(times) * share))] * 1000 for share in (0.5, 0.95, 0.99))
    if rate:
        keep(server, what, *rate)
        note = f"{rate[0]:,.0f} {rate[1]}"
    keep(server, f"{what}, {'p99' if rate else 'p95'}", p99 if rate else p95, "ms")
    print(f"  {what:44} {note:>22}   p50 {p50:9.2f}  p95 {p95:9.2f}  p99 {p99:9.2f} ms", flush=True)


def told_seconds(server, what, seconds):
    keep(server, what, seconds * 1000, "ms")
    print(f"  {what}: {seconds * 1000:.0f} ms", flush=True)


def tell_memory(server, when):
    if server.pid:
        held = servers.memory(server.pid)
        keep(server, f"memory {when}", held, "MiB")
        print(f"  memory {when}: {held:.0f} MiB", flush=True)


def bench_batches(server, experiment, count):
    begun = time.perf_counter()
    told = several(count, log_batches, server.url, experiment, arguments.seconds, arguments.points, 10**6)
    times = sum((times for _, times in told), [])
    took = min(time.perf_counter() - begun, arguments.seconds + max(times))
    rate = (len(times) * arguments.points / took, "points/s")
    tell(server, f"log-batch of {arguments.points}, {count} clients", rate, times)


def bench_metrics(server, experiment, count):
    times = sum(several(count, log_metrics, server.url, experiment, arguments.seconds), [])
    tell(server, f"log-metric, {count} clients", (len(times) / arguments.seconds, "requests/s"), times)


def bench(server):
    started = isinstance(server, servers.Started)
    seconds = server.start() if started else None
    print(f"{server.name} at {server.url}: {server.version}")
    if started:
        told_seconds(server, "cold start", seconds)
    client, parts = Client(server.url), arguments.only.split(",")
    experiment = new_experiment(client, "bench")
    tell_memory(server, "at first")
    if "stored" in parts:
        bench_stored(server, experiment)
    for count in map(int, arguments.clients.split(",")):
        for part, work in (("batches", bench_batches), ("metrics", bench_metrics)):
            if part in parts:
                try:
                    work(server, experiment, count)
                except Refused as refused:
                    # A round in which a call was refused has no figure.
                    print(f"  {part}, {count} clients: refused: {refused}", flush=True)
    if "search" in parts:
        for runs in map(int, arguments.runs.split(",")):
            bench_search(server, runs)
    tell_memory(server, "at the end")
    if started:
        server.stop()


def compared():
    """Each figure of the first server beside those of the others, and who was better by how much."""
    for what, figures in results.items():
        (first, (base, unit)), *others = figures.items()
        for name, (figure, _) in others:
            more_is_better = unit.endswith("/s")
            ratio = (figure / base if more_is_better else base / figure) if base and figure else 0
            winner = name if ratio > 1 else first
            by = max(ratio, 1 / ratio) if ratio else 0
            print(f"{what:48} {first} {base:11,.1f}  {name} {figure:11,.1f} {unit:10} {winner} {by:.1f}x")


if __name__ == "__main__":
    load = os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} cores, {arguments.seconds:g} s a round, load {load:.1f}")
    for one in [servers.Named(given) for given in arguments.servers] or [servers.Stock(), servers.ours()]:
        bench(one)
    compared()
