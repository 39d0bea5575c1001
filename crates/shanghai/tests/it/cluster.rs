//! Three nodes as real processes: they form one cluster, and each can be lost in turn.

use crate::{binary, soak};
use std::time::{Duration, Instant};
use testkit::{NodeProcess, Server};

/// psql's answer, or its error.
fn ask(server: &Server, sql: &str) -> Result<String, String> {
    let output = server
        .command("psql")
        .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql])
        .output()
        .expect("psql is installed");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn until(what: &str, limit: Duration, mut condition: impl FnMut() -> Result<bool, String>) {
    let deadline = Instant::now() + limit;
    loop {
        match condition() {
            Ok(true) => return,
            last if Instant::now() > deadline => panic!("never: {what}; last: {last:?}"),
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

#[test]
fn three_nodes_form_one_cluster_and_survive_each_ones_loss() {
    let mut nodes = NodeProcess::cluster(binary(), 3);
    for node in &mut nodes {
        node.wait_ready();
    }
    for node in &nodes {
        until("each node sees three live nodes", Duration::from_secs(20), || {
            ask(&node.server(), "SELECT count(*) FROM shanghai.nodes WHERE state = 'live'")
                .map(|count| count == "3")
        });
    }
    ask(&nodes[0].server(), "CREATE TABLE notes (id int PRIMARY KEY, body text)").unwrap();
    until("every range has three replicas", Duration::from_secs(30), || {
        ask(
            &nodes[0].server(),
            "SELECT count(*) > 0 AND bool_and(cardinality(voters) = 3) FROM shanghai.ranges",
        )
        .map(|all| all == "t")
    });
    let mut written = 0;
    for lost in 0..3 {
        let survivor = (lost + 1) % 3;
        nodes[lost].kill9();
        let cut = Instant::now();
        until("writes resume through a survivor", Duration::from_secs(15), || {
            let sql = format!("INSERT INTO notes VALUES ({written}, 'while {lost} is away')");
            ask(&nodes[survivor].server(), &sql).map(|_| true)
        });
        let gap = cut.elapsed();
        eprintln!("node {lost} killed: writes resumed after {gap:?}");
        // Beside other tests on a busy machine it may be more.
        assert!(!soak() || gap < Duration::from_secs(3), "{gap:?}");
        written += 1;
        for (index, node) in nodes.iter().enumerate() {
            if index != lost {
                let count = ask(&node.server(), "SELECT count(*) FROM notes").unwrap();
                assert_eq!(count, written.to_string(), "as node {index} sees it");
            }
        }
        nodes[lost].start();
        nodes[lost].wait_ready();
        until("the node that came back serves what was written", Duration::from_secs(20), || {
            ask(&nodes[lost].server(), "SELECT count(*) FROM notes")
                .map(|count| count == written.to_string())
        });
    }
}
