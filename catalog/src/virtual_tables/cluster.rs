//! What is shared by all databases: pg_database, pg_roles and their like, pg_settings,
//! pg_stat_activity, pg_locks, and the schema `shanghai`.

use super::relations::stored;
use super::row::{Row, time};
use super::{Rows, VirtualContext, VirtualTable};
use crate::bootstrap::BOOTSTRAP_ROLE;
use crate::database::RoleDescriptor;
use crate::keys;
use crate::snapshot::Catalog;
use crate::{Oid, Relation};
use datum::{Datum, SqlType};

const PG_DEFAULT: Oid = 1663;
const UTF8: i32 = 6;
const LOCALE: &str = "C.UTF-8";

pub(super) fn rows_of(name: &str) -> Option<Rows> {
    Some(match name {
        "pg_database" => pg_database,
        "pg_authid" | "pg_roles" => roles,
        "pg_user" | "pg_shadow" => users,
        "pg_group" => pg_group,
        "pg_auth_members" => pg_auth_members,
        "pg_db_role_setting" => pg_db_role_setting,
        "pg_tablespace" => pg_tablespace,
        "pg_settings" => pg_settings,
        "pg_stat_activity" => pg_stat_activity,
        "pg_locks" => pg_locks,
        "pg_prepared_statements" => pg_prepared_statements,
        "pg_stat_database" => pg_stat_database,
        "pg_stat_all_tables"
        | "pg_stat_user_tables"
        | "pg_statio_all_tables"
        | "pg_statio_user_tables" => table_statistics,
        "pg_stat_all_indexes"
        | "pg_stat_user_indexes"
        | "pg_statio_all_indexes"
        | "pg_statio_user_indexes" => index_statistics,
        _ => return None,
    })
}

pub(super) fn shanghai_rows_of(name: &str) -> Option<Rows> {
    Some(match name {
        "nodes" => nodes,
        "ranges" => ranges,
        _ => return None,
    })
}

fn pg_database(
    table: &VirtualTable,
    catalog: &Catalog,
    _context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let row = |d: &std::sync::Arc<crate::DatabaseDescriptor>| {
        let owner = catalog.role_name(d.owner);
        // PostgreSQL's templates come with their privileges spelled out.
        let acl = d.is_template.then(|| {
            let items = [format!("=c/{owner}"), format!("{owner}=CTc/{owner}")];
            Datum::array(SqlType::Text, items.map(Datum::from).to_vec())
        });
        Row::new(table)
            .put("oid", d.oid)
            .put("datname", &d.name)
            .put("datdba", d.owner)
            .put("encoding", UTF8)
            .put("datlocprovider", b'c')
            .put("datistemplate", d.is_template)
            .put("datallowconn", d.allow_connections)
            .put("datconnlimit", d.connection_limit)
            .put("datfrozenxid", 0u32)
            .put("datminmxid", 1u32)
            .put("dattablespace", PG_DEFAULT)
            .put("datcollate", LOCALE)
            .put("datctype", LOCALE)
            .put("datacl", acl)
            .done()
    };
    catalog.databases().map(row).collect()
}

fn settings_of(catalog: &Catalog, role: Oid) -> Option<Datum> {
    let (_, list) = catalog.settings().find(|(scope, _)| **scope == (0, role))?;
    Some(setting_array(list))
}

fn setting_array(list: &[(String, String)]) -> Datum {
    let items = list.iter().map(|(name, value)| Datum::text(format!("{name}={value}")));
    Datum::array(SqlType::Text, items.collect())
}

/// Verifiers are shown to superusers only.
fn may_see_passwords(catalog: &Catalog, context: &VirtualContext) -> bool {
    catalog.role(context.role).is_some_and(|r| r.superuser)
}

fn roles(table: &VirtualTable, catalog: &Catalog, context: &VirtualContext) -> Vec<Vec<Datum>> {
    let authid = table.name == "pg_authid";
    let visible = may_see_passwords(catalog, context);
    let row = |role: &std::sync::Arc<RoleDescriptor>| {
        let row = Row::new(table)
            .put("rolname", &role.name)
            .put("rolsuper", role.superuser)
            .put("rolinherit", role.inherit)
            .put("rolcreaterole", role.create_role)
            .put("rolcreatedb", role.create_db)
            .put("rolcanlogin", role.login)
            .put("rolreplication", role.replication)
            .put("rolconnlimit", role.connection_limit)
            .put("rolvaliduntil", time(role.valid_until))
            .put("rolbypassrls", role.bypass_rls)
            .put("oid", role.oid);
        if authid {
            let password = role.password.as_deref().filter(|_| visible);
            return row.put("rolpassword", password).done();
        }
        row.put("rolpassword", "********").put("rolconfig", settings_of(catalog, role.oid)).done()
    };
    catalog.roles().map(row).collect()
}

