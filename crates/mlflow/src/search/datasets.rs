//! Which runs used a dataset? Conditions on the name, the digest and the context of their inputs.

use super::{
    super::{Refusal, refusal::invalid},
    Query,
    clause::{Comparison, Meant},
};

impl Query {
    /// A condition on the datasets of a run: one of them has to meet it.
    pub(super) fn dataset(&mut self, comparison: &Comparison) -> Result<String, Refusal> {
        let column = match comparison.key.as_str() {
            "name" => "d.name",
            "digest" => "d.digest",
            "context" => "t.value",
            key => {
                return Err(invalid(format!(
                    "Invalid dataset key '{key}' specified. Valid keys are '{{'context', 'digest', \
                     'name'}}'"
                )));
            }
        };
        let matches = match (comparison.operator.as_str(), &comparison.meant) {
            ("IN" | "NOT IN", Meant::List(items)) => {
                let places: Vec<String> = items.iter().map(|item| self.value(item)).collect();
                format!("{column} {} ({})", comparison.operator, places.join(", "))
            }
            ("=" | "!=" | "LIKE" | "ILIKE", Meant::Text(text)) => {
                self.matches(column, comparison, text)?
            }
            ("=" | "!=" | "LIKE" | "ILIKE", Meant::Number(number)) => {
                return Err(invalid(format!(
                    "Expected a quoted string value for dataset attributes. Got value {number}"
                )));
            }
            (operator, _) => {
                return Err(invalid(format!(
                    "Invalid comparator '{operator}' not one of '{{'!=', '=', 'ILIKE', 'IN', 'LIKE', \
                     'NOT IN'}}"
                )));
            }
        };
        Ok(format!(
            "EXISTS (SELECT 1 FROM mlflow_inputs i JOIN mlflow_datasets d ON d.id = i.dataset
             LEFT JOIN mlflow_input_tags t ON t.input = i.id AND t.key = 'mlflow.data.context'
             WHERE i.run = x.id AND {matches})"
        ))
    }
}
