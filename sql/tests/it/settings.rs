//! SET, SHOW and their kin; the consistency level, the causal token, the receipt.

use crate::harness::{Database, TOKEN_KEY, show_error};
use core_domain::{CausalToken, ClusterId, KvStore, Timestamp};

#[tokio::test(flavor = "multi_thread")]
async fn the_consistency_level_is_a_setting_like_any_other() {
    let db = Database::new();
    let mut c = db.connect().await;
    c.expect(&[
        ("show consistency", "strong\nSHOW"),
        ("set consistency = 'causal'", "SET"),
        ("show consistency", "causal\nSHOW"),
        ("set consistency to EVENTUAL", "SET"),
        ("show consistency", "eventual\nSHOW"),
        (
            "set consistency = 'weak'",
            "ERROR 22023: invalid value for parameter \"consistency\": \"weak\"",
        ),
        ("reset consistency", "RESET"),
        ("show consistency", "strong\nSHOW"),
        ("begin", "BEGIN"),
        ("set local consistency = 'causal'", "SET"),
        ("show consistency", "causal\nSHOW"),
        ("commit", "COMMIT"),
        ("show consistency", "strong\nSHOW"),
        (
            "show no_such_thing",
            "ERROR 42704: unrecognized configuration parameter \"no_such_thing\"",
        ),
        ("alter role shanghai set consistency = 'eventual'", "ALTER ROLE"),
        ("alter database shanghai set consistency = 'causal'", "ALTER DATABASE"),
    ])
    .await;
    let mut later = db.connect().await;
    later.expect(&[("show consistency", "eventual\nSHOW")]).await;
    let mut asked = db.connect_with("shanghai", "-c consistency=strong").await.unwrap();
    asked.expect(&[("show consistency", "strong\nSHOW")]).await;
    let refused = db.connect_with("shanghai", "-c consistency=none").await.err().unwrap();
    assert_eq!(refused.sqlstate, "22023");
    assert_eq!(refused.severity.as_str(), "FATAL");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receipt_says_that_all_levels_are_served_as_strong() {
    let mut c = Database::new().connect().await;
    c.run("create table t (id int primary key); insert into t values (1)").await;
    c.run("set consistency = 'eventual'").await;
    c.run("select * from t").await;
    let receipt = c.run("show last_guarantee").await;
    assert!(receipt.starts_with("asked=eventual served=strong read_timestamp="), "{receipt}");
    assert!(!receipt.contains("read_timestamp=0 "), "{receipt}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_causal_token_moves_is_accepted_and_refused() {
    let db = Database::new();
    let mut c = db.connect().await;
    c.run("create table t (id int primary key)").await;
    let token = |c: &mut crate::harness::Client| {
        let changes = c.session.take_parameter_changes();
        changes.into_iter().find(|(name, _)| *name == "causal_token").map(|(_, value)| value)
    };
    let first = token(&mut c).expect("a transaction moves the token");
    c.run("insert into t values (1)").await;
    let second = token(&mut c).expect("a commit moves the token");
    assert_ne!(first, second);

    let mut other = db.another_node().connect().await;
    assert_eq!(other.run(&format!("set causal_token = '{second}'")).await, "SET");
    let shown = other.run("show causal_token").await;
    assert!(shown.starts_with(&second), "{shown}");

    let mut damaged = second.clone().into_bytes();
    damaged[40] = if damaged[40] == b'A' { b'B' } else { b'A' };
    let damaged = String::from_utf8(damaged).unwrap();
    let seal = |cluster, timestamp| {
        let cluster = ClusterId(cluster);
        CausalToken { cluster, timestamp: Timestamp(timestamp), dots: vec![] }.seal(&TOKEN_KEY)
    };
    let soon = db.kv.now().await.unwrap().plus(std::time::Duration::from_secs(60));
    for (token, why) in [
        (damaged.as_str(), "causal token is damaged"),
        (&seal(43, 1), "causal token belongs to another cluster"),
        (&seal(42, u64::MAX), "causal token is from the future"),
        // Not yet given out by this cluster's oracle, however little is missing.
        (&seal(42, soon.0), "causal token is from the future"),
    ] {
        let got = other.run(&format!("set causal_token = '{token}'")).await;
        let expected = format!("ERROR 22023: invalid value for parameter \"causal_token\": {why}");
        assert_eq!(got, expected);
    }
    // What was refused left nothing behind.
    assert_eq!(other.run("show causal_token").await, shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn zones_styles_and_paths_take_effect() {
    let mut c = Database::new().connect().await;
    c.expect(&[
        ("set time zone 'America/New_York'", "SET"),
        ("select '2024-01-01 12:00+00'::timestamptz", "2024-01-01 07:00:00-05\nSELECT 1"),
        ("show timezone", "America/New_York\nSHOW"),
        (
            "set timezone = 'Nowhere/At_All'",
            "ERROR 22023: invalid value for parameter \"TimeZone\": \"Nowhere/At_All\"",
        ),
        ("set datestyle = 'german'", "SET"),
        ("select '2024-02-01'::date", "01.02.2024\nSELECT 1"),
        ("reset all", "RESET"),
        ("create schema s create table inside (id int)", "CREATE SCHEMA"),
        ("set search_path = s, public", "SET"),
        ("insert into inside values (1)", "INSERT 0 1"),
        ("show search_path", "s, public\nSHOW"),
        ("select current_schema", "s\nSELECT 1"),
        ("select set_config('app.tenant', 'x', false)", "x\nSELECT 1"),
        ("select current_setting('app.tenant')", "x\nSELECT 1"),
        ("set client_encoding = 'utf-8'", "SET"),
        ("show client_encoding", "UTF8\nSHOW"),
    ])
    .await;
    assert!(c.run("set client_encoding = 'LATIN1'").await.starts_with("ERROR 0A000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_database_is_refused_at_the_door() {
    let error = Database::new().connect_with("nope", "").await.err().unwrap();
    assert_eq!(show_error(&error), "FATAL 3D000: database \"nope\" does not exist");
}
