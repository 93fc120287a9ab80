//! The fake lease table: conditional writes, one at a time, exactly as the trait says.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use async_trait::async_trait;
use weir::clock::Timestamp;
use weir::lease::{
    Checkpoint, Expected, GapRow, Lease, LeaseChange, LeaseKey, LeaseTable, PipelineRow, PrepareError,
    StreamRow, TableError, WorkerId, WorkerRow, Written,
};
use weir::stream::{ShardId, StreamArn};

use crate::cost::{lease_size, worker_size};
use crate::faults::Service;
use crate::world::{Failure, Seat, State};

#[derive(Default)]
pub struct Table {
    pub leases: BTreeMap<LeaseKey, Lease>,
    /// The keys of the leases, by stream and shard.
    pub by_shard: BTreeMap<StreamArn, BTreeMap<ShardId, LeaseKey>>,
    pub workers: BTreeMap<WorkerId, WorkerRow>,
    pub streams: BTreeMap<(String, StreamArn), StreamRow>,
    pub pipelines: BTreeMap<String, PipelineRow>,
    pub gaps: Vec<GapRow>,
}

impl Table {
    /// Of two leases of one shard, which only a change of the configuration makes, the first counts.
    fn index(&mut self, lease: &Lease, there: bool) {
        let Some(stream) = &lease.stream else { return };
        let of = self.by_shard.entry(stream.clone()).or_default();
        if there {
            of.entry(lease.shard.clone()).or_insert_with(|| lease.key.clone());
        } else if of.get(&lease.shard) == Some(&lease.key) {
            of.remove(&lease.shard);
        }
    }
}

/// The size of a row that is smaller than any unit.
const ROW: usize = 300;

pub struct SimTable {
    pub seat: Seat,
}

fn failure(f: Failure) -> TableError {
    match f {
        Failure::Throttled => TableError::Throttled("the world is busy".into()),
        Failure::Unavailable => TableError::Unavailable("the world refused".into()),
        Failure::Unanswered => TableError::Unanswered("the world fell silent".into()),
        Failure::Denied => TableError::Refused("the world forbids it".into()),
    }
}

/// One conditional write: `change` gets the row if `condition` holds of it.
fn write<K: Ord, R: Clone>(
    rows: &mut BTreeMap<K, R>,
    key: &K,
    condition: impl FnOnce(&R) -> bool,
    change: impl FnOnce(&mut R),
) -> Written<R> {
    match rows.get_mut(key) {
        Some(row) if condition(row) => {
            change(row);
            Written::Applied
        }
        other => Written::Refused(other.cloned()),
    }
}

fn create<K: Ord + Clone, R: Clone>(rows: &mut BTreeMap<K, R>, key: &K, row: &R) -> Written<R> {
    match rows.get(key) {
        Some(there) => Written::Refused(Some(there.clone())),
        None => {
            rows.insert(key.clone(), row.clone());
            Written::Applied
        }
    }
}

fn delete<K: Ord, R: Clone>(
    rows: &mut BTreeMap<K, R>,
    key: &K,
    condition: impl FnOnce(&R) -> bool,
) -> Written<R> {
    match rows.get(key) {
        Some(row) if condition(row) => {
            rows.remove(key);
            Written::Applied
        }
        other => Written::Refused(other.cloned()),
    }
}

fn owned(lease: &Lease, expected: &Expected) -> bool {
    lease.owner == expected.owner && lease.counter == expected.counter
}

fn change(lease: &mut Lease, change: &LeaseChange) {
    lease.counter += 1;
    match change {
        LeaseChange::Take(worker) => {
            lease.owner = Some(worker.clone());
            lease.owner_switches += 1;
        }
        LeaseChange::Checkpoint(to) => {
            lease.checkpoint = to.clone();
            lease.owner_switches = 0;
        }
        LeaseChange::End(children) => {
            lease.checkpoint = Checkpoint::ShardEnd;
            lease.children.clone_from(children);
            lease.owner_switches = 0;
        }
        LeaseChange::Set(to) => {
            lease.checkpoint = to.clone();
            lease.owner_switches = 0;
            lease.owner = None;
        }
        // The fake has no attributes beside the fields of a lease.
        LeaseChange::Release | LeaseChange::HandBack => lease.owner = None,
    }
}

fn brief<T>(written: &Written<T>) -> &'static str {
    match written {
        Written::Applied => "applied",
        Written::Refused(Some(_)) => "refused",
        Written::Refused(None) => "no row",
    }
}

