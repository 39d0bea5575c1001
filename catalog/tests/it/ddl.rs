//! CREATE and ALTER: names chosen, descriptors, errors in PostgreSQL's words, work left to do.

use crate::fixture::{Fixture, check, column, foreign_key, index, key, music, table};
use catalog::bootstrap::{BOOTSTRAP_ROLE, POSTGRES_DATABASE, PUBLIC_SCHEMA, SHANGHAI_DATABASE};
use catalog::keys::SequenceState;
use catalog::{
    AutoIncrement, Catalog, ColumnId, DropBehavior, NewColumn, NewIndex, NewTable, NewView,
    PrimaryKeyPlacement, RoleDescriptor, RowKey, SequenceOptions, Validation, ViewColumn,
};
use catalog::{DropKind, deparse};
use datum::{ColumnType, Datum, SqlType};

#[test]
fn a_new_cluster_has_its_databases_roles_and_schemas() {
    let f = Fixture::new();
    let names: Vec<&str> = f.catalog.databases().map(|d| d.name.as_str()).collect();
    assert_eq!(names, ["template1", "template0", "postgres", "shanghai"]);
    assert!(f.catalog.role_named("shanghai").unwrap().superuser);
    for database in [SHANGHAI_DATABASE, POSTGRES_DATABASE] {
        let public = f.catalog.schema_named(database, "public").unwrap();
        assert_eq!(f.catalog.creation_schema(database, &["public".to_owned()]), Ok(public.oid));
    }
    assert_eq!(Catalog::load([]).unwrap().map(|_| ()), None);
}

#[test]
fn oids_are_handed_out_from_16384_and_never_again() {
    let mut f = music();
    assert_eq!(f.oid("artist"), 16384);
    let before = f.table("artist");
    f.run(|c| c.drop_relations(&[before.oid], DropBehavior::Cascade));
    let columns = vec![column("artist_id", SqlType::Int4)];
    f.run(|c| c.create_table(table("artist", columns)));
    let after = f.table("artist");
    assert!(after.oid > before.oid && after.id > before.id, "{} {}", after.oid, after.id);
    assert_eq!(after.id.group, SHANGHAI_DATABASE);
}

#[test]
fn constraints_and_indexes_get_postgresqls_names() {
    let mut f = music();
    let album = f.oid("album");
    f.run(|c| c.add_unique(album, key(&["title", "artist_id"])));
    f.run(|c| c.add_check(album, check("album_id > 0", &["album_id"])));
    f.run(|c| c.add_check(album, check("album_id > artist_id", &["album_id", "artist_id"])));
    f.run(|c| c.create_index(index(album, &["artist_id"])));
    f.run(|c| c.create_index(index(album, &["artist_id"])));
    let table = f.table("album");
    let constraints: Vec<&str> = table.constraints.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(
        constraints,
        [
            "album_pkey",
            "album_artist_id_fkey",
            "album_title_artist_id_key",
            "album_album_id_check",
            "album_check"
        ]
    );
    let indexes: Vec<&str> = table.indexes.iter().map(|i| i.name.as_str()).collect();
    let expected =
        ["album_pkey", "album_title_artist_id_key", "album_artist_id_idx", "album_artist_id_idx1"];
    assert_eq!(indexes, expected);
}

#[test]
fn a_descriptor_answers_what_an_executor_asks() {
    let f = music();
    let (artist, album) = (f.table("artist"), f.table("album"));
    assert!(matches!(album.row_key(), RowKey::PrimaryKey(i) if i.name == "album_pkey"));
    assert_eq!(album.row_key_ordinals(), [0]);
    assert!(album.columns[0].not_null && album.columns[1].not_null && !album.columns[2].not_null);
    assert_eq!(album.secondary_indexes().count(), 0);
    let (_, foreign) = album.foreign_keys().next().unwrap();
    assert_eq!(album.ordinals(foreign.columns.clone()), [2]);
    assert_eq!(foreign.referenced_index, artist.primary_index().unwrap().oid);
    let (holder, constraint, _) = f.catalog.referenced_by(artist.oid).next().unwrap();
    assert_eq!((holder.oid, constraint.name.as_str()), (album.oid, "album_artist_id_fkey"));
    assert_eq!(f.catalog.table_by_storage(album.id).unwrap().oid, album.oid);
}

