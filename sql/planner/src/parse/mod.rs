//! Text into statements: a recursive-descent parser of PostgreSQL's grammar.
//!
//! ```text
//! lexer.rs     tokens                         cursor.rs     Parser: looking, expecting, errors, names, lists
//! types.rs     type names                     expr.rs       expressions, by precedence
//! call.rs      functions and SQL's own call syntax
//! query.rs     SELECT, VALUES, WITH, FROM     dml.rs        INSERT, UPDATE, DELETE
//! statement.rs which statement it is          session.rs    transactions, settings, cursors
//! utility.rs   COPY, VACUUM, EXPLAIN, ...
//! create.rs    CREATE, DROP, COMMENT          alter.rs      ALTER
//! role.rs      roles and privileges
//! ```
//!
//! Each node carries its position; the binder's errors need them, and no general SQL parser keeps
//! those of operators and function names. Nesting is bounded by [`NESTING_MAX`]: deeper text is
//! 54001, never a crash.

mod alter;
mod call;
mod create;
mod cursor;
mod dml;
mod expr;
pub(crate) mod lexer;
mod query;
mod role;
mod session;
mod statement;
mod types;
mod utility;

pub(crate) use utility::option_is_on;

use crate::Statement;
use crate::ast::Stmt;
use crate::error::Result;
use cursor::Parser;
use lexer::{Tok, char_position, tokenize};
use std::sync::Arc;

/// How deep expressions and queries may nest.
pub const NESTING_MAX: usize = 1000;

/// All statements of a query string. Positions of errors count in the whole string.
///
/// An empty statement (`;;`) is left out; a string of nothing else gives an empty list.
pub fn parse(sql: &str) -> Result<Vec<Statement>> {
    let tokens = tokenize(sql)?;
    let mut parser = Parser::new(sql, &tokens);
    let mut statements = Vec::new();
    loop {
        while parser.accept(&Tok::Semicolon) {}
        if parser.peek() == &Tok::End {
            return Ok(statements);
        }
        statements.push(parser.nested_statement()?);
        if !matches!(parser.peek(), Tok::Semicolon | Tok::End) {
            return Err(parser.unexpected());
        }
    }
}

/// Exactly one statement, or the empty one: what Parse and PREPARE take.
pub fn parse_one(sql: &str) -> Result<Statement> {
    let mut statements = parse(sql)?;
    match statements.len() {
        0 => Ok(Statement { text: sql.into(), offset: 0, ast: Arc::new(Stmt::Empty), as_of: None }),
        1 => Ok(statements.remove(0)),
        _ => Err(crate::PlanError::syntax(
            "cannot insert multiple commands into a prepared statement",
        )),
    }
}

/// An expression alone: a default, a check.
pub fn parse_expr(sql: &str) -> Result<crate::ast::Expr> {
    let tokens = tokenize(sql)?;
    let mut parser = Parser::new(sql, &tokens);
    let expr = parser.expr()?;
    match parser.peek() {
        Tok::End => Ok(expr),
        _ => Err(parser.unexpected()),
    }
}

/// The parts of `schema."Name"`, folded as in a statement; `None` if it is not a name.
pub(crate) fn identifiers(text: &str) -> Option<Vec<String>> {
    let tokens = tokenize(text).ok()?;
    let mut parts = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        match (&token.tok, i % 2) {
            (Tok::Word(name) | Tok::Quoted(name), 0) => parts.push(name.clone()),
            (Tok::Dot, 1) => {}
            (Tok::End, 1) => return Some(parts),
            _ => return None,
        }
    }
    None
}

impl Parser<'_> {
    /// A statement with its own text; positions inside count from its start.
    fn nested_statement(&mut self) -> Result<Statement> {
        let outer = self.base;
        let start = self.token().start;
        self.base = start;
        let outer_as_of = self.as_of.take();
        let ast = self.nested(|p| p.statement())?;
        let as_of = std::mem::replace(&mut self.as_of, outer_as_of);
        self.base = outer;
        Ok(Statement {
            text: self.sql[start..self.previous_end()].into(),
            offset: char_position(self.sql, start) - 1,
            ast: Arc::new(ast),
            as_of,
        })
    }
}
