//! What an envelope tells of its events.

/// What a CloudWatch Logs subscription tells of the log stream that its events are from.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Envelope {
    /// The account of the log group.
    pub owner: String,
    pub log_group: String,
    pub log_stream: String,
}

impl Envelope {
    /// The database cluster whose logs these are, where the group is one of RDS, DocumentDB or Neptune.
    pub fn cluster(&self) -> Option<&str> {
        ["/aws/rds/cluster/", "/aws/docdb/", "/aws/neptune/"]
            .iter()
            .find_map(|prefix| self.of(prefix))
    }

    /// The database instance. A cluster's log streams begin with the name of the instance, which can't hold
    /// a dot: `audit-1.audit.log.0`.
    pub fn instance(&self) -> Option<&str> {
        let of_stream = || self.log_stream.split('.').next().filter(|name| !name.is_empty());
        self.of("/aws/rds/instance/")
            .or_else(|| self.cluster().and_then(|_| of_stream()))
    }

    /// What stands between `prefix` and the next `/` of the group's name.
    fn of(&self, prefix: &str) -> Option<&str> {
        let rest = self.log_group.strip_prefix(prefix)?;
        rest.split('/').next().filter(|name| !name.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_of_a_database_tells_its_cluster_and_instance() {
        for (group, stream, cluster, instance) in [
            (
                "/aws/rds/cluster/shop/audit",
                "shop-1.audit.log.0",
                Some("shop"),
                Some("shop-1"),
            ),
            (
                "/aws/rds/cluster/shop/slowquery",
                "shop-1",
                Some("shop"),
                Some("shop-1"),
            ),
            ("/aws/rds/cluster/shop/audit", "", Some("shop"), None),
            (
                "/aws/rds/instance/shop-2/audit",
                "anything.at.all",
                None,
                Some("shop-2"),
            ),
            (
                "/aws/docdb/papers/audit",
                "papers-1",
                Some("papers"),
                Some("papers-1"),
            ),
            (
                "/aws/neptune/graph/audit",
                "graph-1.log",
                Some("graph"),
                Some("graph-1"),
            ),
            ("/aws/rds/cluster//audit", "x", None, None),
            ("/aws/rds/proxy/shop", "x", None, None),
            ("/aws/lambda/shop", "x.y", None, None),
            ("", "", None, None),
        ] {
            let envelope = Envelope {
                owner: String::new(),
                log_group: group.to_owned(),
                log_stream: stream.to_owned(),
            };
            assert_eq!(
                (envelope.cluster(), envelope.instance()),
                (cluster, instance),
                "{group} {stream}"
            );
        }
    }
}
