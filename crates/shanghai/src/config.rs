//! How a node is started: flags, environment, an optional TOML file, defaults — in this order of
//! precedence. Every flag `--some-name` is also `SHANGHAI_SOME_NAME` and `some_name` in the file.

use anyhow::{Context, Result, bail};
use clap::Args;
use query::GC_RETENTION;
use serde::Deserialize;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;
use wire::Authentication;

const DATA_DIR: &str = "./shanghai-data";
const SQL_ADDR: &str = "127.0.0.1:5433";
const RPC_ADDR: &str = "127.0.0.1:5434";
const HTTP_ADDR: &str = "127.0.0.1:5480";
const RANGE_SIZE_MAX: &str = "512MB";
/// While a peer is silent, openraft warns of it many times a second; membership says it once.
const DEFAULT_LOG: &str = "info,openraft=error";

/// What was said on the command line, in the environment, or in the file.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Where the data lives [default: ./shanghai-data]
    #[arg(long, env = "SHANGHAI_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where PostgreSQL clients connect [default: 127.0.0.1:5433]
    #[arg(long, env = "SHANGHAI_SQL_ADDR", value_name = "HOST:PORT")]
    pub sql_addr: Option<String>,
    /// Where other nodes connect [default: 127.0.0.1:5434]
    #[arg(long, env = "SHANGHAI_RPC_ADDR", value_name = "HOST:PORT")]
    pub rpc_addr: Option<String>,
    /// Health, readiness and metrics [default: 127.0.0.1:5480]
    #[arg(long, env = "SHANGHAI_HTTP_ADDR", value_name = "HOST:PORT")]
    pub http_addr: Option<String>,
    /// RPC addresses of the cluster's first nodes, or a DNS name with several addresses
    #[arg(long, env = "SHANGHAI_JOIN", value_name = "HOST:PORT", value_delimiter = ',')]
    pub join: Vec<String>,
    /// How clients prove who they are: trust or scram-sha-256 [default: trust]
    #[arg(long, env = "SHANGHAI_AUTH", value_name = "METHOD")]
    pub auth: Option<String>,
    /// PEM file with the server's certificate chain; without it one is made for development
    #[arg(long, env = "SHANGHAI_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file with the certificate's private key
    #[arg(long, env = "SHANGHAI_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Listen beyond loopback without authentication or encryption all the same
    #[arg(long, env = "SHANGHAI_INSECURE")]
    pub insecure: bool,
    /// A range that takes more bytes on the disk is split; 64MB or 1GB are understood [default: 512MB]
    #[arg(long, env = "SHANGHAI_RANGE_SIZE_MAX", value_name = "SIZE")]
    pub range_size_max: Option<String>,
    /// For how long old versions of rows stay readable, such as 90s, 10min, 1h [default: 10min]
    #[arg(long, env = "SHANGHAI_GC_RETENTION", value_name = "TIME")]
    pub gc_retention: Option<String>,
    /// Log filter, such as info or info,replication=debug [default: info,openraft=error]
    #[arg(long, env = "SHANGHAI_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// text or json [default: text]
    #[arg(long, env = "SHANGHAI_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// TOML file with the same names
    #[arg(long, env = "SHANGHAI_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
}

/// What a node runs with.
#[derive(Clone, Debug)]
pub struct Config {
    pub data_dir: PathBuf,
    pub sql_addr: SocketAddr,
    pub rpc_addr: SocketAddr,
    pub http_addr: SocketAddr,
    pub join: Vec<String>,
    pub authentication: Authentication,
    pub gc_retention: Duration,
    pub tls: Option<(PathBuf, PathBuf)>,
    pub range_bytes_max: u64,
    pub log: String,
    pub log_format: String,
}

