//! psql's own commands.

use crate::node;
use testkit::{Server, psql};

fn run(server: &Server, commands: &[&str]) -> (String, String) {
    let mut psql = server.command("psql");
    psql.args(["-X", "-P", "pager=off"]);
    for command in commands {
        psql.args(["-c", command]);
    }
    let output = psql.output().expect("psql is installed");
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn backslash_commands_describe_what_is_there() {
    let node = node();
    let server = node.server();
    let (_, errors) = run(
        &server,
        &["CREATE TABLE parent (id serial PRIMARY KEY, name varchar(20) NOT NULL UNIQUE);
           CREATE TABLE child (id int PRIMARY KEY, parent_id int REFERENCES parent (id), kg numeric(6,2) DEFAULT 1.5, CHECK (kg > 0));
           CREATE INDEX child_kg ON child (kg DESC);
           CREATE VIEW heavy AS SELECT * FROM child WHERE kg > 10"],
    );
    assert_eq!(errors, "");
    let expectations: [(&str, &[&str]); 11] = [
        (r"\l", &["shanghai", "postgres"]),
        (r"\dn", &["public"]),
        (r"\dt", &["parent", "child", "table"]),
        (
            r"\d parent",
            &[
                "character varying(20)",
                "not null",
                "nextval('parent_id_seq'::regclass)",
                "\"parent_pkey\" PRIMARY KEY",
                "TABLE \"child\" CONSTRAINT",
            ],
        ),
        (
            r"\d child",
            &[
                "numeric(6,2)",
                "1.5",
                "child_kg",
                "kg DESC",
                "FOREIGN KEY (parent_id) REFERENCES parent(id)",
                "Check constraints",
            ],
        ),
        (r"\di", &["child_kg", "parent_pkey"]),
        (r"\du", &["shanghai", "Superuser"]),
        (r"\df", &["List of functions"]),
        (r"\dv", &["heavy"]),
        (r"\ds", &["parent_id_seq"]),
        (r"\d heavy", &["View \"public.heavy\"", "kg"]),
    ];
    for (command, expected) in expectations {
        let (answer, errors) = run(&server, &[command]);
        assert_eq!(errors, "", "{command}");
        for part in expected {
            assert!(answer.contains(part), "{command} does not show {part:?}:\n{answer}");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script.sql");
    std::fs::write(&script, "\\timing on\nSELECT 1 AS one, 'x'::text AS two \\gdesc\nSELECT 42;\n")
        .unwrap();
    let (answer, errors) = run(&server, &[&format!(r"\i {}", script.display())]);
    assert_eq!(errors, "");
    for part in ["one    | integer", "two    | text", "Time: ", "\n       42\n"] {
        assert!(answer.contains(part), "{part:?}: {answer}");
    }
}

#[test]
fn copy_brings_rows_in_and_out() {
    let node = node();
    let server = node.server();
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("in.csv"), dir.path().join("out.csv"));
    std::fs::write(&input, "id,name\n1,\"a, \"\"quoted\"\"\"\n2,\n3,\"\"\n").unwrap();
    let (_, errors) = run(
        &server,
        &[
            "CREATE TABLE t (id int PRIMARY KEY, name text)",
            &format!(r"\copy t FROM '{}' WITH (FORMAT csv, HEADER)", input.display()),
            &format!(
                r"\copy (SELECT * FROM t ORDER BY id) TO '{}' WITH (FORMAT csv, HEADER)",
                output.display()
            ),
        ],
    );
    assert_eq!(errors, "");
    assert_eq!(std::fs::read_to_string(&output).unwrap(), std::fs::read_to_string(&input).unwrap());
    let counts = "SELECT count(*), count(*) FILTER (WHERE name IS NULL), \
                  count(*) FILTER (WHERE name = '') FROM t";
    assert_eq!(psql(&server, counts).trim(), "3|1|1");
}

/// Far more than one entry of the log, with a primary key and a second unique index.
#[test]
fn a_large_copy_is_there_once_or_not_at_all() {
    let node = node();
    let server = node.server();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rows.tsv");
    let line = |n: u32| format!("{n}\t{}\t{}\n", 100_000 - n, "x".repeat(90));
    std::fs::write(&file, (0..40_000).map(line).collect::<String>()).unwrap();
    let copy = format!(r"\copy big from {}", file.display());
    let create = "CREATE TABLE big (id int PRIMARY KEY, n int UNIQUE, pad text)";
    let (answer, errors) = run(&server, &[create, &copy]);
    assert_eq!(errors, "");
    assert!(answer.contains("COPY 40000"), "{answer}");
    let (_, errors) = run(&server, &[&copy]);
    assert!(errors.contains("duplicate key value violates unique constraint"), "{errors}");
    let twice = [line(50_000), (60_000..80_000).map(line).collect(), line(50_000)].concat();
    std::fs::write(&file, twice).unwrap();
    let (_, errors) = run(&server, &[&copy]);
    assert!(errors.contains("duplicate key value violates unique constraint"), "{errors}");
    assert!(errors.contains("=(50000) already exists."), "{errors}");
    let (answer, errors) = run(&server, &["SELECT count(*), sum(id), sum(n) FROM big"]);
    assert_eq!(errors, "");
    assert!(answer.contains("40000 | 799980000 | 3200020000"), "{answer}");
}
