//! The settings that exist: names, defaults and domains as in PostgreSQL 15, plus ours.
//!
//! A setting that would change what the server does, and does not yet, is not listed with values
//! other than the one that is true: `SET` to anything else is an error. Those that only tune
//! PostgreSQL's own planner or memory are accepted and shown, as hints that we do not need.

/// What values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Domain {
    Bool,
    Int {
        min: i64,
        max: i64,
        unit: Unit,
    },
    Real {
        min: f64,
        max: f64,
    },
    Enum(&'static [&'static str]),
    Text,
    /// Checked and normalised by a rule of its own, in `domain.rs`.
    TimeZone,
    DateStyle,
    SearchPath,
    ClientEncoding,
    CausalToken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    None,
    Milliseconds,
    Seconds,
    Minutes,
    Kilobytes,
    /// Of 8 kB.
    Blocks,
}

/// Who may change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Anyone, any time.
    Session,
    /// Only at connection start.
    Backend,
    /// Shown, never set.
    Internal,
}

#[derive(Clone, Copy, Debug)]
pub struct Spec {
    pub name: &'static str,
    pub default: &'static str,
    pub domain: Domain,
    pub scope: Scope,
    /// Reported to the driver as ParameterStatus.
    pub report: bool,
    pub description: &'static str,
}

const fn user(
    name: &'static str,
    default: &'static str,
    domain: Domain,
    description: &'static str,
) -> Spec {
    Spec { name, default, domain, scope: Scope::Session, report: false, description }
}

const fn fixed(name: &'static str, default: &'static str, description: &'static str) -> Spec {
    Spec { name, default, domain: Domain::Text, scope: Scope::Internal, report: false, description }
}

const fn reported(mut spec: Spec) -> Spec {
    spec.report = true;
    spec
}

const MS: Domain = Domain::Int { min: 0, max: i32::MAX as i64, unit: Unit::Milliseconds };
const COUNT: Domain = Domain::Int { min: 0, max: i32::MAX as i64, unit: Unit::None };
const COST: Domain = Domain::Real { min: 0.0, max: 1.797e308 };
const MEMORY: Domain = Domain::Int { min: 64, max: i32::MAX as i64, unit: Unit::Kilobytes };
const LEVELS: Domain = Domain::Enum(&[
    "debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error",
]);
const ISOLATION: Domain =
    Domain::Enum(&["serializable", "repeatable read", "read committed", "read uncommitted"]);

/// The version that clients see: they parse the leading number.
pub const SERVER_VERSION: &str = "15.8 (Shanghai 0.1.0)";
pub const SERVER_VERSION_NUM: &str = "150008";
/// What `version()` answers.
pub const VERSION_TEXT: &str = "PostgreSQL 15.8 (Shanghai 0.1.0), a distributed SQL database";

/// Positions of the settings that the session reads on its own way, in `SPECS`.
pub mod at {
    pub const CONSISTENCY: usize = 0;
    pub const CAUSAL_TOKEN: usize = 1;
    pub const LAST_GUARANTEE: usize = 2;
    pub const SEARCH_PATH: usize = 3;
    pub const TIME_ZONE: usize = 4;
    pub const DATE_STYLE: usize = 5;
    pub const INTERVAL_STYLE: usize = 6;
    pub const EXTRA_FLOAT_DIGITS: usize = 7;
    pub const BYTEA_OUTPUT: usize = 8;
    pub const STATEMENT_TIMEOUT: usize = 9;
    pub const LOCK_TIMEOUT: usize = 10;
    pub const DEFAULT_ISOLATION: usize = 11;
    pub const DEFAULT_READ_ONLY: usize = 12;
    pub const TRANSACTION_ISOLATION: usize = 13;
    pub const TRANSACTION_READ_ONLY: usize = 14;
    pub const APPLICATION_NAME: usize = 15;
    pub const CLIENT_MIN_MESSAGES: usize = 16;
    pub const SESSION_AUTHORIZATION: usize = 17;
    pub const ROLE: usize = 18;
    pub const IS_SUPERUSER: usize = 19;
    pub const DEFAULT_DEFERRABLE: usize = 20;
    pub const TRANSACTION_DEFERRABLE: usize = 21;
}

