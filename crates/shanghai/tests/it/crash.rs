//! kill -9 under load: what was acknowledged is there, and no half transaction.

use crate::pgbench::assert_balanced;
use crate::{node, soak};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use testkit::{NodeProcess, psql};
use tokio_postgres::NoTls;

/// Each writer commits pairs of rows (n, side) and remembers which n were acknowledged.
async fn writer(url: String, first: i64, step: i64, stop: Arc<AtomicBool>) -> Vec<i64> {
    let mut acknowledged = Vec::new();
    let Ok((mut client, connection)) = tokio_postgres::connect(&url, NoTls).await else {
        return acknowledged;
    };
    tokio::spawn(connection);
    let mut n = first;
    while !stop.load(Ordering::Relaxed) {
        let committed = async {
            let transaction = client.transaction().await?;
            transaction.execute("INSERT INTO pairs VALUES ($1, 'left')", &[&n]).await?;
            transaction.execute("INSERT INTO pairs VALUES ($1, 'right')", &[&n]).await?;
            transaction.commit().await
        };
        if committed.await.is_err() {
            break;
        }
        acknowledged.push(n);
        n += step;
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_commits_survive_kill_9_and_none_is_half_there() {
    let mut node = node();
    psql(&node.server(), "CREATE TABLE pairs (n bigint, side text, PRIMARY KEY (n, side))");
    let rounds = if soak() { 20 } else { 4 };
    let mut acknowledged: BTreeSet<i64> = BTreeSet::new();
    let mut first = 0;
    for round in 0..rounds {
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..8)
            .map(|w| tokio::spawn(writer(node.server().url(), first + w, 8, stop.clone())))
            .collect();
        // Different moments: some within the first commits, some later.
        tokio::time::sleep(Duration::from_millis(150 + 170 * (round % 7))).await;
        node.kill9();
        stop.store(true, Ordering::Relaxed);
        let before = acknowledged.len();
        for writer in writers {
            acknowledged.extend(writer.await.unwrap());
        }
        assert!(acknowledged.len() > before, "round {round} committed nothing");
        let started = Instant::now();
        restart(&mut node);
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        let halves =
            psql(&node.server(), "SELECT n FROM pairs GROUP BY n HAVING count(*) <> 2 ORDER BY n");
        assert_eq!(halves, "", "half transactions after round {round}");
        let present: BTreeSet<i64> = psql(&node.server(), "SELECT DISTINCT n FROM pairs")
            .lines()
            .map(|line| line.parse().unwrap())
            .collect();
        let lost: Vec<_> = acknowledged.difference(&present).collect();
        assert!(lost.is_empty(), "round {round} lost {lost:?}");
        first = present.last().copied().unwrap_or(0) + 8 - present.last().copied().unwrap_or(0) % 8;
    }
}

fn restart(node: &mut NodeProcess) {
    node.start();
    node.wait_ready();
}

#[test]
fn tpcb_balances_after_a_kill_in_the_middle() {
    let mut node = node();
    testkit::pgbench(&node.server(), &["-i", "-s", "1", "-q"]);
    let mut load = node
        .server()
        .command("pgbench")
        .args(["-c", "8", "-j", "2", "-T", "30", "-n", "-M", "prepared"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    node.kill9();
    load.wait().unwrap();
    restart(&mut node);
    assert_balanced(&node.server());
    let moved = psql(&node.server(), "SELECT count(*) > 0 FROM pgbench_history");
    assert_eq!(moved.trim(), "t");
}
