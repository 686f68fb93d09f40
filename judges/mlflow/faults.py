"""Is what a client was told is stored there afterwards, exactly once? A server that is killed at random
moments while clients log with their usual retries; and many writers of one run at once."""

import argparse
import collections
import http.client
import json
import logging
import multiprocessing
import os
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import time

for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
    del os.environ[name]
# As a user sets it who expects restarts: the default is 7 tries with twice these waits.
os.environ |= {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "10",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}

from check import check, close  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("--faults", type=int, default=0, metavar="KILLS", help="kill the server so often")
parser.add_argument("--clients", type=int, default=8, help="stock clients that log meanwhile")
parser.add_argument("--writers", type=int, nargs="?", const=32, default=0, help="writers of one run")
parser.add_argument("--points", type=int, default=1_000_000, help="points of all writers together")
arguments = parser.parse_args()

SPANS = 3
BATCH = 50
KEYS = [f"m{number}" for number in range(10)]
START_SECONDS_MAX = 60
API = "/api/2.0/mlflow/"


def without_project():
    """The environment, in which the folder that a command runs in names the project."""
    return {key: value for key, value in os.environ.items() if key != "SEXTANT_PROJECT"}


class Server:
    """The judged server, which comes back on the same port."""

    def __init__(self, folder):
        self.folder, self.port = pathlib.Path(folder), quiet_port()
        self.url = f"http://127.0.0.1:{self.port}"
        (self.folder / "sextant.toml").write_text('[project]\nname = "faults"\n')
        self.start()
        self.wait()

    def start(self):
        kept = without_project()
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                [os.environ["SEXTANT_BIN"], "serve", "--port", str(self.port)],
                cwd=self.folder,
                env=kept,
                stdout=log,
                stderr=log,
            )

    def wait(self):
        until = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < until and self.process.poll() is None:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                time.sleep(0.02)
        log = (self.folder / "server.log").read_text()[-3000:]
        sys.exit(f"   NOT: the server starts (exit {self.process.poll()})\n{log}")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def fsck(self):
        """What is wrong with the project's store; nothing if it is clean."""
        done = subprocess.run(
            [os.environ["SEXTANT_BIN"], "fsck"], cwd=self.folder, env=without_project(), capture_output=True, text=True, check=False
        )
        return "" if done.returncode == 0 else (done.stdout + done.stderr)[-1000:]


def quiet_port():
    """A free port that the system gives to nobody else while the server is down."""
    while True:
        with socket.socket() as listener:
            port = random.randrange(20_000, 32_000)
            try:
                listener.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Told:
    """What a client sent, what of it was acknowledged, and what else it saw. One of each kind."""

    def __init__(self):
        self.sent, self.acknowledged, self.seen = set(), set(), []

    def log(self, things, call, *given, **named):
        """Makes a call that logs these things, each (kind, …)."""
        self.sent.update(things)
        warned = len(self.seen)
        try:
            call(*given, **named)
        except Exception as error:  # noqa: BLE001: whatever a client sees is the finding
            self.seen.append(f"{type(error).__name__}: {error}")
        if len(self.seen) == warned:
            self.acknowledged.update(things)


class Warned(logging.Handler):
    """Notes what the client only warns of: a trace that it could not export raises nothing."""

    def __init__(self, told):
        super().__init__(logging.WARNING)
        self.told = told

    def emit(self, record):
        self.told.seen.append(record.getMessage())


def client(number, url, experiment, ready, stop):
    """Logs to a run of its own until it is told to stop."""
    import mlflow
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag

    mlflow.set_tracking_uri(url)
    mlflow.set_experiment(experiment_id=experiment)
    told, stock = Told(), MlflowClient(url)
    logging.getLogger("mlflow.tracing").addHandler(Warned(told))
    run = stock.create_run(experiment, run_name=f"client {number}").info.run_id

    def trace(name):
        # The id is known only inside, and so is named by what it holds.
        with mlflow.start_span(f"{name} 0") as root:
            root.set_attribute("number", number)
            for inner in range(1, SPANS):
                with mlflow.start_span(f"{name} {inner}"):
                    pass

    # The version of the server is asked for once, without a second try.
    told.log([("trace", f"{number} first")], trace, f"{number} first")
    ready.release()
    place = 0
    while not stop.is_set():
        place += 1
        value = place / 7
        told.log([("metric", run, "single", value, place, place)], stock.log_metric, run, "single", value, place, place)
        points = [Metric(KEYS[n % 10], value + n, place * BATCH + n, place) for n in range(BATCH)]
        params = [Param(f"batch {place} {n}", f"{value}") for n in range(3)]
        tags = [RunTag(f"batch {place}", f"{value}"), RunTag("last", f"{place}")]
        batch = [("metric", run, p.key, p.value, p.timestamp, p.step) for p in points]
        batch += [("param", run, p.key, p.value) for p in params]
        batch += [("tag", run, tag.key, tag.value) for tag in tags]
        told.log(batch, stock.log_batch, run, points, params, tags)
        told.log([("param", run, f"p {place}", "x" * place)], stock.log_param, run, f"p {place}", "x" * place)
        told.log([("tag", run, f"t {place}", "ü" * place)], stock.set_tag, run, f"t {place}", "ü" * place)
        text, path = f"{number} {place} " * 1000, f"folder {place % 5}/{place}.txt"
        told.log([("artifact", run, path, text)], stock.log_text, run, text, path)
        told.log([("trace", f"{number} {place}")], trace, f"{number} {place}")
    return run, told.sent, told.acknowledged, told.seen


