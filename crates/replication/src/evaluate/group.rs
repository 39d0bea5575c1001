//! What evaluation needs of a replica. The replica, and the fake log of evaluation's tests.

use crate::command::{Applied, Command};
use crate::descriptor::{RangeDescriptor, ReplicaPlace};
use crate::error::Result;
use crate::replica::{Leadership, Replica};
use async_trait::async_trait;
use core_domain::RangeId;
use std::sync::Arc;

#[async_trait]
pub trait Group: Send + Sync + 'static {
    fn range(&self) -> RangeId;
    /// As applied here.
    fn descriptor(&self) -> Arc<RangeDescriptor>;
    fn leadership(&self) -> Leadership;
    /// Another replica that is believed to lead.
    fn leader(&self) -> Option<ReplicaPlace>;
    async fn confirm_leadership(&self) -> Result<()>;
    /// Answers once the command is applied here.
    async fn propose(&self, command: Command) -> Result<Applied>;
}

#[async_trait]
impl Group for Replica {
    fn range(&self) -> RangeId {
        Replica::range(self)
    }

    fn descriptor(&self) -> Arc<RangeDescriptor> {
        Replica::descriptor(self)
    }

    fn leadership(&self) -> Leadership {
        Replica::leadership(self)
    }

    fn leader(&self) -> Option<ReplicaPlace> {
        let own = self.id();
        Replica::leader(self).filter(|place| place.replica != own)
    }

    async fn confirm_leadership(&self) -> Result<()> {
        Replica::confirm_leadership(self).await
    }

    async fn propose(&self, command: Command) -> Result<Applied> {
        Replica::propose(self, &command).await
    }
}
