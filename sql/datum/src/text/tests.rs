use super::*;

fn try_cast(ty: impl Into<ColumnType>, input: &str) -> Result<String> {
    let ty = ty.into();
    let ctx = TypeContext { now: 1_700_000_000_000_000, ..TypeContext::default() };
    parse(&ty, input, &ctx).map(|datum| to_string(&datum, &ty.ty, &ctx))
}

fn cast(ty: impl Into<ColumnType>, input: &str) -> String {
    try_cast(ty, input).unwrap_or_else(|e| format!("{}: {}", e.sqlstate, e.message))
}

#[test]
fn numbers() {
    assert_eq!(cast(SqlType::Int4, " 12 "), "12");
    assert_eq!(cast(SqlType::Int4, "1.5"), "22P02: invalid input syntax for type integer: \"1.5\"");
    assert_eq!(
        cast(SqlType::Int4, "99999999999"),
        "22003: value \"99999999999\" is out of range for type integer"
    );
    assert_eq!(
        cast(SqlType::Int2, "70000"),
        "22003: value \"70000\" is out of range for type smallint"
    );
    assert_eq!(cast(SqlType::Int8, "-9223372036854775808"), "-9223372036854775808");
    assert_eq!(cast(SqlType::Numeric, " 1e-3 "), "0.001");
    assert_eq!(cast(SqlType::Numeric, "1.5e3"), "1500");
    assert_eq!(cast(SqlType::Numeric, ".5"), "0.5");
    assert_eq!(cast(SqlType::Numeric, "-0.00"), "0.00");
    assert_eq!(cast(SqlType::Numeric, "."), "22P02: invalid input syntax for type numeric: \".\"");
    assert_eq!(cast(SqlType::Numeric, "1e200000"), "22003: value overflows numeric format");
    assert_eq!(cast(SqlType::Oid, "-1"), "4294967295");
    assert_eq!(cast(SqlType::Bool, "Yes"), "t");
    assert_eq!(cast(SqlType::Bool, "of"), "f");
    assert_eq!(cast(SqlType::Bool, "o"), "22P02: invalid input syntax for type boolean: \"o\"");
}

