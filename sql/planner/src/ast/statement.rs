//! Statements as written.

use super::{
    AlterTableStmt, CreateIndexStmt, CreateSequenceStmt, CreateTableAsStmt, CreateTableStmt,
    Delete, Expr, Ident, Insert, ObjectName, Query, SequenceOption, TypeName, Update,
};
use crate::plan::{
    CopyTarget, DiscardTarget, ExplainFormat, FetchDirection, ObjectKind, RoleOptions,
    SettingScope, SettingValue, TableLockMode, TxnPlan,
};

#[derive(Clone, Debug)]
pub enum Stmt {
    Empty,
    Query(Box<Query>),
    Insert(Box<Insert>),
    Update(Box<Update>),
    Delete(Box<Delete>),
    Txn(TxnPlan),
    Set {
        name: String,
        value: SettingValue,
        scope: SettingScope,
    },
    SetRole {
        role: Option<String>,
        local: bool,
    },
    SetSessionAuthorization {
        role: Option<String>,
        local: bool,
    },
    AlterSystem {
        name: Option<String>,
        value: SettingValue,
    },
    Show(Option<String>),
    Reset(Option<String>),
    Discard(DiscardTarget),
    Explain {
        options: ExplainWords,
        statement: Box<Stmt>,
    },
    Prepare {
        name: String,
        types: Vec<TypeName>,
        statement: crate::Statement,
    },
    Execute {
        name: String,
        args: Vec<Expr>,
    },
    Deallocate(Option<String>),
    DeclareCursor {
        name: String,
        binary: bool,
        scroll: bool,
        hold: bool,
        query: Box<Query>,
    },
    Fetch {
        cursor: String,
        direction: FetchDirection,
        is_move: bool,
    },
    CloseCursor(Option<String>),
    Listen(String),
    Unlisten(Option<String>),
    Notify {
        channel: String,
        payload: String,
    },
    Copy(Box<CopyStmt>),
    Vacuum {
        tables: Vec<ObjectName>,
        analyze: bool,
        full: bool,
        verbose: bool,
    },
    Analyze {
        tables: Vec<ObjectName>,
        verbose: bool,
    },
    Checkpoint,
    Reindex {
        kind: Option<ObjectKind>,
        name: Option<ObjectName>,
    },
    Cluster(Option<ObjectName>),
    LockTable {
        tables: Vec<ObjectName>,
        mode: TableLockMode,
        nowait: bool,
    },

