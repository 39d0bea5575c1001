//! The workloads and checkers together, on the store in memory.

use core_domain::{IsolationLevel, KvStore};
use std::sync::Arc;
use std::time::Duration;
use testkit::MemoryKv;
use testkit::check::{self, AnomalyKind, Model, Outcome};
use testkit::workload::bank::Bank;
use testkit::workload::list_append::ListAppend;
use testkit::workload::long_fork::LongFork;
use testkit::workload::registers::Registers;
use testkit::workload::write_skew::WriteSkew;
use testkit::workload::{Load, Nodes};

fn nodes() -> Nodes {
    Nodes::of([(1, Arc::new(MemoryKv::new()) as Arc<dyn KvStore>)])
}

/// In memory a client does tens of thousands in that time.
const LOAD: Load =
    Load { clients: 8, duration: Duration::from_millis(400), turns_max: 2000, seed: 1 };

#[tokio::test(flavor = "multi_thread")]
async fn lists_keep_what_their_level_promises_and_no_more() {
    for (isolation, weak) in [
        (IsolationLevel::ReadCommitted, AnomalyKind::GSingle),
        (IsolationLevel::RepeatableRead, AnomalyKind::G2),
    ] {
        let workload = ListAppend { load: LOAD, isolation, keys: 6, ops_max: 5 };
        let history = workload.run(&nodes()).await;
        let committed = history.count(Outcome::Committed);
        assert!(committed > 100, "{committed} committed");
        let found = check::list_append::violations(&history, Model::strong(isolation));
        assert!(found.is_empty(), "{isolation:?}: {}", found[0]);
        // What the level allows happens too, or the workload would show nothing.
        let all = check::list_append::check(&history);
        assert!(all.iter().any(|anomaly| anomaly.kind == weak), "{isolation:?} shows no {weak:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registers_accounts_and_forks_are_clean() {
    let operations = Registers { load: LOAD, keys: 3 }.run(&nodes()).await;
    assert!(operations.len() > 100, "{} operations", operations.len());
    assert_eq!(check::register::check(&operations), []);
    let bank = Bank { load: LOAD, isolation: IsolationLevel::ReadCommitted, accounts: 6 };
    let statements = bank.run(&nodes()).await;
    assert!(statements.len() > 20, "{} statements", statements.len());
    assert_eq!(check::bank::check(&statements, bank.accounts, bank.total()), []);
    let isolation = IsolationLevel::RepeatableRead;
    let glances = LongFork { load: LOAD, isolation }.run(&nodes()).await;
    assert!(glances.len() > 20, "{} glances", glances.len());
    assert_eq!(check::long_fork::check(&glances), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn anomaly_write_skew_under_snapshot_isolation() {
    let isolation = IsolationLevel::RepeatableRead;
    let taken = WriteSkew { load: LOAD, isolation }.run(&nodes()).await;
    assert!(!check::write_skew::check(&taken.takes, &taken.state).is_empty());
}
