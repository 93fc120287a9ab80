//! Whether a worker that ends by itself is done: everything that the streams held when it began is delivered.
//!
//! Pure. Owns the decision; [`super::until`] gathers the facts and acts.
//!
//! Done is who has read each of its shards to the tip, or to the end, has delivered what it had read by then, and sees
//! nothing that nobody reads. What other live workers hold is theirs. The drain that follows delivers and checkpoints what
//! was read since, or fails.
//!
//! What nobody sees yet is the danger: a listing may lack the newest shards, and a shard that it shows may have no lease
//! yet. So all that is listed must be leased, and a shard that ended may have children that are not listed yet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::Monotonic;
use crate::lease::{Checkpoint, Lease, LeaseKey};
use crate::status::reports::ShardReport;
use crate::stream::lineage::Waiting;
use crate::stream::{SequenceNumber, ShardId, StreamArn};

/// Shards that were born so long ago are listed: what ended by then without a child, or with one child, has no other.
const CHILD_PATIENCE: Duration = Duration::from_secs(60);

/// Which shards have been read to their tip, and delivered up to there.
#[derive(Debug, Default)]
pub struct Tips {
    seen: BTreeMap<LeaseKey, Tip>,
    /// Shards that were there so long before this worker began that those born with them are listed.
    old: BTreeSet<LeaseKey>,
}

#[derive(Clone, Debug)]
struct Tip {
    /// The last record that was read by then.
    position: Option<String>,
    delivered: bool,
}

impl Tips {
    /// Takes in the reports of all the shards that this worker has tasks for. What an earlier task of a shard had reached
    /// is forgotten: the one that came after it may stand far before that.
    pub fn watch(&mut self, reports: &BTreeMap<LeaseKey, ShardReport>) {
        let at_tip = |key: &LeaseKey| reports.get(key).is_some_and(|report| report.reached_tip);
        self.seen.retain(|key, _| at_tip(key));
        for (key, report) in reports.iter().filter(|(_, report)| report.reached_tip) {
            let tip = self.seen.entry(key.clone()).or_insert(Tip {
                position: report.position.clone(),
                delivered: false,
            });
            // A shard that is written to all the time has something in flight at each look: then it counts that the
            // checkpoint has passed what was read.
            let passed = || is_behind(tip.position.as_deref(), &report.checkpoint);
            tip.delivered = tip.delivered || report.in_flight == 0 || passed();
        }
        let old = reports
            .iter()
            .filter(|(_, report)| report.older_by.is_some_and(|by| by >= CHILD_PATIENCE))
            .map(|(key, _)| key);
        for key in old {
            if !self.old.contains(key) {
                self.old.insert(key.clone());
            }
        }
    }

    /// The shard was read to its tip by the last look: its children, if it has any by now, were born since.
    pub fn was_reached(&self, key: &LeaseKey) -> bool {
        self.seen.contains_key(key)
    }

    pub fn is_delivered(&self, key: &LeaseKey) -> bool {
        self.seen.get(key).is_some_and(|tip| tip.delivered)
    }
}

/// Whether the checkpoint lies behind the position. Of an aggregate that both are in that is not known.
fn is_behind(position: Option<&str>, checkpoint: &str) -> bool {
    let sequence = |text: &str| SequenceNumber::parse(text.split(':').next().unwrap_or_default());
    match (position.and_then(sequence), sequence(checkpoint)) {
        (Some(position), Some(checkpoint)) => checkpoint > position,
        _ => false,
    }
}

/// Who has a lease, by the last read of the leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Another worker, live and staying.
    Others,
    /// Nobody, this worker by the table alone, or somebody who may be gone soon.
    Open,
}

/// One pipeline, as this worker sees it.
#[derive(Debug)]
pub struct Knows<'a> {
    pub pipeline: &'a str,
    pub paused: bool,
    /// Its streams are known, and its leases were judged by them.
    pub judged: bool,
    /// It has no stream, and never had one that is still there: why.
    pub no_stream: Option<&'a str>,
    /// Its newest stream, if that takes changes.
    pub growing: Option<&'a StreamArn>,
    /// Its leases with who has them, and why those that may not be read may not.
    pub leases: Vec<(&'a Lease, Whose, Option<&'a Waiting>)>,
    /// Its leases that this worker has a task for, or is about to take.
    pub own: BTreeSet<&'a LeaseKey>,
    /// Those that this worker read to their end, and when, but for those whose children were all born since it began.
    pub ended: Vec<(&'a LeaseKey, Monotonic)>,
    /// When this worker first looked: what had ended by then may have done so just then.
    pub began: Monotonic,
    /// A shard that the last listing shows, and that could not be given a lease: its parent is listed as open, say,
    /// since the listing is of several moments.
    pub unleased: Option<&'a ShardId>,
}

