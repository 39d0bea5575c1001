//! Prepared statements of SQL, cursors, row locks, partial indexes, writing CTEs, roles, EXPLAIN,
//! and a schema change that meets a writer.

use crate::harness::Database;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn prepare_execute_deallocate() {
    let mut c = Database::new().connect().await;
    c.expect(&[
        ("create table t (id int primary key, n text)", "CREATE TABLE"),
        ("prepare put (int, text) as insert into t values ($1, $2)", "PREPARE"),
        ("execute put (1, 'a')", "INSERT 0 1"),
        ("execute put ('2', null)", "INSERT 0 1"),
        (
            "execute put (3)",
            "ERROR 42601: wrong number of parameters for prepared statement \"put\" [Expected 2 parameters but got 1.]",
        ),
        ("prepare put as select 1", "ERROR 42P05: prepared statement \"put\" already exists"),
        ("prepare get as select n from t where id = $1", "PREPARE"),
        ("execute get (1 + 0)", "a\nSELECT 1"),
        ("deallocate get", "DEALLOCATE"),
        ("execute get (1)", "ERROR 26000: prepared statement \"get\" does not exist"),
        ("deallocate all", "DEALLOCATE ALL"),
        ("execute put (9, '')", "ERROR 26000: prepared statement \"put\" does not exist"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_move_both_ways_and_end_with_their_transaction() {
    let mut c = Database::new().connect().await;
    c.expect(&[
        (
            "declare c cursor for select 1",
            "ERROR 25P01: DECLARE CURSOR can only be used in transaction blocks",
        ),
        ("begin", "BEGIN"),
        ("declare c scroll cursor for select * from generate_series(1, 5) g", "DECLARE CURSOR"),
        ("fetch 2 from c", "1\n2\nFETCH 2"),
        ("fetch next from c", "3\nFETCH 1"),
        ("fetch prior from c", "2\nFETCH 1"),
        ("fetch absolute -1 from c", "5\nFETCH 1"),
        ("fetch next from c", "FETCH 0"),
        ("fetch backward 2 from c", "5\n4\nFETCH 2"),
        ("move forward all in c", "MOVE 1"),
        ("fetch first from c", "1\nFETCH 1"),
        ("declare h cursor with hold for select 7", "DECLARE CURSOR"),
        ("commit", "COMMIT"),
        ("fetch all from h", "7\nFETCH 1"),
        ("fetch c", "ERROR 34000: cursor \"c\" does not exist"),
        ("close h", "CLOSE CURSOR"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn for_update_waits_skips_or_refuses() {
    let db = Database::new();
    let mut a = db.connect().await;
    let mut b = db.connect().await;
    a.run("create table t (id int primary key, k int, n int)").await;
    a.run("create index on t (k)").await;
    a.run("insert into t values (1, 1, 0), (2, 1, 0), (3, 2, 0)").await;
    a.expect(&[
        ("begin", "BEGIN"),
        ("select id from t where id = 1 for update", "1\nSELECT 1"),
        ("update t set k = 9 where id = 1", "UPDATE 1"),
    ])
    .await;
    b.expect(&[
        ("select id from t where k = 1 order by id for update skip locked", "2\nSELECT 1"),
        ("select n from t where id = 1", "0\nSELECT 1"),
    ])
    .await;
    assert!(
        b.run("select id from t where id = 1 for update nowait").await.starts_with("ERROR 55P03")
    );
    b.run("set lock_timeout = 50").await;
    assert!(b.run("update t set n = 1 where id = 1").await.starts_with("ERROR 55P03"));
    b.run("reset lock_timeout").await;
    // The row leaves the index range while the reader waits for it: it is not returned.
    let waiting =
        tokio::spawn(
            async move { b.run("select id from t where k = 1 order by id for update").await },
        );
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    a.expect(&[("commit", "COMMIT")]).await;
    assert_eq!(waiting.await.unwrap(), "2\nSELECT 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_index_holds_and_checks_only_its_rows() {
    let mut c = Database::new().connect().await;
    c.expect(&[
        ("create table t (id int primary key, k int, live bool)", "CREATE TABLE"),
        ("insert into t values (1, 1, true), (2, 1, false), (3, 1, false)", "INSERT 0 3"),
        ("create unique index t_live on t (k) where live", "CREATE INDEX"),
        ("insert into t values (4, 1, false)", "INSERT 0 1"),
        (
            "insert into t values (5, 1, true)",
            "ERROR 23505: duplicate key value violates unique constraint \"t_live\" [Key (k)=(1) already exists.]",
        ),
        (
            "update t set live = true where id = 2",
            "ERROR 23505: duplicate key value violates unique constraint \"t_live\" [Key (k)=(1) already exists.]",
        ),
        ("update t set live = false where id = 1", "UPDATE 1"),
        ("update t set live = true where id = 2", "UPDATE 1"),
        ("select id from t where k = 1 order by id", "1\n2\n3\n4\nSELECT 4"),
        ("select id from t where k = 1 and live", "2\nSELECT 1"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_read_see_the_rows_of_before() {
    let mut c = Database::new().connect().await;
    c.expect(&[
        ("create table t (id int primary key, n int)", "CREATE TABLE"),
        ("insert into t values (1, 1), (2, 2)", "INSERT 0 2"),
        ("insert into t select id + 10, n from t", "INSERT 0 2"),
        ("update t set n = u.n * 100 from t u where t.id = u.id + 10", "UPDATE 2"),
        ("select * from t order by id", "1|1\n2|2\n11|100\n12|200\nSELECT 4"),
        ("delete from t where id in (select id from t where n > 50) returning id", "11\n12\nDELETE 2"),
        ("with m as (delete from t where id = 2 returning *) insert into t select id + 5, n from m", "INSERT 0 1"),
        ("with w as (insert into t values (20, 5) returning id) select id * 2 from w", "40\nSELECT 1"),
        ("select id from t order by id", "1\n7\n20\nSELECT 3"),
        ("update t set id = id + 1, n = id where id = 7 returning *", "8|7\nUPDATE 1"),
        ("create table g (a int, b int generated always as (a * 2) stored)", "CREATE TABLE"),
        ("insert into g values (4) returning *", "4|8\nINSERT 0 1"),
        ("update g set a = 5 returning b", "10\nUPDATE 1"),
        ("create table v (s varchar(3))", "CREATE TABLE"),
        ("insert into v values ('abcd')", "ERROR 22001: value too long for type character varying(3)"),
        ("insert into v values ('abc   ')", "INSERT 0 1"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_built_beside_a_writer_misses_nothing() {
    let db = Database::new();
    let mut a = db.connect().await;
    let mut b = db.connect().await;
    a.run("create table t (id int primary key, k int); insert into t values (1, 1)").await;
    a.expect(&[("begin", "BEGIN"), ("insert into t values (2, 1)", "INSERT 0 1")]).await;
    let building = tokio::spawn(async move {
        let got = b.run("create index t_k on t (k)").await;
        (b, got)
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!building.is_finished());
    a.expect(&[("commit", "COMMIT")]).await;
    let (mut b, got) = building.await.unwrap();
    assert_eq!(got, "CREATE INDEX");
    a.expect(&[("insert into t values (3, 1)", "INSERT 0 1")]).await;
    b.expect(&[("select id from t where k = 1 order by id", "1\n2\n3\nSELECT 3")]).await;
    assert!(b.run("explain select id from t where k = 1").await.contains("using t_k"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_kept_as_a_verifier_only() {
    let db = Database::new();
    let mut c = db.connect().await;
    c.expect(&[
        ("create role ann login password 'secret'", "CREATE ROLE"),
        ("create role nologin_role", "CREATE ROLE"),
        ("drop role nologin_role", "DROP ROLE"),
    ])
    .await;
    let stored = db.server.scram_secret("ann").await.unwrap().unwrap();
    assert!(stored.starts_with("SCRAM-SHA-256$4096:"), "{stored}");
    assert!(!stored.contains("secret"));
    assert_eq!(db.server.scram_secret("nobody").await.unwrap(), None);
    assert!(c.run("grant select on pg_class to ann").await.starts_with("ERROR"));
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_names_the_access_and_analyze_the_guarantee() {
    let mut c = Database::new().connect().await;
    c.run("create table t (id int primary key, n int)").await;
    c.run("insert into t values (1, 1)").await;
    c.expect(&[("explain select n from t where id = 1", "PkGet on t\nEXPLAIN")]).await;
    let analyzed = c.run("explain (analyze, timing off) update t set n = 2 where id = 1").await;
    assert!(analyzed.starts_with("Update on t  (actual rows=1)"), "{analyzed}");
    assert!(analyzed.contains("Guarantee: asked="), "{analyzed}");
    c.expect(&[("select n from t", "2\nSELECT 1")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sessions_count_without_losing_one() {
    let db = Database::new();
    let mut c = db.connect().await;
    c.run("create table t (id int primary key, n int); insert into t values (1, 0)").await;
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let mut c = db.connect().await;
        tasks.push(tokio::spawn(async move {
            let add = c.prepare("update t set n = n + $1 where id = $2").await;
            for _ in 0..50 {
                assert_eq!(c.execute(&add, &["1", "1"]).await, "UPDATE 1");
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    c.expect(&[("select n from t", "400\nSELECT 1")]).await;
}

/// More joins than a task may take steps before it has to give way.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_chain_of_joins_answers() {
    let mut c = Database::new().connect().await;
    c.expect(&[
        ("create table t (id int primary key)", "CREATE TABLE"),
        ("insert into t values (1), (2)", "INSERT 0 2"),
    ])
    .await;
    let joins: String =
        (1..150).map(|i| format!(" join t a{i} on a{i}.id = a{}.id", i - 1)).collect();
    let sql = format!("select count(*) from t a0{joins}");
    let answer = tokio::time::timeout(Duration::from_secs(60), c.run(&sql)).await;
    assert_eq!(answer.expect("it does not hang"), "2\nSELECT 1");
}

/// A filter that computes, one that compares natively, and one beside a hash join's keys.
#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_finds_nothing_hears_its_time_out() {
    let mut c = Database::new().connect().await;
    c.expect(&[("set statement_timeout = '200ms'", "SET")]).await;
    for condition in ["x + y < 0", "x < y and y < x", "x % 2 = y % 2 and x + y < 0"] {
        let sql = format!(
            "select count(*) from generate_series(1, 300000) a(x) \
             join generate_series(1, 300000) b(y) on {condition}"
        );
        let began = std::time::Instant::now();
        let answer = c.run(&sql).await;
        let expected = "ERROR 57014: canceling statement due to statement timeout";
        assert_eq!(answer, expected, "{condition}");
        assert!(began.elapsed() < Duration::from_secs(5), "{condition}: {:?}", began.elapsed());
    }
}
