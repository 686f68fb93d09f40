//! In which order are tables joined? The engine joins them as the statement lists them, with a rule about
//! sides that knows nothing of what lies between. These two rules know how many rows a table has and how
//! many values a column can have at most, and turn a join around when that makes much less to do:
//!
//! - [`Order`] puts inner joins into the order in which the least rows lie between them (greedy operator
//!   ordering, Fegaras 1998);
//! - [`SemiDown`] asks whether a row has a partner before the row is joined with others.
//!
//! A wrong guess costs time and never rows: what is joined, and on what, stays as it was.

mod order;
mod semi;
mod sized;
mod sizes;

use std::sync::Arc;

use datafusion::{
    optimizer::{OptimizerRule as _, optimize_projections::OptimizeProjections},
    prelude::SessionContext,
};

pub(crate) use sized::Sized;

/// Gives a session both rules. The engine's last rule leaves out columns that nobody reads, and has to see
/// the joins as they will be.
pub(crate) fn register(context: &SessionContext) {
    let last = OptimizeProjections::new();
    let is_there = context.remove_optimizer_rule(last.name());
    context.add_optimizer_rule(Arc::new(semi::SemiDown));
    context.add_optimizer_rule(Arc::new(order::Order));
    if is_there {
        context.add_optimizer_rule(Arc::new(last));
    }
}
