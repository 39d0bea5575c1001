//! Transactions, settings, EXPLAIN, PREPARE, cursors, maintenance.

use super::scope::{Clause, Scope};
use super::{Binder, planned};
use crate::ast::{ExplainWords, Expr as Ast, Ident, ObjectName, OptionValue, Query, Stmt};
use crate::error::{PlanError, Result};
use crate::parse::option_is_on;
use crate::plan::{
    CursorPlan, DiscardTarget, ExecutePlan, ExplainFormat, ExplainOptions, ExplainPlan, FetchPlan,
    ObjectKind, OutColumn, Plan, Planned, PreparePlan, SessionPlan, Tag, TxnPlan, UtilityPlan,
};
use catalog::{Oid, Relation};
use datum::{ColumnType, SqlType};

impl Binder<'_> {
    /// `None` for statements of other kinds.
    pub(crate) fn session_statement(&mut self, stmt: &Stmt) -> Result<Option<Planned>> {
        Ok(Some(match stmt {
            Stmt::Txn(txn) => planned(Plan::Txn(txn.clone()), txn_tag(txn)),
            Stmt::Set { name, value, scope } => {
                let (name, value, scope) = (name.clone(), value.clone(), *scope);
                planned(Plan::Session(SessionPlan::Set { name, value, scope }), Tag("SET"))
            }
            Stmt::SetRole { role, local } => {
                let plan = SessionPlan::SetRole { role: role.clone(), local: *local };
                planned(Plan::Session(plan), Tag("SET"))
            }
            Stmt::SetSessionAuthorization { role, local } => {
                let plan =
                    SessionPlan::SetSessionAuthorization { role: role.clone(), local: *local };
                planned(Plan::Session(plan), Tag("SET"))
            }
            Stmt::AlterSystem { name, value } => {
                let plan = SessionPlan::AlterSystem { name: name.clone(), value: value.clone() };
                planned(Plan::Session(plan), Tag("ALTER SYSTEM"))
            }
            Stmt::Show(None) => {
                let columns = ["name", "setting", "description"].map(text_column).to_vec();
                with_columns(Plan::Session(SessionPlan::ShowAll), columns, Tag("SHOW"))
            }
            Stmt::Show(Some(name)) => {
                let columns = vec![text_column(shown_name(name))];
                with_columns(Plan::Session(SessionPlan::Show(name.clone())), columns, Tag("SHOW"))
            }
            Stmt::Reset(None) => planned(Plan::Session(SessionPlan::ResetAll), Tag("RESET")),
            Stmt::Reset(Some(name)) => {
                planned(Plan::Session(SessionPlan::Reset(name.clone())), Tag("RESET"))
            }
            Stmt::Discard(target) => {
                let tag = match target {
                    DiscardTarget::All => "DISCARD ALL",
                    DiscardTarget::Plans => "DISCARD PLANS",
                    DiscardTarget::Sequences => "DISCARD SEQUENCES",
                    DiscardTarget::Temp => "DISCARD TEMP",
                };
                planned(Plan::Session(SessionPlan::Discard(*target)), Tag(tag))
            }
            Stmt::Explain { options, statement } => self.explain(options, statement)?,
            Stmt::Prepare { name, types, statement } => {
                let params: Result<Vec<SqlType>> =
                    types.iter().map(|t| Ok(self.ty(t)?.ty)).collect();
                let plan = PreparePlan {
                    name: name.clone(),
                    params: params?,
                    statement: statement.clone(),
                };
                planned(Plan::Prepare(plan), Tag("PREPARE"))
            }
            Stmt::Execute { name, args } => {
                let args = self.constant_args(args)?;
                planned(Plan::Execute(ExecutePlan { name: name.clone(), args }), Tag("EXECUTE"))
            }
            Stmt::Deallocate(name) => {
                let tag = if name.is_none() { "DEALLOCATE ALL" } else { "DEALLOCATE" };
                planned(Plan::Deallocate(name.clone()), Tag(tag))
            }
            Stmt::DeclareCursor { name, binary, scroll, hold, query } => {
                self.cursor(name, *binary, *scroll, *hold, query)?
            }
            Stmt::Fetch { cursor, direction, is_move } => {
                let tag = if *is_move { "MOVE" } else { "FETCH" };
                let plan =
                    FetchPlan { cursor: cursor.clone(), direction: *direction, is_move: *is_move };
                planned(Plan::Fetch(plan), Tag(tag))
            }
            Stmt::CloseCursor(name) => {
                let tag = if name.is_none() { "CLOSE CURSOR ALL" } else { "CLOSE CURSOR" };
                planned(Plan::CloseCursor(name.clone()), Tag(tag))
            }
            Stmt::Listen(channel) => planned(Plan::Listen(channel.clone()), Tag("LISTEN")),
            Stmt::Unlisten(channel) => planned(Plan::Unlisten(channel.clone()), Tag("UNLISTEN")),
            Stmt::Notify { channel, payload } => {
                let (channel, payload) = (channel.clone(), payload.clone());
                planned(Plan::Notify { channel, payload }, Tag("NOTIFY"))
            }
            Stmt::Split { kind, name, if_exists, points } => {
                self.split(*kind, name, *if_exists, points)?
            }
            Stmt::TransferLeader { range, node } => self.transfer_leader(*range, *node)?,
            _ => return self.maintenance(stmt),
        }))
    }

    fn maintenance(&mut self, stmt: &Stmt) -> Result<Option<Planned>> {
        let (plan, tag) = match stmt {
            Stmt::Vacuum { tables, analyze, full, verbose } => {
                let tables = self.tables(tables)?;
                let (analyze, full, verbose) = (*analyze, *full, *verbose);
                (UtilityPlan::Vacuum { tables, analyze, full, verbose }, "VACUUM")
            }
            Stmt::Analyze { tables, verbose } => {
                let tables = self.tables(tables)?;
                (UtilityPlan::Analyze { tables, verbose: *verbose }, "ANALYZE")
            }
            Stmt::Checkpoint => (UtilityPlan::Checkpoint, "CHECKPOINT"),
            Stmt::Reindex { kind, name } => {
                self.check_reindex(*kind, name.as_ref())?;
                (UtilityPlan::Reindex, "REINDEX")
            }
            Stmt::Cluster(name) => {
                if let Some(name) = name {
                    self.relation(name)?;
                }
                (UtilityPlan::Cluster, "CLUSTER")
            }
            Stmt::LockTable { tables, mode, nowait } => {
                let tables = self.tables(tables)?;
                (UtilityPlan::LockTable { tables, mode: *mode, nowait: *nowait }, "LOCK TABLE")
            }
            _ => return Ok(None),
        };
        Ok(Some(planned(Plan::Utility(plan), Tag(tag))))
    }

    fn tables(&mut self, names: &[ObjectName]) -> Result<Vec<Oid>> {
        names
            .iter()
            .map(|name| match self.relation(name)? {
                Relation::Table(table) => Ok(table.oid),
                Relation::Virtual(table) => Ok(table.oid),
                other => {
                    let message = format!("\"{}\" is not a table", other.name());
                    Err(self.error("42809", message, name.pos()))
                }
            })
            .collect()
    }

    fn check_reindex(&self, kind: Option<ObjectKind>, name: Option<&ObjectName>) -> Result<()> {
        match (kind, name) {
            (Some(ObjectKind::Schema), Some(name)) => {
                self.schema(name.name(), name.pos()).map(|_| ())
            }
            (Some(_), Some(name)) => self.relation(name).map(|_| ()),
            _ => Ok(()),
        }
    }

    // ---- EXPLAIN ----

    fn explain(&mut self, words: &ExplainWords, statement: &Stmt) -> Result<Planned> {
        let mut options = ExplainOptions {
            analyze: words.analyze,
            verbose: words.verbose,
            format: words.format.unwrap_or_default(),
            ..ExplainOptions::default()
        };
        for (name, value) in &words.options {
            self.explain_option(&mut options, name, value.as_deref())?;
        }
        let explainable = matches!(
            statement,
            Stmt::Query(_)
                | Stmt::Insert(_)
                | Stmt::Update(_)
                | Stmt::Delete(_)
                | Stmt::Execute { .. }
                | Stmt::DeclareCursor { .. }
                | Stmt::CreateTableAs(_)
        );
        if !explainable {
            return Err(PlanError::new(
                "42601",
                "syntax error: EXPLAIN needs a plannable statement",
            ));
        }
        let plan = self.statement(statement)?;
        let ty = match options.format {
            ExplainFormat::Text | ExplainFormat::Yaml | ExplainFormat::Xml => SqlType::Text,
            ExplainFormat::Json => SqlType::Json,
        };
        let column = OutColumn {
            name: "QUERY PLAN".to_string(),
            ty: ColumnType::plain(ty),
            table_oid: 0,
            attnum: 0,
        };
        let plan = Plan::Explain(Box::new(ExplainPlan { options, plan }));
        Ok(with_columns(plan, vec![column], Tag("EXPLAIN")))
    }

    fn explain_option(
        &self,
        options: &mut ExplainOptions,
        name: &Ident,
        value: Option<&str>,
    ) -> Result<()> {
        let word = match value {
            None => OptionValue::None,
            Some(text) => OptionValue::Word(text.to_string()),
        };
        let on = option_is_on(&word);
        match name.name.as_str() {
            "analyze" | "analyse" => options.analyze = on,
            "verbose" => options.verbose = on,
            "costs" => options.costs = Some(on),
            "timing" => options.timing = Some(on),
            "summary" => options.summary = Some(on),
            "buffers" => options.buffers = on,
            "settings" => options.settings = on,
            "wal" => options.wal = on,
            "generic_plan" | "memory" | "serialize" => {}
            "format" => {
                options.format = match value.unwrap_or("").to_ascii_lowercase().as_str() {
                    "text" => ExplainFormat::Text,
                    "json" => ExplainFormat::Json,
                    "yaml" => ExplainFormat::Yaml,
                    "xml" => ExplainFormat::Xml,
                    other => {
                        let message = format!(
                            "unrecognized value for EXPLAIN option \"format\": \"{other}\""
                        );
                        return Err(self.error("22023", message, name.pos));
                    }
                };
            }
            other => {
                let message = format!("unrecognized EXPLAIN option \"{other}\"");
                return Err(self.error("42601", message, name.pos));
            }
        }
        Ok(())
    }

    // ---- EXECUTE and cursors ----

    fn constant_args(&mut self, args: &[Ast]) -> Result<Vec<expr::Expr>> {
        self.push_level(Scope::default(), Clause::Execute);
        let bound = self.exprs(args);
        let level = self.pop_level();
        if !level.subqueries.is_empty() {
            let message = "cannot use subquery in EXECUTE parameter";
            return Err(PlanError::new("0A000", message));
        }
        bound
    }

    fn cursor(
        &mut self,
        name: &str,
        binary: bool,
        scroll: bool,
        hold: bool,
        query: &Query,
    ) -> Result<Planned> {
        let rel = self.top_query(query)?;
        let query = self.query_planned(rel);
        let name = name.to_string();
        let plan = Plan::DeclareCursor(Box::new(CursorPlan { name, binary, scroll, hold, query }));
        Ok(planned(plan, Tag("DECLARE CURSOR")))
    }
}

