//! The part of a session that others see: functions that ask for settings, cancel requests,
//! pg_stat_activity.

use super::advisory::Advisory;
use crate::error::{Notice, SqlResult};
use crate::server::ConnectParams;
use crate::settings::{Effective, Settings};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Notify;

pub struct SessionCore {
    pub pid: i32,
    pub(crate) secret: i32,
    /// The login role.
    pub user: Arc<str>,
    pub database: String,
    pub peer: Option<SocketAddr>,
    /// Microseconds since 1970.
    pub connected_at: i64,
    pub(crate) settings: Mutex<Settings>,
    /// Whether settings are changed within a transaction that may undo it.
    pub(crate) in_transaction: AtomicBool,
    notices: Mutex<Vec<Notice>>,
    has_notices: AtomicBool,
    cancelled: AtomicBool,
    terminated: AtomicBool,
    wake: Notify,
    pub(crate) activity: Mutex<Activity>,
    pub(crate) sequences: Mutex<SessionSequences>,
    pub(crate) advisory: Advisory,
    /// The start timestamp of the running transaction, zero if none has been drawn.
    pub(crate) txn_id: AtomicU64,
}

/// What pg_stat_activity shows.
#[derive(Clone, Debug)]
pub struct Activity {
    pub state: &'static str,
    pub query: Arc<str>,
    /// Microseconds since 1970; zero if there is none.
    pub query_start: i64,
    pub transaction_start: i64,
    pub state_change: i64,
}

/// What `currval` and `lastval` remember.
#[derive(Default)]
pub(crate) struct SessionSequences {
    pub current: HashMap<u32, i64>,
    pub last: Option<u32>,
}

impl SessionCore {
    pub(crate) fn new(
        pid: i32,
        secret: i32,
        params: &ConnectParams,
        database: String,
        settings: Settings,
    ) -> Self {
        let now = super::now_micros();
        Self {
            pid,
            secret,
            user: params.user.as_str().into(),
            database,
            peer: params.peer,
            connected_at: now,
            settings: Mutex::new(settings),
            in_transaction: AtomicBool::new(false),
            notices: Mutex::default(),
            has_notices: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            terminated: AtomicBool::new(false),
            wake: Notify::new(),
            activity: Mutex::new(Activity {
                state: "idle",
                query: "".into(),
                query_start: 0,
                transaction_start: 0,
                state_change: now,
            }),
            sequences: Mutex::default(),
            advisory: Advisory::default(),
            txn_id: AtomicU64::new(0),
        }
    }

    /// The role that statements run as: SET ROLE, else the login role.
    pub fn current_user(&self) -> Arc<str> {
        let settings = self.settings.lock();
        match &**settings.get(crate::settings::registry::at::ROLE) {
            "none" => self.user.clone(),
            role => role.into(),
        }
    }

    pub fn effective(&self) -> Arc<Effective> {
        self.settings.lock().effective().clone()
    }

    pub(crate) fn notice(&self, notice: Notice) {
        self.notices.lock().push(notice);
        self.has_notices.store(true, Ordering::Release);
    }

    pub fn has_notices(&self) -> bool {
        self.has_notices.load(Ordering::Relaxed)
    }

    pub(crate) fn take_notices(&self) -> Vec<Notice> {
        if !self.has_notices.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *self.notices.lock())
    }

    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.wake.notify_waiters();
    }

    pub(crate) fn terminate(&self) {
        self.terminated.store(true, Ordering::Release);
        self.cancel();
    }

    pub(crate) fn wake(&self) {
        self.wake.notify_waiters();
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    pub fn is_terminated(&self) -> bool {
        self.terminated.load(Ordering::Acquire)
    }

    /// A cancel request that came between statements is forgotten, as in PostgreSQL.
    pub(crate) fn clear_cancel(&self) {
        if self.is_cancelled() {
            self.cancelled.store(false, Ordering::Release);
        }
    }

    /// Returns when the running statement is to be cancelled.
    pub async fn cancelled(&self) {
        loop {
            let woken = self.wake.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            if self.is_cancelled() {
                return;
            }
            woken.await;
        }
    }

    /// `set_config` and SET: checked and applied.
    pub(crate) fn set(&self, name: &str, value: &str, local: bool) -> SqlResult<()> {
        let in_transaction = self.in_transaction.load(Ordering::Acquire);
        // Without a block, what is local goes with the statement's own transaction.
        self.settings.lock().set(name, value, local, local || in_transaction)
    }
}
