//! What can be called? The route table as an OpenAPI document, so that it is always true.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde_json::{Map, Value, json};

use crate::{
    api::ops::role_of,
    jobs::blocking,
    reply::Refusal,
    routes::{Policy, RouteInfo, route_table},
    state::Shared,
};

/// `GET /openapi.json`
pub(crate) async fn document(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, Refusal> {
    let backend = Arc::clone(&shared.backend);
    let op_schema = blocking(move |_| Ok(backend.op_schema())).await?;
    Ok(Json(describe(&route_table(), op_schema)))
}

fn describe(routes: &[RouteInfo], op_schema: Value) -> Value {
    let mut paths = Map::new();
    for route in routes {
        // OpenAPI has no wildcard; `{*id}` is an ordinary parameter that may have slashes.
        let path = route.path.replace("{*", "{");
        let entry = paths.entry(path).or_insert_with(|| json!({}));
        if let Some(methods) = entry.as_object_mut() {
            methods.insert(route.method.as_str().to_lowercase(), operation(route));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sextant",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Every route of the server with the role that it needs (x-sextant-policy).",
        },
        "paths": paths,
        "components": {
            "securitySchemes": { "key": { "type": "http", "scheme": "bearer" } },
            "schemas": { "Operation": op_schema, "Error": error_schema() },
        },
    })
}

fn operation(route: &RouteInfo) -> Value {
    let mut operation = json!({
        "summary": route.summary,
        "x-sextant-policy": route.policy.as_str(),
        "security": if route.policy == Policy::Public { json!([]) } else { json!([{ "key": [] }]) },
        "parameters": parameters(route.path),
        "responses": {
            "200": { "description": "done" },
            "default": {
                "description": "refused or failed",
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
            },
        },
    });
    let body = match route.path {
        "/api/v1/ops" => json!({ "$ref": "#/components/schemas/Operation" }),
        "/v1/chat/completions" => chat_schema(),
        "/api/v1/keys" if route.method == "POST" => key_schema(),
        _ => return operation,
    };
    if let Some(fields) = operation.as_object_mut() {
        let content = json!({ "application/json": { "schema": body } });
        fields.insert("requestBody".to_owned(), json!({ "required": true, "content": content }));
        if route.path == "/api/v1/ops" {
            let build = role_of("build").as_str();
            let text = format!("each operation needs a role of its own: `build`, for one, {build}");
            fields.insert("description".to_owned(), Value::String(text));
        }
    }
    operation
}

fn parameters(path: &str) -> Vec<Value> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            let name = name.trim_start_matches('*');
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
        })
        .collect()
}

fn chat_schema() -> Value {
    json!({
        "type": "object",
        "required": ["model", "messages"],
        "properties": {
            "model": { "type": "string", "description": "a release: name or name@digest" },
            "messages": { "type": "array", "minItems": 1, "items": {
                "type": "object", "required": ["role"],
                "properties": { "role": { "type": "string" }, "content": {} },
            } },
            "stream": { "type": "boolean" },
            "stream_options": { "type": "object" },
            "temperature": { "type": "number" },
            "max_completion_tokens": { "type": "integer" },
        },
    })
}

fn key_schema() -> Value {
    json!({
        "type": "object",
        "required": ["name", "role"],
        "additionalProperties": false,
        "properties": {
            "name": { "type": "string" },
            "role": { "enum": ["read", "write", "admin"] },
            "expires_in_days": { "type": "integer", "minimum": 0 },
        },
    })
}

fn error_schema() -> Value {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": { "error": {
            "type": "object",
            "required": ["message", "type", "code"],
            "properties": {
                "message": { "type": "string" },
                "type": { "type": "string" },
                "param": { "type": ["string", "null"] },
                "code": { "type": ["string", "null"] },
                "hint": { "type": "string" },
            },
        } },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described_with_its_policy() {
        let document = describe(&route_table(), json!({}));
        for route in route_table() {
            let path = route.path.replace("{*", "{");
            let method = route.method.as_str().to_lowercase();
            let found = &document["paths"][&path][&method]["x-sextant-policy"];
            assert_eq!(found, route.policy.as_str(), "{method} {path}");
        }
    }
}
