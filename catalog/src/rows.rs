//! How rows become values.
//!
//! ```text
//! byte  0            format (high nibble, 1) and width of offsets (low nibble: 1, 2 or 4 bytes)
//! bytes 1..3         n, number of slots, little-endian
//! n bits             NULL mask, lowest bit first; padded to bytes
//! n * width          end of each slot's payload, counted from the payloads' start, little-endian
//! rest               payloads, one after the other: `datum::codec`
//! ```
//!
//! Slot `i` belongs to column id `i + 1`: ids are never reused, so adding or dropping a column never
//! rewrites a row. A column whose slot is beyond `n` was added after the row was written and reads
//! as its `missing` value; a dropped column's slot is written as NULL from then on, empty. Types
//! are not in the row: a change of type that changes payloads rewrites the table.
//!
//! Example: `(a int4, b text, c int4)`, row (7, 'hi', NULL):
//!
//! ```text
//! 11  03 00  04  01 03 03  07 68 69
//! ```

use crate::Result;
use crate::error::CatalogError;
use crate::table::TableDescriptor;
use core_domain::Value;
use datum::{ColumnType, Datum, SqlType, codec};

const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 3;

/// Encodes rows of one version of a table.
#[derive(Clone, Debug)]
pub struct RowEncoder {
    /// For each slot, the ordinal of its column; dropped columns have none.
    slots: Vec<Option<usize>>,
}

impl RowEncoder {
    pub fn new(table: &TableDescriptor) -> Self {
        let last = table.columns.last().map_or(0, |c| usize::from(c.id.0));
        let mut slots = vec![None; last];
        for (ordinal, column) in table.columns.iter().enumerate() {
            slots[usize::from(column.id.0) - 1] = Some(ordinal);
        }
        Self { slots }
    }

    /// `row` holds every live column, in ordinal order.
    pub fn encode(&self, row: &[Datum]) -> Value {
        let n = self.slots.len();
        let mut payload = Vec::with_capacity(n * 8);
        let mut ends = Vec::with_capacity(n);
        let mut mask = vec![0u8; n.div_ceil(8)];
        for (slot, ordinal) in self.slots.iter().enumerate() {
            match ordinal.map(|o| &row[o]).filter(|d| !d.is_null()) {
                Some(datum) => codec::write_datum(datum, &mut payload),
                None => mask[slot / 8] |= 1 << (slot % 8),
            }
            ends.push(payload.len());
        }
        let width = match payload.len() {
            0..=0xff => 1,
            0x100..=0xffff => 2,
            _ => 4,
        };
        let mut out = Vec::with_capacity(HEADER_BYTES + mask.len() + n * width + payload.len());
        out.push((FORMAT << 4) | width as u8);
        out.extend_from_slice(&(n as u16).to_le_bytes());
        out.extend_from_slice(&mask);
        for end in ends {
            out.extend_from_slice(&(end as u32).to_le_bytes()[..width]);
        }
        out.extend_from_slice(&payload);
        out.into()
    }
}

/// Decodes some columns of rows of a table; made once per plan.
#[derive(Clone, Debug)]
pub struct RowDecoder {
    columns: Vec<Wanted>,
}

#[derive(Clone, Debug)]
struct Wanted {
    slot: usize,
    ty: SqlType,
    missing: Datum,
}

impl RowDecoder {
    /// `wanted` are ordinals, in the order in which the values are to come out.
    pub fn new(table: &TableDescriptor, wanted: impl IntoIterator<Item = usize>) -> Self {
        let columns = wanted.into_iter().map(|ordinal| {
            let column = &table.columns[ordinal];
            let missing = column.missing.as_ref().and_then(|m| decode_missing(m, &column.ty).ok());
            Wanted {
                slot: usize::from(column.id.0) - 1,
                ty: column.ty.ty.clone(),
                missing: missing.unwrap_or_default(),
            }
        });
        Self { columns: columns.collect() }
    }

    /// Every column, in ordinal order.
    pub fn all(table: &TableDescriptor) -> Self {
        Self::new(table, 0..table.columns.len())
    }

