//! What comes with the server: pg_proc, pg_am, pg_opclass, pg_collation, pg_language, pg_aggregate.

use super::relations::vector;
use super::row::Row;
use super::{FunctionInfo, Rows, SystemSchema, VirtualContext, VirtualTable};
use crate::Oid;
use crate::bootstrap::BOOTSTRAP_ROLE;
use crate::snapshot::Catalog;
use datum::{Datum, SqlType};

/// OID of the access method that every index has.
pub(super) const BTREE: Oid = 403;
const INTERNAL_LANGUAGE: Oid = 12;

/// (OID, name, family, input type OID, default) of btree operator classes; PostgreSQL's numbers.
const BTREE_CLASSES: [(Oid, &str, Oid, Oid, bool); 24] = [
    (1978, "int4_ops", 1976, 23, true),
    (1979, "int2_ops", 1976, 21, true),
    (1981, "oid_ops", 1989, 26, true),
    (3122, "date_ops", 434, 1082, true),
    (3123, "float8_ops", 1970, 701, true),
    (3124, "int8_ops", 1976, 20, true),
    (3125, "numeric_ops", 1988, 1700, true),
    (3126, "text_ops", 1994, 25, true),
    (3127, "timestamptz_ops", 434, 1184, true),
    (3128, "timestamp_ops", 434, 1114, true),
    (10000, "array_ops", 397, 2277, true),
    (10003, "bool_ops", 424, 16, true),
    (10004, "bpchar_ops", 426, 1042, true),
    (10006, "bytea_ops", 428, 17, true),
    (10007, "char_ops", 429, 18, true),
    (10012, "float4_ops", 1970, 700, true),
    (10022, "interval_ops", 1982, 1186, true),
    (10028, "name_ops", 1994, 19, true),
    (10034, "record_ops", 2994, 2249, true),
    (10038, "time_ops", 1996, 1083, true),
    (10041, "timetz_ops", 2000, 1266, true),
    (10044, "varchar_ops", 1994, 25, false),
    (10065, "uuid_ops", 2968, 2950, true),
    (10088, "jsonb_ops", 4033, 3802, true),
];

/// (OID, name, provider, collate). Everything sorts by bytes; these are the names for it.
const COLLATIONS: [(Oid, &str, u8, Option<&str>); 4] = [
    (100, "default", b'd', None),
    (950, "C", b'c', Some("C")),
    (951, "POSIX", b'c', Some("POSIX")),
    (12_547, "ucs_basic", b'c', Some("C")),
];

pub(super) fn rows_of(name: &str) -> Option<Rows> {
    Some(match name {
        "pg_proc" => pg_proc,
        "pg_aggregate" => pg_aggregate,
        "pg_am" => pg_am,
        "pg_opclass" => pg_opclass,
        "pg_collation" => pg_collation,
        "pg_language" => pg_language,
        _ => return None,
    })
}

/// The operator class that an index column of this type has.
pub(super) fn btree_class(ty: &SqlType) -> Oid {
    let wanted = match ty {
        SqlType::Array(_) => 2277,
        SqlType::Varchar => SqlType::Text.oid(),
        other => other.oid(),
    };
    let found = BTREE_CLASSES.iter().find(|(.., input, default)| *input == wanted && *default);
    found.map_or(0, |(oid, ..)| *oid)
}

fn pg_proc(table: &VirtualTable, _catalog: &Catalog, context: &VirtualContext) -> Vec<Vec<Datum>> {
    let row = |f: &FunctionInfo| {
        let arguments = f.arguments.iter().map(|oid| Datum::Oid(*oid)).collect();
        let letter = |byte: u8, otherwise: u8| if byte == 0 { otherwise } else { byte };
        Row::new(table)
            .put("oid", f.oid)
            .put("proname", &f.name)
            .put("pronamespace", SystemSchema::PgCatalog.oid())
            .put("proowner", BOOTSTRAP_ROLE)
            .put("prolang", INTERNAL_LANGUAGE)
            .put("procost", 1f32)
            .put("prorows", if f.returns_set { 1000f32 } else { 0f32 })
            .put("provariadic", f.variadic)
            .put("prosupport", 0u32)
            .put("prokind", letter(f.kind, b'f'))
            .put("prosecdef", false)
            .put("proleakproof", false)
            .put("proisstrict", f.strict)
            .put("proretset", f.returns_set)
            .put("provolatile", letter(f.volatility, b'v'))
            .put("proparallel", b's')
            .put("pronargs", f.arguments.len() as i16)
            .put("pronargdefaults", 0i16)
            .put("prorettype", f.returns)
            .put("proargtypes", vector(SqlType::Oid, arguments))
            .put("prosrc", &f.name)
            .done()
    };
    context.functions.iter().chain(&array_functions()).map(row).collect()
}

