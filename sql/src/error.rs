//! What a session answers when it cannot do what was asked, in the fields of PostgreSQL's
//! ErrorResponse and NoticeResponse.

use crate::session::limits::ends_connection;
use core_domain::{Key, KvError, TxnId};
use std::fmt;

pub type SqlResult<T> = Result<T, SqlError>;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Severity {
    #[default]
    Error,
    Fatal,
    Panic,
    Warning,
    Notice,
    Debug,
    Info,
    Log,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
            Severity::Panic => "PANIC",
            Severity::Warning => "WARNING",
            Severity::Notice => "NOTICE",
            Severity::Debug => "DEBUG",
            Severity::Info => "INFO",
            Severity::Log => "LOG",
        }
    }
}

/// An error as PostgreSQL reports it. Boxed inside, so that a `Result` stays small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError(Box<Fields>);

/// A message that does not end the statement; the same fields as an error.
pub type Notice = SqlError;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    pub severity: Severity,
    /// Five characters.
    pub sqlstate: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// Character in the statement's text, from one.
    pub position: Option<u32>,
    /// The CONTEXT line ("COPY t, line 3").
    pub context: Option<String>,
    pub schema: Option<String>,
    pub table: Option<String>,
    pub column: Option<String>,
    pub data_type: Option<String>,
    pub constraint: Option<String>,
    /// Whether the same statement, executed again from its start, may succeed.
    pub retryable: bool,
    /// What a 40001 from below is about, until the session has put it into words.
    pub(crate) lost_race: Option<LostRace>,
}

/// A key that another transaction has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LostRace {
    pub key: Key,
    pub other: TxnId,
}

impl std::ops::Deref for SqlError {
    type Target = Fields;

    fn deref(&self) -> &Fields {
        &self.0
    }
}

impl std::ops::DerefMut for SqlError {
    fn deref_mut(&mut self) -> &mut Fields {
        &mut self.0
    }
}

impl SqlError {
    pub fn new(sqlstate: impl Into<String>, message: impl Into<String>) -> Self {
        Self(Box::new(Fields {
            sqlstate: sqlstate.into(),
            message: message.into(),
            ..Fields::default()
        }))
    }

    pub fn fatal(sqlstate: impl Into<String>, message: impl Into<String>) -> Self {
        let mut error = Self::new(sqlstate, message);
        error.severity = Severity::Fatal;
        error
    }

    pub fn notice(message: impl Into<String>) -> Notice {
        let mut notice = Self::new("00000", message);
        notice.severity = Severity::Notice;
        notice
    }

    pub fn warning(sqlstate: impl Into<String>, message: impl Into<String>) -> Notice {
        let mut notice = Self::new(sqlstate, message);
        notice.severity = Severity::Warning;
        notice
    }

    /// 0A000: the feature does not exist here yet.
    pub fn unsupported(feature: impl fmt::Display) -> Self {
        Self::new("0A000", format!("{feature} is not supported yet"))
    }

    /// XX000: a broken promise in our own code.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new("XX000", message)
    }

    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn with_position(mut self, position: Option<u32>) -> Self {
        self.position = position;
        self
    }

    pub fn with_context(mut self, context: impl Into<String>) -> Self {
        self.context = Some(context.into());
        self
    }

    pub fn with_table(mut self, schema: &str, table: &str) -> Self {
        self.schema = Some(schema.to_owned());
        self.table = Some(table.to_owned());
        self
    }

    pub fn with_column(mut self, column: &str) -> Self {
        self.column = Some(column.to_owned());
        self
    }

    pub fn with_constraint(mut self, constraint: &str) -> Self {
        self.constraint = Some(constraint.to_owned());
        self
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity.as_str(), self.message)
    }
}

impl std::error::Error for SqlError {}

impl From<KvError> for SqlError {
    fn from(error: KvError) -> Self {
        // The texts that drivers and people look for; what happened below is their detail.
        let (message, detail) = match &error {
            KvError::Conflict { .. } | KvError::Aborted { .. } => (
                "could not serialize access due to concurrent update".to_owned(),
                Some(error.to_string()),
            ),
            KvError::Deadlock { .. } => ("deadlock detected".to_owned(), Some(error.to_string())),
            KvError::LockNotAvailable { .. } => ("could not obtain lock on row".to_owned(), None),
            KvError::LockTimeout { .. }
            | KvError::Unavailable { .. }
            | KvError::OutcomeUnknown { .. }
            | KvError::SnapshotTooOld { .. }
            | KvError::TooLarge { .. }
            | KvError::OverBudget { .. }
            | KvError::Unsaved
            | KvError::DiskFull(_)
            | KvError::Corruption(_)
            | KvError::ShuttingDown
            | KvError::Internal(_) => (error.to_string(), None),
        };
        // A deadlock's victim must tell its client: the locks of earlier statements are part of it.
        let retryable = error.is_retryable();
        let sqlstate = error.sqlstate().to_owned();
        let lost_race = if let KvError::Conflict { key, other } = error {
            Some(LostRace { key, other })
        } else {
            None
        };
        Self(Box::new(Fields {
            sqlstate,
            message,
            detail,
            retryable,
            lost_race,
            ..Fields::default()
        }))
    }
}

impl From<planner::PlanError> for SqlError {
    fn from(error: planner::PlanError) -> Self {
        Self::from_below(error.sqlstate, error.message, error.detail, error.hint)
            .with_position(error.position)
    }
}

impl From<expr::ExprError> for SqlError {
    fn from(error: expr::ExprError) -> Self {
        let below = (*error).clone();
        let mut error = Self::from_below(below.sqlstate, below.message, below.detail, below.hint)
            .with_position(below.position);
        if ends_connection(&error) {
            error.severity = Severity::Fatal;
        }
        error
    }
}

impl From<catalog::CatalogError> for SqlError {
    fn from(error: catalog::CatalogError) -> Self {
        Self::from_below(error.sqlstate, error.message, error.detail, error.hint)
    }
}

impl From<datum::DatumError> for SqlError {
    fn from(error: datum::DatumError) -> Self {
        Self::from_below(error.sqlstate, error.message, error.detail, error.hint)
    }
}

impl SqlError {
    /// What an error of any crate below consists of.
    fn from_below(
        sqlstate: impl Into<String>,
        message: String,
        detail: Option<String>,
        hint: Option<String>,
    ) -> Self {
        let sqlstate = sqlstate.into();
        Self(Box::new(Fields { sqlstate, message, detail, hint, ..Fields::default() }))
    }
}
