//! From text to plan: the plan cache, and planning again when the catalog has moved.

use super::Session;
use super::begin::{read_tables, shared_tables};
use super::point::PointPlan;
use crate::error::{SqlError, SqlResult};
use crate::literals;
use crate::plan_cache::CacheKey;
use crate::prepared::{ColumnDesc, PlanKey, Prepared, Statement, VersionedPlan};
use catalog::Catalog;
use catalog::deparse::Names;
use datum::keywords::quote_identifier;
use datum::{Datum, SqlType};
use planner::{Plan, Planned};
use std::sync::Arc;

const RESULT_CHANGED: &str = "cached plan must not change result type";

impl Session {
    /// Cuts a simple query's text into statements. No statement: EmptyQueryResponse.
    ///
    /// # Errors
    /// 42601 with a position in the whole text; nothing of it is executed then.
    pub fn split(&mut self, sql: &str) -> SqlResult<Vec<Statement>> {
        // A text that was planned as one statement before need not be parsed.
        let key = self.cache_key(sql.into(), &[]);
        if let Some(prepared) = self.server.plans.get(&key)
            && let Some(parsed) = prepared.parsed.clone()
        {
            return Ok(vec![Statement { text: prepared.text.clone(), offset: 0, parsed }]);
        }
        let statements = match planner::parse(sql) {
            Ok(statements) => statements,
            Err(error) => {
                self.note_failure();
                return Err(error.into());
            }
        };
        let statements = statements.into_iter().map(|parsed| Statement {
            text: parsed.text.clone(),
            offset: parsed.offset,
            parsed: Arc::new(parsed),
        });
        Ok(statements.collect())
    }

    /// The plan and the parameters of a simple query that differs only in its integers from one that
    /// was planned before, and for pg_stat_activity the text itself.
    ///
    /// # Errors
    /// Whatever has become wrong with the statement.
    pub async fn plan_lifted(
        &mut self,
        sql: &str,
    ) -> SqlResult<Option<(Arc<Prepared>, Vec<Datum>)>> {
        if self.txn.catalog.is_some() {
            return Ok(None);
        }
        let Some(lifted) = literals::lift(sql) else { return Ok(None) };
        let key = self.cache_key(lifted.text.into(), &lifted.types);
        let Some(Some(prepared)) = self.server.templates.get(&key) else { return Ok(None) };
        let version = self.server.catalog.known_version();
        let current = version.is_some_and(|version| {
            prepared.plan().is_for(version, self.database.oid, &self.effective.search_path)
        });
        if !current && !matches!(self.is_current(&prepared).await, Ok(true)) {
            return Ok(None);
        }
        self.shown_text = Some(sql.into());
        Ok(Some((prepared, lifted.values)))
    }

    /// Remembers how to run texts that differ from `sql` in their integers only, if `planned`, its
    /// plan, is of a kind that comes often, and parameters change nothing but the values.
    fn learn_template(&mut self, sql: &str, planned: &Prepared) {
        let Some(lifted) = literals::lift(sql) else { return };
        let plan = planned.plan();
        if !matches!(plan.planned.plan, Plan::Oltp(_) | Plan::Write(_)) || !plan.planned.cacheable {
            return;
        }
        let text: Arc<str> = lifted.text.into();
        let key = self.cache_key(text.clone(), &lifted.types);
        if self.server.templates.get(&key).is_some() {
            return;
        }
        let template = self.bind_template(&plan.catalog, &text, &lifted.types, planned);
        self.server.templates.put(key, template);
    }

    fn bind_template(
        &self,
        catalog: &Arc<Catalog>,
        text: &Arc<str>,
        types: &[SqlType],
        like: &Prepared,
    ) -> Option<Arc<Prepared>> {
        let parsed = Arc::new(planner::parse_one(text).ok()?);
        let planned = self.bind_on(catalog, &parsed, types).ok()?;
        let columns = planned.columns.as_deref().map(describe);
        let same = same_kind(&planned.plan, &like.plan().planned.plan)
            && planned.params == types
            && planned.cacheable
            && columns == like.columns;
        let plan = self.versioned(catalog, planned);
        same.then(|| Arc::new(Prepared::new(text.clone(), 0, parsed, columns, plan)))
    }

    /// Plans one statement of a simple query.
    ///
    /// # Errors
    /// Whatever is wrong with the statement; the session has noted it.
    pub async fn plan(&mut self, statement: &Statement) -> SqlResult<Arc<Prepared>> {
        let had_failed = self.has_failed();
        let planned = self.plan_cached(statement, &[]).await;
        match &planned {
            Ok(planned) => self.learn_template(&statement.text, planned),
            Err(_) if !had_failed => Box::pin(self.give_back()).await,
            Err(_) => {}
        }
        self.noting(planned)
    }

