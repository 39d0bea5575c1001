//! Messages to the client, written straight into one growing buffer.
//!
//! Every message is a type byte, a length that counts itself, and a body; [`Outgoing::begin`] leaves
//! a hole for the length and [`Outgoing::end`] fills it. Nothing here is boxed or copied twice: a
//! row's values are formatted where they will be sent from (`rows.rs`).
//! <https://www.postgresql.org/docs/15/protocol-message-formats.html>

use crate::frontend::Formats;
use datum::SqlType;
use sql::{ColumnDesc, CopyFormat, SqlError, TransactionStatus};

/// PostgreSQL's limit for one message; libpq refuses longer ones.
const MESSAGE_BYTES_MAX: usize = 0x3fff_ffff;

#[derive(Default)]
pub struct Outgoing {
    pub(crate) bytes: Vec<u8>,
    /// Where values without a shortcut are formatted before they are copied.
    pub(crate) scratch: String,
}

impl Outgoing {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// After everything has been sent. Memory beyond `keep_bytes` is given back.
    pub fn clear(&mut self, keep_bytes: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(keep_bytes);
    }

    #[inline]
    pub(crate) fn begin(&mut self, tag: u8) -> usize {
        self.bytes.extend_from_slice(&[tag, 0, 0, 0, 0]);
        self.bytes.len() - 4
    }

    /// Fills in the length of the message begun at `mark`, or takes the message back if no client
    /// would accept it.
    #[inline]
    pub(crate) fn end(&mut self, mark: usize) -> Result<(), SqlError> {
        let length = self.bytes.len() - mark;
        if length > MESSAGE_BYTES_MAX {
            self.bytes.truncate(mark - 1);
            return Err(too_long(length));
        }
        self.bytes[mark..mark + 4].copy_from_slice(&(length as u32).to_be_bytes());
        Ok(())
    }

