//! Sessions interleaved by script (`tests/conversations`), against Shanghai and against PostgreSQL.
//!
//! `UPDATE_GOLDENFILES=1` writes the transcripts anew, from PostgreSQL: what Shanghai answers never
//! becomes what is expected.

use crate::{file, node};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use testkit::conversation::{Conversation, Side};
use testkit::{Postgres, Server, psql};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Scripts that run at the same time, each in a database of its own: most of a run is waiting.
const AT_ONCE: usize = 6;

/// The differences that are allowed, as scripts name them. Nothing else may be marked as one side's.
const DIFFERENCES: [&str; 2] =
    ["updates of the primary key met by a waiter", "which of two SERIALIZABLE transactions fails"];

fn scripts() -> Vec<PathBuf> {
    let mut scripts: Vec<_> = std::fs::read_dir(file("tests/conversations"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    scripts.sort();
    assert!(scripts.len() >= 25, "{} scripts", scripts.len());
    scripts
}

fn name(script: &Path) -> String {
    script.file_stem().unwrap().to_string_lossy().into_owned()
}

async fn run_all(server: &Server, side: Side) {
    let bless = side == Side::Postgresql && std::env::var_os("UPDATE_GOLDENFILES").is_some();
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for script in scripts() {
        psql(server, &format!("CREATE DATABASE \"{}\"", name(&script)));
        let (server, turns) = (server.with_database(&name(&script)), turns.clone());
        running.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            let result = run(&server, side, &script, bless).await;
            result.map_err(|differences| format!("{}\n{differences}", script.display()))
        });
    }
    let results = running.join_all().await;
    let failures: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    assert!(failures.is_empty(), "{} scripts:\n{}", failures.len(), failures.join("\n"));
}

async fn run(server: &Server, side: Side, script: &Path, bless: bool) -> Result<(), String> {
    let conversation = Conversation::load(script)?;
    if bless {
        let text = conversation.bless(server).await?;
        return std::fs::write(script, text).map_err(|error| error.to_string());
    }
    conversation.check(server, side).await
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_go_as_on_postgresql() {
    let node = node();
    run_all(&node.server(), Side::Shanghai).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_are_postgresqls() {
    let postgres = Postgres::start();
    let server = postgres.server();
    // A second of waiting before each circle is found would be most of the test.
    psql(&server, "ALTER SYSTEM SET deadlock_timeout = '50ms'");
    psql(&server, "SELECT pg_reload_conf()");
    run_all(&server, Side::Postgresql).await;
}

#[test]
fn only_named_differences_are_allowed() {
    for script in scripts() {
        let conversation = Conversation::load(&script).unwrap();
        let named = conversation.remark("Differs");
        assert_eq!(conversation.differs(), named.is_some(), "{}", script.display());
        if let Some(named) = named {
            assert!(DIFFERENCES.contains(&named), "{}: {named}", script.display());
        }
    }
}
