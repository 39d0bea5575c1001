//! 195 short statements and PostgreSQL 15's answers (`tests/semantics.txt`), most of which a plain
//! relational engine would answer differently.

use crate::{file, node};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// Statements whose answer is not compared, and why. Everything else must match.
const NOT_COMPARED: [(&str, &str); 8] = [
    ("select now(), current_date", "the time of the recording"),
    ("select current_timestamp::date", "the time of the recording"),
    ("select pg_catalog.upper('a'), pg_catalog.version()", "our own version"),
    ("select current_schema, current_user", "the recording's user and database"),
    ("select id from t tablesample", "random"),
    ("explain", "our own plans"),
    ("show server_version", "our own version"),
    ("select current_setting('server_version')", "our own version"),
];

/// Types and features that are refused with a clear error for now.
const NOT_THERE_YET: [&str; 4] =
    ["select 1::bit", "select inet", "select point", "create temp table"];

/// Statements of several rows whose order nothing fixes. The recording joined rows with `|` as well.
const UNORDERED: [&str; 3] = [
    "select a, count(*) from t group by rollup(a)",
    "select grouping(a), a, count(*) from t group by grouping sets ((a),())",
    "select id, a from t group by id",
];

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_postgresqls() {
    let node = node();
    let (client, connection) = tokio_postgres::connect(&node.server().url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
        .batch_execute(
            "SET timezone = 'UTC';
             CREATE TABLE t (id int primary key, a int, s text, d numeric(12,2), ts timestamp);
             INSERT INTO t VALUES (1, 10, 'abc', 10.50, '2023-11-14 22:13:20.123456'),
                 (2, null, 'B', -7.00, null), (3, 2147483647, null, null, '1970-01-01 00:00:00')",
        )
        .await
        .unwrap();
    let text = std::fs::read_to_string(file("tests/semantics.txt")).unwrap();
    let mut compared = 0;
    let mut wrong = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (sql, expected) = line.split_once("  => ").expect("statement => answer");
        if NOT_COMPARED.iter().any(|(start, _)| sql.starts_with(start)) {
            continue;
        }
        let got = answer(&client, sql).await;
        let expected = expected.trim_start().trim_end_matches('|');
        if NOT_THERE_YET.iter().any(|start| sql.starts_with(start)) {
            assert!(got.starts_with("ERROR"), "{sql} works now: compare it\n{got}");
            continue;
        }
        compared += 1;
        let same = match UNORDERED.contains(&sql) {
            true => sorted(&got) == sorted(expected),
            false => got == expected,
        };
        if !same {
            wrong.push(format!("{sql}\n  expected {expected}\n  got      {got}"));
        }
    }
    assert!(compared > 170, "{compared} compared");
    assert!(wrong.is_empty(), "{} of {compared} differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn sorted(answer: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = answer.split('|').collect();
    parts.sort_unstable();
    parts
}

/// Runs a statement in a transaction that is rolled back.
async fn answer(client: &Client, sql: &str) -> String {
    client.batch_execute("BEGIN").await.unwrap();
    let answer = match client.simple_query(&sql.replace("\\;", ";")).await {
        Ok(messages) => {
            let mut values: Vec<String> = Vec::new();
            for message in messages {
                if let SimpleQueryMessage::Row(row) = message {
                    values.extend((0..row.len()).map(|i| row.get(i).unwrap_or("NULL").to_owned()));
                }
            }
            // The recording has its lines joined with `|` as well.
            values.join("|").replace('\n', "|")
        }
        Err(error) => match error.as_db_error() {
            Some(error) => {
                let at = match error.position() {
                    Some(tokio_postgres::error::ErrorPosition::Original(at)) => {
                        format!(" at character {at}")
                    }
                    _ => String::new(),
                };
                format!("ERROR:  {}{at}", error.message())
            }
            None => format!("connection: {error}"),
        },
    };
    client.batch_execute("ROLLBACK").await.unwrap();
    answer
}
