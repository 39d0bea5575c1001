//! The settings of one session: what `SET`, `RESET` and `SHOW` work on.
//!
//! A setting has up to three values, the first present one counts:
//!
//! ```text
//! local     SET LOCAL        gone at the end of the transaction
//! session   SET              undone if its transaction rolls back
//! reset     role, database, connection options, default: what RESET returns to
//! ```
//!
//! Every change within a transaction leaves the state before it in `undo`; a rollback, also to a
//! savepoint, walks it backwards. The values that execution reads on each statement are kept
//! parsed in [`Effective`].
//!
//! What it does not do: decide who may set what for whom (roles), or persist anything.

mod domain;
pub mod registry;

use crate::error::{SqlError, SqlResult};
use core_domain::{ConsistencyLevel, IsolationLevel};
use datum::{ByteaOutput, IntervalStyle, TypeContext};
use registry::{Domain, SPECS, Scope, at, position};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What execution reads on its way, parsed.
#[derive(Clone)]
pub struct Effective {
    pub types: TypeContext,
    pub consistency: ConsistencyLevel,
    /// The setting's text, part of plan-cache keys.
    pub search_path: Arc<str>,
    /// The schemas it names, `$user` resolved.
    pub schemas: Arc<[String]>,
    pub statement_timeout: Option<Duration>,
    pub lock_timeout: Option<Duration>,
    /// Bytes.
    pub transaction_memory: u64,
    pub transaction_timeout: Option<Duration>,
    pub default_isolation: IsolationLevel,
    pub default_read_only: bool,
}

pub struct Settings {
    user: String,
    slots: Vec<Slot>,
    /// `SET myapp.tenant = ...`: names with a dot that nobody knows.
    custom: BTreeMap<String, Slot>,
    undo: Vec<Undo>,
    effective: Arc<Effective>,
    /// Reported settings that have changed since the driver was last told.
    changed: Vec<usize>,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    reset: Arc<str>,
    session: Option<Arc<str>>,
    local: Option<Arc<str>>,
}

impl Slot {
    fn value(&self) -> &Arc<str> {
        self.local.as_ref().or(self.session.as_ref()).unwrap_or(&self.reset)
    }
}

struct Undo {
    name: Name,
    before: Slot,
}

#[derive(Clone, Debug, PartialEq)]
enum Name {
    Known(usize),
    Custom(String),
}

impl Settings {
    pub fn new(user: &str) -> Self {
        let slots = SPECS
            .iter()
            .map(|spec| Slot { reset: spec.default.into(), ..Slot::default() })
            .collect();
        let mut settings = Self {
            user: user.to_owned(),
            slots,
            custom: BTreeMap::new(),
            undo: Vec::new(),
            effective: Arc::new(Effective {
                types: TypeContext::default(),
                consistency: ConsistencyLevel::Strong,
                search_path: "".into(),
                schemas: Arc::from([]),
                statement_timeout: None,
                lock_timeout: None,
                transaction_memory: u64::MAX,
                transaction_timeout: None,
                default_isolation: IsolationLevel::ReadCommitted,
                default_read_only: false,
            }),
            changed: Vec::new(),
        };
        settings.slots[at::SESSION_AUTHORIZATION].reset = user.into();
        settings.recompute();
        settings
    }

    pub fn effective(&self) -> &Arc<Effective> {
        &self.effective
    }

    /// The value as `SHOW` prints it.
    ///
    /// # Errors
    /// 42704 if there is no such setting.
    pub fn show(&self, name: &str) -> SqlResult<String> {
        match self.resolve(name)? {
            Name::Known(at) => Ok(domain::display(&SPECS[at], self.slots[at].value())),
            Name::Custom(name) => self
                .custom
                .get(&name)
                .map(|slot| slot.value().to_string())
                .ok_or_else(|| unrecognized(&name)),
        }
    }

    pub fn get(&self, at: usize) -> &Arc<str> {
        self.slots[at].value()
    }

    /// The name as `SHOW` heads its column.
    pub fn canonical_name(name: &str) -> String {
        position(name).map_or_else(|| name.to_owned(), |at| SPECS[at].name.to_owned())
    }

    /// All settings: name, value, description, as `SHOW ALL` and pg_settings list them.
    pub fn all(&self) -> Vec<(&'static str, String, &'static str)> {
        let mut all: Vec<_> = SPECS
            .iter()
            .zip(&self.slots)
            .map(|(spec, slot)| (spec.name, domain::display(spec, slot.value()), spec.description))
            .collect();
        all.sort_by_key(|(name, ..)| name.to_ascii_lowercase());
        all
    }

