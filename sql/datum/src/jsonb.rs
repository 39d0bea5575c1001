//! jsonb in memory: duplicate keys gone (the last wins), keys ordered by length, then bytes, numbers as numeric.

use crate::Numeric;

#[derive(Debug, Clone)]
pub enum Jsonb {
    Null,
    Bool(bool),
    Number(Numeric),
    String(Box<str>),
    Array(Vec<Jsonb>),
    Object(JsonbObject),
}

/// Entries sorted by key length, then by key bytes; keys are unique.
#[derive(Debug, Clone, Default)]
pub struct JsonbObject {
    entries: Vec<(Box<str>, Jsonb)>,
}

impl JsonbObject {
    /// Normalises: of equal keys the last one stays.
    pub fn from_entries(mut entries: Vec<(Box<str>, Jsonb)>) -> Self {
        entries.sort_by(|(a, _), (b, _)| (a.len(), a.as_bytes()).cmp(&(b.len(), b.as_bytes())));
        // The sort is stable, so of a run of equal keys the last was written last.
        let mut unique: Vec<(Box<str>, Jsonb)> = Vec::with_capacity(entries.len());
        for entry in entries {
            match unique.last_mut() {
                Some(last) if last.0 == entry.0 => *last = entry,
                _ => unique.push(entry),
            }
        }
        Self { entries: unique }
    }

    pub fn entries(&self) -> &[(Box<str>, Jsonb)] {
        &self.entries
    }

    pub fn into_entries(self) -> Vec<(Box<str>, Jsonb)> {
        self.entries
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn get(&self, key: &str) -> Option<&Jsonb> {
        let order = |k: &str| (k.len(), k.as_bytes().to_vec());
        let wanted = order(key);
        self.entries
            .binary_search_by(|(k, _)| (k.len(), k.as_bytes()).cmp(&(wanted.0, &wanted.1)))
            .ok()
            .map(|at| &self.entries[at].1)
    }
}

impl Jsonb {
    pub fn object(entries: Vec<(Box<str>, Jsonb)>) -> Self {
        Jsonb::Object(JsonbObject::from_entries(entries))
    }

    /// `jsonb_typeof`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Jsonb::Null => "null",
            Jsonb::Bool(_) => "boolean",
            Jsonb::Number(_) => "number",
            Jsonb::String(_) => "string",
            Jsonb::Array(_) => "array",
            Jsonb::Object(_) => "object",
        }
    }

    pub fn size_bytes(&self) -> usize {
        let heap = match self {
            Jsonb::Null | Jsonb::Bool(_) => 0,
            Jsonb::Number(n) => n.heap_bytes(),
            Jsonb::String(s) => s.len(),
            Jsonb::Array(items) => items.iter().map(Jsonb::size_bytes).sum(),
            Jsonb::Object(o) => o.entries.iter().map(|(k, v)| 16 + k.len() + v.size_bytes()).sum(),
        };
        std::mem::size_of::<Jsonb>() + heap
    }
}
