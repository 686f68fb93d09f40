"""The registry: versions, aliases, tags and stages, and models that are loaded back by them."""

import mlflow
import numpy
from mlflow import MlflowClient
from seen import refused, seen
from sklearn.linear_model import LinearRegression

client = MlflowClient()
mlflow.set_experiment("registry")
rows = numpy.arange(6.0).reshape(3, 2)
signature = mlflow.models.infer_signature(rows, rows[:, 0])
for number in (1, 2):
    with mlflow.start_run(run_name=f"maker {number}"):
        logged = mlflow.sklearn.log_model(
            LinearRegression().fit(rows, rows[:, 0] * number),
            name="linear",
            signature=signature,
            pip_requirements=["scikit-learn"],
            registered_model_name="linear",
        )


def version(found):
    return [found.name, int(found.version), found.status, found.current_stage, sorted(found.aliases), found.tags,
            found.description, bool(found.run_id), (found.source or "").split(":")[0]]


seen("model", [client.get_registered_model("linear").name, client.get_registered_model("linear").tags])
seen("versions", sorted(version(v) for v in client.search_model_versions("name = 'linear'")))
client.set_registered_model_alias("linear", "champion", 1)
seen("champion", version(client.get_model_version_by_alias("linear", "champion")))
seen("predicts 1", mlflow.pyfunc.load_model("models:/linear@champion").predict(rows).round(3).tolist())
client.set_registered_model_alias("linear", "champion", 2)
seen("predicts 2", mlflow.pyfunc.load_model("models:/linear@champion").predict(rows).round(3).tolist())
seen("predicts version", mlflow.sklearn.load_model("models:/linear/1").predict(rows).round(3).tolist())
seen("signature", mlflow.models.get_model_info("models:/linear/2").signature.to_dict())
client.delete_registered_model_alias("linear", "champion")
refused("alias gone", client.get_model_version_by_alias, "linear", "champion")
refused("alias latest", client.set_registered_model_alias, "linear", "latest", 1)
client.set_model_version_tag("linear", 1, "checked", "yes")
client.update_model_version("linear", 1, "the first")
client.update_registered_model("linear", "lines")
client.set_registered_model_tag("linear", "team", "blue")
client.transition_model_version_stage("linear", 1, "Production")
client.transition_model_version_stage("linear", 2, "Production", archive_existing_versions=True)
seen("staged", sorted(version(v) for v in client.search_model_versions("name = 'linear'")))
seen("latest", sorted(version(v) for v in client.get_latest_versions("linear")))
seen("latest in stage", [version(v) for v in client.get_latest_versions("linear", ["Production"])])
copied = client.copy_model_version("models:/linear/2", "copied")
seen("copied", version(client.get_model_version("copied", copied.version)))
seen("source of the copy", client.get_model_version_download_uri("copied", "1").split(":")[0])
client.delete_model_version_tag("linear", 1, "checked")
client.delete_registered_model_tag("linear", "team")
client.rename_registered_model("linear", "straight")
renamed = client.search_model_versions("name = 'straight'", order_by=["version_number"])
seen("renamed", [version(v)[:2] for v in renamed])
for number in range(5):
    client.create_registered_model(f"empty {number}", tags={"n": str(number)}, description=f"number {number}")
first = client.search_registered_models("name LIKE 'empty%'", max_results=3, order_by=["name DESC"])
rest = client.search_registered_models("name LIKE 'empty%'", 3, ["name DESC"], first.token)
seen("pages", [[m.name for m in first], [m.name for m in rest], bool(rest.token)])
seen("by tag", [m.name for m in client.search_registered_models("tags.n = '2'")])
client.delete_model_version("straight", 1)
refused("version gone", client.get_model_version, "straight", 1)
client.delete_registered_model("straight")
refused("model gone", client.get_registered_model, "straight")
refused("name taken", client.create_registered_model, "empty 1")
refused("path as a source", client.create_model_version, "empty 1", "/etc")
refused("filter", client.search_registered_models, "colour = 'x'")