fn txn_tag(txn: &TxnPlan) -> Tag {
    Tag(match txn {
        TxnPlan::Begin(_) | TxnPlan::BeginPast { .. } => "BEGIN",
        TxnPlan::Commit { .. } => "COMMIT",
        TxnPlan::Rollback { .. } | TxnPlan::RollbackTo(_) => "ROLLBACK",
        TxnPlan::Savepoint(_) => "SAVEPOINT",
        TxnPlan::Release(_) => "RELEASE",
        TxnPlan::SetTransaction(_) | TxnPlan::SetSessionCharacteristics(_) => "SET",
        TxnPlan::SetConstraints { .. } => "SET CONSTRAINTS",
    })
}

fn with_columns(plan: Plan, columns: Vec<OutColumn>, tag: Tag) -> Planned {
    Planned { columns: Some(columns), ..planned(plan, tag) }
}

fn text_column(name: &str) -> OutColumn {
    let ty = ColumnType::plain(SqlType::Text);
    OutColumn { name: name.to_string(), ty, table_oid: 0, attnum: 0 }
}

/// Settings whose proper spelling has capitals.
fn shown_name(name: &str) -> &str {
    match name {
        "timezone" => "TimeZone",
        "datestyle" => "DateStyle",
        "intervalstyle" => "IntervalStyle",
        other => other,
    }
}
