//! Golden scripts for keys and rows. The dialect:
//!
//! ```text
//! table a=int4 b=text ...                     a fresh table, number 6.100
//! key a b                                     its primary key
//! index b a/desc [unique] [nulls_not_distinct]
//! add name=type [missing=text]    drop name   columns come and go
//! insert text ...                             the keys and values that a row becomes
//! read [columns]                              every row inserted so far, by today's columns
//! span index equal... [from=text] [to=text] [above=text] [below=text]
//! ```

use catalog::keys::{IndexKeys, RowKeys};
use catalog::rows::{RowDecoder, RowEncoder};
use catalog::{
    ColumnDescriptor, ColumnId, IndexColumn, IndexDescriptor, IndexState, TableDescriptor,
};
use core_domain::{Key, TableId};
use datum::{ColumnType, Datum, SqlType, TypeContext, text};
use goldenscript::{Command, Context};
use std::error::Error;
use std::ops::Bound;

#[test]
fn keys() {
    goldenscript::run(&mut Table::default(), "tests/scripts/keys").expect("the script passes");
}

#[test]
fn rows() {
    goldenscript::run(&mut Table::default(), "tests/scripts/rows").expect("the script passes");
}

#[derive(Default)]
struct Table {
    descriptor: Option<TableDescriptor>,
    values: Vec<core_domain::Value>,
}

type Answer = Result<String, Box<dyn Error>>;

impl goldenscript::Runner for Table {
    type Command = Command;

    fn run(&mut self, command: &Command, _context: &Context) -> Answer {
        let mut args = command.consume_args();
        let mut words = Vec::new();
        let mut keyed = Vec::new();
        while let Some(word) = args.next_pos() {
            words.push(word.to_owned());
        }
        while let Some((key, value)) = args.next_key() {
            keyed.push((key.to_owned(), value.to_owned()));
        }
        let named = |name: &str| keyed.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str());
        match command.name.as_str() {
            "table" => self.table(&keyed),
            "key" => {
                let index = self.make_index(&words, 1)?;
                let index = IndexDescriptor { primary: true, unique: true, ..index };
                self.descriptor_mut()?.indexes.push(index);
                Ok(String::new())
            }
            "index" => self.index(&words),
            "add" => self.add(&keyed[0], named("missing")),
            "drop" => {
                let table = self.descriptor_mut()?;
                table.columns.retain(|c| c.name != words[0]);
                Ok(String::new())
            }
            "insert" => self.insert(&words),
            "read" => self.read(&words),
            "span" => {
                let bound = |closed: &str, open: &str| match (named(closed), named(open)) {
                    (Some(value), _) => Bound::Included(value.to_owned()),
                    (None, Some(value)) => Bound::Excluded(value.to_owned()),
                    (None, None) => Bound::Unbounded,
                };
                let range = (bound("from", "above"), bound("to", "below"));
                self.span(&words, !keyed.is_empty(), range)
            }
            other => Err(format!("unknown command {other}").into()),
        }
    }
}

impl Table {
    fn descriptor(&self) -> Result<&TableDescriptor, Box<dyn Error>> {
        self.descriptor.as_ref().ok_or_else(|| "no table yet".into())
    }

    fn descriptor_mut(&mut self) -> Result<&mut TableDescriptor, Box<dyn Error>> {
        self.descriptor.as_mut().ok_or_else(|| "no table yet".into())
    }

    fn table(&mut self, columns: &[(String, String)]) -> Answer {
        self.values.clear();
        self.descriptor = Some(TableDescriptor {
            oid: 16384,
            database: 6,
            schema: 2200,
            name: "t".to_owned(),
            owner: 10,
            id: TableId::new(6, 100),
            columns: Vec::new(),
            next_column: ColumnId(1),
            next_index: 2,
            indexes: Vec::new(),
            constraints: Vec::new(),
            options: Vec::new(),
            version: 1,
        });
        for column in columns {
            self.add(column, None)?;
        }
        Ok(String::new())
    }

    fn add(&mut self, (name, ty): &(String, String), missing: Option<&str>) -> Answer {
        let ty = ColumnType::plain(SqlType::from_name(ty).ok_or("unknown type")?);
        let missing = match missing {
            Some(value) => {
                let mut bytes = vec![1];
                datum::codec::write_datum(&parse(value, &ty)?, &mut bytes);
                Some(bytes)
            }
            None => None,
        };
        let table = self.descriptor_mut()?;
        let id = table.next_column;
        table.next_column = ColumnId(id.0 + 1);
        table.columns.push(ColumnDescriptor {
            id,
            name: name.to_owned(),
            ty,
            not_null: false,
            default: None,
            missing,
            generated: None,
            identity: None,
            default_sequences: Vec::new(),
            collation: None,
        });
        Ok(String::new())
    }

