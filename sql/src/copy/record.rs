//! COPY's input cut into records: text and csv lines, binary tuples.
//!
//! Bytes arrive in chunks that end anywhere. [`Records`] keeps what is not yet a whole record; a
//! record's fields are positions in one scratch buffer, so that a row costs no allocation of its
//! own.
//!
//! ```text
//! text    1<TAB>a\tb<TAB>\N<LF>        escapes undone, \N is NULL, \. alone ends the data
//! csv     1,"a,""b""<LF>c",<LF>        quotes may hold line ends; unquoted null string is NULL
//! binary  PGCOPY\n\377\r\n\0, flags(4), extension length(4), extension,
//!         then per tuple: fields(2), per field: length(4, -1 NULL), bytes; at the end: -1 (2)
//! ```

use crate::error::{SqlError, SqlResult};
use planner::{CopyFormat, CopyHeader, CopyOptions};
use std::ops::Range;

/// A record without its end may not grow beyond this.
const RECORD_BYTES_MAX: usize = 256 << 20;

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

pub(crate) struct Records {
    options: CopyOptions,
    columns: usize,
    buffer: Vec<u8>,
    at: usize,
    /// Number of the record read last, from one; the header counts.
    pub line: u64,
    header_pending: bool,
    input_ended: bool,
    data_ended: bool,
    /// Whether lines end with CR LF, known from the first line on.
    crlf: Option<bool>,
    /// Where the look for the end of the current record goes on, so that a long quoted field that
    /// comes in many chunks is not looked through again and again.
    scan: Scan,
    scratch: Vec<u8>,
    fields: Vec<Option<Range<usize>>>,
    header_names: Vec<String>,
}

#[derive(Clone, Copy, Default)]
struct Scan {
    offset: usize,
    quoted: bool,
}

impl Records {
    /// `names`: the columns', for `HEADER MATCH`.
    pub fn new(options: CopyOptions, names: Vec<String>) -> Self {
        Self {
            header_pending: options.header != CopyHeader::None
                || options.format == CopyFormat::Binary,
            columns: names.len(),
            options,
            buffer: Vec::new(),
            at: 0,
            line: 0,
            input_ended: false,
            data_ended: false,
            crlf: None,
            scan: Scan::default(),
            scratch: Vec::new(),
            fields: Vec::new(),
            header_names: names,
        }
    }

    pub fn push(&mut self, chunk: &[u8]) {
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        if !self.data_ended {
            self.buffer.extend_from_slice(chunk);
        }
    }

    /// No more input: what is left is the last record, its line end missing.
    pub fn end_input(&mut self) {
        self.input_ended = true;
    }

    /// The text of field `i` of the current record; `None` is NULL.
    pub fn field(&self, i: usize) -> Option<&[u8]> {
        self.fields[i].clone().map(|range| &self.scratch[range])
    }

    /// The name of column `i`.
    pub fn name(&self, i: usize) -> &str {
        &self.header_names[i]
    }

    /// The current line as COPY's CONTEXT shows it.
    pub fn current_line(&self) -> String {
        let fields: Vec<String> = self
            .fields
            .iter()
            .map(|f| match f {
                Some(range) => String::from_utf8_lossy(&self.scratch[range.clone()]).into_owned(),
                None => self.options.null.clone(),
            })
            .collect();
        let mut line = fields.join(&String::from(self.options.delimiter as char));
        if line.len() > 100 {
            let cut = (0..=100).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
            line.truncate(cut);
            line.push_str("...");
        }
        line
    }

