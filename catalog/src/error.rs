//! What a catalog refuses, in PostgreSQL's words.
//!
//! Every refusal is an answer to the user and none can be retried, so one struct carries what the
//! protocol shows; callers tell cases apart by SQLSTATE.

use std::fmt;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CatalogError {
    pub sqlstate: &'static str,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl CatalogError {
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self { sqlstate, message: message.into(), detail: None, hint: None }
    }

    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn no_relation(name: &str) -> Self {
        Self::new("42P01", format!("relation \"{name}\" does not exist"))
    }

    pub fn no_table(name: &str) -> Self {
        Self::new("42P01", format!("table \"{name}\" does not exist"))
    }

    pub fn no_schema(name: &str) -> Self {
        Self::new("3F000", format!("schema \"{name}\" does not exist"))
    }

    pub fn no_database(name: &str) -> Self {
        Self::new("3D000", format!("database \"{name}\" does not exist"))
    }

    pub fn no_role(name: &str) -> Self {
        Self::new("42704", format!("role \"{name}\" does not exist"))
    }

    pub fn no_column(column: &str, relation: &str) -> Self {
        Self::new("42703", format!("column \"{column}\" of relation \"{relation}\" does not exist"))
    }

    /// A column named in a constraint or an index: PostgreSQL words that differently.
    pub fn no_key_column(column: &str) -> Self {
        Self::new("42703", format!("column \"{column}\" named in key does not exist"))
    }

    pub fn no_constraint(constraint: &str, relation: &str) -> Self {
        Self::new(
            "42704",
            format!("constraint \"{constraint}\" of relation \"{relation}\" does not exist"),
        )
    }

    pub fn duplicate_relation(name: &str) -> Self {
        Self::new("42P07", format!("relation \"{name}\" already exists"))
    }

    pub fn unsupported(what: impl fmt::Display) -> Self {
        Self::new("0A000", format!("{what} is not supported yet"))
    }

    pub fn corrupt(what: impl fmt::Display) -> Self {
        Self::new("XX001", format!("catalog data corrupted: {what}"))
    }
}

impl fmt::Display for CatalogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CatalogError {}
