"""The fluent interface, as a training script uses it."""

import threading

import mlflow
import numpy
import pandas
from seen import refused, run_of, seen

mlflow.set_experiment("fluent")
with mlflow.start_run(run_name="whole", description="a run", tags={"team": "blue"}) as run:
    mlflow.log_param("lr", 0.1)
    mlflow.log_params({"depth": 3, "kind": "tree", "nothing": None})
    mlflow.log_metric("loss", 0.5, step=0)
    mlflow.log_metrics({"loss": 0.25, "acc": 0.75}, step=1)
    mlflow.log_metric("odd", float("nan"))
    mlflow.log_metric("large", float("inf"))
    mlflow.set_tag("stage", "test")
    mlflow.set_tags({"a": 1, "b/c": "x"})
    mlflow.log_text("hello", "texts/hello.txt")
    mlflow.log_dict({"a": [1, 2]}, "config.json")
    mlflow.log_table({"q": ["a", "b"], "n": [1, 2]}, "table.json")
    mlflow.log_image(numpy.zeros((4, 4, 3), dtype=numpy.uint8), "black.png")
    rows = pandas.DataFrame({"x": [1.0, 2.0], "y": [0, 1]})
    mlflow.log_input(mlflow.data.from_pandas(rows, source="rows.csv", name="rows", targets="y"), "training")
    seen("artifact uri", mlflow.get_artifact_uri("texts"))
    refused("param changed", mlflow.log_param, "lr", 0.2)
    mlflow.log_param("lr", 0.1)
seen("run", run_of(mlflow.get_run(run.info.run_id)))
seen("text", mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/texts/hello.txt"))
seen("dict", mlflow.artifacts.load_dict(f"runs:/{run.info.run_id}/config.json"))
seen("table", mlflow.load_table("table.json", run_ids=[run.info.run_id]).to_dict("list"))
seen("files", [[f.path, f.is_dir] for f in mlflow.artifacts.list_artifacts(run_id=run.info.run_id)])

# A run that fails, one that is continued, and one within another.
try:
    with mlflow.start_run(run_name="fails") as failing:
        raise ValueError("on purpose")
except ValueError:
    seen("failed", run_of(mlflow.get_run(failing.info.run_id)))
with mlflow.start_run(run_id=run.info.run_id):
    mlflow.log_metric("loss", 0.1, step=2)
seen("continued", run_of(mlflow.get_run(run.info.run_id)))
with mlflow.start_run(run_name="parent") as parent:
    for number in range(3):
        with mlflow.start_run(run_name=f"child {number}", nested=True):
            mlflow.log_metric("n", number)
            with mlflow.start_run(run_name=f"grandchild {number}", nested=True) as grandchild:
                seen(f"parent of grandchild {number}", mlflow.get_parent_run(grandchild.info.run_id).info.run_name)
children = mlflow.search_runs(filter_string=f"tags.mlflow.parentRunId = '{parent.info.run_id}'", order_by=["metrics.n"])
seen("children", children["tags.mlflow.runName"].tolist())

# Runs at the same time, each in a thread of its own.
def train(number):
    with mlflow.start_run(run_name=f"parallel {number}"):
        for step in range(20):
            mlflow.log_metric("value", number * step, step=step)
        mlflow.log_param("number", number)


threads = [threading.Thread(target=train, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
found = mlflow.search_runs(filter_string="run_name LIKE 'parallel %'", order_by=["params.number"])
seen("parallel", found[["tags.mlflow.runName", "metrics.value", "params.number", "status"]].values.tolist())
seen("last", mlflow.last_active_run().info.run_name.split(" ")[0])
seen("experiment", mlflow.get_experiment_by_name("fluent").name)
seen("experiments", [e.name for e in mlflow.search_experiments(filter_string="name = 'fluent'")])
mlflow.set_experiment_tag("owner", "anna")
seen("experiment tags", mlflow.get_experiment_by_name("fluent").tags.get("owner"))
mlflow.delete_run(failing.info.run_id)
seen("left", len(mlflow.search_runs(filter_string="run_name = 'fails'")))
refused("no such run", mlflow.get_run, "0" * 32)
