//! Databases, schemas, roles: what relations live in and who owns them.

use crate::Oid;
use serde::{Deserialize, Serialize};

/// A database: a namespace that sessions cannot reach across, and a table group, so that its
/// tables are neighbours in the keyspace and start in ranges of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseDescriptor {
    pub oid: Oid,
    pub name: String,
    pub owner: Oid,
    /// `TableId::group` of every table in it.
    pub group: u32,
    pub is_template: bool,
    pub allow_connections: bool,
    /// -1: no limit.
    pub connection_limit: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaDescriptor {
    pub oid: Oid,
    pub database: Oid,
    pub name: String,
    pub owner: Oid,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleDescriptor {
    pub oid: Oid,
    pub name: String,
    pub superuser: bool,
    pub inherit: bool,
    pub create_role: bool,
    pub create_db: bool,
    pub login: bool,
    pub replication: bool,
    pub bypass_rls: bool,
    /// -1: no limit.
    pub connection_limit: i32,
    /// A SCRAM-SHA-256 verifier, never a password.
    pub password: Option<String>,
    /// Microseconds since 1970-01-01 UTC.
    pub valid_until: Option<i64>,
    pub member_of: Vec<RoleMembership>,
}

impl RoleDescriptor {
    /// What `CREATE ROLE name` without options means.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            oid: 0,
            name: name.into(),
            superuser: false,
            inherit: true,
            create_role: false,
            create_db: false,
            login: false,
            replication: false,
            bypass_rls: false,
            connection_limit: -1,
            password: None,
            valid_until: None,
            member_of: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleMembership {
    pub role: Oid,
    pub admin_option: bool,
    pub grantor: Oid,
}

/// What a comment is attached to, addressed as in pg_description: the catalog that lists the
/// object (1259 for relations, 1262 for databases, ...), its OID, and a column number or zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CommentKey {
    pub class: Oid,
    pub object: Oid,
    pub sub: i32,
}
