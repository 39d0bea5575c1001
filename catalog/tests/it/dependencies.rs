//! DROP ... RESTRICT and CASCADE.

use crate::fixture::{Fixture, column, key, music, table};
use catalog::bootstrap::{BOOTSTRAP_ROLE, PUBLIC_SCHEMA};
use catalog::{ColumnId, Dependency, DropBehavior, NewTable, NewView, Oid, ViewColumn};
use datum::{ColumnType, SqlType};

const HINT: &str = "Use DROP ... CASCADE to drop the dependent objects too.";

fn view(name: &str, relation: Oid, columns: Vec<ColumnId>) -> NewView {
    let ty = ColumnType::plain(SqlType::Text);
    NewView {
        schema: PUBLIC_SCHEMA,
        name: name.to_owned(),
        columns: vec![ViewColumn { name: "title".to_owned(), ty }],
        definition: "SELECT title FROM album".to_owned(),
        dependencies: vec![Dependency { relation, columns }],
        or_replace: false,
    }
}

#[test]
fn a_referenced_table_is_not_dropped_alone() {
    let mut f = music();
    let (artist, album) = (f.oid("artist"), f.oid("album"));
    let error = f.refuse(|c| c.drop_relations(&[artist], DropBehavior::Restrict));
    assert_eq!(error.sqlstate, "2BP01");
    assert_eq!(error.message, "cannot drop table artist because other objects depend on it");
    let detail = "constraint album_artist_id_fkey on table album depends on table artist";
    assert_eq!(error.detail.as_deref(), Some(detail));
    assert_eq!(error.hint.as_deref(), Some(HINT));

    let (_, update) = f.run(|c| c.drop_relations(&[artist], DropBehavior::Cascade));
    let message = "drop cascades to constraint album_artist_id_fkey on table album";
    assert_eq!(update.notices[0].message, message);
    assert_eq!(f.catalog.table(album).unwrap().foreign_keys().count(), 0);

    // Both at once: nothing is left to complain.
    let mut f = music();
    let both = [f.oid("artist"), f.oid("album")];
    let (_, update) = f.run(|c| c.drop_relations(&both, DropBehavior::Restrict));
    assert!(update.notices.is_empty());
    assert_eq!(f.catalog.tables().count(), 0);
}

#[test]
fn views_go_with_what_they_read() {
    let mut f = music();
    let album = f.oid("album");
    let (v, _) = f.run(|c| c.create_view(view("v", album, vec![ColumnId(2)])));
    f.run(|c| c.create_view(view("w", v, vec![ColumnId(1)])));
    let error = f.refuse(|c| c.drop_relations(&[album], DropBehavior::Restrict));
    let detail = "view v depends on table album\nview w depends on view v";
    assert_eq!(error.detail.as_deref(), Some(detail));
    let error = f.refuse(|c| c.drop_column(album, "title", false, DropBehavior::Restrict));
    let what = "cannot drop column title of table album because other objects depend on it";
    assert_eq!(error.message, what);
    let detail = "view v depends on column title of table album\nview w depends on view v";
    assert_eq!(error.detail.as_deref(), Some(detail));
    // A column that no view reads goes quietly.
    f.run(|c| c.drop_column(album, "artist_id", false, DropBehavior::Restrict));
    let (_, update) = f.run(|c| c.drop_relations(&[album], DropBehavior::Cascade));
    assert_eq!(update.notices[0].message, "drop cascades to 2 other objects");
    let detail = "drop cascades to view v\ndrop cascades to view w";
    assert_eq!(update.notices[0].detail.as_deref(), Some(detail));
}

#[test]
fn a_key_that_is_referenced_stays() {
    let mut f = music();
    let artist = f.oid("artist");
    let drop = |behavior| {
        move |c: &mut catalog::CatalogChange| {
            c.drop_constraint(artist, "artist_pkey", false, behavior)
        }
    };
    let error = f.refuse(drop(DropBehavior::Restrict));
    let what =
        "cannot drop constraint artist_pkey on table artist because other objects depend on it";
    assert_eq!(error.message, what);
    let (_, update) = f.run(drop(DropBehavior::Cascade));
    assert_eq!(update.rewrites.len(), 1);
    let index = f.refuse(|c| {
        let oid = c.catalog().relation(PUBLIC_SCHEMA, "album_pkey").unwrap().oid();
        c.drop_relations(&[oid], DropBehavior::Restrict)
    });
    assert_eq!(
        index.message,
        "cannot drop index album_pkey because constraint album_pkey on table album requires it"
    );
    assert_eq!(
        index.hint.as_deref(),
        Some("You can drop constraint album_pkey on table album instead.")
    );
}

#[test]
fn a_column_takes_its_constraints_and_indexes_along() {
    let mut f = music();
    let album = f.oid("album");
    f.run(|c| c.add_unique(album, key(&["title", "artist_id"])));
    let (_, update) = f.run(|c| c.drop_column(album, "artist_id", false, DropBehavior::Restrict));
    assert!(update.notices.is_empty());
    let left: Vec<String> = f.table("album").constraints.iter().map(|c| c.name.clone()).collect();
    assert_eq!(left, ["album_pkey"]);
    assert_eq!(f.table("album").indexes.len(), 1);
    assert_eq!(f.catalog.referenced_by(f.oid("artist")).count(), 0);
}

#[test]
fn a_schema_with_things_in_it_needs_cascade() {
    let mut f = Fixture::new();
    let (schema, _) = f.run(|c| c.create_schema("s", BOOTSTRAP_ROLE));
    let columns = vec![column("a", SqlType::Int4)];
    f.run(|c| c.create_table(NewTable { schema, ..table("t", columns) }));
    let error = f.refuse(|c| c.drop_schemas(&[schema], DropBehavior::Restrict));
    assert_eq!(error.message, "cannot drop schema s because other objects depend on it");
    assert_eq!(error.detail.as_deref(), Some("table s.t depends on schema s"));
    let (_, update) = f.run(|c| c.drop_schemas(&[schema], DropBehavior::Cascade));
    assert_eq!(update.notices[0].message, "drop cascades to table s.t");
    assert_eq!(f.catalog.tables().count(), 0);
    assert_eq!(f.catalog.schema(schema), None);
}
