//! Typed expressions: what an operator or function name means for given types, and what it computes.
//!
//! ```text
//!   planner                                expr                                   executors
//!   name + argument expressions ──▶ Resolver (PostgreSQL chapter 10) ──▶ Expr ──▶ expr.eval(&row, &ctx)
//!                                     │ registry: every overload             ──▶ bound.call(&args, &ctx)   (DataFusion UDFs)
//!                                     └─▶ aggregate / window / set calls     ──▶ Accumulator, WindowInput, rows
//! ```
//!
//! One worked example: `'12' + 1`. The planner hands `Expr::unknown("12", position)` and `Expr::int4(1)` to
//! `resolver.resolve_operator("+", ..)`; the unknown literal takes the other side's type, is parsed now ("invalid
//! input syntax" would carry its position), and the answer is a `Call` of the kernel for (int4, int4).
//!
//! ```text
//! tree.rs         Expr, and walks over it          context.rs     EvalContext, SessionFacts: what kernels may ask
//! evaluate.rs     Expr on one row                  registry.rs    FunctionDef, BoundFunction, the table of overloads
//! resolve/        names and types -> overloads     cast.rs        which casts exist, and their kernels
//! operators/      kernels behind operators         functions/     kernels behind names
//! aggregates/     accumulators                     window.rs      window functions over one partition
//! ```
//!
//! Absences: expr knows no tables, no rows on disk, no sessions (it asks `SessionFacts`), no async, no parser.
//! Every kernel exists once per function and types; the row path and the DataFusion path call the same one.

pub mod aggregates;
mod args;
pub mod cast;
pub mod context;
mod error;
mod evaluate;
mod functions;
mod json_build;
mod json_text;
mod like;
mod operators;
mod regex_cache;
pub mod registry;
pub mod resolve;
pub mod session_facts;
pub mod tree;
pub mod window;

pub use aggregates::Accumulator;
pub use cast::BoundCast;
pub use context::{EvalContext, OwnedContext};
pub use error::{EvalResult, ExprError, Result};
pub use functions::sets::Integers;
pub use registry::{
    AggregateDef, ArgPattern, BoundFunction, FuncRef, FunctionDef, FunctionKind, Invocation,
    Kernel, RecordShape, Volatility,
};
pub use resolve::{
    AggregateCall, CallOptions, CoercionContext, ParamTypes, ResolvedCall, Resolver, SetCall,
    WindowCall,
};
pub use session_facts::{NoSession, SessionFacts};
pub use tree::{BoolTest, Comparison, Expr, Position, Subscript};
pub use window::{Frame, WindowFunction, WindowInput};
