//! SQL text in, plans out: what a statement means, decided once, before anything runs.
//!
//! ```text
//! text ── parse ──▶ Statement ── bind(catalog, search path, parameter types) ──▶ Planned ── executors
//!         parse/                 bind/                                           plan/
//! ```
//!
//! Worked example: `parse("select a from t where id = $1")` gives one `Statement`; binding it
//! against a catalog where `t` has the primary key `id int4` gives
//! `Planned { params: [Int4], columns: [a], plan: Oltp { access: PkGet { key: [$1] }, project: [#1] } }`.
//!
//! Invariants, as absences: nothing here performs I/O, waits, or reads a clock; nothing here knows
//! DataFusion or key-value transactions; no name or text is left in a plan to be resolved while it
//! runs; a feature that is missing is an error that names it, never a plan that ignores it.

pub mod access;
mod ast;
mod bind;
pub mod error;
mod parse;
pub mod plan;

pub use bind::bind;
pub use error::{PlanError, Result};
pub use parse::{parse, parse_one};
pub use plan::*;

use std::sync::Arc;

/// One parsed statement.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Its own text, without its neighbours and the semicolon.
    pub text: Arc<str>,
    /// Characters of the whole query string before `text`: added to positions of errors.
    pub offset: u32,
    pub(crate) ast: Arc<ast::Stmt>,
    /// AS OF SYSTEM TIME, if it stands in it.
    pub(crate) as_of: Option<Arc<str>>,
}

/// What names and types mean to the session that asks.
#[derive(Clone, Copy)]
pub struct BindContext<'a> {
    pub catalog: &'a catalog::Catalog,
    pub database: catalog::Oid,
    /// `"$user"` already replaced.
    pub search_path: &'a [String],
    /// Types given by Parse or PREPARE; `Unknown` or missing: inferred.
    pub param_types: &'a [datum::SqlType],
    /// For literals: zone, date order, ...
    pub types: &'a datum::TypeContext,
    /// current_user, for CREATE SCHEMA AUTHORIZATION CURRENT_USER and the like.
    pub user: &'a str,
}
