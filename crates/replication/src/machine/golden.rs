//! Entries applied to one range that founded over `[a, p)`. The dialect:
//!
//! ```text
//! write put/KEY/VALUE del/KEY ...     effects on the data family; the keys have no versions
//! split AT right=RANGE                erase FROM TO
//! noop                                blank                 Raft's own entry
//! ... generation=N term=N             what it was evaluated under; 1, and nothing, unless given
//! state                               position, span, generation, data
//! ```
//!
//! Every entry is of term 1.

use super::{Machine, MachineState, Spans, Surroundings};
use crate::command::{Body, Command as RangeCommand, EngineOp};
use crate::descriptor::RangeDescriptor;
use crate::log::{GroupLog, LogWriter, NoTrace, format};
use crate::observer::Deaf;
use crate::types::{Entry, LogId, Proposal, log_id};
use core_domain::{Generation, Key, NodeId, RangeId, ReplicaId, Span};
use goldenscript::{Command, Context};
use openraft::EntryPayload;
use openraft::entry::RaftEntry;
use std::error::Error;
use std::sync::Arc;
use storage::{Cf, CrashEngine, Engine, EngineReader, IterOptions, WriteBatch, keyspace};

const RANGE: RangeId = RangeId(1);

#[test]
fn apply() {
    goldenscript::run(&mut Replica::new(), "tests/scripts/apply").expect("the script passes");
}

struct Replica {
    engine: Arc<CrashEngine>,
    machine: Machine,
    writer: Arc<LogWriter>,
    index: u64,
    runtime: tokio::runtime::Runtime,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.writer.stop();
    }
}

impl Replica {
    fn new() -> Self {
        let engine = Arc::new(CrashEngine::new());
        let span = Span::new(name("a"), name("p"));
        let descriptor = RangeDescriptor::founding(RANGE, span, &[(NodeId(1), "a:1".into())]);
        let mut batch = WriteBatch::new();
        let sealed = format::seal(&descriptor);
        batch.put(Cf::Raft, format::key(RANGE, format::Tag::Descriptor), sealed);
        engine.write(batch, true).expect("a healthy disk");
        let writer = LogWriter::start(engine.clone(), Arc::new(NoTrace)).expect("a thread");
        let log = GroupLog::open(RANGE, engine.clone(), writer.clone()).expect("an empty log");
        let (host, _) = tokio::sync::mpsc::unbounded_channel();
        let around = Surroundings {
            node: NodeId(1),
            engine: engine.clone(),
            observer: Arc::new(Deaf),
            spans: Arc::new(Spans::default()),
            host,
        };
        let machine = Machine::open(around, ReplicaId(1), log).expect("an empty state");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        Self { engine, machine, writer, index: 0, runtime }
    }

    fn apply(&mut self, entry: impl FnOnce(LogId) -> Entry) -> Answer {
        self.index += 1;
        let entry = entry(log_id(1, ReplicaId(1), self.index));
        let state: &MachineState = &self.machine.0;
        let mut staged = state.begin();
        let answer = state.stage(&mut staged, entry)?;
        self.runtime.block_on(state.commit(staged))?;
        Ok(format!("{answer:?}\n"))
    }

    fn picture(&self) -> String {
        let descriptor = self.machine.descriptor();
        let at = self.machine.applied().map_or("nothing".into(), |id| id.to_string());
        let (start, end) = (&descriptor.span.start, &descriptor.span.end);
        let mut out = format!(
            "applied {at}, generation {}, [{}, {})\n",
            descriptor.generation.0,
            start.as_slice().escape_ascii(),
            end.as_slice().escape_ascii()
        );
        let mut data = self.engine.iter(Cf::Data, IterOptions::default());
        data.seek_to_first();
        while data.valid() {
            let (key, _) = keyspace::decode_key(data.key()).expect("written by the script");
            let (key, value) = (key.as_slice().escape_ascii(), data.value().escape_ascii());
            out += &format!("{key} = {value}\n");
            data.next();
        }
        out
    }
}

type Answer = Result<String, Box<dyn Error>>;

impl goldenscript::Runner for Replica {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Answer {
        let mut args = command.consume_args();
        let mut words = Vec::new();
        while let Some(word) = args.next_pos() {
            words.push(word);
        }
        let generation: u64 = args.take_key("generation").unwrap_or("1").parse()?;
        let term: u64 = args.take_key("term").unwrap_or("0").parse()?;
        let body = match (command.name.as_str(), words.as_slice()) {
            ("state", []) => return Ok(self.picture()),
            ("blank", []) => return self.apply(|id| Entry::new(id, EntryPayload::Blank)),
            ("write", effects) => Body::Write {
                ops: effects
                    .iter()
                    .map(|text| effect(text))
                    .collect::<Option<_>>()
                    .ok_or("effects?")?,
            },
            ("split", [at]) => {
                let right = RangeId(args.take_key("right").ok_or("right?")?.parse()?);
                Body::Split { at: name(at), right }
            }
            ("erase", [from, to]) => Body::Erase { span: Span::new(name(from), name(to)) },
            ("noop", []) => Body::Noop,
            _ => return Err(format!("what is {command:?}?").into()),
        };
        let command = RangeCommand { range: RANGE, generation: Generation(generation), term, body };
        let proposal = Proposal(command.encode());
        self.apply(|id| Entry::new(id, EntryPayload::Normal(proposal)))
    }
}

fn effect(text: &str) -> Option<EngineOp> {
    let mut parts = text.split('/');
    let (what, key) = (parts.next()?, keyspace::encode_key(parts.next()?.as_bytes()));
    match (what, parts.next()) {
        ("put", Some(value)) => Some(EngineOp::put(Cf::Data, key, value.as_bytes().to_vec())),
        ("del", None) => Some(EngineOp::delete(Cf::Data, key)),
        _ => None,
    }
}

fn name(key: &str) -> Key {
    Key::from(key.as_bytes())
}
