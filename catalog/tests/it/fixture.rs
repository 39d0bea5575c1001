//! A catalog to play with, and short ways to make things in it.

use catalog::bootstrap::{self, BOOTSTRAP_ROLE, PUBLIC_SCHEMA, SHANGHAI_DATABASE};
use catalog::{
    Catalog, CatalogChange, CatalogError, CatalogUpdate, NewCheck, NewColumn, NewForeignKey,
    NewIndex, NewIndexColumn, NewKeyConstraint, NewTable, Oid,
};
use core_domain::{Key, Value};
use datum::{ColumnType, SqlType};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A catalog together with the keys that would be on disk.
pub struct Fixture {
    pub catalog: Arc<Catalog>,
    pub disk: BTreeMap<Key, Value>,
}

impl Fixture {
    pub fn new() -> Self {
        let disk: BTreeMap<Key, Value> = bootstrap::writes().into_iter().collect();
        let catalog = Catalog::load(disk.clone()).expect("bootstrap loads");
        Self { catalog: Arc::new(catalog.expect("bootstrap is not empty")), disk }
    }

    pub fn start(&self) -> CatalogChange {
        self.catalog.change(SHANGHAI_DATABASE, BOOTSTRAP_ROLE, &["public".to_owned()])
    }

    /// Runs one DDL statement, keeps its result, and checks that the disk tells the same.
    pub fn run<T>(
        &mut self,
        statement: impl FnOnce(&mut CatalogChange) -> Result<T, CatalogError>,
    ) -> (T, CatalogUpdate) {
        let mut change = self.start();
        let answer = statement(&mut change).expect("the statement succeeds");
        let update = change.finish();
        for (key, value) in &update.writes {
            match value {
                Some(value) => self.disk.insert(key.clone(), value.clone()),
                None => self.disk.remove(key),
            };
        }
        self.catalog = update.catalog.clone();
        let loaded = Catalog::load(self.disk.clone()).expect("what was written loads").unwrap();
        assert!(loaded == *self.catalog, "what is on disk is not what is in memory");
        (answer, update)
    }

    pub fn refuse<T>(
        &self,
        statement: impl FnOnce(&mut CatalogChange) -> Result<T, CatalogError>,
    ) -> CatalogError {
        match statement(&mut self.start()) {
            Ok(_) => panic!("the statement should have been refused"),
            Err(error) => error,
        }
    }

    pub fn oid(&self, name: &str) -> Oid {
        let path = ["public".to_owned()];
        self.catalog.expect_relation(SHANGHAI_DATABASE, &path, None, name).unwrap().oid()
    }

    pub fn table(&self, name: &str) -> Arc<catalog::TableDescriptor> {
        self.catalog.table(self.oid(name)).expect("it is a table").clone()
    }
}

pub fn column(name: &str, ty: SqlType) -> NewColumn {
    NewColumn::new(name, ColumnType::plain(ty))
}

pub fn key(columns: &[&str]) -> NewKeyConstraint {
    NewKeyConstraint {
        columns: columns.iter().map(|c| (*c).to_owned()).collect(),
        ..NewKeyConstraint::default()
    }
}

pub fn check(sql: &str, columns: &[&str]) -> NewCheck {
    NewCheck {
        sql: sql.to_owned(),
        columns: columns.iter().map(|c| (*c).to_owned()).collect(),
        ..NewCheck::default()
    }
}

pub fn foreign_key(columns: &[&str], referenced: Oid) -> NewForeignKey {
    NewForeignKey {
        columns: columns.iter().map(|c| (*c).to_owned()).collect(),
        referenced_table: referenced,
        ..NewForeignKey::default()
    }
}

pub fn index(table: Oid, columns: &[&str]) -> NewIndex {
    let columns = columns.iter().map(|name| NewIndexColumn {
        name: (*name).to_owned(),
        descending: false,
        nulls_first: None,
    });
    NewIndex { table, columns: columns.collect(), ..NewIndex::default() }
}

pub fn table(name: &str, columns: Vec<NewColumn>) -> NewTable {
    NewTable { schema: PUBLIC_SCHEMA, name: name.to_owned(), columns, ..NewTable::default() }
}

/// `artist(artist_id int primary key, name text)` and
/// `album(album_id int primary key, title text not null, artist_id int references artist)`.
pub fn music() -> Fixture {
    let mut f = Fixture::new();
    let (artist, _) = f.run(|c| {
        let columns = vec![column("artist_id", SqlType::Int4), column("name", SqlType::Text)];
        let primary_key = Some(key(&["artist_id"]));
        c.create_table(NewTable { primary_key, ..table("artist", columns) })
    });
    f.run(|c| {
        let title = NewColumn { not_null: true, ..column("title", SqlType::Text) };
        let columns =
            vec![column("album_id", SqlType::Int4), title, column("artist_id", SqlType::Int4)];
        c.create_table(NewTable {
            primary_key: Some(key(&["album_id"])),
            foreign_keys: vec![foreign_key(&["artist_id"], artist)],
            ..table("album", columns)
        })
    });
    f
}
