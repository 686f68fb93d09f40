//! What do other libraries call a span's type, inputs, outputs, tokens and model? The names of
//! OpenInference, of OpenTelemetry's own conventions for generative models, and of Traceloop are read
//! into MLflow's, which stand in the span beside them.

use serde_json::{Map, Value, json};

use super::text::json_text;

/// MLflow's own names.
pub(super) const TYPE: &str = "mlflow.spanType";
pub(super) const INPUTS: &str = "mlflow.spanInputs";
pub(super) const OUTPUTS: &str = "mlflow.spanOutputs";
pub(super) const TOKENS: &str = "mlflow.chat.tokenUsage";
pub(super) const COST: &str = "mlflow.llm.cost";
const MODEL: &str = "mlflow.llm.model";
const PROVIDER: &str = "mlflow.llm.provider";

/// The names of one library.
struct Dialect {
    kind: &'static str,
    kinds: &'static [(&'static str, &'static str)],
    /// Tokens that went in, came out, and both.
    tokens: [&'static str; 3],
    cache_read: &'static str,
    cache_written: &'static [&'static str],
    inputs: &'static [&'static str],
    outputs: &'static [&'static str],
    models: &'static [&'static str],
    provider: &'static str,
}

const DIALECTS: &[Dialect] = &[
    Dialect {
        kind: "openinference.span.kind",
        kinds: &[
            ("TOOL", "TOOL"),
            ("CHAIN", "CHAIN"),
            ("LLM", "LLM"),
            ("RETRIEVER", "RETRIEVER"),
            ("EMBEDDING", "EMBEDDING"),
            ("AGENT", "AGENT"),
            ("RERANKER", "RERANKER"),
            ("UNKNOWN", "UNKNOWN"),
            ("GUARDRAIL", "GUARDRAIL"),
            ("EVALUATOR", "EVALUATOR"),
        ],
        tokens: ["llm.token_count.prompt", "llm.token_count.completion", "llm.token_count.total"],
        cache_read: "llm.token_count.prompt_details.cache_read",
        cache_written: &["llm.token_count.prompt_details.cache_write"],
        inputs: &["input.value"],
        outputs: &["output.value"],
        models: &[
            "llm.response.model_name",
            "llm.model_name",
            "llm.request.model_name",
            "embedding.model_name",
        ],
        provider: "llm.provider",
    },
    Dialect {
        kind: "gen_ai.operation.name",
        kinds: &[
            ("chat", "CHAT_MODEL"),
            ("create_agent", "AGENT"),
            ("embeddings", "EMBEDDING"),
            ("execute_tool", "TOOL"),
            ("generate_content", "LLM"),
            ("invoke_agent", "AGENT"),
            ("text_completion", "LLM"),
            ("response", "LLM"),
        ],
        tokens: ["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", ""],
        cache_read: "gen_ai.usage.cache_read.input_tokens",
        cache_written: &[
            "gen_ai.usage.cache_write.input_tokens",
            "gen_ai.usage.cache_creation.input_tokens",
        ],
        inputs: &["gen_ai.input.messages", "gen_ai.tool.call.arguments"],
        outputs: &["gen_ai.output.messages", "gen_ai.tool.call.result"],
        models: &["gen_ai.response.model", "gen_ai.request.model"],
        provider: "gen_ai.provider.name",
    },
    Dialect {
        kind: "traceloop.span.kind",
        kinds: &[
            ("workflow", "WORKFLOW"),
            ("task", "TASK"),
            ("agent", "AGENT"),
            ("tool", "TOOL"),
            ("unknown", "UNKNOWN"),
        ],
        tokens: [
            "gen_ai.usage.prompt_tokens",
            "gen_ai.usage.completion_tokens",
            "llm.usage.total_tokens",
        ],
        cache_read: "",
        cache_written: &[],
        inputs: &["traceloop.entity.input"],
        outputs: &["traceloop.entity.output"],
        models: &[],
        provider: "gen_ai.system",
    },
];

/// Attributes of a span; each value is JSON as text.
pub(super) type Attributes = Map<String, Value>;

/// What a text means, when it is JSON.
pub(super) fn meant(attributes: &Attributes, key: &str) -> Option<Value> {
    serde_json::from_str(attributes.get(key)?.as_str()?).ok()
}

