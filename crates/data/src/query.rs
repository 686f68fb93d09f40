//! How are tables read? Queries over the latest versions, rows of a pinned version, and the list of
//! tables. Only SELECT and WITH run, and nothing here can reach a file or the network.

use std::collections::HashMap;

use datafusion::{
    arrow::{
        datatypes::{Field, Schema, SchemaRef},
        json::{WriterBuilder, writer::JsonArray},
        record_batch::RecordBatch,
    },
    common::DataFusionError,
    dataframe::DataFrame,
    execution::context::SQLOptions,
    logical_expr::LogicalPlan,
    prelude::SessionContext,
    sql::{parser::DFParser, parser::Statement, sqlparser::ast},
};
use serde::Serialize;
use serde_json::{Map, Value};
use sextant_core::{Cancel, Digest};

use crate::{
    DataEngine,
    catalog::{self, LatestTable},
    content::{self, Column},
    engine::{is_out_of_memory, register_table},
    error::{DataError, Result},
    table::{TableMeta, commits::OWN_TABLES},
};

/// Most rows that one query returns.
pub const QUERY_ROWS_MAX: usize = 100_000;

/// One table in the list of tables.
#[derive(Debug, Clone, Serialize)]
pub struct TableInfo {
    /// The asset that makes it.
    pub asset: String,
    /// The names it has in a query.
    pub names: Vec<String>,
    /// Its latest version.
    pub version: Digest,
    /// The Delta version that holds it.
    pub delta_version: u64,
    /// Its folder, relative to the data folder; its address when it is in a bucket.
    pub path: String,
    /// How many rows it has.
    pub rows: u64,
    /// Its columns.
    pub columns: Vec<Column>,
    /// When it was built.
    pub built_at: String,
}

/// What a query returned.
#[derive(Debug, Clone, Serialize)]
pub struct QueryResult {
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows, one value per column.
    pub rows: Vec<Vec<Value>>,
    /// Whether there were more rows than asked for.
    pub truncated: bool,
}

impl DataEngine {
    /// The latest version of every table.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn latest_tables(&self) -> Result<Vec<LatestTable>> {
        let mut tables = catalog::latest_tables(&self.store().read()?)?;
        if let Some(transaction) = self.transaction() {
            transaction.lay_over(&mut tables);
        }
        Ok(tables)
    }

    /// Every table with its latest version.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn tables(&self) -> Result<Vec<TableInfo>> {
        let latest = catalog::latest_tables(&self.store().read()?)?;
        let bare = bare_names(&latest);
        let info = |table: &LatestTable| TableInfo {
            asset: table.meta.asset.to_string(),
            names: names(&table.meta, &bare),
            version: table.version,
            delta_version: table.meta.delta_version,
            path: table.meta.path.clone(),
            rows: table.meta.rows,
            columns: table.meta.columns.clone(),
            built_at: table.built_at.to_string(),
        };
        Ok(latest.iter().map(info).collect())
    }

    /// Runs a query over the latest versions of all tables.
    ///
    /// # Errors
    /// When it is not a query, is wrong, or its result is too large.
    pub fn query(&self, sql: &str, limit: usize, cancel: &Cancel) -> Result<QueryResult> {
        let statement = parse(sql).map_err(SqlFault::without_file)?;
        self.select(statement, limit, None, cancel)
    }

    /// The rows of a planned query, up to a limit.
    pub(crate) async fn rows_of(&self, frame: DataFrame, limit: usize) -> Result<QueryResult> {
        let failed = |error| SqlFault::Engine(error).without_file();
        // How a query runs has few rows, and no step may stand around it.
        let explains =
            matches!(frame.logical_plan(), LogicalPlan::Explain(_) | LogicalPlan::Analyze(_));
        let frame = match explains {
            true => frame,
            false => frame.limit(0, Some(limit + 1)).map_err(DataError::engine)?,
        };
        let (schema, batches) = self
            .gather("the query", frame)
            .await
            .map_err(|error| error.explain("the query", failed))?;
        let mut rows = json_arrays(&schema, &batches)?;
        let truncated = rows.len() > limit;
        rows.truncate(limit);
        let columns = content::columns(&content::stored_schema(&schema));
        Ok(QueryResult { columns, rows, truncated })
    }

    pub(crate) async fn register_latest(
        &self,
        session: &SessionContext,
        meta: &TableMeta,
        bare: &HashMap<String, usize>,
    ) -> Result<()> {
        let provider = self.pinned(meta).await?;
        if bare.get(&meta.table) == Some(&1) {
            register_table(session, None, &meta.table, std::sync::Arc::clone(&provider))?;
        }
        match meta.asset.folder() {
            "sources" => register_table(session, Some(meta.asset.stem()), &meta.table, provider),
            OWN_TABLES => register_table(session, Some(OWN_TABLES), &meta.table, provider),
            _ => Ok(()),
        }
    }

    /// The rows of a table at its pinned version, as arrow; all columns when none are named.
    ///
    /// # Errors
    /// When the table or a column is not there.
    pub fn batches(
        &self,
        meta: &TableMeta,
        columns: &[&str],
    ) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let engine = self.clone();
        let meta = meta.clone();
        let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        self.block(None, async move {
            let columns = if columns.is_empty() { None } else { Some(columns.as_slice()) };
            engine.read_pinned(&meta, columns).await
        })
    }

    /// The rows of a table at its pinned version, as JSON; all columns when none are named.
    ///
    /// # Errors
    /// When the table or a column is not there.
    pub fn rows(&self, meta: &TableMeta, columns: &[&str]) -> Result<Vec<Map<String, Value>>> {
        let (_, batches) = self.batches(meta, columns)?;
        json_objects(&batches)
    }

    /// Where a table version is.
    ///
    /// # Errors
    /// When no table has that version.
    pub fn table_version(&self, version: &Digest) -> Result<TableMeta> {
        let found = catalog::table_version(&self.store().read()?, version)?;
        let found = found.map(|table| table.meta);
        found.ok_or_else(|| DataError::NotFound {
            what: "table version",
            name: version.to_string(),
            known: String::new(),
        })
    }

    /// Whether the pinned version still holds the rows that its digest names.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn verify(&self, meta: &TableMeta) -> Result<bool> {
        let engine = self.clone();
        let meta = meta.clone();
        self.block(None, async move { engine.is_whole(&meta).await })
    }
}

