//! PostgreSQL's protocol, byte by byte, against sessions.

mod bad_input;
mod formats;
mod harness;
mod protocol;
mod sessions;
