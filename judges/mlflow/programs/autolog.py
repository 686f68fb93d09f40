"""scikit-learn with nothing but autolog: one fit, a search over parameters, and the model back."""

import mlflow
import numpy
from seen import run_of, seen
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

mlflow.set_experiment("autolog")
mlflow.sklearn.autolog(max_tuning_runs=3)
generator = numpy.random.default_rng(7)
rows = generator.normal(size=(60, 3))
labels = (rows[:, 0] > 0).astype(int)
with mlflow.start_run(run_name="fit") as run:
    model = LogisticRegression(C=0.5).fit(rows, labels)
    model.score(rows, labels)
found = run_of(mlflow.get_run(run.info.run_id))
seen("fit", found)
seen("files", sorted(f.path for f in mlflow.artifacts.list_artifacts(run_id=run.info.run_id)))
logged = mlflow.search_logged_models(filter_string=f"source_run_id = '{run.info.run_id}'", output_format="list")
seen("models", [[m.name, m.model_type, m.status, sorted(m.params)] for m in logged])
seen("model metrics", sorted({metric.key for m in logged for metric in (m.metrics or [])}))
again = mlflow.sklearn.load_model(f"models:/{logged[0].model_id}")
seen("predictions", (again.predict(rows) == model.predict(rows)).all())
by_run = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")
seen("predictions by run", by_run.predict(rows).tolist() == model.predict(rows).tolist())
with mlflow.start_run(run_name="search") as parent:
    GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0, 10.0]}, cv=2).fit(rows, labels)
children = mlflow.search_runs(
    filter_string=f"tags.mlflow.parentRunId = '{parent.info.run_id}'", order_by=["params.C"]
)
seen("children", children[["params.C", "status", "metrics.rank_test_score"]].values.tolist())
seen("parent", sorted(run_of(mlflow.get_run(parent.info.run_id))["metrics"]))
