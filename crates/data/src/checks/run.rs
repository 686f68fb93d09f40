//! Which rows break a check? One scan counts the failures of all checks of a table; only a check
//! that fails costs another scan, for its rows. The report is stored whether the checks pass or
//! not, so that the failing rows can be seen although nothing downstream is built.

use datafusion::{
    arrow::{array::AsArray, datatypes::Int64Type},
    prelude::SessionContext,
};
use serde_json::{Map, Value, json};
use sextant_core::{ActivityKind, ArtifactKind, Digest, EdgeKind, Failure, canonical_json};
use sextant_lineage::{Act, Store};
use sextant_project::{AssetId, BuildContext, Built, nearest};

use super::{Check, ChecksAsset, Rule, Severity, yaml};
use crate::{
    DataEngine, catalog,
    engine::register_table,
    error::{DataError, Result},
    query,
    table::TableMeta,
};

/// Failing rows kept per check; their full number is always kept.
const ROWS_MAX: usize = 500;
/// The table under test, as our queries call it.
const CHECKED: &str = "\"checked\"";

/// What one check found.
#[derive(Debug)]
struct Outcome {
    failures: u64,
    rows: Vec<Map<String, Value>>,
}

pub(super) fn build(
    asset: &ChecksAsset,
    context: &BuildContext<'_>,
    act: &mut Act,
) -> Result<Built, Failure> {
    act.kind(ActivityKind::Check);
    let input = context.input(&asset.model)?;
    let meta = TableMeta::from_value(&input.meta)?;
    let mut parents = Vec::new();
    for check in &asset.checks {
        check_column(asset, check, &meta, check.rule.column())?;
        if let Rule::Relationships { to, field, .. } = &check.rule {
            let parent = TableMeta::from_value(&context.input(to)?.meta)?;
            check_column(asset, check, &parent, Some(field))?;
            parents.push(parent);
        }
    }
    let work = run(asset.engine.clone(), asset.checks.clone(), meta.clone(), parents);
    let outcomes = asset.engine.block(Some(context.cancel), work)?;
    tell(asset, context, &outcomes);
    let report = Report { asset, meta: &meta, table: input.version, outcomes: &outcomes };
    let failed = report.failed();
    if failed.is_empty() {
        let version = report.record(act)?;
        let meta = json!({ "checks": asset.checks.len(), "warnings": report.warnings(), "rows": meta.rows });
        return Ok(Built { version, meta, summary: report.summary() });
    }
    // The build's own act is dropped with this error; the report must outlive it.
    let mut own = context.store.begin(ActivityKind::Check, format!("failed {}", asset.id));
    for input in context.inputs.values() {
        own.used(input.version);
    }
    report.record(&mut own)?;
    own.commit().map_err(DataError::from)?;
    let total = asset.checks.len();
    Err(DataError::ChecksFailed { asset: asset.id.clone(), failed, total }.into())
}

fn check_column(
    asset: &ChecksAsset,
    check: &Check,
    meta: &TableMeta,
    column: Option<&str>,
) -> Result<()> {
    let Some(column) = column else { return Ok(()) };
    let names = || meta.columns.iter().map(|known| known.name.as_str());
    if names().any(|known| known == column) {
        return Ok(());
    }
    let list = names().collect::<Vec<_>>().join(", ");
    let fix = match nearest(column, names()) {
        Some(meant) => format!("did you mean `{meant}`? The columns are: {list}"),
        None => format!("the columns are: {list}"),
    };
    let message = format!("the table of {} has no column `{column}`", meta.asset);
    Err(DataError::Config { place: yaml::place(&asset.file, check), message, fix })
}

fn tell(asset: &ChecksAsset, context: &BuildContext<'_>, outcomes: &[Outcome]) {
    for (check, outcome) in asset.checks.iter().zip(outcomes) {
        if outcome.failures > 0 && check.severity == Severity::Warn {
            context.events.warn(format!("{}: {} failing rows", check.name, outcome.failures));
        }
    }
}

struct Report<'a> {
    asset: &'a ChecksAsset,
    meta: &'a TableMeta,
    table: Digest,
    outcomes: &'a [Outcome],
}

