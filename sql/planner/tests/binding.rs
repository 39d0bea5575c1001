//! Names, types, parameters and errors.

mod support;

use datum::SqlType;
use planner::{ApplyKind, JoinKind, Plan, Rel, RelNode};
use support::{World, describe};

fn refusal(world: &World, sql: &str) -> String {
    match world.plan(sql) {
        Ok(planned) => format!("no error: {:?}", planned.plan),
        Err(error) => describe(&error),
    }
}

#[test]
fn errors_are_postgresql_s() {
    let world = World::new();
    for (sql, expected) in [
        ("selec 1", "42601 syntax error at or near \"selec\" @ 1"),
        ("select 1 from", "42601 syntax error at end of input @ 14"),
        ("select 'abc", "42601 unterminated quoted string at or near \"'abc\" @ 8"),
        ("select (1", "42601 syntax error at end of input @ 10"),
        ("select é, from t", "42601 syntax error at or near \"from\" @ 11"),
        ("select * from missing", "42P01 relation \"missing\" does not exist @ 15"),
        ("select * from no.missing", "42P01 relation \"no.missing\" does not exist @ 15"),
        ("select nope from t", "42703 column \"nope\" does not exist @ 8"),
        ("select t.nope from t", "42703 column t.nope does not exist @ 8"),
        ("select x.a from t", "42P01 missing FROM-clause entry for table \"x\" @ 8"),
        ("select id from t, u", "42702 column reference \"id\" is ambiguous @ 8"),
        ("select 1 from t, t", "42712 table name \"t\" specified more than once"),
        (
            "select a from t group by s",
            "42803 column \"t.a\" must appear in the GROUP BY clause or be used in an aggregate function @ 8",
        ),
        (
            "select 1 from t where count(*) > 1",
            "42803 aggregate functions are not allowed in WHERE @ 23",
        ),
        (
            "select 1 from t where rank() over () > 1",
            "42P20 window functions are not allowed in WHERE @ 23",
        ),
        ("select sum(sum(a)) from t", "42803 aggregate function calls cannot be nested @ 12"),
        ("select 1 order by 2", "42P10 ORDER BY position 2 is not in select list @ 19"),
        (
            "select 1 union select 1, 2",
            "42601 each UNION query must have the same number of columns @ 10",
        ),
        ("select 1 where 1", "42804 argument of WHERE must be type boolean, not type integer @ 16"),
        ("select (select 1, 2)", "42601 subquery must return only one column @ 8"),
        ("select * from (select 1)", "42601 subquery in FROM must have an alias @ 15"),
        (
            "insert into t (id, id) values (1, 2)",
            "42701 column \"id\" specified more than once @ 20",
        ),
        (
            "insert into t (id) values (1, 2)",
            "42601 INSERT has more expressions than target columns @ 31",
        ),
        (
            "insert into t (nope) values (1)",
            "42703 column \"nope\" of relation \"t\" does not exist @ 16",
        ),
        (
            "insert into t (id, a) values (1, true)",
            "42804 column \"a\" is of type integer but expression is of type boolean @ 34",
        ),
        ("update t set a = 1, a = 2", "42601 multiple assignments to same column \"a\" @ 21"),
        (
            "insert into u (id) values (1) on conflict (name) do nothing",
            "42P10 there is no unique or exclusion constraint matching the ON CONFLICT specification",
        ),
        ("select $1", "ok"),
        ("select $1 is null, $2", "ok"),
        ("select lower(1)", "42883 function lower(integer) does not exist @ 8"),
        ("select 1::nope", "42704 type \"nope\" does not exist @ 11"),
        (
            "select distinct on (a) a from t order by s, a",
            "42P10 SELECT DISTINCT ON expressions must match initial ORDER BY expressions @ 1",
        ),
        ("select 1 limit 'x'", "22P02 invalid input syntax for type bigint: \"x\" @ 16"),
        ("drop table nope", "42P01 table \"nope\" does not exist"),
        ("drop view t", "42809 \"t\" is not a view"),
        ("create table t2 (id int, id int)", "42701 column \"id\" specified more than once"),
        (
            "create function f() returns int as 'select 1' language sql",
            "0A000 CREATE FUNCTION is not supported yet",
        ),
        (
            "merge into t using u on true when matched then delete",
            "0A000 MERGE is not supported yet",
        ),
    ] {
        let own = match world.plan(sql) {
            Ok(_) => "ok".to_string(),
            Err(error) => describe(&error),
        };
        assert_eq!(own, expected, "{sql}");
    }
}

