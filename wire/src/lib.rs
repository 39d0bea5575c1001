//! PostgreSQL's wire protocol, versions 3.0 and 3.2, on the sessions of `sql`.
//!
//! ```text
//! serve.rs        the listener: a task per client, limits, drain
//! startup.rs      a fresh socket → TLS, version, authentication, session
//! connection.rs   the conversation: simple queries, errors, ReadyForQuery
//! extended.rs     Parse, Bind, Describe, Execute, Close; portals
//! copy.rs         COPY's messages
//! channel.rs      the socket: frames in, one buffer out
//! frontend.rs     bodies of the client's messages, decoded in place
//! outgoing.rs     the server's messages; rows.rs  rows and parameters in text and binary form
//! scram.rs tls.rs config.rs limits.rs failure.rs
//! ```
//!
//! pgwire gives us SCRAM and start-up's messages. Its connection loop flushes after every message,
//! and its decoders trust lengths, so the loop, the frames and the hot messages are ours.
//!
//! Invariants, as absences: wire knows no SQL and no type's form; nothing a client sends makes it
//! panic or allocate more than it has sent; no byte is flushed before Sync, Flush, a full buffer or a
//! COPY's beginning; nothing that happens to one session is felt by another.

mod channel;
pub mod config;
mod connection;
mod copy;
mod extended;
mod failure;
mod frontend;
mod limits;
mod outgoing;
mod rows;
mod scram;
mod serve;
mod startup;
pub mod tls;

pub use config::{Authentication, TlsSource, WireConfig};
pub use serve::{serve, turn_everybody_away};
pub use tls::TlsError;
/// What [`serve`] listens to for its end.
pub use tokio_util::sync::CancellationToken;
