//! The one error of this crate, in the fields that reach the client.

use datum::{Datum, DatumError};

pub type Result<T, E = ExprError> = std::result::Result<T, E>;
pub type EvalResult = Result<Datum>;

/// A SQLSTATE with PostgreSQL's words. Boxed inside, so that a `Result<Datum>` stays small on the row path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.message)]
pub struct ExprError(Box<Fields>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    pub sqlstate: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// Character in the statement's text, from one.
    pub position: Option<u32>,
}

impl std::ops::Deref for ExprError {
    type Target = Fields;

    fn deref(&self) -> &Fields {
        &self.0
    }
}

impl std::ops::DerefMut for ExprError {
    fn deref_mut(&mut self) -> &mut Fields {
        &mut self.0
    }
}

impl ExprError {
    pub fn new(sqlstate: impl Into<String>, message: impl Into<String>) -> Self {
        Self(Box::new(Fields {
            sqlstate: sqlstate.into(),
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
        }))
    }

    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Sets the position unless a more precise one is there already.
    pub fn at(mut self, position: Option<u32>) -> Self {
        self.0.position = self.0.position.or(position);
        self
    }

    /// 0A000.
    pub fn unsupported(feature: impl std::fmt::Display) -> Self {
        Self::new("0A000", format!("{feature} is not supported"))
    }

    /// 0A000 in words of PostgreSQL's own.
    pub fn unsupported_text(message: impl Into<String>) -> Self {
        Self::new("0A000", message)
    }

    /// 22003, `integer out of range`.
    pub fn out_of_range(type_name: &str) -> Self {
        Self::new("22003", format!("{type_name} out of range"))
    }

    pub fn division_by_zero() -> Self {
        Self::new("22012", "division by zero")
    }

    /// 22023.
    pub fn invalid_parameter(message: impl Into<String>) -> Self {
        Self::new("22023", message)
    }

    /// 42804.
    pub fn datatype_mismatch(message: impl Into<String>) -> Self {
        Self::new("42804", message)
    }

    /// XX000: a broken promise in our own code, such as a kernel called with values of other types.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new("XX000", message)
    }
}

impl From<DatumError> for ExprError {
    fn from(error: DatumError) -> Self {
        let mut own = Self::new(error.sqlstate, error.message);
        own.0.detail = error.detail;
        own.0.hint = error.hint;
        own
    }
}

/// Bytes in one value, about what PostgreSQL allows.
pub(crate) const VALUE_BYTES_MAX: usize = 0x3fff_ffff;

/// # Errors
/// 54000: a value may not have so many bytes. To be asked before they are allocated.
pub(crate) fn check_bytes(bytes: usize) -> Result<()> {
    if bytes > VALUE_BYTES_MAX { Err(too_large()) } else { Ok(()) }
}

/// # Errors
/// 54000: an array or a row of these would be too large. Large values are shared, so this comes
/// before they are copied.
pub(crate) fn check_items(items: &[Datum]) -> Result<()> {
    check_bytes(items.iter().map(Datum::size_bytes).sum())
}

pub(crate) fn too_large() -> ExprError {
    ExprError::new("54000", "requested length too large")
}
