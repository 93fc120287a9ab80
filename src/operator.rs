//! What a person does to the state tables by hand: look, release, set, pause.
//!
//! Owns what may be done and what must be known before (protocol rule 14: a lease whose owner is alive is
//! never touched). Every write is conditional on owner and counter as read, and adds one to the counter, so
//! that a worker that was alive after all loses the lease instead of writing over it. Must never create a
//! table. Prints nothing; `cli` asks and shows.

mod asking;
pub mod dead_letters;
#[cfg(test)]
mod fakes;
pub mod made;
pub mod position;
pub mod redrive;
pub mod replay;
pub mod survey;
pub mod verify;
pub mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::clock::{Clock, Timestamp};
use crate::lease::keys::Keys;
use crate::lease::{
    Checkpoint, Expected, Lease, LeaseChange, LeaseKey, LeaseTable, PipelineRow, ResolvedStart, SharedTable,
    TableError, WorkerId, WorkerRow, Written, held,
};
use crate::suggest;
use watch::{Gone, Look, Verdict, Watch};

/// How often a request that failed for a moment is repeated: with full jitter, over some ten seconds.
const MOST_REPEATS: u32 = 8;
/// Between two looks at the tables.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// What a wait for a paused pipeline adds to the longest drain: a worker reads the flag within 10 s.
const PICK_UP: Duration = Duration::from_secs(30);
/// A time to start from may lie so far ahead of this machine's clock, which may be slow.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(300);

/// Tells a person what is being waited for.
pub type Tell = Box<dyn Fn(&str)>;

/// The state tables of one application, with all that is needed to work on them.
pub struct Desk {
    pub table: SharedTable,
    /// The lease table's name.
    pub leases: String,
    /// The fleet's table.
    pub fleet: String,
    /// Whether it exists. Without it there never was a worker of Weir's.
    pub has_fleet: bool,
    pub keys: Keys,
    /// The pipelines of the settings.
    pub configured: Vec<String>,
    /// When a worker without a heartbeat counts as dead.
    pub takeover: Duration,
    pub foreign_watch: Duration,
    pub drain_timeout: Duration,
    pub clock: Arc<dyn Clock>,
    pub rng: fastrand::Rng,
    pub tell: Tell,
}

/// Why nothing was done, or not all of it. A message names the key and the way out.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("there is no lease {key} in the table {table}{}", did_you_mean(.near.as_ref()))]
    NoLease {
        key: LeaseKey,
        table: String,
        near: Option<String>,
    },
    #[error("there is no pipeline {name}, neither in the settings nor in the state tables{}", hint(.near.as_ref(), .known))]
    NoPipeline {
        name: String,
        near: Option<String>,
        known: Vec<String>,
    },
    #[error("lease {key}: its owner {owner} is alive ({sign}), and nothing was done. {way_out}")]
    Alive {
        key: LeaseKey,
        owner: WorkerId,
        sign: String,
        way_out: String,
    },
    #[error(
        "lease {key} changed meanwhile ({}), and nothing was written: look at it, and try again",
        now(.row.as_deref())
    )]
    Changed { key: LeaseKey, row: Option<Box<Lease>> },
    #[error(
        "--to: {time} lies in the future, and every change before it would be dropped: use a time that has passed"
    )]
    Future { time: Timestamp },
    #[error(
        "table {table} doesn't exist, so this application has no pipelines yet: `weir run` creates it at its first start"
    )]
    NoFleet { table: String },
    #[error(
        "pipeline {pipeline} is paused, and after {} s still has leases with an owner: {}. A dead worker's are freed by its successor: is one running? `weir leases release KEY` frees one by hand",
        .waited.as_secs(),
        list(.owned)
    )]
    StillOwned {
        pipeline: String,
        waited: Duration,
        owned: Vec<LeaseKey>,
    },
    #[error(
        "table {table} holds keys of Weir's own, like {key}, which the Kinesis Client Library can't read: only a table that was made with `leases.keys: kcl`, or by that library itself, can be handed back. Nothing was done"
    )]
    WeirKeys { table: String, key: LeaseKey },
    #[error("table {table} is in use, and nothing was done: stop these first: {}", list(.alive))]
    InUse { table: String, alive: Vec<String> },
    #[error(
        "{done} of {all} leases were handed back when {why}: stop every worker of Weir's, and run this again"
    )]
    Interrupted { done: usize, all: usize, why: String },
    #[error(transparent)]
    Table(#[from] TableError),
}

