//! The world: its clock, its trace, its processes, and the road every call takes.
//!
//! One mutex holds everything and is never held across an await. A process acts on the world through a
//! [`Seat`]; a dead or paused process's seat lets nothing through.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};
use weir::clock::Timestamp;
use weir::coordinator::Why;
use weir::lease::keys::Keys;
use weir::metrics::Metrics;
use weir::status::reports::Reports;

use crate::cost::Cost;
use crate::faults::{Fate, Faults, Service};
use crate::logs::Logs;
use crate::model::Model;
use crate::streams::Streams;
use crate::subject::Settings;
use crate::table::Table;

/// 2026-01-01T00:00:00Z, the world's first moment.
pub const EPOCH: i64 = 1_767_225_600_000;

/// One life of one process.
pub type Pid = usize;

pub struct World {
    started: Instant,
    state: Mutex<State>,
    /// Told when a process crashed at a point.
    pub crashed: Notify,
}

pub struct State {
    /// Virtual time since the start. Set at each entry.
    pub now: Duration,
    pub rng: Rng,
    pub faults: Faults,
    pub procs: Vec<Proc>,
    pub streams: Streams,
    pub table: Table,
    pub logs: Logs,
    pub model: Model,
    pub trace: Vec<String>,
    pub sink_down_until: Duration,
    pub sink_denied_until: Duration,
    pub source_denied_until: Duration,
    /// Reads and writes of leases are not answered; the worker rows are.
    pub leases_silent_until: Duration,
    /// How long a read of the worker rows is on its way at most.
    pub rows_take: Duration,
    /// How long a listing takes.
    pub listings_take: Duration,
    /// The log takes no dead letters.
    pub letters_refused: bool,
    pub panic_in_read: bool,
    pub panic_in_put: bool,
    pub settings: Settings,
    pub keys: Keys,
    /// The tables whose pipelines a slot's next process runs; unless set, the first.
    pub runs: BTreeMap<usize, BTreeSet<usize>>,
    /// The state tables refuse so many of 10,000 requests until then.
    pub table_throttled: (Duration, u32),
    /// What the state tables were asked.
    pub cost: Cost,
    /// The rows on a page of a scan; unless set, few enough to be torn.
    pub page: Option<usize>,
    /// How far the calendars of new processes may be off.
    pub skew: Duration,
    /// Off where a story is too long to be told.
    pub tracing: bool,
    /// What each process counts.
    pub metrics: BTreeMap<Pid, Metrics>,
    /// What each process tells of itself.
    pub reports: BTreeMap<Pid, Reports>,
    /// How the jobs among them ended.
    pub ends: BTreeMap<Pid, Result<Why, String>>,
}

pub struct Proc {
    pub slot: usize,
    pub alive: bool,
    /// When it ended, in whatever way.
    pub died: Option<Duration>,
    pub paused_until: Duration,
    /// Its requests don't reach the table.
    pub table_deaf_until: Duration,
    /// The table's answers don't reach it.
    pub table_mute_until: Duration,
    /// It can't read the worker rows, though all else goes through.
    pub blind_until: Duration,
    /// The last time that something went wrong for it: a request, or a pause.
    pub troubled: Duration,
    /// Await points it passed, and the one it dies at.
    pub points: u64,
    pub crash_at: Option<u64>,
    /// Points at one and the same virtual time, to notice a loop that never sleeps.
    idle_loop: (Duration, u32),
    pub ppm: i64,
    pub clock_offset: Duration,
    pub skew_millis: i64,
    pub rng_seed: u64,
    /// The tables whose pipelines it runs.
    pub tables: BTreeSet<usize>,
}

/// How a call failed, before it is said in the words of its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    Throttled,
    Unavailable,
    Unanswered,
    Denied,
}

/// A process's access to the world.
#[derive(Clone)]
pub struct Seat {
    pub world: Arc<World>,
    pub pid: Pid,
}

enum Gate {
    Open,
    Dead,
    Until(Duration),
}

impl State {
    pub fn wall(&self) -> Timestamp {
        Timestamp::from_millis(EPOCH + self.now.as_millis() as i64)
    }