impl Config {
    /// # Errors
    /// An unreadable file, an address that is none, a combination that would be unsafe.
    pub fn resolve(options: Options) -> Result<Self> {
        let file = match &options.config {
            None => Options::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("configuration file {}", path.display()))?;
                toml::from_str(&text)
                    .with_context(|| format!("configuration file {}", path.display()))?
            }
        };
        let options = options.or(file);
        let authentication = match options.auth.as_deref().unwrap_or("trust") {
            "trust" => Authentication::Trust,
            "scram-sha-256" => Authentication::Scram,
            other => bail!("--auth {other:?} is neither trust nor scram-sha-256"),
        };
        let tls = match (options.tls_cert, options.tls_key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => bail!("--tls-cert and --tls-key go together"),
        };
        let config = Self {
            data_dir: options.data_dir.unwrap_or_else(|| DATA_DIR.into()),
            sql_addr: address("--sql-addr", options.sql_addr.as_deref().unwrap_or(SQL_ADDR))?,
            rpc_addr: address("--rpc-addr", options.rpc_addr.as_deref().unwrap_or(RPC_ADDR))?,
            http_addr: address("--http-addr", options.http_addr.as_deref().unwrap_or(HTTP_ADDR))?,
            join: options.join,
            authentication,
            gc_retention: match &options.gc_retention {
                None => GC_RETENTION,
                Some(text) => duration("--gc-retention", text)?,
            },
            tls,
            range_bytes_max: bytes(options.range_size_max.as_deref().unwrap_or(RANGE_SIZE_MAX))?,
            log: options.log.unwrap_or_else(|| DEFAULT_LOG.into()),
            log_format: options.log_format.unwrap_or_else(|| "text".into()),
        };
        if !options.insecure {
            config.refuse_unsafe_listeners()?;
        }
        Ok(config)
    }

    /// Beyond loopback, whoever reaches a port must be known.
    fn refuse_unsafe_listeners(&self) -> Result<()> {
        if self.authentication == Authentication::Trust && !is_loopback(self.sql_addr) {
            bail!(
                "--sql-addr {} is reachable from other machines and nobody has to prove who they \
                 are; use --auth scram-sha-256, or --insecure if that is meant",
                self.sql_addr
            );
        }
        for (flag, addr) in [("--rpc-addr", self.rpc_addr), ("--http-addr", self.http_addr)] {
            if !is_loopback(addr) {
                bail!(
                    "{flag} {addr} is reachable from other machines and is neither authenticated \
                     nor encrypted yet; use --insecure if the network is trusted"
                );
            }
        }
        Ok(())
    }
}

/// A number and its unit, as PostgreSQL's settings have them.
fn duration(flag: &str, text: &str) -> Result<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit.trim() {
        "ms" => Some(1),
        "s" => Some(1000),
        "min" => Some(60 * 1000),
        "h" => Some(60 * 60 * 1000),
        "d" => Some(24 * 60 * 60 * 1000),
        _ => None,
    };
    let ms = number.parse().ok().zip(unit_ms).and_then(|(n, unit): (u64, u64)| n.checked_mul(unit));
    match ms {
        // Within the bits that a timestamp has for it.
        Some(ms) if ms < 1 << 45 => Ok(Duration::from_millis(ms)),
        _ => bail!("{flag} {text:?} is no time: a number with ms, s, min, h or d"),
    }
}

/// `::ffff:127.0.0.1` is this machine too.
fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

impl Options {
    /// This, and where it is silent, `other`.
    fn or(self, other: Self) -> Self {
        Self {
            data_dir: self.data_dir.or(other.data_dir),
            sql_addr: self.sql_addr.or(other.sql_addr),
            rpc_addr: self.rpc_addr.or(other.rpc_addr),
            http_addr: self.http_addr.or(other.http_addr),
            join: if self.join.is_empty() { other.join } else { self.join },
            auth: self.auth.or(other.auth),
            tls_cert: self.tls_cert.or(other.tls_cert),
            tls_key: self.tls_key.or(other.tls_key),
            insecure: self.insecure || other.insecure,
            range_size_max: self.range_size_max.or(other.range_size_max),
            gc_retention: self.gc_retention.or(other.gc_retention),
            log: self.log.or(other.log),
            log_format: self.log_format.or(other.log_format),
            config: self.config,
        }
    }
}

fn address(flag: &str, text: &str) -> Result<SocketAddr> {
    text.to_socket_addrs()
        .with_context(|| format!("{flag} {text:?}"))?
        .min_by_key(|address| !address.is_ipv4())
        .with_context(|| format!("{flag} {text:?} has no address"))
}

