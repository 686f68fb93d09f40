//! How is an answer shown? The fields that a query chose of it, in the order in which it chose them. A
//! number that may be large is text, and what an answer does not have is empty.

use serde_json::{Map, Value, json};

use super::{
    plan::{Chosen, What},
    schema::{Field, Kind},
};
use crate::{Answer, Mlflow};

/// What runs are asked for one by one: their experiments and versions.
const ASKED_MAX: usize = 1000;

/// Shows answers of one query.
pub(super) struct Shower<'a> {
    mlflow: &'a Mlflow,
    asked: usize,
    pub(super) errors: Vec<String>,
}

impl<'a> Shower<'a> {
    pub(super) const fn new(mlflow: &'a Mlflow) -> Self {
        Self { mlflow, asked: 0, errors: Vec::new() }
    }

    /// The chosen fields of one thing; of none it shows what is empty.
    pub(super) fn fields(&mut self, chosen: &[Chosen<&'static Field>], of: &Value) -> Value {
        let mut shown = Map::new();
        for Chosen { key, what, within } in chosen {
            let value = match what {
                What::TypeName(name) => json!(name),
                What::This((name, kind)) => self.field(*kind, of, of.get(name), within),
            };
            shown.insert(key.clone(), value);
        }
        Value::Object(shown)
    }

    fn field(
        &mut self,
        kind: Kind,
        of: &Value,
        value: Option<&Value>,
        within: &[Chosen<&'static Field>],
    ) -> Value {
        let text = |empty: &str| match value {
            None | Some(Value::Null) => json!(empty),
            Some(Value::String(text)) => json!(text),
            Some(other) => json!(other.to_string()),
        };
        let items = || value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        match kind {
            Kind::Text => text(""),
            Kind::TextOr(empty) => text(empty),
            Kind::Long => text("0"),
            Kind::Word(_, words) => text(words.first().unwrap_or(&"")),
            Kind::Flag => json!(value.and_then(Value::as_bool).unwrap_or_default()),
            Kind::Texts => json!(items()),
            Kind::Real => self.real(value),
            Kind::RealOrNull => json!(value.map_or(Some(0.0), Value::as_f64)),
            Kind::Never(_) => Value::Null,
            Kind::One(_) => self.fields(within, value.unwrap_or(&Value::Null)),
            Kind::Many(_) => items().iter().map(|item| self.fields(within, item)).collect(),
            Kind::ItsExperiment => {
                let found = self.of_run(|| {
                    let fields = json!({ "experiment_id": of["info"]["experiment_id"] });
                    ("2.0/mlflow/experiments/get", fields)
                });
                found.map_or(Value::Null, |found| self.fields(within, &found["experiment"]))
            }
            Kind::ItsVersions => {
                let found = self.of_run(|| {
                    let run = of["info"]["run_id"].as_str().unwrap_or_default();
                    let fields = json!({ "filter": format!("run_id='{run}'") });
                    ("2.0/mlflow/model-versions/search", fields)
                });
                found.map_or(Value::Null, |found| {
                    let found = found["model_versions"].as_array().cloned().unwrap_or_default();
                    found.iter().map(|version| self.fields(within, version)).collect()
                })
            }
        }
    }

    /// A number, or null with an error.
    fn real(&mut self, value: Option<&Value>) -> Value {
        let Some(value) = value else { return json!(0.0) };
        let shown = value.as_f64();
        if shown.is_none() {
            self.errors.push("Float cannot represent non numeric value: nan".to_owned());
        }
        json!(shown)
    }

    /// What is asked for a run besides it.
    fn of_run(&mut self, call: impl FnOnce() -> (&'static str, Value)) -> Option<Value> {
        self.asked += 1;
        if self.asked > ASKED_MAX {
            if self.asked == ASKED_MAX + 1 {
                let told =
                    format!("The experiments and versions of at most {ASKED_MAX} runs are told.");
                self.errors.push(told);
            }
            return None;
        }
        let (path, fields) = call();
        let fields = fields.as_object().cloned().unwrap_or_default();
        self.kept(super::ask(self.mlflow, ("GET", path), &fields))
    }

    /// An answer; a refusal goes among the errors.
    pub(super) fn kept(&mut self, answer: Answer) -> Option<Value> {
        answer.map_err(|refusal| self.errors.push(refusal.message)).ok()
    }
}