    /// # Errors
    /// XX001 for bytes that no [`RowEncoder`] wrote.
    pub fn decode(&self, value: &[u8]) -> Result<Vec<Datum>> {
        let mut row = Vec::with_capacity(self.columns.len());
        self.decode_into(value, &mut row)?;
        Ok(row)
    }

    /// Appends the wanted columns to `row`.
    ///
    /// # Errors
    /// XX001 for bytes that no [`RowEncoder`] wrote.
    pub fn decode_into(&self, value: &[u8], row: &mut Vec<Datum>) -> Result<()> {
        let view = RowView::new(value)?;
        for column in &self.columns {
            row.push(match view.slot(column.slot)? {
                Slot::Absent => column.missing.clone(),
                Slot::Null => Datum::Null,
                Slot::Payload(bytes) => codec::read_datum(&column.ty, bytes)
                    .map_err(|e| CatalogError::corrupt(format_args!("row: {e}")))?,
            });
        }
        Ok(())
    }
}

/// A row's parts, not yet decoded. For readers that go straight to columns of their own.
#[derive(Clone, Copy, Debug)]
pub struct RowView<'a> {
    slots: usize,
    width: usize,
    mask: &'a [u8],
    ends: &'a [u8],
    payload: &'a [u8],
}

/// What a row holds for a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot<'a> {
    /// Written before the column was added.
    Absent,
    Null,
    Payload(&'a [u8]),
}

impl<'a> RowView<'a> {
    /// # Errors
    /// XX001 if the header does not fit the bytes.
    pub fn new(value: &'a [u8]) -> Result<Self> {
        let damaged = || CatalogError::corrupt("row header");
        let &[head, low, high, ref rest @ ..] = value else { return Err(damaged()) };
        if head >> 4 != FORMAT {
            let what = format_args!("row has unknown format {}", head >> 4);
            return Err(CatalogError::corrupt(what));
        }
        let width = usize::from(head & 0x0f);
        let slots = usize::from(u16::from_le_bytes([low, high]));
        if !matches!(width, 1 | 2 | 4) {
            return Err(damaged());
        }
        let (mask, rest) = rest.split_at_checked(slots.div_ceil(8)).ok_or_else(damaged)?;
        let (ends, payload) = rest.split_at_checked(slots * width).ok_or_else(damaged)?;
        Ok(Self { slots, width, mask, ends, payload })
    }

    /// The slot of column id `slot + 1`.
    ///
    /// # Errors
    /// XX001 if offsets do not fit the payload.
    pub fn slot(&self, slot: usize) -> Result<Slot<'a>> {
        if slot >= self.slots {
            return Ok(Slot::Absent);
        }
        if self.mask[slot / 8] & (1 << (slot % 8)) != 0 {
            return Ok(Slot::Null);
        }
        let start = if slot == 0 { 0 } else { self.end(slot - 1) };
        let bytes = self.payload.get(start..self.end(slot));
        bytes.map(Slot::Payload).ok_or_else(|| CatalogError::corrupt("row offsets"))
    }

    fn end(&self, slot: usize) -> usize {
        let at = slot * self.width;
        match self.width {
            1 => usize::from(self.ends[at]),
            2 => usize::from(u16::from_le_bytes([self.ends[at], self.ends[at + 1]])),
            _ => {
                let bytes = [0, 1, 2, 3].map(|i| self.ends[at + i]);
                u32::from_le_bytes(bytes) as usize
            }
        }
    }
}

/// `ColumnDescriptor::missing`: one byte (0: NULL, 1: a value) and the payload.
pub(crate) fn encode_missing(datum: &Datum, _ty: &ColumnType) -> Vec<u8> {
    let mut out = vec![u8::from(!datum.is_null())];
    if !datum.is_null() {
        codec::write_datum(datum, &mut out);
    }
    out
}

/// What rows without the column read as.
///
/// # Errors
/// XX001 for bytes that are no such value.
pub fn decode_missing(bytes: &[u8], ty: &ColumnType) -> Result<Datum> {
    match bytes.split_first() {
        Some((0, [])) => Ok(Datum::Null),
        Some((1, payload)) => codec::read_datum(&ty.ty, payload)
            .map_err(|e| CatalogError::corrupt(format_args!("missing value: {e}"))),
        _ => Err(CatalogError::corrupt("missing value")),
    }
}
