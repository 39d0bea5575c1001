//! What names mean at one place of a query.
//!
//! A [`Scope`] lists the columns that FROM makes visible, each with the expression that reads it. A
//! [`Level`] is a scope together with what its expressions have asked for: aggregates, windows,
//! subqueries. The binder keeps a stack of levels; a name found `n` levels up is an outer column of
//! depth `n - 1`, since exactly one Apply lies between two levels.

use super::Binder;
use super::subquery::PendingSubquery;
use crate::ast::{Ident, Pos, WindowSpec};
use crate::error::Result;
use crate::plan::{AggregateCall, SetCall, WindowCall};
use catalog::{Oid, TableDescriptor};
use datum::ColumnType;
use expr::Expr;
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    pub columns: Vec<ScopeColumn>,
    pub tables: Vec<ScopeTable>,
    /// What `*` shows, in order.
    pub star: Vec<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct ScopeColumn {
    pub name: String,
    /// Reads it from the row.
    pub expr: Expr,
    /// False for the sides of a merged column (USING): only `t.c` finds those.
    pub bare: bool,
    /// Relation and ordinal, for `Planned::uses`.
    pub origin: Option<(Oid, usize)>,
}

#[derive(Clone, Debug)]
pub(crate) struct ScopeTable {
    pub alias: String,
    /// The schema, for `schema.table.column`; only where no alias hides it.
    pub schema: Option<String>,
    /// Positions in `Scope::columns`.
    pub columns: Vec<usize>,
    /// A stored table, and where its row begins: for locks and functional dependencies.
    pub stored: Option<(Arc<TableDescriptor>, usize)>,
    /// Its OID, for the system column `tableoid`.
    pub relation: Option<Oid>,
    /// A function of one scalar column: its name alone is the value.
    pub scalar: bool,
    /// Not visible to this side (RIGHT JOIN LATERAL and the like): a reference is an error.
    pub blocked: bool,
}

impl ScopeTable {
    /// A name for columns, and nothing more.
    pub(crate) fn named(alias: impl Into<String>, columns: Vec<usize>) -> Self {
        Self {
            alias: alias.into(),
            schema: None,
            columns,
            stored: None,
            relation: None,
            scalar: false,
            blocked: false,
        }
    }
}

impl Scope {
    /// Appends another scope whose row comes after `width` columns of ours.
    pub(crate) fn append(&mut self, other: Scope, width: usize) {
        let shift = self.columns.len();
        for mut column in other.columns {
            column.expr.map_columns(&|index| index + width);
            self.columns.push(column);
        }
        for mut table in other.tables {
            for column in &mut table.columns {
                *column += shift;
            }
            if let Some((_, start)) = &mut table.stored {
                *start += width;
            }
            self.tables.push(table);
        }
        self.star.extend(other.star.into_iter().map(|c| c + shift));
    }

    pub(crate) fn table_named(&self, parts: &[Ident]) -> Option<&ScopeTable> {
        match parts {
            [table] => self.tables.iter().find(|t| t.alias == table.name),
            [schema, table] => self.tables.iter().find(|t| {
                t.alias == table.name && t.schema.as_deref() == Some(schema.name.as_str())
            }),
            [_, rest @ ..] if rest.len() == 2 => self.table_named(rest),
            _ => None,
        }
    }
}

/// Which clause is bound: what may occur in it, and what errors call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clause {
    Select,
    Where,
    JoinOn,
    GroupBy,
    Having,
    OrderBy,
    Limit,
    From,
    Values,
    InsertValues,
    UpdateSet,
    Returning,
    Default,
    Check,
    Generated,
    IndexPredicate,
    AlterType,
    Execute,
    CopyWhere,
    WindowDefinition,
    /// Arguments and FILTER of an aggregate.
    Aggregate,
}

impl Clause {
    pub(crate) fn allows_aggregates(self) -> bool {
        matches!(self, Clause::Select | Clause::Having | Clause::OrderBy | Clause::WindowDefinition)
    }

    pub(crate) fn allows_windows(self) -> bool {
        matches!(self, Clause::Select | Clause::OrderBy)
    }

    pub(crate) fn allows_sets(self) -> bool {
        matches!(self, Clause::Select | Clause::OrderBy)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Clause::Select => "SELECT",
            Clause::Where => "WHERE",
            Clause::JoinOn => "JOIN conditions",
            Clause::GroupBy => "GROUP BY",
            Clause::Having => "HAVING",
            Clause::OrderBy => "ORDER BY",
            Clause::Limit => "LIMIT",
            Clause::From => "functions in FROM",
            Clause::Values | Clause::InsertValues => "VALUES",
            Clause::UpdateSet => "UPDATE",
            Clause::Returning => "RETURNING",
            Clause::Default => "DEFAULT expressions",
            Clause::Check => "check constraints",
            Clause::Generated => "column generation expressions",
            Clause::IndexPredicate => "index predicates",
            Clause::AlterType => "transform expressions",
            Clause::Execute => "EXECUTE parameters",
            Clause::CopyWhere => "COPY FROM WHERE conditions",
            Clause::WindowDefinition => "window definitions",
            Clause::Aggregate => "aggregate arguments",
        }
    }
}

