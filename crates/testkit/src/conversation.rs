//! Several sessions interleaved by a script: who waits, who wakes, who fails and with which code.
//!
//! A file is script and transcript in one. Lines that begin with `> ` are said by the session that
//! they name; what follows is what happened, all of it:
//!
//! ```text
//! # A sentence about what is shown.
//! > A: BEGIN
//! BEGIN
//! > A: UPDATE t SET n = 11 WHERE id = 1
//! UPDATE 1
//! > B: UPDATE t SET n = 12 WHERE id = 1
//! B waits
//! > A: COMMIT
//! COMMIT
//! B wakes: UPDATE 1
//! ```
//!
//! A statement may go on in lines that begin with `>   `. Lines in `[postgresql]` or `[shanghai]`
//! are true on that server only; a file that has them says why after `# Differs: `.
//!
//! The transcript also tells what to wait for: an answer that it promises may take
//! [`ANSWER_MAX`], and a session counts as waiting when it has been silent for [`SILENCE`]. So a
//! slow machine makes a run slow, not wrong; what happens unexpectedly shows up at a later step, or
//! at the end. New transcripts come from PostgreSQL, which decides what is right: see [`bless`].

use crate::client::Server;
use crate::simple_client::SimpleClient;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How long an answer may take that the transcript promises.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// After this without an answer, a session waits.
const SILENCE: Duration = Duration::from_millis(300);
/// For what nobody expects, at the end.
const LAST_WORDS: Duration = Duration::from_millis(150);

/// Which server a script runs against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Postgresql,
    Shanghai,
}

impl Side {
    fn mark(self) -> &'static str {
        match self {
            Side::Postgresql => "[postgresql] ",
            Side::Shanghai => "[shanghai] ",
        }
    }

    /// The line as it is true here; `None` if it is the other side's.
    fn own(self, line: &str) -> Option<&str> {
        let other = match self {
            Side::Postgresql => Side::Shanghai,
            Side::Shanghai => Side::Postgresql,
        };
        match line.strip_prefix(self.mark()) {
            Some(line) => Some(line),
            None => (!line.starts_with(other.mark())).then_some(line),
        }
    }
}

/// A script with its transcript.
pub struct Conversation {
    items: Vec<Item>,
}

enum Item {
    /// A comment or an empty line.
    Remark(String),
    Step(Step),
}

struct Step {
    /// Where it stands in its file, from 1.
    line: usize,
    /// As written, `> ` included.
    source: String,
    session: String,
    sql: String,
    /// The transcript, both sides' lines.
    heard: Vec<String>,
}

