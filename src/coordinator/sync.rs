//! The shard sync of one pipeline: a lease for every shard, and none for ever.
//!
//! Owns the stream rows and the creation and removal of leases that nobody holds. The coordinator orders
//! one when it is the pipeline's caretaker and a round is due (a shard's end does not always show its
//! children), at a first start, and at a shard's end without known children. Every write is conditional,
//! so that two syncs at once are harmless.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::fleet::SCAN_FACTOR;
use super::{Scan, adopt};
use crate::backoff::Backoff;
use crate::clock::{Monotonic, Progress, Timestamp, timeout};
use crate::config::{Start, StreamChoice};
use crate::consumer::Pipeline;
use crate::lease::fence::Fenced;
use crate::lease::held::Leases;
use crate::lease::keys::Keys;
use crate::lease::{Checkpoint, Expected, Lease, LeaseKey, ResolvedStart, StreamRow, TableError, Written};
use crate::readiness::Readiness;
use crate::shape::images;
use crate::status::reports::Trouble;
use crate::stream::homes::Homes;
use crate::stream::lineage::{self, FirstPosition, Waiting};
use crate::stream::{ShardId, ShardListing, SourceError, StreamArn};

/// Complete listings that must agree that a shard is gone before its lease goes.
pub(super) const LISTINGS_KEPT: usize = 3;
/// Leases that a sync creates at once: a thousand new shards then take seconds, not half a minute.
const CREATES_AT_ONCE: usize = 32;
/// One sync, with all pages of all listings: 100 shards a page, 5 pages a second.
const SYNC_TIMEOUT: Duration = Duration::from_secs(300);

/// What a sync has found out.
#[derive(Clone, Debug, Default)]
pub(super) struct Synced {
    pub(super) pipeline: String,
    /// The pipeline's streams, oldest first, with their last complete listing.
    pub(super) streams: Vec<(StreamArn, Option<ShardListing>)>,
    /// Where each of them starts.
    pub(super) starts: BTreeMap<StreamArn, ResolvedStart>,
    /// Which stream the leases are of whose rows don't say.
    pub(super) homes: Arc<Homes>,
    /// A listed shard that has no lease after all: this listing does not let it have one yet.
    pub(super) unleased: Option<ShardId>,
    /// Leases were created or removed.
    pub(super) changed: bool,
    /// The sync looked at everything it had to.
    pub(super) finished: bool,
    /// It comes from this worker's own sync, not from what another has written down.
    own: bool,
    /// When that sync began.
    pub(super) began: Option<Monotonic>,
}

impl Synced {
    /// What the streams' rows tell of a pipeline whose shards another worker syncs. Listings of an earlier
    /// sync of this worker's stay; all of it stays for the `caretaker`, who knows more.
    pub(super) fn known(
        keys: &Keys,
        pipeline: &str,
        rows: &[StreamRow],
        caretaker: bool,
        before: Option<Self>,
    ) -> Option<Self> {
        // A table of one name in two regions or accounts: only who asks the source can tell which is meant.
        let places: BTreeSet<_> = rows
            .iter()
            .filter(|row| row.pipeline == pipeline)
            .map(|row| (row.arn.region(), row.arn.account()))
            .collect();
        // And of a table that KCL made only who lists the shards knows which stream a row is of.
        let is_own = before.as_ref().is_some_and(|b| b.own);
        if places.len() != 1 || keys.are_kcls() || (caretaker && is_own) {
            return before;
        }
        let mut listings: BTreeMap<StreamArn, Option<ShardListing>> = before
            .map(|b| b.streams.into_iter().collect())
            .unwrap_or_default();
        let rows: BTreeMap<(Option<&str>, &StreamArn), &StreamRow> = rows
            .iter()
            .filter(|row| row.pipeline == pipeline)
            .map(|row| ((row.arn.label(), &row.arn), row))
            .collect();
        Some(Self {
            pipeline: pipeline.to_owned(),
            streams: rows
                .values()
                .map(|row| (row.arn.clone(), listings.remove(&row.arn).flatten()))
                .collect(),
            starts: rows.values().map(|row| (row.arn.clone(), row.start)).collect(),
            homes: Arc::default(),
            unleased: None,
            changed: false,
            finished: true,
            own: false,
            began: None,
        })
    }

    /// The streams whose start is known.
    pub(super) fn known_streams(&self) -> BTreeSet<StreamArn> {
        self.starts.keys().cloned().collect()
    }

