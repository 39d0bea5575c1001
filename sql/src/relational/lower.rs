//! [`Rel`] to DataFusion's logical plan.
//!
//! Every column of a lowered plan has a name of its own (`c17`), so duplicate names in SQL never
//! meet DataFusion's; positions in a `Rel` map to these names through [`Lowered::slots`].

use super::QueryContext;
use super::aggregate::{AggregateFunction, CallShape};
use super::append::Append;
use super::batch::{ColumnBuilder, arrow_type, compares_natively};
use super::by_key::{LOOKED_UP_ROWS_MAX, looked_up};
use super::fault::into_sql;
use super::kernel::{self, Slot, column, comparable};
use super::memory::{self, Kept};
use super::operators;
use super::pausing::Pausing;
use super::scan::TableScan;
use super::series::Series;
use crate::error::{SqlError, SqlResult};
use crate::outcome::Row;
use datafusion::arrow::datatypes::{Field as ArrowField, Schema};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::JoinType;
use datafusion::common::tree_node::TreeNode;
use datafusion::datasource::{MemTable, TableProvider, provider_as_source};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::expr::{AggregateFunction as AggregateExpr, Sort};
use datafusion::logical_expr::{
    AggregateUDF, Expr as DfExpr, LogicalPlan, LogicalPlanBuilder, Projection, lit,
};
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::SessionConfig;
use datum::{Datum, SqlType};
use expr::{Expr, Integers, SessionFacts};
use futures::future::BoxFuture;
use planner::plan::{
    AggregateCall, Cte, CteId, Field, JoinKind, Rel, RelNode, SetOperator, SortKey,
    TableFunctionCall, TableFunctionSource,
};
use std::collections::HashMap;
use std::sync::Arc;

/// Rows of one batch made from materialised rows.
const BATCH_ROWS: usize = 8192;

/// A plan, and what its columns are called.
pub struct Lowered {
    pub plan: LogicalPlan,
    pub slots: Vec<Slot>,
}

/// Where the rows of a CTE come from.
#[derive(Clone)]
pub enum CteRows {
    /// Lowered again at each reference.
    Inline(Arc<Rel>),
    Rows(Arc<Vec<Row>>),
}

pub struct Lowering {
    pub context: QueryContext,
    pub ctes: HashMap<CteId, CteRows>,
    /// The rows that are in memory for this query.
    pub kept: Kept,
    next_name: usize,
}

/// Optimises and starts a plan; it stops when `facts` say that the statement must.
pub async fn run(
    plan: LogicalPlan,
    facts: &Arc<dyn SessionFacts>,
) -> SqlResult<SendableRecordBatchStream> {
    let mut config = SessionConfig::new().with_target_partitions(1).with_batch_size(BATCH_ROWS);
    config.options_mut().optimizer.enable_dynamic_filter_pushdown = false;
    config.options_mut().optimizer.repartition_joins = false;
    config.options_mut().optimizer.repartition_aggregations = false;
    let session = SessionContext::new_with_config_rt(config, memory::runtime());
    let physical = session.state().create_physical_plan(&plan).await.map_err(into_sql)?;
    let physical = physical.rewrite(&mut Pausing::new(facts.clone())).map_err(into_sql)?.data;
    datafusion::physical_plan::execute_stream(physical, session.task_ctx()).map_err(into_sql)
}

/// What a chain of unions joins together, in order: one node, however long the chain. Under UNION,
/// an inner UNION ALL may as well keep its duplicates.
fn union_arms(rel: &Rel, all: bool) -> Vec<&Rel> {
    let mut arms = Vec::new();
    let mut open = vec![rel];
    while let Some(rel) = open.pop() {
        match &rel.node {
            RelNode::SetOp { op: SetOperator::Union, all: inner, left, right }
                if *inner || !all =>
            {
                open.push(right);
                open.push(left);
            }
            _ => arms.push(rel),
        }
    }
    arms
}

