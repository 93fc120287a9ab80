//! Taking in what was read: the records into the ledger and on their way, and what an answer says of the next one.

use std::time::Duration;

use tracing::warn;

use super::destinations::Outgoing;
use super::idle::Tail;
use super::lag::Answer;
use super::reader::{After, Outcome, Portion, Then};
use super::{Consumer, DOUBT_WAIT, DOUBTS, FIRST_CHECKPOINT, Step};
use crate::clock::{Monotonic, Timestamp};
use crate::decode::Skip;
use crate::ledger::Received;
use crate::logs::sink::Parcel;
use crate::stream::{Next, Place, StartingPosition};

impl Consumer {
    /// Takes in some records: submit their events, enter them into the books.
    pub(super) fn receive(&mut self, portion: Portion) -> Step {
        let Portion {
            records,
            memory,
            found,
            damaged_aggregates,
            begins,
            then,
            trace,
        } = portion;
        let (entered_from, mut entered_bytes) = (self.ledger.next(), 0);
        let now = self.pipeline.clock.now();
        if begins.is_some() {
            self.accounts.read();
        }
        if damaged_aggregates > 0 {
            self.accounts.damaged_aggregates(damaged_aggregates);
        }
        if let Some((found, memory)) = found {
            self.look_up.use_now(found, memory, now);
        }
        let mut already_delivered = 0;
        let mut earliest: Option<Timestamp> = None;
        let mut parcel = Parcel::new(&self.lane);
        let mut came_back = None;
        let some = !records.is_empty();
        if let Some((first, _)) = records.first()
            && let Some(began) = self.began()
            && let Some(older_by) = first.time.map(|time| began.since(time))
        {
            self.telling.read_older_by(older_by);
        }
        for (record, outcome) in records {
            let held = outcome.held(&record);
            if let Some(group) = self.destinations.comes_back(&record, &outcome) {
                came_back = Some(group);
                break;
            }
            let bytes = record.data.len();
            self.accounts.received(bytes);
            entered_bytes += bytes;
            self.telling.received(now);
            self.last = Some(record.place());
            self.is_whole = false;
            let outgoing = match outcome {
                Outcome::Empty => {
                    self.accounts.filtered(Skip::Nothing, bytes);
                    Outgoing::Nothing
                }
                Outcome::BeforeStart => {
                    self.accounts.before_start();
                    Outgoing::Nothing
                }
                Outcome::Undecodable(error) => self.destinations.letter(&error),
                Outcome::Decoded(decoded) => {
                    let times = decoded.events.iter().map(|e| e.event.timestamp);
                    earliest = earliest.into_iter().chain(times).min();
                    self.accounts.unparsed_lines(decoded.unparsed_lines);
                    self.accounts.filtered_events(decoded.filtered);
                    if decoded.events.is_empty() {
                        let why = decoded.skipped.unwrap_or(Skip::Nothing);
                        self.accounts.filtered(why, bytes);
                        Outgoing::Nothing
                    } else if self.look_up.has(decoded.events.iter().map(|e| &e.event)) {
                        self.accounts.already_delivered();
                        already_delivered += 1;
                        Outgoing::Nothing
                    } else {
                        self.destinations.address(decoded)
                    }
                }
            };
            if let Outgoing::Letter(letter) = &outgoing {
                self.letters += 1;
                self.trouble(format!(
                    "record {} goes to the dead letters ({}): {}",
                    record.sequence_number,
                    letter.reason(),
                    letter.outline()
                ));
                // Often it is all records, or none.
                if self.letters.is_power_of_two() {
                    warn!(
                        lease = %self.key,
                        shard_id = %self.reader.shard,
                        sequence_number = %record.sequence_number,
                        letters = self.letters,
                        group = letter.group(),
                        "a record goes to the dead letters: {}",
                        letter.detail()
                    );
                }
            }
            let index = self.ledger.receive(Received {
                place: record.place(),
                events: outgoing.pieces(),
                held,
                bytes,
                time: record.time,
                at: now,
            });
            outgoing.pack(&mut parcel, index, &record);
        }
        if let (Some(batches), Some(batch)) = (&self.batches, trace) {
            let is_whole = came_back.is_some() || !matches!(then, Then::Rest(_));
            batches.entered(batch, entered_from, self.ledger.next(), entered_bytes, is_whole);
        }
        self.pipeline.sink.submit(parcel);
        self.tell_delivered();
        if some {
            self.look_up.after_read(already_delivered, earliest);
        }
        if already_delivered > 0 {
            // At once, or crash after crash would leave more to look up, until it is more than is looked up.
            self.checkpoint_due = now;
            self.interval = FIRST_CHECKPOINT.min(self.pipeline.checkpoint_interval);
        }
        self.reservations.extend(memory);
        self.fit_reservations();
        match (came_back, then) {
            (Some(group), _) => Step::Suspicion(group),
            (None, Then::Rest(rest)) => Step::GoOn(rest),
            (None, Then::Dropped) => Step::Read(None, Duration::ZERO),
            (None, Then::Next(after)) => self.go_on(after),
        }
    }