fn did_you_mean(near: Option<&String>) -> String {
    near.map_or_else(
        || ": `weir leases list` shows those there are".to_owned(),
        |near| format!(": did you mean `{near}`?"),
    )
}

fn hint(near: Option<&String>, known: &[String]) -> String {
    match near {
        Some(near) => format!(": did you mean `{near}`?"),
        None if known.is_empty() => ": there are none yet".to_owned(),
        None => format!(": use one of {}", known.join(", ")),
    }
}

fn now(row: Option<&Lease>) -> String {
    match row {
        None => "it is gone, or can't be read".to_owned(),
        Some(row) => format!(
            "owner {}, counter {}, checkpoint {}",
            row.owner.as_ref().map_or("-", WorkerId::as_str),
            row.counter,
            row.checkpoint
        ),
    }
}

/// Refuses a name that is none of these.
fn known_pipeline(name: &str, known: Vec<String>) -> Result<(), Refusal> {
    if known.iter().any(|one| one == name) {
        return Ok(());
    }
    let words: Vec<&str> = known.iter().map(String::as_str).collect();
    Err(Refusal::NoPipeline {
        name: name.to_owned(),
        near: suggest::nearest(name, &words).map(str::to_owned),
        known,
    })
}

/// The first few, and how many more.
fn list<T: ToString>(all: &[T]) -> String {
    const SHOWN: usize = 5;
    let mut text: Vec<String> = all.iter().take(SHOWN).map(ToString::to_string).collect();
    if all.len() > SHOWN {
        text.push(format!("and {} more", all.len() - SHOWN));
    }
    text.join(", ")
}

/// A lease before and after a write; equal where none was needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    pub before: Lease,
    pub after: Lease,
    /// What the person should know of it.
    pub notes: Vec<String>,
}

/// What a hand-back did, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedBack {
    /// Each lease that is written, before and after.
    pub leases: Vec<(Lease, Lease)>,
    /// Unfinished leases that were KCL's to take already.
    pub free: usize,
    /// Leases at SHARD_END, which nobody owns or needs to.
    pub finished: usize,
}

impl HandedBack {
    /// The times at which leases start that nothing was delivered of: KCL must be told them.
    pub fn start_times(&self) -> BTreeSet<Timestamp> {
        let times = self
            .leases
            .iter()
            .filter_map(|(before, _)| match before.checkpoint {
                Checkpoint::AtTimestamp(time) => Some(time),
                _ => None,
            });
        times.collect()
    }
}

/// Everything that is known of one lease.
#[derive(Clone, Debug)]
pub struct Shown {
    pub lease: Lease,
    /// The row of the owner; `None` where nobody owns it, or the owner has none.
    pub worker: Option<WorkerRow>,
    /// Whether the owner is alive; `None` where one look doesn't tell.
    pub alive: Option<bool>,
    /// Why, in words.
    pub sign: String,
    /// Its parents, each with its lease if there is one.
    pub parents: Vec<(crate::stream::ShardId, Option<Lease>)>,
}

/// A pipeline, as the settings and the tables know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineState {
    pub name: String,
    pub configured: bool,
    pub paused: bool,
    pub unlisted_since: Option<Timestamp>,
    /// Its leases.
    pub leases: usize,
    /// Those not at SHARD_END.
    pub unfinished: usize,
    /// Those of the unfinished with an owner.
    pub owned: usize,
}

impl Desk {
    /// All leases, or those of one pipeline, by key.
    pub async fn list(&mut self, pipeline: Option<&str>) -> Result<Vec<Lease>, Refusal> {
        let mut leases = self.leases().await?;
        if let Some(name) = pipeline {
            leases.retain(|lease| self.keys.pipeline_of(lease) == Some(name));
            if leases.is_empty() {
                let known: Vec<String> = self.pipelines().await?.into_iter().map(|p| p.name).collect();
                known_pipeline(name, known)?;
            }
        }
        leases.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(leases)
    }

