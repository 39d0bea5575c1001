//! Transactions, settings, prepared statements, cursors, notifications.

use super::cursor::Parser;
use super::lexer::Tok;
use crate::ast::Stmt;
use crate::error::Result;
use crate::plan::{DiscardTarget, FetchDirection, SettingScope, SettingValue, TxnModes, TxnPlan};
use core_domain::IsolationLevel;

impl Parser<'_> {
    pub(super) fn transaction(&mut self) -> Result<Stmt> {
        let plan = if self.accept_word("begin") {
            self.accept_one_of(&["work", "transaction"]);
            self.begin_modes()?
        } else if self.accept_word("start") {
            self.expect_word("transaction")?;
            self.begin_modes()?
        } else if self.at_one_of(&["commit", "end"]) {
            self.advance();
            if self.at_word("prepared") {
                return self.unsupported("COMMIT PREPARED");
            }
            self.accept_one_of(&["work", "transaction"]);
            TxnPlan::Commit { chain: self.and_chain()? }
        } else if self.at_one_of(&["rollback", "abort"]) {
            self.advance();
            if self.at_word("prepared") {
                return self.unsupported("ROLLBACK PREPARED");
            }
            self.accept_one_of(&["work", "transaction"]);
            if self.accept_word("to") {
                self.accept_word("savepoint");
                TxnPlan::RollbackTo(self.name()?.name)
            } else {
                TxnPlan::Rollback { chain: self.and_chain()? }
            }
        } else if self.accept_word("savepoint") {
            TxnPlan::Savepoint(self.name()?.name)
        } else {
            self.expect_word("release")?;
            self.accept_word("savepoint");
            TxnPlan::Release(self.name()?.name)
        };
        Ok(Stmt::Txn(plan))
    }

    /// AS OF SYSTEM TIME comes first or last.
    fn begin_modes(&mut self) -> Result<TxnPlan> {
        let first = self.as_of_system_time()?;
        if first.is_some() {
            self.accept(&Tok::Comma);
        }
        let modes = self.transaction_modes()?;
        let time = match first {
            Some(time) => Some(time),
            // The comma between was taken as one between modes.
            None => self.as_of_system_time()?,
        };
        Ok(match time {
            Some((as_of, _)) => TxnPlan::BeginPast { modes, as_of },
            None => TxnPlan::Begin(modes),
        })
    }

    fn and_chain(&mut self) -> Result<bool> {
        if !self.accept_word("and") {
            return Ok(false);
        }
        let no = self.accept_word("no");
        self.expect_word("chain")?;
        Ok(!no)
    }

    fn transaction_modes(&mut self) -> Result<TxnModes> {
        let mut modes = TxnModes::default();
        loop {
            if self.accept_words(&["isolation", "level"]) {
                modes.isolation = Some(self.isolation()?);
            } else if self.accept_words(&["read", "only"]) {
                modes.read_only = Some(true);
            } else if self.accept_words(&["read", "write"]) {
                modes.read_only = Some(false);
            } else if self.accept_words(&["not", "deferrable"]) {
                modes.deferrable = Some(false);
            } else if self.accept_word("deferrable") {
                modes.deferrable = Some(true);
            } else if modes == TxnModes::default() || !self.accept(&Tok::Comma) {
                return Ok(modes);
            }
        }
    }

    fn isolation(&mut self) -> Result<IsolationLevel> {
        if self.accept_word("serializable") {
            return Ok(IsolationLevel::Serializable);
        }
        if self.accept_words(&["repeatable", "read"]) {
            return Ok(IsolationLevel::RepeatableRead);
        }
        if self.accept_words(&["read", "committed"]) || self.accept_words(&["read", "uncommitted"])
        {
            return Ok(IsolationLevel::ReadCommitted);
        }
        Err(self.unexpected())
    }

    // ---- settings ----

    pub(super) fn set(&mut self) -> Result<Stmt> {
        self.expect_word("set")?;
        if self.accept_word("constraints") {
            let names = match self.accept_word("all") {
                true => None,
                false => Some(self.object_names()?.iter().map(|n| n.name().to_string()).collect()),
            };
            return match self.accept_one_of(&["deferred", "immediate"]) {
                Some(which) => {
                    Ok(Stmt::Txn(TxnPlan::SetConstraints { names, deferred: which == 0 }))
                }
                None => Err(self.unexpected()),
            };
        }
        if self.at_words(&["session", "characteristics"]) {
            self.expect_words(&["session", "characteristics", "as", "transaction"])?;
            let modes = self.transaction_modes()?;
            return Ok(Stmt::Txn(TxnPlan::SetSessionCharacteristics(modes)));
        }
        if self.at_word("transaction") {
            self.advance();
            if self.at_word("snapshot") {
                return self.unsupported("SET TRANSACTION SNAPSHOT");
            }
            return Ok(Stmt::Txn(TxnPlan::SetTransaction(self.transaction_modes()?)));
        }
        let assigned =
            |p: &Self| matches!(p.peek_at(1), Tok::Op(o) if o == "=") || p.word_at(1, "to");
        let local = self.at_word("local") && !assigned(self);
        if local
            || (self.at_word("session") && !assigned(self) && !self.word_at(1, "authorization"))
        {
            self.advance();
        }
        let scope = if local { SettingScope::Local } else { SettingScope::Session };
        if local && self.at_word("transaction") {
            self.advance();
            return Ok(Stmt::Txn(TxnPlan::SetTransaction(self.transaction_modes()?)));
        }
        if self.at_word("role") && !assigned(self) {
            self.advance();
            let role = self.role_or(&["none"])?;
            return Ok(Stmt::SetRole { role, local });
        }
        if self.accept_words(&["session", "authorization"]) {
            let role = self.role_or(&["default"])?;
            return Ok(Stmt::SetSessionAuthorization { role, local });
        }
        let (name, value) = self.setting()?;
        Ok(Stmt::Set { name, value, scope })
    }

    fn role_or(&mut self, none: &[&str]) -> Result<Option<String>> {
        if self.accept_one_of(none).is_some() {
            return Ok(None);
        }
        match self.peek() {
            Tok::Str(_) => self.string().map(Some),
            _ => Ok(Some(self.name()?.name)),
        }
    }

    /// `name = value`, `name TO value`, `TIME ZONE value` and the other forms with words.
    pub(super) fn setting(&mut self) -> Result<(String, SettingValue)> {
        if self.accept_words(&["time", "zone"]) {
            return Ok(("timezone".to_string(), self.time_zone()?));
        }
        if self.accept_word("names") {
            let value = match self.peek() {
                Tok::Str(_) => SettingValue::Values(vec![self.string()?]),
                _ => {
                    self.accept_word("default");
                    SettingValue::Default
                }
            };
            return Ok(("client_encoding".to_string(), value));
        }
        if self.at_word("schema") && matches!(self.peek_at(1), Tok::Str(_)) {
            self.advance();
            return Ok(("search_path".to_string(), SettingValue::Values(vec![self.string()?])));
        }
        if self.at_words(&["xml", "option"]) {
            self.advance();
            self.advance();
            return Ok(("xmloption".to_string(), SettingValue::Values(vec![self.label()?.name])));
        }
        let name = self.setting_name()?;
        if self.at_words(&["from", "current"]) {
            return Err(crate::PlanError::unsupported("SET ... FROM CURRENT"));
        }
        if !self.accept_op("=") {
            self.expect_word("to")?;
        }
        let value = self.setting_value()?;
        Ok((name, value))
    }

    pub(super) fn setting_name(&mut self) -> Result<String> {
        if self.accept_words(&["time", "zone"]) {
            return Ok("timezone".to_string());
        }
        if self.accept_words(&["transaction", "isolation", "level"]) {
            return Ok("transaction_isolation".to_string());
        }
        if self.accept_words(&["session", "authorization"]) {
            return Ok("session_authorization".to_string());
        }
        let mut name = self.label()?.name.to_ascii_lowercase();
        while self.accept(&Tok::Dot) {
            name.push('.');
            name.push_str(&self.label()?.name.to_ascii_lowercase());
        }
        Ok(name)
    }

    fn setting_value(&mut self) -> Result<SettingValue> {
        if self.accept_word("default") {
            return Ok(SettingValue::Default);
        }
        Ok(SettingValue::Values(self.list(|p| p.setting_item())?))
    }

    fn setting_item(&mut self) -> Result<String> {
        let text = match self.peek() {
            Tok::Str(text) | Tok::Word(text) | Tok::Quoted(text) => text.clone(),
            Tok::Int(digits) | Tok::Decimal(digits) => digits.clone(),
            Tok::Op(sign) if sign == "-" || sign == "+" => {
                let negative = sign == "-";
                self.advance();
                match self.peek() {
                    Tok::Int(digits) | Tok::Decimal(digits) if negative => format!("-{digits}"),
                    Tok::Int(digits) | Tok::Decimal(digits) => digits.clone(),
                    _ => return Err(self.unexpected()),
                }
            }
            _ => return Err(self.unexpected()),
        };
        self.advance();
        Ok(text)
    }

    fn time_zone(&mut self) -> Result<SettingValue> {
        if self.accept_one_of(&["local", "default"]).is_some() {
            return Ok(SettingValue::Default);
        }
        if self.accept_word("interval") {
            let text = self.string()?;
            let mut modifiers = Vec::new();
            self.interval_fields(&mut modifiers)?;
            // The interval counts east; the name of a zone with minutes counts west.
            let west = match (text.contains(':'), text.strip_prefix('-')) {
                (false, _) => text,
                (true, Some(hours)) => format!("+{hours}"),
                (true, None) => format!("-{}", text.trim_start_matches('+')),
            };
            return Ok(SettingValue::Values(vec![west]));
        }
        Ok(SettingValue::Values(vec![self.setting_item()?]))
    }

    pub(super) fn show(&mut self) -> Result<Stmt> {
        self.expect_word("show")?;
        if self.accept_word("all") {
            return Ok(Stmt::Show(None));
        }
        Ok(Stmt::Show(Some(self.setting_name()?)))
    }

    pub(super) fn reset(&mut self) -> Result<Stmt> {
        self.expect_word("reset")?;
        if self.accept_word("all") {
            return Ok(Stmt::Reset(None));
        }
        if self.at_word("role") {
            self.advance();
            return Ok(Stmt::SetRole { role: None, local: false });
        }
        let name = self.setting_name()?;
        if name == "session_authorization" {
            return Ok(Stmt::SetSessionAuthorization { role: None, local: false });
        }
        Ok(Stmt::Reset(Some(name)))
    }

    pub(super) fn discard(&mut self) -> Result<Stmt> {
        self.expect_word("discard")?;
        match self.accept_one_of(&["all", "plans", "sequences", "temp", "temporary"]) {
            Some(0) => Ok(Stmt::Discard(DiscardTarget::All)),
            Some(1) => Ok(Stmt::Discard(DiscardTarget::Plans)),
            Some(2) => Ok(Stmt::Discard(DiscardTarget::Sequences)),
            Some(_) => Ok(Stmt::Discard(DiscardTarget::Temp)),
            None => Err(self.unexpected()),
        }
    }

    // ---- prepared statements ----

    pub(super) fn prepare(&mut self) -> Result<Stmt> {
        self.expect_word("prepare")?;
        if self.at_word("transaction") {
            return self.unsupported("PREPARE TRANSACTION");
        }
        let name = self.name()?.name;
        let types = match self.peek() {
            Tok::LParen => self.parenthesised(|p| p.list(|p| p.type_name()))?,
            _ => Vec::new(),
        };
        self.expect_word("as")?;
        let statement = self.nested_statement()?;
        Ok(Stmt::Prepare { name, types, statement })
    }

    pub(super) fn execute(&mut self) -> Result<Stmt> {
        self.expect_word("execute")?;
        let name = self.name()?.name;
        let args = match self.peek() {
            Tok::LParen => self.parenthesised(|p| p.exprs())?,
            _ => Vec::new(),
        };
        Ok(Stmt::Execute { name, args })
    }

    pub(super) fn deallocate(&mut self) -> Result<Stmt> {
        self.expect_word("deallocate")?;
        self.accept_word("prepare");
        if self.accept_word("all") {
            return Ok(Stmt::Deallocate(None));
        }
        Ok(Stmt::Deallocate(Some(self.name()?.name)))
    }

    // ---- cursors ----

    pub(super) fn declare(&mut self) -> Result<Stmt> {
        self.expect_word("declare")?;
        let name = self.name()?.name;
        let (mut binary, mut scroll, mut hold) = (false, false, false);
        loop {
            if self.accept_word("binary") {
                binary = true;
            } else if self.accept_words(&["no", "scroll"]) {
                scroll = false;
            } else if self.accept_word("scroll") {
                scroll = true;
            } else if self.accept_one_of(&["insensitive", "asensitive"]).is_none() {
                break;
            }
        }
        self.expect_word("cursor")?;
        if self.accept_words(&["with", "hold"]) {
            hold = true;
        } else {
            self.accept_words(&["without", "hold"]);
        }
        self.expect_word("for")?;
        let query = Box::new(self.query()?);
        Ok(Stmt::DeclareCursor { name, binary, scroll, hold, query })
    }

    pub(super) fn fetch(&mut self) -> Result<Stmt> {
        let is_move = self.at_word("move");
        self.advance();
        let direction = self.fetch_direction()?;
        self.accept_one_of(&["from", "in"]);
        let cursor = self.name()?.name;
        Ok(Stmt::Fetch { cursor, direction, is_move })
    }

    fn fetch_direction(&mut self) -> Result<FetchDirection> {
        use FetchDirection::{Absolute, Backward, First, Forward, Last, Relative};
        // FETCH c: the word is the cursor unless another follows.
        let last_word = matches!(self.peek_at(1), Tok::Semicolon | Tok::End);
        if last_word {
            return Ok(Forward(Some(1)));
        }
        let words = [
            "next", "prior", "first", "last", "absolute", "relative", "all", "forward", "backward",
        ];
        let Some(which) = self.accept_one_of(&words) else {
            return match self.peek() {
                Tok::Int(_) | Tok::Op(_) => Ok(count(self.integer()?)),
                _ => Ok(Forward(Some(1))),
            };
        };
        Ok(match which {
            0 => Forward(Some(1)),
            1 => Backward(Some(1)),
            2 => First,
            3 => Last,
            4 => Absolute(self.integer()?),
            5 => Relative(self.integer()?),
            6 => Forward(None),
            which => {
                let direction = if self.accept_word("all") {
                    Forward(None)
                } else if matches!(self.peek(), Tok::Int(_) | Tok::Op(_)) {
                    count(self.integer()?)
                } else {
                    Forward(Some(1))
                };
                if which == 7 { direction } else { backward(direction) }
            }
        })
    }

    pub(super) fn close(&mut self) -> Result<Stmt> {
        self.expect_word("close")?;
        if self.accept_word("all") {
            return Ok(Stmt::CloseCursor(None));
        }
        Ok(Stmt::CloseCursor(Some(self.name()?.name)))
    }

    pub(super) fn notification(&mut self) -> Result<Stmt> {
        if self.accept_word("listen") {
            return Ok(Stmt::Listen(self.name()?.name));
        }
        if self.accept_word("unlisten") {
            if self.accept_op("*") {
                return Ok(Stmt::Unlisten(None));
            }
            return Ok(Stmt::Unlisten(Some(self.name()?.name)));
        }
        self.expect_word("notify")?;
        let channel = self.name()?.name;
        let payload = if self.accept(&Tok::Comma) { self.string()? } else { String::new() };
        Ok(Stmt::Notify { channel, payload })
    }
}

/// A negative count walks backward.
fn count(n: i64) -> FetchDirection {
    if n < 0 {
        FetchDirection::Backward(Some(n.unsigned_abs()))
    } else {
        FetchDirection::Forward(Some(n.unsigned_abs()))
    }
}

fn backward(direction: FetchDirection) -> FetchDirection {
    match direction {
        FetchDirection::Forward(n) => FetchDirection::Backward(n),
        FetchDirection::Backward(n) => FetchDirection::Forward(n),
        other => other,
    }
}
