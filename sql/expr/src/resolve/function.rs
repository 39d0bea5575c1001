//! Functions, aggregates, window and set functions by name and arguments.

use super::candidate::{Candidate, Choice, choose};
use super::operator::undetermined;
use super::{
    AggregateCall, CallOptions, CoercionContext, ResolvedCall, Resolver, SetCall, WindowCall,
    polymorphic, type_names,
};
use crate::cast;
use crate::error::{ExprError, Result};
use crate::registry::{self, ArgPattern, BoundFunction, FuncRef, FunctionDef, FunctionKind};
use crate::tree::{Expr, Position};
use datum::{ColumnType, SqlType};
use std::sync::Arc;

/// PostgreSQL's functions that are not here at all.
const UNSUPPORTED: &str = include_str!("unsupported.txt");

impl Resolver<'_> {
    /// A call by (lower-case, unqualified) name; the planner has checked that a qualification is `pg_catalog`.
    /// `count(*)` is `count` without arguments.
    ///
    /// # Errors
    /// 42883 `function f(integer) does not exist`, 42725, 42809, invalid literals.
    pub fn resolve_function(
        &self,
        name: &str,
        args: Vec<Expr>,
        options: &CallOptions,
    ) -> Result<ResolvedCall> {
        let (given, candidates) = candidates(name, args, options);
        let types: Vec<SqlType> = given.iter().map(|arg| arg.sql_type().clone()).collect();
        if !options.variadic
            && options.within_group == 0
            && !candidates.iter().any(|candidate| matches_exactly(candidate, &types))
            && let Some(cast) = self.cast_by_name(name, &given, options)?
        {
            return Ok(ResolvedCall::Scalar(cast));
        }
        let candidate = match choose(candidates, &types, false) {
            Choice::One(candidate) => candidate,
            Choice::None => return Err(self.missing(name, &given, options)),
            Choice::Ambiguous => {
                return Err(ExprError::new(
                    "42725",
                    format!("function {name}({}) is not unique", type_names(&given)),
                )
                .with_hint(
                    "Could not choose a best candidate function. \
                     You might need to add explicit type casts.",
                )
                .at(options.position));
            }
        };
        self.bind_call(candidate, given, &types, options)
    }

    /// As `resolve_function`, for callers that know it to be scalar.
    pub fn resolve_scalar(
        &self,
        name: &str,
        args: Vec<Expr>,
        position: Option<u32>,
    ) -> Result<Expr> {
        match self.resolve_function(name, args, &CallOptions::at(position))? {
            ResolvedCall::Scalar(expr) => Ok(expr),
            ResolvedCall::Aggregate(_) | ResolvedCall::Window(_) | ResolvedCall::Set(_) => {
                Err(ExprError::internal(format!("{name} is not a scalar function")).at(position))
            }
        }
    }

    /// Whether any overload of this name is an aggregate: the planner asks before it binds arguments.
    pub fn is_aggregate(name: &str) -> bool {
        registry::functions(name).iter().any(FunctionDef::is_aggregate)
    }

    pub fn is_window_only(name: &str) -> bool {
        registry::functions(name).iter().any(FunctionDef::is_window)
    }

    pub fn returns_set(name: &str) -> bool {
        registry::functions(name).iter().any(FunctionDef::returns_set)
    }

    pub fn exists(name: &str) -> bool {
        !registry::functions(name).is_empty()
    }

    fn bind_call(
        &self,
        candidate: Candidate,
        given: Vec<Expr>,
        types: &[SqlType],
        options: &CallOptions,
    ) -> Result<ResolvedCall> {
        let def = candidate.def;
        let binding = polymorphic::bind(&candidate.args, types).unwrap_or_default();
        // A lone unknown for anyelement is text, as PostgreSQL's newer versions have it for "any".
        let concrete = |arg: &ArgPattern, actual: &SqlType| {
            binding
                .concrete(arg, actual)
                .or_else(|| match arg {
                    ArgPattern::AnyCompatible => Some(SqlType::Text),
                    ArgPattern::AnyCompatibleArray => Some(SqlType::array_of(SqlType::Text)),
                    _ => None,
                })
                .ok_or_else(|| undetermined().at(options.position))
        };
        let shapes: Vec<_> = given.iter().map(|arg| arg.shape().cloned()).collect();
        let mut args = Vec::with_capacity(given.len());
        let mut arg_types = Vec::with_capacity(given.len());
        for (arg, declared) in given.into_iter().zip(&candidate.args) {
            let to = concrete(declared, arg.sql_type())?;
            let was_literal = matches!(arg, Expr::Unknown { .. });
            let arg = self.coerce_argument(arg, &to)?;
            let typmod = if *arg.sql_type() == to { arg.ty().typmod } else { -1 };
            // A literal given for "any" is text by value, but pg_typeof still calls it unknown.
            let shown =
                if *declared == ArgPattern::Any && was_literal { SqlType::Unknown } else { to };
            arg_types.push(ColumnType::new(shown, typmod));
            args.push(arg);
        }
        let ty = match (&def.returns, &def.kind) {
            (ArgPattern::Any, _) => SqlType::Record,
            (returns, _) => concrete(returns, &SqlType::Unknown)?,
        };
        let columns = match &def.kind {
            FunctionKind::Set { columns, .. } if !columns.is_empty() => columns
                .iter()
                .map(|(name, arg)| {
                    Ok((Arc::from(*name), ColumnType::plain(concrete(arg, &SqlType::Unknown)?)))
                })
                .collect::<Result<Vec<_>>>()?,
            FunctionKind::Set { .. } if ty == SqlType::Record => Vec::new(),
            FunctionKind::Set { .. } => {
                vec![(Arc::from(def.name), ColumnType::plain(ty.clone()))]
            }
            FunctionKind::Scalar(_) | FunctionKind::Aggregate(_) | FunctionKind::Window(_) => {
                Vec::new()
            }
        };
        // Length limits survive min, max and array_agg-like results only where the type is the argument's own.
        let typmod = match (&def.kind, arg_types.first()) {
            (FunctionKind::Window(_), Some(first)) if first.ty == ty => first.typmod,
            _ => -1,
        };
        let has_shapes = shapes.iter().any(Option::is_some);
        let bound = Arc::new(BoundFunction {
            def: FuncRef(def),
            arg_types,
            result_shape: if ty == SqlType::Record {
                shapes.iter().flatten().next().cloned()
            } else {
                None
            },
            arg_shapes: if has_shapes { shapes } else { Vec::new() },
            ty: ColumnType::new(ty, typmod),
            variadic_array: options.variadic && def.variadic,
            columns,
        });
        let not_ordered_set = || {
            let message = format!(
                "{} is not an ordered-set aggregate, so it cannot have WITHIN GROUP",
                def.name
            );
            ExprError::new("42809", message).at(options.position)
        };
        Ok(match &def.kind {
            FunctionKind::Scalar(_) => {
                if options.within_group > 0 {
                    return Err(not_ordered_set());
                }
                ResolvedCall::Scalar(Expr::Call {
                    func: bound,
                    args,
                    position: Position(options.position),
                })
            }
            FunctionKind::Set { .. } => ResolvedCall::Set(SetCall { bound, args }),
            FunctionKind::Aggregate(aggregate) => {
                if aggregate.ordered_set_direct.is_some() && options.within_group == 0 {
                    return Err(ExprError::new(
                        "42809",
                        format!("WITHIN GROUP is required for ordered-set aggregate {}", def.name),
                    )
                    .at(options.position));
                }
                if aggregate.ordered_set_direct.is_none() && options.within_group > 0 {
                    return Err(not_ordered_set());
                }
                ResolvedCall::Aggregate(AggregateCall { bound, args })
            }
            FunctionKind::Window(_) => ResolvedCall::Window(WindowCall { bound, args }),
        })
    }

    /// `float8(x)`, `text(x)`, `date('..')`: a type's name used as a function is a cast (section 10.3, step 3), if the
    /// argument is a literal or converts by label or through text.
    fn cast_by_name(
        &self,
        name: &str,
        args: &[Expr],
        options: &CallOptions,
    ) -> Result<Option<Expr>> {
        let [arg] = args else { return Ok(None) };
        let Some(to) = SqlType::from_name(name) else { return Ok(None) };
        if to.catalog_name() != name {
            return Ok(None);
        }
        let from = arg.sql_type();
        let fits = *from == SqlType::Unknown || *from == to || cast::allowed(from, &to).is_some();
        if !fits {
            return Ok(None);
        }
        let cast = self.coerce(arg.clone(), &ColumnType::plain(to), CoercionContext::Explicit);
        cast.map(Some).map_err(|error| error.at(options.position))
    }

    fn missing(&self, name: &str, args: &[Expr], options: &CallOptions) -> ExprError {
        if UNSUPPORTED.split_whitespace().any(|known| known == name) {
            let error = ExprError::unsupported(format!("function {name}"));
            return error.at(options.position);
        }
        let error = ExprError::new(
            "42883",
            format!("function {name}({}) does not exist", type_names(args)),
        );
        error
            .with_hint(
                "No function matches the given name and argument types. \
                 You might need to add explicit type casts.",
            )
            .at(options.position)
    }
}

