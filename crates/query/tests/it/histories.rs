//! Histories of random transactions, judged by the checkers of `testkit`.
//!
//! `SHANGHAI_SEED=7 cargo nextest run -E 'test(=name)'` gives clients and faults the choices of seed
//! 7 again; how their steps interleave is the machine's.

use crate::support::faults::{ALL, Fault, inject};
use crate::support::nodes::impatient;
use crate::support::*;
use core_domain::IsolationLevel::{self, ReadCommitted, RepeatableRead, Serializable};
use core_domain::{Key, KvStore};
use std::time::Duration;
use testkit::check::{self, History, Model, Outcome};
use testkit::workload::Load;
use testkit::workload::bank::Bank;
use testkit::workload::list_append::ListAppend;
use testkit::workload::long_fork::LongFork;
use testkit::workload::registers::Registers;
use testkit::workload::write_skew::WriteSkew;

const LISTS: u64 = 8;

fn seed() -> u64 {
    std::env::var("SHANGHAI_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

fn load(seconds: u64) -> Load {
    let duration = Duration::from_secs(seconds);
    Load { clients: 6, duration, turns_max: usize::MAX, seed: seed() }
}

fn replay() -> String {
    let name = std::thread::current().name().unwrap_or("name").to_owned();
    format!("again: SHANGHAI_SEED={} cargo nextest run -p query -E 'test(={name})'", seed())
}

/// Tables in two ranges, so that commits are of one phase and of two.
async fn cluster(ids: &[u64], split: Key) -> Cluster {
    let cluster = Cluster::start_tuned(ids, impatient()).await;
    cluster.kv(ids[0]).split_at(&split).await.expect("a quiet range splits");
    cluster
}

async fn lists(ids: &[u64], isolation: IsolationLevel, faults: &[Fault]) {
    let mut cluster = cluster(ids, ListAppend::key(LISTS / 2)).await;
    let nodes = cluster.clients();
    let load = load(if faults.is_empty() { 2 } else { 5 });
    let workload = ListAppend { load, isolation, keys: LISTS, ops_max: 4 };
    let (history, done) = tokio::join!(workload.run(&nodes), async {
        match faults {
            [] => Vec::new(),
            faults => inject(&mut cluster, &nodes, faults, load.seed, load.duration / 5 * 4).await,
        }
    });
    judge(&history, Model::strong(isolation), &done);
}

fn judge(history: &History, model: Model, faults: &[String]) {
    let count = |outcome| history.count(outcome);
    println!(
        "{} committed, {} aborted, {} unknown; faults: {faults:?}",
        count(Outcome::Committed),
        count(Outcome::Aborted),
        count(Outcome::Unknown)
    );
    assert!(count(Outcome::Committed) > 50, "too little to judge; {faults:?}");
    let found = check::list_append::violations(history, model);
    let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{}\n{}\nfaults: {faults:?}", texts.join("\n"), replay());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lists_on_one_node_keep_read_committed() {
    lists(&[1], ReadCommitted, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lists_on_one_node_keep_repeatable_read() {
    lists(&[1], RepeatableRead, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lists_on_one_node_keep_serializable() {
    lists(&[1], Serializable, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lists_on_one_node_that_crashes_keep_repeatable_read() {
    lists(&[1], RepeatableRead, &[Fault::Kill]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lists_on_three_nodes_with_faults_keep_read_committed() {
    lists(&[1, 2, 3], ReadCommitted, &ALL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lists_on_three_nodes_with_faults_keep_repeatable_read() {
    lists(&[1, 2, 3], RepeatableRead, &ALL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lists_on_three_nodes_with_faults_keep_serializable() {
    lists(&[1, 2, 3], Serializable, &ALL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn registers_on_three_nodes_with_faults_are_linearizable() {
    let mut cluster = cluster(&[1, 2, 3], Registers::key(2)).await;
    let nodes = cluster.clients();
    let workload = Registers { load: load(5), keys: 4 };
    let faults = inject(&mut cluster, &nodes, &ALL, seed(), Duration::from_secs(4));
    let (operations, done) = tokio::join!(workload.run(&nodes), faults);
    println!("{} operations; faults: {done:?}", operations.len());
    assert!(operations.len() > 100, "too little to judge");
    let found = check::register::check(&operations);
    assert!(found.is_empty(), "{}\n{}\nfaults: {done:?}", found[0], replay());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn money_on_three_nodes_with_faults_is_neither_made_nor_lost() {
    let mut cluster = cluster(&[1, 2, 3], Bank::key(4)).await;
    let nodes = cluster.clients();
    let workload = Bank { load: load(5), isolation: ReadCommitted, accounts: 8 };
    let faults = inject(&mut cluster, &nodes, &ALL, seed(), Duration::from_secs(4));
    let (statements, done) = tokio::join!(workload.run(&nodes), faults);
    println!("{} statements; faults: {done:?}", statements.len());
    assert!(statements.len() > 20, "too little to judge");
    let found = check::bank::check(&statements, workload.accounts, workload.total());
    assert!(found.is_empty(), "{}\n{}\nfaults: {done:?}", found[0], replay());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_writes_are_seen_in_one_order_on_three_nodes() {
    let cluster = cluster(&[1, 2, 3], LongFork::key(1)).await;
    let load = Load { clients: 4, ..load(3) };
    let workload = LongFork { load, isolation: RepeatableRead };
    let glances = workload.run(&cluster.clients()).await;
    println!("{} glances", glances.len());
    assert!(glances.len() > 50, "too little to judge");
    let forks = check::long_fork::check(&glances);
    assert!(forks.is_empty(), "{}\n{}", forks[0], replay());
}

/// Pairs whose sides lie in two ranges.
async fn skews(ids: &[u64], isolation: IsolationLevel) -> (usize, usize) {
    let cluster = cluster(ids, WriteSkew::key(0, 1)).await;
    let taken = WriteSkew { load: load(2), isolation }.run(&cluster.clients()).await;
    let won = taken.state.iter().filter(|(_, sides)| sides[0] || sides[1]).count();
    (check::write_skew::check(&taken.takes, &taken.state).len(), won)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn anomaly_write_skew_under_repeatable_read() {
    let (skews, won) = skews(&[1], RepeatableRead).await;
    assert!(skews > 0 && won > 5, "{skews} skews, {won} pairs taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn write_skew_is_absent_under_serializable() {
    for ids in [&[1][..], &[1, 2, 3]] {
        let (skews, won) = skews(ids, Serializable).await;
        assert!(skews == 0 && won > 5, "{skews} skews, {won} pairs taken on {ids:?}");
    }
}
