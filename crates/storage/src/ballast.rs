//! A file that takes room so that it can be given back.
//!
//! ```text
//! running      [ engine ............ ][ ballast ]   no more rows are taken; deletes, a crash
//! starting     [ engine ............ ][  room   ]   recovery writes before it can make any room
//! ```
//!
//! Recovery writes out what the write-ahead log holds before it drops the log, so a store whose
//! disk has filled up to the last byte could not be opened again, not even to delete from it.

use crate::error::{StorageError, StorageResult};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

const FILE: &str = "BALLAST";

pub(crate) struct Ballast {
    path: PathBuf,
    bytes: u64,
}

impl Ballast {
    /// `bytes`: what recovery may need.
    pub fn new(dir: &Path, bytes: u64) -> Self {
        Self { path: dir.join(FILE), bytes }
    }

    /// Opens a store; if its disk is full, once more after giving back the room.
    ///
    /// # Errors
    /// What `open` answered last.
    pub fn open<T>(&self, mut open: impl FnMut() -> StorageResult<T>) -> StorageResult<T> {
        match open() {
            Err(StorageError::DiskFull(reason)) if fs::remove_file(&self.path).is_ok() => {
                tracing::warn!(reason, "the disk is full: the ballast was removed to start");
                open()
            }
            answer => answer,
        }
    }

    /// Takes the room, if several times as much is `available`. A store without ballast is
    /// as good until its disk is full, so a failure is only logged.
    pub fn keep(&self, available: u64) {
        let kept = fs::metadata(&self.path).is_ok_and(|file| file.len() == self.bytes);
        if kept || available < 4 * self.bytes {
            return;
        }
        if let Err(error) = self.take() {
            tracing::warn!(%error, "no ballast was taken on");
            // A part of it is of no use.
            let _ = fs::remove_file(&self.path);
        }
    }

    fn take(&self) -> io::Result<()> {
        let file = File::create(&self.path)?;
        let bytes = libc::off_t::try_from(self.bytes).map_err(io::Error::other)?;
        #[allow(unsafe_code)]
        // SAFETY: the descriptor is open for as long as `file` lives.
        match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, bytes) } {
            0 => Ok(()),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    const BYTES: u64 = 4 << 20;

    fn ballast() -> (tempfile::TempDir, Ballast) {
        let dir = tempfile::tempdir().unwrap();
        let ballast = Ballast::new(dir.path(), BYTES);
        (dir, ballast)
    }

    #[test]
    fn it_takes_the_room_it_promises_where_there_is_plenty() {
        let (_dir, ballast) = ballast();
        ballast.keep(4 * BYTES - 1);
        assert!(!ballast.path.exists());
        ballast.keep(4 * BYTES);
        let file = fs::metadata(&ballast.path).unwrap();
        assert_eq!(file.len(), BYTES);
        assert!(file.blocks() * 512 >= BYTES, "a file with holes takes no room");
    }

    #[test]
    fn a_full_disk_gets_the_room_and_a_second_try() {
        let (_dir, ballast) = ballast();
        let full = || Err(StorageError::DiskFull("full".into()));
        let mut tries = 0;
        let without: StorageResult<&str> = ballast.open(|| {
            tries += 1;
            full()
        });
        assert!(matches!(without, Err(StorageError::DiskFull(_))));
        assert_eq!(tries, 1, "nothing to give back");
        ballast.keep(u64::MAX);
        let opened = ballast.open(|| if ballast.path.exists() { full() } else { Ok("open") });
        assert_eq!(opened.unwrap(), "open");
        ballast.keep(u64::MAX);
        let damaged: StorageResult<&str> =
            ballast.open(|| Err(StorageError::Corruption("torn".into())));
        assert!(damaged.is_err());
        assert!(ballast.path.exists(), "given back for want of room only");
    }
}
