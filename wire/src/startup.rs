//! From a fresh socket to a session that is ready for queries.
//!
//! ```text
//! client                               server
//!   GSSENCRequest                        'N'
//!   SSLRequest                           'S', then TLS | 'N'
//!   CancelRequest                        nothing; the socket closes
//!   StartupMessage 3.x user=...          [NegotiateProtocolVersion]
//!                                        AuthenticationOk | AuthenticationSASL
//!   SASLInitialResponse, SASLResponse    AuthenticationSASLContinue, ...Final, AuthenticationOk
//!                                        ParameterStatus..., BackendKeyData, ReadyForQuery
//! ```
//!
//! Nothing here allocates by what a stranger announces: start-up packets are at most 10,000 bytes,
//! passwords 65,535, and the whole of it ends at `startup_timeout` (in `serve.rs`).

use crate::channel::{Channel, ReadFailure, Stream};
use crate::config::{Authentication, WireConfig};
use crate::failure::Failure;
use crate::frontend::{Body, Malformed};
use crate::outgoing::Outgoing;
use crate::scram::{self, Exchange, ScramFailure};
use crate::tls;
use bytes::{Bytes, BytesMut};
use pgwire::messages::startup::{
    Authentication as Answer, BackendKeyData, NegotiateProtocolVersion, SecretKey,
};
use sql::{ConnectParams, Session, SqlError};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, rustls};

const PROTOCOL_3_0: u32 = 3 << 16;
const PROTOCOL_3_2: u32 = 3 << 16 | 2;
const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
/// The first byte of a TLS handshake: a client that does not ask first (PostgreSQL 17).
const TLS_HANDSHAKE: u8 = 0x16;

/// What every start-up needs.
pub struct Door {
    pub sql: Arc<sql::Server>,
    pub config: WireConfig,
    /// Makes up verifiers for unknown roles.
    pub mock_key: [u8; 32],
}

/// How a start-up went.
pub enum Entry {
    Ready(Channel, Box<Session>),
    /// Nothing more to do: a cancel request was served, or the client has left.
    Nobody,
    /// The client is still there and is owed an error.
    Refused(Channel, SqlError),
}

/// Reads what a client begins with, without encryption; `None` if nobody is left to be told.
pub async fn hear_out(stream: TcpStream) -> Option<Channel> {
    let mut channel = Channel::new(Stream::Plain(stream), 0);
    loop {
        let packet = channel.read_startup().await.ok()?;
        match u32::from_be_bytes(*packet.first_chunk::<4>()?) {
            SSL_REQUEST | GSSENC_REQUEST => {
                channel.out.negotiation(b'N');
                channel.flush().await.ok()?;
            }
            CANCEL_REQUEST => return None,
            _ => return Some(channel),
        }
    }
}

impl Door {
    /// `full`: more sessions are not wanted, but cancel requests are.
    pub async fn enter(&self, stream: TcpStream, peer: SocketAddr, full: bool) -> Entry {
        let mut channel = match self.open_channel(stream).await {
            Ok(channel) => channel,
            Err(error) => {
                tracing::debug!(%peer, %error, "TLS handshake failed");
                return Entry::Nobody;
            }
        };
        let startup = match self.negotiate(&mut channel).await {
            Ok(Request::Startup(startup)) => startup,
            Ok(Request::Cancel { pid, secret }) => {
                self.sql.cancel(pid, secret);
                return Entry::Nobody;
            }
            Ok(Request::Tls(acceptor)) => {
                return match self.accept_tls(channel, acceptor, peer).await {
                    Some(channel) => self.enter_within_tls(channel, peer, full).await,
                    None => Entry::Nobody,
                };
            }
            Err(failure) => return refused(channel, failure, peer),
        };
        self.admit(channel, startup, peer, full).await
    }

    async fn enter_within_tls(&self, mut channel: Channel, peer: SocketAddr, full: bool) -> Entry {
        match self.negotiate(&mut channel).await {
            Ok(Request::Startup(startup)) => self.admit(channel, startup, peer, full).await,
            Ok(Request::Cancel { pid, secret }) => {
                self.sql.cancel(pid, secret);
                Entry::Nobody
            }
            Ok(Request::Tls(_)) => {
                refused(channel, protocol_violation("SSL request within TLS").into(), peer)
            }
            Err(failure) => refused(channel, failure, peer),
        }
    }

    async fn open_channel(&self, stream: TcpStream) -> std::io::Result<Channel> {
        let bytes_max = self.config.message_bytes_max;
        let Some(tls) = &self.config.tls else {
            return Ok(Channel::new(Stream::Plain(stream), bytes_max));
        };
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 || first[0] != TLS_HANDSHAKE {
            return Ok(Channel::new(Stream::Plain(stream), bytes_max));
        }
        let stream = TlsAcceptor::from(tls.clone()).accept(stream).await?;
        if stream.get_ref().1.alpn_protocol() != Some(tls::ALPN) {
            return Err(std::io::Error::other("direct TLS without ALPN protocol postgresql"));
        }
        Ok(Channel::new(Stream::Tls(Box::new(stream)), bytes_max))
    }