#[test]
fn create_table_refuses_as_postgresql_does() {
    let f = music();
    let int = |name: &str| column(name, SqlType::Int4);
    let refused = |new: NewTable| {
        let error = f.refuse(|c| c.create_table(new));
        (error.sqlstate, error.message)
    };
    let is = |sqlstate: &'static str, message: &str| (sqlstate, message.to_owned());
    assert_eq!(
        refused(table("album", vec![int("a")])),
        is("42P07", "relation \"album\" already exists")
    );
    assert_eq!(
        refused(table("album_pkey", vec![int("a")])),
        is("42P07", "relation \"album_pkey\" already exists")
    );
    assert_eq!(
        refused(table("t", vec![int("a"), int("a")])),
        is("42701", "column \"a\" specified more than once")
    );
    assert_eq!(
        refused(table("t", vec![int("ctid")])),
        is("42701", "column name \"ctid\" conflicts with a system column name")
    );
    let with_key = |columns: &[&str]| NewTable {
        primary_key: Some(key(columns)),
        ..table("t", vec![int("a"), int("b")])
    };
    assert_eq!(
        refused(with_key(&["a", "a"])),
        is("42701", "column \"a\" appears twice in primary key constraint")
    );
    assert_eq!(refused(with_key(&["c"])), is("42703", "column \"c\" named in key does not exist"));
    let json =
        NewTable { primary_key: Some(key(&["j"])), ..table("t", vec![column("j", SqlType::Json)]) };
    assert_eq!(
        refused(json),
        is("42704", "data type json has no default operator class for access method \"btree\"")
    );
}

#[test]
fn foreign_keys_need_a_unique_target_of_a_comparable_type() {
    let f = music();
    let (album, artist) = (f.oid("album"), f.oid("artist"));
    let refused = |columns: &[&str], referenced: &[&str]| {
        let mut new = foreign_key(columns, artist);
        new.referenced_columns = referenced.iter().map(|c| (*c).to_owned()).collect();
        let error = f.refuse(|c| c.add_foreign_key(album, new));
        (error.sqlstate, error.message, error.detail)
    };
    assert_eq!(
        refused(&["title"], &["name"]),
        (
            "42830",
            "there is no unique constraint matching given keys for referenced table \"artist\""
                .to_owned(),
            None
        )
    );
    assert_eq!(
        refused(&["title"], &[]),
        (
            "42804",
            "foreign key constraint \"album_title_fkey\" cannot be implemented".to_owned(),
            Some(
                "Key columns \"title\" and \"artist_id\" are of incompatible types: text and \
                 integer."
                    .to_owned()
            )
        )
    );
    let (state, message, _) = refused(&["album_id", "artist_id"], &[]);
    assert_eq!(state, "42830");
    assert_eq!(message, "number of referencing and referenced columns for foreign key disagree");
}

