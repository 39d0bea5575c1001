//! Blocks, savepoints, failed transactions, snapshots, and statements that meet each other.

use crate::harness::Database;
use sql::TransactionStatus;

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_block_refuses_everything_until_it_ends() {
    let mut c = Database::new().connect().await;
    c.expect(&[("create table t (id int primary key)", "CREATE TABLE"), ("begin", "BEGIN")]).await;
    assert_eq!(c.session.status(), TransactionStatus::InTransaction);
    c.expect(&[
        ("insert into t values (1)", "INSERT 0 1"),
        ("select 1/0", "ERROR 22012: division by zero"),
    ])
    .await;
    assert_eq!(c.session.status(), TransactionStatus::Failed);
    c.expect(&[
        (
            "select 1",
            "ERROR 25P02: current transaction is aborted, commands ignored until end of transaction block",
        ),
        ("commit", "ROLLBACK"),
        ("select * from t", "SELECT 0"),
    ])
    .await;
    assert_eq!(c.session.status(), TransactionStatus::Idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn savepoints_undo_rows_schema_and_settings() {
    let mut c = Database::new().connect().await;
    c.expect(&[
        ("create table t (id int primary key)", "CREATE TABLE"),
        ("begin", "BEGIN"),
        ("insert into t values (1)", "INSERT 0 1"),
        ("savepoint a", "SAVEPOINT"),
        ("insert into t values (2)", "INSERT 0 1"),
        ("create table u (id int)", "CREATE TABLE"),
        ("insert into u values (7)", "INSERT 0 1"),
        ("set application_name = 'inner'", "SET"),
        (
            "insert into t values (1)",
            "ERROR 23505: duplicate key value violates unique constraint \"t_pkey\" [Key (id)=(1) already exists.]",
        ),
        ("rollback to a", "ROLLBACK"),
        ("show application_name", "\nSHOW"),
        ("select * from t", "1\nSELECT 1"),
    ])
    .await;
    assert!(c.run("select * from u").await.contains("42P01"));
    c.expect(&[
        ("rollback to a", "ROLLBACK"),
        ("commit", "COMMIT"),
        ("select * from t", "1\nSELECT 1"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_statements_of_one_query_are_one_transaction() {
    let mut c = Database::new().connect().await;
    c.expect(&[
        ("create table t (id int primary key); insert into t values (1)", "CREATE TABLE\nINSERT 0 1"),
        (
            "insert into t values (2); insert into t values (1)",
            "INSERT 0 1\nERROR 23505: duplicate key value violates unique constraint \"t_pkey\" [Key (id)=(1) already exists.]",
        ),
        ("select * from t", "1\nSELECT 1"),
        ("insert into t values (3); commit; insert into t values (4); select 1/0", "INSERT 0 1\nCOMMIT\nINSERT 0 1\nWARNING: there is no transaction in progress\nERROR 22012: division by zero"),
        ("select * from t order by id", "1\n3\nSELECT 2"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_waits_and_sees_the_newest_row() {
    let db = Database::new();
    let mut a = db.connect().await;
    let mut b = db.connect().await;
    a.run("create table t (id int primary key, n int); insert into t values (1, 10), (2, 20)")
        .await;
    a.expect(&[("begin", "BEGIN"), ("update t set n = n + 1 where id = 1", "UPDATE 1")]).await;
    let waiting = tokio::spawn(async move {
        let got = b.run("update t set n = n + 100 where n < 50").await;
        (b, got)
    });
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    a.expect(&[("commit", "COMMIT")]).await;
    let (mut b, got) = waiting.await.unwrap();
    assert_eq!(got, "UPDATE 2");
    b.expect(&[("select * from t order by id", "1|111\n2|120\nSELECT 2")]).await;
}

/// As in PostgreSQL: the error ends what the block holds, not the ROLLBACK that follows some day.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_block_holds_neither_rows_nor_tables() {
    let db = Database::new();
    let mut a = db.connect().await;
    let mut b = db.connect().await;
    a.run("create table t (id int primary key, n int); insert into t values (1, 10)").await;
    b.run("set statement_timeout = 5000").await;
    for failure in ["select 1 / 0", "select nothing from t", "selec", "savepoint a b"] {
        a.expect(&[("begin", "BEGIN"), ("update t set n = n + 1", "UPDATE 1")]).await;
        assert!(a.run(failure).await.starts_with("ERROR"), "{failure}");
        b.expect(&[("update t set n = n + 1 where id = 1", "UPDATE 1")]).await;
        b.expect(&[("alter table t add column x int", "ALTER TABLE")]).await;
        b.expect(&[("alter table t drop column x", "ALTER TABLE")]).await;
        assert!(a.run("select 1").await.starts_with("ERROR 25P02"), "{failure}");
        a.expect(&[("commit", "ROLLBACK")]).await;
    }
    a.expect(&[("select * from t", "1|14\nSELECT 1")]).await;
}

/// A block that has read a table keeps it from being changed; and a change keeps readers waiting.
#[tokio::test(flavor = "multi_thread")]
async fn readers_and_schema_changes_wait_for_each_other() {
    let db = Database::new();
    let mut a = db.connect().await;
    a.run("create table t (id int primary key, n int); insert into t values (1, 10)").await;
    for (held, other, answer) in [
        ("select n from t where id = 1", "truncate t", "TRUNCATE TABLE"),
        ("truncate t", "select n from t where id = 1", "SELECT 0"),
        ("alter table t add column x int", "select count(*) from t", "0\nSELECT 1"),
    ] {
        let mut b = db.connect().await;
        a.expect(&[("begin", "BEGIN")]).await;
        assert!(!a.run(held).await.starts_with("ERROR"), "{held}");
        let waiting = tokio::spawn(async move { b.run(other).await });
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert!(!waiting.is_finished(), "{held}; {other}");
        a.expect(&[("commit", "COMMIT")]).await;
        assert_eq!(waiting.await.unwrap(), answer, "{held}; {other}");
    }
    // An index takes nothing from a reader.
    let mut b = db.connect().await;
    a.expect(&[("begin", "BEGIN"), ("select count(*) from t", "0\nSELECT 1")]).await;
    b.expect(&[("create index on t (n)", "CREATE INDEX")]).await;
    a.expect(&[("commit", "COMMIT")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_no_longer_qualifies_is_left_alone() {
    let db = Database::new();
    let mut a = db.connect().await;
    let mut b = db.connect().await;
    a.run("create table t (id int primary key, n int); insert into t values (1, 10)").await;
    a.expect(&[("begin", "BEGIN"), ("update t set n = 99 where id = 1", "UPDATE 1")]).await;
    let waiting = tokio::spawn(async move { b.run("delete from t where n = 10").await });
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    a.expect(&[("commit", "COMMIT")]).await;
    assert_eq!(waiting.await.unwrap(), "DELETE 0");
    a.expect(&[("select * from t", "1|99\nSELECT 1")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeatable_read_keeps_its_snapshot_and_reports_lost_races() {
    let db = Database::new();
    let mut a = db.connect().await;
    let mut b = db.connect().await;
    a.run("create table t (id int primary key, n int); insert into t values (1, 10)").await;
    a.expect(&[
        ("begin isolation level repeatable read", "BEGIN"),
        ("select n from t", "10\nSELECT 1"),
        ("show transaction_isolation", "repeatable read\nSHOW"),
    ])
    .await;
    b.expect(&[("update t set n = 11", "UPDATE 1")]).await;
    a.expect(&[("select n from t", "10\nSELECT 1")]).await;
    let got = a.run("update t set n = 12").await;
    assert!(got.starts_with("ERROR 40001: could not serialize access"), "{got}");
    a.expect(&[("rollback", "ROLLBACK"), ("select n from t", "11\nSELECT 1")]).await;
}

/// Both have read what the other writes.
#[tokio::test(flavor = "multi_thread")]
async fn serializable_refuses_write_skew_and_says_what_was_lost_to_whom() {
    let db = Database::new();
    let mut a = db.connect().await;
    let mut b = db.connect().await;
    a.run("create table t (id int primary key, n int); insert into t values (1, 1), (2, 1)").await;
    for c in [&mut a, &mut b] {
        c.expect(&[
            ("begin isolation level serializable", "BEGIN"),
            ("show transaction_isolation", "serializable\nSHOW"),
            ("select sum(n) from t", "2\nSELECT 1"),
        ])
        .await;
    }
    a.expect(&[("update t set n = 0 where id = 1", "UPDATE 1")]).await;
    b.expect(&[("update t set n = 0 where id = 2", "UPDATE 1")]).await;
    a.expect(&[("commit", "COMMIT")]).await;
    let commit = b.prepare("commit").await;
    let Err(late) = b.session.execute(&commit, vec![]).await else { panic!("committed") };
    assert_eq!(late.sqlstate, "40001");
    assert_eq!(
        late.message,
        "could not serialize access due to read/write dependencies among transactions"
    );
    let detail = late.detail.clone().unwrap_or_default();
    assert!(detail.starts_with("Key (id)=(1) of table \"t\" was changed by "), "{detail}");
    a.expect(&[("select sum(n) from t", "1\nSELECT 1")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn isolation_and_its_companions_are_set_in_every_way() {
    let mut c = Database::new().connect().await;
    c.run("create table t (id int primary key)").await;
    c.expect(&[
        ("set default_transaction_isolation = 'serializable'", "SET"),
        ("insert into t values (1)", "INSERT 0 1"),
        ("show transaction_isolation", "serializable\nSHOW"),
        ("reset default_transaction_isolation", "RESET"),
        ("set session characteristics as transaction isolation level serializable", "SET"),
        ("show default_transaction_isolation", "serializable\nSHOW"),
        ("begin read only, deferrable", "BEGIN"),
        ("show transaction_deferrable", "on\nSHOW"),
        ("select id from t", "1\nSELECT 1"),
        ("commit", "COMMIT"),
        ("begin", "BEGIN"),
        ("show transaction_deferrable", "off\nSHOW"),
        ("set transaction isolation level serializable, not deferrable", "SET"),
        ("insert into t values (2)", "INSERT 0 1"),
        ("commit", "COMMIT"),
        ("select count(*) from t", "2\nSELECT 1"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_a_transaction_is_told_by_its_id() {
    let mut c = Database::new().connect().await;
    c.run("create table t (id int)").await;
    for (end, status) in [("commit", "committed"), ("rollback", "aborted")] {
        c.run("begin").await;
        let id = c.run("select pg_current_xact_id()").await;
        let id = id.lines().next().unwrap_or_default().to_owned();
        c.expect(&[("insert into t values (1)", "INSERT 0 1")]).await;
        let running = c.run(&format!("select txid_status({id})")).await;
        assert_eq!(running, "in progress\nSELECT 1");
        c.run(end).await;
        for function in ["txid_status", "pg_xact_status"] {
            let ended = c.run(&format!("select {function}({id})")).await;
            assert_eq!(ended, format!("{status}\nSELECT 1"), "{function} after {end}");
        }
    }
}

/// Nobody has seen anything yet when a block's first statement loses.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_statement_of_a_block_is_executed_again_after_a_lost_race() {
    let db = Database::new();
    let mut a = db.connect().await;
    let mut b = db.connect().await;
    a.run("create table t (id int primary key, n int); insert into t values (1, 10)").await;
    a.expect(&[("begin", "BEGIN"), ("update t set n = n + 1", "UPDATE 1")]).await;
    let waiting = tokio::spawn(async move {
        b.expect(&[
            ("begin isolation level repeatable read", "BEGIN"),
            ("savepoint s", "SAVEPOINT"),
        ])
        .await;
        let updated = b.run("update t set n = n + 1").await;
        b.expect(&[("commit", "COMMIT")]).await;
        updated
    });
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    a.expect(&[("commit", "COMMIT")]).await;
    assert_eq!(waiting.await.unwrap(), "UPDATE 1");
    a.expect(&[("select n from t", "12\nSELECT 1")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_weaker_than_asked_is_refused() {
    let mut c = Database::new().connect().await;
    assert!(c.run("listen x").await.starts_with("ERROR 0A000"));
    c.run("create table t (id int)").await;
    c.expect(&[("begin read only", "BEGIN")]).await;
    assert_eq!(
        c.run("insert into t values (1)").await,
        "ERROR 25006: cannot execute INSERT in a read-only transaction"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_not_yet_fetched_survive_the_next_statement() {
    let mut c = Database::new().connect().await;
    c.run("create table t (id int primary key)").await;
    c.run("insert into t select * from generate_series(1, 3000)").await;
    c.run("begin").await;
    let all = c.prepare("select id from t").await;
    let sql::Outcome::Rows { mut rows, .. } = c.session.execute(&all, vec![]).await.unwrap() else {
        panic!("no rows")
    };
    assert_eq!(rows.next(10).await.unwrap().unwrap().len(), 10);
    c.run("delete from t").await;
    let mut left = 0;
    while let Some(batch) = rows.next(1000).await.unwrap() {
        left += batch.len();
    }
    assert_eq!(left, 2990);
    c.run("rollback").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nearly_full_disk_refuses_rows_and_takes_what_makes_room() {
    let db = Database::new();
    let mut c = db.connect().await;
    c.run("create table t (id int primary key, n int); create index on t (n)").await;
    c.run("create table u (id int)").await;
    c.run("insert into t values (1, 1), (2, 2), (3, 3); insert into u values (1)").await;
    db.kv.set_nearly_full(true);
    let refused = "ERROR 53100: no space left on device";
    c.expect(&[
        ("insert into t values (4, 4)", refused),
        ("update t set n = 9", refused),
        ("begin", "BEGIN"),
        ("insert into t values (4, 4)", "INSERT 0 1"),
        ("commit", refused),
        ("select * from t order by id", "1|1\n2|2\n3|3\nSELECT 3"),
        ("delete from t where n = 1", "DELETE 1"),
        ("select id from t order by id", "2\n3\nSELECT 2"),
        ("truncate t", "TRUNCATE TABLE"),
        ("drop table u", "DROP TABLE"),
    ])
    .await;
    db.kv.set_nearly_full(false);
    c.expect(&[
        ("insert into t values (4, 4)", "INSERT 0 1"),
        ("select * from t", "4|4\nSELECT 1"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_stops_when_cancelled_or_out_of_time() {
    let db = Database::new();
    let mut a = db.connect().await;
    let (pid, secret) = a.session.backend_key();
    let running = tokio::spawn(async move {
        let got = a.run("select pg_sleep(30)").await;
        (a, got)
    });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    db.server.cancel(pid, secret ^ 1);
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(!running.is_finished());
    db.server.cancel(pid, secret);
    let (mut a, got) = running.await.unwrap();
    assert_eq!(got, "ERROR 57014: canceling statement due to user request");
    let mut b = db.connect().await;
    a.run("create table t (id int primary key); insert into t values (1)").await;
    a.expect(&[("begin", "BEGIN"), ("update t set id = 1", "UPDATE 1")]).await;
    b.expect(&[
        ("set statement_timeout = 100", "SET"),
        ("delete from t", "ERROR 57014: canceling statement due to statement timeout"),
    ])
    .await;
}
