//! What is an assessment? A name, where it comes from, and a value: a feedback, an expectation, or the
//! issue that somebody saw.

use serde_json::{Map, Number, Value, json};
use sextant_core::Digest;
use sextant_lineage::{Act, Row};

use super::{
    super::{Fields, Refusal, batch::cut, names::at_most, refusal::invalid},
    ID_CHARS_MAX,
    text::{json_text, shown_time, time_of},
};

pub(super) const COLUMNS: &str = "id, trace, name, kind, value, error, source, source_id, span, \
                                  rationale, metadata, overrides, valid, created, updated";
const WORDS_CHARS_MAX: usize = 250;
const METADATA_MAX: usize = 1000;
const SOURCES: &[&str] = &["HUMAN", "LLM_JUDGE", "CODE"];
const UNKNOWN_SOURCE: &str = "SOURCE_TYPE_UNSPECIFIED";

/// An assessment as the catalog has it.
#[derive(Debug, Clone)]
pub(super) struct Assessment {
    pub(super) id: String,
    pub(super) trace: String,
    pub(super) name: String,
    /// `feedback`, `expectation` or `issue`.
    pub(super) kind: String,
    pub(super) value: Value,
    pub(super) error: Option<Value>,
    source: String,
    source_id: Option<String>,
    span: Option<String>,
    pub(super) rationale: Option<String>,
    pub(super) metadata: Map<String, Value>,
    pub(super) overrides: Option<String>,
    pub(super) valid: bool,
    created: i64,
    pub(super) updated: i64,
}

/// What an assessment says, as a call sends it.
pub(super) struct Said {
    pub(super) kind: &'static str,
    pub(super) value: Value,
    pub(super) error: Option<Value>,
}

impl Said {
    /// None when the fields hold neither.
    pub(super) fn of(fields: &Fields<'_>) -> Result<Option<Self>, Refusal> {
        if let Some(feedback) = fields.object("feedback")? {
            let error = Fields::new(feedback).object("error")?.map(error_of).transpose()?;
            let value = feedback.get("value").map_or(Value::Null, real_numbers);
            return Ok(Some(Self { kind: "feedback", value, error }));
        }
        if let Some(expectation) = fields.object("expectation")? {
            let serialized = Fields::new(expectation).object("serialized_value")?;
            let value = match serialized {
                None => expectation.get("value").map(real_numbers),
                Some(serialized) => {
                    let text = Fields::new(serialized).text("value")?.unwrap_or_default();
                    let unread = |_| invalid("the serialized value of an expectation is not JSON");
                    Some(serde_json::from_str(text).map_err(unread)?)
                }
            };
            let value = value.filter(|value| !value.is_null());
            let value = value.ok_or_else(|| invalid("The `value` field must be specified."))?;
            return Ok(Some(Self { kind: "expectation", value, error: None }));
        }
        let Some(issue) = fields.object("issue")? else { return Ok(None) };
        let name = Fields::new(issue).text("issue_name")?.unwrap_or_default();
        Ok(Some(Self { kind: "issue", value: json!({ "issue_name": name }), error: None }))
    }
}

fn error_of(fields: &Map<String, Value>) -> Result<Value, Refusal> {
    let fields = Fields::new(fields);
    let mut error = json!({ "error_code": fields.text("error_code")?.unwrap_or_default() });
    for name in ["error_message", "stack_trace"] {
        if let Some(text) = fields.text(name)? {
            error[name] = json!(text);
        }
    }
    Ok(error)
}

/// A value as protobuf's JSON has it: every number is a float.
fn real_numbers(value: &Value) -> Value {
    match value {
        Value::Number(number) => {
            number.as_f64().and_then(Number::from_f64).map_or(Value::Null, Value::Number)
        }
        Value::Array(items) => items.iter().map(real_numbers).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), real_numbers(value))).collect()
        }
        other => other.clone(),
    }
}

/// Metadata of an assessment.
pub(super) fn metadata_of(fields: &Fields<'_>) -> Result<Map<String, Value>, Refusal> {
    let Some(metadata) = fields.object("metadata")? else { return Ok(Map::new()) };
    if metadata.len() > METADATA_MAX {
        return Err(invalid(format!("an assessment has at most {METADATA_MAX} metadata")));
    }
    let text = |key: &String| {
        Ok((key.clone(), json!(Fields::new(metadata).text(key)?.unwrap_or_default())))
    };
    metadata.keys().map(text).collect()
}

