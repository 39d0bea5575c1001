//! pgbench, unmodified: its own schema and scripts, in all three protocols.

use crate::{node, soak};
use testkit::{Server, pgbench, psql};

/// TPC-B's invariant: every transfer is in all three balances and in the history.
pub fn assert_balanced(server: &Server) {
    let sums = psql(
        server,
        "SELECT (SELECT coalesce(sum(abalance), 0) FROM pgbench_accounts),
                (SELECT coalesce(sum(tbalance), 0) FROM pgbench_tellers),
                (SELECT coalesce(sum(bbalance), 0) FROM pgbench_branches),
                (SELECT coalesce(sum(delta), 0) FROM pgbench_history)",
    );
    let sums: Vec<&str> = sums.trim().split('|').collect();
    assert_eq!(sums.len(), 4, "{sums:?}");
    assert!(sums.iter().all(|sum| *sum == sums[0]), "balances differ: {sums:?}");
}

#[test]
fn the_built_in_scripts_run_in_every_protocol_and_balance() {
    let node = node();
    let server = node.server();
    let (scale, seconds) = if soak() { ("10", "20") } else { ("2", "2") };
    pgbench(&server, &["-i", "-s", scale, "-q"]);
    for script in ["select-only", "simple-update", "tpcb-like"] {
        for protocol in ["simple", "extended", "prepared"] {
            let report = pgbench(
                &server,
                &["-b", script, "-M", protocol, "-c", "8", "-j", "2", "-T", seconds, "-n"],
            );
            let failed = report.lines().find(|line| line.contains("number of failed transactions"));
            assert!(
                failed.is_some_and(|line| line.contains(": 0 ")),
                "{script} {protocol}: {report}"
            );
            let done = report
                .lines()
                .find_map(|line| line.strip_prefix("number of transactions actually processed: "))
                .and_then(|count| count.trim().parse::<u64>().ok());
            assert!(done.is_some_and(|done| done > 0), "{script} {protocol}: {report}");
        }
    }
    // simple-update moves accounts and history only: balance TPC-B's own on a fresh schema.
    pgbench(&server, &["-i", "-s", scale, "-q"]);
    pgbench(&server, &["-c", "8", "-j", "2", "-T", seconds, "-n"]);
    assert_balanced(&server);
}