    /// Reads the next record; `false` if more input is needed, or after the end.
    ///
    /// # Errors
    /// 22P04 for a record with too few or too many fields, or that is not of the format.
    pub fn advance(&mut self) -> SqlResult<bool> {
        if self.data_ended {
            return Ok(false);
        }
        if self.options.format == CopyFormat::Binary {
            return self.advance_binary();
        }
        loop {
            let Some((line, next)) = self.next_line()? else { return Ok(false) };
            self.line += 1;
            let line_at = line.start;
            let text = &self.buffer[line];
            if text == b"\\." {
                self.data_ended = true;
                self.at = self.buffer.len();
                return Ok(false);
            }
            self.fields.clear();
            self.scratch.clear();
            let source = Line { text, options: &self.options };
            match self.options.format {
                CopyFormat::Csv => source.split_csv(&mut self.scratch, &mut self.fields)?,
                CopyFormat::Text | CopyFormat::Binary => {
                    source.split_text(&mut self.scratch, &mut self.fields)?;
                }
            }
            debug_assert!(line_at >= self.at);
            self.at = next;
            if self.header_pending {
                self.header_pending = false;
                if self.options.header == CopyHeader::Match {
                    self.match_header()?;
                }
                continue;
            }
            self.check_count()?;
            return Ok(true);
        }
    }

    fn check_count(&self) -> SqlResult<()> {
        if self.fields.len() > self.columns {
            return Err(bad("extra data after last expected column"));
        }
        if self.fields.len() < self.columns {
            let name = &self.header_names[self.fields.len()];
            return Err(bad(format!("missing data for column \"{name}\"")));
        }
        Ok(())
    }

    fn match_header(&self) -> SqlResult<()> {
        if self.fields.len() != self.columns {
            return Err(bad(format!(
                "wrong number of fields in header line: got {}, expected {}",
                self.fields.len(),
                self.columns
            )));
        }
        for (i, name) in self.header_names.iter().enumerate() {
            let got = self.field(i).map(String::from_utf8_lossy);
            if got.as_deref() != Some(name.as_str()) {
                let got = got.map_or("null value".to_owned(), |g| format!("\"{g}\""));
                return Err(bad(format!(
                    "column name mismatch in header line field {}: got {got}, expected \"{name}\"",
                    i + 1
                )));
            }
        }
        Ok(())
    }

    /// The next line without its end, and where the one after begins.
    fn next_line(&mut self) -> SqlResult<Option<(Range<usize>, usize)>> {
        let csv = self.options.format == CopyFormat::Csv;
        let (quote, escape) = (self.options.quote, self.options.escape);
        let start = self.at;
        let mut i = start + self.scan.offset;
        let mut quoted = self.scan.quoted;
        let end = loop {
            let Some(&byte) = self.buffer.get(i) else { break None };
            if csv {
                if quoted && byte == escape && escape != quote {
                    if i + 1 >= self.buffer.len() && !self.input_ended {
                        break None;
                    }
                    i += 2;
                    continue;
                }
                if byte == quote {
                    quoted = !quoted;
                } else if byte == b'\n' && !quoted {
                    break Some(i);
                }
            } else if byte == b'\\' {
                if i + 1 >= self.buffer.len() && !self.input_ended {
                    break None;
                }
                i += 2;
                continue;
            } else if byte == b'\n' {
                break Some(i);
            }
            i += 1;
        };
        match end {
            Some(end) => {
                self.scan = Scan::default();
                let crlf = end > start && self.buffer[end - 1] == b'\r';
                let crlf = crlf && *self.crlf.get_or_insert(crlf);
                self.crlf.get_or_insert(false);
                Ok(Some((start..end - usize::from(crlf), end + 1)))
            }
            None if self.input_ended => {
                self.scan = Scan::default();
                if quoted {
                    return Err(bad("unterminated CSV quoted field"));
                }
                let len = self.buffer.len();
                if start >= len {
                    self.data_ended = true;
                    return Ok(None);
                }
                Ok(Some((start..len, len)))
            }
            None => {
                self.scan = Scan { offset: i.min(self.buffer.len()) - start, quoted };
                if self.buffer.len() - start > RECORD_BYTES_MAX {
                    return Err(SqlError::new("54000", "a line of COPY data is too long"));
                }
                Ok(None)
            }
        }
    }

