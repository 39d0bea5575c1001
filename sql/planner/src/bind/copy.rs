//! COPY.

use super::scope::Clause;
use super::{Binder, planned};
use crate::ast::{CopySource, CopyStmt, Ident, OptionValue, Stmt};
use crate::error::{PlanError, Result};
use crate::parse::option_is_on;
use crate::plan::{
    CopyDirection, CopyFormat, CopyFrom, CopyHeader, CopyOptions, CopyPlan, Plan, Planned, Tag,
};
use catalog::{Relation, TableDescriptor};
use expr::Expr;

impl Binder<'_> {
    pub(crate) fn copy(&mut self, copy: &CopyStmt) -> Result<Planned> {
        let direction = match (&copy.source, copy.from) {
            (CopySource::Table(name), true) => {
                let table = self.target(name)?;
                CopyDirection::From(self.copy_from(copy, table)?)
            }
            (CopySource::Table(name), false) => {
                if let Relation::View(view) = self.relation(name)? {
                    let message = format!("cannot copy from view \"{}\"", view.name);
                    return Err(PlanError::new("42809", message)
                        .hint("Try the COPY (SELECT ...) TO variant."));
                }
                CopyDirection::To { query: Box::new(self.copy_table_to(copy, name)?) }
            }
            (CopySource::Query(stmt), _) => {
                let query = self.statement(stmt)?;
                if query.columns.is_none() {
                    let message = match **stmt {
                        Stmt::Query(_) => "COPY query must return rows",
                        _ => "COPY query must have a RETURNING clause",
                    };
                    return Err(PlanError::new("0A000", message));
                }
                CopyDirection::To { query: Box::new(query) }
            }
        };
        let columns: Vec<String> = match &direction {
            CopyDirection::From(from) => {
                from.columns.iter().map(|o| from.table.columns[*o].name.clone()).collect()
            }
            CopyDirection::To { query } => {
                query.columns.iter().flatten().map(|c| c.name.clone()).collect()
            }
        };
        let options = self.copy_options(&copy.options, &columns, copy.from)?;
        let plan = CopyPlan { direction, target: copy.target.clone(), options };
        Ok(planned(Plan::Copy(Box::new(plan)), Tag("COPY")))
    }

    fn copy_columns(&mut self, names: &[Ident], table: &TableDescriptor) -> Result<Vec<usize>> {
        if names.is_empty() {
            let columns = table.columns.iter().enumerate();
            return Ok(columns.filter(|(_, c)| c.generated.is_none()).map(|(i, _)| i).collect());
        }
        let mut columns = Vec::with_capacity(names.len());
        for name in names {
            let ordinal = self.target_column(table, name).map_err(|mut e| {
                e.position = None;
                e
            })?;
            if columns.contains(&ordinal) {
                let message = format!("column \"{}\" specified more than once", name.name);
                return Err(PlanError::new("42701", message));
            }
            if table.columns[ordinal].generated.is_some() {
                let message = format!("column \"{}\" is a generated column", name.name);
                return Err(PlanError::new("42P10", message)
                    .detail("Generated columns cannot be used in COPY."));
            }
            columns.push(ordinal);
        }
        Ok(columns)
    }

    fn copy_from(
        &mut self,
        copy: &CopyStmt,
        table: std::sync::Arc<TableDescriptor>,
    ) -> Result<CopyFrom> {
        let columns = self.copy_columns(&copy.columns, &table)?;
        let values = columns
            .iter()
            .enumerate()
            .map(|(i, o)| Expr::column(i, table.columns[*o].ty.clone()))
            .collect();
        let project = self.whole_row_of(&table, &columns, values)?;
        let filter = match &copy.filter {
            Some(ast) => {
                self.push_level(Self::row_scope(&table, &table.name, 0), Clause::CopyWhere);
                let bound = self.condition(ast, "argument of WHERE");
                let level = self.pop_level();
                if !level.subqueries.is_empty() {
                    let message = "cannot use subquery in COPY FROM WHERE condition";
                    return Err(PlanError::new("0A000", message));
                }
                Some(bound?)
            }
            None => None,
        };
        Ok(CopyFrom {
            checks: self.checks(&table, None)?,
            generated: self.generated(&table, None)?,
            table,
            columns,
            project,
            filter,
        })
    }

    /// `COPY t (a, b) TO` is `COPY (SELECT a, b FROM t) TO`.
    fn copy_table_to(&mut self, copy: &CopyStmt, name: &crate::ast::ObjectName) -> Result<Planned> {
        let source = match self.relation(name)? {
            Relation::Table(table) => {
                let table = table.clone();
                let columns = self.copy_columns(&copy.columns, &table)?;
                let source = self.stored(&table, name, None, false)?;
                let exprs: Vec<Expr> = columns
                    .iter()
                    .map(|o| Expr::column(*o, table.columns[*o].ty.clone()))
                    .collect();
                let names: Vec<String> =
                    columns.iter().map(|o| table.columns[*o].name.clone()).collect();
                super::select::project(source.rel, exprs, &names)
            }
            _ => {
                let item =
                    crate::ast::FromItem::Table { name: name.clone(), alias: None, sample: None };
                self.from_item(&item)?.rel
            }
        };
        Ok(self.query_planned(source))
    }

    fn copy_options(
        &self,
        given: &[(Ident, OptionValue)],
        columns: &[String],
        from: bool,
    ) -> Result<CopyOptions> {
        let format = match given.iter().rev().find(|(name, _)| name.name == "format") {
            None => CopyFormat::Text,
            Some((name, value)) => match value.text() {
                Some("text") => CopyFormat::Text,
                Some("csv") => CopyFormat::Csv,
                Some("binary") => CopyFormat::Binary,
                other => {
                    let message = format!("COPY format \"{}\" not recognized", other.unwrap_or(""));
                    return Err(self.error("22023", message, name.pos));
                }
            },
        };
        let mut options = CopyOptions::of(format);
        let mut escape = None;
        for (name, value) in given {
            match name.name.as_str() {
                "format" => {}
                "delimiter" => options.delimiter = self.copy_char("delimiter", value)?,
                "null" => options.null = value.text().unwrap_or("").to_string(),
                "header" => {
                    options.header = match value.text() {
                        Some(text) if text.eq_ignore_ascii_case("match") => CopyHeader::Match,
                        _ if option_is_on(value) => CopyHeader::Present,
                        _ => CopyHeader::None,
                    };
                }
                "quote" => options.quote = self.copy_char("quote", value)?,
                "escape" => escape = Some(self.copy_char("escape", value)?),
                "freeze" => options.freeze = option_is_on(value),
                "encoding" => options.encoding = value.text().map(str::to_string),
                "force_quote" => {
                    options.force_quote = Some(match value {
                        OptionValue::Star => Vec::new(),
                        other => self.copy_names(other, columns, name)?,
                    });
                }
                "force_not_null" => {
                    options.force_not_null = self.copy_names(value, columns, name)?
                }
                "force_null" => options.force_null = self.copy_names(value, columns, name)?,
                other => {
                    let message = format!("option \"{other}\" not recognized");
                    return Err(self.error("42601", message, name.pos));
                }
            }
        }
        options.escape = escape.unwrap_or(options.quote);
        check_copy_options(&options, given, from)?;
        Ok(options)
    }

    fn copy_char(&self, what: &str, value: &OptionValue) -> Result<u8> {
        match value.text().map(str::as_bytes) {
            Some([byte]) => Ok(*byte),
            _ => {
                let message = format!("COPY {what} must be a single one-byte character");
                Err(PlanError::new("0A000", message))
            }
        }
    }

    fn copy_names(
        &self,
        value: &OptionValue,
        columns: &[String],
        option: &Ident,
    ) -> Result<Vec<usize>> {
        let names: Vec<String> = match value {
            OptionValue::List(names) => names.clone(),
            OptionValue::Star => return Ok((0..columns.len()).collect()),
            other => other.text().map(str::to_string).into_iter().collect(),
        };
        names
            .iter()
            .map(|name| {
                columns.iter().position(|c| c == name).ok_or_else(|| {
                    let word = option.name.to_uppercase();
                    let message = format!("{word} column \"{name}\" not referenced by COPY");
                    PlanError::new("42P10", message)
                })
            })
            .collect()
    }
}

