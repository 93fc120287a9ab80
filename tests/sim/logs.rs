//! The fake CloudWatch Logs: groups and streams that must exist, PutLogEvents' rules to the byte, and
//! GetLogEvents, which shows the newest events late.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use weir::clock::Timestamp;
use weir::logs::group::{GroupFound, GroupSettings};
use weir::logs::{Accepted, EventPage, LogDestination, LogEvent, LogSink, PageToken, SinkError};

use crate::faults::Service;
use crate::streams::Kind;
use crate::world::{Failure, Seat, State};

const HOUR: i64 = 3_600_000;
/// The adapter's own time-out of a creation.
const REQUEST: Duration = Duration::from_secs(10);

#[derive(Default)]
pub struct Logs {
    groups: BTreeSet<String>,
    /// With the time from which puts know it.
    streams: BTreeMap<LogDestination, Duration>,
    pub puts: usize,
    pub accepted: BTreeMap<LogDestination, usize>,
    /// In the order in which they came, each with the time from which reads show it.
    events: BTreeMap<LogDestination, Vec<(Duration, LogEvent)>>,
    pub reads: usize,
    /// Reads fail so, and nothing else does.
    pub reads_fail: Option<Failure>,
}

pub struct SimLogs {
    pub seat: Seat,
}

fn failure(f: Failure) -> SinkError {
    match f {
        Failure::Throttled => SinkError::Throttled("the world is busy".into()),
        Failure::Unavailable => SinkError::Unavailable("the world refused".into()),
        Failure::Unanswered => SinkError::Unanswered("the world fell silent".into()),
        Failure::Denied => SinkError::Denied("the world forbids it".into()),
    }
}

/// What is wrong with a put as such; a correct writer never sends one (reference of PutLogEvents).
fn rules(events: &[LogEvent], now: Timestamp) -> Result<(), String> {
    let bytes: usize = events.iter().map(|e| e.message.len() + 26).sum();
    let within = |e: &&LogEvent| {
        let age = now.millis() - e.timestamp.millis();
        (-2 * HOUR..=14 * 24 * HOUR).contains(&age)
    };
    let mut valid = events.iter().filter(within).map(|e| e.timestamp.millis());
    let first = valid.next();
    let last = valid.next_back().or(first);
    match () {
        () if events.is_empty() => Err("no events".into()),
        () if events.len() > 10_000 => Err(format!("{} events", events.len())),
        () if events.iter().any(|e| e.message.len() > 1_048_576 - 26) => Err("an event too large".into()),
        () if bytes > 1_048_576 => Err(format!("{bytes} bytes")),
        () if !events.is_sorted_by_key(|e| e.timestamp) => Err("not in order of time".into()),
        () if last.zip(first).is_some_and(|(l, f)| l - f > 24 * HOUR) => Err("more than 24 hours".into()),
        () if events.iter().any(|e| e.message.is_empty()) => Err("an empty message".into()),
        () if events.iter().any(|e| e.timestamp.millis() < 0) => Err("a negative time".into()),
        () => Ok(()),
    }
}

fn apply(s: &mut State, pid: usize, to: &LogDestination, events: &[LogEvent]) -> Result<Accepted, SinkError> {
    if s.logs.streams.get(to).is_none_or(|&known| s.now < known) {
        return Err(SinkError::Missing(format!("{to} does not exist")));
    }
    if let Err(broken) = rules(events, s.wall()) {
        return Err(SinkError::Invalid(broken));
    }
    let poison = |e: &LogEvent| {
        // Its dead letter, another message, passes.
        let gid = s.streams.in_message(&e.message);
        !to.stream.contains("dead-letter") && gid.is_some_and(|g| s.streams.changes[g].kind == Kind::Poison)
    };
    if events.iter().any(poison) {
        return Err(SinkError::Invalid("an event the service can't stand".into()));
    }
    let now = s.wall().millis();
    let old = events
        .iter()
        .take_while(|e| now - e.timestamp.millis() > 14 * 24 * HOUR)
        .count();
    let young = events
        .iter()
        .take_while(|e| e.timestamp.millis() - now <= 2 * HOUR)
        .count();
    let accepted = Accepted {
        too_new_from: (young < events.len()).then_some(young),
        too_old_until: (old > 0).then_some(old),
        expired_until: None,
    };
    *s.logs.accepted.entry(to.clone()).or_default() += young - old;
    s.put_applied(pid, to, &events[old..young]);
    let visible_at = s.now + s.up_to(s.faults.visibility_delay);
    let stored = s.logs.events.entry(to.clone()).or_default();
    stored.extend(events[old..young].iter().map(|e| (visible_at, e.clone())));
    Ok(accepted)
}

