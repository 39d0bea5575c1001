//! What a table refuses, and what follows a change of a referenced row.

use crate::harness::Database;

#[tokio::test(flavor = "multi_thread")]
async fn not_null_check_and_unique_are_reported_as_postgresql_does() {
    let mut c = Database::new().connect().await;
    c.expect(&[
        (
            "create table t (id int primary key, n text not null, a int check (a > 0), u int unique)",
            "CREATE TABLE",
        ),
        ("insert into t values (1, 'x', 1, 1)", "INSERT 0 1"),
        (
            "insert into t values (2, null, 1, 2)",
            "ERROR 23502: null value in column \"n\" of relation \"t\" violates not-null constraint [Failing row contains (2, null, 1, 2).]",
        ),
        (
            "insert into t values (2, 'y', 0, 2)",
            "ERROR 23514: new row for relation \"t\" violates check constraint \"t_a_check\" [Failing row contains (2, y, 0, 2).]",
        ),
        (
            "insert into t values (1, 'y', 1, 2)",
            "ERROR 23505: duplicate key value violates unique constraint \"t_pkey\" [Key (id)=(1) already exists.]",
        ),
        (
            "insert into t values (2, 'y', 1, 1)",
            "ERROR 23505: duplicate key value violates unique constraint \"t_u_key\" [Key (u)=(1) already exists.]",
        ),
        ("insert into t values (2, 'y', null, null), (3, 'z', null, null)", "INSERT 0 2"),
        (
            "insert into t values (4, 'a', 1, 4), (4, 'b', 1, 5)",
            "ERROR 23505: duplicate key value violates unique constraint \"t_pkey\" [Key (id)=(4) already exists.]",
        ),
        ("select count(*) from t", "3\nSELECT 1"),
        (
            "update t set id = 1 where id = 2",
            "ERROR 23505: duplicate key value violates unique constraint \"t_pkey\" [Key (id)=(1) already exists.]",
        ),
        ("update t set id = id where id = 2", "UPDATE 1"),
        ("update t set u = 9, id = 10 where id = 1", "UPDATE 1"),
        ("select id, u from t where u = 9", "10|9\nSELECT 1"),
        ("select id from t where u = 1", "SELECT 0"),
        ("insert into t values (1, 'again', 1, 1)", "INSERT 0 1"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_keys_hold_from_both_ends() {
    let mut c = Database::new().connect().await;
    c.expect(&[
        ("create table p (id int primary key, n text)", "CREATE TABLE"),
        (
            "create table c (id int primary key, p int references p, q bigint references p (id) on delete cascade)",
            "CREATE TABLE",
        ),
        ("insert into p values (1, 'a'), (2, 'b'), (3, 'c')", "INSERT 0 3"),
        ("insert into c values (1, 1, 2), (2, null, 3)", "INSERT 0 2"),
        (
            "insert into c values (3, 7, null)",
            "ERROR 23503: insert or update on table \"c\" violates foreign key constraint \"c_p_fkey\" [Key (p)=(7) is not present in table \"p\".]",
        ),
        (
            "delete from p where id = 1",
            "ERROR 23503: update or delete on table \"p\" violates foreign key constraint \"c_p_fkey\" on table \"c\" [Key (id)=(1) is still referenced from table \"c\".]",
        ),
        (
            "update p set id = 9 where id = 1",
            "ERROR 23503: update or delete on table \"p\" violates foreign key constraint \"c_p_fkey\" on table \"c\" [Key (id)=(1) is still referenced from table \"c\".]",
        ),
        ("update p set n = 'z' where id = 1", "UPDATE 1"),
        ("delete from p where id = 3", "DELETE 1"),
        ("select id from c order by id", "1\nSELECT 1"),
        ("delete from p where id = 2", "DELETE 1"),
        ("select id from c order by id", "SELECT 0"),
    ])
    .await;
}

/// Whatever the order in which the parts of a statement write.
#[tokio::test(flavor = "multi_thread")]
async fn foreign_keys_are_looked_at_when_all_parts_of_a_statement_have_written() {
    let mut c = Database::new().connect().await;
    c.expect(&[
        ("create table p (id int primary key)", "CREATE TABLE"),
        ("create table c (id int primary key, p int references p)", "CREATE TABLE"),
        ("with child as (insert into c values (1, 10)) insert into p values (10)", "INSERT 0 1"),
        (
            "with child as (insert into c values (2, 11)) insert into p values (12)",
            "ERROR 23503: insert or update on table \"c\" violates foreign key constraint \"c_p_fkey\" [Key (p)=(11) is not present in table \"p\".]",
        ),
        (
            "with parent as (delete from p) select count(*) from c",
            "ERROR 23503: update or delete on table \"p\" violates foreign key constraint \"c_p_fkey\" on table \"c\" [Key (id)=(10) is still referenced from table \"c\".]",
        ),
        ("select p.id, c.id from p, c", "10|1\nSELECT 1"),
        ("with parent as (delete from p) delete from c", "DELETE 1"),
        ("select count(*) from p", "0\nSELECT 1"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn referential_actions_reach_through_tables() {
    let mut c = Database::new().connect().await;
    c.expect(&[
        ("create table a (id int primary key)", "CREATE TABLE"),
        (
            "create table b (id int primary key references a on update cascade on delete cascade)",
            "CREATE TABLE",
        ),
        (
            "create table n (id int, b int default 5 references b on update set default on delete set null)",
            "CREATE TABLE",
        ),
        ("insert into a values (1), (2), (5)", "INSERT 0 3"),
        ("insert into b values (1), (2), (5)", "INSERT 0 3"),
        ("insert into n values (1, 1), (2, 2)", "INSERT 0 2"),
        ("update a set id = 10 where id = 1", "UPDATE 1"),
        ("select * from b order by id", "2\n5\n10\nSELECT 3"),
        ("select * from n order by id", "1|5\n2|2\nSELECT 2"),
        ("delete from a where id = 2", "DELETE 1"),
        ("select * from n order by id", "1|5\n2|NULL\nSELECT 2"),
        // Self-reference: the parent may come in the same statement, after its child.
        ("create table e (id int primary key, boss int references e)", "CREATE TABLE"),
        ("insert into e values (2, 1), (1, null), (3, 2)", "INSERT 0 3"),
        ("delete from e", "DELETE 3"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_conflict_updates_skips_and_refuses_twice() {
    let mut c = Database::new().connect().await;
    c.expect(&[
        ("create table t (id int primary key, u int unique, n int not null default 0)", "CREATE TABLE"),
        ("insert into t values (1, 1, 1)", "INSERT 0 1"),
        ("insert into t values (1, 5, 1), (2, 2, 2) on conflict do nothing", "INSERT 0 1"),
        (
            "insert into t values (1, 1, 7) on conflict (id) do update set n = t.n + excluded.n returning id, n",
            "1|8\nINSERT 0 1",
        ),
        (
            "insert into t values (3, 2, 7) on conflict (u) do update set n = excluded.n where t.n > 100",
            "INSERT 0 0",
        ),
        (
            "insert into t values (3, 2, 7) on conflict (id) do nothing",
            "ERROR 23505: duplicate key value violates unique constraint \"t_u_key\" [Key (u)=(2) already exists.]",
        ),
        (
            "insert into t values (9, 9, 1), (9, 8, 2) on conflict (id) do update set n = excluded.n",
            "ERROR 21000: ON CONFLICT DO UPDATE command cannot affect row a second time",
        ),
        ("select * from t order by id", "1|1|8\n2|2|2\nSELECT 2"),
    ])
    .await;
}
