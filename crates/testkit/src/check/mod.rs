//! Checkers: what clients saw, judged against what they were promised.
//!
//! ```text
//! history.rs       transactions over lists, as their clients recorded them; the recorder
//! anomaly.rs       what can be wrong, and at which level it is forbidden
//! list_append.rs   lists that only grow: version orders from reads, dependencies, cycles
//! cycle.rs         strongly connected components and short cycles
//! register.rs      single registers: is there one order that explains all reads?
//! bank.rs          transfers: every total is the same
//! long_fork.rs     two readers that saw two writes in opposite orders
//! write_skew.rs    pairs of which at most one may be set
//! ```
//!
//! A history is data: nothing here runs a transaction, looks at a clock or draws a random number
//! (`workload` does). A checker that finds nothing proves nothing; each is tried on histories that
//! were made to be wrong.
//!
//! ```text
//! T1: r(x: [])  a(x, 1) ✓          version order of x: 1 2
//! T2: r(x: [])  a(x, 2) ✓          T1 ─ww─▶ T2, and T2 read x before 1: T2 ─rw─▶ T1
//! T3: r(x: [1, 2])      ✓          a cycle with one rw: G-single, here a lost update
//! ```

pub mod anomaly;
pub mod bank;
mod cycle;
pub mod history;
pub mod list_append;
pub mod long_fork;
pub mod register;
pub mod write_skew;

pub use anomaly::{Anomaly, AnomalyKind, Model};
pub use history::{History, Op, Outcome, Recorder, Running, Txn};
