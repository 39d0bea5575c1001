//! One node: from an empty directory to SQL, and back to a clean end.
//!
//! ```text
//! engine ▶ rpc port ▶ identity (restart, found, or join) ▶ ranges ▶ transactions
//!        ▶ cluster record ▶ membership, placement ▶ SQL port, HTTP port ▶ … ▶ SIGTERM: drain
//! ```

use crate::config::Config;
use crate::identity::{self, Saved};
use crate::registry::{self, JOIN_SERVICE, JoinService, NodeRecord};
use crate::view::{self, View};
use anyhow::{Context, Result};
use cluster::formation::HELLO_SERVICE;
use cluster::{Greeter, GrpcTransport, Identity, Member, Membership, Step, Transport, discovery};
use core_domain::key::TABLE_PREFIX;
use core_domain::{Key, KvStore, NodeId, RangeId, Span, SystemClock};
use query::{GcTuning, SendTuning, TxnCoordinator};
use replication::evaluate::Evaluator;
use replication::{NoTrace, SYSTEM_RANGE, Store, Tuning};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use storage::{Engine, RocksEngine, RocksOptions};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use wire::CancellationToken;

/// Everything that is no system key, until databases split it.
const TABLES_RANGE: RangeId = RangeId(2);
const GREETING_INTERVAL: Duration = Duration::from_millis(300);
const PLACEMENT_INTERVAL: Duration = Duration::from_secs(1);
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(1);
const PLAN_CACHE_ENTRIES_MAX: usize = 4096;
const QUERY_BYTES_MAX: usize = 1 << 30;

/// Runs a node until it is told to stop.
///
/// # Errors
/// Whatever keeps it from starting or from ending cleanly.
pub async fn run(config: Config) -> Result<()> {
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("data directory {}", config.data_dir.display()))?;
    let engine_dir = config.data_dir.join("engine");
    let engine: Arc<dyn Engine> = Arc::new(
        RocksEngine::open(&engine_dir, &RocksOptions::default())
            .with_context(|| format!("opening {}", engine_dir.display()))?,
    );
    // All ports are taken before anything is promised to anybody.
    let rpc_listener = bind("--rpc-addr", config.rpc_addr).await?;
    let sql_listener = bind("--sql-addr", config.sql_addr).await?;
    let http_listener = bind("--http-addr", config.http_addr).await?;
    let stop = CancellationToken::new();
    let transport = GrpcTransport::new(config.rpc_addr.to_string());
    let rpc = {
        let (transport, stop) = (transport.clone(), stop.clone());
        tokio::spawn(async move { transport.serve(rpc_listener, stop.cancelled_owned()).await })
    };

    let serving: Arc<OnceLock<Arc<Started>>> = Arc::default();
    let drain = CancellationToken::new();
    let mut registry = admin::Registry::default();
    registry.add({
        let serving = serving.clone();
        move || match serving.get() {
            Some(started) => view::metrics(&started.store, &started.server),
            None => Vec::new(),
        }
    });
    let http = tokio::spawn(admin::serve(
        http_listener,
        Arc::new(registry),
        readiness(serving.clone(), drain.clone()),
        stop.clone().cancelled_owned(),
    ));
    let stopped = wait_for_signal();
    tokio::pin!(stopped);
    let started = tokio::select! {
        started = Started::new(&config, engine.clone(), transport.clone()) => Arc::new(started?),
        never = wire::turn_everybody_away(&sql_listener) => match never {},
        signalled = &mut stopped => {
            signalled?;
            tracing::info!("stopped while waiting for a cluster");
            return Ok(());
        }
    };
    // Set once, here.
    let _ = serving.set(started.clone());
    let server = started.server.clone();
    let sql = tokio::spawn(wire::serve(
        sql_listener,
        server.clone(),
        wire_config(&config)?,
        drain.clone(),
    ));
    announce(&config, started.identity.node);

    stopped.await?;
    tracing::info!("draining: running statements finish, new ones are refused");
    server.shut_down();
    drain.cancel();
    sql.await??;
    let live = started.membership.live();
    let handing_over = started.store.hand_over(&live);
    if tokio::time::timeout(HAND_OVER_TIMEOUT, handing_over).await.is_err() {
        tracing::info!("not every range was handed over in time");
    }
    started.membership.leave().await;
    started.store.shutdown().await;
    stop.cancel();
    // Peers keep their connections open: they are not waited for.
    rpc.abort();
    http.abort();
    tracing::info!("stopped");
    Ok(())
}

