//! How does a statement read an older version? `version_of('orders', 3)` and
//! `version_at('orders', '2026-11-23T10:00:00Z')` stand where a table stands, and
//! `changes('orders', 1, 4)` gives the rows that were inserted, updated and deleted in between. They
//! are replaced in the parsed statement by names of tables that are opened before it is planned.

use std::{ops::ControlFlow, sync::Arc};

use datafusion::{
    catalog::TableProvider,
    prelude::SessionContext,
    sql::{
        parser::Statement,
        sqlparser::ast::{
            Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, TableAlias, TableFactor, Value,
            VisitMut as _, VisitorMut,
        },
    },
};
use deltalake_core::{DeltaTableError, delta_datafusion::DeltaCdfTableProvider};
use sextant_core::Digest;

use crate::{
    DataEngine,
    engine::register_table,
    error::{DataError, Result},
    table::TableMeta,
};

/// Most calls in one statement.
const TRAVELS_MAX: usize = 64;

/// One call, under the name that stands for it in the statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Travel {
    pub(super) name: String,
    table: String,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Version(String),
    Time(String),
    Changes(u64, Option<u64>),
}

/// Replaces the calls in a statement and says what they asked for.
pub(super) fn rewrite(statement: &mut Statement) -> Result<Vec<Travel>> {
    if let Statement::Explain(explain) = statement {
        return rewrite(&mut explain.statement);
    }
    let Statement::Statement(inner) = statement else { return Ok(Vec::new()) };
    let mut calls = Calls::default();
    match inner.visit(&mut calls) {
        ControlFlow::Break(error) => Err(*error),
        ControlFlow::Continue(()) => Ok(calls.found),
    }
}

#[derive(Default)]
struct Calls {
    found: Vec<Travel>,
}

impl VisitorMut for Calls {
    type Break = Box<DataError>;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        let TableFactor::Table { name, alias, args, .. } = factor else {
            return ControlFlow::Continue(());
        };
        let Some(call) = args else { return ControlFlow::Continue(()) };
        let travel = match read_call(&name.to_string().to_lowercase(), &call.args) {
            Ok(Some(travel)) => travel,
            Ok(None) => return ControlFlow::Continue(()),
            Err(error) => return ControlFlow::Break(Box::new(error)),
        };
        if self.found.len() >= TRAVELS_MAX {
            return ControlFlow::Break(Box::new(usage("a statement", "at most 64 such calls")));
        }
        // Columns are qualified with the table's own name unless the statement gives another.
        alias.get_or_insert_with(|| TableAlias {
            explicit: true,
            name: Ident::with_quote('"', bare(&travel.table)),
            columns: Vec::new(),
            at: None,
        });
        *name = ObjectName::from(vec![Ident::with_quote('"', &travel.name)]);
        *args = None;
        if !self.found.contains(&travel) {
            self.found.push(travel);
        }
        ControlFlow::Continue(())
    }
}

fn bare(table: &str) -> &str {
    table.rsplit(['.', '/']).next().unwrap_or(table)
}

