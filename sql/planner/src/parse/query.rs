//! SELECT, VALUES, set operations, WITH, FROM.

use super::cursor::Parser;
use super::lexer::Tok;
use crate::ast::{
    ColumnDefItem, CteBody, CteDef, Distinct, Expr, ExprKind, FromItem, GroupItem, Ident,
    IntoTable, JoinCondition, JoinType, Locking, ObjectName, Pos, Query, SampleClause, Select,
    SelectItem, SetExpr, TableAlias, With,
};
use crate::error::Result;
use crate::plan::{RowLockWait, SetOperator};
use core_domain::LockMode;
use std::sync::Arc;

impl Parser<'_> {
    pub(super) fn query(&mut self) -> Result<Query> {
        let with = self.with()?;
        self.query_after_with(with)
    }

    pub(super) fn query_after_with(&mut self, with: Option<With>) -> Result<Query> {
        let body = self.set_expr(0)?;
        let mut query = Query {
            with,
            body,
            order: Vec::new(),
            limit: None,
            offset: None,
            with_ties: false,
            locking: Vec::new(),
        };
        if self.at_words(&["order", "by"]) {
            query.order = self.order_by()?;
        }
        self.limits_and_locks(&mut query)?;
        // (SELECT ...) alone, with no clause of its own, is what is inside.
        if query.with.is_none() && is_bare(&query) {
            match query.body {
                SetExpr::Nested(inner) => return Ok(*inner),
                body => query.body = body,
            }
        }
        Ok(query)
    }

    /// LIMIT, OFFSET, FETCH and FOR come in any order.
    fn limits_and_locks(&mut self, query: &mut Query) -> Result<()> {
        loop {
            if self.at_word("limit") && query.limit.is_none() {
                self.advance();
                if self.accept_word("all") {
                    query.limit = None;
                    continue;
                }
                query.limit = Some(self.expr()?);
                if self.peek() == &Tok::Comma {
                    let error =
                        self.error_at("42601", "LIMIT #,# syntax is not supported", self.pos());
                    return Err(error.hint("Use separate LIMIT and OFFSET clauses."));
                }
            } else if self.at_word("offset") && query.offset.is_none() {
                self.advance();
                query.offset = Some(self.expr()?);
                self.accept_one_of(&["row", "rows"]);
            } else if self.at_word("fetch") && query.limit.is_none() {
                self.fetch_first(query)?;
            } else if self.at_word("for") {
                let Some(locking) = self.locking()? else { return Ok(()) };
                query.locking.extend(locking);
            } else {
                return Ok(());
            }
        }
    }

    fn fetch_first(&mut self, query: &mut Query) -> Result<()> {
        let pos = self.pos();
        self.advance();
        if self.accept_one_of(&["first", "next"]).is_none() {
            return Err(self.unexpected());
        }
        query.limit = Some(match self.at_one_of(&["row", "rows"]) {
            true => Expr { kind: ExprKind::Int("1".to_string()), pos },
            false => self.expr()?,
        });
        if self.accept_one_of(&["row", "rows"]).is_none() {
            return Err(self.unexpected());
        }
        if self.accept_words(&["with", "ties"]) {
            query.with_ties = true;
            return Ok(());
        }
        self.expect_word("only")
    }

    fn locking(&mut self) -> Result<Option<Vec<Locking>>> {
        let pos = self.pos();
        if self.accept_words(&["for", "read", "only"]) {
            return Ok(Some(Vec::new()));
        }
        let forms: [(&[&str], LockMode); 4] = [
            (&["for", "update"], LockMode::Exclusive),
            (&["for", "no", "key", "update"], LockMode::NoKeyExclusive),
            (&["for", "share"], LockMode::Share),
            (&["for", "key", "share"], LockMode::KeyShare),
        ];
        let Some((_, mode)) = forms.iter().find(|(words, _)| self.at_words(words)) else {
            return Ok(None);
        };
        let words = forms.iter().find(|(_, m)| m == mode).map_or(0, |(w, _)| w.len());
        for _ in 0..words {
            self.advance();
        }
        let of = if self.accept_word("of") { self.object_names()? } else { Vec::new() };
        let wait = if self.accept_word("nowait") {
            RowLockWait::NoWait
        } else if self.accept_words(&["skip", "locked"]) {
            RowLockWait::SkipLocked
        } else {
            RowLockWait::Wait
        };
        Ok(Some(vec![Locking { mode: *mode, of, wait, pos }]))
    }

    pub(super) fn with(&mut self) -> Result<Option<With>> {
        if !self.at_word("with") {
            return Ok(None);
        }
        self.advance();
        let recursive = self.accept_word("recursive");
        let ctes = self.list(|p| {
            let name = p.name()?;
            let columns = p.optional_name_list()?;
            p.expect_word("as")?;
            let materialized = if p.accept_words(&["not", "materialized"]) {
                Some(false)
            } else {
                p.accept_word("materialized").then_some(true)
            };
            let body = p.parenthesised(|p| p.nested(|p| p.cte_body()))?;
            // Each may stand in the one after it.
            p.link()?;
            if p.at_one_of(&["search", "cycle"]) {
                return Err(crate::PlanError::unsupported("SEARCH and CYCLE in WITH"));
            }
            Ok(CteDef { name, columns, materialized, body })
        })?;
        Ok(Some(With { recursive, ctes }))
    }

    fn cte_body(&mut self) -> Result<CteBody> {
        let with = self.with()?;
        if self.at_word("insert") {
            return Ok(CteBody::Insert(Box::new(self.insert(with)?)));
        }
        if self.at_word("update") {
            return Ok(CteBody::Update(Box::new(self.update(with)?)));
        }
        if self.at_word("delete") {
            return Ok(CteBody::Delete(Box::new(self.delete(with)?)));
        }
        Ok(CteBody::Query(Box::new(self.query_after_with(with)?)))
    }

    /// UNION and EXCEPT bind alike, INTERSECT tighter.
    fn set_expr(&mut self, min: u8) -> Result<SetExpr> {
        self.nested(|p| {
            let mut left = p.set_operand()?;
            loop {
                let (op, power) = match p.peek() {
                    Tok::Word(w) if w == "union" => (SetOperator::Union, 1),
                    Tok::Word(w) if w == "except" => (SetOperator::Except, 1),
                    Tok::Word(w) if w == "intersect" => (SetOperator::Intersect, 2),
                    _ => return Ok(left),
                };
                if power <= min {
                    return Ok(left);
                }
                p.link()?;
                let pos = p.pos();
                p.advance();
                let all = p.accept_one_of(&["all", "distinct"]) == Some(0);
                let right = p.set_expr(power)?;
                left =
                    SetExpr::SetOp { op, all, left: Box::new(left), right: Box::new(right), pos };
            }
        })
    }

    fn set_operand(&mut self) -> Result<SetExpr> {
        if self.peek() == &Tok::LParen {
            let inner = self.parenthesised(|p| p.nested(|p| p.query()))?;
            return Ok(SetExpr::Nested(Box::new(inner)));
        }
        if self.accept_word("values") {
            let rows = self.list(|p| p.parenthesised(|p| p.exprs()))?;
            return Ok(SetExpr::Values(rows));
        }
        if self.at_word("table") {
            return self.table_command();
        }
        self.select().map(|select| SetExpr::Select(Box::new(select)))
    }

    /// `TABLE t` is `SELECT * FROM t`.
    fn table_command(&mut self) -> Result<SetExpr> {
        let pos = self.pos();
        self.advance();
        let name = self.relation_name()?;
        let mut select = empty_select(pos);
        select.items.push(SelectItem::Star { qualifier: Vec::new(), pos });
        select.from.push(FromItem::Table { name, alias: None, sample: None });
        Ok(SetExpr::Select(Box::new(select)))
    }

    fn select(&mut self) -> Result<Select> {
        let mut select = empty_select(self.pos());
        self.expect_word("select")?;
        if self.accept_word("distinct") {
            select.distinct = Some(match self.accept_word("on") {
                true => Distinct::On(self.parenthesised(|p| p.exprs())?),
                false => Distinct::All,
            });
        } else {
            self.accept_word("all");
        }
        if !self.at_select_list_end() {
            select.items = self.select_items()?;
        }
        if self.accept_word("into") {
            let temporary = self.accept_one_of(&["temporary", "temp"]).is_some();
            self.accept_word("unlogged");
            self.accept_word("table");
            let name = self.object_name()?;
            select.into = Some(IntoTable { name, temporary });
        }
        if self.accept_word("from") {
            select.from = self.from_list()?;
            if let Some((time, pos)) = self.as_of_system_time()? {
                self.note_as_of(time, pos)?;
            }
        }
        if self.accept_word("where") {
            select.filter = Some(self.expr()?);
        }
        if self.accept_words(&["group", "by"]) {
            select.group_distinct = self.accept_one_of(&["distinct", "all"]) == Some(0);
            select.group = self.list(|p| p.group_item())?;
        }
        if self.accept_word("having") {
            select.having = Some(self.expr()?);
        }
        if self.accept_word("window") {
            select.windows = self.list(|p| {
                let name = p.name()?;
                p.expect_word("as")?;
                Ok((name, p.window_spec()?))
            })?;
        }
        Ok(select)
    }

    fn at_select_list_end(&self) -> bool {
        matches!(self.peek(), Tok::End | Tok::Semicolon | Tok::RParen)
            || self
                .at_one_of(&["from", "where", "into", "union", "order", "limit", "group", "having"])
    }

    pub(super) fn select_items(&mut self) -> Result<Vec<SelectItem>> {
        self.list(|p| {
            let pos = p.pos();
            if p.accept_op("*") {
                return Ok(SelectItem::Star { qualifier: Vec::new(), pos });
            }
            let expr = p.expr()?;
            if let ExprKind::Star(qualifier) = expr.kind {
                return Ok(SelectItem::Star { qualifier, pos });
            }
            let alias = match p.accept_word("as") {
                true => Some(p.label()?),
                false => p.accept_bare_label(),
            };
            Ok(SelectItem::Expr { expr, alias })
        })
    }

    fn group_item(&mut self) -> Result<GroupItem> {
        let list = |p: &mut Self| {
            p.parenthesised(|p| {
                p.list(|p| match p.peek() {
                    Tok::LParen if !p.at_query() => {
                        let exprs = p.parenthesised(|p| p.exprs())?;
                        Ok(exprs)
                    }
                    _ => Ok(vec![p.expr()?]),
                })
            })
        };
        if self.at_word("rollup") && self.peek_at(1) == &Tok::LParen {
            self.advance();
            return Ok(GroupItem::Rollup(list(self)?));
        }
        if self.at_word("cube") && self.peek_at(1) == &Tok::LParen {
            self.advance();
            return Ok(GroupItem::Cube(list(self)?));
        }
        if self.accept_words(&["grouping", "sets"]) {
            let sets = self.parenthesised(|p| p.nested(|p| p.list(|p| p.group_item())))?;
            return Ok(GroupItem::Sets(sets));
        }
        if self.peek() == &Tok::LParen && self.peek_at(1) == &Tok::RParen {
            self.advance();
            self.advance();
            return Ok(GroupItem::Empty);
        }
        let expr = self.expr()?;
        match expr.kind {
            ExprKind::Row(items) => Ok(GroupItem::List(items)),
            kind => Ok(GroupItem::Expr(Expr { kind, pos: expr.pos })),
        }
    }

    // ---- FROM ----

    fn at_as_of(&self) -> bool {
        self.at_words(&["as", "of", "system", "time"])
    }

    /// AS OF SYSTEM TIME and a constant, as text: an interval, a timestamp, or a number.
    pub(super) fn as_of_system_time(&mut self) -> Result<Option<(Arc<str>, Pos)>> {
        if !self.at_as_of() {
            return Ok(None);
        }
        self.expect_words(&["as", "of", "system", "time"])?;
        let pos = self.pos();
        match self.peek() {
            Tok::Str(text) | Tok::Int(text) => {
                let text = text.as_str().into();
                self.advance();
                Ok(Some((text, pos)))
            }
            Tok::Param(_) | Tok::LParen => {
                Err(crate::PlanError::unsupported("AS OF SYSTEM TIME with anything but a constant"))
            }
            _ => Err(self.unexpected()),
        }
    }

    /// A statement reads one moment.
    fn note_as_of(&mut self, time: Arc<str>, pos: Pos) -> Result<()> {
        if self.as_of.as_ref().is_some_and(|other| *other != time) {
            let message = "AS OF SYSTEM TIME with several times in one statement";
            return Err(self.error_at("0A000", format!("{message} is not supported yet"), pos));
        }
        self.as_of = Some(time);
        Ok(())
    }

    pub(super) fn from_list(&mut self) -> Result<Vec<FromItem>> {
        self.list(|p| p.from_item())
    }

    fn from_item(&mut self) -> Result<FromItem> {
        self.nested(|p| {
            let mut left = p.from_primary()?;
            while let Some((kind, natural)) = p.join_words()? {
                left = p.join_rest(left, kind, natural)?;
            }
            Ok(left)
        })
    }

    /// What follows `left JOIN`: the other side and the condition.
    fn join_rest(&mut self, left: FromItem, kind: JoinType, natural: bool) -> Result<FromItem> {
        let pos = self.pos();
        let right = match (kind, natural) {
            (JoinType::Cross, _) | (_, true) => self.from_primary()?,
            _ => self.join_operand()?,
        };
        let condition = match (kind, natural) {
            (_, true) => JoinCondition::Natural,
            (JoinType::Cross, _) => JoinCondition::None,
            _ => self.join_condition()?,
        };
        let (left, right) = (Box::new(left), Box::new(right));
        Ok(FromItem::Join { kind, left, right, condition, alias: None, pos })
    }

    /// What follows JOIN: `a JOIN b JOIN c ON .. ON ..` nests to the right.
    fn join_operand(&mut self) -> Result<FromItem> {
        let start = self.at;
        let primary = self.from_primary()?;
        if self.at_one_of(&["on", "using"]) {
            return Ok(primary);
        }
        // No condition yet: the operand is itself a join, whose conditions come first.
        self.at = start;
        self.nested(|p| {
            let mut left = p.from_primary()?;
            while !p.at_one_of(&["on", "using"]) {
                let Some((kind, natural)) = p.join_words()? else { return Err(p.unexpected()) };
                left = p.join_rest(left, kind, natural)?;
            }
            Ok(left)
        })
    }

    fn join_words(&mut self) -> Result<Option<(JoinType, bool)>> {
        if self.at_words(&["cross", "join"]) {
            self.advance();
            self.advance();
            return Ok(Some((JoinType::Cross, false)));
        }
        let natural = self.accept_word("natural");
        let kind = match self.accept_one_of(&["join", "inner", "left", "right", "full"]) {
            Some(0) => return Ok(Some((JoinType::Inner, natural))),
            Some(1) => JoinType::Inner,
            Some(2) => JoinType::Left,
            Some(3) => JoinType::Right,
            Some(_) => JoinType::Full,
            None if natural => return Err(self.unexpected()),
            None => return Ok(None),
        };
        if kind != JoinType::Inner {
            self.accept_word("outer");
        }
        self.expect_word("join")?;
        Ok(Some((kind, natural)))
    }

    fn join_condition(&mut self) -> Result<JoinCondition> {
        if self.accept_word("on") {
            return Ok(JoinCondition::On(self.expr()?));
        }
        self.expect_word("using")?;
        let columns = self.name_list()?;
        let alias = match self.accept_word("as") {
            true => Some(self.name()?),
            false => None,
        };
        Ok(JoinCondition::Using { columns, alias })
    }

    fn from_primary(&mut self) -> Result<FromItem> {
        let pos = self.pos();
        let lateral = self.accept_word("lateral");
        if self.peek() == &Tok::LParen {
            return self.from_parenthesis(lateral);
        }
        if self.at_words(&["rows", "from"]) && self.peek_at(2) == &Tok::LParen {
            self.advance();
            self.advance();
            let calls = self.parenthesised(|p| {
                p.list(|p| {
                    let call = p.from_call()?;
                    let columns = match p.accept_word("as") {
                        true => p.column_definitions()?,
                        false => Vec::new(),
                    };
                    Ok((call, columns))
                })
            })?;
            return self.after_function(calls, pos);
        }
        if self.at_function() {
            let call = self.from_call()?;
            return self.after_function(vec![(call, Vec::new())], pos);
        }
        if lateral {
            return Err(self.unexpected());
        }
        let name = self.relation_name()?;
        let alias = self.table_alias()?;
        let sample = self.sample()?;
        Ok(FromItem::Table { name, alias, sample })
    }

    /// `name`, `ONLY name`, `ONLY (name)`, `name *`.
    pub(super) fn relation_name(&mut self) -> Result<ObjectName> {
        if self.accept_word("only") {
            return match self.peek() {
                Tok::LParen => self.parenthesised(|p| p.object_name()),
                _ => self.object_name(),
            };
        }
        let name = self.object_name()?;
        self.accept_op("*");
        Ok(name)
    }

    /// A name, maybe qualified, followed by a parenthesis; or a function without one.
    fn at_function(&self) -> bool {
        if self.at_one_of(&[
            "current_date",
            "current_timestamp",
            "current_time",
            "current_user",
            "session_user",
            "localtime",
            "localtimestamp",
            "current_catalog",
            "current_role",
            "current_schema",
            "user",
        ]) {
            return true;
        }
        let mut ahead = 0;
        while matches!(self.peek_at(ahead), Tok::Word(_) | Tok::Quoted(_)) {
            match self.peek_at(ahead + 1) {
                Tok::LParen => return true,
                Tok::Dot => ahead += 2,
                _ => return false,
            }
        }
        false
    }

    fn from_call(&mut self) -> Result<Expr> {
        match self.special_syntax()? {
            Some(call) => Ok(call),
            None => self.call(),
        }
    }

    fn after_function(
        &mut self,
        calls: Vec<(Expr, Vec<ColumnDefItem>)>,
        pos: u32,
    ) -> Result<FromItem> {
        let ordinality = self.accept_words(&["with", "ordinality"]);
        let had_as = !self.at_as_of() && self.accept_word("as");
        if had_as && self.peek() == &Tok::LParen {
            let columns = self.column_definitions()?;
            return Ok(FromItem::Function { calls, ordinality, alias: None, columns, pos });
        }
        let name = match had_as {
            true => Some(self.name()?),
            false => self.accept_name(),
        };
        let Some(name) = name else {
            let columns = Vec::new();
            return Ok(FromItem::Function { calls, ordinality, alias: None, columns, pos });
        };
        // `(a, b)` are aliases, `(a int, b text)` definitions.
        let definitions =
            self.peek() == &Tok::LParen && !matches!(self.peek_at(2), Tok::Comma | Tok::RParen);
        let (alias_columns, columns) = match definitions {
            true => (Vec::new(), self.column_definitions()?),
            false => (self.optional_name_list()?, Vec::new()),
        };
        let alias = Some(TableAlias { name, columns: alias_columns });
        Ok(FromItem::Function { calls, ordinality, alias, columns, pos })
    }

    fn column_definitions(&mut self) -> Result<Vec<ColumnDefItem>> {
        self.parenthesised(|p| {
            p.list(|p| {
                let name = p.name()?;
                Ok(ColumnDefItem { name, ty: p.type_name()? })
            })
        })
    }

    /// `(SELECT ...) alias` or `(a JOIN b ...) alias`.
    fn from_parenthesis(&mut self, lateral: bool) -> Result<FromItem> {
        let pos = self.pos();
        if self.at_query() {
            let query = self.parenthesised(|p| p.nested(|p| p.query()))?;
            let alias = self.table_alias()?;
            return Ok(FromItem::Query { lateral, query: Box::new(query), alias, pos });
        }
        if lateral {
            return Err(self.unexpected());
        }
        let mut inner = self.parenthesised(|p| p.from_item())?;
        if let Some(given) = self.table_alias()? {
            match &mut inner {
                FromItem::Join { alias, .. } => *alias = Some(given),
                _ => return Err(self.unexpected()),
            }
        }
        Ok(inner)
    }

    fn table_alias(&mut self) -> Result<Option<TableAlias>> {
        if self.at_as_of() {
            return Ok(None);
        }
        let name: Option<Ident> = match self.accept_word("as") {
            true => Some(self.name()?),
            // SET, VALUES and the like end the clause of UPDATE and INSERT.
            false if self.at_words(&["tablesample"]) => None,
            false => self.accept_name(),
        };
        let Some(name) = name else { return Ok(None) };
        let columns = self.optional_name_list()?;
        Ok(Some(TableAlias { name, columns }))
    }

    fn sample(&mut self) -> Result<Option<SampleClause>> {
        if !self.accept_word("tablesample") {
            return Ok(None);
        }
        let method = self.label()?;
        let args = self.parenthesised(|p| p.exprs())?;
        let seed = match self.accept_word("repeatable") {
            true => Some(self.parenthesised(|p| p.expr())?),
            false => None,
        };
        Ok(Some(SampleClause { method, args, seed }))
    }
}

fn empty_select(pos: u32) -> Select {
    Select {
        distinct: None,
        items: Vec::new(),
        into: None,
        from: Vec::new(),
        filter: None,
        group: Vec::new(),
        group_distinct: false,
        having: None,
        windows: Vec::new(),
        pos,
    }
}

fn is_bare(query: &Query) -> bool {
    query.order.is_empty()
        && query.limit.is_none()
        && query.offset.is_none()
        && query.locking.is_empty()
}
