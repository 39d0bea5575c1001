//! Type names to types, with their modifiers checked.

use super::Binder;
use crate::ast::TypeName;
use crate::error::{PlanError, Result};
use catalog::Relation;
use datum::{ColumnType, SqlType};

/// `INTERVAL_FULL_RANGE` and `INTERVAL_FULL_PRECISION` of the typmod of interval.
const INTERVAL_FULL_RANGE: i32 = 0x7fff;
const INTERVAL_FULL_PRECISION: i32 = 0xffff;

impl Binder<'_> {
    /// # Errors
    /// 42704 `type "x" does not exist`, 0A000 for PostgreSQL's types that are missing.
    pub(crate) fn ty(&self, name: &TypeName) -> Result<ColumnType> {
        if name.set_of {
            return Err(self.error("42601", "SETOF is allowed in function results only", name.pos));
        }
        let schema = name.name.schema();
        if schema.is_some_and(|s| {
            s != "pg_catalog" && self.context.catalog.schema_oid(self.context.database, s).is_none()
        }) {
            let message = format!("schema \"{}\" does not exist", schema.unwrap_or_default());
            return Err(self.error("3F000", message, name.pos));
        }
        let word = name.name.name();
        // `"char"` and char are different types: the keyword became bpchar in the parser.
        let found = match word {
            "char" => Some(SqlType::Char),
            _ => SqlType::from_name(word),
        };
        let Some(ty) = found else { return Err(self.no_type(name)) };
        if matches!(ty, SqlType::Unknown) && schema.is_none() && !name.modifiers.is_empty() {
            return Err(self.no_type(name));
        }
        let typmod = self.typmod(&ty, name)?;
        let ty = if name.array { SqlType::array_of(ty) } else { ty };
        Ok(ColumnType::new(ty, typmod))
    }

    fn no_type(&self, name: &TypeName) -> PlanError {
        let word = name.name.name();
        let known = [
            "bit",
            "varbit",
            "inet",
            "cidr",
            "macaddr",
            "macaddr8",
            "money",
            "point",
            "line",
            "lseg",
            "box",
            "path",
            "polygon",
            "circle",
            "xml",
            "tsvector",
            "tsquery",
            "int4range",
            "int8range",
            "numrange",
            "tsrange",
            "tstzrange",
            "daterange",
            "pg_lsn",
            "txid_snapshot",
            "regprocedure",
            "regoper",
            "regoperator",
            "regconfig",
            "regdictionary",
            "regcollation",
            "tid",
            "cid",
            "xid8",
            "jsonpath",
            "hstore",
            "citext",
            "refcursor",
        ];
        if known.contains(&word) {
            return PlanError::unsupported(format!("type {word}")).at(self.at(name.pos));
        }
        if let Ok(Some(Relation::Table(_) | Relation::View(_))) = self.find_relation(&name.name) {
            return PlanError::unsupported("a table's row type").at(self.at(name.pos));
        }
        self.error("42704", format!("type \"{}\" does not exist", name.name), name.pos)
    }

    fn typmod(&self, ty: &SqlType, name: &TypeName) -> Result<i32> {
        let bad = |message: String| Err(self.error("22023", message, name.pos));
        let given = name.modifiers.as_slice();
        match ty {
            SqlType::Varchar | SqlType::Bpchar => {
                let word = if *ty == SqlType::Varchar { "varchar" } else { "char" };
                match given {
                    [] => Ok(-1),
                    [n] if *n < 1 => bad(format!("length for type {word} must be at least 1")),
                    [n] if *n > 10_485_760 => {
                        bad(format!("length for type {word} cannot exceed 10485760"))
                    }
                    [n] => Ok(*n as i32 + 4),
                    _ => bad("invalid type modifier".to_string()),
                }
            }
            SqlType::Numeric => {
                let (precision, scale) = match given {
                    [] => return Ok(-1),
                    [precision] => (*precision, 0),
                    [precision, scale] => (*precision, *scale),
                    _ => return bad("invalid NUMERIC type modifier".to_string()),
                };
                if !(1..=1000).contains(&precision) {
                    return bad(format!(
                        "NUMERIC precision {precision} must be between 1 and 1000"
                    ));
                }
                if !(-1000..=1000).contains(&scale) {
                    return bad(format!("NUMERIC scale {scale} must be between -1000 and 1000"));
                }
                Ok(ColumnType::numeric(precision as i32, scale as i32).typmod)
            }
            SqlType::Time | SqlType::Timetz | SqlType::Timestamp | SqlType::Timestamptz => {
                match given {
                    [] => Ok(-1),
                    [n] if *n < 0 => bad(format!(
                        "{}({n}) precision must not be negative",
                        ty.name().to_uppercase()
                    )),
                    [n] => Ok((*n).min(6) as i32),
                    _ => bad("invalid type modifier".to_string()),
                }
            }
            SqlType::Interval => {
                let precision = match given {
                    [] => None,
                    [n] if *n < 0 => {
                        return bad(format!("INTERVAL({n}) precision must not be negative"));
                    }
                    [n] => Some((*n).min(6) as i32),
                    _ => return bad("invalid INTERVAL type modifier".to_string()),
                };
                match (name.interval_fields, precision) {
                    (None, None) => Ok(-1),
                    (fields, precision) => {
                        let range = fields.map_or(INTERVAL_FULL_RANGE, |mask| mask as i32);
                        let precision = precision.unwrap_or(INTERVAL_FULL_PRECISION);
                        Ok((range << 16) | (precision & 0xffff))
                    }
                }
            }
            _ if given.is_empty() => Ok(-1),
            _ => {
                let message = format!("type modifier is not allowed for type \"{}\"", name.name);
                Err(self.error("42601", message, name.pos))
            }
        }
    }
}
