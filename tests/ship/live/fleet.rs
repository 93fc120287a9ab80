//! What controller and node agent do with containers: start, ask, roll, scale, stop.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use super::cloud::Cloud;
use super::container::{Container, Task};
use crate::emulator::free_address;
use crate::weir::Weir;

/// What the platform makes containers of.
pub trait Revision {
    /// The container of a task or pod.
    fn container(&self) -> Container;
    fn rollout(&self, wanted: usize) -> Rollout;
    /// How many there are to be. `None`: it is somebody else's to decide.
    fn wanted(&self) -> Option<usize>;
}

/// How old tasks make way for new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// So many tasks more than wanted may run meanwhile.
    pub surge: usize,
    /// So many of those wanted may be missing meanwhile.
    pub unavailable: usize,
    /// A new one counts as healthy after it was so for this long.
    pub settle: Duration,
    /// The old ones stay until all new ones are healthy, and stop at the same time.
    pub together: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Start,
    /// The oldest of the old ones.
    Stop,
    /// All old ones.
    StopAll,
    /// The newest one: there are too many.
    Shrink,
    Wait,
    Done,
}

/// The tasks that run and are to go on.
#[derive(Clone, Copy, Debug)]
struct Count {
    wanted: usize,
    old: usize,
    new: usize,
    healthy_old: usize,
    healthy_new: usize,
}

/// What a controller does next. Tasks that are ending count no more: neither platform waits for them.
fn next(count: Count, rollout: Rollout) -> Step {
    let Count { wanted, old, new, .. } = count;
    if new > wanted {
        return Step::Shrink;
    }
    if new < wanted && old + new < wanted + rollout.surge {
        return Step::Start;
    }
    let enough = count.healthy_old + count.healthy_new + rollout.unavailable > wanted;
    match (old > 0, rollout.together) {
        (true, true) if count.healthy_new == wanted => Step::StopAll,
        (true, false) if enough => Step::Stop,
        (false, _) if count.healthy_new == wanted => Step::Done,
        _ => Step::Wait,
    }
}

#[test]
fn new_tasks_come_before_old_ones_go() {
    let kubernetes = Rollout {
        surge: 1,
        unavailable: 0,
        settle: Duration::ZERO,
        together: false,
    };
    let ecs = Rollout {
        surge: 2,
        unavailable: 0,
        settle: Duration::ZERO,
        together: true,
    };
    // Of two that are wanted: the old ones and the new ones, all and those that are healthy.
    let cases = [
        ((2, 2), (0, 0), Step::Start, Step::Start),
        ((2, 2), (1, 0), Step::Wait, Step::Start),
        ((2, 2), (1, 1), Step::Stop, Step::Start),
        ((2, 2), (2, 1), Step::Stop, Step::Wait),
        ((2, 2), (2, 2), Step::Stop, Step::StopAll),
        ((1, 1), (1, 1), Step::Start, Step::Start),
        ((1, 1), (2, 1), Step::Wait, Step::Wait),
        ((0, 0), (2, 1), Step::Wait, Step::Wait),
        ((0, 0), (2, 2), Step::Done, Step::Done),
        ((0, 0), (3, 3), Step::Shrink, Step::Shrink),
    ];
    for ((old, healthy_old), (new, healthy_new), by_kubernetes, by_ecs) in cases {
        let count = Count {
            wanted: 2,
            old,
            new,
            healthy_old,
            healthy_new,
        };
        assert_eq!(next(count, kubernetes), by_kubernetes, "{count:?}");
        assert_eq!(next(count, ecs), by_ecs, "{count:?}");
    }
}

/// A task that is wanted.
struct Member {
    task: Task,
    revision: usize,
    /// Since when.
    healthy: Option<Instant>,
}

/// A task that was asked to end.
struct Ending {
    task: Task,
    since: Instant,
}

pub struct Fleet<'c, R> {
    cloud: &'c Cloud,
    revision: R,
    /// How many revisions there were.
    revisions: usize,
    wanted: usize,
    started: usize,
    /// From the oldest on.
    members: Vec<Member>,
    ending: Vec<Ending>,
    /// How long each took from SIGTERM to its end.
    drains: Vec<Duration>,
}

