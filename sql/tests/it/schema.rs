//! DDL: what it changes, fills and checks; sequences; what other sessions and nodes see of it.

use crate::harness::Database;
use catalog::virtual_tables::{NodeInfo, RangeInfo};
use core_domain::{Key, KvStore, ScanOptions, Span, TxnOptions};
use sql::{ClusterView, Outcome};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use testkit::memory_kv::MemoryKv;

#[tokio::test(flavor = "multi_thread")]
async fn indexes_and_constraints_are_built_over_existing_rows() {
    let mut c = Database::new().connect().await;
    c.expect(&[
        ("create table t (id int, a int, b text)", "CREATE TABLE"),
        ("insert into t select i, i % 10, 'x' || i from generate_series(1, 500) i", "INSERT 0 500"),
        ("create index on t (a)", "CREATE INDEX"),
        ("select count(*) from t where a = 3", "50\nSELECT 1"),
        (
            "create unique index on t (a)",
            "ERROR 23505: could not create unique index \"t_a_idx1\" [Key (a)=(1) is duplicated.]",
        ),
        ("alter table t add primary key (id)", "ALTER TABLE"),
        ("select b from t where id = 77", "x77\nSELECT 1"),
        ("alter table t add constraint c check (a < 10)", "ALTER TABLE"),
        (
            "alter table t add constraint d check (a < 5)",
            "ERROR 23514: check constraint \"d\" of relation \"t\" is violated by some row",
        ),
        ("alter table t add column n int not null default 7", "ALTER TABLE"),
        ("select n from t where id = 5", "7\nSELECT 1"),
        ("alter table t drop column b", "ALTER TABLE"),
        ("select * from t where id = 5", "5|5|7\nSELECT 1"),
        (
            "alter table t alter column a type text using 'n' || a",
            "ERROR 42883: operator does not exist: text < integer",
        ),
        ("alter table t drop constraint c", "ALTER TABLE"),
        ("alter table t alter column a type text using 'n' || a", "ALTER TABLE"),
        ("select * from t where a = 'n5' order by id limit 2", "5|n5|7\n15|n5|7\nSELECT 2"),
        ("truncate t", "TRUNCATE TABLE"),
        ("select count(*) from t", "0\nSELECT 1"),
        ("drop table t", "DROP TABLE"),
        ("drop table if exists t", "DROP TABLE\nNOTICE: table \"t\" does not exist, skipping"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ddl_rolls_back_and_is_private_until_it_commits() {
    let db = Database::new();
    let mut a = db.connect().await;
    let mut b = db.connect().await;
    a.expect(&[
        ("begin", "BEGIN"),
        ("create table t (id serial primary key, n text)", "CREATE TABLE"),
        ("insert into t (n) values ('x') returning id", "1\nINSERT 0 1"),
    ])
    .await;
    assert!(b.run("select * from t").await.contains("42P01"));
    a.expect(&[("rollback", "ROLLBACK")]).await;
    assert!(a.run("select * from t").await.contains("42P01"));
    a.expect(&[
        ("create table t (id serial primary key, n text)", "CREATE TABLE"),
        ("insert into t (n) values ('x') returning id", "1\nINSERT 0 1"),
    ])
    .await;
    b.expect(&[("insert into t (n) values ('y') returning id", "2\nINSERT 0 1")]).await;
    // Another node learns of it when a name is missing.
    let mut c = db.another_node().connect().await;
    a.run("create table late (id int)").await;
    c.expect(&[("select * from late", "SELECT 0"), ("select count(*) from t", "2\nSELECT 1")])
        .await;
}

/// Keys of tables and indexes that the store still has, whoever may reach them.
async fn stored_rows(db: &Database) -> usize {
    let txn = db.kv.begin(TxnOptions::default()).await.unwrap();
    txn.begin_statement().await.unwrap();
    let tables = Span::prefix(Key::from(vec![core_domain::key::TABLE_PREFIX]));
    let all = ScanOptions { bytes_max: usize::MAX, ..ScanOptions::default() };
    txn.scan(&tables, all).await.unwrap().rows.len()
}

async fn until_stored(db: &Database, expected: usize) {
    for _ in 0..500 {
        if stored_rows(db).await == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(stored_rows(db).await, expected);
}

/// Long enough for rows to be erased by a node that does not wait.
const A_MOMENT: Duration = Duration::from_millis(150);

/// Erasing shows to readers of every timestamp: it must wait for who began before.
#[tokio::test(flavor = "multi_thread")]
async fn dropped_rows_stay_for_whoever_still_reads_them() {
    let db = Database::new();
    let mut a = db.connect().await;
    let mut b = db.connect().await;
    for (table, ddl) in [("d", "drop table d"), ("t", "truncate t")] {
        a.run(&format!("create table {table} (id int primary key)")).await;
        a.run(&format!("insert into {table} select * from generate_series(1, 3000)")).await;
        // On its own: in a block the reader would hold the table.
        let all = b.prepare(&format!("select id from {table}")).await;
        let Outcome::Rows { mut rows, .. } = b.session.execute(&all, vec![]).await.unwrap() else {
            panic!("no rows")
        };
        assert_eq!(rows.next(10).await.unwrap().unwrap().len(), 10);
        assert!(a.run(ddl).await.ends_with(" TABLE"));
        tokio::time::sleep(A_MOMENT).await;
        let mut left = 0;
        while let Some(page) = rows.next(1000).await.unwrap() {
            left += page.len();
        }
        assert_eq!(left, 2990, "{ddl} took rows from under a reader");
        drop(rows);
        until_stored(&db, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_rows_stay_where_other_nodes_may_read_them() {
    struct Three;
    impl ClusterView for Three {
        fn nodes(&self) -> Vec<NodeInfo> {
            vec![NodeInfo::default(); 3]
        }

        fn ranges(&self) -> Vec<RangeInfo> {
            Vec::new()
        }
    }
    let db = Database::with(|config| config.cluster_view = Arc::new(Three));
    let mut c = db.connect().await;
    c.expect(&[
        ("create table t (id int primary key)", "CREATE TABLE"),
        ("insert into t values (1), (2)", "INSERT 0 2"),
        ("drop table t", "DROP TABLE"),
    ])
    .await;
    tokio::time::sleep(A_MOMENT).await;
    assert_eq!(stored_rows(&db).await, 2);
}

/// The writer had planned before it had to wait: what it wrote by that plan would be missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_waited_for_a_schema_change_follows_it() {
    let db = Database::new();
    let mut a = db.connect().await;
    a.run("create table t (id int primary key, k int, x int)").await;
    for (id, ddl, answer) in [
        (1, "create index t_k on t (k)", "INSERT 0 1"),
        (2, "truncate t", "INSERT 0 1"),
        (
            3,
            "alter table t add constraint no_three check (k <> 3)",
            "ERROR 23514: new row for relation \"t\" violates check constraint \"no_three\"",
        ),
        (4, "alter table t drop column x", "INSERT 0 1"),
    ] {
        let mut b = db.connect().await;
        a.expect(&[("begin", "BEGIN")]).await;
        assert!(!a.run(ddl).await.starts_with("ERROR"), "{ddl}");
        let waiting = tokio::spawn(async move {
            b.run(&format!("insert into t (id, k) values ({id}, {id})")).await
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!waiting.is_finished(), "{ddl}");
        a.expect(&[("commit", "COMMIT")]).await;
        let got = waiting.await.unwrap();
        assert!(got.starts_with(answer), "{ddl}: {got}");
        let there = if answer.starts_with("INSERT") { 1 } else { 0 };
        let found = a.run(&format!("select id from t where k = {id}")).await;
        assert!(found.ends_with(&format!("SELECT {there}")), "{ddl}: {found}");
    }
    a.expect(&[("select * from t order by id", "2|2\n4|4\nSELECT 2")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_snapshot_refuses_what_was_filled_after_it() {
    let db = Database::new();
    let mut a = db.connect().await;
    let mut b = db.connect().await;
    a.run("create table t (id int primary key, k int); insert into t values (1, 7)").await;
    a.run("create table other (id int primary key)").await;
    let refused = "ERROR 40001: could not serialize access due to a concurrent schema change";
    for (before, ddl) in [
        ("select id from t where k = 7", "create index on t (k)"),
        // What has not been read may go.
        ("select id from other", "truncate t"),
    ] {
        b.run("begin isolation level repeatable read").await;
        assert!(!b.run(before).await.starts_with("ERROR"));
        a.run(ddl).await;
        assert!(b.run("select id from t where k = 7").await.starts_with(refused), "{ddl}");
        b.run("rollback").await;
    }
    // Other tables' changes do not matter.
    b.run("begin isolation level repeatable read").await;
    b.expect(&[("select id from t", "SELECT 0")]).await;
    a.run("create index on other (id)").await;
    b.expect(&[("select id from t", "SELECT 0"), ("commit", "COMMIT")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cascade_waits_for_the_schema_of_the_children() {
    let db = Database::new();
    let mut a = db.connect().await;
    let mut b = db.connect().await;
    a.run("create table parent (id int primary key); insert into parent values (1)").await;
    a.run("create table child (id int primary key, p int references parent on delete cascade)")
        .await;
    a.run("insert into child values (10, 1)").await;
    a.expect(&[("begin", "BEGIN"), ("create index on child (p)", "CREATE INDEX")]).await;
    let waiting = tokio::spawn(async move { b.run("delete from parent").await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    a.expect(&[("commit", "COMMIT")]).await;
    assert_eq!(waiting.await.unwrap(), "DELETE 1");
    a.expect(&[("select count(*) from child where p = 1", "0\nSELECT 1")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_statement_follows_its_table() {
    let db = Database::new();
    let mut a = db.connect().await;
    let mut b = db.connect().await;
    a.run("create table t (id int primary key, n int); insert into t values (1, 10)").await;
    let get = a.prepare("select n from t where id = $1").await;
    assert_eq!(a.execute(&get, &["1"]).await, "10\nSELECT 1");
    b.run("alter table t add column x int default 5; create index on t (n)").await;
    assert_eq!(a.execute(&get, &["1"]).await, "10\nSELECT 1");
    b.run("alter table t alter column n type text").await;
    assert_eq!(
        a.execute(&get, &["1"]).await,
        "ERROR 0A000: cached plan must not change result type"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sequences_count_across_sessions_and_rollbacks() {
    let db = Database::new();
    let mut a = db.connect().await;
    let mut b = db.connect().await;
    a.expect(&[
        ("create sequence s start 10 increment 5", "CREATE SEQUENCE"),
        (
            "select currval('s')",
            "ERROR 55000: currval of sequence \"s\" is not yet defined in this session",
        ),
        ("select nextval('s'), nextval('s')", "10|15\nSELECT 1"),
        ("begin", "BEGIN"),
        ("select nextval('s')", "20\nSELECT 1"),
        ("rollback", "ROLLBACK"),
        ("select currval('s'), lastval()", "20|20\nSELECT 1"),
    ])
    .await;
    b.expect(&[
        ("select nextval('s')", "25\nSELECT 1"),
        ("select setval('s', 100)", "100\nSELECT 1"),
        ("select nextval('s')", "105\nSELECT 1"),
        ("alter sequence s restart with 7", "ALTER SEQUENCE"),
        ("select nextval('s')", "7\nSELECT 1"),
        ("create sequence tiny maxvalue 2", "CREATE SEQUENCE"),
        ("select nextval('tiny'), nextval('tiny')", "1|2\nSELECT 1"),
        (
            "select nextval('tiny')",
            "ERROR 2200H: nextval: reached maximum value of sequence \"tiny\" (2)",
        ),
        ("create table g (id int generated always as identity, n int)", "CREATE TABLE"),
        ("insert into g (n) values (1), (2) returning id", "1\n2\nINSERT 0 2"),
        ("truncate g restart identity", "TRUNCATE TABLE"),
        ("insert into g (n) values (3) returning id", "1\nINSERT 0 1"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_are_worlds_apart() {
    let db = Database::new();
    let mut a = db.connect().await;
    a.run("create table t (id int)").await;
    a.expect(&[
        ("create database d", "CREATE DATABASE"),
        ("begin", "BEGIN"),
        ("create database e", "ERROR 25001: CREATE DATABASE cannot run inside a transaction block"),
        ("rollback", "ROLLBACK"),
        ("drop database shanghai", "ERROR 55006: cannot drop the currently open database"),
    ])
    .await;
    let mut d = db.connect_with("d", "").await.unwrap();
    assert!(d.run("select * from t").await.contains("42P01"));
    assert_eq!(
        a.run("drop database d").await,
        "ERROR 55006: database \"d\" is being accessed by other users [There is 1 other session using the database.]"
    );
    drop(d);
    a.expect(&[("drop database d", "DROP DATABASE")]).await;
    assert!(db.connect_with("d", "").await.is_err());
}

/// Shows the store's boundaries as ranges.
#[derive(Default)]
struct Boundaries(OnceLock<MemoryKv>);

impl ClusterView for Boundaries {
    fn nodes(&self) -> Vec<NodeInfo> {
        Vec::new()
    }

    fn ranges(&self) -> Vec<RangeInfo> {
        let starts = self.0.get().expect("set at the start").boundaries();
        let ends = starts[1..].iter().cloned().chain([Key::MIN]);
        let spans = starts.iter().cloned().zip(ends).map(|(start, end)| Span::new(start, end));
        spans.zip(1..).map(|(span, id)| RangeInfo { id, span, ..RangeInfo::default() }).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_indexes_are_split_where_they_are_told() {
    let view = Arc::new(Boundaries::default());
    let db = Database::with(|config| config.cluster_view = view.clone());
    assert!(view.0.set(db.kv.clone()).is_ok());
    let mut c = db.connect().await;
    c.run("create table t (a int, b text, c date, primary key (a, b))").await;
    c.run("create index t_c on t (c)").await;
    c.run("create table u (x int)").await;
    c.expect(&[
        ("alter table t split at values (10), ('20'), (5 + 25, 'x')", "ALTER TABLE"),
        ("alter table if exists t split at values (10)", "ALTER TABLE"),
        ("alter index t_c split at values ('2024-02-01'), (null)", "ALTER INDEX"),
        ("alter index t_pkey split at values (40)", "ALTER INDEX"),
        ("alter table u split apart", "ALTER TABLE"),
    ])
    .await;
    let starts = c
        .run(
            "select start_key, table_name from shanghai.ranges \
             where start_key like '/shanghai/%' order by range_id",
        )
        .await;
    assert_eq!(
        starts.lines().collect::<Vec<_>>(),
        [
            "/shanghai/t/t_pkey/10|t",
            "/shanghai/t/t_pkey/20|t",
            "/shanghai/t/t_pkey/30/x|t",
            "/shanghai/t/t_pkey/40|t",
            "/shanghai/t/t_c/2024-02-01|t",
            "/shanghai/t/t_c/NULL|t",
            "/shanghai/u|u",
            "SELECT 7"
        ]
    );
    // The end of the last table, which is where a next one would begin.
    let ends = "select count(*) from shanghai.ranges where start_key like '/table/%'";
    c.expect(&[(ends, "1\nSELECT 1")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_split_or_moved_is_told_as_postgresql_would() {
    let mut c = Database::new().connect().await;
    c.run("create table t (a int, b text, primary key (a, b)); create table u (x int)").await;
    c.run("create view v as select 1").await;
    let block = "cannot run inside a transaction block";
    c.expect(&[
        ("alter table t split at values ()", "ERROR 42601: syntax error at or near \")\""),
        ("alter table t split at (1)", "ERROR 42601: syntax error at or near \"(\""),
        (
            "alter table t split at values (1, 'x', 2)",
            "ERROR 42601: SPLIT AT has more expressions than key columns",
        ),
        (
            "alter table t split at values ('x')",
            "ERROR 22P02: invalid input syntax for type integer: \"x\"",
        ),
        (
            "alter table t split at values (true)",
            "ERROR 42804: column \"a\" is of type integer but expression is of type boolean",
        ),
        (
            "alter table t split at values ((select 1))",
            "ERROR 0A000: cannot use subquery in SPLIT AT",
        ),
        ("alter table t split at values (a)", "ERROR 42703: column \"a\" does not exist"),
        ("alter table u split at values (1)", "ERROR 42704: table \"u\" has no primary key"),
        ("alter table v split apart", "ERROR 42809: \"v\" is not a table"),
        ("alter index t split apart", "ERROR 42809: \"t\" is not an index"),
        ("alter table w split apart", "ERROR 42P01: relation \"w\" does not exist"),
        (
            "alter table if exists w split apart",
            "ALTER TABLE\nNOTICE: relation \"w\" does not exist, skipping",
        ),
        ("alter range 1 transfer leader to 1", "ALTER RANGE"),
        (
            "alter range 1 transfer leader to 2",
            "ERROR 55000: range 1 has no voting replica on node 2",
        ),
        ("alter range 1 transfer to 2", "ERROR 42601: syntax error at or near \"to\""),
        ("begin", "BEGIN"),
        (
            "alter table t split at values (1)",
            &format!("ERROR 25001: ALTER TABLE ... SPLIT {block}"),
        ),
        ("rollback", "ROLLBACK"),
        ("begin", "BEGIN"),
        ("alter range 1 transfer leader to 1", &format!("ERROR 25001: ALTER RANGE {block}")),
        ("rollback", "ROLLBACK"),
    ])
    .await;
}
