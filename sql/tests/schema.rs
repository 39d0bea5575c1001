//! DDL: what it changes, fills and checks; sequences; what other sessions and nodes see of it.

mod harness;

use harness::Database;

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