    /// For messages whose parts are bounded by what was received.
    fn end_short(&mut self, mark: usize) {
        let length = (self.bytes.len() - mark) as u32;
        self.bytes[mark..mark + 4].copy_from_slice(&length.to_be_bytes());
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Text up to its first zero byte, which would end it for the client anyway, and a zero byte.
    fn string(&mut self, text: &str) {
        let end = text.bytes().position(|byte| byte == 0).unwrap_or(text.len());
        self.bytes.extend_from_slice(&text.as_bytes()[..end]);
        self.bytes.push(0);
    }

    /// A single byte outside any message: the answer to SSLRequest and GSSENCRequest.
    pub fn negotiation(&mut self, answer: u8) {
        self.bytes.push(answer);
    }

    fn bare(&mut self, tag: u8) {
        self.bytes.extend_from_slice(&[tag, 0, 0, 0, 4]);
    }

    pub fn parse_complete(&mut self) {
        self.bare(b'1');
    }

    pub fn bind_complete(&mut self) {
        self.bare(b'2');
    }

    pub fn close_complete(&mut self) {
        self.bare(b'3');
    }

    pub fn no_data(&mut self) {
        self.bare(b'n');
    }

    pub fn portal_suspended(&mut self) {
        self.bare(b's');
    }

    pub fn empty_query(&mut self) {
        self.bare(b'I');
    }

    pub fn copy_done(&mut self) {
        self.bare(b'c');
    }

    pub fn ready_for_query(&mut self, status: TransactionStatus) {
        let status = match status {
            TransactionStatus::Idle => b'I',
            TransactionStatus::InTransaction => b'T',
            TransactionStatus::Failed => b'E',
        };
        self.bytes.extend_from_slice(&[b'Z', 0, 0, 0, 5, status]);
    }

    pub fn command_complete(&mut self, tag: &str) {
        let mark = self.begin(b'C');
        self.string(tag);
        self.end_short(mark);
    }

    pub fn parameter_status(&mut self, name: &str, value: &str) {
        let mark = self.begin(b'S');
        self.string(name);
        self.string(value);
        self.end_short(mark);
    }

    pub fn parameter_description(&mut self, types: &[SqlType]) {
        let mark = self.begin(b't');
        self.u16(types.len() as u16);
        for ty in types {
            self.u32(ty.oid());
        }
        self.end_short(mark);
    }

    pub fn row_description(&mut self, columns: &[ColumnDesc], formats: Formats<'_>) {
        let mark = self.begin(b'T');
        self.u16(columns.len() as u16);
        for (index, column) in columns.iter().enumerate() {
            self.string(&column.name);
            self.u32(column.table_oid);
            self.u16(column.attnum as u16);
            self.u32(column.ty.ty.oid());
            self.u16(column.ty.ty.typlen() as u16);
            self.u32(column.ty.typmod as u32);
            self.u16(u16::from(formats.is_binary(index)));
        }
        self.end_short(mark);
    }

    pub fn copy_in_response(&mut self, format: CopyFormat, columns: usize) {
        self.copy_response(b'G', format, columns);
    }

    pub fn copy_out_response(&mut self, format: CopyFormat, columns: usize) {
        self.copy_response(b'H', format, columns);
    }

    fn copy_response(&mut self, tag: u8, format: CopyFormat, columns: usize) {
        let binary = format.is_binary();
        let mark = self.begin(tag);
        self.bytes.push(u8::from(binary));
        self.u16(columns as u16);
        for _ in 0..columns as u16 {
            self.u16(u16::from(binary));
        }
        self.end_short(mark);
    }

    pub fn copy_data(&mut self, chunk: &[u8]) -> Result<(), SqlError> {
        let mark = self.begin(b'd');
        self.bytes.extend_from_slice(chunk);
        self.end(mark)
    }

    pub fn error(&mut self, error: &SqlError) {
        self.report(b'E', error);
    }

    pub fn notice(&mut self, notice: &SqlError) {
        self.report(b'N', notice);
    }

    fn report(&mut self, tag: u8, report: &SqlError) {
        let mark = self.begin(tag);
        // The second one is never translated; neither is the first, here.
        self.field(b'S', report.severity.as_str());
        self.field(b'V', report.severity.as_str());
        self.field(b'C', &report.sqlstate);
        self.field(b'M', &report.message);
        let optional = [
            (b'D', &report.detail),
            (b'H', &report.hint),
            (b'W', &report.context),
            (b's', &report.schema),
            (b't', &report.table),
            (b'c', &report.column),
            (b'd', &report.data_type),
            (b'n', &report.constraint),
        ];
        if let Some(position) = report.position {
            self.field(b'P', &position.to_string());
        }
        for (code, text) in optional {
            if let Some(text) = text {
                self.field(code, text);
            }
        }
        self.bytes.push(0);
        self.end_short(mark);
    }

    fn field(&mut self, code: u8, text: &str) {
        /// Longer texts (a quoted 100 MB literal) are cut: some clients bound an error's length.
        const FIELD_BYTES_MAX: usize = 8 * 1024;
        let mut end = text.len().min(FIELD_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.bytes.push(code);
        self.string(&text[..end]);
    }
}

fn too_long(bytes: usize) -> SqlError {
    SqlError::new("54000", "message to the client is too long").with_detail(format!(
        "The message has {bytes} bytes, at most {MESSAGE_BYTES_MAX} are allowed."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (type, body) of every message in the buffer.
    fn messages(out: &Outgoing) -> Vec<(char, Vec<u8>)> {
        let mut rest = out.bytes();
        let mut all = Vec::new();
        while let [tag, a, b, c, d, tail @ ..] = rest {
            let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize - 4;
            all.push((*tag as char, tail[..length].to_vec()));
            rest = &tail[length..];
        }
        assert!(rest.is_empty(), "bytes after the last message");
        all
    }

    #[test]
    fn an_error_carries_all_its_fields() {
        let mut error = SqlError::new("23505", "duplicate key")
            .with_detail("Key (a)=(1)")
            .with_hint("try another")
            .with_position(Some(8))
            .with_context("COPY t, line 3")
            .with_table("public", "t")
            .with_column("a")
            .with_constraint("t_pkey");
        error.data_type = Some("integer".into());
        let mut out = Outgoing::default();
        out.error(&error);
        out.ready_for_query(TransactionStatus::Failed);
        let all = messages(&out);
        assert_eq!(all[1], ('Z', b"E".to_vec()));
        let text = String::from_utf8(all[0].1.clone()).expect("UTF-8");
        let mut fields: Vec<&str> = text.split_terminator('\0').collect();
        fields.sort_unstable();
        assert_eq!(
            fields,
            [
                "",
                "C23505",
                "DKey (a)=(1)",
                "Htry another",
                "Mduplicate key",
                "P8",
                "SERROR",
                "VERROR",
                "WCOPY t, line 3",
                "ca",
                "dinteger",
                "nt_pkey",
                "spublic",
                "tt",
            ]
        );
    }

    #[test]
    fn a_zero_byte_or_a_huge_text_cannot_break_the_framing() {
        let mut out = Outgoing::default();
        out.error(&SqlError::new("XX000", format!("bad \0 byte{}", "é".repeat(100_000))));
        out.command_complete("SELECT 1\0 junk");
        let all = messages(&out);
        assert_eq!(all[1], ('C', b"SELECT 1\0".to_vec()));
        assert!(all[0].1.len() < 20_000);
        assert!(out.bytes().len() < 20_000);
    }

    #[test]
    fn copy_responses_name_the_format_of_every_column() {
        let mut out = Outgoing::default();
        out.copy_in_response(CopyFormat::Csv, 2);
        out.copy_out_response(CopyFormat::Binary, 1);
        out.copy_data(b"1\t2\n").expect("short");
        assert_eq!(
            messages(&out),
            [
                ('G', vec![0, 0, 2, 0, 0, 0, 0]),
                ('H', vec![1, 0, 1, 0, 1]),
                ('d', b"1\t2\n".to_vec())
            ]
        );
    }
}
