//! What a session does about a lost race: begins again where nobody has seen anything yet, and
//! else says what was lost to whom.
//!
//! ```text
//! alone                       rolled back, executed again        (statement.rs)
//! first of a block            the same; the block stays as BEGIN made it
//! later in a block, COMMIT    40001: Key (id)=(7) of table "t" was changed by transaction 4711…
//! ```

use super::Session;
use crate::error::{LostRace, SqlError};
use catalog::keys::{IndexKeys, RowKeys};
use catalog::table::ROWS_INDEX;
use catalog::{Catalog, TableDescriptor};
use core_domain::key::TABLE_KEY_HEADER;
use core_domain::{IsolationLevel, Key};
use datum::{Datum, TypeContext};
use std::sync::Arc;

impl Session {
    /// Whether nothing of the block has happened yet: its first statement may be executed again.
    pub(super) fn is_untouched(&self) -> bool {
        self.txn.kv.is_none() && self.txn.snapshot_catalog.is_none() && self.txn.catalog.is_none()
    }

    /// Takes back the block's first statement, and with it its transaction; what BEGIN, SET and
    /// SAVEPOINT said stays.
    pub(super) async fn begin_block_again(&mut self) {
        self.open_stream = None;
        if let Some(kv) = self.txn.kv.take() {
            kv.rollback().await;
        }
        self.txn.guards = None;
        self.txn.catalog = None;
        self.txn.snapshot_catalog = None;
        self.txn.at_commit = Default::default();
        for savepoint in &mut self.txn.savepoints {
            savepoint.kv = None;
        }
    }

    /// Says what a lost race was about, in the words of tables.
    pub(super) fn explain_conflict(&self, mut error: SqlError) -> SqlError {
        let Some(lost) = error.lost_race.take() else { return error };
        let catalog = self.txn.snapshot_catalog.clone().or_else(|| self.server.catalog.known());
        if let Some(catalog) = catalog {
            describe(&mut error, &lost, &catalog, &self.effective.types);
        }
        error
    }

    /// A commit that was refused: under SERIALIZABLE nearly always for what was read.
    pub(super) fn explain_refused_commit(
        &self,
        mut error: SqlError,
        isolation: IsolationLevel,
    ) -> SqlError {
        if isolation == IsolationLevel::Serializable && error.lost_race.is_some() {
            error.message = "could not serialize access due to read/write dependencies among \
                             transactions"
                .to_owned();
            error.hint = Some("The transaction might succeed if retried.".to_owned());
        }
        self.explain_conflict(error)
    }
}

fn describe(error: &mut SqlError, lost: &LostRace, catalog: &Catalog, types: &TypeContext) {
    let by = lost.other.0;
    let id = lost.key.table();
    let Some(table) = catalog.tables().find(|table| Some(table.id) == id) else {
        error.detail = Some(format!("{} was changed by transaction {by}.", lost.key));
        return;
    };
    let row = row_text(table, &lost.key, types).unwrap_or_else(|| "A row".to_owned());
    error.detail =
        Some(format!("{row} of table \"{}\" was changed by transaction {by}.", table.name));
    error.schema = catalog.schema_name(table.schema).map(str::to_owned);
    error.table = Some(table.name.clone());
}

/// `Key (id)=(7)`; `None` for rows without a key.
fn row_text(table: &Arc<TableDescriptor>, key: &Key, types: &TypeContext) -> Option<String> {
    let index = key.as_slice().get(TABLE_KEY_HEADER - 4..TABLE_KEY_HEADER)?;
    let index = u32::from_be_bytes(index.try_into().ok()?);
    let keys = if index == ROWS_INDEX {
        let rows = RowKeys::new(table);
        if rows.is_hidden() {
            return None;
        }
        rows.keys().clone()
    } else {
        IndexKeys::new(table, table.secondary_indexes().find(|known| known.id == index)?)
    };
    let values = keys.decode(key).ok()?;
    let columns: Vec<_> = keys.ordinals().map(|ordinal| &table.columns[ordinal]).collect();
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let text = |value: &Datum, column: &catalog::ColumnDescriptor| match value {
        Datum::Null => "null".to_owned(),
        value => datum::text::to_string(value, &column.ty.ty, types),
    };
    let values: Vec<String> =
        values.iter().zip(&columns).map(|(value, column)| text(value, column)).collect();
    Some(format!("Key ({})=({})", names.join(", "), values.join(", ")))
}
