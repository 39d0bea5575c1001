//! The `.slt` scripts of `tests/slt`, against Shanghai and against PostgreSQL.

use crate::{file, node};
use testkit::{Postgres, Server, psql, slt};

async fn run_all(server: &Server) {
    let mut scripts: Vec<_> = std::fs::read_dir(file("tests/slt"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "slt"))
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    let mut failures = Vec::new();
    for script in scripts {
        let name = script.file_stem().unwrap().to_string_lossy().into_owned();
        psql(server, &format!("CREATE DATABASE \"slt_{name}\""));
        if let Err(failure) = slt::run(&server.with_database(&format!("slt_{name}")), &script).await
        {
            failures.push(format!("{}: {failure}", script.display()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_pass_on_shanghai() {
    let node = node();
    run_all(&node.server()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_pass_on_postgresql() {
    let postgres = Postgres::start();
    run_all(&postgres.server()).await;
}
