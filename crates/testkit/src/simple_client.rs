//! A session over PostgreSQL's simple protocol that keeps what drivers throw away: command tags,
//! warnings, the order of both.
//!
//! ```text
//! Query "UPDATE t SET n = 1"   ──▶
//!                              ◀──  CommandComplete "UPDATE 3", ReadyForQuery       → ["UPDATE 3"]
//! ```
//!
//! What it does not do: TLS, passwords, COPY, parameters.

use crate::client::Server;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Version 3.0 of the protocol.
const PROTOCOL: i32 = 3 << 16;

pub struct SimpleClient {
    stream: BufReader<TcpStream>,
}

impl SimpleClient {
    /// # Errors
    /// Nobody listens, or the server refuses the user.
    pub async fn connect(server: &Server) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", server.port)).await?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream: BufReader::new(stream) };
        let mut body = PROTOCOL.to_be_bytes().to_vec();
        for text in ["user", &server.user, "database", &server.database, ""] {
            body.extend(text.as_bytes());
            body.push(0);
        }
        client.send(&[], &body).await?;
        match client.answer().await?.into_iter().find(|line| line.starts_with("FATAL")) {
            Some(refusal) => Err(io::Error::other(refusal)),
            None => Ok(client),
        }
    }

    /// Sends one query and answers its lines: rows as `1|abc|NULL`, tags as `UPDATE 3`, errors and
    /// notices as `ERROR 40001: could not serialize ...`.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn query(&mut self, sql: &str) -> io::Result<Vec<String>> {
        let mut body = sql.as_bytes().to_vec();
        body.push(0);
        self.send(b"Q", &body).await?;
        self.answer().await
    }

    async fn send(&mut self, kind: &[u8], body: &[u8]) -> io::Result<()> {
        let mut message = kind.to_vec();
        message.extend((body.len() as i32 + 4).to_be_bytes());
        message.extend(body);
        self.stream.write_all(&message).await
    }

    /// Everything up to ReadyForQuery, or up to a fatal error.
    async fn answer(&mut self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        let mut notices_end = 0;
        loop {
            let kind = match self.stream.read_u8().await {
                Ok(kind) => kind,
                Err(_) if lines.iter().any(|line: &String| line.starts_with("FATAL")) => {
                    return Ok(lines);
                }
                Err(error) => return Err(error),
            };
            let length = self.stream.read_i32().await?;
            let mut body = vec![0; usize::try_from(length - 4).map_err(io::Error::other)?];
            self.stream.read_exact(&mut body).await?;
            match kind {
                b'D' => lines.push(row(&body)),
                b'C' => {
                    lines.push(text(body.strip_suffix(&[0]).unwrap_or(&body)));
                    notices_end = lines.len();
                }
                b'E' => lines.push(report(&body)),
                // Before the rows of its statement, whenever it came.
                b'N' => {
                    lines.insert(notices_end, report(&body));
                    notices_end += 1;
                }
                b'Z' => return Ok(lines),
                _ => {}
            }
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The values of a DataRow; an empty text is `(empty)`, so that no line is.
fn row(body: &[u8]) -> String {
    let (count, mut rest) = body.split_at(2);
    let mut values = Vec::new();
    for _ in 0..i16::from_be_bytes([count[0], count[1]]) {
        let (length, after) = rest.split_at(4);
        let length = i32::from_be_bytes([length[0], length[1], length[2], length[3]]);
        rest = after;
        values.push(match usize::try_from(length) {
            Err(_) => "NULL".to_owned(),
            Ok(0) => "(empty)".to_owned(),
            Ok(length) => {
                let (value, after) = rest.split_at(length);
                rest = after;
                text(value)
            }
        });
    }
    values.join("|")
}

/// Severity, SQLSTATE and message of an ErrorResponse or NoticeResponse.
fn report(body: &[u8]) -> String {
    let field = |wanted: u8| {
        let mut fields = body.split(|byte| *byte == 0).filter(|field| !field.is_empty());
        fields.find(|field| field[0] == wanted).map(|field| text(&field[1..])).unwrap_or_default()
    };
    format!("{} {}: {}", field(b'S'), field(b'C'), field(b'M'))
}
