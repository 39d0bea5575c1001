//! How rows and index entries become keys.
//!
//! ```text
//! row             /table/<id>/1/<primary key columns>          value: rows.rs
//!   without key   /table/<id>/1/<hidden int8>
//! unique index    /table/<id>/<index>/<columns>                value: the row key's columns
//! other index     /table/<id>/<index>/<columns><row key>       value: empty
//! sequence        /system/sequence/<oid, ten digits>           value: SequenceState
//! ```
//!
//! Columns are encoded by `datum::memcmp`, each in its own direction and with its own place for
//! NULL, so byte order is index order. An entry of a unique index with a NULL among its columns is
//! keyed like one of a non-unique index, since NULLs do not collide (unless NULLS NOT DISTINCT).
//!
//! Example: `t(a int primary key, b text unique)`, table 6.100, row (7, 'x'):
//!
//! ```text
//! 02 00000006 00000064 00000001 <7>          row
//! 02 00000006 00000064 00000002 <'x'>        -> <7>
//! ```
//!
//! What keys do not do: hold a value exactly. `1.0` and `1.00` are one key; rows hold every column.

use crate::error::CatalogError;
use crate::relation::SequenceDescriptor;
use crate::table::{ColumnDescriptor, IndexDescriptor, ROWS_INDEX, TableDescriptor};
use crate::{Catalog, Oid, Result};
use bytes::Bytes;
use core_domain::key::TABLE_KEY_HEADER;
use core_domain::{Key, Span, Value};
use datum::{ColumnType, Datum, SqlType, TypeContext, memcmp};
use std::ops::Bound;

/// Encodes keys of one index of one table; made once per plan.
#[derive(Clone, Debug)]
pub struct IndexKeys {
    prefix: Key,
    columns: Vec<KeyColumn>,
    /// Entries without NULLs carry no row key.
    unique: bool,
    nulls_not_distinct: bool,
    /// The prefix of the table's rows, to get from an entry to its row.
    rows: Key,
}

#[derive(Clone, Debug)]
struct KeyColumn {
    ordinal: usize,
    ty: ColumnType,
    descending: bool,
    nulls_first: bool,
}

/// Encodes the keys of a table's rows.
#[derive(Clone, Debug)]
pub struct RowKeys {
    /// No columns: a hidden row id.
    keys: IndexKeys,
}

/// An entry of a secondary index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    pub key: Key,
    pub value: Value,
    /// Another row with this key would be a duplicate: lock and look before writing.
    pub exclusive: bool,
}

impl RowKeys {
    pub fn new(table: &TableDescriptor) -> Self {
        let prefix = Key::index_prefix(table.id, ROWS_INDEX);
        let keys = match table.index_by_id(ROWS_INDEX) {
            Some(index) => IndexKeys::new(table, index),
            None => IndexKeys {
                rows: prefix.clone(),
                prefix,
                columns: Vec::new(),
                unique: true,
                nulls_not_distinct: false,
            },
        };
        Self { keys }
    }

    /// Whether rows need a fresh hidden id: `hidden` instead of `of_row`.
    pub fn is_hidden(&self) -> bool {
        self.keys.columns.is_empty()
    }

    /// Every row of the table.
    pub fn span(&self) -> Span {
        Span::prefix(self.keys.prefix.clone())
    }

    /// The key of a row given all its columns, in ordinal order.
    ///
    /// # Errors
    /// Values that a key cannot hold (too long, not indexable).
    pub fn of_row(&self, row: &[Datum]) -> Result<Key> {
        debug_assert!(!self.is_hidden(), "a hidden row id is not in the row");
        let mut buf = self.keys.prefix.as_slice().to_vec();
        for column in &self.keys.columns {
            column.encode(&row[column.ordinal], &mut buf)?;
        }
        Ok(buf.into())
    }

    /// The key of the row whose primary key columns, in key order, are `values`.
    pub fn of_values(&self, values: &[Datum]) -> Result<Key> {
        self.keys.prefix_of(values)
    }

