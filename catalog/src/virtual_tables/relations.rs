//! What is stored in this database: pg_class, pg_attribute, pg_attrdef, pg_index, pg_constraint,
//! pg_namespace, pg_sequence, pg_depend, pg_rewrite, pg_description.

use super::row::Row;
use super::{Rows, SystemSchema, VirtualContext, VirtualTable, class, programs, types};
use crate::bootstrap::BOOTSTRAP_ROLE;
use crate::deparse;
use crate::snapshot::Catalog;
use crate::table::{
    ColumnId, ConstraintDescriptor, ConstraintKind, ForeignKeyMatch, IndexDescriptor, IndexState,
    TableDescriptor,
};
use crate::{Oid, Relation};
use datum::{ArrayDim, ArrayValue, ColumnType, Datum, SqlType};
use std::sync::Arc;

pub(super) fn rows_of(name: &str) -> Option<Rows> {
    Some(match name {
        "pg_class" => pg_class,
        "pg_attribute" => pg_attribute,
        "pg_attrdef" => pg_attrdef,
        "pg_index" => pg_index,
        "pg_constraint" => pg_constraint,
        "pg_namespace" => pg_namespace,
        "pg_sequence" => pg_sequence,
        "pg_depend" => pg_depend,
        "pg_rewrite" => pg_rewrite,
        "pg_description" => pg_description,
        "pg_shdescription" => pg_shdescription,
        _ => return None,
    })
}

/// A database's relations: tables with their indexes, views, sequences.
pub(super) fn stored<'a>(
    catalog: &'a Catalog,
    context: &VirtualContext,
) -> impl Iterator<Item = Relation<'a>> {
    let database = context.database;
    let tables = catalog.tables_of(database).flat_map(|table| {
        let indexes = table.indexes.iter().map(move |index| Relation::Index(table, index));
        std::iter::once(Relation::Table(table)).chain(indexes)
    });
    let views = catalog.views_of(database).map(Relation::View);
    tables.chain(views).chain(catalog.sequences_of(database).map(Relation::Sequence))
}

fn everything<'a>(
    catalog: &'a Catalog,
    context: &VirtualContext,
) -> impl Iterator<Item = Relation<'a>> {
    super::all().iter().map(Relation::Virtual).chain(stored(catalog, context))
}

/// pg_attrdef has OIDs of its own; ours follow from the column. Far from what we hand out.
fn default_oid(table: Oid, column: ColumnId) -> Oid {
    0x4000_0000u32.wrapping_add(table.wrapping_mul(2048)).wrapping_add(u32::from(column.0))
}

/// The same for a view's rule.
fn rule_oid(view: Oid) -> Oid {
    0x3000_0000u32.wrapping_add(view)
}

fn pg_class(table: &VirtualTable, catalog: &Catalog, context: &VirtualContext) -> Vec<Vec<Datum>> {
    let row = |relation: Relation<'_>| {
        let (kind, oid) = (relation.relkind(), relation.oid());
        let (owner, natts) = match &relation {
            Relation::Table(t) => (t.owner, t.next_column.0 as i16 - 1),
            Relation::View(v) => (v.owner, v.columns.len() as i16),
            Relation::Sequence(s) => (s.owner, 3),
            Relation::Index(t, i) => (t.owner, (i.columns.len() + i.include.len()) as i16),
            Relation::Virtual(v) => (BOOTSTRAP_ROLE, v.columns.len() as i16),
        };
        let stored = match &relation {
            Relation::Table(t) => Some(t),
            Relation::View(_)
            | Relation::Sequence(_)
            | Relation::Index(..)
            | Relation::Virtual(_) => None,
        };
        let (method, storage): (Oid, Oid) = match &relation {
            Relation::Table(t) => (2, t.id.number),
            Relation::Index(..) => (programs::BTREE, oid),
            Relation::Sequence(_) => (0, oid),
            Relation::Virtual(v) if !v.is_view => (2, 0),
            Relation::View(_) | Relation::Virtual(_) => (0, 0),
        };
        let tuples = match kind {
            b'S' => 1.0,
            _ => context.row_counts.get(&oid).map_or(-1.0, |n| *n as f32),
        };
        let foreign = stored.is_some_and(|t| {
            t.foreign_keys().next().is_some() || catalog.referenced_by(t.oid).next().is_some()
        });
        let options = stored.filter(|t| !t.options.is_empty()).map(|t| {
            let texts = t.options.iter().map(|(k, v)| Datum::text(format!("{k}={v}")));
            Datum::array(SqlType::Text, texts.collect())
        });
        Row::new(table)
            .put("oid", oid)
            .put("relname", relation.name())
            .put("relnamespace", relation.schema())
            .put("reltype", 0u32)
            .put("reloftype", 0u32)
            .put("relowner", owner)
            .put("relam", method)
            .put("relfilenode", storage)
            .put("reltablespace", 0u32)
            .put("relpages", i32::from(kind == b'S'))
            .put("reltuples", tuples)
            .put("relallvisible", 0i32)
            .put("reltoastrelid", 0u32)
            .put("relhasindex", stored.is_some_and(|t| !t.indexes.is_empty()))
            .put("relisshared", false)
            .put("relpersistence", b'p')
            .put("relkind", kind)
            .put("relnatts", natts)
            .put("relchecks", stored.map_or(0, |t| t.checks().count() as i16))
            .put("relhasrules", kind == b'v')
            .put("relhastriggers", foreign)
            .all(&["relhassubclass", "relrowsecurity", "relforcerowsecurity"], false)
            .put("relispopulated", true)
            .put("relreplident", if kind == b'r' { b'd' } else { b'n' })
            .put("relispartition", false)
            .all(&["relrewrite", "relfrozenxid", "relminmxid"], 0u32)
            .put("reloptions", options)
            .done()
    };
    everything(catalog, context).map(row).collect()
}

