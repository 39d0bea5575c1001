//! Runs SQL through sessions as the wire does, on the in-memory store, and prints what a client
//! would see: rows as `a|b`, then the tag; or the error with its SQLSTATE.

#![allow(dead_code, reason = "each test file uses a part of it")]

use core_domain::ClusterId;
use datum::text;
use sql::{ConnectParams, Outcome, Prepared, Row, Server, ServerConfig, Session, SqlError};
use std::sync::Arc;
use testkit::memory_kv::MemoryKv;

pub struct Database {
    pub server: Arc<Server>,
    pub kv: MemoryKv,
}

pub const TOKEN_KEY: [u8; 32] = [7; 32];

impl Database {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// A server of its own kind.
    pub fn with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let kv = MemoryKv::new();
        let mut config = ServerConfig::single(ClusterId(42), TOKEN_KEY);
        change(&mut config);
        Self { server: Server::new(Arc::new(kv.clone()), config), kv }
    }

    /// Another node on the same data.
    pub fn another_node(&self) -> Self {
        let config = ServerConfig::single(ClusterId(42), TOKEN_KEY);
        Self { server: Server::new(Arc::new(self.kv.clone()), config), kv: self.kv.clone() }
    }

    pub async fn connect(&self) -> Client {
        self.connect_with("shanghai", "").await.unwrap()
    }

    pub async fn connect_with(&self, database: &str, options: &str) -> Result<Client, SqlError> {
        let params = ConnectParams {
            user: "shanghai".to_owned(),
            database: database.to_owned(),
            options: options.to_owned(),
            ..ConnectParams::default()
        };
        Ok(Client { session: self.server.connect(params).await? })
    }
}

pub struct Client {
    pub session: Session,
}

impl Client {
    /// A simple query; answers everything that comes back, one line each.
    pub async fn run(&mut self, sql: &str) -> String {
        let mut lines = Vec::new();
        let result = self.simple(sql, &mut lines).await;
        for notice in self.session.take_notices() {
            lines.push(format!("{}: {}", notice.severity.as_str(), notice.message));
        }
        if let Err(error) = result {
            lines.push(show_error(&error));
        }
        lines.join("\n")
    }

    async fn simple(&mut self, sql: &str, lines: &mut Vec<String>) -> Result<(), SqlError> {
        let statements = self.session.split(sql)?;
        if statements.len() > 1 {
            self.session.begin_implicit();
        }
        let mut result = Ok(());
        for statement in &statements {
            result = self.one(statement, lines).await;
            if result.is_err() {
                break;
            }
        }
        self.session.end_implicit().await?;
        result
    }

    async fn one(
        &mut self,
        statement: &sql::Statement,
        lines: &mut Vec<String>,
    ) -> Result<(), SqlError> {
        let prepared = self.session.plan(statement).await?;
        let outcome = self.session.execute(&prepared, Vec::new()).await?;
        self.outcome(outcome, lines).await
    }

    async fn outcome(&mut self, outcome: Outcome, lines: &mut Vec<String>) -> Result<(), SqlError> {
        match outcome {
            Outcome::Empty => {}
            Outcome::Complete { tag } => lines.push(tag),
            Outcome::Rows { columns, mut rows } => {
                while let Some(batch) = rows.next(1000).await? {
                    for row in batch {
                        lines.push(self.show(&columns, &row));
                    }
                }
                lines.push(rows.tag());
            }
            Outcome::CopyOut(mut copy) => {
                let mut bytes = Vec::new();
                while let Some(chunk) = copy.next().await? {
                    bytes.extend_from_slice(&chunk);
                }
                lines.push(String::from_utf8_lossy(&bytes).trim_end().to_owned());
                lines.push(copy.tag());
            }
            Outcome::CopyIn(_) => lines.push("COPY IN".to_owned()),
        }
        Ok(())
    }

    fn show(&self, columns: &[sql::ColumnDesc], row: &Row) -> String {
        let values = row.iter().zip(columns).map(|(value, column)| match value.is_null() {
            true => "NULL".to_owned(),
            false => text::to_string(value, &column.ty.ty, self.session.type_context()),
        });
        values.collect::<Vec<_>>().join("|")
    }

    /// COPY ... FROM STDIN with its data, in chunks of `chunk` bytes.
    pub async fn copy(&mut self, sql: &str, data: &str, chunk: usize) -> String {
        match self.try_copy(sql, data, chunk).await {
            Ok(tag) => tag,
            Err(error) => {
                let context = error.context.clone().unwrap_or_default();
                format!("{} / {context}", show_error(&error))
            }
        }
    }

    async fn try_copy(&mut self, sql: &str, data: &str, chunk: usize) -> Result<String, SqlError> {
        let statements = self.session.split(sql)?;
        let prepared = self.session.plan(&statements[0]).await?;
        let outcome = self.session.execute(&prepared, Vec::new()).await?;
        let Outcome::CopyIn(mut copy) = outcome else { panic!("not a COPY FROM STDIN") };
        for piece in data.as_bytes().chunks(chunk) {
            self.session.copy_write(&mut copy, piece.to_vec().into()).await?;
        }
        self.session.copy_finish(copy).await
    }

    /// Parse, as a driver does it.
    pub async fn prepare(&mut self, sql: &str) -> Arc<Prepared> {
        match self.session.prepare(sql, &[]).await {
            Ok(prepared) => prepared,
            Err(error) => panic!("{sql}: {}", show_error(&error)),
        }
    }

    /// Bind and Execute with text parameters, Sync.
    pub async fn execute(&mut self, prepared: &Arc<Prepared>, params: &[&str]) -> String {
        let types = self.session.type_context().clone();
        let values = prepared.param_types.iter().zip(params);
        let values = values.map(|(ty, text)| text::parse(&ty.clone().into(), text, &types));
        let values = values.collect::<Result<Vec<_>, _>>().unwrap();
        let mut lines = Vec::new();
        let result = match self.session.execute(prepared, values).await {
            Ok(outcome) => self.outcome(outcome, &mut lines).await,
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            lines.push(show_error(&error));
        }
        lines.join("\n")
    }

    /// Runs each statement and compares; the first difference fails with the statement.
    pub async fn expect(&mut self, script: &[(&str, &str)]) {
        for (sql, expected) in script {
            let got = self.run(sql).await;
            assert_eq!(got, *expected, "\n{sql}");
        }
    }
}

pub fn show_error(error: &SqlError) -> String {
    let mut line = format!("{} {}: {}", error.severity.as_str(), error.sqlstate, error.message);
    if let Some(detail) = &error.detail {
        line.push_str(&format!(" [{detail}]"));
    }
    line
}
