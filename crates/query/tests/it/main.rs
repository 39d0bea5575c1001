//! Transactions over ranges and nodes, in one process. One binary, since each would be linked for a minute.

mod async_commit;
mod bulk;
mod failures;
mod garbage;
mod histories;
mod planted;
mod serializable;
mod splits;
mod support;
mod transactions;
