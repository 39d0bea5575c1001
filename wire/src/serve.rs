//! The listener: one task per client, a limit on how many, and an orderly end.

use crate::channel::Channel;
use crate::config::WireConfig;
use crate::connection::Connection;
use crate::startup::{self, Door, Entry};
use sql::SqlError;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Sockets beyond `connections_max` that are heard out, to be told so or to cancel a statement.
const REFUSALS_MAX: usize = 64;
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may take to read the last words of its session.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(5);
/// After `accept` failed (no file descriptor left): wait for some to come back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves SQL on `listener` until `shutdown` is cancelled and the sessions have ended: running
/// statements finish (for at most `drain_timeout`), then each client hears FATAL 57P01.
pub async fn serve(
    listener: TcpListener,
    sql: Arc<sql::Server>,
    config: WireConfig,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let drain_timeout = config.drain_timeout;
    let sessions = Arc::new(Semaphore::new(config.connections_max.min(Semaphore::MAX_PERMITS)));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let door = Arc::new(Door { sql, config, mock_key: rand::random() });
    let mut clients = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(ended) = clients.join_next() => {
                note(ended);
                continue;
            }
            () = shutdown.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Each has a token of its own: waiting on a shared one would be a lock that all contend for.
        let drain = shutdown.child_token();
        if let Ok(permit) = sessions.clone().try_acquire_owned() {
            clients.spawn(client(door.clone(), stream, peer, drain, permit));
        } else if let Ok(permit) = refusals.clone().try_acquire_owned() {
            clients.spawn(refusal(door.clone(), stream, peer, permit));
        }
    }
    drop(listener);
    door.sql.shut_down();
    let drained = timeout(drain_timeout, async {
        while let Some(ended) = clients.join_next().await {
            note(ended);
        }
    });
    if drained.await.is_err() {
        tracing::warn!(
            sessions = clients.len(),
            "statements still running after the drain; cut off"
        );
        clients.shutdown().await;
    }
    Ok(())
}

/// Before the node can serve: everybody who comes hears FATAL 57P03, until this is dropped.
pub async fn turn_everybody_away(listener: &TcpListener) -> Infallible {
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(permit) = refusals.clone().try_acquire_owned() else { continue };
        tokio::spawn(async move {
            let error = SqlError::fatal("57P03", "the database system is starting up");
            if let Ok(Some(channel)) = timeout(REFUSAL_TIMEOUT, startup::hear_out(stream)).await {
                refuse(channel, &error).await;
            }
            drop(permit);
        });
    }
}

fn note(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a client's task panicked");
    }
}

async fn client(
    door: Arc<Door>,
    stream: TcpStream,
    peer: SocketAddr,
    drain: CancellationToken,
    _permit: OwnedSemaphorePermit,
) {
    if let Err(error) = prepare_socket(&stream) {
        tracing::debug!(%peer, %error, "socket options");
    }
    let startup = timeout(door.config.startup_timeout, door.enter(stream, peer, false));
    let entry = tokio::select! {
        entry = startup => entry,
        () = drain.cancelled() => return,
    };
    match entry {
        Ok(Entry::Ready(channel, session)) => {
            tracing::debug!(%peer, "session begins");
            Connection::new(channel, session, drain).run().await;
            tracing::debug!(%peer, "session ended");
        }
        Ok(Entry::Nobody) => {}
        Ok(Entry::Refused(channel, error)) => refuse(channel, &error).await,
        Err(_) => tracing::debug!(%peer, "start-up took too long"),
    }
}

/// The house is full: cancel requests are served, everybody else hears so.
async fn refusal(
    door: Arc<Door>,
    stream: TcpStream,
    peer: SocketAddr,
    _permit: OwnedSemaphorePermit,
) {
    match timeout(REFUSAL_TIMEOUT, door.enter(stream, peer, true)).await {
        Ok(Entry::Refused(channel, error)) => refuse(channel, &error).await,
        Ok(Entry::Ready(..) | Entry::Nobody) | Err(_) => {}
    }
}

async fn refuse(mut channel: Channel, error: &SqlError) {
    channel.out.error(error);
    goodbye(channel).await;
}

pub(crate) async fn goodbye(channel: Channel) {
    let _ = timeout(GOODBYE_TIMEOUT, channel.close()).await;
}

/// No waiting for more to send; a peer whose machine is gone is noticed, and its locks come free.
fn prepare_socket(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(10));
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
