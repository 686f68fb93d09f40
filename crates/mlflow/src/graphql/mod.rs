//! How do MLflow's own pages ask? Some questions come as GraphQL: seven of them, each answered by the call
//! that other clients make. A query says which fields it wants.
//!
//! What the schema says of itself (`__schema`) is not told: no page asks for it.

mod input;
mod limits;
mod plan;
mod schema;
mod show;
#[cfg(test)]
mod tests;

use graphql_parser::query::parse_query;
use serde_json::{Map, Value, json};

use super::{
    Answer, Call, Fields, Found, Mlflow, Reply,
    call::{find, look},
    refusal::{invalid, missing},
};
use plan::{Asked, Chosen, What};
use show::Shower;

/// The call of this module. A mutation changes nothing either: two searches are called so.
pub(super) const CALLS: &[Call] = &[look("POST", "graphql", Mlflow::graphql)];

impl Mlflow {
    pub(super) fn graphql(&self, fields: Fields<'_>) -> Answer {
        let query = fields.need("query")?;
        if query.len() > limits::QUERY_BYTES_MAX {
            let most = limits::QUERY_BYTES_MAX;
            return Err(invalid(format!("A query has at most {most} bytes.")));
        }
        let document = parse_query::<&str>(query)
            .map_err(|error| invalid(format!("The query cannot be read: {error}")))?;
        if let Err(error) = limits::check(&document) {
            return Ok(refused(&[error]));
        }
        let none = Map::new();
        let variables = fields.object("variables")?.unwrap_or(&none);
        let name = fields.text("operationName")?.filter(|name| !name.is_empty());
        Ok(match plan::plan(&document, name, variables) {
            Ok(chosen) => self.answers(&chosen),
            Err(errors) => refused(&errors),
        })
    }

    /// The answers to the questions of a query, one after the other.
    fn answers(&self, chosen: &[Chosen<Asked>]) -> Value {
        let mut shower = Shower::new(self);
        let mut data = Map::new();
        for Chosen { key, what, within } in chosen {
            let shown = match what {
                What::TypeName(name) => json!(name),
                What::This(Asked { root, input: Some(input) }) => {
                    let found = shower.kept(ask(self, root.call, input));
                    found.map_or(Value::Null, |found| shower.fields(within, &found))
                }
                What::This(Asked { root, input: None }) => {
                    shower.errors.push(format!("'{}' needs the argument 'input'.", root.name));
                    Value::Null
                }
            };
            data.insert(key.clone(), shown);
        }
        let errors = shower.errors;
        json!({ "data": data, "errors": if errors.is_empty() { Value::Null } else { json!(errors) } })
    }
}

/// The answer of another call.
fn ask(mlflow: &Mlflow, (method, path): (&str, &str), fields: &Map<String, Value>) -> Answer {
    match find(method, path) {
        Found::Call(call, places) => {
            match call.answer(mlflow, fields, &places, &mut std::io::empty())? {
                Reply::Said(body) => Ok(body),
                Reply::File(_) | Reply::Taken(_) => Ok(Value::Null),
            }
        }
        Found::Methods(_) => Err(missing(format!("There is no {method} {path} here."))),
    }
}

fn refused(errors: &[String]) -> Value {
    json!({ "data": null, "errors": errors })
}