fn chained_ctes(count: usize) -> String {
    let rest: String =
        (1..count).map(|i| format!(", c{i} as (select a from c{})", i - 1)).collect();
    format!("with c0 as (select 1 as a){rest} select a from c{}", count - 1)
}

#[test]
fn nesting_too_deep_is_refused_not_fatal() {
    let world = World::new();
    for sql in [
        format!("select {}1{}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("select {}1", "- ".repeat(100_000)),
        format!("select {}1", "not ".repeat(100_000)),
        format!("select 1{}", " + 1".repeat(100_000)),
        format!("select {}1{}", "(select ".repeat(50_000), ")".repeat(50_000)),
        format!("select * from {}t{}", "(".repeat(50_000), ")".repeat(50_000)),
        format!("select 1{}", " union select 1".repeat(50_000)),
        format!("select {}1{}", "array[".repeat(50_000), "]".repeat(50_000)),
        format!("select 1{}", "::int".repeat(100_000)),
        format!("select {}1{}", "(".repeat(300), format!("{})", " + 1".repeat(300)).repeat(300)),
        format!("{}select 1", "prepare a as ".repeat(5_000)),
        chained_ctes(3_000),
    ] {
        let refused = refusal(&world, &sql);
        assert!(refused.starts_with("54001 stack depth limit exceeded"), "{refused:.60}");
    }
    // Long but flat is fine.
    let flat = format!("select 1 where {}", vec!["1 = 1"; 20_000].join(" or "));
    assert!(world.plan(&flat).is_ok());
    let deep = format!("select {}1{}", "(".repeat(300), ")".repeat(300));
    assert!(world.plan(&deep).is_ok());
}

#[test]
fn parameters_take_their_types_from_where_they_stand() {
    let world = World::new();
    for (sql, expected) in [
        ("select * from t where id = $1", vec![SqlType::Int4]),
        ("select $1 + a, $2 || s from t", vec![SqlType::Int4, SqlType::Text]),
        (
            "insert into t (id, s, d, ts) values ($1, $2, $3, $4)",
            vec![SqlType::Int4, SqlType::Text, SqlType::Numeric, SqlType::Timestamp],
        ),
        ("update t set d = $1 where s = $2", vec![SqlType::Numeric, SqlType::Text]),
        ("select * from t where id = any($1)", vec![SqlType::Array(Box::new(SqlType::Int4))]),
        ("select * from t limit $1 offset $2", vec![SqlType::Int8, SqlType::Int8]),
        ("select $1::date", vec![SqlType::Date]),
        ("select $1", vec![SqlType::Text]),
        ("select coalesce(a, $1) from t", vec![SqlType::Int4]),
        ("insert into t (id) select $1", vec![SqlType::Int4]),
        ("select * from t where id in ($1, $2)", vec![SqlType::Int4, SqlType::Int4]),
        ("select case when a > $1 then $2 else s end from t", vec![SqlType::Int4, SqlType::Text]),
    ] {
        let planned = world.plan(sql).unwrap_or_else(|e| panic!("{sql}: {}", describe(&e)));
        assert_eq!(planned.params, expected, "{sql}");
    }
}

#[test]
fn columns_are_named_as_in_postgresql() {
    let world = World::new();
    for (sql, expected) in [
        ("select 1, 'x', a + 1 from t", "?column?,?column?,?column?"),
        ("select count(*), sum(a), upper('x'), now()", "count,sum,upper,now"),
        (
            "select case when true then 1 end, coalesce(a, 1), nullif(1, 2) from t",
            "case,coalesce,nullif",
        ),
        (
            "select a::text, '1'::int, cast(1 as numeric), date '2024-01-01' from t",
            "a,int4,numeric,date",
        ),
        (
            "select array[1], row(1), exists(select 1), (select a from t limit 1)",
            "array,row,exists,a",
        ),
        ("select t.*, u.id from t join u on true", "id,a,s,d,ts,id"),
        ("select * from t join u using (id)", "id,a,s,d,ts,t_id,name"),
        (
            "select extract(year from ts), position('a' in s), trim(s) from t",
            "extract,position,btrim",
        ),
        ("select * from generate_series(1, 2) g", "g"),
        (
            "select * from unnest(array[1], array['a']) with ordinality as x (n, t)",
            "n,t,ordinality",
        ),
        ("values (1, 2)", "column1,column2"),
        ("select current_date, current_user, true", "current_date,current_user,bool"),
        ("select * from v", "id,next"),
    ] {
        let sql = if sql.contains("count(*)") { format!("{sql} from t") } else { sql.to_string() };
        let planned = world.plan(&sql).unwrap_or_else(|e| panic!("{sql}: {}", describe(&e)));
        let names: Vec<String> =
            planned.columns.expect("rows").into_iter().map(|c| c.name).collect();
        assert_eq!(names.join(","), expected, "{sql}");
    }
}

fn tree(world: &World, sql: &str) -> Rel {
    let planned = world.plan(sql).unwrap_or_else(|e| panic!("{sql}: {}", describe(&e)));
    match planned.plan {
        Plan::Query(query) => query.rel,
        other => panic!("{sql} is not relational: {other:?}"),
    }
}

fn nodes(mut rel: Rel) -> Vec<String> {
    let mut names = Vec::new();
    rel.walk_mut(0, &mut |rel, _| {
        names.push(match &rel.node {
            RelNode::Join { kind: JoinKind::Semi, .. } => "semi join".to_string(),
            RelNode::Join { kind: JoinKind::Anti, .. } => "anti join".to_string(),
            RelNode::Join { on, .. } => format!("join on {}", on.len()),
            RelNode::Apply { kind: ApplyKind::Scalar, .. } => "scalar".to_string(),
            RelNode::Apply { kind: ApplyKind::All { .. }, .. } => "all".to_string(),
            RelNode::Apply { kind: ApplyKind::Lateral, .. } => "lateral".to_string(),
            RelNode::RecursiveUnion { .. } => "recursive".to_string(),
            RelNode::CteRef { .. } => "cte".to_string(),
            RelNode::Scan { table, .. } => table.name.clone(),
            _ => return,
        });
    });
    names
}

#[test]
fn subqueries_become_joins_where_that_is_the_same() {
    let world = World::new();
    for (sql, expected) in [
        (
            "select * from t where exists (select 1 from u where u.t_id = t.id)",
            vec!["semi join", "t", "u"],
        ),
        (
            "select * from t where not exists (select 1 from u where u.t_id = t.id)",
            vec!["anti join", "t", "u"],
        ),
        (
            "select * from t where a in (select t_id from u) and s = 'x'",
            vec!["semi join", "t", "u"],
        ),
        ("select * from t where a not in (select t_id from u)", vec!["all", "t", "u"]),
        (
            "select * from t where a = (select max(t_id) from u where u.id = t.id)",
            vec!["scalar", "t", "u"],
        ),
        (
            "select * from t, lateral (select * from u where u.t_id = t.id limit 1) x",
            vec!["lateral", "t", "u"],
        ),
        ("select * from t join u on t.id = u.t_id and t.a > 1", vec!["join on 1", "t", "u"]),
        (
            "with x as (select * from t) select * from x join u on x.id = u.t_id",
            vec!["join on 1", "t", "u"],
        ),
        (
            "with x as (select * from t) select * from x a join x b on a.id = b.id",
            vec!["t", "join on 1", "cte", "cte"],
        ),
        (
            "with recursive r(n) as (select 1 union all select n + 1 from r where n < 5) select count(*) from r",
            vec!["recursive", "cte", "cte"],
        ),
    ] {
        assert_eq!(nodes(tree(&world, sql)), expected, "{sql}");
    }
}

#[test]
fn writes_carry_defaults_checks_and_conflicts() {
    let world = World::new();
    let planned = world
        .plan("insert into u (id) values ($1) on conflict (id) do update set name = excluded.name || u.name returning id, name")
        .expect("it binds");
    let Plan::Write(write) = planned.plan else { panic!("not a write") };
    assert_eq!(write.checks.len(), 1);
    assert_eq!(write.returning.expect("RETURNING").exprs.len(), 2);
    let planner::WriteOp::Insert(insert) = write.op else { panic!("not an insert") };
    let planner::InsertSource::Values(rows) = insert.source else { panic!("not values") };
    assert_eq!(rows[0].len(), 3, "a whole row, defaults included");
    assert_eq!(rows[0][2].as_const().and_then(|d| d.as_str()), Some("x"));
    let planner::ConflictAction::Update { set, .. } = insert.on_conflict.expect("a clause").action
    else {
        panic!("not an update")
    };
    assert_eq!(set[0].1.columns(), [2, 5], "existing row, then excluded row");
}

#[test]
fn statements_of_pgbench_and_dumps_are_understood() {
    let world = World::new();
    for sql in [
        "begin isolation level repeatable read, read only, deferrable",
        "abort",
        "end",
        "commit and chain",
        "savepoint a",
        "rollback to savepoint a",
        "release a",
        "set session characteristics as transaction isolation level serializable",
        "set local search_path to a, \"B\"",
        "set time zone 'UTC'",
        "set time zone interval '1' hour to minute",
        "set names 'utf8'",
        "set consistency = 'causal'",
        "set a.b = 1",
        "reset all",
        "show all",
        "discard all",
        "vacuum analyze accounts",
        "vacuum (full, analyze) accounts",
        "analyze",
        "checkpoint",
        "truncate table accounts, t restart identity cascade",
        "copy accounts from stdin with (freeze on)",
        "copy accounts from stdin",
        "copy t (id, a) to stdout with csv header",
        "copy (select 1) to stdout (format binary)",
        "copy t from stdin delimiter ',' null as ''",
        "create unlogged table x (id int) with (fillfactor = 100)",
        "create table x (id bigint generated by default as identity (start 10 increment by 2), primary key (id))",
        "create table x (like t including all, extra text)",
        "create table x as select * from t with no data",
        "select * into x from t",
        "alter table accounts add primary key (aid)",
        "alter table only t add constraint c foreign key (a) references t (id) on delete cascade not valid",
        "alter table t add column n int not null default 5, drop column if exists zz cascade",
        "alter table t alter column a type bigint using a::bigint, alter s set default 'x', alter a drop not null",
        "alter table t rename column a to b",
        "alter table t rename to tt",
        "alter table t owner to shanghai",
        "alter table t set (conflict_resolution = 'manual')",
        "create sequence sq as int increment by 2 minvalue 1 no maxvalue start with 3 cache 5 cycle owned by t.a",
        "create unique index concurrently if not exists i on t using btree (a desc nulls last, s) include (d) where a > 0",
        "create or replace view v2 (x, y) as select id, a from t",
        "create database d with owner = shanghai encoding 'UTF8' template template0 connection limit 5",
        "drop database if exists d with (force)",
        "create user joe with password 'x' createdb login",
        "create role r nologin in role shanghai",
        "alter role shanghai set work_mem = '1MB'",
        "drop role if exists nobody",
        "grant select, insert on t to public",
        "revoke all privileges on t from public",
        "grant shanghai to shanghai",
        "comment on table t is 'x'",
        "comment on column t.a is null",
        "create schema s authorization shanghai create table inner_one (id int)",
        "drop table if exists nope, t cascade",
        "drop index u_name",
        "reindex table t",
        "cluster t",
        "lock table t in access exclusive mode nowait",
        "prepare p (int) as select * from t where id = $1",
        "execute p (1)",
        "deallocate all",
        "declare c scroll cursor with hold for select * from t",
        "fetch forward 10 from c",
        "move all in c",
        "close c",
        "listen ch",
        "notify ch, 'x'",
        "unlisten *",
        "explain (analyze, costs off, format json) select * from t",
        "explain analyze verbose delete from t",
        "select * from t where id = 1 for no key update skip locked",
        "insert into serials overriding system value values (1, 2)",
        "insert into serials default values returning *",
        "with w as (insert into t (id) values (9) returning id) select * from w",
        "select grouping(a, s), a, s, count(*) from t group by cube (a, s) having count(*) > 0 order by 1, 2",
        "select sum(a) over w, avg(a) over (w rows 2 preceding) from t window w as (partition by s order by id)",
        "select string_agg(distinct s, ',' order by s) filter (where a > 0) from t",
        "select * from (t join u on t.id = u.t_id) as j where j.name = 'x'",
        "select * from t left join u on t.id = u.t_id full join nokey n on n.a = t.a",
        "select t.id from t natural left join u",
        "(select 1 union all (select 2 order by 1 limit 1)) intersect select 1",
        "select id, unnest(array[a, a]) from t order by 2",
        "select array_agg(x order by x desc) from generate_series(1, 10, 3) x",
        "update t set (a, s) = (select 1, 'x') where id = 1",
        "update t as q set a = default, s = q.s || 'x' where q.id = 1 returning q.*, a + 1 as b",
        "delete from t where exists (select 1 from u where u.t_id = t.id) returning *",
        "select a.attname, format_type(a.atttypid, a.atttypmod) from pg_catalog.pg_attribute a where a.attrelid = 't'::regclass and a.attnum > 0 order by a.attnum",
        "select n.nspname, c.relname, case c.relkind when 'r' then 'table' end from pg_catalog.pg_class c left join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p', '') and n.nspname !~ '^pg_toast' and pg_catalog.pg_table_is_visible(c.oid) order by 1, 2",
        "select c.relname from pg_class c where c.relname operator(pg_catalog.~) '^(t)$' collate pg_catalog.default",
    ] {
        if let Err(error) = world.plan(sql) {
            panic!("{sql}\n{}", describe(&error));
        }
    }
}

#[test]
fn a_from_clause_joins_so_many_tables_and_no_more() {
    let world = World::new();
    let of = |count: usize, between: &str, after: &str| {
        let tables: Vec<String> = (1..count).map(|i| format!("{between}t a{i}{after}")).collect();
        format!("select 1 from t a0{}", tables.concat())
    };
    for (between, after) in [(", ", ""), (" join ", " on true")] {
        assert!(world.plan(&of(256, between, after)).is_ok());
        let refused = refusal(&world, &of(257, between, after));
        assert_eq!(refused, "54000 a FROM clause joins more than 256 tables");
    }
}

#[test]
fn splits_become_keys() {
    let world = World::new();
    let keys = |sql: &str| match world.plan(sql).unwrap_or_else(|e| panic!("{}", describe(&e))).plan
    {
        Plan::Ranges(planner::RangesPlan::SplitAt(keys)) => {
            keys.iter().map(|key| catalog::keys::readable(key, &world.catalog)).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    for (sql, expected) in [
        (
            "alter table t split at values (10), ('20')",
            "/postgres/t/t_pkey/10 /postgres/t/t_pkey/20",
        ),
        (
            "alter table pair split at values (1), (2, 'x')",
            "/postgres/pair/pair_pkey/1 /postgres/pair/pair_pkey/2/x",
        ),
        ("alter index u_name split at values ('a', 3 + 4)", "/postgres/u/u_name/a/7"),
        ("alter index u_t split at values (null)", "/postgres/u/u_t/NULL"),
        ("alter table t split apart", "/postgres/t /table/5.16386/"),
        ("alter index t_pkey split apart", "/postgres/t/t_pkey /postgres/t/2/"),
    ] {
        assert_eq!(keys(sql).join(" "), expected, "{sql}");
    }
    for (sql, expected) in [
        (
            "alter table t split at values (1, 2)",
            "42601 SPLIT AT has more expressions than key columns @ 35",
        ),
        ("alter table t split at values ()", "42601 syntax error at or near \")\" @ 32"),
        (
            "alter table t split at values ('x')",
            "22P02 invalid input syntax for type integer: \"x\" @ 32",
        ),
        (
            "alter table t split at values (sum(1))",
            "42803 aggregate functions are not allowed in VALUES @ 32",
        ),
        ("alter table t split at values ($1)", "42P02 there is no parameter $1"),
        ("alter table nokey split at values (1)", "42704 table \"nokey\" has no primary key @ 13"),
        ("alter table v split apart", "42809 \"v\" is not a table @ 13"),
        ("alter range -1 transfer leader to 1", "42704 range -1 does not exist"),
    ] {
        assert_eq!(refusal(&world, sql), expected, "{sql}");
    }
}
