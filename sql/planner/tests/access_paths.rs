//! Which key or index a statement uses.

mod support;

use support::World;

#[test]
fn statements_find_their_rows_by_key() {
    let world = World::new();
    for (sql, expected) in [
        ("select 1", "values 1"),
        ("values (1), (2)", "values 2"),
        ("select abalance from accounts where aid = $1", "get 1"),
        ("select abalance from accounts where aid = 5", "get 1"),
        ("select * from t where 5 = id and a > 1", "get 1"),
        ("select * from t where id = 1.5", "rows 0:.."),
        ("select * from t where id in (1, 2, $1)", "get each 3"),
        ("select * from t where id = any($1)", "get each of array"),
        ("select * from t where id > 5 and id <= 10", "rows 0:<..="),
        ("select * from t where id between 1 and $1", "rows 0:=..="),
        ("select * from t order by id limit 10", "rows 0:.."),
        ("select * from t order by id desc limit 10", "rows 0:.. backward"),
        ("select * from pair where x = 1 and y = 'a'", "get 2"),
        ("select * from pair where x = 1", "rows 1:.."),
        ("select * from pair where x = 1 and y > 'b' order by y", "rows 1:<.."),
        ("select * from pair where x = 1 and y in ('a', 'b')", "get each 2"),
        ("select * from u where name = 'x'", "index 1:.."),
        ("select id from u where name = 'x' order by id desc limit 1", "index 1:.. covering"),
        ("select id from u where name = 'x' order by id limit 1", "index 1:.. backward covering"),
        ("select * from u where t_id = 7", "index get 1"),
        ("select * from u where t_id is null", "index 1:.."),
        ("select count(*), sum(a) from t where id between 1 and 100", "rows 0:=..="),
        ("select count(*) from t", "relational"),
        ("select * from t order by a", "relational"),
        ("select * from t where id = 1 for update", "get 1"),
        ("select * from nokey for update", "rows 0:.."),
        ("select * from t join u on t.id = u.t_id", "relational"),
        ("update accounts set abalance = abalance + $1 where aid = $2", "update get 1"),
        ("update t set a = 1", "update rows 0:.."),
        ("update t set a = u.id from u where u.t_id = t.id", "update relational"),
        ("update t set a = (select max(id) from u) where id = 1", "update relational"),
        ("delete from t where id = 1", "delete get 1"),
        ("delete from nokey where a = 1", "delete rows 0:.."),
        ("delete from t using u where u.t_id = t.id", "delete relational"),
        ("insert into t (id, a) values ($1, $2)", "insert"),
    ] {
        assert_eq!(world.shape(sql), expected, "{sql}");
    }
}

#[test]
fn keys_take_the_columns_type() {
    let world = World::new();
    let planned = world.plan("select * from u where id = $1").expect("it binds");
    assert_eq!(planned.params, [datum::SqlType::Int8]);
    // The column is bigint, the value integer: widened, so that its key bytes are right.
    let planned = world
        .plan_with("select * from u where id = $1", &[datum::SqlType::Int4])
        .expect("it binds");
    let planner::Plan::Oltp(oltp) = planned.plan else { panic!("not by key") };
    let planner::Access::PkGet { key } = oltp.access else { panic!("not a get") };
    assert_eq!(*key[0].sql_type(), datum::SqlType::Int8);
}

#[test]
fn a_plan_reads_only_the_columns_it_needs() {
    let world = World::new();
    let planned = world.plan("select s from t where id = 1 and a > 0").expect("it binds");
    let planner::Plan::Oltp(oltp) = planned.plan else { panic!("not by key") };
    assert_eq!(oltp.columns, [1, 2]);
    assert_eq!(planned.columns.expect("a query")[0].name, "s");
}
