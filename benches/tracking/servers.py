"""Which servers are compared? A stock `mlflow server` on SQLite and ours, each on a free port with an
empty folder of its own, or servers that run already."""

import http.client
import os
import pathlib
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.parse
import uuid

START_SECONDS_MAX = 120


class Named:
    """A server that runs already."""

    def __init__(self, given):
        self.name, _, where = given.partition("=")
        self.url, _, pid = where.partition(",")
        self.pid = int(pid) if pid else None
        self.version = "?"

    def fill(self, experiment, runs):
        return False


class Started:
    """A server that is started here, and again when it is asked to."""

    def __init__(self, name, version, command):
        self.name, self.version, self.command = name, version, command
        self.kept = tempfile.TemporaryDirectory(prefix="sextant-bench-")
        self.folder = pathlib.Path(self.kept.name)
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self):
        """Starts it; gives the seconds until it answers."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "SEXTANT_PROJECT"))}
        begun = time.perf_counter()
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                [part.format(port=self.port, folder=self.folder) for part in self.command],
                cwd=self.folder,
                env=kept | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pid = self.process.pid
        while time.perf_counter() - begun < START_SECONDS_MAX and self.process.poll() is None:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    return time.perf_counter() - begun
            except OSError:
                time.sleep(0.01)
        sys.exit(f"{self.name} did not start\n{(self.folder / 'server.log').read_text()[-2000:]}")

    def stop(self):
        # Workers of stock are processes of their own, in the same group.
        os.killpg(self.pid, 15)
        self.process.wait(60)

    def fill(self, experiment, runs):
        return False


class Stock(Started):
    def __init__(self):
        import mlflow

        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", "{port}"]
        store = ["--backend-store-uri", "sqlite:///{folder}/mlflow.db", "--artifacts-destination", "{folder}/artifacts"]
        super().__init__("stock", f"mlflow {mlflow.__version__}, one worker, SQLite", command + store)

    def fill(self, experiment, runs):
        """Makes these runs in its SQLite file: over HTTP 100,000 of them would take half an hour."""
        rows = [(uuid.uuid4().hex, run) for run in runs]
        metrics = [
            (key, one["value"], one["timestamp"], 0, 0, run) for run, (*_, log) in rows for one in log["metrics"]
            for key in [one["key"]]
        ]  # fmt: skip
        with sqlite3.connect(self.folder / "mlflow.db", timeout=60) as store:
            store.executemany(
                "INSERT INTO runs (run_uuid, name, user_id, status, start_time, lifecycle_stage, artifact_uri,"
                " experiment_id, source_type) VALUES (?, ?, 'bench', 'RUNNING', ?, 'active', ?, ?, 'UNKNOWN')",
                [(run, name, at, f"mlflow-artifacts:/{run}", experiment) for run, (name, at, _) in rows],
            )
            into = "(key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, ?, ?)"
            for table in ("metrics", "latest_metrics"):
                store.executemany(f"INSERT INTO {table} {into}", metrics)
            for table in ("params", "tags"):
                entries = [(one["key"], one["value"], run) for run, (*_, log) in rows for one in log[table]]
                names = [("mlflow.runName", name, run) for run, (name, *_) in rows if table == "tags"]
                store.executemany(f"INSERT INTO {table} (key, value, run_uuid) VALUES (?, ?, ?)", entries + names)
        store.close()
        return True


def ours():
    binary = os.environ["SEXTANT_BIN"]
    told = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False)
    server = Started("sextant", told.stdout.strip() or binary, [binary, "serve", "--port", "{port}"])
    (server.folder / "sextant.toml").write_text('[project]\nname = "bench"\n')
    return server


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


class Refused(Exception):
    """An answer that is no success: under load stock refuses calls with 400."""


class Client:
    """One connection that is kept open."""

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=600)

    def ask(self, method, path, body=None):
        """The bytes of an answer."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        self.connection.request(method, path, body=body, headers=headers)
        response = self.connection.getresponse()
        text = response.read()
        if response.status != 200:
            raise Refused(f"{path[:200]}: {response.status} {text[:300]!r}")
        return text
