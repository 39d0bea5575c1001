//! Every overload of every operator and function: its name, types, properties and kernel. Built once.
//!
//! A definition is written as its signature in a small language and a kernel:
//!
//! ```text
//! r.strict("lpad(text, int4, text) text", lpad);         a null argument makes a null result, kernel not called
//! r.lenient("concat(any...) text", concat);              sees nulls; any number of arguments of any types
//! r.strict("array_append(anyarray, anyelement) anyarray", ..)   polymorphic: resolved per call
//! r.operator("int4 + int4 int4", add_int4);
//! ```
//!
//! A kernel gets its arguments flat: `VARIADIC` arrays are expanded before. What it must know about
//! types beyond the values (field names, bpchar) is in `Invocation::bound`.

use crate::aggregates::Accumulator;
use crate::context::EvalContext;
use crate::error::{EvalResult, ExprError, Result};
use crate::tree::Comparison;
use crate::window::WindowFunction;
use datum::{ColumnType, Datum, SqlType};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

pub type Kernel = fn(&[Datum], &Invocation<'_>) -> EvalResult;
pub type SetKernel = fn(&[Datum], &Invocation<'_>) -> Result<Vec<Vec<Datum>>>;

/// What a kernel sees beside its arguments.
#[derive(Clone, Copy)]
pub struct Invocation<'a> {
    pub ctx: &'a EvalContext<'a>,
    pub bound: &'a BoundFunction,
}

impl Invocation<'_> {
    pub fn arg_type(&self, index: usize) -> &SqlType {
        static TEXT: SqlType = SqlType::Text;
        self.bound.arg_types.get(index).map_or(&TEXT, |ty| &ty.ty)
    }

    pub fn result_type(&self) -> &SqlType {
        &self.bound.ty.ty
    }

    /// Field names of a record argument, if the planner knew them.
    pub fn shape(&self, index: usize) -> Option<&Arc<RecordShape>> {
        self.bound.arg_shapes.get(index).and_then(Option::as_ref)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Volatility {
    Immutable,
    /// Constant within one statement.
    Stable,
    Volatile,
}

/// A declared argument or result type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArgPattern {
    Exact(SqlType),
    /// Any type, unrelated to the others.
    Any,
    AnyElement,
    AnyArray,
    AnyNonArray,
    /// As `AnyElement`, but arguments are brought to their common type.
    AnyCompatible,
    AnyCompatibleArray,
}

impl ArgPattern {
    pub fn is_polymorphic(&self) -> bool {
        !matches!(self, Self::Exact(_) | Self::Any)
    }
}

impl fmt::Display for ArgPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(ty) => f.write_str(&ty.name()),
            Self::Any => f.write_str("\"any\""),
            Self::AnyElement => f.write_str("anyelement"),
            Self::AnyArray => f.write_str("anyarray"),
            Self::AnyNonArray => f.write_str("anynonarray"),
            Self::AnyCompatible => f.write_str("anycompatible"),
            Self::AnyCompatibleArray => f.write_str("anycompatiblearray"),
        }
    }
}

#[derive(Clone)]
pub enum FunctionKind {
    Scalar(Kernel),
    /// Yields rows; `columns` names and types them, one column named like the function if empty.
    Set {
        kernel: SetKernel,
        columns: Vec<(&'static str, ArgPattern)>,
    },
    Aggregate(AggregateDef),
    Window(WindowFunction),
}

#[derive(Clone, Copy)]
pub struct AggregateDef {
    pub new: fn(&BoundFunction) -> Box<dyn Accumulator>,
    /// WITHIN GROUP: how many leading arguments are direct; the others are the sort keys' values.
    pub ordered_set_direct: Option<usize>,
    /// The order of input rows cannot matter (min, count): ORDER BY in the call may be ignored.
    pub order_insensitive: bool,
}

/// One overload.
#[derive(Clone)]
pub struct FunctionDef {
    /// Function name, or operator symbol if `is_operator`.
    pub name: &'static str,
    pub is_operator: bool,
    /// Declared arguments; of a variadic function, the last one is that of each further argument.
    pub args: Vec<ArgPattern>,
    pub variadic: bool,
    /// Empty, or as long as `args`.
    pub arg_names: Vec<&'static str>,
    /// SQL literals for the last arguments, if they may be left out.
    pub defaults: Vec<&'static str>,
    pub returns: ArgPattern,
    /// A null argument makes a null result (no rows, for set functions) without calling the kernel.
    pub strict: bool,
    pub volatility: Volatility,
    pub kind: FunctionKind,
    /// Stable within one version of the program; above PostgreSQL's own.
    pub oid: u32,
}

impl FunctionDef {
    pub fn comparison(&self) -> Option<Comparison> {
        if self.is_operator && self.args.len() == 2 {
            Comparison::from_symbol(self.name)
        } else {
            None
        }
    }

