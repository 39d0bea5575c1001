//! Bad input: a clear error for that session, and the node stays up.

use crate::node;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use testkit::psql;

fn knock(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let _ = stream.write_all(bytes);
    let mut answer = vec![0; 4096];
    let count = stream.read(&mut answer).unwrap_or(0);
    answer.truncate(count);
    answer
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
        knock(node.sql_port, &bytes);
    }
    // A message that says it is 2 GB long, one shorter than its own header, a start-up of 1 GB.
    for bytes in [
        [login(), b"Q\x7f\xff\xff\xff".to_vec()].concat(),
        [login(), b"Q\x00\x00\x00\x01".to_vec()].concat(),
        b"\x40\x00\x00\x00\x00\x03\x00\x00".to_vec(),
    ] {
        knock(node.sql_port, &bytes);
    }
    assert_eq!(psql(&node.server(), "SELECT 1").trim(), "1");
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
    for (name, sql) in [
        ("deep", deep),
        ("chain", chain),
        ("casts", casts),
        ("records", records),
        ("unions", unions),
        ("endless", endless.to_owned()),
        ("broken", "SELEC 1 FRM".to_owned()),
    ] {
        let file = dir.path().join(name);
        std::fs::write(&file, sql).unwrap();
        testkit::psql_file(&server, &file, &["-q"]);
        assert_eq!(psql(&server, "SELECT 1").trim(), "1", "after {name}");
    }
    let file = dir.path().join("row");
    std::fs::write(&file, "INSERT INTO t SELECT 1, repeat('x', 200000000);\n").unwrap();
    let (_, errors) = testkit::psql_file(&server, &file, &["-q", "-v", "VERBOSITY=verbose"]);
    assert!(errors.contains("54000"), "{errors}");
    assert_eq!(psql(&server, "SELECT count(*) FROM t").trim(), "0");
}
