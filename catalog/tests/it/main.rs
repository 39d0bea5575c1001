//! What a user of the catalog notices: error texts, names, keys, rows of system tables.

mod ddl;
mod dependencies;
mod encodings;
mod fixture;
mod system_tables;