    /// One lease with all around it. `watching`: until it is known whether its owner is alive.
    pub async fn show(&mut self, key: &LeaseKey, watching: bool) -> Result<Shown, Refusal> {
        let lease = self.find(key).await?;
        let workers = self.workers().await?;
        let row = |workers: &[WorkerRow]| {
            workers
                .iter()
                .find(|w| lease.owner.as_ref() == Some(&w.id))
                .cloned()
        };
        let mut worker = row(&workers);
        let (alive, sign) = match (&lease.owner, &worker) {
            (None, _) => (None, "nobody owns it".to_owned()),
            (Some(owner), _) if watching => {
                let (verdict, look) = self.verdict(owner).await?;
                worker = row(&look.workers).or(worker);
                match verdict {
                    Verdict::Alive(sign) => (Some(true), sign),
                    Verdict::Gone(gone) => (Some(false), why(gone)),
                    Verdict::Open(_) => (None, "not known".to_owned()),
                }
            }
            (_, Some(row)) if !row.is_live() => (Some(false), why(Gone::Told)),
            (_, Some(_)) => (None, "--watch tells whether its heartbeat moves".to_owned()),
            (_, None) => (
                None,
                "it has no worker row; --watch tells whether its counters move".to_owned(),
            ),
        };
        let mut parents = Vec::new();
        for parent in &lease.parents {
            let key = self.keys.sibling(key, parent);
            parents.push((parent.clone(), self.ask(async |t| t.lease(&key).await).await?));
        }
        Ok(Shown {
            worker,
            alive,
            sign,
            parents,
            lease,
        })
    }

    /// Removes the owner of a lease, if it is dead or `force` is.
    pub async fn release(&mut self, key: &LeaseKey, force: bool) -> Result<Changed, Refusal> {
        let lease = self.find(key).await?;
        let Some(owner) = lease.owner.clone() else {
            return Ok(Changed {
                before: lease.clone(),
                after: lease,
                notes: vec!["nobody owns it: nothing was to be done".to_owned()],
            });
        };
        let notes = match force {
            true => vec![may_repeat(&owner)],
            false => vec![self.must_be_gone(&lease, &owner).await?],
        };
        let after = self.write(&lease, &LeaseChange::Release).await?;
        Ok(Changed {
            before: lease,
            after,
            notes,
        })
    }

    /// Moves the checkpoint of a lease that nobody alive owns, or of any if `force` is.
    pub async fn set(&mut self, key: &LeaseKey, to: &Checkpoint, force: bool) -> Result<Changed, Refusal> {
        if let Checkpoint::AtTimestamp(time) = *to
            && time > self.clock.wall().plus(CLOCK_TOLERANCE)
        {
            return Err(Refusal::Future { time });
        }
        let lease = self.find(key).await?;
        let mut notes = vec![position::told(&lease.checkpoint, to)];
        if lease.checkpoint == *to {
            return Ok(Changed {
                before: lease.clone(),
                after: lease,
                notes,
            });
        }
        if let Some(start) = self.stream_start(&lease).await? {
            notes.extend(before_the_start(to, start));
        }
        notes.extend(around(&lease, to));
        if let Some(owner) = &lease.owner {
            notes.push(match force {
                true => may_repeat(owner),
                false => self.must_be_gone(&lease, owner).await?,
            });
        }
        let after = self.write(&lease, &LeaseChange::Set(to.clone())).await?;
        Ok(Changed {
            before: lease,
            after,
            notes,
        })
    }