    pub fn is_aggregate(&self) -> bool {
        matches!(self.kind, FunctionKind::Aggregate(_))
    }

    pub fn is_window(&self) -> bool {
        matches!(self.kind, FunctionKind::Window(_))
    }

    pub fn returns_set(&self) -> bool {
        matches!(self.kind, FunctionKind::Set { .. })
    }

    /// `lpad(text, integer, text)`.
    pub fn signature(&self) -> String {
        let args: Vec<String> = self.args.iter().map(ToString::to_string).collect();
        format!("{}({})", self.name, args.join(", "))
    }
}

impl fmt::Debug for FunctionDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.signature())
    }
}

/// An overload in the registry; compared by identity.
#[derive(Clone, Copy)]
pub struct FuncRef(pub &'static FunctionDef);

impl std::ops::Deref for FuncRef {
    type Target = FunctionDef;

    fn deref(&self) -> &FunctionDef {
        self.0
    }
}

impl PartialEq for FuncRef {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for FuncRef {}

impl fmt::Debug for FuncRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names and types of a record's fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordShape {
    pub names: Vec<Arc<str>>,
    pub types: Arc<[SqlType]>,
}

impl RecordShape {
    /// `f1`, `f2`, …: what ROW(...) is called.
    pub fn anonymous(types: impl Into<Arc<[SqlType]>>) -> Self {
        let types = types.into();
        Self { names: (1..=types.len()).map(|i| Arc::from(format!("f{i}"))).collect(), types }
    }
}

/// An overload with the concrete types of one call.
#[derive(Clone, Debug, PartialEq)]
pub struct BoundFunction {
    pub def: FuncRef,
    pub arg_types: Vec<ColumnType>,
    /// Empty, or per argument the fields of a record.
    pub arg_shapes: Vec<Option<Arc<RecordShape>>>,
    pub ty: ColumnType,
    pub result_shape: Option<Arc<RecordShape>>,
    /// The call said VARIADIC: the last argument is an array to be expanded.
    pub variadic_array: bool,
    /// Set functions: the columns of a row.
    pub columns: Vec<(Arc<str>, ColumnType)>,
}

impl BoundFunction {
    /// Evaluates a scalar function. The one entry for the row path and for DataFusion.
    pub fn call(&self, args: &[Datum], ctx: &EvalContext<'_>) -> EvalResult {
        let FunctionKind::Scalar(kernel) = self.def.0.kind else {
            return Err(ExprError::internal(format!("{} is not a scalar function", self.def.name)));
        };
        if self.variadic_array {
            let Some(args) = self.expand_variadic(args)? else { return Ok(Datum::Null) };
            return kernel(&args, &Invocation { ctx, bound: self });
        }
        if self.def.0.strict && args.iter().any(Datum::is_null) {
            return Ok(Datum::Null);
        }
        kernel(args, &Invocation { ctx, bound: self })
    }

    /// The rows of a set-returning function.
    pub fn call_set(&self, args: &[Datum], ctx: &EvalContext<'_>) -> Result<Vec<Vec<Datum>>> {
        let FunctionKind::Set { kernel, .. } = &self.def.0.kind else {
            return Err(ExprError::internal(format!("{} does not return a set", self.def.name)));
        };
        if self.def.0.strict && args.iter().any(Datum::is_null) {
            return Ok(Vec::new());
        }
        kernel(args, &Invocation { ctx, bound: self })
    }

    /// A fresh state of an aggregate.
    pub fn accumulator(&self) -> Result<Box<dyn Accumulator>> {
        match &self.def.0.kind {
            FunctionKind::Aggregate(def) => Ok((def.new)(self)),
            FunctionKind::Scalar(_) | FunctionKind::Set { .. } | FunctionKind::Window(_) => {
                Err(ExprError::internal(format!("{} is not an aggregate", self.def.name)))
            }
        }
    }

    fn expand_variadic(&self, args: &[Datum]) -> Result<Option<Vec<Datum>>> {
        let Some((last, first)) = args.split_last() else { return Ok(Some(Vec::new())) };
        if self.def.0.strict && args.iter().any(Datum::is_null) {
            return Ok(None);
        }
        match last {
            Datum::Array(array) => Ok(Some(first.iter().chain(&array.items).cloned().collect())),
            // concat(VARIADIC null) and friends answer null.
            Datum::Null => Ok(None),
            _ => Err(ExprError::datatype_mismatch("VARIADIC argument must be an array")),
        }
    }
}

/// Collects definitions while the registry is built.
#[derive(Default)]
pub struct Registry {
    functions: HashMap<&'static str, Vec<FunctionDef>>,
    operators: HashMap<&'static str, Vec<FunctionDef>>,
    volatility: Option<Volatility>,
    count: u32,
}

/// The finished table.
struct Table {
    functions: HashMap<&'static str, Vec<FunctionDef>>,
    operators: HashMap<&'static str, Vec<FunctionDef>>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut registry = Registry::default();
    crate::operators::register(&mut registry);
    crate::functions::register(&mut registry);
    crate::aggregates::register(&mut registry);
    crate::window::register(&mut registry);
    Table { functions: registry.functions, operators: registry.operators }
});