/// What pg_attribute shows of a column, wherever it comes from.
struct Attribute<'a> {
    relation: Oid,
    name: &'a str,
    number: i16,
    ty: &'a ColumnType,
    not_null: bool,
    has_default: bool,
    has_missing: bool,
    identity: u8,
    generated: u8,
}

impl<'a> Attribute<'a> {
    fn plain(relation: Oid, name: &'a str, number: usize, ty: &'a ColumnType) -> Self {
        let number = number as i16;
        Attribute {
            relation,
            name,
            number,
            ty,
            not_null: false,
            has_default: false,
            has_missing: false,
            identity: 0,
            generated: 0,
        }
    }

    fn row(self, table: &VirtualTable) -> Vec<Datum> {
        let ty = types::by_oid(self.ty.ty.oid());
        Row::new(table)
            .put("attrelid", self.relation)
            .put("attname", self.name)
            .put("atttypid", self.ty.ty.oid())
            .put("attstattarget", -1i32)
            .put("attlen", self.ty.ty.typlen())
            .put("attnum", self.number)
            .put("attndims", i32::from(self.ty.ty.is_array()))
            .put("attcacheoff", -1i32)
            .put("atttypmod", self.ty.typmod)
            .put("attbyval", ty.is_some_and(|t| t.by_value))
            .put("attalign", ty.map_or(b'i', |t| t.align))
            .put("attstorage", ty.map_or(b'x', |t| t.storage))
            .put("attcompression", 0u8)
            .put("attnotnull", self.not_null)
            .put("atthasdef", self.has_default)
            .put("atthasmissing", self.has_missing)
            .put("attidentity", self.identity)
            .put("attgenerated", self.generated)
            .put("attisdropped", false)
            .put("attislocal", true)
            .put("attinhcount", 0i32)
            .put("attcollation", ty.map_or(0, |t| t.collation))
            .done()
    }
}

fn pg_attribute(
    table: &VirtualTable,
    catalog: &Catalog,
    context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let mut rows = Vec::new();
    for relation in everything(catalog, context) {
        let oid = relation.oid();
        match relation {
            Relation::Table(stored) => rows.extend(stored.columns.iter().map(|c| {
                let attribute = Attribute {
                    not_null: c.not_null,
                    has_default: c.default.is_some() || c.generated.is_some(),
                    has_missing: c.missing.is_some(),
                    identity: match c.identity {
                        Some(identity) if identity.always => b'a',
                        Some(_) => b'd',
                        None => 0,
                    },
                    generated: if c.generated.is_some() { b's' } else { 0 },
                    ..Attribute::plain(oid, &c.name, usize::from(c.id.0), &c.ty)
                };
                attribute.row(table)
            })),
            Relation::View(view) => {
                for (at, column) in view.columns.iter().enumerate() {
                    rows.push(Attribute::plain(oid, &column.name, at + 1, &column.ty).row(table));
                }
            }
            Relation::Index(stored, index) => {
                let ids = index.columns.iter().map(|c| c.column).chain(index.include.clone());
                for (at, column) in ids.filter_map(|id| stored.column(id)).enumerate() {
                    rows.push(Attribute::plain(oid, &column.name, at + 1, &column.ty).row(table));
                }
            }
            Relation::Sequence(_) => {
                let columns = [
                    ("last_value", SqlType::Int8),
                    ("log_cnt", SqlType::Int8),
                    ("is_called", SqlType::Bool),
                ];
                for (at, (name, ty)) in columns.into_iter().enumerate() {
                    let ty = ColumnType::plain(ty);
                    let attribute = Attribute::plain(oid, name, at + 1, &ty);
                    rows.push(Attribute { not_null: true, ..attribute }.row(table));
                }
            }
            Relation::Virtual(system) => {
                for (at, column) in system.columns.iter().enumerate() {
                    let ty = ColumnType::plain(column.ty.clone());
                    rows.push(Attribute::plain(oid, column.name, at + 1, &ty).row(table));
                }
            }
        }
    }
    rows
}

