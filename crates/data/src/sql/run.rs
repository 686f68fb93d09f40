//! How is a model run? Its inputs are opened at the versions that the build recorded, the query
//! runs under the memory limit, and the rows become the next version of the model's table.

use std::collections::BTreeSet;

use datafusion::{arrow::datatypes::SchemaRef, arrow::record_batch::RecordBatch};
use sextant_core::{ActivityKind, Failure, Place};
use sextant_lineage::Act;
use sextant_project::{BuildContext, Built};

use super::SqlAsset;
use crate::{
    engine::{is_out_of_memory, register_table},
    error::{DataError, Result},
    query::{self, SqlFault},
    table::{self, NewTable, TableMeta, rows::column_fault},
};

/// One input, opened at its version.
struct Input {
    schema: Option<String>,
    table: String,
    meta: TableMeta,
}

pub(super) fn build(
    asset: &SqlAsset,
    context: &BuildContext<'_>,
    act: &mut Act,
) -> Result<Built, Failure> {
    // Rows that come from no table were written by the author of the SQL.
    let authored = asset.parsed.tables.is_empty();
    act.kind(if authored { ActivityKind::Author } else { ActivityKind::Transform });
    let compiled = asset.compiled_path(context)?;
    sextant_lineage::write_atomically(&compiled, asset.parsed.sql.as_bytes())
        .map_err(|source| DataError::Write { path: compiled.clone(), source })?;
    let mut inputs = Vec::new();
    let mut derived = BTreeSet::new();
    for (table, row) in asset.own_tables()? {
        act.used(row.version);
        derived.insert(row.version);
        inputs.push(open(asset, table, &row.meta.to_value())?);
    }
    for table in asset.parsed.tables.iter().filter(|table| !table.is_own()) {
        let input = context.input(&table.asset)?;
        derived.insert(input.version);
        inputs.push(open(asset, table, &input.meta)?);
    }
    let explain = |fault: SqlFault| located(asset, &compiled, fault);
    let (schema, batches) = run(asset, context, inputs)?.map_err(explain)?;
    check_columns(asset, &compiled, &schema)?;
    let new = NewTable::new(asset.id.clone(), asset.id.stem().to_owned(), &schema, &batches)?;
    let meta = asset.engine.write_table(context.cancel, new)?;
    let derived: Vec<_> = derived.into_iter().collect();
    let version = table::record(act, &meta, &derived)?;
    act.note("compiled", compiled.display().to_string());
    let same = context.previous.as_ref().is_some_and(|previous| previous.version == version);
    let outcome = if same { ", the same as before" } else { "" };
    let summary = format!("{} rows, {} columns{outcome}", meta.rows, meta.columns.len());
    Ok(Built { version, meta: meta.to_value(), summary })
}

fn open(asset: &SqlAsset, table: &super::TableRef, meta: &serde_json::Value) -> Result<Input> {
    let meta = TableMeta::from_value(meta)?;
    if table.schema.is_some() && meta.table != table.table {
        let source = table.asset.stem();
        return Err(DataError::Config {
            place: Place { file: asset.template.file.clone(), line: None, column: None },
            message: format!("the source {source} has no table `{}`", table.table),
            fix: format!("write {{{{ source('{source}', '{}') }}}}", meta.table),
        });
    }
    Ok(Input { schema: table.schema.clone(), table: table.table.clone(), meta })
}

type Rows = (SchemaRef, Vec<RecordBatch>);

fn run(
    asset: &SqlAsset,
    context: &BuildContext<'_>,
    inputs: Vec<Input>,
) -> Result<Result<Rows, SqlFault>> {
    let engine = asset.engine.clone();
    let statement = match query::parse(&asset.parsed.sql) {
        Ok(statement) => statement,
        Err(fault) => return Ok(Err(fault)),
    };
    let what = asset.id.to_string();
    asset.engine.block(Some(context.cancel), async move {
        let session = engine.session();
        for input in &inputs {
            let provider = engine.pinned(&input.meta).await?;
            register_table(&session, input.schema.as_deref(), &input.table, provider)?;
        }
        let frame = match query::plan(&session, statement).await {
            Ok(frame) => frame,
            Err(fault) => return Ok(Err(fault)),
        };
        match engine.gather(&what, frame).await {
            Ok(rows) => Ok(Ok(rows)),
            Err(crate::engine::CollectError::Query(error)) => Ok(Err(SqlFault::Engine(error))),
            Err(error) => Err(error.explain(&what, DataError::engine)),
        }
    })
}

fn located(asset: &SqlAsset, compiled: &std::path::Path, fault: SqlFault) -> DataError {
    let file = asset.template.file.clone();
    match fault {
        SqlFault::Refused(statement) => DataError::StatementRefused {
            place: Some(Place { file, line: None, column: None }),
            statement,
        },
        SqlFault::Engine(error) if query::is_of_storage(&error) => DataError::engine(error),
        SqlFault::Engine(error) if is_out_of_memory(&error) => {
            query::out_of_memory(asset.id.as_str(), &error)
        }
        SqlFault::Engine(error) => {
            let fault = query::describe(&error);
            let line = fault.line.and_then(|line| asset.template.line_of(&asset.parsed.sql, line));
            let compiled =
                Place { file: compiled.to_owned(), line: fault.line, column: fault.column };
            DataError::Sql {
                place: Some(Place { file, line, column: None }),
                message: fault.message,
                compiled: Some(compiled),
            }
        }
    }
}

fn check_columns(asset: &SqlAsset, compiled: &std::path::Path, schema: &SchemaRef) -> Result<()> {
    let refuse = |message: String| DataError::Sql {
        place: Some(Place { file: asset.template.file.clone(), line: None, column: None }),
        message,
        compiled: Some(Place { file: compiled.to_owned(), line: None, column: None }),
    };
    match column_fault(schema) {
        Some(message) => Err(refuse(message)),
        None => Ok(()),
    }
}
