//! Runs conversations against a server that is up, each in a new database: to try a script.
//!
//! `cargo run --example conversation -- shanghai 5433 tests/conversations/lost_update.txt`; with
//! `postgresql` and UPDATE_GOLDENFILES=1 the transcript is written anew.

use std::path::PathBuf;
use testkit::conversation::{Conversation, Side};
use testkit::{Server, psql};

#[tokio::main]
async fn main() -> Result<(), String> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: conversation postgresql|shanghai PORT FILE...";
    let side = match args.next().as_deref() {
        Some("postgresql") => Side::Postgresql,
        Some("shanghai") => Side::Shanghai,
        Some(_) | None => return Err(usage.to_owned()),
    };
    let port = args.next().and_then(|port| port.parse().ok()).ok_or(usage)?;
    let server = Server { port, user: "shanghai".into(), database: "shanghai".into() };
    let bless = side == Side::Postgresql && std::env::var_os("UPDATE_GOLDENFILES").is_some();
    for (at, file) in args.map(PathBuf::from).enumerate() {
        let conversation = Conversation::load(&file)?;
        let database = format!("conversation_{}_{at}", std::process::id());
        psql(&server, &format!("CREATE DATABASE {database}"));
        let server = server.with_database(&database);
        if bless {
            let text = conversation.bless(&server).await?;
            std::fs::write(&file, text).map_err(|error| error.to_string())?;
        } else {
            match conversation.check(&server, side).await {
                Ok(()) => println!("{}: as written", file.display()),
                Err(differences) => println!("{}\n{differences}", file.display()),
            }
        }
    }
    Ok(())
}