fn users(table: &VirtualTable, catalog: &Catalog, context: &VirtualContext) -> Vec<Vec<Datum>> {
    let shadow = table.name == "pg_shadow" && may_see_passwords(catalog, context);
    let row = |role: &std::sync::Arc<RoleDescriptor>| {
        let password = if shadow { role.password.as_deref() } else { Some("********") };
        Row::new(table)
            .put("usename", &role.name)
            .put("usesysid", role.oid)
            .put("usecreatedb", role.create_db)
            .put("usesuper", role.superuser)
            .put("userepl", role.replication)
            .put("usebypassrls", role.bypass_rls)
            .put("passwd", password)
            .put("valuntil", time(role.valid_until))
            .put("useconfig", settings_of(catalog, role.oid))
            .done()
    };
    catalog.roles().filter(|r| r.login).map(row).collect()
}

fn pg_group(table: &VirtualTable, catalog: &Catalog, _context: &VirtualContext) -> Vec<Vec<Datum>> {
    let row = |group: &std::sync::Arc<RoleDescriptor>| {
        let members = catalog.roles().filter(|r| r.member_of.iter().any(|m| m.role == group.oid));
        let members = members.map(|r| Datum::Oid(r.oid)).collect();
        Row::new(table)
            .put("groname", &group.name)
            .put("grosysid", group.oid)
            .put("grolist", Datum::array(SqlType::Oid, members))
            .done()
    };
    catalog.roles().filter(|r| !r.login).map(row).collect()
}

fn pg_auth_members(
    table: &VirtualTable,
    catalog: &Catalog,
    _context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let mut rows = Vec::new();
    for member in catalog.roles() {
        for membership in &member.member_of {
            let row = Row::new(table)
                .put("roleid", membership.role)
                .put("member", member.oid)
                .put("grantor", membership.grantor)
                .put("admin_option", membership.admin_option);
            rows.push(row.done());
        }
    }
    rows
}

fn pg_db_role_setting(
    table: &VirtualTable,
    catalog: &Catalog,
    _context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let rows = catalog.settings().map(|((database, role), list)| {
        Row::new(table)
            .put("setdatabase", *database)
            .put("setrole", *role)
            .put("setconfig", setting_array(list))
            .done()
    });
    rows.collect()
}

fn pg_tablespace(
    table: &VirtualTable,
    _catalog: &Catalog,
    _context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let row = |(oid, name): (Oid, &str)| {
        Row::new(table).put("oid", oid).put("spcname", name).put("spcowner", BOOTSTRAP_ROLE).done()
    };
    [(PG_DEFAULT, "pg_default"), (1664, "pg_global")].into_iter().map(row).collect()
}

fn pg_settings(
    table: &VirtualTable,
    _catalog: &Catalog,
    context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let rows = context.settings.iter().map(|s| {
        let choices = (!s.choices.is_empty())
            .then(|| Datum::array(SqlType::Text, s.choices.iter().map(Datum::text).collect()));
        Row::new(table)
            .put("name", &s.name)
            .put("setting", &s.value)
            .put("unit", s.unit.as_deref())
            .put("category", &s.category)
            .put("short_desc", &s.description)
            .put("context", &s.context)
            .put("vartype", &s.kind)
            .put("source", &s.source)
            .put("min_val", s.min.as_deref())
            .put("max_val", s.max.as_deref())
            .put("enumvals", choices)
            .put("boot_val", &s.boot_value)
            .put("reset_val", &s.reset_value)
            .put("pending_restart", s.pending_restart)
            .done()
    });
    rows.collect()
}

fn pg_stat_activity(
    table: &VirtualTable,
    catalog: &Catalog,
    context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let rows = context.sessions.iter().map(|s| {
        Row::new(table)
            .put("datid", s.database)
            .put("datname", catalog.database(s.database).map(|d| d.name.as_str()))
            .put("pid", s.pid)
            .put("usesysid", s.role)
            .put("usename", &s.role_name)
            .put("application_name", &s.application_name)
            .put("client_addr", s.client_address.as_deref())
            .put("client_port", s.client_port.unwrap_or(-1))
            .put("backend_start", time(Some(s.started)))
            .put("xact_start", time(s.transaction_started))
            .put("query_start", time(s.query_started))
            .put("state_change", time(s.state_changed))
            .put("wait_event_type", s.wait_event.map(|(kind, _)| kind))
            .put("wait_event", s.wait_event.map(|(_, name)| name))
            .put("state", &s.state)
            .put("backend_xid", s.transaction.map(|id| id as i64))
            .put("query", &s.query)
            .put("backend_type", "client backend")
            .done()
    });
    rows.collect()
}