    async fn accept_tls(
        &self,
        channel: Channel,
        config: Arc<rustls::ServerConfig>,
        peer: SocketAddr,
    ) -> Option<Channel> {
        let stream = match channel.into_plain() {
            Ok(stream) => stream,
            Err(failure) => {
                tracing::warn!(%peer, ?failure, "bytes in clear after the request for TLS");
                return None;
            }
        };
        match TlsAcceptor::from(config).accept(stream).await {
            Ok(stream) => {
                Some(Channel::new(Stream::Tls(Box::new(stream)), self.config.message_bytes_max))
            }
            Err(error) => {
                tracing::debug!(%peer, %error, "TLS handshake failed");
                None
            }
        }
    }

    /// Answers encryption requests until the client says what it came for.
    async fn negotiate(&self, channel: &mut Channel) -> Result<Request, Failure> {
        let (mut asked_tls, mut asked_gss) = (false, false);
        loop {
            let packet = channel.read_startup().await?;
            let mut body = Body { rest: &packet };
            let code = body.i32().map_err(malformed)? as u32;
            match code {
                SSL_REQUEST if !asked_tls => {
                    asked_tls = true;
                    if let Some(tls) = self.config.tls.clone().filter(|_| !channel.is_tls()) {
                        channel.out.negotiation(b'S');
                        channel.flush().await?;
                        return Ok(Request::Tls(tls));
                    }
                    channel.out.negotiation(b'N');
                    channel.flush().await?;
                }
                GSSENC_REQUEST if !asked_gss => {
                    asked_gss = true;
                    channel.out.negotiation(b'N');
                    channel.flush().await?;
                }
                CANCEL_REQUEST => {
                    let pid = body.i32().map_err(malformed)?;
                    let secret = body.i32().map_err(malformed)?;
                    return Ok(Request::Cancel { pid, secret });
                }
                version if version >> 16 == 3 => {
                    let startup = Startup::read(version, body)?;
                    negotiate_version(&startup, &mut channel.out)?;
                    return Ok(Request::Startup(startup));
                }
                version => {
                    return Err(SqlError::fatal(
                        "0A000",
                        format!(
                            "unsupported frontend protocol {}.{}: server supports 3.0 to 3.2",
                            version >> 16,
                            version & 0xffff
                        ),
                    )
                    .into());
                }
            }
        }
    }

    async fn admit(
        &self,
        mut channel: Channel,
        startup: Startup,
        peer: SocketAddr,
        full: bool,
    ) -> Entry {
        if full {
            let error = SqlError::fatal("53300", "sorry, too many clients already");
            return Entry::Refused(channel, error);
        }
        match self.open_session(&mut channel, startup, peer).await {
            Ok(session) => Entry::Ready(channel, Box::new(session)),
            Err(failure) => refused(channel, failure, peer),
        }
    }

    async fn open_session(
        &self,
        channel: &mut Channel,
        startup: Startup,
        peer: SocketAddr,
    ) -> Result<Session, Failure> {
        let params = startup.into_params(peer)?;
        match self.config.authentication {
            Authentication::Trust => {}
            Authentication::Scram => self.authenticate(channel, &params.user).await?,
        }
        let session = self.sql.connect(params).await?;
        let out = &mut channel.out;
        pgwire_message(out, &Answer::Ok)?;
        for (name, value) in session.parameters() {
            out.parameter_status(&name, &value);
        }
        let (pid, secret) = session.backend_key();
        pgwire_message(out, &BackendKeyData::new(pid, SecretKey::I32(secret)))?;
        Ok(session)
    }

    async fn authenticate(&self, channel: &mut Channel, user: &str) -> Result<(), Failure> {
        let offer = Answer::SASL(vec![scram::MECHANISM.to_owned()]);
        let response = ask(channel, &offer).await?;
        let mut body = Body { rest: &response };
        let mechanism = body.string().map_err(malformed)?;
        if mechanism != scram::MECHANISM {
            return Err(protocol_violation(
                "client selected an invalid SASL authentication mechanism",
            )
            .into());
        }
        let client_first = body.value().map_err(malformed)?.unwrap_or_default();
        let verifier = self.sql.scram_secret(user).await?;
        let refuse = |failure| match failure {
            ScramFailure::WrongPassword => Failure::from(SqlError::fatal(
                "28P01",
                format!("password authentication failed for user \"{user}\""),
            )),
            ScramFailure::Malformed => protocol_violation("malformed SCRAM message").into(),
        };
        let (server_first, exchange) =
            Exchange::begin(user, verifier.as_deref(), &self.mock_key, client_first)
                .map_err(refuse)?;
        let client_final = ask(channel, &Answer::SASLContinue(Bytes::from(server_first))).await?;
        let server_final = exchange.finish(&client_final).map_err(refuse)?;
        pgwire_message(&mut channel.out, &Answer::SASLFinal(Bytes::from(server_final)))
    }
}

