//! AS OF SYSTEM TIME: statements and transactions that read the past.

use crate::harness::{Client, Database};

async fn now(db: &Database) -> String {
    use core_domain::KvStore;
    db.kv.now().await.unwrap().0.to_string()
}

/// A table with a row that was 1, then 2, and the moment in between.
async fn changed(db: &Database) -> (Client, String) {
    let mut c = db.connect().await;
    c.expect(&[
        ("create table t (id int primary key, n int)", "CREATE TABLE"),
        ("create table u (id int primary key)", "CREATE TABLE"),
        ("insert into t values (1, 1)", "INSERT 0 1"),
    ])
    .await;
    let then = now(db).await;
    c.expect(&[("update t set n = 2", "UPDATE 1"), ("insert into t values (2, 2)", "INSERT 0 1")])
        .await;
    (c, then)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_reads_what_was() {
    let db = Database::new();
    let (mut c, then) = changed(&db).await;
    let run = async |c: &mut Client, sql: &str| c.run(&sql.replace("THEN", &then)).await;
    let by_key = "select n from t as of system time 'THEN' where id = 1";
    for _ in 0..2 {
        assert_eq!(run(&mut c, by_key).await, "1\nSELECT 1");
    }
    assert_eq!(c.run("select n from t where id = 1").await, "2\nSELECT 1", "and only that one");
    let number = "select count(*) from t as of system time THEN";
    assert_eq!(run(&mut c, number).await, "1\nSELECT 1");
    let join = "select a.n, b.n from t a join t b on a.id = b.id as of system time 'THEN'";
    assert_eq!(run(&mut c, join).await, "1|1\nSELECT 1");
    let nested = "select * from (select n from t as of system time 'THEN') x";
    assert_eq!(run(&mut c, nested).await, "1\nSELECT 1");
    assert_eq!(c.run("select n as of from t where id = 1").await, "2\nSELECT 1");
    assert_eq!(c.run("select of.n from t as of where id = 1").await, "2\nSELECT 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_reads_one_moment_and_writes_nothing() {
    let db = Database::new();
    let (mut c, then) = changed(&db).await;
    let begin = format!("begin as of system time '{then}'");
    c.expect(&[
        (begin.as_str(), "BEGIN"),
        ("select n from t where id = 1", "1\nSELECT 1"),
        ("select count(*) from t", "1\nSELECT 1"),
        ("show transaction_read_only", "on\nSHOW"),
        ("savepoint a", "SAVEPOINT"),
        ("update t set n = 3", "ERROR 25006: cannot execute UPDATE in a read-only transaction"),
        ("rollback to a", "ROLLBACK"),
        (
            "select n from t where id = 1 for update",
            "ERROR 25006: cannot execute SELECT in a read-only transaction",
        ),
        ("rollback", "ROLLBACK"),
        ("select n from t where id = 1", "2\nSELECT 1"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interval_counts_back_from_now() {
    let db = Database::new();
    let (mut c, _) = changed(&db).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    c.expect(&[
        ("update t set n = 3 where id = 1", "UPDATE 1"),
        ("select n from t as of system time '-150ms' where id = 1", "2\nSELECT 1"),
        ("begin isolation level repeatable read, as of system time '-150ms'", "BEGIN"),
        ("select n from t where id = 1", "2\nSELECT 1"),
        ("commit", "COMMIT"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused() {
    let db = Database::new();
    let (mut c, then) = changed(&db).await;
    let starts = async |c: &mut Client, sql: &str, error: &str| {
        let answer = c.run(&sql.replace("THEN", &then)).await;
        assert!(answer.starts_with(error), "{sql}: {answer}");
    };
    for (sql, error) in [
        ("select * from t as of system time '2200-01-01'", "ERROR 22023: invalid value"),
        ("select * from t as of system time '1h'", "ERROR 22023: invalid value"),
        ("select * from t as of system time '18446744073709551615'", "ERROR 22023"),
        ("select * from t as of system time 'yesterday-ish'", "ERROR 22007"),
        ("select * from t as of system time now()", "ERROR 42601"),
        ("insert into u select id from t as of system time 'THEN'", "ERROR 0A000"),
        ("create view v as select id from t as of system time 'THEN'", "ERROR 0A000"),
        ("select * from t as of system time '1970-01-02'", "ERROR 0A000"),
        ("begin as of system time '-1s' read write", "ERROR 42601"),
    ] {
        starts(&mut c, sql, error).await;
    }
    c.run("begin").await;
    starts(&mut c, "select * from t as of system time 'THEN'", "ERROR 0A000").await;
    c.run("rollback").await;
    // The columns of now do not fit the rows of then.
    c.expect(&[("alter table t add column extra int", "ALTER TABLE")]).await;
    starts(&mut c, "select n from t as of system time 'THEN'", "ERROR 0A000").await;
    starts(&mut c, "select * from u as of system time 'THEN'", "SELECT 0").await;
    c.expect(&[("create table w (id int)", "CREATE TABLE")]).await;
    starts(&mut c, "select * from w as of system time 'THEN'", "ERROR 0A000").await;
}

/// Within the retention it is read; beyond, the error is PostgreSQL's for that.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_is_refused() {
    let db = Database::new();
    let (mut c, then) = changed(&db).await;
    let by_key = format!("select n from t as of system time '{then}' where id = 1");
    let count = format!("select count(*) from t as of system time '{then}'");
    let begin = format!("begin as of system time '{then}'");
    assert_eq!(c.run(&by_key).await, "1\nSELECT 1");
    let mut open = db.connect().await;
    open.expect(&[
        ("begin isolation level repeatable read", "BEGIN"),
        ("select n from t where id = 1", "2\nSELECT 1"),
    ])
    .await;
    db.kv.forget_below(core_domain::KvStore::now(&db.kv).await.unwrap());
    let gone = "ERROR 72000: snapshot too old";
    c.expect(&[
        (by_key.as_str(), gone),
        (count.as_str(), gone),
        (begin.as_str(), "BEGIN"),
        ("select n from t where id = 1", gone),
        ("rollback", "ROLLBACK"),
        ("select n from t where id = 1", "2\nSELECT 1"),
        ("update t set n = 3 where id = 1", "UPDATE 1"),
    ])
    .await;
    // So is a transaction that nobody protected.
    open.expect(&[
        ("select n from t where id = 1", gone),
        (
            "select n from t where id = 1",
            "ERROR 25P02: current transaction is aborted, commands ignored until end of transaction block",
        ),
        ("rollback", "ROLLBACK"),
        ("select n from t where id = 1", "3\nSELECT 1"),
    ])
    .await;
}