    fn make_index(&self, columns: &[String], id: u32) -> Result<IndexDescriptor, Box<dyn Error>> {
        let table = self.descriptor()?;
        let mut parts = Vec::new();
        for part in
            columns.iter().filter(|c| !matches!(c.as_str(), "unique" | "nulls_not_distinct"))
        {
            let (name, direction) = part.split_once('/').unwrap_or((part, "asc"));
            let (_, column) = table.column_named(name).ok_or("no such column")?;
            let descending = direction == "desc";
            parts.push(IndexColumn { column: column.id, descending, nulls_first: descending });
        }
        Ok(IndexDescriptor {
            oid: 17000 + id,
            id,
            name: format!("i{id}"),
            unique: false,
            primary: false,
            nulls_not_distinct: false,
            columns: parts,
            include: Vec::new(),
            predicate: None,
            method: "btree".to_owned(),
            state: IndexState::Public,
        })
    }

    fn index(&mut self, words: &[String]) -> Answer {
        let id = self.descriptor()?.next_index;
        let index = IndexDescriptor {
            unique: words.iter().any(|w| w == "unique"),
            nulls_not_distinct: words.iter().any(|w| w == "nulls_not_distinct"),
            ..self.make_index(words, id)?
        };
        let table = self.descriptor_mut()?;
        table.next_index += 1;
        table.indexes.push(index);
        Ok(String::new())
    }

    fn insert(&mut self, words: &[String]) -> Answer {
        let table = self.descriptor()?;
        let row: Result<Vec<Datum>, _> =
            words.iter().zip(&table.columns).map(|(w, c)| parse(w, &c.ty)).collect();
        let row = row?;
        let keys = RowKeys::new(table);
        let number = self.values.len() as i64 + 1;
        let key = if keys.is_hidden() { keys.hidden(number) } else { keys.of_row(&row)? };
        let value = RowEncoder::new(table).encode(&row);
        let mut out = format!("row   {} = {}\n", hex(key.as_slice()), hex(&value));
        for index in table.secondary_indexes() {
            let keys = IndexKeys::new(table, index);
            let entry = keys.entry(&row, &key)?;
            let found = keys.row_key(&entry.key, &entry.value)?;
            assert_eq!(found, key, "an entry leads back to its row");
            out.push_str(&format!(
                "{}    {} = {}{}\n",
                index.name,
                hex(entry.key.as_slice()),
                hex(&entry.value),
                if entry.exclusive { " exclusive" } else { "" }
            ));
        }
        self.values.push(value);
        Ok(out)
    }

    fn read(&mut self, words: &[String]) -> Answer {
        let table = self.descriptor()?;
        let wanted: Vec<usize> = match words {
            [] => (0..table.columns.len()).collect(),
            words => words.iter().filter_map(|w| Some(table.column_named(w)?.0)).collect(),
        };
        let decoder = RowDecoder::new(table, wanted.iter().copied());
        let mut out = String::new();
        for value in &self.values {
            for (datum, at) in decoder.decode(value)?.iter().zip(&wanted) {
                let column = &table.columns[*at];
                out.push_str(&format!("{}={} ", column.name, show(datum, &column.ty.ty)));
            }
            out.push('\n');
        }
        Ok(out)
    }

    fn span(
        &mut self,
        words: &[String],
        has_range: bool,
        range: (Bound<String>, Bound<String>),
    ) -> Answer {
        let table = self.descriptor()?;
        let id: u32 = words[0].parse()?;
        let index = table.index_by_id(id).ok_or("no such index")?;
        let keys = IndexKeys::new(table, index);
        let types: Vec<ColumnType> =
            keys.ordinals().map(|at| table.columns[at].ty.clone()).collect();
        let equal: Result<Vec<Datum>, _> =
            words[1..].iter().zip(&types).map(|(w, ty)| parse(w, ty)).collect();
        let equal = equal?;
        let span = if has_range {
            let ty = &types[equal.len()];
            let read = |bound: Bound<String>| -> Result<Bound<Datum>, Box<dyn Error>> {
                Ok(match bound {
                    Bound::Included(value) => Bound::Included(parse(&value, ty)?),
                    Bound::Excluded(value) => Bound::Excluded(parse(&value, ty)?),
                    Bound::Unbounded => Bound::Unbounded,
                })
            };
            let (lower, upper) = (read(range.0)?, read(range.1)?);
            keys.span(&equal, Some((lower.as_ref(), upper.as_ref())))?
        } else {
            keys.span(&equal, None)?
        };
        let tail = |key: &Key| hex(&key.as_slice()[13.min(key.len())..]);
        Ok(format!("{} .. {}", tail(&span.start), tail(&span.end)))
    }
}

fn parse(word: &str, ty: &ColumnType) -> Result<Datum, Box<dyn Error>> {
    match word {
        "NULL" => Ok(Datum::Null),
        word => text::parse(ty, word, &TypeContext::default()).map_err(|e| e.to_string().into()),
    }
}

fn show(datum: &Datum, ty: &SqlType) -> String {
    let mut out = String::new();
    match datum {
        Datum::Null => out.push_str("NULL"),
        datum => text::format(datum, ty, &TypeContext::default(), &mut out),
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
