//! A server on a loopback port, and a client that speaks bytes.

#![allow(dead_code)] // each test file uses its part

pub mod server;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use wire::{CancellationToken, WireConfig};

/// Nothing here may take longer.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Running {
    pub address: SocketAddr,
    pub sql: Arc<sql::Server>,
    pub shutdown: CancellationToken,
    pub task: JoinHandle<std::io::Result<()>>,
}

pub async fn start() -> Running {
    start_with(WireConfig::default()).await
}

pub async fn start_with(config: WireConfig) -> Running {
    let sql = server::server().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(wire::serve(listener, sql.clone(), config, shutdown.clone()));
    Running { address, sql, shutdown, task }
}

impl Running {
    pub fn parameters(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.address.port()).user("shanghai").dbname("shanghai");
        config
    }

    pub async fn client(&self) -> tokio_postgres::Client {
        connect(&self.parameters()).await.expect("connects")
    }

    /// A byte client that has got as far as ReadyForQuery.
    pub async fn raw(&self) -> Raw<TcpStream> {
        let mut raw = self.socket().await;
        raw.startup(3 << 16).await;
        raw.until(b'Z').await;
        raw
    }

    pub async fn socket(&self) -> Raw<TcpStream> {
        Raw { stream: TcpStream::connect(self.address).await.expect("connects") }
    }
}

pub async fn connect(
    config: &tokio_postgres::Config,
) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

pub struct Raw<S> {
    pub stream: S,
}

/// A message of the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub tag: u8,
    pub body: Vec<u8>,
}

impl Answer {
    /// A field of ErrorResponse or NoticeResponse.
    pub fn field(&self, code: u8) -> String {
        self.body
            .split(|byte| *byte == 0)
            .find(|field| field.first() == Some(&code))
            .map(|field| String::from_utf8_lossy(&field[1..]).into_owned())
            .unwrap_or_default()
    }

    /// Severity and SQLSTATE.
    pub fn error(&self) -> (String, String) {
        assert_eq!(self.tag, b'E', "{self:?}");
        (self.field(b'V'), self.field(b'C'))
    }
}

/// The types of the messages, in order.
pub fn tags(answers: &[Answer]) -> String {
    answers.iter().map(|answer| answer.tag as char).collect()
}

pub fn message(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut bytes = vec![tag];
    bytes.extend((body.len() as u32 + 4).to_be_bytes());
    bytes.extend(body);
    bytes
}

pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', &[name.as_bytes(), b"\0", sql.as_bytes(), b"\0\0\0"])
}

/// Without parameters, everything as text.
pub fn bind(portal: &str, statement: &str) -> Vec<u8> {
    let zeros = [0; 6];
    message(b'B', &[portal.as_bytes(), b"\0", statement.as_bytes(), b"\0", &zeros])
}

pub fn execute(portal: &str, rows_max: i32) -> Vec<u8> {
    message(b'E', &[portal.as_bytes(), b"\0", &rows_max.to_be_bytes()])
}

pub fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &[sql.as_bytes(), b"\0"])
}

pub fn sync() -> Vec<u8> {
    message(b'S', &[])
}

pub fn startup_packet(version: u32, parameters: &str) -> Vec<u8> {
    let mut bytes = (parameters.len() as u32 + 9).to_be_bytes().to_vec();
    bytes.extend(version.to_be_bytes());
    bytes.extend(parameters.as_bytes());
    bytes.push(0);
    bytes
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the server reads");
    }

    pub async fn startup(&mut self, version: u32) {
        let packet = startup_packet(version, "user\0shanghai\0database\0shanghai\0");
        self.send(&packet).await;
    }

    /// The next message; `None` when the server has closed.
    pub async fn next(&mut self) -> Option<Answer> {
        timeout(PATIENCE, async {
            let mut head = [0; 5];
            self.stream.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            let mut body = vec![0; length - 4];
            self.stream.read_exact(&mut body).await.ok()?;
            Some(Answer { tag: head[0], body })
        })
        .await
        .expect("an answer in time")
    }

    /// Every message up to one of type `tag`, or to the end of the connection. Left out: the causal
    /// token's ParameterStatus, which may come after any transaction.
    pub async fn until(&mut self, tag: u8) -> Vec<Answer> {
        let mut answers = Vec::new();
        while let Some(answer) = self.next().await {
            let last = answer.tag == tag;
            if answer.tag != b'S' || !answer.body.starts_with(b"causal_token\0") {
                answers.push(answer);
            }
            if last {
                break;
            }
        }
        answers
    }

    pub async fn ask(&mut self, bytes: &[u8]) -> Vec<Answer> {
        self.send(bytes).await;
        self.until(b'Z').await
    }
}
