//! SQL types, their oids and names. `ColumnType` adds the type modifier: `varchar(10)`, `numeric(12,2)`.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SqlType {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Text,
    Varchar,
    Bpchar,
    /// `"char"`, one byte.
    Char,
    Name,
    Bytea,
    Date,
    Time,
    Timetz,
    Timestamp,
    Timestamptz,
    Interval,
    Uuid,
    Json,
    Jsonb,
    Oid,
    Regclass,
    Regtype,
    Regproc,
    Regnamespace,
    Regrole,
    Xid,
    Int2Vector,
    OidVector,
    Void,
    /// The type of a bare literal before resolution.
    Unknown,
    Record,
    /// The element is never itself an array: dimensions belong to the value, as in PostgreSQL.
    Array(Box<SqlType>),
}

/// A type with its modifier as PostgreSQL encodes it (`atttypmod`), -1 for none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ColumnType {
    pub ty: SqlType,
    pub typmod: i32,
}

/// `pg_type.typcategory`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Category {
    Array,
    Boolean,
    DateTime,
    Numeric,
    Pseudo,
    String,
    Timespan,
    UserDefined,
    Unknown,
    Internal,
}

impl Category {
    pub fn letter(self) -> char {
        match self {
            Self::Array => 'A',
            Self::Boolean => 'B',
            Self::DateTime => 'D',
            Self::Numeric => 'N',
            Self::Pseudo => 'P',
            Self::String => 'S',
            Self::Timespan => 'T',
            Self::UserDefined => 'U',
            Self::Unknown => 'X',
            Self::Internal => 'Z',
        }
    }
}

impl SqlType {
    /// Every type that is not an array.
    pub const SCALARS: [SqlType; 34] = [
        SqlType::Bool,
        SqlType::Int2,
        SqlType::Int4,
        SqlType::Int8,
        SqlType::Float4,
        SqlType::Float8,
        SqlType::Numeric,
        SqlType::Text,
        SqlType::Varchar,
        SqlType::Bpchar,
        SqlType::Char,
        SqlType::Name,
        SqlType::Bytea,
        SqlType::Date,
        SqlType::Time,
        SqlType::Timetz,
        SqlType::Timestamp,
        SqlType::Timestamptz,
        SqlType::Interval,
        SqlType::Uuid,
        SqlType::Json,
        SqlType::Jsonb,
        SqlType::Oid,
        SqlType::Regclass,
        SqlType::Regtype,
        SqlType::Regproc,
        SqlType::Regnamespace,
        SqlType::Regrole,
        SqlType::Xid,
        SqlType::Int2Vector,
        SqlType::OidVector,
        SqlType::Void,
        SqlType::Unknown,
        SqlType::Record,
    ];

    pub fn array_of(element: SqlType) -> SqlType {
        match element {
            array @ SqlType::Array(_) => array,
            element => SqlType::Array(Box::new(element)),
        }
    }

    /// The array type over this one; an array's is itself. `None` where PostgreSQL has none (void, unknown).
    pub fn array_type(&self) -> Option<SqlType> {
        match self {
            SqlType::Array(_) => Some(self.clone()),
            SqlType::Void | SqlType::Unknown => None,
            other => Some(SqlType::Array(Box::new(other.clone()))),
        }
    }

    /// What subscripting yields. `int2vector` and `oidvector` subscript too.
    pub fn element_type(&self) -> Option<SqlType> {
        match self {
            SqlType::Array(element) => Some((**element).clone()),
            SqlType::Int2Vector => Some(SqlType::Int2),
            SqlType::OidVector => Some(SqlType::Oid),
            _ => None,
        }
    }

    pub fn is_array(&self) -> bool {
        matches!(self, SqlType::Array(_))
    }

    /// Carried by `Datum::Text`.
    pub fn is_text_like(&self) -> bool {
        matches!(
            self,
            SqlType::Text | SqlType::Varchar | SqlType::Bpchar | SqlType::Name | SqlType::Unknown
        )
    }

    /// Carried by `Datum::Oid`.
    pub fn is_oid_like(&self) -> bool {
        matches!(
            self,
            SqlType::Oid
                | SqlType::Xid
                | SqlType::Regclass
                | SqlType::Regtype
                | SqlType::Regproc
                | SqlType::Regnamespace
                | SqlType::Regrole
        )
    }