enum Request {
    Startup(Startup),
    Cancel { pid: i32, secret: i32 },
    Tls(Arc<rustls::ServerConfig>),
}

/// A StartupMessage.
struct Startup {
    version: u32,
    parameters: Vec<(String, String)>,
}

impl Startup {
    fn read(version: u32, mut body: Body<'_>) -> Result<Startup, Failure> {
        let mut parameters = Vec::new();
        while body.rest != [0] {
            let name = body.string().map_err(malformed)?;
            let value = body.string().map_err(malformed)?;
            if name.is_empty() {
                return Err(invalid_layout().into());
            }
            parameters.push((name.to_owned(), value.to_owned()));
        }
        Ok(Startup { version, parameters })
    }

    fn into_params(self, peer: SocketAddr) -> Result<ConnectParams, SqlError> {
        let mut params = ConnectParams { peer: Some(peer), ..ConnectParams::default() };
        for (name, value) in self.parameters {
            match name.as_str() {
                "user" => params.user = value,
                "database" => params.database = value,
                "options" => params.options = value,
                "replication" => match value.as_str() {
                    "false" | "off" | "no" | "0" => {}
                    _ => {
                        let mut error = SqlError::unsupported("a replication connection");
                        error.severity = sql::Severity::Fatal;
                        return Err(error);
                    }
                },
                _ if name.starts_with("_pq_.") => {}
                _ => params.settings.push((name, value)),
            }
        }
        if params.user.is_empty() {
            return Err(SqlError::fatal(
                "28000",
                "no PostgreSQL user name specified in startup packet",
            ));
        }
        if params.database.is_empty() {
            params.database.clone_from(&params.user);
        }
        Ok(params)
    }
}

/// Tells a client that wants more than we speak what it gets instead.
fn negotiate_version(startup: &Startup, out: &mut Outgoing) -> Result<(), Failure> {
    let unknown: Vec<String> = startup
        .parameters
        .iter()
        .filter(|(name, _)| name.starts_with("_pq_."))
        .map(|(name, _)| name.clone())
        .collect();
    // 3.1 was never a protocol of its own.
    let speak = match startup.version {
        PROTOCOL_3_2.. => PROTOCOL_3_2,
        _ => PROTOCOL_3_0,
    };
    if speak != startup.version || !unknown.is_empty() {
        pgwire_message(out, &NegotiateProtocolVersion::new(speak as i32, unknown))?;
    }
    Ok(())
}

/// Sends a question of the authentication and waits for its answer.
async fn ask(channel: &mut Channel, question: &Answer) -> Result<Bytes, Failure> {
    pgwire_message(&mut channel.out, question)?;
    channel.flush().await?;
    let frame = channel.read_frame().await?;
    if frame.tag != b'p' {
        return Err(protocol_violation(&format!(
            "expected SASL response, got message type {}",
            frame.tag
        ))
        .into());
    }
    Ok(frame.body)
}

/// Start-up's rare messages are pgwire's.
fn pgwire_message(
    out: &mut Outgoing,
    message: &impl pgwire::messages::Message,
) -> Result<(), Failure> {
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes).map_err(|error| SqlError::fatal("XX000", error.to_string()))?;
    out.bytes.extend_from_slice(&bytes);
    Ok(())
}

fn refused(channel: Channel, failure: Failure, peer: SocketAddr) -> Entry {
    match failure {
        Failure::Statement(mut error) => {
            tracing::debug!(%peer, %error, "connection refused");
            error.severity = sql::Severity::Fatal;
            Entry::Refused(channel, error)
        }
        Failure::Gone(_) => Entry::Nobody,
    }
}

fn malformed(_: Malformed) -> SqlError {
    invalid_layout()
}

fn invalid_layout() -> SqlError {
    protocol_violation("invalid startup packet layout: expected terminator as last byte")
}

fn protocol_violation(message: &str) -> SqlError {
    SqlError::fatal("08P01", message)
}

impl From<ReadFailure> for Failure {
    fn from(failure: ReadFailure) -> Failure {
        match failure {
            ReadFailure::Garbage(message) => protocol_violation(&message).into(),
            ReadFailure::Gone(error) => Failure::Gone(error),
        }
    }
}
