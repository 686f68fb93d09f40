//! How does a query that only PostgreSQL understands become one that the engine plans? Clients look
//! the catalog up with operators, casts and subqueries of PostgreSQL's own. Each change below leaves
//! the answer as it is; what it does not know, it leaves alone.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, GroupByExpr, Ident, JoinOperator, ObjectName, Query, Select, SelectItem,
    SetExpr, TableFactor, Value, VisitMut as _, VisitorMut,
};

use super::{
    catalog::{Tables, relation},
    relations::PG,
};

/// Functions that make a row even of nothing.
const AGGREGATES: &[&str] =
    &["array_agg", "avg", "bool_and", "bool_or", "count", "max", "min", "string_agg", "sum"];

/// Rewrites a query in place.
pub(super) fn rewrite(query: &mut Query, tables: &Tables<'_>) {
    // The visitor never breaks off.
    let _ = query.visit(&mut Rewriter { tables });
}

struct Rewriter<'a> {
    tables: &'a Tables<'a>,
}

impl VisitorMut for Rewriter<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if empty_body(&mut query.body) {
            // Nothing has no order, and what it is ordered by need not be selected.
            query.order_by = None;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr
            && let Some(list) = list_of(function)
        {
            *expr = list;
        }
        let nothing = match expr {
            Expr::Subquery(query) => is_empty(&query.body),
            _ => false,
        };
        if nothing {
            *expr = value(Value::Null);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) => strip(&mut function.name),
            Expr::BinaryOp { op, .. } => plain_operator(op),
            Expr::Collate { expr: inner, .. } => {
                *expr = std::mem::replace(inner, value(Value::Null));
            }
            Expr::Cast { expr: inner, data_type, .. } => {
                if let Some(oid) = self.named(inner, data_type) {
                    *expr = value(Value::Number(oid.to_string(), false));
                } else if let Some(plain) = plain_type(data_type) {
                    *data_type = plain;
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Rewriter<'_> {
    /// The id that `'name'::regclass` stands for.
    fn named(&self, inner: &Expr, data_type: &DataType) -> Option<i64> {
        let is_class = match data_type {
            DataType::Regclass => true,
            DataType::Custom(name, _) => last(name) == "regclass",
            _ => false,
        };
        let Expr::Value(literal) = inner else { return None };
        let Value::SingleQuotedString(name) = &literal.value else { return None };
        is_class.then(|| self.tables.oid(name))?
    }
}

fn value(value: Value) -> Expr {
    Expr::Value(value.with_empty_span())
}

fn last(name: &ObjectName) -> String {
    let part = name.0.last().and_then(|part| part.as_ident());
    part.map(|ident| ident.value.to_lowercase()).unwrap_or_default()
}

fn is_pg(name: &ObjectName) -> bool {
    name.0.len() == 2
        && name.0[0].as_ident().is_some_and(|schema| schema.value.eq_ignore_ascii_case(PG))
}

/// `ARRAY(SELECT …)` is a list of what is selected. What the catalog has lists of in a column of its own, and
/// unfolds with `pg_catalog.unnest`, is never there.
fn list_of(function: &Function) -> Option<Expr> {
    let FunctionArguments::Subquery(query) = &function.args else { return None };
    let SetExpr::Select(select) = &*query.body else { return None };
    let unfolds = select.from.iter().any(|from| match &from.relation {
        TableFactor::Table { name, args: Some(_), .. } => is_pg(name) && last(name) == "unnest",
        _ => false,
    });
    if last(&function.name) != "array" || function.name.0.len() != 1 {
        return None;
    }
    if unfolds || is_empty(&query.body) {
        return Some(value(Value::Null));
    }
    let [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] =
        &select.projection[..]
    else {
        return None;
    };
    if query.order_by.is_some() || query.limit_clause.is_some() || aggregates(item) {
        return None;
    }
    let argument = FunctionArg::Unnamed(FunctionArgExpr::Expr(item.clone()));
    let arguments =
        FunctionArgumentList { duplicate_treatment: None, args: vec![argument], clauses: vec![] };
    let collect = Function {
        name: ObjectName::from(Ident::new("array_agg")),
        args: FunctionArguments::List(arguments),
        ..function.clone()
    };
    let mut select = select.clone();
    select.projection = vec![SelectItem::UnnamedExpr(Expr::Function(collect))];
    let body = Box::new(SetExpr::Select(select));
    Some(Expr::Subquery(Box::new(Query { body, ..(**query).clone() })))
}

/// `pg_catalog.lower(…)` is `lower(…)`.
fn strip(name: &mut ObjectName) {
    if is_pg(name) {
        name.0.remove(0);
    }
}

/// `OPERATOR(pg_catalog.~)` is `~`.
fn plain_operator(op: &mut BinaryOperator) {
    let BinaryOperator::PGCustomBinaryOperator(parts) = op else { return };
    let plain = match parts.last().map(String::as_str) {
        Some("~") => BinaryOperator::PGRegexMatch,
        Some("~*") => BinaryOperator::PGRegexIMatch,
        Some("!~") => BinaryOperator::PGRegexNotMatch,
        Some("!~*") => BinaryOperator::PGRegexNotIMatch,
        Some("~~") => BinaryOperator::PGLikeMatch,
        Some("!~~") => BinaryOperator::PGNotLikeMatch,
        Some("=") => BinaryOperator::Eq,
        Some("<>") => BinaryOperator::NotEq,
        _ => return,
    };
    *op = plain;
}

/// Names of types that only PostgreSQL has.
fn plain_type(data_type: &DataType) -> Option<DataType> {
    let name = match data_type {
        DataType::Regclass => "regclass".to_owned(),
        DataType::Custom(name, _) => last(name),
        _ => return None,
    };
    Some(match name.as_str() {
        "oid" | "xid" | "cid" | "int8" => DataType::BigInt(None),
        "int4" => DataType::Integer(None),
        "int2" => DataType::SmallInt(None),
        "bool" => DataType::Boolean,
        "name" | "cstring" | "char" | "text" | "varchar" | "bpchar" => DataType::Text,
        name if name.starts_with("reg") => DataType::Text,
        _ => return None,
    })
}

/// A select from a relation that never has rows has none either: its columns stay, all else goes.
/// Whether the whole body is such.
fn empty_body(body: &mut SetExpr) -> bool {
    match body {
        SetExpr::SetOperation { left, right, .. } => {
            let left = empty_body(left);
            empty_body(right) && left
        }
        SetExpr::Select(select) if selects_nothing(select) => {
            let names: Vec<Ident> = select.projection.iter().enumerate().map(name_of).collect();
            let null = |alias| SelectItem::ExprWithAlias { expr: value(Value::Null), alias };
            select.projection = names.into_iter().map(null).collect();
            select.from.clear();
            select.selection = Some(value(Value::Boolean(false)));
            true
        }
        _ => false,
    }
}

fn is_empty(body: &SetExpr) -> bool {
    matches!(body, SetExpr::Select(select) if selects_nothing(select))
}

fn selects_nothing(select: &Select) -> bool {
    let grouped = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(by, _) => !by.is_empty(),
    };
    let plain = select.projection.iter().all(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => !aggregates(expr),
        _ => false,
    });
    let inner = |join: &JoinOperator| {
        matches!(join, JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_))
    };
    let outer_free = |from: &datafusion::sql::sqlparser::ast::TableWithJoins| {
        from.joins.iter().all(|join| inner(&join.join_operator))
    };
    let nothing = select.from.iter().any(|from| {
        let first = is_empty_relation(&from.relation)
            && from.joins.iter().all(|join| {
                inner(&join.join_operator)
                    || matches!(
                        join.join_operator,
                        JoinOperator::Left(_) | JoinOperator::LeftOuter(_)
                    )
            });
        first || outer_free(from) && from.joins.iter().any(|join| is_empty_relation(&join.relation))
    });
    plain && !grouped && select.having.is_none() && nothing
}

