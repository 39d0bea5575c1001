//! CREATE, DROP, COMMENT.

use super::cursor::Parser;
use super::lexer::Tok;
use crate::ast::{
    ColumnClause, ColumnConstraint, CommentOn, ConstraintClause, ConstraintClauseKind,
    CreateAsSource, CreateIndexStmt, CreateSequenceStmt, CreateTableAsStmt, CreateTableStmt, Expr,
    Ident, IndexElement, ObjectName, OptionValue, SequenceOption, Stmt, StoredText, TableElement,
};
use crate::error::Result;
use crate::plan::ObjectKind;
use catalog::{ForeignKeyAction, ForeignKeyMatch};

impl Parser<'_> {
    pub(super) fn create(&mut self) -> Result<Stmt> {
        self.expect_word("create")?;
        let or_replace = self.accept_words(&["or", "replace"]);
        let mut temporary = false;
        let mut unlogged = false;
        self.accept_one_of(&["global", "local"]);
        if self.accept_one_of(&["temporary", "temp"]).is_some() {
            temporary = true;
        } else if self.accept_word("unlogged") {
            unlogged = true;
        }
        let Tok::Word(word) = self.peek() else { return Err(self.unexpected()) };
        match word.as_str() {
            "table" => self.create_table(temporary, unlogged),
            "view" => self.create_view(or_replace, temporary),
            "sequence" => self.create_sequence(temporary),
            "unique" | "index" => self.create_index(),
            "database" => self.create_database(),
            "schema" => self.create_schema(),
            "role" | "user" | "group" => self.create_role(),
            "recursive" => self.unsupported("CREATE RECURSIVE VIEW"),
            "materialized" => self.unsupported("CREATE MATERIALIZED VIEW"),
            "function" => self.unsupported("CREATE FUNCTION"),
            "procedure" => self.unsupported("CREATE PROCEDURE"),
            "trigger" | "constraint" => self.unsupported("CREATE TRIGGER"),
            "event" => self.unsupported("CREATE EVENT TRIGGER"),
            "type" => self.unsupported("CREATE TYPE"),
            "domain" => self.unsupported("CREATE DOMAIN"),
            "extension" => self.unsupported("CREATE EXTENSION"),
            "aggregate" => self.unsupported("CREATE AGGREGATE"),
            "operator" => self.unsupported("CREATE OPERATOR"),
            "cast" => self.unsupported("CREATE CAST"),
            "collation" => self.unsupported("CREATE COLLATION"),
            "conversion" => self.unsupported("CREATE CONVERSION"),
            "foreign" => self.unsupported("CREATE FOREIGN TABLE"),
            "server" => self.unsupported("CREATE SERVER"),
            "language" | "trusted" | "procedural" => self.unsupported("CREATE LANGUAGE"),
            "policy" => self.unsupported("CREATE POLICY"),
            "publication" => self.unsupported("CREATE PUBLICATION"),
            "subscription" => self.unsupported("CREATE SUBSCRIPTION"),
            "rule" => self.unsupported("CREATE RULE"),
            "statistics" => self.unsupported("CREATE STATISTICS"),
            "tablespace" => self.unsupported("CREATE TABLESPACE"),
            "text" => self.unsupported("CREATE TEXT SEARCH"),
            _ => Err(self.unexpected()),
        }
    }

    // ---- tables ----

    fn create_table(&mut self, temporary: bool, unlogged: bool) -> Result<Stmt> {
        self.expect_word("table")?;
        let if_not_exists = self.if_not_exists();
        let name = self.object_name()?;
        if self.at_words(&["partition", "of"]) {
            return self.unsupported("PARTITION OF");
        }
        if self.at_word("of") {
            return self.unsupported("CREATE TABLE OF");
        }
        let (columns, elements) = self.table_elements()?;
        if self.at_word("inherits") {
            return self.unsupported("INHERITS");
        }
        if self.at_words(&["partition", "by"]) {
            return self.unsupported("PARTITION BY");
        }
        if self.accept_word("using") {
            self.name()?;
        }
        let options = match self.at_word("with") && self.peek_at(1) == &Tok::LParen {
            true => {
                self.advance();
                self.storage_options()?
            }
            false => {
                self.accept_words(&["without", "oids"]);
                Vec::new()
            }
        };
        if self.accept_words(&["on", "commit"]) && !self.accept_words(&["preserve", "rows"]) {
            return self.unsupported("ON COMMIT DROP and DELETE ROWS");
        }
        if self.accept_word("tablespace") {
            self.name()?;
        }
        if self.accept_word("as") {
            let query = CreateAsSource::Query(Box::new(self.query_or_execute()?));
            let mut with_data = true;
            if self.accept_word("with") {
                with_data = !self.accept_word("no");
                self.expect_word("data")?;
            }
            return Ok(Stmt::CreateTableAs(Box::new(CreateTableAsStmt {
                name,
                if_not_exists,
                temporary,
                columns,
                options,
                query,
                with_data,
            })));
        }
        let Some(elements) = elements else { return Err(self.unexpected()) };
        Ok(Stmt::CreateTable(Box::new(CreateTableStmt {
            name,
            if_not_exists,
            temporary,
            unlogged,
            elements,
            options,
        })))
    }

    fn query_or_execute(&mut self) -> Result<crate::ast::Query> {
        if self.at_word("execute") {
            return Err(crate::PlanError::unsupported("CREATE TABLE AS EXECUTE"));
        }
        self.query()
    }

    /// `(a int, ...)`, or `(a, b)` of CREATE TABLE AS, or nothing.
    fn table_elements(&mut self) -> Result<(Vec<Ident>, Option<Vec<TableElement>>)> {
        if self.peek() != &Tok::LParen {
            return Ok((Vec::new(), None));
        }
        if self.peek_at(1) == &Tok::RParen {
            self.advance();
            self.advance();
            return Ok((Vec::new(), Some(Vec::new())));
        }
        if matches!(self.peek_at(2), Tok::Comma | Tok::RParen) {
            return Ok((self.name_list()?, None));
        }
        let elements = self.parenthesised(|p| p.list(|p| p.table_element()))?;
        Ok((Vec::new(), Some(elements)))
    }

    fn table_element(&mut self) -> Result<TableElement> {
        if self.at_word("like") {
            self.advance();
            let table = self.object_name()?;
            let mut including = Vec::new();
            while let Some(which) = self.accept_one_of(&["including", "excluding"]) {
                let word = self.label()?.name;
                match which {
                    0 => including.push(word),
                    _ => including.retain(|w| *w != word),
                }
            }
            return Ok(TableElement::Like { table, including });
        }
        match self.table_constraint()? {
            Some(constraint) => Ok(TableElement::Constraint(constraint)),
            None => Ok(TableElement::Column(self.column_clause()?)),
        }
    }

    pub(super) fn column_clause(&mut self) -> Result<ColumnClause> {
        let name = self.name()?;
        let ty = self.type_name()?;
        let mut clause = ColumnClause { name, ty, collation: None, constraints: Vec::new() };
        loop {
            if self.accept_word("collate") {
                clause.collation = Some(self.object_name()?);
                continue;
            }
            if self.accept_one_of(&["storage", "compression"]).is_some() {
                self.label()?;
                continue;
            }
            let Some(constraint) = self.column_constraint(&clause.name)? else { return Ok(clause) };
            clause.constraints.push(constraint);
        }
    }

    fn column_constraint(&mut self, column: &Ident) -> Result<Option<ColumnConstraint>> {
        let pos = self.pos();
        let name = match self.accept_word("constraint") {
            true => Some(self.name()?),
            false => None,
        };
        if self.accept_words(&["not", "null"]) {
            return Ok(Some(ColumnConstraint::NotNull));
        }
        if self.accept_word("null") {
            return Ok(Some(ColumnConstraint::Null));
        }
        if self.accept_word("default") {
            return Ok(Some(ColumnConstraint::Default(self.stored(|p| p.plain_expr())?)));
        }
        if self.accept_word("generated") {
            let always = self.accept_word("always");
            if !always {
                self.expect_words(&["by", "default"])?;
            }
            self.expect_word("as")?;
            if self.accept_word("identity") {
                let options = self.parenthesised_sequence_options()?;
                return Ok(Some(ColumnConstraint::Identity { always, options }));
            }
            let text = self.parenthesised(|p| p.stored(|p| p.expr()))?;
            self.expect_word("stored")?;
            return Ok(Some(ColumnConstraint::Generated(text)));
        }
        let kind = if self.accept_words(&["primary", "key"]) {
            self.index_parameters()?;
            ConstraintClauseKind::PrimaryKey { columns: vec![column.clone()], include: Vec::new() }
        } else if self.accept_word("unique") {
            let nulls_not_distinct = self.nulls_not_distinct();
            self.index_parameters()?;
            let columns = vec![column.clone()];
            ConstraintClauseKind::Unique { columns, include: Vec::new(), nulls_not_distinct }
        } else if self.accept_word("check") {
            ConstraintClauseKind::Check(self.parenthesised(|p| p.stored(|p| p.expr()))?)
        } else if self.accept_word("references") {
            self.references(vec![column.clone()])?
        } else if name.is_some() {
            return Err(self.unexpected());
        } else {
            return Ok(None);
        };
        Ok(Some(ColumnConstraint::Table(self.constraint_attributes(name, kind, pos)?)))
    }

    /// CONSTRAINT, PRIMARY KEY, UNIQUE, CHECK, FOREIGN KEY over the whole table.
    pub(super) fn table_constraint(&mut self) -> Result<Option<ConstraintClause>> {
        let pos = self.pos();
        let name = match self.accept_word("constraint") {
            true => Some(self.name()?),
            false => None,
        };
        let kind = if self.accept_words(&["primary", "key"]) {
            self.key_constraint(true)?
        } else if self.at_word("unique") && !matches!(self.peek_at(1), Tok::Dot) {
            self.advance();
            self.key_constraint(false)?
        } else if self.at_word("check") {
            self.advance();
            ConstraintClauseKind::Check(self.parenthesised(|p| p.stored(|p| p.expr()))?)
        } else if self.accept_words(&["foreign", "key"]) {
            let columns = self.name_list()?;
            self.expect_word("references")?;
            self.references(columns)?
        } else if self.at_word("exclude")
            && matches!(self.peek_at(1), Tok::LParen | Tok::Word(_))
            && name.is_some()
        {
            return Err(crate::PlanError::unsupported("EXCLUDE"));
        } else if name.is_some() {
            return Err(self.unexpected());
        } else {
            return Ok(None);
        };
        self.constraint_attributes(name, kind, pos).map(Some)
    }

    fn key_constraint(&mut self, primary: bool) -> Result<ConstraintClauseKind> {
        if self.accept_words(&["using", "index"]) {
            return Ok(ConstraintClauseKind::UsingIndex { index: self.name()?, primary });
        }
        let nulls_not_distinct = !primary && self.nulls_not_distinct();
        let columns = self.name_list()?;
        let include = match self.accept_word("include") {
            true => self.name_list()?,
            false => Vec::new(),
        };
        self.index_parameters()?;
        Ok(match primary {
            true => ConstraintClauseKind::PrimaryKey { columns, include },
            false => ConstraintClauseKind::Unique { columns, include, nulls_not_distinct },
        })
    }

    fn nulls_not_distinct(&mut self) -> bool {
        let found = self.accept_words(&["nulls", "not", "distinct"]);
        if !found {
            self.accept_words(&["nulls", "distinct"]);
        }
        found
    }

    /// `WITH (fillfactor = 70)`, `USING INDEX TABLESPACE x`: no meaning here.
    fn index_parameters(&mut self) -> Result<()> {
        if self.at_word("with") && self.peek_at(1) == &Tok::LParen {
            self.advance();
            self.storage_options()?;
        }
        if self.accept_words(&["using", "index", "tablespace"]) {
            self.name()?;
        }
        Ok(())
    }

    fn references(&mut self, columns: Vec<Ident>) -> Result<ConstraintClauseKind> {
        let table = self.object_name()?;
        let referenced = self.optional_name_list()?;
        let mut match_type = ForeignKeyMatch::Simple;
        let mut on_delete = ForeignKeyAction::NoAction;
        let mut on_update = ForeignKeyAction::NoAction;
        if self.accept_word("match") {
            match_type = match self.accept_one_of(&["simple", "full"]) {
                Some(0) => ForeignKeyMatch::Simple,
                Some(_) => ForeignKeyMatch::Full,
                None => return Err(crate::PlanError::unsupported("MATCH PARTIAL")),
            };
        }
        while self.at_word("on") {
            self.advance();
            match self.accept_one_of(&["delete", "update"]) {
                Some(0) => on_delete = self.foreign_key_action()?,
                Some(_) => on_update = self.foreign_key_action()?,
                None => return Err(self.unexpected()),
            }
        }
        Ok(ConstraintClauseKind::ForeignKey {
            columns,
            table,
            referenced,
            on_delete,
            on_update,
            match_type,
        })
    }

    fn foreign_key_action(&mut self) -> Result<ForeignKeyAction> {
        if self.accept_words(&["no", "action"]) {
            return Ok(ForeignKeyAction::NoAction);
        }
        if self.accept_words(&["set", "null"]) {
            return Ok(ForeignKeyAction::SetNull);
        }
        if self.accept_words(&["set", "default"]) {
            return Ok(ForeignKeyAction::SetDefault);
        }
        match self.accept_one_of(&["restrict", "cascade"]) {
            Some(0) => Ok(ForeignKeyAction::Restrict),
            Some(_) => Ok(ForeignKeyAction::Cascade),
            None => Err(self.unexpected()),
        }
    }

    fn constraint_attributes(
        &mut self,
        name: Option<Ident>,
        kind: ConstraintClauseKind,
        pos: u32,
    ) -> Result<ConstraintClause> {
        let mut clause = ConstraintClause {
            name,
            kind,
            not_valid: false,
            deferrable: false,
            initially_deferred: false,
            pos,
        };
        loop {
            if self.accept_words(&["not", "deferrable"]) {
                clause.deferrable = false;
            } else if self.accept_word("deferrable") {
                clause.deferrable = true;
            } else if self.accept_words(&["initially", "deferred"]) {
                clause.deferrable = true;
                clause.initially_deferred = true;
            } else if self.accept_words(&["initially", "immediate"]) {
                clause.initially_deferred = false;
            } else if self.accept_words(&["not", "valid"]) {
                clause.not_valid = true;
            } else if !self.accept_words(&["no", "inherit"]) {
                return Ok(clause);
            }
        }
    }

    /// An expression together with its text.
    pub(super) fn stored(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<Expr>,
    ) -> Result<StoredText> {
        let start = self.at;
        let expr = inner(self)?;
        Ok(StoredText { expr, sql: self.text_since(start).to_string() })
    }

    /// `(fillfactor = 70, toast.x = on, y)`
    pub(super) fn storage_options(&mut self) -> Result<Vec<(String, String)>> {
        self.parenthesised(|p| {
            p.list(|p| {
                let mut name = p.label()?.name;
                while p.accept(&Tok::Dot) {
                    name = format!("{name}.{}", p.label()?.name);
                }
                if !p.accept_op("=") {
                    return Ok((name, "true".to_string()));
                }
                let value = match p.peek() {
                    Tok::Str(v) | Tok::Word(v) | Tok::Quoted(v) | Tok::Int(v) | Tok::Decimal(v) => {
                        v.clone()
                    }
                    _ => return Err(p.unexpected()),
                };
                p.advance();
                Ok((name, value))
            })
        })
    }

    // ---- views, sequences, indexes ----

    fn create_view(&mut self, or_replace: bool, temporary: bool) -> Result<Stmt> {
        self.expect_word("view")?;
        let name = self.object_name()?;
        let columns = self.optional_name_list()?;
        if self.accept_word("with") {
            self.storage_options()?;
        }
        self.expect_word("as")?;
        let start = self.at;
        let query = Box::new(self.query()?);
        let definition = self.text_since(start).to_string();
        if self.at_words(&["with", "check", "option"]) || self.at_word("with") {
            return self.unsupported("WITH CHECK OPTION");
        }
        Ok(Stmt::CreateView { name, or_replace, temporary, columns, query, definition })
    }

    fn create_sequence(&mut self, temporary: bool) -> Result<Stmt> {
        self.expect_word("sequence")?;
        let if_not_exists = self.if_not_exists();
        let name = self.object_name()?;
        let options = self.sequence_options()?;
        Ok(Stmt::CreateSequence(Box::new(CreateSequenceStmt {
            name,
            if_not_exists,
            temporary,
            options,
        })))
    }

    pub(super) fn parenthesised_sequence_options(&mut self) -> Result<Vec<SequenceOption>> {
        match self.peek() {
            Tok::LParen => self.parenthesised(|p| p.sequence_options()),
            _ => Ok(Vec::new()),
        }
    }

    pub(super) fn sequence_options(&mut self) -> Result<Vec<SequenceOption>> {
        let mut options = Vec::new();
        loop {
            let option = if self.accept_word("as") {
                SequenceOption::As(self.type_name()?)
            } else if self.accept_words(&["sequence", "name"]) {
                SequenceOption::Name(self.object_name()?)
            } else if self.accept_word("start") {
                self.accept_word("with");
                SequenceOption::Start(self.integer()?)
            } else if self.accept_word("increment") {
                self.accept_word("by");
                SequenceOption::Increment(self.integer()?)
            } else if self.accept_words(&["no", "minvalue"]) {
                SequenceOption::Min(None)
            } else if self.accept_words(&["no", "maxvalue"]) {
                SequenceOption::Max(None)
            } else if self.accept_words(&["no", "cycle"]) {
                SequenceOption::Cycle(false)
            } else if self.accept_word("minvalue") {
                SequenceOption::Min(Some(self.integer()?))
            } else if self.accept_word("maxvalue") {
                SequenceOption::Max(Some(self.integer()?))
            } else if self.accept_word("cache") {
                SequenceOption::Cache(self.integer()?)
            } else if self.accept_word("cycle") {
                SequenceOption::Cycle(true)
            } else if self.accept_words(&["owned", "by"]) {
                SequenceOption::OwnedBy(match self.accept_word("none") {
                    true => None,
                    false => Some(self.object_name()?),
                })
            } else if self.accept_word("restart") {
                let with = self.accept_word("with");
                SequenceOption::Restart(
                    match with || matches!(self.peek(), Tok::Int(_) | Tok::Op(_)) {
                        true => Some(self.integer()?),
                        false => None,
                    },
                )
            } else {
                return Ok(options);
            };
            options.push(option);
        }
    }

    fn create_index(&mut self) -> Result<Stmt> {
        let unique = self.accept_word("unique");
        self.expect_word("index")?;
        let concurrently = self.accept_word("concurrently");
        let if_not_exists = self.if_not_exists();
        let name = match self.at_word("on") {
            true => None,
            false => Some(self.name()?),
        };
        self.expect_word("on")?;
        let table = self.relation_name()?;
        let method = match self.accept_word("using") {
            true => Some(self.name()?),
            false => None,
        };
        let columns = self.parenthesised(|p| p.list(|p| p.index_element()))?;
        let include = match self.accept_word("include") {
            true => self.name_list()?,
            false => Vec::new(),
        };
        let nulls_not_distinct = self.nulls_not_distinct();
        self.index_parameters()?;
        if self.accept_word("tablespace") {
            self.name()?;
        }
        let filter = match self.accept_word("where") {
            true => Some(self.stored(|p| p.expr())?),
            false => None,
        };
        Ok(Stmt::CreateIndex(Box::new(CreateIndexStmt {
            name,
            table,
            unique,
            concurrently,
            if_not_exists,
            method,
            columns,
            include,
            nulls_not_distinct,
            filter,
        })))
    }

    fn index_element(&mut self) -> Result<IndexElement> {
        let expr = self.expr()?;
        // An operator class: it changes nothing for an ordered index.
        if !self.at_one_of(&["asc", "desc", "nulls"]) && self.accept_name().is_some() {
            while self.accept(&Tok::Dot) {
                self.label()?;
            }
        }
        let descending = self.accept_one_of(&["asc", "desc"]) == Some(1);
        let nulls_first = match self.accept_word("nulls") {
            true => match self.accept_one_of(&["first", "last"]) {
                Some(which) => Some(which == 0),
                None => return Err(self.unexpected()),
            },
            false => None,
        };
        Ok(IndexElement { expr, descending, nulls_first })
    }

    // ---- databases and schemas ----

    fn create_database(&mut self) -> Result<Stmt> {
        self.expect_word("database")?;
        let name = self.name()?;
        self.accept_word("with");
        let options = self.database_options()?;
        Ok(Stmt::CreateDatabase { name, options })
    }

    pub(super) fn database_options(&mut self) -> Result<Vec<(Ident, OptionValue)>> {
        let mut options = Vec::new();
        while matches!(self.peek(), Tok::Word(_)) {
            let mut name = self.label()?;
            if name.name == "connection" && self.accept_word("limit") {
                name.name = "connection_limit".to_string();
            }
            self.accept_op("=");
            let value = match self.peek() {
                Tok::Str(text) => OptionValue::Str(text.clone()),
                Tok::Word(word) if word == "default" => OptionValue::Default,
                Tok::Word(word) | Tok::Quoted(word) => OptionValue::Word(word.clone()),
                Tok::Int(_) | Tok::Op(_) => {
                    options.push((name, OptionValue::Number(self.integer()?.to_string())));
                    continue;
                }
                _ => return Err(self.unexpected()),
            };
            self.advance();
            options.push((name, value));
        }
        Ok(options)
    }

    fn create_schema(&mut self) -> Result<Stmt> {
        self.expect_word("schema")?;
        let if_not_exists = self.if_not_exists();
        let name = match self.at_word("authorization") {
            true => None,
            false => Some(self.name()?),
        };
        let authorization = match self.accept_word("authorization") {
            true => Some(self.role_spec()?),
            false => None,
        };
        let mut elements = Vec::new();
        while self.at_one_of(&["create", "grant"]) {
            elements.push(self.nested_statement()?);
        }
        Ok(Stmt::CreateSchema { name, authorization, if_not_exists, elements })
    }

    // ---- DROP, COMMENT ----

    pub(super) fn drop(&mut self) -> Result<Stmt> {
        self.expect_word("drop")?;
        if self.accept_word("database") {
            let if_exists = self.if_exists();
            let name = self.name()?;
            let mut force = false;
            self.accept_word("with");
            if self.peek() == &Tok::LParen {
                self.parenthesised(|p| p.list(|p| p.expect_word("force")))?;
                force = true;
            }
            return Ok(Stmt::DropDatabase { name, if_exists, force });
        }
        if self.accept_one_of(&["role", "user", "group"]).is_some() {
            let if_exists = self.if_exists();
            let names = self.list(|p| p.role_spec())?;
            return Ok(Stmt::DropRole { names, if_exists });
        }
        let kind = match self.accept_one_of(&["table", "view", "index", "sequence", "schema"]) {
            Some(0) => ObjectKind::Table,
            Some(1) => ObjectKind::View,
            Some(2) => ObjectKind::Index,
            Some(3) => ObjectKind::Sequence,
            Some(_) => ObjectKind::Schema,
            None => return self.drop_other(),
        };
        if kind == ObjectKind::Index {
            self.accept_word("concurrently");
        }
        let if_exists = self.if_exists();
        let names: Vec<ObjectName> = self.object_names()?;
        let cascade = self.cascade();
        Ok(Stmt::Drop { kind, names, if_exists, cascade })
    }

    fn drop_other(&mut self) -> Result<Stmt> {
        let known = [
            ("function", "DROP FUNCTION"),
            ("procedure", "DROP PROCEDURE"),
            ("trigger", "DROP TRIGGER"),
            ("type", "DROP TYPE"),
            ("domain", "DROP DOMAIN"),
            ("extension", "DROP EXTENSION"),
            ("materialized", "DROP MATERIALIZED VIEW"),
            ("aggregate", "DROP AGGREGATE"),
            ("operator", "DROP OPERATOR"),
            ("owned", "DROP OWNED"),
            ("policy", "DROP POLICY"),
            ("publication", "DROP PUBLICATION"),
            ("rule", "DROP RULE"),
            ("tablespace", "DROP TABLESPACE"),
        ];
        match known.iter().find(|(word, _)| self.at_word(word)) {
            Some((_, feature)) => self.unsupported(feature),
            None => Err(self.unexpected()),
        }
    }

    pub(super) fn comment(&mut self) -> Result<Stmt> {
        self.expect_words(&["comment", "on"])?;
        let kinds = ["table", "view", "index", "sequence"];
        let target = if let Some(which) = self.accept_one_of(&kinds) {
            let kind =
                [ObjectKind::Table, ObjectKind::View, ObjectKind::Index, ObjectKind::Sequence];
            CommentOn::Relation(kind[which], self.object_name()?)
        } else if self.accept_word("column") {
            CommentOn::Column(self.object_name()?)
        } else if self.accept_word("database") {
            CommentOn::Database(self.name()?)
        } else if self.accept_word("schema") {
            CommentOn::Schema(self.name()?)
        } else if self.accept_word("role") {
            CommentOn::Role(self.name()?)
        } else if self.accept_word("constraint") {
            let name = self.name()?;
            self.expect_word("on")?;
            CommentOn::Constraint { name, table: self.object_name()? }
        } else {
            let what = self.label()?.name.to_uppercase();
            while !self.at_word("is") && !matches!(self.peek(), Tok::End | Tok::Semicolon) {
                self.advance();
            }
            CommentOn::Other(what)
        };
        self.expect_word("is")?;
        let text = match self.accept_word("null") {
            true => None,
            false => Some(self.string()?).filter(|text| !text.is_empty()),
        };
        Ok(Stmt::Comment { target, text })
    }
}
