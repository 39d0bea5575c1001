//! Runs `.slt` scripts (sqllogictest's format) over the wire, against Shanghai or PostgreSQL.

use crate::client::Server;
use async_trait::async_trait;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};
use std::path::Path;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// Runs one script on a connection of its own.
///
/// # Errors
/// The first record whose outcome differs, with its line.
pub async fn run(server: &Server, script: &Path) -> Result<(), String> {
    let server = server.clone();
    let mut runner = Runner::new(move || Connection::open(server.clone()));
    runner.run_file_async(script).await.map_err(|error| error.display(false).to_string())
}

struct Connection {
    client: Client,
}

impl Connection {
    async fn open(server: Server) -> Result<Self, SltError> {
        let (client, connection) =
            tokio_postgres::connect(&server.url(), NoTls).await.map_err(SltError)?;
        tokio::spawn(connection);
        Ok(Self { client })
    }
}

#[async_trait]
impl AsyncDB for Connection {
    type Error = SltError;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, SltError> {
        let messages = self.client.simple_query(sql).await.map_err(SltError)?;
        let mut rows = Vec::new();
        let mut columns = None;
        let mut affected = 0;
        for message in messages {
            match message {
                SimpleQueryMessage::RowDescription(description) => {
                    columns = Some(description.len())
                }
                SimpleQueryMessage::Row(row) => rows.push(
                    (0..row.len())
                        .map(|i| match row.get(i) {
                            None => "NULL".to_owned(),
                            Some("") => "(empty)".to_owned(),
                            Some(text) => text.to_owned(),
                        })
                        .collect(),
                ),
                SimpleQueryMessage::CommandComplete(count) => affected = count,
                _ => {}
            }
        }
        Ok(match columns {
            Some(count) => DBOutput::Rows { types: vec![DefaultColumnType::Text; count], rows },
            None => DBOutput::StatementComplete(affected),
        })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "shanghai"
    }
}

/// A driver's error with what a script can match: `ERROR 42P01: relation "x" does not exist`.
#[derive(Debug)]
pub struct SltError(tokio_postgres::Error);

impl std::fmt::Display for SltError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_db_error() {
            Some(error) => {
                write!(f, "{} {}: {}", error.severity(), error.code().code(), error.message())
            }
            None => write!(f, "{}", self.0),
        }
    }
}

impl std::error::Error for SltError {}