#[test]
fn serial_and_identity_own_their_sequences() {
    let mut f = Fixture::new();
    let serial = NewColumn { auto: Some(AutoIncrement::Serial), ..column("id", SqlType::Int4) };
    let options = SequenceOptions { start: Some(10), ..SequenceOptions::default() };
    let identity = Some(AutoIncrement::Identity { always: true, options });
    let identity = NewColumn { auto: identity, ..column("n", SqlType::Int8) };
    let (t, update) = f.run(|c| c.create_table(table("t", vec![serial, identity])));
    assert_eq!(update.new_sequences, [f.oid("t_id_seq"), f.oid("t_n_seq")]);
    let made = f.table("t");
    let default = made.columns[0].default.clone().unwrap();
    assert_eq!(default, "nextval('public.t_id_seq'::regclass)");
    assert!(made.columns[0].not_null && made.columns[1].identity.is_some_and(|i| i.always));
    let sequence = f.catalog.sequence(f.oid("t_id_seq")).unwrap();
    assert_eq!((sequence.max, sequence.owned_by), (i64::from(i32::MAX), Some((t, ColumnId(1)))));
    let n = f.catalog.sequence(f.oid("t_n_seq")).unwrap();
    let (first, state) = SequenceState::initial(n).next(n).unwrap();
    assert_eq!((first, state.next(n).unwrap().0), (10, 11));
    assert_eq!(SequenceState::decode(&state.encode()), Ok(state));

    // Shown without its schema where the search path finds it; follows a rename.
    f.run(|c| c.rename_relation(f_oid(c.catalog(), "t_id_seq"), "Ids"));
    let default = f.table("t").columns[0].default.clone().unwrap();
    let path = ["public".to_owned()];
    let names = deparse::Names { database: SHANGHAI_DATABASE, search_path: &path };
    let shown = deparse::expression(&f.catalog, names, &default);
    assert_eq!(shown, "nextval('\"Ids\"'::regclass)");

    let (_, update) = f.run(|c| c.drop_relations(&[t], DropBehavior::Restrict));
    assert_eq!(update.dropped_sequences.len(), 2);
    assert!(update.notices.is_empty());
    assert_eq!(f.catalog.sequences_of(SHANGHAI_DATABASE).count(), 0);
}

fn f_oid(catalog: &Catalog, name: &str) -> catalog::Oid {
    catalog.relation(PUBLIC_SCHEMA, name).unwrap().oid()
}

#[test]
fn a_default_that_names_a_sequence_is_bound_to_it() {
    let mut f = Fixture::new();
    let options = SequenceOptions::default();
    f.run(|c| {
        c.create_sequence(catalog::NewSequence {
            schema: PUBLIC_SCHEMA,
            name: "s".to_owned(),
            ty: SqlType::Int8,
            options,
            owned_by: None,
        })
    });
    let id = NewColumn { default: Some("nextval('s')".to_owned()), ..column("id", SqlType::Int8) };
    let (t, _) = f.run(|c| c.create_table(table("t", vec![id])));
    let made = f.table("t");
    assert_eq!(made.columns[0].default.as_deref(), Some("nextval('public.s'::regclass)"));
    let s = f.oid("s");
    let error = f.refuse(|c| c.drop_relations(&[s], DropBehavior::Restrict));
    assert_eq!(error.message, "cannot drop sequence s because other objects depend on it");
    assert_eq!(
        error.detail.as_deref(),
        Some("default value for column id of table t depends on sequence s")
    );
    let (_, update) = f.run(|c| c.drop_relations(&[s], DropBehavior::Cascade));
    let notice = "drop cascades to default value for column id of table t";
    assert_eq!(update.notices[0].message, notice);
    assert_eq!(f.catalog.table(t).unwrap().columns[0].default, None);
}

#[test]
fn sequence_limits_are_checked() {
    let f = Fixture::new();
    let refused = |options: SequenceOptions| {
        let new = catalog::NewSequence {
            schema: PUBLIC_SCHEMA,
            name: "s".to_owned(),
            ty: SqlType::Int2,
            options,
            owned_by: None,
        };
        f.refuse(|c| c.create_sequence(new)).message
    };
    let options = SequenceOptions::default;
    assert_eq!(
        refused(SequenceOptions { max: Some(70_000), ..options() }),
        "MAXVALUE (70000) is out of range for sequence data type smallint"
    );
    assert_eq!(
        refused(SequenceOptions { start: Some(0), ..options() }),
        "START value (0) cannot be less than MINVALUE (1)"
    );
    assert_eq!(
        refused(SequenceOptions { increment: Some(0), ..options() }),
        "INCREMENT must not be zero"
    );
}

