//! What a new cluster contains: role `shanghai`, databases `shanghai` and `postgres` with a schema
//! `public` each, and the two templates that clients expect in their lists.

use crate::database::{DatabaseDescriptor, RoleDescriptor, SchemaDescriptor};
use crate::snapshot::Catalog;
use crate::{FIRST_NORMAL_OID, Oid, persistence};
use core_domain::{Key, Value};
use std::sync::Arc;

/// Role `shanghai`, the superuser that owns what nobody else does (PostgreSQL's OID for it).
pub const BOOTSTRAP_ROLE: Oid = 10;
pub const TEMPLATE1_DATABASE: Oid = 1;
pub const TEMPLATE0_DATABASE: Oid = 4;
pub const POSTGRES_DATABASE: Oid = 5;
pub const SHANGHAI_DATABASE: Oid = 6;
/// Schema `public` of database `shanghai`; the other databases' follow.
pub const PUBLIC_SCHEMA: Oid = 2200;

/// The catalog of a new cluster.
pub fn catalog() -> Catalog {
    let role = RoleDescriptor {
        oid: BOOTSTRAP_ROLE,
        superuser: true,
        create_role: true,
        create_db: true,
        login: true,
        replication: true,
        bypass_rls: true,
        ..RoleDescriptor::named("shanghai")
    };
    let database = |oid, name: &str, is_template, allow_connections| DatabaseDescriptor {
        oid,
        name: name.to_owned(),
        owner: BOOTSTRAP_ROLE,
        group: oid,
        is_template,
        allow_connections,
        connection_limit: -1,
    };
    let databases = [
        database(SHANGHAI_DATABASE, "shanghai", false, true),
        database(POSTGRES_DATABASE, "postgres", false, true),
        database(TEMPLATE1_DATABASE, "template1", true, false),
        database(TEMPLATE0_DATABASE, "template0", true, false),
    ];
    let schemas = databases.iter().zip(PUBLIC_SCHEMA..).map(|(database, oid)| SchemaDescriptor {
        oid,
        database: database.oid,
        name: "public".to_owned(),
        owner: BOOTSTRAP_ROLE,
    });
    let mut catalog = Catalog::empty(1, FIRST_NORMAL_OID);
    catalog.schemas = Arc::new(schemas.map(|s| (s.oid, Arc::new(s))).collect());
    catalog.databases = Arc::new(databases.into_iter().map(|d| (d.oid, Arc::new(d))).collect());
    catalog.roles = Arc::new([(role.oid, Arc::new(role))].into());
    catalog
}

/// What to write under `/system/catalog` when a scan of it finds nothing.
pub fn writes() -> Vec<(Key, Value)> {
    persistence::snapshot(&catalog())
}
