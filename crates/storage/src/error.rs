//! What an engine can fail with, named by what the caller can do about it.

use core_domain::KvError;
use thiserror::Error;

pub type StorageResult<T> = Result<T, StorageError>;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StorageError {
    /// No space left: refuse writes, keep reading.
    #[error("could not write to the data directory: {0}")]
    DiskFull(String),
    /// Bytes that fail their checksum or cannot be decoded: retire the replica.
    #[error("data corrupted: {0}")]
    Corruption(String),
    /// Anything else the disk says. After a failed write or sync the state of the disk is
    /// unknown: the process ends.
    #[error("disk error: {0}")]
    Io(String),
}

impl StorageError {
    /// Whether the same bytes would fail in the same way everywhere.
    pub fn is_deterministic(&self) -> bool {
        match self {
            StorageError::DiskFull(_) | StorageError::Corruption(_) | StorageError::Io(_) => false,
        }
    }
}

impl From<StorageError> for KvError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::DiskFull(_) => KvError::DiskFull(error.to_string()),
            StorageError::Corruption(what) => KvError::Corruption(what),
            StorageError::Io(_) => KvError::Internal(error.to_string()),
        }
    }
}
