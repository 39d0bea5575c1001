//! Type names, with SQL's many-worded spellings.

use super::cursor::Parser;
use super::lexer::Tok;
use crate::ast::{Ident, ObjectName, Pos, TypeName};
use crate::error::Result;

/// PostgreSQL's interval field masks (`INTERVAL_MASK`).
const YEAR: u32 = 1 << 2;
const MONTH: u32 = 1 << 1;
const DAY: u32 = 1 << 3;
const HOUR: u32 = 1 << 10;
const MINUTE: u32 = 1 << 11;
const SECOND: u32 = 1 << 12;

impl Parser<'_> {
    pub(super) fn type_name(&mut self) -> Result<TypeName> {
        let pos = self.pos();
        let set_of = self.accept_word("setof");
        let mut ty = self.simple_type()?;
        ty.set_of = set_of;
        ty.pos = pos;
        loop {
            if self.accept(&Tok::LBracket) {
                if let Tok::Int(_) = self.peek() {
                    self.advance();
                }
                self.expect(&Tok::RBracket)?;
                ty.array = true;
            } else if self.at_word("array") {
                self.advance();
                ty.array = true;
            } else {
                return Ok(ty);
            }
        }
    }

    fn simple_type(&mut self) -> Result<TypeName> {
        let pos = self.pos();
        let Tok::Word(word) = self.peek() else { return self.named_type(pos) };
        let qualified = matches!(self.peek_at(1), Tok::Dot);
        if qualified {
            return self.named_type(pos);
        }
        let catalog_name = match word.as_str() {
            "int" | "integer" => "int4",
            "smallint" => "int2",
            "bigint" => "int8",
            "real" => "float4",
            "boolean" => "bool",
            "decimal" | "dec" | "numeric" => {
                self.advance();
                return self.with_modifiers("numeric", pos);
            }
            "float" => return self.float_type(pos),
            "double" if self.word_at(1, "precision") => {
                self.advance();
                "float8"
            }
            "character" | "char" | "nchar" | "varchar" | "national" => return self.char_type(pos),
            "bit" => {
                self.advance();
                let varying = self.accept_word("varying");
                return self.with_modifiers(if varying { "varbit" } else { "bit" }, pos);
            }
            "time" | "timestamp" => return self.time_type(pos),
            "interval" => return self.interval_type(pos),
            _ => return self.named_type(pos),
        };
        self.advance();
        Ok(plain(catalog_name, pos))
    }

    fn named_type(&mut self, pos: Pos) -> Result<TypeName> {
        let Some(first) = self.accept_function_name() else { return Err(self.unexpected()) };
        let mut parts = vec![first];
        while self.peek() == &Tok::Dot {
            self.advance();
            parts.push(self.label()?);
        }
        let modifiers = self.modifiers()?;
        Ok(TypeName { modifiers, ..of(ObjectName { parts }, pos) })
    }

    fn with_modifiers(&mut self, name: &str, pos: Pos) -> Result<TypeName> {
        let modifiers = self.modifiers()?;
        Ok(TypeName { modifiers, ..plain(name, pos) })
    }

    fn modifiers(&mut self) -> Result<Vec<i64>> {
        if self.peek() != &Tok::LParen {
            return Ok(Vec::new());
        }
        self.parenthesised(|p| p.list(|p| p.integer()))
    }

    /// float(1..24) is real, float(25..53) double precision.
    fn float_type(&mut self, pos: Pos) -> Result<TypeName> {
        self.advance();
        let at = self.pos();
        match self.modifiers()?.as_slice() {
            [] => Ok(plain("float8", pos)),
            [n] if *n < 1 => {
                let message = "precision for type float must be at least 1 bit";
                Err(self.error_at("22023", message, at + 1))
            }
            [n] if *n <= 24 => Ok(plain("float4", pos)),
            [n] if *n <= 53 => Ok(plain("float8", pos)),
            _ => {
                let message = "precision for type float must be less than 54 bits";
                Err(self.error_at("22023", message, at + 1))
            }
        }
    }

    fn char_type(&mut self, pos: Pos) -> Result<TypeName> {
        self.accept_word("national");
        let varchar = self.at_word("varchar");
        if self.accept_one_of(&["varchar", "character", "char", "nchar"]).is_none() {
            return Err(self.unexpected());
        }
        let varying = self.accept_word("varying") || varchar;
        let mut modifiers = self.modifiers()?;
        if !varying && modifiers.is_empty() {
            modifiers.push(1);
        }
        Ok(TypeName { modifiers, ..plain(if varying { "varchar" } else { "bpchar" }, pos) })
    }

    fn time_type(&mut self, pos: Pos) -> Result<TypeName> {
        let stamp = self.at_word("timestamp");
        self.advance();
        let modifiers = self.modifiers()?;
        let with_zone = if self.accept_words(&["with", "time", "zone"]) {
            true
        } else {
            self.accept_words(&["without", "time", "zone"]);
            false
        };
        let name = match (stamp, with_zone) {
            (true, false) => "timestamp",
            (true, true) => "timestamptz",
            (false, false) => "time",
            (false, true) => "timetz",
        };
        Ok(TypeName { modifiers, ..plain(name, pos) })
    }

    fn interval_type(&mut self, pos: Pos) -> Result<TypeName> {
        self.advance();
        let mut modifiers = self.modifiers()?;
        let interval_fields = self.interval_fields(&mut modifiers)?;
        Ok(TypeName { modifiers, interval_fields, ..plain("interval", pos) })
    }

    /// `day to second(3)`, after the type's name or after the literal.
    pub(super) fn interval_fields(&mut self, modifiers: &mut Vec<i64>) -> Result<Option<u32>> {
        let Some(first) = self.accept_one_of(&["year", "month", "day", "hour", "minute", "second"])
        else {
            return Ok(None);
        };
        let masks = [YEAR, MONTH, DAY, HOUR, MINUTE, SECOND];
        let mut last = first;
        if self.at_word("to") {
            self.advance();
            let words = ["year", "month", "day", "hour", "minute", "second"];
            match self.accept_one_of(&words) {
                Some(to) if to > first && !(first < 2 && to > 1) => last = to,
                _ => return Err(self.unexpected()),
            }
        }
        if last == 5 {
            modifiers.extend(self.modifiers()?);
        }
        Ok(Some(masks[first..=last].iter().fold(0, |all, mask| all | mask)))
    }
}

fn plain(name: &str, pos: Pos) -> TypeName {
    of(ObjectName { parts: vec![Ident { name: name.to_string(), pos }] }, pos)
}

fn of(name: ObjectName, pos: Pos) -> TypeName {
    TypeName {
        name,
        modifiers: Vec::new(),
        array: false,
        interval_fields: None,
        set_of: false,
        pos,
    }
}
