//! May this release be promoted? Rules from `releases/*.toml`, judged on the figures of the
//! evaluation report that the release pins.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sextant_core::{ActivityKind, Digest, Failure, Timestamp};
use sextant_lineage::{Reader, Store};

use super::{ReleaseManifest, ReleaseSpec, Role, Rule};
use crate::{ProjectError, ReleaseError, nearest};

/// The figures of a report and what they are about.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// By name, such as `retrieval.hybrid.ndcg@10`.
    pub metrics: BTreeMap<String, f64>,
    /// The index that the report judged.
    pub index: Option<Digest>,
}

/// How one rule came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleVerdict {
    /// It holds.
    Holds,
    /// It does not hold.
    Refused,
    /// The report has no such figure, so it does not hold.
    Missing,
    /// It is about another way of retrieving than the release serves.
    NotApplicable,
}

/// One rule with its figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleResult {
    /// The rule in words: `retrieval.hybrid.ndcg@10 > retrieval.bm25.ndcg@10`.
    pub rule: String,
    /// The figure's name.
    pub metric: String,
    /// The figure.
    pub value: Option<f64>,
    /// What it was compared with.
    pub limit: Option<f64>,
    /// How it came out.
    pub verdict: RuleVerdict,
    /// More words where the figures do not explain it.
    pub detail: String,
}

/// What the gate said about a release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateVerdict {
    /// The release's name.
    pub release: String,
    /// The release.
    pub digest: Digest,
    /// Whether every rule that applies holds, and at least one applies where there are rules.
    pub passed: bool,
    /// Rule by rule.
    pub rules: Vec<RuleResult>,
    /// When.
    pub at: Timestamp,
}

impl GateVerdict {
    /// Rule, value, limit and verdict, one line each.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let width = self.rules.iter().map(|rule| rule.rule.len()).max().unwrap_or(0);
        let figure = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.4}"));
        for rule in &self.rules {
            let verdict = match rule.verdict {
                RuleVerdict::Holds => "holds",
                RuleVerdict::Refused => "refused",
                RuleVerdict::Missing => "missing",
                RuleVerdict::NotApplicable => "not applicable",
            };
            let (value, limit) = (figure(rule.value), figure(rule.limit));
            let line =
                format!("{:width$}  {value:>8}  {limit:>8}  {verdict} {}", rule.rule, rule.detail);
            let _ = writeln!(text, "  {}", line.trim_end());
        }
        text.trim_end().to_owned()
    }
}

/// Judges a release and keeps the verdict.
///
/// # Errors
/// Exit kind `GateRefused` when a rule does not hold, or when the report judged another index than
/// the release pins; the verdict is kept in the first case too.
pub fn gate(
    store: &Store,
    digest: &Digest,
    spec: &ReleaseSpec,
    evidence: &Evidence,
) -> Result<GateVerdict, Failure> {
    crate::migrate(store)?;
    let (manifest, _) = ReleaseManifest::read(&store.read()?, digest)?;
    let release = manifest.name.clone();
    let pinned = manifest.parts.get(&Role::Index).map(|part| part.version);
    if let Some(pinned) = pinned.filter(|_| !spec.gate.is_empty())
        && evidence.index != Some(pinned)
    {
        let judged = evidence.index.map_or("nothing it names".into(), |d| d.to_string());
        return Err(ReleaseError::GateVoid { release, judged, pinned }.into());
    }
    let mode = manifest.mode();
    let rules: Vec<RuleResult> =
        spec.gate.iter().flat_map(|rule| judge(rule, evidence, mode)).collect();
    let bad =
        |rule: &RuleResult| matches!(rule.verdict, RuleVerdict::Refused | RuleVerdict::Missing);
    // Rules of which none is about what the release serves have judged nothing.
    let judged = rules.iter().any(|rule| rule.verdict != RuleVerdict::NotApplicable);
    let passed = !rules.iter().any(bad) && (judged || rules.is_empty());
    let verdict = GateVerdict { release, digest: *digest, passed, rules, at: store.now() };
    keep(store, &manifest, &verdict)?;
    if verdict.passed {
        return Ok(verdict);
    }
    let (release, table) = (verdict.release.clone(), verdict.table());
    Err(ReleaseError::GateRefused { release, digest: *digest, table }.into())
}

fn keep(store: &Store, manifest: &ReleaseManifest, verdict: &GateVerdict) -> Result<(), Failure> {
    let mut act = store.begin(ActivityKind::Deploy, format!("gate release {}", manifest.name));
    act.used(verdict.digest);
    if let Some(report) = manifest.parts.get(&Role::Evaluation) {
        act.used(report.version);
    }
    let body = serde_json::to_value(verdict).unwrap_or_default();
    act.note("gate", &body);
    act.execute(
        "INSERT INTO project_gates (digest, seq, passed, verdict, at, activity)
         SELECT ?1, coalesce(max(seq), 0) + 1, ?2, ?3, ?4, ?5 FROM project_gates WHERE digest = ?1",
        vec![
            verdict.digest.into(),
            verdict.passed.into(),
            (&body).into(),
            verdict.at.into(),
            act.id().into(),
        ],
    );
    act.commit()?;
    Ok(())
}

