//! SCRAM-SHA-256 against stored verifiers (RFC 5802, RFC 7677), by pgwire's state machine.
//!
//! The server keeps `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, PostgreSQL's own
//! form, and never sees a password. A role that does not exist, or has none, runs the same exchange
//! with a made-up verifier, so that names cannot be guessed from the conversation.
//! Channel binding (SCRAM-SHA-256-PLUS) is not offered.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pgwire::api::auth::sasl::scram::{
    ScramSecret, ScramServerAuth, ScramServerAuthWaitingForClientFinal, gen_salted_password,
};

pub const MECHANISM: &str = "SCRAM-SHA-256";
/// As CREATE ROLE stores them: others would tell which roles do not exist.
const ITERATIONS: usize = 4096;
const SALT_BYTES: usize = 16;
const KEY_BYTES: usize = 32;

fn parse(verifier: &str) -> Option<ScramSecret> {
    let mut parts = verifier.strip_prefix(MECHANISM)?.strip_prefix('$')?.split('$');
    let (iterations, salt) = parts.next()?.split_once(':')?;
    let (stored_key, server_key) = parts.next()?.split_once(':')?;
    let iterations: usize = iterations.parse().ok()?;
    let salt = STANDARD.decode(salt).ok()?;
    let stored_key = STANDARD.decode(stored_key).ok()?;
    let server_key = STANDARD.decode(server_key).ok()?;
    let sound = parts.next().is_none()
        && iterations > 0
        && !salt.is_empty()
        && stored_key.len() == KEY_BYTES
        && server_key.len() == KEY_BYTES;
    sound.then_some(ScramSecret::Verifier { salt, iterations, stored_key, server_key })
}

/// A verifier that no password fits. The salt depends on the name only, as a real one would.
fn mock(user: &str, mock_key: &[u8; 32]) -> ScramSecret {
    let mut salt = gen_salted_password(user, mock_key, 1);
    salt.truncate(SALT_BYTES);
    ScramSecret::Verifier {
        salt,
        iterations: ITERATIONS,
        stored_key: rand::random::<[u8; KEY_BYTES]>().to_vec(),
        server_key: rand::random::<[u8; KEY_BYTES]>().to_vec(),
    }
}

/// Why an exchange ended without success.
#[derive(Debug, PartialEq, Eq)]
pub enum ScramFailure {
    /// 28P01, and nothing more is told.
    WrongPassword,
    /// 08P01: the message does not follow the protocol.
    Malformed,
}

/// The server's side of one exchange.
pub struct Exchange {
    waiting: ScramServerAuthWaitingForClientFinal,
    may_succeed: bool,
}

impl Exchange {
    /// Answers client-first with server-first.
    pub fn begin(
        user: &str,
        verifier: Option<&str>,
        mock_key: &[u8; 32],
        client_first: &[u8],
    ) -> Result<(String, Exchange), ScramFailure> {
        let secret = verifier.and_then(parse);
        let may_succeed = secret.is_some();
        let secret = secret.unwrap_or_else(|| mock(user, mock_key));
        ScramServerAuth::new()
            .on_client_first_message_with_secret(client_first, secret)
            .map(|(server_first, waiting)| (server_first, Exchange { waiting, may_succeed }))
            .map_err(|_| ScramFailure::Malformed)
    }

    /// Answers client-final with server-final if the proof is right.
    pub fn finish(self, client_final: &[u8]) -> Result<String, ScramFailure> {
        match self.waiting.on_client_final_message(client_final) {
            Ok(server_final) if self.may_succeed => Ok(server_final),
            Ok(_) => Err(ScramFailure::WrongPassword),
            Err(pgwire::error::PgWireError::InvalidPassword(_)) => Err(ScramFailure::WrongPassword),
            Err(_) => Err(ScramFailure::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677's example, as CREATE ROLE stores it.
    const STORED: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
        WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    #[test]
    fn verifiers_have_postgresqls_form() {
        let Some(ScramSecret::Verifier { iterations, salt, .. }) = parse(STORED) else {
            panic!("{STORED} does not parse")
        };
        assert_eq!((iterations, salt.len()), (ITERATIONS, SALT_BYTES));
        for damaged in ["", "md5abc", "SCRAM-SHA-256$4096:!$a:b", &STORED[..STORED.len() - 5]] {
            assert!(parse(damaged).is_none(), "{damaged}");
        }
    }

    #[test]
    fn garbage_is_malformed_and_never_panics() {
        for first in [&b""[..], b"n", b"n,,", b"n,,n=,r=", b"p=tls-unique,,n=u,r=x", b"\xff\xff"] {
            let Ok((_, exchange)) = Exchange::begin("u", None, &[7; 32], first) else { continue };
            for last in [&b""[..], b"c=biws", b"c=biws,r=zzz,p=!!", b"\xff"] {
                let (_, again) =
                    Exchange::begin("u", None, &[7; 32], first).expect("it began before");
                assert!(again.finish(last).is_err());
            }
            assert!(exchange.finish(b"c=biws,r=,p=").is_err());
        }
    }
}
