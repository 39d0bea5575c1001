//! Whatever arrives at the port: an error for that session at most, and the node lives.

use crate::harness::{Running, message, query, start, start_with, startup_packet, tags};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::WireConfig;

async fn still_alive(server: &Running) {
    let mut raw = server.raw().await;
    assert_eq!(tags(&raw.ask(&query("select 1")).await), "TDCZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_cannot_be_ends_the_session() {
    let server = start().await;
    for bytes in [
        &b"Q\xff\xff\xff\xff"[..], // 4 GiB
        b"Q\0\0\0\x03",            // shorter than itself
        b"S\0\0\x40\0",            // a Sync of 16 KiB
        b"\x01\0\0\0\x04",         // no such message
        b"GET / HTTP/1.1\r\n",
    ] {
        let mut raw = server.raw().await;
        raw.send(bytes).await;
        let answers = raw.until(b'Z').await;
        assert_eq!(tags(&answers), "E", "{bytes:?}");
        assert_eq!(answers[0].error(), ("FATAL".into(), "08P01".into()), "{bytes:?}");
    }
    still_alive(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn start_up_packets_that_cannot_be_are_refused() {
    let server = start().await;
    for (packet, sqlstate) in [
        (b"\xff\xff\xff\xff\0\x03\0\0".to_vec(), "08P01"),
        (b"\0\0\0\x04".to_vec(), "08P01"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "08P01"),
        (startup_packet(2 << 16, "user\0me\0"), "0A000"),
        (startup_packet(3 << 16, "user\0me"), "08P01"),
        (startup_packet(3 << 16, "database\0shanghai\0"), "28000"),
        (startup_packet(3 << 16, "user\0me\0replication\0database\0"), "0A000"),
        (startup_packet(3 << 16, "user\0me\0database\0nowhere\0"), "3D000"),
    ] {
        let mut raw = server.socket().await;
        raw.send(&packet).await;
        let answers = raw.until(b'Z').await;
        assert_eq!(tags(&answers), "E", "{packet:?}");
        assert_eq!(answers[0].error(), ("FATAL".into(), sqlstate.into()), "{packet:?}");
    }
    still_alive(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_the_limit_is_not_read() {
    let config = WireConfig { message_bytes_max: 100_000, ..WireConfig::default() };
    let server = start_with(config).await;
    let mut raw = server.raw().await;
    let fits = format!("select 1 -- {}", "x".repeat(99_000));
    assert_eq!(tags(&raw.ask(&query(&fits)).await), "TDCZ");
    raw.send(&[&b"Q\0\x10\0\0"[..], &[b' '; 1000]].concat()).await;
    let answers = raw.until(b'Z').await;
    assert_eq!(answers[0].error(), ("FATAL".into(), "08P01".into()));
    still_alive(&server).await;
}

/// Random bytes, before and after a good start-up, and cut off anywhere.
#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_hurt_nobody_else() {
    let seed: u64 = 42;
    let mut random = SmallRng::seed_from_u64(seed);
    let server = start().await;
    for round in 0..300 {
        let mut stream = if random.random_bool(0.5) {
            server.raw().await.stream
        } else {
            server.socket().await.stream
        };
        for _ in 0..random.random_range(1..6) {
            let length = random.random_range(0..200);
            let noise: Vec<u8> = (0..length).map(|_| random.random()).collect();
            let bytes = if random.random_bool(0.7) {
                let tags = b"QPBDECHSdcfpFX";
                message(tags[random.random_range(0..tags.len())], &[&noise])
            } else {
                noise
            };
            if stream.write_all(&bytes).await.is_err() {
                break;
            }
        }
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        // A reset is an answer too; silence is not.
        let _ = tokio::time::timeout(crate::harness::PATIENCE, read)
            .await
            .unwrap_or_else(|_| panic!("seed {seed}, round {round}: the session hangs"));
    }
    still_alive(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_finishes_starting_is_put_out() {
    let config =
        WireConfig { startup_timeout: Duration::from_millis(200), ..WireConfig::default() };
    let server = start_with(config).await;
    let mut raw = server.socket().await;
    raw.send(b"\0\0").await;
    assert_eq!(raw.next().await, None);
    still_alive(&server).await;
}
