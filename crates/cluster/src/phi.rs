//! Phi accrual failure estimation (Hayashibara et al., 2004).
//!
//! Phi is `-log10(P(a heartbeat still comes))`, given how regularly heartbeats came so far: at 1 a
//! suspicion is wrong one time in ten, at 8 one time in a hundred million. It guides routing and
//! early elections; nothing is ever decided safe or unsafe by it.

use std::collections::VecDeque;
use std::time::Duration;

/// Intervals remembered per peer.
const WINDOW: usize = 200;
/// Below this a jitter-free window would call the slightest delay a failure.
const DEVIATION_MS_MIN: f64 = 50.0;
/// Phi from which a peer is shown as suspect.
pub const PHI_SUSPECT: f64 = 8.0;

/// The heartbeat history of one peer.
#[derive(Clone, Debug)]
pub struct PhiEstimator {
    intervals_ms: VecDeque<f64>,
    last: Option<Duration>,
    expected: Duration,
}

impl PhiEstimator {
    /// `expected` is the planned interval, believed until enough was seen.
    pub fn new(expected: Duration) -> Self {
        Self { intervals_ms: VecDeque::with_capacity(WINDOW), last: None, expected }
    }

    /// A heartbeat arrived at monotonic time `now`.
    pub fn heartbeat(&mut self, now: Duration) {
        if let Some(last) = self.last {
            if self.intervals_ms.len() == WINDOW {
                self.intervals_ms.pop_front();
            }
            self.intervals_ms.push_back((now.saturating_sub(last)).as_secs_f64() * 1000.0);
        }
        self.last = Some(now);
    }

    /// Suspicion at monotonic time `now`; zero before the first heartbeat.
    pub fn phi(&self, now: Duration) -> f64 {
        let Some(last) = self.last else { return 0.0 };
        let (mean, deviation) = self.distribution();
        let elapsed_ms = now.saturating_sub(last).as_secs_f64() * 1000.0;
        // Logistic approximation of the normal distribution's tail.
        let y = (elapsed_ms - mean) / deviation;
        let exponent = -y * (1.5976 + 0.070_566 * y * y);
        let tail = if elapsed_ms > mean {
            let e = exponent.exp();
            e / (1.0 + e)
        } else {
            1.0 - 1.0 / (1.0 + exponent.exp())
        };
        -tail.max(1e-300).log10()
    }

    fn distribution(&self) -> (f64, f64) {
        let expected_ms = self.expected.as_secs_f64() * 1000.0;
        if self.intervals_ms.len() < 4 {
            return (expected_ms, (expected_ms / 2.0).max(DEVIATION_MS_MIN));
        }
        let n = self.intervals_ms.len() as f64;
        let mean = self.intervals_ms.iter().sum::<f64>() / n;
        let variance = self.intervals_ms.iter().map(|i| (i - mean).powi(2)).sum::<f64>() / n;
        (mean, variance.sqrt().max(DEVIATION_MS_MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn suspicion_grows_with_silence_and_heartbeats_calm_it() {
        let mut peer = PhiEstimator::new(ms(200));
        assert_eq!(peer.phi(ms(10_000)), 0.0);
        for beat in 0..50 {
            peer.heartbeat(ms(beat * 200));
        }
        let last = 49 * 200;
        assert!(peer.phi(ms(last + 200)) < 1.0);
        assert!(peer.phi(ms(last + 1000)) > PHI_SUSPECT);
        assert!(peer.phi(ms(last + 2000)) > peer.phi(ms(last + 1000)));
        peer.heartbeat(ms(last + 2000));
        assert!(peer.phi(ms(last + 2100)) < 1.0);
    }

    #[test]
    fn an_irregular_peer_is_given_more_time() {
        let mut regular = PhiEstimator::new(ms(200));
        let mut irregular = PhiEstimator::new(ms(200));
        for beat in 0..50u64 {
            regular.heartbeat(ms(beat * 200));
            irregular.heartbeat(ms(beat * 200 + (beat % 2) * 150));
        }
        let later = ms(49 * 200 + 700);
        assert!(irregular.phi(later) < regular.phi(later));
    }
}
