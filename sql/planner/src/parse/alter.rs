//! ALTER.

use super::cursor::Parser;
use super::lexer::Tok;
use crate::ast::{
    AlterDatabaseAction, AlterObjectAction, AlterTableAction, AlterTableStmt, Ident, ObjectName,
    OptionValue, SplitPoints, Stmt,
};
use crate::error::Result;
use crate::plan::{ObjectKind, SettingValue};

impl Parser<'_> {
    pub(super) fn alter(&mut self) -> Result<Stmt> {
        self.expect_word("alter")?;
        let Tok::Word(word) = self.peek() else { return Err(self.unexpected()) };
        match word.as_str() {
            "table" => self.alter_table(),
            "index" => self.alter_object(ObjectKind::Index),
            "view" => self.alter_object(ObjectKind::View),
            "sequence" => self.alter_sequence(),
            "schema" => self.alter_schema(),
            "database" => self.alter_database(),
            "role" | "user" | "group" => self.alter_role(),
            "system" => self.alter_system(),
            "range" => self.alter_range(),
            "default" => self.unsupported("ALTER DEFAULT PRIVILEGES"),
            "materialized" => self.unsupported("ALTER MATERIALIZED VIEW"),
            "type" => self.unsupported("ALTER TYPE"),
            "domain" => self.unsupported("ALTER DOMAIN"),
            "function" => self.unsupported("ALTER FUNCTION"),
            "procedure" => self.unsupported("ALTER PROCEDURE"),
            "extension" => self.unsupported("ALTER EXTENSION"),
            "trigger" => self.unsupported("ALTER TRIGGER"),
            "policy" => self.unsupported("ALTER POLICY"),
            "publication" => self.unsupported("ALTER PUBLICATION"),
            "subscription" => self.unsupported("ALTER SUBSCRIPTION"),
            "language" => self.unsupported("ALTER LANGUAGE"),
            "large" => self.unsupported("ALTER LARGE OBJECT"),
            "operator" => self.unsupported("ALTER OPERATOR"),
            "statistics" => self.unsupported("ALTER STATISTICS"),
            "tablespace" => self.unsupported("ALTER TABLESPACE"),
            _ => Err(self.unexpected()),
        }
    }

    fn alter_table(&mut self) -> Result<Stmt> {
        self.advance();
        let if_exists = self.if_exists();
        let name = self.relation_name()?;
        if let Some(stmt) = self.lone_action(ObjectKind::Table, &name, if_exists)? {
            return Ok(stmt);
        }
        if self.at_word("split") {
            return self.split(ObjectKind::Table, name, if_exists);
        }
        let actions = self.list(|p| p.alter_table_action())?;
        Ok(Stmt::AlterTable(Box::new(AlterTableStmt { name, if_exists, actions })))
    }

    /// RENAME and SET SCHEMA stand alone; they apply to every kind of relation.
    fn lone_action(
        &mut self,
        kind: ObjectKind,
        name: &ObjectName,
        if_exists: bool,
    ) -> Result<Option<Stmt>> {
        let action = if self.accept_word("rename") {
            if self.accept_word("constraint") {
                let from = self.name()?;
                self.expect_word("to")?;
                let actions = vec![AlterTableAction::RenameConstraint { from, to: self.name()? }];
                let stmt = AlterTableStmt { name: name.clone(), if_exists, actions };
                return Ok(Some(Stmt::AlterTable(Box::new(stmt))));
            }
            if self.accept_word("to") {
                AlterObjectAction::Rename(self.name()?)
            } else {
                self.accept_word("column");
                let from = self.name()?;
                self.expect_word("to")?;
                AlterObjectAction::RenameColumn { from, to: self.name()? }
            }
        } else if self.accept_words(&["set", "schema"]) {
            AlterObjectAction::SetSchema(self.name()?)
        } else {
            return Ok(None);
        };
        Ok(Some(Stmt::AlterObject { kind, name: name.clone(), if_exists, action }))
    }

    fn alter_table_action(&mut self) -> Result<AlterTableAction> {
        use AlterTableAction as A;
        if self.accept_word("add") {
            return self.alter_add();
        }
        if self.accept_word("drop") {
            if self.accept_word("constraint") {
                let if_exists = self.if_exists();
                let name = self.name()?;
                return Ok(A::DropConstraint { name, if_exists, cascade: self.cascade() });
            }
            self.accept_word("column");
            let if_exists = self.if_exists();
            let column = self.name()?;
            return Ok(A::DropColumn { column, if_exists, cascade: self.cascade() });
        }
        if self.accept_words(&["validate", "constraint"]) {
            return Ok(A::ValidateConstraint(self.name()?));
        }
        if self.accept_words(&["owner", "to"]) {
            return Ok(A::Owner(self.role_spec()?));
        }
        if self.accept_word("alter") {
            if self.accept_word("constraint") {
                return self.skip_action(A::Unsupported("ALTER CONSTRAINT"));
            }
            self.accept_word("column");
            let column = self.name()?;
            return self.alter_column(column);
        }
        if self.at_word("set") && self.peek_at(1) == &Tok::LParen {
            self.advance();
            let options = self.storage_options()?;
            return Ok(A::SetOptions(options.into_iter().map(|(k, v)| (k, Some(v))).collect()));
        }
        if self.at_word("reset") && self.peek_at(1) == &Tok::LParen {
            self.advance();
            let names = self.parenthesised(|p| p.list(|p| p.label()))?;
            return Ok(A::SetOptions(names.into_iter().map(|n| (n.name, None)).collect()));
        }
        for (words, what) in [
            (&["set", "logged"][..], A::Nothing),
            (&["set", "unlogged"], A::Nothing),
            (&["set", "without"], A::Nothing),
            (&["set", "tablespace"], A::Nothing),
            (&["set", "access"], A::Nothing),
            (&["cluster", "on"], A::Nothing),
            (&["replica", "identity"], A::Nothing),
            (&["disable", "trigger"], A::Unsupported("DISABLE TRIGGER")),
            (&["enable", "trigger"], A::Unsupported("ENABLE TRIGGER")),
            (&["enable", "row"], A::Unsupported("ROW LEVEL SECURITY")),
            (&["disable", "row"], A::Unsupported("ROW LEVEL SECURITY")),
            (&["force", "row"], A::Unsupported("ROW LEVEL SECURITY")),
            (&["inherit"], A::Unsupported("INHERIT")),
            (&["attach"], A::Unsupported("ATTACH PARTITION")),
            (&["detach"], A::Unsupported("DETACH PARTITION")),
        ] {
            if self.at_words(words) {
                return self.skip_action(what);
            }
        }
        Err(self.unexpected())
    }

    fn skip_action(&mut self, action: AlterTableAction) -> Result<AlterTableAction> {
        while !matches!(self.peek(), Tok::Comma | Tok::Semicolon | Tok::End) {
            self.advance();
        }
        Ok(action)
    }

    fn alter_add(&mut self) -> Result<AlterTableAction> {
        if let Some(constraint) = self.table_constraint()? {
            return Ok(AlterTableAction::AddConstraint(constraint));
        }
        self.accept_word("column");
        let if_not_exists = self.if_not_exists();
        let column = self.column_clause()?;
        Ok(AlterTableAction::AddColumn { column, if_not_exists })
    }

    fn alter_column(&mut self, column: Ident) -> Result<AlterTableAction> {
        use AlterTableAction as A;
        if self.accept_words(&["set", "default"]) {
            let default = Some(self.stored(|p| p.plain_expr())?);
            return Ok(A::SetDefault { column, default });
        }
        if self.accept_words(&["drop", "default"]) {
            return Ok(A::SetDefault { column, default: None });
        }
        if self.accept_words(&["set", "not", "null"]) {
            return Ok(A::SetNotNull { column, not_null: true });
        }
        if self.accept_words(&["drop", "not", "null"]) {
            return Ok(A::SetNotNull { column, not_null: false });
        }
        if self.accept_words(&["drop", "identity"]) {
            return Ok(A::DropIdentity { column, if_exists: self.if_exists() });
        }
        if self.accept_words(&["drop", "expression"]) {
            self.if_exists();
            return Ok(A::DropExpression { column });
        }
        if self.accept_words(&["add", "generated"]) {
            let always = self.accept_word("always");
            if !always {
                self.expect_words(&["by", "default"])?;
            }
            self.expect_words(&["as", "identity"])?;
            let options = self.parenthesised_sequence_options()?;
            return Ok(A::AddIdentity { column, always, options });
        }
        if self.accept_words(&["set", "generated"]) {
            let always = self.accept_word("always");
            if !always {
                self.expect_words(&["by", "default"])?;
            }
            return Ok(A::SetIdentityAlways { column, always });
        }
        if self.at_one_of(&["set", "reset"])
            && (self.word_at(1, "statistics")
                || self.word_at(1, "storage")
                || self.word_at(1, "compression")
                || self.peek_at(1) == &Tok::LParen)
        {
            return self.skip_action(A::Nothing);
        }
        if self.at_word("restart") {
            return Err(crate::PlanError::unsupported("ALTER COLUMN ... RESTART"));
        }
        self.accept_words(&["set", "data"]);
        self.expect_word("type")?;
        let ty = self.type_name()?;
        if self.accept_word("collate") {
            self.object_name()?;
        }
        let using = match self.accept_word("using") {
            true => Some(self.expr()?),
            false => None,
        };
        Ok(A::SetType { column, ty, using })
    }

    fn alter_object(&mut self, kind: ObjectKind) -> Result<Stmt> {
        self.advance();
        let if_exists = self.if_exists();
        let name = self.object_name()?;
        if let Some(stmt) = self.lone_action(kind, &name, if_exists)? {
            return Ok(stmt);
        }
        if self.accept_words(&["owner", "to"]) {
            let action = AlterObjectAction::Owner(self.role_spec()?);
            return Ok(Stmt::AlterObject { kind, name, if_exists, action });
        }
        match kind {
            ObjectKind::Index if self.at_word("split") => self.split(kind, name, if_exists),
            ObjectKind::Index => self.unsupported("this form of ALTER INDEX"),
            _ => self.unsupported("this form of ALTER VIEW"),
        }
    }

    /// SPLIT AT VALUES (...), (...) and SPLIT APART: no PostgreSQL has them.
    fn split(&mut self, kind: ObjectKind, name: ObjectName, if_exists: bool) -> Result<Stmt> {
        self.expect_word("split")?;
        let points = match self.accept_word("apart") {
            true => SplitPoints::Apart,
            false => {
                self.expect_words(&["at", "values"])?;
                SplitPoints::Values(self.list(|p| p.parenthesised(|p| p.exprs()))?)
            }
        };
        Ok(Stmt::Split { kind, name, if_exists, points })
    }

    /// ALTER RANGE number TRANSFER LEADER TO node
    fn alter_range(&mut self) -> Result<Stmt> {
        self.advance();
        let range = self.integer()?;
        self.expect_words(&["transfer", "leader", "to"])?;
        Ok(Stmt::TransferLeader { range, node: self.integer()? })
    }

    fn alter_sequence(&mut self) -> Result<Stmt> {
        self.advance();
        let if_exists = self.if_exists();
        let name = self.object_name()?;
        if let Some(stmt) = self.lone_action(ObjectKind::Sequence, &name, if_exists)? {
            return Ok(stmt);
        }
        if self.accept_words(&["owner", "to"]) {
            let action = AlterObjectAction::Owner(self.role_spec()?);
            return Ok(Stmt::AlterObject { kind: ObjectKind::Sequence, name, if_exists, action });
        }
        let options = self.sequence_options()?;
        Ok(Stmt::AlterSequence { name, if_exists, options })
    }

    fn alter_schema(&mut self) -> Result<Stmt> {
        self.advance();
        let name = self.name()?;
        let action = if self.accept_words(&["rename", "to"]) {
            AlterObjectAction::Rename(self.name()?)
        } else {
            self.expect_words(&["owner", "to"])?;
            AlterObjectAction::Owner(self.role_spec()?)
        };
        Ok(Stmt::AlterSchema { name, action })
    }

    fn alter_database(&mut self) -> Result<Stmt> {
        self.advance();
        let name = self.name()?;
        let action = if self.accept_words(&["rename", "to"]) {
            AlterDatabaseAction::Rename(self.name()?)
        } else if self.accept_words(&["owner", "to"]) {
            AlterDatabaseAction::Owner(self.role_spec()?)
        } else if self.at_one_of(&["set", "reset"]) {
            let (setting, value) = self.stored_setting()?;
            AlterDatabaseAction::Set { setting, value }
        } else {
            self.accept_word("with");
            let options: Vec<(Ident, OptionValue)> = self.database_options()?;
            AlterDatabaseAction::Options(options)
        };
        Ok(Stmt::AlterDatabase { name, action })
    }

    /// SET name = value, RESET name, RESET ALL (`None`), of a role, a database or the system.
    pub(super) fn stored_setting(&mut self) -> Result<(Option<String>, SettingValue)> {
        if self.accept_word("reset") {
            if self.accept_word("all") {
                return Ok((None, SettingValue::Default));
            }
            return Ok((Some(self.setting_name()?), SettingValue::Default));
        }
        self.expect_word("set")?;
        let (name, value) = self.setting()?;
        Ok((Some(name), value))
    }

    fn alter_system(&mut self) -> Result<Stmt> {
        self.advance();
        let (name, value) = self.stored_setting()?;
        Ok(Stmt::AlterSystem { name, value })
    }
}