/// Adds MLflow's names where they are missing.
pub(super) fn translate(attributes: &mut Attributes) {
    let kind = meant(attributes, TYPE);
    if kind.is_none_or(|kind| kind.is_null() || kind == "UNKNOWN")
        && let Some(kind) = DIALECTS.iter().find_map(|dialect| dialect.kind_of(attributes))
    {
        attributes.insert(TYPE.to_owned(), json_text(&json!(kind)).into());
    }
    for (name, keys) in [
        (INPUTS, DIALECTS.iter().map(|dialect| dialect.inputs).collect::<Vec<_>>()),
        (OUTPUTS, DIALECTS.iter().map(|dialect| dialect.outputs).collect()),
    ] {
        if !attributes.contains_key(name)
            && let Some(text) = keys.into_iter().flatten().find_map(|key| filled(attributes, key))
        {
            attributes.insert(name.to_owned(), text);
        }
    }
    if !attributes.contains_key(TOKENS)
        && let Some(tokens) = DIALECTS.iter().find_map(|dialect| dialect.tokens_of(attributes))
    {
        attributes.insert(TOKENS.to_owned(), json_text(&tokens).into());
    }
    if !attributes.contains_key(MODEL)
        && let Some(model) = model(attributes)
    {
        attributes.insert(MODEL.to_owned(), json_text(&model).into());
    }
    let mut providers = DIALECTS.iter().map(|dialect| dialect.provider);
    if !attributes.contains_key(PROVIDER)
        && let Some(text) = providers.find_map(|key| filled(attributes, key))
    {
        attributes.insert(PROVIDER.to_owned(), text);
    }
}

/// The text of an attribute that is neither null, zero nor empty.
fn filled(attributes: &Attributes, key: &str) -> Option<Value> {
    let is_empty = match meant(attributes, key) {
        None => attributes.get(key)?.as_str()?.is_empty(),
        Some(Value::Null) => true,
        Some(Value::Bool(flag)) => !flag,
        Some(Value::Number(number)) => number.as_f64() == Some(0.0),
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(fields)) => fields.is_empty(),
    };
    if is_empty { None } else { attributes.get(key).cloned() }
}

/// The name of the model: told by itself, or in what goes in or comes out.
fn model(attributes: &Attributes) -> Option<Value> {
    let mut keys = DIALECTS.iter().flat_map(|dialect| dialect.models);
    if let Some(key) = keys.find(|key| filled(attributes, key).is_some()) {
        return meant(attributes, key);
    }
    let within = |key| match meant(attributes, key)?.get("model")? {
        Value::String(name) if !name.is_empty() => Some(Value::from(name.as_str())),
        _ => None,
    };
    within(INPUTS).or_else(|| within(OUTPUTS))
}

impl Dialect {
    fn kind_of(&self, attributes: &Attributes) -> Option<&'static str> {
        let word = meant(attributes, self.kind)?;
        let found = self.kinds.iter().find(|(theirs, _)| word == *theirs)?;
        Some(found.1)
    }

    fn tokens_of(&self, attributes: &Attributes) -> Option<Value> {
        let count = |key: &str| match meant(attributes, key)? {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let [input, output, total] = self.tokens.map(count);
        let total = total.or_else(|| input?.checked_add(output?));
        if input.is_none() && output.is_none() && total.is_none() {
            return None;
        }
        let written = self.cache_written.iter().find_map(|key| count(key));
        let told = [
            ("input_tokens", input),
            ("output_tokens", output),
            ("total_tokens", total),
            ("cache_read_input_tokens", count(self.cache_read)),
            ("cache_creation_input_tokens", written),
        ];
        let told =
            told.into_iter().filter_map(|(key, count)| Some((key.to_owned(), count?.into())));
        Some(Value::Object(told.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_others_are_read() {
        for (theirs, ours) in [
            (
                json!({ "gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 7,
                    "gen_ai.usage.output_tokens": 2, "gen_ai.request.model": "m" }),
                json!({ TYPE: "CHAT_MODEL", MODEL: "m", TOKENS:
                    { "input_tokens": 7, "output_tokens": 2, "total_tokens": 9 } }),
            ),
            (
                json!({ "openinference.span.kind": "LLM", "input.value": "q", "llm.provider": "p",
                    "llm.token_count.total": "4" }),
                json!({ TYPE: "LLM", INPUTS: "q", PROVIDER: "p", TOKENS: { "total_tokens": 4 } }),
            ),
            (
                json!({ "traceloop.span.kind": "tool", "traceloop.entity.output": [1] }),
                json!({ TYPE: "TOOL", OUTPUTS: [1] }),
            ),
            (json!({ TYPE: "CHAIN", "gen_ai.operation.name": "chat" }), json!({ TYPE: "CHAIN" })),
            (json!({ INPUTS: { "model": "m" }, "input.value": "" }), json!({ MODEL: "m" })),
        ] {
            let texts = |value: &Value| -> Attributes {
                let fields = value.as_object().into_iter().flatten();
                fields.map(|(key, value)| (key.clone(), json_text(value).into())).collect()
            };
            let mut attributes = texts(&theirs);
            translate(&mut attributes);
            let mut expected = texts(&theirs);
            expected.extend(texts(&ours));
            assert_eq!(attributes, expected);
        }
    }
}
