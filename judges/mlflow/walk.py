"""Do MLflow's own pages work against Sextant as against their own server? The same walk in a browser
through both must go as far, ask the same, be answered alike, and leave the console as quiet."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile

NAME = "walk"
BROWSER = os.environ.get("SEXTANT_CHROMIUM", "/usr/bin/chromium")
PACKAGES = pathlib.Path.home() / ".cache/sextant/node/node_modules"
TIME_LIMIT_SECONDS = 600


def missing():
    """What a walk needs and this machine has not."""
    if not shutil.which("node"):
        return "node"
    if not os.access(BROWSER, os.X_OK):
        return "Chromium"
    return None if (PACKAGES / "playwright-core").is_dir() else "playwright-core"


def both(stock, ours):
    """What is seen on the way through each, walked at the same time."""
    with tempfile.TemporaryDirectory(prefix="sextant-mlflow-walk-") as folder:
        walks = [begin(url, pathlib.Path(folder) / name, name) for url, name in ((stock, "stock"), (ours, "ours"))]
        return [end(*walk) for walk in walks]


def begin(url, told, name):
    shots = os.environ.get("SEXTANT_ARTIFACTS", "")
    folder = [f"{shots}/mlflow-{name}"] if os.path.isdir(shots) else []
    command = ["node", str(pathlib.Path(__file__).with_suffix(".js")), url, str(told), *folder]
    environment = os.environ | {"NODE_PATH": str(PACKAGES), "SEXTANT_CHROMIUM": BROWSER}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True), told


def end(process, told):
    output, _ = process.communicate(timeout=TIME_LIMIT_SECONDS)
    if output.strip():
        print(output.rstrip())
    return json.loads(told.read_text()) if told.exists() else {}