impl Report<'_> {
    fn pairs(&self) -> impl Iterator<Item = (&Check, &Outcome)> {
        self.asset.checks.iter().zip(self.outcomes)
    }

    fn failed(&self) -> Vec<String> {
        self.pairs()
            .filter(|(check, outcome)| outcome.failures > 0 && check.severity == Severity::Error)
            .map(|(check, outcome)| format!("{} ({})", check.name, outcome.failures))
            .collect()
    }

    fn warnings(&self) -> usize {
        self.pairs()
            .filter(|(check, outcome)| outcome.failures > 0 && check.severity == Severity::Warn)
            .count()
    }

    fn summary(&self) -> String {
        let total = self.asset.checks.len();
        match self.warnings() {
            0 => format!("{total} checks passed on {} rows", self.meta.rows),
            warnings => format!("{} of {total} checks passed, {warnings} warned", total - warnings),
        }
    }

    fn record(&self, act: &mut Act) -> Result<Digest> {
        let mut checks = Vec::new();
        for (check, outcome) in self.pairs() {
            let rows = if outcome.rows.is_empty() {
                None
            } else {
                Some(act.blob(&canonical_json(&outcome.rows).map_err(DataError::engine)?)?)
            };
            let mut entry = serde_json::to_value(check).map_err(DataError::engine)?;
            if let Value::Object(map) = &mut entry {
                map.insert("failures".to_owned(), json!(outcome.failures));
                map.insert("stored".to_owned(), json!(outcome.rows.len()));
                map.insert("rows".to_owned(), json!(rows));
            }
            checks.push(entry);
        }
        let passed = self.failed().is_empty();
        let body = json!({
            "kind": "check_report",
            "asset": self.asset.id,
            "table": self.meta.asset,
            "table_version": self.table,
            "rows": self.meta.rows,
            "checks": checks,
            "passed": passed,
        });
        let report = act.manifest(ArtifactKind::CheckReport, &body, &[])?;
        act.edge(report, EdgeKind::EvaluatedOn, self.table);
        catalog::put_report(act, self.asset.id.as_str(), report, self.table, passed);
        Ok(report)
    }
}

async fn run(
    engine: DataEngine,
    checks: Vec<Check>,
    meta: TableMeta,
    parents: Vec<TableMeta>,
) -> Result<Vec<Outcome>> {
    let session = engine.session();
    register_table(&session, None, "checked", engine.pinned(&meta).await?)?;
    for parent in &parents {
        let provider = engine.pinned(parent).await?;
        register_table(&session, Some("parents"), parent.asset.stem(), provider)?;
    }
    let aggregates: Vec<String> =
        checks.iter().enumerate().map(|(index, check)| count(index, &check.rule)).collect();
    let sql = format!("SELECT {} FROM {CHECKED}", aggregates.join(", "));
    let counts = counts(&session, &sql, checks.len()).await?;
    let mut outcomes = Vec::with_capacity(checks.len());
    for (check, counted) in checks.iter().zip(counts) {
        outcomes.push(outcome(&engine, &session, &check.rule, counted, meta.rows).await?);
    }
    Ok(outcomes)
}

async fn counts(session: &SessionContext, sql: &str, checks: usize) -> Result<Vec<u64>> {
    let frame = session.sql(sql).await.map_err(DataError::engine)?;
    let batches = frame.collect().await.map_err(DataError::engine)?;
    let row = batches.iter().find(|batch| batch.num_rows() > 0);
    let row = row.ok_or_else(|| DataError::engine("a count returned no row"))?;
    let count = |index: usize| {
        let column = datafusion::arrow::compute::cast(
            row.column(index),
            &datafusion::arrow::datatypes::DataType::Int64,
        )
        .map_err(DataError::engine)?;
        Ok(column.as_primitive::<Int64Type>().value(0).unsigned_abs())
    };
    (0..checks).map(count).collect()
}

