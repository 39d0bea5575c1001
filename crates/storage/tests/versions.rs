//! Golden scripts for versions: what is stored, and what a reader of each moment sees. Every command
//! runs on RocksDB and on the crash-injecting engine, which must answer the same. The dialect:
//!
//! ```text
//! put KEY VALUE at=T         one version, and the engine's key and value for it
//! delete KEY at=T
//! get KEY [at=T]             the newest version at or before T
//! get KEY KEY ... [at=T]     several by one reader
//! scan [FROM [TO]] at=T      rows in order
//! scan ... reverse=true
//! ```

use core_domain::{Key, Span, Timestamp, TxnId};
use goldenscript::{Command, Context};
use std::error::Error;
use storage::mvcc::{PointReader, Scan, encode_version};
use storage::{Cf, CrashEngine, Engine, RocksEngine, RocksOptions, WriteBatch, keyspace};

#[test]
fn versions() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let rocks = RocksEngine::open(dir.path(), &RocksOptions::default()).expect("an empty store");
    let mut both = Both([Box::new(rocks), Box::new(CrashEngine::new())]);
    goldenscript::run(&mut both, "tests/scripts/versions").expect("the script passes");
}

struct Both([Box<dyn Engine>; 2]);

type Answer = Result<String, Box<dyn Error>>;

impl goldenscript::Runner for Both {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Answer {
        let [rocks, crash] = &self.0;
        let answer = run(&**rocks, command)?;
        assert_eq!(run(&**crash, command)?, answer, "the engines differ");
        Ok(answer)
    }
}

fn run(engine: &dyn Engine, command: &Command) -> Answer {
    let mut args = command.consume_args();
    let mut words = Vec::new();
    while let Some(word) = args.next_pos() {
        words.push(word);
    }
    let at = args.take_key("at").map(str::parse).transpose()?.map_or(Timestamp::MAX, Timestamp);
    let reverse = args.take_key("reverse") == Some("true");
    args.reject_next()?;
    match (command.name.as_str(), words.as_slice()) {
        ("put", [key, value]) => put(engine, key, Some(value), at),
        ("delete", [key]) => put(engine, key, None, at),
        ("get", keys) => get(engine, keys, at),
        ("scan", []) => scan(engine, "", "", at, reverse),
        ("scan", [from]) => scan(engine, from, "", at, reverse),
        ("scan", [from, to]) => scan(engine, from, to, at, reverse),
        _ => Err(format!("what is {command:?}?").into()),
    }
}

/// The writing transaction began one tick before its commit.
fn put(engine: &dyn Engine, key: &str, value: Option<&str>, at: Timestamp) -> Answer {
    let stored_key = keyspace::version_key(key.as_bytes(), at);
    let stored = encode_version(TxnId(at.0 - 1), value.map(str::as_bytes));
    let answer = format!("{} = {}\n", stored_key.escape_ascii(), stored.escape_ascii());
    let mut batch = WriteBatch::new();
    batch.put(Cf::Data, stored_key, stored);
    engine.write(batch, false)?;
    Ok(answer)
}

fn get(engine: &dyn Engine, keys: &[&str], at: Timestamp) -> Answer {
    let mut reader = PointReader::new(engine, keys.len());
    let mut answer = String::new();
    for key in keys {
        let found = reader.at(&Key::from(key.as_bytes()), at)?;
        answer += &match found {
            None => format!("{key}: never written\n"),
            Some(version) => match version.value {
                None => format!("{key}: deleted at {}\n", version.commit.0),
                Some(value) => format!("{key}={} of {}\n", value.escape_ascii(), version.commit.0),
            },
        };
    }
    Ok(answer)
}

fn scan(engine: &dyn Engine, from: &str, to: &str, at: Timestamp, reverse: bool) -> Answer {
    let span = Span::new(Key::from(from.as_bytes()), Key::from(to.as_bytes()));
    let mut scan = Scan::new(engine, &span, at, reverse);
    let mut answer = String::new();
    while let Some((key, version)) = scan.next_row()? {
        let value = version.value.unwrap_or_default();
        let key = key.as_slice().escape_ascii();
        answer += &format!("{key}={} of {}\n", value.escape_ascii(), version.commit.0);
    }
    Ok(answer)
}
