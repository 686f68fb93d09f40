"""Does a running server land the changes of a table by itself, say what goes wrong, and go on?"""

import json
import shutil
import signal
import subprocess
import time
import urllib.request

from product import ARTIFACTS, BINARY, check, run
from world import build, environment, project, same, server, work, write_source

WAIT_SECONDS_MAX = 60


class Serving:
    """A running Sextant, on a port that the kernel chooses."""

    def __init__(self):
        self.note = project / ".sextant" / "server.json"
        self.note.unlink(missing_ok=True)
        with (ARTIFACTS / "postgres-server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [BINARY, "serve", "--port", "0"], cwd=project, env=environment, stdout=log, stderr=log
            )
        if not until(self.note.exists):
            raise SystemExit("   NOT: the server starts")

    def page(self, path):
        address = "http://" + json.loads(self.note.read_text())["addr"]
        with urllib.request.urlopen(address + path, timeout=60) as reply:
            return reply.read().decode()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def until(condition):
    """What the condition gives, once it is true; the last value when it never is."""
    end = time.monotonic() + WAIT_SECONDS_MAX
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.2)
    return value


def live():
    return next(it for it in run("data", "sources", project=project)["sources"] if it["name"] == "live")


def served():
    others = work / "others"
    others.mkdir()
    for path in (project / "sources").glob("*.toml"):
        shutil.move(path, others / path.name)
    server.sql("CREATE TABLE live (id int PRIMARY KEY, day date); "
               "INSERT INTO live SELECT g, '2026-01-01' FROM generate_series(1, 1000) g")  # fmt: skip
    write_source("live", 'mode = "cdc"\npoll_seconds = 1\n')
    serving = Serving()
    check(until(lambda: live().get("rows") == 1_000), "a table is copied without a build")
    check(live()["lands"] == "server", "and the list says who lands it")
    server.sql("DELETE FROM live WHERE id > 900; INSERT INTO live VALUES (2000, 'infinity')")
    check(until(lambda: live()["rows"] == 900 and live()["waiting"] == 1), "changes land, or wait in quarantine")
    server.stop()
    gone = until(lambda: (found := live()).get("error") and found)
    check(gone and gone["error"]["code"] == "SXT-3050", "a database that is gone is told")
    check("no PostgreSQL server answers" in serving.page("/sources"), "also on the page")
    server.start()
    server.sql("UPDATE live SET day = '2026-02-02' WHERE id = 2000")
    back = until(lambda: (found := live())["rows"] == 901 and found)
    check(back and back["error"]["over"] and back["waiting"] == 0, "when it is back, landing goes on by itself")
    for number in range(5):
        server.sql(f"INSERT INTO live VALUES ({3000 + number}, now())")
        build("live")
    same("live", "a build at the same time waits for its turn, and nothing is there twice")
    server.sql("UPDATE live SET day = '2026-03-03'")
    check(serving.stop() == 0, "the server stops at once when it is asked to")
    build("live")
    same("live", "what it had not landed then, the next build does")
    (project / "sources" / "live.toml").unlink()
    for path in others.iterdir():
        shutil.move(path, project / "sources" / path.name)
