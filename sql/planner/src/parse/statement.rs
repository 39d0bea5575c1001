//! Which statement it is.

use super::cursor::Parser;
use super::lexer::Tok;
use crate::ast::{CreateAsSource, CreateTableAsStmt, ObjectName, Query, SetExpr, Stmt};
use crate::error::Result;

impl Parser<'_> {
    pub(super) fn statement(&mut self) -> Result<Stmt> {
        if self.peek() == &Tok::LParen {
            return self.query_statement();
        }
        let Tok::Word(word) = self.peek() else { return Err(self.unexpected()) };
        match word.as_str() {
            "select" | "values" | "table" => self.query_statement(),
            "with" => self.with_statement(),
            "insert" => Ok(Stmt::Insert(Box::new(self.insert(None)?))),
            "update" => Ok(Stmt::Update(Box::new(self.update(None)?))),
            "delete" => Ok(Stmt::Delete(Box::new(self.delete(None)?))),
            "begin" | "start" | "commit" | "end" | "rollback" | "abort" | "savepoint"
            | "release" => self.transaction(),
            "set" => self.set(),
            "show" => self.show(),
            "reset" => self.reset(),
            "discard" => self.discard(),
            "prepare" => self.prepare(),
            "execute" => self.execute(),
            "deallocate" => self.deallocate(),
            "declare" => self.declare(),
            "fetch" | "move" => self.fetch(),
            "close" => self.close(),
            "listen" | "unlisten" | "notify" => self.notification(),
            "explain" => self.explain(),
            "copy" => self.copy(),
            "vacuum" => self.vacuum(),
            "analyze" | "analyse" => self.analyze(),
            "checkpoint" => {
                self.advance();
                Ok(Stmt::Checkpoint)
            }
            "reindex" => self.reindex(),
            "cluster" => self.cluster(),
            "lock" => self.lock_table(),
            "truncate" => self.truncate(),
            "create" => self.create(),
            "drop" => self.drop(),
            "alter" => self.alter(),
            "comment" => self.comment(),
            "grant" | "revoke" => self.grant(),
            "call" => self.unsupported("CALL"),
            "do" => self.unsupported("DO"),
            "import" => self.unsupported("IMPORT FOREIGN SCHEMA"),
            "load" => self.unsupported("LOAD"),
            "merge" => self.unsupported("MERGE"),
            "reassign" => self.unsupported("REASSIGN OWNED"),
            "refresh" => self.unsupported("REFRESH MATERIALIZED VIEW"),
            "security" => self.unsupported("SECURITY LABEL"),
            _ => Err(self.unexpected()),
        }
    }

    /// A statement that is PostgreSQL's but not there yet: skips to its end.
    pub(super) fn unsupported(&mut self, feature: &'static str) -> Result<Stmt> {
        while !matches!(self.peek(), Tok::Semicolon | Tok::End) {
            self.advance();
        }
        Ok(Stmt::Unsupported(feature))
    }

    fn query_statement(&mut self) -> Result<Stmt> {
        let query = self.query()?;
        Ok(select_into(query))
    }

    fn with_statement(&mut self) -> Result<Stmt> {
        let with = self.with()?;
        let Tok::Word(word) = self.peek() else {
            return Ok(select_into(self.query_after_with(with)?));
        };
        match word.as_str() {
            "insert" => Ok(Stmt::Insert(Box::new(self.insert(with)?))),
            "update" => Ok(Stmt::Update(Box::new(self.update(with)?))),
            "delete" => Ok(Stmt::Delete(Box::new(self.delete(with)?))),
            "merge" => self.unsupported("MERGE"),
            _ => Ok(select_into(self.query_after_with(with)?)),
        }
    }
}

/// SELECT ... INTO t is CREATE TABLE t AS SELECT ...
fn select_into(mut query: Query) -> Stmt {
    let SetExpr::Select(select) = &mut query.body else { return Stmt::Query(Box::new(query)) };
    let Some(into) = select.into.take() else { return Stmt::Query(Box::new(query)) };
    let name: ObjectName = into.name;
    Stmt::CreateTableAs(Box::new(CreateTableAsStmt {
        name,
        if_not_exists: false,
        temporary: into.temporary,
        columns: Vec::new(),
        options: Vec::new(),
        query: CreateAsSource::Query(Box::new(query)),
        with_data: true,
    }))
}