pub static SPECS: &[Spec] = &[
    user(
        "consistency",
        "strong",
        Domain::Enum(&["strong", "causal", "eventual"]),
        "Guarantee that reads and writes ask for.",
    ),
    reported(user(
        "causal_token",
        "",
        Domain::CausalToken,
        "What this session has seen; hand it to another session to be seen there.",
    )),
    fixed("last_guarantee", "", "Receipt of the last statement: asked, served, how old, by whom."),
    user(
        "search_path",
        "\"$user\", public",
        Domain::SearchPath,
        "Sets the schema search order for names that are not schema-qualified.",
    ),
    reported(user(
        "TimeZone",
        "UTC",
        Domain::TimeZone,
        "Sets the time zone for displaying and interpreting time stamps.",
    )),
    reported(user(
        "DateStyle",
        "ISO, MDY",
        Domain::DateStyle,
        "Sets the display format for date and time values.",
    )),
    reported(user(
        "IntervalStyle",
        "postgres",
        Domain::Enum(&["postgres", "postgres_verbose", "sql_standard", "iso_8601"]),
        "Sets the display format for interval values.",
    )),
    user(
        "extra_float_digits",
        "1",
        Domain::Int { min: -15, max: 3, unit: Unit::None },
        "Sets the number of digits displayed for floating-point values.",
    ),
    user(
        "bytea_output",
        "hex",
        Domain::Enum(&["escape", "hex"]),
        "Sets the output format for bytea.",
    ),
    user("statement_timeout", "0", MS, "Sets the maximum allowed duration of any statement."),
    user("lock_timeout", "0", MS, "Sets the maximum allowed duration of any wait for a lock."),
    user(
        "default_transaction_isolation",
        "read committed",
        ISOLATION,
        "Sets the transaction isolation level of each new transaction.",
    ),
    user(
        "default_transaction_read_only",
        "off",
        Domain::Bool,
        "Sets the default read-only status of new transactions.",
    ),
    user(
        "transaction_isolation",
        "read committed",
        ISOLATION,
        "Sets the current transaction's isolation level.",
    ),
    user(
        "transaction_read_only",
        "off",
        Domain::Bool,
        "Sets the current transaction's read-only status.",
    ),
    reported(user(
        "application_name",
        "",
        Domain::Text,
        "Sets the application name to be reported in statistics and logs.",
    )),
    user(
        "client_min_messages",
        "notice",
        LEVELS,
        "Sets the message levels that are sent to the client.",
    ),
    reported(fixed("session_authorization", "", "Shows the session user name.")),
    user("role", "none", Domain::Text, "Sets the current role."),
    reported(fixed("is_superuser", "on", "Shows whether the current user is a superuser.")),
    user(
        "default_transaction_deferrable",
        "off",
        Domain::Bool,
        "Sets the default deferrable status of new transactions.",
    ),
    user(
        "transaction_deferrable",
        "off",
        Domain::Bool,
        "Whether to defer a read-only serializable transaction until it can be executed with no possible serialization failures.",
    ),
    reported(user(
        "client_encoding",
        "UTF8",
        Domain::ClientEncoding,
        "Sets the client's character set encoding.",
    )),
    reported(fixed("server_version", SERVER_VERSION, "Shows the server version.")),
    fixed("server_version_num", SERVER_VERSION_NUM, "Shows the server version as an integer."),
    reported(fixed(
        "server_encoding",
        "UTF8",
        "Shows the server (database) character set encoding.",
    )),
    reported(fixed("integer_datetimes", "on", "Shows whether datetimes are integer based.")),
    reported(user(
        "standard_conforming_strings",
        "on",
        Domain::Enum(&["on"]),
        "Causes '...' strings to treat backslashes literally.",
    )),
    reported(fixed("in_hot_standby", "off", "Shows whether hot standby is currently active.")),
    fixed("lc_collate", "C", "Shows the collation order locale."),
    fixed("lc_ctype", "C.UTF-8", "Shows the character classification and case conversion locale."),
    user("lc_messages", "C", Domain::Text, "Sets the language in which messages are displayed."),
    user("lc_monetary", "C", Domain::Text, "Sets the locale for formatting monetary amounts."),
    user("lc_numeric", "C", Domain::Text, "Sets the locale for formatting numbers."),
    user("lc_time", "C", Domain::Text, "Sets the locale for formatting date and time values."),
    fixed("block_size", "8192", "Shows the size of a disk block."),
    fixed("max_identifier_length", "63", "Shows the maximum identifier length."),
    fixed("max_index_keys", "32", "Shows the maximum number of index keys."),
    fixed("max_function_args", "100", "Shows the maximum number of function arguments."),
    fixed("max_connections", "1000", "Sets the maximum number of concurrent connections."),
    fixed("data_checksums", "on", "Shows whether data checksums are turned on."),
    fixed("wal_level", "logical", "Sets the level of information written to the log."),
    fixed("fsync", "on", "Forces synchronization of updates to disk."),
    // More is given than asked for.
    user(
        "synchronous_commit",
        "on",
        Domain::Enum(&["on", "remote_apply", "remote_write", "local", "off"]),
        "Every commit waits for its quorum's disks, whatever is set.",
    ),
    user(
        "default_tablespace",
        "",
        Domain::Enum(&[""]),
        "Sets the default tablespace to create tables and indexes in.",
    ),
    fixed("temp_tablespaces", "", "Sets the tablespaces for temporary tables."),
    user(
        "default_table_access_method",
        "heap",
        Domain::Enum(&["heap", "shanghai"]),
        "Sets the default table access method.",
    ),
    fixed("ssl", "on", "Enables SSL connections."),
    fixed(
        "password_encryption",
        "scram-sha-256",
        "Chooses the algorithm for encrypting passwords.",
    ),
    user(
        "idle_in_transaction_session_timeout",
        "0",
        MS,
        "Sets the maximum allowed idle time between queries, when in a transaction.",
    ),
    user(
        "idle_session_timeout",
        "0",
        MS,
        "Sets the maximum allowed idle time between queries, when not in a transaction.",
    ),
    user(
        "transaction_timeout",
        "0",
        MS,
        "Sets the maximum allowed duration of any transaction within a session.",
    ),
    user("tcp_keepalives_idle", "0", COUNT, "Time between issuing TCP keepalives."),
    user("tcp_keepalives_interval", "0", COUNT, "Time between TCP keepalive retransmits."),
    user("tcp_keepalives_count", "0", COUNT, "Maximum number of TCP keepalive retransmits."),
    user("check_function_bodies", "on", Domain::Bool, "Checks routine bodies at CREATE time."),
    user("row_security", "on", Domain::Bool, "Enables row security."),
    user("xmloption", "content", Domain::Enum(&["content", "document"]), "XML data option."),
    user("default_with_oids", "off", Domain::Enum(&["off"]), "Tables have no OIDs."),
    user("escape_string_warning", "on", Domain::Bool, "Warns about backslashes in strings."),
    user(
        "backslash_quote",
        "safe_encoding",
        Domain::Enum(&["safe_encoding", "on", "off"]),
        "Sets whether \"\\'\" is allowed in string literals.",
    ),
    user(
        "quote_all_identifiers",
        "off",
        Domain::Bool,
        "When generating SQL fragments, quote all identifiers.",
    ),
    user(
        "session_replication_role",
        "origin",
        Domain::Enum(&["origin"]),
        "Sets the session's behavior for triggers and rewrite rules.",
    ),
    user("array_nulls", "on", Domain::Enum(&["on"]), "Enables input of NULL elements in arrays."),
    user(
        "transform_null_equals",
        "off",
        Domain::Enum(&["off"]),
        "Treats expr=NULL as expr IS NULL.",
    ),
    user("synchronize_seqscans", "on", Domain::Bool, "Has no effect here."),
    user("work_mem", "4096", MEMORY, "Sets the maximum memory to be used for query workspaces."),
    user(
        "maintenance_work_mem",
        "65536",
        MEMORY,
        "Sets the maximum memory to be used for maintenance operations.",
    ),
    user("temp_buffers", "1024", COUNT, "Has no effect here."),
    user(
        "effective_cache_size",
        "524288",
        Domain::Int { min: 1, max: i32::MAX as i64, unit: Unit::Blocks },
        "Has no effect here.",
    ),
    user("random_page_cost", "4", COST, "Has no effect here."),
    user("seq_page_cost", "1", COST, "Has no effect here."),
    user("cpu_tuple_cost", "0.01", COST, "Has no effect here."),
    user("default_statistics_target", "100", COUNT, "Has no effect here."),
    user("max_parallel_workers_per_gather", "2", COUNT, "Has no effect here."),
    user("max_parallel_workers", "8", COUNT, "Has no effect here."),
    user("max_parallel_maintenance_workers", "2", COUNT, "Has no effect here."),
    user("enable_seqscan", "on", Domain::Bool, "Has no effect here."),
    user("enable_indexscan", "on", Domain::Bool, "Has no effect here."),
    user("enable_indexonlyscan", "on", Domain::Bool, "Has no effect here."),
    user("enable_bitmapscan", "on", Domain::Bool, "Has no effect here."),
    user("enable_hashjoin", "on", Domain::Bool, "Has no effect here."),
    user("enable_mergejoin", "on", Domain::Bool, "Has no effect here."),
    user("enable_nestloop", "on", Domain::Bool, "Has no effect here."),
    user("enable_sort", "on", Domain::Bool, "Has no effect here."),
    user("enable_hashagg", "on", Domain::Bool, "Has no effect here."),
    user("enable_material", "on", Domain::Bool, "Has no effect here."),
    user("geqo", "on", Domain::Bool, "Has no effect here."),
    user("jit", "off", Domain::Enum(&["off"]), "There is no JIT compiler."),
    user("join_collapse_limit", "8", COUNT, "Has no effect here."),
    user("from_collapse_limit", "8", COUNT, "Has no effect here."),
    user(
        "plan_cache_mode",
        "auto",
        Domain::Enum(&["auto", "force_generic_plan", "force_custom_plan"]),
        "Has no effect here.",
    ),
    user(
        "constraint_exclusion",
        "partition",
        Domain::Enum(&["partition", "on", "off"]),
        "Has no effect here.",
    ),
    user("deadlock_timeout", "1000", MS, "Deadlocks are found without waiting."),
    user("log_min_messages", "warning", LEVELS, "Sets the message levels that are logged."),
    user(
        "log_statement",
        "none",
        Domain::Enum(&["none", "ddl", "mod", "all"]),
        "Has no effect here.",
    ),
    user(
        "log_min_duration_statement",
        "-1",
        Domain::Int { min: -1, max: i32::MAX as i64, unit: Unit::Milliseconds },
        "Has no effect here.",
    ),
    user("track_activities", "on", Domain::Bool, "Collects information about executing commands."),
    user("default_toast_compression", "lz4", Domain::Enum(&["pglz", "lz4"]), "Has no effect here."),
    user("gin_fuzzy_search_limit", "0", COUNT, "Has no effect here."),
    user("vacuum_cost_delay", "0", COUNT, "Has no effect here."),
    user(
        "transaction_memory",
        "262144",
        MEMORY,
        "Sets the memory a transaction may hold; what it writes beyond goes to disk before its commit.",
    ),
];

