//! SET, SHOW, RESET, DISCARD, and SQL's own prepared statements.

use super::Session;
use crate::error::{SqlError, SqlResult};
use crate::outcome::{Outcome, RowStream};
use crate::prepared::{ColumnDesc, Statement};
use crate::settings::registry::{at, position};
use crate::settings::{Settings, is_causal_token};
use datum::keywords::quote_identifier;
use datum::{Datum, SqlType};
use planner::{DiscardTarget, ExecutePlan, PreparePlan, SessionPlan, SettingScope, SettingValue};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Session {
    pub(super) async fn session_command(
        &mut self,
        command: &SessionPlan,
        columns: &Option<Arc<[ColumnDesc]>>,
    ) -> SqlResult<Outcome> {
        let tag = match command {
            SessionPlan::Set { name, value, scope } => {
                self.set(name, value, *scope == SettingScope::Local).await?;
                "SET"
            }
            SessionPlan::Show(name) => return self.show(name, columns),
            SessionPlan::ShowAll => return Ok(self.show_all(columns)),
            SessionPlan::Reset(name) => {
                self.reset(name, false)?;
                "RESET"
            }
            SessionPlan::ResetAll => {
                let in_transaction = self.core.in_transaction.load(Ordering::Acquire);
                self.core.settings.lock().reset_all(in_transaction);
                "RESET"
            }
            SessionPlan::Discard(target) => {
                let tag = self.discard(*target)?;
                if *target == DiscardTarget::All {
                    self.core.advisory.unlock_all().await?;
                }
                tag
            }
            SessionPlan::SetRole { role, local } => {
                self.set_role(role.as_deref(), *local).await?;
                "SET"
            }
            SessionPlan::SetSessionAuthorization { role, .. } => {
                if role.as_deref().is_some_and(|role| *role != *self.core.user) {
                    return Err(SqlError::unsupported("SET SESSION AUTHORIZATION"));
                }
                "SET"
            }
            SessionPlan::AlterSystem { .. } => {
                return Err(SqlError::unsupported("ALTER SYSTEM"));
            }
        };
        Ok(Outcome::Complete { tag: tag.to_owned() })
    }

    async fn set(&mut self, name: &str, value: &SettingValue, local: bool) -> SqlResult<()> {
        if local && !self.core.in_transaction.load(Ordering::Acquire) {
            self.core.notice(SqlError::warning(
                "25P01",
                "SET LOCAL can only be used in transaction blocks",
            ));
            // Still an error if the value is wrong.
            if let SettingValue::Values(values) = value {
                self.core.settings.lock().check(name, &values.join(", "))?;
            }
            return Ok(());
        }
        let values = match value {
            SettingValue::Default => return self.reset(name, local),
            SettingValue::Values(values) => values,
        };
        let at = position(name);
        let text = match values.as_slice() {
            [one] => one.clone(),
            several if at == Some(at::SEARCH_PATH) || at == Some(at::DATE_STYLE) => {
                join(several, at == Some(at::SEARCH_PATH))
            }
            _ => {
                return Err(SqlError::new("22023", format!("SET {name} takes only one argument")));
            }
        };
        if is_causal_token(name) {
            return self.accept_token(&text).await;
        }
        if at == Some(at::ROLE) {
            return self.set_role(Some(&text), local).await;
        }
        self.core.set(name, &text, local)?;
        if let Some(at @ (at::TRANSACTION_ISOLATION | at::TRANSACTION_READ_ONLY)) = at {
            let value = self.core.settings.lock().get(at).clone();
            self.set_mode_setting(at, &value)?;
        }
        Ok(())
    }

    fn reset(&mut self, name: &str, local: bool) -> SqlResult<()> {
        let in_transaction = self.core.in_transaction.load(Ordering::Acquire);
        if is_causal_token(name) {
            // What has been seen cannot be forgotten: monotonic reads.
            return Err(SqlError::new("55P02", "parameter \"causal_token\" cannot be reset"));
        }
        self.core.settings.lock().reset(name, local, in_transaction)
    }

    async fn set_role(&mut self, role: Option<&str>, local: bool) -> SqlResult<()> {
        let role = role.unwrap_or("none");
        if role != "none" {
            let catalog = self.catalog().await?;
            // A user that trust admitted without a role may name itself.
            if catalog.role_named(role).is_none() && *role != *self.core.user {
                return Err(SqlError::new("22023", format!("role \"{role}\" does not exist")));
            }
        }
        self.core.set("role", role, local)
    }

    fn show(&mut self, name: &str, columns: &Option<Arc<[ColumnDesc]>>) -> SqlResult<Outcome> {
        let value = match position(name) {
            Some(at::LAST_GUARANTEE) => self.receipt(),
            Some(at::TRANSACTION_ISOLATION) => self.current_isolation().to_owned(),
            Some(at::TRANSACTION_READ_ONLY) => {
                let read_only = match self.txn.block {
                    super::Block::None => self.effective.default_read_only,
                    _ => self.txn.read_only,
                };
                if read_only { "on" } else { "off" }.to_owned()
            }
            Some(at::CAUSAL_TOKEN) => {
                self.publish_token();
                self.core.settings.lock().show(name)?
            }
            _ => self.core.settings.lock().show(name)?,
        };
        let columns = columns
            .clone()
            .unwrap_or_else(|| Arc::from([text_column(&Settings::canonical_name(name))]));
        let rows = RowStream::ready_tagged(vec![vec![Datum::text(value)]], "SHOW");
        Ok(Outcome::Rows { columns, rows })
    }

    fn current_isolation(&self) -> &'static str {
        match self.txn.block {
            super::Block::None => self.effective.default_isolation.as_str(),
            _ => self.txn.isolation.as_str(),
        }
    }

    /// What the last statement was served with.
    fn receipt(&self) -> String {
        match &self.last_guarantee {
            Some(guarantee) => {
                let mut receipt = guarantee.clone();
                receipt.asked = self.effective.consistency;
                receipt.to_string()
            }
            None => String::new(),
        }
    }

    fn show_all(&self, columns: &Option<Arc<[ColumnDesc]>>) -> Outcome {
        let all = self.core.settings.lock().all();
        let rows = all.into_iter().map(|(name, value, description)| {
            vec![Datum::text(name), Datum::text(value), Datum::text(description)]
        });
        let columns = columns.clone().unwrap_or_else(|| {
            Arc::from([text_column("name"), text_column("setting"), text_column("description")])
        });
        Outcome::Rows { columns, rows: RowStream::ready_tagged(rows.collect(), "SHOW") }
    }

    fn discard(&mut self, target: DiscardTarget) -> SqlResult<&'static str> {
        Ok(match target {
            DiscardTarget::All => {
                if self.txn.block != super::Block::None {
                    return Err(SqlError::new(
                        "25001",
                        "DISCARD ALL cannot run inside a transaction block",
                    ));
                }
                self.prepared.clear();
                self.cursors.clear();
                self.core.settings.lock().reset_all(false);
                *self.core.sequences.lock() = Default::default();
                "DISCARD ALL"
            }
            DiscardTarget::Plans => "DISCARD PLANS",
            DiscardTarget::Sequences => {
                *self.core.sequences.lock() = Default::default();
                "DISCARD SEQUENCES"
            }
            DiscardTarget::Temp => "DISCARD TEMP",
        })
    }

    // ---- PREPARE, EXECUTE, DEALLOCATE ----

    pub(super) async fn prepare_command(&mut self, plan: &PreparePlan) -> SqlResult<Outcome> {
        let statement = Statement {
            text: plan.statement.text.clone(),
            offset: 0,
            parsed: Arc::new(plan.statement.clone()),
        };
        let prepared = self.plan_cached(&statement, &plan.params).await?;
        self.store_prepared(&plan.name, prepared)?;
        Ok(Outcome::Complete { tag: "PREPARE".to_owned() })
    }

    pub(super) async fn execute_command(&mut self, plan: &ExecutePlan) -> SqlResult<Outcome> {
        let prepared = self.prepared(&plan.name)?;
        if plan.args.len() != prepared.param_types.len() {
            return Err(SqlError::new(
                "42601",
                format!("wrong number of parameters for prepared statement \"{}\"", plan.name),
            )
            .with_detail(format!(
                "Expected {} parameters but got {}.",
                prepared.param_types.len(),
                plan.args.len()
            )));
        }
        let mut params = Vec::with_capacity(plan.args.len());
        for (arg, ty) in plan.args.iter().zip(&prepared.param_types) {
            params.push(self.argument(arg, ty)?);
        }
        let current = self.current_plan(&prepared).await?;
        self.execute_plan(&current, &prepared, params).await
    }

    /// An argument of EXECUTE, cast to its parameter's type.
    fn argument(&self, arg: &expr::Expr, ty: &SqlType) -> SqlResult<Datum> {
        let types = &self.effective.types;
        let facts = expr::session_facts::NoSession;
        let eval = expr::EvalContext::new(types, &facts);
        if let expr::Expr::Unknown { text, .. } = arg {
            return Ok(match text {
                Some(text) => datum::text::parse(&ty.clone().into(), text, types)?,
                None => Datum::Null,
            });
        }
        let value = arg.eval(&[], &eval)?;
        if value.is_null() || arg.sql_type() == ty {
            return Ok(value);
        }
        let text = datum::text::to_string(&value, arg.sql_type(), types);
        Ok(datum::text::parse(&ty.clone().into(), &text, types)?)
    }

    pub(super) fn deallocate(&mut self, name: Option<&str>) -> SqlResult<Outcome> {
        let tag = match name {
            Some(name) => {
                if self.prepared.remove(name).is_none() {
                    return Err(SqlError::new(
                        "26000",
                        format!("prepared statement \"{name}\" does not exist"),
                    ));
                }
                "DEALLOCATE"
            }
            None => {
                self.prepared.clear();
                "DEALLOCATE ALL"
            }
        };
        Ok(Outcome::Complete { tag: tag.to_owned() })
    }
}

/// A list of names as one value; names are quoted where they must be.
fn join(values: &[String], quote: bool) -> String {
    let words: Vec<String> = values
        .iter()
        .map(|value| match quote {
            true => quote_identifier(value).to_string(),
            false => value.clone(),
        })
        .collect();
    words.join(", ")
}

fn text_column(name: &str) -> ColumnDesc {
    ColumnDesc { name: name.into(), ty: SqlType::Text.into(), table_oid: 0, attnum: 0 }
}
