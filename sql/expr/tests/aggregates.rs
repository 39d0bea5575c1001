//! Aggregates, windows and set functions: rows in, answers as PostgreSQL prints them.

use datum::{Datum, SqlType, TypeContext};
use expr::cast::output_text;
use expr::{CallOptions, EvalContext, Expr, Frame, NoSession, ParamTypes, ResolvedCall, Resolver};
use expr::{WindowFunction, WindowInput};

/// Feeds `rows` to the aggregate; each row holds the arguments.
fn aggregate(name: &str, types: &[SqlType], rows: &[Vec<Datum>], within_group: usize) -> String {
    let types_context = TypeContext::default();
    let ctx = EvalContext::new(&types_context, &NoSession);
    let params = ParamTypes::default();
    let resolver = Resolver::new(&ctx, &params);
    let args = types.iter().enumerate().map(|(i, ty)| Expr::column(i, ty.clone())).collect();
    let options = CallOptions { within_group, ..CallOptions::default() };
    let call = match resolver.resolve_function(name, args, &options) {
        Ok(ResolvedCall::Aggregate(call)) => call,
        Ok(other) => panic!("{name} is not an aggregate: {other:?}"),
        Err(error) => return format!("ERROR: {}", error.message),
    };
    // Two states, merged, must answer as one does.
    let mut whole = call.bound.accumulator().expect("an aggregate");
    let mut left = call.bound.accumulator().expect("an aggregate");
    let mut right = call.bound.accumulator().expect("an aggregate");
    for (index, row) in rows.iter().enumerate() {
        let values: Vec<Datum> =
            call.args.iter().map(|arg| arg.eval(row, &ctx).expect("evaluates")).collect();
        if let Err(error) = whole.update(&values, &ctx) {
            return format!("ERROR: {}", error.message);
        }
        let half = if index < rows.len() / 2 { &mut left } else { &mut right };
        half.update(&values, &ctx).expect("the same rows");
    }
    left.merge(right).expect("the same aggregate");
    let show = |value: Datum| match value {
        Datum::Null => "NULL".to_owned(),
        value => output_text(&value, &call.bound.ty.ty, &ctx),
    };
    match (whole.finish(&ctx), left.finish(&ctx)) {
        (Ok(whole), Ok(merged)) => {
            assert_eq!(whole, merged, "{name}: merging changed the answer");
            show(whole)
        }
        (Err(error), _) | (_, Err(error)) => format!("ERROR: {}", error.message),
    }
}

fn ints(values: &[Option<i32>]) -> Vec<Vec<Datum>> {
    values.iter().map(|value| vec![(*value).into()]).collect()
}

fn one(name: &str, values: &[Option<i32>]) -> String {
    aggregate(name, &[SqlType::Int4], &ints(values), 0)
}

#[test]
fn sums_and_averages_widen() {
    let values = [Some(10), None, Some(i32::MAX)];
    assert_eq!(one("sum", &values), "2147483657");
    assert_eq!(one("avg", &values), "1073741828.50000000");
    assert_eq!(one("count", &values), "2");
    assert_eq!(one("sum", &[None]), "NULL");
    assert_eq!(one("min", &values), "10");
    assert_eq!(one("max", &values), "2147483647");
    let big = vec![vec![Datum::Int8(i64::MAX)]; 3];
    assert_eq!(aggregate("sum", &[SqlType::Int8], &big, 0), "27670116110564327421");
    assert_eq!(aggregate("count", &[], &[vec![], vec![]], 0), "2");
}

#[test]
fn deviations_are_numerics_of_integers() {
    let values = [Some(1), Some(2), Some(3)];
    assert_eq!(one("stddev", &values), "1.00000000000000000000");
    assert_eq!(one("variance", &values), "1.00000000000000000000");
    assert_eq!(one("var_pop", &values), "0.66666666666666666667");
    assert_eq!(one("stddev", &[Some(1)]), "NULL");
    assert_eq!(one("bit_and", &values), "0");
    assert_eq!(one("bit_or", &values), "3");
}

