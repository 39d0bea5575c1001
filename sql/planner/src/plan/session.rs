//! Transaction control, settings, and statements that only administer.

use core_domain::IsolationLevel;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnPlan {
    /// BEGIN and START TRANSACTION.
    Begin(TxnModes),
    /// BEGIN AS OF SYSTEM TIME and a constant.
    BeginPast {
        modes: TxnModes,
        as_of: std::sync::Arc<str>,
    },
    Commit {
        chain: bool,
    },
    Rollback {
        chain: bool,
    },
    Savepoint(String),
    Release(String),
    RollbackTo(String),
    /// SET TRANSACTION.
    SetTransaction(TxnModes),
    /// SET SESSION CHARACTERISTICS AS TRANSACTION: `default_transaction_*`.
    SetSessionCharacteristics(TxnModes),
    SetConstraints {
        names: Option<Vec<String>>,
        deferred: bool,
    },
}

/// What BEGIN and SET TRANSACTION say; `None` where they are silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxnModes {
    pub isolation: Option<IsolationLevel>,
    pub read_only: Option<bool>,
    pub deferrable: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionPlan {
    Set {
        name: String,
        value: SettingValue,
        scope: SettingScope,
    },
    /// `SHOW name`; names are lower case ("timezone", "transaction_isolation").
    Show(String),
    ShowAll,
    /// `RESET name`.
    Reset(String),
    ResetAll,
    Discard(DiscardTarget),
    /// `None`: SET ROLE NONE.
    SetRole {
        role: Option<String>,
        local: bool,
    },
    /// `None`: DEFAULT.
    SetSessionAuthorization {
        role: Option<String>,
        local: bool,
    },
    /// ALTER SYSTEM SET / RESET.
    AlterSystem {
        name: Option<String>,
        value: SettingValue,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingScope {
    Session,
    /// SET LOCAL: until the end of the transaction.
    Local,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingValue {
    Default,
    /// The values as text, one for most settings, several for lists such as `search_path`.
    /// Numbers come as written, `ON`/`TRUE`/identifiers lower-cased, strings without quotes.
    /// SET TIME ZONE with an interval or number comes as "+02", "-03:30" or "INTERVAL ...".
    Values(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiscardTarget {
    All,
    Plans,
    Sequences,
    Temp,
}

/// Accepted and carried out as far as there is anything to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UtilityPlan {
    /// Tables by OID; empty: all of the database.
    Vacuum {
        tables: Vec<catalog::Oid>,
        analyze: bool,
        full: bool,
        verbose: bool,
    },
    Analyze {
        tables: Vec<catalog::Oid>,
        verbose: bool,
    },
    Checkpoint,
    /// Indexes have no bloat to remove here; names were checked.
    Reindex,
    Cluster,
    LockTable {
        tables: Vec<catalog::Oid>,
        mode: TableLockMode,
        nowait: bool,
    },
}

/// Where rows are kept. Outside any transaction: no result of a query depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangesPlan {
    /// A range begins at each of these.
    SplitAt(Vec<core_domain::Key>),
    TransferLeader {
        range: core_domain::RangeId,
        node: core_domain::NodeId,
    },
}

/// PostgreSQL's table lock modes, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TableLockMode {
    AccessShare,
    RowShare,
    RowExclusive,
    ShareUpdateExclusive,
    Share,
    ShareRowExclusive,
    Exclusive,
    AccessExclusive,
}