    /// Plans the one statement of a Parse message. `param_oids` may be shorter than the list of
    /// parameters; zero means: infer.
    ///
    /// # Errors
    /// Whatever is wrong with the statement; the session has noted it.
    pub async fn prepare(&mut self, sql: &str, param_oids: &[u32]) -> SqlResult<Arc<Prepared>> {
        let had_failed = self.has_failed();
        let prepared = self.prepare_text(sql, param_oids).await;
        if prepared.is_err() && !had_failed {
            Box::pin(self.give_back()).await;
        }
        self.noting(prepared)
    }

    async fn prepare_text(&mut self, sql: &str, oids: &[u32]) -> SqlResult<Arc<Prepared>> {
        let mut types = Vec::with_capacity(oids.len());
        for &oid in oids {
            types.push(match oid {
                0 => SqlType::Unknown,
                oid => SqlType::from_oid(oid).ok_or_else(|| {
                    SqlError::new("42704", format!("type with OID {oid} does not exist"))
                })?,
            });
        }
        let key = self.cache_key(sql.into(), &types);
        if let Some(prepared) = self.server.plans.get(&key)
            && self.txn.catalog.is_none()
            && self.is_current(&prepared).await?
        {
            return Ok(prepared);
        }
        let mut statements = planner::parse(sql)?;
        if statements.len() > 1 {
            return Err(SqlError::new(
                "42601",
                "cannot insert multiple commands into a prepared statement",
            ));
        }
        let Some(parsed) = statements.pop() else {
            return Ok(Arc::new(Prepared::empty(self.catalog().await?)));
        };
        let statement = Statement {
            text: parsed.text.clone(),
            offset: parsed.offset,
            parsed: Arc::new(parsed),
        };
        let prepared = self.plan_cached(&statement, &types).await?;
        if self.txn.catalog.is_none() && prepared.plan().planned.cacheable {
            self.server.plans.put(key, prepared.clone());
        }
        Ok(prepared)
    }

    pub(super) async fn plan_cached(
        &mut self,
        statement: &Statement,
        types: &[SqlType],
    ) -> SqlResult<Arc<Prepared>> {
        self.refuse_if_shut_down()?;
        let private = self.txn.catalog.is_some();
        let key = self.cache_key(statement.text.clone(), types);
        if !private
            && let Some(prepared) = self.server.plans.get(&key)
            && self.is_current(&prepared).await?
        {
            return Ok(prepared);
        }
        let parsed = statement.parsed.clone();
        let plan = self.bind(&parsed, types).await?;
        let columns = plan.planned.columns.as_deref().map(describe);
        let cacheable = plan.planned.cacheable && !private;
        let text = statement.text.clone();
        let prepared = Arc::new(Prepared::new(text, statement.offset, parsed, columns, plan));
        if cacheable {
            self.server.plans.put(key, prepared.clone());
        }
        Ok(prepared)
    }

