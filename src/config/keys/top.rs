//! The keys of the file, and of the sections beside the pipelines.

use super::{Default, EXTERNAL, KMS, Key, Kind, TABLE, form, region, role};
use crate::config::check;
use crate::config::file::bounds;

/// All keys of the file.
pub static TOP: &[Key] = &[
    Key {
        name: "application",
        kind: form("name", "[A-Za-z0-9_.-]{3,249}"),
        default: Default::Value("weir"),
        example: "prod-cdc",
        about: "Names the state tables, unless `state` does: `<application>` holds the leases, `<application>-fleet` \
                the workers. Neither may be a table that is read.",
        more: &[],
    },
    Key {
        name: "http",
        kind: Kind::Section(HTTP),
        default: Default::Words("its defaults"),
        example: "{ address: 127.0.0.1:9090 }",
        about: "Health, status and metrics.",
        more: &[],
    },
    Key {
        name: "log",
        kind: Kind::Section(LOG),
        default: Default::Words("its defaults"),
        example: "{ format: json }",
        about: "Weir's own log. Its level is the environment's: `WEIR_LOG=info` (the default), `WEIR_LOG=weir=debug`.",
        more: &[],
    },
    Key {
        name: "tracing",
        kind: Kind::Section(TRACING),
        default: Default::Words("its defaults"),
        example: "{ otlp_endpoint: \"http://127.0.0.1:4318\", sample: 0.1 }",
        about: "Traces, one for each batch that is read: how long its records took, and where.",
        more: &[],
    },
    Key {
        name: "memory",
        kind: Kind::Size(bounds::MEMORY),
        default: Default::Words(
            "a quarter of the container's memory limit; 32MiB without one, 56MiB where a Kinesis stream is read",
        ),
        example: "512MiB",
        about: "The budget for records in flight, over all pipelines: each has a part of its own, the rest is for who \
                asks first. 64 MiB of the container's limit must be left beside it.",
        more: &["Where a Kinesis stream is read, `56MiB` at least: one record of 10 MiB takes that much."],
    },
    Key {
        name: "put_rate",
        kind: Kind::Number(check::PUT_RATE),
        default: Default::Value("4000"),
        example: "2000",
        about: "The most PutLogEvents a second, over all workers, in each account and region that is written to. \
                CloudWatch Logs' quota is 5,000 as a rule, also for others who write there; it can be raised.",
        more: &[],
    },
    Key {
        name: "wire",
        kind: Kind::Word(&["raw", "sdk"]),
        default: Default::Value("raw"),
        example: "sdk",
        about: "How records are read and puts written. `raw`: records are taken from the answers of GetRecords as they \
                stand there, and the requests of PutLogEvents are written once. `sdk`: both go through the types of the AWS SDK, \
                at about twice the CPU; for the day on which somebody doubts the former. Change it when nothing is in flight: a \
                change's text differs in the order of its attributes, and what a crash repeats is not recognised.",
        more: &[],
    },
    Key {
        name: "leases",
        kind: Kind::Section(LEASES),
        default: Default::Words("its defaults"),
        example: "{ duration: 20s, keep_removed: 720h }",
        about: "Who reads which shard.",
        more: &[],
    },
    Key {
        name: "checkpoint",
        kind: Kind::Section(CHECKPOINT),
        default: Default::Words("its defaults"),
        example: "{ interval: 5s }",
        about: "How progress is written.",
        more: &[],
    },
    Key {
        name: "drain",
        kind: Kind::Section(DRAIN),
        default: Default::Words("its defaults"),
        example: "{ timeout: 110s, grace_period: 120s }",
        about: "How the process ends.",
        more: &[],
    },
    Key {
        name: "state",
        kind: Kind::Section(STATE),
        default: Default::Words("its defaults"),
        example: "{ region: eu-west-1, tags: { team: data-platform }, point_in_time_recovery: true }",
        about: "The state tables.",
        more: &[],
    },
    Key {
        name: "pipelines",
        kind: Kind::Named(super::pipeline::PIPELINE),
        default: Default::Required,
        example: "{ orders: { source: { dynamodb_table: orders }, destination: { group: /cdc/orders } } }",
        about: "What is read and where it is written, one at least. The name (1 to 64 letters, digits and `. _ -`) \
                begins the lease keys: a pipeline that is renamed starts over.",
        more: &[],
    },
];

static HTTP: &[Key] = &[Key {
    name: "address",
    kind: form(
        "IP address and port",
        r"([0-9.]+|\[[0-9A-Fa-f:.]+(%[0-9]+)?\]):[0-9]{1,5}",
    ),
    default: Default::Value("0.0.0.0:8080"),
    example: "127.0.0.1:9090",
    about: "Where health, status and metrics are served.",
    more: &[],
}];

static LOG: &[Key] = &[Key {
    name: "format",
    kind: Kind::Word(&["auto", "text", "json"]),
    default: Default::Value("auto"),
    example: "json",
    about: "`auto` is text on a terminal and JSON elsewhere.",
    more: &[],
}];

