//! Schema changes, in the words of `catalog::change`: objects that must exist are resolved to OIDs,
//! objects to be created are described by the catalog's own `New...` structs.
//!
//! SQL text that the catalog keeps (defaults, checks, predicates, view bodies) has been bound once
//! here, so it is known to be right. Whoever executes the plan does so on the newest catalog, and
//! binds again if its version moved.

use super::{Planned, SettingValue};
use catalog::change::{AutoIncrement, SequenceOptions};
use catalog::{
    NewCheck, NewColumn, NewForeignKey, NewIndex, NewKeyConstraint, NewSequence, NewTable, NewView,
    Oid,
};
use datum::{ColumnType, SqlType};

#[derive(Clone, Debug)]
pub enum DdlPlan {
    CreateDatabase {
        name: String,
        owner: Option<Oid>,
        connection_limit: Option<i32>,
        is_template: Option<bool>,
        allow_connections: Option<bool>,
    },
    /// `database` is `None` after IF EXISTS found nothing.
    DropDatabase {
        name: String,
        if_exists: bool,
        force: bool,
    },
    AlterDatabase {
        database: Oid,
        action: AlterDatabase,
    },
    CreateSchema {
        name: String,
        if_not_exists: bool,
        owner: Option<Oid>,
        /// Objects to create in it, to be bound with the new schema first in the search path.
        elements: Vec<crate::Statement>,
    },
    AlterSchema {
        schema: Oid,
        action: AlterSchema,
    },
    CreateTable {
        table: NewTable,
        if_not_exists: bool,
        temporary: bool,
        unlogged: bool,
    },
    /// CREATE TABLE AS, SELECT INTO. The table's columns are the query's.
    CreateTableAs {
        table: NewTable,
        if_not_exists: bool,
        temporary: bool,
        query: Box<Planned>,
        with_data: bool,
    },
    /// In order.
    AlterTable {
        table: Oid,
        actions: Vec<AlterTable>,
    },
    CreateIndex {
        index: NewIndex,
        if_not_exists: bool,
        concurrently: bool,
    },
    CreateSequence {
        sequence: NewSequence,
        if_not_exists: bool,
        temporary: bool,
    },
    AlterSequence {
        sequence: Oid,
        change: AlterSequence,
    },
    CreateView {
        view: NewView,
        temporary: bool,
    },
    /// ALTER TABLE/INDEX/VIEW/SEQUENCE ... RENAME TO, SET SCHEMA, OWNER TO.
    AlterRelation {
        relation: Oid,
        action: AlterRelation,
    },
    CreateRole {
        name: String,
        options: RoleOptions,
        member_of: Vec<Oid>,
        members: Vec<Oid>,
        admins: Vec<Oid>,
    },
    AlterRole {
        role: Oid,
        options: RoleOptions,
    },
    RenameRole {
        role: Oid,
        name: String,
    },
    DropRoles {
        roles: Vec<Oid>,
        missing: Vec<String>,
    },
    GrantRole {
        roles: Vec<Oid>,
        to: Vec<Oid>,
        admin_option: bool,
        revoke: bool,
    },
    /// ALTER ROLE/DATABASE ... SET/RESET. `role` 0: every one; `database` 0: every one.
    /// `setting` `None`: RESET ALL.
    AlterSettings {
        role: Oid,
        database: Oid,
        setting: Option<String>,
        value: SettingValue,
    },
    Grant(GrantPlan),
    /// Existing objects only; those that IF EXISTS found missing are told as notices
    /// (`table "x" does not exist, skipping`).
    Drop {
        kind: ObjectKind,
        objects: Vec<Oid>,
        missing: Vec<String>,
        cascade: bool,
    },
    Truncate {
        tables: Vec<Oid>,
        restart_identity: bool,
        cascade: bool,
    },
    Comment {
        target: CommentTarget,
        text: Option<String>,
    },
    /// An IF [NOT] EXISTS that found nothing to do: the notice to give.
    Skip {
        notice: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    Table,
    View,
    Index,
    Sequence,
    Schema,
}

#[derive(Clone, Debug)]
pub enum AlterDatabase {
    Rename(String),
    Owner(Oid),
    ConnectionLimit(i32),
    IsTemplate(bool),
    AllowConnections(bool),
}

#[derive(Clone, Debug)]
pub enum AlterSchema {
    Rename(String),
    Owner(Oid),
}

#[derive(Clone, Debug)]
pub enum AlterRelation {
    Rename(String),
    RenameColumn { from: String, to: String },
    SetSchema(Oid),
    Owner(Oid),
}

#[derive(Clone, Debug)]
pub enum AlterTable {
    AddColumn {
        column: NewColumn,
        constraints: Vec<NewConstraint>,
        if_not_exists: bool,
    },
    DropColumn {
        column: String,
        if_exists: bool,
        cascade: bool,
    },
    AddConstraint(NewConstraint),
    DropConstraint {
        name: String,
        if_exists: bool,
        cascade: bool,
    },
    ValidateConstraint(String),
    RenameConstraint {
        from: String,
        to: String,
    },
    /// `None`: DROP DEFAULT. SQL text.
    SetDefault {
        column: String,
        default: Option<String>,
    },
    SetNotNull {
        column: String,
        not_null: bool,
    },
    /// `using` gives the new value over the old row (by ordinal), cast to `ty`.
    SetType {
        column: String,
        ty: ColumnType,
        using: expr::Expr,
        explicit_using: bool,
    },
    AddIdentity {
        column: String,
        auto: AutoIncrement,
    },
    SetIdentityAlways {
        column: String,
        always: bool,
    },
    DropIdentity {
        column: String,
        if_exists: bool,
    },
    DropExpression {
        column: String,
    },
    /// `None` resets an option.
    SetOptions(Vec<(String, Option<String>)>),
    Owner(Oid),
}

/// A constraint to add, named or not.
#[derive(Clone, Debug)]
pub enum NewConstraint {
    PrimaryKey(NewKeyConstraint),
    Unique(NewKeyConstraint),
    /// PRIMARY KEY / UNIQUE USING INDEX.
    UsingIndex {
        name: Option<String>,
        index: Oid,
        primary: bool,
    },
    Check(NewCheck),
    ForeignKey(NewForeignKey),
}

/// `None` where ALTER SEQUENCE is silent.
#[derive(Clone, Debug, Default)]
pub struct AlterSequence {
    pub ty: Option<SqlType>,
    pub options: SequenceOptions,
    pub no_min: bool,
    pub no_max: bool,
    /// `Some(None)`: OWNED BY NONE; else table and column.
    pub owned_by: Option<Option<(Oid, String)>>,
    /// `Some(None)`: at its start value.
    pub restart: Option<Option<i64>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleOptions {
    pub superuser: Option<bool>,
    pub create_db: Option<bool>,
    pub create_role: Option<bool>,
    pub inherit: Option<bool>,
    pub login: Option<bool>,
    pub replication: Option<bool>,
    pub bypass_rls: Option<bool>,
    pub connection_limit: Option<i32>,
    /// `Some(None)`: PASSWORD NULL. As written: a password, or already a SCRAM verifier.
    pub password: Option<Option<String>>,
    /// As written; a timestamptz or 'infinity'.
    pub valid_until: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantPlan {
    pub revoke: bool,
    /// "SELECT", "INSERT", ..., or "ALL".
    pub privileges: Vec<String>,
    pub on: GrantKind,
    pub objects: Vec<Oid>,
    /// Zero: PUBLIC.
    pub roles: Vec<Oid>,
    pub grant_option: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantKind {
    Relations,
    Schemas,
    Databases,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommentTarget {
    Database(Oid),
    Schema(Oid),
    /// Table, view, index or sequence.
    Relation(Oid),
    /// Of a table or view; the attnum.
    Column {
        relation: Oid,
        attnum: i16,
    },
    /// A constraint's own OID.
    Constraint(Oid),
    Role(Oid),
}
