//! Statements through sessions. One binary, since each would link DataFusion.

mod constraints;
mod copying;
mod harness;
mod locks;
mod past;
mod queries;
mod schema;
mod settings;
mod statements;
mod transactions;
