//! Timestamps from the oracle.
//!
//! Where the oracle is led here, a draw is a few atomic loads and a mutex. Elsewhere, concurrent
//! draws share one call; a draw joins only a call that is not yet sent (protocol.md, rule 12), or
//! it could get a number older than its own question.

use crate::sender::RangeSender;
use async_trait::async_trait;
use core_domain::{KvError, KvResult, Timestamp};
use parking_lot::Mutex;
use replication::SYSTEM_RANGE;
use replication::evaluate::{RangeRequest, RangeResponse, TimestampSource};
use std::sync::Arc;
use tokio::sync::oneshot;

pub struct OracleClient {
    sender: Arc<RangeSender>,
    batch: Arc<Mutex<Batch>>,
}

#[derive(Default)]
struct Batch {
    /// Not yet sent.
    waiting: Vec<oneshot::Sender<KvResult<Timestamp>>>,
    under_way: bool,
}

impl OracleClient {
    pub fn new(sender: Arc<RangeSender>) -> Arc<Self> {
        Arc::new(Self { sender, batch: Arc::default() })
    }

    /// A timestamp greater than every one whose draw had ended when this one began.
    pub async fn draw(&self) -> KvResult<Timestamp> {
        if let Some(drawn) = self.sender.try_draw() {
            return Ok(drawn);
        }
        let (answer, answered) = oneshot::channel();
        {
            let mut batch = self.batch.lock();
            batch.waiting.push(answer);
            if !batch.under_way {
                batch.under_way = true;
                tokio::spawn(draw_batches(self.sender.clone(), self.batch.clone()));
            }
        }
        answered.await.unwrap_or(Err(KvError::ShuttingDown))
    }
}

async fn draw_batches(sender: Arc<RangeSender>, batch: Arc<Mutex<Batch>>) {
    loop {
        let waiting = {
            let mut batch = batch.lock();
            batch.under_way = !batch.waiting.is_empty();
            if !batch.under_way {
                return;
            }
            std::mem::take(&mut batch.waiting)
        };
        let request = RangeRequest::Draw { count: waiting.len() as u32 };
        let drawn = match sender.to_range(SYSTEM_RANGE, request).await {
            Ok(RangeResponse::Drawn(first)) => Ok(first),
            Ok(other) => Err(KvError::Internal(format!("a draw was answered by {other:?}"))),
            Err(error) => Err(error),
        };
        for (answer, offset) in waiting.into_iter().zip(0..) {
            // Whoever asked may be gone; the number is not used again.
            let _ = answer.send(drawn.clone().map(|first| Timestamp(first.0 + offset)));
        }
    }
}

#[async_trait]
impl TimestampSource for OracleClient {
    async fn draw(&self) -> KvResult<Timestamp> {
        OracleClient::draw(self).await
    }
}