fn is_empty_relation(factor: &TableFactor) -> bool {
    let TableFactor::Table { name, args: None, .. } = factor else { return false };
    let schema = if is_pg(name) { Some(PG) } else { None };
    (name.0.len() == 1 || schema.is_some())
        && relation(schema, &last(name)).is_some_and(|relation| relation.empty)
}

/// Whether there is an aggregate in the expression; those of its subqueries are their own.
fn aggregates(expr: &Expr) -> bool {
    struct Finder {
        found: bool,
        depth: usize,
    }
    impl datafusion::sql::sqlparser::ast::Visitor for Finder {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.depth += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if let Expr::Function(function) = expr {
                let known = AGGREGATES.contains(&last(&function.name).as_str());
                self.found |= known && self.depth == 0;
            }
            ControlFlow::Continue(())
        }
    }
    let mut finder = Finder { found: false, depth: 0 };
    let _ = datafusion::sql::sqlparser::ast::Visit::visit(expr, &mut finder);
    finder.found
}

/// The name of a column, made different from all others by its number.
fn name_of((index, item): (usize, &SelectItem)) -> Ident {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => alias.clone(),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => name.clone(),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(names)) if !names.is_empty() => {
            names[names.len() - 1].clone()
        }
        _ => Ident::new(format!("column{}", index + 1)),
    }
}
