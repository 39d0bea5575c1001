//! pg_catalog and information_schema.

use crate::fixture::{Fixture, check, column, index, key, music, table};
use catalog::bootstrap::{BOOTSTRAP_ROLE, SHANGHAI_DATABASE};
use catalog::virtual_tables::{self, FunctionInfo, NodeInfo, RangeInfo, SessionInfo, SettingInfo};
use catalog::{AutoIncrement, NewColumn, NewTable, VirtualContext};
use datum::{Datum, SqlType, TypeContext, text};

fn context() -> VirtualContext {
    let function = FunctionInfo {
        oid: 1397,
        name: "abs".to_owned(),
        arguments: vec![23],
        returns: 23,
        strict: true,
        volatility: b'i',
        ..FunctionInfo::default()
    };
    VirtualContext {
        database: SHANGHAI_DATABASE,
        role: BOOTSTRAP_ROLE,
        search_path: vec!["public".to_owned()],
        functions: vec![function].into(),
        settings: vec![SettingInfo { name: "x".to_owned(), ..SettingInfo::default() }],
        sessions: vec![SessionInfo { database: SHANGHAI_DATABASE, ..SessionInfo::default() }],
        nodes: vec![NodeInfo { id: 1, ..NodeInfo::default() }],
        ranges: vec![RangeInfo { id: 1, voters: vec![1], ..RangeInfo::default() }],
        ..VirtualContext::default()
    }
}

/// `SELECT columns FROM name`, one line per row, those that contain `filter`.
fn select(f: &Fixture, name: &str, columns: &str, filter: &str) -> Vec<String> {
    let (schema, name) = name.split_once('.').unwrap_or(("pg_catalog", name));
    let table = virtual_tables::lookup(schema, name).expect("the relation exists");
    let wanted: Vec<usize> = columns
        .split(' ')
        .map(|c| table.column_index(c).unwrap_or_else(|| panic!("{name} has no {c}")))
        .collect();
    let show = |row: &Vec<Datum>| {
        let cells = wanted.iter().map(|&at| match &row[at] {
            Datum::Null => "-".to_owned(),
            datum => {
                let mut out = String::new();
                text::format(datum, &table.columns[at].ty, &TypeContext::default(), &mut out);
                out
            }
        });
        cells.collect::<Vec<_>>().join(" ")
    };
    let lines = table.rows(&f.catalog, &context()).iter().map(show).collect::<Vec<_>>();
    lines.into_iter().filter(|l| l.contains(filter)).collect()
}

/// The music catalog with a bit of everything more.
fn everything() -> Fixture {
    let mut f = music();
    let serial = NewColumn { auto: Some(AutoIncrement::Serial), ..column("id", SqlType::Int4) };
    let name = NewColumn { not_null: true, ..NewColumn::new("n", datum::ColumnType::varchar(10)) };
    f.run(|c| {
        c.create_table(NewTable {
            uniques: vec![key(&["n"])],
            checks: vec![check("id > 0", &["id"])],
            ..table("t", vec![serial, name])
        })
    });
    let album = f.oid("album");
    f.run(|c| c.create_index(index(album, &["artist_id"])));
    f.run(|c| {
        c.set_comment(catalog::change::relation_comment(album, None), Some("records".to_owned()));
        Ok(())
    });
    f
}

#[test]
fn every_row_fits_its_columns() {
    let f = everything();
    let mut filled = 0;
    for table in virtual_tables::all() {
        let rows = table.rows(&f.catalog, &context());
        filled += usize::from(!rows.is_empty());
        for row in rows {
            assert_eq!(row.len(), table.columns.len(), "{}", table.name);
            for (datum, column) in row.iter().zip(&table.columns) {
                let natural = datum.natural_type();
                let fits = datum.is_null()
                    || natural == column.ty
                    || (natural == SqlType::Text && column.ty.is_text_like())
                    || (natural == SqlType::Oid && column.ty.is_oid_like())
                    || (natural.is_array() && natural.element_type() == column.ty.element_type())
                    || (natural.is_array() && column.ty.is_array());
                assert!(fits, "{}.{}: {datum:?} is no {}", table.name, column.name, column.ty);
            }
        }
    }
    assert!(filled > 40, "only {filled} system relations have rows");
}

#[test]
fn pg_class_lists_relations_of_this_database() {
    let f = everything();
    let lines =
        select(&f, "pg_class", "relname relkind relnamespace relhasindex relchecks", "2200");
    assert_eq!(
        lines,
        [
            "artist r 2200 t 0",
            "artist_pkey i 2200 f 0",
            "album r 2200 t 0",
            "album_pkey i 2200 f 0",
            "album_artist_id_idx i 2200 f 0",
            "t r 2200 t 1",
            "t_n_key i 2200 f 0",
            "t_id_seq S 2200 f 0",
        ]
    );
    assert_eq!(select(&f, "pg_class", "relname oid relkind", "pg_class"), ["pg_class 1259 r"]);
}

#[test]
fn pg_attribute_and_pg_attrdef_describe_columns() {
    let f = everything();
    let t = f.oid("t").to_string();
    let lines = select(
        &f,
        "pg_attribute",
        "attrelid attname attnum atttypid atttypmod attnotnull atthasdef",
        &t,
    );
    assert_eq!(lines[0], format!("{t} id 1 23 -1 t t"));
    assert_eq!(lines[1], format!("{t} n 2 1043 14 t f"));
    let lines = select(&f, "pg_attrdef", "adnum adbin", "");
    assert_eq!(lines, ["1 nextval('t_id_seq'::regclass)"]);
}