impl Conversation {
    /// # Errors
    /// A line that is neither said by anybody nor an answer.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut items: Vec<Item> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let last = items.iter_mut().rev().find_map(|item| match item {
                Item::Step(step) => Some(step),
                Item::Remark(_) => None,
            });
            if let Some(more) = line.strip_prefix(">   ") {
                let step = last.ok_or_else(|| format!("{}: nothing to go on with", at + 1))?;
                write!(step.sql, "\n{more}").map_err(|error| error.to_string())?;
                write!(step.source, "\n{line}").map_err(|error| error.to_string())?;
            } else if let Some(said) = line.strip_prefix("> ") {
                let (session, sql) =
                    said.split_once(": ").ok_or_else(|| format!("{}: who says so?", at + 1))?;
                items.push(Item::Step(Step {
                    line: at + 1,
                    source: line.to_owned(),
                    session: session.to_owned(),
                    sql: sql.to_owned(),
                    heard: Vec::new(),
                }));
            } else if line.is_empty() || line.starts_with('#') {
                items.push(Item::Remark(line.to_owned()));
            } else {
                let step = last.ok_or_else(|| format!("{}: nobody has asked", at + 1))?;
                step.heard.push(line.to_owned());
            }
        }
        Ok(Self { items })
    }

    /// # Errors
    /// The file cannot be read or is no conversation.
    pub fn load(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        Self::parse(&text)
    }

    /// What stands after `# NAME: ` in a remark.
    pub fn remark(&self, name: &str) -> Option<&str> {
        self.items.iter().find_map(|item| match item {
            Item::Remark(line) => line.strip_prefix("# ")?.strip_prefix(name)?.strip_prefix(": "),
            Item::Step(_) => None,
        })
    }

    /// Whether lines are marked as one server's.
    pub fn differs(&self) -> bool {
        let marked = |line: &String| Side::Postgresql.own(line).is_none();
        self.steps().any(|step| step.heard.iter().any(marked))
    }

    fn steps(&self) -> impl Iterator<Item = &Step> {
        self.items.iter().filter_map(|item| match item {
            Item::Step(step) => Some(step),
            Item::Remark(_) => None,
        })
    }

    /// Runs the script against `server`, whose database is empty.
    ///
    /// # Errors
    /// Every step that went otherwise than the transcript says.
    pub async fn check(&self, server: &Server, side: Side) -> Result<(), String> {
        let mut talk = Talk::new(server);
        let mut differences = String::new();
        for step in self.steps() {
            let expected: Vec<&str> = step.heard.iter().filter_map(|l| side.own(l)).collect();
            let heard = talk.say(step, Until::as_promised(step, &expected)).await;
            if heard != expected {
                let (expected, heard) = (expected.join("\n    "), heard.join("\n    "));
                let _ = writeln!(
                    differences,
                    "  {}: {}\n   expected\n    {expected}\n   heard\n    {heard}",
                    step.line, step.source
                );
            }
        }
        for line in talk.last_words().await {
            let _ = writeln!(differences, "  at the end: {line}");
        }
        if differences.is_empty() { Ok(()) } else { Err(differences) }
    }

    /// The file as PostgreSQL has it. Lines of Shanghai's own stay as they are.
    ///
    /// # Errors
    /// Somebody still waits at the end: the script is not finished.
    pub async fn bless(&self, postgresql: &Server) -> Result<String, String> {
        let mut talk = Talk::new(postgresql);
        let mut text = String::new();
        for item in &self.items {
            let step = match item {
                Item::Remark(line) => {
                    text.extend([line.as_str(), "\n"]);
                    continue;
                }
                Item::Step(step) => step,
            };
            text.extend([step.source.as_str(), "\n"]);
            let own: Vec<&String> =
                step.heard.iter().filter(|line| Side::Postgresql.own(line).is_none()).collect();
            let mark = if own.is_empty() { "" } else { Side::Postgresql.mark() };
            for line in talk.say(step, Until::Quiet).await {
                text.extend([mark, &line, "\n"]);
            }
            for line in own {
                text.extend([line, "\n"]);
            }
        }
        let left = talk.last_words().await;
        if left.is_empty() { Ok(text) } else { Err(left.join("\n")) }
    }
}

/// When a step is over.
enum Until {
    /// The promised answers are there. `waits`: the speaker's own is not promised.
    Promised { waits: bool, wakes: BTreeSet<String> },
    /// Everybody has answered, or nobody has for [`SILENCE`].
    Quiet,
}

impl Until {
    fn as_promised(step: &Step, expected: &[&str]) -> Self {
        let waits = expected.contains(&format!("{} waits", step.session).as_str());
        let wakes = expected.iter().filter_map(|line| line.split_once(" wakes: "));
        Until::Promised { waits, wakes: wakes.map(|(session, _)| session.to_owned()).collect() }
    }
}

/// The sessions of a running conversation.
struct Talk {
    server: Server,
    sessions: BTreeMap<String, mpsc::UnboundedSender<String>>,
    /// Who has been asked something and has not answered.
    waiting: BTreeSet<String>,
    answers: mpsc::UnboundedReceiver<(String, Vec<String>)>,
    answer: mpsc::UnboundedSender<(String, Vec<String>)>,
}

