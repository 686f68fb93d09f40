"""Programs that use the stock client as users do. Each notes what it sees; against two servers it
must see the same."""

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import normal
from stock import environment

FOLDER = pathlib.Path(__file__).parent / "programs"
NAMES = sorted(file.stem for file in FOLDER.glob("*.py") if file.stem != "seen")
TIME_LIMIT_SECONDS = 900


@dataclasses.dataclass
class Outcome:
    ended: bool
    why: str
    seen: dict


class Address:
    """What `normal` wants to know of a server, where no answers were captured."""

    def __init__(self, url):
        self.url, self.long, self.names, self.experiments = url.rstrip("/"), [], {}, set()


def run(name, url):
    with tempfile.TemporaryDirectory(prefix="sextant-mlflow-client-") as folder:
        told = pathlib.Path(folder) / "seen.json"
        done = subprocess.run(
            [sys.executable, str(FOLDER / f"{name}.py"), str(told)],
            cwd=folder,
            env=environment() | settings(url, folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIME_LIMIT_SECONDS,
            check=False,
        )
        seen = json.loads(told.read_text()) if told.exists() else {}
    why = "" if done.returncode == 0 else ": " + " / ".join(done.stdout.strip().splitlines()[-4:])
    return Outcome(done.returncode == 0, why, normal.value("", seen, Address(url), {}))


def settings(url, folder):
    return {
        "MLFLOW_TRACKING_URI": url,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "GIT_PYTHON_REFRESH": "quiet",
        "TMPDIR": folder,
        "SEXTANT_MLFLOW_MIB": os.environ.get("SEXTANT_MLFLOW_MIB", "24"),
    }


ID = re.compile(r"^(?:[a-z]+-)?[0-9a-f]{32}$|^\$[a-z0-9_]+$|^\d+$")


def route(path):
    """The path without what names one thing."""
    path = path.split("?")[0].replace("/ajax-api/", "/api/")
    if "/mlflow-artifacts/" in path:
        before, after = path.split("/mlflow-artifacts/", 1)
        kept = after.split("/")[: 2 if after.startswith("mpu/") else 1]
        return f"{before}/mlflow-artifacts/{'/'.join(kept)}" + ("/…" if "/" in after else "")
    steps = ["…" if ID.match(step) else step for step in path.split("/")]
    if len(steps) > 2 and steps[-2] == "tags":
        steps[-1] = "…"
    return "/".join(steps)
