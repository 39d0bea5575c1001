//! COPY's output: rows as text, csv or binary.

use crate::error::{SqlError, SqlResult};
use datum::{ColumnType, Datum, TypeContext};
use planner::{CopyFormat, CopyHeader, CopyOptions};

pub(crate) struct Encoder {
    options: CopyOptions,
    names: Vec<String>,
    types: Vec<ColumnType>,
    context: TypeContext,
    text: String,
}

impl Encoder {
    pub fn new(
        options: CopyOptions,
        names: Vec<String>,
        types: Vec<ColumnType>,
        context: TypeContext,
    ) -> Self {
        Self { options, names, types, context, text: String::new() }
    }

    pub fn header(&self, out: &mut Vec<u8>) {
        match self.options.format {
            CopyFormat::Binary => {
                out.extend_from_slice(b"PGCOPY\n\xff\r\n\0");
                out.extend_from_slice(&[0; 8]);
            }
            CopyFormat::Text | CopyFormat::Csv if self.options.header == CopyHeader::None => {}
            CopyFormat::Text | CopyFormat::Csv => {
                for (i, name) in self.names.iter().enumerate() {
                    if i > 0 {
                        out.push(self.options.delimiter);
                    }
                    self.field(i, name, true, out);
                }
                out.push(b'\n');
            }
        }
    }

    pub fn row(&mut self, row: &[Datum], out: &mut Vec<u8>) -> SqlResult<()> {
        if self.options.format == CopyFormat::Binary {
            return self.binary_row(row, out);
        }
        let mut text = std::mem::take(&mut self.text);
        for (i, value) in row.iter().enumerate() {
            if i > 0 {
                out.push(self.options.delimiter);
            }
            if value.is_null() {
                out.extend_from_slice(self.options.null.as_bytes());
                continue;
            }
            text.clear();
            datum::text::format(value, &self.types[i].ty, &self.context, &mut text);
            self.field(i, &text, false, out);
        }
        out.push(b'\n');
        self.text = text;
        Ok(())
    }

    pub fn trailer(&self, out: &mut Vec<u8>) {
        if self.options.format == CopyFormat::Binary {
            out.extend_from_slice(&(-1i16).to_be_bytes());
        }
    }

    fn binary_row(&self, row: &[Datum], out: &mut Vec<u8>) -> SqlResult<()> {
        let count = i16::try_from(row.len())
            .map_err(|_| SqlError::new("54011", "too many columns for binary COPY"))?;
        out.extend_from_slice(&count.to_be_bytes());
        for (value, ty) in row.iter().zip(&self.types) {
            if value.is_null() {
                out.extend_from_slice(&(-1i32).to_be_bytes());
                continue;
            }
            let at = out.len();
            out.extend_from_slice(&[0; 4]);
            datum::binary::encode(value, &ty.ty, out);
            let length = (out.len() - at - 4) as i32;
            out[at..at + 4].copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }

    fn field(&self, column: usize, text: &str, header: bool, out: &mut Vec<u8>) {
        match self.options.format {
            CopyFormat::Csv => {
                let forced = !header
                    && match &self.options.force_quote {
                        None => false,
                        Some(columns) => columns.is_empty() || columns.contains(&column),
                    };
                self.csv_field(text, forced, out);
            }
            CopyFormat::Text | CopyFormat::Binary => self.text_field(text, out),
        }
    }

    fn text_field(&self, text: &str, out: &mut Vec<u8>) {
        for &byte in text.as_bytes() {
            let escaped = match byte {
                8 => b'b',
                12 => b'f',
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                11 => b'v',
                b'\\' => b'\\',
                _ if byte == self.options.delimiter => byte,
                _ => {
                    out.push(byte);
                    continue;
                }
            };
            out.extend_from_slice(&[b'\\', escaped]);
        }
    }

    fn csv_field(&self, text: &str, forced: bool, out: &mut Vec<u8>) {
        let CopyOptions { delimiter, quote, escape, .. } = self.options;
        let bytes = text.as_bytes();
        let needs_quotes = forced
            || text == self.options.null
            || (self.types.len() == 1 && text == "\\.")
            || bytes.iter().any(|b| *b == delimiter || *b == quote || matches!(b, b'\n' | b'\r'));
        if !needs_quotes {
            out.extend_from_slice(bytes);
            return;
        }
        out.push(quote);
        for &byte in bytes {
            if byte == quote || byte == escape {
                out.push(escape);
            }
            out.push(byte);
        }
        out.push(quote);
    }
}
