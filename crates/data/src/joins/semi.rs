//! Does a row have a partner? Asked of a joined row, the question is about one of the rows that it was
//! joined from; asked there, all that have none are never joined.

use std::sync::Arc;

use datafusion::{
    common::{Column, JoinType, NullEquality, Result, tree_node::Transformed},
    logical_expr::{Expr, Join, LogicalPlan},
    optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule},
};

use super::sizes;

/// Moves a semi-join below the inner joins on its left.
#[derive(Debug)]
pub(super) struct SemiDown;

impl OptimizerRule for SemiDown {
    fn name(&self) -> &'static str {
        "semi_join_down"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Join(semi) = &plan else { return Ok(Transformed::no(plan)) };
        let plain = semi.join_type == JoinType::LeftSemi
            && semi.filter.is_none()
            && semi.null_equality == NullEquality::NullEqualsNothing;
        let keys: Option<Vec<&Column>> = semi.on.iter().map(|(key, _)| key.try_as_col()).collect();
        let Some(keys) = keys.filter(|keys| plain && !keys.is_empty()) else {
            return Ok(Transformed::no(plan));
        };
        match down(&semi.left, semi, &keys, false)? {
            Some(moved) => Ok(Transformed::yes(moved)),
            None => Ok(Transformed::no(plan)),
        }
    }
}

/// The plan with the question asked as far down as its keys are there; nothing when that would be no
/// less work.
fn down(
    plan: &LogicalPlan,
    semi: &Join,
    keys: &[&Column],
    below: bool,
) -> Result<Option<LogicalPlan>> {
    match plan {
        LogicalPlan::Projection(it)
            if it.expr.iter().all(|expr| matches!(expr, Expr::Column(_))) =>
        {
            let Some(input) = down(&it.input, semi, keys, below)? else { return Ok(None) };
            plan.with_new_exprs(it.expr.clone(), vec![input]).map(Some)
        }
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner => {
            let has = |side: &LogicalPlan| keys.iter().all(|key| side.schema().has_column(key));
            let mut join = join.clone();
            let side = match (has(&join.left), has(&join.right)) {
                (true, false) => &mut join.left,
                (false, true) => &mut join.right,
                // Keys of both sides, or a name that both have.
                _ => return asked(plan, semi, below),
            };
            let Some(moved) = down(side, semi, keys, true)? else { return Ok(None) };
            *side = Arc::new(moved);
            Ok(Some(LogicalPlan::Join(join)))
        }
        plan => asked(plan, semi, below),
    }
}

/// The question here, when it is further down than it was and its answer smaller than what is asked.
fn asked(plan: &LogicalPlan, semi: &Join, below: bool) -> Result<Option<LogicalPlan>> {
    if !below || sizes::rows(&semi.right) >= sizes::rows(plan) {
        return Ok(None);
    }
    let join = Join::try_new(
        Arc::new(plan.clone()),
        Arc::clone(&semi.right),
        semi.on.clone(),
        None,
        JoinType::LeftSemi,
        semi.join_constraint,
        semi.null_equality,
        false,
    )?;
    Ok(Some(LogicalPlan::Join(join)))
}
