//! Expressions, by PostgreSQL's table of operator precedence (manual, 4.1.6).
//!
//! `not a = 1 and b is null or c like 'x' || $1` is `Or[And[Not(a = 1), b IS NULL], c LIKE ('x' || $1)]`.

use super::cursor::Parser;
use super::lexer::Tok;
use crate::ast::{Expr, ExprKind, LikeKind, Operator, Pos, Quantified, Query, Subscript, TypeName};
use crate::error::Result;
use datum::keywords::may_be_name;

/// Binding powers, loosest first.
const OR: u8 = 1;
const AND: u8 = 2;
const NOT: u8 = 3;
const IS: u8 = 4;
const COMPARE: u8 = 5;
const LIKE: u8 = 6;
const OTHER: u8 = 7;
const SUM: u8 = 8;
const PRODUCT: u8 = 9;
const POWER: u8 = 10;
const AT_ZONE: u8 = 11;
const COLLATE: u8 = 12;
const SIGN: u8 = 13;

impl Parser<'_> {
    pub(super) fn expr(&mut self) -> Result<Expr> {
        self.binary(OR)
    }

    /// What a DEFAULT may be: no AND, IS, NOT outside parentheses.
    pub(super) fn plain_expr(&mut self) -> Result<Expr> {
        self.binary(COMPARE)
    }

    /// An operand of SQL's own syntax in which IN or FROM follow: POSITION(a IN b).
    pub(super) fn plain_operand(&mut self) -> Result<Expr> {
        self.binary(OTHER)
    }

    pub(super) fn exprs(&mut self) -> Result<Vec<Expr>> {
        self.list(|p| p.expr())
    }

    fn binary(&mut self, min: u8) -> Result<Expr> {
        self.nested(|p| {
            let mut left = p.prefix(min)?;
            while let Some(next) = p.infix(&mut left, min)? {
                left = next;
                p.link()?;
            }
            Ok(left)
        })
    }

    fn prefix(&mut self, min: u8) -> Result<Expr> {
        let pos = self.pos();
        match self.peek() {
            Tok::Word(w) if w == "not" && min <= NOT => {
                self.advance();
                let arg = self.binary(NOT)?;
                Ok(node(ExprKind::Not(Box::new(arg)), pos))
            }
            Tok::Op(op) if op == "-" || op == "+" => {
                let negative = op == "-";
                let operator = self.operator();
                let arg = self.binary(SIGN)?;
                Ok(sign(negative, operator, arg, pos))
            }
            Tok::Op(op)
                if !matches!(
                    op.as_str(),
                    "*" | "=" | "<" | ">" | "<=" | ">=" | "<>" | "/" | "%" | "^" | "=>"
                ) =>
            {
                let operator = self.operator();
                let arg = self.binary(OTHER + 1)?;
                Ok(node(ExprKind::Unary(operator, Box::new(arg)), pos))
            }
            _ => {
                let primary = self.primary()?;
                self.postfix(primary)
            }
        }
    }

    fn operator(&mut self) -> Operator {
        let pos = self.pos();
        let name = match self.peek() {
            Tok::Op(op) => op.clone(),
            _ => String::new(),
        };
        self.advance();
        Operator { name, pos }
    }

    /// One more operator after `left`, if it binds at least as tight as `min`.
    fn infix(&mut self, left: &mut Expr, min: u8) -> Result<Option<Expr>> {
        match self.peek() {
            Tok::Op(op) => {
                let (power, right_power) = match op.as_str() {
                    "<" | ">" | "=" | "<=" | ">=" | "<>" => (COMPARE, COMPARE + 1),
                    "+" | "-" => (SUM, SUM + 1),
                    "*" | "/" | "%" => (PRODUCT, PRODUCT + 1),
                    "^" => (POWER, POWER + 1),
                    "=>" => return Ok(None),
                    _ => (OTHER, OTHER + 1),
                };
                if power < min {
                    return Ok(None);
                }
                let operator = self.operator();
                self.after_operator(left, operator, right_power).map(Some)
            }
            Tok::Word(word) => {
                let word = word.as_str();
                self.infix_word(left, min, word)
            }
            _ => Ok(None),
        }
    }

    fn after_operator(&mut self, left: &mut Expr, op: Operator, right_power: u8) -> Result<Expr> {
        let pos = left.pos;
        if self.at_one_of(&["any", "some", "all"]) && self.peek_at(1) == &Tok::LParen {
            let all = self.at_word("all");
            self.advance();
            let right = self.quantified()?;
            let left = Box::new(take(left));
            return Ok(node(ExprKind::Quantified { op, all, left, right }, pos));
        }
        let right = self.binary(right_power)?;
        let comparison = matches!(op.name.as_str(), "<" | ">" | "=" | "<=" | ">=" | "<>");
        // a < b < c is an error: comparisons do not associate.
        if comparison
            && matches!(self.peek(), Tok::Op(o) if matches!(o.as_str(), "<" | ">" | "=" | "<=" | ">=" | "<>"))
        {
            return Err(self.unexpected());
        }
        Ok(node(ExprKind::Binary(op, Box::new(take(left)), Box::new(right)), pos))
    }

    fn quantified(&mut self) -> Result<Quantified> {
        self.parenthesised(|p| {
            if p.at_query() {
                Ok(Quantified::Query(Box::new(p.query()?)))
            } else {
                Ok(Quantified::Array(Box::new(p.expr()?)))
            }
        })
    }

    fn infix_word(&mut self, left: &mut Expr, min: u8, word: &str) -> Result<Option<Expr>> {
        let pos = left.pos;
        match word {
            "or" if min <= OR => Ok(Some(self.chain(left, "or", AND)?)),
            "and" if min <= AND => Ok(Some(self.chain(left, "and", NOT)?)),
            "is" if min <= IS => self.is_test(left).map(Some),
            "isnull" if min <= IS => {
                self.advance();
                Ok(Some(node(ExprKind::IsNull(Box::new(take(left)), false), pos)))
            }
            "notnull" if min <= IS => {
                self.advance();
                Ok(Some(node(ExprKind::IsNull(Box::new(take(left)), true), pos)))
            }
            "between" | "in" | "like" | "ilike" | "similar" if min <= LIKE => {
                self.membership(left, false).map(Some)
            }
            "not" if min <= LIKE => match self.peek_at(1) {
                Tok::Word(w)
                    if matches!(w.as_str(), "between" | "in" | "like" | "ilike" | "similar") =>
                {
                    self.advance();
                    self.membership(left, true).map(Some)
                }
                _ => Ok(None),
            },
            "overlaps" if min <= LIKE => {
                let at = self.pos();
                self.advance();
                let right = self.binary(LIKE + 1)?;
                self.overlaps(take(left), right, at).map(Some)
            }
            "at" if min <= AT_ZONE && self.at_words(&["at", "time", "zone"]) => {
                let at = self.pos();
                for _ in 0..3 {
                    self.advance();
                }
                let zone = self.binary(AT_ZONE + 1)?;
                let call = self.special_call("timezone", vec![zone, take(left)], at);
                Ok(Some(call))
            }
            "collate" if min <= COLLATE => {
                self.advance();
                let name = self.object_name()?;
                Ok(Some(node(ExprKind::Collate(Box::new(take(left)), name), pos)))
            }
            "operator" if min <= OTHER && self.peek_at(1) == &Tok::LParen => {
                let at = self.pos();
                self.advance();
                let mut op = self.qualified_operator()?;
                op.pos = at;
                self.after_operator(left, op, OTHER + 1).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// `(pg_catalog.+)`, after the word OPERATOR.
    fn qualified_operator(&mut self) -> Result<Operator> {
        self.parenthesised(|p| {
            while !matches!(p.peek(), Tok::Op(_)) {
                p.label()?;
                p.expect(&Tok::Dot)?;
            }
            Ok(p.operator())
        })
    }

    /// AND and OR chains are flat, so that long ones do not nest.
    fn chain(&mut self, left: &mut Expr, word: &str, tighter: u8) -> Result<Expr> {
        let pos = left.pos;
        let mut terms = vec![take(left)];
        while self.accept_word(word) {
            terms.push(self.binary(tighter)?);
        }
        let kind = if word == "or" { ExprKind::Or(terms) } else { ExprKind::And(terms) };
        Ok(node(kind, pos))
    }

    fn is_test(&mut self, left: &mut Expr) -> Result<Expr> {
        let pos = left.pos;
        let own = Box::new(take(left));
        self.advance();
        let negated = self.accept_word("not");
        let kind = match self.accept_one_of(&["null", "true", "false", "unknown", "distinct"]) {
            Some(0) => ExprKind::IsNull(own, negated),
            Some(1) => ExprKind::IsBool(own, Some(true), negated),
            Some(2) => ExprKind::IsBool(own, Some(false), negated),
            Some(3) => ExprKind::IsBool(own, None, negated),
            Some(_) => {
                self.expect_word("from")?;
                let right = self.binary(IS + 1)?;
                ExprKind::IsDistinct(own, Box::new(right), negated)
            }
            None => return Err(self.unexpected()),
        };
        Ok(node(kind, pos))
    }

    fn membership(&mut self, left: &mut Expr, negated: bool) -> Result<Expr> {
        let pos = left.pos;
        let expr = Box::new(take(left));
        let kind = match self.accept_one_of(&["between", "in", "like", "ilike", "similar"]) {
            Some(0) => {
                let symmetric = self.accept_word("symmetric");
                if !symmetric {
                    self.accept_word("asymmetric");
                }
                let low = Box::new(self.binary(LIKE + 1)?);
                self.expect_word("and")?;
                let high = Box::new(self.binary(LIKE + 1)?);
                ExprKind::Between { expr, low, high, negated, symmetric }
            }
            Some(1) => self.parenthesised(|p| {
                if p.at_query() {
                    Ok(ExprKind::InQuery { expr, query: Box::new(p.query()?), negated })
                } else {
                    Ok(ExprKind::InList { expr, list: p.exprs()?, negated })
                }
            })?,
            Some(which) => {
                let kind = match which {
                    2 => LikeKind::Like,
                    3 => LikeKind::ILike,
                    _ => {
                        self.expect_word("to")?;
                        LikeKind::Similar
                    }
                };
                return self.like(expr, kind, negated, pos);
            }
            None => return Err(self.unexpected()),
        };
        Ok(node(kind, pos))
    }

    fn like(&mut self, expr: Box<Expr>, kind: LikeKind, negated: bool, pos: Pos) -> Result<Expr> {
        let op_pos = pos;
        if self.at_one_of(&["any", "some", "all"]) && self.peek_at(1) == &Tok::LParen {
            let name = match (kind, negated) {
                (LikeKind::Like, false) => "~~",
                (LikeKind::Like, true) => "!~~",
                (LikeKind::ILike, false) => "~~*",
                (LikeKind::ILike, true) => "!~~*",
                (LikeKind::Similar, _) => return Err(self.unexpected()),
            };
            let all = self.at_word("all");
            self.advance();
            let right = self.quantified()?;
            let op = Operator { name: name.to_string(), pos: op_pos };
            return Ok(node(ExprKind::Quantified { op, all, left: expr, right }, pos));
        }
        let pattern = Box::new(self.binary(LIKE + 1)?);
        let escape = match self.accept_word("escape") {
            true => Some(Box::new(self.binary(LIKE + 1)?)),
            false => None,
        };
        Ok(node(ExprKind::Like { kind, expr, pattern, escape, negated }, pos))
    }

    fn overlaps(&mut self, left: Expr, right: Expr, pos: Pos) -> Result<Expr> {
        match (left.kind, right.kind) {
            (ExprKind::Row(l), ExprKind::Row(r)) if l.len() == 2 && r.len() == 2 => {
                Ok(self.special_call("overlaps", l.into_iter().chain(r).collect(), pos))
            }
            _ => Err(self.error_at(
                "42601",
                "wrong number of parameters on left side of OVERLAPS expression",
                pos,
            )),
        }
    }

    /// `::type`, `[i]`, `.field` after a primary.
    fn postfix(&mut self, mut expr: Expr) -> Result<Expr> {
        loop {
            let pos = expr.pos;
            match self.peek() {
                Tok::Typecast => {
                    self.advance();
                    let ty = self.type_name()?;
                    expr = node(ExprKind::Cast(Box::new(expr), ty), pos);
                }
                Tok::LBracket if subscriptable(&expr) => {
                    self.advance();
                    let subscript = self.subscript()?;
                    expr = node(ExprKind::Subscript(Box::new(expr), subscript), pos);
                }
                Tok::Dot if selectable(&expr) => {
                    self.advance();
                    if self.accept_op("*") {
                        expr = node(ExprKind::FieldStar(Box::new(expr)), pos);
                    } else {
                        let field = self.label()?;
                        expr = node(ExprKind::Field(Box::new(expr), field), pos);
                    }
                }
                _ => return Ok(expr),
            }
            self.link()?;
        }
    }

    fn subscript(&mut self) -> Result<Subscript> {
        let lower = match self.peek() {
            Tok::Colon => None,
            _ => Some(Box::new(self.expr()?)),
        };
        let subscript = if self.accept(&Tok::Colon) {
            let upper = match self.peek() {
                Tok::RBracket => None,
                _ => Some(Box::new(self.expr()?)),
            };
            Subscript::Slice(lower, upper)
        } else {
            Subscript::Index(lower.ok_or_else(|| self.unexpected())?)
        };
        self.expect(&Tok::RBracket)?;
        Ok(subscript)
    }

    fn primary(&mut self) -> Result<Expr> {
        let pos = self.pos();
        let kind = match self.peek() {
            Tok::Int(digits) => ExprKind::Int(digits.clone()),
            Tok::Decimal(digits) => ExprKind::Decimal(digits.clone()),
            Tok::Str(text) => ExprKind::Str(text.clone()),
            Tok::Bits | Tok::HexBits => ExprKind::Bits,
            Tok::Param(n) => ExprKind::Param(*n),
            Tok::LParen => return self.in_parentheses(),
            Tok::Quoted(_) => return self.name_or_call(),
            Tok::Word(_) => return self.word(),
            _ => return Err(self.unexpected()),
        };
        self.advance();
        Ok(node(kind, pos))
    }

    /// `(expr)`, `(a, b)`, `(SELECT ...)`.
    fn in_parentheses(&mut self) -> Result<Expr> {
        let pos = self.pos();
        if self.at_parenthesised_query() {
            let query = self.parenthesised(|p| p.query())?;
            return Ok(node(ExprKind::Scalar(Box::new(query)), pos));
        }
        let mut items = self.parenthesised(|p| p.exprs())?;
        match items.len() {
            1 => {
                // Parentheses make a column's field selectable: (c).f
                let inner = items.remove(0);
                if self.peek() == &Tok::Dot && matches!(inner.kind, ExprKind::Column(_)) {
                    self.advance();
                    let kind = if self.accept_op("*") {
                        ExprKind::FieldStar(Box::new(inner))
                    } else {
                        let field = self.label()?;
                        ExprKind::Field(Box::new(inner), field)
                    };
                    return Ok(node(kind, pos));
                }
                Ok(inner)
            }
            _ => Ok(node(ExprKind::Row(items), pos)),
        }
    }

    pub(super) fn at_query(&self) -> bool {
        self.at_one_of(&["select", "values", "with", "table"]) || self.at_parenthesised_query()
    }

    /// At a parenthesis that, after any number of others, opens a query.
    fn at_parenthesised_query(&self) -> bool {
        let mut ahead = 0;
        while self.peek_at(ahead) == &Tok::LParen {
            ahead += 1;
        }
        if ahead == 0 {
            return false;
        }
        let opens = ["select", "values", "with", "table"].iter().any(|w| self.word_at(ahead, w));
        // ((SELECT 1) + 1) is an expression: the inner parentheses close before the outer.
        opens && (ahead == 1 || self.parentheses_close_together(ahead))
    }

    fn parentheses_close_together(&self, opened: usize) -> bool {
        let mut depth = opened;
        let mut ahead = opened;
        loop {
            match self.peek_at(ahead) {
                Tok::LParen => depth += 1,
                Tok::RParen => {
                    depth -= 1;
                    if depth == 0 {
                        return true;
                    }
                    if depth < opened {
                        // Between the parentheses only what continues a query may come.
                        let continues = match self.peek_at(ahead + 1) {
                            Tok::RParen => true,
                            Tok::Word(w) => matches!(
                                w.as_str(),
                                "union"
                                    | "intersect"
                                    | "except"
                                    | "order"
                                    | "limit"
                                    | "offset"
                                    | "fetch"
                                    | "for"
                            ),
                            _ => false,
                        };
                        if !continues {
                            return false;
                        }
                    }
                }
                Tok::End => return false,
                _ => {}
            }
            ahead += 1;
        }
    }

    fn word(&mut self) -> Result<Expr> {
        let pos = self.pos();
        let Tok::Word(word) = self.peek() else { return Err(self.unexpected()) };
        let kind = match word.as_str() {
            "null" => ExprKind::Null,
            "true" => ExprKind::Bool(true),
            "false" => ExprKind::Bool(false),
            "default" => ExprKind::Default,
            "case" => return self.case(),
            "cast" if self.peek_at(1) == &Tok::LParen => return self.cast(),
            "exists" if self.peek_at(1) == &Tok::LParen => {
                self.advance();
                let query = self.parenthesised(|p| p.query())?;
                return Ok(node(ExprKind::Exists(Box::new(query)), pos));
            }
            "array" => return self.array(),
            "row" if self.peek_at(1) == &Tok::LParen => {
                self.advance();
                let fields = self.parenthesised(|p| match p.peek() {
                    Tok::RParen => Ok(Vec::new()),
                    _ => p.exprs_with_stars(),
                })?;
                return Ok(node(ExprKind::Row(fields), pos));
            }
            "interval" => {
                if let Some(literal) = self.typed_literal()? {
                    return Ok(literal);
                }
                return self.name_or_call();
            }
            _ => {
                if let Some(expr) = self.special_syntax()? {
                    return Ok(expr);
                }
                if let Some(literal) = self.typed_literal()? {
                    return Ok(literal);
                }
                return self.name_or_call();
            }
        };
        self.advance();
        Ok(node(kind, pos))
    }

    /// `date '2024-01-01'`, `timestamp(3) with time zone '...'`, `interval '1' day`.
    fn typed_literal(&mut self) -> Result<Option<Expr>> {
        let Tok::Word(word) = self.peek() else { return Ok(None) };
        let many_worded = matches!(
            word.as_str(),
            "time"
                | "timestamp"
                | "interval"
                | "double"
                | "character"
                | "char"
                | "varchar"
                | "national"
                | "bit"
                | "numeric"
                | "decimal"
                | "dec"
                | "float"
        );
        let literal_next = matches!(self.peek_at(1), Tok::Str(_));
        let qualified = self.peek_at(1) == &Tok::Dot && matches!(self.peek_at(3), Tok::Str(_));
        if !(many_worded || literal_next || qualified) {
            return Ok(None);
        }
        let start = self.at;
        let Ok(mut ty) = self.type_name() else {
            self.at = start;
            return Ok(None);
        };
        let Tok::Str(text) = self.peek() else {
            self.at = start;
            return Ok(None);
        };
        let text = text.clone();
        let literal_pos = self.pos();
        self.advance();
        if ty.name.name() == "interval" && ty.interval_fields.is_none() {
            let mut modifiers = std::mem::take(&mut ty.modifiers);
            ty.interval_fields = self.interval_fields(&mut modifiers)?;
            ty.modifiers = modifiers;
        }
        Ok(Some(node(ExprKind::TypedLiteral(ty, text), literal_pos)))
    }

    /// `a`, `t.a`, `t.*`, `f(...)`.
    fn name_or_call(&mut self) -> Result<Expr> {
        let pos = self.pos();
        let mut ahead = 1;
        while self.peek_at(ahead) == &Tok::Dot
            && matches!(self.peek_at(ahead + 1), Tok::Word(_) | Tok::Quoted(_))
        {
            ahead += 2;
        }
        if self.peek_at(ahead) == &Tok::LParen {
            return self.call();
        }
        let first = match self.peek() {
            Tok::Quoted(_) => self.label()?,
            Tok::Word(w) if may_be_name(w) => self.label()?,
            _ => return Err(self.unexpected()),
        };
        let mut parts = vec![first];
        while self.peek() == &Tok::Dot {
            self.advance();
            if self.accept_op("*") {
                return Ok(node(ExprKind::Star(parts), pos));
            }
            parts.push(self.label()?);
        }
        Ok(node(ExprKind::Column(parts), pos))
    }

    pub(super) fn exprs_with_stars(&mut self) -> Result<Vec<Expr>> {
        self.exprs()
    }

    fn case(&mut self) -> Result<Expr> {
        let pos = self.pos();
        self.advance();
        let operand = match self.at_word("when") {
            true => None,
            false => Some(Box::new(self.expr()?)),
        };
        let mut whens = Vec::new();
        while self.accept_word("when") {
            let condition = self.expr()?;
            self.expect_word("then")?;
            whens.push((condition, self.expr()?));
        }
        if whens.is_empty() {
            return Err(self.unexpected());
        }
        let otherwise = match self.accept_word("else") {
            true => Some(Box::new(self.expr()?)),
            false => None,
        };
        self.expect_word("end")?;
        Ok(node(ExprKind::Case { operand, whens, otherwise }, pos))
    }

    fn cast(&mut self) -> Result<Expr> {
        let pos = self.pos();
        self.advance();
        self.parenthesised(|p| {
            let arg = p.expr()?;
            p.expect_word("as")?;
            let ty: TypeName = p.type_name()?;
            Ok(node(ExprKind::Cast(Box::new(arg), ty), pos))
        })
    }

    /// `ARRAY[1, 2]`, `ARRAY[[1], [2]]`, `ARRAY(SELECT ...)`.
    fn array(&mut self) -> Result<Expr> {
        let pos = self.pos();
        self.advance();
        match self.peek() {
            Tok::LParen => {
                let query: Query = self.parenthesised(|p| p.query())?;
                Ok(node(ExprKind::ArrayQuery(Box::new(query)), pos))
            }
            Tok::LBracket => {
                let elements = self.array_elements()?;
                // ARRAY[...] takes no subscript without parentheses.
                if self.peek() == &Tok::LBracket {
                    return Err(self.unexpected());
                }
                Ok(node(ExprKind::Array(elements), pos))
            }
            _ => Err(self.unexpected()),
        }
    }

    fn array_elements(&mut self) -> Result<Vec<Expr>> {
        self.expect(&Tok::LBracket)?;
        if self.accept(&Tok::RBracket) {
            return Ok(Vec::new());
        }
        let elements = self.list(|p| {
            let pos = p.pos();
            match p.peek() {
                Tok::LBracket => {
                    let inner = p.nested(|p| p.array_elements())?;
                    Ok(node(ExprKind::Array(inner), pos))
                }
                _ => p.expr(),
            }
        })?;
        self.expect(&Tok::RBracket)?;
        Ok(elements)
    }
}

pub(super) fn node(kind: ExprKind, pos: Pos) -> Expr {
    Expr { kind, pos }
}

/// Moves the left operand into what is built around it.
fn take(left: &mut Expr) -> Expr {
    std::mem::replace(left, node(ExprKind::Null, 0))
}

/// A sign before a number belongs to the number: -9223372036854775808 is an int8.
fn sign(negative: bool, operator: Operator, arg: Expr, pos: Pos) -> Expr {
    match arg.kind {
        ExprKind::Int(digits) if negative && !digits.starts_with('-') => {
            node(ExprKind::Int(format!("-{digits}")), pos)
        }
        ExprKind::Decimal(digits) if negative && !digits.starts_with('-') => {
            node(ExprKind::Decimal(format!("-{digits}")), pos)
        }
        kind => node(ExprKind::Unary(operator, Box::new(node(kind, arg.pos))), pos),
    }
}

fn subscriptable(expr: &Expr) -> bool {
    !matches!(
        expr.kind,
        ExprKind::Int(_)
            | ExprKind::Decimal(_)
            | ExprKind::Str(_)
            | ExprKind::Null
            | ExprKind::Bool(_)
    )
}

fn selectable(expr: &Expr) -> bool {
    matches!(
        expr.kind,
        ExprKind::Subscript(..)
            | ExprKind::Field(..)
            | ExprKind::Call(_)
            | ExprKind::Row(_)
            | ExprKind::Scalar(_)
            | ExprKind::Param(_)
            | ExprKind::Cast(..)
    )
}
