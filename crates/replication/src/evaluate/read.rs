//! Reads at a timestamp, under rule 1.

use super::dead_runs::DEAD_KEYS_MIN;
use super::record::{IntentReader, WriteIntent, intents_in};
use super::{Admission, ForeignIntent, Place, RangeError, RangeResponse, check_keys, check_span};
use core_domain::write_buffer::{covered_span, rest_after};
use core_domain::{Key, ScanPage, Span, Timestamp, Value};
use storage::EngineReader;
use storage::gc::Run;
use storage::mvcc::{PointReader, Scan};

/// Foreign intents reported at once: what a reader finishes by one entry before it looks again.
const INTENTS_MAX: usize = 4096;
/// Runs of so many deleted keys are told to garbage collection.
const GARBAGE_KEYS_MIN: u64 = 1000;

impl Place<'_> {
    pub(super) async fn get(
        &self,
        keys: &[Key],
        at: Timestamp,
    ) -> Result<RangeResponse, RangeError> {
        loop {
            let admission = self.admit().await?;
            check_keys(&admission.descriptor, keys.iter())?;
            let (flight, may_have_intents) = {
                let mut state = self.gate.state.lock();
                if state.term != admission.term {
                    continue;
                }
                state.raise(at);
                let flight = keys
                    .iter()
                    .filter_map(|key| state.flights.on(key))
                    .find(|flight| flight.min_commit <= at)
                    .cloned();
                (flight, self.may_have_intents(&mut state, &admission.descriptor.span))
            };
            if let Some(flight) = flight {
                flight.landed().await;
                continue;
            }
            if may_have_intents {
                self.refuse_intents(keys, at)?;
            }
            let values = self.read_values(keys, at)?;
            self.refuse_old(at)?;
            if self.still(&admission).await? {
                return Ok(RangeResponse::Values(values));
            }
        }
    }

    fn read_values(&self, keys: &[Key], at: Timestamp) -> Result<Vec<Option<Value>>, RangeError> {
        let mut reader = PointReader::new(self.engine(), keys.len());
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            values.push(reader.at(key, at)?.and_then(|version| version.value));
        }
        Ok(values)
    }

    fn refuse_intents(&self, keys: &[Key], at: Timestamp) -> Result<(), RangeError> {
        let mut reader = IntentReader::new(self.engine(), keys.len());
        let mut foreign = Vec::new();
        for key in keys {
            let intents = reader.on(key)?;
            foreign.extend(
                intents
                    .write
                    .filter(|intent| intent.min_commit <= at)
                    .map(|intent| foreign_write(key.clone(), intent)),
            );
        }
        if foreign.is_empty() { Ok(()) } else { Err(RangeError::Intents(foreign)) }
    }

    pub(super) async fn scan(
        &self,
        span: &Span,
        at: Timestamp,
        reverse: bool,
        rows_max: u64,
        bytes_max: u64,
    ) -> Result<RangeResponse, RangeError> {
        loop {
            let admission = self.admit().await?;
            check_span(&admission.descriptor, span)?;
            let (flight, may_have_intents, leaps, moment) = {
                let mut state = self.gate.state.lock();
                if state.term != admission.term {
                    continue;
                }
                state.raise(at);
                let flight = state.flights.under(span, at).cloned();
                let may_have = self.may_have_intents(&mut state, &admission.descriptor.span);
                (flight, may_have, state.flights.dead.leaps(at), state.flights.dead.moment())
            };
            if let Some(flight) = flight {
                flight.landed().await;
                continue;
            }
            let (page, stepped) = match may_have_intents {
                false => read_page(self.engine(), span, at, reverse, rows_max, bytes_max, &leaps)?,
                true => {
                    // Of one moment: an intent that became a version in between would be missed.
                    let snapshot = self.engine().snapshot();
                    let (page, stepped) =
                        read_page(&*snapshot, span, at, reverse, rows_max, bytes_max, &leaps)?;
                    // Only where the page is: an intent that is gone leaves a trace to step over,
                    // and a page must not step over those of the whole table.
                    let covered = covered_span(span, reverse, page.rest.as_ref());
                    let found = intents_in(&*snapshot, &covered, at, INTENTS_MAX)?;
                    if !found.is_empty() {
                        let foreign = found.into_iter().map(|(key, w)| foreign_write(key, w));
                        return Err(RangeError::Intents(foreign.collect()));
                    }
                    (page, stepped)
                }
            };
            self.refuse_old(at)?;
            if !leaps.is_empty() && !self.were_dead(&leaps, moment) {
                continue;
            }
            self.note_steps(&admission, stepped, moment);
            if self.still(&admission).await? {
                return Ok(RangeResponse::Page(page));
            }
        }
    }

    /// Whether nothing was written to what was leapt over.
    fn were_dead(&self, leaps: &[Run], moment: Option<u64>) -> bool {
        let state = self.gate.state.lock();
        let untouched = |run| moment.is_some_and(|at| state.flights.dead.is_untouched(run, at));
        leaps.iter().all(untouched)
    }

    /// Lets those who come after leap over what this scan had to step over, and garbage collection
    /// know of it.
    fn note_steps(&self, admission: &Admission, stepped: Stepped, moment: Option<u64>) {
        let garbage = self.engine().garbage();
        garbage.count_steps(stepped.versions);
        let Some(run) = stepped.run.filter(|run| run.tombstones >= DEAD_KEYS_MIN) else { return };
        if stepped.versions < DEAD_KEYS_MIN {
            return;
        }
        if run.tombstones >= GARBAGE_KEYS_MIN {
            garbage.note(run.clone());
        }
        let mut state = self.gate.state.lock();
        if state.term != admission.term {
            return;
        }
        match moment {
            None => state.flights.dead.watch(),
            Some(moment) => state.flights.remember_dead(run, moment),
        }
    }
}

/// What a scan had to pass.
struct Stepped {
    versions: u64,
    /// The longest run of deleted keys.
    run: Option<Run>,
}

fn read_page(
    reader: &dyn EngineReader,
    span: &Span,
    at: Timestamp,
    reverse: bool,
    rows_max: u64,
    bytes_max: u64,
    leaps: &[Run],
) -> Result<(ScanPage, Stepped), RangeError> {
    let mut page = ScanPage::default();
    if rows_max == 0 || span.is_empty() {
        page.rest = (!span.is_empty()).then(|| span.clone());
        return Ok((page, Stepped { versions: 0, run: None }));
    }
    let mut scan = Scan::with_leaps(reader, span, at, reverse, leaps.to_vec());
    let mut bytes = 0;
    while let Some((key, version)) = scan.next_row()? {
        let Some(value) = version.value else { continue };
        bytes += (key.len() + value.len()) as u64;
        page.rows.push((key, value));
        if page.rows.len() as u64 >= rows_max || bytes >= bytes_max {
            page.rest = rest_after(span, reverse, page.rows.last().map(|(key, _)| key));
            break;
        }
    }
    let stepped = Stepped { versions: scan.steps(), run: scan.longest_run() };
    Ok((page, stepped))
}

pub(super) fn foreign_write(key: Key, intent: WriteIntent) -> ForeignIntent {
    ForeignIntent { key, txn: intent.txn, primary: intent.primary, min_commit: intent.min_commit }
}