/// How many tables want each bare name.
pub fn bare_names(latest: &[LatestTable]) -> HashMap<String, usize> {
    let mut wanted = HashMap::new();
    for table in latest {
        *wanted.entry(table.meta.table.clone()).or_insert(0) += 1;
    }
    wanted
}

fn names(meta: &TableMeta, bare: &HashMap<String, usize>) -> Vec<String> {
    let mut names = Vec::new();
    if bare.get(&meta.table) == Some(&1) {
        names.push(meta.table.clone());
    }
    match meta.asset.folder() {
        "sources" => names.push(format!("{}.{}", meta.asset.stem(), meta.table)),
        OWN_TABLES => names.push(format!("{OWN_TABLES}.{}", meta.table)),
        _ => {}
    }
    names
}

/// Why SQL did not run.
#[derive(Debug)]
pub(crate) enum SqlFault {
    /// It is not a query; how it begins.
    Refused(String),
    Engine(DataFusionError),
}

impl SqlFault {
    pub(crate) fn without_file(self) -> DataError {
        match self {
            Self::Refused(statement) => DataError::StatementRefused { place: None, statement },
            Self::Engine(error) if is_of_storage(&error) => DataError::engine(error),
            Self::Engine(error) if is_out_of_memory(&error) => out_of_memory("the query", &error),
            Self::Engine(error) => {
                let fault = describe(&error);
                let at = fault.line.map_or_else(String::new, |line| format!(" (line {line})"));
                let message = format!("{}{at}", fault.message);
                DataError::Sql { place: None, message, compiled: None }
            }
        }
    }
}

/// The error of a query that wants more memory than there is for queries.
pub(crate) fn out_of_memory(what: &str, error: &DataFusionError) -> DataError {
    DataError::TooLarge {
        what: format!("what {what} holds in memory"),
        size: error.find_root().strip_backtrace(),
        limit: "the memory of queries".to_owned(),
    }
}

/// Whether stored files are at fault, not the SQL.
pub fn is_of_storage(error: &DataFusionError) -> bool {
    matches!(
        error.find_root(),
        DataFusionError::ParquetError(_)
            | DataFusionError::ObjectStore(_)
            | DataFusionError::IoError(_)
    )
}

/// Reads statements.
pub(crate) fn several(sql: &str) -> Result<Vec<Statement>, SqlFault> {
    Ok(DFParser::parse_sql(sql).map_err(SqlFault::Engine)?.into())
}

/// Reads one statement.
pub(crate) fn single(sql: &str) -> Result<Statement, SqlFault> {
    only(several(sql)?)
}