    pub fn is_integer(&self) -> bool {
        matches!(self, SqlType::Int2 | SqlType::Int4 | SqlType::Int8)
    }

    pub fn oid(&self) -> u32 {
        match self {
            SqlType::Array(element) => element.array_oid(),
            other => other.oids().0,
        }
    }

    fn array_oid(&self) -> u32 {
        self.oids().1
    }

    /// (oid, oid of the array type), from `pg_type.dat`'s published numbers.
    fn oids(&self) -> (u32, u32) {
        match self {
            SqlType::Bool => (16, 1000),
            SqlType::Bytea => (17, 1001),
            SqlType::Char => (18, 1002),
            SqlType::Name => (19, 1003),
            SqlType::Int8 => (20, 1016),
            SqlType::Int2 => (21, 1005),
            SqlType::Int2Vector => (22, 1006),
            SqlType::Int4 => (23, 1007),
            SqlType::Regproc => (24, 1008),
            SqlType::Text => (25, 1009),
            SqlType::Oid => (26, 1028),
            SqlType::Xid => (28, 1011),
            SqlType::OidVector => (30, 1013),
            SqlType::Json => (114, 199),
            SqlType::Float4 => (700, 1021),
            SqlType::Float8 => (701, 1022),
            SqlType::Unknown => (705, 0),
            SqlType::Bpchar => (1042, 1014),
            SqlType::Varchar => (1043, 1015),
            SqlType::Date => (1082, 1182),
            SqlType::Time => (1083, 1183),
            SqlType::Timestamp => (1114, 1115),
            SqlType::Timestamptz => (1184, 1185),
            SqlType::Interval => (1186, 1187),
            SqlType::Timetz => (1266, 1270),
            SqlType::Numeric => (1700, 1231),
            SqlType::Regclass => (2205, 2210),
            SqlType::Regtype => (2206, 2211),
            SqlType::Record => (2249, 2287),
            SqlType::Void => (2278, 0),
            SqlType::Uuid => (2950, 2951),
            SqlType::Jsonb => (3802, 3807),
            SqlType::Regnamespace => (4089, 4090),
            SqlType::Regrole => (4096, 4097),
            SqlType::Array(element) => (element.array_oid(), 0),
        }
    }

    pub fn from_oid(oid: u32) -> Option<SqlType> {
        if oid == 0 {
            return None;
        }
        Self::SCALARS.iter().find_map(|ty| {
            let (scalar, array) = ty.oids();
            if scalar == oid {
                Some(ty.clone())
            } else if array == oid {
                Some(SqlType::Array(Box::new(ty.clone())))
            } else {
                None
            }
        })
    }

    /// `format_type(oid, null)`: `integer`, `character varying`, `integer[]`.
    pub fn name(&self) -> String {
        match self {
            SqlType::Array(element) => format!("{}[]", element.name()),
            other => other.sql_name().to_owned(),
        }
    }

