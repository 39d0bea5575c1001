//! Roles and privileges.

use super::Binder;
use super::alter::ddl;
use crate::ast::{GrantOn, GrantStmt, Ident, RoleSpec, Stmt};
use crate::error::{PlanError, Result};
use crate::plan::{DdlPlan, GrantKind, GrantPlan, Planned};
use catalog::{Oid, Relation};

impl Binder<'_> {
    pub(crate) fn role(&self, role: &RoleSpec) -> Result<Oid> {
        let name = match role {
            RoleSpec::Name(name) => name.name.as_str(),
            RoleSpec::CurrentUser => self.context.user,
            RoleSpec::Public => {
                return Err(PlanError::new("42704", "role \"public\" does not exist"));
            }
        };
        let found = self.context.catalog.role_named(name);
        found
            .map(|r| r.oid)
            .ok_or_else(|| PlanError::new("42704", format!("role \"{name}\" does not exist")))
    }

    fn role_list(&self, roles: &[RoleSpec]) -> Result<Vec<Oid>> {
        roles.iter().map(|role| self.role(role)).collect()
    }

    pub(crate) fn role_statement(&mut self, stmt: &Stmt) -> Result<Planned> {
        match stmt {
            Stmt::CreateRole { name, options, member_of, members, admins } => {
                let plan = DdlPlan::CreateRole {
                    name: name.name.clone(),
                    options: options.clone(),
                    member_of: self.role_list(member_of)?,
                    members: self.role_list(members)?,
                    admins: self.role_list(admins)?,
                };
                Ok(ddl(plan, "CREATE ROLE"))
            }
            Stmt::AlterRole { role, options } => {
                let plan = DdlPlan::AlterRole { role: self.role(role)?, options: options.clone() };
                Ok(ddl(plan, "ALTER ROLE"))
            }
            Stmt::RenameRole { role, name } => {
                let role = self.role(&RoleSpec::Name(role.clone()))?;
                Ok(ddl(DdlPlan::RenameRole { role, name: name.name.clone() }, "ALTER ROLE"))
            }
            Stmt::AlterRoleSetting { role, database, setting, value } => {
                let plan = DdlPlan::AlterSettings {
                    role: role.as_ref().map_or(Ok(0), |r| self.role(r))?,
                    database: database.as_ref().map_or(Ok(0), |d| self.database_oid(d))?,
                    setting: setting.clone(),
                    value: value.clone(),
                };
                Ok(ddl(plan, "ALTER ROLE"))
            }
            Stmt::DropRole { names, if_exists } => {
                let mut roles = Vec::new();
                let mut missing = Vec::new();
                for name in names {
                    match (self.role(name), name) {
                        (Ok(oid), _) => roles.push(oid),
                        (Err(_), RoleSpec::Name(name)) if *if_exists => {
                            missing.push(name.name.clone())
                        }
                        (Err(error), _) => return Err(error),
                    }
                }
                Ok(ddl(DdlPlan::DropRoles { roles, missing }, "DROP ROLE"))
            }
            Stmt::GrantRole { roles, to, admin_option, revoke } => {
                let roles: Result<Vec<Oid>> =
                    roles.iter().map(|r| self.role(&RoleSpec::Name(r.clone()))).collect();
                let plan = DdlPlan::GrantRole {
                    roles: roles?,
                    to: self.role_list(to)?,
                    admin_option: *admin_option,
                    revoke: *revoke,
                };
                Ok(ddl(plan, if *revoke { "REVOKE ROLE" } else { "GRANT ROLE" }))
            }
            Stmt::Grant(grant) => self.grant(grant),
            _ => Err(PlanError::unsupported("this statement")),
        }
    }

    fn grant(&mut self, grant: &GrantStmt) -> Result<Planned> {
        let (on, objects) = match &grant.on {
            GrantOn::Relations(names) => {
                let oids: Result<Vec<Oid>> =
                    names.iter().map(|n| Ok(self.relation(n)?.oid())).collect();
                (GrantKind::Relations, oids?)
            }
            GrantOn::Schemas(names) => {
                let oids: Result<Vec<Oid>> =
                    names.iter().map(|n| self.schema(&n.name, n.pos)).collect();
                (GrantKind::Schemas, oids?)
            }
            GrantOn::Databases(names) => {
                let oids: Result<Vec<Oid>> = names.iter().map(|n| self.database_oid(n)).collect();
                (GrantKind::Databases, oids?)
            }
            GrantOn::AllInSchema(schemas, sequences) => {
                (GrantKind::Relations, self.all_in(schemas, *sequences)?)
            }
            GrantOn::Other(what) => {
                return Err(PlanError::unsupported(format!("privileges on {what}")));
            }
        };
        let roles: Result<Vec<Oid>> = grant
            .roles
            .iter()
            .map(|role| match role {
                RoleSpec::Public => Ok(0),
                other => self.role(other),
            })
            .collect();
        let plan = GrantPlan {
            revoke: grant.revoke,
            privileges: grant.privileges.clone(),
            on,
            objects,
            roles: roles?,
            grant_option: grant.grant_option,
        };
        Ok(ddl(DdlPlan::Grant(plan), if grant.revoke { "REVOKE" } else { "GRANT" }))
    }

    fn all_in(&self, schemas: &[Ident], sequences: bool) -> Result<Vec<Oid>> {
        let mut oids = Vec::new();
        for schema in schemas {
            let schema = self.schema(&schema.name, schema.pos)?;
            for relation in self.context.catalog.relations_in(schema) {
                let wanted = match relation {
                    Relation::Sequence(_) => sequences,
                    Relation::Table(_) | Relation::View(_) => !sequences,
                    Relation::Index(..) | Relation::Virtual(_) => false,
                };
                if wanted {
                    oids.push(relation.oid());
                }
            }
        }
        Ok(oids)
    }
}