impl Assessment {
    /// Reads what a call sends. Without an id it gets one that follows from all the rest when the trace
    /// is told of as a whole, since clients repeat that.
    pub(super) fn sent(
        fields: &Fields<'_>,
        trace: &str,
        now: i64,
        id: impl FnOnce() -> Option<String>,
    ) -> Result<Self, Refusal> {
        let said = Said::of(fields)?;
        let said = said.ok_or_else(|| invalid("Unknown assessment type: None"))?;
        let time = |name: &str| match fields.text(name)? {
            None => Ok(now),
            Some(text) => time_of(text).ok_or_else(|| fields.wrong(name, &json!(text))),
        };
        let word = |name: &str| {
            let word = fields.text(name)?.filter(|word| !word.is_empty());
            Ok::<_, Refusal>(word.map(str::to_owned))
        };
        let source = fields.object("source")?.map(Fields::new);
        let source_word = |name| source.as_ref().map_or(Ok(None), |source| source.text(name));
        let source_type = source_word("source_type")?.filter(|kind| SOURCES.contains(kind));
        let mut assessment = Self {
            id: String::new(),
            trace: trace.to_owned(),
            name: fields.text("assessment_name")?.unwrap_or_default().to_owned(),
            kind: said.kind.to_owned(),
            value: said.value,
            error: said.error,
            source: source_type.unwrap_or(UNKNOWN_SOURCE).to_owned(),
            source_id: source_word("source_id")?.filter(|id| !id.is_empty()).map(str::to_owned),
            span: word("span_id")?,
            rationale: word("rationale")?,
            metadata: metadata_of(fields)?,
            overrides: word("overrides")?,
            valid: true,
            created: time("create_time")?,
            updated: time("last_update_time")?,
        };
        for (text, what) in [
            (Some(&assessment.name), "assessment_name"),
            (assessment.source_id.as_ref(), "source_id"),
            (assessment.span.as_ref(), "span_id"),
            (assessment.overrides.as_ref(), "overrides"),
        ] {
            at_most(text.map_or("", String::as_str), WORDS_CHARS_MAX, what)?;
        }
        let sent = word("assessment_id")?;
        at_most(sent.as_deref().unwrap_or_default(), ID_CHARS_MAX, "assessment_id")?;
        assessment.id = sent.or_else(id).unwrap_or_else(|| assessment.derived_id());
        Ok(assessment)
    }

    fn derived_id(&self) -> String {
        let Self { trace, name, source, source_id, span, rationale, .. } = self;
        let said = json!([trace, name, source, source_id, span, rationale, self.said()]);
        format!("a-{}", cut(&Digest::of(said.to_string()).hex(), 32))
    }

    pub(super) fn of(row: &Row) -> Result<Self, Refusal> {
        let text = |column| Ok::<_, Refusal>(row.opt_text(column)?.map(str::to_owned));
        Ok(Self {
            id: row.text(0)?.to_owned(),
            trace: row.text(1)?.to_owned(),
            name: row.text(2)?.to_owned(),
            kind: row.text(3)?.to_owned(),
            value: row.json(4)?,
            error: row.opt_text(5)?.map(|_| row.json(5)).transpose()?,
            source: row.text(6)?.to_owned(),
            source_id: text(7)?,
            span: text(8)?,
            rationale: text(9)?,
            metadata: row.json(10)?.as_object().cloned().unwrap_or_default(),
            overrides: text(11)?,
            valid: row.int(12)? == 1,
            created: row.int(13)?,
            updated: row.int(14)?,
        })
    }

    /// Writes it, in the place of one with its id.
    pub(super) fn put(&self, act: &mut Act) {
        act.execute(
            "INSERT INTO mlflow_assessments (id, trace, name, kind, value, number, error, source,
                 source_id, span, rationale, metadata, overrides, valid, created, updated)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, value = excluded.value,
                 number = excluded.number, error = excluded.error, rationale = excluded.rationale,
                 metadata = excluded.metadata, updated = excluded.updated",
            vec![
                (&self.id).into(),
                (&self.trace).into(),
                (&self.name).into(),
                (&self.kind).into(),
                json_text(&self.value).into(),
                self.value.as_f64().into(),
                self.error.as_ref().map(Value::to_string).into(),
                (&self.source).into(),
                self.source_id.as_deref().into(),
                self.span.as_deref().into(),
                self.rationale.as_deref().into(),
                Value::Object(self.metadata.clone()).to_string().into(),
                self.overrides.as_deref().into(),
                self.valid.into(),
                self.created.into(),
                self.updated.into(),
            ],
        );
    }

    pub(super) fn shown(&self) -> Value {
        let mut shown = json!({
            "assessment_id": self.id,
            "assessment_name": self.name,
            "trace_id": self.trace,
        });
        if let Some(span) = &self.span {
            shown["span_id"] = json!(span);
        }
        shown["source"] = json!({ "source_type": self.source });
        if let Some(id) = &self.source_id {
            shown["source"]["source_id"] = json!(id);
        }
        shown["create_time"] = json!(shown_time(self.created));
        shown["last_update_time"] = json!(shown_time(self.updated));
        shown[&self.kind] = self.said();
        for (name, word) in [("rationale", &self.rationale), ("overrides", &self.overrides)] {
            if let Some(word) = word {
                shown[name] = json!(word);
            }
        }
        if !self.metadata.is_empty() {
            shown["metadata"] = Value::Object(self.metadata.clone());
        }
        shown["valid"] = json!(self.valid);
        shown
    }

    fn said(&self) -> Value {
        let nested = self.value.is_array() || self.value.is_object();
        match self.kind.as_str() {
            "issue" => self.value.clone(),
            "expectation" if nested => json!({ "serialized_value": {
                "serialization_format": "JSON_FORMAT",
                "value": json_text(&self.value),
            } }),
            _ => {
                let mut said = json!({ "value": real_numbers(&self.value) });
                if let Some(error) = &self.error {
                    said["error"] = error.clone();
                }
                said
            }
        }
    }
}
