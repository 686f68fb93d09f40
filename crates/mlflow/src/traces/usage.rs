//! How many tokens did a trace take, and what did they cost? The sum over its spans, without those
//! under a span that tells a sum already.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Number, Value};

use super::text::json_text;

/// Token counts that are always told, and those that are told when a span has them.
const TOKENS: (&[&str], &[&str]) = (
    &["input_tokens", "output_tokens", "total_tokens"],
    &[
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "cache_creation_input_tokens_above_1hr",
    ],
);
const COSTS: (&[&str], &[&str]) = (&["input_cost", "output_cost", "total_cost"], &[]);

/// What is summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sum {
    Tokens,
    Costs,
}

/// A span with what it tells, as JSON.
pub(super) struct Node {
    pub(super) id: String,
    pub(super) parent: Option<String>,
    pub(super) told: Option<String>,
}

impl Sum {
    const fn keys(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Tokens => TOKENS,
            Self::Costs => COSTS,
        }
    }

    fn number(self, value: &Value) -> Option<Number> {
        match self {
            Self::Tokens => {
                let whole = value.as_i64().or_else(|| value.as_str()?.parse().ok());
                whole
                    .or_else(|| {
                        value.as_f64().filter(|real| real.fract() == 0.0).map(|real| real as i64)
                    })
                    .map(Number::from)
            }
            Self::Costs => Number::from_f64(value.as_f64()?),
        }
    }

    /// A text as it is kept: the known keys in their order; none when it holds none of them.
    pub(super) fn normal(self, text: &str) -> Option<String> {
        let found: Map<String, Value> = serde_json::from_str(text).ok()?;
        let (always, sometimes) = self.keys();
        let mut kept = Map::new();
        for key in always.iter().chain(sometimes) {
            if let Some(number) = found.get(*key).and_then(|value| self.number(value)) {
                kept.insert((*key).to_owned(), Value::Number(number));
            }
        }
        (!kept.is_empty()).then(|| json_text(&Value::Object(kept)))
    }

    /// The sum over the spans of a trace; none when no span tells anything.
    pub(super) fn of(self, nodes: &[Node]) -> Option<String> {
        let ids: HashSet<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
        let mut children: HashMap<&str, Vec<&Node>> = HashMap::new();
        let mut waiting: Vec<&Node> = Vec::new();
        for node in nodes {
            match node.parent.as_deref().filter(|parent| ids.contains(parent) && *parent != node.id)
            {
                Some(parent) => children.entry(parent).or_default().push(node),
                None => waiting.push(node),
            }
        }
        let mut totals: Vec<Map<String, Value>> = Vec::new();
        while let Some(node) = waiting.pop() {
            let told = node.told.as_deref().and_then(|told| serde_json::from_str(told).ok());
            match told {
                Some(told) => totals.push(told),
                None => waiting.extend(children.remove(node.id.as_str()).into_iter().flatten()),
            }
        }
        (!totals.is_empty()).then(|| self.add(&totals))
    }

    fn add(self, totals: &[Map<String, Value>]) -> String {
        let (always, sometimes) = self.keys();
        let mut sums = Map::new();
        for key in always.iter().chain(sometimes) {
            let numbers: Vec<&Value> = totals.iter().filter_map(|one| one.get(*key)).collect();
            if numbers.is_empty() && sometimes.contains(key) {
                continue;
            }
            let sum = match self {
                Self::Tokens => {
                    let counts = numbers.iter().filter_map(|number| number.as_i64());
                    Value::from(counts.fold(0, i64::saturating_add))
                }
                Self::Costs => {
                    Value::from(numbers.iter().filter_map(|number| number.as_f64()).sum::<f64>())
                }
            };
            sums.insert((*key).to_owned(), sum);
        }
        json_text(&Value::Object(sums))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_that_tells_a_sum_stands_for_those_under_it() {
        let node = |id: &str, parent: &str, told: &str| Node {
            id: id.to_owned(),
            parent: (!parent.is_empty()).then(|| parent.to_owned()),
            told: (!told.is_empty()).then(|| told.to_owned()),
        };
        let tokens = |input: i64| format!("{{\"input_tokens\": {input}}}");
        let sum = |input: i64| {
            Some(format!(
                "{{\"input_tokens\": {input}, \"output_tokens\": 0, \"total_tokens\": 0}}"
            ))
        };
        for (nodes, found) in [
            (
                vec![node("a", "", ""), node("b", "a", &tokens(3)), node("c", "a", &tokens(4))],
                sum(7),
            ),
            (vec![node("a", "", &tokens(7)), node("b", "a", &tokens(3))], sum(7)),
            (vec![node("b", "not here", &tokens(3)), node("a", "", "")], sum(3)),
            (vec![node("a", "b", &tokens(1)), node("b", "a", &tokens(1))], None),
            (vec![node("a", "a", &tokens(1))], sum(1)),
            (vec![node("a", "", "")], None),
        ] {
            assert_eq!(Sum::Tokens.of(&nodes), found);
        }
        let odd = r#"{"total_tokens": 3.0, "other": 1, "input_tokens": "2"}"#;
        assert_eq!(
            Sum::Tokens.normal(odd).as_deref(),
            Some(r#"{"input_tokens": 2, "total_tokens": 3}"#)
        );
        assert_eq!(Sum::Costs.normal("{\"x\": 1}"), None);
    }
}
