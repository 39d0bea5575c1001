//! Window functions: partitions, peers and frames over rows in memory.
//!
//! ```text
//! rows ──sort by partition, order──▶ partitions ──peers, frames──▶ one value per row and call
//! ```
//!
//! Rows come out in the order of the last call's window, as PostgreSQL tends to give them; without
//! ORDER BY in the query no order is promised.

use super::{compare_keys, identity_key, values};
use crate::error::{SqlError, SqlResult};
use crate::outcome::Row;
use crate::relational::QueryContext;
use crate::relational::lower::shape_of;
use datum::{Datum, SqlType};
use expr::{Frame as Rows, WindowInput};
use planner::plan::{
    AggregateCall, Frame, FrameBound, FrameExclude, FrameMode, WindowCall, WindowFunction,
};
use std::cmp::Ordering;

pub fn window(
    mut rows: Vec<Row>,
    calls: &[WindowCall],
    context: &QueryContext,
) -> SqlResult<Vec<Row>> {
    let width = rows.first().map_or(0, Vec::len);
    // Each call sees the input columns only; results are put in place by original position.
    for call in calls {
        let order = sorted(&rows, width, call, context)?;
        let mut results = vec![Datum::Null; rows.len()];
        for partition in &order {
            let found = evaluate(partition, &rows, width, call, context)?;
            for (member, value) in partition.iter().zip(found) {
                results[member.index] = value;
            }
        }
        for (row, value) in rows.iter_mut().zip(results) {
            row.push(value);
        }
        if std::ptr::eq(call, &calls[calls.len() - 1]) {
            let positions: Vec<usize> = order.iter().flatten().map(|member| member.index).collect();
            let mut taken: Vec<Option<Row>> = rows.into_iter().map(Some).collect();
            return Ok(positions.into_iter().filter_map(|index| taken[index].take()).collect());
        }
    }
    Ok(rows)
}

/// A row of a partition: where it is in the input, and its order keys.
struct Member {
    index: usize,
    keys: Vec<Datum>,
}

/// The partitions, each in window order; ties keep the input's order.
fn sorted(
    rows: &[Row],
    width: usize,
    call: &WindowCall,
    context: &QueryContext,
) -> SqlResult<Vec<Vec<Member>>> {
    let types: Vec<SqlType> = call.partition.iter().map(|e| e.sql_type().clone()).collect();
    let mut members = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        let input = &row[..width];
        let partition = identity_key(&values(&call.partition, input, context)?, &types)?;
        let keys = values(call.order.iter().map(|key| &key.expr), input, context)?;
        members.push((partition, Member { index, keys }));
    }
    members.sort_by(|(a, x), (b, y)| {
        a.cmp(b).then_with(|| compare_keys(&call.order, &x.keys, &y.keys))
    });
    let mut partitions: Vec<Vec<Member>> = Vec::new();
    let mut current = None;
    for (partition, member) in members {
        match partitions.last_mut() {
            Some(last) if current.as_ref() == Some(&partition) => last.push(member),
            _ => partitions.push(vec![member]),
        }
        current = Some(partition);
    }
    Ok(partitions)
}

fn evaluate(
    partition: &[Member],
    rows: &[Row],
    width: usize,
    call: &WindowCall,
    context: &QueryContext,
) -> SqlResult<Vec<Datum>> {
    let peers = peers(partition, call);
    let input = |position: usize| &rows[partition[position].index][..width];
    match &call.function {
        WindowFunction::Window { function, args } => {
            let mut columns = vec![Vec::with_capacity(partition.len()); args.len()];
            for position in 0..partition.len() {
                for (column, arg) in columns.iter_mut().zip(args) {
                    column.push(arg.eval(input(position), &context.eval.borrow())?);
                }
            }
            let expr::FunctionKind::Window(kind) = function.def.0.kind else {
                return Err(SqlError::internal("a window call of no window function"));
            };
            let frames = if kind.uses_frame() {
                if call.frame.exclude != FrameExclude::NoOthers {
                    return Err(SqlError::unsupported(
                        "frame exclusion with first, last, nth_value",
                    ));
                }
                Framing::new(partition, &peers, call, context)?.frames()?
            } else {
                vec![Rows { start: 0, end: partition.len() }; partition.len()]
            };
            let window = WindowInput {
                rows: partition.len(),
                args: &columns,
                peers: &peers,
                frames: &frames,
            };
            Ok(kind.evaluate(&window, &context.eval.borrow())?)
        }
        WindowFunction::Aggregate(aggregate) => {
            let frames = Framing::new(partition, &peers, call, context)?.frames()?;
            aggregate_over(aggregate, partition.len(), input, &frames, &peers, &call.frame, context)
        }
    }
}