impl Lowering {
    pub fn new(context: QueryContext) -> Self {
        let ctes = context
            .exec
            .cte_rows
            .iter()
            .map(|(id, rows)| (*id, CteRows::Rows(rows.clone())))
            .collect();
        Self { context, ctes, kept: Kept::new(), next_name: 0 }
    }

    /// The rows of a node, all of them.
    pub fn rows<'a>(&'a mut self, rel: &'a Rel) -> BoxFuture<'a, SqlResult<Vec<Row>>> {
        Box::pin(async move {
            use futures::StreamExt;
            if let Some(rows) =
                looked_up(rel, usize::MAX, self.context.exec.clone(), Some(&self.kept)).await?
            {
                return Ok(rows);
            }
            let types: Vec<SqlType> = types_of(&rel.fields);
            let lowered = self.lower(rel).await?;
            let mut stream = run(lowered.plan, &self.context.eval.facts).await?;
            let mut rows = Vec::new();
            while let Some(batch) = stream.next().await {
                let more = super::batch::rows(&batch.map_err(into_sql)?, &types)?;
                self.kept.rows(&more)?;
                rows.extend(more);
            }
            Ok(rows)
        })
    }

    pub fn lower<'a>(&'a mut self, rel: &'a Rel) -> BoxFuture<'a, SqlResult<Lowered>> {
        Box::pin(async move {
            match &rel.node {
                RelNode::Scan { table, columns, row_id, sample } => {
                    if sample.is_some() {
                        let rows = operators::sample(self, rel).await?;
                        return self.table(&rel.fields, &rows);
                    }
                    let names = self.names(&rel.fields);
                    let provider = TableScan::new(
                        self.context.exec.txn.clone(),
                        table.clone(),
                        columns.clone(),
                        *row_id,
                        &names,
                    )?;
                    self.leaf(Arc::new(provider), names)
                }
                RelNode::VirtualScan { table, columns } => {
                    let exec = &self.context.exec;
                    let context = exec.virtual_context(table.0).await?;
                    let rows = table.0.rows(&exec.catalog, &context);
                    let rows: Vec<Row> = rows
                        .into_iter()
                        .map(|row| columns.iter().map(|&index| row[index].clone()).collect())
                        .collect();
                    self.table(&rel.fields, &rows)
                }
                RelNode::Values { rows } => {
                    let eval = self.context.eval.borrow();
                    let mut values = Vec::with_capacity(rows.len());
                    for row in rows {
                        let row: Row =
                            row.iter().map(|e| e.eval(&[], &eval)).collect::<Result<_, _>>()?;
                        self.kept.rows(std::slice::from_ref(&row))?;
                        values.push(row);
                    }
                    self.table(&rel.fields, &values)
                }
                RelNode::Filter { input, predicate } => {
                    if matches!(input.node, RelNode::Scan { .. })
                        && let Some(rows) =
                            looked_up(rel, LOOKED_UP_ROWS_MAX, self.context.exec.clone(), None)
                                .await?
                    {
                        return self.table(&rel.fields, &rows);
                    }
                    let input = self.lower(input).await?;
                    let predicate = kernel::lower(predicate, &input.slots, &self.context.eval);
                    let plan = build(LogicalPlanBuilder::from(input.plan).filter(predicate))?;
                    Ok(Lowered { plan, slots: input.slots })
                }
                RelNode::Project { input, exprs } => {
                    let input = self.lower(input).await?;
                    self.project(input, exprs, &rel.fields)
                }
                RelNode::Join { kind, left, right, on, filter } => {
                    self.join(*kind, left, right, on, filter.as_ref()).await
                }
                RelNode::Aggregate { input, groups, sets, calls, groupings } => {
                    let sets = match sets {
                        None => vec![(0..groups.len()).collect()],
                        Some(sets) => sets.clone(),
                    };
                    self.aggregate(rel, input, groups, &sets, calls, groupings).await
                }
                RelNode::Sort { input, keys } => {
                    let input = self.lower(input).await?;
                    let keys = self.sort_keys(keys, &input.slots);
                    let plan = build(LogicalPlanBuilder::from(input.plan).sort(keys))?;
                    Ok(Lowered { plan, slots: input.slots })
                }
                RelNode::Limit { input, limit, offset, ties: None } => {
                    let skip = self.count(offset.as_ref(), "OFFSET")?.unwrap_or(0);
                    let fetch = self.count(limit.as_ref(), "LIMIT")?;
                    let input = match (&input.node, fetch) {
                        // Only what is returned is locked.
                        (RelNode::LockRows { input: rows, targets }, Some(fetch)) => {
                            let rows_max = skip.saturating_add(fetch);
                            let rows = operators::lock_rows(self, rows, targets, rows_max).await?;
                            self.table(&input.fields, &rows)?
                        }
                        _ => self.lower(input).await?,
                    };
                    let plan = build(LogicalPlanBuilder::from(input.plan).limit(skip, fetch))?;
                    Ok(Lowered { plan, slots: input.slots })
                }
                RelNode::Limit { input, limit, offset, ties: Some(keys) } => {
                    let skip = self.count(offset.as_ref(), "OFFSET")?.unwrap_or(0);
                    let fetch = self.count(limit.as_ref(), "LIMIT")?;
                    let rows = self.rows(input).await?;
                    let rows = operators::limit_with_ties(rows, skip, fetch, keys, &self.context)?;
                    self.table(&rel.fields, &rows)
                }
                RelNode::Distinct { input } => {
                    let input = self.lower(input).await?;
                    self.distinct(input)
                }
                RelNode::SetOp { op: SetOperator::Union, all, .. } => {
                    let mut inputs = Vec::new();
                    for arm in union_arms(rel, *all) {
                        let arm = self.lower(arm).await?;
                        inputs.push(self.anonymous(arm)?);
                    }
                    let union = self.append(inputs, &rel.fields).await?;
                    if *all { Ok(union) } else { self.distinct(union) }
                }
                RelNode::SetOp { op, all, left, right } => {
                    let left = self.rows(left).await?;
                    let right = self.rows(right).await?;
                    let types = types_of(&rel.fields);
                    let keep_common = *op == SetOperator::Intersect;
                    let rows =
                        operators::intersect_or_except(left, right, &types, keep_common, *all)?;
                    self.table(&rel.fields, &rows)
                }
                RelNode::With { ctes, body } => {
                    for cte in ctes {
                        self.define(cte).await?;
                    }
                    self.lower(body).await
                }
                RelNode::CteRef { id, .. } => match self.ctes.get(id).cloned() {
                    Some(CteRows::Inline(rel)) => self.lower(&rel).await,
                    Some(CteRows::Rows(rows)) => self.table(&rel.fields, &rows),
                    None => Err(SqlError::internal("a CTE is read before it is defined")),
                },
                RelNode::ProjectSet { input, items } => {
                    let rows = self.rows(input).await?;
                    let rows = operators::project_set(rows, items, &self.context, &self.kept)?;
                    self.table(&rel.fields, &rows)
                }
                RelNode::TableFunction { functions, ordinality } => {
                    if let Some(lowered) = self.series(rel, functions, *ordinality)? {
                        return Ok(lowered);
                    }
                    let rows = operators::table_function(functions, *ordinality, &self.context)?;
                    self.kept.rows(&rows)?;
                    self.table(&rel.fields, &rows)
                }
                RelNode::Window { input, calls } => {
                    let rows = self.rows(input).await?;
                    let rows = operators::window(rows, calls, &self.context)?;
                    self.table(&rel.fields, &rows)
                }
                RelNode::DistinctOn { input, keys } => {
                    let rows = self.rows(input).await?;
                    let rows = operators::distinct_on(rows, keys, &self.context)?;
                    self.table(&rel.fields, &rows)
                }
                RelNode::RecursiveUnion { id, all, base, step, .. } => {
                    let types = types_of(&rel.fields);
                    let rows = operators::recurse(self, *id, *all, base, step, &types).await?;
                    self.table(&rel.fields, &rows)
                }
                RelNode::Apply { kind, left, right } => {
                    let rows = operators::apply(self, kind, left, right).await?;
                    self.table(&rel.fields, &rows)
                }
                RelNode::LockRows { input, targets } => {
                    let rows = operators::lock_rows(self, input, targets, usize::MAX).await?;
                    self.table(&rel.fields, &rows)
                }
            }
        })
    }

