//! Roles and privileges.

use super::cursor::Parser;
use super::lexer::Tok;
use crate::ast::{GrantOn, GrantStmt, Ident, RoleSpec, Stmt};
use crate::error::Result;
use crate::plan::RoleOptions;

impl Parser<'_> {
    pub(super) fn role_spec(&mut self) -> Result<RoleSpec> {
        if self.accept_one_of(&["current_user", "session_user", "current_role"]).is_some() {
            return Ok(RoleSpec::CurrentUser);
        }
        if self.accept_word("public") {
            return Ok(RoleSpec::Public);
        }
        Ok(RoleSpec::Name(self.name()?))
    }

    fn role_specs(&mut self) -> Result<Vec<RoleSpec>> {
        self.list(|p| p.role_spec())
    }

    pub(super) fn create_role(&mut self) -> Result<Stmt> {
        let user = self.at_word("user");
        self.advance();
        let name = self.name()?;
        self.accept_word("with");
        let mut options = RoleOptions { login: user.then_some(true), ..RoleOptions::default() };
        let (mut member_of, mut members, mut admins) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            if self.role_option(&mut options)? {
                continue;
            }
            if self.accept_words(&["in", "role"]) || self.accept_words(&["in", "group"]) {
                member_of = self.role_specs()?;
            } else if self.at_one_of(&["role", "user"]) {
                self.advance();
                members = self.role_specs()?;
            } else if self.accept_word("admin") {
                admins = self.role_specs()?;
            } else if self.accept_word("sysid") {
                self.integer()?;
            } else {
                return Ok(Stmt::CreateRole { name, options, member_of, members, admins });
            }
        }
    }

    /// One option of CREATE or ALTER ROLE.
    fn role_option(&mut self, options: &mut RoleOptions) -> Result<bool> {
        let Tok::Word(word) = self.peek() else { return Ok(false) };
        let (positive, on) = match word.strip_prefix("no") {
            Some(rest) if rest != "inherit" || word == "noinherit" => (rest, false),
            _ => (word.as_str(), true),
        };
        let flag = match positive {
            "superuser" => &mut options.superuser,
            "createdb" => &mut options.create_db,
            "createrole" => &mut options.create_role,
            "inherit" => &mut options.inherit,
            "login" => &mut options.login,
            "replication" => &mut options.replication,
            "bypassrls" => &mut options.bypass_rls,
            _ => return self.role_option_with_value(options),
        };
        *flag = Some(on);
        self.advance();
        Ok(true)
    }

    fn role_option_with_value(&mut self, options: &mut RoleOptions) -> Result<bool> {
        if self.accept_words(&["connection", "limit"]) {
            let pos = self.pos();
            let limit = self.integer()?;
            let limit = i32::try_from(limit).map_err(|_| {
                self.error_at("22003", format!("invalid connection limit: {limit}"), pos)
            })?;
            options.connection_limit = Some(limit);
        } else if self.accept_words(&["valid", "until"]) {
            options.valid_until = Some(self.string()?);
        } else if self.at_words(&["encrypted", "password"]) || self.at_word("password") {
            self.accept_word("encrypted");
            self.advance();
            options.password = Some(match self.accept_word("null") {
                true => None,
                false => Some(self.string()?),
            });
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    pub(super) fn alter_role(&mut self) -> Result<Stmt> {
        let group = self.at_word("group");
        self.advance();
        if self.at_word("all") {
            self.advance();
            return self.alter_role_setting(None);
        }
        let role = self.role_spec()?;
        if self.accept_words(&["rename", "to"]) {
            let RoleSpec::Name(role) = role else { return Err(self.unexpected()) };
            return Ok(Stmt::RenameRole { role, name: self.name()? });
        }
        if self.at_one_of(&["set", "reset", "in"]) {
            return self.alter_role_setting(Some(role));
        }
        if group && self.at_one_of(&["add", "drop"]) {
            let revoke = self.at_word("drop");
            self.advance();
            self.expect_word("user")?;
            let to = self.role_specs()?;
            let RoleSpec::Name(role) = role else { return Err(self.unexpected()) };
            return Ok(Stmt::GrantRole { roles: vec![role], to, admin_option: false, revoke });
        }
        self.accept_word("with");
        let mut options = RoleOptions::default();
        while self.role_option(&mut options)? {}
        Ok(Stmt::AlterRole { role, options })
    }

    fn alter_role_setting(&mut self, role: Option<RoleSpec>) -> Result<Stmt> {
        let database = match self.accept_words(&["in", "database"]) {
            true => Some(self.name()?),
            false => None,
        };
        let (setting, value) = self.stored_setting()?;
        Ok(Stmt::AlterRoleSetting { role, database, setting, value })
    }

    pub(super) fn grant(&mut self) -> Result<Stmt> {
        let revoke = self.at_word("revoke");
        self.advance();
        let mut grant_option = false;
        let mut admin_option = false;
        if revoke {
            grant_option = self.accept_words(&["grant", "option", "for"]);
            admin_option = self.accept_words(&["admin", "option", "for"]);
        }
        let names: Vec<Ident> = self.list(|p| {
            let name = p.label()?;
            // GRANT SELECT (a, b): column privileges are not kept apart.
            if p.peek() == &Tok::LParen {
                return Err(crate::PlanError::unsupported("column privileges"));
            }
            p.accept_word("privileges");
            Ok(name)
        })?;
        let direction = if revoke { "from" } else { "to" };
        if !self.accept_word("on") {
            self.expect_word(direction)?;
            let to = self.role_specs()?;
            admin_option |= self.accept_words(&["with", "admin", "option"]);
            if self.accept_words(&["granted", "by"]) {
                self.role_spec()?;
            }
            self.cascade();
            return Ok(Stmt::GrantRole { roles: names, to, admin_option, revoke });
        }
        let on = self.grant_on()?;
        self.expect_word(direction)?;
        let roles = self.list(|p| {
            p.accept_word("group");
            p.role_spec()
        })?;
        grant_option |= self.accept_words(&["with", "grant", "option"]);
        self.cascade();
        let privileges = names.into_iter().map(|n| n.name.to_uppercase()).collect();
        Ok(Stmt::Grant(Box::new(GrantStmt { revoke, privileges, on, roles, grant_option })))
    }

    fn grant_on(&mut self) -> Result<GrantOn> {
        if self.accept_words(&["all", "tables", "in", "schema"]) {
            return Ok(GrantOn::AllInSchema(self.list(|p| p.name())?, false));
        }
        if self.accept_words(&["all", "sequences", "in", "schema"]) {
            return Ok(GrantOn::AllInSchema(self.list(|p| p.name())?, true));
        }
        if self.accept_word("schema") {
            return Ok(GrantOn::Schemas(self.list(|p| p.name())?));
        }
        if self.accept_word("database") {
            return Ok(GrantOn::Databases(self.list(|p| p.name())?));
        }
        let others = [
            "function",
            "procedure",
            "routine",
            "type",
            "domain",
            "language",
            "tablespace",
            "foreign",
            "large",
            "all",
        ];
        if let Some(which) = self.accept_one_of(&others) {
            while !self.at_one_of(&["to", "from"])
                && !matches!(self.peek(), Tok::End | Tok::Semicolon)
            {
                self.advance();
            }
            return Ok(GrantOn::Other(others[which].to_uppercase()));
        }
        self.accept_one_of(&["table", "sequence"]);
        Ok(GrantOn::Relations(self.object_names()?))
    }
}
