"""A running Sextant of this judge's own, which may be killed."""

import json
import signal
import subprocess
import time
import urllib.request

from product import ARTIFACTS, BINARY
from world import environment, project

START_SECONDS_MAX = 60


class Server:
    """Starts at once, on a port that the kernel chooses."""

    def __init__(self, wait=True):
        self.log = (ARTIFACTS / "kafka-server.log").open("ab")
        self.note = project / ".sextant" / "server.json"
        self.note.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [BINARY, "serve", "--port", "0"],
            cwd=project,
            env=environment(),
            stdout=self.log,
            stderr=self.log,
        )
        if wait:
            self.url()

    def url(self):
        until = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < until and self.process.poll() is None:
            try:
                return "http://" + json.loads(self.note.read_text())["addr"]
            except (OSError, ValueError, KeyError):
                time.sleep(0.1)
        raise SystemExit(f"   NOT: the server starts; see {self.log.name}")

    def page(self, path):
        with urllib.request.urlopen(self.url() + path, timeout=60) as reply:
            return reply.read().decode()

    def post(self, path):
        request = urllib.request.Request(self.url() + path, data=b"", method="POST")
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.read().decode()

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(60)
        self.log.close()
