//! What do MLflow's own pages ask that no other client asks? Whether they may report what is clicked, and
//! after things of MLflow's that are not here. They are told no, and that there are none: nothing of
//! the kind can be made.

use serde_json::json;

use super::{Answer, Call, Fields, Mlflow, call::look};

/// The calls of this file.
pub(super) const CALLS: &[Call] = &[
    look("GET", "3.0/mlflow/ui-telemetry", Mlflow::telemetry),
    look("POST", "3.0/mlflow/ui-telemetry", Mlflow::report),
    look("GET", "2.0/mlflow/gateway-proxy", Mlflow::no_endpoints),
    look("GET", "3.0/mlflow/gateway/secrets/list", Mlflow::none),
    look("GET", "3.0/mlflow/gateway/endpoints/list", Mlflow::none),
    look("GET", "3.0/mlflow/scorers/list", Mlflow::none),
    look("POST", "3.0/mlflow/datasets/search", Mlflow::none),
    look("POST", "3.0/mlflow/issues/search", Mlflow::no_issues),
    look("GET", "3.0/mlflow/assistant/config", Mlflow::assistant),
    look("GET", "3.0/mlflow/assistant/providers", Mlflow::no_providers),
];

impl Mlflow {
    /// That nothing is to be reported.
    pub(super) fn telemetry(&self, _: Fields<'_>) -> Answer {
        Ok(json!({
            "disable_ui_telemetry": true,
            "disable_ui_events": [],
            "ui_rollout_percentage": 0,
        }))
    }

    /// What is reported all the same is not kept, and the answer says so.
    pub(super) fn report(&self, _: Fields<'_>) -> Answer {
        Ok(json!({ "status": "disabled" }))
    }

    pub(super) fn none(&self, _: Fields<'_>) -> Answer {
        Ok(json!({}))
    }

    pub(super) fn no_endpoints(&self, _: Fields<'_>) -> Answer {
        Ok(json!({ "endpoints": [] }))
    }

    pub(super) fn no_issues(&self, _: Fields<'_>) -> Answer {
        Ok(json!({ "next_page_token": "" }))
    }

    pub(super) fn assistant(&self, _: Fields<'_>) -> Answer {
        Ok(json!({ "providers": {}, "projects": {}, "remote_access_allowed": false }))
    }

    pub(super) fn no_providers(&self, _: Fields<'_>) -> Answer {
        Ok(json!({ "providers": [] }))
    }
}
