//! Window calls and their OVER clauses.

use super::Binder;
use super::scope::{Clause, Placeholder, placeholders};
use crate::ast::{Expr as Ast, FrameEdge, FrameSpec, OrderItem, Over, Pos, WindowSpec};
use crate::error::{PlanError, Result};
use crate::plan::{
    AggregateCall, Frame, FrameBound, FrameExclude, FrameMode, SortKey, WindowCall, WindowFunction,
};
use datum::{ColumnType, SqlType};
use expr::{CoercionContext, Expr};

/// An OVER clause with everything it inherits.
struct Resolved {
    partition: Vec<Expr>,
    order: Vec<SortKey>,
    frame: Frame,
}

impl Binder<'_> {
    pub(crate) fn window_call(
        &mut self,
        call: expr::WindowCall,
        over: &Over,
        pos: Pos,
    ) -> Result<Expr> {
        let ty = call.bound.ty.clone();
        let function = WindowFunction::Window { function: call.bound, args: call.args };
        self.add_window(function, ty, over, pos)
    }

    pub(crate) fn window_aggregate(
        &mut self,
        call: AggregateCall,
        over: &Over,
        pos: Pos,
    ) -> Result<Expr> {
        if call.distinct {
            return Err(self.error(
                "0A000",
                "DISTINCT is not implemented for window functions",
                pos,
            ));
        }
        if !call.order.is_empty() {
            let message = "aggregate ORDER BY is not implemented for window functions";
            return Err(self.error("0A000", message, pos));
        }
        let ty = call.ty.clone();
        self.add_window(WindowFunction::Aggregate(call), ty, over, pos)
    }

    fn add_window(
        &mut self,
        function: WindowFunction,
        ty: ColumnType,
        over: &Over,
        pos: Pos,
    ) -> Result<Expr> {
        let clause = self.level().clause;
        if self.level().in_aggregate {
            let message = "aggregate function calls cannot contain window function calls";
            return Err(self.error("42803", message, pos));
        }
        if clause == Clause::WindowDefinition {
            return Err(self.refuse("window functions", "42P20", clause, pos));
        }
        if !clause.allows_windows() {
            return Err(self.refuse("window functions", "42P20", clause, pos));
        }
        let args: Vec<&Expr> = match &function {
            WindowFunction::Window { args, .. } => args.iter().collect(),
            WindowFunction::Aggregate(call) => call.args.iter().chain(&call.filter).collect(),
        };
        if args.iter().any(|a| placeholders(a).iter().any(|p| matches!(p, Placeholder::Window(_))))
        {
            return Err(self.error("42P20", "window function calls cannot be nested", pos));
        }
        let resolved = self.in_clause(Clause::WindowDefinition, |b| b.over(over))?;
        let call = WindowCall {
            function,
            partition: resolved.partition,
            order: resolved.order,
            frame: resolved.frame,
            ty: ty.clone(),
        };
        let level = self.level();
        level.windows.push(call);
        Ok(Placeholder::Window(level.windows.len() - 1).expr(ty))
    }

    fn over(&mut self, over: &Over) -> Result<Resolved> {
        match over {
            Over::Named(name) => {
                let spec = self.named_window(&name.name, name.pos)?;
                self.spec(&spec)
            }
            Over::Spec(spec) => self.spec(spec),
        }
    }

    fn named_window(&mut self, name: &str, pos: Pos) -> Result<WindowSpec> {
        let found = self.level().named_windows.iter().find(|(n, _)| n.name == name);
        match found.map(|(_, spec)| spec.clone()) {
            Some(spec) => Ok(spec),
            None => Err(self.error("42704", format!("window \"{name}\" does not exist"), pos)),
        }
    }

    fn spec(&mut self, spec: &WindowSpec) -> Result<Resolved> {
        let mut partition = spec.partition.clone();
        let mut order = spec.order.clone();
        if let Some(base) = &spec.base {
            let parent = self.named_window(&base.name, base.pos)?;
            if !partition.is_empty() {
                let message =
                    format!("cannot override PARTITION BY clause of window \"{}\"", base.name);
                return Err(self.error("42P20", message, spec.pos));
            }
            if !order.is_empty() && !parent.order.is_empty() {
                let message =
                    format!("cannot override ORDER BY clause of window \"{}\"", base.name);
                return Err(self.error("42P20", message, spec.pos));
            }
            if parent.frame.is_some() {
                let message =
                    format!("cannot copy window \"{}\" because it has a frame clause", base.name);
                return Err(self.error("42P20", message, spec.pos));
            }
            partition = parent.partition;
            if order.is_empty() {
                order = parent.order;
            }
        }
        let partition: Result<Vec<Expr>> = partition.iter().map(|e| self.window_expr(e)).collect();
        let order = self.window_order(&order)?;
        let frame = match &spec.frame {
            Some(frame) => self.frame(frame, &order, spec.pos)?,
            None => Frame {
                mode: FrameMode::Range,
                start: FrameBound::UnboundedPreceding,
                end: FrameBound::CurrentRow,
                exclude: FrameExclude::NoOthers,
            },
        };
        Ok(Resolved { partition: partition?, order, frame })
    }

    fn window_expr(&mut self, ast: &Ast) -> Result<Expr> {
        self.typed_expr(ast)
    }

    fn window_order(&mut self, items: &[OrderItem]) -> Result<Vec<SortKey>> {
        self.sort_keys(items)
    }

    fn frame(&mut self, spec: &FrameSpec, order: &[SortKey], pos: Pos) -> Result<Frame> {
        let bad = |b: &Self, message: &str| Err(b.error("42P20", message, pos));
        match (&spec.start, &spec.end) {
            (FrameEdge::UnboundedFollowing, _) => {
                return bad(self, "frame start cannot be UNBOUNDED FOLLOWING");
            }
            (_, FrameEdge::UnboundedPreceding) => {
                return bad(self, "frame end cannot be UNBOUNDED PRECEDING");
            }
            (FrameEdge::CurrentRow, FrameEdge::Preceding(_)) => {
                return bad(self, "frame starting from current row cannot have preceding rows");
            }
            (FrameEdge::Following(_), FrameEdge::Preceding(_)) => {
                return bad(self, "frame starting from following row cannot have preceding rows");
            }
            (FrameEdge::Following(_), FrameEdge::CurrentRow) => {
                return bad(self, "frame starting from following row cannot end with current row");
            }
            _ => {}
        }
        let offsets = matches!(spec.start, FrameEdge::Preceding(_) | FrameEdge::Following(_))
            || matches!(spec.end, FrameEdge::Preceding(_) | FrameEdge::Following(_));
        if spec.mode == FrameMode::Range && offsets && order.len() != 1 {
            let message =
                "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column";
            return bad(self, message);
        }
        if spec.mode == FrameMode::Groups && order.is_empty() {
            return bad(self, "GROUPS mode requires an ORDER BY clause");
        }
        Ok(Frame {
            mode: spec.mode,
            start: self.frame_bound(&spec.start, spec.mode, order)?,
            end: self.frame_bound(&spec.end, spec.mode, order)?,
            exclude: spec.exclude,
        })
    }

    fn frame_bound(
        &mut self,
        edge: &FrameEdge,
        mode: FrameMode,
        order: &[SortKey],
    ) -> Result<FrameBound> {
        Ok(match edge {
            FrameEdge::UnboundedPreceding => FrameBound::UnboundedPreceding,
            FrameEdge::CurrentRow => FrameBound::CurrentRow,
            FrameEdge::UnboundedFollowing => FrameBound::UnboundedFollowing,
            FrameEdge::Preceding(ast) => {
                FrameBound::Preceding(self.frame_offset(ast, mode, order)?)
            }
            FrameEdge::Following(ast) => {
                FrameBound::Following(self.frame_offset(ast, mode, order)?)
            }
        })
    }

    fn frame_offset(&mut self, ast: &Ast, mode: FrameMode, order: &[SortKey]) -> Result<Expr> {
        let expr = self.expr(ast)?;
        let at = self.at(ast.pos);
        let word = match mode {
            FrameMode::Rows => "ROWS",
            FrameMode::Range => "RANGE",
            FrameMode::Groups => "GROUPS",
        };
        if !expr.columns().is_empty() {
            let message = format!("argument of {word} must not contain variables");
            return Err(self.error("42P10", message, ast.pos));
        }
        if mode != FrameMode::Range {
            let expr = self.resolver.coerce_to_bigint(expr, &format!("argument of {word}"));
            return expr.map_err(|e| PlanError::from(e.at(at)));
        }
        let key = order[0].expr.sql_type();
        let to = match key {
            SqlType::Date
            | SqlType::Time
            | SqlType::Timetz
            | SqlType::Timestamp
            | SqlType::Timestamptz
            | SqlType::Interval => SqlType::Interval,
            key if matches!(
                key,
                SqlType::Int2
                    | SqlType::Int4
                    | SqlType::Int8
                    | SqlType::Float4
                    | SqlType::Float8
                    | SqlType::Numeric
            ) =>
            {
                key.clone()
            }
            key => {
                let message = format!(
                    "RANGE with offset PRECEDING/FOLLOWING is not supported for column type {}",
                    key.name()
                );
                return Err(self.error("0A000", message, ast.pos));
            }
        };
        let expr = self.resolver.coerce(expr, &ColumnType::plain(to), CoercionContext::Assignment);
        expr.map_err(|e| PlanError::from(e.at(at)))
    }
}
