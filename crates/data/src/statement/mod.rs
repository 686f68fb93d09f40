//! What does a statement of SQL do? A query reads; INSERT, UPDATE, DELETE, MERGE, TRUNCATE, CREATE
//! TABLE, ALTER TABLE and DROP TABLE change tables of the user's own, each as one version. Nothing
//! else runs, and nothing here reaches a file unless the caller may read the project's folder.

mod block;
mod files;
mod plans;
mod travel;

use std::{path::PathBuf, sync::PoisonError};

use datafusion::{
    logical_expr::LogicalPlan,
    prelude::SessionContext,
    sql::{
        parser::Statement,
        sqlparser::ast::{self, AlterTableOperation, ObjectType},
    },
};
use serde::Serialize;
use sextant_core::{ActivityKind, Cancel, Digest};
use sextant_project::AssetId;

use crate::{
    DataEngine, QueryResult,
    catalog::{self, LatestTable},
    error::{DataError, Result},
    query::{self, QUERY_ROWS_MAX, SqlFault},
    table::{
        change::{About, Change, Changed},
        commits::{OWN_TABLES, ReadFile},
        history::find_table,
        rows::check_columns,
    },
};
use block::Block;
pub(crate) use plans::Planned;

/// What a caller of [`DataEngine::sql`] may do.
#[derive(Debug, Clone)]
pub struct SqlOptions {
    /// How many rows of a query are returned at most.
    pub limit: usize,
    /// The folder whose files may be queried in place; none when absent.
    pub files: Option<PathBuf>,
}

/// What a statement gave.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum SqlOutcome {
    /// The rows of a query.
    Rows(QueryResult),
    /// The version that a table has now.
    Changed(Changed),
    /// Something without rows: a table was dropped, or was there already.
    Done {
        /// What was done.
        action: String,
        /// The table's name.
        table: String,
        /// Whether there was nothing to do.
        unchanged: bool,
    },
    /// What a block of statements did together.
    Block {
        /// `commit`, or `rollback` when it was only tried.
        action: String,
        /// What each statement gave.
        statements: Vec<SqlOutcome>,
    },
}

/// A statement whose tables and files are open.
pub(crate) struct Prepared {
    pub(crate) session: SessionContext,
    pub(crate) statement: Statement,
    /// Every table version that it names, with the name.
    pub(crate) tables: Vec<(String, Digest)>,
    pub(crate) files: Vec<ReadFile>,
}

/// Whether this is a query that reads nothing but tables. What cannot be read as SQL is not.
pub fn only_reads_tables(sql: &str) -> bool {
    let Ok(mut statement) = query::parse(sql) else { return false };
    let travels = travel::rewrite(&mut statement);
    travels.is_ok() && files::named_in(&statement).is_empty()
}

impl DataEngine {
    /// Runs one statement, or a block of them from BEGIN to COMMIT.
    ///
    /// # Errors
    /// When it is wrong, is not one that runs here, or changes a table that it may not change.
    pub fn sql(&self, sql: &str, options: &SqlOptions, cancel: &Cancel) -> Result<SqlOutcome> {
        let statements = query::several(sql).map_err(SqlFault::without_file)?;
        if let Some(block) = Block::of(&statements)? {
            return self.run_block(&block, options, cancel);
        }
        let statement = query::only(statements).map_err(SqlFault::without_file)?;
        self.one(sql, statement, options, cancel)
    }

    fn one(
        &self,
        sql: &str,
        statement: Statement,
        options: &SqlOptions,
        cancel: &Cancel,
    ) -> Result<SqlOutcome> {
        let is_query = |statement: &Statement| matches!(statement, Statement::Statement(inner) if matches!(**inner, ast::Statement::Query(_)));
        let inner = match &statement {
            Statement::Statement(inner) => inner,
            // How a query runs, or with ANALYZE how it ran.
            Statement::Explain(explain) if is_query(&explain.statement) => {
                let files = options.files.clone();
                return self.select(statement, options.limit, files, cancel).map(SqlOutcome::Rows);
            }
            _ => return Err(refused(&statement)),
        };
        match inner.as_ref() {
            ast::Statement::Query(_) => {
                let files = options.files.clone();
                self.select(statement, options.limit, files, cancel).map(SqlOutcome::Rows)
            }
            ast::Statement::Update(update) if update.from.is_some() => {
                Err(DataError::TableRefused {
                    message: "UPDATE … FROM: not run here".to_owned(),
                    fix: "use MERGE INTO … USING (SELECT …), which says how rows meet".to_owned(),
                })
            }
            ast::Statement::Insert(_)
            | ast::Statement::Update(_)
            | ast::Statement::Delete(_)
            | ast::Statement::Merge(_)
            | ast::Statement::Truncate(_)
            | ast::Statement::CreateTable(_) => self.write(sql, statement, options, cancel),
            ast::Statement::AlterTable(alter) => self.alter(sql, alter, cancel),
            ast::Statement::Drop { object_type: ObjectType::Table, if_exists, names, .. } => {
                self.drop_tables(names, *if_exists)
            }
            _ => Err(refused(&statement)),
        }
    }

