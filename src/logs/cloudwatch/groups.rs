//! Log groups and their settings, as requests.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_cloudwatchlogs::types::LogGroupClass;

use super::{CloudWatchLogs, exists};
use crate::aws::failure::failure;
use crate::config::LogClass;
use crate::logs::SinkError;
use crate::logs::group::{GroupFound, GroupSettings};

impl CloudWatchLogs {
    pub(super) async fn create(&self, group: &str, settings: &GroupSettings) -> Result<bool, SinkError> {
        let GroupSettings {
            retention_days: _,
            kms_key,
            tags,
            class,
        } = settings;
        let answer = self
            .client
            .create_log_group()
            .log_group_name(group)
            .set_kms_key_id(kms_key.clone())
            .set_tags((!tags.is_empty()).then(|| owned(tags)))
            .set_log_group_class(class.map(sdk_class))
            .send()
            .await;
        match answer {
            Ok(_) => Ok(true),
            Err(error) => match failure(&error) {
                failure if exists(&failure) => Ok(false),
                failure => Err(self.error(&failure, "logs:CreateLogGroup", group)),
            },
        }
    }

    /// The groups of a prefix come in the order of their names (API reference of DescribeLogGroups), the one that is the
    /// prefix itself first.
    pub(super) async fn describe(&self, group: &str) -> Result<GroupFound, SinkError> {
        let answer = self
            .client
            .describe_log_groups()
            .log_group_name_prefix(group)
            .send()
            .await
            .map_err(|e| self.error(&failure(&e), "logs:DescribeLogGroups", group))?;
        let groups = answer.log_groups.unwrap_or_default();
        let found = groups
            .into_iter()
            .find(|found| found.log_group_name() == Some(group))
            .ok_or_else(|| SinkError::Missing(group.to_owned()))?;
        let arn = found.log_group_arn.or(found.arn).unwrap_or_default();
        Ok(GroupFound {
            // The older of the two fields ends with the streams.
            arn: arn.trim_end_matches(":*").to_owned(),
            retention_days: found.retention_in_days.and_then(|days| u16::try_from(days).ok()),
            kms_key: found.kms_key_id,
            class: match found.log_group_class {
                // A service that tells none has but one.
                None | Some(LogGroupClass::Standard) => Some(LogClass::Standard),
                Some(LogGroupClass::InfrequentAccess) => Some(LogClass::InfrequentAccess),
                Some(_) => None,
            },
        })
    }

    pub(super) async fn tags(&self, arn: &str) -> Result<BTreeMap<String, String>, SinkError> {
        let asked = self.client.list_tags_for_resource().resource_arn(arn);
        let answer = asked
            .send()
            .await
            .map_err(|e| self.error(&failure(&e), "logs:ListTagsForResource", arn))?;
        Ok(answer.tags.unwrap_or_default().into_iter().collect())
    }

    pub(super) async fn tag(&self, arn: &str, tags: &BTreeMap<String, String>) -> Result<(), SinkError> {
        self.client
            .tag_resource()
            .resource_arn(arn)
            .set_tags(Some(owned(tags)))
            .send()
            .await
            .map(drop)
            .map_err(|e| self.error(&failure(&e), "logs:TagResource", arn))
    }

    pub(super) async fn associate(&self, group: &str, key: &str) -> Result<(), SinkError> {
        self.client
            .associate_kms_key()
            .log_group_name(group)
            .kms_key_id(key)
            .send()
            .await
            .map(drop)
            .map_err(|e| self.error(&failure(&e), "logs:AssociateKmsKey", group))
    }
}

fn owned(tags: &BTreeMap<String, String>) -> HashMap<String, String> {
    tags.clone().into_iter().collect()
}

fn sdk_class(class: LogClass) -> LogGroupClass {
    match class {
        LogClass::Standard => LogGroupClass::Standard,
        LogClass::InfrequentAccess => LogGroupClass::InfrequentAccess,
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_cloudwatchlogs::Client;

    use super::*;
    use crate::aws::canned::{self, Canned};
    use crate::logs::LogSink;

    fn sink(canned: &Canned) -> CloudWatchLogs {
        CloudWatchLogs::new(Client::new(&canned.config()), crate::config::Wire::Raw)
    }

    #[tokio::test]
    async fn a_group_is_created_with_its_key_its_tags_and_its_class() {
        let canned = Canned::new([canned::ok(""), canned::ok("")]);
        let sink = sink(&canned);
        let settings = GroupSettings {
            retention_days: Some(7),
            kms_key: Some("arn:aws:kms:eu-west-1:1:key/k".into()),
            tags: [("team".to_owned(), "cdc".to_owned())].into(),
            class: Some(LogClass::InfrequentAccess),
        };
        assert!(sink.create_group("/g", &settings).await.unwrap());
        assert!(sink.create_group("/g", &GroupSettings::default()).await.unwrap());
        let asked = canned.asked();
        for part in [
            r#""kmsKeyId":"arn:aws:kms:eu-west-1:1:key/k""#,
            r#""tags":{"team":"cdc"}"#,
            r#""logGroupClass":"INFREQUENT_ACCESS""#,
        ] {
            assert!(asked[0].contains(part), "{part}: {}", asked[0]);
        }
        assert!(!asked[1].contains("kms") && !asked[1].contains("tags") && !asked[1].contains("Class"));
    }

    #[tokio::test]
    async fn a_group_is_found_by_its_whole_name() {
        let canned = Canned::new([
            canned::ok(
                r#"{"logGroups":[
                    {"logGroupName":"/g","arn":"arn:aws:logs:r:1:log-group:/g:*","retentionInDays":30,"kmsKeyId":"k",
                     "logGroupClass":"INFREQUENT_ACCESS","logGroupArn":"arn:aws:logs:r:1:log-group:/g"},
                    {"logGroupName":"/g2","arn":"x"}]}"#,
            ),
            canned::ok(r#"{"logGroups":[{"logGroupName":"/g","arn":"arn:aws:logs:r:1:log-group:/g:*"}]}"#),
            canned::ok(r#"{"logGroups":[{"logGroupName":"/g2","arn":"x"}]}"#),
            canned::ok(r#"{"tags":{"a":"b"}}"#),
        ]);
        let sink = sink(&canned);
        let arn = "arn:aws:logs:r:1:log-group:/g".to_owned();
        let full = GroupFound {
            arn: arn.clone(),
            retention_days: Some(30),
            kms_key: Some("k".into()),
            class: Some(LogClass::InfrequentAccess),
        };
        assert_eq!(sink.describe_group("/g").await.unwrap(), full);
        let bare = GroupFound {
            arn: arn.clone(),
            class: Some(LogClass::Standard),
            ..GroupFound::default()
        };
        assert_eq!(sink.describe_group("/g").await.unwrap(), bare);
        let missing = sink.describe_group("/g").await.unwrap_err();
        assert_eq!(missing.class(), "missing");
        let tags = sink.group_tags(&arn).await.unwrap();
        assert_eq!(tags, [("a".to_owned(), "b".to_owned())].into());
    }
}
