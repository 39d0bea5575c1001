//! `SET consistency`, receipts and causal tokens, as a driver sees them.

use crate::node;
use testkit::psql;
use tokio_postgres::NoTls;

#[test]
fn the_setting_has_every_form_of_a_postgresql_setting() {
    let node = node();
    let server = node.server();
    assert_eq!(psql(&server, "SHOW consistency").trim(), "strong");
    for level in ["causal", "eventual", "strong"] {
        let shown = psql(&server, &format!("SET consistency = '{level}'; SHOW consistency"));
        assert_eq!(shown.trim(), level);
    }
    let local = psql(
        &server,
        "BEGIN; SET LOCAL consistency = 'eventual'; SHOW consistency; COMMIT; SHOW consistency",
    );
    assert_eq!(local.split_whitespace().collect::<Vec<_>>(), ["eventual", "strong"]);
    let by_option = server
        .command("psql")
        .env("PGOPTIONS", "-c consistency=causal")
        .args(["-X", "-A", "-t", "-c", "SHOW consistency"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&by_option.stdout).trim(), "causal");
    let refused = server
        .command("psql")
        .args(["-X", "-c", r"\set VERBOSITY verbose", "-c", "SET consistency = 'sometimes'"])
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(message.contains("22023"), "{message}");
    assert!(message.contains("strong, causal, eventual"), "{message}");
}

#[test]
fn the_receipt_says_what_was_asked_and_what_was_served() {
    let node = node();
    let receipt = psql(
        &node.server(),
        "CREATE TABLE t (id int primary key); INSERT INTO t VALUES (1);
         SET consistency = 'eventual'; SELECT * FROM t; SHOW last_guarantee",
    );
    let receipt = receipt.lines().last().unwrap();
    assert!(receipt.contains("asked=eventual served=strong"), "{receipt}");
    assert!(!receipt.contains("read_timestamp=0 "), "{receipt}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_causal_token_travels_and_is_checked() {
    let first = node();
    let other = node();
    let server = first.server();
    let token = psql(
        &server,
        "CREATE TABLE t (id int primary key); INSERT INTO t VALUES (1); SHOW causal_token",
    );
    let token = token.trim().to_owned();
    assert!(!token.is_empty());
    let read = psql(&server, &format!("SET causal_token = '{token}'; SELECT count(*) FROM t"));
    assert_eq!(read.trim(), "1");
    let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let mut damaged = token.clone().into_bytes();
    let last = damaged.len() - 1;
    damaged[last] = if damaged[last] == b'A' { b'B' } else { b'A' };
    let damaged = String::from_utf8(damaged).unwrap();
    let stranger = psql(&other.server(), "CREATE TABLE t (id int); SHOW causal_token");
    for (bad, why) in [
        (damaged.as_str(), "damaged"),
        ("nonsense", "damaged"),
        (stranger.trim(), "another cluster"),
    ] {
        let error = client.batch_execute(&format!("SET causal_token = '{bad}'")).await.unwrap_err();
        let error = error.as_db_error().expect("the server's error");
        assert!(error.message().contains(why), "{bad}: {error:?}");
    }
}