/// Overloads of a function, aggregate, window or set function.
pub fn functions(name: &str) -> &'static [FunctionDef] {
    TABLE.functions.get(name).map_or(&[], Vec::as_slice)
}

/// Overloads of an operator, prefix ones with one argument.
pub fn operators(symbol: &str) -> &'static [FunctionDef] {
    let symbol = if symbol == "!=" { "<>" } else { symbol };
    TABLE.operators.get(symbol).map_or(&[], Vec::as_slice)
}

/// Everything by oid order: `pg_proc`.
pub fn all_functions() -> Vec<FuncRef> {
    let mut all: Vec<FuncRef> = TABLE.functions.values().flatten().map(FuncRef).collect();
    all.sort_by_key(|def| def.oid);
    all
}

impl Registry {
    /// Definitions that follow are STABLE or VOLATILE, until the next call.
    pub fn volatility(&mut self, volatility: Volatility) -> &mut Self {
        self.volatility = Some(volatility);
        self
    }

    pub fn strict(&mut self, signature: &'static str, kernel: Kernel) -> &mut FunctionDef {
        self.define(signature, true, FunctionKind::Scalar(kernel))
    }

    pub fn lenient(&mut self, signature: &'static str, kernel: Kernel) -> &mut FunctionDef {
        self.define(signature, false, FunctionKind::Scalar(kernel))
    }

    pub fn set(&mut self, signature: &'static str, kernel: SetKernel) -> &mut FunctionDef {
        self.define(signature, true, FunctionKind::Set { kernel, columns: Vec::new() })
    }

    /// A set function of several columns: `"key text, value json"`.
    pub fn set_of(
        &mut self,
        signature: &'static str,
        columns: &'static str,
        kernel: SetKernel,
    ) -> &mut FunctionDef {
        let columns = columns
            .split(',')
            .map(|column| {
                let (name, ty) = column.trim().split_once(' ').expect("a column is `name type`");
                (name, pattern(ty))
            })
            .collect();
        self.define(signature, true, FunctionKind::Set { kernel, columns })
    }

