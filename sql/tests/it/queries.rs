//! The relational engine as a session meets it: rows that come as they are asked for, and memory that
//! is counted, limited and given back.

use crate::harness::{Client, Database};
use sql::{Outcome, RowStream};
use tokio::sync::{Mutex, MutexGuard};

/// One test at a time, where they are threads of one process: they look at the memory they share.
static ALONE: Mutex<()> = Mutex::const_new(());

/// A database with little memory, less than DataFusion sets aside for a sort.
async fn small() -> (Database, MutexGuard<'static, ()>) {
    let alone = ALONE.lock().await;
    (Database::with(|config| config.query_bytes_max = 8 << 20), alone)
}

async fn stream(c: &mut Client, sql: &str) -> RowStream {
    let query = c.prepare(sql).await;
    match c.session.execute(&query, Vec::new()).await {
        Ok(Outcome::Rows { rows, .. }) => rows,
        Ok(_) => panic!("{sql} answers no rows"),
        Err(error) => panic!("{sql}: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_into_memory_is_refused_and_given_back() {
    let (db, _alone) = small().await;
    let mut c = db.connect().await;
    for (what, sql) in [
        ("sort", "select g from generate_series(1, 200000) g order by -g"),
        (
            "hash table",
            "select a from generate_series(1, 1000000) a join generate_series(1, 1000000) b on a = b",
        ),
        ("window", "select row_number() over (order by g) from generate_series(1, 200000) g"),
        (
            "materialized",
            "with k as materialized (select * from generate_series(1, 200000) g) select count(*) from k",
        ),
        ("set of rows", "select generate_series(1, 200000)"),
    ] {
        let got = c.run(sql).await;
        assert!(got.starts_with("ERROR 53200: out of memory"), "{what}: {got:.200}");
        assert_eq!(db.server.query_bytes(), 0, "{what}");
    }
    // The session and the pool are as before, in a block as well.
    c.expect(&[
        ("select count(*) from generate_series(1, 100)", "100\nSELECT 1"),
        ("begin", "BEGIN"),
    ])
    .await;
    let got =
        c.run("select row_number() over (order by g) from generate_series(1, 200000) g").await;
    assert!(got.starts_with("ERROR 53200"), "{got:.200}");
    assert_eq!(db.server.query_bytes(), 0);
    c.expect(&[("rollback", "ROLLBACK")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_counted_as_long_as_their_stream_is_there() {
    let (db, _alone) = small().await;
    let mut c = db.connect().await;
    let sql = "select row_number() over (order by g) from generate_series(1, 10000) g";
    let mut rows = stream(&mut c, sql).await;
    assert_eq!(rows.next(10).await.unwrap().unwrap().len(), 10);
    let kept = db.server.query_bytes();
    assert!(kept > 10_000 * 16, "{kept} bytes");
    drop(rows);
    assert_eq!(db.server.query_bytes(), 0, "a client that asks for no more");
    let mut rows = stream(&mut c, sql).await;
    assert_eq!(rows.collect().await.unwrap().len(), 10_000);
    drop(rows);
    assert_eq!(db.server.query_bytes(), 0, "a client that has everything");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_query_gives_its_memory_back() {
    let (db, _alone) = small().await;
    let mut c = db.connect().await;
    let (pid, secret) = c.session.backend_key();
    let running = tokio::spawn(async move {
        let endless = "with k as materialized (select * from generate_series(1, 10000)) \
                       select pg_sleep(30) from k";
        let got = c.run(endless).await;
        (c, got)
    });
    while db.server.query_bytes() == 0 && !running.is_finished() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    db.server.cancel(pid, secret);
    let (mut c, got) = running.await.unwrap();
    assert_eq!(got, "ERROR 57014: canceling statement due to user request");
    assert_eq!(db.server.query_bytes(), 0);
    c.expect(&[("select 1", "1\nSELECT 1")]).await;
}

/// PostgreSQL would make all of them first.
#[tokio::test(flavor = "multi_thread")]
async fn a_series_makes_the_numbers_that_are_asked_for() {
    let (db, _alone) = small().await;
    let mut c = db.connect().await;
    c.expect(&[
        ("select * from generate_series(1, 10000000000) limit 3", "1\n2\n3\nSELECT 3"),
        (
            "select g from generate_series(1, 10000000000) g where g % 9000 = 0 limit 2 offset 1",
            "18000\n27000\nSELECT 2",
        ),
        ("select count(*) from generate_series(1, 3000000)", "3000000\nSELECT 1"),
    ])
    .await;
    let mut rows =
        stream(&mut c, "select * from generate_series(9223372036854775807, 0, -1)").await;
    assert_eq!(rows.next(5).await.unwrap().unwrap().len(), 5);
}
