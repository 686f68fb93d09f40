//! What is told of a trace as a whole? When, how long, in which state, with which tags, metadata and
//! assessments; as MLflow 3 shows it, and as MLflow 2 did.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use sextant_lineage::{Act, Reader, Row};

use super::{
    super::{Mlflow, Refusal, batch::cut},
    COSTS, SESSION, TOKENS,
    assessment::{self, Assessment},
    no_trace,
    text::{shown_duration, shown_time},
};

pub(super) const COLUMNS: &str =
    "id, experiment, started, duration, state, client_request, request, response";
const METADATA_CHARS_MAX: usize = 250;
const TAG_SHOWN_CHARS_MAX: usize = 4096;
/// What stands before the rest, as stock's columns do.
const FIRST: [&str; 3] = [SESSION, TOKENS, COSTS];

/// A trace as the catalog has it.
#[derive(Debug, Clone)]
pub(super) struct Info {
    pub(super) id: String,
    pub(super) experiment: i64,
    /// Milliseconds since 1970.
    pub(super) started: i64,
    pub(super) duration: Option<i64>,
    pub(super) state: String,
    pub(super) client_request: Option<String>,
    pub(super) request: Option<String>,
    pub(super) response: Option<String>,
    pub(super) tags: Vec<(String, String)>,
    pub(super) metadata: Vec<(String, String)>,
    pub(super) assessments: Vec<Assessment>,
}

impl Info {
    /// A trace of which only the name is known.
    pub(super) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            experiment: 0,
            started: 0,
            duration: None,
            state: String::new(),
            client_request: None,
            request: None,
            response: None,
            tags: Vec::new(),
            metadata: Vec::new(),
            assessments: Vec::new(),
        }
    }

    fn of(row: &Row) -> Result<Self, Refusal> {
        let text = |column| Ok::<_, Refusal>(row.opt_text(column)?.map(str::to_owned));
        Ok(Self {
            experiment: row.int(1)?,
            started: row.int(2)?,
            duration: row.opt_int(3)?,
            state: row.text(4)?.to_owned(),
            client_request: text(5)?,
            request: text(6)?,
            response: text(7)?,
            ..Self::new(row.text(0)?)
        })
    }

    pub(super) fn tag(&self, key: &str) -> Option<&str> {
        value(&self.tags, key)
    }

    pub(super) fn told(&self, key: &str) -> Option<&str> {
        value(&self.metadata, key)
    }

    /// As MLflow 3 shows it.
    pub(super) fn shown(&self) -> Value {
        let mut shown = json!({ "trace_id": self.id });
        if let Some(id) = &self.client_request {
            shown["client_request_id"] = json!(id);
        }
        shown["trace_location"] = json!({
            "type": "MLFLOW_EXPERIMENT",
            "mlflow_experiment": { "experiment_id": self.experiment.to_string() },
        });
        shown["request_time"] = json!(shown_time(self.started));
        if let Some(duration) = self.duration {
            shown["execution_duration"] = json!(shown_duration(duration));
        }
        shown["state"] = json!(self.state);
        for (name, preview) in
            [("request_preview", &self.request), ("response_preview", &self.response)]
        {
            if let Some(preview) = preview {
                shown[name] = json!(preview);
            }
        }
        for (name, pairs, most) in [
            ("trace_metadata", &self.metadata, METADATA_CHARS_MAX),
            ("tags", &self.tags, TAG_SHOWN_CHARS_MAX),
        ] {
            let short = |(key, value): &(String, String)| {
                (cut(key, METADATA_CHARS_MAX).to_owned(), json!(cut(value, most)))
            };
            if !pairs.is_empty() {
                shown[name] = pairs.iter().map(short).collect::<Map<_, _>>().into();
            }
        }
        if !self.assessments.is_empty() {
            shown["assessments"] = self.assessments.iter().map(Assessment::shown).collect();
        }
        shown
    }

    /// As MLflow 2 showed it.
    pub(super) fn shown_old(&self) -> Value {
        let pairs = |pairs: &[(String, String)], most: usize| -> Value {
            let short = |(key, value): &(String, String)| json!({ "key": cut(key, METADATA_CHARS_MAX), "value": cut(value, most) });
            pairs.iter().map(short).collect()
        };
        let state = match self.state.as_str() {
            "STATE_UNSPECIFIED" => "TRACE_STATUS_UNSPECIFIED",
            state => state,
        };
        let mut shown = json!({
            "request_id": self.id,
            "experiment_id": self.experiment.to_string(),
            "timestamp_ms": self.started,
            "execution_time_ms": self.duration.unwrap_or_default(),
            "status": state,
        });
        for (name, list) in [
            ("request_metadata", pairs(&self.metadata, METADATA_CHARS_MAX)),
            ("tags", pairs(&self.tags, TAG_SHOWN_CHARS_MAX)),
        ] {
            if list.as_array().is_some_and(|list| !list.is_empty()) {
                shown[name] = list;
            }
        }
        shown
    }

    /// Writes everything but tags, metadata and assessments.
    pub(super) fn put(&self, act: &mut Act) {
        act.execute(
            "INSERT INTO mlflow_traces
                 (id, experiment, started, duration, state, client_request, request, response)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (id) DO UPDATE SET
                 experiment = excluded.experiment, started = excluded.started,
                 duration = excluded.duration, state = excluded.state,
                 client_request = excluded.client_request, request = excluded.request,
                 response = excluded.response",
            vec![
                (&self.id).into(),
                self.experiment.into(),
                self.started.into(),
                self.duration.into(),
                self.state.as_str().into(),
                self.client_request.as_deref().into(),
                self.request.as_deref().into(),
                self.response.as_deref().into(),
            ],
        );
    }
}