/// One query's names while its expressions are bound, and what they asked for.
#[derive(Debug)]
pub(crate) struct Level {
    pub scope: Scope,
    pub clause: Clause,
    pub aggregates: Vec<AggregateCall>,
    /// Arguments of GROUPING().
    pub groupings: Vec<Vec<Expr>>,
    pub windows: Vec<WindowCall>,
    pub sets: Vec<SetCall>,
    pub subqueries: Vec<PendingSubquery>,
    /// WINDOW clause.
    pub named_windows: Vec<(Ident, WindowSpec)>,
    /// Where each real column was first mentioned, for errors about grouping.
    pub mentions: HashMap<usize, Pos>,
    /// Inside an aggregate's arguments.
    pub in_aggregate: bool,
    /// Not visible: a derived table without LATERAL does not see its neighbours.
    pub hidden: bool,
}

impl Level {
    pub(crate) fn new(scope: Scope, clause: Clause) -> Self {
        Self {
            scope,
            clause,
            aggregates: Vec::new(),
            groupings: Vec::new(),
            windows: Vec::new(),
            sets: Vec::new(),
            subqueries: Vec::new(),
            named_windows: Vec::new(),
            mentions: HashMap::new(),
            in_aggregate: false,
            hidden: false,
        }
    }
}

/// A value that some node still to be placed will deliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placeholder {
    Aggregate(usize),
    Grouping(usize),
    Window(usize),
    Set(usize),
    /// Subquery number, and which of its columns.
    Subquery(usize, usize),
}

const KIND_SHIFT: u32 = 56;
const PART_SHIFT: u32 = 32;

impl Placeholder {
    fn index(self) -> usize {
        let (kind, number, part) = match self {
            Placeholder::Aggregate(n) => (1, n, 0),
            Placeholder::Grouping(n) => (2, n, 0),
            Placeholder::Window(n) => (3, n, 0),
            Placeholder::Set(n) => (4, n, 0),
            Placeholder::Subquery(n, part) => (5, n, part),
        };
        (kind << KIND_SHIFT) | (part << PART_SHIFT) | number
    }

    pub(crate) fn of(index: usize) -> Option<Self> {
        let number = index & 0xffff_ffff;
        let part = (index >> PART_SHIFT) & 0xff_ffff;
        match index >> KIND_SHIFT {
            1 => Some(Placeholder::Aggregate(number)),
            2 => Some(Placeholder::Grouping(number)),
            3 => Some(Placeholder::Window(number)),
            4 => Some(Placeholder::Set(number)),
            5 => Some(Placeholder::Subquery(number, part)),
            _ => None,
        }
    }

    pub(crate) fn expr(self, ty: ColumnType) -> Expr {
        Expr::Column { index: self.index(), ty }
    }
}

/// The placeholders in an expression.
pub(crate) fn placeholders(expr: &Expr) -> Vec<Placeholder> {
    let mut found = Vec::new();
    expr.any(&mut |part| {
        if let Expr::Column { index, .. } = part
            && let Some(placeholder) = Placeholder::of(*index)
        {
            found.push(placeholder);
        }
        false
    });
    found
}

