//! Raft groups on a network in memory, and on disks that lose what was not synced.

mod cluster;
mod durability;
mod support;