impl<'c, R: Revision> Fleet<'c, R> {
    /// Deploys the first revision.
    pub async fn deploy(cloud: &'c Cloud, revision: R) -> Self {
        let mut fleet = Self {
            cloud,
            wanted: revision.wanted().expect("a first revision says how many"),
            revision,
            revisions: 0,
            started: 0,
            members: Vec::new(),
            ending: Vec::new(),
            drains: Vec::new(),
        };
        fleet.settled("the first deploy").await;
        fleet
    }

    /// Replaces every task by one of this revision.
    pub async fn roll(&mut self, revision: R, what: &str) {
        self.wanted = revision.wanted().unwrap_or(self.wanted);
        self.revision = revision;
        self.revisions += 1;
        self.settled(what).await;
    }

    /// So many are wanted from now on.
    pub async fn scale(&mut self, wanted: usize) {
        self.wanted = wanted;
        self.settled(&format!("scaled to {wanted}")).await;
    }

    pub fn revision(&self) -> &R {
        &self.revision
    }

    /// One that runs.
    pub fn any(&self) -> &Weir {
        &self.members[0].task.weir
    }

    /// Asks all to end, and waits until they have.
    pub async fn end(mut self) {
        while !self.members.is_empty() {
            self.stop(0);
        }
        while !self.ending.is_empty() {
            self.reap();
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until all tasks that are wanted are of this revision and healthy, and the others gone.
    async fn settled(&mut self, what: &str) {
        let began = Instant::now();
        let (drains, started) = (self.drains.len(), self.started);
        loop {
            assert!(began.elapsed() < PATIENCE, "{what} hangs");
            self.reap();
            for member in &mut self.members {
                member.task.weir.must_live();
                if member.healthy.is_none() && member.task.is_healthy(self.cloud).await {
                    member.healthy = Some(Instant::now());
                }
            }
            match next(self.count(), self.revision.rollout(self.wanted)) {
                Step::Start => self.start(),
                Step::Stop => self.stop(0),
                Step::Shrink => self.stop(self.members.len() - 1),
                Step::StopAll => {
                    while self.count().old > 0 {
                        self.stop(0);
                    }
                }
                Step::Done if self.ending.is_empty() => break,
                Step::Wait | Step::Done => tokio::time::sleep(POLL).await,
            }
        }
        println!(
            "{what}: {} tasks after {:.1} s; {} started; drained within (s) {:.1?}",
            self.members.len(),
            began.elapsed().as_secs_f64(),
            self.started - started,
            self.drains[drains..]
                .iter()
                .map(Duration::as_secs_f64)
                .collect::<Vec<_>>()
        );
    }

    fn count(&self) -> Count {
        let settle = self.revision.rollout(self.wanted).settle;
        let of = |new: bool, healthy: bool| {
            let is_healthy = |m: &Member| m.healthy.is_some_and(|since| since.elapsed() >= settle);
            let counts = |m: &&Member| (m.revision == self.revisions) == new && (!healthy || is_healthy(m));
            self.members.iter().filter(counts).count()
        };
        Count {
            wanted: self.wanted,
            old: of(false, false),
            new: of(true, false),
            healthy_old: of(false, true),
            healthy_new: of(true, true),
        }
    }

    fn start(&mut self) {
        self.started += 1;
        let name = name(self.started);
        let container = self.revision.container();
        self.members.push(Member {
            task: container.start(self.cloud, free_address(), &name),
            revision: self.revisions,
            healthy: None,
        });
    }

    fn stop(&mut self, member: usize) {
        let Member { task, .. } = self.members.remove(member);
        task.weir.terminate();
        self.ending.push(Ending {
            task,
            since: Instant::now(),
        });
    }

    /// Says goodbye to those that have ended; each must have ended by itself, before the platform kills it.
    fn reap(&mut self) {
        for mut ending in std::mem::take(&mut self.ending) {
            let lasted = ending.since.elapsed();
            let Some(status) = ending.task.weir.exited() else {
                let grace = ending.task.container.grace;
                assert!(
                    lasted < grace,
                    "the grace period of {grace:?} is over: it would be killed"
                );
                self.ending.push(ending);
                continue;
            };
            assert_eq!(
                (status.code(), status.signal()),
                (Some(0), None),
                "a complete drain"
            );
            self.drains.push(lasted);
        }
    }
}

const POLL: Duration = Duration::from_millis(50);
/// Whoever needs longer for a deploy hangs.
const PATIENCE: Duration = Duration::from_secs(180);

fn name(n: usize) -> String {
    format!("{n:02}")
}
