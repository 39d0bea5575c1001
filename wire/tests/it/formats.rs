//! Values through a driver: parameters and results in binary form, and the same as text.

use crate::harness::start;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::types::{FromSql, ToSql};

/// Sends `value` as a binary parameter, takes it back in binary form, and compares its text with what
/// the server prints for `literal`.
async fn round_trip<T>(client: &tokio_postgres::Client, ty: &str, value: T, literal: &str)
where
    T: ToSql + Sync + PartialEq + std::fmt::Debug + for<'a> FromSql<'a>,
{
    let statement = client.prepare(&format!("select $1::{ty}")).await.expect(ty);
    let row = client.query_one(&statement, &[&value]).await.expect(ty);
    assert_eq!(row.get::<_, T>(0), value, "{ty}");
    let row = client.query_one(&format!("select {literal}::{ty}"), &[]).await.expect(literal);
    assert_eq!(row.get::<_, T>(0), value, "{literal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_parameters_come_back_as_they_were() {
    let server = start().await;
    let client = server.client().await;
    round_trip(&client, "bool", true, "'t'").await;
    round_trip(&client, "int2", i16::MIN, "'-32768'").await;
    round_trip(&client, "int4", i32::MAX, "2147483647").await;
    round_trip(&client, "int8", i64::MIN, "'-9223372036854775808'").await;
    round_trip(&client, "float4", 1.5f32, "1.5").await;
    round_trip(&client, "float8", -1e300f64, "'-1e300'").await;
    round_trip(&client, "text", "käse 🧀".to_owned(), "'käse 🧀'").await;
    round_trip(&client, "bytea", vec![0u8, 255, 92], r"'\x00ff5c'").await;
    round_trip(&client, "int4[]", vec![Some(1), None, Some(-3)], "'{1,NULL,-3}'").await;
    round_trip(&client, "text[]", vec!["a b".to_owned(), String::new()], r#"'{"a b",""}'"#).await;
    round_trip(&client, "int8", None::<i64>, "null").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_results_are_what_psql_prints() {
    let server = start().await;
    let client = server.client().await;
    for (sql, expected) in [
        ("select -9223372036854775808::int8", None),
        ("select '-9223372036854775808'::int8", Some("-9223372036854775808")),
        ("select (-7)::int2", Some("-7")),
        ("select 0", Some("0")),
        ("select false", Some("f")),
        ("select 1.50::numeric(6,2)", Some("1.50")),
        ("select timestamp '2026-11-23 10:20:30.5'", Some("2026-11-23 10:20:30.5")),
        ("select interval '1 day 02:03:04'", Some("1 day 02:03:04")),
        (r"select '\x00ff'::bytea", Some(r"\x00ff")),
        ("select 'pg_class'::regclass", Some("pg_class")),
        ("select 'int4'::regtype", Some("integer")),
    ] {
        let Some(expected) = expected else {
            let error = client.simple_query(sql).await.expect_err(sql);
            assert_eq!(error.code().map(|code| code.code()), Some("22003"));
            continue;
        };
        let answers = client.simple_query(sql).await.expect(sql);
        let row = answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        assert_eq!(row, Some(expected), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_binary_value_names_its_parameter() {
    let server = start().await;
    let mut raw = server.raw().await;
    let parse = crate::harness::parse("s", "select $1::int4, $2::int4");
    raw.ask(&[parse, crate::harness::sync()].concat()).await;
    // Both binary; the second has five bytes.
    let bind = crate::harness::message(
        b'B',
        &[b"\0s\0\0\x01\0\x01\0\x02\0\0\0\x04\0\0\0\x07\0\0\0\x05abcde\0\0"],
    );
    let answers = raw.ask(&[bind, crate::harness::sync()].concat()).await;
    assert_eq!(answers[0].error(), ("ERROR".into(), "22P03".into()));
    assert_eq!(answers[0].field(b'M'), "incorrect binary data format in bind parameter 2");
}