/// What `/ready` asks: whether the node has found its cluster, means to stay, and reaches the oracle.
fn readiness(serving: Arc<OnceLock<Arc<Started>>>, drain: CancellationToken) -> admin::Health {
    admin::Health::new(move || {
        let started = serving.get().cloned();
        let draining = drain.is_cancelled();
        async move {
            let Some(started) = started else { return Err("waiting for a cluster".to_owned()) };
            if draining {
                return Err("draining".to_owned());
            }
            started.kv.now().await.map(|_| ()).map_err(|error| error.to_string())
        }
    })
}

/// Asks again for as long as the cluster has no majority: the others may come much later.
async fn patiently<T, F>(what: &'static str, ask: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    loop {
        match ask().await {
            Err(error) if registry::is_unavailable(&error) => {
                tracing::warn!("{what}: waiting for a majority of the cluster: {error:#}");
            }
            outcome => return outcome.context(what),
        }
    }
}

/// What runs behind the ports.
struct Started {
    identity: Identity,
    store: Arc<Store>,
    kv: Arc<dyn KvStore>,
    membership: Arc<Membership>,
    server: Arc<sql::Server>,
}

impl Started {
    async fn new(
        config: &Config,
        engine: Arc<dyn Engine>,
        transport: Arc<GrpcTransport>,
    ) -> Result<Self> {
        let join = discovery::resolve(&config.join).await?;
        let mut saved = take_identity(&*engine, &transport, &join).await?;
        saved.incarnation += 1;
        identity::save(&*engine, &saved)?;
        let node = saved.identity.node;

        let clock = Arc::new(SystemClock::default());
        let evaluator = Evaluator::new(engine.clone(), clock.clone());
        let store = Store::open(
            engine.clone(),
            node,
            transport.clone(),
            evaluator.clone(),
            Arc::new(NoTrace),
            Tuning::default(),
        )
        .await?;
        let membership: Arc<OnceLock<Arc<Membership>>> = Arc::default();
        let coordinator = TxnCoordinator::start(
            store.clone(),
            evaluator,
            transport.clone(),
            peers(membership.clone(), &saved.identity, &join),
            SendTuning { range_bytes_max: config.range_bytes_max, ..SendTuning::default() },
        );
        let retention = config.gc_retention;
        coordinator.collect_garbage(GcTuning { retention, ..GcTuning::default() });
        let kv: Arc<dyn KvStore> = coordinator;
        found_ranges(&store, &*engine, &mut saved).await?;

        let founders = saved.identity.founders.clone();
        let read = || registry::cluster_record(&*kv, &founders);
        let record = patiently("reading the cluster's record", read).await?;
        saved.identity.cluster = Some(record.cluster);
        identity::save(&*engine, &saved)?;
        let greeter = Greeter::new(join.clone(), Some(saved.identity.clone()));
        transport.register(HELLO_SERVICE, greeter);
        let join_service = JoinService { kv: kv.clone(), record: record.clone() };
        transport.register(JOIN_SERVICE, Arc::new(join_service));
        let me = NodeRecord {
            address: config.rpc_addr.to_string(),
            sql_address: config.sql_addr.to_string(),
            http_address: config.http_addr.to_string(),
        };
        patiently("registering this node", || registry::register(&*kv, node, &me)).await?;

        let member = Member {
            node,
            address: me.address,
            sql_address: me.sql_address,
            http_address: me.http_address,
            incarnation: saved.incarnation,
        };
        let mut seeds = saved.identity.founders.clone();
        seeds.extend(join);
        let gossip = Membership::start(member, seeds, transport, clock);
        // Set once, here: the list of peers was the founders until now.
        let _ = membership.set(gossip.clone());
        tokio::spawn(place_replicas(store.clone(), gossip.clone()));

        let view = View {
            node,
            membership: gossip.clone(),
            store: store.clone(),
            started: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_micros() as i64),
        };
        let server = sql::Server::new(
            kv.clone(),
            sql::ServerConfig {
                node,
                cluster: record.cluster,
                token_key: record.token_key,
                cluster_view: Arc::new(view),
                plan_cache_entries_max: PLAN_CACHE_ENTRIES_MAX,
                query_bytes_max: QUERY_BYTES_MAX,
            },
        );
        Ok(Self { identity: saved.identity, store, kv, membership: gossip, server })
    }
}

