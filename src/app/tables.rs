//! The state tables at the start: made, asked until they answer, and told apart by whose keys they have.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::Failure;
use crate::aws::{AwsClients, Clients};
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::config::Config;
use crate::lease::dynamodb::DynamoDbTable;
use crate::lease::keys::{Keys, Reader};
use crate::lease::{LeaseTable, PrepareError, TableError};
use crate::readiness::{Latch, Readiness};
use crate::shutdown::Stop;

/// The state tables of these settings, as an adapter.
pub fn state_table(clients: &Clients, config: &Config, clock: &Arc<dyn Clock>) -> DynamoDbTable {
    DynamoDbTable::new(clients.dynamodb.clone(), config.state_tables(), clock.clone())
}

/// Who reads what, for the keys of KCL's tables.
pub async fn readers(config: &Config, clients: &AwsClients) -> Vec<Reader> {
    let mut readers = Vec::new();
    for pipeline in &config.pipelines {
        let source = &pipeline.source;
        let mut region = source.aws.region.clone();
        // KCL's name of a Kinesis stream has no region, so that it must come from somewhere.
        if region.is_none() && source.stream.kinesis_name().is_some() {
            let from = clients.clients(&source.aws).await.ok();
            region = from.map(|from| from.region);
        }
        readers.push(Reader {
            pipeline: pipeline.name.clone(),
            stream: source.stream.clone(),
            region,
        });
    }
    readers
}

/// Asks the tables for what a worker must know before it begins, however long that takes.
pub struct Asking<'a> {
    pub table: &'a dyn LeaseTable,
    pub config: &'a Config,
    pub clock: &'a dyn Clock,
    pub readiness: &'a Readiness,
    pub rng: &'a mut fastrand::Rng,
    pub stop: Stop,
}

impl Asking<'_> {
    /// Makes the state tables ready. `None`: a stop was wished before.
    pub async fn prepare(&mut self) -> Result<Option<()>, Failure> {
        let pipelines = self.config.pipelines.iter();
        let sources: Vec<String> = pipelines
            .filter_map(|p| p.source.stream.table().map(ToOwned::to_owned))
            .collect();
        let table = self.table;
        let ask = async || match table.prepare(&sources).await {
            Ok(()) => Ok(Ok(())),
            Err(PrepareError::Unusable(why)) => Ok(Err(Failure::Tables(why))),
            Err(PrepareError::Table(error)) => Err(error),
        };
        let answer = self.until_answered("the state tables are not ready", ask).await;
        let prepared = answer.transpose()?;
        if prepared.is_some() {
            self.readiness.open(Latch::Tables);
        }
        Ok(prepared)
    }

    /// Looks at the lease table: whose keys it has. `None`: a stop was wished before.
    pub async fn keys(&mut self, readers: Vec<Reader>) -> Result<Option<Keys>, Failure> {
        let table = self.table;
        let ask = async || table.leases().await;
        let Some(leases) = self
            .until_answered("the lease table could not be read", ask)
            .await
        else {
            return Ok(None);
        };
        let keys = Keys::of_table(&leases, self.config.lease_keys, readers)?;
        if keys.are_kcls() && !leases.is_empty() {
            info!(
                table = %self.config.state_tables().leases,
                leases = leases.len(),
                "the lease table is a KCL application's: going on from its checkpoints, with its keys"
            );
            if let Some(lease) = leases.iter().find(|l| keys.pipeline_of(l).is_none()) {
                warn!(lease = %lease.key, "no pipeline reads the stream of this lease, and perhaps of others: they stay as they are");
            }
        }
        Ok(Some(keys))
    }

    /// Repeats a question until it is answered, and says meanwhile what the `trouble` is. `None`: a stop was wished
    /// before.
    async fn until_answered<T>(
        &mut self,
        trouble: &str,
        ask: impl AsyncFn() -> Result<T, TableError>,
    ) -> Option<T> {
        let mut backoff = Backoff::default();
        loop {
            let answer = tokio::select! {
                answer = ask() => answer,
                () = self.stop.wished() => return None,
            };
            match answer {
                Ok(answer) => {
                    self.readiness.solved("state tables");
                    return Some(answer);
                }
                Err(error) => {
                    self.readiness.problem("state tables", error.to_string());
                    warn!(%error, "{trouble}; repeating");
                }
            }
            tokio::select! {
                () = self.clock.sleep(backoff.next(self.rng) + Duration::from_millis(200)) => {}
                () = self.stop.wished() => return None,
            }
        }
    }
}
