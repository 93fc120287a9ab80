//! The ARNs of what Weir uses, and the partition of a region.
//!
//! Pure. Owns their forms ("Resource types defined by …" of the Service Authorization Reference). What isn't known is
//! given as `*`, as in a policy.

/// The part of AWS that a region is in (AWS General Reference, "Amazon Resource Names").
pub fn partition(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ if region.starts_with("us-iso-") => "aws-iso",
        _ if region.starts_with("us-isob-") => "aws-iso-b",
        _ => "aws",
    }
}

/// Stands in a policy for an action that AWS takes no resource for.
pub const ANY: &str = "*";

/// Where something is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub region: String,
    /// `*` where it isn't known.
    pub account: String,
}

impl Place {
    pub fn new(region: &str, account: Option<&str>) -> Self {
        Self {
            region: region.to_owned(),
            account: account.unwrap_or("*").to_owned(),
        }
    }

    /// The place that an ARN names, as far as it does; the rest is `other`'s.
    pub fn of_arn(arn: &str, other: &Self) -> Self {
        let mut parts = arn.split(':').skip(3);
        let mut part = |otherwise: &str| match parts.next() {
            None | Some("") => otherwise.to_owned(),
            Some(part) => part.to_owned(),
        };
        Self {
            region: part(&other.region),
            account: part(&other.account),
        }
    }

    fn arn(&self, service: &str, resource: &str) -> String {
        let Self { region, account } = self;
        format!(
            "arn:{}:{service}:{region}:{account}:{resource}",
            partition(region)
        )
    }

    pub fn table(&self, name: &str) -> String {
        self.arn("dynamodb", &format!("table/{name}"))
    }

    /// All streams of a table: its present one and those before.
    pub fn streams_of(&self, table: &str) -> String {
        self.arn("dynamodb", &format!("table/{table}/stream/*"))
    }

    pub fn kinesis(&self, name: &str) -> String {
        self.arn("kinesis", &format!("stream/{name}"))
    }

    /// `name` may hold `*`.
    pub fn log_group(&self, name: &str) -> String {
        self.arn("logs", &format!("log-group:{name}"))
    }

    /// The streams of the groups. `name` may hold `*`.
    pub fn log_streams(&self, name: &str) -> String {
        self.arn("logs", &format!("log-group:{name}:*"))
    }

    /// Whatever CloudWatch Logs has: for requests that name no group.
    pub fn logs(&self) -> String {
        self.arn("logs", "*")
    }

    pub fn key(&self, id: &str) -> String {
        self.arn("kms", &format!("key/{id}"))
    }
}
