//! What an operator decides about the SQL port.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio_rustls::rustls;

/// Who may enter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// Anybody, under any name.
    #[default]
    Trust,
    /// SCRAM-SHA-256, except from this machine.
    ScramBeyondLoopback,
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

/// The part that is checked before anything starts.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    pub address: SocketAddr,
    pub authentication: Authentication,
    /// The operator has said that a port open to everybody is wanted.
    pub insecure: bool,
}

#[derive(Debug, Error)]
pub enum ConfigError {
    #[error(
        "refusing to listen on {0} without authentication: anybody who reaches it could read and \
         change everything. Require passwords (SCRAM), listen on 127.0.0.1, or pass --insecure"
    )]
    OpenToEverybody(SocketAddr),
    #[error("TLS: {0}")]
    Tls(String),
}

impl ListenerConfig {
    /// Refuses to listen beyond loopback without authentication unless that was asked for.
    pub fn check(&self) -> Result<(), ConfigError> {
        let open = match self.authentication {
            Authentication::Trust => !self.address.ip().to_canonical().is_loopback(),
            Authentication::ScramBeyondLoopback | Authentication::Scram => false,
        };
        if open && !self.insecure {
            return Err(ConfigError::OpenToEverybody(self.address));
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(address: &str, authentication: Authentication, insecure: bool) -> ListenerConfig {
        let address = address.parse().expect("an address");
        ListenerConfig { address, authentication, insecure }
    }

    #[test]
    fn beyond_loopback_somebody_must_authenticate() {
        use Authentication::{Scram, ScramBeyondLoopback, Trust};
        for loopback in ["127.0.0.1:5433", "127.8.8.8:1", "[::1]:5433", "[::ffff:127.0.0.1]:1"] {
            listener(loopback, Trust, false).check().expect(loopback);
        }
        for open in ["0.0.0.0:5433", "[::]:5433", "10.0.0.1:5433"] {
            let refusal = listener(open, Trust, false).check().expect_err(open).to_string();
            assert!(refusal.contains("--insecure"), "{refusal}");
            listener(open, Trust, true).check().expect("asked for");
            listener(open, Scram, false).check().expect("passwords");
            listener(open, ScramBeyondLoopback, false).check().expect("passwords");
        }
    }
}
