//! The one binary.
//!
//! ```text
//! config.rs     flags, environment, file → Config
//! node.rs       one node: from an empty directory to SQL and back to a clean end
//! identity.rs   who this node is, on disk
//! registry.rs   the cluster's register of nodes, and how empty nodes get an identity
//! view.rs       what the node tells of its cluster: virtual tables and metrics
//! ```

mod config;
mod identity;
mod node;
mod registry;
mod view;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A distributed SQL database that speaks PostgreSQL's protocol.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts a node
    Start(config::Options),
}

fn main() -> ExitCode {
    let Command::Start(options) = Cli::parse().command;
    let outcome = config::Config::resolve(options).and_then(|config| {
        let format = config.log_format.parse().map_err(anyhow::Error::msg)?;
        admin::logging::start(&config.log, format).map_err(anyhow::Error::msg)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            // Binding and evaluating recurse; depth is bounded, the frames are large.
            .thread_stack_size(8 << 20)
            // A session that waits within an expression, for an advisory lock or asleep, keeps one.
            .max_blocking_threads(4096)
            .build()?;
        runtime.block_on(node::run(config))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shanghai: {error:#}");
            ExitCode::FAILURE
        }
    }
}
