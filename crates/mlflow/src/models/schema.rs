//! How are logged models, and the inputs and outputs of runs, kept in the catalog?
//!
//! A dataset is a row for each experiment, name, digest and source; an input says that a run used one,
//! and which artifact of the chain it is when it is one of ours.

/// The steps that make the tables of logged models, inputs and outputs.
pub(crate) const MIGRATIONS: &[&str] = &["
    CREATE TABLE mlflow_logged_models (
        id TEXT PRIMARY KEY, experiment INTEGER NOT NULL, name TEXT NOT NULL, type TEXT NOT NULL,
        source_run TEXT NOT NULL, status INTEGER NOT NULL, stage TEXT NOT NULL,
        artifact_uri TEXT NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL
    );
    CREATE INDEX mlflow_logged_models_experiment
        ON mlflow_logged_models (experiment, stage, created DESC, id);
    CREATE INDEX mlflow_logged_models_run ON mlflow_logged_models (source_run);
    CREATE TABLE mlflow_model_params (
        model TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (model, key)
    ) WITHOUT ROWID;
    CREATE TABLE mlflow_model_tags (
        model TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (model, key)
    ) WITHOUT ROWID;
    CREATE TABLE mlflow_model_metrics (
        model TEXT NOT NULL, key TEXT NOT NULL, run TEXT NOT NULL, dataset TEXT NOT NULL,
        digest TEXT NOT NULL, value REAL NOT NULL, is_nan INTEGER NOT NULL,
        timestamp INTEGER NOT NULL, step INTEGER NOT NULL,
        PRIMARY KEY (model, key, run, dataset, digest)
    ) WITHOUT ROWID;
    CREATE INDEX mlflow_model_metrics_run ON mlflow_model_metrics (run, model);
    CREATE TABLE mlflow_datasets (
        id INTEGER PRIMARY KEY, experiment INTEGER NOT NULL, name TEXT NOT NULL,
        digest TEXT NOT NULL, source_type TEXT NOT NULL, source TEXT NOT NULL, schema TEXT,
        profile TEXT, UNIQUE (experiment, name, digest, source_type, source)
    );
    CREATE TABLE mlflow_inputs (
        id INTEGER PRIMARY KEY, run TEXT NOT NULL, dataset INTEGER NOT NULL, artifact TEXT,
        UNIQUE (run, dataset)
    );
    CREATE INDEX mlflow_inputs_dataset ON mlflow_inputs (dataset, run);
    CREATE TABLE mlflow_input_tags (
        input INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (input, key)
    ) WITHOUT ROWID;
    CREATE TABLE mlflow_run_models (
        run TEXT NOT NULL, role TEXT NOT NULL, model TEXT NOT NULL, step INTEGER NOT NULL,
        PRIMARY KEY (run, role, model)
    ) WITHOUT ROWID;
    CREATE INDEX mlflow_run_models_model ON mlflow_run_models (model);
"];
