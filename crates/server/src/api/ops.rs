//! Which operations may a caller run, and what happens to them when the caller goes away?

use std::sync::Arc;

use axum::{
    Extension,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde_json::Value;

use crate::{
    body::JsonBody,
    error::ServerError,
    guard::Caller,
    jobs::stream_op,
    keys::Role,
    reply::Refusal,
    state::{Shared, Slot},
};

/// The role each operation takes. One that is not here takes the admin role, so that a new
/// operation is closed until somebody thought about it.
#[rustfmt::skip]
const OPS: &[(&str, Role)] = &[
    ("status", Role::Read), ("versions", Role::Read), ("ask", Role::Read),
    ("answer", Role::Read), ("dataset_show", Role::Read),
    ("answers", Role::Read), ("why", Role::Read), ("impact", Role::Read),
    ("diff", Role::Read), ("release_list", Role::Read), ("release_show", Role::Read),
    ("runs", Role::Read), ("run", Role::Read), ("best", Role::Read),
    ("data_tables", Role::Read), ("data_query", Role::Read), ("search", Role::Read),
    ("passage", Role::Read), ("eval_show", Role::Read), ("check_failures", Role::Read),
    ("replay", Role::Read), ("doctor", Role::Read), ("holes", Role::Read),
    ("explain", Role::Read), ("config_check", Role::Read), ("config_schema", Role::Read),
    ("data_schema", Role::Read), ("data_quarantine", Role::Read), ("data_replay", Role::Write),
    ("data_sources", Role::Read), ("data_source", Role::Read),
    ("config_show", Role::Write), ("build", Role::Write), ("rollback", Role::Write),
    ("release_create", Role::Write), ("release_gate", Role::Write),
    ("release_promote", Role::Write),
    ("sql", Role::Write), ("data_history", Role::Read), ("data_show", Role::Read),
    ("data_restore", Role::Write), ("data_restore_tag", Role::Write),
    ("data_replace", Role::Write), ("data_compact", Role::Write),
    ("data_zorder", Role::Write), ("data_tag", Role::Write), ("data_tags", Role::Read),
    ("data_untag", Role::Write),
    ("data_gc", Role::Admin), ("fsck", Role::Admin),
];

/// The role an operation takes.
pub(crate) fn role_of(op: &str) -> Role {
    OPS.iter().find(|(name, _)| *name == op).map_or(Role::Admin, |(_, role)| *role)
}

/// The role that this operation takes, when the caller has it.
pub(crate) fn admit(caller: &Caller, op: &Value) -> Result<Role, ServerError> {
    let Some(name) = op.get("op").and_then(Value::as_str) else {
        return Err(ServerError::field("op", "the body must name an operation: {\"op\": …}"));
    };
    let needs = role_of(name);
    // To promote past a gate is a decision of an admin.
    let forced = name == "release_promote" && op.get("force").is_some_and(|force| !force.is_null());
    let needs = if forced { Role::Admin } else { needs };
    if caller.role < needs {
        let (needs, has) = (needs.as_str(), caller.role.as_str());
        return Err(ServerError::Forbidden { needs, has });
    }
    Ok(needs)
}

/// `POST /api/v1/ops`: JSON lines, events first, then `{"result": …}` or `{"error": …}`.
///
/// When the client disconnects, an operation that only reads is cancelled. One that changes
/// something (a build, a promotion) goes on to its end: half a build helps nobody.
pub(crate) async fn run(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Extension(slot): Extension<Arc<Slot>>,
    JsonBody(op): JsonBody<Value>,
) -> Result<Response, Refusal> {
    let needs = admit(&caller, &op)?;
    let stops_with_reader = needs == Role::Read;
    let body = stream_op(&shared, op, stops_with_reader, slot);
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}