impl Talk {
    fn new(server: &Server) -> Self {
        let (answer, answers) = mpsc::unbounded_channel();
        let server = server.clone();
        Self { server, sessions: BTreeMap::new(), waiting: BTreeSet::new(), answers, answer }
    }

    /// One step, and what happened in it: the speaker's answer, then those of others by name.
    async fn say(&mut self, step: &Step, until: Until) -> Vec<String> {
        let speaker = &step.session;
        if self.waiting.contains(speaker) {
            return vec![format!("{speaker} still waits: nothing was sent")];
        }
        if !self.sessions.contains_key(speaker) {
            let session = open(speaker.clone(), self.server.clone(), self.answer.clone());
            self.sessions.insert(speaker.clone(), session);
        }
        self.waiting.insert(speaker.clone());
        // A session that has ended answers that it has.
        let _ = self.sessions[speaker].send(step.sql.clone());
        let mut heard = self.listen(speaker, until).await;
        let own = heard.remove(speaker);
        let mut lines = own.unwrap_or_else(|| vec![format!("{speaker} waits")]);
        for (session, answer) in heard {
            lines.extend(answer.into_iter().map(|line| format!("{session} wakes: {line}")));
        }
        lines
    }

    async fn listen(&mut self, speaker: &str, until: Until) -> BTreeMap<String, Vec<String>> {
        let mut heard = BTreeMap::new();
        let start = Instant::now();
        let mut last = start;
        loop {
            let left = match &until {
                Until::Quiet if self.waiting.is_empty() => Duration::ZERO,
                Until::Quiet => SILENCE.saturating_sub(last.elapsed()),
                Until::Promised { waits, wakes } => {
                    let outstanding = wakes.iter().any(|name| self.waiting.contains(name));
                    match self.waiting.contains(speaker) {
                        true if !waits => ANSWER_MAX.saturating_sub(start.elapsed()),
                        _ if outstanding => ANSWER_MAX.saturating_sub(start.elapsed()),
                        true => SILENCE.saturating_sub(start.elapsed()),
                        false => Duration::ZERO,
                    }
                }
            };
            if left.is_zero() {
                // What is there already happened in this step.
                while let Ok((session, answer)) = self.answers.try_recv() {
                    self.waiting.remove(&session);
                    heard.insert(session, answer);
                }
                return heard;
            }
            if let Ok(Some((session, answer))) =
                tokio::time::timeout(left, self.answers.recv()).await
            {
                self.waiting.remove(&session);
                heard.insert(session, answer);
                last = Instant::now();
            }
        }
    }

    /// What nobody expected any more, and who still waits.
    async fn last_words(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        let end = Instant::now() + LAST_WORDS;
        while !self.waiting.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(Some((session, answer))) = tokio::time::timeout(left, self.answers.recv()).await
            else {
                break;
            };
            self.waiting.remove(&session);
            lines.extend(answer.into_iter().map(|line| format!("{session} wakes: {line}")));
        }
        lines.extend(self.waiting.iter().map(|session| format!("{session} still waits")));
        lines
    }
}