fn value<'a>(pairs: &'a [(String, String)], key: &str) -> Option<&'a str> {
    pairs.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
}

/// Sets a tag of a trace.
pub(super) fn put_tag(act: &mut Act, trace: &str, key: &str, value: &str) {
    put_pair(act, "mlflow_trace_tags", trace, key, value);
}

/// Sets metadata of a trace.
pub(super) fn put_metadata(act: &mut Act, trace: &str, key: &str, value: &str) {
    put_pair(act, "mlflow_trace_metadata", trace, key, value);
}

fn put_pair(act: &mut Act, table: &str, trace: &str, key: &str, value: &str) {
    act.execute(
        &format!(
            "INSERT INTO {table} (trace, key, value) VALUES (?1, ?2, ?3)
             ON CONFLICT (trace, key) DO UPDATE SET value = excluded.value"
        ),
        vec![trace.into(), key.into(), value.into()],
    );
}

impl Mlflow {
    /// The traces in these rows, with all that is told of them.
    pub(super) fn infos(&self, reader: &Reader, rows: &[Row]) -> Result<Vec<Info>, Refusal> {
        let mut infos: Vec<Info> = rows.iter().map(Info::of).collect::<Result<_, _>>()?;
        let ids = json!(infos.iter().map(|info| info.id.as_str()).collect::<Vec<_>>()).to_string();
        let places: HashMap<String, usize> =
            infos.iter().enumerate().map(|(place, info)| (info.id.clone(), place)).collect();
        let place = |row: &Row, column: usize| {
            Ok::<_, Refusal>(places.get(row.text(column)?).copied().unwrap_or_default())
        };
        for (table, is_tag) in [("mlflow_trace_tags", true), ("mlflow_trace_metadata", false)] {
            let sql = format!(
                "SELECT trace, key, value FROM {table}
                 WHERE trace IN (SELECT value FROM json_each(?1)) ORDER BY trace, key"
            );
            for row in reader.query(&sql, &[(&ids).into()])? {
                let info = &mut infos[place(&row, 0)?];
                let pairs = if is_tag { &mut info.tags } else { &mut info.metadata };
                pairs.push((row.text(1)?.to_owned(), row.text(2)?.to_owned()));
            }
        }
        for info in &mut infos {
            let first = |key: &str| FIRST.iter().position(|known| *known == key);
            info.metadata.sort_by_key(|(key, _)| first(key).unwrap_or(FIRST.len()));
        }
        let sql = format!(
            "SELECT {} FROM mlflow_assessments WHERE trace IN (SELECT value FROM json_each(?1))
             ORDER BY trace, created, rowid",
            assessment::COLUMNS
        );
        for row in reader.query(&sql, &[(&ids).into()])? {
            let assessment = Assessment::of(&row)?;
            if let Some(place) = places.get(&assessment.trace) {
                infos[*place].assessments.push(assessment);
            }
        }
        Ok(infos)
    }

    /// The traces with these ids, in their order, each once.
    pub(super) fn infos_of(&self, reader: &Reader, ids: &[&str]) -> Result<Vec<Info>, Refusal> {
        let sql = format!(
            "SELECT {COLUMNS} FROM mlflow_traces WHERE id IN (SELECT value FROM json_each(?1))"
        );
        let rows = reader.query(&sql, &[json!(ids).to_string().into()])?;
        let mut infos = self.infos(reader, &rows)?;
        infos.sort_by_key(|info| ids.iter().position(|id| *id == info.id));
        Ok(infos)
    }

    /// The trace with this id, when there is one.
    pub(super) fn info_if(&self, reader: &Reader, id: &str) -> Result<Option<Info>, Refusal> {
        Ok(self.infos_of(reader, &[id])?.pop())
    }

    /// The trace with this id.
    pub(super) fn info(&self, reader: &Reader, id: &str) -> Result<Info, Refusal> {
        self.info_if(reader, id)?.ok_or_else(|| no_trace(id))
    }
}