    /// Makes the table one that a KCL application takes over at once: no owner, nothing that is Weir's. `dry`:
    /// only says what it would do. To do it again changes nothing.
    pub async fn hand_back(&mut self, dry: bool) -> Result<HandedBack, Refusal> {
        let leases = self.leases().await?;
        if let Some(lease) = leases.iter().find(|lease| is_weirs_key(&lease.key)) {
            return Err(Refusal::WeirKeys {
                table: self.leases.clone(),
                key: lease.key.clone(),
            });
        }
        let (verdicts, look) = self.watch(in_use_by).await?;
        let alive: Vec<String> = verdicts
            .iter()
            .filter_map(|(owner, verdict)| match verdict {
                Verdict::Alive(sign) => Some(format!("{owner} ({sign})")),
                Verdict::Gone(_) | Verdict::Open(_) => None,
            })
            .collect();
        if !alive.is_empty() {
            return Err(self.in_use(alive));
        }
        let plan = to_hand_back(&look.leases);
        if dry {
            return Ok(plan);
        }
        for (owner, verdict) in &verdicts {
            if let Verdict::Gone(Gone::Silent(heartbeat)) = verdict
                && let Some(sign) = self.evict(owner, *heartbeat).await?
            {
                return Err(self.in_use(vec![format!("{owner} ({sign})")]));
            }
        }
        let all = plan.leases.len();
        for (done, (lease, _)) in plan.leases.iter().enumerate() {
            match self.write(lease, &LeaseChange::HandBack).await {
                Ok(_) => {}
                Err(error) => {
                    let why = error.to_string();
                    return Err(Refusal::Interrupted { done, all, why });
                }
            }
        }
        // Who joined meanwhile takes the leases again.
        match self.workers().await?.iter().find(|row| row.is_live()) {
            None => Ok(plan),
            Some(row) => Err(Refusal::Interrupted {
                done: all,
                all,
                why: format!("the worker {} joined", row.id),
            }),
        }
    }

    fn in_use(&self, alive: Vec<String>) -> Refusal {
        Refusal::InUse {
            table: self.leases.clone(),
            alive,
        }
    }

    /// All pipelines that the settings or the tables know, by name.
    pub async fn pipelines(&mut self) -> Result<Vec<PipelineState>, Refusal> {
        let rows = match self.has_fleet {
            true => self.ask(async |t| t.pipelines().await).await?,
            false => Vec::new(),
        };
        let leases = self.leases().await?;
        let mut names: BTreeSet<String> = self.configured.iter().cloned().collect();
        names.extend(rows.iter().map(|row| row.name.clone()));
        let pipeline_of = |lease: &Lease| self.keys.pipeline_of(lease).map(str::to_owned);
        names.extend(leases.iter().filter_map(pipeline_of));
        Ok(states(&names, &self.configured, &rows, &leases, &self.keys))
    }

    /// Pauses or resumes a pipeline.
    pub async fn pause(&mut self, name: &str, paused: bool) -> Result<PipelineState, Refusal> {
        if !self.has_fleet {
            return Err(Refusal::NoFleet {
                table: self.fleet.clone(),
            });
        }
        let states = self.pipelines().await?;
        let mut known: Vec<String> = states.iter().map(|state| state.name.clone()).collect();
        // A pipeline whose first shard is not leased yet, and one that was started with flags alone.
        let streams = self.ask(async |t| t.streams().await).await?;
        known.extend(streams.into_iter().map(|row| row.pipeline));
        let workers = self.workers().await?;
        known.extend(workers.into_iter().flat_map(|row| row.held.into_keys()));
        known.sort();
        known.dedup();
        known_pipeline(name, known)?;
        self.ask(async |t| t.pause_pipeline(name, paused).await).await?;
        let state = states.into_iter().find(|state| state.name == name);
        Ok(PipelineState {
            paused,
            ..state.unwrap_or(PipelineState {
                name: name.to_owned(),
                configured: false,
                paused,
                unlisted_since: None,
                leases: 0,
                unfinished: 0,
                owned: 0,
            })
        })
    }

    /// Waits until no unfinished lease of a paused pipeline has an owner, for as long as a drain may take.
    pub async fn until_free(&mut self, name: &str) -> Result<(), Refusal> {
        let limit = self.drain_timeout + PICK_UP;
        let start = self.clock.now();
        let mut told = false;
        loop {
            let leases = self.leases().await?;
            let mut owned: Vec<LeaseKey> = leases
                .iter()
                .filter(|l| self.keys.pipeline_of(l) == Some(name) && is_unfinished(l) && l.owner.is_some())
                .map(|l| l.key.clone())
                .collect();
            if owned.is_empty() {
                return Ok(());
            }
            if !std::mem::replace(&mut told, true) {
                (self.tell)(&format!(
                    "waiting, {} s at most, until no lease of {name} has an owner; {} have one now",
                    limit.as_secs(),
                    owned.len()
                ));
            }
            let waited = self.clock.now().since(start);
            if waited >= limit {
                owned.sort();
                return Err(Refusal::StillOwned {
                    pipeline: name.to_owned(),
                    waited,
                    owned,
                });
            }
            self.clock.sleep(BETWEEN_LOOKS).await;
        }
    }