    /// The SQL spelling of a scalar type; of the element for an array.
    pub fn sql_name(&self) -> &'static str {
        match self {
            SqlType::Bool => "boolean",
            SqlType::Int2 => "smallint",
            SqlType::Int4 => "integer",
            SqlType::Int8 => "bigint",
            SqlType::Float4 => "real",
            SqlType::Float8 => "double precision",
            SqlType::Varchar => "character varying",
            SqlType::Bpchar => "character",
            SqlType::Char => "\"char\"",
            SqlType::Time => "time without time zone",
            SqlType::Timetz => "time with time zone",
            SqlType::Timestamp => "timestamp without time zone",
            SqlType::Timestamptz => "timestamp with time zone",
            SqlType::Array(element) => element.sql_name(),
            other => other.scalar_catalog_name(),
        }
    }

    /// `pg_type.typname`: `int4`, `varchar`, `_int4`.
    pub fn catalog_name(&self) -> String {
        match self {
            SqlType::Array(element) => format!("_{}", element.scalar_catalog_name()),
            other => other.scalar_catalog_name().to_owned(),
        }
    }

    fn scalar_catalog_name(&self) -> &'static str {
        match self {
            SqlType::Bool => "bool",
            SqlType::Int2 => "int2",
            SqlType::Int4 => "int4",
            SqlType::Int8 => "int8",
            SqlType::Float4 => "float4",
            SqlType::Float8 => "float8",
            SqlType::Numeric => "numeric",
            SqlType::Text => "text",
            SqlType::Varchar => "varchar",
            SqlType::Bpchar => "bpchar",
            SqlType::Char => "char",
            SqlType::Name => "name",
            SqlType::Bytea => "bytea",
            SqlType::Date => "date",
            SqlType::Time => "time",
            SqlType::Timetz => "timetz",
            SqlType::Timestamp => "timestamp",
            SqlType::Timestamptz => "timestamptz",
            SqlType::Interval => "interval",
            SqlType::Uuid => "uuid",
            SqlType::Json => "json",
            SqlType::Jsonb => "jsonb",
            SqlType::Oid => "oid",
            SqlType::Regclass => "regclass",
            SqlType::Regtype => "regtype",
            SqlType::Regproc => "regproc",
            SqlType::Regnamespace => "regnamespace",
            SqlType::Regrole => "regrole",
            SqlType::Xid => "xid",
            SqlType::Int2Vector => "int2vector",
            SqlType::OidVector => "oidvector",
            SqlType::Void => "void",
            SqlType::Unknown => "unknown",
            SqlType::Record => "record",
            SqlType::Array(element) => element.scalar_catalog_name(),
        }
    }

    /// Finds a type by either of its names (`int4`, `integer`, `_int4`, `int4[]`, `decimal`, …), lower case.
    pub fn from_name(name: &str) -> Option<SqlType> {
        if let Some(element) = name.strip_suffix("[]") {
            return Self::from_name(element.trim_end()).map(SqlType::array_of);
        }
        let alias = match name {
            "int" => Some(SqlType::Int4),
            "decimal" | "dec" => Some(SqlType::Numeric),
            "float" => Some(SqlType::Float8),
            "char varying" => Some(SqlType::Varchar),
            "timestamp" => Some(SqlType::Timestamp),
            "time" => Some(SqlType::Time),
            _ => None,
        };
        alias.or_else(|| {
            Self::SCALARS
                .iter()
                .find(|ty| ty.sql_name() == name || ty.scalar_catalog_name() == name)
                .cloned()
                .or_else(|| name.strip_prefix('_').and_then(Self::from_name).map(SqlType::array_of))
        })
    }

    /// `pg_type.typlen`: bytes, or -1 for variable length.
    pub fn typlen(&self) -> i16 {
        match self {
            SqlType::Bool | SqlType::Char => 1,
            SqlType::Int2 => 2,
            SqlType::Int4 | SqlType::Float4 | SqlType::Date | SqlType::Void => 4,
            SqlType::Int8
            | SqlType::Float8
            | SqlType::Time
            | SqlType::Timestamp
            | SqlType::Timestamptz => 8,
            SqlType::Timetz => 12,
            SqlType::Interval | SqlType::Uuid => 16,
            SqlType::Name => 64,
            SqlType::Unknown => -2,
            other if other.is_oid_like() => 4,
            _ => -1,
        }
    }

    pub fn category(&self) -> Category {
        match self {
            SqlType::Bool => Category::Boolean,
            SqlType::Int2
            | SqlType::Int4
            | SqlType::Int8
            | SqlType::Float4
            | SqlType::Float8
            | SqlType::Numeric
            | SqlType::Oid
            | SqlType::Regclass
            | SqlType::Regtype
            | SqlType::Regproc
            | SqlType::Regnamespace
            | SqlType::Regrole => Category::Numeric,
            SqlType::Text | SqlType::Varchar | SqlType::Bpchar | SqlType::Name => Category::String,
            SqlType::Char => Category::Internal,
            SqlType::Date
            | SqlType::Time
            | SqlType::Timetz
            | SqlType::Timestamp
            | SqlType::Timestamptz => Category::DateTime,
            SqlType::Interval => Category::Timespan,
            SqlType::Bytea | SqlType::Uuid | SqlType::Json | SqlType::Jsonb | SqlType::Xid => {
                Category::UserDefined
            }
            SqlType::Int2Vector | SqlType::OidVector | SqlType::Array(_) => Category::Array,
            SqlType::Void | SqlType::Record => Category::Pseudo,
            SqlType::Unknown => Category::Unknown,
        }
    }

    /// `pg_type.typispreferred`: the type that its category falls back to when literals are ambiguous.
    pub fn is_preferred(&self) -> bool {
        matches!(
            self,
            SqlType::Bool
                | SqlType::Float8
                | SqlType::Oid
                | SqlType::Text
                | SqlType::Timestamptz
                | SqlType::Interval
        )
    }
}

