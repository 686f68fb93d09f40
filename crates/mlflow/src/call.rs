//! Which calls are there? Each has a method, a path, and whether it changes something; a part of the
//! path in braces is a value.

use serde_json::{Map, Value};

use crate::{Answer, Fields, Mlflow, experiments, history, inputs, models, runs};

/// A call that is answered here.
#[derive(Debug)]
pub struct Call {
    /// The HTTP method.
    pub method: &'static str,
    /// The path behind `/api/` and `/ajax-api/`, such as `2.0/mlflow/runs/create`.
    pub path: &'static str,
    /// Whether it needs the right to write.
    pub changes: bool,
    run: fn(&Mlflow, Fields<'_>) -> Answer,
}

/// A call that changes nothing.
pub(crate) const fn look(
    method: &'static str,
    path: &'static str,
    run: fn(&Mlflow, Fields<'_>) -> Answer,
) -> Call {
    Call { method, path, changes: false, run }
}

/// A call that changes something.
pub(crate) const fn change(
    method: &'static str,
    path: &'static str,
    run: fn(&Mlflow, Fields<'_>) -> Answer,
) -> Call {
    Call { method, path, changes: true, run }
}

/// Every call, area by area.
const AREAS: &[&[Call]] =
    &[experiments::CALLS, runs::CALLS, history::CALLS, inputs::CALLS, models::CALLS];

/// The parts of a path that stand for values, with their values.
pub(crate) type Places = Vec<(&'static str, String)>;

/// What lies at a path.
#[derive(Debug)]
pub enum Found {
    /// This call, with the values in its path.
    Call(&'static Call, Vec<(&'static str, String)>),
    /// None with this method; these have one.
    Methods(Vec<&'static str>),
}

/// The call with this method at a path (decoded, what stands behind `/api/` or `/ajax-api/`).
pub fn find(method: &str, path: &str) -> Found {
    let mut methods = Vec::new();
    for call in AREAS.iter().copied().flatten() {
        let Some(places) = places(call.path, path) else { continue };
        if call.method == method {
            return Found::Call(call, places);
        }
        if !methods.contains(&call.method) {
            methods.push(call.method);
        }
    }
    Found::Methods(methods)
}

/// The values in a path, when it is one of this form.
fn places(form: &'static str, path: &str) -> Option<Places> {
    let mut places = Vec::new();
    let (mut forms, mut parts) = (form.split('/'), path.split('/'));
    loop {
        match (forms.next(), parts.next()) {
            (None, None) => return Some(places),
            (Some(form), Some(part)) if form.starts_with('{') && !part.is_empty() => {
                places.push((form.trim_matches(['{', '}']), part.to_owned()));
            }
            (Some(form), Some(part)) if form == part => {}
            _ => return None,
        }
    }
}

impl Call {
    /// Answers the call with the fields of its address (GET) or body and the values in its path.
    ///
    /// # Errors
    /// As MLflow refuses it.
    pub fn answer(
        &self,
        mlflow: &Mlflow,
        fields: &Map<String, Value>,
        places: &[(&'static str, String)],
    ) -> Answer {
        let fields = match self.method {
            "GET" => Fields::in_address(fields),
            _ => Fields::new(fields),
        };
        (self.run)(mlflow, fields.at(places))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_with_its_values_and_its_methods() {
        let form = "2.0/mlflow/logged-models/{model_id}/tags/{tag_key}";
        let at = |path| places(form, path).map(|found| found.into_iter().map(|(_, value)| value));
        let values: Vec<String> = at("2.0/mlflow/logged-models/m-1/tags/a b").unwrap().collect();
        assert_eq!(values, ["m-1", "a b"]);
        for other in ["2.0/mlflow/logged-models//tags/a", "2.0/mlflow/logged-models/m/tags", ""] {
            assert!(at(other).is_none(), "{other}");
        }
        let methods = |method, path| match find(method, path) {
            Found::Call(call, _) => vec![call.method],
            Found::Methods(methods) => methods,
        };
        assert_eq!(methods("DELETE", "2.0/mlflow/experiments/search"), ["POST", "GET"]);
        assert!(methods("GET", "2.0/mlflow/nothing").is_empty());
    }

    #[test]
    fn no_call_is_there_twice() {
        let mut known = Vec::new();
        for call in AREAS.iter().copied().flatten() {
            assert!(!known.contains(&(call.method, call.path)), "{} {}", call.method, call.path);
            known.push((call.method, call.path));
        }
    }
}
