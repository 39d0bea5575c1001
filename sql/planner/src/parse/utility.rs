//! EXPLAIN, COPY, VACUUM, ANALYZE, LOCK and their kind.

use super::cursor::Parser;
use super::lexer::Tok;
use crate::ast::{CopySource, CopyStmt, ExplainWords, Ident, ObjectName, OptionValue, Stmt};
use crate::error::Result;
use crate::plan::{CopyTarget, ObjectKind, TableLockMode};

impl Parser<'_> {
    pub(super) fn explain(&mut self) -> Result<Stmt> {
        self.expect_word("explain")?;
        let mut options =
            ExplainWords { options: Vec::new(), analyze: false, verbose: false, format: None };
        if self.peek() == &Tok::LParen && !self.at_query() {
            let list = self.option_list()?.into_iter();
            options.options =
                list.map(|(name, value)| (name, value.text().map(str::to_string))).collect();
        } else {
            options.analyze = self.accept_one_of(&["analyze", "analyse"]).is_some();
            options.verbose = self.accept_word("verbose");
        }
        let statement = Box::new(self.nested(|p| p.statement())?);
        Ok(Stmt::Explain { options, statement })
    }

    /// `(name value, name, ...)`
    fn option_list(&mut self) -> Result<Vec<(Ident, OptionValue)>> {
        self.parenthesised(|p| {
            p.list(|p| {
                let name = p.label()?;
                Ok((name, p.option_value()?))
            })
        })
    }

    /// What follows an option's name within parentheses, if anything.
    fn option_value(&mut self) -> Result<OptionValue> {
        let value = match self.peek() {
            Tok::Comma | Tok::RParen => return Ok(OptionValue::None),
            Tok::Str(text) => OptionValue::Str(text.clone()),
            Tok::Word(word) if word == "default" => OptionValue::Default,
            Tok::Word(word) | Tok::Quoted(word) => OptionValue::Word(word.clone()),
            Tok::Int(digits) | Tok::Decimal(digits) => OptionValue::Number(digits.clone()),
            Tok::Op(op) if op == "*" => OptionValue::Star,
            Tok::Op(op) if op == "-" => {
                return Ok(OptionValue::Number(self.integer()?.to_string()));
            }
            Tok::LParen => {
                let names = self.name_list()?;
                return Ok(OptionValue::List(names.into_iter().map(|n| n.name).collect()));
            }
            _ => return Err(self.unexpected()),
        };
        self.advance();
        Ok(value)
    }

    // ---- COPY ----

    pub(super) fn copy(&mut self) -> Result<Stmt> {
        self.expect_word("copy")?;
        let mut options = Vec::new();
        let binary = self.pos();
        if self.accept_word("binary") {
            options.push((ident("format", binary), OptionValue::Word("binary".to_string())));
        }
        let (source, columns) = match self.peek() {
            Tok::LParen => {
                let statement = self.parenthesised(|p| p.nested(|p| p.statement()))?;
                (CopySource::Query(Box::new(statement)), Vec::new())
            }
            _ => {
                let table = self.object_name()?;
                (CopySource::Table(table), self.optional_name_list()?)
            }
        };
        let from = match self.accept_one_of(&["from", "to"]) {
            Some(0) => true,
            Some(_) => false,
            None => return Err(self.unexpected()),
        };
        if from && matches!(source, CopySource::Query(_)) {
            return Err(self.unexpected());
        }
        let target = match self.peek() {
            Tok::Str(path) => {
                self.advance();
                CopyTarget::File(path.clone())
            }
            _ if self.accept_word("program") => CopyTarget::Program(self.string()?),
            _ if self.accept_one_of(&["stdin", "stdout"]).is_some() => CopyTarget::Client,
            _ => return Err(self.unexpected()),
        };
        self.copy_options(&mut options)?;
        let filter = match from && self.accept_word("where") {
            true => Some(self.expr()?),
            false => None,
        };
        Ok(Stmt::Copy(Box::new(CopyStmt { source, columns, from, target, options, filter })))
    }

    fn copy_options(&mut self, options: &mut Vec<(Ident, OptionValue)>) -> Result<()> {
        self.accept_word("using").then(|| self.accept_word("delimiters"));
        self.accept_word("with");
        if self.peek() == &Tok::LParen {
            let list = self.option_list()?;
            options.extend(list);
            return Ok(());
        }
        // The form before 9.0: words without parentheses.
        loop {
            let pos = self.pos();
            let mut option =
                |name: &str, value: OptionValue| options.push((ident(name, pos), value));
            match self.accept_one_of(&[
                "binary",
                "csv",
                "freeze",
                "header",
                "delimiter",
                "delimiters",
                "null",
                "quote",
                "escape",
                "force",
                "encoding",
            ]) {
                Some(0) => option("format", OptionValue::Word("binary".to_string())),
                Some(1) => option("format", OptionValue::Word("csv".to_string())),
                Some(2) => option("freeze", OptionValue::None),
                Some(3) => option("header", OptionValue::None),
                Some(9) => {
                    let name = if self.accept_word("quote") {
                        "force_quote"
                    } else if self.accept_words(&["not", "null"]) {
                        "force_not_null"
                    } else {
                        self.expect_word("null")?;
                        "force_null"
                    };
                    let value = match self.accept_op("*") {
                        true => OptionValue::Star,
                        false => {
                            let names = self.list(|p| p.name())?;
                            OptionValue::List(names.into_iter().map(|n| n.name).collect())
                        }
                    };
                    option(name, value);
                }
                Some(which) => {
                    let names =
                        ["delimiter", "delimiter", "null", "quote", "escape", "", "encoding"];
                    self.accept_word("as");
                    let text = self.string()?;
                    option(names[which - 4], OptionValue::Str(text));
                }
                None => return Ok(()),
            }
        }
    }

    // ---- maintenance ----

    pub(super) fn vacuum(&mut self) -> Result<Stmt> {
        self.expect_word("vacuum")?;
        let (mut full, mut verbose, mut analyze) = (false, false, false);
        if self.peek() == &Tok::LParen {
            let list = self.option_list()?;
            for (name, value) in list {
                let on = option_is_on(&value);
                match name.name.as_str() {
                    "full" => full = on,
                    "verbose" => verbose = on,
                    "analyze" | "analyse" => analyze = on,
                    _ => {}
                }
            }
        } else {
            full = self.accept_word("full");
            self.accept_word("freeze");
            verbose = self.accept_word("verbose");
            analyze = self.accept_one_of(&["analyze", "analyse"]).is_some();
        }
        let tables = self.maintained_tables()?;
        Ok(Stmt::Vacuum { tables, analyze, full, verbose })
    }

    pub(super) fn analyze(&mut self) -> Result<Stmt> {
        self.advance();
        let mut verbose = false;
        if self.peek() == &Tok::LParen {
            let list = self.option_list()?;
            verbose = list.iter().any(|(n, v)| n.name == "verbose" && option_is_on(v));
        } else {
            verbose |= self.accept_word("verbose");
        }
        let tables = self.maintained_tables()?;
        Ok(Stmt::Analyze { tables, verbose })
    }

    /// Tables with optional column lists, or nothing.
    fn maintained_tables(&mut self) -> Result<Vec<ObjectName>> {
        if matches!(self.peek(), Tok::End | Tok::Semicolon) {
            return Ok(Vec::new());
        }
        self.list(|p| {
            let name = p.relation_name()?;
            p.optional_name_list()?;
            Ok(name)
        })
    }

    pub(super) fn reindex(&mut self) -> Result<Stmt> {
        self.expect_word("reindex")?;
        if self.peek() == &Tok::LParen {
            self.option_list()?;
        }
        let which = self.accept_one_of(&["index", "table", "schema", "database", "system"]);
        self.accept_word("concurrently");
        let kind = match which {
            Some(0) => Some(ObjectKind::Index),
            Some(1) => Some(ObjectKind::Table),
            Some(2) => Some(ObjectKind::Schema),
            Some(_) => None,
            None => return Err(self.unexpected()),
        };
        let name = match self.peek() {
            Tok::End | Tok::Semicolon => None,
            _ => Some(self.object_name()?),
        };
        Ok(Stmt::Reindex { kind, name })
    }

    pub(super) fn cluster(&mut self) -> Result<Stmt> {
        self.expect_word("cluster")?;
        self.accept_word("verbose");
        if matches!(self.peek(), Tok::End | Tok::Semicolon) {
            return Ok(Stmt::Cluster(None));
        }
        let table = self.object_name()?;
        if self.accept_word("using") {
            self.name()?;
        }
        Ok(Stmt::Cluster(Some(table)))
    }

    pub(super) fn lock_table(&mut self) -> Result<Stmt> {
        self.expect_word("lock")?;
        self.accept_word("table");
        let tables = self.list(|p| p.relation_name())?;
        let mut mode = TableLockMode::AccessExclusive;
        if self.accept_word("in") {
            let modes: [(&[&str], TableLockMode); 8] = [
                (&["access", "share"], TableLockMode::AccessShare),
                (&["row", "share"], TableLockMode::RowShare),
                (&["row", "exclusive"], TableLockMode::RowExclusive),
                (&["share", "update", "exclusive"], TableLockMode::ShareUpdateExclusive),
                (&["share", "row", "exclusive"], TableLockMode::ShareRowExclusive),
                (&["share"], TableLockMode::Share),
                (&["exclusive"], TableLockMode::Exclusive),
                (&["access", "exclusive"], TableLockMode::AccessExclusive),
            ];
            let found = modes.iter().find(|(words, _)| self.accept_words(words));
            mode = found.map(|(_, mode)| *mode).ok_or_else(|| self.unexpected())?;
            self.expect_word("mode")?;
        }
        let nowait = self.accept_word("nowait");
        Ok(Stmt::LockTable { tables, mode, nowait })
    }

    pub(super) fn truncate(&mut self) -> Result<Stmt> {
        self.expect_word("truncate")?;
        self.accept_word("table");
        let tables = self.list(|p| p.relation_name())?;
        let restart_identity = self.accept_words(&["restart", "identity"]);
        if !restart_identity {
            self.accept_words(&["continue", "identity"]);
        }
        let cascade = self.cascade();
        Ok(Stmt::Truncate { tables, restart_identity, cascade })
    }
}

fn ident(name: &str, pos: u32) -> Ident {
    Ident { name: name.to_string(), pos }
}

/// `(full)`, `(full on)`, `(full true)`, `(full 1)`.
pub(crate) fn option_is_on(value: &OptionValue) -> bool {
    match value.text() {
        None => true,
        Some(text) => !matches!(text.to_ascii_lowercase().as_str(), "off" | "false" | "0" | "no"),
    }
}