impl SimTable {
    /// Never returns while the leases are silent; the caller's time-out ends it.
    async fn unless_silent(&self) {
        if self.seat.world.with(|s| s.now < s.leases_silent_until) {
            std::future::pending::<()>().await;
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        what: &str,
        apply: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Result<T, TableError> {
        self.seat.call(Service::Table, what, apply).await.map_err(failure)
    }

    async fn pipeline(
        &self,
        what: &str,
        name: &str,
        change: impl FnOnce(&mut PipelineRow) + Send + 'static,
    ) -> Result<(), TableError> {
        let name = name.to_owned();
        self.ask(what, move |s| {
            change(s.table.pipelines.entry(name.clone()).or_insert(PipelineRow {
                name,
                paused: false,
                unlisted_since: None,
            }));
        })
        .await
    }

    async fn write<T: Send + 'static>(
        &self,
        what: String,
        apply: impl FnOnce(&mut State) -> Written<T> + Send + 'static,
    ) -> Result<Written<T>, TableError> {
        let pid = self.seat.pid;
        let line = what.clone();
        self.ask(&what, move |s| {
            let written = apply(s);
            s.cost.write(ROW);
            s.note(format!("p{pid} {line}: {}", brief(&written)));
            written
        })
        .await
    }

    /// Page by page: what is written meanwhile may be seen or not.
    async fn scan<K, R>(
        &self,
        what: &'static str,
        rows: fn(&State) -> &BTreeMap<K, R>,
        size: fn(&R) -> usize,
    ) -> Result<Vec<R>, TableError>
    where
        K: Ord + Clone + Send + 'static,
        R: Clone + Send + 'static,
    {
        let mut all = Vec::new();
        let mut from: Bound<K> = Bound::Unbounded;
        // Some pages at least, and not thousands.
        let page = self.seat.world.with(|s| {
            let scale = 1 + rows(s).len() / 60;
            let drawn = s.rng.usize(1..6) * scale;
            s.cost.read(rows(s).values().map(size).sum());
            s.page.unwrap_or(drawn)
        });
        loop {
            let start = from.clone();
            let (mut some, last) = self
                .ask(what, move |s| {
                    let next = rows(s).range((start, Bound::Unbounded)).take(page);
                    let page: Vec<(&K, &R)> = next.collect();
                    let last = page.last().map(|(k, _)| (*k).clone());
                    (page.into_iter().map(|(_, r)| r.clone()).collect::<Vec<R>>(), last)
                })
                .await?;
            let full = some.len() == page;
            all.append(&mut some);
            match last {
                Some(last) if full => from = Bound::Excluded(last),
                _ => return Ok(all),
            }
        }
    }
}

#[async_trait]
impl LeaseTable for SimTable {
    async fn prepare(&self, _: &[String]) -> Result<(), PrepareError> {
        Ok(self.ask("prepare", |_| ()).await?)
    }

    async fn leases(&self) -> Result<Vec<Lease>, TableError> {
        self.unless_silent().await;
        self.scan("leases", |s| &s.table.leases, lease_size).await
    }

    async fn lease(&self, key: &LeaseKey) -> Result<Option<Lease>, TableError> {
        self.unless_silent().await;
        let key = key.clone();
        self.ask("lease", move |s| {
            s.cost.read(ROW);
            s.table.leases.get(&key).cloned()
        })
        .await
    }

    async fn create_lease(&self, lease: &Lease) -> Result<Written<Lease>, TableError> {
        self.unless_silent().await;
        let lease = lease.clone();
        self.write(
            format!("create lease {} {}", lease.key, lease.checkpoint),
            move |s| {
                let written = create(&mut s.table.leases, &lease.key, &lease);
                if written == Written::Applied {
                    s.table.index(&lease, true);
                    s.lease_created(&lease);
                }
                written
            },
        )
        .await
    }

    async fn update_lease(
        &self,
        key: &LeaseKey,
        expected: &Expected,
        to: &LeaseChange,
    ) -> Result<Written<Lease>, TableError> {
        self.unless_silent().await;
        let (key, expected, to, pid) = (key.clone(), expected.clone(), to.clone(), self.seat.pid);
        self.write(format!("lease {key} at {}: {to:?}", expected.counter), move |s| {
            let before = s.table.leases.get(&key).cloned();
            let written = write(
                &mut s.table.leases,
                &key,
                |l| owned(l, &expected),
                |l| change(l, &to),
            );
            if let (Written::Applied, Some(before)) = (&written, before) {
                s.lease_changed(pid, &before, &to);
            }
            written
        })
        .await
    }

    async fn delete_lease(&self, key: &LeaseKey, expected: &Expected) -> Result<Written<Lease>, TableError> {
        let (key, expected) = (key.clone(), expected.clone());
        self.write(format!("delete lease {key}"), move |s| {
            let before = s.table.leases.get(&key).cloned();
            let written = delete(&mut s.table.leases, &key, |l| owned(l, &expected));
            if let (Written::Applied, Some(before)) = (&written, before) {
                s.table.index(&before, false);
                s.lease_deleted(&before);
            }
            written
        })
        .await
    }

    async fn workers(&self) -> Result<Vec<WorkerRow>, TableError> {
        let pid = self.seat.pid;
        if self.seat.world.with(|s| s.now < s.procs[pid].blind_until) {
            self.seat.world.pass_time(Duration::from_millis(20)).await;
            self.seat.point().await;
            return Err(TableError::Unavailable("the world hides the rows".into()));
        }
        let slow = self.seat.world.with(|s| match s.rows_take.is_zero() {
            true => Duration::ZERO,
            false => s.rows_take.mul_f64(0.9 + 0.1 * s.rng.f64()),
        });
        if !slow.is_zero() {
            self.seat.world.pass_time(slow).await;
        }
        self.scan("workers", |s| &s.table.workers, worker_size).await
    }

