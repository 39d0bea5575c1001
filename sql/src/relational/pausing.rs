//! Joins make any number of rows of few, and look at any number of pairs for one row. Two things keep
//! them from holding their worker until they are done:
//!
//! ```text
//! between batches     a join gives way now and then: time-outs and cancel requests are heard while a
//!                     node above collects what it makes
//! within a batch      the filter asks whether the statement must end each time it runs, since a join
//!                     that finds nothing goes from pair to pair without an answer
//! ```

use super::fault::into_datafusion;
use datafusion::arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNodeRewriter};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, HashJoinExecBuilder, NestedLoopJoinExec, NestedLoopJoinExecBuilder,
};
use expr::SessionFacts;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Of joins below each other, one in so many gives way. Each that does takes from the task's budget
/// (128 in Tokio) before it asks its input, so in a long chain of them nobody would ever be served.
const JOINS_PER_PAUSE: usize = 16;

/// Rewrites the joins of a plan.
pub struct Pausing {
    facts: Arc<dyn SessionFacts>,
    /// Above the node that is visited, itself included.
    joins: usize,
}

impl Pausing {
    pub fn new(facts: Arc<dyn SessionFacts>) -> Self {
        Self { facts, joins: 0 }
    }

    fn heeding(&self, filter: &JoinFilter) -> JoinFilter {
        let test = Heeding { test: filter.expression().clone(), facts: self.facts.clone() };
        let columns = filter.column_indices().to_vec();
        JoinFilter::new(Arc::new(test), columns, filter.schema().clone())
    }
}

fn is_join(node: &Arc<dyn ExecutionPlan>) -> bool {
    node.is::<NestedLoopJoinExec>() || node.is::<HashJoinExec>() || node.is::<CrossJoinExec>()
}

impl TreeNodeRewriter for Pausing {
    type Node = Arc<dyn ExecutionPlan>;

    fn f_down(&mut self, node: Self::Node) -> Result<Transformed<Self::Node>> {
        if is_join(&node) {
            self.joins += 1;
        }
        Ok(Transformed::no(node))
    }

    fn f_up(&mut self, node: Self::Node) -> Result<Transformed<Self::Node>> {
        if !is_join(&node) {
            return Ok(Transformed::no(node));
        }
        self.joins -= 1;
        let mut join = node;
        if let Some(nested) = join.downcast_ref::<NestedLoopJoinExec>()
            && let Some(filter) = nested.filter()
        {
            let filter = Some(self.heeding(filter));
            let nested = NestedLoopJoinExecBuilder::from(nested).with_filter(filter).build()?;
            join = Arc::new(nested);
        } else if let Some(hashed) = join.downcast_ref::<HashJoinExec>()
            && let Some(filter) = hashed.filter()
        {
            let filter = Some(self.heeding(filter));
            join = HashJoinExecBuilder::from(hashed).with_filter(filter).build_exec()?;
        }
        if self.joins.is_multiple_of(JOINS_PER_PAUSE) {
            join = Arc::new(CooperativeExec::new(join));
        }
        Ok(Transformed::yes(join))
    }
}

/// A test that fails once its statement must end.
struct Heeding {
    test: Arc<dyn PhysicalExpr>,
    facts: Arc<dyn SessionFacts>,
}

impl PhysicalExpr for Heeding {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.test.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.test.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.test.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.facts.check_cancel().map_err(into_datafusion)?;
        self.test.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.test]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self { test: children.swap_remove(0), facts: self.facts.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.test.fmt_sql(f)
    }
}

impl fmt::Display for Heeding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.test, f)
    }
}

impl fmt::Debug for Heeding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.test, f)
    }
}

impl PartialEq for Heeding {
    fn eq(&self, other: &Self) -> bool {
        *self.test == *other.test
    }
}

impl Eq for Heeding {}

impl Hash for Heeding {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.test.hash(state);
    }
}
