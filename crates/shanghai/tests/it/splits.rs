//! Ranges are split and their leaders moved, in SQL, while pgbench runs.

use crate::pgbench::assert_balanced;
use crate::{binary, node, soak};
use std::time::{Duration, Instant};
use testkit::{NodeProcess, Server, pgbench, psql};

const TABLES: [&str; 3] = ["pgbench_branches", "pgbench_tellers", "pgbench_history"];

fn seconds() -> u64 {
    if soak() { 30 } else { 6 }
}

/// TPC-B beside `moves`, which is called over and over; the report.
fn tpcb(server: &Server, args: &[&str], mut moves: impl FnMut(u64)) -> String {
    let seconds = seconds().to_string();
    let load = [&["-c", "6", "-j", "2", "-M", "prepared", "-n", "-T", seconds.as_str()][..], args]
        .concat();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| pgbench(server, &load));
        let mut round = 0;
        while !running.is_finished() {
            moves(round);
            round += 1;
            std::thread::sleep(Duration::from_millis(250));
        }
        running.join().unwrap()
    })
}

/// As the issue has it: accounts in four ranges, the other tables each in their own.
fn split(server: &Server, scale: u64) {
    for quarter in 1..4 {
        let at = quarter * scale * 25_000;
        psql(server, &format!("ALTER TABLE pgbench_accounts SPLIT AT VALUES ({at})"));
    }
    for table in TABLES {
        psql(server, &format!("ALTER TABLE {table} SPLIT APART"));
    }
}

#[test]
fn no_transaction_fails_while_its_tables_are_split() {
    let node = node();
    let server = node.server();
    pgbench(&server, &["-i", "-s", "1", "-q"]);
    let mut ranges = 3;
    let report = tpcb(&server, &[], |round| match round {
        0 => split(&server, 1),
        1..20 => {
            let at = 1 + round * 4_999;
            psql(&server, &format!("ALTER TABLE pgbench_accounts SPLIT AT VALUES ({at})"));
            ranges += 1;
        }
        _ => {}
    });
    let failed = report.lines().find(|line| line.contains("number of failed transactions"));
    assert!(failed.is_some_and(|line| line.contains(": 0 ")), "{report}");
    assert!(ranges > 7, "{ranges} ranges");
    let count = "SELECT count(*) FROM shanghai.ranges WHERE table_name = 'pgbench_accounts'";
    assert_eq!(psql(&server, count).trim(), ranges.to_string());
    assert_balanced(&server);
}

#[test]
fn balances_hold_while_leaders_of_split_tables_move() {
    let mut nodes = NodeProcess::cluster(binary(), 3);
    for node in &mut nodes {
        node.wait_ready();
    }
    let server = nodes[0].server();
    let spread = "SELECT count(*) > 0 AND bool_and(cardinality(voters) = 3) FROM shanghai.ranges";
    let started = Instant::now();
    while psql(&server, spread).trim() != "t" {
        assert!(started.elapsed() < Duration::from_secs(30), "three replicas of every range");
        std::thread::sleep(Duration::from_millis(200));
    }
    pgbench(&server, &["-i", "-s", "1", "-q"]);
    let mut moved = 0;
    let report = tpcb(&server, &["--max-tries", "100"], |round| {
        if round == 0 {
            split(&server, 1);
        }
        let of = "SELECT range_id FROM shanghai.ranges WHERE table_name LIKE 'pgbench%'";
        let ranges = psql(&server, of);
        let ranges: Vec<&str> = ranges.lines().collect();
        let range = ranges[round as usize % ranges.len()];
        let sql = format!("ALTER RANGE {range} TRANSFER LEADER TO {}", 1 + round % 3);
        // A node that is behind may not take over in time.
        let output = server.command("psql").args(["-X", "-c", &sql]).output().unwrap();
        moved += u64::from(output.status.success());
    });
    eprintln!("{moved} leaders moved\n{report}");
    assert!(moved > 3, "{moved} leaders moved");
    let failed = report.lines().find(|line| line.contains("number of failed transactions"));
    assert!(failed.is_some_and(|line| line.contains(": 0 ")), "{report}");
    for node in &nodes {
        assert_balanced(&node.server());
    }
}
