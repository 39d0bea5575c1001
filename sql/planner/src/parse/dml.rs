//! INSERT, UPDATE, DELETE.

use super::cursor::Parser;
use super::lexer::Tok;
use crate::ast::{
    Assignment, ConflictTarget, Delete, Expr, Ident, Insert, InsertFrom, OnConflictClause,
    Overriding, SelectItem, Update, With,
};
use crate::error::Result;

impl Parser<'_> {
    pub(super) fn insert(&mut self, with: Option<With>) -> Result<Insert> {
        let pos = self.pos();
        self.expect_words(&["insert", "into"])?;
        let table = self.object_name()?;
        let alias = match self.accept_word("as") {
            true => Some(self.name()?),
            false => None,
        };
        let columns = match self.peek() {
            // `INSERT INTO t (SELECT ...)` has a query, not columns.
            Tok::LParen if !self.at_query() => self.assigned_columns()?,
            _ => Vec::new(),
        };
        let overriding = match self.accept_word("overriding") {
            true => {
                let which = self.accept_one_of(&["system", "user"]);
                self.expect_word("value")?;
                match which {
                    Some(0) => Some(Overriding::System),
                    Some(_) => Some(Overriding::User),
                    None => return Err(self.unexpected()),
                }
            }
            false => None,
        };
        let source = if self.accept_words(&["default", "values"]) {
            InsertFrom::DefaultValues
        } else if self.at_query() {
            InsertFrom::Query(Box::new(self.query()?))
        } else {
            return Err(self.unexpected());
        };
        let on_conflict = self.on_conflict()?;
        let returning = self.returning()?;
        Ok(Insert { with, table, alias, columns, overriding, source, on_conflict, returning, pos })
    }

    fn assigned_columns(&mut self) -> Result<Vec<Ident>> {
        self.parenthesised(|p| {
            p.list(|p| {
                let name = p.name()?;
                if matches!(p.peek(), Tok::LBracket | Tok::Dot) {
                    return Err(crate::PlanError::unsupported(
                        "assignment to array elements or fields",
                    ));
                }
                Ok(name)
            })
        })
    }

    fn on_conflict(&mut self) -> Result<Option<OnConflictClause>> {
        if !self.at_words(&["on", "conflict"]) {
            return Ok(None);
        }
        self.advance();
        let pos = self.pos();
        self.advance();
        let target = if self.accept_words(&["on", "constraint"]) {
            Some(ConflictTarget::Constraint(self.name()?))
        } else if self.peek() == &Tok::LParen {
            let columns = self.parenthesised(|p| p.exprs())?;
            let filter = match self.accept_word("where") {
                true => Some(self.expr()?),
                false => None,
            };
            Some(ConflictTarget::Columns { columns, filter })
        } else {
            None
        };
        self.expect_word("do")?;
        if self.accept_word("nothing") {
            return Ok(Some(OnConflictClause { target, update: None, pos }));
        }
        self.expect_words(&["update", "set"])?;
        let set = self.assignments()?;
        let filter = match self.accept_word("where") {
            true => Some(self.expr()?),
            false => None,
        };
        Ok(Some(OnConflictClause { target, update: Some((set, filter)), pos }))
    }

    fn assignments(&mut self) -> Result<Vec<Assignment>> {
        self.list(|p| {
            if p.peek() == &Tok::LParen {
                let columns = p.assigned_columns()?;
                p.expect_equal()?;
                let value = p.expr()?;
                return Ok(Assignment { columns, value, multiple: true });
            }
            let name = p.name()?;
            if matches!(p.peek(), Tok::LBracket | Tok::Dot) {
                return Err(crate::PlanError::unsupported(
                    "assignment to array elements or fields",
                ));
            }
            p.expect_equal()?;
            Ok(Assignment { columns: vec![name], value: p.expr()?, multiple: false })
        })
    }

    fn expect_equal(&mut self) -> Result<()> {
        if self.accept_op("=") { Ok(()) } else { Err(self.unexpected()) }
    }

    fn returning(&mut self) -> Result<Vec<SelectItem>> {
        match self.accept_word("returning") {
            true => self.select_items(),
            false => Ok(Vec::new()),
        }
    }

    /// The target's alias; SET and USING are not one.
    fn target_alias(&mut self, stop: &str) -> Result<Option<Ident>> {
        if self.accept_word("as") {
            return self.name().map(Some);
        }
        Ok(if self.at_word(stop) { None } else { self.accept_name() })
    }

    /// WHERE, or WHERE CURRENT OF cursor.
    fn where_clause(&mut self) -> Result<(Option<Expr>, Option<Ident>)> {
        if !self.accept_word("where") {
            return Ok((None, None));
        }
        if self.accept_words(&["current", "of"]) {
            return Ok((None, Some(self.name()?)));
        }
        Ok((Some(self.expr()?), None))
    }

    pub(super) fn update(&mut self, with: Option<With>) -> Result<Update> {
        self.expect_word("update")?;
        let table = self.relation_name()?;
        let alias = self.target_alias("set")?;
        self.expect_word("set")?;
        let set = self.assignments()?;
        let from = if self.accept_word("from") { self.from_list()? } else { Vec::new() };
        let (filter, current_of) = self.where_clause()?;
        let returning = self.returning()?;
        Ok(Update { with, table, alias, set, from, filter, current_of, returning })
    }

    pub(super) fn delete(&mut self, with: Option<With>) -> Result<Delete> {
        self.expect_words(&["delete", "from"])?;
        let table = self.relation_name()?;
        let alias = self.target_alias("using")?;
        let using = if self.accept_word("using") { self.from_list()? } else { Vec::new() };
        let (filter, current_of) = self.where_clause()?;
        let returning = self.returning()?;
        Ok(Delete { with, table, alias, using, filter, current_of, returning })
    }
}
