//! Sessions as a driver sees them: who gets in, how a statement is cancelled, how the end comes.

use crate::harness::{Answer, Raw, connect, query, start, start_with, tags};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::error::SqlState;
use tokio_rustls::rustls;
use wire::{Authentication, TlsSource, WireConfig};

/// More rows than anybody waits for, streamed.
const ENDLESS: &str =
    "select a from generate_series(1, 40000) s(a), generate_series(1, 40000) t(b)";

#[tokio::test(flavor = "multi_thread")]
async fn scram_lets_in_who_knows_the_password() {
    let config = WireConfig { authentication: Authentication::Scram, ..WireConfig::default() };
    let server = start_with(config).await;
    crate::harness::server::create_role(&server.sql, "alice", "söme pass").await;

    let mut alice = server.parameters();
    alice.user("alice").password("söme pass");
    let client = connect(&alice).await.expect("the right password");
    client.simple_query("select 1").await.expect("a session");

    for (user, password) in [("alice", "wrong"), ("nobody", "söme pass")] {
        let mut wrong = server.parameters();
        wrong.user(user).password(password);
        let error = connect(&wrong).await.expect_err("refused");
        assert_eq!(error.code(), Some(&SqlState::INVALID_PASSWORD), "{user}: {error}");
        let message = format!("password authentication failed for user \"{user}\"");
        assert_eq!(error.as_db_error().expect("the server's").message(), message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn encryption_is_negotiated() {
    let server = start().await;
    for request in [80_877_103u32, 80_877_104] {
        let mut raw = server.socket().await;
        raw.send(&[8u32.to_be_bytes(), request.to_be_bytes()].concat()).await;
        assert_eq!(answer_byte(&mut raw).await, b'N');
        raw.startup(3 << 16).await;
        assert!(tags(&raw.until(b'Z').await).ends_with("KZ"));
    }

    let directory = tempfile::tempdir().expect("a directory");
    let source = TlsSource::Generated { directory: directory.path().to_owned() };
    let tls = wire::tls::server_config(&source).expect("generated");
    let server = start_with(WireConfig { tls, ..WireConfig::default() }).await;
    let mut raw = server.socket().await;
    raw.send(&[8u32.to_be_bytes(), 80_877_103u32.to_be_bytes()].concat()).await;
    assert_eq!(answer_byte(&mut raw).await, b'S');

    let mut roots = rustls::RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(directory.path().join("sql.crt"));
    roots.add(certificate.expect("kept")).expect("well formed");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let stream = connector.connect(name, raw.stream).await.expect("a handshake");
    let mut raw = Raw { stream };
    raw.startup(3 << 16).await;
    raw.until(b'Z').await;
    assert_eq!(tags(&raw.ask(&query("select 1")).await), "TDCZ");
    // A second start finds the same certificate.
    let before = std::fs::read(directory.path().join("sql.crt")).expect("kept");
    wire::tls::server_config(&source).expect("loaded");
    assert_eq!(std::fs::read(directory.path().join("sql.crt")).expect("kept"), before);
}

async fn answer_byte<S: tokio::io::AsyncRead + Unpin>(raw: &mut Raw<S>) -> u8 {
    use tokio::io::AsyncReadExt as _;
    let mut answer = [0];
    raw.stream.read_exact(&mut answer).await.expect("one byte");
    answer[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_protocols_are_negotiated_down() {
    let server = start().await;
    for (asked, answered) in [(3 << 16, None), (3 << 16 | 2, None), (3 << 16 | 9999, Some(2))] {
        let mut raw = server.socket().await;
        raw.startup(asked).await;
        let answers = raw.until(b'Z').await;
        let negotiated: Option<&Answer> = answers.iter().find(|answer| answer.tag == b'v');
        assert_eq!(negotiated.map(|answer| answer.body[3]), answered);
        assert_eq!(tags(&raw.ask(&query("select 1")).await), "TDCZ");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_request_stops_a_statement_and_leaves_the_session() {
    let server = start().await;
    let client = server.client().await;
    let cancel = client.cancel_token();
    for sql in ["select pg_sleep(30)", ENDLESS] {
        let begun = Instant::now();
        let statement = client.batch_execute(sql);
        let request = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            cancel.cancel_query(tokio_postgres::NoTls).await.expect("sent");
        };
        let (ended, ()) = tokio::join!(statement, request);
        let error = ended.expect_err("cancelled");
        assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(10));
        client.batch_execute("select 1").await.expect("the session goes on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_too_many_hears_so_and_may_come_back() {
    let server = start_with(WireConfig { connections_max: 1, ..WireConfig::default() }).await;
    let first = server.client().await;
    let cancel = first.cancel_token();
    let error = connect(&server.parameters()).await.expect_err("refused");
    assert_eq!(error.code(), Some(&SqlState::TOO_MANY_CONNECTIONS));
    cancel.cancel_query(tokio_postgres::NoTls).await.expect("cancelling needs no seat");
    drop(first);
    for _ in 0..100 {
        if connect(&server.parameters()).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the seat was not given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_lets_the_running_statement_finish() {
    let server = start().await;
    let mut idle = server.raw().await;
    let mut busy = server.raw().await;
    busy.send(&query("select pg_sleep(1)")).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.shutdown.cancel();

    let end = idle.until(b'Z').await;
    assert_eq!(end[0].error(), ("FATAL".into(), "57P01".into()));
    let answers = busy.until(b'Z').await;
    assert_eq!(tags(&answers), "TDCZ");
    assert_eq!(busy.next().await.expect("a last word").error().1, "57P01");
    server.task.await.expect("no panic").expect("an orderly end");
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_back_its_own_query_only() {
    let server = start().await;
    let mut slow = server.raw().await;
    slow.send(&query(ENDLESS)).await;
    slow.until(b'D').await;
    // It would be tens of gigabytes if somebody gathered it.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let client = server.client().await;
    client.batch_execute("select 1").await.expect("others go on");
    let resident = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize =
        resident.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    assert!(pages * 4096 < 1 << 30, "{pages} pages resident");
}

/// Who is silent for too long, in a transaction or not, and who stays in one for too long.
#[tokio::test(flavor = "multi_thread")]
async fn silent_sessions_and_long_transactions_are_ended() {
    let server = start().await;
    for (sql, code) in [
        ("set idle_session_timeout = 100", "57P05"),
        ("set idle_in_transaction_session_timeout = 100; begin", "25P03"),
        ("set transaction_timeout = 100; begin", "25P04"),
    ] {
        let mut raw = server.raw().await;
        raw.ask(&query(sql)).await;
        let end = tokio::time::timeout(Duration::from_secs(5), raw.until(b'Z')).await;
        let end = end.expect("not for ever");
        assert_eq!(end[0].error(), ("FATAL".into(), code.into()), "{sql}");
    }
    // A block that has failed waits for its ROLLBACK; outside one nothing counts.
    let mut raw = server.raw().await;
    raw.ask(&query("set transaction_timeout = 100")).await;
    raw.ask(&query("begin")).await;
    raw.ask(&query("select 1/0")).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(tags(&raw.ask(&query("rollback")).await), "CZ");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(tags(&raw.ask(&query("select 1")).await), "TDCZ");
}