impl Binder<'_> {
    pub(crate) fn push_level(&mut self, scope: Scope, clause: Clause) {
        self.levels.push(Level::new(scope, clause));
    }

    pub(crate) fn pop_level(&mut self) -> Level {
        self.levels.pop().expect("every pop_level follows its push_level")
    }

    pub(crate) fn level(&mut self) -> &mut Level {
        self.levels.last_mut().expect("expressions are bound at some level")
    }

    /// Runs `inner` with the current level set to another clause.
    pub(crate) fn in_clause<T>(
        &mut self,
        clause: Clause,
        inner: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let old = std::mem::replace(&mut self.level().clause, clause);
        let result = inner(self);
        self.level().clause = old;
        result
    }

    /// `a`, `t.a`, `s.t.a`, or a whole row.
    pub(crate) fn column(&mut self, parts: &[Ident]) -> Result<Expr> {
        let pos = parts.first().map_or(0, |p| p.pos);
        match parts {
            [name] => {
                if let Some(found) = self.bare_column(name)? {
                    return Ok(found);
                }
                if let Some(row) = self.whole_row(parts) {
                    return Ok(row);
                }
                if let Some(system) = self.system_column(&[], name)? {
                    return Ok(system);
                }
                Err(self.error("42703", format!("column \"{}\" does not exist", name.name), pos))
            }
            [qualifier @ .., name] => {
                if let Some(found) = self.qualified_column(qualifier, name)? {
                    return Ok(found);
                }
                Err(self.no_table(qualifier))
            }
            [] => Err(self.error("42601", "a name without parts", pos)),
        }
    }

    fn bare_column(&mut self, name: &Ident) -> Result<Option<Expr>> {
        for index in (0..self.levels.len()).rev() {
            if self.levels[index].hidden {
                continue;
            }
            let scope = &self.levels[index].scope;
            let mut hits = scope
                .columns
                .iter()
                .enumerate()
                .filter(|(_, c)| c.bare && c.name == name.name)
                .map(|(at, _)| at);
            let Some(first) = hits.next() else { continue };
            if hits.next().is_some() {
                let message = format!("column reference \"{}\" is ambiguous", name.name);
                return Err(self.error("42702", message, name.pos));
            }
            return Ok(Some(self.read(index, first, name.pos)));
        }
        Ok(None)
    }

    fn qualified_column(&mut self, qualifier: &[Ident], name: &Ident) -> Result<Option<Expr>> {
        for index in (0..self.levels.len()).rev() {
            if self.levels[index].hidden {
                continue;
            }
            let scope = &self.levels[index].scope;
            let Some(table) = scope.table_named(qualifier) else { continue };
            if table.blocked {
                return Err(self.blocked(qualifier));
            }
            let mut hits =
                table.columns.iter().copied().filter(|c| scope.columns[*c].name == name.name);
            let Some(first) = hits.next() else {
                if let Some(system) = self.system_column(qualifier, name)? {
                    return Ok(Some(system));
                }
                let table = self.levels[index].scope.table_named(qualifier);
                let alias = table.map_or("", |t| t.alias.as_str());
                let message = format!("column {alias}.{} does not exist", name.name);
                return Err(self.error("42703", message, qualifier[0].pos));
            };
            if hits.next().is_some() {
                let message = format!("column reference \"{}\" is ambiguous", name.name);
                return Err(self.error("42702", message, qualifier[0].pos));
            }
            return Ok(Some(self.read(index, first, qualifier[0].pos)));
        }
        Ok(None)
    }

    /// `tableoid`, the same for every row of a table; the others have no meaning here.
    fn system_column(&self, qualifier: &[Ident], name: &Ident) -> Result<Option<Expr>> {
        let system = ["tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"];
        if !system.contains(&name.name.as_str()) {
            return Ok(None);
        }
        let tables = self.levels.iter().rev().filter(|level| !level.hidden).find_map(|level| {
            let table = match qualifier {
                [] => level.scope.tables.first(),
                qualifier => level.scope.table_named(qualifier),
            };
            table.and_then(|t| t.relation)
        });
        let Some(relation) = tables else { return Ok(None) };
        if name.name != "tableoid" {
            let what = format!("system column {}", name.name);
            return Err(crate::PlanError::unsupported(what).at(self.at(name.pos)));
        }
        let ty = ColumnType::plain(datum::SqlType::Oid);
        Ok(Some(Expr::Const(datum::Datum::Oid(relation), ty)))
    }

    /// 42P01 for a qualifier that names no table of the query.
    pub(crate) fn no_table(&self, qualifier: &[Ident]) -> crate::PlanError {
        let name = qualifier.last().map_or("", |p| p.name.as_str());
        let pos = qualifier.first().map_or(0, |p| p.pos);
        self.error("42P01", format!("missing FROM-clause entry for table \"{name}\""), pos)
    }

    fn blocked(&self, qualifier: &[Ident]) -> crate::PlanError {
        let name = qualifier.last().map_or("", |p| p.name.as_str());
        let message = format!("invalid reference to FROM-clause entry for table \"{name}\"");
        self.error("42P10", message, qualifier[0].pos)
            .detail("The combining JOIN type must be INNER or LEFT for a LATERAL reference.")
    }

    /// The expression for a column of a level, as seen from the innermost one.
    pub(crate) fn read(&mut self, level: usize, column: usize, pos: Pos) -> Expr {
        let depth = self.levels.len() - 1 - level;
        let found = &self.levels[level].scope.columns[column];
        let mut expr = found.expr.clone();
        if let Some((relation, ordinal)) = found.origin {
            self.note_use(relation, Some(ordinal));
        }
        for index in expr.columns() {
            self.levels[level].mentions.entry(index).or_insert(pos);
        }
        make_outer(&mut expr, depth);
        expr
    }

    /// `t` as a value: the row of table `t`.
    pub(crate) fn whole_row(&mut self, parts: &[Ident]) -> Option<Expr> {
        for level in (0..self.levels.len()).rev() {
            if self.levels[level].hidden {
                continue;
            }
            let Some(table) = self.levels[level].scope.table_named(parts) else { continue };
            let columns = table.columns.clone();
            let scalar = table.scalar;
            let names = columns.iter().map(|c| self.levels[level].scope.columns[*c].name.clone());
            let names: Vec<String> = names.collect();
            let pos = parts.first().map_or(0, |p| p.pos);
            let mut fields: Vec<Expr> =
                columns.into_iter().map(|c| self.read(level, c, pos)).collect();
            if scalar && fields.len() == 1 {
                return fields.pop();
            }
            let names = super::names_of(names.iter().map(String::as_str));
            return Some(self.resolver.named_row(fields, names));
        }
        None
    }
}

/// Turns columns of a level into outer columns, `depth` levels further in.
fn make_outer(expr: &mut Expr, depth: usize) {
    if depth == 0 {
        return;
    }
    expr.transform(&mut |part| {
        if let Expr::Column { index, ty } = part {
            *part = Expr::OuterColumn { depth: depth - 1, index: *index, ty: ty.clone() };
        }
    });
}