    async fn create_worker(&self, row: &WorkerRow) -> Result<Written<WorkerRow>, TableError> {
        let (row, pid) = (row.clone(), self.seat.pid);
        let sent = self.seat.world.with(|s| {
            s.joins(pid, &row.id);
            s.now
        });
        self.write(format!("create worker {}", row.id), move |s| {
            let written = create(&mut s.table.workers, &row.id, &row);
            if written == Written::Applied {
                s.beaten(&row.id, sent);
            }
            written
        })
        .await
    }

    async fn beat(&self, row: &WorkerRow) -> Result<Written<WorkerRow>, TableError> {
        let row = row.clone();
        let sent = self.seat.world.with(|s| s.now);
        self.write(format!("beat {} {}", row.id, row.heartbeat), move |s| {
            // The rest of its size; one unit is counted for every write.
            s.cost.write_units += (worker_size(&row) / 1_024) as u64;
            let due = |r: &WorkerRow| r.heartbeat + 1 == row.heartbeat && !r.evicted && !r.tombstone;
            let written = write(&mut s.table.workers, &row.id, due, |r| *r = row.clone());
            if written == Written::Applied {
                s.beaten(&row.id, sent);
            }
            written
        })
        .await
    }

    async fn evict(&self, id: &WorkerId, heartbeat: u64) -> Result<Written<WorkerRow>, TableError> {
        let id = id.clone();
        self.write(format!("evict {id} at {heartbeat}"), move |s| {
            let due = |r: &WorkerRow| r.heartbeat == heartbeat && !r.evicted;
            let written = write(&mut s.table.workers, &id, due, |r| r.evicted = true);
            if written == Written::Applied {
                s.evicted(&id);
            }
            written
        })
        .await
    }

    async fn bury(&self, id: &WorkerId) -> Result<Written<WorkerRow>, TableError> {
        let (id, pid) = (id.clone(), self.seat.pid);
        self.seat.world.with(|s| s.buries(pid, &id));
        self.write(format!("bury {id}"), move |s| {
            write(&mut s.table.workers, &id, |_| true, |r| r.tombstone = true)
        })
        .await
    }

    async fn delete_worker(&self, id: &WorkerId, heartbeat: u64) -> Result<Written<WorkerRow>, TableError> {
        let id = id.clone();
        self.write(format!("delete worker {id}"), move |s| {
            delete(&mut s.table.workers, &id, |r| r.heartbeat == heartbeat)
        })
        .await
    }

    async fn streams(&self) -> Result<Vec<StreamRow>, TableError> {
        self.scan("streams", |s| &s.table.streams, |_| ROW).await
    }

    async fn create_stream(&self, row: &StreamRow) -> Result<Written<StreamRow>, TableError> {
        let row = row.clone();
        self.write(format!("create stream {:?}", row.start), move |s| {
            let key = (row.pipeline.clone(), row.arn.clone());
            let written = create(&mut s.table.streams, &key, &row);
            if written == Written::Applied {
                s.start_resolved(&row);
            }
            written
        })
        .await
    }

    async fn complete_stream(
        &self,
        pipeline: &str,
        arn: &StreamArn,
    ) -> Result<Written<StreamRow>, TableError> {
        let key = (pipeline.to_owned(), arn.clone());
        self.write("complete stream".into(), move |s| {
            write(&mut s.table.streams, &key, |_| true, |r| r.complete = true)
        })
        .await
    }

    async fn delete_stream(&self, pipeline: &str, arn: &StreamArn) -> Result<(), TableError> {
        let key = (pipeline.to_owned(), arn.clone());
        self.ask("delete stream", move |s| {
            s.table.streams.remove(&key);
        })
        .await
    }

    async fn pipelines(&self) -> Result<Vec<PipelineRow>, TableError> {
        self.scan("pipelines", |s| &s.table.pipelines, |_| ROW).await
    }

    async fn pause_pipeline(&self, name: &str, paused: bool) -> Result<(), TableError> {
        self.pipeline("pause pipeline", name, move |row| row.paused = paused)
            .await
    }

    async fn unlist_pipeline(&self, name: &str, since: Option<Timestamp>) -> Result<(), TableError> {
        self.pipeline("unlist pipeline", name, move |row| row.unlisted_since = since)
            .await
    }

    async fn delete_pipeline(&self, name: &str) -> Result<(), TableError> {
        let name = name.to_owned();
        self.ask("delete pipeline", move |s| {
            s.table.pipelines.remove(&name);
        })
        .await
    }

    async fn record_gap(&self, gap: &GapRow) -> Result<(), TableError> {
        let (gap, pid) = (gap.clone(), self.seat.pid);
        self.ask("gap", move |s| {
            s.note(format!(
                "p{pid} gap in {} after {}: {}",
                gap.shard, gap.after, gap.reason
            ));
            if !s.table.gaps.contains(&gap) {
                s.table.gaps.push(gap);
            }
        })
        .await
    }
}