#[test]
fn a_column_added_and_one_dropped_leave_rows_alone() {
    let mut f = music();
    let album = f.oid("album");
    let year = NewColumn {
        default: Some("2000".to_owned()),
        missing: Some(Datum::Int4(2000)),
        not_null: true,
        ..column("year", SqlType::Int4)
    };
    let (id, update) = f.run(|c| c.add_column(album, year));
    assert_eq!(id, ColumnId(4));
    assert!(update.rewrites.is_empty() && update.validations.is_empty());
    let (_, update) = f.run(|c| c.drop_column(album, "title", false, DropBehavior::Restrict));
    assert!(update.rewrites.is_empty());
    let made = f.table("album");
    let names: Vec<&str> = made.columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["album_id", "artist_id", "year"]);
    assert_eq!(made.ordinals([ColumnId(1), ColumnId(3), ColumnId(4)]), [0, 1, 2]);
    // The number of a dropped column is not given out again.
    let (id, _) = f.run(|c| c.add_column(album, column("title", SqlType::Text)));
    assert_eq!(id, ColumnId(5));
    let error = f.refuse(|c| c.add_column(album, column("title", SqlType::Text)));
    assert_eq!(error.message, "column \"title\" of relation \"album\" already exists");
    // NOT NULL without a default: existing rows have to be looked at.
    let strict = NewColumn { not_null: true, ..column("strict", SqlType::Text) };
    let (column, update) = f.run(|c| c.add_column(album, strict));
    assert_eq!(update.validations, [Validation::NotNull { table: album, column }]);
    // A volatile default has a value of its own in every row.
    let random = NewColumn {
        default: Some("random()".to_owned()),
        ..crate::fixture::column("r", SqlType::Float8)
    };
    let (_, update) = f.run(|c| c.add_column(album, random));
    assert_eq!(update.rewrites.len(), 1);
}

#[test]
fn a_primary_key_added_later_moves_the_rows() {
    let mut f = Fixture::new();
    let columns = vec![column("aid", SqlType::Int4), column("bid", SqlType::Int4)];
    let (t, _) = f.run(|c| c.create_table(table("pgbench_accounts", columns)));
    let before = f.table("pgbench_accounts");
    assert_eq!(before.row_key(), RowKey::Hidden);
    let add = |placement| {
        move |c: &mut catalog::CatalogChange| c.add_primary_key(t, key(&["aid"]), placement)
    };
    let (_, update) = f.run(add(PrimaryKeyPlacement::Rewrite));
    let after = f.table("pgbench_accounts");
    assert_eq!(update.rewrites[0].from, before.id);
    assert_eq!(update.rewrites[0].to, after.id);
    assert_eq!(after.row_key_ordinals(), [0]);
    assert_eq!(update.validations, [Validation::NotNull { table: t, column: ColumnId(1) }]);
    let error = f.refuse(add(PrimaryKeyPlacement::Rewrite));
    assert_eq!(error.sqlstate, "42P16");
    assert_eq!(
        error.message,
        "multiple primary keys for table \"pgbench_accounts\" are not allowed"
    );
    // Dropping it moves them back under hidden ids.
    let name = "pgbench_accounts_pkey";
    let (_, update) = f.run(|c| c.drop_constraint(t, name, false, DropBehavior::Restrict));
    assert_eq!(update.rewrites.len(), 1);
    assert_eq!(f.table("pgbench_accounts").row_key(), RowKey::Hidden);
    // Beside: the rows stay, the key is an index of its own.
    let (_, update) = f.run(add(PrimaryKeyPlacement::Beside));
    assert!(update.rewrites.is_empty());
    assert_eq!(update.new_indexes.len(), 1);
    assert_eq!(f.table("pgbench_accounts").row_key(), RowKey::Hidden);
    assert_eq!(f.table("pgbench_accounts").primary_key_ordinals(), [0]);
}

#[test]
fn an_index_asks_to_be_filled_and_a_dropped_one_to_be_cleared() {
    let mut f = music();
    let album = f.oid("album");
    let unique = NewIndex { unique: true, ..index(album, &["title"]) };
    let (oid, update) = f.run(|c| c.create_index(unique));
    let made = f.table("album");
    let found = made.index(oid).unwrap();
    assert_eq!(update.new_indexes, [(album, found.id)]);
    let definition = deparse::index_definition(&f.catalog, oid).unwrap();
    assert_eq!(
        definition,
        "CREATE UNIQUE INDEX album_title_idx ON public.album USING btree (title)"
    );
    let (_, update) = f.run(|c| c.drop_relations(&[oid], DropBehavior::Restrict));
    assert_eq!(update.dropped_spans.len(), 1);
    let error =
        f.refuse(|c| c.create_index(NewIndex { method: "gin".into(), ..index(album, &["title"]) }));
    assert_eq!(error.sqlstate, "0A000");
}

