//! The subscription filters of CloudWatch Logs, as [`Subscriptions`].

use async_trait::async_trait;
use aws_sdk_cloudwatchlogs::types::PolicyType;

use super::CloudWatchLogs;
use crate::aws::failure::failure;
use crate::logs::{AccountPolicy, SinkError, SubscriptionFilter, Subscriptions};

/// A group has two filters at most (quotas of CloudWatch Logs), an account and region as many policies: what has
/// more pages than this has no end.
const MOST_PAGES: usize = 20;

#[async_trait]
impl Subscriptions for CloudWatchLogs {
    async fn filters(&self, group: &str) -> Result<Vec<SubscriptionFilter>, SinkError> {
        let mut filters = Vec::new();
        let mut next = None;
        for _ in 0..MOST_PAGES {
            let request = self.client.describe_subscription_filters().log_group_name(group);
            let page = request
                .set_next_token(next.take())
                .send()
                .await
                .map_err(|e| self.error(&failure(&e), "logs:DescribeSubscriptionFilters", group))?;
            for filter in page.subscription_filters.unwrap_or_default() {
                filters.push(SubscriptionFilter {
                    name: filter.filter_name.unwrap_or_default(),
                    destination_arn: filter.destination_arn.unwrap_or_default(),
                });
            }
            next = page.next_token;
            if next.is_none() {
                return Ok(filters);
            }
        }
        Err(endless("the subscription filters"))
    }

    async fn account_policies(&self) -> Result<Vec<AccountPolicy>, SinkError> {
        let mut policies = Vec::new();
        let mut next = None;
        for _ in 0..MOST_PAGES {
            let request = self
                .client
                .describe_account_policies()
                .policy_type(PolicyType::SubscriptionFilterPolicy);
            let page = request.set_next_token(next.take()).send().await.map_err(|e| {
                self.error(
                    &failure(&e),
                    "logs:DescribeAccountPolicies",
                    "the account's policies",
                )
            })?;
            for policy in page.account_policies.unwrap_or_default() {
                policies.push(AccountPolicy {
                    name: policy.policy_name.unwrap_or_default(),
                    document: policy.policy_document.unwrap_or_default(),
                    selection_criteria: policy.selection_criteria,
                });
            }
            next = page.next_token;
            if next.is_none() {
                return Ok(policies);
            }
        }
        Err(endless("the account's policies"))
    }
}

fn endless(what: &str) -> SinkError {
    SinkError::Invalid(format!("{what} have more than {MOST_PAGES} pages"))
}

#[cfg(test)]
mod tests {
    use aws_sdk_cloudwatchlogs::Client;

    use super::*;
    use crate::aws::canned::{self, Canned};

    const STREAM: &str = "arn:aws:kinesis:eu-west-1:111122223333:stream/rds-audit";

    fn logs(canned: &Canned) -> CloudWatchLogs {
        CloudWatchLogs::new(Client::new(&canned.config()), crate::config::Wire::Raw)
    }

    fn filters(name: &str, next: &str) -> canned::Answer {
        canned::ok(&format!(
            r#"{{"subscriptionFilters":[{{"filterName":"{name}","logGroupName":"g","filterPattern":"",
                "destinationArn":"{STREAM}","creationTime":1}}]{next}}}"#
        ))
    }

    #[tokio::test]
    async fn every_page_of_filters_is_read() {
        let canned = Canned::new([
            filters("one", r#","nextToken":"t1""#),
            canned::ok(r#"{"subscriptionFilters":[],"nextToken":"t2"}"#),
            filters("two", ""),
        ]);
        let found = logs(&canned).filters("g").await.unwrap();
        let names: Vec<_> = found.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["one", "two"]);
        assert!(found.iter().all(|f| f.destination_arn == STREAM));
        let asked = canned.asked();
        assert!(
            asked.iter().all(|a| a.contains(r#""logGroupName":"g""#)),
            "{asked:?}"
        );
        assert!(!asked[0].contains("nextToken") && asked[2].contains(r#""nextToken":"t2""#));
    }

    #[tokio::test]
    async fn every_page_of_policies_is_read() {
        let policy = |name: &str, rest: &str| {
            canned::ok(&format!(
                r#"{{"accountPolicies":[{{"policyName":"{name}","policyDocument":"{{\"DestinationArn\":\"{STREAM}\"}}",
                    "policyType":"SUBSCRIPTION_FILTER_POLICY","scope":"ALL","accountId":"111122223333"{rest}"#
            ))
        };
        let canned = Canned::new([
            policy(
                "one",
                r#","selectionCriteria":"LogGroupName NOT IN [\"g\"]"}],"nextToken":"t"}"#,
            ),
            policy("two", "}]}"),
        ]);
        let found = logs(&canned).account_policies().await.unwrap();
        assert_eq!(
            found,
            [
                AccountPolicy {
                    name: "one".into(),
                    document: format!(r#"{{"DestinationArn":"{STREAM}"}}"#),
                    selection_criteria: Some(r#"LogGroupName NOT IN ["g"]"#.into()),
                },
                AccountPolicy {
                    name: "two".into(),
                    document: format!(r#"{{"DestinationArn":"{STREAM}"}}"#),
                    selection_criteria: None,
                },
            ]
        );
        assert!(canned.asked()[0].contains(r#""policyType":"SUBSCRIPTION_FILTER_POLICY""#));
    }

    #[tokio::test]
    async fn pages_without_an_end_are_given_up() {
        let canned = Canned::new((0..50).map(|_| filters("one", r#","nextToken":"t""#)));
        assert_eq!(logs(&canned).filters("g").await.unwrap_err().class(), "invalid");
        assert_eq!(canned.asked().len(), MOST_PAGES);
    }

    #[tokio::test]
    async fn errors_are_those_the_judge_knows() {
        let canned = Canned::new([
            canned::error(400, "ResourceNotFoundException"),
            canned::error(400, "AccessDeniedException"),
            canned::error(400, "ThrottlingException"),
        ]);
        let logs = logs(&canned);
        assert_eq!(logs.filters("g").await.unwrap_err().class(), "missing");
        assert_eq!(logs.account_policies().await.unwrap_err().class(), "denied");
        assert_eq!(logs.account_policies().await.unwrap_err().class(), "throttled");
    }
}