def there(url, experiment, runs):
    """All that the server has, each as a client noted it, with how often."""
    from mlflow import MlflowClient, artifacts

    found, stock = collections.Counter(), MlflowClient(url)
    for run in runs:
        data = stock.get_run(run).data
        found.update(("param", run, key, value) for key, value in data.params.items())
        found.update(("tag", run, key, value) for key, value in data.tags.items())
        for key in ["single", *KEYS]:
            history = stock.get_metric_history(run, key)
            found.update(("metric", run, key, p.value, p.timestamp, p.step) for p in history)
            later = max(history, key=lambda p: (p.step, p.timestamp, p.value))
            check(data.metrics[key] == later.value, f"the latest {key} of {run} is its latest point", told=False)
        with tempfile.TemporaryDirectory() as folder:
            top = pathlib.Path(artifacts.download_artifacts(run_id=run, dst_path=folder, tracking_uri=url))
            files = [file for file in top.rglob("*") if file.is_file()]
            found.update(("artifact", run, str(file.relative_to(top)), file.read_text()) for file in files)
    token = None
    while True:
        page = stock.search_traces(locations=[experiment], max_results=100, page_token=token)
        for trace in page:
            spans = sorted(span.name for span in trace.data.spans)
            name = spans[0].removesuffix(" 0") if spans else "?"
            whole = spans == [f"{name} {inner}" for inner in range(SPANS)]
            found["trace" if whole else "part of trace", name] += 1
        token = page.token
        if not token:
            return found


def judge_faults(kills, clients):
    """Kills the server so often while clients log."""
    import mlflow
    from mlflow import MlflowClient

    mlflow.autolog(disable=True)
    context = multiprocessing.get_context("fork")
    ready, stop = context.Semaphore(0), context.Event()
    with tempfile.TemporaryDirectory(prefix="sextant-mlflow-faults-") as folder:
        server = Server(folder)
        experiment = MlflowClient(server.url).create_experiment("faults")
        with context.Pool(clients, initializer=take, initargs=(ready, stop)) as pool:
            given = [(number, server.url, experiment) for number in range(clients)]
            working = pool.starmap_async(with_taken, given, chunksize=1)
            if not all(ready.acquire(timeout=START_SECONDS_MAX) for _ in range(clients)):
                sys.exit("   NOT: the clients start")
            slowest = kill_often(server, kills)
            stop.set()
            told = working.get(timeout=600)
        compare(told, there(server.url, experiment, [run for run, *_ in told]))
        print(f"   {kills} kills, the slowest start took {slowest:.1f} s")
        server.kill()
        wrong = server.fsck()
        check(not wrong, f"fsck finds nothing {wrong}")


taken = None


def take(*given):
    global taken
    taken = given


def with_taken(*given):
    return client(*given, *taken)


def kill_often(server, kills):
    slowest = 0
    for number in range(kills):
        # Sometimes while it is starting, or has clients that all come back at once.
        time.sleep(random.choice([0, 0.1]) if number % 5 == 4 else random.uniform(0.5, 4))
        server.kill()
        server.start()
        if number % 5 != 3:
            begun = time.monotonic()
            server.wait()
            slowest = max(slowest, time.monotonic() - begun)
    server.wait()
    return slowest


