"""A schema registry that speaks Confluent's interface: Apicurio, one process, nothing kept."""

import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request

from broker import free_ports
from product import ARTIFACTS

FOLDER = pathlib.Path(os.environ["REGISTRY_APP"])
START_SECONDS_MAX = 120


class Registry:
    """Starts at once; `url` is what a client is given."""

    def __init__(self):
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}/apis/ccompat/v7"
        self.process = None
        self.start()

    def start(self):
        log = (ARTIFACTS / "registry.log").open("ab")
        jar = next(FOLDER.rglob("quarkus-run.jar"), None) or next(FOLDER.rglob("*-runner.jar"))
        self.process = subprocess.Popen(
            ["java", "-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
             "-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={self.port}", "-jar", jar],
            cwd=jar.parent, stdout=log, stderr=log,
        )  # fmt: skip
        until = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/subjects", timeout=5) as reply:
                    reply.read()
                return
            except OSError:
                if time.monotonic() > until or self.process.poll() is not None:
                    print((ARTIFACTS / "registry.log").read_text()[-3000:])
                    sys.exit("   NOT: the registry starts")
                time.sleep(0.3)

    def stop(self):
        self.process.kill()
        self.process.wait()
        until = time.monotonic() + 10
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                time.sleep(0.1)
            except OSError:
                return
