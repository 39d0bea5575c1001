//! What values a setting accepts, how they are kept, and how they are shown.

use super::registry::{Domain, Spec, Unit};
use crate::error::{SqlError, SqlResult};
use core_domain::IsolationLevel;
use datum::{DateOrder, DateStyle, DateStyleFormat, TimeZone};

/// Checks `value` and answers the form that is kept.
pub(super) fn normalise(spec: &Spec, value: &str, style: DateStyle) -> SqlResult<String> {
    match spec.domain {
        Domain::Text => Ok(value.to_owned()),
        Domain::Bool => {
            boolean(value).map(|on| if on { "on" } else { "off" }.to_owned()).ok_or_else(|| {
                SqlError::new(
                    "22023",
                    format!("parameter \"{}\" requires a Boolean value", spec.name),
                )
            })
        }
        Domain::Int { min, max, unit } => integer(spec, value, min, max, unit),
        Domain::Real { min, max } => {
            let number: f64 = value.trim().parse().map_err(|_| invalid(spec, value))?;
            if !(min..=max).contains(&number) {
                return Err(out_of_range(spec, value.trim(), "", &min, &max));
            }
            Ok(number.to_string())
        }
        Domain::Enum(values) => values
            .iter()
            .find(|v| v.eq_ignore_ascii_case(value))
            .map(|v| (*v).to_owned())
            .or_else(|| boolean_enum(values, value))
            .ok_or_else(|| {
                invalid(spec, value).with_hint(format!("Available values: {}.", values.join(", ")))
            }),
        Domain::TimeZone => parse_zone(value).map(|(name, _)| name).ok_or_else(|| {
            SqlError::new("22023", format!("invalid value for parameter \"TimeZone\": \"{value}\""))
        }),
        Domain::DateStyle => style.parse(value).map(|s| s.to_string()).ok_or_else(|| {
            invalid(spec, value).with_detail(format!("Unrecognized key word: \"{value}\"."))
        }),
        Domain::SearchPath => Ok(value.to_owned()),
        Domain::ClientEncoding => {
            let plain: String =
                value.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
            match plain.to_ascii_lowercase().as_str() {
                "utf8" | "unicode" => Ok("UTF8".to_owned()),
                // "Convert nothing": what psql asks for on a terminal whose locale is C.
                "sqlascii" => Ok("SQL_ASCII".to_owned()),
                _ => Err(SqlError::unsupported(format!("client encoding \"{value}\""))
                    .with_hint("Use UTF8.")),
            }
        }
        // The session opens the token before it comes here.
        Domain::CausalToken => Ok(value.trim().to_owned()),
    }
}

/// The value as `SHOW` prints it.
pub(super) fn display(spec: &Spec, value: &str) -> String {
    match spec.domain {
        Domain::Int { unit, .. } if unit != Unit::None => match value.parse() {
            Ok(number) if number > 0 => with_unit(number, unit),
            _ => value.to_owned(),
        },
        _ => value.to_owned(),
    }
}