    pub fn note(&mut self, line: impl AsRef<str>) {
        if !self.tracing {
            return;
        }
        self.trace.push(format!(
            "{:>4}.{:03} {}",
            self.now.as_secs(),
            self.now.subsec_millis(),
            line.as_ref()
        ));
    }

    /// A new process in `slot`, with clocks of its own.
    pub fn boot(&mut self, slot: usize) -> Pid {
        let pid = self.procs.len();
        let skew = self.skew.as_millis() as i64;
        let proc = Proc {
            slot,
            alive: true,
            died: None,
            paused_until: Duration::ZERO,
            table_deaf_until: Duration::ZERO,
            table_mute_until: Duration::ZERO,
            blind_until: Duration::ZERO,
            troubled: Duration::ZERO,
            points: 0,
            crash_at: None,
            idle_loop: (Duration::ZERO, 0),
            ppm: self.rng.i64(-1_000..=1_000),
            clock_offset: Duration::from_millis(self.rng.u64(0..1_000_000)),
            skew_millis: self.rng.i64(-skew..=skew),
            rng_seed: self.rng.u64(..),
            tables: self.tables_of(slot),
        };
        self.procs.push(proc);
        self.model.booted();
        self.note(format!("p{pid} boot in slot {slot}"));
        pid
    }

    pub fn living(&self, slot: usize) -> Option<Pid> {
        (0..self.procs.len())
            .rev()
            .find(|&p| self.procs[p].slot == slot && self.procs[p].alive)
    }

    pub fn kill(&mut self, pid: Pid, how: &str) {
        self.procs[pid].alive = false;
        self.procs[pid].died = Some(self.now);
        self.note(format!("p{pid} {how} after {} points", self.procs[pid].points));
    }

    fn gate(&self, pid: Pid) -> Gate {
        let p = &self.procs[pid];
        match p {
            _ if !p.alive => Gate::Dead,
            _ if p.paused_until > self.now => Gate::Until(p.paused_until),
            _ => Gate::Open,
        }
    }

    /// Counts a point; true if the process dies here.
    fn pass(&mut self, pid: Pid) -> bool {
        let now = self.now;
        let p = &mut self.procs[pid];
        p.points += 1;
        p.idle_loop = if p.idle_loop.0 == now {
            (now, p.idle_loop.1 + 1)
        } else {
            (now, 0)
        };
        assert!(
            p.idle_loop.1 < 100_000,
            "p{pid} goes round without sleeping at {now:?}"
        );
        p.crash_at.is_some_and(|at| p.points >= at)
    }

    fn fate(&mut self, service: Service, pid: Pid) -> Fate {
        let quick = Duration::from_millis(self.rng.u64(1..30));
        if service == Service::Logs {
            if self.now < self.sink_down_until {
                return if self.rng.u8(0..4) == 0 {
                    Fate::RequestLost {
                        after: Duration::from_millis(self.rng.u64(100..5_000)),
                    }
                } else {
                    Fate::Unavailable { after: quick }
                };
            }
            if self.now < self.sink_denied_until {
                return Fate::Denied { after: quick };
            }
        }
        if service == Service::Streams && self.now < self.source_denied_until {
            return Fate::Denied { after: quick };
        }
        if service == Service::Table {
            if self.now < self.procs[pid].table_deaf_until {
                return Fate::Silent { out: None };
            }
            if self.now < self.procs[pid].table_mute_until {
                return Fate::Silent { out: Some(quick) };
            }
            let (until, share) = self.table_throttled;
            if self.now < until && self.rng.u32(0..10_000) < share {
                return Fate::Throttled { after: quick };
            }
        }
        self.faults.fate(service, &mut self.rng)
    }
}

impl World {
    pub fn new(seed: u64) -> Arc<Self> {
        let mut rng = Rng::with_seed(seed);
        let streams = Streams::new(&mut rng);
        Arc::new(Self {
            started: Instant::now(),
            crashed: Notify::new(),
            state: Mutex::new(State {
                now: Duration::ZERO,
                rng,
                faults: Faults::none(),
                procs: Vec::new(),
                streams,
                table: Table::default(),
                logs: Logs::default(),
                model: Model::default(),
                trace: Vec::new(),
                sink_down_until: Duration::ZERO,
                sink_denied_until: Duration::ZERO,
                source_denied_until: Duration::ZERO,
                leases_silent_until: Duration::ZERO,
                rows_take: Duration::ZERO,
                listings_take: Duration::ZERO,
                letters_refused: false,
                panic_in_read: false,
                panic_in_put: false,
                settings: Settings::default(),
                keys: Keys::Weir,
                runs: BTreeMap::new(),
                table_throttled: (Duration::ZERO, 0),
                cost: Cost::default(),
                page: None,
                skew: Duration::from_secs(300),
                tracing: true,
                metrics: BTreeMap::new(),
                reports: BTreeMap::new(),
                ends: BTreeMap::new(),
            }),
        })
    }