/// One aggregate value per row, over its frame. Equal and growing frames are not computed anew.
fn aggregate_over<'r>(
    call: &AggregateCall,
    count: usize,
    input: impl Fn(usize) -> &'r [Datum],
    frames: &[Rows],
    peers: &[Rows],
    frame: &Frame,
    context: &QueryContext,
) -> SqlResult<Vec<Datum>> {
    let shape = shape_of(call);
    let mut arguments = Vec::with_capacity(count);
    for position in 0..count {
        let row = input(position);
        let eval = context.eval.borrow();
        let counted = match &call.filter {
            None => true,
            Some(filter) => filter.eval(row, &eval)?.as_bool() == Some(true),
        };
        let all = call.args.iter().chain(call.order.iter().map(|key| &key.expr));
        arguments.push(if counted { Some(values(all, row, context)?) } else { None });
    }
    let mut results: Vec<Datum> = Vec::with_capacity(count);
    let mut state = shape.start()?;
    let mut fed = Rows { start: 0, end: 0 };
    let incremental =
        frame.exclude == FrameExclude::NoOthers && !call.distinct && call.order.is_empty();
    for (position, &rows) in frames.iter().enumerate() {
        if incremental && position > 0 && rows == frames[position - 1] {
            results.push(results[position - 1].clone());
            continue;
        }
        if !incremental || rows.start != fed.start || rows.end < fed.end {
            state = shape.start()?;
            fed = Rows { start: rows.start, end: rows.start };
        }
        let added = fed.end..rows.end.max(fed.end);
        for (member, values) in added.clone().zip(&arguments[added]) {
            let excluded = match frame.exclude {
                FrameExclude::NoOthers => false,
                FrameExclude::CurrentRow => member == position,
                FrameExclude::Group => within(peers[position], member),
                FrameExclude::Ties => within(peers[position], member) && member != position,
            };
            if let Some(values) = values.as_ref().filter(|_| !excluded) {
                state.update(values, &context.eval)?;
            }
        }
        fed.end = rows.end.max(fed.end);
        results.push(state.finish(&context.eval)?);
    }
    Ok(results)
}

fn within(rows: Rows, member: usize) -> bool {
    (rows.start..rows.end).contains(&member)
}

/// For each row, the rows equal to it in the window's order.
fn peers(partition: &[Member], call: &WindowCall) -> Vec<Rows> {
    let mut peers = Vec::with_capacity(partition.len());
    let mut start = 0;
    while start < partition.len() {
        let mut end = start + 1;
        while end < partition.len()
            && compare_keys(&call.order, &partition[start].keys, &partition[end].keys).is_eq()
        {
            end += 1;
        }
        peers.extend(std::iter::repeat_n(Rows { start, end }, end - start));
        start = end;
    }
    peers
}

/// What is needed to say each row's frame.
struct Framing<'a> {
    partition: &'a [Member],
    peers: &'a [Rows],
    call: &'a WindowCall,
    start: Datum,
    end: Datum,
}

impl<'a> Framing<'a> {
    fn new(
        partition: &'a [Member],
        peers: &'a [Rows],
        call: &'a WindowCall,
        context: &QueryContext,
    ) -> SqlResult<Self> {
        let offset = |bound: &FrameBound, which: &str| -> SqlResult<Datum> {
            let (FrameBound::Preceding(expr) | FrameBound::Following(expr)) = bound else {
                return Ok(Datum::Null);
            };
            let value = expr.eval(&[], &context.eval.borrow())?;
            if value.is_null() {
                return Err(SqlError::new(
                    "22013",
                    format!("frame {which} offset must not be null"),
                ));
            }
            if value.as_i64().is_some_and(|offset| offset < 0) {
                let message = format!("frame {which} offset must not be negative");
                return Err(SqlError::new("22013", message));
            }
            Ok(value)
        };
        let start = offset(&call.frame.start, "starting")?;
        let end = offset(&call.frame.end, "ending")?;
        Ok(Self { partition, peers, call, start, end })
    }

