//! Looks at a pipeline's destination, and for a way back from it to the source.

use super::Looks;
use crate::app::{loops, sources};
use crate::aws::Clients;
use crate::aws::arn::Place;
use crate::check::Finding;
use crate::check::destination::{self as judged, Group};
use crate::config::PipelineConfig;
use crate::logs::address;
use crate::logs::cloudwatch::CloudWatchLogs;
use crate::logs::group::GroupSettings;
use crate::logs::guard::fixed_group;
use crate::logs::{LogSink, Subscriptions};

impl Looks {
    pub(super) async fn destination(&self, pipeline: &PipelineConfig) -> Vec<Finding> {
        let (clients, place) = match self.clients(&pipeline.destination.aws).await {
            Ok(known) => known,
            Err(finding) => return vec![finding.of(&pipeline.name)],
        };
        let logs = CloudWatchLogs::new(clients.logs, clients.wire);
        let mut findings = self.groups(pipeline, &logs, &place).await;
        // Only a Kinesis stream can be written to by CloudWatch Logs.
        if pipeline.source.stream.kinesis_name().is_some()
            && let Ok((from, _)) = self.clients(&pipeline.source.aws).await
        {
            findings.extend(self.circles(pipeline, from, &logs).await);
        }
        findings
    }

    /// The groups whose names are known without a record, and that of the dead letters.
    async fn groups(&self, pipeline: &PipelineConfig, logs: &CloudWatchLogs, place: &Place) -> Vec<Finding> {
        let mut findings = Vec::new();
        let own = address::own_by_settings(&self.config.application, pipeline);
        if own.is_none() && pipeline.destination.group.uses_envelope() {
            findings.push(judged::chosen_by_records(pipeline));
        }
        let letters = address::letters_by_settings(&self.config.application, pipeline);
        let letters = letters
            .map(|letters| letters.group)
            .filter(|group| Some(group) != own.as_ref());
        for (name, is_of_letters) in [(own, false), (letters, true)] {
            let Some(name) = name else { continue };
            let wished = GroupSettings::of(&pipeline.destination);
            // Without `create` it must be there, and has a fixed name.
            let stream = &pipeline.destination.stream;
            let must_be = !pipeline.destination.create && !is_of_letters && stream.fields().next().is_none();
            let stream = must_be.then_some(stream.as_str());
            let now = self.clock.wall();
            let put = self.patiently(|| logs.put_nothing(&name, stream, now)).await;
            let reads = !is_of_letters && pipeline.looks_up() && put.is_ok();
            let read = match reads {
                true => Some(self.patiently(|| logs.read_nothing(&name)).await),
                false => None,
            };
            let like = match wished != GroupSettings::default() && put.is_ok() {
                true => Some(logs.describe_group(&name).await),
                false => None,
            };
            let seen = Group {
                name,
                is_of_letters,
                put,
                read,
                like,
            };
            findings.extend(judged::group(pipeline, &seen, place));
        }
        findings
    }

    async fn circles(&self, pipeline: &PipelineConfig, from: Clients, logs: &CloudWatchLogs) -> Vec<Finding> {
        let application = &self.config.application;
        let mut settings = pipeline.clone();
        // A subscription of the consumer's own would end that of the worker.
        settings.source.fan_out = None;
        let source = sources::source(application, &settings, from, &self.clock);
        let logs: &dyn Subscriptions = logs;
        let end = self.clock.now() + loops::LOOKS;
        let mut rng = fastrand::Rng::with_seed(0);
        let seen = loops::look_around(application, pipeline, &*source, logs, &*self.clock, &mut rng, end);
        // A stream that can't be asked is told as a source.
        let Ok(seen) = seen.await else {
            return Vec::new();
        };
        let by_records = fixed_group(application, pipeline, &seen.stream).is_none();
        let key = "destination.group";
        let mut findings = vec![judged::circle(pipeline, key, &seen.verdict, by_records)];
        if let Some((_, verdict)) = &seen.of_letters {
            findings.push(judged::circle(pipeline, "dead_letter.group", verdict, false));
        }
        findings
    }
}