    pub fn hidden(&self, id: i64) -> Key {
        let mut buf = self.keys.prefix.as_slice().to_vec();
        memcmp::encode(&Datum::Int8(id), &SqlType::Int8, false, false, &mut buf)
            .expect("an int8 always has a key");
        buf.into()
    }

    /// Key spans over the primary key: [`IndexKeys::span`].
    pub fn keys(&self) -> &IndexKeys {
        &self.keys
    }

    /// The key's columns, as kept in index entries.
    pub fn suffix(key: &Key) -> &[u8] {
        &key.as_slice()[TABLE_KEY_HEADER.min(key.len())..]
    }
}

impl IndexKeys {
    pub fn new(table: &TableDescriptor, index: &IndexDescriptor) -> Self {
        let columns = index.columns.iter().zip(table.index_ordinals(index));
        let columns = columns.map(|(column, ordinal)| KeyColumn {
            ordinal,
            ty: table.columns[ordinal].ty.clone(),
            descending: column.descending,
            nulls_first: column.nulls_first,
        });
        Self {
            prefix: Key::index_prefix(table.id, index.id),
            columns: columns.collect(),
            unique: index.unique,
            nulls_not_distinct: index.nulls_not_distinct,
            rows: Key::index_prefix(table.id, ROWS_INDEX),
        }
    }

    /// The entry for a row, given all its columns and its key.
    ///
    /// # Errors
    /// Values that a key cannot hold.
    pub fn entry(&self, row: &[Datum], row_key: &Key) -> Result<IndexEntry> {
        let mut buf = self.prefix.as_slice().to_vec();
        let mut has_null = false;
        for column in &self.columns {
            let datum = &row[column.ordinal];
            has_null |= datum.is_null();
            column.encode(datum, &mut buf)?;
        }
        let suffix = RowKeys::suffix(row_key);
        let exclusive = self.unique && (!has_null || self.nulls_not_distinct);
        if exclusive {
            let value = Bytes::copy_from_slice(suffix);
            return Ok(IndexEntry { key: buf.into(), value, exclusive });
        }
        buf.extend_from_slice(suffix);
        Ok(IndexEntry { key: buf.into(), value: Bytes::new(), exclusive })
    }

    /// Whether two rows have the same entry: then an UPDATE leaves it alone.
    pub fn same_columns(&self, old: &[Datum], new: &[Datum]) -> Result<bool> {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for column in &self.columns {
            column.encode(&old[column.ordinal], &mut a)?;
            column.encode(&new[column.ordinal], &mut b)?;
        }
        Ok(a == b)
    }

    /// The key of the row that an entry stands for.
    ///
    /// # Errors
    /// XX001 for bytes that are no entry of this index.
    pub fn row_key(&self, entry: &Key, value: &[u8]) -> Result<Key> {
        let suffix = if value.is_empty() {
            let mut rest = entry.as_slice().get(TABLE_KEY_HEADER..).unwrap_or_default();
            for column in &self.columns {
                let (desc, first) = (column.descending, column.nulls_first);
                memcmp::skip(&column.ty.ty, desc, first, &mut rest)
                    .map_err(|e| corrupt_key(entry, &e))?;
            }
            rest
        } else {
            value
        };
        let mut buf = Vec::with_capacity(TABLE_KEY_HEADER + suffix.len());
        buf.extend_from_slice(self.rows.as_slice());
        buf.extend_from_slice(suffix);
        Ok(buf.into())
    }

    /// The entry's columns, in index order. Exact only where [`IndexKeys::is_lossless`].
    ///
    /// # Errors
    /// XX001 for bytes that are no entry of this index.
    pub fn decode(&self, entry: &Key) -> Result<Vec<Datum>> {
        let mut rest = entry.as_slice().get(TABLE_KEY_HEADER..).unwrap_or_default();
        let decode = |column: &KeyColumn| {
            memcmp::decode(&column.ty, column.descending, column.nulls_first, &mut rest)
                .map_err(|e| corrupt_key(entry, &e))
        };
        self.columns.iter().map(decode).collect()
    }