fn pg_locks(table: &VirtualTable, _catalog: &Catalog, context: &VirtualContext) -> Vec<Vec<Datum>> {
    let rows = context.locks.iter().map(|lock| {
        let virtual_transaction = format!("{}/{}", lock.pid, lock.holder);
        Row::new(table)
            .put("locktype", lock.kind)
            .put("database", lock.database)
            .put("relation", lock.relation)
            .put("virtualxid", lock.virtual_id.as_deref())
            .put("transactionid", lock.transaction.map(|id| id as i64))
            .put("classid", lock.advisory.map(|(class, ..)| class))
            .put("objid", lock.advisory.map(|(_, object, _)| object))
            .put("objsubid", lock.advisory.map(|(.., sub)| sub))
            .put("virtualtransaction", virtual_transaction)
            .put("pid", lock.pid)
            .put("mode", lock.mode)
            .put("granted", lock.granted)
            .put("fastpath", false)
            .done()
    });
    rows.collect()
}

fn pg_prepared_statements(
    table: &VirtualTable,
    _catalog: &Catalog,
    context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let rows = context.prepared.iter().map(|p| {
        let parameters = p.parameters.iter().map(|oid| Datum::Oid(*oid)).collect();
        Row::new(table)
            .put("name", &p.name)
            .put("statement", &p.statement)
            .put("prepare_time", time(Some(p.prepared)))
            .put("parameter_types", Datum::array(SqlType::Regtype, parameters))
            .put("from_sql", p.from_sql)
            .put("generic_plans", 0i64)
            .put("custom_plans", 0i64)
            .done()
    });
    rows.collect()
}

fn pg_stat_database(
    table: &VirtualTable,
    catalog: &Catalog,
    context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let rows = catalog.databases().map(|d| {
        let backends = context.sessions.iter().filter(|s| s.database == d.oid).count();
        Row::new(table)
            .put("datid", d.oid)
            .put("datname", &d.name)
            .put("numbackends", backends as i32)
            .done()
    });
    rows.collect()
}

/// Counters are not kept; what is known is which tables there are, and how many rows.
fn table_statistics(
    table: &VirtualTable,
    catalog: &Catalog,
    context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let rows = catalog.tables_of(context.database).map(|t| {
        let row = Row::new(table)
            .put("relid", t.oid)
            .put("schemaname", catalog.schema_name(t.schema))
            .put("relname", &t.name);
        match table.column_index("n_live_tup") {
            Some(_) => row.put("n_live_tup", context.row_counts.get(&t.oid).map(|n| *n as i64)),
            None => row,
        }
        .done()
    });
    rows.collect()
}

fn index_statistics(
    table: &VirtualTable,
    catalog: &Catalog,
    context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let mut rows = Vec::new();
    for relation in stored(catalog, context) {
        if let Relation::Index(of, index) = relation {
            let row = Row::new(table)
                .put("relid", of.oid)
                .put("indexrelid", index.oid)
                .put("schemaname", catalog.schema_name(of.schema))
                .put("relname", &of.name)
                .put("indexrelname", &index.name);
            rows.push(row.done());
        }
    }
    rows
}

fn nodes(table: &VirtualTable, _catalog: &Catalog, context: &VirtualContext) -> Vec<Vec<Datum>> {
    let rows = context.nodes.iter().map(|node| {
        Row::new(table)
            .put("node_id", node.id as i64)
            .put("state", &node.state)
            .put("rpc_address", &node.rpc_address)
            .put("sql_address", &node.sql_address)
            .put("http_address", &node.http_address)
            .put("started_at", time(node.started))
            .put("ranges", node.ranges as i64)
            .put("leaders", node.leaders as i64)
            .put("suspicion", node.suspicion)
            .put("version", &node.version)
            .put("is_local", node.is_local)
            .done()
    });
    rows.collect()
}

fn ranges(table: &VirtualTable, catalog: &Catalog, context: &VirtualContext) -> Vec<Vec<Datum>> {
    let ids = |list: &[u64]| {
        Datum::array(SqlType::Int8, list.iter().map(|id| Datum::Int8(*id as i64)).collect())
    };
    let rows = context.ranges.iter().map(|range| {
        let first = range.span.start.table();
        let database = first.and_then(|id| catalog.databases().find(|d| d.group == id.group));
        let of = first.and_then(|id| catalog.table_by_storage(id));
        Row::new(table)
            .put("range_id", range.id as i64)
            .put("start_key", keys::readable(&range.span.start, catalog))
            .put("end_key", keys::readable(&range.span.end, catalog))
            .put("generation", range.generation as i64)
            .put("database", database.map(|d| d.name.as_str()))
            .put("table_name", of.map(|t| t.name.as_str()))
            .put("leader_node", range.leader.map(|n| n as i64))
            .put("voters", ids(&range.voters))
            .put("learners", ids(&range.learners))
            .put("size_bytes", range.size_bytes.map(|n| n as i64))
            .done()
    });
    rows.collect()
}
