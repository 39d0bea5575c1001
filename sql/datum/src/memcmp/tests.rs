use super::*;
use crate::text::push_hex;
use crate::{TypeContext, compare_as, text};

fn parse(ty: &ColumnType, value: &str) -> Datum {
    match value {
        "NULL" => Datum::Null,
        value => text::parse(ty, value, &TypeContext::default()).expect(value),
    }
}

fn key(ty: &SqlType, datum: &Datum, desc: bool, nulls_first: bool) -> Vec<u8> {
    let mut out = Vec::new();
    encode(datum, ty, desc, nulls_first, &mut out).expect("an indexable value");
    out
}

/// Values in ascending order, some equal: bytes must order as the values do, both ways, and come back equal.
#[test]
fn bytes_order_as_the_values_do() {
    let lists: &[(SqlType, &[&str])] = &[
        (SqlType::Bool, &["f", "t"]),
        (SqlType::Int2, &["-32768", "-1", "0", "1", "32767"]),
        (SqlType::Int4, &["-2147483648", "-256", "-1", "0", "255", "256", "2147483647"]),
        (SqlType::Int8, &["-9223372036854775808", "-1", "0", "9223372036854775807"]),
        (
            SqlType::Float4,
            &["-Infinity", "-1.5", "-1e-40", "-0", "0", "1e-40", "2", "Infinity", "NaN"],
        ),
        (
            SqlType::Float8,
            &["-Infinity", "-1e300", "-1", "-0", "0", "5e-324", "1", "Infinity", "NaN"],
        ),
        (
            SqlType::Numeric,
            &[
                "-Infinity",
                "-1e100",
                "-100.5",
                "-100",
                "-99.99",
                "-10",
                "-1.23",
                "-1.2",
                "-0.001",
                "-1e-300",
                "0",
                "0.00",
                "1e-300",
                "0.001",
                "0.0011",
                "0.01",
                "0.99",
                "1",
                "1.0",
                "1.05",
                "1.5",
                "9",
                "9.99",
                "10",
                "10.01",
                "99",
                "100",
                "12345678901234567",
                "12345678901234567.5",
                "123456789012345678",
                "1234567890123456789012345678901234567890",
                "1e5000",
                "Infinity",
                "NaN",
            ],
        ),
        (SqlType::Text, &["", "A", "B", "a", "aa", "ab", "b", "é"]),
        (SqlType::Bpchar, &["", "   ", "a", "a  ", "ab"]),
        (
            SqlType::Bytea,
            &["\\x", "\\x00", "\\x0000", "\\x0001", "\\x00ff", "\\x01", "\\xff", "\\xff00"],
        ),
        (
            SqlType::Date,
            &["-infinity", "0044-03-15 BC", "1969-12-31", "1970-01-01", "2024-01-01", "infinity"],
        ),
        (SqlType::Time, &["00:00:00", "00:00:00.000001", "23:59:59", "24:00:00"]),
        (SqlType::Timetz, &["10:00:00+02", "10:00:00+01", "09:00:00+00", "10:00:00+00"]),
        (SqlType::Timestamp, &["-infinity", "1969-12-31 23:59:59", "1970-01-01", "infinity"]),
        (SqlType::Timestamptz, &["-infinity", "1970-01-01 00:00:00+01", "1970-01-01", "infinity"]),
        (
            SqlType::Interval,
            &[
                "-1 mons",
                "-1 days",
                "-00:00:01",
                "0",
                "23:59:59",
                "1 day",
                "24 hours",
                "29 days",
                "1 mon",
                "30 days",
                "31 days",
                "1 year",
            ],
        ),
        (
            SqlType::Uuid,
            &["00000000-0000-0000-0000-000000000000", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
        ),
        (SqlType::Oid, &["0", "1", "2147483648", "4294967295"]),
        (
            SqlType::array_of(SqlType::Int4),
            &["{}", "{1}", "{1,1}", "{1,2}", "{{1,2}}", "{1,NULL}", "{2}", "{NULL}"],
        ),
        (SqlType::array_of(SqlType::Text), &["{\"\"}", "{a}", "{a,b}", "{aa}"]),
    ];
    for (ty, values) in lists {
        let column = ColumnType::plain(ty.clone());
        let mut values: Vec<&str> = values.to_vec();
        values.push("NULL");
        let datums: Vec<Datum> = values.iter().map(|v| parse(&column, v)).collect();
        for (a, x) in datums.iter().zip(&values) {
            for (desc, nulls_first) in [(false, false), (false, true), (true, true), (true, false)]
            {
                let bytes = key(ty, a, desc, nulls_first);
                let mut rest = &bytes[..];
                let back = decode(&column, desc, nulls_first, &mut rest).expect(x);
                assert!(rest.is_empty(), "{ty} {x}");
                assert_eq!(compare_as(ty, a, &back), std::cmp::Ordering::Equal, "{ty} {x}");
                for (b, y) in datums.iter().zip(&values) {
                    let other = key(ty, b, desc, nulls_first);
                    let mut want = compare_as(ty, a, b);
                    let null_involved = a.is_null() != b.is_null();
                    if if null_involved { nulls_first } else { desc } {
                        want = want.reverse();
                    }
                    assert_eq!(
                        bytes.cmp(&other),
                        want,
                        "{ty} {x} {y} desc {desc} first {nulls_first}"
                    );
                    assert!(bytes == other || !other.starts_with(&bytes), "{ty} {x} {y}: a prefix");
                }
            }
        }
        // The lists above are written in order themselves.
        assert!(datums.windows(2).all(|w| compare_as(ty, &w[0], &w[1]).is_le()), "{ty}");
    }
}

/// These bytes are in keys on disks.
#[test]
fn key_bytes_are_golden() {
    let hex = |ty: SqlType, value: &str, desc: bool| {
        let datum = parse(&ColumnType::plain(ty.clone()), value);
        let mut out = String::new();
        push_hex(&key(&ty, &datum, desc, false), &mut out);
        out
    };
    assert_eq!(hex(SqlType::Int4, "1", false), "0180000001");
    assert_eq!(hex(SqlType::Int4, "1", true), "017ffffffe");
    assert_eq!(hex(SqlType::Int4, "NULL", false), "02");
    assert_eq!(hex(SqlType::Int8, "-1", false), "017fffffffffffffff");
    assert_eq!(hex(SqlType::Text, "ab", false), "0161620001");
    assert_eq!(hex(SqlType::Bytea, "\\x00", false), "0100ff0001");
    assert_eq!(hex(SqlType::Numeric, "1.50", false), "0104800000 1000".replace(' ', ""));
    assert_eq!(hex(SqlType::Numeric, "-123.45", false), "0102 7ffffd f2dcccff".replace(' ', ""));
    assert_eq!(hex(SqlType::Numeric, "0.00", false), "0103");
    assert_eq!(hex(SqlType::Float8, "-1", false), "01400fffffffffffff");
    assert_eq!(hex(SqlType::Date, "1970-01-01", false), "0180000000");
}

#[test]
fn modifiers_restore_what_keys_drop() {
    let back = |ty: ColumnType, value: &str| {
        let bytes = key(&ty.ty, &parse(&ty, value), false, false);
        let datum = decode(&ty, false, false, &mut &bytes[..]).unwrap();
        text::to_string(&datum, &ty.ty, &TypeContext::default())
    };
    assert_eq!(back(ColumnType::numeric(12, 2), "10.5"), "10.50");
    assert_eq!(back(ColumnType::plain(SqlType::Numeric), "10.50"), "10.5");
    assert_eq!(back(ColumnType::bpchar(4), "ab"), "ab  ");
    assert!(is_lossless(&ColumnType::numeric(12, 2)));
    assert!(!is_lossless(&ColumnType::plain(SqlType::Numeric)));
}

#[test]
fn damaged_keys_are_errors_not_panics() {
    for ty in SqlType::SCALARS {
        for length in 0..24 {
            for fill in [0u8, 1, 2, 4, 0x7f, 0xff] {
                let mut bytes = vec![VALUE];
                bytes.resize(length + 1, fill);
                let _ = decode(&ColumnType::plain(ty.clone()), false, false, &mut &bytes[..]);
                let _ = decode(
                    &ColumnType::plain(SqlType::array_of(ty.clone())),
                    true,
                    false,
                    &mut &bytes[..],
                );
            }
        }
    }
}