#[test]
fn renaming_follows_into_checks() {
    let mut f = music();
    let album = f.oid("album");
    f.run(|c| c.add_check(album, check("album_id > 0", &["album_id"])));
    f.run(|c| c.rename_column(album, "album_id", "select"));
    let made = f.table("album");
    let (constraint, checked) = made.checks().next().unwrap();
    assert_eq!(checked.sql, "\"select\" > 0");
    let path = ["public".to_owned()];
    let names = deparse::Names { database: SHANGHAI_DATABASE, search_path: &path };
    let text =
        |pretty| deparse::constraint_definition(&f.catalog, names, constraint.oid, pretty).unwrap();
    assert_eq!(text(false), "CHECK ((\"select\" > 0))");
    assert_eq!(text(true), "CHECK (\"select\" > 0)");
    let error = f.refuse(|c| c.rename_column(album, "nope", "x"));
    assert_eq!(error.message, "column \"nope\" of relation \"album\" does not exist");
}

#[test]
fn truncate_swaps_storage_and_minds_foreign_keys() {
    let mut f = music();
    let (artist, album) = (f.oid("artist"), f.oid("album"));
    let error = f.refuse(|c| c.truncate(&[artist], false, false));
    assert_eq!(error.sqlstate, "0A000");
    assert_eq!(error.message, "cannot truncate a table referenced in a foreign key constraint");
    assert_eq!(error.detail.as_deref(), Some("Table \"album\" references \"artist\"."));
    let before = f.table("artist").id;
    let (_, update) = f.run(|c| c.truncate(&[artist, album], false, false));
    assert_ne!(f.table("artist").id, before);
    assert_eq!(update.dropped_spans.len(), 2);
    let (_, update) = f.run(|c| c.truncate(&[artist], false, true));
    assert_eq!(update.notices[0].message, "truncate cascades to table \"album\"");
}

#[test]
fn a_type_change_rewrites_only_where_bytes_change() {
    let mut f = Fixture::new();
    let name = NewColumn::new("name", ColumnType::varchar(10));
    let (t, _) = f.run(|c| c.create_table(table("t", vec![name])));
    let (rewrite, _) = f.run(|c| c.set_type(t, "name", ColumnType::varchar(20), None));
    assert!(!rewrite);
    let (rewrite, _) = f.run(|c| c.set_type(t, "name", ColumnType::plain(SqlType::Text), None));
    assert!(!rewrite);
    let (rewrite, update) = f.run(|c| c.set_type(t, "name", ColumnType::varchar(5), None));
    assert!(rewrite && update.rewrites.len() == 1);
}

#[test]
fn databases_and_schemas_come_and_go() {
    let mut f = Fixture::new();
    let (chinook, update) = f.run(|c| c.create_database("chinook", BOOTSTRAP_ROLE));
    assert_eq!(update.new_groups, [chinook]);
    let error = f.refuse(|c| c.create_database("chinook", BOOTSTRAP_ROLE));
    assert_eq!(
        (error.sqlstate, error.message.as_str()),
        ("42P04", "database \"chinook\" already exists")
    );
    let mut there = f.catalog.change(chinook, BOOTSTRAP_ROLE, &["public".to_owned()]);
    let schema = there.catalog().schema_oid(chinook, "public").unwrap();
    let columns = vec![column("a", SqlType::Int4)];
    there.create_table(NewTable { schema, ..table("t", columns) }).unwrap();
    f.catalog = there.finish().catalog;
    assert_eq!(f.catalog.tables_of(chinook).next().unwrap().id.group, chinook);
    // Not visible from another database.
    let path = ["public".to_owned()];
    assert!(f.catalog.resolve(SHANGHAI_DATABASE, &path, None, "t").is_none());
    let mut change = f.start();
    change.drop_database(chinook).unwrap();
    let update = change.finish();
    assert_eq!(update.dropped_spans.len(), 1);
    assert_eq!(update.catalog.tables_of(chinook).count(), 0);
    let error = f.refuse(|c| c.drop_database(SHANGHAI_DATABASE));
    assert_eq!(error.message, "cannot drop the currently open database");

    let mut f = Fixture::new();
    f.run(|c| c.create_schema("s", BOOTSTRAP_ROLE));
    let error = f.refuse(|c| c.create_schema("s", BOOTSTRAP_ROLE));
    assert_eq!((error.sqlstate, error.message.as_str()), ("42P06", "schema \"s\" already exists"));
    let error = f.refuse(|c| c.create_schema("pg_mine", BOOTSTRAP_ROLE));
    assert_eq!(error.sqlstate, "42939");
}