#[test]
fn collections_keep_nulls_or_not() {
    let texts: Vec<Vec<Datum>> = vec![
        vec!["a".into(), ",".into()],
        vec![Datum::Null, ",".into()],
        vec!["b".into(), ";".into()],
    ];
    assert_eq!(aggregate("string_agg", &[SqlType::Text, SqlType::Text], &texts, 0), "a;b");
    assert_eq!(one("array_agg", &[Some(1), None]), "{1,NULL}");
    assert_eq!(one("json_agg", &[Some(1), None]), "[1, null]");
    assert_eq!(one("jsonb_agg", &[Some(1), None]), "[1, null]");
    let pairs = vec![vec!["x".into(), Datum::Int4(1)], vec!["y".into(), Datum::Null]];
    let types = [SqlType::Text, SqlType::Int4];
    assert_eq!(aggregate("json_object_agg", &types, &pairs, 0), r#"{ "x" : 1, "y" : null }"#);
    assert_eq!(aggregate("jsonb_object_agg", &types, &pairs, 0), r#"{"x": 1, "y": null}"#);
}

#[test]
fn ordered_sets_look_at_sorted_rows() {
    let rows: Vec<Vec<Datum>> =
        [1, 2, 3, 10].iter().map(|v| vec![Datum::Float8(0.5), Datum::Int4(*v)]).collect();
    let types = [SqlType::Float8, SqlType::Int4];
    assert_eq!(aggregate("percentile_cont", &types, &rows, 1), "2.5");
    assert_eq!(aggregate("percentile_disc", &types, &rows, 1), "2");
    assert_eq!(
        aggregate("percentile_cont", &types, &rows, 0),
        "ERROR: WITHIN GROUP is required for ordered-set aggregate percentile_cont"
    );
    let mode = [Some(1), Some(2), Some(2), Some(3)];
    assert_eq!(aggregate("mode", &[SqlType::Int4], &ints(&mode), 1), "2");
}

#[test]
fn aggregates_refuse_types_that_they_lack() {
    assert_eq!(
        aggregate("sum", &[SqlType::Text], &[], 0),
        "ERROR: function sum(text) does not exist"
    );
    assert_eq!(
        aggregate("max", &[SqlType::Bool], &[], 0),
        "ERROR: function max(boolean) does not exist"
    );
}

#[test]
fn windows_rank_peers_and_look_around() {
    let types = TypeContext::default();
    let ctx = EvalContext::new(&types, &NoSession);
    let values: Vec<Datum> = [10, 10, 20].map(Datum::Int4).to_vec();
    let peers =
        [Frame { start: 0, end: 2 }, Frame { start: 0, end: 2 }, Frame { start: 2, end: 3 }];
    let frames =
        [Frame { start: 0, end: 2 }, Frame { start: 0, end: 2 }, Frame { start: 0, end: 3 }];
    let args = [values];
    let input = WindowInput { rows: 3, args: &args, peers: &peers, frames: &frames };
    let run = |function: WindowFunction| {
        let values = function.evaluate(&input, &ctx).expect("evaluates");
        let shown: Vec<String> = values
            .iter()
            .map(|value| {
                if value.is_null() { "-".into() } else { output_text(value, &SqlType::Text, &ctx) }
            })
            .collect();
        shown.join(" ")
    };
    assert_eq!(run(WindowFunction::RowNumber), "1 2 3");
    assert_eq!(run(WindowFunction::Rank), "1 1 3");
    assert_eq!(run(WindowFunction::DenseRank), "1 1 2");
    assert_eq!(run(WindowFunction::PercentRank), "0 0 1");
    assert_eq!(run(WindowFunction::Lag), "- 10 10");
    assert_eq!(run(WindowFunction::Lead), "10 20 -");
    assert_eq!(run(WindowFunction::LastValue), "10 10 20");
}

#[test]
fn set_functions_name_and_type_their_columns() {
    let types = TypeContext::default();
    let ctx = EvalContext::new(&types, &NoSession);
    let params = ParamTypes::default();
    let resolver = Resolver::new(&ctx, &params);
    let rows = |name: &str, args: Vec<Expr>| {
        let call = resolver.resolve_function(name, args, &CallOptions::default());
        let Ok(ResolvedCall::Set(call)) = call else { panic!("{name}: {call:?}") };
        let values: Vec<Datum> =
            call.args.iter().map(|arg| arg.eval(&[], &ctx).expect("evaluates")).collect();
        let columns: Vec<String> =
            call.bound.columns.iter().map(|(name, ty)| format!("{name} {ty}")).collect();
        let rows = call.bound.call_set(&values, &ctx).expect("yields");
        let shown: Vec<String> = rows
            .iter()
            .map(|row| {
                row.iter()
                    .zip(&call.bound.columns)
                    .map(|(value, (_, ty))| output_text(value, &ty.ty, &ctx))
                    .collect::<Vec<_>>()
                    .join("|")
            })
            .collect();
        format!("{}: {}", columns.join(", "), shown.join(" "))
    };
    let unknown = |text: &str| Expr::unknown(text, None);
    assert_eq!(
        rows("generate_series", vec![Expr::int4(1), Expr::int4(3)]),
        "generate_series integer: 1 2 3"
    );
    assert_eq!(
        rows("generate_series", vec![Expr::int4(3), Expr::int4(1), Expr::int4(-1)]),
        "generate_series integer: 3 2 1"
    );
    assert_eq!(
        rows("jsonb_each_text", vec![unknown(r#"{"a":1,"b":"x"}"#)]),
        "key text, value text: a|1 b|x"
    );
    assert_eq!(rows("json_array_elements", vec![unknown("[1, [2]]")]), "value json: 1 [2]");
    assert_eq!(
        rows("regexp_matches", vec![unknown("abab"), unknown("b"), unknown("g")]),
        "regexp_matches text[]: {b} {b}"
    );
    let array = resolver.array(vec![Expr::int4(1), Expr::int4(2)], None).expect("an array");
    assert_eq!(rows("unnest", vec![array]), "unnest integer: 1 2");
    let error = resolver.resolve_function("unnest", vec![Expr::int4(1)], &CallOptions::default());
    assert_eq!(error.expect_err("not an array").message, "function unnest(integer) does not exist");
}

#[test]
fn what_an_aggregate_keeps_has_a_largest_size() {
    // One text, which all rows share.
    let text = Datum::text("x".repeat(64 << 20));
    let rows = vec![vec![text.clone()]; 17];
    for name in ["array_agg", "json_agg", "jsonb_agg"] {
        let answer = aggregate(name, &[SqlType::Text], &rows, 0);
        assert_eq!(answer, "ERROR: requested length too large", "{name}");
    }
    let pairs: Vec<_> = (0..17).map(|key| vec![Datum::Int4(key), text.clone()]).collect();
    for name in ["json_object_agg", "jsonb_object_agg"] {
        let answer = aggregate(name, &[SqlType::Int4, SqlType::Text], &pairs, 0);
        assert_eq!(answer, "ERROR: requested length too large", "{name}");
    }
}