async fn outcome(
    engine: &DataEngine,
    session: &SessionContext,
    rule: &Rule,
    counted: u64,
    rows: u64,
) -> Result<Outcome> {
    let pass = Outcome { failures: 0, rows: Vec::new() };
    if let Rule::RowCount { min, max } = rule {
        let fits = min.is_none_or(|min| rows >= min) && max.is_none_or(|max| rows <= max);
        if fits {
            return Ok(pass);
        }
        let row = json!({ "rows": rows, "min": min, "max": max });
        let rows = row.as_object().cloned().into_iter().collect();
        return Ok(Outcome { failures: 1, rows });
    }
    let Some(predicate) = failing(rule).filter(|_| counted > 0) else { return Ok(pass) };
    let sql = format!("SELECT count(*) FROM {CHECKED} WHERE {predicate}");
    let failures = match rule {
        // The first scan counted surplus rows; a reader wants all rows that share a value.
        Rule::Unique { .. } => counts(session, &sql, 1).await?.first().copied().unwrap_or(counted),
        _ => counted,
    };
    let sql = format!("SELECT * FROM {CHECKED} WHERE {predicate} LIMIT {ROWS_MAX}");
    let frame = session.sql(&sql).await.map_err(DataError::engine)?;
    let stream = frame.execute_stream().await.map_err(DataError::engine)?;
    let collected = engine.collect("failing rows", stream).await;
    let (_, batches) =
        collected.map_err(|error| error.explain("failing rows", DataError::engine))?;
    Ok(Outcome { failures, rows: query::json_objects(&batches)? })
}

/// The expression that counts a check's failures in the common scan.
fn count(index: usize, rule: &Rule) -> String {
    let expression = match rule {
        Rule::Unique { column } => {
            let column = identifier(column);
            format!("count({column}) - count(DISTINCT {column})")
        }
        Rule::RowCount { .. } => "count(*)".to_owned(),
        Rule::Relationships { .. } => {
            let predicate = failing(rule).unwrap_or_default();
            format!("(SELECT count(*) FROM {CHECKED} WHERE {predicate})")
        }
        Rule::NotNull { .. } | Rule::AcceptedValues { .. } => {
            let predicate = failing(rule).unwrap_or_default();
            format!("count(*) FILTER (WHERE {predicate})")
        }
    };
    format!("{expression} AS c{index}")
}

/// What is true of a failing row; `None` where rows cannot fail one by one.
fn failing(rule: &Rule) -> Option<String> {
    match rule {
        Rule::NotNull { column } => Some(format!("{} IS NULL", identifier(column))),
        Rule::Unique { column } => {
            let column = identifier(column);
            Some(format!(
                "{column} IN (SELECT {column} FROM {CHECKED} WHERE {column} IS NOT NULL \
                 GROUP BY {column} HAVING count(*) > 1)"
            ))
        }
        Rule::AcceptedValues { column, values } => {
            let column = identifier(column);
            let values: Vec<String> = values.iter().map(|value| literal(value)).collect();
            let values = values.join(", ");
            Some(format!("{column} IS NOT NULL AND CAST({column} AS VARCHAR) NOT IN ({values})"))
        }
        Rule::Relationships { column, to, field } => {
            let (column, field, to) =
                (identifier(column), identifier(field), identifier(to.stem()));
            Some(format!(
                "{column} IS NOT NULL AND {column} NOT IN \
                 (SELECT {field} FROM \"parents\".{to} WHERE {field} IS NOT NULL)"
            ))
        }
        Rule::RowCount { .. } => None,
    }
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The newest report with its rows.
pub(super) fn failures(store: &Store, asset: &AssetId) -> Result<Value> {
    let reader = store.read()?;
    let found = catalog::latest_report(&reader, asset.as_str())?;
    let (report, at) = found.ok_or_else(|| DataError::NotFound {
        what: "check report of",
        name: asset.to_string(),
        known: String::new(),
    })?;
    let mut body: Value =
        serde_json::from_slice(&store.blob(&report)?).map_err(DataError::engine)?;
    if let Some(checks) = body.get_mut("checks").and_then(Value::as_array_mut) {
        for check in checks {
            let blob: Option<Digest> =
                check.get("rows").and_then(Value::as_str).and_then(|text| text.parse().ok());
            let rows: Value = match blob {
                Some(blob) => {
                    serde_json::from_slice(&store.blob(&blob)?).map_err(DataError::engine)?
                }
                None => json!([]),
            };
            if let Value::Object(map) = check {
                map.insert("rows".to_owned(), rows);
            }
        }
    }
    if let Value::Object(map) = &mut body {
        map.insert("report".to_owned(), json!(report));
        map.insert("at".to_owned(), at);
    }
    Ok(body)
}
