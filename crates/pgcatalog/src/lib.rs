//! How do other programs query the tables, over the PostgreSQL wire and over Flight SQL? [`SqlDoor`]
//! plans and runs their queries, each over the newest version of every table when it begins, in a
//! session of its own that holds those tables, the catalog that such programs ask for, and nothing
//! that writes.

#![deny(missing_docs)]

mod catalog;
mod cells;
mod fault;
mod flight;
mod functions;
mod relations;
mod rewrite;

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::DataType,
    common::{ParamValues, TableReference},
    execution::context::SQLOptions,
    logical_expr::LogicalPlan,
    prelude::SessionContext,
    sql::{
        parser::{DFParserBuilder, Statement},
        sqlparser::{ast, dialect::PostgreSqlDialect},
    },
};
use futures::StreamExt as _;
use sextant_core::Cancel;
use sextant_sqlwire::{Column, Kind, Parameter, Portion, Prepared, SqlEngine, SqlFault};
use tokio::sync::mpsc;

use fault::{engine_fault, fault};
use sextant_data::{DataEngine, DataError, register_table};

/// Rows that are handed over at once.
const PORTION_ROWS: usize = 1024;

/// Answers the queries of other programs. Clones share everything.
#[derive(Clone, Debug)]
pub struct SqlDoor(DataEngine);

impl SqlDoor {
    /// A door to the tables of this engine.
    pub const fn new(engine: DataEngine) -> Self {
        Self(engine)
    }
}

impl SqlEngine for SqlDoor {
    fn prepare(
        &self,
        sql: &str,
        declared: &[Option<Kind>],
        cancel: &Cancel,
    ) -> Result<Prepared, SqlFault> {
        let (door, sql, declared) = (self.clone(), sql.to_owned(), declared.to_vec());
        self.wait(cancel, async move {
            let (_, plan) = door.plan(&sql).await?;
            let parameters = parameters(&plan, &declared)?;
            let nulls = parameters.iter().map(|kind| cells::null(*kind)).collect::<Result<_, _>>();
            let plan = bind(plan, nulls.map_err(engine_fault)?)?;
            Ok(Prepared { parameters, columns: columns(&plan) })
        })
    }

    fn run(
        &self,
        sql: &str,
        parameters: Vec<Parameter>,
        portions: mpsc::Sender<Portion>,
        cancel: &Cancel,
    ) -> Result<(), SqlFault> {
        let (door, sql) = (self.clone(), sql.to_owned());
        self.wait(cancel, async move { door.stream(&sql, parameters, portions).await })
    }
}

