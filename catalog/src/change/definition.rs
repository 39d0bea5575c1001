//! What the binder hands over to create things. Names are already folded and truncated.

use crate::Oid;
use crate::relation::{Dependency, ViewColumn};
use crate::table::{ForeignKeyAction, ForeignKeyMatch, IndexColumn};
use datum::{ColumnType, Datum, SqlType};

#[derive(Clone, Debug, Default)]
pub struct NewTable {
    pub schema: Oid,
    pub name: String,
    pub columns: Vec<NewColumn>,
    pub primary_key: Option<NewKeyConstraint>,
    pub uniques: Vec<NewKeyConstraint>,
    pub checks: Vec<NewCheck>,
    /// `referenced_table` zero means the table being created.
    pub foreign_keys: Vec<NewForeignKey>,
    pub options: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
pub struct NewColumn {
    pub name: String,
    pub ty: ColumnType,
    pub not_null: bool,
    /// SQL text. Sequences in `nextval('name')` are found and recorded here, not by the caller.
    pub default: Option<String>,
    /// For ADD COLUMN: what existing rows read as, if the default is a constant.
    pub missing: Option<Datum>,
    /// GENERATED ALWAYS AS (sql) STORED, and the columns that it uses.
    pub generated: Option<(String, Vec<String>)>,
    pub auto: Option<AutoIncrement>,
    pub collation: Option<String>,
}

impl NewColumn {
    pub fn new(name: impl Into<String>, ty: ColumnType) -> Self {
        Self {
            name: name.into(),
            ty,
            not_null: false,
            default: None,
            missing: None,
            generated: None,
            auto: None,
            collation: None,
        }
    }
}

/// A column that owns a sequence. Both imply NOT NULL.
#[derive(Clone, Debug)]
pub enum AutoIncrement {
    /// SERIAL: a DEFAULT of nextval.
    Serial,
    Identity {
        always: bool,
        options: SequenceOptions,
    },
}

/// PRIMARY KEY or UNIQUE.
#[derive(Clone, Debug, Default)]
pub struct NewKeyConstraint {
    /// None: chosen as PostgreSQL does.
    pub name: Option<String>,
    pub columns: Vec<String>,
    pub include: Vec<String>,
    pub nulls_not_distinct: bool,
    pub deferrable: bool,
    pub initially_deferred: bool,
}

#[derive(Clone, Debug, Default)]
pub struct NewCheck {
    pub name: Option<String>,
    pub sql: String,
    /// The columns that `sql` uses.
    pub columns: Vec<String>,
    pub not_valid: bool,
}

#[derive(Clone, Debug, Default)]
pub struct NewForeignKey {
    pub name: Option<String>,
    pub columns: Vec<String>,
    pub referenced_table: Oid,
    /// Empty: the referenced table's primary key.
    pub referenced_columns: Vec<String>,
    pub on_delete: ForeignKeyAction,
    pub on_update: ForeignKeyAction,
    pub match_type: ForeignKeyMatch,
    pub deferrable: bool,
    pub initially_deferred: bool,
    pub not_valid: bool,
}

#[derive(Clone, Debug, Default)]
pub struct NewIndex {
    pub table: Oid,
    pub name: Option<String>,
    pub unique: bool,
    pub nulls_not_distinct: bool,
    pub columns: Vec<NewIndexColumn>,
    pub include: Vec<String>,
    pub predicate: Option<String>,
    /// Empty: btree.
    pub method: String,
}

#[derive(Clone, Debug)]
pub struct NewIndexColumn {
    pub name: String,
    pub descending: bool,
    /// None: PostgreSQL's default, which is `descending`.
    pub nulls_first: Option<bool>,
}

impl NewIndexColumn {
    pub(super) fn place(&self, column: crate::table::ColumnId) -> IndexColumn {
        let nulls_first = self.nulls_first.unwrap_or(self.descending);
        IndexColumn { column, descending: self.descending, nulls_first }
    }
}

/// What is None takes PostgreSQL's default for the type and direction.
#[derive(Clone, Debug, Default)]
pub struct SequenceOptions {
    /// SEQUENCE NAME of an identity column: schema and name.
    pub name: Option<(Oid, String)>,
    pub start: Option<i64>,
    pub increment: Option<i64>,
    pub min: Option<i64>,
    pub max: Option<i64>,
    pub cache: Option<i64>,
    pub cycle: Option<bool>,
}

#[derive(Clone, Debug)]
pub struct NewSequence {
    pub schema: Oid,
    pub name: String,
    /// int2, int4 or int8.
    pub ty: SqlType,
    pub options: SequenceOptions,
    /// OWNED BY table.column.
    pub owned_by: Option<(Oid, String)>,
}

#[derive(Clone, Debug)]
pub struct NewView {
    pub schema: Oid,
    pub name: String,
    pub columns: Vec<ViewColumn>,
    pub definition: String,
    pub dependencies: Vec<Dependency>,
    pub or_replace: bool,
}
