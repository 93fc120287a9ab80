//! A small reader that keeps the promises in a calm world, and can be told to break one.
//!
//! Not Weir: the subject on which world and model are tested.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use weir::clock::{Clock, Timestamp};
use weir::lease::{
    Checkpoint, Expected, Lease, LeaseChange, LeaseKey, LeaseTable, ResolvedStart, StreamRow, WorkerId,
    WorkerRow, Written,
};
use weir::logs::group::GroupSettings;
use weir::logs::{LogDestination, LogEvent, LogSink, SinkError};
use weir::stream::{Ask, Next, Record, Shard, StartingPosition, StreamArn, StreamSource};

use crate::clock::SimClock;
use crate::logs::SimLogs;
use crate::process::Program;
use crate::source::SimSource;
use crate::table::SimTable;
use crate::world::Seat;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sin {
    None,
    CheckpointsBeforeThePut,
    DropsARecord,
    SendsTwice,
    Reverses,
    ForgetsItsParents,
    EndsWithoutChildren,
    TakesFromTheLiving,
    ReadsWithoutHeartbeats,
    ReleasesWithoutCheckpoint,
    ReusesItsId,
}

struct Reader {
    sin: Sin,
    me: WorkerId,
    source: SimSource,
    table: SimTable,
    logs: SimLogs,
    clock: SimClock,
    heartbeat: u64,
}

type Done<T> = Result<T, String>;

fn say(e: impl std::fmt::Display) -> String {
    e.to_string()
}

pub fn program(sin: Sin) -> Program {
    Arc::new(move |seat, stop| Box::pin(Reader::new(seat, sin).run(stop)))
}

impl Reader {
    fn new(seat: Seat, sin: Sin) -> Self {
        let me = if sin == Sin::ReusesItsId {
            "reader".into()
        } else {
            format!("reader-{}", seat.pid)
        };
        Self {
            sin,
            me: WorkerId::new(me),
            source: SimSource {
                seat: seat.clone(),
                table: 0,
            },
            table: SimTable { seat: seat.clone() },
            logs: SimLogs { seat: seat.clone() },
            clock: SimClock::new(seat),
            heartbeat: 0,
        }
    }

    fn row(&self) -> WorkerRow {
        WorkerRow {
            heartbeat: self.heartbeat,
            held: [("orders".to_owned(), 0)].into(),
            ..WorkerRow::new(self.me.clone())
        }
    }

    async fn run(mut self, stop: watch::Receiver<bool>) -> Done<()> {
        if self.sin != Sin::ReusesItsId || self.source.seat.pid == 0 {
            self.table.create_worker(&self.row()).await.map_err(say)?;
        } else {
            // As after a restart under a fixed name: the old row serves on.
            self.source
                .seat
                .world
                .with(|s| s.joins(self.source.seat.pid, &self.me));
        }
        self.bury_the_dead().await?;
        while !*stop.borrow() {
            if self.sin != Sin::ReadsWithoutHeartbeats {
                self.heartbeat += 1;
                self.table.beat(&self.row()).await.map_err(say)?;
            }
            let arn = self.source.current().await.map_err(say)?;
            self.sync(&arn).await?;
            let mut leases = self.table.leases().await.map_err(say)?;
            if self.sin == Sin::ForgetsItsParents {
                leases.reverse();
            }
            for lease in leases {
                let stopping = *stop.borrow();
                self.visit(&arn, lease, stopping).await?;
            }
            self.clock.sleep(Duration::from_millis(700)).await;
        }
        for lease in self.table.leases().await.map_err(say)? {
            self.change(&lease, LeaseChange::Release).await?;
        }
        Ok(())
    }

    /// Waits out every other worker, then evicts it.
    async fn bury_the_dead(&self) -> Done<()> {
        if self.sin == Sin::TakesFromTheLiving {
            return Ok(());
        }
        let before = self.table.workers().await.map_err(say)?;
        if before.len() > 1 {
            self.clock.sleep(Duration::from_secs(9)).await;
            for row in before.iter().filter(|r| r.id != self.me) {
                self.table.evict(&row.id, row.heartbeat).await.map_err(say)?;
            }
        }
        Ok(())
    }

    async fn sync(&self, arn: &StreamArn) -> Done<()> {
        let row = StreamRow {
            pipeline: "orders".into(),
            arn: arn.clone(),
            start: ResolvedStart::TrimHorizon,
            complete: true,
        };
        self.table.create_stream(&row).await.map_err(say)?;
        let listing = self.source.list_shards(arn).await.map_err(say)?;
        for shard in &listing.shards {
            if self.sin == Sin::EndsWithoutChildren && !shard.parents.is_empty() {
                continue;
            }
            self.lease(arn, shard).await?;
        }
        Ok(())
    }

