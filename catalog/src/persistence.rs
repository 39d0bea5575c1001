//! The catalog in the keyspace: one key per object.
//!
//! ```text
//! /system/catalog/version                 u64, big-endian: bumped by every DDL transaction
//! /system/catalog/next_oid                u32, big-endian
//! /system/catalog/database/<oid>          DatabaseDescriptor
//! /system/catalog/schema/<oid>            SchemaDescriptor
//! /system/catalog/role/<oid>              RoleDescriptor
//! /system/catalog/table/<oid>             TableDescriptor, its indexes and constraints
//! /system/catalog/view/<oid>              ViewDescriptor
//! /system/catalog/sequence/<oid>          SequenceDescriptor (values: keys::sequence_key)
//! /system/catalog/comment/<class>/<oid>/<sub>    text
//! /system/catalog/setting/<database>/<role>      list of (name, value)
//! ```
//!
//! Numbers in keys are ten decimal digits, so that keys sort and people can read them. A value is
//! one byte of format version (1) and then the descriptor as postcard. Every DDL transaction writes
//! `version`, so DDL is serialised by that key's lock; a node reloads when the value has moved.

use crate::database::{CommentKey, DatabaseDescriptor, RoleDescriptor, SchemaDescriptor};
use crate::error::CatalogError;
use crate::relation::{SequenceDescriptor, ViewDescriptor};
use crate::snapshot::{Catalog, SettingScope};
use crate::table::TableDescriptor;
use crate::{Oid, Result};
use core_domain::{Key, Span, Value};
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;

const FORMAT: u8 = 1;
const PREFIX: &str = "catalog/";

/// An object with a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ObjectKey {
    Database(Oid),
    Schema(Oid),
    Role(Oid),
    Table(Oid),
    View(Oid),
    Sequence(Oid),
    Comment(CommentKey),
    Setting(SettingScope),
}

/// Everything to scan for [`Catalog::load`].
pub fn span() -> Span {
    Span::prefix(Key::system(PREFIX))
}

/// The key whose value moves with every DDL transaction: lock it first, read it to see whether a
/// cached catalog is current.
pub fn version_key() -> Key {
    Key::system("catalog/version")
}

pub fn next_oid_key() -> Key {
    Key::system("catalog/next_oid")
}

/// Reads the value of [`version_key`].
///
/// # Errors
/// XX001 if it is not eight bytes.
pub fn decode_version(value: &[u8]) -> Result<u64> {
    let bytes = value.try_into().map_err(|_| CatalogError::corrupt("version"))?;
    Ok(u64::from_be_bytes(bytes))
}

impl Catalog {
    /// Builds a catalog from a scan of [`span`], in any order. `None` if there was nothing: the
    /// cluster is new, see `bootstrap::writes`.
    ///
    /// # Errors
    /// XX001 for a key or a value that no version of this code wrote.
    pub fn load(pairs: impl IntoIterator<Item = (Key, Value)>) -> Result<Option<Catalog>> {
        let mut catalog = Catalog::default();
        let mut empty = true;
        for (key, value) in pairs {
            empty = false;
            load_one(&mut catalog, &key, &value)?;
        }
        Ok((!empty).then_some(catalog))
    }
}

fn load_one(catalog: &mut Catalog, key: &Key, value: &[u8]) -> Result<()> {
    let bad_key = || CatalogError::corrupt(format_args!("unexpected key {key}"));
    let path = std::str::from_utf8(&key.as_slice()[1..]).map_err(|_| bad_key())?;
    let mut parts = path.strip_prefix(PREFIX).ok_or_else(bad_key)?.split('/');
    let kind = parts.next().ok_or_else(bad_key)?;
    let numbers: Vec<i64> =
        parts.map(str::parse).collect::<std::result::Result<_, _>>().map_err(|_| bad_key())?;
    match (kind, numbers.as_slice()) {
        ("version", []) => catalog.version = decode_version(value)?,
        ("next_oid", []) => {
            let bytes = value.try_into().map_err(|_| CatalogError::corrupt("next_oid"))?;
            catalog.next_oid = u32::from_be_bytes(bytes);
        }
        ("database", [_]) => {
            let database: DatabaseDescriptor = decode(key, value)?;
            Arc::make_mut(&mut catalog.databases).insert(database.oid, Arc::new(database));
        }
        ("schema", [_]) => {
            let schema: SchemaDescriptor = decode(key, value)?;
            Arc::make_mut(&mut catalog.schemas).insert(schema.oid, Arc::new(schema));
        }
        ("role", [_]) => {
            let role: RoleDescriptor = decode(key, value)?;
            Arc::make_mut(&mut catalog.roles).insert(role.oid, Arc::new(role));
        }
        ("table", [_]) => catalog.put_table(decode::<TableDescriptor>(key, value)?),
        ("view", [_]) => catalog.put_view(decode::<ViewDescriptor>(key, value)?),
        ("sequence", [_]) => catalog.put_sequence(decode::<SequenceDescriptor>(key, value)?),
        ("comment", &[class, object, sub]) => {
            let key_of = CommentKey { class: class as Oid, object: object as Oid, sub: sub as i32 };
            Arc::make_mut(&mut catalog.comments).insert(key_of, decode(key, value)?);
        }
        ("setting", &[database, role]) => {
            let scope = (database as Oid, role as Oid);
            Arc::make_mut(&mut catalog.settings).insert(scope, decode(key, value)?);
        }
        _ => return Err(bad_key()),
    }
    Ok(())
}