    /// A lease by its key, or the nearest key there is.
    async fn find(&mut self, key: &LeaseKey) -> Result<Lease, Refusal> {
        if let Some(lease) = self.ask(async |t| t.lease(key).await).await? {
            return Ok(lease);
        }
        let leases = self.leases().await?;
        let keys: Vec<&str> = leases.iter().map(|l| l.key.as_str()).collect();
        Err(Refusal::NoLease {
            key: key.clone(),
            table: self.leases.clone(),
            near: suggest::nearest(key.as_str(), &keys).map(str::to_owned),
        })
    }

    /// Waits until it is known that `owner` is dead, and evicts it (rule 4). Refuses if it is alive.
    async fn must_be_gone(&mut self, lease: &Lease, owner: &WorkerId) -> Result<String, Refusal> {
        let (verdict, look) = self.verdict(owner).await?;
        let alive = |sign: String, desk: &Self| Refusal::Alive {
            key: lease.key.clone(),
            owner: owner.clone(),
            sign,
            way_out: desk.way_out(lease, owner, &look),
        };
        match verdict {
            Verdict::Alive(sign) => Err(alive(sign, self)),
            Verdict::Open(_) => Err(alive("its heartbeat could not be watched".to_owned(), self)),
            Verdict::Gone(gone) => {
                if let Gone::Silent(heartbeat) = gone
                    && let Some(sign) = self.evict(owner, heartbeat).await?
                {
                    return Err(alive(sign, self));
                }
                Ok(format!("its owner {owner} is gone: {}", why(gone)))
            }
        }
    }

    fn way_out(&self, lease: &Lease, owner: &WorkerId, look: &Look) -> String {
        let has_row = look.workers.iter().any(|row| row.id == *owner);
        let stop = match (has_row, self.keys.pipeline_of(lease)) {
            (true, Some(name)) => {
                format!(
                    "Stop that worker first, or pause the pipeline (`weir pipelines pause {name} --wait`)"
                )
            }
            (true, None) => "Stop that worker first".to_owned(),
            (false, _) => "It is no worker of this application of Weir's: stop it first, a KCL application \
                           with all its workers"
                .to_owned(),
        };
        format!(
            "{stop}; --force does it all the same, and what was delivered since the last checkpoint may be repeated"
        )
    }

    /// Sets the certificate of a silent worker's death. `Some`: it lives, and why this is known.
    async fn evict(&mut self, owner: &WorkerId, heartbeat: u64) -> Result<Option<String>, Refusal> {
        match self.ask(async |t| t.evict(owner, heartbeat).await).await? {
            Written::Refused(Some(row)) if row.is_live() => Ok(Some(format!(
                "its heartbeat went from {heartbeat} to {}",
                row.heartbeat
            ))),
            Written::Applied | Written::Refused(_) => Ok(None),
        }
    }

    /// Looks at the tables until it is known whether `owner` is alive.
    async fn verdict(&mut self, owner: &WorkerId) -> Result<(Verdict, Look), Refusal> {
        let who = BTreeSet::from([owner.clone()]);
        let (mut verdicts, look) = self.watch(|_| who.clone()).await?;
        let verdict = verdicts.remove(owner).unwrap_or(Verdict::Gone(Gone::Foreign));
        Ok((verdict, look))
    }

