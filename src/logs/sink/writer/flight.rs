//! One batch under way.

use crate::logs::LogEvent;
use crate::logs::sink::Item;
use crate::logs::sink::tag::Tag;
use crate::trace::{self, Batch};

/// The events of a put, sorted by time as PutLogEvents asks, and beside each whom it answers to. Kept
/// apart, so that a put borrows the events as they are, however often it is repeated.
pub(super) struct Flight {
    events: Vec<LogEvent>,
    tags: Vec<Tag>,
}

impl Flight {
    /// Sorts stably: the events of one millisecond keep the order they came in.
    pub(super) fn of(items: impl Iterator<Item = Item>) -> Self {
        let flight = Self::in_order(items);
        // As the events of one shard come, as a rule.
        if flight.events.is_sorted_by_key(|event| event.timestamp) {
            return flight;
        }
        let mut items: Vec<Item> = flight.into_items().collect();
        items.sort_by_key(|i| i.event.timestamp);
        Self::in_order(items.into_iter())
    }

    fn in_order(items: impl Iterator<Item = Item>) -> Self {
        let (events, tags) = items.map(|i| (i.event, i.tag)).unzip();
        Self { events, tags }
    }

    pub(super) fn events(&self) -> &[LogEvent] {
        &self.events
    }

    /// Whether some of it is to have the time of its put.
    pub(super) fn is_stamped_late(&self) -> bool {
        self.tags.iter().any(Tag::is_stamped_late)
    }

    /// The batches that its events are of, as far as they are traced.
    pub(super) fn batches(&self) -> Vec<Batch> {
        let of = |tag: &Tag| tag.lane.batches.get()?.of(tag.index);
        // Off for one is off for all.
        match self.tags.first().and_then(|tag| tag.lane.batches.get()) {
            Some(_) => trace::distinct(self.tags.iter().filter_map(of)),
            None => Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Takes out what was withdrawn with its lease; returns how many.
    pub(super) fn drop_withdrawn(&mut self) -> usize {
        if self.tags.iter().all(Tag::alive) {
            return 0;
        }
        let before = self.events.len();
        let flight = Self {
            events: std::mem::take(&mut self.events),
            tags: std::mem::take(&mut self.tags),
        };
        for item in flight.into_items().filter(|i| i.tag.alive()) {
            self.events.push(item.event);
            self.tags.push(item.tag);
        }
        before - self.events.len()
    }

    /// In the order of the put.
    pub(super) fn into_items(self) -> impl Iterator<Item = Item> {
        self.events
            .into_iter()
            .zip(self.tags)
            .map(|(event, tag)| Item { event, tag })
    }

    pub(super) fn in_arrival_order(self) -> Vec<Item> {
        let mut items: Vec<Item> = self.into_items().collect();
        items.sort_by_key(|i| i.tag.arrival);
        items
    }
}
