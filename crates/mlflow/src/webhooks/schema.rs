//! How are webhooks kept in the catalog? What they are owed is in the outbox.

/// The steps that make the tables of this module.
pub(super) const MIGRATIONS: &[&str] = &["
    CREATE TABLE mlflow_webhooks (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, url TEXT NOT NULL, description TEXT NOT NULL,
        secret TEXT NOT NULL, status TEXT NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE mlflow_webhook_events (
        event TEXT NOT NULL, webhook TEXT NOT NULL, place INTEGER NOT NULL,
        PRIMARY KEY (event, webhook)
    ) WITHOUT ROWID;
"];
