//! Advisory locks, what ends a wait, and who is shown to hold and to wait.

use crate::harness::{Client, Database};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// A statement that is expected to wait.
async fn waiting(mut client: Client, sql: &'static str) -> JoinHandle<(Client, String)> {
    let task = tokio::spawn(async move {
        let got = client.run(sql).await;
        (client, got)
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!task.is_finished(), "{sql} does not wait");
    task
}

const TAKEN: &str = "t\nSELECT 1";
const NOT_TAKEN: &str = "f\nSELECT 1";

#[tokio::test(flavor = "multi_thread")]
async fn session_locks_are_counted_and_outlive_transactions() {
    let db = Database::new();
    let (mut a, mut b) = (db.connect().await, db.connect().await);
    a.expect(&[
        ("begin", "BEGIN"),
        ("select pg_try_advisory_lock(1)", TAKEN),
        ("select pg_try_advisory_lock(1)", TAKEN),
        ("select pg_try_advisory_lock(1, 1)", TAKEN),
        ("select 1/0", "ERROR 22012: division by zero"),
        ("rollback", "ROLLBACK"),
    ])
    .await;
    b.expect(&[
        ("select pg_try_advisory_lock(1)", NOT_TAKEN),
        ("select pg_try_advisory_lock_shared(1)", NOT_TAKEN),
        ("select pg_try_advisory_lock(0, 1)", TAKEN),
        (
            "select pg_advisory_unlock(1)",
            "f\nSELECT 1\nWARNING: you don't own a lock of type ExclusiveLock",
        ),
    ])
    .await;
    a.expect(&[("select pg_advisory_unlock(1)", TAKEN)]).await;
    b.expect(&[("select pg_try_advisory_lock(1)", NOT_TAKEN)]).await;
    a.expect(&[("select pg_advisory_unlock(1)", TAKEN)]).await;
    b.expect(&[
        ("select pg_try_advisory_lock(1)", TAKEN),
        ("select pg_try_advisory_lock(1, 1)", NOT_TAKEN),
    ])
    .await;
    a.session.close().await;
    b.expect(&[("select pg_try_advisory_lock(1, 1)", TAKEN)]).await;
    b.run("discard all").await;
    let mut c = db.connect().await;
    c.expect(&[
        ("select pg_try_advisory_lock(1), pg_try_advisory_lock(1, 1)", "t|t\nSELECT 1"),
        ("select count(*) from pg_locks where locktype = 'advisory'", "2\nSELECT 1"),
        ("select pg_advisory_unlock_all()", "\nSELECT 1"),
        ("select count(*) from pg_locks where locktype = 'advisory'", "0\nSELECT 1"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transaction_locks_end_with_it_or_with_their_savepoint() {
    let db = Database::new();
    let (mut a, mut b) = (db.connect().await, db.connect().await);
    a.expect(&[
        ("select pg_advisory_xact_lock(1)", "\nSELECT 1"),
        ("begin", "BEGIN"),
        ("select pg_try_advisory_xact_lock(2)", TAKEN),
        ("savepoint s", "SAVEPOINT"),
        ("select pg_try_advisory_xact_lock(3)", TAKEN),
        (
            "select pg_advisory_unlock(2)",
            "f\nSELECT 1\nWARNING: you don't own a lock of type ExclusiveLock",
        ),
    ])
    .await;
    b.expect(&[
        ("select pg_try_advisory_xact_lock(1)", TAKEN),
        ("select pg_try_advisory_xact_lock_shared(2)", NOT_TAKEN),
        ("select pg_try_advisory_xact_lock(3)", NOT_TAKEN),
    ])
    .await;
    a.expect(&[("rollback to s", "ROLLBACK")]).await;
    b.expect(&[
        ("select pg_try_advisory_xact_lock(2)", NOT_TAKEN),
        ("select pg_try_advisory_xact_lock(3)", TAKEN),
    ])
    .await;
    let b = waiting(b, "select pg_advisory_xact_lock(2)").await;
    a.expect(&[("commit", "COMMIT")]).await;
    assert_eq!(b.await.unwrap().1, "\nSELECT 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn sharers_go_together_and_a_session_is_never_in_its_own_way() {
    let db = Database::new();
    let (mut a, mut b) = (db.connect().await, db.connect().await);
    a.expect(&[
        ("select pg_advisory_lock_shared(1)", "\nSELECT 1"),
        ("begin", "BEGIN"),
        ("select pg_try_advisory_xact_lock_shared(1)", TAKEN),
        ("select pg_try_advisory_xact_lock(1)", TAKEN),
        ("commit", "COMMIT"),
        ("select pg_try_advisory_lock_shared(1)", TAKEN),
    ])
    .await;
    b.expect(&[("select pg_try_advisory_lock(1)", NOT_TAKEN)]).await;
    a.expect(&[
        ("select pg_advisory_unlock_shared(1)", TAKEN),
        ("select pg_advisory_unlock_shared(1)", TAKEN),
    ])
    .await;
    b.expect(&[("select pg_advisory_lock_shared(1)", "\nSELECT 1")]).await;
    a.expect(&[("select pg_try_advisory_lock_shared(1)", TAKEN)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_end_by_time_outs_and_requests() {
    let db = Database::new();
    let mut a = db.connect().await;
    a.run("create table t (id int primary key); insert into t values (1)").await;
    a.expect(&[
        ("select pg_advisory_lock(1)", "\nSELECT 1"),
        ("begin", "BEGIN"),
        ("delete from t", "DELETE 1"),
    ])
    .await;
    let lock_timeout = "ERROR 55P03: canceling statement due to lock timeout";
    let statement_timeout = "ERROR 57014: canceling statement due to statement timeout";
    for wait in ["select pg_advisory_lock(1)", "delete from t", "alter table t add column n int"] {
        let mut b = db.connect().await;
        b.expect(&[
            ("set lock_timeout = 50", "SET"),
            (wait, lock_timeout),
            ("set lock_timeout = 0", "SET"),
            ("set statement_timeout = 50", "SET"),
            (wait, statement_timeout),
            ("set statement_timeout = 0", "SET"),
        ])
        .await;
        let wait: &'static str = wait;
        let pid = b.session.backend_key().0;
        let blocked = format!("select pg_blocking_pids({pid}) = array[pg_backend_pid()]");
        let b = waiting(b, wait).await;
        assert_eq!(a.run(&blocked).await, TAKEN, "{wait}");
        assert_eq!(a.run(&format!("select pg_cancel_backend({pid})")).await, TAKEN);
        let (b, got) = b.await.unwrap();
        assert_eq!(got, "ERROR 57014: canceling statement due to user request", "{wait}");
        let b = waiting(b, wait).await;
        assert_eq!(a.run(&format!("select pg_terminate_backend({pid})")).await, TAKEN);
        let (b, got) = b.await.unwrap();
        assert_eq!(got, "FATAL 57P01: terminating connection due to administrator command");
        b.session.close().await;
    }
    let gone = "f\nSELECT 1\nWARNING: PID 12345 is not a PostgreSQL backend process";
    assert_eq!(a.run("select pg_terminate_backend(12345)").await, gone);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_query_is_cancelled_or_its_session_ended() {
    let db = Database::new();
    let mut a = db.connect().await;
    let long = "select count(*) from generate_series(1, 30000) s(a), generate_series(1, 300000) t(b) where a + b = 7";
    for (function, answer) in [
        ("pg_cancel_backend", "ERROR 57014: canceling statement due to user request"),
        (
            "pg_terminate_backend",
            "FATAL 57P01: terminating connection due to administrator command",
        ),
    ] {
        let b = db.connect().await;
        let pid = b.session.backend_key().0;
        let b = waiting(b, long).await;
        let began = Instant::now();
        assert_eq!(a.run(&format!("select {function}({pid})")).await, TAKEN);
        assert_eq!(b.await.unwrap().1, answer);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_takes_too_long_ends_its_connection() {
    let db = Database::new();
    let fatal = "FATAL 25P04: terminating connection due to transaction timeout";
    for statement in ["select pg_sleep(10)", "select pg_advisory_lock(9)"] {
        let mut holder = db.connect().await;
        holder.run("select pg_advisory_lock(9)").await;
        let mut c = db.connect().await;
        c.expect(&[("set transaction_timeout = 100", "SET"), ("begin", "BEGIN")]).await;
        assert!(c.session.transaction_deadline().is_some());
        assert_eq!(c.run(statement).await, fatal);
        holder.run("select pg_advisory_unlock_all()").await;
    }
    let mut c = db.connect().await;
    c.expect(&[
        ("begin", "BEGIN"),
        ("set local transaction_timeout = '10s'", "SET"),
        ("select pg_sleep(0.01)", "\nSELECT 1"),
        ("commit", "COMMIT"),
        ("show transaction_timeout", "0\nSHOW"),
    ])
    .await;
    assert_eq!(c.session.transaction_deadline(), None);
}

/// A session's advisory locks and its rows are held by two transactions below: it is one waiter.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_of_an_advisory_lock_and_a_row_is_found() {
    let db = Database::new();
    let (mut a, mut b) = (db.connect().await, db.connect().await);
    a.run("create table t (id int primary key); insert into t values (1)").await;
    a.expect(&[("begin", "BEGIN"), ("select pg_advisory_lock(1)", "\nSELECT 1")]).await;
    b.expect(&[("begin", "BEGIN"), ("delete from t", "DELETE 1")]).await;
    let b = waiting(b, "select pg_advisory_lock(1)").await;
    let got = a.run("delete from t").await;
    assert!(got.starts_with("ERROR 40P01: deadlock detected"), "{got}");
    a.expect(&[("rollback", "ROLLBACK"), ("select pg_advisory_unlock(1)", TAKEN)]).await;
    assert_eq!(b.await.unwrap().1, "\nSELECT 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn pg_locks_and_pg_stat_activity_show_holders_and_waiters() {
    let db = Database::new();
    let (mut a, mut b, c) = (db.connect().await, db.connect().await, db.connect().await);
    let mut watch = db.connect().await;
    a.run("create table t (id int primary key, n int); insert into t values (1, 1)").await;
    let (pid_a, pid_b, pid_c) =
        (a.session.backend_key().0, b.session.backend_key().0, c.session.backend_key().0);
    a.run("begin").await;
    a.run("update t set n = 2").await;
    a.run("select pg_advisory_lock(4294967303), pg_advisory_xact_lock_shared(5, -1)").await;
    let held = "select locktype, mode, granted, classid, objid, objsubid from pg_locks where ";
    let of = |pid: i32| format!("{held} pid = {pid} order by 1, 4, 5");
    assert_eq!(
        watch.run(&of(pid_a)).await,
        "advisory|ExclusiveLock|t|1|7|1\n\
         advisory|ShareLock|t|5|4294967295|2\n\
         relation|RowExclusiveLock|t|NULL|NULL|NULL\n\
         transactionid|ExclusiveLock|t|NULL|NULL|NULL\n\
         virtualxid|ExclusiveLock|t|NULL|NULL|NULL\nSELECT 5"
    );
    b.run("begin").await;
    let b = waiting(b, "update t set n = 3").await;
    let c = waiting(c, "select pg_advisory_lock(7 + 4294967296)").await;
    let waits = format!(
        "select pid, locktype, mode, granted, relation = 't'::regclass from pg_locks \
         where pid in ({pid_b}, {pid_c}) and locktype in ('tuple', 'transactionid', 'advisory') \
         order by pid, locktype"
    );
    let shown = watch.run(&waits).await;
    assert!(shown.contains(&format!("{pid_b}|transactionid|ShareLock|f|NULL")), "{shown}");
    assert!(shown.contains(&format!("{pid_b}|tuple|ExclusiveLock|t|t")), "{shown}");
    assert!(shown.contains(&format!("{pid_c}|advisory|ExclusiveLock|f|NULL")), "{shown}");
    let activity = "select pid, state, wait_event_type, wait_event, backend_xid is not null, \
                    xact_start is not null, query from pg_stat_activity \
                    where pid <> pg_backend_pid() order by pid";
    assert_eq!(
        watch.run(activity).await,
        format!(
            "{pid_a}|idle in transaction|Client|ClientRead|t|t|\
             select pg_advisory_lock(4294967303), pg_advisory_xact_lock_shared(5, -1)\n\
             {pid_b}|active|Lock|transactionid|f|t|update t set n = 3\n\
             {pid_c}|active|Lock|advisory|f|t|select pg_advisory_lock(7 + 4294967296)\nSELECT 3"
        )
    );
    let blocking = format!("select pg_blocking_pids({pid_b}), pg_blocking_pids({pid_a})");
    assert_eq!(watch.run(&blocking).await, format!("{{{pid_a}}}|{{}}\nSELECT 1"));
    a.run("commit").await;
    a.run("select pg_advisory_unlock_all()").await;
    b.await.unwrap();
    c.await.unwrap();
}