    /// Runs a query to its rows.
    pub(crate) fn select(
        &self,
        statement: Statement,
        limit: usize,
        files: Option<PathBuf>,
        cancel: &Cancel,
    ) -> Result<QueryResult> {
        let limit = limit.min(QUERY_ROWS_MAX);
        let engine = self.clone();
        self.block_query(Some(cancel), async move {
            let prepared = engine.prepare(statement, files).await?;
            let plan = query::plan(&prepared.session, prepared.statement).await;
            engine.rows_of(plan.map_err(SqlFault::without_file)?, limit).await
        })
    }

    /// Opens what a statement names: tables at their newest versions or at the ones it asks for, and
    /// files when it may read them.
    pub(crate) async fn prepare(
        &self,
        mut statement: Statement,
        files: Option<PathBuf>,
    ) -> Result<Prepared> {
        let session = self.session();
        let mut tables = Vec::new();
        for travel in travel::rewrite(&mut statement)? {
            self.register_travel(&session, &travel, &mut tables).await?;
        }
        let named = files::named_in(&statement);
        let read = match (named.is_empty(), files) {
            (false, Some(root)) => self.register_files(&session, &root, named).await?,
            _ => Vec::new(),
        };
        let failed = |error| SqlFault::Engine(error).without_file();
        let wanted = session.state().resolve_table_references(&statement).map_err(failed)?;
        let latest = self.latest_tables()?;
        let bare = query::bare_names(&latest);
        for row in &latest {
            if wanted.iter().any(|name| name.table() == row.meta.table) {
                self.register_latest(&session, &row.meta, &bare).await?;
                tables.push((row.meta.table.clone(), row.version));
            }
        }
        Ok(Prepared { session, statement, tables, files: read })
    }

    fn write(
        &self,
        sql: &str,
        statement: Statement,
        options: &SqlOptions,
        cancel: &Cancel,
    ) -> Result<SqlOutcome> {
        let (planned, mut about) = self.planned(sql, statement, options, cancel)?;
        match planned {
            Planned::Change { target, action, change } => {
                let asset = self.own_table(&target)?;
                about.action = action;
                self.change(&asset, change, about, cancel).map(SqlOutcome::Changed)
            }
            Planned::Create { name, rows, if_not_exists, or_replace } => {
                about.action = "create table";
                self.create(&name, rows, if_not_exists, or_replace, about, cancel)
            }
        }
    }

    /// Reads a statement that writes: what it changes, and what it reads.
    pub(crate) fn planned(
        &self,
        sql: &str,
        statement: Statement,
        options: &SqlOptions,
        cancel: &Cancel,
    ) -> Result<(Planned, About)> {
        let engine = self.clone();
        let files = options.files.clone();
        let sql = Some(sql.to_owned());
        self.block(Some(cancel), async move {
            let prepared = engine.prepare(statement, files).await?;
            let state = prepared.session.state();
            let plan = state.statement_to_plan(prepared.statement).await;
            let plan = plan.map_err(|error| SqlFault::Engine(error).without_file())?;
            let inputs = inputs_of(&plan, prepared.tables);
            let about = About { action: "", sql, inputs, files: prepared.files };
            Ok((plans::read(plan)?, about))
        })
    }

    fn create(
        &self,
        name: &str,
        rows: LogicalPlan,
        if_not_exists: bool,
        or_replace: bool,
        about: About,
        cancel: &Cancel,
    ) -> Result<SqlOutcome> {
        check_columns(rows.schema().as_arrow())?;
        let asset = AssetId::of(OWN_TABLES, name).map_err(|message| DataError::TableRefused {
            message,
            fix: "a table's name has letters, digits, `_`, `-` and `.`".to_owned(),
        })?;
        let latest = self.latest_tables()?;
        let same_name = |row: &&LatestTable| row.meta.table == name;
        match latest.iter().find(same_name) {
            Some(row) if row.meta.asset != asset => Err(DataError::Taken {
                message: format!("{} has a table called {name} already", row.meta.asset),
                fix: "take another name".to_owned(),
            }),
            Some(_) if if_not_exists => Ok(SqlOutcome::Done {
                action: "create table".to_owned(),
                table: name.to_owned(),
                unchanged: true,
            }),
            Some(_) if !or_replace => Err(DataError::Taken {
                message: format!("there is a table called {name} already"),
                fix: "write CREATE OR REPLACE TABLE, or take another name".to_owned(),
            }),
            _ => {
                let change = Change::Create { rows };
                self.change(&asset, change, about, cancel).map(SqlOutcome::Changed)
            }
        }
    }

