//! What an operator decides about the SQL port. Whether a port may be open to everybody is decided
//! before it is opened: see `config.rs` of the binary.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::rustls;

/// Who may enter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// Anybody, under any name.
    #[default]
    Trust,
    /// SCRAM-SHA-256 for everybody.
    Scram,
}

/// Where the certificate comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TlsSource {
    /// SSLRequest is answered with 'N'.
    #[default]
    Off,
    /// PEM files: the chain and its key.
    Files { certificate: PathBuf, key: PathBuf },
    /// A self-signed certificate for development, generated once and kept in this directory as
    /// `sql.crt` and `sql.key`.
    Generated { directory: PathBuf },
}

/// How connections are served.
#[derive(Clone)]
pub struct WireConfig {
    pub authentication: Authentication,
    /// From [`crate::tls::server_config`]; `None` answers SSLRequest with 'N'.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// More sessions than this are refused with 53300.
    pub connections_max: usize,
    /// From accept to ReadyForQuery.
    pub startup_timeout: Duration,
    /// The longest message; longer ones end the session with 08P01.
    pub message_bytes_max: usize,
    /// How long a drain waits for running statements.
    pub drain_timeout: Duration,
}

impl Default for WireConfig {
    fn default() -> WireConfig {
        WireConfig {
            authentication: Authentication::default(),
            tls: None,
            connections_max: 1000,
            startup_timeout: Duration::from_secs(60),
            message_bytes_max: 256 * 1024 * 1024,
            drain_timeout: Duration::from_secs(30),
        }
    }
}