    /// The only door to the state.
    pub fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        // A panic inside (an assertion of the simulation) must be reported as itself, not as a poisoned lock.
        let mut state = self.state.lock().unwrap_or_else(|p| p.into_inner());
        state.now = self.started.elapsed();
        f(&mut state)
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub async fn until(&self, t: Duration) {
        sleep_until(self.started + t).await;
    }

    pub async fn pass_time(&self, d: Duration) {
        sleep_until(Instant::now() + d).await;
    }
}

impl Seat {
    /// An await point: waits while the process is paused, and for ever once it is dead.
    pub async fn point(&self) {
        loop {
            let gate = self.world.with(|s| match s.gate(self.pid) {
                Gate::Open if s.pass(self.pid) => {
                    s.kill(self.pid, "crash");
                    self.world.crashed.notify_waiters();
                    Gate::Dead
                }
                gate => gate,
            });
            match gate {
                Gate::Open => return,
                Gate::Dead => pending().await,
                // In steps, since a pause may be cut short.
                Gate::Until(t) => {
                    let step = self.world.elapsed() + Duration::from_secs(1);
                    self.world.until(t.min(step)).await;
                }
            }
        }
    }

    /// One request. `apply` runs in the world, not in the caller: once the request is out, a caller that
    /// is dropped, paused or dead changes nothing about it.
    pub async fn call<T: Send + 'static>(
        &self,
        service: Service,
        what: &str,
        apply: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        self.point().await;
        let fate = self.world.with(|s| {
            let fate = s.fate(service, self.pid);
            if !fate.is_plain() {
                s.procs[self.pid].troubled = s.now;
                s.note(format!("p{} {what}: {fate:?}", self.pid));
            }
            fate
        });
        let (out, back, after) = match fate {
            Fate::Answer { out, back } => (out, back, Ok(())),
            Fate::ReplyLost { out, after } => (out, after, Err(Failure::Unanswered)),
            Fate::Silent { out } => {
                if let Some(out) = out {
                    self.send(out, apply);
                }
                return pending().await;
            }
            Fate::Throttled { after } => return self.fail(after, Failure::Throttled).await,
            Fate::Unavailable { after } => return self.fail(after, Failure::Unavailable).await,
            Fate::Denied { after } => return self.fail(after, Failure::Denied).await,
            Fate::RequestLost { after } => return self.fail(after, Failure::Unanswered).await,
        };
        let reply = self.send(out, apply);
        let answer = reply.await.map_err(|_| Failure::Unanswered)?;
        // Applied, and the answer is on its way.
        self.point().await;
        self.world.pass_time(back).await;
        self.point().await;
        after.map(|()| answer)
    }

    fn send<T: Send + 'static>(
        &self,
        out: Duration,
        apply: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (tx, rx) = oneshot::channel();
        let world = self.world.clone();
        // Detached on purpose: see above. The runtime of the test ends it.
        tokio::spawn(async move {
            world.pass_time(out).await;
            let _nobody_waits = tx.send(world.with(apply));
        });
        rx
    }

    async fn fail<T>(&self, after: Duration, why: Failure) -> Result<T, Failure> {
        self.world.pass_time(after).await;
        self.point().await;
        Err(why)
    }

    /// Runs an adapter's own time-out: `None` when it expired.
    pub async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.world.pass_time(limit) => { self.point().await; None }
        }
    }
}

/// The last lines of a trace, for a failure's report.
pub fn tail(trace: &[String], n: usize) -> String {
    let last: VecDeque<&str> = trace.iter().rev().take(n).map(String::as_str).collect();
    last.into_iter().rev().collect::<Vec<_>>().join("\n")
}
