//! What tables are, and how rows become keys.
//!
//! ```text
//! database.rs     DatabaseDescriptor, SchemaDescriptor, RoleDescriptor, settings, comments
//! table.rs        TableDescriptor: columns, indexes, constraints
//! relation.rs     SequenceDescriptor, ViewDescriptor, Relation (what a name in FROM may mean)
//! snapshot.rs     Catalog: one immutable version of everything, with its look-ups
//! bootstrap.rs    what a new cluster contains
//! persistence.rs  /system/catalog/... keys and their values
//! change/         CatalogChange: DDL as pure functions: a catalog in, a catalog and key writes out
//! keys.rs         row keys and index entries        rows.rs   row values
//! deparse.rs      pg_get_indexdef, pg_get_constraintdef, ... as functions of a catalog
//! virtual_tables/ pg_catalog, information_schema, shanghai
//! ```
//!
//! A DDL statement: the session holds `Arc<Catalog>`; it starts `catalog.change()`, calls
//! `create_table(...)`, and `finish()` answers a new `Arc<Catalog>` together with the writes that
//! make it durable. The session puts those writes into its own key-value transaction, so DDL
//! commits and rolls back with everything else.
//!
//! Invariants, as absences: nothing here performs I/O, waits, or reads a clock; nothing here
//! parses SQL text (defaults, checks and view bodies are stored as the text the binder hands
//! over); a published `Catalog` never changes; OIDs, column ids and table ids are never reused.

pub mod bootstrap;
pub mod change;
pub mod database;
pub mod deparse;
pub mod error;
pub mod keys;
pub mod persistence;
pub mod relation;
pub mod rows;
pub mod snapshot;
pub mod table;
pub mod virtual_tables;

pub use change::{
    AutoIncrement, CatalogChange, CatalogNotice, CatalogUpdate, DropBehavior, DropKind, NewCheck,
    NewColumn, NewForeignKey, NewIndex, NewIndexColumn, NewKeyConstraint, NewSequence, NewTable,
    NewView, PrimaryKeyPlacement, Rewrite, SequenceOptions, Validation,
};
pub use database::{
    CommentKey, DatabaseDescriptor, RoleDescriptor, RoleMembership, SchemaDescriptor,
};
pub use error::CatalogError;
pub use relation::{Dependency, Relation, SequenceDescriptor, ViewColumn, ViewDescriptor};
pub use snapshot::Catalog;
pub use table::{
    CheckConstraint, ColumnDescriptor, ColumnId, ConstraintDescriptor, ConstraintKind, ForeignKey,
    ForeignKeyAction, ForeignKeyMatch, Generated, Identity, IndexColumn, IndexDescriptor, IndexId,
    IndexState, RowKey, TableDescriptor,
};
pub use virtual_tables::{SystemSchema, VirtualColumn, VirtualContext, VirtualTable};

/// A PostgreSQL object identifier. Ours start at [`FIRST_NORMAL_OID`]; below are PostgreSQL's own.
pub type Oid = u32;

pub const FIRST_NORMAL_OID: Oid = 16384;

pub type Result<T> = std::result::Result<T, CatalogError>;