    /// The time before which the records of a lease are dropped, if its stream has one.
    pub(super) fn start_of(&self, lease: &Lease) -> Option<Timestamp> {
        match self.starts.get(lease.stream.as_ref()?)? {
            ResolvedStart::At(time) => Some(*time),
            ResolvedStart::TrimHorizon => None,
        }
    }

    /// Which of `leases`, all of this pipeline, may be read now, and why the others may not. `seen` are the keys of the
    /// scan before, `begun` tells which were read before: see [`lineage::startable`].
    pub(super) fn startable<'a>(
        &self,
        keys: &Keys,
        leases: &[&'a Lease],
        seen: &BTreeSet<LeaseKey>,
        begun: impl Fn(&Lease) -> bool,
    ) -> Vec<(&'a Lease, Result<(), Waiting>)> {
        let family = lineage::Family::of(leases.iter().copied());
        let listed: Vec<_> = self
            .streams
            .iter()
            .map(|(arn, listing)| {
                let listing = listing.as_ref()?;
                let mut listed = lineage::listed(listing);
                if keys.are_kcls() {
                    let of_stream = leases.iter().filter(|l| l.stream.as_ref() == Some(arn));
                    let leased = of_stream.map(|l| &l.shard).collect();
                    let passed = lineage::passed(listing, &leased);
                    listed.retain(|id| !passed.contains(id));
                }
                Some(listed)
            })
            .collect();
        leases
            .iter()
            .copied()
            .map(|lease| {
                let is_seen = seen.contains(&lease.key);
                let judged = self.lets_start(lease, is_seen, begun(lease), &family, &listed);
                if let Err(why) = &judged
                    && *why != Waiting::Ended
                {
                    debug!(lease = %lease.key, ?why, "not read yet");
                }
                (lease, judged)
            })
            .collect()
    }

    fn lets_start(
        &self,
        lease: &Lease,
        seen: bool,
        begun: bool,
        family: &lineage::Family<'_>,
        listed: &[Option<BTreeSet<&ShardId>>],
    ) -> Result<(), Waiting> {
        if lease.checkpoint == Checkpoint::ShardEnd {
            return Err(Waiting::Ended);
        }
        // Otherwise a stream that this pipeline does not read (any more), or does not know yet.
        let Some(at) = self
            .streams
            .iter()
            .position(|(arn, _)| lease.stream.as_ref() == Some(arn))
        else {
            return Err(Waiting::Stream);
        };
        let earlier = self.streams[..at].iter().map(|(arn, _)| arn);
        lineage::startable(lease, seen, begun, family, listed[at].as_ref(), earlier)
    }
}

/// Why a sync did not finish. It is repeated.
#[derive(Debug, thiserror::Error)]
pub(super) enum SyncError {
    #[error("the stream could not be listed: {0}")]
    Source(#[from] SourceError),
    #[error("the state tables could not be read or written: {0}")]
    Table(#[from] TableError),
    #[error("no answer in time from {0}")]
    Slow(&'static str),
    #[error(
        "none of the shards that the leases are of, as {0:?}, is in this stream: the lease table is that of an application \
         of another stream, or of one that was stopped for longer than the stream keeps its records. Nothing is read; to \
         begin anew, choose another `application`"
    )]
    NotItsStream(LeaseKey),
    #[error(
        "the lease {key:?} is of a Kinesis stream of this name that was created at another second than {created}, as KCL \
         names it: was it made with an epoch of the application's own? Nothing is read, or its checkpoints would count as \
         those of a deleted stream; to begin anew, choose another `application`"
    )]
    AnotherCreation { key: LeaseKey, created: String },
    #[error("this worker is fenced")]
    Fenced,
}

pub(super) struct Syncer {
    pub(super) pipeline: Arc<Pipeline>,
    readiness: Readiness,
    leases: Leases,
    rng: fastrand::Rng,
    found: mpsc::UnboundedSender<Synced>,
    orders: mpsc::Receiver<Arc<Scan>>,
    may_sync: watch::Receiver<bool>,
    last: Synced,
    other_start_told: bool,
    /// The last complete listings of each stream, newest at the back.
    pub(super) listings: BTreeMap<StreamArn, VecDeque<ShardListing>>,
    pub(super) unlisted: adopt::Unlisted,
    /// Leases that are there by an attempt to create them, and since when: the next order may bring a scan of before, and
    /// a start with many shards would try each of them again.
    created: BTreeMap<LeaseKey, (Lease, Monotonic)>,
}