impl std::fmt::Display for SqlType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

impl From<SqlType> for ColumnType {
    fn from(ty: SqlType) -> Self {
        Self { ty, typmod: -1 }
    }
}

impl ColumnType {
    pub const fn new(ty: SqlType, typmod: i32) -> Self {
        Self { ty, typmod }
    }

    pub const fn plain(ty: SqlType) -> Self {
        Self { ty, typmod: -1 }
    }

    pub fn varchar(length_max: i32) -> Self {
        Self::new(SqlType::Varchar, length_max + 4)
    }

    pub fn bpchar(length: i32) -> Self {
        Self::new(SqlType::Bpchar, length + 4)
    }

    /// `numeric(precision, scale)`; the scale may be negative (PostgreSQL 15).
    pub fn numeric(precision: i32, scale: i32) -> Self {
        Self::new(SqlType::Numeric, ((precision << 16) | (scale & 0x7ff)) + 4)
    }

    /// n of `varchar(n)` or `char(n)`, in characters.
    pub fn length(&self) -> Option<usize> {
        match self.base() {
            SqlType::Varchar | SqlType::Bpchar if self.typmod >= 4 => {
                Some(self.typmod as usize - 4)
            }
            _ => None,
        }
    }

    /// (precision, scale) of `numeric(p,s)`.
    pub fn numeric_precision_scale(&self) -> Option<(i32, i32)> {
        if *self.base() != SqlType::Numeric || self.typmod < 4 {
            return None;
        }
        let packed = self.typmod - 4;
        // The scale is an 11 bit two's complement number.
        let scale = ((packed & 0x7ff) ^ 1024) - 1024;
        Some(((packed >> 16) & 0xffff, scale))
    }

    /// Digits of the second, of `timestamp(p)`, `time(p)` and `interval(p)`.
    pub fn seconds_precision(&self) -> Option<u32> {
        match self.base() {
            SqlType::Time | SqlType::Timetz | SqlType::Timestamp | SqlType::Timestamptz => {
                u32::try_from(self.typmod).ok()
            }
            SqlType::Interval if self.typmod >= 0 => {
                let precision = self.typmod & 0xffff;
                (precision != 0xffff).then_some(precision as u32)
            }
            _ => None,
        }
    }

    /// The type that the modifier speaks of: an array's is its element's.
    fn base(&self) -> &SqlType {
        match &self.ty {
            SqlType::Array(element) => element,
            other => other,
        }
    }

    /// `varchar(n)[]` to `varchar(n)`.
    pub fn element(&self) -> Option<ColumnType> {
        self.ty.element_type().map(|ty| ColumnType::new(ty, self.typmod))
    }

    /// `format_type(oid, typmod)`: `character varying(10)`, `numeric(12,2)`, `timestamp(3) without time zone`.
    pub fn name(&self) -> String {
        if let SqlType::Array(element) = &self.ty {
            return format!("{}[]", ColumnType::new((**element).clone(), self.typmod).name());
        }
        if let Some((precision, scale)) = self.numeric_precision_scale() {
            return format!("numeric({precision},{scale})");
        }
        if let Some(n) = self.length() {
            return format!("{}({n})", self.ty.sql_name());
        }
        match &self.ty {
            // Without a length `character` would mean char(1).
            SqlType::Bpchar => "bpchar".to_owned(),
            SqlType::Interval if self.typmod >= 0 => crate::typmod::interval_name(self.typmod),
            ty => match self.seconds_precision() {
                Some(p) => {
                    let name = ty.sql_name();
                    let (head, tail) = name.split_once(' ').unwrap_or((name, ""));
                    format!("{head}({p}) {tail}")
                }
                None => ty.sql_name().to_owned(),
            },
        }
    }
}

impl std::fmt::Display for ColumnType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}