    /// `SET [LOCAL] name = value`. `in_transaction` asks for an undo record.
    ///
    /// # Errors
    /// 42704 unknown, 22023 outside its domain, 55P02 not changeable.
    pub fn set(
        &mut self,
        name: &str,
        value: &str,
        local: bool,
        in_transaction: bool,
    ) -> SqlResult<()> {
        let name = self.resolve(name)?;
        let value: Arc<str> = match &name {
            Name::Known(at) => {
                let spec = &SPECS[*at];
                match spec.scope {
                    Scope::Session => {}
                    Scope::Backend => {
                        return Err(SqlError::new(
                            "55P02",
                            format!(
                                "parameter \"{}\" cannot be set after connection start",
                                spec.name
                            ),
                        ));
                    }
                    Scope::Internal => return Err(not_changeable(spec.name)),
                }
                domain::normalise(spec, value, self.effective.types.date_style)?.into()
            }
            Name::Custom(_) => value.into(),
        };
        self.change(name, in_transaction, |slot| {
            if local {
                slot.local = Some(value);
            } else {
                slot.session = Some(value);
                slot.local = None;
            }
        });
        Ok(())
    }

    /// `RESET name`, `SET name TO DEFAULT`.
    ///
    /// # Errors
    /// 42704 unknown, 55P02 not changeable.
    pub fn reset(&mut self, name: &str, local: bool, in_transaction: bool) -> SqlResult<()> {
        let name = self.resolve(name)?;
        if let Name::Known(at) = name
            && SPECS[at].scope != Scope::Session
        {
            return Err(not_changeable(SPECS[at].name));
        }
        self.change(name, in_transaction, |slot| {
            if local {
                slot.local = Some(slot.reset.clone());
            } else {
                slot.session = None;
                slot.local = None;
            }
        });
        Ok(())
    }

    /// `RESET ALL`, and part of `DISCARD ALL`.
    pub fn reset_all(&mut self, in_transaction: bool) {
        for (at, spec) in SPECS.iter().enumerate() {
            let skip = [at::CAUSAL_TOKEN, at::TRANSACTION_ISOLATION, at::TRANSACTION_READ_ONLY];
            if spec.scope == Scope::Session && !skip.contains(&at) {
                self.change(Name::Known(at), in_transaction, |slot| {
                    slot.session = None;
                    slot.local = None;
                });
            }
        }
        let custom: Vec<String> = self.custom.keys().cloned().collect();
        for name in custom {
            self.change(Name::Custom(name), in_transaction, |slot| {
                slot.session = None;
                slot.local = None;
            });
        }
    }

    /// What RESET returns to from now on: stored for the role or database, or a connection option.
    ///
    /// # Errors
    /// As [`Settings::set`].
    pub fn set_reset_value(&mut self, name: &str, value: &str) -> SqlResult<()> {
        let name = self.resolve(name)?;
        let value = match &name {
            Name::Known(at) if SPECS[*at].scope == Scope::Internal => {
                return Err(not_changeable(SPECS[*at].name));
            }
            Name::Known(at) => {
                domain::normalise(&SPECS[*at], value, self.effective.types.date_style)?
            }
            Name::Custom(_) => value.to_owned(),
        };
        self.change(name, false, |slot| slot.reset = value.into());
        Ok(())
    }

    /// Checks a value without setting it, for `ALTER ROLE ... SET`; answers it normalised.
    ///
    /// # Errors
    /// As [`Settings::set`].
    pub fn check(&self, name: &str, value: &str) -> SqlResult<(String, String)> {
        match self.resolve(name)? {
            Name::Known(at) if SPECS[at].scope == Scope::Internal => {
                Err(not_changeable(SPECS[at].name))
            }
            Name::Known(at) => Ok((
                SPECS[at].name.to_owned(),
                domain::normalise(&SPECS[at], value, self.effective.types.date_style)?,
            )),
            Name::Custom(name) => Ok((name, value.to_owned())),
        }
    }

    /// Sets what the server itself decides: causal_token, last_guarantee, transaction_isolation.
    pub fn publish(&mut self, at: usize, value: Arc<str>) {
        let slot = &mut self.slots[at];
        if **slot.value() == *value {
            return;
        }
        slot.reset = value;
        slot.session = None;
        slot.local = None;
        self.note_change(at);
    }

    /// A mark to which [`Settings::rollback_to`] can return.
    pub fn mark(&self) -> usize {
        self.undo.len()
    }

    /// Undoes every change after `mark`.
    pub fn rollback_to(&mut self, mark: usize) {
        if self.undo.len() <= mark {
            return;
        }
        for undo in self.undo.split_off(mark).into_iter().rev() {
            match undo.name {
                Name::Known(at) => {
                    self.slots[at] = undo.before;
                    self.note_change(at);
                }
                Name::Custom(name) => {
                    self.custom.insert(name, undo.before);
                }
            }
        }
        self.recompute();
    }

