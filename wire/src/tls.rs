//! Certificates for the SQL port: given as PEM files, or self-signed for development.

use crate::config::TlsSource;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use thiserror::Error;
use tokio_rustls::rustls;
use tokio_rustls::rustls::crypto::ring;

/// What PostgreSQL 17 clients negotiate when they open TLS without asking first.
pub const ALPN: &[u8] = b"postgresql";

/// A certificate or key that cannot be read, made or used.
#[derive(Debug, Error)]
#[error("TLS: {0}")]
pub struct TlsError(String);

/// Reads (or makes) the certificate. `None` if TLS is off.
pub fn server_config(source: &TlsSource) -> Result<Option<Arc<rustls::ServerConfig>>, TlsError> {
    match source {
        TlsSource::Off => Ok(None),
        TlsSource::Files { certificate, key } => load(certificate, key).map(Some),
        TlsSource::Generated { directory } => {
            let certificate = directory.join("sql.crt");
            let key = directory.join("sql.key");
            if !certificate.exists() || !key.exists() {
                generate(&certificate, &key)?;
            }
            load(&certificate, &key).map(Some)
        }
    }
}

fn load(certificate: &Path, key: &Path) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    let unreadable = |path: &Path, error: &dyn std::fmt::Display| {
        tls_error(format!("{}: {error}", path.display()))
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(certificate, &error))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
    let mut config =
        rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(tls_error)?
            .with_no_client_auth()
            .with_single_cert(chain, secret)
            .map_err(tls_error)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// The key is readable by its owner only; each file appears whole or not at all.
fn generate(certificate: &Path, key: &Path) -> Result<(), TlsError> {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).map_err(tls_error)?;
    write_whole(key, &made.signing_key.serialize_pem(), 0o600)?;
    write_whole(certificate, &made.cert.pem(), 0o644)
}

fn write_whole(path: &Path, text: &str, mode: u32) -> Result<(), TlsError> {
    let unwritable = |error: std::io::Error| tls_error(format!("{}: {error}", path.display()));
    let partial = path.with_extension("partial");
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(unwritable)?;
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&partial)
        .map_err(unwritable)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(unwritable)?;
    fs::rename(&partial, path).map_err(unwritable)
}

fn tls_error(error: impl std::fmt::Display) -> TlsError {
    TlsError(error.to_string())
}
