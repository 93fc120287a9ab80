//! The story that each fault is told in: a stream of three shards, one of which splits in the midst.

use std::time::Duration;

use crate::inject::Rule;
use crate::judge::{Account, Fates};
use crate::records::Kind;
use crate::server::State;
use crate::until;
use crate::weir::Weir;
use crate::world::{GROUP, Numbers, PATIENCE, Pace, Settings, World, balanced, problems};

/// Records of each shard before Weir starts.
pub const BEFORE: usize = 40;
/// And while it runs, one for each open shard at a time; halfway the first shard splits.
const STEPS: usize = 60;
const STEP: Duration = Duration::from_millis(40);
/// As a rule.
pub const SHARDS: u128 = 3;
/// The shard that poison goes to, and the one that a fault may strike alone. Neither splits.
pub const POISONED: usize = 1;
const ALONE: usize = 2;

const MAYBE: &str = "weir_events_possibly_repeated_total";

/// How often an event may be in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    Never,
    /// At most as often as Weir says itself: `weir_events_possibly_repeated_total`.
    Counted,
    /// At most what no checkpoint covered when the process died.
    SinceCheckpoint,
}

/// What the test does besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// It watches.
    None,
    /// Once /readyz tells of it, and all that is not struck is delivered, the fault is cured.
    CureWhenTold(&'static str),
    /// Nothing of the pipeline is delivered. Once /readyz tells of it, and the other pipeline has delivered all, the
    /// fault is cured.
    CureWhenCopied(&'static str),
    /// Nothing is delivered. Once /readyz tells of it, before the story begins, the fault is cured.
    CureFirst(&'static str),
    /// Once the worker fenced itself, the fault is cured.
    CureWhenFenced,
    /// `kill -9` in the midst, and another life.
    Kill,
    /// Iterators expire, twice.
    Expire,
    /// The service trims records of one shard that could not be read, and can then be read again.
    Trim,
    /// Somebody deletes the log group.
    DeleteGroup,
    /// The children of the first split merge.
    Merge,
    /// `kill -9` in the midst; before the next life the service trims a shard beyond its checkpoint.
    KillAndTrim,
    /// A shard that could not be read is gone, with what was not read.
    Vanish,
    /// SIGTERM while puts fail; the fault is cured after the end, and another life goes on.
    StopInOutage,
}

/// One fault, and what it may cost.
pub struct Story {
    pub name: &'static str,
    /// Its pace is the script's.
    pub settings: Settings,
    pub shards: u128,
    pub rules: Vec<Rule>,
    pub poison: Vec<Kind>,
    /// What becomes of each kind with these settings.
    pub fates: Fates,
    pub prepare: fn(&mut State),
    /// What else the cure is.
    pub cure: fn(&mut State),
    /// What else must be true in the end.
    pub after: fn(&State),
    pub script: Script,
    pub repeats: Repeats,
    /// Series of /metrics that must have counted something.
    pub counts: Vec<&'static str>,
    /// Not each of its rules need strike.
    pub by_chance: bool,
}

/// What is to be said of a row.
pub struct Told {
    pub name: &'static str,
    pub account: Account,
}

impl Script {
    fn pace(self) -> Pace {
        match self {
            // A death is noticed after the time of a lease.
            Self::Kill | Self::KillAndTrim | Self::CureWhenFenced => Pace { lease: 3, drain: 20 },
            Self::StopInOutage => Pace { lease: 10, drain: 4 },
            _ => Pace::default(),
        }
    }
}

impl Story {
    /// Records, a split, and what the script wants, while Weir runs; and its end.
    pub async fn run(self) -> Told {
        let settings = Settings {
            pace: self.script.pace(),
            ..self.settings.clone()
        };
        let mut world = World::new(&settings, self.fates, self.shards).await;
        (self.prepare)(&mut world.aws.state());
        world.inject(self.rules.clone());
        for _ in 0..BEFORE {
            world.append_everywhere(Kind::Good);
        }
        let mut weir = world.start().await;
        if let Script::CureFirst(text) = self.script {
            self.told(&mut weir, text, || true).await;
            self.lift(&world);
        }
        weir.first_delivery().await;
        let mut exposed = 0;
        for step in 0..STEPS {
            world.append_everywhere(Kind::Good);
            if step == STEPS / 3 {
                for kind in &self.poison {
                    world.append(POISONED, *kind);
                    world.append(POISONED, Kind::Good);
                }
            }
            if step == STEPS / 2 {
                weir = self.middle(&mut world, weir, &mut exposed).await;
            }
            tokio::time::sleep(STEP).await;
        }
        let mut weir = self.end(&mut world, weir).await;

        let account = world.settle(&mut weir, PATIENCE).await;
        let lost = account.lost.first();
        assert!(
            account.is_settled(),
            "{} lost, the first {lost:?}",
            account.lost.len()
        );
        until("the problems to be solved", Duration::from_secs(30), async || {
            problems(&weir).await.is_empty()
        })
        .await;
        for series in &self.counts {
            until(series, Duration::from_secs(30), async || {
                let numbers = Numbers::of(&weir).await;
                numbers.is_some_and(|numbers| numbers.sum(series) > 0.0)
            })
            .await;
        }
        let numbers = balanced(&mut weir).await;
        weir.terminate();
        let status = weir.ended().await;
        assert_eq!(status.code(), Some(0), "a completed drain: {status}");

        // Nothing more may come, and what is there is judged again.
        let account = world.account();
        self.check(&world, &account, &numbers, exposed);
        Told {
            name: self.name,
            account,
        }
    }

    /// Waits until /readyz tells of the fault, and what it does not strike goes on.
    async fn told(&self, weir: &mut Weir, text: &str, others_go_on: impl Fn() -> bool) {
        let what = "the problem to be told, and the others to go on";
        until(what, Duration::from_secs(60), async || {
            weir.must_live();
            problems(weir).await.contains(text) && others_go_on()
        })
        .await;
    }

    fn lift(&self, world: &World) {
        let mut state = world.aws.state();
        state.rules.lift();
        (self.cure)(&mut state);
    }

    /// Halfway through the story. `exposed`: what a death now leaves to be repeated.
    async fn middle(&self, world: &mut World, mut weir: Weir, exposed: &mut usize) -> Weir {
        {
            let mut state = world.aws.state();
            // A listing may have split it already.
            if state.stream.shards.len() as u128 == self.shards && !state.stream.splits_in_listing {
                state.stream.split(0);
            }
        }
        match self.script {
            Script::Kill | Script::KillAndTrim => {
                until(
                    "a checkpoint of each first shard",
                    Duration::from_secs(30),
                    async || {
                        weir.must_live();
                        (0..self.shards as usize).all(|shard| world.checkpoint(shard).is_some())
                    },
                )
                .await;
                // What this life put twice, its successor doesn't count.
                let numbers = Numbers::of(&weir).await.expect("the metrics of a life");
                let repeated = numbers.sum(MAYBE) as usize;
                weir.kill_nine();
                // What it had sent may still be carried out; its successor owns no lease before that.
                tokio::time::sleep(Duration::from_millis(300)).await;
                *exposed = world.exposed() + repeated;
                if self.script == Script::KillAndTrim {
                    for _ in 0..30 {
                        world.append_everywhere(Kind::Good);
                    }
                    let mut state = world.aws.state();
                    let records = state.stream.shards[ALONE].records.len();
                    state.stream.trim(ALONE, records - 10);
                }
                return world.start().await;
            }
            Script::DeleteGroup => assert!(world.aws.state().logs.delete_group(GROUP)),
            Script::Expire => world.aws.state().stream.expire_iterators(),
            _ => {}
        }
        weir
    }

    /// When all records are written.
    async fn end(&self, world: &mut World, mut weir: Weir) -> Weir {
        let struck = [ALONE, POISONED].map(|shard| world.aws.state().stream.shards[shard].id.clone());
        let others_settled = || {
            let account = world.account();
            account.lost.iter().all(|unit| struck.contains(&unit.shard))
        };
        match self.script {
            Script::CureWhenTold(text) => {
                self.told(&mut weir, text, others_settled).await;
                self.lift(world);
            }
            Script::CureWhenCopied(text) => {
                let copied = || Account::of_copies(&world.aws.state()).is_settled();
                self.told(&mut weir, text, copied).await;
                self.lift(world);
            }
            Script::CureWhenFenced => {
                until("the fence", Duration::from_secs(60), async || {
                    weir.must_live();
                    let numbers = Numbers::of(&weir).await;
                    numbers.is_some_and(|numbers| numbers.sum("weir_fences_total") > 0.0)
                })
                .await;
                self.lift(world);
            }
            Script::Trim => {
                let mut state = world.aws.state();
                // More than the one read that passed gave.
                state.stream.trim(ALONE, BEFORE + STEPS / 2);
                state.rules.lift();
            }
            Script::Expire => world.aws.state().stream.expire_iterators(),
            Script::Merge => {
                {
                    let mut state = world.aws.state();
                    let children = state.stream.shards.len() - 2;
                    state.stream.merge(children, children + 1);
                }
                for _ in 0..10 {
                    world.append_everywhere(Kind::Envelope);
                }
            }
            Script::Vanish => {
                let mut state = world.aws.state();
                state.stream.forget(ALONE);
                state.rules.lift();
            }
            Script::StopInOutage => {
                weir.terminate();
                let status = weir.ended().await;
                assert_eq!(status.code(), Some(1), "a drain that hit its limit: {status}");
                self.lift(world);
                return world.start().await;
            }
            Script::None
            | Script::Kill
            | Script::KillAndTrim
            | Script::DeleteGroup
            | Script::CureFirst(_) => {}
        }
        weir
    }

    fn check(&self, world: &World, account: &Account, numbers: &Numbers, exposed: usize) {
        assert!(account.is_settled(), "lost: {:?}", account.lost);
        assert!(account.wrong.is_empty(), "{:#?}", account.wrong);
        let complaints = world.complaints();
        assert!(complaints.is_empty(), "{complaints:#?}");
        let indiscretions = world.indiscretions();
        assert!(indiscretions.is_empty(), "{indiscretions:#?}");
        world.drained().unwrap();
        let repeated = account.repeats as f64;
        let possible = numbers.sum(MAYBE);
        let bound = match self.repeats {
            Repeats::Never => 0.0,
            Repeats::Counted => possible,
            Repeats::SinceCheckpoint => exposed as f64 + possible,
        };
        // A busy machine may fence a worker that no fault meant.
        let fenced = numbers.sum("weir_fences_total") > 0.0;
        let given_back = numbers.sum("weir_records_given_back_total");
        let bound = bound + if fenced { given_back } else { 0.0 };
        assert!(
            repeated <= bound,
            "{repeated} repeats, where {bound} are explained"
        );
        let trims = matches!(self.script, Script::Trim | Script::KillAndTrim | Script::Vanish);
        let gaps = usize::from(trims);
        assert_eq!(world.gaps(), gaps, "gaps that were written down");
        assert_eq!(account.trimmed > 0, gaps > 0, "records that were trimmed");
        (self.after)(&world.aws.state());
        for rule in &world.aws.state().rules.0 {
            assert!(rule.struck > 0 || self.by_chance, "never struck: {rule:?}");
        }
    }
}