    fn advance_binary(&mut self) -> SqlResult<bool> {
        if self.header_pending {
            let rest = &self.buffer[self.at..];
            if rest.len() < 19 {
                return self.short_binary("COPY file signature not recognized");
            }
            if &rest[..11] != SIGNATURE {
                return Err(bad("COPY file signature not recognized"));
            }
            let flags = u32_at(rest, 11);
            if flags & 0xffff_0000 != 0 {
                return Err(bad("unrecognized critical flags in COPY file header"));
            }
            let extension = u32_at(rest, 15) as usize;
            if extension > RECORD_BYTES_MAX {
                return Err(bad("invalid COPY file header (wrong length)"));
            }
            if rest.len() < 19 + extension {
                return self.short_binary("invalid COPY file header (wrong length)");
            }
            self.at += 19 + extension;
            self.header_pending = false;
        }
        let rest = &self.buffer[self.at..];
        if rest.len() < 2 {
            // A file that ends without its trailer is complete if it ends between tuples.
            if self.input_ended && rest.is_empty() {
                self.data_ended = true;
                return Ok(false);
            }
            return self.short_binary("unexpected EOF in COPY data");
        }
        let count = i16::from_be_bytes([rest[0], rest[1]]);
        if count == -1 {
            self.data_ended = true;
            return Ok(false);
        }
        if count < 0 || count as usize != self.columns {
            return Err(bad(format!("row field count is {count}, expected {}", self.columns)));
        }
        self.fields.clear();
        self.scratch.clear();
        let mut i = 2;
        for _ in 0..count {
            let Some(header) = rest.get(i..i + 4) else {
                return self.short_binary("unexpected EOF in COPY data");
            };
            let length = i32::from_be_bytes([header[0], header[1], header[2], header[3]]);
            i += 4;
            if length == -1 {
                self.fields.push(None);
                continue;
            }
            if length < 0 || length as usize > RECORD_BYTES_MAX {
                return Err(bad("invalid field size"));
            }
            let Some(bytes) = rest.get(i..i + length as usize) else {
                return self.short_binary("unexpected EOF in COPY data");
            };
            let from = self.scratch.len();
            self.scratch.extend_from_slice(bytes);
            self.fields.push(Some(from..self.scratch.len()));
            i += length as usize;
        }
        self.at += i;
        self.line += 1;
        Ok(true)
    }

    fn short_binary(&self, message: &str) -> SqlResult<bool> {
        if self.input_ended { Err(bad(message)) } else { Ok(false) }
    }
}

struct Line<'a> {
    text: &'a [u8],
    options: &'a CopyOptions,
}