/// What a call asks for; `None` when it is another function.
fn read_call(function: &str, args: &[FunctionArg]) -> Result<Option<Travel>> {
    let words: Vec<Option<String>> = args.iter().map(literal).collect();
    let words: Vec<&str> = words.iter().map(|word| word.as_deref().unwrap_or("")).collect();
    let number = |word: &str| word.trim_start_matches('v').parse::<u64>().ok();
    let (table, kind) = match (function, words.as_slice()) {
        ("version_of", [table, which]) if !which.is_empty() => {
            (table, Kind::Version((*which).to_owned()))
        }
        ("version_of", _) => return Err(usage(function, "version_of('orders', 3)")),
        ("version_at", [table, time]) if !time.is_empty() => {
            (table, Kind::Time((*time).to_owned()))
        }
        ("version_at", _) => {
            return Err(usage(function, "version_at('orders', '2026-11-23T10:00:00Z')"));
        }
        ("changes", [table, from]) => match number(from) {
            Some(from) => (table, Kind::Changes(from, None)),
            None => return Err(usage(function, "changes('orders', 1)")),
        },
        ("changes", [table, from, to]) => match (number(from), number(to)) {
            (Some(from), Some(to)) => (table, Kind::Changes(from, Some(to))),
            _ => return Err(usage(function, "changes('orders', 1, 4)")),
        },
        ("changes", _) => return Err(usage(function, "changes('orders', 1, 4)")),
        _ => return Ok(None),
    };
    let name = match &kind {
        Kind::Version(which) => format!("{table}@{which}"),
        Kind::Time(time) => format!("{table}@{time}"),
        Kind::Changes(from, to) => format!("changes of {table} {from} {to:?}"),
    };
    Ok(Some(Travel { name, table: (*table).to_owned(), kind }))
}

fn literal(arg: &FunctionArg) -> Option<String> {
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) = arg else { return None };
    match &value.value {
        Value::SingleQuotedString(text) => Some(text.clone()),
        Value::Number(digits, _) => Some(digits.to_string()),
        _ => None,
    }
}

fn usage(function: &str, example: &str) -> DataError {
    DataError::Sql {
        place: None,
        message: format!("{function} takes literals: {example}"),
        compiled: None,
    }
}

impl DataEngine {
    /// Opens what a call asked for under its name.
    pub(super) async fn register_travel(
        &self,
        session: &SessionContext,
        travel: &Travel,
        tables: &mut Vec<(String, Digest)>,
    ) -> Result<()> {
        let provider: Arc<dyn TableProvider> = match &travel.kind {
            Kind::Version(which) => {
                let meta = self.table_version_of(&travel.table, Some(which))?;
                tables.push((travel.name.clone(), meta.version()?));
                self.pinned(&meta).await?
            }
            Kind::Time(time) => {
                let meta = self.table_version_at(&travel.table, time)?;
                tables.push((travel.name.clone(), meta.version()?));
                self.pinned(&meta).await?
            }
            Kind::Changes(from, to) => {
                let meta = self.table_version_of(&travel.table, None)?;
                tables.push((travel.name.clone(), meta.version()?));
                self.change_feed(&meta, *from, *to).await?
            }
        };
        register_table(session, None, &travel.name, provider)
    }

    /// The rows that changed between two Delta versions, with what happened to each.
    async fn change_feed(
        &self,
        newest: &TableMeta,
        from: u64,
        to: Option<u64>,
    ) -> Result<Arc<dyn TableProvider>> {
        let failed = |error| DataError::table("read the changes of", &newest.asset)(error);
        if !newest.chained {
            return Err(DataError::TableRefused {
                message: format!("{} keeps no changes: each build writes it whole", newest.asset),
                fix: "compare two versions: version_of(…) EXCEPT version_of(…)".to_owned(),
            });
        }
        for delta in from..=to.unwrap_or(newest.delta_version).min(newest.delta_version) {
            let at = TableMeta { delta_version: delta, ..newest.clone() };
            if let Some(at) = crate::table::history::removed_at(&self.store().read()?, &at)? {
                return Err(DataError::VersionRemoved {
                    table: newest.table.clone(),
                    version: delta,
                    at: at.to_string(),
                });
            }
        }
        let mut feed = self.open_at(newest).await?.scan_cdf().with_starting_version(from);
        if let Some(to) = to {
            feed = feed.with_ending_version(to);
        }
        let provider = DeltaCdfTableProvider::try_new(feed).map_err(failed)?;
        let provider: Arc<dyn TableProvider> = Arc::new(provider);
        if from > newest.delta_version || to.is_some_and(|to| to < from) {
            return Err(failed(DeltaTableError::InvalidVersion(from)));
        }
        Ok(provider)
    }
}