fn pg_attrdef(
    table: &VirtualTable,
    catalog: &Catalog,
    context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let mut rows = Vec::new();
    for stored in catalog.tables_of(context.database) {
        for column in &stored.columns {
            let sql = match (&column.default, &column.generated) {
                (Some(sql), _) => sql,
                (None, Some(generated)) => &generated.sql,
                (None, None) => continue,
            };
            let row = Row::new(table)
                .put("oid", default_oid(stored.oid, column.id))
                .put("adrelid", stored.oid)
                .put("adnum", column.id.0 as i16)
                .put("adbin", deparse::expression(catalog, context.names(), sql));
            rows.push(row.done());
        }
    }
    rows
}

fn pg_index(table: &VirtualTable, catalog: &Catalog, context: &VirtualContext) -> Vec<Vec<Datum>> {
    let mut rows = Vec::new();
    for stored in catalog.tables_of(context.database) {
        for index in &stored.indexes {
            rows.push(index_row(table, stored, index));
        }
    }
    rows
}

fn index_row(
    table: &VirtualTable,
    stored: &TableDescriptor,
    index: &IndexDescriptor,
) -> Vec<Datum> {
    let keys = index.columns.iter().map(|c| c.column).chain(index.include.iter().copied());
    let keys: Vec<Datum> = keys.map(|c| Datum::Int2(c.0 as i16)).collect();
    let of_column = |f: &dyn Fn(&ColumnType) -> Oid| {
        let columns = index.columns.iter().filter_map(|c| stored.column(c.column));
        vector(SqlType::Oid, columns.map(|c| Datum::Oid(f(&c.ty))).collect())
    };
    let options = index
        .columns
        .iter()
        .map(|c| Datum::Int2(i16::from(c.descending) | (i16::from(c.nulls_first) << 1)));
    let constraint = stored.constraint_of_index(index.oid);
    let public = index.state == IndexState::Public;
    Row::new(table)
        .put("indexrelid", index.oid)
        .put("indrelid", stored.oid)
        .put("indnatts", keys.len() as i16)
        .put("indnkeyatts", index.columns.len() as i16)
        .put("indisunique", index.unique)
        .put("indnullsnotdistinct", index.nulls_not_distinct)
        .put("indisprimary", index.primary)
        .put("indisexclusion", false)
        .put("indimmediate", constraint.is_none_or(|c| !c.deferrable))
        .put("indisclustered", false)
        .put("indisvalid", public)
        .put("indcheckxmin", false)
        .put("indisready", index.state != IndexState::DeleteOnly)
        .put("indislive", true)
        .put("indisreplident", false)
        .put("indkey", vector(SqlType::Int2, keys))
        .put("indcollation", of_column(&|ty| types::by_oid(ty.ty.oid()).map_or(0, |t| t.collation)))
        .put("indclass", of_column(&|ty| programs::btree_class(&ty.ty)))
        .put("indoption", vector(SqlType::Int2, options.collect()))
        .put("indpred", index.predicate.as_deref())
        .done()
}

/// An int2vector or oidvector: like an array, but counted from zero.
pub(super) fn vector(element: SqlType, items: Vec<Datum>) -> Datum {
    let dims = vec![ArrayDim { length: items.len() as i32, lower: 0 }];
    let dims = if items.is_empty() { Vec::new() } else { dims };
    Datum::Array(Arc::new(ArrayValue { element, dims, items }))
}