    async fn lease(&self, arn: &StreamArn, shard: &Shard) -> Done<()> {
        let lease = Lease {
            key: LeaseKey::new(format!("{arn}/{}", shard.id)),
            owner: None,
            counter: 0,
            checkpoint: Checkpoint::TrimHorizon,
            stream: Some(arn.clone()),
            shard: shard.id.clone(),
            parents: shard.parents.clone(),
            children: Vec::new(),
            owner_switches: 0,
            hash_range: None,
        };
        self.table.create_lease(&lease).await.map_err(say).map(drop)
    }

    async fn change(&self, lease: &Lease, change: LeaseChange) -> Done<Lease> {
        let expected = Expected {
            owner: lease.owner.clone(),
            counter: lease.counter,
        };
        match self
            .table
            .update_lease(&lease.key, &expected, &change)
            .await
            .map_err(say)?
        {
            Written::Applied => Ok(Lease {
                counter: lease.counter + 1,
                ..lease.clone()
            }),
            Written::Refused(_) => Err(format!("lost {}", lease.key)),
        }
    }

    /// Takes the lease if need be, and reads its shard once.
    async fn visit(&self, arn: &StreamArn, mut lease: Lease, stopping: bool) -> Done<()> {
        let leases = self.table.leases().await.map_err(say)?;
        let unfinished =
            |l: &&Lease| lease.parents.contains(&l.shard) && l.checkpoint != Checkpoint::ShardEnd;
        let waits = self.sin != Sin::ForgetsItsParents && leases.iter().any(|l| unfinished(&l));
        let foreign = lease.stream.as_ref() != Some(arn);
        if lease.checkpoint == Checkpoint::ShardEnd || waits || foreign || stopping {
            return Ok(());
        }
        if lease.owner.as_ref() != Some(&self.me) {
            lease = self.change(&lease, LeaseChange::Take(self.me.clone())).await?;
            lease.owner = Some(self.me.clone());
        }
        let from = match &lease.checkpoint {
            Checkpoint::At(seq, _) => StartingPosition::After(seq.clone()),
            _ => StartingPosition::TrimHorizon,
        };
        let iterator = self
            .source
            .iterator(arn, &lease.shard, &from)
            .await
            .map_err(say)?;
        let batch = self.source.records(arn, &iterator, Ask::ALL).await.map_err(say)?;
        if let Some(last) = batch.records.last() {
            let to = LeaseChange::Checkpoint(Checkpoint::At(last.sequence_number.clone(), 0));
            if self.sin == Sin::CheckpointsBeforeThePut {
                lease = self.change(&lease, to).await?;
                self.deliver(&lease, &batch.records).await?;
            } else {
                self.deliver(&lease, &batch.records).await?;
                if self.sin == Sin::ReleasesWithoutCheckpoint {
                    self.change(&lease, LeaseChange::Release).await?;
                    return Ok(());
                }
                lease = self.change(&lease, to).await?;
            }
        }
        if batch.next == Next::End {
            let children = self.source.child_shards(arn, &lease.shard).await.map_err(say)?;
            if self.sin != Sin::EndsWithoutChildren {
                for child in &children {
                    self.lease(arn, child).await?;
                }
            }
            let children = children.into_iter().map(|c| c.id).collect();
            self.change(&lease, LeaseChange::End(children)).await?;
        }
        Ok(())
    }

    async fn deliver(&self, lease: &Lease, records: &[Record]) -> Done<()> {
        let to = LogDestination {
            group: "/cdc/orders".into(),
            stream: lease.shard.to_string(),
        };
        let mut events: Vec<LogEvent> = records
            .iter()
            .map(|r| LogEvent {
                timestamp: r.time.unwrap_or(Timestamp::from_millis(0)),
                message: String::from_utf8_lossy(&r.data).into_owned(),
            })
            .collect();
        events.sort_by_key(|e| e.timestamp);
        match self.sin {
            Sin::DropsARecord if events.len() > 1 => drop(events.remove(0)),
            Sin::Reverses => {
                for event in events.iter().rev() {
                    self.put(&to, std::slice::from_ref(event)).await?;
                }
                return Ok(());
            }
            Sin::SendsTwice => self.put(&to, &events).await?,
            _ => {}
        }
        self.put(&to, &events).await
    }

    async fn put(&self, to: &LogDestination, events: &[LogEvent]) -> Done<()> {
        loop {
            match self.logs.put(to, events, Duration::from_secs(5)).await {
                Ok(_) => return Ok(()),
                Err(SinkError::Missing(_)) => {
                    self.logs
                        .create_group(&to.group, &GroupSettings::default())
                        .await
                        .map_err(say)?;
                    self.logs.create_stream(to).await.map_err(say)?;
                }
                Err(e) => return Err(say(e)),
            }
        }
    }
}
