//! Expressions, bound.

use super::Binder;
use super::scope::Clause;
use crate::ast::{
    Expr as Ast, ExprKind, LikeKind, Operator, Pos, Quantified, Subscript as AstSubscript,
};
use crate::error::{PlanError, Result};
use datum::{ColumnType, SqlType};
use expr::{BoolTest, Comparison, Expr, Position, Subscript};

impl Binder<'_> {
    /// An expression of the current level. A bare literal may stay of type unknown.
    pub(crate) fn expr(&mut self, ast: &Ast) -> Result<Expr> {
        self.deeper(|b| b.expr_here(ast))
    }

    pub(crate) fn exprs(&mut self, list: &[Ast]) -> Result<Vec<Expr>> {
        list.iter().map(|ast| self.expr(ast)).collect()
    }

    /// The same, with what is still unknown made text.
    pub(crate) fn typed_expr(&mut self, ast: &Ast) -> Result<Expr> {
        let expr = self.expr(ast)?;
        Ok(self.resolver.default_unknown(expr)?)
    }

    /// A condition; `construct` is "argument of WHERE".
    pub(crate) fn condition(&mut self, ast: &Ast, construct: &str) -> Result<Expr> {
        let expr = self.expr(ast)?;
        let at = self.at(ast.pos);
        self.resolver.coerce_to_boolean(expr, construct).map_err(|e| PlanError::from(e.at(at)))
    }

    fn expr_here(&mut self, ast: &Ast) -> Result<Expr> {
        let at = self.at(ast.pos);
        match &ast.kind {
            ExprKind::Null => Ok(Expr::unknown_null(at)),
            ExprKind::Bool(value) => Ok(Expr::bool(*value)),
            ExprKind::Int(digits) | ExprKind::Decimal(digits) => {
                Ok(Expr::number(digits).map_err(|e| e.at(at))?)
            }
            ExprKind::Str(text) => Ok(Expr::unknown(text.as_str(), at)),
            ExprKind::Bits => Err(PlanError::unsupported("type bit").at(at)),
            ExprKind::Param(number) => Ok(self.resolver.params.reference(*number as usize, at)?),
            ExprKind::Column(parts) => self.column_or_field(parts, ast.pos),
            ExprKind::Star(parts) => match self.whole_row(parts) {
                Some(row) => Ok(row),
                None => Err(self.no_table(parts)),
            },
            ExprKind::Field(inner, name) => {
                let record = self.expr(inner)?;
                let at = self.at(name.pos);
                Ok(self.resolver.field(record, &name.name, at)?)
            }
            ExprKind::FieldStar(_) => {
                Err(PlanError::unsupported("row expansion via \"*\" here").at(at))
            }
            ExprKind::Subscript(..) => self.subscript(ast),
            ExprKind::Unary(op, arg) => {
                let arg = self.expr(arg)?;
                self.operator(op, None, arg)
            }
            ExprKind::Binary(op, left, right) => self.binary(op, left, right),
            ExprKind::And(terms) => {
                let terms = self.exprs(terms)?;
                Ok(self.resolver.and(terms).map_err(|e| e.at(at))?)
            }
            ExprKind::Or(terms) => {
                let terms = self.exprs(terms)?;
                Ok(self.resolver.or(terms).map_err(|e| e.at(at))?)
            }
            ExprKind::Not(arg) => {
                let arg = self.expr(arg)?;
                Ok(self.resolver.not(arg).map_err(|e| e.at(at))?)
            }
            ExprKind::IsNull(arg, negated) => {
                let arg = self.expr(arg)?;
                Ok(self.resolver.is_null(arg, *negated)?)
            }
            ExprKind::IsBool(arg, value, negated) => {
                let arg = self.expr(arg)?;
                let test = match value {
                    Some(true) => BoolTest::True,
                    Some(false) => BoolTest::False,
                    None => BoolTest::Unknown,
                };
                Ok(self.resolver.is_bool(arg, test, *negated).map_err(|e| e.at(at))?)
            }
            ExprKind::IsDistinct(left, right, negated) => {
                let (left, right) = (self.expr(left)?, self.expr(right)?);
                Ok(self.resolver.is_distinct(left, right, *negated, at)?)
            }
            ExprKind::Between { expr, low, high, negated, symmetric } => {
                self.between(expr, low, high, *negated, *symmetric, at)
            }
            ExprKind::InList { expr, list, negated } => {
                let arg = self.comparand(expr)?;
                let list: Result<Vec<Expr>> =
                    list.iter().map(|item| self.comparand(item)).collect();
                Ok(self.resolver.in_list(arg, list?, *negated, at)?)
            }
            ExprKind::InQuery { expr, query, negated } => {
                let op = if *negated { "<>" } else { "=" };
                self.quantified_query(op, expr, query, *negated, ast.pos)
            }
            ExprKind::Like { kind, expr, pattern, escape, negated } => {
                self.like(*kind, expr, pattern, escape.as_deref(), *negated, ast.pos)
            }
            ExprKind::Quantified { op, all, left, right } => match right {
                Quantified::Query(query) => {
                    self.quantified_query(&op.name, left, query, *all, op.pos)
                }
                Quantified::Array(array) => {
                    let (left, array) = (self.expr(left)?, self.expr(array)?);
                    let at = self.at(op.pos);
                    Ok(self.resolver.any_all(&op.name, left, array, *all, at)?)
                }
            },
            ExprKind::Cast(arg, ty) => self.cast(arg, ty, at),
            ExprKind::TypedLiteral(ty, text) => {
                let ty = self.ty(ty)?;
                Ok(self.resolver.cast(Expr::unknown(text.as_str(), at), &ty, at)?)
            }
            ExprKind::Case { operand, whens, otherwise } => {
                let operand = operand.as_deref().map(|e| self.expr(e)).transpose()?;
                let branches: Result<Vec<_>> =
                    whens.iter().map(|(w, t)| Ok((self.expr(w)?, self.expr(t)?))).collect();
                let otherwise = otherwise.as_deref().map(|e| self.expr(e)).transpose()?;
                Ok(self.resolver.case(operand, branches?, otherwise, at)?)
            }
            ExprKind::Call(call) => self.call(call, ast.pos),
            ExprKind::Row(fields) => {
                let fields = self.row_fields(fields)?;
                Ok(self.resolver.row(fields)?)
            }
            ExprKind::Array(elements) => {
                let elements = self.exprs(elements)?;
                Ok(self.resolver.array(elements, at)?)
            }
            ExprKind::ArrayQuery(query) => self.array_query(query, ast.pos),
            ExprKind::Scalar(query) => self.scalar_query(query, ast.pos),
            ExprKind::Exists(query) => self.exists_query(query, ast.pos),
            ExprKind::Collate(arg, name) => {
                let arg = self.expr(arg)?;
                self.collate(arg, name, ast.pos)
            }
            ExprKind::Default => {
                Err(self.error("42601", "DEFAULT is not allowed in this context", ast.pos))
            }
        }
    }

    /// `a.b` is a column; failing that, `a` may be a composite column with field `b`, and `f(t)` may
    /// be written `t.f`.
    fn column_or_field(&mut self, parts: &[crate::ast::Ident], _pos: Pos) -> Result<Expr> {
        self.column(parts)
    }

    fn row_fields(&mut self, fields: &[Ast]) -> Result<Vec<Expr>> {
        let mut bound = Vec::with_capacity(fields.len());
        for field in fields {
            match &field.kind {
                // ROW(t.*) has the table's columns as fields.
                ExprKind::Star(parts) => match self.whole_row(parts) {
                    Some(Expr::Row { fields, .. }) => bound.extend(fields),
                    Some(other) => bound.push(other),
                    None => return Err(self.no_table(parts)),
                },
                _ => bound.push(self.expr(field)?),
            }
        }
        Ok(bound)
    }

    /// A side of a comparison: rows keep their literals untyped until both sides are known.
    pub(crate) fn comparand(&mut self, ast: &Ast) -> Result<Expr> {
        match &ast.kind {
            ExprKind::Row(fields) => {
                let fields = self.row_fields(fields)?;
                Ok(self.resolver.untyped_row(fields))
            }
            _ => self.expr(ast),
        }
    }

    pub(crate) fn operator(
        &mut self,
        op: &Operator,
        left: Option<Expr>,
        right: Expr,
    ) -> Result<Expr> {
        let at = self.at(op.pos);
        Ok(self.resolver.resolve_operator(&op.name, left, right, Position(at))?)
    }

    fn binary(&mut self, op: &Operator, left: &Ast, right: &Ast) -> Result<Expr> {
        let at = self.at(op.pos);
        let Some(comparison) = Comparison::from_symbol(&op.name) else {
            let (left, right) = (self.expr(left)?, self.expr(right)?);
            return self.operator(op, Some(left), right);
        };
        // (a, b) = (SELECT ...)
        if let (ExprKind::Row(fields), ExprKind::Scalar(query)) = (&left.kind, &right.kind) {
            let fields = self.row_fields(fields)?;
            let row = self.row_query(query, fields.len(), op.pos)?;
            let left = self.resolver.untyped_row(fields);
            let right = self.resolver.untyped_row(row);
            return Ok(self.resolver.compare(comparison, left, right, at)?);
        }
        let (left, right) = (self.comparand(left)?, self.comparand(right)?);
        Ok(self.resolver.compare(comparison, left, right, at)?)
    }

    fn between(
        &mut self,
        arg: &Ast,
        low: &Ast,
        high: &Ast,
        negated: bool,
        symmetric: bool,
        at: Option<u32>,
    ) -> Result<Expr> {
        let (arg, low, high) = (self.comparand(arg)?, self.comparand(low)?, self.comparand(high)?);
        let resolver = &self.resolver;
        let within = |low: &Expr, high: &Expr| -> Result<Expr> {
            let least = resolver.compare(Comparison::Ge, arg.clone(), low.clone(), at)?;
            let most = resolver.compare(Comparison::Le, arg.clone(), high.clone(), at)?;
            Ok(resolver.and(vec![least, most])?)
        };
        let mut result = within(&low, &high)?;
        if symmetric {
            let other = within(&high, &low)?;
            result = self.resolver.or(vec![result, other])?;
        }
        if negated {
            // As good as `a < low OR a > high`: keys can use neither, and NULLs agree.
            result = self.resolver.not(result)?;
        }
        Ok(result)
    }

    fn like(
        &mut self,
        kind: LikeKind,
        arg: &Ast,
        pattern: &Ast,
        escape: Option<&Ast>,
        negated: bool,
        pos: Pos,
    ) -> Result<Expr> {
        let at = self.at(pos);
        let arg = self.expr(arg)?;
        let mut pattern = self.expr(pattern)?;
        let escape = escape.map(|e| self.expr(e)).transpose()?;
        let symbol = match (kind, negated) {
            (LikeKind::Like, false) => "~~",
            (LikeKind::Like, true) => "!~~",
            (LikeKind::ILike, false) => "~~*",
            (LikeKind::ILike, true) => "!~~*",
            (LikeKind::Similar, false) => "~",
            (LikeKind::Similar, true) => "!~",
        };
        if kind == LikeKind::Similar {
            let args = std::iter::once(pattern).chain(escape).collect();
            pattern = self.resolver.resolve_scalar("similar_to_escape", args, at)?;
        } else if let Some(escape) = escape {
            pattern = self.resolver.resolve_scalar("like_escape", vec![pattern, escape], at)?;
        }
        Ok(self.resolver.resolve_operator(symbol, Some(arg), pattern, Position(at))?)
    }

    fn cast(&mut self, arg: &Ast, ty: &crate::ast::TypeName, at: Option<u32>) -> Result<Expr> {
        let target = self.ty(ty)?;
        if let ExprKind::Array(elements) = &arg.kind {
            if elements.is_empty() && target.ty.is_array() {
                return Ok(self.resolver.empty_array(target));
            }
            // ARRAY['1', '2']::int[] converts element by element.
            if target.ty.is_array()
                && elements.iter().all(|e| !matches!(e.kind, ExprKind::Array(_)))
            {
                let element = ColumnType::new(
                    target.ty.element_type().unwrap_or(SqlType::Text),
                    target.typmod,
                );
                let elements: Result<Vec<Expr>> = elements
                    .iter()
                    .map(|e| {
                        let bound = self.expr(e)?;
                        let at = self.at(e.pos);
                        Ok(self.resolver.cast(bound, &element, at)?)
                    })
                    .collect();
                return Ok(Expr::Array { elements: elements?, ty: target });
            }
        }
        let arg = self.expr(arg)?;
        Ok(self.resolver.cast(arg, &target, at)?)
    }

    /// `a[1][2]`, `a[1:2]`: all subscripts of a chain together.
    fn subscript(&mut self, ast: &Ast) -> Result<Expr> {
        let mut chain = Vec::new();
        let mut inner = ast;
        while let ExprKind::Subscript(next, subscript) = &inner.kind {
            chain.push(subscript);
            inner = next;
        }
        let array = self.expr(inner)?;
        let mut subscripts = Vec::with_capacity(chain.len());
        for subscript in chain.into_iter().rev() {
            subscripts.push(match subscript {
                AstSubscript::Index(index) => Subscript::Index(self.expr(index)?),
                AstSubscript::Slice(lower, upper) => Subscript::Slice {
                    lower: lower.as_deref().map(|e| self.expr(e)).transpose()?,
                    upper: upper.as_deref().map(|e| self.expr(e)).transpose()?,
                },
            });
        }
        let at = self.at(ast.pos);
        Ok(self.resolver.subscript(array, subscripts, at)?)
    }

    /// Text is ordered by bytes here, which is what these collations say.
    fn collate(&mut self, arg: Expr, name: &crate::ast::ObjectName, pos: Pos) -> Result<Expr> {
        let arg = self.resolver.default_unknown(arg)?;
        let known = [
            "C",
            "POSIX",
            "default",
            "ucs_basic",
            "C.UTF-8",
            "C.utf8",
            "en_US.UTF-8",
            "en_US",
            "en_US.utf8",
        ];
        if !known.contains(&name.name()) {
            let message =
                format!("collation \"{}\" for encoding \"UTF8\" does not exist", name.name());
            return Err(self.error("42704", message, name.pos()));
        }
        if !arg.sql_type().is_text_like() {
            let message = format!("collations are not supported by type {}", arg.sql_type().name());
            return Err(self.error("42804", message, pos));
        }
        Ok(arg)
    }

    /// Refuses what the current clause cannot hold.
    pub(crate) fn refuse(
        &self,
        what: &str,
        sqlstate: &'static str,
        clause: Clause,
        pos: Pos,
    ) -> PlanError {
        let message = format!("{what} are not allowed in {}", clause.name());
        self.error(sqlstate, message, pos)
    }
}