impl ObjectKey {
    pub(crate) fn key(self) -> Key {
        let path = match self {
            ObjectKey::Database(oid) => format!("database/{oid:010}"),
            ObjectKey::Schema(oid) => format!("schema/{oid:010}"),
            ObjectKey::Role(oid) => format!("role/{oid:010}"),
            ObjectKey::Table(oid) => format!("table/{oid:010}"),
            ObjectKey::View(oid) => format!("view/{oid:010}"),
            ObjectKey::Sequence(oid) => format!("sequence/{oid:010}"),
            ObjectKey::Comment(CommentKey { class, object, sub }) => {
                format!("comment/{class:010}/{object:010}/{sub:010}")
            }
            ObjectKey::Setting((database, role)) => format!("setting/{database:010}/{role:010}"),
        };
        Key::system(&format!("{PREFIX}{path}"))
    }

    /// The object's value in `catalog`; `None` if it is not there (any more).
    pub(crate) fn value(self, catalog: &Catalog) -> Option<Value> {
        match self {
            ObjectKey::Database(oid) => catalog.databases.get(&oid).map(|d| encode(&**d)),
            ObjectKey::Schema(oid) => catalog.schemas.get(&oid).map(|s| encode(&**s)),
            ObjectKey::Role(oid) => catalog.roles.get(&oid).map(|r| encode(&**r)),
            ObjectKey::Table(oid) => catalog.tables.get(&oid).map(|t| encode(&**t)),
            ObjectKey::View(oid) => catalog.views.get(&oid).map(|v| encode(&**v)),
            ObjectKey::Sequence(oid) => catalog.sequences.get(&oid).map(|s| encode(&**s)),
            ObjectKey::Comment(key) => catalog.comments.get(&key).map(encode),
            ObjectKey::Setting(scope) => catalog.settings.get(&scope).map(encode),
        }
    }
}

/// The two counters as writes.
pub(crate) fn counters(catalog: &Catalog) -> [(Key, Value); 2] {
    [
        (version_key(), Value::copy_from_slice(&catalog.version.to_be_bytes())),
        (next_oid_key(), Value::copy_from_slice(&catalog.next_oid.to_be_bytes())),
    ]
}

/// A whole catalog as the pairs that [`Catalog::load`] reads.
pub fn snapshot(catalog: &Catalog) -> Vec<(Key, Value)> {
    let objects = (catalog.databases.keys().map(|o| ObjectKey::Database(*o)))
        .chain(catalog.schemas.keys().map(|o| ObjectKey::Schema(*o)))
        .chain(catalog.roles.keys().map(|o| ObjectKey::Role(*o)))
        .chain(catalog.tables.keys().map(|o| ObjectKey::Table(*o)))
        .chain(catalog.views.keys().map(|o| ObjectKey::View(*o)))
        .chain(catalog.sequences.keys().map(|o| ObjectKey::Sequence(*o)))
        .chain(catalog.comments.keys().map(|k| ObjectKey::Comment(*k)))
        .chain(catalog.settings.keys().map(|s| ObjectKey::Setting(*s)));
    let objects = objects.filter_map(|o| Some((o.key(), o.value(catalog)?)));
    counters(catalog).into_iter().chain(objects).collect()
}

fn encode<T: Serialize + ?Sized>(value: &T) -> Value {
    let bytes = postcard::to_extend(value, vec![FORMAT]);
    bytes.expect("descriptors hold only what postcard can encode, and a Vec grows").into()
}

fn decode<T: DeserializeOwned>(key: &Key, value: &[u8]) -> Result<T> {
    match value.split_first() {
        Some((&FORMAT, body)) => postcard::from_bytes(body)
            .map_err(|e| CatalogError::corrupt(format_args!("value of {key}: {e}"))),
        Some((other, _)) => {
            Err(CatalogError::corrupt(format_args!("value of {key} has unknown format {other}")))
        }
        None => Err(CatalogError::corrupt(format_args!("value of {key} is empty"))),
    }
}