def compare(told, found):
    """Acknowledged things are there, things that are there were sent, each is there once."""
    sent, acknowledged = (set().union(*(one[part] for one in told)) for part in (1, 2))
    seen = [text for *_, one in told for text in one]
    check(not seen, f"no client saw anything of it {shown(seen)}")
    # This tag has many values; the last one acknowledged or sent is there.
    last = {thing for thing in acknowledged if thing[0] == "tag" and thing[2] == "last"}
    newest = {}
    for _, run, _, value in sorted(last, key=lambda thing: int(thing[3])):
        newest[run] = int(value)
    now = {thing[1]: int(thing[3]) for thing in found if thing[0] == "tag" and thing[2] == "last"}
    older = [run for run, value in newest.items() if now.get(run, 0) < value]
    check(not older, f"a tag that is written again and again never goes back {shown(older)}")
    for kind in ("metric", "param", "tag", "artifact", "trace"):
        wanted = {thing for thing in acknowledged - last if thing[0] == kind}
        missing = [thing for thing in wanted if not found[thing]]
        check(wanted and not missing, f"{len(wanted)} acknowledged, all there: {kind} {shown(missing)}")
        own = [thing for thing in found if thing[0] == kind and not (kind == "tag" and thing[2].startswith("mlflow."))]
        strange = [thing for thing in own if thing not in sent]
        check(not strange, f"nothing there that nobody sent: {kind} {shown(strange)}")
        twice = [thing for thing in own if found[thing] > 1]
        check(not twice, f"each there once: {kind} {shown(twice)}")


def shown(things):
    return f"{len(things)}, such as {str(things[0])[:300]}" if things else ""


class Plain:
    """A client without retries."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def ask(self, method, path, body=None):
        text = None if body is None else json.dumps(body)
        self.connection.request(method, API + path, body=text, headers={"Content-Type": "application/json"})
        response = self.connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status} {answer[:300]!r}")
        return json.loads(answer)


def write(number, port, run, points):
    """A share of the points of a run in batches of other orders, beside tags and parameters that every
    writer has; gives what it saw."""
    order, plain, left, step = random.Random(number), Plain(port), points, 0
    try:
        while left:
            count = min(left, order.choice([1, 90, 800]))
            metrics = [
                {"key": KEYS[n % 10], "value": number, "timestamp": number, "step": step + n} for n in range(count)
            ]
            tags = [{"key": f"t{n}", "value": f"{number}"} for n in range(20)]
            params = [{"key": f"p{n}", "value": "same"} for n in range(20)]
            for one in (metrics, tags, params):
                order.shuffle(one)
            sometimes = order.random() < 0.2
            both = {"tags": tags, "params": params} if sometimes else {}
            plain.ask("POST", "runs/log-batch", {"run_id": run, "metrics": metrics, **both})
            left, step = left - count, step + count
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        return [f"writer {number}: {type(error).__name__} {error}"]
    return []


def judge_writers(writers, points):
    """Many writers of one run: no refusal, no standstill, each point once."""
    share = points // writers
    with tempfile.TemporaryDirectory(prefix="sextant-mlflow-writers-") as folder:
        server = Server(folder)
        plain = Plain(server.port)
        run = plain.ask("POST", "runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"]
        begun = time.monotonic()
        given = [(number, server.port, run, share) for number in range(writers)]
        with multiprocessing.get_context("fork").Pool(writers) as pool:
            seen = sum(pool.starmap_async(write, given, chunksize=1).get(timeout=1800), [])
        took = time.monotonic() - begun
        check(not seen, f"no writer of {writers} was refused {shown(seen)}")
        counted, different = 0, 0
        for key in KEYS:
            found = list(history(Plain(server.port), run, key))
            counted, different = counted + len(found), different + len(set(found))
        wanted = share * writers
        check(counted == different == wanted, f"{wanted} points are there, each once ({counted}, {different})")
        data = Plain(server.port).ask("GET", f"runs/get?run_id={run}")["run"]["data"]
        steps = {metric["key"]: metric["step"] for metric in data["metrics"]}
        check(max(steps.values()) == share - 1, f"the last step is the latest ({steps})")
        values = {param["value"] for param in data["params"]}
        check(len(data["params"]) == 20 and values == {"same"}, "20 parameters are there")
        tags = [tag for tag in data["tags"] if tag["key"].startswith("t")]
        check(len(tags) == 20, "20 tags are there")
        print(f"   {wanted:,} points by {writers} writers in {took:.1f} s: {wanted / took:,.0f} points/s")
        server.kill()


def history(plain, run, key):
    """Every point of a metric, page by page."""
    token = ""
    while True:
        page = plain.ask("GET", f"metrics/get-history?run_id={run}&metric_key={key}&max_results=25000{token}")
        for point in page.get("metrics", []):
            yield point["value"], point["timestamp"], point["step"]
        if not page.get("next_page_token"):
            return
        token = f"&page_token={page['next_page_token']}"


if __name__ == "__main__":
    if arguments.faults:
        judge_faults(arguments.faults, arguments.clients)
    if arguments.writers:
        judge_writers(arguments.writers, arguments.points)
    close(17 * bool(arguments.faults) + 5 * bool(arguments.writers))
