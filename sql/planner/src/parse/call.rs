//! Function calls: the general form, and those with a syntax of their own.

use super::cursor::Parser;
use super::expr::node;
use super::lexer::Tok;
use crate::ast::{
    Arg, Call, Expr, ExprKind, FrameEdge, FrameSpec, Ident, ObjectName, OrderItem, Over, Pos,
    WindowSpec,
};
use crate::error::Result;
use crate::plan::{FrameExclude, FrameMode};

impl Parser<'_> {
    /// `name(args)` with all that may follow.
    pub(super) fn call(&mut self) -> Result<Expr> {
        let pos = self.pos();
        let first = match self.peek_at(1) {
            Tok::Dot => self.name()?,
            _ => match self.accept_function_name() {
                Some(name) => name,
                None if self.at_one_of(&[
                    "coalesce",
                    "greatest",
                    "least",
                    "nullif",
                    "grouping",
                    "normalize",
                    "xmlelement",
                    "xmlconcat",
                    "values",
                ]) && !self.at_word("values") =>
                {
                    self.label()?
                }
                None => return Err(self.unexpected()),
            },
        };
        let mut parts = vec![first];
        while self.accept(&Tok::Dot) {
            parts.push(self.label()?);
        }
        let mut call = blank(ObjectName { parts });
        self.expect(&Tok::LParen)?;
        self.arguments(&mut call)?;
        self.expect(&Tok::RParen)?;
        self.after_call(&mut call)?;
        Ok(node(ExprKind::Call(Box::new(call)), pos))
    }

    fn arguments(&mut self, call: &mut Call) -> Result<()> {
        if self.peek() == &Tok::RParen {
            return Ok(());
        }
        if self.at_op("*") && self.peek_at(1) == &Tok::RParen {
            self.advance();
            call.star = true;
            return Ok(());
        }
        if self.accept_word("distinct") {
            call.distinct = true;
        } else {
            self.accept_word("all");
        }
        loop {
            call.variadic |= self.accept_word("variadic");
            call.args.push(self.argument()?);
            if !self.accept(&Tok::Comma) {
                break;
            }
        }
        if self.at_word("order") {
            call.order = self.order_by()?;
        }
        Ok(())
    }

    fn argument(&mut self) -> Result<Arg> {
        let named = matches!(self.peek(), Tok::Word(_) | Tok::Quoted(_))
            && (self.peek_at(1) == &Tok::Assign
                || matches!(self.peek_at(1), Tok::Op(op) if op == "=>"));
        let name = match named {
            true => {
                let name = self.label()?;
                self.advance();
                Some(name)
            }
            false => None,
        };
        Ok(Arg { name, value: self.expr()? })
    }

    fn after_call(&mut self, call: &mut Call) -> Result<()> {
        if self.at_words(&["within", "group"]) && self.peek_at(2) == &Tok::LParen {
            self.advance();
            self.advance();
            call.within_group = self.parenthesised(|p| p.order_by())?;
        }
        if self.at_word("filter") && self.peek_at(1) == &Tok::LParen {
            self.advance();
            call.filter = Some(self.parenthesised(|p| {
                p.expect_word("where")?;
                p.expr()
            })?);
        }
        if self.at_word("over")
            && matches!(self.peek_at(1), Tok::LParen | Tok::Word(_) | Tok::Quoted(_))
        {
            self.advance();
            call.over = Some(match self.peek() {
                Tok::LParen => Over::Spec(self.window_spec()?),
                _ => Over::Named(self.name()?),
            });
        }
        Ok(())
    }

    pub(super) fn order_by(&mut self) -> Result<Vec<OrderItem>> {
        self.expect_words(&["order", "by"])?;
        self.list(|p| p.order_item())
    }

    pub(super) fn order_item(&mut self) -> Result<OrderItem> {
        let expr = self.expr()?;
        let mut descending = self.accept_one_of(&["asc", "desc"]) == Some(1);
        if self.accept_word("using") {
            match self.peek() {
                Tok::Op(op) if op == "<" => descending = false,
                Tok::Op(op) if op == ">" => descending = true,
                _ => return Err(self.unexpected()),
            }
            self.advance();
        }
        let nulls_first = match self.accept_word("nulls") {
            true => match self.accept_one_of(&["first", "last"]) {
                Some(which) => Some(which == 0),
                None => return Err(self.unexpected()),
            },
            false => None,
        };
        Ok(OrderItem { expr, descending, nulls_first })
    }

    /// `(base PARTITION BY ... ORDER BY ... frame)`
    pub(super) fn window_spec(&mut self) -> Result<WindowSpec> {
        let pos = self.pos();
        self.parenthesised(|p| {
            let clause = ["partition", "order", "rows", "range", "groups"];
            let base = match p.at_one_of(&clause) {
                true => None,
                false => p.accept_name(),
            };
            let partition = match p.accept_words(&["partition", "by"]) {
                true => p.exprs()?,
                false => Vec::new(),
            };
            let order = if p.at_word("order") { p.order_by()? } else { Vec::new() };
            let frame = p.frame()?;
            Ok(WindowSpec { base, partition, order, frame, pos })
        })
    }

    fn frame(&mut self) -> Result<Option<FrameSpec>> {
        let mode = match self.accept_one_of(&["rows", "range", "groups"]) {
            Some(0) => FrameMode::Rows,
            Some(1) => FrameMode::Range,
            Some(_) => FrameMode::Groups,
            None => return Ok(None),
        };
        let (start, end) = if self.accept_word("between") {
            let start = self.frame_edge()?;
            self.expect_word("and")?;
            (start, self.frame_edge()?)
        } else {
            (self.frame_edge()?, FrameEdge::CurrentRow)
        };
        let exclude = if self.accept_word("exclude") {
            if self.accept_words(&["no", "others"]) {
                FrameExclude::NoOthers
            } else if self.accept_words(&["current", "row"]) {
                FrameExclude::CurrentRow
            } else if self.accept_word("group") {
                FrameExclude::Group
            } else {
                self.expect_word("ties")?;
                FrameExclude::Ties
            }
        } else {
            FrameExclude::NoOthers
        };
        Ok(Some(FrameSpec { mode, start, end, exclude }))
    }

    fn frame_edge(&mut self) -> Result<FrameEdge> {
        if self.accept_words(&["current", "row"]) {
            return Ok(FrameEdge::CurrentRow);
        }
        if self.at_word("unbounded") {
            self.advance();
            return match self.accept_one_of(&["preceding", "following"]) {
                Some(0) => Ok(FrameEdge::UnboundedPreceding),
                Some(_) => Ok(FrameEdge::UnboundedFollowing),
                None => Err(self.unexpected()),
            };
        }
        let offset = self.expr()?;
        match self.accept_one_of(&["preceding", "following"]) {
            Some(0) => Ok(FrameEdge::Preceding(offset)),
            Some(_) => Ok(FrameEdge::Following(offset)),
            None => Err(self.unexpected()),
        }
    }

    /// A call that the grammar itself makes.
    pub(super) fn special_call(&self, name: &str, args: Vec<Expr>, pos: Pos) -> Expr {
        let args = args.into_iter().map(|value| Arg { name: None, value }).collect();
        let name = ObjectName { parts: vec![Ident { name: name.to_string(), pos }] };
        node(ExprKind::Call(Box::new(Call { args, special: true, ..blank(name) })), pos)
    }

    /// `extract(year from x)`, `current_date`, `trim(both 'x' from y)` and their kind.
    pub(super) fn special_syntax(&mut self) -> Result<Option<Expr>> {
        let pos = self.pos();
        let Tok::Word(word) = self.peek() else { return Ok(None) };
        let word = word.as_str();
        match word {
            "current_date" | "current_user" | "session_user" | "user" | "current_role"
            | "current_catalog" => {
                self.advance();
                return Ok(Some(self.special_call(word, Vec::new(), pos)));
            }
            "current_schema" if self.peek_at(1) != &Tok::LParen => {
                self.advance();
                return Ok(Some(self.special_call(word, Vec::new(), pos)));
            }
            "current_time" | "current_timestamp" | "localtime" | "localtimestamp" => {
                self.advance();
                let args = match self.peek() {
                    Tok::LParen => vec![self.parenthesised(|p| p.expr())?],
                    _ => Vec::new(),
                };
                return Ok(Some(self.special_call(word, args, pos)));
            }
            "extract" | "position" | "substring" | "overlay" | "trim" | "treat" | "collation" => {}
            _ => return Ok(None),
        }
        if self.peek_at(1) != &Tok::LParen {
            return Ok(None);
        }
        match word {
            "extract" => self.extract(pos).map(Some),
            "position" => {
                self.advance();
                self.parenthesised(|p| {
                    // The operand is a b_expr: IN belongs to POSITION.
                    let needle = p.plain_operand()?;
                    p.expect_word("in")?;
                    let hay = p.plain_operand()?;
                    Ok(p.special_call("position", vec![hay, needle], pos))
                })
                .map(Some)
            }
            "substring" => self.substring(pos).map(Some),
            "overlay" => self.overlay(pos).map(Some),
            "trim" => self.trim(pos).map(Some),
            "collation" => {
                self.advance();
                self.parenthesised(|p| {
                    p.expect_word("for")?;
                    let arg = p.parenthesised(|p| p.expr())?;
                    Ok(p.special_call("pg_collation_for", vec![arg], pos))
                })
                .map(Some)
            }
            _ => Ok(None),
        }
    }

    fn extract(&mut self, pos: Pos) -> Result<Expr> {
        self.advance();
        self.parenthesised(|p| {
            let field_pos = p.pos();
            let field = match p.peek() {
                Tok::Str(text) => {
                    p.advance();
                    text.clone()
                }
                _ => p.label()?.name,
            };
            p.expect_word("from")?;
            let source = p.expr()?;
            let field = node(ExprKind::Str(field), field_pos);
            Ok(p.special_call("extract", vec![field, source], pos))
        })
    }

    fn substring(&mut self, pos: Pos) -> Result<Expr> {
        self.advance();
        self.parenthesised(|p| {
            let text = p.expr()?;
            let mut from = None;
            let mut length = None;
            if p.accept(&Tok::Comma) {
                let mut args = vec![text];
                args.extend(p.exprs()?);
                return Ok(p.special_call("substring", args, pos));
            }
            if p.accept_word("similar") {
                let pattern = p.expr()?;
                p.expect_word("escape")?;
                let escape = p.expr()?;
                return Ok(p.special_call("substring", vec![text, pattern, escape], pos));
            }
            loop {
                if from.is_none() && p.accept_word("from") {
                    from = Some(p.expr()?);
                } else if length.is_none() && p.accept_word("for") {
                    length = Some(p.expr()?);
                } else {
                    break;
                }
            }
            let mut args = vec![text];
            match (from, length) {
                (Some(from), Some(length)) => args.extend([from, length]),
                (Some(from), None) => args.push(from),
                (None, Some(length)) => {
                    args.extend([node(ExprKind::Int("1".to_string()), pos), length]);
                }
                (None, None) => {}
            }
            Ok(p.special_call("substring", args, pos))
        })
    }

    fn overlay(&mut self, pos: Pos) -> Result<Expr> {
        self.advance();
        self.parenthesised(|p| {
            let mut args = vec![p.expr()?];
            if p.accept(&Tok::Comma) {
                args.extend(p.exprs()?);
            } else {
                p.expect_word("placing")?;
                args.push(p.expr()?);
                p.expect_word("from")?;
                args.push(p.expr()?);
                if p.accept_word("for") {
                    args.push(p.expr()?);
                }
            }
            Ok(p.special_call("overlay", args, pos))
        })
    }

    fn trim(&mut self, pos: Pos) -> Result<Expr> {
        self.advance();
        self.parenthesised(|p| {
            let name = match p.accept_one_of(&["both", "leading", "trailing"]) {
                Some(1) => "ltrim",
                Some(2) => "rtrim",
                _ => "btrim",
            };
            let mut args = Vec::new();
            if !p.at_word("from") {
                args = p.exprs()?;
            }
            if p.accept_word("from") {
                // trim('x' from s): what is trimmed comes second in btrim.
                let mut text = p.exprs()?;
                text.append(&mut args);
                args = text;
            }
            Ok(p.special_call(name, args, pos))
        })
    }
}

fn blank(name: ObjectName) -> Call {
    Call {
        name,
        args: Vec::new(),
        star: false,
        distinct: false,
        variadic: false,
        order: Vec::new(),
        within_group: Vec::new(),
        filter: None,
        over: None,
        special: false,
    }
}
