//! Sequences, views, and what a relation name may mean.

use crate::Oid;
use crate::table::{ColumnId, IndexDescriptor, TableDescriptor, column_type_serde};
use crate::virtual_tables::VirtualTable;
use datum::{ColumnType, SqlType};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A sequence's definition. Its current value is data, not catalog: `keys::sequence_key`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceDescriptor {
    pub oid: Oid,
    pub database: Oid,
    pub schema: Oid,
    pub name: String,
    pub owner: Oid,
    /// int2, int4 or int8, as a type OID.
    pub type_oid: Oid,
    pub start: i64,
    pub increment: i64,
    pub min: i64,
    pub max: i64,
    pub cache: i64,
    pub cycle: bool,
    /// OWNED BY: dropped with that column.
    pub owned_by: Option<(Oid, ColumnId)>,
}

impl SequenceDescriptor {
    pub fn ty(&self) -> SqlType {
        SqlType::from_oid(self.type_oid).unwrap_or(SqlType::Int8)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewDescriptor {
    pub oid: Oid,
    pub database: Oid,
    pub schema: Oid,
    pub name: String,
    pub owner: Oid,
    pub columns: Vec<ViewColumn>,
    /// The SELECT, without a trailing semicolon.
    pub definition: String,
    /// The search path under which `definition` was bound; it is bound again under this one.
    pub search_path: Vec<String>,
    pub dependencies: Vec<Dependency>,
    pub version: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewColumn {
    pub name: String,
    #[serde(with = "column_type_serde")]
    pub ty: ColumnType,
}

/// A table, view or sequence that a view reads, and which of its columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    pub relation: Oid,
    pub columns: Vec<ColumnId>,
}

/// What a relation name resolves to. Tables, views, sequences and indexes share one namespace.
#[derive(Clone)]
pub enum Relation<'a> {
    Table(&'a Arc<TableDescriptor>),
    View(&'a Arc<ViewDescriptor>),
    Sequence(&'a Arc<SequenceDescriptor>),
    Index(&'a Arc<TableDescriptor>, &'a IndexDescriptor),
    /// pg_catalog, information_schema, shanghai.
    Virtual(&'static VirtualTable),
}

impl Relation<'_> {
    pub fn oid(&self) -> Oid {
        match self {
            Relation::Table(t) => t.oid,
            Relation::View(v) => v.oid,
            Relation::Sequence(s) => s.oid,
            Relation::Index(_, i) => i.oid,
            Relation::Virtual(v) => v.oid,
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Relation::Table(t) => &t.name,
            Relation::View(v) => &v.name,
            Relation::Sequence(s) => &s.name,
            Relation::Index(_, i) => &i.name,
            Relation::Virtual(v) => v.name,
        }
    }

    pub fn schema(&self) -> Oid {
        match self {
            Relation::Table(t) | Relation::Index(t, _) => t.schema,
            Relation::View(v) => v.schema,
            Relation::Sequence(s) => s.schema,
            Relation::Virtual(v) => v.schema.oid(),
        }
    }

    /// The word PostgreSQL's messages use.
    pub fn kind(&self) -> &'static str {
        match self {
            Relation::Table(_) => "table",
            Relation::View(_) => "view",
            Relation::Sequence(_) => "sequence",
            Relation::Index(..) => "index",
            Relation::Virtual(v) if v.is_view => "view",
            Relation::Virtual(_) => "table",
        }
    }

    /// pg_class.relkind.
    pub fn relkind(&self) -> u8 {
        match self {
            Relation::Table(_) => b'r',
            Relation::View(_) => b'v',
            Relation::Sequence(_) => b'S',
            Relation::Index(..) => b'i',
            Relation::Virtual(v) if v.is_view => b'v',
            Relation::Virtual(_) => b'r',
        }
    }
}
