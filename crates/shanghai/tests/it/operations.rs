//! Health, readiness, metrics, drain, and refusing unsafe listeners.

use crate::{binary, node};
use std::process::Command;
use std::time::Duration;
use testkit::psql;

#[test]
fn the_http_port_tells_health_readiness_and_metrics() {
    let node = node();
    assert_eq!(node.http("/health").map(|(status, _)| status), Some(200));
    assert_eq!(node.http("/ready").map(|(status, _)| status), Some(200));
    psql(&node.server(), "CREATE TABLE t (id int primary key); INSERT INTO t VALUES (1)");
    let (status, metrics) = node.http("/metrics").unwrap();
    assert_eq!(status, 200);
    let value = |name: &str| -> f64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let line = line.unwrap_or_else(|| panic!("{name} is missing from:\n{metrics}"));
        line.trim().parse().unwrap_or_else(|error| panic!("{name} {line}: {error}"))
    };
    assert!(value("shanghai_sessions") <= 1.0, "psql has left: {metrics}");
    assert!(value("shanghai_ranges") >= 2.0, "{metrics}");
    assert_eq!(value("shanghai_ranges"), value("shanghai_ranges_led"));
    assert_eq!(value("shanghai_query_bytes"), 0.0);
    assert!(value("process_resident_memory_bytes") > 1e6);
}

#[test]
fn sigterm_drains_a_running_statement_and_ends_cleanly() {
    let mut node = node();
    let server = node.server();
    let slow = std::thread::spawn(move || psql(&server, "SELECT pg_sleep(1.5), 'finished'"));
    std::thread::sleep(Duration::from_millis(500));
    let status = node.terminate(Duration::from_secs(15));
    assert!(status.success(), "{status}");
    assert!(slow.join().unwrap().contains("finished"));
}

#[test]
fn data_survives_a_clean_restart() {
    let mut node = node();
    psql(
        &node.server(),
        "CREATE TABLE t (id serial primary key, x text); INSERT INTO t (x) VALUES ('a'), ('b')",
    );
    let status = node.terminate(Duration::from_secs(15));
    assert!(status.success(), "{status}");
    node.start();
    node.wait_ready();
    assert_eq!(psql(&node.server(), "SELECT string_agg(x, ',' ORDER BY id) FROM t").trim(), "a,b");
    psql(&node.server(), "INSERT INTO t (x) VALUES ('c')");
}

#[test]
fn listening_beyond_loopback_without_authentication_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(binary())
        .args(["start", "--sql-addr", "0.0.0.0:0", "--data-dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("--insecure"), "{message}");
}