/// `64MB` and its like, in PostgreSQL's units of 1024.
fn bytes(text: &str) -> Result<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit: u64 = match text[digits..].trim() {
        "" | "B" => 1,
        "kB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        "TB" => 1 << 40,
        _ => bail!("--range-size-max {text:?}: the units are B, kB, MB, GB and TB"),
    };
    let number: u64 =
        text[..digits].parse().with_context(|| format!("--range-size-max {text:?}"))?;
    let bytes = number.checked_mul(unit).filter(|bytes| *bytes >= 1 << 20);
    bytes.with_context(|| format!("--range-size-max {text:?}: 1MB is the least"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_need_nothing() {
        let config = Config::resolve(Options::default()).unwrap();
        assert_eq!(config.sql_addr.to_string(), "127.0.0.1:5433");
        assert_eq!(config.rpc_addr.to_string(), "127.0.0.1:5434");
        assert_eq!(config.http_addr.to_string(), "127.0.0.1:5480");
        assert_eq!(config.data_dir, PathBuf::from("./shanghai-data"));
    }

    #[test]
    fn sizes_have_postgresqls_units() {
        assert_eq!(bytes("512MB").unwrap(), 512 << 20);
        assert_eq!(bytes("1048576").unwrap(), 1 << 20);
        for wrong in ["", "MB", "1mb", "-1MB", "1kB", "99999999999TB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_retention_has_a_unit() {
        let given = |text: &str| {
            let gc_retention = Some(text.to_owned());
            Config::resolve(Options { gc_retention, ..Options::default() })
        };
        assert_eq!(Config::resolve(Options::default()).unwrap().gc_retention.as_secs(), 600);
        assert_eq!(given("90s").unwrap().gc_retention.as_secs(), 90);
        assert_eq!(given("2 h").unwrap().gc_retention.as_secs(), 7200);
        for wrong in ["", "10", "s", "-1s", "1 fortnight", "99999999999999d"] {
            assert!(given(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_file_fills_in_and_flags_win() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shanghai.toml");
        std::fs::write(
            &path,
            "sql_addr = '127.0.0.1:1'\nrpc_addr = '127.0.0.1:2'\njoin = ['a:1']\n",
        )
        .unwrap();
        let options = Options {
            config: Some(path.clone()),
            sql_addr: Some("127.0.0.1:9".into()),
            ..Options::default()
        };
        let config = Config::resolve(options.clone()).unwrap();
        assert_eq!(config.sql_addr.port(), 9);
        assert_eq!(config.rpc_addr.port(), 2);
        assert_eq!(config.join, ["a:1"]);
        std::fs::write(&path, "sql_adr = '127.0.0.1:1'\n").unwrap();
        assert!(Config::resolve(options).is_err(), "a misspelt name must not pass");
    }

    #[test]
    fn listening_beyond_loopback_needs_authentication_or_insecure() {
        let at = |sql: &str| Options { sql_addr: Some(sql.into()), ..Options::default() };
        for loopback in ["127.0.0.1:5433", "127.8.8.8:1", "[::1]:5433", "[::ffff:127.0.0.1]:1"] {
            Config::resolve(at(loopback)).expect(loopback);
        }
        for open in ["0.0.0.0:5433", "[::]:5433", "10.0.0.1:5433"] {
            let refusal = Config::resolve(at(open)).expect_err(open).to_string();
            assert!(refusal.contains("--insecure"), "{refusal}");
            Config::resolve(Options { insecure: true, ..at(open) }).expect("asked for");
            let scram = Options { auth: Some("scram-sha-256".into()), ..at(open) };
            Config::resolve(scram).expect("passwords");
        }
    }

    #[test]
    fn passwords_do_not_protect_the_other_ports() {
        let scram = Options { auth: Some("scram-sha-256".into()), ..Options::default() };
        let open = Some("0.0.0.0:1".to_owned());
        let rpc = Options { rpc_addr: open.clone(), ..scram.clone() };
        let http = Options { http_addr: open, ..scram };
        for (flag, options) in [("--rpc-addr", rpc), ("--http-addr", http)] {
            let refusal = Config::resolve(options).expect_err(flag).to_string();
            assert!(refusal.starts_with(flag), "{refusal}");
        }
    }
}
