//! psql and pgbench as child processes: what a user's own tools see.

use std::path::Path;
use std::process::{Command, Output};

/// A server that speaks PostgreSQL's protocol on loopback.
#[derive(Clone, Debug)]
pub struct Server {
    pub port: u16,
    pub user: String,
    pub database: String,
}

impl Server {
    /// A client program with this server in its environment and nothing of the caller's.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PG")) {
            command.env_remove(name);
        }
        command
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", &self.user)
            .env("PGDATABASE", &self.database)
            .env("PGCONNECT_TIMEOUT", "10")
            .env("PGTZ", "UTC")
            .env("LC_ALL", "C.UTF-8");
        command
    }

    pub fn with_database(&self, database: &str) -> Self {
        Self { database: database.into(), ..self.clone() }
    }

    /// The connection string for drivers.
    pub fn url(&self) -> String {
        format!("host=127.0.0.1 port={} user={} dbname={}", self.port, self.user, self.database)
    }
}

/// Runs one psql command; panics with its whole output if psql fails.
pub fn psql(server: &Server, sql: &str) -> String {
    let output = server
        .command("psql")
        .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql])
        .output()
        .expect("psql is installed by make setup");
    stdout_of(sql, output)
}

/// Runs a psql script with the given extra arguments and answers (standard output, standard error).
pub fn psql_file(server: &Server, file: &Path, args: &[&str]) -> (String, String) {
    let output = server
        .command("psql")
        .args(["-X"])
        .args(args)
        .arg("-f")
        .arg(file)
        .output()
        .expect("psql is installed by make setup");
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// Runs pgbench; panics with its whole output if it fails.
pub fn pgbench(server: &Server, args: &[&str]) -> String {
    let output = server
        .command("pgbench")
        .args(args)
        .output()
        .expect("pgbench is installed with PostgreSQL");
    stdout_of(&args.join(" "), output)
}

fn stdout_of(what: &str, output: Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{what}: {}\n{stdout}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    stdout
}