    /// Looks at the tables until one of `who` is known to be alive, or all are known to be gone.
    async fn watch(
        &mut self,
        who: impl Fn(&Look) -> BTreeSet<WorkerId>,
    ) -> Result<(BTreeMap<WorkerId, Verdict>, Look), Refusal> {
        let mut watch = Watch::new(self.takeover, self.foreign_watch);
        if !self.has_fleet {
            (self.tell)(&format!(
                "table {} doesn't exist: no worker of Weir's is known, and owners are judged by the counters of \
                 their leases alone",
                self.fleet
            ));
        }
        let mut told = false;
        loop {
            let look = self.look().await?;
            let verdicts = watch.look(&look, &who(&look));
            let is_known = verdicts.values().any(|v| matches!(v, Verdict::Alive(_)));
            let open = verdicts.values().filter_map(|v| match v {
                Verdict::Open(until) => Some(*until),
                _ => None,
            });
            let Some(last) = open.max().filter(|_| !is_known) else {
                return Ok((verdicts, look));
            };
            if !std::mem::replace(&mut told, true) {
                let open = verdicts.iter().filter(|(_, v)| matches!(v, Verdict::Open(_)));
                let owners: Vec<&WorkerId> = open.map(|(owner, _)| owner).collect();
                (self.tell)(&format!(
                    "watching for {} s whether the owner is alive: {}",
                    last.since(self.clock.now()).as_secs_f64().ceil(),
                    list(&owners)
                ));
            }
            let rest = last.since(self.clock.now());
            self.clock.sleep(rest.min(BETWEEN_LOOKS)).await;
        }
    }

    async fn look(&mut self) -> Result<Look, Refusal> {
        let started = self.clock.now();
        let leases = self.leases().await?;
        let workers = self.workers().await?;
        Ok(Look {
            started,
            received: self.clock.now(),
            leases,
            workers,
        })
    }

    async fn leases(&mut self) -> Result<Vec<Lease>, TableError> {
        self.ask(async |t| t.leases().await).await
    }

    async fn workers(&mut self) -> Result<Vec<WorkerRow>, TableError> {
        match self.has_fleet {
            true => self.ask(async |t| t.workers().await).await,
            false => Ok(Vec::new()),
        }
    }

    /// Where the first reading of a lease's stream started, if that was a time.
    async fn stream_start(&mut self, lease: &Lease) -> Result<Option<Timestamp>, TableError> {
        if !self.has_fleet {
            return Ok(None);
        }
        let streams = self.ask(async |t| t.streams().await).await?;
        let pipeline = self.keys.pipeline_of(lease);
        let row = streams
            .iter()
            .find(|row| Some(row.pipeline.as_str()) == pipeline && Some(&row.arn) == lease.stream.as_ref());
        Ok(row.and_then(|row| match row.start {
            ResolvedStart::At(time) => Some(time),
            ResolvedStart::TrimHorizon => None,
        }))
    }

    /// One conditional write, repeated with the same condition until it is answered (rule 13).
    async fn write(&mut self, lease: &Lease, change: &LeaseChange) -> Result<Lease, Refusal> {
        let expected = Expected {
            owner: lease.owner.clone(),
            counter: lease.counter,
        };
        let wanted = held::apply(lease, change);
        match self
            .ask(async |t| t.update_lease(&lease.key, &expected, change).await)
            .await?
        {
            Written::Applied => Ok(wanted),
            Written::Refused(Some(row)) if held::same_write(&row, &wanted) => Ok(wanted),
            Written::Refused(row) => Err(Refusal::Changed {
                key: lease.key.clone(),
                row: row.map(Box::new),
            }),
        }
    }

    /// A request, repeated while the table has trouble that passes.
    async fn ask<T>(
        &mut self,
        request: impl AsyncFn(&dyn LeaseTable) -> Result<T, TableError>,
    ) -> Result<T, TableError> {
        let mut backoff = Backoff::default();
        loop {
            match request(&*self.table).await {
                Err(error)
                    if !matches!(error, TableError::Refused(_)) && backoff.failures() < MOST_REPEATS =>
                {
                    if backoff.failures() == 0 {
                        (self.tell)(&format!("{error}; repeating"));
                    }
                    self.clock.sleep(backoff.next(&mut self.rng)).await;
                }
                answer => return answer,
            }
        }
    }
}

