//! What do programs call? Health, operations, keys, and the OpenAI wire.

pub(crate) mod answers;
pub(crate) mod artifacts;
pub(crate) mod health;
pub(crate) mod ingest;
pub(crate) mod keys;
pub(crate) mod mlflow;
pub(crate) mod openai;
pub(crate) mod openapi;
pub(crate) mod ops;
pub(crate) mod otlp;