impl Syncer {
    pub(super) fn new(
        pipeline: Arc<Pipeline>,
        readiness: Readiness,
        leases: Leases,
        rng: fastrand::Rng,
        found: mpsc::UnboundedSender<Synced>,
        orders: mpsc::Receiver<Arc<Scan>>,
        may_sync: watch::Receiver<bool>,
    ) -> Self {
        let last = Synced {
            pipeline: pipeline.config.name.clone(),
            ..Synced::default()
        };
        Self {
            pipeline,
            readiness,
            leases,
            rng,
            found,
            orders,
            may_sync,
            last,
            other_start_told: false,
            listings: BTreeMap::new(),
            unlisted: adopt::Unlisted::new(),
            created: BTreeMap::new(),
        }
    }

    /// Syncs when ordered to, and repeats a sync that failed. Ends with the worker's life.
    pub(super) async fn run(mut self) {
        let clock = self.pipeline.clock.clone();
        let part = format!("source of {}", self.pipeline.config.name);
        let mut backoff = Backoff::default();
        let Some(mut order) = self.orders.recv().await else {
            return;
        };
        // Beside a live KCL nothing is written. A closed channel is the end of the life.
        if self.may_sync.wait_for(|may| *may).await.is_err() {
            return;
        }
        while self.leases.fence().check().is_ok() {
            self.last.began = Some(clock.now());
            let again = match timeout(&*clock, SYNC_TIMEOUT, self.sync(&order))
                .await
                .unwrap_or(Err(SyncError::Slow("a sync")))
            {
                Ok(()) => {
                    backoff.reset();
                    self.readiness.solved(&part);
                    self.tell_images();
                    None
                }
                // Nothing failed: a person should know, and the next look is due as ever.
                Err(SyncError::Source(error @ SourceError::NoStream(_))) => {
                    backoff.reset();
                    if self.readiness.problem(&part, error.to_string()) {
                        warn!(pipeline = %self.pipeline.config.name, "{error}");
                        self.trouble(&part, &error);
                    }
                    self.last.finished = true;
                    None
                }
                Err(error) => {
                    self.last.changed = false;
                    self.last.finished = false;
                    self.readiness.problem(&part, error.to_string());
                    self.trouble(&part, &error);
                    if let SyncError::Source(error) = &error {
                        let labels = [self.pipeline.config.name.as_str(), error.class()];
                        self.pipeline
                            .metrics
                            .source_errors
                            .with_label_values(&labels)
                            .inc();
                    }
                    if (backoff.failures() + 1).is_power_of_two() {
                        warn!(pipeline = %self.pipeline.config.name, %error, "the shard sync failed; repeating");
                    }
                    Some(backoff.next(&mut self.rng) + Duration::from_millis(200))
                }
            };
            // A failed first sync is told too: the pipeline was looked at, the problem stands in /readyz.
            if self.found.send(self.last.clone()).is_err() {
                return;
            }
            // Cancel-safe: recv keeps its queue, a sleep is no loss.
            let next = match again {
                None => self.orders.recv().await,
                Some(wait) => tokio::select! {
                    biased;
                    next = self.orders.recv() => next,
                    () = clock.sleep(wait) => Some(order),
                },
            };
            match next {
                Some(next) => order = next,
                None => return,
            }
        }
    }

    fn trouble(&self, part: &str, what: &dyn std::error::Error) {
        let trouble = Trouble {
            at: self.pipeline.clock.wall(),
            part: part.to_owned(),
            what: what.to_string(),
        };
        self.pipeline.reports.trouble(&self.pipeline.config.name, trouble);
    }

