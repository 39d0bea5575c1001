//! EXPLAIN: the plan as a tree of text; with ANALYZE, what it did.
//!
//! The nodes are ours, not PostgreSQL's, and there are no costs: no statistics stand behind any
//! choice yet.

use crate::context::ExecContext;
use crate::error::{SqlError, SqlResult};
use crate::session::statement::{Produced, run_rows};
use planner::{
    Access, ExplainFormat, ExplainPlan, InsertSource, KeyList, KeyRange, OltpPlan, Plan, Rel,
    RelNode, TargetSource, WriteOp, WritePlan,
};
use std::sync::Arc;
use std::time::Instant;

pub(crate) async fn execute(plan: &ExplainPlan, ctx: &Arc<ExecContext>) -> SqlResult<Vec<String>> {
    if plan.options.format != ExplainFormat::Text {
        return Err(SqlError::unsupported("EXPLAIN in a format other than TEXT"));
    }
    let mut tree = Tree::default();
    tree.plan(&plan.plan.plan, 0);
    if !plan.options.analyze {
        return Ok(tree.lines);
    }
    let start = Instant::now();
    let rows = match run_rows(&plan.plan.plan, plan.plan.tag, ctx).await? {
        Produced::Stream(mut rows) => {
            let mut count = 0;
            while let Some(batch) = rows.next(10_000).await? {
                count += batch.len() as u64;
            }
            count
        }
        Produced::Written(written) => written.count,
    };
    let elapsed = start.elapsed();
    if let Some(first) = tree.lines.first_mut() {
        first.push_str(&format!("  (actual rows={rows})"));
    }
    tree.lines.push(format!("Guarantee: {}", ctx.txn.guarantee()));
    if plan.options.timing != Some(false) && plan.options.summary != Some(false) {
        tree.lines.push(format!("Execution Time: {:.3} ms", elapsed.as_secs_f64() * 1000.0));
    }
    Ok(tree.lines)
}

#[derive(Default)]
struct Tree {
    lines: Vec<String>,
}

impl Tree {
    fn node(&mut self, depth: usize, text: impl AsRef<str>) {
        let text = text.as_ref();
        self.lines.push(match depth {
            0 => text.to_owned(),
            _ => format!("{}->  {text}", "      ".repeat(depth - 1) + "  "),
        });
    }

    fn note(&mut self, depth: usize, text: impl AsRef<str>) {
        self.lines.push(format!("{}  {}", "      ".repeat(depth), text.as_ref()));
    }

    fn plan(&mut self, plan: &Plan, depth: usize) {
        match plan {
            Plan::Oltp(oltp) => self.oltp(oltp, depth),
            Plan::Query(query) => self.rel(&query.rel, depth),
            Plan::Write(write) => self.write(write, depth),
            Plan::WithWrites { writes, body } => {
                self.node(depth, "With");
                for (_, write) in writes {
                    self.write(write, depth + 1);
                }
                self.plan(body, depth + 1);
            }
            Plan::Ddl(_) => self.node(depth, "Schema change"),
            _ => self.node(depth, "Utility"),
        }
    }

    fn oltp(&mut self, plan: &OltpPlan, mut depth: usize) {
        if plan.limit.is_some() || plan.offset.is_some() {
            self.node(depth, "Limit");
            depth += 1;
        }
        if !plan.order.is_empty() {
            self.node(depth, "Sort");
            depth += 1;
        }
        if !plan.aggregates.is_empty() {
            self.node(depth, "Aggregate");
            depth += 1;
        }
        if plan.lock.is_some() {
            self.node(depth, "LockRows");
            depth += 1;
        }
        let table = plan.table.as_deref();
        self.node(depth, access(&plan.access, table));
        if plan.filter.is_some() {
            self.note(depth, "Filter: yes");
        }
    }

    fn write(&mut self, plan: &WritePlan, depth: usize) {
        let name = &plan.table.name;
        match &plan.op {
            WriteOp::Insert(op) => {
                self.node(depth, format!("Insert on {name}"));
                if op.on_conflict.is_some() {
                    self.note(depth, "Conflict Resolution: yes");
                }
                match &op.source {
                    InsertSource::Values(rows) => {
                        self.node(depth + 1, format!("Values  (rows={})", rows.len()));
                    }
                    InsertSource::Query { rel, .. } => self.rel(rel, depth + 1),
                }
            }
            WriteOp::Update(op) => {
                self.node(depth, format!("Update on {name}"));
                self.source(&op.source, plan, depth + 1);
            }
            WriteOp::Delete(op) => {
                self.node(depth, format!("Delete on {name}"));
                self.source(&op.source, plan, depth + 1);
            }
        }
    }