    fn alter(&self, sql: &str, alter: &ast::AlterTable, cancel: &Cancel) -> Result<SqlOutcome> {
        let asset = self.own_table(&alter.name.to_string())?;
        let mut select = Vec::new();
        for operation in &alter.operations {
            match operation {
                AlterTableOperation::AddColumn { column_def, .. }
                    if column_def.options.is_empty() =>
                {
                    select.push(format!(
                        "CAST(NULL AS {}) AS {}",
                        column_def.data_type, column_def.name
                    ));
                }
                other => {
                    return Err(DataError::TableRefused {
                        message: format!("ALTER TABLE does not run `{other}`"),
                        fix: "ADD COLUMN name type is what it does; other changes are made with \
                              CREATE OR REPLACE TABLE … AS SELECT"
                            .to_owned(),
                    });
                }
            }
        }
        // The planner of queries is who knows which type a word means.
        let statement = query::parse(&format!("SELECT {}", select.join(", ")));
        let statement = statement.map_err(SqlFault::without_file)?;
        let engine = self.clone();
        let schema = self.block(Some(cancel), async move {
            let plan = engine.session().state().statement_to_plan(statement).await;
            let plan = plan.map_err(|error| SqlFault::Engine(error).without_file())?;
            Ok(crate::content::stored_schema(plan.schema().as_arrow()))
        })?;
        check_columns(&schema)?;
        let fields = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        let about = About { action: "add column", sql: Some(sql.to_owned()), ..About::default() };
        let change = Change::AddColumns { fields };
        self.change(&asset, change, about, cancel).map(SqlOutcome::Changed)
    }

    /// Takes names away. The versions stay as long as somebody holds them.
    fn drop_tables(&self, names: &[ast::ObjectName], if_exists: bool) -> Result<SqlOutcome> {
        let _door = self.changes().read().unwrap_or_else(PoisonError::into_inner);
        let mut done = Vec::new();
        for name in names {
            let name = plain_name(&name.to_string());
            let asset = match self.own_table(&name) {
                Err(DataError::NotFound { .. }) if if_exists => continue,
                asset => asset?,
            };
            let mut act = self.store().begin(ActivityKind::Author, format!("drop table {asset}"));
            catalog::drop_table(&mut act, &asset);
            act.commit()?;
            done.push(name);
        }
        Ok(SqlOutcome::Done {
            action: "drop table".to_owned(),
            unchanged: done.is_empty(),
            table: done.join(", "),
        })
    }

    /// The table that a statement changes. It must have its name still.
    fn own_table(&self, name: &str) -> Result<AssetId> {
        let name = plain_name(name);
        if let Some(transaction) = self.transaction()
            && let Ok(asset) = AssetId::of(OWN_TABLES, name.trim_start_matches("tables."))
            && transaction.latest(&asset).is_some()
        {
            return Ok(asset);
        }
        let reader = self.store().read()?;
        let asset = find_table(&reader, &name)?;
        let latest = catalog::latest_tables(&reader)?;
        if latest.iter().any(|row| row.meta.asset == asset) {
            return Ok(asset);
        }
        Err(DataError::NotFound { what: "table", name, known: String::new() })
    }
}

/// A name as the catalog has it: without the engine's own catalog and without quotes.
fn plain_name(name: &str) -> String {
    let name = name.replace('"', "");
    let name = name.strip_prefix("datafusion.").unwrap_or(&name);
    name.strip_prefix("public.").unwrap_or(name).to_owned()
}

/// The versions that a statement reads. The one that it changes is among them by itself.
fn inputs_of(plan: &LogicalPlan, tables: Vec<(String, Digest)>) -> Vec<Digest> {
    let target = match plan {
        LogicalPlan::Dml(dml) => dml.table_name.table().to_owned(),
        _ => String::new(),
    };
    tables.into_iter().filter(|(name, _)| *name != target).map(|(_, version)| version).collect()
}

fn refused(statement: &Statement) -> DataError {
    DataError::TableRefused {
        message: format!("`{}` is not run here", query::begin(statement)),
        fix: "what runs: SELECT, EXPLAIN of it, INSERT, UPDATE, DELETE, MERGE, TRUNCATE, CREATE TABLE, ALTER \
              TABLE … ADD COLUMN and DROP TABLE; between BEGIN and COMMIT all of them but DROP"
            .to_owned(),
    }
}
