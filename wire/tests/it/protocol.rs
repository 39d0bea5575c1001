//! Conversations, message by message: what a driver relies on beyond SQL.

use crate::harness::{bind, execute, message, parse, query, start, sync, tags};

#[tokio::test(flavor = "multi_thread")]
async fn simple_query_answers_each_statement_and_one_ready() {
    let server = start().await;
    let mut raw = server.raw().await;
    assert_eq!(tags(&raw.ask(&query("select 1; select 2")).await), "TDCTDCZ");
    assert_eq!(tags(&raw.ask(&query("")).await), "IZ");
    assert_eq!(tags(&raw.ask(&query(" ; ")).await), "IZ");
    let answers = raw.ask(&query("select 1; select 1/0; select 2")).await;
    assert_eq!(tags(answers[..3].as_ref()), "TDC");
    let error = answers.iter().find(|answer| answer.tag == b'E').expect("division by zero");
    assert_eq!(error.error(), ("ERROR".into(), "22012".into()));
    assert_eq!(answers.last().map(|ready| ready.body.clone()), Some(b"I".to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_for_query_tells_the_transactions_state() {
    let server = start().await;
    let mut raw = server.raw().await;
    for (sql, state) in [
        ("begin", b"T"),
        ("select 1", b"T"),
        ("select 1/0", b"E"),
        ("select 1", b"E"),
        ("rollback", b"I"),
    ] {
        let answers = raw.ask(&query(sql)).await;
        assert_eq!(answers.last().expect("ready").body, state, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_error_a_pipeline_is_skipped_up_to_sync() {
    let server = start().await;
    let mut raw = server.raw().await;
    let pipeline = [
        parse("", "select 1"),
        bind("", ""),
        execute("", 0),
        bind("", "no such statement"),
        execute("", 0),
        parse("", "select 2"),
        sync(),
        parse("", "select 3"),
        bind("", ""),
        execute("", 0),
        sync(),
    ]
    .concat();
    let answers = raw.ask(&pipeline).await;
    assert_eq!(tags(&answers), "12DCEZ");
    assert_eq!(answers[4].error(), ("ERROR".into(), "26000".into()));
    let answers = raw.until(b'Z').await;
    assert_eq!(tags(&answers), "12DCZ");
    assert!(answers[2].body.ends_with(b"3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_limit_suspends_a_portal_and_execute_resumes_it() {
    let server = start().await;
    let mut raw = server.raw().await;
    let pipeline = [
        parse("", "select * from generate_series(1, 5)"),
        bind("p", ""),
        execute("p", 2),
        execute("p", 2),
        execute("p", 2),
        message(b'C', &[b"Pp\0"]),
        execute("p", 2),
        sync(),
    ]
    .concat();
    let answers = raw.ask(&pipeline).await;
    assert_eq!(tags(&answers), "12DDsDDsDC3EZ");
    assert_eq!(answers[9].body, b"SELECT 1\0");
    assert_eq!(answers[11].error().1, "34000");
    // Outside a transaction block a portal ends at Sync.
    let begun = [parse("", "select * from generate_series(1, 5)"), bind("q", ""), sync()].concat();
    assert_eq!(tags(&raw.ask(&begun).await), "12Z");
    assert_eq!(tags(&raw.ask(&[execute("q", 0), sync()].concat()).await), "EZ");
    // Inside one it stays.
    raw.ask(&query("begin")).await;
    assert_eq!(tags(&raw.ask(&begun).await), "12Z");
    let rest = [execute("q", -1), sync()].concat();
    assert_eq!(tags(&raw.ask(&rest).await), "DDDDDCZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn describe_tells_parameters_and_columns_or_no_data() {
    let server = start().await;
    let mut raw = server.raw().await;
    let pipeline = [
        parse("s", "select $1::text"),
        message(b'D', &[b"Ss\0"]),
        parse("", "begin"),
        message(b'D', &[b"S\0"]),
        // One text parameter, the result in binary.
        message(b'B', &[b"p\0s\0\0\0\0\x01\0\0\0\x02hi\0\x01\0\x01"]),
        message(b'D', &[b"Pp\0"]),
        execute("p", 0),
        sync(),
    ]
    .concat();
    let answers = raw.ask(&pipeline).await;
    assert_eq!(tags(&answers), "1tT1tn2TDCZ");
    assert_eq!(answers[1].body, [0, 1, 0, 0, 0, 25]);
    assert_eq!(answers[4].body, [0, 0]);
    assert!(answers[2].body.ends_with(&[0, 0]), "a statement's columns are described as text");
    assert!(answers[7].body.ends_with(&[0, 1]), "a portal's as its Bind said");
    assert_eq!(answers[8].body, [&[0, 1, 0, 0, 0, 2][..], b"hi"].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn bind_refuses_what_does_not_fit_the_statement() {
    let server = start().await;
    let mut raw = server.raw().await;
    raw.ask(&[parse("s", "select $1::text"), sync()].concat()).await;
    for (body, sqlstate) in [
        (&b"\0s\0\0\0\0\0\0\0"[..], "08P01"), // no parameter
        (b"\0s\0\0\x02\0\0\0\0\0\x01\0\0\0\x01x\0\0", "08P01"), // two formats for one
        (b"\0s\0\0\0\0\x01\0\0\0\x01x\0\x02\0\0\0\0", "08P01"), // two result formats
        (b"\0s\0\0\0\0\x01\0\0\0\x01\xff\0\0", "22021"), // not UTF-8
        (b"\0s\0\0\0\0\x01\0\0\0\x01\0\0\0", "22021"), // a zero byte
        (b"\0s\0\0\0\0\x01\x7f\xff\xff\xffx\0\0", "08P01"), // a length beyond the message
        (b"\0s\0\0\x01\0\x05\0\x01\0\0\0\x01x\0\0", "08P01"), // format code 5
    ] {
        let answers = raw.ask(&[message(b'B', &[body]), execute("", 0), sync()].concat()).await;
        assert_eq!(tags(&answers), "EZ", "{body:?}");
        assert_eq!(answers[0].error(), ("ERROR".into(), sqlstate.into()), "{body:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_before_sync_or_flush() {
    let server = start().await;
    let mut raw = server.raw().await;
    raw.send(&[parse("", "select 1"), bind("", ""), execute("", 0)].concat()).await;
    let early = tokio::time::timeout(std::time::Duration::from_millis(200), raw.next()).await;
    assert!(early.is_err(), "{early:?}");
    raw.send(&message(b'H', &[])).await;
    assert_eq!(tags(&raw.until(b'C').await), "12DC");
    assert_eq!(tags(&raw.ask(&sync()).await), "Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_from_stdin_ends_well_or_with_one_error() {
    let server = start().await;
    let mut raw = server.raw().await;
    raw.ask(&query("create table c (n int primary key)")).await;
    let data = |text: &str| message(b'd', &[text.as_bytes()]);
    let (done, fail) = (message(b'c', &[]), message(b'f', &[b"changed my mind\0"]));

    let copy = query("copy c from stdin");
    let answers =
        raw.ask(&[copy.clone(), data("1\n2\n"), data("3\n"), done.clone()].concat()).await;
    assert_eq!(tags(&answers), "GCZ");
    assert_eq!(answers[1].body, b"COPY 3\0");

    let answers = raw.ask(&[copy.clone(), data("4\n"), fail].concat()).await;
    assert_eq!(tags(&answers), "GEZ");
    assert_eq!(answers[1].error().1, "57014");
    assert!(answers[1].field(b'M').contains("changed my mind"));

    // The rest of the data arrives after the error, and is nobody's.
    let answers = raw
        .ask(&[copy, data("bad\n"), data("5\n"), done.clone(), query("select 1")].concat())
        .await;
    assert_eq!(tags(&answers), "GEZ");
    assert_eq!(tags(&raw.until(b'Z').await), "TDCZ");

    // Drivers of the extended protocol send Sync before the data.
    let begun = [parse("", "copy c from stdin"), bind("", ""), execute("", 0), sync(), data("6\n")]
        .concat();
    let answers = raw.ask(&[begun, done, sync()].concat()).await;
    assert_eq!(tags(&answers), "12GCZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_function_call_protocol_is_named_as_missing() {
    let server = start().await;
    let mut raw = server.raw().await;
    let answers = raw.ask(&message(b'F', &[b"\0\0\0\0\0\0\0\0\0\0"])).await;
    assert_eq!(tags(&answers), "EZ");
    assert_eq!(answers[0].error().1, "0A000");
}
