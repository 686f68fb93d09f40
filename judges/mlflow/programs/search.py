"""Searching through the client: every kind of filter, order and page."""

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from seen import refused, seen

client = MlflowClient()
experiment = client.create_experiment("searched")
for number in range(40):
    run = client.create_run(experiment, start_time=1000 + number, run_name=f"run {number:02}").info.run_id
    value = float("nan") if number % 10 == 3 else float(number % 7)
    metrics = [] if number % 10 == 4 else [Metric("acc", value, 1, 0)]
    client.log_batch(
        run,
        metrics=[*metrics, Metric("val/loss", -number, 1, 0)],
        params=[Param("lr", f"0.{number % 3}"), Param("with space", "x")],
        tags=[RunTag("team", "Blue" if number % 2 else "red")],
    )
    if number % 4 == 0:
        client.set_terminated(run, "FAILED" if number % 8 else "FINISHED", end_time=2000 + number)


def names(text="", order=None, most=1000):
    found = client.search_runs([experiment], text, order_by=order or ["attributes.run_name"], max_results=most)
    return [run.info.run_name for run in found]


for text in [
    "", "metrics.acc > 3", "metrics.acc >= 3", "metrics.acc = 3", "metrics.acc != 3", "metrics.acc < 3",
    "metrics.acc <= 3", "metrics.`val/loss` > -5", "metrics.\"val/loss\" = -5", "params.lr = '0.1'",
    "params.lr != '0.1'", "params.lr LIKE '0.%'", "params.lr ILIKE '0.1'", "params.`with space` = 'x'",
    "params.nothing IS NULL", "params.lr IS NOT NULL", "tags.team = 'Blue'", "tags.team LIKE 'b%'",
    "tags.team ILIKE 'b%'", "tag.team != 'Blue'", "attributes.status = 'FAILED'", "status != 'RUNNING'",
    "attributes.start_time > 1030", "attributes.end_time <= 2010", "run_name LIKE 'run 1_'",
    "attributes.`Run name` = 'run 07'", "metrics.acc > 2 AND params.lr = '0.1' AND tags.team = 'Blue'",
]:
    seen(f"filter {text}", names(text))
for order in [
    ["metrics.acc"], ["metrics.acc DESC"], ["metrics.acc ASC", "attributes.run_name DESC"], ["params.lr DESC"],
    ["tags.team", "start_time"], ["attributes.start_time DESC"], ["end_time"], ["status", "run_name"],
]:
    seen(f"order {order}", names(order=[*order]))
for text in [
    "metrics.acc > 1 OR metrics.acc < 0", "(metrics.acc > 1)", "acc > 1", "metrics.acc > 'x'", "params.lr = 1",
    "attributes.colour = 'x'", "metrics.acc", "tags.team > 'x'", "metrics.acc >", "run_id IN (1)",
]:
    refused(f"refuses {text}", names, text)
refused("refuses order", names, order=["metrics.acc UP"])
refused("refuses too many", names, most=50001)
pages, token = [], None
while True:
    page = client.search_runs([experiment], order_by=["metrics.acc DESC"], max_results=7, page_token=token)
    pages.append([run.info.run_name for run in page])
    token = page.token
    if not token:
        break
seen("pages", pages)
for number in range(7):
    client.create_experiment(f"listed {number}", tags={"n": str(number), "kind": "listed"})
listed = "tags.kind = 'listed'"
seen("experiments", [e.name for e in client.search_experiments(filter_string=listed, order_by=["name DESC"])])
first = client.search_experiments(filter_string=listed, order_by=["name"], max_results=4)
rest = client.search_experiments(filter_string=listed, order_by=["name"], max_results=4, page_token=first.token)
seen("experiment pages", [[e.name for e in first], [e.name for e in rest], rest.token])
seen("experiment like", [e.name for e in client.search_experiments(filter_string="name ILIKE 'LISTED 3'")])