#[test]
fn dates_and_times() {
    let date = |input: &str| cast(SqlType::Date, input);
    assert_eq!(date("0044-03-15 BC"), "0044-03-15 BC");
    assert_eq!(date("Jan 8, 1999"), "1999-01-08");
    assert_eq!(date("8-Jan-1999"), "1999-01-08");
    assert_eq!(date("January 8 99 BC"), "0099-01-08 BC");
    assert_eq!(date("1/8/1999"), "1999-01-08");
    assert_eq!(date("1/8/69"), "2069-01-08");
    assert_eq!(date("19990108"), "1999-01-08");
    assert_eq!(date("990108"), "1999-01-08");
    assert_eq!(date("1999.008"), "1999-01-08");
    assert_eq!(date("J2451187"), "1999-01-08");
    assert_eq!(date("1999-Jan-08"), "1999-01-08");
    assert_eq!(date("2024-05-06 10:00:00+02"), "2024-05-06");
    assert_eq!(date("epoch"), "1970-01-01");
    assert_eq!(date("today"), "2023-11-14");
    assert_eq!(date("tomorrow"), "2023-11-15");
    assert_eq!(date("12345-01-01"), "12345-01-01");
    assert_eq!(date("2024-02-30"), "22008: date/time field value out of range: \"2024-02-30\"");
    let swapped = try_cast(SqlType::Date, "13/13/2024").unwrap_err();
    assert_eq!(
        swapped.hint.as_deref(),
        Some("Perhaps you need a different \"datestyle\" setting.")
    );
    assert_eq!(date("xyz"), "22007: invalid input syntax for type date: \"xyz\"");
    assert_eq!(date(""), "22007: invalid input syntax for type date: \"\"");
    assert_eq!(date("9999999-01-01"), "22008: date out of range: \"9999999-01-01\"");

    let ts = |input: &str| cast(SqlType::Timestamp, input);
    assert_eq!(ts("2024-01-01 10:00:00.123456"), "2024-01-01 10:00:00.123456");
    assert_eq!(ts("2024-01-01T10:00"), "2024-01-01 10:00:00");
    assert_eq!(ts("2024-01-01 10:00:00.1234567"), "2024-01-01 10:00:00.123457");
    assert_eq!(ts("2024-01-01 10:00 PM"), "2024-01-01 22:00:00");
    assert_eq!(ts("20240101T101112"), "2024-01-01 10:11:12");
    assert_eq!(ts("2024-01-01 24:00:00"), "2024-01-02 00:00:00");
    assert_eq!(ts("2024-01-01 10:00:00+02"), "2024-01-01 10:00:00");
    assert_eq!(ts("infinity"), "infinity");
    assert_eq!(ts("-infinity"), "-infinity");
    assert_eq!(ts("Wed Dec 17 07:37:16 1997"), "1997-12-17 07:37:16");
    assert_eq!(
        ts("2024-01-01 25:00"),
        "22008: date/time field value out of range: \"2024-01-01 25:00\""
    );
    assert_eq!(ts("10:00"), "22007: invalid input syntax for type timestamp: \"10:00\"");
    assert_eq!(ts("400000-01-01"), "22008: timestamp out of range: \"400000-01-01\"");
    assert_eq!(
        cast(ColumnType::new(SqlType::Timestamp, 3), "2024-01-01 10:00:00.123556"),
        "2024-01-01 10:00:00.124"
    );

    let tz = |input: &str| cast(SqlType::Timestamptz, input);
    assert_eq!(tz("2024-01-01 10:00:00+02"), "2024-01-01 08:00:00+00");
    assert_eq!(tz("2024-07-01 10:00 America/New_York"), "2024-07-01 14:00:00+00");
    assert_eq!(tz("2024-07-01 10:00:00Z"), "2024-07-01 10:00:00+00");
    assert_eq!(tz("2024-07-01 10:00:00-0330"), "2024-07-01 13:30:00+00");
    assert_eq!(tz("2024-07-01 10:00 PST"), "2024-07-01 18:00:00+00");
    assert_eq!(tz("now"), "2023-11-14 22:13:20+00");
    assert_eq!(tz("2024-07-01 10:00 Mars/Base"), "22023: time zone \"mars/base\" not recognized");
    assert_eq!(
        tz("2024-07-01 10:00+99"),
        "22009: time zone displacement out of range: \"2024-07-01 10:00+99\""
    );

    assert_eq!(cast(SqlType::Time, "10:00"), "10:00:00");
    assert_eq!(cast(SqlType::Time, "04:05:06.789 PM"), "16:05:06.789");
    assert_eq!(cast(SqlType::Time, "040506"), "04:05:06");
    assert_eq!(
        cast(SqlType::Timetz, "10:00 America/New_York"),
        "22007: invalid input syntax for type time with time zone: \"10:00 America/New_York\""
    );
    // The zone's rules go on beyond its tables.
    assert_eq!(tz("2441-08-20 13:18 Europe/Berlin"), "2441-08-20 11:18:00+00");
    assert_eq!(cast(SqlType::Timetz, "10:00:00"), "10:00:00+00");
    assert_eq!(cast(SqlType::Timetz, "10:00:00-08:30"), "10:00:00-08:30");
}

#[test]
fn styles_of_dates() {
    use crate::{DateOrder, DateStyle, DateStyleFormat, TimeZone};
    let show = |format, order| {
        let ctx = TypeContext {
            date_style: DateStyle { format, order },
            timezone: TimeZone::parse("America/New_York").unwrap(),
            ..TypeContext::default()
        };
        to_string(&Datum::Timestamptz(1_700_000_000_123_000), &SqlType::Timestamptz, &ctx)
    };
    assert_eq!(show(DateStyleFormat::Iso, DateOrder::Mdy), "2023-11-14 17:13:20.123-05");
    assert_eq!(show(DateStyleFormat::Sql, DateOrder::Dmy), "14/11/2023 17:13:20.123 EST");
    assert_eq!(show(DateStyleFormat::German, DateOrder::Dmy), "14.11.2023 17:13:20.123 EST");
    assert_eq!(show(DateStyleFormat::Postgres, DateOrder::Mdy), "Tue Nov 14 17:13:20.123 2023 EST");
}

