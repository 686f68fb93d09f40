//! Which calls are there? Each has a method, a path, and whether it changes something; a part of the
//! path in braces is a value; with a star it is the rest of the path.

use std::io::Read;

use serde_json::{Map, Value};
use sextant_core::Digest;

use crate::{
    Answer, Fields, Mlflow, Opened, Refusal, artifacts, experiments, graphql, history, inputs,
    models, pages, registry, runs, table, traces, webhooks,
};

/// A call that is answered here.
#[derive(Debug)]
pub struct Call {
    /// The HTTP method.
    pub method: &'static str,
    /// The path behind `/api/` and `/ajax-api/`, such as `2.0/mlflow/runs/create`.
    pub path: &'static str,
    /// Whether it needs the right to write.
    pub changes: bool,
    work: Work,
}

/// What a call does.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// Says something.
    Say(fn(&Mlflow, Fields<'_>) -> Answer),
    /// Opens a file that is sent.
    Open(fn(&Mlflow, Fields<'_>) -> Result<Opened, Refusal>),
    /// Takes a file that is the body. Its fields are in its address.
    Take(fn(&Mlflow, Fields<'_>, &mut dyn Read) -> Result<Digest, Refusal>),
}

/// What a call is answered.
#[derive(Debug)]
pub enum Reply {
    /// Words.
    Said(Value),
    /// A file.
    File(Opened),
    /// That the body is durable, with its digest.
    Taken(Digest),
}

/// A call that changes nothing.
pub(crate) const fn look(
    method: &'static str,
    path: &'static str,
    run: fn(&Mlflow, Fields<'_>) -> Answer,
) -> Call {
    Call { method, path, changes: false, work: Work::Say(run) }
}

/// A call that changes something.
pub(crate) const fn change(
    method: &'static str,
    path: &'static str,
    run: fn(&Mlflow, Fields<'_>) -> Answer,
) -> Call {
    Call { method, path, changes: true, work: Work::Say(run) }
}

/// A call that is answered with a file.
pub(crate) const fn open(
    path: &'static str,
    run: fn(&Mlflow, Fields<'_>) -> Result<Opened, Refusal>,
) -> Call {
    Call { method: "GET", path, changes: false, work: Work::Open(run) }
}

/// A call whose body is a file.
pub(crate) const fn take(
    method: &'static str,
    path: &'static str,
    run: fn(&Mlflow, Fields<'_>, &mut dyn Read) -> Result<Digest, Refusal>,
) -> Call {
    Call { method, path, changes: true, work: Work::Take(run) }
}

/// Every call, area by area.
const AREAS: &[&[Call]] = &[
    experiments::CALLS,
    runs::CALLS,
    history::CALLS,
    inputs::CALLS,
    models::CALLS,
    artifacts::CALLS,
    artifacts::OF_RUNS,
    artifacts::IN_PARTS,
    registry::CALLS,
    table::CALLS,
    traces::CALLS,
    webhooks::CALLS,
    graphql::CALLS,
    pages::CALLS,
];

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

/// The call with this method at a path (decoded, what stands behind `/api/` or `/ajax-api/`, or for what
/// MLflow's pages ask outside of these, behind the first slash).
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
            (Some(form), Some(part)) if form.starts_with("{*") => {
                let rest: Vec<&str> = std::iter::once(part).chain(parts).collect();
                places.push((form.trim_matches(['{', '*', '}']), rest.join("/")));
                return Some(places);
            }
            (Some(form), Some(part)) if form.starts_with('{') && !part.is_empty() => {
                places.push((form.trim_matches(['{', '}']), part.to_owned()));
            }
            (Some(form), Some(part)) if form == part => {}
            _ => return None,
        }
    }
}

impl Call {
    /// Answers the call with the fields of its address (GET, or when the body is a file) or body and the
    /// values in its path. `body` is read only by a call whose body is a file.
    ///
    /// # Errors
    /// As MLflow refuses it.
    pub fn answer(
        &self,
        mlflow: &Mlflow,
        fields: &Map<String, Value>,
        places: &[(&'static str, String)],
        body: &mut dyn Read,
    ) -> Result<Reply, Refusal> {
        let fields = match self.work {
            Work::Say(_) if self.method != "GET" => Fields::new(fields),
            _ => Fields::in_address(fields),
        };
        let fields = fields.at(places);
        match self.work {
            Work::Say(run) => run(mlflow, fields).map(Reply::Said),
            Work::Open(run) => run(mlflow, fields).map(Reply::File),
            Work::Take(run) => run(mlflow, fields, body).map(Reply::Taken),
        }
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
        let rest = |path| places("a/{*path}", path).map(|found| found[0].1.clone());
        for (path, found) in
            [("a/b", Some("b")), ("a/", Some("")), ("a//b/", Some("/b/")), ("a", None)]
        {
            assert_eq!(rest(path).as_deref(), found, "{path}");
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