#[test]
fn if_exists_tells_and_the_wrong_kind_is_refused() {
    let mut f = music();
    let (found, update) = f.run(|c| c.find_for_drop(DropKind::Table, None, "nope", true));
    assert_eq!(found, None);
    assert_eq!(update.notices[0].message, "table \"nope\" does not exist, skipping");
    let error = f.refuse(|c| c.find_for_drop(DropKind::Table, None, "nope", false));
    assert_eq!(
        (error.sqlstate, error.message.as_str()),
        ("42P01", "table \"nope\" does not exist")
    );
    let error = f.refuse(|c| c.find_for_drop(DropKind::View, None, "album", false));
    assert_eq!(error.message, "\"album\" is not a view");
    assert_eq!(error.hint.as_deref(), Some("Use DROP TABLE to remove a table."));
}

#[test]
fn roles_have_members_and_owners_stay() {
    let mut f = Fixture::new();
    let (alice, _) = f.run(|c| c.create_role(RoleDescriptor::named("alice")));
    let (staff, _) = f.run(|c| c.create_role(RoleDescriptor::named("staff")));
    f.run(|c| c.grant_role(staff, alice, false));
    assert_eq!(f.catalog.memberships(alice)[0].role, staff);
    let error = f.refuse(|c| c.grant_role(alice, staff, false));
    assert_eq!(error.message, "role \"alice\" is a member of role \"staff\"");
    let (t, _) = f.run(|c| c.create_table(table("t", vec![column("a", SqlType::Int4)])));
    f.run(|c| c.set_owner(t, alice));
    let error = f.refuse(|c| c.drop_role(alice));
    assert_eq!(error.sqlstate, "2BP01");
    assert_eq!(error.detail.as_deref(), Some("owner of table t"));
    f.run(|c| c.drop_role(staff));
    assert!(f.catalog.memberships(alice).is_empty());
    let error = f.refuse(|c| c.create_role(RoleDescriptor::named("alice")));
    assert_eq!(
        (error.sqlstate, error.message.as_str()),
        ("42710", "role \"alice\" already exists")
    );
}

#[test]
fn replacing_a_view_keeps_its_columns() {
    let mut f = music();
    let album = f.oid("album");
    let view = |columns: &[&str]| NewView {
        schema: PUBLIC_SCHEMA,
        name: "v".to_owned(),
        columns: columns
            .iter()
            .map(|c| ViewColumn { name: (*c).to_owned(), ty: ColumnType::plain(SqlType::Text) })
            .collect(),
        definition: "SELECT title FROM album".to_owned(),
        dependencies: vec![catalog::Dependency { relation: album, columns: vec![ColumnId(2)] }],
        or_replace: true,
    };
    let (first, _) = f.run(|c| c.create_view(view(&["title"])));
    let (second, _) = f.run(|c| c.create_view(view(&["title", "more"])));
    assert_eq!(first, second);
    let error = f.refuse(|c| c.create_view(view(&["other", "more"])));
    assert_eq!(error.message, "cannot change name of view column \"title\" to \"other\"");
    let error = f.refuse(|c| c.create_view(NewView { or_replace: false, ..view(&["title"]) }));
    assert_eq!(error.message, "relation \"v\" already exists");
    let text = deparse::view_definition(&f.catalog, first).unwrap();
    assert_eq!(text, " SELECT title FROM album;");
}