impl Line<'_> {
    fn split_text(
        &self,
        scratch: &mut Vec<u8>,
        fields: &mut Vec<Option<Range<usize>>>,
    ) -> SqlResult<()> {
        let null = self.options.null.as_bytes();
        let delimiter = self.options.delimiter;
        let text = self.text;
        let mut i = 0;
        loop {
            let (raw_from, from) = (i, scratch.len());
            while i < text.len() && text[i] != delimiter {
                if text[i] != b'\\' {
                    scratch.push(text[i]);
                    i += 1;
                    continue;
                }
                let Some(&escaped) = text.get(i + 1) else {
                    scratch.push(b'\\');
                    i += 1;
                    continue;
                };
                i += 2;
                match escaped {
                    b'b' => scratch.push(8),
                    b'f' => scratch.push(12),
                    b'n' => scratch.push(b'\n'),
                    b'r' => scratch.push(b'\r'),
                    b't' => scratch.push(b'\t'),
                    b'v' => scratch.push(11),
                    b'0'..=b'7' => {
                        let mut value = u32::from(escaped - b'0');
                        for _ in 0..2 {
                            match text.get(i) {
                                Some(&digit @ b'0'..=b'7') => {
                                    value = value * 8 + u32::from(digit - b'0');
                                    i += 1;
                                }
                                _ => break,
                            }
                        }
                        scratch.push(value as u8);
                    }
                    b'x' if text.get(i).is_some_and(u8::is_ascii_hexdigit) => {
                        let mut value = 0;
                        for _ in 0..2 {
                            match text.get(i).and_then(|d| (*d as char).to_digit(16)) {
                                Some(digit) => {
                                    value = value * 16 + digit;
                                    i += 1;
                                }
                                None => break,
                            }
                        }
                        scratch.push(value as u8);
                    }
                    other => scratch.push(other),
                }
            }
            let is_null = &text[raw_from..i] == null;
            fields.push((!is_null).then_some(from..scratch.len()));
            if i >= text.len() {
                return Ok(());
            }
            i += 1;
        }
    }

    fn split_csv(
        &self,
        scratch: &mut Vec<u8>,
        fields: &mut Vec<Option<Range<usize>>>,
    ) -> SqlResult<()> {
        let CopyOptions { delimiter, quote, escape, .. } = *self.options;
        let null = self.options.null.as_bytes();
        let text = self.text;
        let mut i = 0;
        loop {
            let from = scratch.len();
            let mut was_quoted = false;
            let mut quoted = false;
            while let Some(&byte) = text.get(i) {
                if !quoted {
                    if byte == delimiter {
                        break;
                    }
                    if byte == quote {
                        quoted = true;
                        was_quoted = true;
                    } else {
                        scratch.push(byte);
                    }
                    i += 1;
                    continue;
                }
                let next = text.get(i + 1).copied();
                if byte == escape && next.is_some_and(|n| n == quote || n == escape) {
                    scratch.push(next.unwrap_or(byte));
                    i += 2;
                } else if byte == quote {
                    quoted = false;
                    i += 1;
                } else {
                    scratch.push(byte);
                    i += 1;
                }
            }
            if quoted {
                return Err(bad("unterminated CSV quoted field"));
            }
            let position = fields.len();
            let forced_text = self.options.force_not_null.contains(&position);
            let forced_null = self.options.force_null.contains(&position);
            let matches_null = &scratch[from..] == null;
            let is_null = matches_null && if was_quoted { forced_null } else { !forced_text };
            fields.push((!is_null).then_some(from..scratch.len()));
            if i >= text.len() {
                return Ok(());
            }
            i += 1;
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn bad(message: impl Into<String>) -> SqlError {
    SqlError::new("22P04", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: CopyOptions, columns: usize, input: &[u8], chunk: usize) -> Vec<String> {
        let names = (0..columns).map(|i| format!("c{i}")).collect();
        let mut records = Records::new(options, names);
        let mut lines = Vec::new();
        let mut drain = |records: &mut Records| {
            while records.advance().unwrap() {
                let fields: Vec<String> = (0..columns)
                    .map(|i| match records.field(i) {
                        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                        None => "NULL".to_owned(),
                    })
                    .collect();
                lines.push(fields.join("|"));
            }
        };
        for piece in input.chunks(chunk) {
            records.push(piece);
            drain(&mut records);
        }
        records.end_input();
        drain(&mut records);
        lines
    }

    #[test]
    fn text_lines_survive_every_chunking() {
        let input = b"1\ta\\tb\t\\N\n2\t\\x41\\102\tc\\\\\n\\.\nignored";
        for chunk in 1..input.len() {
            let options = CopyOptions::of(CopyFormat::Text);
            assert_eq!(read(options, 3, input, chunk), ["1|a\tb|NULL", "2|AB|c\\"], "{chunk}");
        }
    }

    #[test]
    fn csv_lines_survive_every_chunking() {
        let input = b"1,\"a,\"\"b\"\"\nc\",\r\n2,,\"\"\r\n3,x,y";
        for chunk in 1..input.len() {
            let options = CopyOptions::of(CopyFormat::Csv);
            let lines = read(options, 3, input, chunk);
            assert_eq!(lines, ["1|a,\"b\"\nc|NULL", "2|NULL|", "3|x|y"], "{chunk}");
        }
    }

    #[test]
    fn a_short_line_names_the_missing_column() {
        let mut records =
            Records::new(CopyOptions::of(CopyFormat::Text), vec!["a".into(), "b".into()]);
        records.push(b"1\n");
        let error = records.advance().unwrap_err();
        assert_eq!(error.message, "missing data for column \"b\"");
    }
}
