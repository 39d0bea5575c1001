//! Watches everything; nothing watches it.
//!
//! ```text
//! http.rs      /health /ready /metrics
//! metrics.rs   samples and their Prometheus text
//! logging.rs   structured logs on standard error
//! ```
//!
//! Invariants, as absences: no other crate depends on this one except the binary; a scrape takes no
//! lock that a statement waits for; nothing here changes state.

pub mod http;
pub mod logging;
pub mod metrics;

pub use http::{Health, serve};
pub use metrics::{Kind, Metric, Registry};