    async fn sync(&mut self, scan: &Scan) -> Result<(), SyncError> {
        let name = self.pipeline.config.name.clone();
        // A table without a stream, and one that was deleted, may still have had one: for a day it can be
        // read to its end.
        let (current, mut none) = match self.pipeline.source.current().await {
            Ok(arn) => (Some(arn), None),
            Err(error @ (SourceError::NoStream(_) | SourceError::NotFound(_))) => {
                (None, Some(SourceError::NoStream(error.to_string())))
            }
            Err(error) => return Err(error.into()),
        };
        let mut rows: BTreeMap<StreamArn, StreamRow> = BTreeMap::new();
        // Read now, after the question above, whatever the age of the scan: a stream that was known to
        // anybody before the current one was enabled must be known here.
        for row in self
            .table_rows()
            .await?
            .into_iter()
            .filter(|r| r.pipeline == name)
        {
            if self.is_ours(&row.arn, current.as_ref()) {
                rows.insert(row.arn.clone(), row);
            }
        }
        let mut arns: Vec<StreamArn> = rows.keys().chain(current.as_ref()).cloned().collect();
        arns.extend(self.missed(&rows, current.as_ref()).await?);
        adopt::sort(&mut arns);
        if arns.is_empty() {
            return Err(none
                .unwrap_or(SourceError::NoStream("no stream is known".to_owned()))
                .into());
        }

        self.created.retain(|_, (_, at)| *at >= scan.began);
        let mut leases = self.leases_of(scan);
        let (homes, mut listed) = match self.pipeline.keys.are_kcls() {
            true => {
                let first = rows.is_empty();
                self.adopt(&mut arns, &mut leases, current.as_ref(), first)
                    .await?
            }
            false => Default::default(),
        };
        let mut changed = false;
        let mut streams = Vec::new();
        let mut starts = BTreeMap::new();
        let mut unleased = None;
        for (at, arn) in arns.iter().enumerate() {
            let is_current = current.as_ref() == Some(arn);
            let in_use = leases.values().any(|l| l.stream.as_ref() == Some(arn));
            // A scan reads the streams' rows before the leases: of a stream that was complete by then it
            // shows every lease there is.
            let was_complete = scan
                .streams
                .iter()
                .any(|r| r.pipeline == name && r.arn == *arn && r.complete);
            if !is_current && !in_use && was_complete {
                continue; // read to its end and tidied away
            }
            let listing = match listed.remove(arn) {
                Some(listing) => listing,
                None => self.list(arn, is_current).await?,
            };
            if is_current && listing.disabled {
                let table = arn.table().unwrap_or("TABLE");
                let why = format!(
                    "the stream {arn} is disabled: what it holds is read, nothing new will come until it is enabled: aws \
                     dynamodb update-table --table-name {table} --stream-specification \
                     StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES"
                );
                none = Some(SourceError::NoStream(why));
            }
            let began_before = at > 0 || leases.values().any(|l| l.stream.as_ref() == Some(arn));
            let (row, first) = self.stream_row(arn, rows.remove(arn), began_before).await?;
            if at == 0 {
                self.tell_other_start(&row);
            }
            changed |= self
                .create_missing(arn, at > 0, &listing, &mut leases, first)
                .await?;
            if !row.complete {
                self.complete(arn).await?;
            }
            let left = lineage::unleased(&self.pipeline.keys, arn, &listing, &leases);
            unleased = unleased.or_else(|| left.cloned());
            let kept = self.listings.entry(arn.clone()).or_default();
            kept.push_back(listing.clone());
            if kept.len() > LISTINGS_KEPT {
                kept.pop_front();
            }
            changed |= self.remove_finished(arn, &leases).await?;
            starts.insert(arn.clone(), row.start);
            streams.push((arn.clone(), Some(listing)));
        }
        self.last = Synced {
            pipeline: name,
            streams,
            starts,
            homes: Arc::new(homes),
            unleased,
            changed,
            finished: true,
            own: true,
            began: self.last.began,
        };
        match none {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    /// Says what the pipeline's rules lack of the stream's images. The newest stream of several is listed last.
    fn tell_images(&self) {
        let config = &self.pipeline.config;
        let part = format!("images of {}", config.name);
        let view = self.pipeline.source.view();
        let lacks = view.map(|view| images::lacking(&config.shape, view));
        match lacks.unwrap_or_default() {
            lacks if lacks.is_empty() => self.readiness.solved(&part),
            lacks => {
                let way_out = images::way_out(config.source.stream.table());
                let what = format!("{}; {way_out}", lacks.join("; "));
                if self.readiness.problem(&part, what.clone()) {
                    warn!(pipeline = %config.name, "{what}");
                }
            }
        }
    }

    /// Streams that came and went between two looks: a table tells only its newest one by itself. Asked
    /// for only when that one is new to a pipeline that knows others.
    async fn missed(
        &self,
        rows: &BTreeMap<StreamArn, StreamRow>,
        current: Option<&StreamArn>,
    ) -> Result<Vec<StreamArn>, SyncError> {
        let Some(current) = current.filter(|arn| !rows.is_empty() && !rows.contains_key(arn)) else {
            return Ok(Vec::new());
        };
        let newest_known = rows.keys().filter_map(|arn| arn.label()).max();
        let all = match self.pipeline.source.streams().await {
            Ok(all) => all,
            Err(SourceError::AccessDenied(why)) => {
                let name = &self.pipeline.config.name;
                let what = format!(
                    "the stream was enabled anew; allow dynamodb:ListStreams, or changes in a stream before {current} \
                     that was never seen are not read: {why}"
                );
                tracing::error!(pipeline = %name, "{what}");
                self.readiness.problem(&format!("streams of {name}"), what);
                Vec::new()
            }
            Err(error) => return Err(error.into()),
        };
        let between = |arn: &StreamArn| arn.label() > newest_known && arn.label() < current.label();
        Ok(all
            .into_iter()
            .filter(|arn| self.is_ours(arn, Some(current)) && between(arn))
            .collect())
    }

    /// Whether the stream is one of the table that this pipeline reads now. A table of the same name in
    /// another region or account is another table: asking for its stream here would show it as deleted.
    pub(super) fn is_ours(&self, arn: &StreamArn, current: Option<&StreamArn>) -> bool {
        let place = |arn: &StreamArn| (arn.region().map(str::to_owned), arn.account().map(str::to_owned));
        match &self.pipeline.config.source.stream {
            StreamChoice::Arn(configured) => configured == arn,
            StreamChoice::Table(table) => {
                arn.table() == Some(table) && current.is_none_or(|current| place(current) == place(arn))
            }
            StreamChoice::Kinesis(name) => {
                arn.kinesis_name() == Some(name) && current.is_none_or(|current| place(current) == place(arn))
            }
            StreamChoice::KinesisArn(configured) => configured.service_arn() == arn.service_arn(),
        }
    }

    /// Says, once, that the configured start is not the one this pipeline once began with, which counts.
    fn tell_other_start(&mut self, row: &StreamRow) {
        let same = match (self.pipeline.config.source.start, row.start) {
            (Start::TrimHorizon, start) => start == ResolvedStart::TrimHorizon,
            (Start::At(time), start) => start == ResolvedStart::At(time),
            (Start::Latest, start) => start != ResolvedStart::TrimHorizon,
        };
        if !same && !std::mem::replace(&mut self.other_start_told, true) {
            let pipeline = &row.pipeline;
            warn!(
                %pipeline,
                began_at = %row.start,
                "the configured start is ignored: this pipeline has begun already, and goes on from its checkpoints; to \
                 begin anew, rename the pipeline"
            );
        }
    }

    /// The stream's row, written now if it is new, and where its missing leases start. `began_before`: the
    /// table was read before this stream was, or a KCL application read this stream.
    async fn stream_row(
        &self,
        arn: &StreamArn,
        known: Option<StreamRow>,
        began_before: bool,
    ) -> Result<(StreamRow, FirstPosition), SyncError> {
        if let Some(row) = known {
            let first = if row.complete {
                FirstPosition::Later
            } else {
                FirstPosition::Start(row.start)
            };
            return Ok((row, first));
        }
        let mut closed_is_past = false;
        let start = match self.pipeline.config.source.start {
            // The table was being read: nothing that came since may be skipped.
            _ if began_before => ResolvedStart::TrimHorizon,
            Start::TrimHorizon => ResolvedStart::TrimHorizon,
            Start::At(time) => ResolvedStart::At(time),
            // Once, by the service's own clock, after the listing: what was closed by then is past.
            Start::Latest => {
                closed_is_past = true;
                ResolvedStart::At(self.pipeline.source.service_time(arn).await?.floor_second())
            }
        };
        let row = StreamRow {
            pipeline: self.pipeline.config.name.clone(),
            arn: arn.clone(),
            start,
            complete: false,
        };
        match self
            .ask("the fleet table", 1, self.pipeline.table.create_stream(&row))
            .await?
        {
            Written::Applied => {
                info!(pipeline = %row.pipeline, stream = %arn, %start, "a new stream");
                let first = match closed_is_past {
                    true => FirstPosition::StartClosedIsPast(start),
                    false => FirstPosition::Start(start),
                };
                Ok((row, first))
            }
            // Another worker, or an earlier attempt of mine, resolved the start: that one counts. Its
            // listing was another too, so that nothing is known to be past.
            Written::Refused(Some(row)) if row.complete => Ok((row, FirstPosition::Later)),
            Written::Refused(Some(row)) => {
                let first = FirstPosition::Start(row.start);
                Ok((row, first))
            }
            Written::Refused(None) => Err(SyncError::Slow("the fleet table")),
        }
    }

    /// What a state table answers to `work`, in the time of so many requests.
    async fn ask<T>(
        &self,
        table: &'static str,
        requests: u32,
        work: impl Future<Output = Result<T, TableError>>,
    ) -> Result<T, SyncError> {
        let limit = self.pipeline.request_timeout * requests;
        match timeout(&*self.pipeline.clock, limit, work).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(SyncError::Slow(table)),
        }
    }

    async fn create_missing(
        &mut self,
        arn: &StreamArn,
        follows_another: bool,
        listing: &ShardListing,
        leases: &mut lineage::Leases,
        first: FirstPosition,
    ) -> Result<bool, SyncError> {
        let mut missing: VecDeque<Lease> = lineage::missing(
            &self.pipeline.keys,
            &self.pipeline.config.name,
            arn,
            follows_another,
            listing,
            leases,
            first,
        )
        .into();
        let changed = !missing.is_empty();
        // Some at once; a child only after its parents.
        let mut under_way: JoinSet<Result<Lease, Fenced>> = JoinSet::new();
        let mut shards: BTreeSet<ShardId> = BTreeSet::new();
        while !(missing.is_empty() && under_way.is_empty()) {
            while under_way.len() < CREATES_AT_ONCE
                && let Some(lease) =
                    missing.pop_front_if(|lease| !lease.parents.iter().any(|p| shards.contains(p)))
            {
                shards.insert(lease.shard.clone());
                let mut leases = self.leases.fork(Progress::default());
                let row = self.pipeline.keys.row(&lease);
                under_way.spawn(async move { leases.create(&row).await.map(|()| lease) });
            }
            let created = match under_way.join_next().await {
                Some(Ok(created)) => created.map_err(|_| SyncError::Fenced)?,
                // Nothing aborts these, and they don't panic: as good as no answer.
                Some(Err(_)) => return Err(SyncError::Slow("the lease table")),
                None => break,
            };
            debug!(lease = %created.key, position = %created.checkpoint, "created the lease");
            shards.remove(&created.shard);
            let now = self.pipeline.clock.now();
            self.created.insert(created.key.clone(), (created.clone(), now));
            leases.insert(created.key.clone(), created);
        }
        Ok(changed)
    }

    async fn remove_finished(&self, arn: &StreamArn, leases: &lineage::Leases) -> Result<bool, SyncError> {
        let mut changed = false;
        let Some(listings) = self.listings.get(arn).filter(|l| l.len() == LISTINGS_KEPT) else {
            return Ok(false);
        };
        for lease in lineage::finished(arn, listings, leases) {
            if self.delete(lease).await? {
                info!(lease = %lease.key, "removed the lease of a shard that has ended and left the stream");
                changed = true;
            }
        }
        Ok(changed)
    }

    async fn delete(&self, lease: &Lease) -> Result<bool, SyncError> {
        let expected = Expected {
            owner: lease.owner.clone(),
            counter: lease.counter,
        };
        let asked = self.pipeline.table.delete_lease(&lease.key, &expected);
        // Refused: it changed since the scan; the next sync looks again.
        Ok(self.ask("the lease table", 1, asked).await? == Written::Applied)
    }

    async fn complete(&self, arn: &StreamArn) -> Result<(), SyncError> {
        let asked = self
            .pipeline
            .table
            .complete_stream(&self.pipeline.config.name, arn);
        // Refused: there is no such row any more, and nothing to complete.
        self.ask("the fleet table", 1, asked).await.map(|_| ())
    }

    async fn table_rows(&self) -> Result<Vec<StreamRow>, SyncError> {
        self.ask("the fleet table", SCAN_FACTOR, self.pipeline.table.streams())
            .await
    }

    /// What the scan shows, and what was created since.
    fn leases_of(&self, scan: &Scan) -> lineage::Leases {
        let own = |l: &&Lease| self.pipeline.keys.pipeline_of(l) == Some(&self.pipeline.config.name);
        let created = self.created.values().map(|(lease, _)| lease);
        let leases = created.chain(scan.leases.iter().filter(own));
        leases.map(|l| (l.key.clone(), l.clone())).collect()
    }
}
