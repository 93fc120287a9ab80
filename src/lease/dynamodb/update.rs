//! Update and condition expressions.
//!
//! Pure: decides what each change of a row sets, removes and requires.

use std::collections::HashMap;

use crate::lease::item::{self, Attr, Item, fleet_attr, lease_attr};
use crate::lease::{Checkpoint, Expected, LeaseChange, TableError, WorkerRow};
use crate::stream::ShardId;

/// An update in the making. Names always go through placeholders: many are DynamoDB's reserved words.
#[derive(Debug, Default)]
pub struct Update {
    sets: Vec<String>,
    removes: Vec<String>,
    conditions: Vec<String>,
    pub names: HashMap<String, String>,
    pub values: Item,
}

impl Update {
    pub fn expression(&self) -> String {
        let mut parts = Vec::new();
        if !self.sets.is_empty() {
            parts.push(format!("SET {}", self.sets.join(", ")));
        }
        if !self.removes.is_empty() {
            parts.push(format!("REMOVE {}", self.removes.join(", ")));
        }
        parts.join(" ")
    }

    pub fn condition(&self) -> String {
        self.conditions.join(" AND ")
    }

    pub fn set(&mut self, name: &str, value: Attr) {
        let set = format!("{} = {}", self.name(name), self.value(value));
        self.sets.push(set);
    }

    fn set_all(&mut self, item: Item) {
        for (name, value) in item {
            self.set(&name, value);
        }
    }

    pub fn remove(&mut self, name: &str) {
        let name = self.name(name);
        self.removes.push(name);
    }

    pub fn requires_equal(&mut self, name: &str, value: Attr) {
        let condition = format!("{} = {}", self.name(name), self.value(value));
        self.conditions.push(condition);
    }

    pub fn requires_presence(&mut self, name: &str) {
        let condition = format!("attribute_exists({})", self.name(name));
        self.conditions.push(condition);
    }

    fn requires_absence(&mut self, name: &str) {
        let condition = format!("attribute_not_exists({})", self.name(name));
        self.conditions.push(condition);
    }

    fn name(&mut self, name: &str) -> String {
        let placeholder = format!("#{name}");
        self.names.insert(placeholder.clone(), name.to_owned());
        placeholder
    }

    fn value(&mut self, value: Attr) -> String {
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), value);
        placeholder
    }
}

/// The condition that fences a write: owner and counter are what the writer saw.
pub fn lease_is(expected: &Expected) -> Update {
    let mut update = Update::default();
    update.requires_equal(lease_attr::COUNTER, Attr::N(expected.counter.to_string()));
    match &expected.owner {
        Some(owner) => update.requires_equal(lease_attr::OWNER, Attr::S(owner.as_str().to_owned())),
        None => update.requires_absence(lease_attr::OWNER),
    }
    update
}

/// A change of a lease, as KCL's serializer writes it. Attributes it doesn't name stay: a row may hold more
/// than Weir knows.
pub fn of_lease(expected: &Expected, change: &LeaseChange) -> Update {
    let mut update = lease_is(expected);
    let counter = expected.counter.saturating_add(1);
    update.set(lease_attr::COUNTER, Attr::N(counter.to_string()));
    match change {
        LeaseChange::Take(owner) => {
            update.set(lease_attr::OWNER, Attr::S(owner.as_str().to_owned()));
            let switches = update.name(lease_attr::SWITCHES);
            let zero = update.value(Attr::N("0".to_owned()));
            let one = update.value(Attr::N("1".to_owned()));
            // Not an absolute value, as the expected row doesn't tell it; the counter in the condition
            // keeps a repeat from adding twice.
            update
                .sets
                .push(format!("{switches} = if_not_exists({switches}, {zero}) + {one}"));
            // Left behind by a KCL 3 worker that died in a hand-over; a fleet that gets the lease back
            // would wait for it.
            update.remove(lease_attr::CHECKPOINT_OWNER);
        }
        LeaseChange::Checkpoint(checkpoint) => update.checkpoint(checkpoint),
        LeaseChange::End(children) => {
            update.checkpoint(&Checkpoint::ShardEnd);
            if let Some(children) = item::set(children.iter().map(ShardId::as_str)) {
                update.set(lease_attr::CHILDREN, children);
            }
        }
        LeaseChange::Release => update.remove(lease_attr::OWNER),
        LeaseChange::Set(checkpoint) => {
            update.checkpoint(checkpoint);
            update.remove(lease_attr::OWNER);
        }
        LeaseChange::HandBack => {
            update.remove(lease_attr::OWNER);
            update.remove(lease_attr::START);
            // As with a take: nobody is left to checkpoint before the next owner.
            update.remove(lease_attr::CHECKPOINT_OWNER);
        }
    }
    update
}

impl Update {
    fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        let attrs = item::checkpoint_attrs(checkpoint);
        if !attrs.contains_key(lease_attr::START) {
            self.remove(lease_attr::START);
        }
        self.set_all(attrs);
        self.set(lease_attr::SWITCHES, Attr::N("0".to_owned()));
        for pending in lease_attr::PENDING {
            self.remove(pending);
        }
    }
}