/// The statement, when it is alone.
pub(crate) fn only(statements: Vec<Statement>) -> Result<Statement, SqlFault> {
    let mut statements = statements.into_iter();
    match (statements.next(), statements.next()) {
        (Some(statement), None) => Ok(statement),
        (None, _) => Err(SqlFault::Refused("nothing".to_owned())),
        (Some(_), Some(second)) => {
            Err(SqlFault::Refused(format!("a second statement: {}", begin(&second))))
        }
    }
}

/// Reads one query. Anything that is not exactly one SELECT or WITH is refused.
pub(crate) fn parse(sql: &str) -> Result<Statement, SqlFault> {
    let statement = single(sql)?;
    match &statement {
        Statement::Statement(inner) if matches!(**inner, ast::Statement::Query(_)) => {}
        other => return Err(SqlFault::Refused(begin(other))),
    }
    Ok(statement)
}

/// Plans one query. The plan is checked again: a SELECT can hide a statement that writes.
pub(crate) async fn plan(
    context: &SessionContext,
    statement: Statement,
) -> Result<DataFrame, SqlFault> {
    let beginning = begin(&statement);
    let plan = context.state().statement_to_plan(statement).await.map_err(SqlFault::Engine)?;
    let options =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    if options.verify_plan(&plan).is_err() {
        return Err(SqlFault::Refused(beginning));
    }
    context.execute_logical_plan(plan).await.map_err(SqlFault::Engine)
}

pub(crate) fn begin(statement: &Statement) -> String {
    let text = statement.to_string();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// An error of the SQL engine in plain words.
pub struct Described {
    /// What is wrong.
    pub message: String,
    /// The line of the SQL, when it is known.
    pub line: Option<usize>,
    /// The column in that line, when it is known.
    pub column: Option<usize>,
}

/// What an error of the SQL engine says, and where.
pub fn describe(error: &DataFusionError) -> Described {
    let span = error.diagnostic().and_then(|diagnostic| diagnostic.span);
    let text = error.find_root().strip_backtrace();
    let after = |marker: &str| -> Option<usize> {
        let rest = text.split_once(marker)?.1;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    let place = |from_span: Option<u64>, marker: &str| {
        from_span
            .and_then(|number| usize::try_from(number).ok())
            .filter(|number| *number > 0)
            .or_else(|| after(marker))
    };
    let line = place(span.map(|span| span.start.line), "Line: ");
    let column = place(span.map(|span| span.start.column), "Column: ");
    let message = tidy(&text);
    Described { message, line, column }
}

/// The engine's words without its names for kinds of error.
pub(crate) fn tidy(text: &str) -> String {
    let mut message = text;
    for noise in [
        "Generic DeltaTable error: ",
        "Generic error: ",
        "External error: ",
        "SQL error: ",
        "Error during planning: ",
        "Schema error: ",
        "Execution error: ",
        "Arrow error: ",
    ] {
        message = message.strip_prefix(noise).unwrap_or(message);
    }
    message
        .strip_prefix("ParserError(\"")
        .and_then(|inner| inner.strip_suffix("\")"))
        .unwrap_or(message)
        .replace("\\\"", "\"")
        .replace("datafusion.public.", "")
}

/// Each row as a JSON object.
pub fn json_objects(batches: &[RecordBatch]) -> Result<Vec<Map<String, Value>>> {
    let mut writer =
        WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(Vec::new());
    for batch in batches {
        writer.write(batch).map_err(DataError::engine)?;
    }
    writer.finish().map_err(DataError::engine)?;
    let bytes = writer.into_inner();
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_slice(&bytes).map_err(DataError::engine)
}

/// Each row as a JSON array. Two columns of the same name stay two.
fn json_arrays(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<Vec<Value>>> {
    let numbered = |(index, field): (usize, &std::sync::Arc<Field>)| {
        Field::new(index.to_string(), field.data_type().clone(), true)
    };
    let fields: Vec<Field> = schema.fields().iter().enumerate().map(numbered).collect();
    let schema = std::sync::Arc::new(Schema::new(fields));
    let mut renamed = Vec::with_capacity(batches.len());
    for batch in batches.iter().filter(|batch| batch.num_columns() > 0) {
        let columns = batch.columns().to_vec();
        let batch = RecordBatch::try_new(std::sync::Arc::clone(&schema), columns);
        renamed.push(batch.map_err(DataError::engine)?);
    }
    let rows = json_objects(&renamed)?;
    Ok(rows.into_iter().map(|row| row.into_iter().map(|(_, value)| value).collect()).collect())
}
