//! Which range has a key, and who led it: remembered from answers, never trusted.

use core_domain::{Key, RangeId};
use parking_lot::RwLock;
use replication::{RangeDescriptor, ReplicaPlace};
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

#[derive(Default)]
pub(crate) struct RangeCache {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    by_start: BTreeMap<Key, Arc<RangeDescriptor>>,
    leaders: HashMap<RangeId, ReplicaPlace>,
}

impl RangeCache {
    pub fn at(&self, key: &Key) -> Option<Arc<RangeDescriptor>> {
        let inner = self.inner.read();
        let (_, found) =
            inner.by_start.range((Bound::Unbounded, Bound::Included(key))).next_back()?;
        found.span.contains(key).then(|| found.clone())
    }

    pub fn get(&self, range: RangeId) -> Option<Arc<RangeDescriptor>> {
        self.inner.read().by_start.values().find(|known| known.range == range).cloned()
    }

    /// The range that has the keys just below `end`; an empty `end` is the end of the keyspace.
    pub fn before(&self, end: &Key) -> Option<Arc<RangeDescriptor>> {
        let inner = self.inner.read();
        let upper = if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(end) };
        let (_, found) = inner.by_start.range((Bound::Unbounded, upper)).next_back()?;
        let reaches = found.span.end.is_empty() || (!end.is_empty() && *end <= found.span.end);
        reaches.then(|| found.clone())
    }

    /// Remembers what a node said, unless something newer is known.
    pub fn learn(&self, descriptor: &RangeDescriptor) {
        let mut inner = self.inner.write();
        let overlapping: Vec<Key> = inner
            .by_start
            .iter()
            .filter(|(_, known)| {
                known.range == descriptor.range || known.span.overlaps(&descriptor.span)
            })
            .map(|(start, _)| start.clone())
            .collect();
        let newer_known = overlapping.iter().any(|start| {
            let known = &inner.by_start[start];
            known.range == descriptor.range && known.generation > descriptor.generation
        });
        if newer_known || descriptor.span.is_empty() {
            return;
        }
        for start in overlapping {
            inner.by_start.remove(&start);
        }
        inner.by_start.insert(descriptor.span.start.clone(), Arc::new(descriptor.clone()));
    }

    pub fn forget(&self, range: RangeId) {
        let mut inner = self.inner.write();
        inner.by_start.retain(|_, known| known.range != range);
        inner.leaders.remove(&range);
    }

    pub fn leader(&self, range: RangeId) -> Option<ReplicaPlace> {
        self.inner.read().leaders.get(&range).cloned()
    }

    pub fn learn_leader(&self, range: RangeId, leader: Option<&ReplicaPlace>) {
        let mut inner = self.inner.write();
        match leader {
            Some(place) => inner.leaders.insert(range, place.clone()),
            None => inner.leaders.remove(&range),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core_domain::{Generation, NodeId, Span};

    fn range(id: u64, generation: u64, start: &str, end: &str) -> RangeDescriptor {
        let key = |text: &str| Key::from(text.as_bytes());
        let span = Span::new(key(start), key(end));
        let mut range = RangeDescriptor::founding(RangeId(id), span, &[(NodeId(1), "a".into())]);
        range.generation = Generation(generation);
        range
    }

    #[test]
    fn a_split_replaces_what_was_known_and_an_old_answer_does_not_bring_it_back() {
        let cache = RangeCache::default();
        let at = |key: &str| cache.at(&Key::from(key.as_bytes())).map(|found| found.range.0);
        let before =
            |key: &str| cache.before(&Key::from(key.as_bytes())).map(|found| found.range.0);
        cache.learn(&range(1, 1, "", ""));
        assert_eq!((at("a"), at("z"), before("")), (Some(1), Some(1), Some(1)));
        cache.learn(&range(1, 2, "", "m"));
        assert_eq!((at("a"), at("z")), (Some(1), None));
        cache.learn(&range(2, 2, "m", ""));
        assert_eq!(
            (at("m"), before("m"), before("mm"), before("")),
            (Some(2), Some(1), Some(2), Some(2))
        );
        cache.learn(&range(1, 1, "", ""));
        assert_eq!((at("a"), at("z")), (Some(1), Some(2)));
        cache.forget(RangeId(2));
        assert_eq!((at("z"), before("")), (None, None));
    }
}