/// The newest verdict on a release.
///
/// # Errors
/// When the catalog cannot be read.
pub fn last_verdict(reader: &Reader, digest: &Digest) -> Result<Option<GateVerdict>, Failure> {
    let sql = "SELECT verdict FROM project_gates WHERE digest = ?1 ORDER BY seq DESC LIMIT 1";
    let rows = reader.query(sql, &[digest.into()])?;
    let Some(row) = rows.first() else { return Ok(None) };
    serde_json::from_str(row.text(0)?).map(Some).map_err(|error| {
        let (key, message) = (digest.to_string(), error.to_string());
        ProjectError::BrokenRow { what: "gate verdict", key, message }.into()
    })
}

/// One rule may have up to three conditions, each a line of its own.
fn judge(rule: &Rule, evidence: &Evidence, mode: Option<&str>) -> Vec<RuleResult> {
    let metrics = &evidence.metrics;
    let value = metrics.get(&rule.metric).copied();
    let mut conditions: Vec<(String, Option<f64>, bool)> = Vec::new();
    if let Some(min) = rule.min {
        let holds = value.is_some_and(|value| value >= min);
        conditions.push((format!("{} >= {min}", rule.metric), Some(min), holds));
    }
    if let Some(max) = rule.max {
        let holds = value.is_some_and(|value| value <= max);
        conditions.push((format!("{} <= {max}", rule.metric), Some(max), holds));
    }
    if let Some(than) = &rule.than {
        let limit = metrics.get(than).copied();
        let holds = value.zip(limit).is_some_and(|(value, limit)| {
            if rule.allow_equal { value >= limit } else { value > limit }
        });
        let sign = if rule.allow_equal { ">=" } else { ">" };
        conditions.push((format!("{} {sign} {than}", rule.metric), limit, holds));
    }
    let missing = [Some(&rule.metric), rule.than.as_ref()]
        .into_iter()
        .flatten()
        .find(|name| !metrics.contains_key(*name));
    let other_mode = about_other_mode(rule, metrics, mode);
    let verdict_of = |holds: bool| match (&other_mode, missing, holds) {
        (Some(serves), _, _) => {
            (RuleVerdict::NotApplicable, format!("(the release serves {serves})"))
        }
        (None, Some(name), _) => {
            let near = nearest(name, metrics.keys().map(String::as_str));
            let near = near.map(|near| format!(", did you mean {near}?")).unwrap_or_default();
            (RuleVerdict::Missing, format!("(no figure {name}{near})"))
        }
        (None, None, true) => (RuleVerdict::Holds, String::new()),
        (None, None, false) => (RuleVerdict::Refused, String::new()),
    };
    let result = |(words, limit, holds)| {
        let (verdict, detail) = verdict_of(holds);
        RuleResult { rule: words, metric: rule.metric.clone(), value, limit, verdict, detail }
    };
    conditions.into_iter().map(result).collect()
}

/// A figure `<eval>.<mode>.<measure>` says nothing about a release that retrieves by another mode.
fn about_other_mode(
    rule: &Rule,
    metrics: &BTreeMap<String, f64>,
    mode: Option<&str>,
) -> Option<String> {
    let mode = mode?;
    let mode_of = |metric: &str| metric.split('.').nth(1).map(str::to_owned);
    let judged = mode_of(&rule.metric)?;
    let knows = |wanted: &str| metrics.keys().any(|name| mode_of(name).as_deref() == Some(wanted));
    (judged != mode && knows(&judged) && knows(mode)).then(|| mode.to_owned())
}

/// The figures of a nested report as flat names: `{"hybrid": {"ndcg@10": 0.5}}` under `retrieval`
/// is `retrieval.hybrid.ndcg@10`.
pub fn flatten_metrics(prefix: &str, report: &Value) -> BTreeMap<String, f64> {
    let mut flat = BTreeMap::new();
    let mut queue = vec![(prefix.to_owned(), report)];
    while let Some((name, value)) = queue.pop() {
        match value {
            Value::Object(map) => {
                let join = |key: &String| match name.as_str() {
                    "" => key.clone(),
                    _ => format!("{name}.{key}"),
                };
                queue.extend(map.iter().map(|(key, value)| (join(key), value)));
            }
            Value::Number(number) => {
                flat.extend(number.as_f64().map(|number| (name, number)));
            }
            Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) => {}
        }
    }
    flat
}