    fn source(&mut self, source: &TargetSource, plan: &WritePlan, depth: usize) {
        match source {
            TargetSource::Keys { access: path, filter, .. } => {
                self.node(depth, access(path, Some(&plan.table)));
                if filter.is_some() {
                    self.note(depth, "Filter: yes");
                }
            }
            TargetSource::Rel { rel, .. } => self.rel(rel, depth),
            TargetSource::CurrentOf(cursor) => self.node(depth, format!("Current of {cursor}")),
        }
    }

    fn rel(&mut self, rel: &Rel, depth: usize) {
        if let RelNode::Filter { input, .. } = &rel.node
            && matches!(input.node, RelNode::Scan { .. })
            && let Some(plan) = planner::access::oltp_plan(rel)
            && !plan.access.is_full_scan()
        {
            self.oltp(&plan, depth);
            return;
        }
        let (text, children): (String, Vec<&Rel>) = match &rel.node {
            RelNode::Scan { table, .. } => (format!("Scan on {}", table.name), Vec::new()),
            RelNode::VirtualScan { table, .. } => {
                (format!("Virtual Scan on {table:?}"), Vec::new())
            }
            RelNode::Values { rows } => (format!("Values  (rows={})", rows.len()), Vec::new()),
            RelNode::Filter { input, .. } => ("Filter".to_owned(), vec![input]),
            RelNode::Project { input, .. } => ("Project".to_owned(), vec![input]),
            RelNode::ProjectSet { input, .. } => ("ProjectSet".to_owned(), vec![input]),
            RelNode::TableFunction { .. } => ("Function Scan".to_owned(), Vec::new()),
            RelNode::Join { kind, left, right, on, .. } => {
                let how = if on.is_empty() { "Nested Loop" } else { "Hash" };
                (format!("{how} {kind:?} Join"), vec![left, right])
            }
            RelNode::Aggregate { input, groups, .. } => {
                let how = if groups.is_empty() { "Aggregate" } else { "Hash Aggregate" };
                (how.to_owned(), vec![input])
            }
            RelNode::Window { input, .. } => ("WindowAgg".to_owned(), vec![input]),
            RelNode::Sort { input, .. } => ("Sort".to_owned(), vec![input]),
            RelNode::Limit { input, .. } => ("Limit".to_owned(), vec![input]),
            RelNode::Distinct { input } => ("Unique".to_owned(), vec![input]),
            RelNode::DistinctOn { input, .. } => ("Unique".to_owned(), vec![input]),
            RelNode::SetOp { op, all, left, right } => {
                let all = if *all { " All" } else { "" };
                (format!("{op:?}{all}"), vec![left, right])
            }
            RelNode::With { ctes, body } => {
                let mut children: Vec<&Rel> = ctes.iter().map(|cte| &cte.rel).collect();
                children.push(body);
                ("With".to_owned(), children)
            }
            RelNode::CteRef { name, .. } => (format!("CTE Scan on {name}"), Vec::new()),
            RelNode::RecursiveUnion { base, step, .. } => {
                ("Recursive Union".to_owned(), vec![base, step])
            }
            RelNode::Apply { kind, left, right } => {
                let kind = format!("{kind:?}");
                let kind = kind.split([' ', '{']).next().unwrap_or_default();
                (format!("Apply {kind}"), vec![left, right])
            }
            RelNode::LockRows { input, .. } => ("LockRows".to_owned(), vec![input]),
        };
        self.node(depth, text);
        for child in children {
            self.rel(child, depth + 1);
        }
    }
}

fn access(access: &Access, table: Option<&catalog::TableDescriptor>) -> String {
    let name = table.map_or("nothing", |table| &table.name);
    let index_name = |id: &u32| {
        let index = table.and_then(|table| table.index_by_id(*id));
        index.map_or_else(|| id.to_string(), |index| index.name.clone())
    };
    let span = |range: &KeyRange| {
        let backward = if range.reverse { " Backward" } else { "" };
        match range.prefix.len() {
            0 if range.is_everything() => format!("{backward}  (all)"),
            columns => format!("{backward}  (prefix columns={columns})"),
        }
    };
    match access {
        Access::Values(rows) => format!("Result  (rows={})", rows.len()),
        Access::PkGet { .. } => format!("PkGet on {name}"),
        Access::PkMultiGet { keys: KeyList::Keys(keys) } => {
            format!("PkMultiGet on {name}  (keys={})", keys.len())
        }
        Access::PkMultiGet { keys: KeyList::Array(_) } => format!("PkMultiGet on {name}"),
        Access::PkRange(range) => format!("PkRange on {name}{}", span(range)),
        Access::IndexGet { index, .. } => {
            format!("IndexGet on {name} using {}", index_name(index))
        }
        Access::IndexRange { index, range, covering } => {
            let only = if *covering { " Only" } else { "" };
            format!("IndexRange{only} on {name} using {}{}", index_name(index), span(range))
        }
    }
}