/// Overloads that can take so many arguments, and the arguments in their order with defaults filled in. Named
/// notation could order them differently per overload; none here do.
fn candidates(name: &str, args: Vec<Expr>, options: &CallOptions) -> (Vec<Expr>, Vec<Candidate>) {
    let mut given: Option<Vec<Expr>> = None;
    let mut candidates = Vec::new();
    for def in registry::functions(name) {
        let Some(arranged) = arrange(def, &args, options) else { continue };
        if given.as_ref().is_some_and(|first| first.len() != arranged.len()) {
            continue;
        }
        candidates.push(Candidate { def, args: stretch(def, arranged.len(), options.variadic) });
        given.get_or_insert(arranged);
    }
    (given.unwrap_or(args), candidates)
}

fn matches_exactly(candidate: &Candidate, types: &[SqlType]) -> bool {
    candidate.args.len() == types.len()
        && candidate
            .args
            .iter()
            .zip(types)
            .all(|(arg, ty)| matches!(arg, ArgPattern::Exact(exact) if exact == ty))
}

/// Puts named arguments in their places and fills in defaults; `None` if they do not fit this overload.
fn arrange(def: &'static FunctionDef, args: &[Expr], options: &CallOptions) -> Option<Vec<Expr>> {
    let declared = def.args.len();
    if options.variadic {
        return (def.variadic && args.len() == declared).then(|| args.to_vec());
    }
    if options.names.iter().all(Option::is_none) {
        if def.variadic && args.len() + 1 >= declared {
            return Some(args.to_vec());
        }
        if args.len() > declared || args.len() + def.defaults.len() < declared {
            return None;
        }
        let mut all = args.to_vec();
        let missing = declared - args.len();
        all.extend(default_values(def).split_off(def.defaults.len() - missing));
        return Some(all);
    }
    let mut placed: Vec<Option<Expr>> = vec![None; declared];
    for (index, arg) in args.iter().enumerate() {
        let at = match options.names.get(index).and_then(Option::as_ref) {
            None => index,
            Some(name) => def.arg_names.iter().position(|own| own == name)?,
        };
        let slot = placed.get_mut(at)?;
        if slot.is_some() {
            return None;
        }
        *slot = Some(arg.clone());
    }
    let first_default = declared - def.defaults.len();
    for (index, default) in default_values(def).into_iter().enumerate() {
        placed[first_default + index].get_or_insert(default);
    }
    placed.into_iter().collect()
}

fn default_values(def: &FunctionDef) -> Vec<Expr> {
    def.defaults
        .iter()
        .map(|text| match *text {
            "null" => Expr::unknown_null(None),
            text => Expr::unknown(text, None),
        })
        .collect()
}

/// Declared types, the variadic one repeated; as an array where the call says VARIADIC.
fn stretch(def: &FunctionDef, count: usize, variadic_array: bool) -> Vec<ArgPattern> {
    let mut args = def.args.clone();
    if !def.variadic {
        return args;
    }
    let last = args.pop().unwrap_or(ArgPattern::Any);
    if variadic_array {
        args.push(match last {
            ArgPattern::Exact(ty) => ArgPattern::Exact(SqlType::array_of(ty)),
            ArgPattern::AnyElement => ArgPattern::AnyArray,
            ArgPattern::AnyCompatible => ArgPattern::AnyCompatibleArray,
            _ => ArgPattern::AnyArray,
        });
        return args;
    }
    args.resize(count, last);
    args
}