/// What pg_type names for arrays: Npgsql tells by `array_recv` that a type is one.
fn array_functions() -> [FunctionInfo; 4] {
    const ANYARRAY: Oid = 2277;
    const CSTRING: Oid = 2275;
    const INTERNAL: Oid = 2281;
    let function = |oid: Oid, name: &str, arguments: &[Oid], returns: Oid| FunctionInfo {
        oid,
        name: name.to_owned(),
        kind: b'f',
        arguments: arguments.to_vec(),
        returns,
        strict: true,
        volatility: b's',
        ..FunctionInfo::default()
    };
    let element = [SqlType::Oid.oid(), SqlType::Int4.oid()];
    [
        function(750, "array_in", &[CSTRING, element[0], element[1]], ANYARRAY),
        function(751, "array_out", &[ANYARRAY], CSTRING),
        function(2400, "array_recv", &[INTERNAL, element[0], element[1]], ANYARRAY),
        function(2401, "array_send", &[ANYARRAY], SqlType::Bytea.oid()),
    ]
}

fn pg_aggregate(
    table: &VirtualTable,
    _catalog: &Catalog,
    context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let rows = context.functions.iter().filter(|f| f.kind == b'a').map(|f| {
        Row::new(table)
            .put("aggfnoid", f.oid)
            .put("aggkind", b'n')
            .put("aggnumdirectargs", 0i16)
            .done()
    });
    rows.collect()
}

fn pg_am(table: &VirtualTable, _catalog: &Catalog, _context: &VirtualContext) -> Vec<Vec<Datum>> {
    let row = |(oid, name, kind): (Oid, &str, u8)| {
        Row::new(table)
            .put("oid", oid)
            .put("amname", name)
            .put("amhandler", 0u32)
            .put("amtype", kind)
            .done()
    };
    [(2, "heap", b't'), (BTREE, "btree", b'i')].into_iter().map(row).collect()
}

fn pg_opclass(
    table: &VirtualTable,
    _catalog: &Catalog,
    _context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let row = |(oid, name, family, input, default): &(Oid, &str, Oid, Oid, bool)| {
        Row::new(table)
            .put("oid", *oid)
            .put("opcmethod", BTREE)
            .put("opcname", *name)
            .put("opcnamespace", SystemSchema::PgCatalog.oid())
            .put("opcowner", BOOTSTRAP_ROLE)
            .put("opcfamily", *family)
            .put("opcintype", *input)
            .put("opcdefault", *default)
            .put("opckeytype", 0u32)
            .done()
    };
    BTREE_CLASSES.iter().map(row).collect()
}

fn pg_collation(
    table: &VirtualTable,
    _catalog: &Catalog,
    _context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let row = |(oid, name, provider, locale): &(Oid, &str, u8, Option<&str>)| {
        Row::new(table)
            .put("oid", *oid)
            .put("collname", *name)
            .put("collnamespace", SystemSchema::PgCatalog.oid())
            .put("collowner", BOOTSTRAP_ROLE)
            .put("collprovider", *provider)
            .put("collisdeterministic", true)
            .put("collencoding", -1i32)
            .put("collcollate", *locale)
            .put("collctype", *locale)
            .done()
    };
    COLLATIONS.iter().map(row).collect()
}

fn pg_language(
    table: &VirtualTable,
    _catalog: &Catalog,
    _context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let row = |(oid, name, trusted): (Oid, &str, bool)| {
        Row::new(table)
            .put("oid", oid)
            .put("lanname", name)
            .put("lanowner", BOOTSTRAP_ROLE)
            .put("lanispl", false)
            .put("lanpltrusted", trusted)
            .all(&["lanplcallfoid", "laninline", "lanvalidator"], 0u32)
            .done()
    };
    [(INTERNAL_LANGUAGE, "internal", false), (14, "sql", true)].into_iter().map(row).collect()
}
