"""A stock `mlflow server` on a free port of the loopback interface, with SQLite and a folder of its own."""

import atexit
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request


class Stock:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sextant-mlflow-"))
        self.log = self.folder / "server.log"
        self.url = f"http://127.0.0.1:{free_port()}"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
                    *("--port", self.url.rsplit(":", 1)[1]),
                    *("--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"),
                    *("--artifacts-destination", str(self.folder / "artifacts")),
                ],
                cwd=self.folder,
                env=environment() | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        atexit.register(self.stop)
        self.wait()

    def wait(self):
        for _ in range(300):
            try:
                with urllib.request.urlopen(self.url + "/health", timeout=2) as response:
                    if response.status == 200:
                        return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.2)
        sys.exit(f"   NOT: the stock server did not start\n{self.log.read_text()[-3000:]}")

    def stop(self):
        if self.process.poll() is None:
            # Its workers are processes of their own, in the same group.
            os.killpg(self.process.pid, 15)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, 9)
        shutil.rmtree(self.folder, ignore_errors=True)


def environment():
    """What a program of mlflow gets: nothing of this machine's own settings, and no telemetry."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    return kept | {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONWARNINGS": "ignore"}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
