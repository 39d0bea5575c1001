//! What `pg_catalog` and `shanghai` show beyond the catalog: settings, sessions, functions.

use crate::context::ExecContext;
use crate::error::SqlResult;
use crate::lock_view::Locks;
use crate::settings::registry::{Domain, SPECS, Scope, Unit};
use catalog::VirtualContext;
use catalog::virtual_tables::{FunctionInfo, SessionInfo, SettingInfo, VirtualTable};
use expr::{ArgPattern, FuncRef, FunctionKind, Volatility};
use std::sync::{Arc, OnceLock};

impl ExecContext {
    /// Made for a statement that reads this system relation.
    ///
    /// # Errors
    /// Whoever knows the waits of the cluster does not answer.
    pub async fn virtual_context(&self, table: &VirtualTable) -> SqlResult<VirtualContext> {
        let locks = match table.name {
            "pg_locks" | "pg_stat_activity" => Some(Locks::gather(&self.server).await?),
            _ => None,
        };
        Ok(VirtualContext {
            database: self.database,
            role: self.role,
            search_path: self.schemas.to_vec(),
            functions: functions(),
            settings: self.setting_infos(),
            sessions: self.session_infos(locks.as_ref()),
            locks: locks.map(|locks| locks.infos(&self.catalog)).unwrap_or_default(),
            nodes: self.server.config.cluster_view.nodes(),
            ranges: self.server.config.cluster_view.ranges(),
            ..VirtualContext::default()
        })
    }

    fn setting_infos(&self) -> Vec<SettingInfo> {
        let settings = self.session.settings.lock();
        let infos = SPECS.iter().enumerate().map(|(at, spec)| SettingInfo {
            name: spec.name.to_owned(),
            value: settings.get(at).to_string(),
            unit: unit(spec.domain).map(str::to_owned),
            category: "Settings".to_owned(),
            description: spec.description.to_owned(),
            context: match spec.scope {
                Scope::Session => "user",
                Scope::Backend => "backend",
                Scope::Internal => "internal",
            }
            .to_owned(),
            kind: match spec.domain {
                Domain::Bool => "bool",
                Domain::Int { .. } => "integer",
                Domain::Real { .. } => "real",
                Domain::Enum(_) => "enum",
                Domain::Text
                | Domain::TimeZone
                | Domain::DateStyle
                | Domain::SearchPath
                | Domain::ClientEncoding
                | Domain::CausalToken => "string",
            }
            .to_owned(),
            source: if **settings.get(at) == *spec.default { "default" } else { "session" }
                .to_owned(),
            min: match spec.domain {
                Domain::Int { min, .. } => Some(min.to_string()),
                Domain::Real { min, .. } => Some(min.to_string()),
                _ => None,
            },
            max: match spec.domain {
                Domain::Int { max, .. } => Some(max.to_string()),
                Domain::Real { max, .. } => Some(max.to_string()),
                _ => None,
            },
            choices: match spec.domain {
                Domain::Enum(values) => values.iter().map(|v| (*v).to_owned()).collect(),
                _ => Vec::new(),
            },
            boot_value: spec.default.to_owned(),
            reset_value: spec.default.to_owned(),
            pending_restart: false,
        });
        let mut infos: Vec<SettingInfo> = infos.collect();
        infos.sort_by_key(|info| info.name.to_ascii_lowercase());
        infos
    }

    fn session_infos(&self, locks: Option<&Locks>) -> Vec<SessionInfo> {
        let sessions = self.server.sessions().into_iter();
        let known = |micros: i64| (micros != 0).then_some(micros);
        sessions
            .map(|core| {
                let activity = core.activity.lock().clone();
                let waits = locks.and_then(|locks| locks.wait_event(&core));
                let idle = activity.state.starts_with("idle").then_some(("Client", "ClientRead"));
                // A statement on its own began its transaction.
                let begun = match (activity.transaction_start, activity.state) {
                    (0, "active") => activity.query_start,
                    (begun, _) => begun,
                };
                let application = core.settings.lock().show("application_name");
                SessionInfo {
                    pid: core.pid,
                    database: self.catalog.database_named(&core.database).map_or(0, |d| d.oid),
                    role: self.catalog.role_named(&core.user).map_or(0, |r| r.oid),
                    role_name: core.user.to_string(),
                    application_name: application.unwrap_or_default(),
                    client_address: core.peer.map(|peer| peer.ip().to_string()),
                    client_port: core.peer.map(|peer| i32::from(peer.port())),
                    started: core.connected_at,
                    transaction_started: known(begun),
                    query_started: known(activity.query_start),
                    state_changed: known(activity.state_change),
                    state: activity.state.to_owned(),
                    query: activity.query.to_string(),
                    wait_event: waits.or(idle),
                    transaction: locks.and_then(|locks| locks.written_by(&core)),
                }
            })
            .collect()
    }
}

fn unit(domain: Domain) -> Option<&'static str> {
    match domain {
        Domain::Int { unit, .. } => match unit {
            Unit::None => None,
            Unit::Milliseconds => Some("ms"),
            Unit::Seconds => Some("s"),
            Unit::Minutes => Some("min"),
            Unit::Kilobytes => Some("kB"),
            Unit::Blocks => Some("8kB"),
        },
        _ => None,
    }
}

/// The function registry as pg_proc lists it.
fn functions() -> Arc<[FunctionInfo]> {
    static FUNCTIONS: OnceLock<Arc<[FunctionInfo]>> = OnceLock::new();
    FUNCTIONS
        .get_or_init(|| {
            let all = expr::registry::all_functions().into_iter();
            all.filter(|f| !f.0.is_operator).map(function).collect()
        })
        .clone()
}

fn function(function: FuncRef) -> FunctionInfo {
    let def = function.0;
    FunctionInfo {
        oid: def.oid,
        name: def.name.to_owned(),
        kind: match def.kind {
            FunctionKind::Scalar(_) | FunctionKind::Set { .. } => b'f',
            FunctionKind::Aggregate(_) => b'a',
            FunctionKind::Window(_) => b'w',
        },
        arguments: def.args.iter().map(type_oid).collect(),
        returns: type_oid(&def.returns),
        returns_set: def.returns_set(),
        strict: def.strict,
        volatility: match def.volatility {
            Volatility::Immutable => b'i',
            Volatility::Stable => b's',
            Volatility::Volatile => b'v',
        },
        variadic: match def.args.last() {
            Some(last) if def.variadic => type_oid(last),
            _ => 0,
        },
        description: None,
    }
}

/// PostgreSQL's OIDs of the polymorphic types.
fn type_oid(pattern: &ArgPattern) -> u32 {
    match pattern {
        ArgPattern::Exact(ty) => ty.oid(),
        ArgPattern::Any => 2276,
        ArgPattern::AnyElement => 2283,
        ArgPattern::AnyArray => 2277,
        ArgPattern::AnyNonArray => 2776,
        ArgPattern::AnyCompatible => 5077,
        ArgPattern::AnyCompatibleArray => 5078,
    }
}
