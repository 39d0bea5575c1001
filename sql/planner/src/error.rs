//! Why a statement cannot be planned, in PostgreSQL's words.
//!
//! All of these are answers to the user; none can be retried.

use std::fmt;

pub type Result<T> = std::result::Result<T, PlanError>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError {
    pub sqlstate: &'static str,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// Characters from the start of the statement's own text, counted from one.
    pub position: Option<u32>,
}

impl PlanError {
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self { sqlstate, message: message.into(), detail: None, hint: None, position: None }
    }

    /// 0A000. `feature` in PostgreSQL's terms: "LATERAL in RETURNING".
    pub fn unsupported(feature: impl fmt::Display) -> Self {
        Self::new("0A000", format!("{feature} is not supported yet"))
    }

    pub fn syntax(message: impl Into<String>) -> Self {
        Self::new("42601", message)
    }

    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Sets the position unless a more exact one is there.
    pub fn at(mut self, position: impl Into<Option<u32>>) -> Self {
        if self.position.is_none() {
            self.position = position.into();
        }
        self
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PlanError {}

impl From<catalog::CatalogError> for PlanError {
    fn from(e: catalog::CatalogError) -> Self {
        Self {
            sqlstate: e.sqlstate,
            message: e.message,
            detail: e.detail,
            hint: e.hint,
            position: None,
        }
    }
}

impl From<datum::DatumError> for PlanError {
    fn from(e: datum::DatumError) -> Self {
        Self {
            sqlstate: e.sqlstate,
            message: e.message,
            detail: e.detail,
            hint: e.hint,
            position: None,
        }
    }
}

/// SQLSTATEs are few: one static copy of each that another crate hands over as a `String`.
pub(crate) fn interned(sqlstate: &str) -> &'static str {
    use std::collections::BTreeSet;
    use std::sync::{LazyLock, Mutex, PoisonError};
    static SEEN: LazyLock<Mutex<BTreeSet<&'static str>>> = LazyLock::new(Mutex::default);
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    match seen.get(sqlstate) {
        Some(known) => known,
        None => {
            let fresh: &'static str = Box::leak(sqlstate.to_string().into_boxed_str());
            seen.insert(fresh);
            fresh
        }
    }
}
