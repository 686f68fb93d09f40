//! How many rows does a part of a plan have, about? From the rows of its tables, and from rough shares for
//! what filters let through, as such guesses have been made since Selinger 1979.

use datafusion::{
    common::{Column, JoinType},
    datasource::source_as_provider,
    logical_expr::{BinaryExpr, Expr, Join, LogicalPlan, Operator, TableScan},
};

use super::Sized;

/// Rows of what cannot be known.
const UNKNOWN: f64 = 1_000.0;
/// What `=` lets through where a column's values are not known.
const EQUAL: f64 = 0.05;
const LIKE: f64 = 0.1;
const COMPARED: f64 = 0.33;
const OTHER: f64 = 0.25;
/// What a condition on the result of an aggregation lets through.
const HAVING: f64 = 0.1;
/// Groups of a row, where their keys are not known.
const GROUPS: f64 = 0.3;

/// How many rows come out of a plan.
pub(super) fn rows(plan: &LogicalPlan) -> f64 {
    let of = |plan: &LogicalPlan| rows(plan);
    let estimate = match plan {
        LogicalPlan::TableScan(scan) => {
            let all = ask(scan, Sized::rows).unwrap_or(UNKNOWN);
            scan.filters.iter().map(|filter| share(filter, plan)).fold(all, |rows, it| rows * it)
        }
        LogicalPlan::Filter(filter) => of(&filter.input) * share(&filter.predicate, &filter.input),
        LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => 1.0,
        LogicalPlan::Aggregate(aggregate) => {
            let input = of(&aggregate.input);
            let groups = aggregate.group_expr.iter().map(|expr| match expr {
                Expr::Column(column) => values(&aggregate.input, column),
                _ => None,
            });
            groups.product::<Option<f64>>().map_or(input * GROUPS, |groups| groups.min(input))
        }
        LogicalPlan::Join(join) => joined(join),
        LogicalPlan::Limit(limit) => of(&limit.input),
        LogicalPlan::Projection(it) => of(&it.input),
        LogicalPlan::SubqueryAlias(it) => of(&it.input),
        LogicalPlan::Sort(it) => of(&it.input),
        LogicalPlan::Distinct(it) => of(it.input()) * GROUPS,
        LogicalPlan::Repartition(it) => of(&it.input),
        LogicalPlan::Union(union) => union.inputs.iter().map(|input| of(input)).sum(),
        LogicalPlan::Values(values) => values.values.len() as f64,
        _ => UNKNOWN,
    };
    estimate.max(1.0)
}

fn joined(join: &Join) -> f64 {
    let (left, right) = (rows(&join.left), rows(&join.right));
    let keys = join.on.iter().map(|(l, r)| {
        let of = |plan, expr: &Expr| expr.try_as_col().and_then(|column| values(plan, column));
        partners(of(&join.left, l), of(&join.right, r))
    });
    let both = (left * right / apart(keys, base(&join.left).min(base(&join.right)))).max(1.0);
    match join.join_type {
        JoinType::Inner if join.on.is_empty() => left * right,
        JoinType::Inner => both,
        JoinType::Left => both.max(left),
        JoinType::Right => both.max(right),
        JoinType::Full => both.max(left).max(right),
        JoinType::LeftSemi | JoinType::LeftMark => both.min(left),
        JoinType::RightSemi | JoinType::RightMark => both.min(right),
        JoinType::LeftAnti => (left - both.min(left)).max(left * OTHER),
        JoinType::RightAnti => (right - both.min(right)).max(right * OTHER),
    }
}

/// Among how many values the rows of two sides look for partners. One of them is nearly always a key, so
/// that there are no more values than it has rows.
pub(super) fn partners(left: Option<f64>, right: Option<f64>) -> Option<f64> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.min(right)),
        (one, other) => one.or(other),
    }
}

/// The same for several columns together, which have no more values than the smaller table rows.
pub(super) fn apart(keys: impl Iterator<Item = Option<f64>>, smaller: f64) -> f64 {
    let all = keys.fold(1.0, |all: f64, one| all * one.unwrap_or(smaller));
    all.min(smaller).max(1.0)
}

/// Rows of the largest table below, before any filter.
pub(super) fn base(plan: &LogicalPlan) -> f64 {
    match plan {
        LogicalPlan::TableScan(scan) => ask(scan, Sized::rows).unwrap_or(UNKNOWN),
        LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_) => rows(plan),
        plan => plan.inputs().into_iter().map(base).fold(UNKNOWN.min(rows(plan)), f64::max),
    }
}

