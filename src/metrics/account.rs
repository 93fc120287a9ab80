//! What became of a pipeline's records, as the counters tell it.
//!
//! Pure. The same figures stand on `/metrics`; here they are read together, and asked whether they add up.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::Metrics;
use crate::decode::Skip;
use crate::logs::batch::Refusal;

/// A pipeline's account, of this process since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    pub received: u64,
    pub delivered: u64,
    /// By the reason.
    pub filtered: BTreeMap<&'static str, u64>,
    pub before_start: u64,
    /// A dead worker had delivered them.
    pub already_delivered: u64,
    /// By the reason.
    pub dead_lettered: BTreeMap<&'static str, u64>,
    /// Left to the shard's next owner, who counts them as received.
    pub given_back: u64,
    pub in_flight: i64,
    /// Received, and nothing of the above. If it stays another than zero, that is a fault of Weir's.
    pub unaccounted: i64,
}

impl Account {
    pub fn of(metrics: &Metrics, pipeline: &str) -> Self {
        let p = &[pipeline];
        let filtered = of_each(Skip::ALL.map(Skip::as_str), |reason| {
            metrics
                .records_filtered
                .with_label_values(&[pipeline, reason])
                .get()
        });
        let dead_lettered = of_each(Refusal::ALL.map(Refusal::as_str), |reason| {
            metrics
                .records_dead_lettered
                .with_label_values(&[pipeline, reason])
                .get()
        });
        let mut account = Self {
            filtered,
            dead_lettered,
            delivered: metrics.records_delivered.with_label_values(p).get(),
            before_start: metrics.records_before_start.with_label_values(p).get(),
            already_delivered: metrics.records_already_delivered.with_label_values(p).get(),
            given_back: metrics.records_given_back.with_label_values(p).get(),
            in_flight: metrics.records_in_flight.with_label_values(p).get(),
            received: metrics.records_received.with_label_values(p).get(),
            unaccounted: 0,
        };
        account.unaccounted = difference(account.received, account.ended()) - account.in_flight;
        account
    }

    /// The same, of a process at work: its counters move one after the other, so that a reading may fall between
    /// two of them. It is taken anew a few times then.
    pub fn of_running(metrics: &Metrics, pipeline: &str) -> Self {
        let mut account = Self::of(metrics, pipeline);
        for _ in 0..10 {
            if account.adds_up() {
                break;
            }
            account = Self::of(metrics, pipeline);
        }
        account
    }

    /// Records that are done with.
    fn ended(&self) -> u64 {
        let reasons = self.filtered.values().chain(self.dead_lettered.values());
        let each = [
            self.delivered,
            self.before_start,
            self.already_delivered,
            self.given_back,
        ];
        reasons.chain(&each).sum()
    }

    pub fn adds_up(&self) -> bool {
        self.unaccounted == 0
    }
}

/// `received 5 = delivered 3 + filtered 1 + …`
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |by_reason: &BTreeMap<_, u64>| by_reason.values().sum::<u64>();
        write!(
            f,
            "received {} = delivered {} + filtered {} + before_start {} + already_delivered {} + dead_lettered {} + \
             given_back {} + in_flight {}",
            self.received,
            self.delivered,
            sum(&self.filtered),
            self.before_start,
            self.already_delivered,
            sum(&self.dead_lettered),
            self.given_back,
            self.in_flight
        )?;
        match self.unaccounted {
            0 => Ok(()),
            missing => write!(f, " + unaccounted {missing}"),
        }
    }
}

fn of_each(
    reasons: impl IntoIterator<Item = &'static str>,
    count: impl Fn(&str) -> u64,
) -> BTreeMap<&'static str, u64> {
    reasons
        .into_iter()
        .map(|reason| (reason, count(reason)))
        .collect()
}

fn difference(a: u64, b: u64) -> i64 {
    i64::try_from(i128::from(a) - i128::from(b)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_adds_up_or_says_by_how_much_it_does_not() {
        let metrics = Metrics::new();
        metrics.declare_pipeline("orders");
        assert_eq!(Account::of(&metrics, "orders").received, 0);
        let p = &["orders"];
        metrics.records_received.with_label_values(p).inc_by(10);
        metrics.records_delivered.with_label_values(p).inc_by(4);
        metrics.records_before_start.with_label_values(p).inc();
        metrics.records_already_delivered.with_label_values(p).inc();
        metrics.records_given_back.with_label_values(p).inc();
        metrics.records_in_flight.with_label_values(p).inc();
        let by = |family: &prometheus::IntCounterVec, reason| {
            family.with_label_values(&["orders", reason]).inc();
        };
        by(&metrics.records_filtered, "nothing");
        let short = Account::of(&metrics, "orders");
        assert!(!short.adds_up());
        assert!(
            short.to_string().ends_with("in_flight 1 + unaccounted 1"),
            "{short}"
        );
        by(&metrics.records_dead_lettered, "too_old");
        let account = Account::of(&metrics, "orders");
        assert!(account.adds_up());
        assert_eq!(
            account.to_string(),
            "received 10 = delivered 4 + filtered 1 + before_start 1 + already_delivered 1 + dead_lettered 1 + \
             given_back 1 + in_flight 1"
        );
        assert_eq!(
            (account.filtered["nothing"], account.dead_lettered["too_old"]),
            (1, 1)
        );
    }
}
