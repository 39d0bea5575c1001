//! The settings that change how values read and print. A session owns one and passes it down.

use crate::zone::TimeZone;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateStyleFormat {
    Iso,
    Sql,
    Postgres,
    German,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateOrder {
    Mdy,
    Dmy,
    Ymd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateStyle {
    pub format: DateStyleFormat,
    pub order: DateOrder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntervalStyle {
    Postgres,
    PostgresVerbose,
    SqlStandard,
    Iso8601,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteaOutput {
    Hex,
    Escape,
}

#[derive(Debug, Clone)]
pub struct TypeContext {
    pub timezone: TimeZone,
    pub date_style: DateStyle,
    pub interval_style: IntervalStyle,
    /// PostgreSQL's `extra_float_digits`: above 0 floats print in their shortest exact form.
    pub extra_float_digits: i32,
    pub bytea_output: ByteaOutput,
    /// Transaction start in microseconds since 1970 UTC: what `'now'`, `'today'` and friends read.
    pub now: i64,
}

impl Default for TypeContext {
    fn default() -> Self {
        Self {
            timezone: TimeZone::utc(),
            date_style: DateStyle { format: DateStyleFormat::Iso, order: DateOrder::Mdy },
            interval_style: IntervalStyle::Postgres,
            extra_float_digits: 1,
            bytea_output: ByteaOutput::Hex,
            now: 0,
        }
    }
}

impl DateStyle {
    /// Reads the value of `SET datestyle`; parts not mentioned stay as they are. `None` if it is not one.
    pub fn parse(self, setting: &str) -> Option<Self> {
        let mut style = self;
        for word in setting.split(',').map(|w| w.trim().to_ascii_lowercase()) {
            match word.as_str() {
                "iso" => style.format = DateStyleFormat::Iso,
                "sql" => style.format = DateStyleFormat::Sql,
                "german" => {
                    style.format = DateStyleFormat::German;
                    style.order = DateOrder::Dmy;
                }
                "ymd" => style.order = DateOrder::Ymd,
                w if w.starts_with("postgres") => style.format = DateStyleFormat::Postgres,
                w if w == "dmy" || w.starts_with("euro") => style.order = DateOrder::Dmy,
                w if w == "mdy" || w == "us" || w.starts_with("noneuro") => {
                    style.order = DateOrder::Mdy;
                }
                "default" => {
                    style = Self { format: DateStyleFormat::Iso, order: DateOrder::Mdy };
                }
                _ => return None,
            }
        }
        Some(style)
    }
}

impl std::fmt::Display for DateStyle {
    /// As `SHOW datestyle` prints it: `ISO, MDY`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let format = match self.format {
            DateStyleFormat::Iso => "ISO",
            DateStyleFormat::Sql => "SQL",
            DateStyleFormat::Postgres => "Postgres",
            DateStyleFormat::German => "German",
        };
        let order = match self.order {
            DateOrder::Mdy => "MDY",
            DateOrder::Dmy => "DMY",
            DateOrder::Ymd => "YMD",
        };
        write!(f, "{format}, {order}")
    }
}

impl IntervalStyle {
    pub fn parse(setting: &str) -> Option<Self> {
        match setting.to_ascii_lowercase().as_str() {
            "postgres" => Some(Self::Postgres),
            "postgres_verbose" => Some(Self::PostgresVerbose),
            "sql_standard" => Some(Self::SqlStandard),
            "iso_8601" => Some(Self::Iso8601),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::PostgresVerbose => "postgres_verbose",
            Self::SqlStandard => "sql_standard",
            Self::Iso8601 => "iso_8601",
        }
    }
}