    CreateDatabase {
        name: Ident,
        options: Vec<(Ident, OptionValue)>,
    },
    AlterDatabase {
        name: Ident,
        action: AlterDatabaseAction,
    },
    DropDatabase {
        name: Ident,
        if_exists: bool,
        force: bool,
    },
    CreateSchema {
        name: Option<Ident>,
        authorization: Option<RoleSpec>,
        if_not_exists: bool,
        elements: Vec<crate::Statement>,
    },
    AlterSchema {
        name: Ident,
        action: AlterObjectAction,
    },
    CreateTable(Box<CreateTableStmt>),
    CreateTableAs(Box<CreateTableAsStmt>),
    AlterTable(Box<AlterTableStmt>),
    CreateIndex(Box<CreateIndexStmt>),
    CreateSequence(Box<CreateSequenceStmt>),
    AlterSequence {
        name: ObjectName,
        if_exists: bool,
        options: Vec<SequenceOption>,
    },
    CreateView {
        name: ObjectName,
        or_replace: bool,
        temporary: bool,
        columns: Vec<Ident>,
        query: Box<Query>,
        definition: String,
    },
    /// ALTER INDEX/VIEW/SEQUENCE, and ALTER TABLE of the forms that are alone.
    AlterObject {
        kind: ObjectKind,
        name: ObjectName,
        if_exists: bool,
        action: AlterObjectAction,
    },
    /// ALTER TABLE/INDEX ... SPLIT
    Split {
        kind: ObjectKind,
        name: ObjectName,
        if_exists: bool,
        points: SplitPoints,
    },
    TransferLeader {
        range: i64,
        node: i64,
    },
    Drop {
        kind: ObjectKind,
        names: Vec<ObjectName>,
        if_exists: bool,
        cascade: bool,
    },
    Truncate {
        tables: Vec<ObjectName>,
        restart_identity: bool,
        cascade: bool,
    },
    Comment {
        target: CommentOn,
        text: Option<String>,
    },
    CreateRole {
        name: Ident,
        options: RoleOptions,
        member_of: Vec<RoleSpec>,
        members: Vec<RoleSpec>,
        admins: Vec<RoleSpec>,
    },
    AlterRole {
        role: RoleSpec,
        options: RoleOptions,
    },
    RenameRole {
        role: Ident,
        name: Ident,
    },
    /// `None`: ALTER ROLE ALL.
    AlterRoleSetting {
        role: Option<RoleSpec>,
        database: Option<Ident>,
        setting: Option<String>,
        value: SettingValue,
    },
    DropRole {
        names: Vec<RoleSpec>,
        if_exists: bool,
    },
    GrantRole {
        roles: Vec<Ident>,
        to: Vec<RoleSpec>,
        admin_option: bool,
        revoke: bool,
    },
    Grant(Box<GrantStmt>),
    /// Understood, but not there: "CREATE FUNCTION", ...
    Unsupported(&'static str),
}

#[derive(Clone, Debug)]
pub struct ExplainWords {
    pub options: Vec<(Ident, Option<String>)>,
    pub analyze: bool,
    pub verbose: bool,
    pub format: Option<ExplainFormat>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum RoleSpec {
    Name(Ident),
    CurrentUser,
    Public,
}

#[derive(Clone, Debug)]
pub enum OptionValue {
    None,
    Default,
    Word(String),
    Str(String),
    Number(String),
    List(Vec<String>),
    Star,
}

impl OptionValue {
    /// As text, however it was spelled.
    pub fn text(&self) -> Option<&str> {
        match self {
            OptionValue::Word(s) | OptionValue::Str(s) | OptionValue::Number(s) => Some(s),
            OptionValue::None | OptionValue::Default | OptionValue::List(_) | OptionValue::Star => {
                None
            }
        }
    }
}

#[derive(Clone, Debug)]
pub enum AlterDatabaseAction {
    Options(Vec<(Ident, OptionValue)>),
    Rename(Ident),
    Owner(RoleSpec),
    Set { setting: Option<String>, value: SettingValue },
}

#[derive(Clone, Debug)]
pub enum AlterObjectAction {
    Rename(Ident),
    RenameColumn { from: Ident, to: Ident },
    SetSchema(Ident),
    Owner(RoleSpec),
}

#[derive(Clone, Debug)]
pub enum SplitPoints {
    /// At the start and at the end of all its keys.
    Apart,
    /// Leading columns of keys.
    Values(Vec<Vec<Expr>>),
}

#[derive(Clone, Debug)]
pub struct CopyStmt {
    pub source: CopySource,
    pub columns: Vec<Ident>,
    pub from: bool,
    pub target: CopyTarget,
    pub options: Vec<(Ident, OptionValue)>,
    pub filter: Option<Expr>,
}

#[derive(Clone, Debug)]
pub enum CopySource {
    Table(ObjectName),
    Query(Box<Stmt>),
}

#[derive(Clone, Debug)]
pub enum CommentOn {
    Database(Ident),
    Schema(Ident),
    Relation(ObjectKind, ObjectName),
    Column(ObjectName),
    Constraint { name: Ident, table: ObjectName },
    Role(Ident),
    Other(String),
}

#[derive(Clone, Debug)]
pub struct GrantStmt {
    pub revoke: bool,
    pub privileges: Vec<String>,
    pub on: GrantOn,
    pub roles: Vec<RoleSpec>,
    pub grant_option: bool,
}

#[derive(Clone, Debug)]
pub enum GrantOn {
    Relations(Vec<ObjectName>),
    Schemas(Vec<Ident>),
    Databases(Vec<Ident>),
    /// ALL TABLES IN SCHEMA (true: sequences).
    AllInSchema(Vec<Ident>, bool),
    Other(String),
}
