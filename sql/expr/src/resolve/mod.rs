//! What an operator, function or cast means for given arguments: PostgreSQL's chapter 10 ("Type Conversion").
//!
//! Every method takes argument expressions and gives back one typed expression, with the conversions
//! inserted. Bare literals are `Expr::Unknown` until then: they are parsed as soon as their type is
//! known, and an invalid one is reported at its own position. Parameters without a type get theirs the
//! same way, remembered in `ParamTypes`.
//!
//! ```text
//!   let types = ParamTypes::new(hints);
//!   let resolver = Resolver::new(&ctx, &types);
//!   resolver.resolve_operator("=", Some(column), Expr::unknown("5", 20), Position(Some(18)))?
//! ```

mod candidate;
mod coerce;
mod common_type;
mod construct;
mod function;
mod operator;
mod polymorphic;

use crate::context::EvalContext;
use crate::error::{ExprError, Result};
use crate::registry::BoundFunction;
use crate::tree::Expr;
use datum::{ColumnType, SqlType};
use std::cell::{Cell, RefCell};
use std::sync::Arc;

/// How much a conversion was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CoercionContext {
    /// Arguments of operators and functions.
    Implicit,
    /// Storing into a column.
    Assignment,
    /// CAST and `::`.
    Explicit,
}

/// Binds names and literals. Lives as long as the binding of one statement.
pub struct Resolver<'a> {
    /// For parsing literals (time zone, date style, `'now'`) and `regclass` names.
    pub ctx: &'a EvalContext<'a>,
    pub params: &'a ParamTypes,
    /// Set when a literal's value depends on the session (zone, `'now'`, search path): such a plan must not be shared.
    session_dependent: Cell<bool>,
}

impl<'a> Resolver<'a> {
    pub fn new(ctx: &'a EvalContext<'a>, params: &'a ParamTypes) -> Self {
        Self { ctx, params, session_dependent: Cell::new(false) }
    }

    /// Whether some literal was read under the session's settings, clock or search path.
    pub fn is_session_dependent(&self) -> bool {
        self.session_dependent.get()
    }

    pub(crate) fn note_session_dependence(&self) {
        self.session_dependent.set(true);
    }
}

/// Types of `$1`, `$2`, …: declared by the client or inferred from the first use that needs one.
#[derive(Debug, Default)]
pub struct ParamTypes {
    types: RefCell<Vec<Option<SqlType>>>,
    /// PREPARE with a list, SQL functions: no parameters besides those declared.
    fixed: bool,
}

impl ParamTypes {
    pub fn new(declared: Vec<Option<SqlType>>) -> Self {
        Self { types: RefCell::new(declared), fixed: false }
    }

    pub fn fixed(declared: Vec<SqlType>) -> Self {
        Self { types: RefCell::new(declared.into_iter().map(Some).collect()), fixed: true }
    }

    /// The expression for `$number` (from one).
    pub fn reference(&self, number: usize, position: Option<u32>) -> Result<Expr> {
        let mut types = self.types.borrow_mut();
        let missing = number == 0 || number > 65_535 || (self.fixed && number > types.len());
        if missing {
            let error = ExprError::new("42P02", format!("there is no parameter ${number}"));
            return Err(error.at(position));
        }
        if types.len() < number {
            types.resize(number, None);
        }
        let ty = types[number - 1].clone().unwrap_or(SqlType::Unknown);
        Ok(Expr::param(number - 1, ty, position))
    }

    pub(crate) fn infer(&self, index: usize, ty: &SqlType, position: Option<u32>) -> Result<()> {
        let mut types = self.types.borrow_mut();
        if types.len() <= index {
            types.resize(index + 1, None);
        }
        match &types[index] {
            Some(known) if known != ty => Err(ExprError::new(
                "42P08",
                format!("inconsistent types deduced for parameter ${}", index + 1),
            )
            .with_detail(format!("{} versus {}", known.name(), ty.name()))
            .at(position)),
            Some(_) => Ok(()),
            None => {
                types[index] = Some(ty.clone());
                Ok(())
            }
        }
    }

    /// All of them, at the end of binding.
    ///
    /// # Errors
    /// 42P18 for a parameter whose type nothing determined.
    pub fn finish(&self) -> Result<Vec<SqlType>> {
        self.types
            .borrow()
            .iter()
            .enumerate()
            .map(|(index, ty)| {
                ty.clone().ok_or_else(|| {
                    ExprError::new(
                        "42P18",
                        format!("could not determine data type of parameter ${}", index + 1),
                    )
                })
            })
            .collect()
    }

    /// As known so far.
    pub fn snapshot(&self) -> Vec<Option<SqlType>> {
        self.types.borrow().clone()
    }
}

/// What the syntax of a function call says beside its arguments.
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    /// Names of the last arguments, in `f(a, name => b)`: as long as the arguments, or empty.
    pub names: Vec<Option<String>>,
    /// `f(a, VARIADIC array)`.
    pub variadic: bool,
    /// WITHIN GROUP (ORDER BY ...): how many of the last arguments came from there.
    pub within_group: usize,
    pub position: Option<u32>,
}

impl CallOptions {
    pub fn at(position: Option<u32>) -> Self {
        Self { position, ..Self::default() }
    }
}

/// A function name in an expression turned out to be one of these.
#[derive(Clone, Debug)]
pub enum ResolvedCall {
    Scalar(Expr),
    Aggregate(AggregateCall),
    Window(WindowCall),
    Set(SetCall),
}

/// `bound.accumulator()` makes a state; feed it the arguments' values of each row.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregateCall {
    pub bound: Arc<BoundFunction>,
    /// For an ordered-set aggregate: the direct arguments, then the sort keys.
    pub args: Vec<Expr>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct WindowCall {
    pub bound: Arc<BoundFunction>,
    pub args: Vec<Expr>,
}

/// `bound.call_set()` gives the rows; `bound.columns` names and types their columns.
#[derive(Clone, Debug, PartialEq)]
pub struct SetCall {
    pub bound: Arc<BoundFunction>,
    pub args: Vec<Expr>,
}

impl SetCall {
    /// `AS x(a int, b text)` for functions that return records (`json_to_recordset`).
    #[must_use]
    pub fn with_columns(mut self, columns: Vec<(Arc<str>, ColumnType)>) -> Self {
        let mut bound = (*self.bound).clone();
        bound.columns = columns;
        self.bound = Arc::new(bound);
        self
    }

    /// True while the columns are not known: a column definition list is required.
    pub fn needs_column_list(&self) -> bool {
        self.bound.columns.is_empty()
    }
}

pub(crate) fn type_names(args: &[Expr]) -> String {
    args.iter().map(|arg| arg.sql_type().name()).collect::<Vec<_>>().join(", ")
}