/// The node's identity: the saved one; its own cluster of one; or what greeting the join list gives.
async fn take_identity(
    engine: &dyn Engine,
    transport: &GrpcTransport,
    join: &[String],
) -> Result<Saved> {
    if let Some(saved) = identity::load(engine)? {
        let greeter = Greeter::new(join.to_vec(), Some(saved.identity.clone()));
        transport.register(HELLO_SERVICE, greeter);
        return Ok(saved);
    }
    if join.is_empty() {
        let identity = Identity {
            node: NodeId(1),
            cluster: None,
            founders: vec![transport.local_address().to_owned()],
        };
        return remember(engine, identity, true);
    }
    let greeter = Greeter::new(join.to_vec(), None);
    transport.register(HELLO_SERVICE, greeter.clone());
    let mut told = String::new();
    loop {
        match greeter.step(transport).await {
            Step::Found(identity) => {
                tracing::info!(node = %identity.node, founders = ?identity.founders, "founding");
                let saved = remember(engine, identity, true)?;
                greeter.set_identity(saved.identity.clone());
                return Ok(saved);
            }
            Step::Join { via } => match registry::ask_to_join(transport, &via).await {
                Ok(identity) => {
                    tracing::info!(node = %identity.node, %via, "joining");
                    let founder = identity.node.0 as usize <= identity.founders.len();
                    return remember(engine, identity, founder);
                }
                Err(error) => tracing::warn!(%via, "not admitted yet: {error:#}"),
            },
            Step::Wait(reason) => {
                if reason != told {
                    tracing::info!("waiting to form a cluster: {reason}");
                    told = reason;
                }
            }
        }
        tokio::time::sleep(GREETING_INTERVAL).await;
    }
}

fn remember(engine: &dyn Engine, identity: Identity, founder: bool) -> Result<Saved> {
    let saved = Saved { identity, founded: !founder, incarnation: 0 };
    identity::save(engine, &saved)?;
    Ok(saved)
}

/// A founder makes its replicas of the first ranges, once in its life.
async fn found_ranges(store: &Arc<Store>, engine: &dyn Engine, saved: &mut Saved) -> Result<()> {
    if saved.founded {
        return Ok(());
    }
    let founders: Vec<(NodeId, String)> =
        (1..).map(NodeId).zip(saved.identity.founders.iter().cloned()).collect();
    let tables = Key::from(vec![TABLE_PREFIX]);
    let ranges = [
        (SYSTEM_RANGE, Span::new(Key::MIN, tables.clone())),
        (TABLES_RANGE, Span::new(tables, Key::MIN)),
    ];
    store.bootstrap(&founders, &ranges).await.context("founding the first ranges")?;
    saved.founded = true;
    identity::save(engine, saved)
}

/// Nodes to ask for ranges: the members, or the founders and the join list before they are known.
fn peers(
    membership: Arc<OnceLock<Arc<Membership>>>,
    identity: &Identity,
    join: &[String],
) -> query::PeerList {
    let mut first: Vec<(NodeId, String)> =
        (1..).map(NodeId).zip(identity.founders.iter().cloned()).collect();
    for address in join {
        if !identity.founders.contains(address) {
            first.push((NodeId(0), address.clone()));
        }
    }
    Arc::new(move || match membership.get() {
        Some(membership) => membership
            .members()
            .into_iter()
            .map(|view| (view.member.node, view.member.address))
            .collect(),
        None => first.clone(),
    })
}

/// Lets every range led here move towards three replicas on live nodes.
async fn place_replicas(store: Arc<Store>, membership: Arc<Membership>) {
    loop {
        tokio::time::sleep(PLACEMENT_INTERVAL).await;
        store.reconcile(&membership.live()).await;
    }
}

async fn bind(flag: &str, address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{flag} {address}"))
}

fn wire_config(config: &Config) -> Result<wire::WireConfig> {
    let source = match &config.tls {
        Some((certificate, key)) => {
            wire::TlsSource::Files { certificate: certificate.clone(), key: key.clone() }
        }
        None => wire::TlsSource::Generated { directory: config.data_dir.clone() },
    };
    Ok(wire::WireConfig {
        authentication: config.authentication,
        tls: wire::tls::server_config(&source)?,
        ..wire::WireConfig::default()
    })
}

fn announce(config: &Config, node: NodeId) {
    let (host, port) = (config.sql_addr.ip(), config.sql_addr.port());
    tracing::info!(%node, sql = %config.sql_addr, rpc = %config.rpc_addr, http = %config.http_addr, "ready");
    println!("node {node} is ready; connect with:\n    psql -h {host} -p {port} -U shanghai");
}

async fn wait_for_signal() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
