//! One Shanghai node as a child process: started, killed, started again.

use crate::client::Server;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A node, its directory and its ports. Killed when dropped.
pub struct NodeProcess {
    binary: PathBuf,
    dir: TempDir,
    pub sql_port: u16,
    pub rpc_port: u16,
    pub http_port: u16,
    join: Vec<u16>,
    extra: Vec<String>,
    child: Option<Child>,
}

impl NodeProcess {
    /// A node of its own cluster, started and ready.
    pub fn single(binary: &Path) -> Self {
        let mut node = Self::new(binary, Vec::new(), &[]);
        node.start();
        node.wait_ready();
        node
    }

    /// `count` nodes that join each other, started; not waited for.
    pub fn cluster(binary: &Path, count: usize) -> Vec<Self> {
        let mut nodes: Vec<Self> = (0..count).map(|_| Self::new(binary, Vec::new(), &[])).collect();
        let ports: Vec<u16> = nodes.iter().map(|node| node.rpc_port).collect();
        for node in &mut nodes {
            node.join.clone_from(&ports);
            node.start();
        }
        nodes
    }

    /// A node that is not started yet. `join` are RPC ports on loopback.
    pub fn new(binary: &Path, join: Vec<u16>, extra: &[&str]) -> Self {
        let [sql_port, rpc_port, http_port] = free_ports();
        Self {
            binary: binary.into(),
            dir: tempfile::tempdir().expect("a temporary directory"),
            sql_port,
            rpc_port,
            http_port,
            join,
            extra: extra.iter().map(ToString::to_string).collect(),
            child: None,
        }
    }

    pub fn start(&mut self) {
        assert!(self.child.is_none(), "already running");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("the log file opens");
        let mut command = Command::new(&self.binary);
        command
            .arg("start")
            .args(["--data-dir".as_ref(), self.data_dir().as_os_str()])
            .args(["--sql-addr", &format!("127.0.0.1:{}", self.sql_port)])
            .args(["--rpc-addr", &format!("127.0.0.1:{}", self.rpc_port)])
            .args(["--http-addr", &format!("127.0.0.1:{}", self.http_port)])
            .args(&self.extra)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if !self.join.is_empty() {
            let join: Vec<String> =
                self.join.iter().map(|port| format!("127.0.0.1:{port}")).collect();
            command.args(["--join", &join.join(",")]);
        }
        self.child = Some(command.spawn().expect("the binary starts"));
    }

    /// Waits until `/ready` says so; panics with the end of the log if it never does.
    pub fn wait_ready(&mut self) {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if self.http("/ready").is_some_and(|(status, _)| status == 200) {
                return;
            }
            if let Some(status) = self.child.as_mut().and_then(|c| c.try_wait().ok().flatten()) {
                panic!("the node ended at start: {status}\n{}", self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("not ready within {START_TIMEOUT:?}\n{}", self.log_tail());
    }

    /// Pulls the plug.
    pub fn kill9(&mut self) {
        let mut child = self.child.take().expect("running");
        child.kill().expect("SIGKILL is delivered");
        child.wait().expect("the child is reaped");
    }

    /// Asks to drain (SIGTERM) and waits for the end.
    pub fn terminate(&mut self, timeout: Duration) -> ExitStatus {
        let mut child = self.child.take().expect("running");
        send_signal(child.id(), libc::SIGTERM);
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = child.try_wait().expect("the child can be waited for") {
                return status;
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                panic!("still running {timeout:?} after SIGTERM\n{}", self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("running").id()
    }

    pub fn server(&self) -> Server {
        Server { port: self.sql_port, user: "shanghai".into(), database: "shanghai".into() }
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Status and body of a GET on the HTTP port; `None` if nobody answers.
    pub fn http(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http_port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Some((status, body.to_owned()))
    }

    pub fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("node.log")
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of the node on port {}\n{}", self.sql_port, self.log_tail());
        }
    }
}

/// Sends a signal to a process that this test started.
pub fn send_signal(pid: u32, signal: i32) {
    #[allow(unsafe_code)]
    // SAFETY: kill(2) takes two integers and touches no memory of ours.
    let sent = unsafe { libc::kill(pid as libc::pid_t, signal) };
    assert_eq!(sent, 0, "signal {signal} to {pid}");
}

/// Ports that nobody listens on now. They are all held while they are chosen, so they differ.
fn free_ports<const N: usize>() -> [u16; N] {
    let held: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    std::array::from_fn(|i| held[i].local_addr().expect("bound").port())
}