    fn frames(&self) -> SqlResult<Vec<Rows>> {
        (0..self.partition.len())
            .map(|position| {
                let start = self.edge(position, &self.call.frame.start, &self.start, true)?;
                let end = self.edge(position, &self.call.frame.end, &self.end, false)?;
                Ok(Rows { start: start.min(end), end })
            })
            .collect()
    }

    /// The first row of the frame, or the row after its last.
    fn edge(
        &self,
        position: usize,
        bound: &FrameBound,
        offset: &Datum,
        is_start: bool,
    ) -> SqlResult<usize> {
        let count = self.partition.len();
        let preceding = match bound {
            FrameBound::UnboundedPreceding => return Ok(0),
            FrameBound::UnboundedFollowing => return Ok(count),
            FrameBound::CurrentRow => {
                let rows = match self.call.frame.mode {
                    FrameMode::Rows => Rows { start: position, end: position + 1 },
                    FrameMode::Range | FrameMode::Groups => self.peers[position],
                };
                return Ok(if is_start { rows.start } else { rows.end });
            }
            FrameBound::Preceding(_) => true,
            FrameBound::Following(_) => false,
        };
        match self.call.frame.mode {
            FrameMode::Rows => {
                let by = offset.as_i64().unwrap_or(0);
                let at = position as i64 + if preceding { -by } else { by };
                let at = if is_start { at } else { at.saturating_add(1) };
                Ok(at.clamp(0, count as i64) as usize)
            }
            FrameMode::Groups => Ok(self.group_edge(position, offset, preceding, is_start)),
            FrameMode::Range => self.range_edge(position, offset, preceding, is_start),
        }
    }

    fn group_edge(
        &self,
        position: usize,
        offset: &Datum,
        preceding: bool,
        is_start: bool,
    ) -> usize {
        let mut by = offset.as_i64().unwrap_or(0);
        let mut group = self.peers[position];
        while by > 0 {
            let next = if preceding { group.start.checked_sub(1) } else { Some(group.end) };
            match next.and_then(|row| self.peers.get(row)) {
                Some(peers) => group = *peers,
                None => return if preceding { 0 } else { self.partition.len() },
            }
            by -= 1;
        }
        if is_start { group.start } else { group.end }
    }

    /// RANGE with an offset: by the value of the one order key, for integers and floats.
    fn range_edge(
        &self,
        position: usize,
        offset: &Datum,
        preceding: bool,
        is_start: bool,
    ) -> SqlResult<usize> {
        let [key] = self.call.order.as_slice() else {
            let message =
                "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column";
            return Err(SqlError::new("42P20", message));
        };
        let here = &self.partition[position].keys[0];
        if here.is_null() {
            let rows = self.peers[position];
            return Ok(if is_start { rows.start } else { rows.end });
        }
        let number = |value: &Datum| value.as_i64().map(|v| v as f64).or_else(|| value.as_f64());
        let (Some(value), Some(by)) = (number(here), number(offset)) else {
            let ty = key.expr.sql_type().name();
            return Err(SqlError::unsupported(format!("RANGE with offset over type {ty}")));
        };
        let edge = if preceding != key.descending { value - by } else { value + by };
        // In window order, rows before the edge are outside a start, rows up to it inside an end.
        let before = |member: &Member| match number(&member.keys[0]) {
            None => key.nulls_first,
            Some(other) => {
                let order = other.partial_cmp(&edge).unwrap_or(Ordering::Equal);
                let order = if key.descending { order.reverse() } else { order };
                if is_start { order.is_lt() } else { order.is_le() }
            }
        };
        Ok(self.partition.partition_point(before))
    }
}
