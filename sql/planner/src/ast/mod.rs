//! The syntax tree: what was written, with the position of everything an error may point at.
//!
//! `pos` is a byte offset into the statement's own text.

mod ddl;
mod expr;
mod query;
mod statement;

pub use ddl::*;
pub use expr::*;
pub use query::*;
pub use statement::*;

pub type Pos = u32;

#[derive(Clone, Debug, PartialEq)]
pub struct Ident {
    pub name: String,
    pub pos: Pos,
}

/// `name`, `schema.name` or `database.schema.name`.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectName {
    pub parts: Vec<Ident>,
}

impl ObjectName {
    pub fn pos(&self) -> Pos {
        self.parts.first().map_or(0, |p| p.pos)
    }

    /// The last part.
    pub fn name(&self) -> &str {
        self.parts.last().map_or("", |p| p.name.as_str())
    }

    pub fn schema(&self) -> Option<&str> {
        let n = self.parts.len();
        (n >= 2).then(|| self.parts[n - 2].name.as_str())
    }

    pub fn database(&self) -> Option<&str> {
        let n = self.parts.len();
        (n >= 3).then(|| self.parts[n - 3].name.as_str())
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, part) in self.parts.iter().enumerate() {
            if i > 0 {
                f.write_str(".")?;
            }
            f.write_str(&part.name)?;
        }
        Ok(())
    }
}

/// A type as written, with the keyword spellings already reduced to a catalog name
/// (`timestamp with time zone` is `timestamptz`).
#[derive(Clone, Debug, PartialEq)]
pub struct TypeName {
    pub name: ObjectName,
    pub modifiers: Vec<i64>,
    /// Array brackets, however many dimensions were written.
    pub array: bool,
    /// `interval day to second`, as PostgreSQL's field mask.
    pub interval_fields: Option<u32>,
    pub set_of: bool,
    pub pos: Pos,
}
