//! Looks at the state tables, at the clock by their answers, and for others who use them.

use std::time::Duration;

use super::Looks;
use crate::app::tables;
use crate::aws::arn::Place;
use crate::check::calls::unreachable;
use crate::check::{Finding, Subject, process, tables as judged};
use crate::clock::timeout;
use crate::lease::dynamodb::DynamoDbTable;
use crate::lease::dynamodb::probe::Which;
use crate::lease::keys::Keys;
use crate::lease::{Lease, LeaseTable, PrepareError};

/// Between two looks at the leases of strangers. KCL renews each third of `failoverTimeMillis`, 10 s by default.
const WATCH: Duration = Duration::from_secs(5);

/// The leases, and whose they are.
pub struct Leases {
    keys: Keys,
    rows: Vec<Lease>,
}

impl Leases {
    pub fn of(&self, pipeline: &str) -> Vec<&Lease> {
        let rows = self.rows.iter();
        rows.filter(|lease| self.keys.pipeline_of(lease) == Some(pipeline))
            .collect()
    }
}

impl Looks {
    /// What is found of the tables, and the leases, if they could be read.
    pub(super) async fn state(&self) -> (Vec<Finding>, Option<Leases>) {
        let (clients, place) = match self.clients(&self.config.state.aws).await {
            Ok(known) => known,
            Err(finding) => return (vec![finding], None),
        };
        let table = tables::state_table(&clients, &self.config, &self.clock);
        let look = timeout(&*self.clock, super::LOOK, Box::pin(self.look_at(&table, &place)));
        match look.await {
            Ok(seen) => seen,
            Err(_) => {
                let late = unreachable("dynamodb", &place.region, "no answer in time");
                (vec![late], None)
            }
        }
    }

    async fn look_at(&self, table: &DynamoDbTable, place: &Place) -> (Vec<Finding>, Option<Leases>) {
        let mut findings = Vec::new();
        if let Some(there) = table.service_time().await {
            // The header tells whole seconds.
            findings.push(process::clock(self.clock.wall().floor_second(), there));
        }
        let names = self.config.state_tables();
        let mut usable = true;
        for which in [Which::Leases, Which::Fleet] {
            let there = table.is_there(which).await;
            let mut failed = Vec::new();
            if matches!(there, Ok(true)) {
                for request in judged::requests(which) {
                    if let Err(failure) = table.try_out(which, *request).await {
                        failed.push((*request, failure));
                    }
                }
            }
            usable &= matches!(there, Ok(true)) && failed.is_empty();
            let seen = judged::Seen { which, there, failed };
            findings.extend(judged::table(&names, &seen, place));
        }
        if let Err(PrepareError::Unusable(why)) = table.there().await {
            // Its rows are somebody else's, and so are the requests that failed on it.
            findings.retain(|f| f.subject != Subject::StateTables);
            findings.push(
                Finding::error(Subject::StateTables, why)
                    .way_out("or name others, as `state.lease_table` and `state.fleet_table`"),
            );
            return (findings, None);
        }
        if !usable {
            return (findings, None);
        }
        let (Ok(before), Ok(workers)) = (table.leases().await, table.workers().await) else {
            return (findings, None);
        };
        if !judged::strangers(&before, &workers).is_empty() {
            self.clock.sleep(WATCH).await;
            if let (Ok(after), Ok(workers)) = (table.leases().await, table.workers().await) {
                let told = judged::told_of_strangers(&before, &after, &workers, WATCH.as_secs());
                findings.extend(told);
            }
        }
        let readers = tables::readers(&self.config, &self.aws).await;
        match Keys::of_table(&before, self.config.lease_keys, readers) {
            Ok(keys) => (findings, Some(Leases { keys, rows: before })),
            Err(error) => {
                findings.push(Finding::error(Subject::StateTables, error.to_string()));
                (findings, None)
            }
        }
    }
}
