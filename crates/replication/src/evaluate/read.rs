//! Reads at a timestamp, under rule 1.

use super::dead_runs::DEAD_KEYS_MIN;
use super::flight::Flight;
use super::hidden::{View, fates};
use super::record::{IntentReader, WriteIntent, intents_in};
use super::{Admission, ForeignIntent, Place, RangeError, RangeResponse, check_keys, check_span};
use core_domain::write_buffer::{covered_span, rest_after};
use core_domain::{Key, ScanPage, Span, Timestamp, TxnId, Value};
use std::sync::Arc;
use storage::EngineReader;
use storage::gc::Run;
use storage::hidden::Fates;
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
        own: Option<TxnId>,
    ) -> Result<RangeResponse, RangeError> {
        loop {
            let admission = self.admit().await?;
            check_keys(&admission.descriptor, keys.iter())?;
            let (flight, may_have_intents, view) = {
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
                let intents = self.may_have_intents(&mut state, &admission.descriptor.span);
                (flight, intents, state.view(own))
            };
            if let Some(flight) = flight {
                flight.landed().await;
                continue;
            }
            if may_have_intents {
                self.refuse_intents(keys, at)?;
            }
            let values = self.read_values(keys, at, &view)?;
            self.refuse_old(at)?;
            let values = match values {
                Ok(values) => values,
                Err(flight) => {
                    flight.landed().await;
                    continue;
                }
            };
            if self.still(&admission).await? {
                return Ok(RangeResponse::Values(values));
            }
        }
    }

    /// The error inside: a decision to wait for.
    fn read_values(
        &self,
        keys: &[Key],
        at: Timestamp,
        view: &View,
    ) -> Result<Result<Vec<Option<Value>>, Arc<Flight>>, RangeError> {
        let reading = view.reading(at);
        let mut reader = PointReader::new(self.engine(), keys.len()).with(fates(&reading));
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            values.push(reader.at(key, at)?.and_then(|version| version.value));
        }
        let met = reading.as_ref().map(|reading| reading.check(&keys[0])).transpose()?.flatten();
        Ok(met.map_or(Ok(values), Err))
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
        own: Option<TxnId>,
    ) -> Result<RangeResponse, RangeError> {
        loop {
            let admission = self.admit().await?;
            check_span(&admission.descriptor, span)?;
            let (flight, may_have_intents, leaps, moment, view) = {
                let mut state = self.gate.state.lock();
                if state.term != admission.term {
                    continue;
                }
                state.raise(at);
                let flight = state.flights.under(span, at).cloned();
                let may_have = self.may_have_intents(&mut state, &admission.descriptor.span);
                let dead = &state.flights.dead;
                let leaps = if own.is_some() { Vec::new() } else { dead.leaps(at) };
                (flight, may_have, leaps, dead.moment(), state.view(own))
            };
            if let Some(flight) = flight {
                flight.landed().await;
                continue;
            }
            let want = Want { span, at, reverse, rows_max, bytes_max, leaps: &leaps };
            let page = match may_have_intents {
                false => read_page(self.engine(), &want, &view)?,
                true => {
                    // Of one moment: an intent that became a version in between would be missed.
                    let snapshot = self.engine().snapshot();
                    let page = read_page(&*snapshot, &want, &view)?;
                    // Only where the page is: an intent that is gone leaves a trace to step over,
                    // and a page must not step over those of the whole table.
                    let rest = page.as_ref().ok().and_then(|(page, _)| page.rest.as_ref());
                    let covered = covered_span(span, reverse, rest);
                    let found = intents_in(&*snapshot, &covered, at, INTENTS_MAX)?;
                    if !found.is_empty() {
                        let foreign = found.into_iter().map(|(key, w)| foreign_write(key, w));
                        return Err(RangeError::Intents(foreign.collect()));
                    }
                    page
                }
            };
            self.refuse_old(at)?;
            let (page, stepped) = match page {
                Ok(page) => page,
                Err(flight) => {
                    flight.landed().await;
                    continue;
                }
            };
            if !leaps.is_empty() && !self.were_dead(&leaps, moment) {
                continue;
            }
            if own.is_none() {
                self.note_steps(&admission, stepped, moment);
            }
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

/// What a scan asks for.
struct Want<'a> {
    span: &'a Span,
    at: Timestamp,
    reverse: bool,
    rows_max: u64,
    bytes_max: u64,
    leaps: &'a [Run],
}

/// The error inside: a decision to wait for.
fn read_page(
    reader: &dyn EngineReader,
    want: &Want<'_>,
    view: &View,
) -> Result<Result<(ScanPage, Stepped), Arc<Flight>>, RangeError> {
    let reading = view.reading(want.at);
    let page = fill_page(reader, want, fates(&reading))?;
    let start = &want.span.start;
    let met = reading.as_ref().map(|reading| reading.check(start)).transpose()?.flatten();
    Ok(met.map_or(Ok(page), Err))
}

fn fill_page(
    reader: &dyn EngineReader,
    want: &Want<'_>,
    fates: Option<&dyn Fates>,
) -> Result<(ScanPage, Stepped), RangeError> {
    let Want { span, at, reverse, rows_max, bytes_max, leaps } = *want;
    let mut page = ScanPage::default();
    if rows_max == 0 || span.is_empty() {
        page.rest = (!span.is_empty()).then(|| span.clone());
        return Ok((page, Stepped { versions: 0, run: None }));
    }
    let mut scan = Scan::with_leaps(reader, span, at, reverse, leaps.to_vec()).with(fates);
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