    /// A lone integer `generate_series`, which need not be in memory.
    fn series(
        &mut self,
        rel: &Rel,
        functions: &[TableFunctionCall],
        ordinality: bool,
    ) -> SqlResult<Option<Lowered>> {
        let [TableFunctionCall { source: TableFunctionSource::Set(call), .. }] = functions else {
            return Ok(None);
        };
        let integers = matches!(call.ty.ty, SqlType::Int4 | SqlType::Int8);
        if ordinality || !integers || call.function.def.name != "generate_series" {
            return Ok(None);
        }
        let args = operators::values(&call.args, &[], &self.context)?;
        if args.iter().any(Datum::is_null) {
            return Ok(None);
        }
        let numbers = Integers::new(&args, &call.ty.ty).map_err(SqlError::from)?;
        let slots = self.names(&rel.fields);
        let stream = Arc::new(Series::new(numbers, &slots[0]));
        let table =
            StreamingTable::try_new(stream.schema().clone(), vec![stream]).map_err(into_sql)?;
        self.leaf(Arc::new(table), slots).map(Some)
    }

    async fn define(&mut self, cte: &Cte) -> SqlResult<()> {
        let rows = if cte.materialized {
            CteRows::Rows(Arc::new(self.rows(&cte.rel).await?))
        } else {
            CteRows::Inline(Arc::new(cte.rel.clone()))
        };
        self.ctes.insert(cte.id, rows);
        Ok(())
    }

