//! How a bound statement reaches its rows.
//!
//! ```text
//! path.rs       conjuncts over one table's row -> the best Access and what is left to test
//! oltp.rs       a relational tree over one table -> an OltpPlan, where that is enough
//! simplify.rs   EXISTS and IN in WHERE -> semi and anti joins; conditions -> the side they speak of
//! ```

mod oltp;
mod path;
mod simplify;

pub use oltp::oltp_plan;
pub use path::{AccessPath, choose};
pub(crate) use simplify::equal_pair;
pub use simplify::simplify;

use crate::plan::{Rel, RelNode};

/// Whether the tree locks rows.
pub(crate) fn locks_rows(rel: &Rel) -> bool {
    let mut rel = rel.clone();
    let mut found = false;
    rel.walk_mut(0, &mut |node, _| found |= matches!(node.node, RelNode::LockRows { .. }));
    found
}
