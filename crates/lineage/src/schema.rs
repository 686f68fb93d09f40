//! Which tables does the spine keep? Layers add their own through `Store::migrate`.

/// The spine's migrations: each step runs once, in order. Never edit a step that was released.
///
/// `blobs` has what stays for ever. `blob_tables` has the names of tables of layers whose rows (`digest`,
/// which may be null, and `bytes`) hold a blob for as long as they are there; the migration of the layer
/// that makes such a table enters it.
pub(crate) const STEPS: &[&str] = &[
    "
CREATE TABLE artifacts (
    digest     TEXT PRIMARY KEY,
    kind       TEXT NOT NULL,
    bytes      INTEGER NOT NULL,
    meta       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    activity   TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX artifacts_by_kind ON artifacts (kind, created_at);
CREATE TABLE activities (
    id         TEXT PRIMARY KEY,
    kind       TEXT NOT NULL,
    label      TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL,
    meta       TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE edges (
    src      TEXT NOT NULL,
    kind     TEXT NOT NULL,
    dst      TEXT NOT NULL,
    activity TEXT NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (src, kind, dst)
) WITHOUT ROWID;
CREATE INDEX edges_by_dst ON edges (dst, kind, src);
CREATE TABLE names (
    name     TEXT PRIMARY KEY,
    seq      INTEGER NOT NULL,
    target   TEXT NOT NULL,
    at       INTEGER NOT NULL,
    activity TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE name_history (
    name     TEXT NOT NULL,
    seq      INTEGER NOT NULL,
    target   TEXT NOT NULL,
    at       INTEGER NOT NULL,
    activity TEXT NOT NULL,
    PRIMARY KEY (name, seq)
) WITHOUT ROWID;
CREATE TABLE blobs (
    digest   TEXT PRIMARY KEY,
    bytes    INTEGER NOT NULL,
    activity TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE audit (
    seq      INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    activity TEXT NOT NULL,
    actor    TEXT NOT NULL,
    action   TEXT NOT NULL,
    detail   TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash     TEXT NOT NULL
);
CREATE TABLE outbox (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    topic        TEXT NOT NULL,
    payload      TEXT NOT NULL,
    at           INTEGER NOT NULL,
    delivered_at INTEGER
);
",
    "
CREATE TABLE blob_tables (
    name TEXT PRIMARY KEY
) WITHOUT ROWID;
",
    "
ALTER TABLE outbox ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN due INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN given_up TEXT;
CREATE INDEX outbox_due ON outbox (topic, due) WHERE delivered_at IS NULL AND given_up IS NULL;
",
];

/// Kept before everything else, so that it can say which steps have run.
pub(crate) const MIGRATIONS: &str = "CREATE TABLE IF NOT EXISTS migrations (
    layer TEXT NOT NULL,
    step  INTEGER NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (layer, step)
) WITHOUT ROWID;";
