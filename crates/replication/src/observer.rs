//! What the layer above hears of its ranges: it keeps locks, reads' marks and entries in flight
//! per range, and those follow leadership and splits.

use crate::descriptor::RangeDescriptor;
use core_domain::RangeId;

/// Called from the replica's own tasks: answer quickly, never block, never call back into the
/// replica and wait.
pub trait Observer: Send + Sync + 'static {
    /// The replica here began to lead in `term`. It serves once its first entry of that term is
    /// applied ([`crate::Replica::leadership`]).
    fn leadership_gained(&self, range: RangeId, term: u64) {
        let _ = (range, term);
    }

    /// The replica here no longer leads: its locks and entries in flight are void.
    fn leadership_lost(&self, range: RangeId) {
        let _ = range;
    }

    /// Called while a split is being applied, before either half serves again: divide what is kept
    /// per range (protocol.md, rule 9).
    fn split(&self, left: &RangeDescriptor, right: &RangeDescriptor) {
        let _ = (left, right);
    }

    /// The applied descriptor changed: membership or span.
    fn descriptor_changed(&self, descriptor: &RangeDescriptor) {
        let _ = descriptor;
    }

    /// The replica of this range was removed from this node.
    fn removed(&self, range: RangeId) {
        let _ = range;
    }
}

/// Hears nothing: for tools and tests.
#[derive(Debug, Default)]
pub struct Deaf;

impl Observer for Deaf {}