/// A session in a task of its own, which ends with its sender.
fn open(
    name: String,
    server: Server,
    answer: mpsc::UnboundedSender<(String, Vec<String>)>,
) -> mpsc::UnboundedSender<String> {
    let (sender, mut queries) = mpsc::unbounded_channel::<String>();
    tokio::spawn(async move {
        let mut client = SimpleClient::connect(&server).await;
        while let Some(sql) = queries.recv().await {
            let lines = match &mut client {
                Ok(client) => tokio::select! {
                    lines = client.query(&sql) => lines.map_err(|error| error.to_string()),
                    // The conversation is over, and this one still waits.
                    () = answer.closed() => return,
                },
                Err(error) => Err(error.to_string()),
            };
            let lines = lines.unwrap_or_else(|error| vec![format!("connection lost: {error}")]);
            if answer.send((name.clone(), lines)).is_err() {
                return;
            }
        }
    });
    sender
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    const SCRIPT: &str = "\
# Two sessions.
# Differs: for a reason
> A: first
OK
> B: wait
B waits

> A: second
>   line
OK
B wakes: 1|NULL
[postgresql] B wakes: LATE
[shanghai] B wakes: OK
";

    /// A server that says `OK`, except to `wait`: that is answered when somebody says `second`.
    async fn parrot() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (woken, _) = tokio::sync::broadcast::channel::<()>(1);
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(repeat(stream, woken.clone()));
            }
        });
        Server { port, user: "u".into(), database: "d".into() }
    }

    async fn repeat(mut stream: TcpStream, woken: tokio::sync::broadcast::Sender<()>) {
        let length = stream.read_i32().await.unwrap();
        let mut startup = vec![0; length as usize - 4];
        stream.read_exact(&mut startup).await.unwrap();
        stream.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").await.unwrap();
        while stream.read_u8().await.is_ok() {
            let length = stream.read_i32().await.unwrap();
            let mut query = vec![0; length as usize - 4];
            stream.read_exact(&mut query).await.unwrap();
            if query.starts_with(b"wait") {
                woken.subscribe().recv().await.unwrap();
                let row = b"D\0\0\0\x0f\0\x02\0\0\0\x011\xff\xff\xff\xff";
                stream.write_all(row).await.unwrap();
            } else if query.starts_with(b"second\nline") {
                // Nobody may be waiting.
                let _ = woken.send(());
            }
            stream.write_all(b"C\0\0\0\x07OK\0Z\0\0\0\x05I").await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_transcript_is_checked_line_by_line() {
        let script = Conversation::parse(SCRIPT).unwrap();
        assert_eq!(script.remark("Differs"), Some("for a reason"));
        assert_eq!(script.remark("Elsewhere"), None);
        assert!(script.differs());
        let server = parrot().await;
        script.check(&server, Side::Shanghai).await.unwrap();
        let wrong = script.check(&server, Side::Postgresql).await.unwrap_err();
        assert!(wrong.contains("8: > A: second\n>   line"), "{wrong}");
        assert!(wrong.contains("B wakes: LATE"), "{wrong}");
    }

    #[tokio::test]
    async fn who_wakes_unexpectedly_or_never_is_told() {
        let server = parrot().await;
        let early = Conversation::parse("> B: wait\nB waits\n> A: second\nOK\n").unwrap();
        // With or without the row: it may come while the speaker's answer is read.
        let early = Conversation::parse(&SCRIPT.replace("B wakes: 1|NULL\n", ""))
            .unwrap()
            .check(&server, Side::Shanghai)
            .await
            .and(early.check(&server, Side::Shanghai).await)
            .unwrap_err();
        assert!(early.contains("B wakes: 1|NULL"), "{early}");
        let never = Conversation::parse("> B: wait\nB waits\n").unwrap();
        let never = never.check(&server, Side::Shanghai).await.unwrap_err();
        assert_eq!(never, "  at the end: B still waits\n");
    }

    #[tokio::test]
    async fn a_blessed_transcript_keeps_the_lines_of_shanghai() {
        let script = SCRIPT.replace("B waits\n", "").replace("[postgresql] B wakes: LATE\n", "");
        let blessed = Conversation::parse(&script).unwrap().bless(&parrot().await).await.unwrap();
        let expected = SCRIPT
            .replace("\nOK\nB wakes: 1|NULL\n", "\n[postgresql] OK\n[postgresql] B wakes: 1|NULL\n")
            .replace("LATE", "OK");
        assert_eq!(blessed, expected);
    }

    #[test]
    fn what_is_no_conversation_is_refused() {
        for text in ["OK\n", "> nobody says this\n", ">   and so on\n"] {
            assert!(Conversation::parse(text).is_err(), "{text}");
        }
    }
}
