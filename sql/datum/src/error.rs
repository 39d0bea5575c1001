//! The one error of this crate: a SQLSTATE with PostgreSQL's own words.

use thiserror::Error;

pub type Result<T, E = DatumError> = std::result::Result<T, E>;

/// SQLSTATEs that values can raise (PostgreSQL appendix A).
pub mod sqlstate {
    pub const FEATURE_NOT_SUPPORTED: &str = "0A000";
    pub const ARRAY_SUBSCRIPT_ERROR: &str = "2202E";
    pub const STRING_DATA_RIGHT_TRUNCATION: &str = "22001";
    pub const NUMERIC_VALUE_OUT_OF_RANGE: &str = "22003";
    pub const INVALID_DATETIME_FORMAT: &str = "22007";
    pub const DATETIME_FIELD_OVERFLOW: &str = "22008";
    pub const INVALID_TIME_ZONE_DISPLACEMENT: &str = "22009";
    pub const DIVISION_BY_ZERO: &str = "22012";
    pub const INTERVAL_FIELD_OVERFLOW: &str = "22015";
    pub const INVALID_ARGUMENT_FOR_LOGARITHM: &str = "2201E";
    pub const INVALID_ARGUMENT_FOR_POWER: &str = "2201F";
    pub const CHARACTER_NOT_IN_REPERTOIRE: &str = "22021";
    pub const INVALID_PARAMETER_VALUE: &str = "22023";
    pub const INVALID_TEXT_REPRESENTATION: &str = "22P02";
    pub const INVALID_BINARY_REPRESENTATION: &str = "22P03";
    pub const UNTRANSLATABLE_CHARACTER: &str = "22P05";
    pub const PROTOCOL_VIOLATION: &str = "08P01";
    pub const DATATYPE_MISMATCH: &str = "42804";
    pub const UNDEFINED_OBJECT: &str = "42704";
    pub const PROGRAM_LIMIT_EXCEEDED: &str = "54000";
    pub const DATA_CORRUPTED: &str = "XX001";
}

/// Deterministic: the same input under the same `TypeContext` fails in the same way on every node.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct DatumError {
    pub sqlstate: &'static str,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl DatumError {
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self { sqlstate, message: message.into(), detail: None, hint: None }
    }

    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// `invalid input syntax for type integer: "abc"`.
    pub fn invalid_syntax(type_name: &str, input: &str) -> Self {
        Self::new(
            sqlstate::INVALID_TEXT_REPRESENTATION,
            format!("invalid input syntax for type {type_name}: \"{input}\""),
        )
    }

    /// `value "99999999999" is out of range for type integer`.
    pub fn value_out_of_range(type_name: &str, input: &str) -> Self {
        Self::new(
            sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("value \"{input}\" is out of range for type {type_name}"),
        )
    }

    /// `integer out of range`, `timestamp out of range` and their like.
    pub fn out_of_range(what: &str) -> Self {
        let state = match what {
            "timestamp" | "date" | "interval" | "time" => sqlstate::DATETIME_FIELD_OVERFLOW,
            _ => sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
        };
        Self::new(state, format!("{what} out of range"))
    }

    pub fn division_by_zero() -> Self {
        Self::new(sqlstate::DIVISION_BY_ZERO, "division by zero")
    }

    pub fn corrupted(what: impl Into<String>) -> Self {
        Self::new(sqlstate::DATA_CORRUPTED, what)
    }
}