    /// The answer was taken in to its end.
    fn go_on(&mut self, after: After) -> Step {
        if after.quiet {
            return match after.next {
                Next::At(iterator) => Step::Read(Some(iterator), Duration::ZERO),
                Next::End | Next::PerhapsEnd => Step::Read(None, Duration::ZERO),
            };
        }
        self.solved();
        let is_doubtful = after.next == Next::PerhapsEnd && after.records == 0;
        self.doubtful_ends = if is_doubtful { self.doubtful_ends + 1 } else { 0 };
        if after.behind == Some(Duration::ZERO) {
            self.tip_at = Some(self.pipeline.clock.now());
        }
        let (last, time) = after.last.unzip();
        if let Some(last) = &last {
            // Whole, also where it is an aggregate whose last parts were done.
            self.last = Some(Place {
                sequence_number: last.clone(),
                sub_sequence_number: u64::MAX,
            });
        }
        self.is_whole = true;
        if let Some(position) = after.continuation.or(last) {
            self.position = StartingPosition::After(position);
        }
        let wall = self.pipeline.clock.wall();
        let newest = time.flatten();
        // One that is written to all the time may never give an empty answer: what was there before is read when
        // something newer comes.
        let began = self.began();
        self.telling.is_past_the_beginning |=
            newest.is_some_and(|time| began.is_some_and(|began| time > began));
        let answer = Answer {
            records: after.records,
            age: newest.map(|time| wall.since(time)),
            behind: after.behind,
            wanted: self.reader.not_before.map(|start| wall.since(start)),
        };
        let now = self.pipeline.clock.now();
        self.telling.reads.answered(now, answer);
        // An answer without records is no end while the stream says that there are more.
        let has_more = after.behind.is_some_and(|behind| !behind.is_zero());
        let records = after.records.max(usize::from(has_more));
        // Kinesis, which tells how far it is behind, has its own pace, and costs nothing to read.
        let tail = after.behind.is_none().then_some(Tail {
            has_room: after.has_room,
            records: after.records,
            newest,
        });
        let wait = self.wait_after(records, after.bytes, tail, now);
        self.telling.reads.next_is_due(now + wait);
        match after.next {
            Next::At(iterator) => Step::Read(Some(iterator), wait),
            Next::End => Step::Ended,
            Next::PerhapsEnd if self.doubtful_ends >= DOUBTS => Step::PerhapsEnded,
            Next::PerhapsEnd => Step::Read(None, wait.max(DOUBT_WAIT)),
        }
    }

    /// Of a worker that ends when it has caught up: the service's time when it began, once it is known.
    fn began(&self) -> Option<Timestamp> {
        self.pipeline.began.as_ref()?.get().copied()
    }

    /// How long the shard is left alone after an answer of `records` and `bytes`. `tail`: what it shows of the tip, where
    /// reads are paid for.
    fn wait_after(&mut self, records: usize, bytes: usize, tail: Option<Tail>, now: Monotonic) -> Duration {
        let settings = &self.pipeline.config.source;
        // A job wants to know soon that a shard has ended.
        let is_job = self.pipeline.began.is_some();
        let poll = match is_job {
            true => settings.poll(),
            false => {
                let poll = self.idle.answered(
                    now,
                    records > 0,
                    self.telling.reads.is_at_tip(),
                    settings.poll(),
                    settings.poll_idle_most,
                    &mut self.rng,
                );
                tail.map_or(poll, |tail| tail.paced(poll, self.pipeline.clock.wall()))
            }
        };
        self.pipeline.source.wait_after(poll, records, bytes)
    }

    /// Whether the checkpointed record, which was asked for once more, is not there any more. A shard that
    /// holds nothing at all says nothing of what it held.
    pub(super) fn misses_its_checkpoint(&mut self, portion: &Portion) -> bool {
        let Some(first) = &portion.begins else {
            return false;
        };
        let is_at_tip = matches!(&portion.then, Then::Next(after) if after.behind == Some(Duration::ZERO));
        match (&self.checkpointed, first) {
            (Some(checkpointed), Some(first)) => {
                let missed = first > checkpointed;
                self.checkpointed = None;
                missed
            }
            (Some(_), None) if is_at_tip => {
                self.checkpointed = None;
                warn!(
                    lease = %self.key,
                    shard_id = %self.reader.shard,
                    "the shard holds neither the record at the checkpoint nor a later one: if it was not read for longer \
                     than the stream keeps records, some may have been trimmed unread"
                );
                false
            }
            _ => false,
        }
    }

    /// Reading works.
    fn solved(&mut self) {
        if std::mem::take(&mut self.troubled) {
            self.pipeline.readiness.solved(&self.part());
        }
    }
}
