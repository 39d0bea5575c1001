//! pg_type: the built-in types, from `types.txt`.
//!
//! One line per type: oid name len byval type category preferred elem array input output receive
//! send modin modout align storage collation subscript. The numbers are PostgreSQL's, which
//! drivers know by heart.

use super::row::Row;
use super::{SystemSchema, VirtualContext, VirtualTable};
use crate::Oid;
use crate::bootstrap::BOOTSTRAP_ROLE;
use crate::snapshot::Catalog;
use datum::Datum;
use std::sync::LazyLock;

#[derive(Clone, Copy, Debug)]
pub struct BuiltinType {
    pub oid: Oid,
    pub name: &'static str,
    pub len: i16,
    /// `b` base, `p` pseudo.
    pub kind: u8,
    pub element: Oid,
    pub array: Oid,
    /// Zero or the default collation: pg_attribute.attcollation.
    pub collation: Oid,
    pub by_value: bool,
    pub align: u8,
    pub storage: u8,
    words: [&'static str; 19],
}

static TYPES: LazyLock<Vec<BuiltinType>> =
    LazyLock::new(|| include_str!("types.txt").lines().map(define).collect());

pub fn all() -> &'static [BuiltinType] {
    &TYPES
}

pub fn by_oid(oid: Oid) -> Option<&'static BuiltinType> {
    TYPES.binary_search_by_key(&oid, |t| t.oid).ok().map(|at| &TYPES[at])
}

/// A type by its pg_type name, pseudo types included.
pub fn by_name(name: &str) -> Option<&'static BuiltinType> {
    TYPES.iter().find(|t| t.name == name)
}

fn define(line: &'static str) -> BuiltinType {
    let mut words = [""; 19];
    for (slot, word) in words.iter_mut().zip(line.split(' ')) {
        *slot = word;
    }
    BuiltinType {
        oid: number(words[0]),
        name: words[1],
        len: words[2].parse().expect("typlen is a number"),
        kind: byte(words[4]),
        element: number(words[7]),
        array: number(words[8]),
        collation: number(words[17]),
        by_value: words[3] == "t",
        align: byte(words[15]),
        storage: byte(words[16]),
        words,
    }
}

fn number(word: &str) -> Oid {
    word.parse().expect("types.txt has numbers where OIDs belong")
}

fn byte(word: &str) -> u8 {
    word.as_bytes().first().copied().unwrap_or_default()
}

pub(super) fn rows(
    table: &VirtualTable,
    _catalog: &Catalog,
    _context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let row = |ty: &BuiltinType| {
        let w = &ty.words;
        Row::new(table)
            .put("oid", ty.oid)
            .put("typname", ty.name)
            .put("typnamespace", SystemSchema::PgCatalog.oid())
            .put("typowner", BOOTSTRAP_ROLE)
            .put("typlen", ty.len)
            .put("typbyval", ty.by_value)
            .put("typtype", ty.kind)
            .put("typcategory", byte(w[5]))
            .put("typispreferred", w[6] == "t")
            .put("typisdefined", true)
            .put("typdelim", b',')
            .put("typrelid", 0u32)
            .put("typsubscript", number(w[18]))
            .put("typelem", ty.element)
            .put("typarray", ty.array)
            .put("typinput", number(w[9]))
            .put("typoutput", number(w[10]))
            .put("typreceive", number(w[11]))
            .put("typsend", number(w[12]))
            .put("typmodin", number(w[13]))
            .put("typmodout", number(w[14]))
            .put("typanalyze", 0u32)
            .put("typalign", ty.align)
            .put("typstorage", ty.storage)
            .put("typnotnull", false)
            .put("typbasetype", 0u32)
            .put("typtypmod", -1i32)
            .put("typndims", 0i32)
            .put("typcollation", ty.collation)
            .done()
    };
    TYPES.iter().map(row).collect()
}
