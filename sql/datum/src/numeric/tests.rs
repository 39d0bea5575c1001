use super::*;

fn n(text: &str) -> Numeric {
    text.parse().expect(text)
}

#[test]
fn quotients_have_postgresqls_scales() {
    let div = |a: &str, b: &str| n(a).div(&n(b)).unwrap().to_string();
    assert_eq!(div("7.0", "2"), "3.5000000000000000");
    assert_eq!(div("1", "3"), "0.33333333333333333333");
    assert_eq!(div("3.50", "2"), "1.7500000000000000");
    assert_eq!(div("2147483657", "2"), "1073741828.50000000");
    assert_eq!(div("1", "7.000000000000000000000000000001"), "0.142857142857142857142857142857");
    assert_eq!(div("1000000000000000000000000000000", "3"), "333333333333333333333333333333");
    assert_eq!(div("-10", "4"), "-2.5000000000000000");
    assert_eq!(div("1e-10", "3"), "0.0000000000333333333333333333");
    assert_eq!(n("1").div(&n("0")).unwrap_err().message, "division by zero");
    assert_eq!(div("NaN", "0"), "NaN");
    assert_eq!(div("5", "Infinity"), "0");
}

#[test]
fn sums_and_products() {
    assert_eq!(n("1.1").add(&n("2.2")).to_string(), "3.3");
    assert_eq!(n("10.50").mul(&n("3.333")).unwrap().to_string(), "34.99650");
    assert_eq!(n("9223372036854775807").add(&n("0.1")).to_string(), "9223372036854775807.1");
    assert_eq!(
        n("99999999999999999999").mul(&n("99999999999999999999")).unwrap().to_string(),
        "9999999999999999999800000000000000000001"
    );
    assert_eq!(n("-7").rem(&n("3")).unwrap().to_string(), "-1");
    assert_eq!(n("5.5").rem(&n("2")).unwrap().to_string(), "1.5");
    assert_eq!(n("7.5").div_trunc(&n("2")).unwrap().to_string(), "3");
    assert_eq!(n("Infinity").add(&n("-Infinity")).to_string(), "NaN");
    let mut sum = NumericSum::default();
    for _ in 0..3 {
        sum.add(&Numeric::from(i64::MAX));
    }
    assert_eq!(sum.total().to_string(), "27670116110564327421");
    assert_eq!(sum.average().unwrap().unwrap().to_string(), "9223372036854775807");
    sum.add(&n("170141183460469231731687303715884105727"));
    sum.add(&n("0.5"));
    assert_eq!(sum.total().to_string(), "170141183460469231759357419826448433148.5");
}

#[test]
fn rounding_goes_away_from_zero() {
    assert_eq!(n("2.567").round(2).to_string(), "2.57");
    assert_eq!(n("2.5").round(0).to_string(), "3");
    assert_eq!(n("-2.5").round(0).to_string(), "-3");
    assert_eq!(n("150").round(-2).to_string(), "200");
    assert_eq!(n("2.567").trunc(2).to_string(), "2.56");
    assert_eq!(n("-0.5").floor().to_string(), "-1");
    assert_eq!(n("1.2").ceil().to_string(), "2");
    assert_eq!(n("1.5").round(4).to_string(), "1.5000");
    assert_eq!(
        n("123456789012345678901234567890.55").round(1).to_string(),
        "123456789012345678901234567890.6"
    );
}

#[test]
fn roots_logarithms_and_powers() {
    assert_eq!(n("2").sqrt().unwrap().to_string(), "1.414213562373095");
    assert_eq!(n("2.7").ln().unwrap().to_string(), "0.9932517730102834");
    assert_eq!(n("1").exp().unwrap().to_string(), "2.7182818284590452");
    assert_eq!(n("-5.5").exp().unwrap().to_string(), "0.004086771438464067");
    assert_eq!(n("100").log10().unwrap().to_string(), "2.0000000000000000");
    assert_eq!(n("2").log(&n("64")).unwrap().to_string(), "6.0000000000000000");
    assert_eq!(n("2").pow(&n("3")).unwrap().to_string(), "8.0000000000000000");
    assert_eq!(n("9").pow(&n("0.5")).unwrap().to_string(), "3.0000000000000000");
    assert_eq!(n("2").pow(&n("-2")).unwrap().to_string(), "0.2500000000000000");
    assert_eq!(n("2").pow(&n("0.5")).unwrap().to_string(), "1.4142135623730950");
    assert_eq!(
        n("2").pow(&n("100")).unwrap().to_string(),
        "1267650600228229401496703205376.0000000000000000"
    );
    assert_eq!(n("1.0001").pow(&n("10000")).unwrap().to_string(), "2.7181459268252249");
    assert_eq!(n("-1").sqrt().unwrap_err().message, "cannot take square root of a negative number");
    assert_eq!(n("0").ln().unwrap_err().message, "cannot take logarithm of zero");
    assert_eq!(n("10").pow(&n("1000000")).unwrap_err().message, "value overflows numeric format");
    assert!(n("0.0001").pow(&n("-30000")).unwrap() > n("1e119999"));
    assert_eq!(Numeric::factorial(5).unwrap().to_string(), "120");
}

#[test]
fn conversions() {
    assert_eq!(n("2.5").to_i32().unwrap(), 3);
    assert_eq!(n("-1.5").to_i32().unwrap(), -2);
    assert_eq!(n("70000").to_i16().unwrap_err().message, "smallint out of range");
    assert_eq!(n("NaN").to_i64().unwrap_err().message, "cannot convert NaN to bigint");
    assert_eq!(Numeric::from_f64(0.1).to_string(), "0.1");
    assert_eq!(Numeric::from_f64(1e20).to_string(), "100000000000000000000");
    assert_eq!(Numeric::from_f64(1.0 / 3.0).to_string(), "0.333333333333333");
    assert_eq!(Numeric::from_f32(0.1).to_string(), "0.1");
    assert_eq!(n("0.1").to_f64().unwrap(), 0.1);
    assert_eq!(n("123456789012345678.9").to_f64().unwrap(), 123_456_789_012_345_678.9);
    assert!(n("1e400").to_f64().is_err());
}

#[test]
fn order_and_hash_ignore_the_scale() {
    use std::collections::HashSet;
    let set: HashSet<Numeric> = ["1", "1.0", "1.00", "100e-2"].map(n).into_iter().collect();
    assert_eq!(set.len(), 1);
    assert!(n("NaN") == n("NaN") && n("NaN") > n("Infinity") && n("-Infinity") < n("-1e1000"));
    assert!(n("123456789012345678901234567890") > n("9.5"));
    assert_eq!(n("1.2300").trim_scale().to_string(), "1.23");
    assert_eq!(
        n("1234567890123456789012345678900.00").trim_scale().to_string(),
        "1234567890123456789012345678900"
    );
}