    /// Whether a cached statement serves a new one of the same text: not after its columns have changed,
    /// which only those who have been told of the old ones need to hear.
    async fn is_current(&mut self, prepared: &Arc<Prepared>) -> SqlResult<bool> {
        match self.current_plan(prepared).await {
            Ok(_) => Ok(true),
            Err(error) if error.sqlstate == "0A000" && error.message == RESULT_CHANGED => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The plan as of the current catalog and search path.
    ///
    /// # Errors
    /// What has become wrong with the statement; 0A000 if its columns have changed.
    pub(super) async fn current_plan(
        &mut self,
        prepared: &Arc<Prepared>,
    ) -> SqlResult<Arc<VersionedPlan>> {
        let plan = prepared.plan();
        let private = self.txn.catalog.is_some();
        if !private {
            let catalog = self.catalog().await?;
            if plan.is_for(catalog.version(), self.database.oid, &self.effective.search_path) {
                return Ok(plan);
            }
        }
        let Some(parsed) = &prepared.parsed else { return Ok(plan) };
        let renewed = Arc::new(Box::pin(self.bind(parsed, &prepared.param_types)).await?);
        let columns = renewed.planned.columns.as_deref().map(describe);
        let same = match (&columns, &prepared.columns) {
            (None, None) => true,
            (Some(new), Some(old)) => {
                new.len() == old.len() && new.iter().zip(&**old).all(|(n, o)| n.ty == o.ty)
            }
            (None, Some(_)) | (Some(_), None) => false,
        };
        if !same {
            return Err(SqlError::new("0A000", RESULT_CHANGED));
        }
        if !private && renewed.planned.cacheable {
            prepared.replace_plan(renewed.clone());
        }
        Ok(renewed)
    }

    /// Plans on the current catalog; looks for a newer one if a name is not found.
    pub(super) async fn bind(
        &mut self,
        parsed: &planner::Statement,
        types: &[SqlType],
    ) -> SqlResult<VersionedPlan> {
        let catalog = self.catalog().await?;
        match self.bind_on(&catalog, parsed, types) {
            Ok(planned) => Ok(self.versioned(&catalog, planned)),
            Err(error) if self.txn.catalog.is_none() && is_missing_name(error.sqlstate) => {
                let newer = self.server.catalog.refresh().await?;
                if newer.version() == catalog.version() {
                    return Err(error.into());
                }
                let planned = self.bind_on(&newer, parsed, types)?;
                Ok(self.versioned(&newer, planned))
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn bind_on(
        &self,
        catalog: &Catalog,
        parsed: &planner::Statement,
        types: &[SqlType],
    ) -> planner::Result<Planned> {
        let user = self.core.current_user();
        let mut context_types = self.effective.types.clone();
        context_types.now = match self.txn.started_at {
            0 => super::now_micros(),
            started => started,
        };
        let context = planner::BindContext {
            catalog,
            database: self.database.oid,
            search_path: &self.effective.schemas,
            param_types: types,
            types: &context_types,
            user: &user,
        };
        planner::bind(parsed, &context)
    }

    pub(super) fn versioned(&self, catalog: &Arc<Catalog>, planned: Planned) -> VersionedPlan {
        let shared_tables = shared_tables(&planned.plan, catalog);
        VersionedPlan {
            read_tables: read_tables(&planned, &shared_tables, catalog),
            shared_tables,
            point: PointPlan::of(&planned),
            planned,
            made_for: PlanKey {
                catalog: catalog.version(),
                database: self.database.oid,
                search_path: self.effective.search_path.clone(),
            },
            catalog: catalog.clone(),
        }
    }

    /// The catalog that statements of this session see now.
    pub(super) async fn catalog(&self) -> SqlResult<Arc<Catalog>> {
        match &self.txn.catalog {
            Some(changed) => Ok(changed.clone()),
            None => self.server.catalog.current().await,
        }
    }

    fn cache_key(&self, text: Arc<str>, types: &[SqlType]) -> CacheKey {
        CacheKey {
            text,
            database: self.database.oid,
            search_path: self.effective.search_path.clone(),
            user: self.core.user.clone(),
            param_types: types.to_vec(),
        }
    }

    /// Named prepared statements, shared by PREPARE and the protocol.
    ///
    /// # Errors
    /// 42P05 if the name is taken; the unnamed statement ("") is replaced.
    pub fn store_prepared(&mut self, name: &str, prepared: Arc<Prepared>) -> SqlResult<()> {
        if !name.is_empty() && self.prepared.contains_key(name) {
            let error =
                SqlError::new("42P05", format!("prepared statement \"{name}\" already exists"));
            return self.noting(Err(error));
        }
        self.prepared.insert(name.to_owned(), prepared);
        Ok(())
    }

    /// # Errors
    /// 26000 if there is none.
    pub fn prepared(&self, name: &str) -> SqlResult<Arc<Prepared>> {
        self.prepared.get(name).cloned().ok_or_else(|| match name {
            "" => SqlError::new("26000", "unnamed prepared statement does not exist"),
            name => SqlError::new("26000", format!("prepared statement \"{name}\" does not exist")),
        })
    }

    pub fn close_prepared(&mut self, name: &str) {
        self.prepared.remove(name);
    }
}

/// Whether both go the same way: a constant may have allowed a partial index.
fn same_kind(template: &Plan, plan: &Plan) -> bool {
    match (template, plan) {
        (Plan::Oltp(template), Plan::Oltp(plan)) => {
            std::mem::discriminant(&template.access) == std::mem::discriminant(&plan.access)
        }
        (Plan::Write(_), Plan::Write(_)) => true,
        _ => false,
    }
}

fn describe(columns: &[planner::OutColumn]) -> Arc<[ColumnDesc]> {
    let columns = columns.iter().map(|column| ColumnDesc {
        name: column.name.as_str().into(),
        ty: column.ty.clone(),
        table_oid: column.table_oid,
        attnum: column.attnum,
    });
    columns.collect()
}

/// Errors that a newer catalog may cure.
fn is_missing_name(sqlstate: &str) -> bool {
    matches!(sqlstate, "42P01" | "42703" | "3F000" | "42704" | "3D000" | "42883")
}

/// The name behind the OID of a reg* value.
pub(super) fn reg_name(session: &Session, ty: &SqlType, oid: u32) -> Option<String> {
    let catalog = match &session.txn.catalog {
        Some(changed) => changed.clone(),
        None => session.server.catalog.known()?,
    };
    if oid == 0 {
        return Some("-".to_owned());
    }
    match ty {
        SqlType::Regclass => {
            let search_path = &session.effective.schemas;
            Names { database: session.database.oid, search_path }.relation(&catalog, oid)
        }
        SqlType::Regnamespace => catalog.schema_name(oid).map(|n| quote_identifier(n).to_string()),
        SqlType::Regrole => catalog.role(oid).map(|r| quote_identifier(&r.name).to_string()),
        SqlType::Regtype => SqlType::from_oid(oid).map(|ty| ty.name()),
        SqlType::Regproc => {
            let mut all = expr::registry::all_functions().into_iter();
            all.find(|f| f.0.oid == oid).map(|f| f.0.name.to_owned())
        }
        _ => None,
    }
}