fn check_copy_options(
    options: &CopyOptions,
    given: &[(Ident, OptionValue)],
    from: bool,
) -> Result<()> {
    let has = |name: &str| given.iter().any(|(n, _)| n.name == name);
    let fail = |state, message: &str| Err(PlanError::new(state, message));
    if options.format == CopyFormat::Binary {
        for name in ["delimiter", "null"] {
            if has(name) {
                return fail(
                    "42601",
                    &format!("cannot specify {} in BINARY mode", name.to_uppercase()),
                );
            }
        }
        if has("header") {
            return fail("0A000", "cannot specify HEADER in BINARY mode");
        }
    }
    if options.format != CopyFormat::Csv {
        for name in ["quote", "escape", "force_quote", "force_not_null", "force_null"] {
            if has(name) {
                let word = name.replace('_', " ");
                return fail("0A000", &format!("COPY {word} available only in CSV mode"));
            }
        }
    }
    if matches!(options.delimiter, b'\n' | b'\r') {
        return fail("22023", "COPY delimiter cannot be newline or carriage return");
    }
    if options.null.contains(['\n', '\r']) {
        return fail("22023", "COPY null representation cannot use newline or carriage return");
    }
    if options.format == CopyFormat::Text
        && b"\\.abcdefghijklmnopqrstuvwxyz0123456789".contains(&options.delimiter)
    {
        let c = char::from(options.delimiter);
        return fail("22023", &format!("COPY delimiter cannot be \"{c}\""));
    }
    if options.null.as_bytes().contains(&options.delimiter) {
        return fail("0A000", "COPY delimiter must not appear in the NULL specification");
    }
    if options.format == CopyFormat::Csv && options.quote == options.delimiter {
        return fail("0A000", "COPY delimiter and quote must be different");
    }
    if has("force_quote") && from {
        return fail("0A000", "COPY force quote only available using COPY TO");
    }
    if (has("force_not_null") || has("force_null")) && !from {
        return fail("0A000", "COPY force not null only available using COPY FROM");
    }
    Ok(())
}