    /// The transaction has committed: local values go, the others stay.
    pub fn commit(&mut self) {
        if self.undo.is_empty() {
            return;
        }
        for undo in std::mem::take(&mut self.undo) {
            match undo.name {
                Name::Known(at) => {
                    if self.slots[at].local.take().is_some() {
                        self.note_change(at);
                    }
                }
                Name::Custom(name) => {
                    if let Some(slot) = self.custom.get_mut(&name) {
                        slot.local = None;
                    }
                }
            }
        }
        self.recompute();
    }

    /// Reported settings and their values, for the start of a connection.
    pub fn reported(&self) -> Vec<(String, String)> {
        SPECS
            .iter()
            .zip(&self.slots)
            .filter(|(spec, _)| spec.report)
            .map(|(spec, slot)| (spec.name.to_owned(), domain::display(spec, slot.value())))
            .collect()
    }

    /// Reported settings that have changed since the last call.
    pub fn take_changes(&mut self) -> Vec<(&'static str, String)> {
        if self.changed.is_empty() {
            return Vec::new();
        }
        std::mem::take(&mut self.changed)
            .into_iter()
            .map(|at| (SPECS[at].name, domain::display(&SPECS[at], self.slots[at].value())))
            .collect()
    }

    fn resolve(&self, name: &str) -> SqlResult<Name> {
        match position(name) {
            Some(at) => Ok(Name::Known(at)),
            None if name.contains('.') && !name.starts_with('.') && !name.ends_with('.') => {
                Ok(Name::Custom(name.to_ascii_lowercase()))
            }
            None => Err(unrecognized(name)),
        }
    }

    fn change(&mut self, name: Name, in_transaction: bool, change: impl FnOnce(&mut Slot)) {
        let slot = match &name {
            Name::Known(at) => &mut self.slots[*at],
            Name::Custom(name) => self.custom.entry(name.clone()).or_default(),
        };
        let before = slot.clone();
        change(slot);
        let moved = slot.value() != before.value();
        if let (true, Name::Known(at)) = (moved, &name) {
            self.note_change(*at);
        }
        if in_transaction {
            self.undo.push(Undo { name, before });
        }
        if moved {
            self.recompute();
        }
    }

    fn note_change(&mut self, at: usize) {
        if SPECS[at].report && !self.changed.contains(&at) {
            self.changed.push(at);
        }
    }

    fn recompute(&mut self) {
        let text = |at: usize| &**self.slots[at].value();
        let types = TypeContext {
            timezone: domain::time_zone(text(at::TIME_ZONE)),
            date_style: domain::date_style(text(at::DATE_STYLE)),
            interval_style: IntervalStyle::parse(text(at::INTERVAL_STYLE))
                .unwrap_or(IntervalStyle::Postgres),
            extra_float_digits: text(at::EXTRA_FLOAT_DIGITS).parse().unwrap_or(1),
            bytea_output: match text(at::BYTEA_OUTPUT) {
                "escape" => ByteaOutput::Escape,
                _ => ByteaOutput::Hex,
            },
            now: 0,
        };
        let timeout =
            |at: usize| text(at).parse().ok().filter(|ms| *ms > 0).map(Duration::from_millis);
        self.effective = Arc::new(Effective {
            types,
            consistency: text(at::CONSISTENCY).parse().unwrap_or_default(),
            search_path: self.slots[at::SEARCH_PATH].value().clone(),
            schemas: domain::search_path(text(at::SEARCH_PATH), &self.user).into(),
            statement_timeout: timeout(at::STATEMENT_TIMEOUT),
            lock_timeout: timeout(at::LOCK_TIMEOUT),
            transaction_memory: position("transaction_memory")
                .and_then(|at| text(at).parse::<u64>().ok())
                .map_or(u64::MAX, |kilobytes| kilobytes.saturating_mul(1024)),
            transaction_timeout: position("transaction_timeout").and_then(timeout),
            default_isolation: domain::isolation(text(at::DEFAULT_ISOLATION)),
            default_read_only: text(at::DEFAULT_READ_ONLY) == "on",
        });
    }

    /// The new name of the user behind `$user`.
    pub fn set_user(&mut self, user: &str) {
        self.user = user.to_owned();
        self.recompute();
    }
}

/// The names in a list or a qualified name: quoted as written, others in lower case.
pub fn identifiers(text: &str, separator: char) -> Vec<String> {
    domain::identifiers(text, separator)
}

/// What `SET TRANSACTION ISOLATION LEVEL` and its settings spell.
pub fn isolation_level(text: &str) -> IsolationLevel {
    domain::isolation(text)
}

pub fn unrecognized(name: &str) -> SqlError {
    SqlError::new("42704", format!("unrecognized configuration parameter \"{name}\""))
}

fn not_changeable(name: &str) -> SqlError {
    SqlError::new("55P02", format!("parameter \"{name}\" cannot be changed"))
}

/// Whether the setting is one of ours that its domain alone cannot check.
pub fn is_causal_token(name: &str) -> bool {
    position(name).is_some_and(|at| SPECS[at].domain == Domain::CausalToken)
}
