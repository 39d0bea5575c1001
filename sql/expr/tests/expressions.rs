//! `expressions.txt`: expressions and what PostgreSQL 15 answers, read by a parser just large enough for them,
//! resolved and evaluated. A line is `expression => answer`; answers of errors begin with `ERROR:`.

mod small_parser;

use datum::TypeContext;
use expr::cast::output_text;
use expr::{EvalContext, NoSession, ParamTypes, Resolver};

fn answer(text: &str) -> String {
    // 2024-05-06 10:11:12 UTC.
    let types = TypeContext { now: 1_714_990_272_000_000, ..TypeContext::default() };
    let ctx = EvalContext::new(&types, &NoSession);
    let params = ParamTypes::default();
    let resolver = Resolver::new(&ctx, &params);
    let result = small_parser::parse(text, &resolver).and_then(|expr| {
        let expr = resolver.default_unknown(expr)?;
        let value = expr.eval(&[], &ctx)?;
        // Folding must not change an answer.
        let mut folded = expr.clone();
        folded.fold(&ctx);
        let again = folded.eval(&[], &ctx)?;
        if !expr.is_volatile() {
            assert_eq!(value, again, "folding changed {text}");
        }
        Ok(if value.is_null() {
            "NULL".to_owned()
        } else {
            output_text(&value, expr.sql_type(), &ctx)
        })
    });
    match result {
        Ok(answer) => answer,
        Err(error) => match error.position {
            Some(position) => format!("ERROR: {} at {position}", error.message),
            None => format!("ERROR: {}", error.message),
        },
    }
}

#[test]
fn expressions_answer_as_postgresql_does() {
    let mut failures = Vec::new();
    for line in include_str!("expressions.txt").lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (text, expected) =
            line.split_once("  =>  ").expect("a line is `expression  =>  answer`");
        let actual = answer(text);
        if actual.trim_end() != expected.trim_end() {
            failures.push(format!("{text}\n    expected {expected}\n    actual   {actual}"));
        }
    }
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn parameters_take_the_type_of_their_first_use() {
    let types = TypeContext::default();
    let ctx = EvalContext::new(&types, &NoSession);
    let params = ParamTypes::default();
    let resolver = Resolver::new(&ctx, &params);
    let sum = small_parser::parse("$1 + 1", &resolver).expect("resolves");
    assert_eq!(params.finish().expect("inferred"), vec![datum::SqlType::Int4]);
    let values = [datum::Datum::Int4(41)];
    assert_eq!(sum.eval(&[], &ctx.with_params(&values)).expect("adds"), datum::Datum::Int4(42));

    let open = ParamTypes::default();
    let resolver = Resolver::new(&ctx, &open);
    small_parser::parse("$1", &resolver).expect("resolves");
    let error = open.finish().expect_err("nothing says what $1 is");
    assert_eq!(error.message, "could not determine data type of parameter $1");
}

#[test]
fn every_function_has_a_signature_of_its_own() {
    let mut seen = std::collections::HashSet::new();
    for def in expr::registry::all_functions() {
        let signature =
            format!("{}{}", def.signature(), if def.variadic { "variadic" } else { "" });
        assert!(seen.insert(signature.clone()), "{signature} is defined twice");
    }
}