/// How many values a column has at most.
pub(super) fn values(plan: &LogicalPlan, column: &Column) -> Option<f64> {
    let index = plan.schema().maybe_index_of_column(column)?;
    values_at(plan, index)
}

fn values_at(plan: &LogicalPlan, index: usize) -> Option<f64> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let name = scan.projected_schema.field(index).name();
            ask(scan, |table| {
                let rows = table.rows();
                table.values(name).map_or(rows, |values| values.min(rows))
            })
        }
        LogicalPlan::SubqueryAlias(it) => values_at(&it.input, index),
        LogicalPlan::Filter(it) => values_at(&it.input, index),
        LogicalPlan::Sort(it) => values_at(&it.input, index),
        LogicalPlan::Limit(it) => values_at(&it.input, index),
        LogicalPlan::Repartition(it) => values_at(&it.input, index),
        LogicalPlan::Projection(it) => match bare(it.expr.get(index)?) {
            Expr::Column(column) => values(&it.input, column),
            _ => None,
        },
        LogicalPlan::Aggregate(it) => match it.group_expr.get(index).map(bare)? {
            Expr::Column(column) => values(&it.input, column),
            _ => None,
        },
        LogicalPlan::Join(join) => {
            let left = join.left.schema().fields().len();
            match join.join_type {
                JoinType::RightSemi | JoinType::RightAnti => values_at(&join.right, index),
                _ if index < left => values_at(&join.left, index),
                _ => values_at(&join.right, index.checked_sub(left)?),
            }
        }
        _ => None,
    }
}

fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => bare(&alias.expr),
        expr => expr,
    }
}

/// Asks the table of a scan, when its size is known.
fn ask<T>(scan: &TableScan, question: impl FnOnce(&Sized) -> T) -> Option<T> {
    let provider = source_as_provider(&scan.source).ok()?;
    provider.downcast_ref::<Sized>().map(question)
}

/// Which share of a plan's rows a condition lets through.
pub(super) fn share(condition: &Expr, plan: &LogicalPlan) -> f64 {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::And => share(left, plan) * share(right, plan),
            Operator::Or => 1.0 - (1.0 - share(left, plan)) * (1.0 - share(right, plan)),
            _ if is_computed(left, plan) || is_computed(right, plan) => HAVING,
            Operator::Eq => equal(left, plan).or_else(|| equal(right, plan)).unwrap_or(EQUAL),
            Operator::NotEq => 1.0 - EQUAL,
            Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => COMPARED,
            _ => OTHER,
        },
        Expr::InList(list) => {
            let one = equal(&list.expr, plan).unwrap_or(EQUAL);
            let all = (one * list.list.len() as f64).min(1.0);
            if list.negated { 1.0 - all } else { all }
        }
        Expr::Like(like) if !like.negated => LIKE,
        Expr::Like(_) | Expr::IsNotNull(_) => 1.0 - EQUAL,
        Expr::Between(between) if !between.negated => OTHER,
        Expr::Not(inner) => 1.0 - share(inner, plan),
        Expr::IsNull(_) => EQUAL,
        _ => OTHER,
    }
}

fn equal(side: &Expr, plan: &LogicalPlan) -> Option<f64> {
    let Expr::Column(column) = side else { return None };
    // Values of a text are not known: there a table's rows say nothing.
    let index = plan.schema().maybe_index_of_column(column)?;
    let known = plan.schema().field(index).data_type();
    let whole =
        known.is_integer() || matches!(known, datafusion::arrow::datatypes::DataType::Date32);
    whole.then(|| values_at(plan, index)).flatten().map(|values| 1.0 / values.max(1.0))
}

/// Whether a side is the result of an aggregation.
fn is_computed(side: &Expr, plan: &LogicalPlan) -> bool {
    let Expr::Column(column) = bare(side) else { return false };
    match plan {
        LogicalPlan::Aggregate(aggregate) => {
            let index = plan.schema().maybe_index_of_column(column);
            index.is_some_and(|index| index >= aggregate.group_expr.len())
        }
        LogicalPlan::Projection(it) => {
            let index = plan.schema().maybe_index_of_column(column);
            let expr = index.and_then(|index| it.expr.get(index));
            expr.is_some_and(|expr| is_computed(expr, &it.input))
        }
        _ => false,
    }
}