    fn fresh(&mut self) -> String {
        self.next_name += 1;
        format!("c{}", self.next_name)
    }

    fn names(&mut self, fields: &[Field]) -> Vec<Slot> {
        fields.iter().map(|field| (self.fresh(), field.ty.ty.clone())).collect()
    }

    /// Rows in memory as a plan.
    pub fn table(&mut self, fields: &[Field], rows: &[Row]) -> SqlResult<Lowered> {
        let slots = self.names(fields);
        let schema = Arc::new(schema_of(&slots));
        let mut batches = Vec::new();
        for chunk in rows.chunks(BATCH_ROWS) {
            let mut builders: Vec<ColumnBuilder> =
                slots.iter().map(|(_, ty)| ColumnBuilder::new(ty, chunk.len())).collect();
            for row in chunk {
                for (builder, value) in builders.iter_mut().zip(row) {
                    builder.append(value)?;
                }
            }
            let columns = builders.into_iter().map(ColumnBuilder::finish).collect();
            let options = RecordBatchOptions::new().with_row_count(Some(chunk.len()));
            let batch = RecordBatch::try_new_with_options(schema.clone(), columns, &options)
                .map_err(|error| SqlError::internal(error.to_string()))?;
            batches.push(batch);
        }
        let table = MemTable::try_new(schema, vec![batches]).map_err(into_sql)?;
        self.leaf(Arc::new(table), slots)
    }

    fn leaf(&mut self, provider: Arc<dyn TableProvider>, slots: Vec<Slot>) -> SqlResult<Lowered> {
        let name = format!("t{}", self.next_name);
        let scan = LogicalPlanBuilder::scan(name.as_str(), provider_as_source(provider), None);
        // The projection takes the table's qualifier off.
        let columns = slots.iter().map(|(slot, _)| {
            DfExpr::Column(datafusion::common::Column::new(Some(name.as_str()), slot)).alias(slot)
        });
        let plan = build(scan)?;
        let plan = if slots.is_empty() { plan } else { project(plan, columns.collect())? };
        Ok(Lowered { plan, slots })
    }