/// The position of a setting, by PostgreSQL's case-insensitive names and their old spellings.
pub fn position(name: &str) -> Option<usize> {
    let name = match name {
        n if n.eq_ignore_ascii_case("timezone") || n.eq_ignore_ascii_case("time zone") => {
            "TimeZone"
        }
        n => n,
    };
    SPECS.iter().position(|s| s.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_positions_are_right() {
        for (at, name) in [
            (at::CONSISTENCY, "consistency"),
            (at::CAUSAL_TOKEN, "causal_token"),
            (at::LAST_GUARANTEE, "last_guarantee"),
            (at::SEARCH_PATH, "search_path"),
            (at::TIME_ZONE, "timezone"),
            (at::DATE_STYLE, "datestyle"),
            (at::INTERVAL_STYLE, "intervalstyle"),
            (at::EXTRA_FLOAT_DIGITS, "extra_float_digits"),
            (at::BYTEA_OUTPUT, "bytea_output"),
            (at::STATEMENT_TIMEOUT, "statement_timeout"),
            (at::LOCK_TIMEOUT, "lock_timeout"),
            (at::DEFAULT_ISOLATION, "default_transaction_isolation"),
            (at::DEFAULT_READ_ONLY, "default_transaction_read_only"),
            (at::TRANSACTION_ISOLATION, "transaction_isolation"),
            (at::TRANSACTION_READ_ONLY, "transaction_read_only"),
            (at::APPLICATION_NAME, "application_name"),
            (at::CLIENT_MIN_MESSAGES, "client_min_messages"),
            (at::SESSION_AUTHORIZATION, "session_authorization"),
            (at::ROLE, "role"),
            (at::IS_SUPERUSER, "is_superuser"),
            (at::DEFAULT_DEFERRABLE, "default_transaction_deferrable"),
            (at::TRANSACTION_DEFERRABLE, "transaction_deferrable"),
        ] {
            assert_eq!(position(name), Some(at), "{name}");
        }
    }
}
