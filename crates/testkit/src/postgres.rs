//! A PostgreSQL server of Debian's, in a temporary directory: what Shanghai is compared with.

use crate::client::Server;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A running server with PostgreSQL's default durability. Stopped when dropped.
pub struct Postgres {
    child: Child,
    port: u16,
    _dir: TempDir,
}

impl Postgres {
    /// # Panics
    /// If PostgreSQL is not installed (`make setup` does) or does not start.
    pub fn start() -> Self {
        let bin = bin_dir();
        let dir = tempfile::tempdir().expect("a temporary directory");
        let data = dir.path().join("data");
        // PostgreSQL refuses to run as root: its own user must reach the directory.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777))
            .expect("our own directory");
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let initdb = as_postgres(&bin.join("initdb"))
            .args(["--auth=trust", "--username=shanghai", "--encoding=UTF8", "--locale=C.UTF-8"])
            .arg("-D")
            .arg(&data)
            .output()
            .expect("initdb runs");
        assert!(initdb.status.success(), "{}", String::from_utf8_lossy(&initdb.stderr));
        let child = as_postgres(&bin.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "timezone=UTC", "-c", "log_timezone=UTC"])
            .arg("-k")
            .arg(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("postgres starts");
        let server = Self { child, port, _dir: dir };
        server.wait_ready(&bin);
        let created = server
            .server()
            .with_database("postgres")
            .command("createdb")
            .arg("shanghai")
            .status()
            .expect("createdb runs");
        assert!(created.success());
        server
    }

    pub fn server(&self) -> Server {
        Server { port: self.port, user: "shanghai".into(), database: "shanghai".into() }
    }

    fn wait_ready(&self, bin: &Path) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            let status = Command::new(bin.join("pg_isready"))
                .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-q"])
                .status()
                .expect("pg_isready runs");
            if status.success() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("PostgreSQL is not ready");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT is PostgreSQL's immediate shutdown: its children go with it.
        crate::node_process::send_signal(self.child.id(), libc::SIGQUIT);
        let _ = self.child.wait();
    }
}

fn bin_dir() -> PathBuf {
    let dir = PathBuf::from("/usr/lib/postgresql/15/bin");
    assert!(dir.join("postgres").exists(), "PostgreSQL 15 is missing: run make setup");
    dir
}

/// The program, run as the user `postgres` when the test runs as root.
fn as_postgres(program: &Path) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(program);
    command.env("LC_ALL", "C.UTF-8");
    let id = |flag: &str| -> Option<u32> {
        let output = Command::new("id").args([flag, "postgres"]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    let root = Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout.starts_with(b"0\n"));
    if root && let (Some(uid), Some(gid)) = (id("-u"), id("-g")) {
        command.uid(uid).gid(gid);
    }
    command.current_dir("/");
    command
}