    fn project(&mut self, input: Lowered, exprs: &[Expr], fields: &[Field]) -> SqlResult<Lowered> {
        let slots = self.names(fields);
        let lowered: Vec<DfExpr> = exprs
            .iter()
            .zip(&slots)
            .map(|(e, (name, _))| kernel::lower(e, &input.slots, &self.context.eval).alias(name))
            .collect();
        let plan = project(input.plan, lowered)?;
        Ok(Lowered { plan, slots })
    }

    /// The plan with columns named by position only, for UNION.
    fn anonymous(&mut self, lowered: Lowered) -> SqlResult<LogicalPlan> {
        let columns = lowered
            .slots
            .iter()
            .enumerate()
            .map(|(index, (name, _))| column(name).alias(format!("u{index}")));
        project(lowered.plan, columns.collect())
    }

    /// The rows of plans of columns `u0`, `u1`, ..., one plan after the other, under fresh names.
    async fn append(&mut self, inputs: Vec<LogicalPlan>, fields: &[Field]) -> SqlResult<Lowered> {
        let slots = self.names(fields);
        let schema = Arc::new(schema_of(&slots));
        let mut streams = Vec::with_capacity(inputs.len());
        for input in inputs {
            streams.push(run(input, &self.context.eval.facts).await?);
        }
        let stream = Arc::new(Append::new(schema.clone(), streams));
        let table = StreamingTable::try_new(schema, vec![stream]).map_err(into_sql)?;
        self.leaf(Arc::new(table), slots)
    }

    async fn join(
        &mut self,
        kind: JoinKind,
        left: &Rel,
        right: &Rel,
        on: &[(Expr, Expr)],
        filter: Option<&Expr>,
    ) -> SqlResult<Lowered> {
        let (left, right) = match self.sides_by_key(kind, left, right, on).await? {
            Some(sides) => sides,
            None => (self.lower(left).await?, self.lower(right).await?),
        };
        let eval = self.context.eval.clone();
        let both: Vec<Slot> = left.slots.iter().chain(&right.slots).cloned().collect();
        let slots = match kind {
            JoinKind::Semi | JoinKind::Anti => left.slots.clone(),
            JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full => both.clone(),
        };
        let kind = match kind {
            JoinKind::Inner => JoinType::Inner,
            JoinKind::Left => JoinType::Left,
            JoinKind::Right => JoinType::Right,
            JoinKind::Full => JoinType::Full,
            JoinKind::Semi => JoinType::LeftSemi,
            JoinKind::Anti => JoinType::LeftAnti,
        };
        let filter = filter.map(|filter| kernel::lower(filter, &both, &eval));
        let builder = LogicalPlanBuilder::from(left.plan);
        let joined = if on.is_empty() && filter.is_none() && kind == JoinType::Inner {
            builder.cross_join(right.plan)
        } else if on.is_empty() {
            builder.join_on(right.plan, kind, Some(filter.unwrap_or_else(|| lit(true))))
        } else {
            let keys = on
                .iter()
                .map(|(l, r)| {
                    (comparable(l, &left.slots, &eval), comparable(r, &right.slots, &eval))
                })
                .unzip();
            builder.join_with_expr_keys(right.plan, kind, keys, filter)
        };
        // Keys that are expressions may have added columns: keep ours.
        let plan = project(build(joined)?, slots.iter().map(|(name, _)| column(name)).collect())?;
        Ok(Lowered { plan, slots })
    }

    fn sort_keys(&self, keys: &[SortKey], slots: &[Slot]) -> Vec<Sort> {
        keys.iter()
            .map(|key| {
                let expr = comparable(&key.expr, slots, &self.context.eval);
                Sort::new(expr, !key.descending, key.nulls_first)
            })
            .collect()
    }

    fn count(&self, expr: Option<&Expr>, clause: &str) -> SqlResult<Option<usize>> {
        let Some(expr) = expr else { return Ok(None) };
        let value = expr.eval(&[], &self.context.eval.borrow())?;
        match value.as_i64() {
            None => Ok(None),
            Some(count) => usize::try_from(count).map(Some).map_err(|_| {
                let sqlstate = if clause == "LIMIT" { "2201W" } else { "2201X" };
                SqlError::new(sqlstate, format!("{clause} must not be negative"))
            }),
        }
    }