fn pg_constraint(
    table: &VirtualTable,
    catalog: &Catalog,
    context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let mut rows = Vec::new();
    for stored in catalog.tables_of(context.database) {
        for constraint in &stored.constraints {
            rows.push(constraint_row(table, stored, constraint));
        }
    }
    rows
}

/// Column numbers as int2[].
fn numbers(columns: impl IntoIterator<Item = ColumnId>) -> Datum {
    let items = columns.into_iter().map(|c| Datum::Int2(c.0 as i16)).collect();
    Datum::array(SqlType::Int2, items)
}

/// The columns that a constraint is about, in its own order.
pub(super) fn constrained(
    table: &TableDescriptor,
    constraint: &ConstraintDescriptor,
) -> Vec<ColumnId> {
    match &constraint.kind {
        ConstraintKind::PrimaryKey { index } | ConstraintKind::Unique { index } => {
            let index = table.index(*index);
            index.map(|i| i.columns.iter().map(|c| c.column).collect()).unwrap_or_default()
        }
        ConstraintKind::Check(check) => check.columns.clone(),
        ConstraintKind::ForeignKey(key) => key.columns.clone(),
    }
}

fn constraint_row(
    table: &VirtualTable,
    stored: &TableDescriptor,
    constraint: &ConstraintDescriptor,
) -> Vec<Datum> {
    let key = match &constraint.kind {
        ConstraintKind::ForeignKey(key) => Some(key),
        ConstraintKind::PrimaryKey { .. }
        | ConstraintKind::Unique { .. }
        | ConstraintKind::Check(_) => None,
    };
    let (letter, index, check) = match &constraint.kind {
        ConstraintKind::PrimaryKey { index } => (b'p', *index, None),
        ConstraintKind::Unique { index } => (b'u', *index, None),
        ConstraintKind::Check(check) => (b'c', 0, Some(check.sql.as_str())),
        ConstraintKind::ForeignKey(key) => (b'f', key.referenced_index, None),
    };
    let matches = key.map_or(b' ', |k| match k.match_type {
        ForeignKeyMatch::Simple => b's',
        ForeignKeyMatch::Full => b'f',
    });
    Row::new(table)
        .put("oid", constraint.oid)
        .put("conname", &constraint.name)
        .put("connamespace", stored.schema)
        .put("contype", letter)
        .put("condeferrable", constraint.deferrable)
        .put("condeferred", constraint.initially_deferred)
        .put("convalidated", constraint.validated)
        .put("conrelid", stored.oid)
        .put("contypid", 0u32)
        .put("conindid", index)
        .put("conparentid", 0u32)
        .put("confrelid", key.map_or(0, |k| k.referenced_table))
        .put("confupdtype", key.map_or(b' ', |k| k.on_update.code()))
        .put("confdeltype", key.map_or(b' ', |k| k.on_delete.code()))
        .put("confmatchtype", matches)
        .put("conislocal", true)
        .put("coninhcount", 0i32)
        .put("connoinherit", letter != b'c')
        .put("conkey", numbers(constrained(stored, constraint)))
        .put("confkey", key.map(|k| numbers(k.referenced_columns.iter().copied())))
        .put("conbin", check)
        .done()
}

fn pg_namespace(
    table: &VirtualTable,
    catalog: &Catalog,
    context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let system = SystemSchema::ALL.iter().map(|s| (s.oid(), s.name(), BOOTSTRAP_ROLE));
    let stored = catalog.schemas_of(context.database).map(|s| (s.oid, s.name.as_str(), s.owner));
    let row = |(oid, name, owner): (Oid, &str, Oid)| {
        Row::new(table).put("oid", oid).put("nspname", name).put("nspowner", owner).done()
    };
    system.chain(stored).map(row).collect()
}

fn pg_sequence(
    table: &VirtualTable,
    catalog: &Catalog,
    context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let rows = catalog.sequences_of(context.database).map(|s| {
        Row::new(table)
            .put("seqrelid", s.oid)
            .put("seqtypid", s.type_oid)
            .put("seqstart", s.start)
            .put("seqincrement", s.increment)
            .put("seqmax", s.max)
            .put("seqmin", s.min)
            .put("seqcache", s.cache)
            .put("seqcycle", s.cycle)
            .done()
    });
    rows.collect()
}

/// (class, object, column), what it depends on, and how.
type Depends = ((Oid, Oid, i32), (Oid, Oid, i32), u8);

