//! Tables: columns, indexes, constraints.
//!
//! Columns are named by [`ColumnId`] wherever they are stored (index columns, constraint columns,
//! rows), since ids survive renames and drops; execution works with *ordinals*, positions in
//! `TableDescriptor::columns`. `ordinal` and the `*_ordinals` methods translate.

use crate::Oid;
use core_domain::TableId;
use datum::{ColumnType, SqlType};
use serde::{Deserialize, Serialize};

/// A column's number for life, counted from one: pg_attribute.attnum. Never reused in its table.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct ColumnId(pub u16);

/// An index's number within its table's keyspace. The rows themselves are index 1.
pub type IndexId = u32;

/// Where the rows are: `/table/<id>/1/<row key>`.
pub const ROWS_INDEX: IndexId = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDescriptor {
    pub oid: Oid,
    pub database: Oid,
    pub schema: Oid,
    pub name: String,
    pub owner: Oid,
    /// Where its keys are. TRUNCATE and rewrites give it a new one.
    pub id: TableId,
    /// Live columns in order of id; what `SELECT *` shows and what ordinals count.
    pub columns: Vec<ColumnDescriptor>,
    /// The id that the next added column gets.
    pub next_column: ColumnId,
    pub next_index: IndexId,
    /// The primary key's index too; `IndexDescriptor::id == ROWS_INDEX` if the rows are its entries.
    pub indexes: Vec<IndexDescriptor>,
    pub constraints: Vec<ConstraintDescriptor>,
    /// `WITH (...)` options, as given.
    pub options: Vec<(String, String)>,
    /// Counts this table's schema changes; part of plan-cache keys.
    pub version: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnDescriptor {
    pub id: ColumnId,
    pub name: String,
    #[serde(with = "column_type_serde")]
    pub ty: ColumnType,
    pub not_null: bool,
    /// DEFAULT as SQL text.
    pub default: Option<String>,
    /// What rows written before `ADD COLUMN ... DEFAULT constant` read as: a value, encoded by
    /// `datum::codec`. Such rows are never rewritten.
    pub missing: Option<Vec<u8>>,
    pub generated: Option<Generated>,
    pub identity: Option<Identity>,
    /// Sequences that `default` calls `nextval` on; `DROP SEQUENCE` looks here.
    pub default_sequences: Vec<Oid>,
    pub collation: Option<String>,
}

/// GENERATED ALWAYS AS (sql) STORED.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generated {
    pub sql: String,
    pub uses: Vec<ColumnId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// GENERATED ALWAYS rather than BY DEFAULT.
    pub always: bool,
    pub sequence: Oid,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexDescriptor {
    pub oid: Oid,
    pub id: IndexId,
    pub name: String,
    pub unique: bool,
    pub primary: bool,
    /// UNIQUE NULLS NOT DISTINCT.
    pub nulls_not_distinct: bool,
    pub columns: Vec<IndexColumn>,
    /// INCLUDE columns: part of the definition, not yet stored in entries.
    pub include: Vec<ColumnId>,
    /// WHERE of a partial index, SQL text.
    pub predicate: Option<String>,
    /// The access method asked for; everything is an ordered index here.
    pub method: String,
    pub state: IndexState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexColumn {
    pub column: ColumnId,
    pub descending: bool,
    pub nulls_first: bool,
}

/// Online index building: writers maintain before readers may use (design.md §4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IndexState {
    DeleteOnly,
    WriteOnly,
    #[default]
    Public,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConstraintDescriptor {
    pub oid: Oid,
    pub name: String,
    pub kind: ConstraintKind,
    /// False after ADD CONSTRAINT ... NOT VALID.
    pub validated: bool,
    pub deferrable: bool,
    pub initially_deferred: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConstraintKind {
    /// OID of the index that enforces it.
    PrimaryKey {
        index: Oid,
    },
    Unique {
        index: Oid,
    },
    Check(CheckConstraint),
    ForeignKey(ForeignKey),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckConstraint {
    /// SQL text over this table's columns, without the word CHECK.
    pub sql: String,
    pub columns: Vec<ColumnId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignKey {
    /// Of the table that holds the constraint.
    pub columns: Vec<ColumnId>,
    pub referenced_table: Oid,
    /// In the order of `columns`.
    pub referenced_columns: Vec<ColumnId>,
    /// The unique index of the referenced table that answers look-ups.
    pub referenced_index: Oid,
    pub on_delete: ForeignKeyAction,
    pub on_update: ForeignKeyAction,
    pub match_type: ForeignKeyMatch,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForeignKeyAction {
    #[default]
    NoAction,
    Restrict,
    Cascade,
    SetNull,
    SetDefault,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForeignKeyMatch {
    #[default]
    Simple,
    Full,
}

/// What the rows of a table are keyed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowKey<'a> {
    /// The primary key's columns.
    PrimaryKey(&'a IndexDescriptor),
    /// A hidden int8, unique in the table, that no column shows.
    Hidden,
}

impl TableDescriptor {
    pub fn ordinal(&self, column: ColumnId) -> Option<usize> {
        // Without dropped columns the ordinal is the id less one; look there first.
        let guess = usize::from(column.0).wrapping_sub(1);
        match self.columns.get(guess) {
            Some(c) if c.id == column => Some(guess),
            _ => self.columns.binary_search_by_key(&column, |c| c.id).ok(),
        }
    }

    /// Ordinals of columns that a descriptor of this table names.
    pub fn ordinals(&self, columns: impl IntoIterator<Item = ColumnId>) -> Vec<usize> {
        columns
            .into_iter()
            .map(|c| self.ordinal(c).expect("a descriptor names only live columns of its table"))
            .collect()
    }

    pub fn column(&self, id: ColumnId) -> Option<&ColumnDescriptor> {
        self.ordinal(id).map(|at| &self.columns[at])
    }

    pub fn column_named(&self, name: &str) -> Option<(usize, &ColumnDescriptor)> {
        self.columns.iter().enumerate().find(|(_, c)| c.name == name)
    }

    pub fn row_key(&self) -> RowKey<'_> {
        match self.indexes.iter().find(|i| i.id == ROWS_INDEX) {
            Some(index) => RowKey::PrimaryKey(index),
            None => RowKey::Hidden,
        }
    }

    /// Ordinals of the columns that rows are keyed by, in key order; empty for a hidden row id.
    pub fn row_key_ordinals(&self) -> Vec<usize> {
        match self.row_key() {
            RowKey::PrimaryKey(index) => self.index_ordinals(index),
            RowKey::Hidden => Vec::new(),
        }
    }

    pub fn primary_index(&self) -> Option<&IndexDescriptor> {
        self.indexes.iter().find(|i| i.primary)
    }

    /// Ordinals of the primary key as SQL sees it, wherever it is stored.
    pub fn primary_key_ordinals(&self) -> Vec<usize> {
        self.primary_index().map(|i| self.index_ordinals(i)).unwrap_or_default()
    }

    /// The indexes that hold entries of their own: all except the one the rows are stored in.
    pub fn secondary_indexes(&self) -> impl Iterator<Item = &IndexDescriptor> {
        self.indexes.iter().filter(|i| i.id != ROWS_INDEX)
    }

    /// The indexes that can tell a duplicate, primary key first.
    pub fn unique_indexes(&self) -> impl Iterator<Item = &IndexDescriptor> {
        let primary = self.indexes.iter().filter(|i| i.primary);
        primary.chain(self.indexes.iter().filter(|i| i.unique && !i.primary))
    }

    pub fn index_ordinals(&self, index: &IndexDescriptor) -> Vec<usize> {
        self.ordinals(index.columns.iter().map(|c| c.column))
    }

    pub fn index(&self, oid: Oid) -> Option<&IndexDescriptor> {
        self.indexes.iter().find(|i| i.oid == oid)
    }

    pub fn index_by_id(&self, id: IndexId) -> Option<&IndexDescriptor> {
        self.indexes.iter().find(|i| i.id == id)
    }

    pub fn constraint_named(&self, name: &str) -> Option<&ConstraintDescriptor> {
        self.constraints.iter().find(|c| c.name == name)
    }

    pub fn constraint(&self, oid: Oid) -> Option<&ConstraintDescriptor> {
        self.constraints.iter().find(|c| c.oid == oid)
    }

    /// The PRIMARY KEY or UNIQUE constraint that `index` enforces.
    pub fn constraint_of_index(&self, index: Oid) -> Option<&ConstraintDescriptor> {
        self.constraints.iter().find(|c| c.index() == Some(index))
    }

    pub fn checks(&self) -> impl Iterator<Item = (&ConstraintDescriptor, &CheckConstraint)> {
        self.constraints.iter().filter_map(|c| match &c.kind {
            ConstraintKind::Check(check) => Some((c, check)),
            ConstraintKind::PrimaryKey { .. }
            | ConstraintKind::Unique { .. }
            | ConstraintKind::ForeignKey(_) => None,
        })
    }

    /// Foreign keys that this table holds. Those pointing at it: `Catalog::referenced_by`.
    pub fn foreign_keys(&self) -> impl Iterator<Item = (&ConstraintDescriptor, &ForeignKey)> {
        self.constraints.iter().filter_map(|c| match &c.kind {
            ConstraintKind::ForeignKey(key) => Some((c, key)),
            ConstraintKind::PrimaryKey { .. }
            | ConstraintKind::Unique { .. }
            | ConstraintKind::Check(_) => None,
        })
    }
}

impl ConstraintDescriptor {
    /// The index behind a PRIMARY KEY or UNIQUE constraint.
    pub fn index(&self) -> Option<Oid> {
        match &self.kind {
            ConstraintKind::PrimaryKey { index } | ConstraintKind::Unique { index } => Some(*index),
            ConstraintKind::Check(_) | ConstraintKind::ForeignKey(_) => None,
        }
    }
}

impl ForeignKeyAction {
    /// pg_constraint.confdeltype.
    pub fn code(self) -> u8 {
        match self {
            ForeignKeyAction::NoAction => b'a',
            ForeignKeyAction::Restrict => b'r',
            ForeignKeyAction::Cascade => b'c',
            ForeignKeyAction::SetNull => b'n',
            ForeignKeyAction::SetDefault => b'd',
        }
    }

    pub fn sql(self) -> &'static str {
        match self {
            ForeignKeyAction::NoAction => "NO ACTION",
            ForeignKeyAction::Restrict => "RESTRICT",
            ForeignKeyAction::Cascade => "CASCADE",
            ForeignKeyAction::SetNull => "SET NULL",
            ForeignKeyAction::SetDefault => "SET DEFAULT",
        }
    }
}

/// Types are stored as PostgreSQL's type OID and typmod: stable whatever our enum looks like.
pub(crate) mod column_type_serde {
    use super::{ColumnType, SqlType};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub fn serialize<S: Serializer>(ty: &ColumnType, to: S) -> Result<S::Ok, S::Error> {
        (ty.ty.oid(), ty.typmod).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ColumnType, D::Error> {
        let (oid, typmod) = <(u32, i32)>::deserialize(from)?;
        let ty = SqlType::from_oid(oid)
            .ok_or_else(|| D::Error::custom(format_args!("unknown type OID {oid}")))?;
        Ok(ColumnType { ty, typmod })
    }
}