    /// Rows without repetition, by PostgreSQL's equality.
    fn distinct(&mut self, input: Lowered) -> SqlResult<Lowered> {
        if input.slots.iter().all(|(_, ty)| compares_natively(ty)) {
            let plan = build(LogicalPlanBuilder::from(input.plan).distinct())?;
            return Ok(Lowered { plan, slots: input.slots });
        }
        let groups: Vec<Expr> = input
            .slots
            .iter()
            .enumerate()
            .map(|(index, (_, ty))| Expr::column(index, ty.clone()))
            .collect();
        self.group(input, &groups, &[])
    }

    /// One node per grouping set, put together by UNION ALL.
    async fn aggregate(
        &mut self,
        rel: &Rel,
        input: &Rel,
        groups: &[Expr],
        sets: &[Vec<usize>],
        calls: &[AggregateCall],
        groupings: &[Vec<usize>],
    ) -> SqlResult<Lowered> {
        let plain = sets.len() == 1 && sets[0].len() == groups.len() && groupings.is_empty();
        if plain {
            let input = self.lower(input).await?;
            return self.group(input, groups, calls);
        }
        let mut parts = Vec::with_capacity(sets.len());
        for set in sets {
            let source = self.lower(input).await?;
            let chosen: Vec<Expr> = set.iter().map(|&group| groups[group].clone()).collect();
            let grouped = self.group(source, &chosen, calls)?;
            let mut layout: Vec<Expr> = Vec::new();
            for (index, group) in groups.iter().enumerate() {
                layout.push(match set.iter().position(|&member| member == index) {
                    Some(at) => Expr::column(at, group.ty().clone()),
                    None => Expr::null(group.ty().clone()),
                });
            }
            for (index, call) in calls.iter().enumerate() {
                layout.push(Expr::column(set.len() + index, call.ty.clone()));
            }
            for grouping in groupings {
                let bits = grouping
                    .iter()
                    .fold(0, |bits, group| (bits << 1) | i32::from(!set.contains(group)));
                layout.push(Expr::int4(bits));
            }
            let part = self.project(grouped, &layout, &rel.fields)?;
            parts.push(self.anonymous(part)?);
        }
        self.append(parts, &rel.fields).await
    }

    /// GROUP BY all of `groups`; columns: groups, then calls. A group whose type does not compare
    /// natively is keyed by its sort key and shown by one of its values.
    fn group(
        &mut self,
        input: Lowered,
        groups: &[Expr],
        calls: &[AggregateCall],
    ) -> SqlResult<Lowered> {
        let eval = self.context.eval.clone();
        let mut keys = Vec::new();
        let mut aggregates = Vec::new();
        let mut slots = Vec::new();
        for group in groups {
            let name = self.fresh();
            let ty = group.sql_type().clone();
            if compares_natively(&ty) {
                keys.push(kernel::lower(group, &input.slots, &eval).alias(&name));
            } else {
                let key = self.fresh();
                keys.push(comparable(group, &input.slots, &eval).alias(&key));
                let any = datafusion::functions_aggregate::expr_fn::first_value(
                    kernel::lower(group, &input.slots, &eval),
                    vec![],
                );
                aggregates.push(any.alias(&name));
            }
            slots.push((name, ty));
        }
        for call in calls {
            let name = self.fresh();
            aggregates.push(self.call(call, &input.slots)?.alias(&name));
            slots.push((name, call.ty.ty.clone()));
        }
        let grouped = build(LogicalPlanBuilder::from(input.plan).aggregate(keys, aggregates))?;
        let columns: Vec<DfExpr> = slots.iter().map(|(name, _)| column(name)).collect();
        let plan = project(grouped, columns)?;
        Ok(Lowered { plan, slots })
    }

