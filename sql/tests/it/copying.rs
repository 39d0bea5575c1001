//! COPY in and out.

use crate::harness::Database;

#[tokio::test(flavor = "multi_thread")]
async fn text_and_csv_go_in_and_come_out() {
    let mut c = Database::new().connect().await;
    c.run("create table t (id int primary key, n text, d numeric(6,2) default 1.5)").await;
    let text = "1\ta\\tb\t2.50\n2\t\\N\t\\N\n\\.\n";
    for chunk in [1, 7, 1000] {
        assert_eq!(c.copy("copy t from stdin", text, chunk).await, "COPY 2");
        assert_eq!(c.run("copy t to stdout").await, "1\ta\\tb\t2.50\n2\t\\N\t\\N\nCOPY 2");
        c.run("truncate t").await;
    }
    let csv = "id,n\n1,\"a,\"\"b\"\"\nc\"\n2,\n3,\"\"\n";
    assert_eq!(
        c.copy("copy t (id, n) from stdin with (format csv, header)", csv, 5).await,
        "COPY 3"
    );
    c.expect(&[
        ("select * from t where id = 2", "2|NULL|1.50\nSELECT 1"),
        (
            "copy t to stdout with (format csv, header true)",
            "id,n,d\n1,\"a,\"\"b\"\"\nc\",1.50\n2,,1.50\n3,\"\",1.50\nCOPY 3",
        ),
        ("copy (select id * 2 from t where id > 1 order by id) to stdout", "4\n6\nCOPY 2"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_line_is_named_and_nothing_of_it_stays() {
    let mut c = Database::new().connect().await;
    c.run("create table t (id int primary key, n int)").await;
    assert_eq!(
        c.copy("copy t from stdin", "1\t1\n2\tx\n", 100).await,
        "ERROR 22P02: invalid input syntax for type integer: \"x\" / COPY t, line 2, column n: \"x\""
    );
    assert_eq!(
        c.copy("copy t from stdin", "1\t1\n2\n", 100).await,
        "ERROR 22P04: missing data for column \"n\" / COPY t, line 2: \"2\""
    );
    assert_eq!(
        c.copy("copy t from stdin", "1\t1\n2\t2\t3\n", 100).await,
        "ERROR 22P04: extra data after last expected column / COPY t, line 2: \"2\t2\t3\""
    );
    let got = c.copy("copy t from stdin", "1\t1\n1\t2\n", 100).await;
    assert!(got.starts_with("ERROR 23505"), "{got}");
    c.expect(&[("select count(*) from t", "0\nSELECT 1")]).await;
}
