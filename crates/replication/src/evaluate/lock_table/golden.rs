//! Conversations with the lock table. The dialect (transactions are numbers):
//!
//! ```text
//! lock TXN KEY MODE      granted | waits for TXN | deadlock with TXN
//! try TXN KEY MODE       granted | busy: TXN
//! cancel TXN KEY         gives up waiting      free TXN KEY      frees one key
//! release TXN            frees all             leave FROM TO     the range went elsewhere
//! heard TXN until=N      expire at=N           table             holders and queues
//! ```
//!
//! After each, whoever was woken. Transactions live until 10 unless they are heard of.

use super::{Acquired, LockTable, Ticket, Wake};
use core_domain::{Key, LockMode, Span, TxnId};
use goldenscript::{Command, Context};
use std::error::Error;
use std::time::Duration;
use tokio::sync::oneshot;

#[test]
fn locks() {
    goldenscript::run(&mut Talk::default(), "tests/scripts/locks").expect("the script passes");
}

#[derive(Default)]
struct Talk {
    table: LockTable,
    waiting: Vec<(TxnId, Key, Ticket, oneshot::Receiver<Wake>)>,
}

impl goldenscript::Runner for Talk {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let mut words = Vec::new();
        while let Some(word) = args.next_pos() {
            words.push(word);
        }
        let seconds = |text: Option<&str>| -> Result<Duration, Box<dyn Error>> {
            Ok(Duration::from_secs(text.ok_or("when?")?.parse()?))
        };
        let mut answer = match (command.name.as_str(), words.as_slice()) {
            ("lock", [txn, key, mode]) => self.acquire(txn.parse()?, key, mode, true)?,
            ("try", [txn, key, mode]) => self.acquire(txn.parse()?, key, mode, false)?,
            ("cancel", [txn, key]) => {
                let (txn, key) = (TxnId(txn.parse()?), name(key));
                let at = self.waiting.iter().position(|(t, k, ..)| *t == txn && *k == key);
                let (_, _, ticket, _) = self.waiting.remove(at.ok_or("nobody waits so")?);
                self.table.cancel(txn, &key, ticket);
                String::new()
            }
            ("free", [txn, key]) => {
                self.table.release_keys(TxnId(txn.parse()?), [&name(key)]);
                String::new()
            }
            ("release", [txn]) => {
                self.table.release(TxnId(txn.parse()?));
                String::new()
            }
            ("leave", [from, to]) => {
                self.table.leave(&Span::new(name(from), name(to)));
                String::new()
            }
            ("heard", [txn]) => {
                self.table.touch(TxnId(txn.parse()?), seconds(args.take_key("until"))?);
                String::new()
            }
            ("expire", []) => {
                let dead = self.table.expire(seconds(args.take_key("at"))?);
                dead.iter().map(|txn| format!("{} is dead\n", txn.0)).collect()
            }
            ("table", []) => self.picture(),
            _ => return Err(format!("what is {command:?}?").into()),
        };
        answer += &self.woken();
        Ok(answer)
    }
}

impl Talk {
    fn acquire(
        &mut self,
        txn: u64,
        key: &str,
        mode: &str,
        may_wait: bool,
    ) -> Result<String, Box<dyn Error>> {
        let (txn, key) = (TxnId(txn), name(key));
        let mode = match mode {
            "key_share" => LockMode::KeyShare,
            "share" => LockMode::Share,
            "no_key_exclusive" => LockMode::NoKeyExclusive,
            "exclusive" => LockMode::Exclusive,
            other => return Err(format!("no mode {other}").into()),
        };
        let until = Duration::from_secs(10);
        Ok(match self.table.acquire(txn, &key, mode, may_wait, until) {
            Acquired::Granted => "granted\n".to_owned(),
            Acquired::Busy { holder } => format!("busy: {}\n", holder.0),
            Acquired::Deadlock { holder } => format!("deadlock with {}\n", holder.0),
            Acquired::Queued { ticket, wake, holder } => {
                self.waiting.push((txn, key, ticket, wake));
                format!("waits for {}\n", holder.0)
            }
        })
    }

    fn woken(&mut self) -> String {
        let mut woken = String::new();
        self.waiting.retain_mut(|(txn, key, _, wake)| match wake.try_recv() {
            Ok(Wake::Granted) => {
                woken += &format!("{} gets {}\n", txn.0, key.as_slice().escape_ascii());
                false
            }
            Ok(Wake::Moved) => {
                woken += &format!("{} is sent on\n", txn.0);
                false
            }
            Ok(Wake::Deadlock { holder }) => {
                woken += &format!("{} gives way to {}\n", txn.0, holder.0);
                false
            }
            Err(oneshot::error::TryRecvError::Empty) => true,
            Err(oneshot::error::TryRecvError::Closed) => {
                woken += &format!("{} is forgotten\n", txn.0);
                false
            }
        });
        woken
    }

    fn picture(&self) -> String {
        let mut keys: Vec<&Key> = self.table.keys.keys().collect();
        keys.sort();
        let line = |key: &&Key| {
            let locks = &self.table.keys[*key];
            let held = locks.holders.iter().map(|(txn, mode)| format!(" {}:{mode:?}", txn.0));
            let queue = locks.queue.iter().map(|w| format!(" {}:{:?}", w.txn.0, w.mode));
            let (held, queue) = (held.collect::<String>(), queue.collect::<String>());
            format!("{} held{held} queue{queue}\n", key.as_slice().escape_ascii())
        };
        match keys.is_empty() {
            true => "empty\n".to_owned(),
            false => keys.iter().map(line).collect(),
        }
    }
}

fn name(key: &str) -> Key {
    Key::from(key.as_bytes())
}