    pub fn aggregate(
        &mut self,
        signature: &'static str,
        new: fn(&BoundFunction) -> Box<dyn Accumulator>,
    ) -> &mut FunctionDef {
        let def = AggregateDef { new, ordered_set_direct: None, order_insensitive: false };
        self.define(signature, false, FunctionKind::Aggregate(def))
    }

    pub fn window(
        &mut self,
        signature: &'static str,
        function: WindowFunction,
    ) -> &mut FunctionDef {
        self.define(signature, false, FunctionKind::Window(function))
    }

    pub fn define(
        &mut self,
        signature: &'static str,
        strict: bool,
        kind: FunctionKind,
    ) -> &mut FunctionDef {
        let (name, rest) = signature.split_once('(').expect("a signature has arguments");
        let (args, returns) = rest.rsplit_once(')').expect("a signature has a result");
        let mut def = self.blank(name, strict, kind);
        for arg in args.split(',').map(str::trim).filter(|arg| !arg.is_empty()) {
            let arg = match arg.split_once(' ') {
                Some((name, ty)) if !ty.is_empty() => {
                    def.arg_names.push(name);
                    ty
                }
                _ => arg,
            };
            let arg = match arg.split_once('=') {
                Some((ty, default)) => {
                    def.defaults.push(default);
                    ty
                }
                None => arg,
            };
            let (arg, variadic) = arg.strip_suffix("...").map_or((arg, false), |arg| (arg, true));
            def.variadic |= variadic;
            def.args.push(pattern(arg));
        }
        def.returns = pattern(returns.trim());
        let list = self.functions.entry(name).or_default();
        list.push(def);
        list.last_mut().expect("just pushed")
    }

    /// `"int4 + int4 int4"`, or prefix: `"- int4 int4"`. Strict.
    pub fn operator(&mut self, signature: &'static str, kernel: Kernel) -> &mut FunctionDef {
        self.operator_as(signature, true, kernel)
    }

    pub fn operator_as(
        &mut self,
        signature: &'static str,
        strict: bool,
        kernel: Kernel,
    ) -> &mut FunctionDef {
        let words: Vec<&'static str> = signature.split_whitespace().collect();
        let (name, args, returns) = match words.as_slice() {
            [left, name, right, returns] => (*name, vec![pattern(left), pattern(right)], returns),
            [name, right, returns] => (*name, vec![pattern(right)], returns),
            _ => unreachable!("an operator's signature is `left op right result`: {signature}"),
        };
        let mut def = self.blank(name, strict, FunctionKind::Scalar(kernel));
        def.is_operator = true;
        def.args = args;
        def.returns = pattern(returns);
        let list = self.operators.entry(name).or_default();
        list.push(def);
        list.last_mut().expect("just pushed")
    }

    fn blank(&mut self, name: &'static str, strict: bool, kind: FunctionKind) -> FunctionDef {
        self.count += 1;
        FunctionDef {
            name,
            is_operator: false,
            args: Vec::new(),
            variadic: false,
            arg_names: Vec::new(),
            defaults: Vec::new(),
            returns: ArgPattern::Any,
            strict,
            volatility: self.volatility.unwrap_or(Volatility::Immutable),
            kind,
            oid: FIRST_OID + self.count,
        }
    }
}

/// Below 16384, where user objects begin, and above the numbers PostgreSQL's own functions have.
const FIRST_OID: u32 = 9_000;

fn pattern(name: &str) -> ArgPattern {
    match name {
        "any" => ArgPattern::Any,
        "anyelement" => ArgPattern::AnyElement,
        "anyarray" => ArgPattern::AnyArray,
        "anynonarray" => ArgPattern::AnyNonArray,
        "anycompatible" => ArgPattern::AnyCompatible,
        "anycompatiblearray" => ArgPattern::AnyCompatibleArray,
        other => ArgPattern::Exact(
            SqlType::from_name(other).unwrap_or_else(|| unreachable!("no type is called {other}")),
        ),
    }
}
