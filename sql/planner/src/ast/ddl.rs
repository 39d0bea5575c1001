//! Schema statements as written.

use super::{Expr, Ident, ObjectName, Pos, Query, RoleSpec, TypeName};
use catalog::{ForeignKeyAction, ForeignKeyMatch};

#[derive(Clone, Debug)]
pub struct CreateTableStmt {
    pub name: ObjectName,
    pub if_not_exists: bool,
    pub temporary: bool,
    pub unlogged: bool,
    pub elements: Vec<TableElement>,
    pub options: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
pub enum TableElement {
    Column(ColumnClause),
    Constraint(ConstraintClause),
    /// LIKE table, with which INCLUDING words ("defaults", "constraints", "indexes", "identity",
    /// "generated", "all").
    Like {
        table: ObjectName,
        including: Vec<String>,
    },
}

#[derive(Clone, Debug)]
pub struct ColumnClause {
    pub name: Ident,
    pub ty: TypeName,
    pub collation: Option<ObjectName>,
    pub constraints: Vec<ColumnConstraint>,
}

#[derive(Clone, Debug)]
pub enum ColumnConstraint {
    NotNull,
    Null,
    Default(StoredText),
    Identity {
        always: bool,
        options: Vec<SequenceOption>,
    },
    Generated(StoredText),
    /// PRIMARY KEY, UNIQUE, CHECK, REFERENCES.
    Table(ConstraintClause),
}

/// An expression, and how it was spelled.
#[derive(Clone, Debug)]
pub struct StoredText {
    pub expr: Expr,
    pub sql: String,
}

#[derive(Clone, Debug)]
pub struct ConstraintClause {
    pub name: Option<Ident>,
    pub kind: ConstraintClauseKind,
    pub not_valid: bool,
    pub deferrable: bool,
    pub initially_deferred: bool,
    pub pos: Pos,
}

#[derive(Clone, Debug)]
pub enum ConstraintClauseKind {
    PrimaryKey {
        columns: Vec<Ident>,
        include: Vec<Ident>,
    },
    Unique {
        columns: Vec<Ident>,
        include: Vec<Ident>,
        nulls_not_distinct: bool,
    },
    UsingIndex {
        index: Ident,
        primary: bool,
    },
    Check(StoredText),
    ForeignKey {
        columns: Vec<Ident>,
        table: ObjectName,
        referenced: Vec<Ident>,
        on_delete: ForeignKeyAction,
        on_update: ForeignKeyAction,
        match_type: ForeignKeyMatch,
    },
}

#[derive(Clone, Debug)]
pub struct CreateTableAsStmt {
    pub name: ObjectName,
    pub if_not_exists: bool,
    pub temporary: bool,
    pub columns: Vec<Ident>,
    pub options: Vec<(String, String)>,
    pub query: CreateAsSource,
    pub with_data: bool,
}

#[derive(Clone, Debug)]
pub enum CreateAsSource {
    Query(Box<Query>),
}

#[derive(Clone, Debug)]
pub struct AlterTableStmt {
    pub name: ObjectName,
    pub if_exists: bool,
    pub actions: Vec<AlterTableAction>,
}

#[derive(Clone, Debug)]
pub enum AlterTableAction {
    AddColumn {
        column: ColumnClause,
        if_not_exists: bool,
    },
    DropColumn {
        column: Ident,
        if_exists: bool,
        cascade: bool,
    },
    AddConstraint(ConstraintClause),
    DropConstraint {
        name: Ident,
        if_exists: bool,
        cascade: bool,
    },
    ValidateConstraint(Ident),
    RenameConstraint {
        from: Ident,
        to: Ident,
    },
    SetDefault {
        column: Ident,
        default: Option<StoredText>,
    },
    SetNotNull {
        column: Ident,
        not_null: bool,
    },
    SetType {
        column: Ident,
        ty: TypeName,
        using: Option<Expr>,
    },
    AddIdentity {
        column: Ident,
        always: bool,
        options: Vec<SequenceOption>,
    },
    SetIdentityAlways {
        column: Ident,
        always: bool,
    },
    DropIdentity {
        column: Ident,
        if_exists: bool,
    },
    DropExpression {
        column: Ident,
    },
    SetOptions(Vec<(String, Option<String>)>),
    Owner(RoleSpec),
    /// Accepted without effect: SET STATISTICS, CLUSTER ON, REPLICA IDENTITY, SET LOGGED, ...
    Nothing,
    Unsupported(&'static str),
}

#[derive(Clone, Debug)]
pub struct CreateIndexStmt {
    pub name: Option<Ident>,
    pub table: ObjectName,
    pub unique: bool,
    pub concurrently: bool,
    pub if_not_exists: bool,
    pub method: Option<Ident>,
    pub columns: Vec<IndexElement>,
    pub include: Vec<Ident>,
    pub nulls_not_distinct: bool,
    pub filter: Option<StoredText>,
}

#[derive(Clone, Debug)]
pub struct IndexElement {
    pub expr: Expr,
    pub descending: bool,
    pub nulls_first: Option<bool>,
}

#[derive(Clone, Debug)]
pub struct CreateSequenceStmt {
    pub name: ObjectName,
    pub if_not_exists: bool,
    pub temporary: bool,
    pub options: Vec<SequenceOption>,
}

#[derive(Clone, Debug)]
pub enum SequenceOption {
    Name(ObjectName),
    As(TypeName),
    Start(i64),
    Increment(i64),
    /// `None`: NO MINVALUE.
    Min(Option<i64>),
    Max(Option<i64>),
    Cache(i64),
    Cycle(bool),
    /// `None`: NONE.
    OwnedBy(Option<ObjectName>),
    Restart(Option<i64>),
}
