//! How are traces kept in the catalog?
//!
//! What spans hold is in the durable log `spans`; here is what names and finds them. `at` is the place
//! of a span's newest record in the log, and `stamp` is written in that record.

/// The steps that make the tables of this module.
pub(in super::super) const MIGRATIONS: &[&str] = &["
    CREATE TABLE mlflow_traces (
        id TEXT PRIMARY KEY, experiment INTEGER NOT NULL, started INTEGER NOT NULL, duration INTEGER,
        state TEXT NOT NULL, client_request TEXT, request TEXT, response TEXT
    );
    CREATE INDEX mlflow_traces_experiment ON mlflow_traces (experiment, started DESC, id);
    CREATE TABLE mlflow_trace_tags (
        trace TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (trace, key)
    ) WITHOUT ROWID;
    CREATE TABLE mlflow_trace_metadata (
        trace TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (trace, key)
    ) WITHOUT ROWID;
    CREATE TABLE mlflow_spans (
        trace TEXT NOT NULL, id TEXT NOT NULL, parent TEXT, name TEXT NOT NULL, type TEXT,
        status TEXT NOT NULL, started INTEGER NOT NULL, usage TEXT, cost TEXT, stamp INTEGER NOT NULL,
        at INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (trace, id)
    ) WITHOUT ROWID;
    CREATE INDEX mlflow_spans_at ON mlflow_spans (at);
    CREATE TABLE mlflow_assessments (
        id TEXT PRIMARY KEY, trace TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL,
        value TEXT NOT NULL, number REAL, error TEXT, source TEXT NOT NULL, source_id TEXT, span TEXT,
        rationale TEXT, metadata TEXT NOT NULL, overrides TEXT, valid INTEGER NOT NULL,
        created INTEGER NOT NULL, updated INTEGER NOT NULL
    );
    CREATE INDEX mlflow_assessments_trace ON mlflow_assessments (trace, name);
    CREATE INDEX mlflow_assessments_name ON mlflow_assessments (name, kind);
    CREATE TABLE mlflow_trace_links (
        trace TEXT NOT NULL, kind TEXT NOT NULL, target TEXT NOT NULL,
        PRIMARY KEY (kind, target, trace)
    ) WITHOUT ROWID;
    CREATE INDEX mlflow_trace_links_trace ON mlflow_trace_links (trace);
"];
