//! Bad input: a clear error for that session, and the node stays up.

use crate::node;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use testkit::psql;

const READY: &[u8] = b"Z\0\0\0\x05I";

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    stream
}

/// What comes until the server is ready for the next query, or closes, or says nothing more.
fn answer(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while !answer.ends_with(READY) {
        match stream.read(&mut part) {
            Ok(0) | Err(_) => break,
            Ok(count) => answer.extend_from_slice(&part[..count]),
        }
    }
    answer
}

/// A session.
fn enter(port: u16) -> TcpStream {
    let mut stream = connect(port);
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(&login()).unwrap();
    let greeting = answer(&mut stream);
    assert!(greeting.ends_with(READY), "{}", greeting.escape_ascii());
    stream
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

/// A start-up message that logs in.
fn login() -> Vec<u8> {
    let mut body = 196_608u32.to_be_bytes().to_vec();
    body.extend_from_slice(b"user\0shanghai\0database\0shanghai\0\0");
    let mut message = ((body.len() + 4) as u32).to_be_bytes().to_vec();
    message.extend(body);
    message
}

#[test]
fn garbage_at_the_port_ends_that_session_only() {
    let node = node();
    let mut bystander = enter(node.sql_port);
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for round in 0..150 {
        let length = (random() % 300) as usize;
        let mut bytes: Vec<u8> = if round % 3 == 0 { Vec::new() } else { login() };
        if round % 3 == 2 {
            bytes.push(b"QPBEDCSHFdcfpX"[(random() % 14) as usize]);
        }
        bytes.extend((0..length).map(|_| random() as u8));
        // Wherever it stops to listen: what it says to garbage is its own affair.
        let mut stream = connect(node.sql_port);
        let _ = stream.write_all(&bytes);
        let _ = stream.read(&mut [0; 4096]);
    }
    // A message that says it is 2 GB long, one shorter than its own header, a start-up of 1 GB.
    for (mut stream, bytes) in [
        (enter(node.sql_port), b"Q\x7f\xff\xff\xff".as_slice()),
        (enter(node.sql_port), b"Q\x00\x00\x00\x01".as_slice()),
        (connect(node.sql_port), b"\x40\x00\x00\x00\x00\x03\x00\x00".as_slice()),
    ] {
        stream.write_all(bytes).unwrap();
        let refusal = answer(&mut stream);
        assert!(contains(&refusal, "C08P01\0"), "{}", refusal.escape_ascii());
        assert_eq!(stream.read(&mut [0; 1]).ok(), Some(0), "the session has ended");
    }
    bystander.write_all(b"Q\0\0\0\x18SELECT 'still here'\0").unwrap();
    let untouched = answer(&mut bystander);
    assert!(contains(&untouched, "still here"), "{}", untouched.escape_ascii());
    assert_eq!(psql(&node.server(), "SELECT 1").trim(), "1");
    // Nor is a session kept for any of them.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let (_, metrics) = node.http("/metrics").unwrap();
        if metrics.contains("\nshanghai_sessions 1\n") {
            break;
        }
        assert!(Instant::now() < deadline, "{metrics}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn malformed_and_monstrous_sql_is_refused() {
    let node = node();
    let server = node.server();
    psql(&server, "CREATE TABLE t (id int primary key, body text)");
    let deep = format!("SELECT {}1{}", "(".repeat(50_000), ")".repeat(50_000));
    let chain = format!("SELECT 1{}", " + 1".repeat(20_000));
    let dir = tempfile::tempdir().unwrap();
    let casts = format!("SELECT 1{}", "::int".repeat(100_000));
    let records = format!("SELECT {}1{}", "row(".repeat(50), ")".repeat(50));
    let unions = format!("SELECT id FROM t{}", " UNION ALL SELECT id FROM t".repeat(900));
    let endless = "SET statement_timeout = '1s'; \
                   SELECT count(*) FROM generate_series(1, 10000000000)";
    for (name, sql, refusal) in [
        ("deep", deep, Some("54001")),
        ("chain", chain, Some("54001")),
        ("casts", casts, Some("54001")),
        ("records", records, Some("54000")),
        ("unions", unions, None),
        ("endless", endless.to_owned(), Some("57014")),
        ("broken", "SELEC 1 FRM".to_owned(), Some("42601")),
    ] {
        let file = dir.path().join(name);
        std::fs::write(&file, sql).unwrap();
        let (_, errors) = testkit::psql_file(&server, &file, &["-q", "-v", "VERBOSITY=verbose"]);
        match refusal {
            Some(code) => {
                assert!(errors.contains(&format!("ERROR:  {code}: ")), "{name}: {errors}")
            }
            None => assert_eq!(errors, "", "{name}"),
        }
        assert_eq!(psql(&server, "SELECT 1").trim(), "1", "after {name}");
    }
    let file = dir.path().join("row");
    std::fs::write(&file, "INSERT INTO t SELECT 1, repeat('x', 200000000);\n").unwrap();
    let (_, errors) = testkit::psql_file(&server, &file, &["-q", "-v", "VERBOSITY=verbose"]);
    assert!(errors.contains("54000"), "{errors}");
    assert_eq!(psql(&server, "SELECT count(*) FROM t").trim(), "0");
}
