//! Dropping all versions of a span at once.

use super::{Place, RangeError, RangeResponse, check_span};
use crate::command::{Applied, Body, Command};
use core_domain::Span;

impl Place<'_> {
    /// Whoever asks knows that nothing reads or writes the span any more (a dropped index or table,
    /// whose number is never used again): neither latches nor `max_ts` are looked at.
    pub(super) async fn erase(&self, span: Span) -> Result<RangeResponse, RangeError> {
        let admission = self.admit_effects().await?;
        check_span(&admission.descriptor, &span)?;
        let command = Command {
            range: self.group.range(),
            generation: admission.descriptor.generation,
            term: admission.term,
            body: Body::Erase { span },
        };
        match self.group.propose(command).await? {
            Applied::Ok => Ok(RangeResponse::Done),
            Applied::StaleGeneration { .. } | Applied::StaleTerm => {
                let actual = Some((*self.group.descriptor()).clone());
                Err(RangeError::WrongRange { actual })
            }
        }
    }
}
