"""Does a script that logs to MLflow become a part of the chain? A project with a dataset is built, the
unmodified stock client trains on it, and its model must lead back to the rows that it saw."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

binary = os.environ["SEXTANT_BIN"]
from check import check, close  # noqa: E402
from stock import environment  # noqa: E402

FILES = {
    "sextant.toml": '[project]\nname = "rank"\n',
    "data/rows.csv": "x,y,label\n" + "".join(f"{n % 7},{n % 5},{n % 2}\n" for n in range(200)),
    "sources/raw.toml": 'type = "files"\nformat = "csv"\npath = "data"\ninclude = ["*.csv"]\n',
    "models/labelled.sql": "select x, y, label, row_number() over () as row from {{ source('raw', 'raw') }}",
    "datasets/points.toml": 'from = "labelled"\nsplit = { train = 0.8, validation = 0.2 }\nseed = 7\n'
    'group_by = "row"\n',
}
# As a user writes it, but for the version of the dataset.
SCRIPT = """
import sys
import mlflow, pandas as pd
from sklearn.linear_model import LogisticRegression

mlflow.set_experiment("rank")
rows = pd.read_csv("data/rows.csv")
for number, losses in enumerate([[0.9, 0.4, 0.8], [0.9, 0.5, 0.3], [0.7, 0.6, 0.6]]):
    with mlflow.start_run(run_name=f"try {number}"):
        mlflow.log_input(mlflow.data.from_pandas(rows, source=f"points@{sys.argv[1]}", name="points"))
        mlflow.log_param("number", number)
        model = LogisticRegression().fit(rows[["x", "y"]], rows["label"])
        for step, loss in enumerate(losses):
            mlflow.log_metric("val/loss", loss, step=step)
        mlflow.sklearn.log_model(model, name="ranker", registered_model_name="ranker")
"""


def run(*arguments):
    done = subprocess.run([binary, *arguments, "--json"], cwd=folder, env=clean, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"   NOT: sextant {' '.join(arguments)}: {done.stderr}")
    return json.loads(done.stdout)


def nodes(node):
    yield node
    for branch in node.get("inputs", []):
        yield from nodes(branch["node"])


clean = {key: value for key, value in os.environ.items() if key != "SEXTANT_PROJECT"}
with tempfile.TemporaryDirectory(prefix="sextant-mlflow-chain-") as name:
    folder = pathlib.Path(name)
    for path, text in FILES.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)
    (folder / "train.py").write_text(SCRIPT)
    run("build")
    snapshot = run("versions", "datasets/points")["versions"][0]["version"]
    server = subprocess.Popen(
        [binary, "serve", "--port", "0"], cwd=folder, env=clean, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        url = server.stdout.readline().split()[-1]
        trained = subprocess.run(
            [sys.executable, "train.py", snapshot],
            cwd=folder,
            env=environment() | {"MLFLOW_TRACKING_URI": url, "GIT_PYTHON_REFRESH": "quiet"},
            capture_output=True,
            text=True,
        )
        check(trained.returncode == 0, f"the script trains, logs and registers {trained.stderr[-300:] if trained.returncode else ''}")
        best = json.dumps(run("track", "best", "--metric", "val/loss", "--min", "--experiment", "rank"))
        check('"try 1"' in best, "the best run is that with the least value, at whichever step")
        check("models:/ranker/2" in best, "its model is found as it is registered")
        chain = run("why", "models:/ranker/2")
        kinds = {node["kind"] for node in nodes(chain.get("tree", chain))}
        for kind in ("model_version", "run", "code", "dataset_snapshot", "table_version", "source_batch"):
            check(kind in kinds, f"why walks from the model to its {kind}")
        forward = json.dumps(run("impact", "datasets/points"))
        check("ranker" in forward, "impact walks from the dataset to the model")
    finally:
        server.terminate()
        server.wait()
close(10)
