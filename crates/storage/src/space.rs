//! How much room the file system has.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Room that is kept free beyond what the memory tables need to be written out.
const RESERVE_BYTES_MIN: u64 = 8 << 20;
const RESERVE_BYTES_MAX: u64 = 256 << 20;

/// Bytes of the file system that holds a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub total: u64,
    /// What this process may still take.
    pub available: u64,
}

impl Space {
    /// Whether no more may be taken: `unwritten` bytes of memory tables have yet to find room.
    pub fn is_nearly_full(self, unwritten: u64) -> bool {
        let reserve = (self.total / 64).clamp(RESERVE_BYTES_MIN, RESERVE_BYTES_MAX);
        self.available < reserve + unwritten
    }
}

/// `None` if the system does not say.
pub fn space_of(dir: &Path) -> Option<Space> {
    let path = CString::new(dir.as_os_str().as_bytes()).ok()?;
    let mut facts = MaybeUninit::<libc::statvfs>::uninit();
    #[allow(unsafe_code)]
    // SAFETY: the path ends with a zero byte, and the facts are read only if the call filled them.
    let facts = unsafe {
        if libc::statvfs(path.as_ptr(), facts.as_mut_ptr()) != 0 {
            return None;
        }
        facts.assume_init()
    };
    let space = Space {
        total: facts.f_blocks.saturating_mul(facts.f_frsize),
        available: facts.f_bavail.saturating_mul(facts.f_frsize),
    };
    (space.total > 0).then_some(space)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_exists_has_room_and_another_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let space = space_of(dir.path()).unwrap();
        assert!(space.available <= space.total);
        assert_eq!(space_of(&dir.path().join("missing")), None);
    }

    #[test]
    fn a_share_of_the_disk_stays_free_within_limits_and_room_for_what_is_in_memory() {
        for (total, reserve) in
            [(64 << 20, RESERVE_BYTES_MIN), (4 << 30, 64 << 20), (1 << 40, RESERVE_BYTES_MAX)]
        {
            for unwritten in [0, 100 << 20] {
                let full = |available| Space { total, available }.is_nearly_full(unwritten);
                assert!(full(reserve + unwritten - 1), "{total} bytes, {unwritten} unwritten");
                assert!(!full(reserve + unwritten), "{total} bytes, {unwritten} unwritten");
            }
        }
    }
}
