//! One read of a shard, as a future that can be waited for beside other things.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::Pipeline;
use super::budget::{self, Reservation};
use super::lookup::{self, Look};
use crate::clock::timeout;
use crate::lease::fence::Fence;
use crate::logs::lookup::Found;
use crate::stream::{RecordBatch, ShardId, ShardIterator, SourceError, StartingPosition, StreamArn};

/// A request to the stream. An answer of a megabyte takes well below a second in the region.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// An answer, and the memory it holds.
pub(super) struct Fetched {
    pub(super) batch: RecordBatch,
    pub(super) reservation: Reservation,
    /// What was looked up, and the memory that it holds.
    pub(super) found: Option<(Found, Reservation)>,
}

pub(super) type Reading = Pin<Box<dyn Future<Output = Result<Fetched, SourceError>> + Send>>;

/// What a read needs to know.
pub(super) struct Reader {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) fence: Fence,
    pub(super) stream: StreamArn,
    pub(super) shard: ShardId,
}

impl Reader {
    /// After `wait`, and as soon as there is memory: the records at `iterator`, or, without one, at
    /// `position`. With records comes what a due look-up finds of them. Dropping the future loses nothing:
    /// the position has not moved.
    pub(super) fn read(
        &self,
        iterator: Option<ShardIterator>,
        position: StartingPosition,
        wait: Duration,
        look: Option<Look>,
    ) -> Reading {
        let (pipeline, fence) = (self.pipeline.clone(), self.fence.clone());
        let (stream, shard) = (self.stream.clone(), self.shard.clone());
        Box::pin(async move {
            let clock = &*pipeline.clock;
            if !wait.is_zero() {
                clock.sleep(wait).await;
            }
            // At once, for all that is to come: one that held memory and waited for more could wait for ever.
            let largest = pipeline.source.largest_answer();
            let for_look = look.as_ref().map_or(0, |_| lookup::MEMORY);
            let mut reservation = pipeline.budget.reserve(largest + for_look).await;
            let fenced = |_| SourceError::Unavailable("this worker is fenced".to_owned());
            let limit = READ_TIMEOUT.min(fence.remaining().map_err(fenced)?);
            let slow = |_| SourceError::Unavailable(format!("no answer within {limit:?}"));
            let iterator = match iterator {
                Some(iterator) => iterator,
                None => {
                    let asked = pipeline.source.iterator(&stream, &shard, &position);
                    timeout(clock, limit, asked).await.map_err(slow)??
                }
            };
            // Once more: the process may have been suspended while it waited for the iterator.
            let limit = READ_TIMEOUT.min(fence.remaining().map_err(fenced)?);
            let asked = pipeline.source.records(&stream, &iterator);
            let batch = timeout(clock, limit, asked).await.map_err(slow)??;
            let bytes: usize = batch.records.iter().map(|r| r.data.len()).sum();
            let found = match look {
                Some(mut look) => look.up(&batch.records).await,
                None => None,
            };
            let found = found.map(|found| {
                let memory = reservation.split(found.bytes());
                (found, memory)
            });
            reservation.shrink(bytes * budget::COPIES);
            Ok(Fetched {
                batch,
                reservation,
                found,
            })
        })
    }
}