fn pg_depend(table: &VirtualTable, catalog: &Catalog, context: &VirtualContext) -> Vec<Vec<Datum>> {
    let mut edges: Vec<Depends> = Vec::new();
    for stored in catalog.tables_of(context.database) {
        let column = |id: ColumnId| (class::RELATION, stored.oid, i32::from(id.0));
        for c in &stored.columns {
            for sequence in &c.default_sequences {
                let default = (class::ATTRDEF, default_oid(stored.oid, c.id), 0);
                edges.push((default, (class::RELATION, *sequence, 0), b'n'));
            }
        }
        for constraint in &stored.constraints {
            let this = (class::CONSTRAINT, constraint.oid, 0);
            if let Some(index) = constraint.index() {
                edges.push(((class::RELATION, index, 0), this, b'i'));
            }
            edges.extend(
                constrained(stored, constraint).into_iter().map(|id| (this, column(id), b'a')),
            );
        }
        for index in &stored.indexes {
            if stored.constraint_of_index(index.oid).is_none() {
                let this = (class::RELATION, index.oid, 0);
                edges.extend(index.columns.iter().map(|c| (this, column(c.column), b'a')));
            }
        }
    }
    for sequence in catalog.sequences_of(context.database) {
        let Some((owner, id)) = sequence.owned_by else { continue };
        let identity = catalog.table(owner).and_then(|t| t.column(id)?.identity);
        let how = if identity.is_some_and(|i| i.sequence == sequence.oid) { b'i' } else { b'a' };
        let on = (class::RELATION, owner, i32::from(id.0));
        edges.push(((class::RELATION, sequence.oid, 0), on, how));
    }
    for view in catalog.views_of(context.database) {
        let rule = (class::REWRITE, rule_oid(view.oid), 0);
        edges.push((rule, (class::RELATION, view.oid, 0), b'i'));
        for dependency in &view.dependencies {
            let of = dependency.relation;
            let columns = dependency.columns.iter().map(|c| i32::from(c.0));
            let columns = if dependency.columns.is_empty() { vec![0] } else { columns.collect() };
            edges.extend(columns.into_iter().map(|c| (rule, (class::RELATION, of, c), b'n')));
        }
    }
    let row = |((classid, objid, objsubid), (refclass, refobj, refsub), how): Depends| {
        Row::new(table)
            .put("classid", classid)
            .put("objid", objid)
            .put("objsubid", objsubid)
            .put("refclassid", refclass)
            .put("refobjid", refobj)
            .put("refobjsubid", refsub)
            .put("deptype", how)
            .done()
    };
    edges.into_iter().map(row).collect()
}

fn pg_rewrite(
    table: &VirtualTable,
    catalog: &Catalog,
    context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let rows = catalog.views_of(context.database).map(|view| {
        Row::new(table)
            .put("oid", rule_oid(view.oid))
            .put("rulename", "_RETURN")
            .put("ev_class", view.oid)
            .put("ev_type", b'1')
            .put("ev_enabled", b'O')
            .put("is_instead", true)
            .put("ev_action", &view.definition)
            .done()
    });
    rows.collect()
}

/// Comments on databases, roles and tablespaces are shared.
fn is_shared(of: Oid) -> bool {
    matches!(of, class::DATABASE | class::AUTHID | 1213)
}

fn pg_description(
    table: &VirtualTable,
    catalog: &Catalog,
    context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let row = |class: Oid, object: Oid, sub: i32, text: &str| {
        Row::new(table)
            .put("objoid", object)
            .put("classoid", class)
            .put("objsubid", sub)
            .put("description", text)
            .done()
    };
    let comments = catalog.comments().filter(|(key, _)| !is_shared(key.class));
    let comments = comments.map(|(key, text)| row(key.class, key.object, key.sub, text));
    let functions = context.functions.iter();
    let functions =
        functions.filter_map(|f| Some(row(class::PROC, f.oid, 0, f.description.as_ref()?)));
    comments.chain(functions).collect()
}

fn pg_shdescription(
    table: &VirtualTable,
    catalog: &Catalog,
    _context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let comments = catalog.comments().filter(|(key, _)| is_shared(key.class));
    let row = |(key, text): (&crate::CommentKey, &str)| {
        Row::new(table)
            .put("objoid", key.object)
            .put("classoid", key.class)
            .put("description", text)
            .done()
    };
    comments.map(row).collect()
}
