//! Walks over a relational tree.

use super::{
    AggregateCall, ApplyKind, FrameBound, ProjectItem, Rel, RelNode, SetCall, SortKey,
    TableFunctionSource, WindowFunction,
};
use expr::Expr;

impl Rel {
    /// The nodes directly below; the flag says whether one is the right side of an Apply.
    pub fn inputs_mut(&mut self) -> Vec<(&mut Rel, bool)> {
        match &mut self.node {
            RelNode::Scan { .. }
            | RelNode::VirtualScan { .. }
            | RelNode::Values { .. }
            | RelNode::TableFunction { .. }
            | RelNode::CteRef { .. } => Vec::new(),
            RelNode::Filter { input, .. }
            | RelNode::Project { input, .. }
            | RelNode::ProjectSet { input, .. }
            | RelNode::Aggregate { input, .. }
            | RelNode::Window { input, .. }
            | RelNode::Sort { input, .. }
            | RelNode::Limit { input, .. }
            | RelNode::Distinct { input }
            | RelNode::DistinctOn { input, .. }
            | RelNode::LockRows { input, .. } => vec![(&mut **input, false)],
            RelNode::Join { left, right, .. } | RelNode::SetOp { left, right, .. } => {
                vec![(&mut **left, false), (&mut **right, false)]
            }
            RelNode::Apply { left, right, .. } => {
                vec![(&mut **left, false), (&mut **right, true)]
            }
            RelNode::RecursiveUnion { base, step, .. } => {
                vec![(&mut **base, false), (&mut **step, false)]
            }
            RelNode::With { ctes, body } => ctes
                .iter_mut()
                .map(|cte| (&mut cte.rel, false))
                .chain([(&mut **body, false)])
                .collect(),
        }
    }

    /// The expressions of this node itself.
    pub fn exprs_mut(&mut self) -> Vec<&mut Expr> {
        match &mut self.node {
            RelNode::Scan { sample, .. } => match sample {
                Some(sample) => {
                    std::iter::once(&mut sample.percent).chain(&mut sample.seed).collect()
                }
                None => Vec::new(),
            },
            RelNode::VirtualScan { .. }
            | RelNode::Distinct { .. }
            | RelNode::SetOp { .. }
            | RelNode::With { .. }
            | RelNode::CteRef { .. }
            | RelNode::RecursiveUnion { .. }
            | RelNode::LockRows { .. } => Vec::new(),
            RelNode::Values { rows } => rows.iter_mut().flatten().collect(),
            RelNode::Filter { predicate, .. } => vec![predicate],
            RelNode::Project { exprs, .. } => exprs.iter_mut().collect(),
            RelNode::ProjectSet { items, .. } => items
                .iter_mut()
                .flat_map(|item| match item {
                    ProjectItem::Scalar(expr) => vec![expr],
                    ProjectItem::Set(call) => set_call(call),
                })
                .collect(),
            RelNode::TableFunction { functions, .. } => functions
                .iter_mut()
                .flat_map(|function| match &mut function.source {
                    TableFunctionSource::Set(call) => set_call(call),
                    TableFunctionSource::Scalar(expr) => vec![expr],
                })
                .collect(),
            RelNode::Join { on, filter, .. } => {
                on.iter_mut().flat_map(|(left, right)| [left, right]).chain(filter).collect()
            }
            RelNode::Aggregate { groups, calls, .. } => {
                groups.iter_mut().chain(calls.iter_mut().flat_map(aggregate)).collect()
            }
            RelNode::Window { calls, .. } => calls
                .iter_mut()
                .flat_map(|call| {
                    let mut all = match &mut call.function {
                        WindowFunction::Window { args, .. } => args.iter_mut().collect(),
                        WindowFunction::Aggregate(call) => aggregate(call),
                    };
                    all.extend(&mut call.partition);
                    all.extend(call.order.iter_mut().map(|key| &mut key.expr));
                    for bound in [&mut call.frame.start, &mut call.frame.end] {
                        match bound {
                            FrameBound::Preceding(expr) | FrameBound::Following(expr) => {
                                all.push(expr);
                            }
                            FrameBound::UnboundedPreceding
                            | FrameBound::CurrentRow
                            | FrameBound::UnboundedFollowing => {}
                        }
                    }
                    all
                })
                .collect(),
            RelNode::Sort { keys, .. } => sort_keys(keys),
            RelNode::Limit { limit, offset, ties, .. } => limit
                .iter_mut()
                .chain(offset)
                .chain(ties.iter_mut().flat_map(|keys| sort_keys(keys)))
                .collect(),
            RelNode::DistinctOn { keys, .. } => keys.iter_mut().collect(),
            RelNode::Apply { kind, .. } => match kind {
                ApplyKind::Any { test } | ApplyKind::All { test } => vec![test],
                ApplyKind::LateralLeft { on } => on.iter_mut().collect(),
                ApplyKind::Scalar
                | ApplyKind::ScalarRow
                | ApplyKind::Exists
                | ApplyKind::Array
                | ApplyKind::Lateral => Vec::new(),
            },
        }
    }

    /// Every expression of the tree, with how many right sides of Applies it is in.
    pub fn walk_exprs_mut(&mut self, depth: usize, visit: &mut dyn FnMut(&mut Expr, usize)) {
        for expr in self.exprs_mut() {
            visit(expr, depth);
        }
        for (input, is_right) in self.inputs_mut() {
            input.walk_exprs_mut(depth + usize::from(is_right), visit);
        }
    }

    /// Every outer column that points out of this tree: its depth as seen from the tree's root, and
    /// its index. May be changed.
    pub fn walk_outer_mut(&mut self, visit: &mut dyn FnMut(&mut usize, &mut usize)) {
        self.walk_exprs_mut(0, &mut |expr, inside| {
            expr.transform(&mut |part| {
                if let Expr::OuterColumn { depth, index, .. } = part
                    && *depth >= inside
                {
                    let mut from_root = *depth - inside;
                    visit(&mut from_root, index);
                    *depth = from_root + inside;
                }
            });
        });
    }

    /// Whether it reads the row of the `depth`-th Apply around it (0: the nearest).
    pub fn reads_outer(&mut self, depth: usize) -> bool {
        let mut found = false;
        self.walk_outer_mut(&mut |own, _| found |= *own == depth);
        found
    }

    /// Moves outer references when an Apply around it disappears or appears.
    pub fn shift_outer(&mut self, by: isize) {
        self.walk_outer_mut(&mut |depth, _| *depth = depth.saturating_add_signed(by));
    }

    pub fn width(&self) -> usize {
        self.fields.len()
    }

    /// Every node, top down.
    pub fn walk_mut(&mut self, depth: usize, visit: &mut dyn FnMut(&mut Rel, usize)) {
        visit(self, depth);
        for (input, is_right) in self.inputs_mut() {
            input.walk_mut(depth + usize::from(is_right), visit);
        }
    }
}

fn set_call(call: &mut SetCall) -> Vec<&mut Expr> {
    call.args.iter_mut().collect()
}

fn sort_keys(keys: &mut [SortKey]) -> Vec<&mut Expr> {
    keys.iter_mut().map(|key| &mut key.expr).collect()
}

fn aggregate(call: &mut AggregateCall) -> Vec<&mut Expr> {
    let order = call.order.iter_mut().map(|key| &mut key.expr);
    call.args.iter_mut().chain(order).chain(&mut call.filter).collect()
}