/// Weir's own keys are `<pipeline>/<shardId>`; none of KCL's holds a `/`.
fn is_weirs_key(key: &LeaseKey) -> bool {
    key.as_str().contains('/')
}

/// Whoever may be reading: the workers with a row, and the owners of unfinished leases.
fn in_use_by(look: &Look) -> BTreeSet<WorkerId> {
    let workers = look
        .workers
        .iter()
        .filter(|row| row.is_live())
        .map(|row| row.id.clone());
    let owners = look
        .leases
        .iter()
        .filter(|lease| is_unfinished(lease))
        .filter_map(|lease| lease.owner.clone());
    workers.chain(owners).collect()
}

/// What is to be written so that the leases are KCL's.
fn to_hand_back(leases: &[Lease]) -> HandedBack {
    let (unfinished, finished): (Vec<&Lease>, Vec<&Lease>) = leases.iter().partition(|l| is_unfinished(l));
    let (free, mut weirs): (Vec<&Lease>, Vec<&Lease>) = unfinished
        .into_iter()
        .partition(|l| l.owner.is_none() && !matches!(l.checkpoint, Checkpoint::AtTimestamp(_)));
    weirs.sort_by(|a, b| a.key.cmp(&b.key));
    HandedBack {
        leases: weirs
            .into_iter()
            .map(|lease| (lease.clone(), held::apply(lease, &LeaseChange::HandBack)))
            .collect(),
        free: free.len(),
        finished: finished.len(),
    }
}

fn is_unfinished(lease: &Lease) -> bool {
    lease.checkpoint != Checkpoint::ShardEnd
}

fn why(gone: Gone) -> String {
    match gone {
        Gone::Told => "its row says that it was evicted, or gave this id up".to_owned(),
        Gone::Silent(heartbeat) => format!("its heartbeat stands still at {heartbeat}"),
        Gone::Foreign => "it has no worker row, and its counters stand still".to_owned(),
    }
}

fn may_repeat(owner: &WorkerId) -> String {
    format!(
        "forced: if {owner} is alive, it reads on until its next checkpoint is refused, and what it delivered \
         since its last one is delivered again"
    )
}

/// What the stream's own start does to records that a new position would bring back.
fn before_the_start(to: &Checkpoint, start: Timestamp) -> Option<String> {
    match to {
        Checkpoint::TrimHorizon => Some(format!(
            "records before {start} are dropped all the same, and counted as before_start: the first reading of \
             this stream started there. A time before it brings them"
        )),
        Checkpoint::AtTimestamp(time) if *time < start => Some(format!(
            "the first reading of this stream started at {start}: should the lease change hands before the \
             reader has come so far, the rest up to it is dropped, and counted as before_start"
        )),
        _ => None,
    }
}

/// What a new position does to the order among parents and children.
fn around(lease: &Lease, to: &Checkpoint) -> Option<String> {
    match (&lease.checkpoint, to) {
        (_, Checkpoint::ShardEnd) => Some(
            "SHARD_END: nothing more of this shard is read, and its children start, now if its other parents \
             have ended too"
                .to_owned(),
        ),
        (Checkpoint::ShardEnd, _) => Some(
            "the shard had ended: what is repeated comes after what its children have delivered meanwhile"
                .to_owned(),
        ),
        _ => None,
    }
}

/// The state of each of `names`.
fn states(
    names: &BTreeSet<String>,
    configured: &[String],
    rows: &[PipelineRow],
    leases: &[Lease],
    keys: &Keys,
) -> Vec<PipelineState> {
    names
        .iter()
        .map(|name| {
            let row = rows.iter().find(|row| row.name == *name);
            let own: Vec<&Lease> = leases
                .iter()
                .filter(|l| keys.pipeline_of(l) == Some(name))
                .collect();
            let unfinished: Vec<&&Lease> = own.iter().filter(|l| is_unfinished(l)).collect();
            PipelineState {
                name: name.clone(),
                configured: configured.contains(name),
                paused: row.is_some_and(|row| row.paused),
                unlisted_since: row.and_then(|row| row.unlisted_since),
                leases: own.len(),
                unfinished: unfinished.len(),
                owned: unfinished.iter().filter(|l| l.owner.is_some()).count(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
