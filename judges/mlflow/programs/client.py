"""MlflowClient: each call with what it gives back and how it is refused."""

import time

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from seen import refused, run_of, seen

client = MlflowClient()
experiment = client.create_experiment("client", tags={"colour": "red"})
refused("name taken", client.create_experiment, "client")
refused("name missing", client.create_experiment, "")
client.rename_experiment(experiment, "client renamed")
client.set_experiment_tag(experiment, "size", "big")
client.delete_experiment_tag(experiment, "colour")
found = client.get_experiment(experiment)
seen("experiment", [found.name, found.tags, found.lifecycle_stage, found.artifact_location.split("/")[0]])
seen("by name", client.get_experiment_by_name("client renamed").experiment_id == experiment)
seen("by no name", client.get_experiment_by_name("nobody"))

run = client.create_run(experiment, start_time=1000, run_name="one", tags={"a": "b"}).info.run_id
client.log_metric(run, "loss", 0.5, timestamp=1, step=0)
client.log_metric(run, "loss", 0.25, timestamp=2, step=1)
client.log_metric(run, "loss", 0.25, timestamp=2, step=1)
client.log_metric(run, "loss", 0.3, timestamp=1, step=1)
client.log_metric(run, "nan", float("nan"), timestamp=1, step=0)
client.log_metric(run, "inf", float("-inf"), timestamp=1, step=0)
client.log_metric(run, "int64", 1, timestamp=2**53 + 1, step=2**62)
client.log_param(run, "p", "x" * 6000)
client.log_batch(
    run,
    metrics=[Metric("many", float(n), n, n) for n in range(1000)],
    params=[Param(f"p{n}", "v") for n in range(90)],
    tags=[RunTag(f"t{n}", "v") for n in range(90)],
)
seen("history", [[m.value, m.timestamp, m.step] for m in client.get_metric_history(run, "loss")])
seen("history nan", [str(m.value) for m in client.get_metric_history(run, "nan")])
seen("history inf", [m.value for m in client.get_metric_history(run, "inf")])
seen("history int64", [[m.timestamp, m.step] for m in client.get_metric_history(run, "int64")])
seen("history many", sum(m.value for m in client.get_metric_history(run, "many")))
seen("history none", client.get_metric_history(run, "nothing"))
client.set_tag(run, "c", "d")
client.delete_tag(run, "a")
client.update_run(run, name="renamed")
seen("running", run_of(client.get_run(run)))
client.set_terminated(run, "FINISHED", end_time=5000)
seen("ended", [client.get_run(run).info.status, client.get_run(run).info.end_time])
refused("tag gone", client.delete_tag, run, "a")
refused("param changed", client.log_param, run, "p0", "w")
refused("metric key", client.log_metric, run, "a%b", 1)
refused("metric path", client.log_metric, run, "../a", 1)
refused("metric value", client.log_metric, run, "a", "x")
refused("tag too long", client.set_tag, run, "k" * 251, "v")
refused("run unknown", client.get_run, "0" * 32)
refused("status wrong", client.set_terminated, run, "DONE")

# What is deleted and restored.
client.delete_run(run)
seen("deleted", client.get_run(run).info.lifecycle_stage)
refused("write to a deleted run", client.log_metric, run, "a", 1)
seen("active runs", len(client.search_runs([experiment])))
seen("deleted runs", len(client.search_runs([experiment], run_view_type=ViewType.DELETED_ONLY)))
client.restore_run(run)
seen("restored", len(client.search_runs([experiment])))
client.delete_experiment(experiment)
seen("experiment deleted", client.get_experiment(experiment).lifecycle_stage)
seen("run of deleted", client.get_run(run).info.lifecycle_stage)
refused("run in deleted", client.create_run, experiment)
refused("name of deleted", client.create_experiment, "client renamed")
client.restore_experiment(experiment)
seen("experiment restored", client.get_experiment(experiment).lifecycle_stage)
seen("run of restored", client.get_run(run).info.lifecycle_stage)

# Logging that does not wait.
other = client.create_run(experiment).info.run_id
for step in range(200):
    client.log_metric(other, "late", step, step=step, synchronous=False)
deadline = time.monotonic() + 60
client.log_param(other, "late", "yes", synchronous=False).wait()
while len(client.get_metric_history(other, "late")) < 200 and time.monotonic() < deadline:
    time.sleep(0.1)
seen("late", [m.value for m in client.get_metric_history(other, "late")] == list(range(200)))
