//! What happens between BEGIN and COMMIT? Statements on tables of the user's own, of which readers see
//! all or nothing. The block comes as one text; its statements see what those before them did. With
//! ROLLBACK at its end it is only tried.

use std::sync::PoisonError;

use datafusion::sql::{parser::Statement, sqlparser::ast};
use sextant_core::Cancel;

use super::{SqlOptions, SqlOutcome, refused};
use crate::{
    DataEngine,
    error::{DataError, Result},
};

/// Most statements in one block.
const STATEMENTS_MAX: usize = 1000;
/// How often a block begins again because another program wrote to one of its tables.
const TRIES_MAX: u32 = 20;

/// A block of statements.
pub(super) struct Block {
    statements: Vec<Statement>,
    is_kept: bool,
}

impl Block {
    /// The block that these statements are; `None` when they do not begin one.
    pub(super) fn of(statements: &[Statement]) -> Result<Option<Self>> {
        let is = |statement: Option<&Statement>, wanted: fn(&ast::Statement) -> bool| matches!(statement, Some(Statement::Statement(inner)) if wanted(inner));
        let begins =
            |inner: &ast::Statement| matches!(inner, ast::Statement::StartTransaction { .. });
        let commits = |inner: &ast::Statement| matches!(inner, ast::Statement::Commit { .. });
        let rolls_back = |inner: &ast::Statement| {
            matches!(inner, ast::Statement::Rollback { savepoint: None, .. })
        };
        if !is(statements.first(), begins) {
            return Ok(None);
        }
        let is_kept = is(statements.last(), commits);
        if !is_kept && !is(statements.last(), rolls_back) {
            return Err(DataError::TableRefused {
                message: "BEGIN without an end: nothing was done".to_owned(),
                fix: "send the whole block as one: BEGIN; …; COMMIT; (or ROLLBACK; to try it)"
                    .to_owned(),
            });
        }
        let inner = &statements[1..statements.len() - 1];
        if inner.len() > STATEMENTS_MAX {
            return Err(DataError::TooLarge {
                what: "the transaction".to_owned(),
                size: format!("{} statements", inner.len()),
                limit: STATEMENTS_MAX.to_string(),
            });
        }
        let nested = |statement: &&Statement| {
            let statement = Some(*statement);
            is(statement, begins)
                || is(statement, commits)
                || is(statement, |inner| {
                    matches!(inner, ast::Statement::Rollback { .. } | ast::Statement::Drop { .. })
                })
        };
        if let Some(statement) = inner.iter().find(nested) {
            return Err(refused(statement));
        }
        Ok(Some(Self { statements: inner.to_vec(), is_kept }))
    }
}

impl DataEngine {
    /// Runs a block: all of its changes become visible together, or none.
    pub(super) fn run_block(
        &self,
        block: &Block,
        options: &SqlOptions,
        cancel: &Cancel,
    ) -> Result<SqlOutcome> {
        let _alone = self.changes().write().unwrap_or_else(PoisonError::into_inner);
        // A block before this one may be kept and not finished: it comes first.
        self.settle(None)?;
        for _ in 0..TRIES_MAX {
            self.adopt_commits()?;
            let inside = self.begin_transaction()?;
            let mut outcomes = Vec::with_capacity(block.statements.len());
            for (index, statement) in block.statements.iter().enumerate() {
                let sql = statement.to_string();
                let outcome = inside.one(&sql, statement.clone(), options, cancel);
                outcomes.push(outcome.map_err(|error| numbered(error, index + 1))?);
            }
            let action = if block.is_kept { "commit" } else { "rollback" }.to_owned();
            let Some(transaction) = inside.transaction() else {
                return Err(DataError::engine("a transaction has none"));
            };
            if !block.is_kept || self.commit_transaction(transaction)? {
                return Ok(SqlOutcome::Block { action, statements: outcomes });
            }
        }
        Err(DataError::Taken {
            message: "other programs kept writing to the tables of this transaction".to_owned(),
            fix: "repeat it".to_owned(),
        })
    }
}

/// Says in which statement of the block a fault is. Being stopped is nobody's fault.
fn numbered(error: DataError, number: usize) -> DataError {
    match error {
        DataError::Cancelled => error,
        error => DataError::InBlock { number, source: Box::new(error) },
    }
}