/// A heartbeat: the whole row, where the one before it stands and nobody has ended this worker.
pub fn beat(row: &WorkerRow) -> Result<Update, TableError> {
    let before = row.heartbeat.checked_sub(1).ok_or_else(|| {
        TableError::Refused(format!("worker {}: heartbeat 0 is the row's creation", row.id))
    })?;
    let mut update = Update::default();
    update.requires_presence(fleet_attr::ID);
    update.requires_equal(fleet_attr::HEARTBEAT, Attr::N(before.to_string()));
    update.requires_equal(fleet_attr::EVICTED, Attr::Bool(false));
    update.requires_equal(fleet_attr::TOMBSTONE, Attr::Bool(false));
    let mut item = item::from_worker(row);
    // The key is not updated but looked up.
    item.remove(fleet_attr::KIND);
    item.remove(fleet_attr::ID);
    if !item.contains_key(fleet_attr::NOTES) {
        update.remove(fleet_attr::NOTES);
    }
    update.set_all(item);
    Ok(update)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::lease::WorkerId;
    use crate::stream::SequenceNumber;

    /// The update with its placeholders filled in.
    fn spelled(update: &Update) -> (String, String) {
        let mut texts = [update.expression(), update.condition()];
        for text in &mut texts {
            for (placeholder, value) in &update.values {
                let value = match value {
                    Attr::S(v) => format!("'{v}'"),
                    Attr::N(v) => v.clone(),
                    Attr::Bool(v) => v.to_string(),
                    Attr::Ss(v) => format!("{v:?}"),
                    Attr::Counts(v) => format!("{v:?}"),
                };
                *text = text.replace(placeholder, &value);
            }
            *text = text.replace('#', "");
        }
        texts.into()
    }

    #[test]
    fn each_change_of_a_lease_is_fenced_and_counted() {
        let me = WorkerId::new("me");
        let mine = Expected {
            owner: Some(me.clone()),
            counter: 7,
        };
        let free = Expected {
            owner: None,
            counter: 7,
        };
        let at = Checkpoint::At(SequenceNumber::parse("12").unwrap(), 3);
        let pending = "REMOVE startTimestamp, pendingCheckpoint, pendingCheckpointSubSequenceNumber, \
                       pendingCheckpointState";
        for (expected, change, want) in [
            (
                &free,
                LeaseChange::Take(me),
                "SET leaseCounter = 8, leaseOwner = 'me', ownerSwitchesSinceCheckpoint = \
                 if_not_exists(ownerSwitchesSinceCheckpoint, 0) + 1 REMOVE checkpointOwner"
                    .to_owned(),
            ),
            (
                &mine,
                LeaseChange::Checkpoint(at),
                format!(
                    "SET leaseCounter = 8, checkpoint = '12', checkpointSubSequenceNumber = 3, \
                     ownerSwitchesSinceCheckpoint = 0 {pending}"
                ),
            ),
            (
                &mine,
                LeaseChange::Checkpoint(Checkpoint::AtTimestamp(Timestamp::from_millis(5000))),
                format!(
                    "SET leaseCounter = 8, checkpoint = 'AT_TIMESTAMP', checkpointSubSequenceNumber = 0, \
                     startTimestamp = 5000, ownerSwitchesSinceCheckpoint = 0 {}",
                    pending.replace("startTimestamp, ", "")
                ),
            ),
            (
                &mine,
                LeaseChange::End(vec![ShardId::new("c"), ShardId::new("b")]),
                format!(
                    "SET leaseCounter = 8, checkpoint = 'SHARD_END', checkpointSubSequenceNumber = 0, \
                     ownerSwitchesSinceCheckpoint = 0, childShardIds = [\"b\", \"c\"] {pending}"
                ),
            ),
            (
                &mine,
                LeaseChange::End(vec![]),
                format!(
                    "SET leaseCounter = 8, checkpoint = 'SHARD_END', checkpointSubSequenceNumber = 0, \
                     ownerSwitchesSinceCheckpoint = 0 {pending}"
                ),
            ),
            (
                &mine,
                LeaseChange::Release,
                "SET leaseCounter = 8 REMOVE leaseOwner".to_owned(),
            ),
            (
                &mine,
                LeaseChange::Set(Checkpoint::TrimHorizon),
                format!(
                    "SET leaseCounter = 8, checkpoint = 'TRIM_HORIZON', checkpointSubSequenceNumber = 0, \
                     ownerSwitchesSinceCheckpoint = 0 {pending}, leaseOwner"
                ),
            ),
            (
                &free,
                LeaseChange::HandBack,
                "SET leaseCounter = 8 REMOVE leaseOwner, startTimestamp, checkpointOwner".to_owned(),
            ),
        ] {
            let fence = match expected.owner {
                Some(_) => "leaseCounter = 7 AND leaseOwner = 'me'",
                None => "leaseCounter = 7 AND attribute_not_exists(leaseOwner)",
            };
            assert_eq!(
                spelled(&of_lease(expected, &change)),
                (want, fence.to_owned()),
                "{change:?}"
            );
        }
    }

    #[test]
    fn a_heartbeat_follows_the_one_before_it_and_never_a_certificate() {
        let mut row = WorkerRow {
            heartbeat: 3,
            draining: true,
            ..WorkerRow::new(WorkerId::new("w"))
        };
        let (expression, condition) = spelled(&beat(&row).unwrap());
        assert_eq!(
            condition,
            "attribute_exists(id) AND heartbeat = 2 AND evicted = false AND tombstone = false"
        );
        assert!(expression.contains("heartbeat = 3") && expression.ends_with("REMOVE notes"));
        assert!(!expression.contains("id ="), "{expression}");
        row.heartbeat = 0;
        assert!(beat(&row).is_err());
    }
}
