//! Where does an answer come from, and what does a passage say?

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use serde_json::{Value, json};

use crate::{jobs::run_op, reply::Refusal, state::Shared};

/// `GET /api/v1/answers/{id}/why`
pub(crate) async fn why(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refusal> {
    run_op(&shared, json!({ "op": "why", "id": id })).await.map(Json)
}

/// `GET /api/v1/passages/{chunk}`
pub(crate) async fn passage(
    State(shared): State<Arc<Shared>>,
    Path(chunk): Path<String>,
) -> Result<Json<Value>, Refusal> {
    run_op(&shared, json!({ "op": "passage", "chunk": chunk })).await.map(Json)
}