static TRACING: &[Key] = &[
    Key {
        name: "otlp_endpoint",
        kind: form("URL", r#"https?://[^\s/@?#"<>\\^`{|}]+(/[^\s?#"<>\\^`{|}]*)?"#),
        default: Default::Words("no traces"),
        example: "http://127.0.0.1:4318",
        about: "Where a collector takes OTLP over HTTP, in JSON; `/v1/traces` is added. The environment's \
                `OTEL_EXPORTER_OTLP_ENDPOINT` stands before it; `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` stands before both, \
                and nothing is added to it. `OTEL_EXPORTER_OTLP_HEADERS` or `OTEL_EXPORTER_OTLP_TRACES_HEADERS`, \
                `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` count, too.",
        more: &[],
    },
    Key {
        name: "sample",
        kind: Kind::Part,
        default: Default::Value("0.01"),
        example: "0.1",
        about: "The part of all batches that is traced.",
        more: &[],
    },
];

static LEASES: &[Key] = &[
    Key {
        name: "keys",
        kind: Kind::Word(&["weir", "kcl"]),
        default: Default::Value("weir"),
        example: "weir",
        about: "Whose make of keys a new lease table gets. From one with `kcl` a KCL application of one stream can go \
                on; that needs exactly one pipeline. A table that is there keeps its own, also one that KCL made.",
        more: &[],
    },
    Key {
        name: "duration",
        kind: Kind::Duration(bounds::LEASE),
        default: Default::Value("10s"),
        example: "20s",
        about: "A worker that is silent for 85 % of this is taken for dead, and its shards are taken over.",
        more: &[],
    },
    Key {
        name: "foreign_watch",
        kind: Kind::Duration(bounds::FOREIGN_WATCH),
        default: Default::Value("20s"),
        example: "60s",
        about: "How long an owner unknown to Weir (a KCL worker) is watched before it counts as dead: at least twice \
                KCL's `failoverTimeMillis`.",
        more: &[],
    },
    Key {
        name: "keep_removed",
        kind: Kind::Duration(bounds::KEEP_REMOVED),
        default: Default::Value("168h"),
        example: "720h",
        about: "How long the leases of a pipeline that no worker runs any more are kept, in case it comes back.",
        more: &[],
    },
];

static CHECKPOINT: &[Key] = &[Key {
    name: "interval",
    kind: Kind::Duration(bounds::CHECKPOINT),
    default: Default::Value("15s"),
    example: "5s",
    about: "How often progress is written. A crash repeats at most what was sent since.",
    more: &[],
}];

static DRAIN: &[Key] = &[
    Key {
        name: "timeout",
        kind: Kind::Duration(bounds::DRAIN),
        default: Default::Value("25s"),
        example: "20s",
        about: "How long the end may take after SIGTERM, and 5 s less than the platform's grace period. Shards \
                are handed over without a pause where this is 1.1 × `leases.duration` + 2.8 s at least.",
        more: &[],
    },
    Key {
        name: "grace_period",
        kind: Kind::Duration(bounds::GRACE),
        default: Default::Words("not known"),
        example: "30s",
        about: "How long the platform waits between SIGTERM and SIGKILL: Kubernetes' `terminationGracePeriodSeconds`, \
                ECS' `stopTimeout`. It is told here so that Weir refuses a `timeout` that doesn't fit, and changes \
                nothing else.",
        more: &[],
    },
];

static STATE: &[Key] = &[
    Key {
        name: "lease_table",
        kind: form("name of a table", TABLE),
        default: Default::Words("`<application>`"),
        example: "prod-cdc",
        about: "The lease table, where its name must not follow the application's.",
        more: &[],
    },
    Key {
        name: "fleet_table",
        kind: form("name of a table", TABLE),
        default: Default::Words("`<application>-fleet`"),
        example: "prod-cdc-fleet",
        about: "The workers' table, where its name must not follow the application's.",
        more: &[],
    },
    Key {
        name: "create",
        kind: Kind::Boolean,
        default: Default::Value("true"),
        example: "true",
        about: "Create the tables that are missing. With `false` they must exist: one with the partition key \
                `leaseKey`, one with the partition key `kind` and the sort key `id`, all strings.",
        more: &[],
    },
    Key {
        name: "kms_key",
        kind: form("id, ARN or alias of a KMS key", KMS),
        default: Default::Words("DynamoDB's own key"),
        example: "alias/weir-state",
        about: "The key of tables that Weir creates; those that exist stay as they are.",
        more: &[],
    },
    Key {
        name: "tags",
        kind: Kind::Tags,
        default: Default::Words("none"),
        example: "{ team: data-platform, cost-center: \"4711\" }",
        about: "Of tables that Weir creates.",
        more: &[],
    },
    Key {
        name: "point_in_time_recovery",
        kind: Kind::Boolean,
        default: Default::Value("false"),
        example: "true",
        about: "Of tables that Weir creates. The state is worth little without the streams, which reach back 24 hours.",
        more: &[],
    },
    Key {
        name: "deletion_protection",
        kind: Kind::Boolean,
        default: Default::Value("false"),
        example: "true",
        about: "Of tables that Weir creates.",
        more: &[],
    },
    region("that of the SDK's usual chain (`AWS_REGION`, the profile)"),
    role("arn:aws:iam::111122223333:role/weir-state"),
    EXTERNAL,
];
