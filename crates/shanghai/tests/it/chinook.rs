//! A real schema with 15,600 rows, loaded by psql; every answer equals PostgreSQL's.

use crate::{file, node};
use testkit::{Postgres, psql_file};

#[test]
fn chinook_loads_and_answers_as_postgresql_does() {
    let postgres = Postgres::start();
    let node = node();
    let script = file("examples/chinook/chinook.sql");
    let mut answers = Vec::new();
    for server in [postgres.server(), node.server()] {
        let (_, errors) = psql_file(&server, &script, &["-q", "-v", "ON_ERROR_STOP=1"]);
        let errors: Vec<&str> = errors.lines().filter(|line| !line.contains("NOTICE")).collect();
        assert!(errors.is_empty(), "{errors:#?}");
        let chinook = server.with_database("chinook");
        let (answer, errors) = psql_file(&chinook, &file("examples/chinook/analysis.sql"), &[]);
        assert!(errors.is_empty(), "{errors}");
        answers.push(answer);
    }
    assert!(answers[0].lines().count() > 100, "the analysis answers:\n{}", answers[0]);
    for (expected, got) in answers[0].split('\n').zip(answers[1].split('\n')) {
        assert_eq!(expected, got, "PostgreSQL's on the left");
    }
    assert_eq!(answers[0], answers[1]);
}