/// What a token says: the place before which the page is, as (time, number of arrival), and how many
/// empty pages came before.
type Place = (Option<(i64, usize)>, usize);

fn place(token: &PageToken) -> Place {
    let parts: Vec<&str> = token.as_str().split('|').collect();
    let [time, number, empty] = parts[..] else {
        panic!("a made-up token: {token:?}")
    };
    let before = time.parse().ok().map(|time| (time, number.parse().unwrap()));
    (before, empty.parse().unwrap())
}

fn token((before, empty): Place) -> PageToken {
    PageToken::new(match before {
        Some((time, number)) => format!("{time}|{number}|{empty}"),
        None => format!("newest||{empty}"),
    })
}

/// One page back: whatever was put last may not be there yet, and a page may be empty without being the last.
fn page_back(
    s: &mut State,
    from: &LogDestination,
    since: Timestamp,
    token_given: Option<&PageToken>,
) -> Result<EventPage, SinkError> {
    if !s.logs.streams.contains_key(from) {
        return Err(SinkError::Missing(format!("{from} does not exist")));
    }
    let (before, empty) = token_given.map_or((None, 0), place);
    let most = match s.faults.on {
        true => [2, 50, 10_000][s.rng.usize(0..3)],
        false => 10_000,
    };
    if s.faults.chance(s.faults.empty_answer, &mut s.rng) {
        return Ok(EventPage {
            events: Vec::new(),
            before: Some(token((before, empty + 1))),
        });
    }
    let stored = s.logs.events.get(from).map_or(&[][..], Vec::as_slice);
    let places = stored.iter().enumerate();
    let mut places: Vec<(i64, usize)> = places
        .filter(|(_, (visible_at, event))| *visible_at <= s.now && event.timestamp >= since)
        .map(|(number, (_, event))| (event.timestamp.millis(), number))
        .filter(|place| before.is_none_or(|before| *place < before))
        .collect();
    places.sort_unstable();
    let mut bytes = 0;
    let mut page: Vec<(i64, usize)> = Vec::new();
    for &(time, number) in places.iter().rev().take(most) {
        bytes += stored[number].1.message.len() + 26;
        if bytes > 1 << 20 && !page.is_empty() {
            break;
        }
        page.push((time, number));
    }
    let reached = page.last().copied().or(before);
    let back = token((reached, empty));
    let events = page.iter().rev().map(|&(_, number)| stored[number].1.clone());
    Ok(EventPage {
        events: events.collect(),
        before: Some(back).filter(|back| Some(back) != token_given),
    })
}

impl State {
    /// A delay of up to `longest`, while there are faults.
    fn up_to(&mut self, longest: Duration) -> Duration {
        match self.faults.on {
            true => longest.mul_f64(self.rng.f64()),
            false => Duration::ZERO,
        }
    }
}

impl SimLogs {
    async fn ask<T: Send + 'static>(
        &self,
        what: &str,
        apply: impl FnOnce(&mut State) -> Result<T, SinkError> + Send + 'static,
    ) -> Result<T, SinkError> {
        match self
            .seat
            .within(REQUEST, self.seat.call(Service::Logs, what, apply))
            .await
        {
            Some(answer) => answer.map_err(failure)?,
            None => Err(SinkError::Unanswered("no answer in 10 s".into())),
        }
    }
}