    /// Whether `decode` gives back exactly what rows hold, so that an index alone may answer.
    pub fn is_lossless(&self) -> bool {
        self.columns.iter().all(|c| memcmp::is_lossless(&c.ty))
    }

    /// Every entry of the index.
    pub fn all(&self) -> Span {
        Span::prefix(self.prefix.clone())
    }

    /// Ordinals of the indexed columns, in index order.
    pub fn ordinals(&self) -> impl Iterator<Item = usize> {
        self.columns.iter().map(|c| c.ordinal)
    }

    /// Encoded leading columns: the full key, if there are as many values as columns.
    ///
    /// # Errors
    /// Values that a key cannot hold.
    pub fn prefix_of(&self, values: &[Datum]) -> Result<Key> {
        let mut buf = self.prefix.as_slice().to_vec();
        for (column, value) in self.columns.iter().zip(values) {
            column.encode(value, &mut buf)?;
        }
        Ok(buf.into())
    }

    /// The entries whose leading columns equal `equal` and, if `range` is given, whose next column
    /// lies in it. NULLs in that next column are never in a range, as in SQL; without a range they
    /// are. NULLs in `equal` match entries with NULL (IS NULL).
    ///
    /// # Errors
    /// Values that a key cannot hold.
    pub fn span(
        &self,
        equal: &[Datum],
        range: Option<(Bound<&Datum>, Bound<&Datum>)>,
    ) -> Result<Span> {
        let prefix = self.prefix_of(equal)?;
        let (Some((lower, upper)), Some(column)) = (range, self.columns.get(equal.len())) else {
            return Ok(Span::prefix(prefix));
        };
        // In a descending column, large values come first.
        let (first, last) = if column.descending { (upper, lower) } else { (lower, upper) };
        let at = |datum: &Datum| {
            let mut buf = prefix.as_slice().to_vec();
            column.encode(datum, &mut buf).map(|()| Key::from(buf))
        };
        let start = match first {
            Bound::Included(datum) => at(datum)?,
            Bound::Excluded(datum) => after(at(datum)?),
            Bound::Unbounded if column.nulls_first => after(at(&Datum::Null)?),
            Bound::Unbounded => prefix.clone(),
        };
        let end = match last {
            Bound::Included(datum) => after(at(datum)?),
            Bound::Excluded(datum) => at(datum)?,
            Bound::Unbounded if column.nulls_first => after(prefix),
            Bound::Unbounded => at(&Datum::Null)?,
        };
        // An empty range must not become one that wraps round.
        if !end.is_empty() && end < start {
            return Ok(Span::new(start.clone(), start));
        }
        Ok(Span::new(start, end))
    }
}

impl KeyColumn {
    fn encode(&self, datum: &Datum, buf: &mut Vec<u8>) -> Result<()> {
        memcmp::encode(datum, &self.ty.ty, self.descending, self.nulls_first, buf)
            .map_err(|e| CatalogError::new("54000", e.to_string()))
    }
}

/// The first key after all that start with `key`; no table key is all 0xff, so there is one.
fn after(key: Key) -> Key {
    key.prefix_end().unwrap_or_default()
}

fn corrupt_key(key: &Key, error: &impl std::fmt::Display) -> CatalogError {
    CatalogError::corrupt(format_args!("key {key}: {error}"))
}