fn with_unit(number: i64, unit: Unit) -> String {
    let steps: &[(i64, &str)] = match unit {
        Unit::None => &[(1, "")],
        Unit::Milliseconds => {
            &[(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"), (1, "ms")]
        }
        Unit::Seconds => &[(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")],
        Unit::Minutes => &[(1440, "d"), (60, "h"), (1, "min")],
        Unit::Kilobytes => &[(1 << 20, "GB"), (1 << 10, "MB"), (1, "kB")],
        Unit::Blocks => &[(1 << 17, "GB"), (1 << 7, "MB"), (1, "")],
    };
    if unit == Unit::Blocks && number % (1 << 7) != 0 {
        return format!("{}kB", number * 8);
    }
    let (size, name) =
        steps.iter().find(|(size, _)| number % size == 0).expect("the last step divides all");
    format!("{}{name}", number / size)
}

fn integer(spec: &Spec, value: &str, min: i64, max: i64, unit: Unit) -> SqlResult<String> {
    let text = value.trim();
    let digits = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '-' | '+' | '.')))
        .unwrap_or(text.len());
    let (number, suffix) = (&text[..digits], text[digits..].trim());
    let number: f64 = number.parse().map_err(|_| invalid(spec, value))?;
    let factor = factor(unit, suffix).ok_or_else(|| {
        let error = invalid(spec, value);
        match unit {
            Unit::None => error,
            Unit::Milliseconds | Unit::Seconds | Unit::Minutes => error.with_hint(
                "Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".",
            ),
            Unit::Kilobytes | Unit::Blocks => error.with_hint(
                "Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\".",
            ),
        }
    })?;
    let number = (number * factor).round();
    if number < min as f64 || number > max as f64 {
        let unit = match unit {
            Unit::None => "",
            Unit::Milliseconds => " ms",
            Unit::Seconds => " s",
            Unit::Minutes => " min",
            Unit::Kilobytes => " kB",
            Unit::Blocks => " 8kB",
        };
        return Err(out_of_range(spec, &number.to_string(), unit, &min, &max));
    }
    Ok((number as i64).to_string())
}

/// How many of the setting's units one of `suffix` is.
fn factor(unit: Unit, suffix: &str) -> Option<f64> {
    if suffix.is_empty() {
        return Some(1.0);
    }
    let base_ms = match unit {
        Unit::None => return None,
        Unit::Milliseconds => 1.0,
        Unit::Seconds => 1000.0,
        Unit::Minutes => 60_000.0,
        Unit::Kilobytes | Unit::Blocks => {
            let bytes = match suffix {
                "B" => 1.0,
                "kB" => 1024.0,
                "MB" => 1_048_576.0,
                "GB" => 1_073_741_824.0,
                "TB" => 1_099_511_627_776.0,
                _ => return None,
            };
            return Some(bytes / if unit == Unit::Blocks { 8192.0 } else { 1024.0 });
        }
    };
    let ms = match suffix {
        "us" => 0.001,
        "ms" => 1.0,
        "s" => 1000.0,
        "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return None,
    };
    Some(ms / base_ms)
}

/// PostgreSQL's spellings of a Boolean: unique prefixes of true, false, yes, no; on, off, 1, 0.
pub(super) fn boolean(value: &str) -> Option<bool> {
    let v = value.trim().to_ascii_lowercase();
    let is = |word: &str, least: usize| v.len() >= least && word.starts_with(&v);
    match v.as_str() {
        "1" | "on" => Some(true),
        "0" => Some(false),
        _ if is("true", 1) || is("yes", 1) => Some(true),
        _ if is("false", 1) || is("no", 1) || is("off", 2) => Some(false),
        _ => None,
    }
}

/// Enums that began as Booleans still take `true` for `on`.
fn boolean_enum(values: &[&'static str], value: &str) -> Option<String> {
    let word = if boolean(value)? { "on" } else { "off" };
    values.contains(&word).then(|| word.to_owned())
}

fn invalid(spec: &Spec, value: &str) -> SqlError {
    SqlError::new("22023", format!("invalid value for parameter \"{}\": \"{value}\"", spec.name))
}

fn out_of_range(
    spec: &Spec,
    value: &str,
    unit: &str,
    min: &dyn std::fmt::Display,
    max: &dyn std::fmt::Display,
) -> SqlError {
    SqlError::new(
        "22023",
        format!(
            "{value}{unit} is outside the valid range for parameter \"{}\" ({min} .. {max})",
            spec.name
        ),
    )
}

fn parse_zone(value: &str) -> Option<(String, TimeZone)> {
    // A bare number is hours east, although in a POSIX name it would count west.
    let digits = value.trim().trim_start_matches(['+', '-']);
    let hours = digits.starts_with(|c: char| c.is_ascii_digit()).then(|| value.trim().parse().ok());
    let zone = match hours.flatten() {
        Some(hours) => TimeZone::from_hours(hours)?,
        None => TimeZone::parse(value).ok()?,
    };
    Some((zone.name(), zone))
}

pub(super) fn time_zone(value: &str) -> TimeZone {
    parse_zone(value).map_or_else(TimeZone::utc, |(_, zone)| zone)
}

pub(super) fn date_style(value: &str) -> DateStyle {
    let iso = DateStyle { format: DateStyleFormat::Iso, order: DateOrder::Mdy };
    iso.parse(value).unwrap_or(iso)
}

pub(super) fn isolation(value: &str) -> IsolationLevel {
    match value {
        "serializable" => IsolationLevel::Serializable,
        "repeatable read" => IsolationLevel::RepeatableRead,
        _ => IsolationLevel::ReadCommitted,
    }
}

/// The schema names of a search path, `$user` replaced.
pub(super) fn search_path(value: &str, user: &str) -> Vec<String> {
    let mut names = identifiers(value, ',');
    // The role `shanghai` has no schema of its own: the one of that name is the system's.
    names.retain(|name| name != "$user" || user != "shanghai");
    for name in &mut names {
        if name == "$user" {
            user.clone_into(name);
        }
    }
    names
}

pub(super) fn identifiers(text: &str, separator: char) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let name;
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut text = String::new();
            let mut chars = quoted.char_indices().peekable();
            let mut end = quoted.len();
            while let Some((at, c)) = chars.next() {
                if c != '"' {
                    text.push(c);
                } else if chars.peek().is_some_and(|(_, next)| *next == '"') {
                    text.push('"');
                    chars.next();
                } else {
                    end = at + 1;
                    break;
                }
            }
            name = text;
            rest = &quoted[end..];
        } else {
            let end = rest.find(separator).unwrap_or(rest.len());
            name = rest[..end].trim().to_lowercase();
            rest = &rest[end..];
        }
        rest = rest.trim_start().trim_start_matches(separator).trim_start();
        if !name.is_empty() {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn search_paths_are_split_as_postgresql_does() {
        assert_eq!(search_path("\"$user\", public", "ann"), ["ann", "public"]);
        assert_eq!(search_path("Foo,\"Bar, \"\"x\"\"\" , z", "ann"), ["foo", "Bar, \"x\"", "z"]);
        assert!(search_path("\"\"", "ann").is_empty());
    }

    #[test]
    fn values_are_shown_with_their_units() {
        let mut settings = Settings::new("ann");
        settings.set("statement_timeout", "90s", false, false).unwrap();
        assert_eq!(settings.show("statement_timeout").unwrap(), "90s");
        settings.set("statement_timeout", "120000", false, false).unwrap();
        assert_eq!(settings.show("statement_timeout").unwrap(), "2min");
        assert_eq!(settings.show("work_mem").unwrap(), "4MB");
        let error = settings.set("statement_timeout", "-1", false, false).unwrap_err();
        assert_eq!(
            error.message,
            "-1 ms is outside the valid range for parameter \"statement_timeout\" (0 .. 2147483647)"
        );
    }

    #[test]
    fn a_wrong_level_names_the_right_ones() {
        let mut settings = Settings::new("ann");
        let error = settings.set("consistency", "weak", false, false).unwrap_err();
        assert_eq!(error.sqlstate, "22023");
        assert_eq!(error.message, "invalid value for parameter \"consistency\": \"weak\"");
        assert_eq!(error.hint.as_deref(), Some("Available values: strong, causal, eventual."));
    }

    #[test]
    fn a_rollback_restores_and_a_commit_drops_local_values() {
        let mut settings = Settings::new("ann");
        settings.set("application_name", "a", false, true).unwrap();
        settings.set("application_name", "b", true, true).unwrap();
        assert_eq!(settings.show("application_name").unwrap(), "b");
        settings.commit();
        assert_eq!(settings.show("application_name").unwrap(), "a");
        settings.set("application_name", "c", false, true).unwrap();
        let mark = settings.mark();
        settings.set("application_name", "d", true, true).unwrap();
        settings.rollback_to(mark);
        assert_eq!(settings.show("application_name").unwrap(), "c");
        settings.rollback_to(0);
        assert_eq!(settings.show("application_name").unwrap(), "a");
    }
}