impl SqlDoor {
    fn wait<T: Send + 'static>(
        &self,
        cancel: &Cancel,
        work: impl Future<Output = Result<T, SqlFault>> + Send + 'static,
    ) -> Result<T, SqlFault> {
        self.0.block_query(Some(cancel), async move { Ok(work.await) }).map_err(fault)?
    }

    async fn stream(
        &self,
        sql: &str,
        parameters: Vec<Parameter>,
        portions: mpsc::Sender<Portion>,
    ) -> Result<(), SqlFault> {
        let (session, plan) = self.plan(sql).await?;
        let values = parameters.into_iter().map(cells::scalar).collect::<Result<_, _>>();
        let plan = bind(plan, values.map_err(engine_fault)?)?;
        let columns = columns(&plan);
        let kinds: Vec<Kind> = columns.iter().map(|column| column.kind).collect();
        let frame = session.execute_logical_plan(plan).await.map_err(engine_fault)?;
        let mut stream = frame.execute_stream().await.map_err(engine_fault)?;
        // Nobody takes the portions any more when the client left: that is no failure.
        if portions.send(Portion::Columns(columns)).await.is_err() {
            return Ok(());
        }
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(engine_fault)?;
            for start in (0..batch.num_rows()).step_by(PORTION_ROWS) {
                let part = batch.slice(start, PORTION_ROWS.min(batch.num_rows() - start));
                let rows =
                    cells::rows(&part, &kinds).map_err(|error| engine_fault(error.into()))?;
                if portions.send(Portion::Rows(rows)).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Plans one query. The plan is checked: a query can hide a statement that writes.
    async fn plan(&self, sql: &str) -> Result<(SessionContext, LogicalPlan), SqlFault> {
        let latest = self.0.latest_tables().map_err(fault)?;
        let tables = catalog::Tables::new(&latest);
        let mut statement = parse(sql)?;
        if let Some(query) = query_of(&mut statement) {
            rewrite::rewrite(query, &tables);
        }
        let session = self.0.session();
        functions::register(&session, &tables);
        let state = session.state();
        let wanted = state.resolve_table_references(&statement).map_err(engine_fault)?;
        self.register(&session, &tables, &wanted).await.map_err(fault)?;
        let begin = statement.to_string();
        let plan = session.state().statement_to_plan(statement).await.map_err(engine_fault)?;
        let options = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        if options.verify_plan(&plan).is_err() {
            return Err(refused(&begin));
        }
        Ok((session, plan))
    }

    async fn register(
        &self,
        session: &SessionContext,
        tables: &catalog::Tables<'_>,
        wanted: &[TableReference],
    ) -> Result<(), DataError> {
        for name in wanted {
            if let Some(relation) = catalog::relation(name.schema(), name.table()) {
                let table = tables.build(relation).map_err(DataError::engine)?;
                register_table(session, name.schema(), name.table(), table)?;
            } else if let Some(meta) = tables.find(name.schema(), name.table()) {
                let table = self.0.pinned(meta).await?;
                let schema = name.schema().filter(|schema| *schema != catalog::PUBLIC);
                register_table(session, schema, name.table(), table)?;
            }
        }
        Ok(())
    }
}

/// Reads one query, or EXPLAIN of one. Everything else is refused.
fn parse(sql: &str) -> Result<Statement, SqlFault> {
    let parser = DFParserBuilder::new(sql).with_dialect(&PostgreSqlDialect {}).build();
    let statements = parser.and_then(|mut parser| parser.parse_statements());
    let mut statements = statements.map_err(engine_fault)?;
    let Some(mut statement) = statements.pop_front() else { return Err(refused("nothing")) };
    if statements.is_empty() && query_of(&mut statement).is_some() {
        return Ok(statement);
    }
    Err(refused(&statement.to_string()))
}

fn query_of(statement: &mut Statement) -> Option<&mut ast::Query> {
    match statement {
        Statement::Statement(inner) => match &mut **inner {
            ast::Statement::Query(query) => Some(query),
            _ => None,
        },
        Statement::Explain(explain) => query_of(&mut explain.statement),
        _ => None,
    }
}

fn refused(statement: &str) -> SqlFault {
    let statement = statement.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    fault(DataError::StatementRefused { place: None, statement })
}

/// The type of each parameter: what the client declared, else what the engine infers, else text.
fn parameters(plan: &LogicalPlan, declared: &[Option<Kind>]) -> Result<Vec<Kind>, SqlFault> {
    let inferred = parameter_types(plan)?;
    let count = inferred.len().max(declared.len());
    let kind = |index: usize| {
        let by_engine = || inferred.get(index)?.as_ref().map(cells::kind);
        declared.get(index).copied().flatten().or_else(by_engine).unwrap_or(Kind::Text)
    };
    Ok((0..count).map(kind).collect())
}

/// The type of each parameter as far as the engine infers it, `$1` first. One more than a statement
/// may have is enough to be refused.
fn parameter_types(plan: &LogicalPlan) -> Result<Vec<Option<DataType>>, SqlFault> {
    let inferred = plan.get_parameter_types().map_err(engine_fault)?;
    let number = |name: &String| name.strip_prefix('$')?.parse::<usize>().ok();
    let count = inferred.keys().filter_map(number).max().unwrap_or(0);
    let count = count.min(sextant_sqlwire::limits::PARAMETERS_MAX + 1);
    let found = |number: usize| inferred.get(&format!("${number}")).cloned().flatten();
    Ok((1..=count).map(found).collect())
}

fn bind(
    plan: LogicalPlan,
    values: Vec<datafusion::common::ScalarValue>,
) -> Result<LogicalPlan, SqlFault> {
    if values.is_empty() {
        return Ok(plan);
    }
    plan.replace_params_with_values(&ParamValues::from(values)).map_err(engine_fault)
}

fn columns(plan: &LogicalPlan) -> Vec<Column> {
    let column = |field: &Arc<datafusion::arrow::datatypes::Field>| Column {
        name: field.name().clone(),
        kind: cells::kind(field.data_type()),
    };
    plan.schema().fields().iter().map(column).collect()
}