/// A key as people read it: `/shanghai/accounts/accounts_pkey/25001`. What the catalog does not know
/// (the start of a database, a dropped table) is shown by its number.
pub fn readable(key: &Key, catalog: &Catalog) -> String {
    let Some(id) = key.table() else { return key.to_string() };
    let Some(table) = catalog.table_by_storage(id) else {
        let database = catalog.databases().find(|database| database.group == id.group);
        return match database {
            Some(database) if id.number == 0 && key.len() == TABLE_KEY_HEADER - 4 => {
                format!("/{}", database.name)
            }
            _ => key.to_string(),
        };
    };
    let database = catalog.databases().find(|database| database.group == id.group);
    let mut text = format!("/{}/{}", database.map_or("", |d| d.name.as_str()), table.name);
    let number = key.as_slice().get(TABLE_KEY_HEADER - 4..TABLE_KEY_HEADER);
    let Some(number) = number.and_then(|raw| raw.try_into().ok()).map(u32::from_be_bytes) else {
        return text;
    };
    let Some(index) = table.index_by_id(number) else {
        let rest = &key.as_slice()[TABLE_KEY_HEADER..];
        text.push_str(&format!("/{number}/{}", rest.escape_ascii()));
        return text;
    };
    text.push_str(&format!("/{}", index.name));
    let mut rest = &key.as_slice()[TABLE_KEY_HEADER..];
    for column in IndexKeys::new(table, index).columns {
        let (ty, desc, first) = (&column.ty, column.descending, column.nulls_first);
        if rest.is_empty() {
            return text;
        }
        let Ok(value) = memcmp::decode(ty, desc, first, &mut rest) else { break };
        let value = match value {
            Datum::Null => "NULL".to_owned(),
            value => datum::text::to_string(&value, &ty.ty, &TypeContext::default()),
        };
        text.push_str(&format!("/{value}"));
    }
    if !rest.is_empty() {
        text.push_str(&format!("/{}", rest.escape_ascii()));
    }
    text
}

/// Whether a column of this type can be part of a key.
pub fn is_indexable(column: &ColumnDescriptor) -> bool {
    memcmp::is_indexable(&column.ty.ty)
}

/// Where a sequence's state is.
pub fn sequence_key(sequence: Oid) -> Key {
    Key::system(&format!("sequence/{sequence:010}"))
}

/// A sequence's value.
///
/// ```text
/// byte  0      format (1)
/// bytes 1..9   last_value, big-endian
/// byte  9      is_called
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceState {
    pub last_value: i64,
    /// False: `last_value` is what nextval gives next.
    pub is_called: bool,
}

impl SequenceState {
    const FORMAT: u8 = 1;

    pub fn initial(sequence: &SequenceDescriptor) -> Self {
        Self { last_value: sequence.start, is_called: false }
    }

    pub fn encode(self) -> Value {
        let mut buf = Vec::with_capacity(10);
        buf.push(Self::FORMAT);
        buf.extend_from_slice(&self.last_value.to_be_bytes());
        buf.push(u8::from(self.is_called));
        buf.into()
    }

    /// # Errors
    /// XX001 for bytes that `encode` never wrote.
    pub fn decode(value: &[u8]) -> Result<Self> {
        match value {
            [Self::FORMAT, number @ .., called @ (0 | 1)] => {
                let number = number.try_into();
                let number = number.map_err(|_| CatalogError::corrupt("sequence state"))?;
                Ok(Self { last_value: i64::from_be_bytes(number), is_called: *called == 1 })
            }
            _ => Err(CatalogError::corrupt("sequence state")),
        }
    }

    /// What nextval answers, and the state after it.
    ///
    /// # Errors
    /// 2200H at the end of a sequence that does not cycle.
    pub fn next(self, sequence: &SequenceDescriptor) -> Result<(i64, SequenceState)> {
        let step = || {
            let next = self.last_value.checked_add(sequence.increment);
            next.filter(|n| (sequence.min..=sequence.max).contains(n))
        };
        let value = match self.is_called {
            false => self.last_value,
            true => match step() {
                Some(value) => value,
                None if sequence.cycle && sequence.increment > 0 => sequence.min,
                None if sequence.cycle => sequence.max,
                None => {
                    let (word, limit) = match sequence.increment > 0 {
                        true => ("maximum", sequence.max),
                        false => ("minimum", sequence.min),
                    };
                    let what = format!(
                        "nextval: reached {word} value of sequence \"{}\" ({limit})",
                        sequence.name
                    );
                    return Err(CatalogError::new("2200H", what));
                }
            },
        };
        Ok((value, SequenceState { last_value: value, is_called: true }))
    }
}
