//! Starts, stops, kills and restarts workers, as a cluster's node would.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::world::{Pid, Seat, World};

/// What a process runs: it gets its seat, and a flag that rises when it shall stop.
pub type Program = Arc<
    dyn Fn(Seat, watch::Receiver<bool>) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>>
        + Send
        + Sync,
>;

/// A place where one process at a time runs.
pub struct Slot {
    number: usize,
    world: Arc<World>,
    /// Whether a process shall run here.
    wanted: watch::Sender<bool>,
    keeper: JoinHandle<()>,
}

impl Slot {
    /// A slot that keeps a process running: one that ended or died comes back within `back`.
    pub fn start(world: &Arc<World>, number: usize, program: &Program, back: Duration) -> Self {
        Self::new(world, number, program, back, true)
    }

    /// The same; a slot that is not `wanted` yet stays empty until `resume`.
    pub fn new(world: &Arc<World>, number: usize, program: &Program, back: Duration, wanted: bool) -> Self {
        let (wanted, shall_run) = watch::channel(wanted);
        let keeper = tokio::spawn(keep(world.clone(), number, program.clone(), shall_run, back));
        Self {
            number,
            world: world.clone(),
            wanted,
            keeper,
        }
    }

    /// Sends SIGTERM; no new process starts here until `resume`.
    pub fn stop(&self) {
        self.world
            .with(|s| s.note(format!("SIGTERM to slot {}", self.number)));
        self.wanted.send_replace(false);
    }

    pub fn resume(&self) {
        self.wanted.send_replace(true);
    }

    /// Waits until no process lives here.
    pub async fn gone(&self) {
        while self.pid().is_some() {
            self.world.pass_time(Duration::from_millis(100)).await;
        }
    }

    pub fn is_wanted(&self) -> bool {
        *self.wanted.borrow()
    }

    pub fn pid(&self) -> Option<Pid> {
        self.world.with(|s| s.living(self.number))
    }

    /// kill -9, at the `n`-th await point from now.
    pub fn crash_after(&self, points: u64) {
        let number = self.number;
        self.world.with(|s| {
            if let Some(pid) = s.living(number) {
                s.procs[pid].crash_at = Some(s.procs[pid].points + points);
            }
        });
    }

    /// SIGSTOP, and SIGCONT after `d`.
    pub fn pause(&self, d: Duration) {
        let number = self.number;
        self.world.with(|s| {
            if let Some(pid) = s.living(number) {
                let until = s.now + d;
                s.procs[pid].paused_until = until;
                s.procs[pid].troubled = until;
                s.note(format!("p{pid} paused until {until:?}"));
            }
        });
    }

    /// Cuts the process off from the table for `d`: its requests, or only the answers.
    pub fn partition(&self, d: Duration, answers_only: bool) {
        let number = self.number;
        self.world.with(|s| {
            if let Some(pid) = s.living(number) {
                let until = s.now + d;
                let p = &mut s.procs[pid];
                *(if answers_only {
                    &mut p.table_mute_until
                } else {
                    &mut p.table_deaf_until
                }) = until;
                s.note(format!(
                    "p{pid} cut off from the table until {until:?}, answers only: {answers_only}"
                ));
            }
        });
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

async fn keep(
    world: Arc<World>,
    slot: usize,
    program: Program,
    mut wanted: watch::Receiver<bool>,
    back: Duration,
) {
    loop {
        if wanted.wait_for(|w| *w).await.is_err() {
            return;
        }
        let pid = world.with(|s| s.boot(slot));
        let (stop, told) = watch::channel(false);
        let mut stopping = false;
        let mut life = tokio::spawn(program(
            Seat {
                world: world.clone(),
                pid,
            },
            told,
        ));
        loop {
            // Safe to cancel: each branch only waits.
            tokio::select! {
                biased;
                end = &mut life => {
                    ended(&world, pid, end, stopping);
                    break;
                }
                () = world.crashed.notified() => {
                    if world.with(|s| !s.procs[pid].alive) {
                        life.abort();
                        let _cancelled = life.await;
                        break;
                    }
                }
                () = unwanted(&mut wanted), if !stopping => {
                    stopping = true;
                    stop.send_replace(true);
                }
            }
        }
        let pause = world.with(|s| back.mul_f64(s.rng.f64()));
        world.pass_time(pause).await;
    }
}

async fn unwanted(wanted: &mut watch::Receiver<bool>) {
    // A closed channel is the slot being dropped, which aborts the keeper anyway.
    let _slot_is_there = wanted.wait_for(|w| !*w).await;
}

/// Whether something went wrong for it of late, so that its drain may be incomplete: it was fenced, or its
/// records were not taken.
fn troubled(world: &World, pid: Pid) -> bool {
    world.with(|s| s.now <= s.procs[pid].troubled + Duration::from_secs(12))
}

/// A process's own end: after SIGTERM it is an Ok, and otherwise there is none.
fn ended(world: &World, pid: Pid, end: Result<Result<(), String>, tokio::task::JoinError>, stopping: bool) {
    let how = match end {
        Ok(Ok(())) if stopping => Ok("drained".to_owned()),
        Ok(Ok(())) => Err("ended, though nobody asked it to".to_owned()),
        Ok(Err(died)) if stopping && died.contains("drain was not complete") && troubled(world, pid) => {
            Ok(format!("died: {died}"))
        }
        Ok(Err(died)) => Err(format!("died: {died}")),
        Err(panic) => Err(format!("panicked: {panic}")),
    };
    world.with(|s| match how {
        Ok(how) => s.kill(pid, &how),
        Err(how) => {
            s.kill(pid, &how);
            let now = s.now;
            s.model.broken(now, format!("p{pid} {how}"));
        }
    });
}
