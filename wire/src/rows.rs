//! Rows and parameters: values in and out of the text and binary forms of the protocol.
//!
//! A DataRow is written into the outgoing buffer value by value, each behind a hole for its length.
//! Integers, booleans and texts, most of what most queries answer, are written without a detour;
//! other text forms go through one reused scratch string, binary forms are datum's.

use crate::frontend::{Bind, Formats};
use crate::outgoing::Outgoing;
use datum::{ColumnType, Datum, DatumError, SqlType, TypeContext};
use sql::{ColumnDesc, Session, SqlError};

impl Outgoing {
    /// One DataRow. After an error the buffer is as it was before.
    pub fn data_row(
        &mut self,
        row: &[Datum],
        columns: &[ColumnDesc],
        formats: Formats<'_>,
        session: &Session,
    ) -> Result<(), SqlError> {
        if row.len() != columns.len() {
            return Err(SqlError::internal(format!(
                "a row of {} values for {} columns",
                row.len(),
                columns.len()
            )));
        }
        let mark = self.begin(b'D');
        self.u16(row.len() as u16);
        for (index, (value, column)) in row.iter().zip(columns).enumerate() {
            let binary = formats.is_binary(index);
            self.value(value, &column.ty.ty, binary, session);
        }
        self.end(mark)
    }

    fn value(&mut self, value: &Datum, ty: &SqlType, binary: bool, session: &Session) {
        if value.is_null() {
            self.u32(u32::MAX);
            return;
        }
        self.u32(0);
        let mark = self.bytes.len();
        if binary {
            datum::binary::encode(value, ty, &mut self.bytes);
        } else {
            self.text_value(value, ty, session);
        }
        let length = (self.bytes.len() - mark) as u32;
        self.bytes[mark - 4..mark].copy_from_slice(&length.to_be_bytes());
    }

    fn text_value(&mut self, value: &Datum, ty: &SqlType, session: &Session) {
        match value {
            Datum::Text(text) => self.bytes.extend_from_slice(text.as_bytes()),
            Datum::Int4(value) => self.integer(i64::from(*value)),
            Datum::Int8(value) => self.integer(*value),
            Datum::Int2(value) => self.integer(i64::from(*value)),
            Datum::Bool(value) => self.bytes.push(if *value { b't' } else { b'f' }),
            // regclass and its kin print as names, which only the session knows.
            Datum::Oid(oid) if !matches!(ty, SqlType::Oid | SqlType::Xid) => {
                match session.reg_name(ty, *oid) {
                    Some(name) => self.bytes.extend_from_slice(name.as_bytes()),
                    None => self.integer(i64::from(*oid)),
                }
            }
            other => {
                self.scratch.clear();
                datum::text::format(other, ty, session.type_context(), &mut self.scratch);
                self.bytes.extend_from_slice(self.scratch.as_bytes());
            }
        }
    }

    fn integer(&mut self, value: i64) {
        self.bytes.extend_from_slice(datum::text::decimal(value, &mut [0; 20]));
    }
}

/// The parameters of a Bind as values of the statement's types.
pub fn parameters(
    bind: &Bind<'_>,
    types: &[SqlType],
    context: &TypeContext,
) -> Result<Vec<Datum>, SqlError> {
    let (count, formats) = (bind.parameter_count(), bind.parameter_formats.count());
    if formats > 1 && formats != count {
        return Err(SqlError::new(
            "08P01",
            format!("bind message has {formats} parameter formats but {count} parameters"),
        ));
    }
    if count != types.len() {
        return Err(SqlError::new(
            "08P01",
            format!(
                "bind message supplies {count} parameters, but prepared statement \"{}\" requires {}",
                bind.statement,
                types.len()
            ),
        ));
    }
    let mut values = Vec::with_capacity(count);
    for (index, (bytes, ty)) in bind.parameters().zip(types).enumerate() {
        values.push(match bytes {
            None => Datum::Null,
            Some(bytes) if bind.parameter_formats.is_binary(index) => {
                datum::binary::decode(&ColumnType { ty: ty.clone(), typmod: -1 }, bytes)
                    .map_err(|error| incorrect_binary(sql_error(error), index))?
            }
            Some(bytes) => {
                let text = std::str::from_utf8(bytes)
                    .map_err(|error| not_utf8(&bytes[error.valid_up_to()..]))?;
                text_parameter(ty, text, context)?
            }
        });
    }
    Ok(values)
}

fn text_parameter(ty: &SqlType, text: &str, context: &TypeContext) -> Result<Datum, SqlError> {
    match ty {
        SqlType::Text | SqlType::Varchar | SqlType::Unknown => {
            // Zero bytes cannot be stored: the client could never be told where the value ends.
            if text.contains('\0') { Err(not_utf8(&[0])) } else { Ok(Datum::text(text)) }
        }
        ty => datum::text::parse(&ColumnType { ty: ty.clone(), typmod: -1 }, text, context)
            .map_err(sql_error),
    }
}

/// PostgreSQL names the parameter whose bytes did not add up.
fn incorrect_binary(error: SqlError, index: usize) -> SqlError {
    if error.sqlstate == "22P03" {
        SqlError::new(
            "22P03",
            format!("incorrect binary data format in bind parameter {}", index + 1),
        )
        .with_detail(error.message.clone())
    } else {
        error
    }
}

pub fn not_utf8(wrong: &[u8]) -> SqlError {
    let shown: Vec<String> = wrong.iter().take(4).map(|byte| format!("0x{byte:02x}")).collect();
    SqlError::new(
        "22021",
        format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")),
    )
}

pub fn sql_error(error: DatumError) -> SqlError {
    let mut sql = SqlError::new(error.sqlstate, error.message);
    sql.detail = error.detail;
    sql.hint = error.hint;
    sql
}
