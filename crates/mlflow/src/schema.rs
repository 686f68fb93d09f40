//! How are experiments and runs kept in the catalog?
//!
//! Points of metrics are in the durable log `points`; here is only what a list must be quick with: the
//! latest, least and greatest value of each metric of each run.

/// The steps that make the tables of this module.
pub(super) const MIGRATIONS: &[&str] = &["
    CREATE TABLE mlflow_experiments (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, artifact_location TEXT NOT NULL,
        stage TEXT NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL
    );
    CREATE TABLE mlflow_experiment_tags (
        experiment INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (experiment, key)
    ) WITHOUT ROWID;
    CREATE TABLE mlflow_runs (
        id TEXT PRIMARY KEY, experiment INTEGER NOT NULL, name TEXT NOT NULL, user TEXT NOT NULL,
        status TEXT NOT NULL, started INTEGER, ended INTEGER, stage TEXT NOT NULL,
        artifact_uri TEXT NOT NULL, deleted INTEGER
    );
    CREATE INDEX mlflow_runs_experiment ON mlflow_runs (experiment, stage, started DESC, id);
    CREATE TABLE mlflow_params (
        run TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run, key)
    ) WITHOUT ROWID;
    CREATE TABLE mlflow_tags (
        run TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run, key)
    ) WITHOUT ROWID;
    CREATE TABLE mlflow_metrics (
        run TEXT NOT NULL, key TEXT NOT NULL, value REAL NOT NULL, is_nan INTEGER NOT NULL,
        timestamp INTEGER NOT NULL, step INTEGER NOT NULL, least REAL, greatest REAL,
        PRIMARY KEY (run, key)
    ) WITHOUT ROWID;
    CREATE INDEX mlflow_metrics_key ON mlflow_metrics (key, value);
    CREATE TABLE mlflow_points (one INTEGER PRIMARY KEY CHECK (one = 1), reached INTEGER NOT NULL);
    INSERT INTO mlflow_points (one, reached) VALUES (1, 0);
"];
