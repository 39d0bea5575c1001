//! AS OF SYSTEM TIME over the wire, where single rows are read the shortest way.

use crate::node;
use testkit::psql;

#[test]
fn a_row_is_read_as_it_was() {
    let node = node();
    let run = |sql: &str| psql(&node.server(), sql).trim().to_owned();
    run("CREATE TABLE t (id int PRIMARY KEY, n int)");
    run("INSERT INTO t VALUES (1, 1), (2, 10)");
    // A transaction's number is an oracle timestamp.
    let then = run("SELECT txid_current()");
    run("UPDATE t SET n = n + 1");
    for _ in 0..3 {
        let past = format!("SELECT n FROM t AS OF SYSTEM TIME '{then}' WHERE id = 1");
        assert_eq!(run(&past), "1");
        let sum = format!("SELECT sum(n) FROM t AS OF SYSTEM TIME '{then}'");
        assert_eq!(run(&sum), "11");
        assert_eq!(run("SELECT n FROM t WHERE id = 1"), "2");
    }
    let prepared = format!(
        "PREPARE p(int) AS SELECT n FROM t AS OF SYSTEM TIME '{then}' WHERE id = $1; \
         EXECUTE p(1); EXECUTE p(2)"
    );
    let numbers: Vec<String> =
        run(&prepared).lines().filter(|l| l.parse::<i32>().is_ok()).map(str::to_owned).collect();
    assert_eq!(numbers, ["1", "10"]);
}