#[test]
fn pg_index_and_pg_constraint_describe_keys() {
    let f = everything();
    let lines = select(&f, "pg_index", "indkey indisprimary indisunique indclass indoption", "");
    assert_eq!(lines, ["1 t t 1978 0", "1 t t 1978 0", "3 f f 1978 0", "2 f t 3126 0"]);
    let lines = select(&f, "pg_constraint", "conname contype conkey confkey confdeltype", "");
    assert_eq!(
        lines,
        [
            "artist_pkey p {1} -  ",
            "album_pkey p {1} -  ",
            "album_artist_id_fkey f {3} {1} a",
            "t_n_key u {2} -  ",
            "t_id_check c {1} -  ",
        ]
    );
}

#[test]
fn psql_finds_the_owner_of_a_sequence() {
    let f = everything();
    let sequence = f.oid("t_id_seq").to_string();
    let wanted = "classid objid refclassid refobjid refobjsubid deptype";
    let mut lines = select(&f, "pg_depend", wanted, "");
    lines.retain(|l| l.starts_with(&format!("1259 {sequence} ")));
    assert_eq!(lines, [format!("1259 {sequence} 1259 {} 1 a", f.oid("t"))]);
}

#[test]
fn databases_schemas_and_roles_are_listed() {
    let f = everything();
    let lines = select(&f, "pg_database", "datname datdba encoding datcollate datallowconn", "");
    assert_eq!(lines[3], "shanghai 10 6 C.UTF-8 t");
    let lines = select(&f, "pg_namespace", "nspname", "");
    assert_eq!(lines, ["pg_toast", "pg_catalog", "information_schema", "shanghai", "public"]);
    let lines = select(&f, "pg_roles", "rolname rolsuper rolcanlogin oid rolpassword", "");
    assert_eq!(lines, ["shanghai t t 10 ********"]);
    assert_eq!(select(&f, "pg_description", "objsubid description", "records"), ["0 records"]);
}

#[test]
fn types_have_postgresqls_numbers() {
    let f = Fixture::new();
    let lines = select(&f, "pg_type", "oid typname typlen typtype typarray typelem", "int4 ");
    assert_eq!(lines, ["23 int4 4 b 1007 0", "1007 _int4 -1 b 0 23"]);
    for ty in SqlType::SCALARS {
        let found = virtual_tables::types::by_oid(ty.oid());
        let found = found.unwrap_or_else(|| panic!("{ty} is not in types.txt"));
        assert_eq!(found.name, ty.catalog_name());
        assert_eq!(found.len, ty.typlen(), "typlen of {ty}");
    }
    assert_eq!(catalog::deparse::format_type(1043, Some(14)), "character varying(10)");
    assert_eq!(catalog::deparse::format_type(2277, None), "anyarray");
    assert_eq!(catalog::deparse::format_type(999_999, None), "???");
}

#[test]
fn information_schema_describes_columns_and_constraints() {
    let f = everything();
    let columns = "table_name column_name ordinal_position is_nullable data_type \
                   character_maximum_length column_default udt_name";
    let lines = select(&f, "information_schema.columns", columns, "t ");
    let ours: Vec<&String> = lines.iter().filter(|l| l.starts_with("t ")).collect();
    assert_eq!(
        ours,
        [
            "t id 1 NO integer - nextval('t_id_seq'::regclass) int4",
            "t n 2 NO character varying 10 - varchar"
        ]
    );
    let wanted = "constraint_name unique_constraint_name update_rule delete_rule match_option";
    let lines = select(&f, "information_schema.referential_constraints", wanted, "");
    assert_eq!(lines, ["album_artist_id_fkey artist_pkey NO ACTION NO ACTION NONE"]);
    let wanted = "constraint_name table_name column_name ordinal_position \
                  position_in_unique_constraint";
    let lines = select(&f, "information_schema.key_column_usage", wanted, "album_artist");
    assert_eq!(lines, ["album_artist_id_fkey album artist_id 1 1"]);
    let lines = select(&f, "information_schema.tables", "table_name table_type", "album");
    assert_eq!(lines, ["album BASE TABLE"]);
}

#[test]
fn unqualified_system_names_are_found_first() {
    let f = music();
    let path = ["public".to_owned()];
    let found = f.catalog.resolve(SHANGHAI_DATABASE, &path, None, "pg_class").unwrap();
    assert_eq!((found.oid(), found.relkind()), (1259, b'r'));
    let found = f.catalog.resolve(SHANGHAI_DATABASE, &path, Some("shanghai"), "nodes").unwrap();
    assert_eq!(found.kind(), "view");
    assert!(f.catalog.is_visible(SHANGHAI_DATABASE, &path, f.oid("album")));
    assert!(!f.catalog.is_visible(SHANGHAI_DATABASE, &["s".to_owned()], f.oid("album")));
    let error = f.catalog.expect_relation(SHANGHAI_DATABASE, &path, Some("s"), "t").err().unwrap();
    assert_eq!(
        (error.sqlstate, error.message.as_str()),
        ("42P01", "relation \"s.t\" does not exist")
    );
}
