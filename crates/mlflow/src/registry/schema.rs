//! How are registered models and their versions kept in the catalog?
//!
//! A version that is deleted keeps its row, with nothing in it, so that its number is not given again.

/// The steps that make the tables of this module.
pub(super) const MIGRATIONS: &[&str] = &["
    CREATE TABLE mlflow_registered (
        name TEXT PRIMARY KEY, description TEXT NOT NULL, created INTEGER NOT NULL,
        updated INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE mlflow_registered_tags (
        name TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (name, key)
    ) WITHOUT ROWID;
    CREATE TABLE mlflow_aliases (
        name TEXT NOT NULL, alias TEXT NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (name, alias)
    ) WITHOUT ROWID;
    CREATE TABLE mlflow_versions (
        name TEXT NOT NULL, version INTEGER NOT NULL, created INTEGER NOT NULL,
        updated INTEGER NOT NULL, description TEXT, stage TEXT NOT NULL, source TEXT NOT NULL,
        location TEXT NOT NULL, run TEXT, run_link TEXT NOT NULL, model TEXT, node TEXT NOT NULL,
        PRIMARY KEY (name, version)
    ) WITHOUT ROWID;
    CREATE INDEX mlflow_versions_stage ON mlflow_versions (name, stage, version);
    CREATE INDEX mlflow_versions_run ON mlflow_versions (run);
    CREATE INDEX mlflow_versions_updated ON mlflow_versions (updated DESC, name, version DESC);
    CREATE TABLE mlflow_version_tags (
        name TEXT NOT NULL, version INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (name, version, key)
    ) WITHOUT ROWID;
    CREATE INDEX mlflow_version_tags_key ON mlflow_version_tags (key, name);
"];

/// Tables in which a registered model is named.
pub(super) const NAMED: &[&str] = &[
    "mlflow_registered",
    "mlflow_registered_tags",
    "mlflow_aliases",
    "mlflow_versions",
    "mlflow_version_tags",
];
