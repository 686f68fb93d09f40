//! Which tables are joined first? Of all pairs that a condition connects, the one that gives the fewest
//! rows, again and again.

use datafusion::{
    common::{Column, JoinType, NullEquality, Result, tree_node::Transformed},
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, utils::conjunction},
    optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule},
};

use super::sizes;

/// Tables of one join whose order is looked at.
const TABLES_MAX: usize = 16;
/// How much less there must be to do before joins are turned around.
const GAIN: f64 = 0.7;

/// Puts inner joins into the order that gives the fewest rows in between.
#[derive(Debug)]
pub(super) struct Order;

impl OptimizerRule for Order {
    fn name(&self) -> &'static str {
        "join_order"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let mut graph = Graph::default();
        let Some(written) = graph.take(&plan) else { return Ok(Transformed::no(plan)) };
        if !(3..=TABLES_MAX).contains(&graph.tables.len()) {
            return Ok(Transformed::no(plan));
        }
        let Some(best) = graph.order() else { return Ok(Transformed::no(plan)) };
        if best.cost > GAIN * graph.cost(&written).cost {
            return Ok(Transformed::no(plan));
        }
        let all: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        let built = graph.build(&best.shape)?;
        Ok(Transformed::yes(LogicalPlanBuilder::from(built).project(all)?.build()?))
    }
}

/// How tables are joined.
#[derive(Debug, Clone)]
enum Shape {
    Table(usize),
    Join(Box<(Shape, Shape)>),
}

/// A condition, and the tables that it is about, one bit each.
struct Condition {
    expr: Expr,
    tables: u32,
}

/// An equality between two sides that are about other tables.
struct Equality {
    sides: [Condition; 2],
    /// Among how many values partners are looked for.
    values: Option<f64>,
}

/// A part of the tables, joined.
#[derive(Clone)]
struct Part {
    shape: Shape,
    tables: u32,
    rows: f64,
    /// Rows of its smallest table before any filter bounds what it can be joined by.
    base: f64,
    /// Rows of all that lies between.
    cost: f64,
}

/// What is joined, and on what.
#[derive(Default)]
struct Graph {
    tables: Vec<LogicalPlan>,
    equalities: Vec<Equality>,
    /// Conditions that are no equalities.
    others: Vec<Condition>,
}

impl Graph {
    /// Takes inner joins apart; nothing when this is none, or one that must stay as it is.
    fn take(&mut self, plan: &LogicalPlan) -> Option<Shape> {
        let (shape, on, filters) = self.parts(plan)?;
        if on.is_empty() {
            return None;
        }
        for (left, right) in on {
            let sides = [self.condition(left)?, self.condition(right)?];
            let [left, right] = &sides;
            if left.tables == 0 || right.tables == 0 || left.tables & right.tables != 0 {
                return None;
            }
            // Tables of one side may be joined before the other side is there: no key, but a condition.
            if [left, right].iter().any(|side| side.tables.count_ones() > 1) {
                let tables = left.tables | right.tables;
                let expr = left.expr.clone().eq(right.expr.clone());
                self.others.push(Condition { expr, tables });
                continue;
            }
            let values = sides.each_ref().map(|side| self.values(side));
            let values = sizes::partners(values[0], values[1]);
            self.equalities.push(Equality { sides, values });
        }
        for filter in filters {
            let condition = self.condition(filter)?;
            self.others.push(condition);
        }
        Some(shape)
    }

    #[expect(clippy::type_complexity, reason = "the parts of a join, used once")]
    fn parts(&mut self, plan: &LogicalPlan) -> Option<(Shape, Vec<(Expr, Expr)>, Vec<Expr>)> {
        let join = match plan {
            LogicalPlan::Join(join)
                if join.join_type == JoinType::Inner
                    && join.null_equality == NullEquality::NullEqualsNothing =>
            {
                join
            }
            _ => return None,
        };
        let (mut on, mut filters) = (join.on.clone(), Vec::from_iter(join.filter.clone()));
        let mut side = |plan: &LogicalPlan| match self.parts(through(plan)) {
            Some((shape, more, others)) => {
                on.extend(more);
                filters.extend(others);
                shape
            }
            None => {
                self.tables.push(plan.clone());
                Shape::Table(self.tables.len() - 1)
            }
        };
        let (left, right) = (side(&join.left), side(&join.right));
        Some((Shape::Join(Box::new((left, right))), on, filters))
    }

    /// A condition with its tables; nothing when it is about what not exactly one table has, or gives
    /// something else each time.
    fn condition(&self, expr: Expr) -> Option<Condition> {
        if expr.is_volatile() {
            return None;
        }
        let mut tables = 0;
        for column in expr.column_refs() {
            tables |= 1 << self.table_of(column)?;
        }
        Some(Condition { expr, tables })
    }

    fn table_of(&self, column: &Column) -> Option<usize> {
        let mut having = (0..self.tables.len())
            .filter(|number| self.tables[*number].schema().has_column(column));
        let found = having.next()?;
        having.next().is_none().then_some(found)
    }

    fn values(&self, side: &Condition) -> Option<f64> {
        let column = side.expr.try_as_col()?;
        sizes::values(self.tables.get(self.table_of(column)?)?, column)
    }