#[async_trait]
impl LogSink for SimLogs {
    async fn put(
        &self,
        to: &LogDestination,
        events: &[LogEvent],
        within: Duration,
    ) -> Result<Accepted, SinkError> {
        let bug = self.seat.world.with(|s| s.panic_in_put);
        assert!(!bug, "a bug");
        if to.stream == "dead-letter" && self.seat.world.with(|s| s.letters_refused) {
            // As for a clock that is far ahead: accepted, and each event refused.
            self.seat.world.pass_time(Duration::from_millis(20)).await;
            return Ok(Accepted {
                too_new_from: Some(0),
                ..Accepted::default()
            });
        }
        let pid = self.seat.pid;
        let put = self.seat.world.with(|s| {
            if let Err(broken) = rules(events, s.wall()) {
                s.model
                    .broken(s.now, format!("p{pid} put to {to} against the rules: {broken}"));
            }
            s.put_begins(pid, events)
        });
        let what = format!("put {put} of {} to {}", events.len(), to.stream);
        let (to, sent, line) = (to.clone(), events.to_vec(), what.clone());
        let request = self.seat.call(Service::Logs, &what, move |s| {
            let answer = apply(s, pid, &to, &sent);
            match &answer {
                Ok(a) if *a == Accepted::default() => s.note(format!("p{pid} {line}: accepted")),
                other => s.note(format!("p{pid} {line}: {other:?}")),
            }
            answer
        });
        let answer = match self.seat.within(within, request).await {
            Some(answer) => answer.map_err(failure).and_then(|a| a),
            None => Err(SinkError::Unanswered(format!("no answer in {within:?}"))),
        };
        let accepted = answer.as_ref().ok().copied();
        self.seat.world.with(|s| s.put_answered(pid, events, accepted));
        answer
    }

    async fn create_group(&self, group: &str, _: &GroupSettings) -> Result<bool, SinkError> {
        let name = group.to_owned();
        self.ask("create_group", move |s| {
            s.note(format!("group {name}"));
            Ok(s.logs.groups.insert(name))
        })
        .await
    }

    async fn put_retention(&self, group: &str, _: u16) -> Result<(), SinkError> {
        let name = group.to_owned();
        self.ask("put_retention", move |s| match s.logs.groups.contains(&name) {
            true => Ok(()),
            false => Err(SinkError::Missing(name)),
        })
        .await
    }

    async fn describe_group(&self, group: &str) -> Result<GroupFound, SinkError> {
        let name = group.to_owned();
        self.ask("describe_group", move |s| match s.logs.groups.contains(&name) {
            true => Ok(GroupFound {
                arn: name,
                ..GroupFound::default()
            }),
            false => Err(SinkError::Missing(name)),
        })
        .await
    }

    async fn group_tags(&self, _: &str) -> Result<BTreeMap<String, String>, SinkError> {
        self.ask("group_tags", |_| Ok(BTreeMap::new())).await
    }

    async fn tag_group(&self, _: &str, _: &BTreeMap<String, String>) -> Result<(), SinkError> {
        self.ask("tag_group", |_| Ok(())).await
    }

    async fn associate_key(&self, _: &str, _: &str) -> Result<(), SinkError> {
        self.ask("associate_key", |_| Ok(())).await
    }

    async fn create_stream(&self, to: &LogDestination) -> Result<(), SinkError> {
        let to = to.clone();
        self.ask("create_stream", move |s| {
            if !s.logs.groups.contains(&to.group) {
                return Err(SinkError::Missing(format!("group {}", to.group)));
            }
            let known = s.now + s.up_to(s.faults.creation_delay);
            s.note(format!("log stream {to}"));
            s.logs.streams.entry(to).or_insert(known);
            Ok(())
        })
        .await
    }

    async fn read_back(
        &self,
        from: &LogDestination,
        since: Timestamp,
        before: Option<&PageToken>,
        within: Duration,
    ) -> Result<EventPage, SinkError> {
        let pid = self.seat.pid;
        let fails = self.seat.world.with(|s| {
            s.logs.reads += 1;
            s.logs.reads_fail
        });
        let (from, before) = (from.clone(), before.cloned());
        let request = self.seat.call(Service::Logs, "read_back", move |s| {
            let page = page_back(s, &from, since, before.as_ref())?;
            s.note(format!("p{pid} read_back {}: {}", from.stream, page.events.len()));
            s.shown(pid, &page.events);
            Ok(page)
        });
        let answer = match fails {
            Some(Failure::Unanswered) => self.seat.within(within, std::future::pending()).await,
            Some(fails) => Some(Err(fails)),
            None => self.seat.within(within, request).await,
        };
        match answer {
            Some(answer) => answer.map_err(failure)?,
            None => Err(SinkError::Unanswered(format!("no answer in {within:?}"))),
        }
    }
}