    fn call(&self, call: &AggregateCall, slots: &[Slot]) -> SqlResult<DfExpr> {
        let eval = &self.context.eval;
        let filter =
            call.filter.as_ref().map(|filter| Box::new(kernel::lower(filter, slots, eval)));
        if let Some(native) = self.native_call(call, slots, filter.clone()) {
            return Ok(native);
        }
        let mut arguments: Vec<DfExpr> =
            call.args.iter().map(|arg| kernel::lower(arg, slots, eval)).collect();
        arguments.extend(call.order.iter().map(|key| kernel::lower(&key.expr, slots, eval)));
        let function = AggregateUDF::from(AggregateFunction::new(shape_of(call), eval.clone()));
        Ok(DfExpr::AggregateFunction(AggregateExpr::new_udf(
            Arc::new(function),
            arguments,
            false,
            filter,
            vec![],
            None,
        )))
    }

    /// DataFusion's own, where it answers what PostgreSQL does.
    fn native_call(
        &self,
        call: &AggregateCall,
        slots: &[Slot],
        filter: Option<Box<DfExpr>>,
    ) -> Option<DfExpr> {
        use datafusion::functions_aggregate as native;
        if call.distinct || !call.order.is_empty() {
            return None;
        }
        let eval = &self.context.eval;
        let argument = call.args.first();
        let (function, argument) = match (call.function.def.0.name, argument) {
            ("count", None) => (native::count::count_udaf(), lit(1)),
            ("count", Some(arg)) if call.args.len() == 1 => {
                (native::count::count_udaf(), kernel::lower(arg, slots, eval))
            }
            ("min", Some(arg)) if compares_natively(arg.sql_type()) => {
                (native::min_max::min_udaf(), kernel::lower(arg, slots, eval))
            }
            ("max", Some(arg)) if compares_natively(arg.sql_type()) => {
                (native::min_max::max_udaf(), kernel::lower(arg, slots, eval))
            }
            // int2 and int4 sum to int8 in both worlds, and 2^32 rows of them cannot overflow it.
            ("sum", Some(arg)) if matches!(arg.sql_type(), SqlType::Int2 | SqlType::Int4) => {
                (native::sum::sum_udaf(), kernel::lower(arg, slots, eval))
            }
            _ => return None,
        };
        let arguments = vec![argument];
        Some(DfExpr::AggregateFunction(AggregateExpr::new_udf(
            function,
            arguments,
            false,
            filter,
            vec![],
            None,
        )))
    }
}

/// How a call collects its rows.
pub fn shape_of(call: &AggregateCall) -> CallShape {
    CallShape {
        function: call.function.clone(),
        result: call.ty.ty.clone(),
        arguments: call.args.iter().map(|arg| arg.sql_type().clone()).collect(),
        distinct: call.distinct,
        order: call
            .order
            .iter()
            .map(|key| (key.expr.sql_type().clone(), key.descending, key.nulls_first))
            .collect(),
    }
}

pub fn types_of(fields: &[Field]) -> Vec<SqlType> {
    fields.iter().map(|field| field.ty.ty.clone()).collect()
}

/// The Arrow schema of named columns; everything may be NULL.
pub fn schema_of(slots: &[Slot]) -> Schema {
    Schema::new(
        slots
            .iter()
            .map(|(name, ty)| ArrowField::new(name, arrow_type(ty), true))
            .collect::<Vec<_>>(),
    )
}

/// Columns of `plan`, which have names of their own. The builder's `project` would look through the
/// whole tree below for each of them.
fn project(plan: LogicalPlan, columns: Vec<DfExpr>) -> SqlResult<LogicalPlan> {
    let projection = Projection::try_new(columns, Arc::new(plan)).map_err(into_sql)?;
    Ok(LogicalPlan::Projection(projection))
}

pub fn build(builder: datafusion::common::Result<LogicalPlanBuilder>) -> SqlResult<LogicalPlan> {
    builder.and_then(LogicalPlanBuilder::build).map_err(into_sql)
}
