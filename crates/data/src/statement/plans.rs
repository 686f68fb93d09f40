//! What does a planned statement change? From the SQL engine's plan to one [`Change`] of a table.

use datafusion::{
    common::{
        Column,
        tree_node::{Transformed, TreeNode as _},
    },
    logical_expr::{
        DdlStatement, DmlStatement, Expr, LogicalPlan, WriteOp,
        dml::{InsertOp, MergeIntoOp},
    },
};

use crate::{
    error::{DataError, Result},
    table::{apply::Merge, change::Change},
};

/// A statement that writes.
pub(crate) enum Planned {
    /// It changes a table that is there.
    Change { target: String, action: &'static str, change: Change },
    /// It makes a table.
    Create { name: String, rows: LogicalPlan, if_not_exists: bool, or_replace: bool },
}

/// Reads the plan of a statement that writes.
pub(super) fn read(plan: LogicalPlan) -> Result<Planned> {
    match plan {
        LogicalPlan::Dml(dml) => read_dml(dml),
        LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(create)) => {
            let schema = create.input.schema();
            let refused = if !create.constraints.is_empty() {
                "keys and constraints are not kept"
            } else if !create.column_defaults.is_empty() {
                "default values are not kept"
            } else if create.temporary {
                "temporary tables are not kept"
            } else if matches!(*create.input, LogicalPlan::EmptyRelation(_))
                && schema.fields().iter().any(|field| !field.is_nullable())
            {
                "NOT NULL is not kept: every column may be null"
            } else {
                return Ok(Planned::Create {
                    name: create.name.table().to_owned(),
                    rows: create.input.as_ref().clone(),
                    if_not_exists: create.if_not_exists,
                    or_replace: create.or_replace,
                });
            };
            Err(DataError::TableRefused {
                message: format!("CREATE TABLE {}: {refused}", create.name),
                fix: "leave it out; a check in models/schema.yml can hold a rule".to_owned(),
            })
        }
        other => Err(DataError::TableRefused {
            message: format!("this statement is not run: {}", other.display()),
            fix: "see the manual for the statements that run".to_owned(),
        }),
    }
}

fn read_dml(dml: DmlStatement) -> Result<Planned> {
    let target = dml.table_name.to_string();
    let rows = || dml.input.as_ref().clone();
    let (action, change) = match &dml.op {
        WriteOp::Insert(InsertOp::Append) => ("insert into", Change::Append { rows: rows() }),
        WriteOp::Insert(InsertOp::Overwrite) => {
            ("insert overwrite", Change::Overwrite { rows: rows() })
        }
        WriteOp::Insert(InsertOp::Replace) => {
            return Err(refuse("REPLACE INTO", "use MERGE INTO, which names its key"));
        }
        WriteOp::Delete => ("delete from", Change::Delete { predicate: predicate(&dml.input)? }),
        WriteOp::Truncate => ("truncate", Change::Delete { predicate: None }),
        WriteOp::Update => ("update", update(&dml.input)?),
        WriteOp::MergeInto(merge) => {
            ("merge into", Change::Merge(Box::new(read_merge(&dml, merge)?)))
        }
        other => return Err(refuse(other.name(), "see the manual for the statements that run")),
    };
    Ok(Planned::Change { target, action, change })
}

/// The predicate of a DELETE or of the rows that an UPDATE changes.
fn predicate(input: &LogicalPlan) -> Result<Option<Expr>> {
    match input {
        LogicalPlan::TableScan(_) => Ok(None),
        LogicalPlan::SubqueryAlias(alias) => predicate(&alias.input),
        LogicalPlan::Filter(filter) => {
            if predicate(&filter.input)?.is_some() {
                return Err(refuse("a filter over a filter", "write one WHERE"));
            }
            own_columns(&filter.predicate).map(Some)
        }
        _ => Err(refuse(
            "UPDATE … FROM, LIMIT and joins",
            "use MERGE INTO … USING (SELECT …), which says how rows meet",
        )),
    }
}

fn update(input: &LogicalPlan) -> Result<Change> {
    let LogicalPlan::Projection(projection) = input else {
        return Err(refuse("this UPDATE", "write UPDATE table SET column = value WHERE …"));
    };
    let mut set = Vec::new();
    for expr in &projection.expr {
        let Expr::Alias(alias) = expr else { continue };
        // A column that is not assigned is itself.
        if matches!(alias.expr.as_ref(), Expr::Column(column) if column.name == alias.name) {
            continue;
        }
        set.push((alias.name.clone(), own_columns(&alias.expr)?));
    }
    Ok(Change::Update { predicate: predicate(&projection.input)?, set })
}

fn read_merge(dml: &DmlStatement, merge: &MergeIntoOp) -> Result<Merge> {
    let mut names = dml.input.schema().iter().map(|(name, _)| name.map(ToString::to_string));
    let source_name = names.next().flatten();
    if names.any(|name| name != source_name) {
        return Err(refuse(
            "a MERGE from several tables",
            "put them into one subquery with a name: USING (SELECT …) AS s",
        ));
    }
    for expr in merge.exprs() {
        refuse_subqueries(expr)?;
    }
    Ok(Merge {
        source: dml.input.as_ref().clone(),
        source_name,
        target_name: dml.table_name.to_string(),
        columns: dml.target.schema().fields().iter().map(|field| field.name().clone()).collect(),
        on: merge.on.clone(),
        clauses: merge.clauses.clone(),
    })
}

/// The expression over the table's own columns, without the table's name.
fn own_columns(expr: &Expr) -> Result<Expr> {
    refuse_subqueries(expr)?;
    let plain = expr.clone().transform(|expr| match expr {
        Expr::Column(column) => Ok(Transformed::yes(Expr::Column(Column::from_name(column.name)))),
        other => Ok(Transformed::no(other)),
    });
    plain.map(|plain| plain.data).map_err(DataError::engine)
}

fn refuse_subqueries(expr: &Expr) -> Result<()> {
    let found = expr.exists(|expr| {
        Ok(matches!(
            expr,
            Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::ScalarSubquery(_)
                | Expr::SetComparison(_)
        ))
    });
    if found.map_err(DataError::engine)? {
        return Err(refuse(
            "a subquery in this place",
            "use MERGE INTO … USING (SELECT …), which does the same and can be repeated safely",
        ));
    }
    Ok(())
}

fn refuse(what: &str, fix: &str) -> DataError {
    DataError::TableRefused { message: format!("{what}: not run here"), fix: fix.to_owned() }
}
