//! System relations: `pg_catalog`, `information_schema` and `shanghai`, computed when read.
//!
//! Their names, OIDs and columns are in `definitions.txt` (one line per relation: schema, name,
//! OID, relkind, columns with types), the same in every database. A relation whose rows nobody
//! computes is empty, which is the truth: there are no triggers, policies, publications, ...
//!
//! ```text
//! context.rs              what rows need to know beyond the catalog: sessions, settings, functions
//! row.rs                  builds a row by column names
//! types.rs                pg_type
//! relations.rs            pg_class, pg_attribute, pg_attrdef, pg_index, pg_constraint, ...
//! cluster.rs              pg_database, pg_roles, ..., pg_settings, pg_stat_activity, shanghai.*
//! programs.rs             pg_proc, pg_am, pg_opclass, pg_collation, pg_language
//! listings.rs             pg_tables, pg_views, pg_indexes, pg_sequences
//! information_schema.rs
//! ```

mod cluster;
mod context;
mod information_schema;
mod listings;
mod programs;
mod relations;
mod row;
pub mod types;

pub use context::{
    FunctionInfo, LockInfo, NodeInfo, PreparedInfo, RangeInfo, SessionInfo, SettingInfo,
    VirtualContext,
};

use crate::Oid;
use crate::snapshot::Catalog;
use datum::{Datum, SqlType};
use std::collections::HashMap;
use std::sync::LazyLock;

/// OIDs of the catalogs that list objects: pg_description.classoid and the like.
pub mod class {
    use crate::Oid;

    pub const TYPE: Oid = 1247;
    pub const ATTRIBUTE: Oid = 1249;
    pub const PROC: Oid = 1255;
    pub const RELATION: Oid = 1259;
    pub const AUTHID: Oid = 1260;
    pub const DATABASE: Oid = 1262;
    pub const ATTRDEF: Oid = 2604;
    pub const CONSTRAINT: Oid = 2606;
    pub const NAMESPACE: Oid = 2615;
    pub const REWRITE: Oid = 2618;
}

/// The schemas that exist in every database and hold nothing stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SystemSchema {
    PgCatalog,
    PgToast,
    InformationSchema,
    Shanghai,
}

impl SystemSchema {
    pub const ALL: [SystemSchema; 4] = [
        SystemSchema::PgToast,
        SystemSchema::PgCatalog,
        SystemSchema::InformationSchema,
        SystemSchema::Shanghai,
    ];

    pub fn name(self) -> &'static str {
        match self {
            SystemSchema::PgCatalog => "pg_catalog",
            SystemSchema::PgToast => "pg_toast",
            SystemSchema::InformationSchema => "information_schema",
            SystemSchema::Shanghai => "shanghai",
        }
    }

    pub fn oid(self) -> Oid {
        match self {
            SystemSchema::PgCatalog => 11,
            SystemSchema::PgToast => 99,
            SystemSchema::InformationSchema => 13_000,
            SystemSchema::Shanghai => 13_900,
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    pub fn by_oid(oid: Oid) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.oid() == oid)
    }
}

/// A system relation.
pub struct VirtualTable {
    pub oid: Oid,
    pub schema: SystemSchema,
    pub name: &'static str,
    pub is_view: bool,
    pub columns: Vec<VirtualColumn>,
    rows: fn(&VirtualTable, &Catalog, &VirtualContext) -> Vec<Vec<Datum>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualColumn {
    pub name: &'static str,
    pub ty: SqlType,
}

impl VirtualTable {
    pub fn columns(&self) -> &[VirtualColumn] {
        &self.columns
    }

    pub fn column_index(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }

    /// Every row, each as wide as `columns`.
    pub fn rows(&self, catalog: &Catalog, context: &VirtualContext) -> Vec<Vec<Datum>> {
        (self.rows)(self, catalog, context)
    }
}

/// A system relation by name. `schema` without one: `pg_catalog`.
pub fn lookup(schema: &str, name: &str) -> Option<&'static VirtualTable> {
    let schema = SystemSchema::named(schema)?;
    TABLES.by_name.get(&(schema, name)).map(|at| &TABLES.all[*at])
}

pub fn by_oid(oid: Oid) -> Option<&'static VirtualTable> {
    TABLES.by_oid.get(&oid).map(|at| &TABLES.all[*at])
}

/// Every system relation.
pub fn all() -> &'static [VirtualTable] {
    &TABLES.all
}

struct Tables {
    all: Vec<VirtualTable>,
    by_name: HashMap<(SystemSchema, &'static str), usize>,
    by_oid: HashMap<Oid, usize>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let all: Vec<VirtualTable> = include_str!("definitions.txt").lines().map(define).collect();
    let by_name = all.iter().enumerate().map(|(at, t)| ((t.schema, t.name), at)).collect();
    let by_oid = all.iter().enumerate().map(|(at, t)| (t.oid, at)).collect();
    Tables { all, by_name, by_oid }
});

fn define(line: &'static str) -> VirtualTable {
    let mut words = line.split(' ');
    let mut word = || words.next().expect("a definition has schema, name, OID and kind");
    let schema = SystemSchema::named(word()).expect("a definition names a system schema");
    let name = word();
    let oid = word().parse().expect("a definition's OID is a number");
    let is_view = word() == "v";
    let columns = words.map(|column| {
        let (name, ty) = column.split_once(':').expect("a column has a name and a type");
        let ty = SqlType::from_name(ty).unwrap_or(SqlType::Text);
        VirtualColumn { name, ty }
    });
    let columns = columns.collect();
    VirtualTable { oid, schema, name, is_view, columns, rows: rows_of(schema, name) }
}

type Rows = fn(&VirtualTable, &Catalog, &VirtualContext) -> Vec<Vec<Datum>>;

fn rows_of(schema: SystemSchema, name: &str) -> Rows {
    match schema {
        SystemSchema::PgCatalog => relations::rows_of(name)
            .or_else(|| cluster::rows_of(name))
            .or_else(|| programs::rows_of(name))
            .or_else(|| listings::rows_of(name))
            .or_else(|| (name == "pg_type").then_some(types::rows as Rows)),
        SystemSchema::InformationSchema => information_schema::rows_of(name),
        SystemSchema::Shanghai => cluster::shanghai_rows_of(name),
        SystemSchema::PgToast => None,
    }
    .unwrap_or(|_, _, _| Vec::new())
}