/// What a look says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What is still to do.
    NotYet(String),
    /// Only a look at the stream can tell whether there is more.
    Unsure(String),
    /// Nothing seems to be left.
    Perhaps,
    /// It can't be: why, and the way out. All else seems to be done.
    Never(String),
}

/// What the pipelines say together.
pub fn decide(pipelines: &[Knows<'_>], tips: &Tips, now: Monotonic) -> Verdict {
    let mut verdict = Verdict::Perhaps;
    for knows in pipelines {
        match of_pipeline(knows, tips, now) {
            Verdict::Perhaps => {}
            not_yet @ Verdict::NotYet(_) => return not_yet,
            unsure @ Verdict::Unsure(_) => verdict = unsure,
            never @ Verdict::Never(_) => {
                if verdict == Verdict::Perhaps {
                    verdict = never;
                }
            }
        }
    }
    verdict
}

fn of_pipeline(knows: &Knows<'_>, tips: &Tips, now: Monotonic) -> Verdict {
    let name = knows.pipeline;
    if knows.paused {
        return Verdict::Never(format!(
            "the pipeline {name} is paused, and what its stream holds was not read: `weir pipelines resume {name}`"
        ));
    }
    if let Some(why) = knows.no_stream {
        return Verdict::Never(format!("the pipeline {name} has nothing to read: {why}"));
    }
    if !knows.judged {
        return Verdict::NotYet(format!("the shards of {name} are not known yet"));
    }
    if let Some(key) = knows.own.iter().find(|key| !tips.is_delivered(key)) {
        return Verdict::NotYet(format!("{key} is not read to its tip yet, or not delivered"));
    }
    for (lease, whose, waiting) in &knows.leases {
        let theirs = *whose == Whose::Others;
        // Left of a stream that the pipeline read once.
        let foreign = *waiting == Some(&Waiting::Stream) && lease.stream.is_some();
        let ended = lease.checkpoint == Checkpoint::ShardEnd;
        if !(ended || theirs || foreign || knows.own.contains(&lease.key)) {
            return Verdict::NotYet(format!("{} is read by nobody yet", lease.key));
        }
    }
    if let Some(shard) = knows.unleased {
        return Verdict::Unsure(format!(
            "the shard {shard} of {name} is listed and has no lease yet: the listing does not fit together"
        ));
    }
    match lacks_a_child(knows, tips, now) {
        Some(key) => Verdict::Unsure(format!(
            "{key} has ended, and it may have a child that is not listed yet"
        )),
        None => Verdict::Perhaps,
    }
}

/// A lease that ended so lately that a child of it may not be listed yet: it has none, or one where a split makes two.
fn lacks_a_child<'a>(knows: &Knows<'a>, tips: &Tips, now: Monotonic) -> Option<&'a LeaseKey> {
    let is_fresh = |at: Monotonic| now.since(at) < CHILD_PATIENCE;
    let ended: BTreeSet<&LeaseKey> = knows
        .ended
        .iter()
        .filter(|(_, at)| is_fresh(*at))
        .map(|(key, _)| *key)
        .collect();
    if ended.is_empty() && !is_fresh(knows.began) {
        return None;
    }
    let growing = || {
        let leases = knows.leases.iter().map(|(lease, ..)| *lease);
        leases.filter(|lease| lease.stream.as_ref() == knows.growing)
    };
    let mut children: BTreeMap<&ShardId, Vec<&Lease>> = BTreeMap::new();
    for lease in growing() {
        for parent in &lease.parents {
            children.entry(parent).or_default().push(lease);
        }
    }
    let has_all = |lease: &Lease| match children.get(&lease.shard).map(Vec::as_slice) {
        None => false,
        // Of a merge; or as old as a sibling would have to be to be listed.
        Some([child]) => {
            child.parents.len() > 1 || tips.old.contains(&child.key) || !ended.contains(&lease.key)
        }
        Some(_) => true,
    };
    let fresh = |lease: &&Lease| {
        let ended_before = is_fresh(knows.began) && lease.checkpoint == Checkpoint::ShardEnd;
        ended_before || ended.contains(&lease.key)
    };
    growing()
        .filter(fresh)
        .find(|lease| !has_all(lease))
        .map(|l| &l.key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::LeaseKey;
    use crate::status::reports::Activity;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_secs(seconds))
    }

    fn arn() -> StreamArn {
        StreamArn::new("arn")
    }

    fn key(shard: &str) -> LeaseKey {
        LeaseKey::new(format!("orders/{shard}"))
    }

    /// `a=END`, `b<a=7`.
    fn lease(text: &str) -> Lease {
        let (shard, position) = text.split_once('=').unwrap();
        let (shard, parent) = shard.split_once('<').unwrap_or((shard, ""));
        Lease {
            key: key(shard),
            owner: None,
            counter: 0,
            checkpoint: match position {
                "END" => Checkpoint::ShardEnd,
                n => Checkpoint::At(SequenceNumber::parse(n).unwrap(), 0),
            },
            stream: Some(arn()),
            shard: ShardId::new(shard),
            parents: parent
                .split(',')
                .filter(|p| !p.is_empty())
                .map(ShardId::new)
                .collect(),
            children: Vec::new(),
            owner_switches: 0,
            hash_range: None,
        }
    }

    fn report(reached_tip: bool, in_flight: u64, position: Option<&str>, checkpoint: &str) -> ShardReport {
        ShardReport {
            pipeline: "orders".to_owned(),
            stream: arn(),
            shard: ShardId::new("a"),
            activity: Activity::Reading,
            checkpoint: checkpoint.to_owned(),
            position: position.map(str::to_owned),
            in_flight,
            lag: None,
            until_trim: None,
            reached_tip,
            older_by: None,
        }
    }

    #[test]
    fn a_tip_is_delivered_when_nothing_is_in_flight_or_the_checkpoint_has_passed_it() {
        for (looks, expected) in [
            // (reached its tip, in flight, position, checkpoint)
            (vec![(false, 0, None, "TRIM_HORIZON")], false),
            (vec![(true, 0, None, "TRIM_HORIZON")], true),
            (vec![(true, 5, Some("99"), "TRIM_HORIZON")], false),
            (
                vec![(true, 5, Some("99"), "90"), (true, 5, Some("110"), "99")],
                false,
            ),
            // Written to all the time: what was read at the tip is behind the checkpoint at last.
            (
                vec![(true, 5, Some("99"), "90"), (true, 5, Some("110"), "100:3")],
                true,
            ),
            // The destination doesn't accept.
            (
                vec![(true, 5, Some("99"), "90"), (true, 5, Some("110"), "90")],
                false,
            ),
            // Once is enough: what came later is the drain's.
            (
                vec![(true, 0, Some("99"), "90"), (true, 5, Some("110"), "90")],
                true,
            ),
            // Another task reads the shard by now, from a checkpoint that may lie far before.
            (vec![(true, 0, Some("99"), "90"), (false, 0, None, "90")], false),
        ] {
            let mut tips = Tips::default();
            for (reached_tip, in_flight, position, checkpoint) in &looks {
                let report = report(*reached_tip, *in_flight, *position, checkpoint);
                tips.watch(&[(key("a"), report)].into());
            }
            assert_eq!(tips.is_delivered(&key("a")), expected, "{looks:?}");
            tips.watch(&BTreeMap::new());
            assert!(!tips.is_delivered(&key("a")), "another task begins anew");
        }
    }

    /// A lease by its text, after it `!` if others have it.
    fn verdict(leases: &str, own: &str, ended: &str, change: impl Fn(&mut Knows<'_>)) -> String {
        let leases: Vec<(Lease, Whose)> = leases
            .split_whitespace()
            .map(|text| match text.strip_suffix('!') {
                Some(text) => (lease(text), Whose::Others),
                None => (lease(text), Whose::Open),
            })
            .collect();
        let keys = |text: &str| text.split_whitespace().map(key).collect::<Vec<_>>();
        // `a?`: not at its tip yet; `a*`: with a record of long ago.
        let reports: BTreeMap<LeaseKey, ShardReport> = own
            .split_whitespace()
            .map(|name| {
                (
                    key(name.trim_end_matches(['?', '*'])),
                    ShardReport {
                        older_by: name.ends_with('*').then_some(CHILD_PATIENCE),
                        ..report(!name.ends_with('?'), 0, None, "TRIM_HORIZON")
                    },
                )
            })
            .collect();
        let ended: Vec<LeaseKey> = keys(ended);
        let mut tips = Tips::default();
        tips.watch(&reports);
        let arn = arn();
        let mut knows = Knows {
            pipeline: "orders",
            paused: false,
            judged: true,
            no_stream: None,
            growing: Some(&arn),
            leases: leases
                .iter()
                .map(|(lease, whose)| (lease, *whose, None))
                .collect(),
            own: reports.keys().collect(),
            ended: ended.iter().map(|key| (key, at(110))).collect(),
            began: at(10),
            unleased: None,
        };
        change(&mut knows);
        match decide(&[knows], &tips, at(130)) {
            Verdict::NotYet(why) => format!("not yet: {why}"),
            Verdict::Unsure(why) => format!("unsure: {why}"),
            Verdict::Perhaps => "perhaps".to_owned(),
            Verdict::Never(why) => format!("never: {why}"),
        }
    }

    #[test]
    fn a_worker_is_done_when_all_is_at_its_tip_or_ended_or_read_by_another() {
        for (leases, own, ended, expected) in [
            ("a=7 b=9", "a b", "", "perhaps"),
            ("", "", "", "perhaps"),
            (
                "a=7 b=9",
                "a b?",
                "",
                "not yet: orders/b is not read to its tip yet, or not delivered",
            ),
            ("a=7 b=9", "a", "", "not yet: orders/b is read by nobody yet"),
            ("a=7 b=9!", "a", "", "perhaps"),
            ("a=7!", "", "", "perhaps"),
            ("a=END b<a=1", "b", "", "perhaps"),
            ("a=END b<a=1", "", "", "not yet: orders/b is read by nobody yet"),
            // A child of another's shard waits for it, and so does this worker.
            ("a=7! b<a=1", "", "", "not yet: orders/b is read by nobody yet"),
            ("a=END", "", "", "perhaps"),
            (
                "a=END",
                "",
                "a",
                "unsure: orders/a has ended, and it may have a child that is not listed yet",
            ),
            // A split, one of whose halves is not listed yet? Not if that half is old.
            (
                "a=END b<a=1",
                "b",
                "a",
                "unsure: orders/a has ended, and it may have a child that is not listed yet",
            ),
            ("a=END b<a=1", "b*", "a", "perhaps"),
            ("a=END b<a=1 c<a=1", "b c", "a", "perhaps"),
            ("a=END b=END c<a,b=1", "c", "a b", "perhaps"),
            // Taken since the leases were read.
            (
                "a=END",
                "b?",
                "",
                "not yet: orders/b is not read to its tip yet, or not delivered",
            ),
        ] {
            assert_eq!(
                verdict(leases, own, ended, |_| ()),
                expected,
                "{leases} | {own} | {ended}"
            );
        }
    }

    #[test]
    fn what_nobody_can_see_yet_is_waited_for() {
        let why = "unsure: orders/a has ended, and it may have a child that is not listed yet";
        // Ended before this worker began, perhaps just then.
        let just_began = |knows: &mut Knows<'_>| knows.began = at(100);
        assert_eq!(verdict("a=END", "", "", just_began), why);
        // Every stream that was ever read has shards that ended with one child: those were not found just now.
        assert_eq!(verdict("a=END b<a=1", "b", "", just_began), "perhaps");
        let shard = ShardId::new("b");
        let knows = Knows {
            pipeline: "orders",
            paused: false,
            judged: true,
            no_stream: None,
            growing: None,
            leases: Vec::new(),
            own: BTreeSet::new(),
            ended: Vec::new(),
            began: at(0),
            unleased: Some(&shard),
        };
        let verdict = |knows: Knows<'_>| decide(&[knows], &Tips::default(), at(1_000));
        let told = "the shard b of orders is listed and has no lease yet: the listing does not fit together";
        assert_eq!(verdict(knows), Verdict::Unsure(told.to_owned()));
    }

    #[test]
    fn a_pipeline_that_cannot_be_read_is_told_once_all_else_is_done() {
        let paused = |knows: &mut Knows<'_>| knows.paused = true;
        assert_eq!(
            verdict("a=7", "", "", paused),
            "never: the pipeline orders is paused, and what its stream holds was not read: `weir pipelines resume orders`"
        );
        let without = |knows: &mut Knows<'_>| knows.no_stream = Some("enable a stream");
        assert_eq!(
            verdict("", "", "", without),
            "never: the pipeline orders has nothing to read: enable a stream"
        );
        let early = |knows: &mut Knows<'_>| knows.judged = false;
        assert_eq!(
            verdict("", "", "", early),
            "not yet: the shards of orders are not known yet"
        );
        // A stream that takes no more changes ends without children.
        let disabled = |knows: &mut Knows<'_>| knows.growing = None;
        assert_eq!(verdict("a=END", "", "a", disabled), "perhaps");
        let foreign = |knows: &mut Knows<'_>| knows.leases[0].2 = Some(&Waiting::Stream);
        assert_eq!(verdict("a=7", "", "", foreign), "perhaps");
        let knows = |paused, judged| Knows {
            pipeline: "p",
            paused,
            judged,
            no_stream: None,
            growing: None,
            leases: Vec::new(),
            own: BTreeSet::new(),
            ended: Vec::new(),
            began: at(0),
            unleased: None,
        };
        let both = [knows(true, true), knows(false, false)];
        let verdict = decide(&both, &Tips::default(), at(0));
        assert!(matches!(verdict, Verdict::NotYet(_)), "{verdict:?}");
    }
}