#[test]
fn texts_and_bytes() {
    assert_eq!(
        cast(ColumnType::varchar(3), "abcd"),
        "22001: value too long for type character varying(3)"
    );
    assert_eq!(cast(ColumnType::bpchar(5), "ab"), "ab   ");
    assert_eq!(cast(SqlType::Name, &"é".repeat(40)), "é".repeat(31));
    assert_eq!(cast(SqlType::Bytea, "\\xDE AD"), "\\xdead");
    assert_eq!(cast(SqlType::Bytea, "a\\000\\\\"), "\\x61005c");
    assert_eq!(cast(SqlType::Bytea, "\\xg0"), "22023: invalid hexadecimal digit: \"g\"");
    assert_eq!(
        cast(SqlType::Bytea, "\\x0"),
        "22023: invalid hexadecimal data: odd number of digits"
    );
    assert_eq!(cast(SqlType::Bytea, "\\9"), "22P02: invalid input syntax for type bytea");
    assert_eq!(
        cast(SqlType::Uuid, "{A0EEBC99-9C0B4EF8-BB6D6BB9BD380A11}"),
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
    );
    assert_eq!(cast(SqlType::Uuid, "a0"), "22P02: invalid input syntax for type uuid: \"a0\"");
    assert_eq!(cast(SqlType::Json, "{\"a\" : 1}"), "{\"a\" : 1}");
    assert_eq!(cast(SqlType::Json, "{"), "22P02: invalid input syntax for type json");
    assert_eq!(cast(SqlType::Jsonb, "{\"b\":1,\"a\":2}"), "{\"a\": 2, \"b\": 1}");
    assert_eq!(cast(SqlType::Regtype, "int4"), "integer");
    assert_eq!(cast(SqlType::Regtype, "pg_catalog.text[]"), "text[]");
}

#[test]
fn arrays_and_records() {
    let ints = |input: &str| cast(SqlType::array_of(SqlType::Int4), input);
    let texts = |input: &str| cast(SqlType::array_of(SqlType::Text), input);
    assert_eq!(ints("{1,2, 3}"), "{1,2,3}");
    assert_eq!(ints("{{1,2},{3,4}}"), "{{1,2},{3,4}}");
    assert_eq!(ints("[2:3]={1,2}"), "[2:3]={1,2}");
    assert_eq!(ints("{}"), "{}");
    assert_eq!(
        texts(r#"{a, "b c" ,null,"NULL","","x\"y",{}}"#),
        "22P02: malformed array literal: \"{a, \"b c\" ,null,\"NULL\",\"\",\"x\\\"y\",{}}\""
    );
    assert_eq!(
        texts(r#"{a, "b c" ,null,"NULL","","x\"y",b  c }"#),
        r#"{a,"b c",NULL,"NULL","","x\"y","b  c"}"#
    );
    assert_eq!(ints("{1,a}"), "22P02: invalid input syntax for type integer: \"a\"");
    let detail = |input: &str| {
        try_cast(SqlType::array_of(SqlType::Int4), input).unwrap_err().detail.unwrap()
    };
    assert_eq!(detail("1,2"), "Array value must start with \"{\" or dimension information.");
    assert_eq!(detail("{1,2"), "Unexpected end of input.");
    assert_eq!(detail("{1,2}x"), "Junk after closing right brace.");
    assert_eq!(
        detail("{{1,2},{3}}"),
        "Multidimensional arrays must have sub-arrays with matching dimensions."
    );
    let varchars = ColumnType::new(SqlType::array_of(SqlType::Varchar), 4 + 2);
    assert_eq!(cast(varchars, "{abc}"), "22001: value too long for type character varying(2)");

    let ctx = TypeContext::default();
    let record = Datum::record(
        vec![SqlType::Int4, SqlType::Text, SqlType::Text, SqlType::Text],
        vec![Datum::Int4(1), "a \"b\"".into(), Datum::Null, "".into()],
    );
    assert_eq!(to_string(&record, &SqlType::Record, &ctx), r#"(1,"a ""b""",,"")"#);
}
