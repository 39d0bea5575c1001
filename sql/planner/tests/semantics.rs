//! Every line of `tests/semantics.txt` is parsed and bound; what PostgreSQL refuses while binding is
//! refused here in the same words at the same place.

mod support;

use support::{World, describe};

/// Types that are not there yet, and say so.
const MISSING: &[&str] = &["select 1::bit, B'101'", "select inet '1.2.3.4'", "select point(1,2)"];

/// Errors of evaluation, not of binding.
const AT_RUN_TIME: &[&str] = &[
    "out of range",
    "division by zero",
    "more than one row returned",
    "unrecognized configuration parameter",
];

#[test]
fn postgresql_s_own_answers_to_binding() {
    let text = include_str!("../../../tests/semantics.txt");
    let world = World::new();
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((sql, answer)) = line.split_once("  =>  ") else { continue };
        let sql = sql.replace("\\;", ";");
        if MISSING.contains(&sql.as_str()) {
            assert!(bind_all(&world, &sql).is_err(), "{sql} works now: take it off the list");
            continue;
        }
        count += 1;
        match (bind_all(&world, &sql), answer.strip_prefix("ERROR:  ")) {
            (Ok(()), None) => {}
            (Ok(()), Some(error)) if AT_RUN_TIME.iter().any(|e| error.contains(e)) => {}
            (Err(error), Some(expected)) => {
                let at = error.position.map_or_else(String::new, |p| format!(" at character {p}"));
                let own = format!("{}{at}", error.message);
                if own != expected.trim_end_matches('|') {
                    wrong.push(format!("{sql}\n  expected {expected}\n  got      {own}"));
                }
            }
            (Ok(()), Some(expected)) => wrong.push(format!("{sql}\n  expected {expected}")),
            (Err(error), None) => wrong.push(format!("{sql}\n  got {}", describe(&error))),
        }
    }
    assert!(count > 190, "the file has shrunk to {count} lines");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}

fn bind_all(world: &World, sql: &str) -> Result<(), planner::PlanError> {
    for statement in planner::parse(sql)? {
        world.plan(&statement.text)?;
    }
    Ok(())
}
