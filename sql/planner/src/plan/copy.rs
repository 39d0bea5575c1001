//! COPY, both ways.

use super::{Check, Planned};
use catalog::TableDescriptor;
use expr::Expr;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct CopyPlan {
    pub direction: CopyDirection,
    pub target: CopyTarget,
    pub options: CopyOptions,
}

#[derive(Clone, Debug)]
pub enum CopyDirection {
    From(CopyFrom),
    /// A table's rows come as the query `SELECT columns FROM table`.
    To {
        query: Box<Planned>,
    },
}

#[derive(Clone, Debug)]
pub struct CopyFrom {
    pub table: Arc<TableDescriptor>,
    /// Ordinals of the columns in the file, in its order.
    pub columns: Vec<usize>,
    /// One expression per table column over the row read (positions in `columns`): a column or the
    /// default.
    pub project: Vec<Expr>,
    /// Like `WritePlan::generated`.
    pub generated: Vec<(usize, Expr)>,
    pub checks: Vec<Check>,
    /// COPY ... FROM ... WHERE, over the table row.
    pub filter: Option<Expr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyTarget {
    /// STDIN or STDOUT: the client's connection.
    Client,
    File(String),
    Program(String),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CopyFormat {
    #[default]
    Text,
    Csv,
    Binary,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOptions {
    pub format: CopyFormat,
    pub delimiter: u8,
    pub null: String,
    pub header: CopyHeader,
    pub quote: u8,
    pub escape: u8,
    /// `None`: not asked; `Some` empty vector: `FORCE_QUOTE *`. Positions in the column list.
    pub force_quote: Option<Vec<usize>>,
    pub force_not_null: Vec<usize>,
    pub force_null: Vec<usize>,
    pub freeze: bool,
    pub encoding: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CopyHeader {
    #[default]
    None,
    Present,
    /// Names are compared with the columns'.
    Match,
}

impl CopyOptions {
    /// The defaults of a format.
    pub fn of(format: CopyFormat) -> Self {
        let csv = format == CopyFormat::Csv;
        Self {
            format,
            delimiter: if csv { b',' } else { b'\t' },
            null: if csv { String::new() } else { "\\N".to_string() },
            header: CopyHeader::None,
            quote: b'"',
            escape: b'"',
            force_quote: None,
            force_not_null: Vec::new(),
            force_null: Vec::new(),
            freeze: false,
            encoding: None,
        }
    }
}
