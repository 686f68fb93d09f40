"""A training loop of one's own, in several processes, that is stopped and goes on; its checkpoints are
logged models."""

import subprocess
import sys

import mlflow
from mlflow import MlflowClient
from seen import run_of, seen

STEPS = 60


def train(name, run_id=None, first=0, last=STEPS):
    with mlflow.start_run(run_id=run_id, run_name=None if run_id else name) as run:
        mlflow.log_params({"steps": STEPS, "name": name})
        for step in range(first, last):
            mlflow.log_metrics({"loss": 1 / (step + 1), "lr": 0.1 * 0.99**step}, step=step)
            if step % 20 == 19:
                mlflow.log_dict({"step": step}, f"checkpoints/{step:04}/state.json")
        return run.info.run_id


mlflow.set_experiment("loop")
if len(sys.argv) > 2:
    train(sys.argv[2])
    sys.exit()
workers = [subprocess.Popen([sys.executable, __file__, f"worker {n}.json", f"worker {n}"]) for n in range(3)]
stopped = train("stopped", last=25)
train("stopped", run_id=stopped, first=20)
seen("workers", [worker.wait(300) for worker in workers])
history = MlflowClient().get_metric_history(stopped, "loss")
# Steps 20 to 24 were logged twice, at different times: both are kept.
seen("history", [[point.step, round(point.value, 6)] for point in history])
seen("stopped", run_of(mlflow.get_run(stopped)))
found = mlflow.search_runs(order_by=["params.name"], filter_string="metrics.loss < 0.02")
seen("all", found[["params.name", "metrics.loss", "status"]].values.tolist())
seen("checkpoints", [f.path for f in mlflow.artifacts.list_artifacts(run_id=stopped, artifact_path="checkpoints")])
with mlflow.start_run(run_name="evaluated") as run:
    models = []
    for step in range(3):
        model = mlflow.initialize_logged_model(f"checkpoint-{step}", params={"step": step}, model_type="plain")
        mlflow.log_metric("val", step / 2, step=step, model_id=model.model_id)
        models.append(mlflow.finalize_logged_model(model.model_id, "READY"))
    mlflow.set_logged_model_tags(models[0].model_id, {"kept": "yes", "gone": "yes"})
    mlflow.delete_logged_model_tag(models[0].model_id, "gone")
best = mlflow.search_logged_models(
    filter_string="metrics.val > 0.1",
    order_by=[{"field_name": "metrics.val", "ascending": False}],
    output_format="list",
)
seen("best", [[model.name, model.params, model.status] for model in best])
seen("tags", mlflow.get_logged_model(models[0].model_id).tags)
MlflowClient().delete_logged_model(models[2].model_id)
seen("left", len(mlflow.search_logged_models(filter_string="model_type = 'plain'", output_format="list")))