    fn table(&self, number: usize) -> Part {
        let plan = &self.tables[number];
        let (rows, base) = (sizes::rows(plan), sizes::base(plan));
        Part { shape: Shape::Table(number), tables: 1 << number, rows, base, cost: 0.0 }
    }

    /// Two parts, joined; the smaller one stands on the left, where it is held in memory.
    fn join(&self, one: &Part, other: &Part) -> Part {
        let (left, right) = if one.rows <= other.rows { (one, other) } else { (other, one) };
        let keys = self.keys(left.tables, right.tables).map(|(at, _)| self.equalities[at].values);
        let keys: Vec<Option<f64>> = keys.collect();
        let smaller = left.base.min(right.base);
        let apart = if keys.is_empty() { 1.0 } else { sizes::apart(keys.into_iter(), smaller) };
        let rows = (left.rows * right.rows / apart).max(1.0);
        Part {
            shape: Shape::Join(Box::new((left.shape.clone(), right.shape.clone()))),
            tables: left.tables | right.tables,
            rows,
            base: left.base.max(right.base),
            // What is held in memory costs more than what passes.
            cost: left.cost + right.cost + rows + left.rows,
        }
    }

    /// The equalities between two parts, and whether their first side is about the first part.
    fn keys(&self, left: u32, right: u32) -> impl Iterator<Item = (usize, bool)> {
        let within = |side: &Condition, part: u32| side.tables & !part == 0;
        self.equalities.iter().enumerate().filter_map(move |(at, equality)| {
            let [one, other] = &equality.sides;
            let straight = within(one, left) && within(other, right);
            let turned = within(one, right) && within(other, left);
            (straight || turned).then_some((at, straight))
        })
    }

    /// What it costs to join tables like this.
    fn cost(&self, shape: &Shape) -> Part {
        match shape {
            Shape::Table(number) => self.table(*number),
            Shape::Join(sides) => {
                let (left, right) = (self.cost(&sides.0), self.cost(&sides.1));
                let joined = self.join(&left, &right);
                // As it is written, the left side is the one that is held, whatever its size.
                let cost = left.cost + right.cost + joined.rows + left.rows;
                Part { shape: shape.clone(), cost, ..joined }
            }
        }
    }

    /// The order that gives the fewest rows step by step; nothing when conditions do not connect all.
    fn order(&self) -> Option<Part> {
        let mut parts: Vec<Part> = (0..self.tables.len()).map(|at| self.table(at)).collect();
        while parts.len() > 1 {
            let pairs = (0..parts.len()).flat_map(|one| (0..one).map(move |other| (one, other)));
            let connected = pairs.filter(|(one, other)| {
                self.keys(parts[*one].tables, parts[*other].tables).next().is_some()
            });
            let joined = connected.map(|(one, other)| {
                let part = self.join(&parts[other], &parts[one]);
                (one, other, part)
            });
            let (one, other, part) = joined
                .min_by(|a, b| a.2.rows.total_cmp(&b.2.rows).then((a.1, a.0).cmp(&(b.1, b.0))))?;
            parts.remove(one);
            parts.remove(other);
            parts.push(part);
        }
        parts.pop()
    }

    fn build(&self, shape: &Shape) -> Result<LogicalPlan> {
        let mut left = self.others.iter().collect();
        let (plan, tables) = self.build_part(shape, &mut left)?;
        debug_assert_eq!(tables.count_ones() as usize, self.tables.len(), "every table is joined");
        Ok(plan)
    }

    /// A part of the plan with the conditions that it can hold, which are taken out of `waiting`.
    fn build_part(
        &self,
        shape: &Shape,
        waiting: &mut Vec<&Condition>,
    ) -> Result<(LogicalPlan, u32)> {
        let sides = match shape {
            Shape::Table(number) => return Ok((self.tables[*number].clone(), 1 << number)),
            Shape::Join(sides) => sides,
        };
        let (left, left_tables) = self.build_part(&sides.0, waiting)?;
        let (right, right_tables) = self.build_part(&sides.1, waiting)?;
        let tables = left_tables | right_tables;
        let (mut of_left, mut of_right) = (Vec::new(), Vec::new());
        for (at, straight) in self.keys(left_tables, right_tables) {
            let [one, other] = &self.equalities[at].sides;
            let (one, other) = if straight { (one, other) } else { (other, one) };
            of_left.push(one.expr.clone());
            of_right.push(other.expr.clone());
        }
        let (here, later): (Vec<_>, Vec<_>) =
            waiting.drain(..).partition(|condition| condition.tables & !tables == 0);
        *waiting = later;
        let filter = conjunction(here.into_iter().map(|condition| condition.expr.clone()));
        let joined = LogicalPlanBuilder::from(left).join_with_expr_keys(
            right,
            JoinType::Inner,
            (of_left, of_right),
            filter,
        )?;
        Ok((joined.build()?, tables))
    }
}

/// The plan without projections that only leave columns out.
fn through(plan: &LogicalPlan) -> &LogicalPlan {
    match plan {
        LogicalPlan::Projection(it)
            if it.expr.iter().all(|expr| matches!(expr, Expr::Column(_))) =>
        {
            through(&it.input)
        }
        plan => plan,
    }
}
