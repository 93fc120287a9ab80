//! The keys of a pipeline.

use super::{ANY, Default, EXTERNAL, KEY_ARN, Key, Kind, TABLE, form, region, role};
use crate::config::check;
use crate::config::file::bounds;

const KINESIS: &str = "[A-Za-z0-9_.-]{1,128}";

pub static PIPELINE: &[Key] = &[
    Key {
        name: "source",
        kind: Kind::Section(SOURCE),
        default: Default::Required,
        example: "{ dynamodb_table: orders, start: latest }",
        about: "What is read: exactly one of `dynamodb_table`, `dynamodb_stream_arn`, `kinesis_stream` and \
                `kinesis_stream_arn`.",
        more: &[],
    },
    Key {
        name: "decode",
        kind: Kind::Word(&["auto", "subscription", "audit", "change", "json", "text", "base64", "lambda"]),
        default: Default::Words("`auto` of a Kinesis stream, `lambda` of a DynamoDB stream"),
        example: "audit",
        about: "What the records of a Kinesis stream are read as.",
        more: &["\
- `auto`: each by its looks, a subscription, a change, text, else base64
- `subscription`: from a log group, through a subscription filter of CloudWatch Logs; its messages unchanged
- `audit`: the audit log of MySQL or MariaDB, in such a subscription or line by line; JSON
- `change`: the changes of a DynamoDB table, which it sends to Kinesis
- `json`, `text`: unchanged
- `base64`: bytes, in base64 inside JSON
- `lambda`: Lambda's event record, which is all that a DynamoDB stream can be read as"],
    },
    Key {
        name: "gzip",
        kind: Kind::Word(&["auto", "always", "never"]),
        default: Default::Value("auto"),
        example: "never",
        about: "Undo gzip, of Kinesis records: where a record begins like it; always (a record that is none goes to \
                the dead letters); never.",
        more: &[],
    },
    Key {
        name: "inflate_limit",
        kind: Kind::Size(check::INFLATE_LIMIT),
        default: Default::Value("64MiB"),
        example: "128MiB",
        about: "The most that one Kinesis record may open to; beyond, it goes to the dead letters.",
        more: &[],
    },
    Key {
        name: "unknown_messages",
        kind: Kind::Word(&["dead_letter", "skip"]),
        default: Default::Value("dead_letter"),
        example: "skip",
        about: "What becomes of a message of a subscription that is neither data nor a check of the stream's health.",
        more: &[],
    },
    Key {
        name: "filter",
        kind: Kind::Filter,
        default: Default::Words("all events"),
        example: "[ { eventName: [INSERT, REMOVE] } ]",
        about: "Which events are delivered, as Lambda's event filters say it: one of the patterns has to match; all \
                fields of a pattern have to, each with one of the values in its list. A pattern may also be a text in \
                JSON, as Lambda's API takes it.",
        more: &["\
Besides values, a list may hold tests: `{ prefix: us- }` and `{ suffix: .png }` (each also as \
`{ prefix: { equals-ignore-case: us- } }`), `{ equals-ignore-case: alice }`, `{ wildcard: \"/lib/*.so\" }`, \
`{ cidr: 10.0.0.0/8 }`, `{ exists: false }` (of a value, as in `S: [{ exists: false }]`, not of an attribute or an \
image), `{ anything-but: [a, b] }`, `{ anything-but: { prefix: a } }` (also `suffix`, `equals-ignore-case`, `wildcard`), \
and `{ numeric: [\">\", 0, \"<=\", 5] }`, of numbers alone: DynamoDB's `N` is a text (`N: [\"5\"]`), and can't be compared. \
`$or: [{…}, {…}]` stands for a field. YAML reads NULL as null: as the type of an attribute it has to be in quotes, \
`\"NULL\": [true]`.",
            "\
A pattern is matched with Lambda's event record of a change, whatever `format` makes of it; with the JSON of an audit \
line, and one that could not be read is always kept; and of other Kinesis records with what Lambda's filters see there: \
`data` (the message, taken apart if it is JSON), `partitionKey`, `sequenceNumber`, `approximateArrivalTimestamp`, and \
`logGroup`, `logStream`, `owner` of a message that came in a subscription. JSON that is nested deeper than 100 levels \
can't be taken apart, and goes to the dead letters."],
    },
    Key {
        name: "format",
        kind: Kind::Word(&["lambda", "plain", "diff", "json", "raw"]),
        default: Default::Words("`lambda` of changes, `json` of audit lines"),
        example: "plain",
        about: "How an event is told. Of changes `lambda`, `plain` or `diff`; of audit lines `json` or `raw`; of \
                other records there is no choice.",
        more: &["\
- `lambda`: Lambda's event record, exact; with `decode: change`, the change as it came
- `plain`: with ordinary values, `new.status` and `old.status`
- `diff`: its keys and what changed, `changed.status.old` and `changed.status.new`. A new item has `new` alone, one that \
was removed `old`; where the stream's view type doesn't tell what changed, a `note` says so
- `json`: the fields of an audit line
- `raw`: the line as it was written, with bytes that are no UTF-8 replaced. It has no id, so that after the death of a \
worker nothing is looked up, and what was sent since the last checkpoint is sent again"],
    },
    Key {
        name: "redact",
        kind: Kind::Rules(RULE),
        default: Default::Words("nothing is hidden"),
        example: "[ \"*.card_number\", { path: NewImage.notes, with: remove } ]",
        about: "What is hidden before an event is sent. An item is a path, which is masked, or a section.",
        more: &["\
A path has segments between dots. Of a change it begins with `NewImage`, `OldImage` or `Keys` (`*` is all three), and \
goes on without the types of DynamoDB. A name is looked for in all elements of a list (`*.items.price`), a number is one \
element (`*.items.0`) and such a name, and `*` is any member of a map or any element of a list; a backslash escapes a \
dot or a star in a name. A path of `NewImage` alone is told as `OldImage` at the next change, and an attribute of the \
key stands in `Keys` and in both images: begin with `*` where in doubt.",
            "\
Of audit lines and of other JSON a path begins with the name of a field (`host`, `object`, …), inside the message. Of an \
audit line it is that name alone; who hides `username` or `host` also hides the account that is the object of \
PROXY_CONNECT or CHANGE_USER.",
            "\
Where a path goes on below a text that begins with `{` or `[`, which may be JSON, the text is hidden whole; so are a set \
of which an element is named, and what is no attribute of DynamoDB's. A path that an earlier one covers is refused. With \
a redaction, an audit line that can't be parsed is told by its SHA-256 and length alone."],
    },
    Key {
        name: "redact_key",
        kind: form("text of 16 bytes or more", ANY),
        default: Default::Words("none"),
        example: "${WEIR_REDACT_KEY}",
        about: "The key of the hashes, better 32 random bytes (how random they are is not checked). Only for \
                `with: hash`. No message shows it.",
        more: &[],
    },
    Key {
        name: "redact_sql",
        kind: Kind::Boolean,
        default: Default::Value("false"),
        example: "true",
        about: "Audit lines only: the literals of the SQL in `object` are told as `?`, and comments as `/* ? */`. What \
                is doubtful, or was cut by the server, is masked to the end.",
        more: &[],
    },
    Key {
        name: "dead_letter",
        kind: Kind::Section(DEAD_LETTER),
        default: Default::Words("its defaults"),
        example: "{ group: /weir/letters }",
        about: "Where that goes which can't be delivered as it is, with the reason. `weir dead-letters` shows it and \
                sends it again. Of the same account and region as the destination.",
        more: &[],
    },
    Key {
        name: "destination",
        kind: Kind::Section(DESTINATION),
        default: Default::Required,
        example: "{ group: /cdc/orders, retention_days: 365 }",
        about: "Where it is written.",
        more: &["\
`group` and `stream` are templates over `{application}`, `{pipeline}`, `{table}` (of DynamoDB), `{stream}` (the name of \
a Kinesis stream), `{shard_id}`, `{region}`, `{account}`; and, of events that came in a subscription envelope, \
`{owner}`, `{log_group}`, `{log_stream}`, `{cluster}`, `{instance}`. The last two are read from the log group \
`/aws/rds/cluster/ID/audit` and its log streams. `{field:-default}` tells what stands where a value is missing; an event \
that has none, without a default, goes to the dead letters. `{{` and `}}` are literal braces. YAML wants a value that \
begins with a brace in quotes."],
    },
];

static SOURCE: &[Key] = &[
    Key {
        name: "dynamodb_table",
        kind: form("name of a table", TABLE),
        default: Default::Alternative,
        example: "orders",
        about: "The table's current stream, also when it is disabled and enabled anew.",
        more: &[],
    },
    Key {
        name: "dynamodb_stream_arn",
        kind: form(
            "ARN of a DynamoDB stream",
            "arn:[a-z0-9-]+:dynamodb:[a-z0-9-]+:[0-9]{12}:table/[A-Za-z0-9_.-]{3,255}/stream/[A-Za-z0-9:._-]+",
        ),
        default: Default::Alternative,
        example: "arn:aws:dynamodb:eu-west-1:111122223333:table/customers/stream/2024-11-09T08:12:19.138",
        about: "This stream alone; its region is the ARN's.",
        more: &[],
    },
    Key {
        name: "kinesis_stream",
        kind: form("name of a stream", KINESIS),
        default: Default::Alternative,
        example: "rds-audit",
        about: "The Kinesis stream of this name.",
        more: &[],
    },
    Key {
        name: "kinesis_stream_arn",
        kind: form(
            "ARN of a Kinesis stream",
            "arn:[a-z0-9-]+:kinesis:[a-z0-9-]+:[0-9]{12}:stream/[A-Za-z0-9_.-]{1,128}",
        ),
        default: Default::Alternative,
        example: "arn:aws:kinesis:eu-west-1:444455556666:stream/clicks",
        about: "A Kinesis stream by its ARN, also in another account; its region is the ARN's.",
        more: &[],
    },
    Key {
        name: "start",
        kind: form(
            "`trim_horizon`, `latest`, or a time in RFC 3339",
            "trim_horizon|latest|[+-]?[0-9]{4}.*",
        ),
        default: Default::Value("trim_horizon"),
        example: "2024-11-09T08:12:19Z",
        about: "Where the first reading starts: at the oldest record there is, at the newest, or at a time. \
                Afterwards the checkpoints decide.",
        more: &[],
    },
    Key {
        name: "sync_interval",
        kind: Kind::Duration(bounds::SYNC),
        default: Default::Value("30s"),
        example: "1m",
        about: "How often all shards are listed.",
        more: &[],
    },
    Key {
        name: "poll",
        kind: Kind::Section(POLL),
        default: Default::Words("its defaults"),
        example: "{ busy: 200ms, idle: 5s }",
        about: "The wait between two reads of a shard.",
        more: &[],
    },
    Key {
        name: "fan_out",
        kind: Kind::Boolean,
        default: Default::Value("false"),
        example: "true",
        about: "Enhanced fan-out: the Kinesis stream pushes its records to a consumer of its own, for a price, instead \
                of being polled with the others that read it.",
        more: &[],
    },
    Key {
        name: "consumer",
        kind: form("name", KINESIS),
        default: Default::Words("`<application>-<pipeline>`"),
        example: "prod-cdc-rds-audit",
        about: "That consumer, registered where it is missing.",
        more: &[],
    },
    region("that of the ARN, else of the SDK's usual chain"),
    role("arn:aws:iam::444455556666:role/weir-source"),
    EXTERNAL,
];

static POLL: &[Key] = &[
    Key {
        name: "busy",
        kind: Kind::Duration(bounds::POLL_BUSY),
        default: Default::Value("0s"),
        example: "200ms",
        about: "After a read that gave records. At the tip of a shard of DynamoDB Streams, where each read is paid for, \
                at least `500ms`, `200ms` after 25 records or more, but not longer than `idle`.",
        more: &[],
    },
    Key {
        name: "idle",
        kind: Kind::Duration(bounds::POLL_IDLE),
        default: Default::Value("1s"),
        example: "5s",
        about: "After one that gave none; not shorter than `busy`.",
        more: &[],
    },
    Key {
        name: "idle_most",
        kind: Kind::Duration(bounds::POLL_IDLE),
        default: Default::Words("`5s`, or `idle` if that is longer"),
        example: "10s",
        about: "While a shard stays silent the wait grows, to a tenth of the silence, up to this: the most that idleness \
                adds to the latency of a record. Equal to `idle`, it does not grow. A job (`--until-caught-up`) reads at \
                `idle`.",
        more: &[],
    },
];

static RULE: &[Key] = &[
    Key {
        name: "path",
        kind: form("path", ANY),
        default: Default::Required,
        example: "\"*.customer.email\"",
        about: "Names the values.",
        more: &[],
    },
    Key {
        name: "with",
        kind: Kind::Word(&["mask", "remove", "hash"]),
        default: Default::Value("mask"),
        example: "hash",
        about: "`mask`: `***` stands in its place, `{\"S\":\"***\"}` whatever its type was. `remove`: it is gone; in a \
                list null stands in its place. `hash`: `hmac-sha256:` and 32 hex digits, equal for equal values in \
                all pipelines with the same `redact_key`; the elements of a set are hashed one by one.",
        more: &[],
    },
];

static DEAD_LETTER: &[Key] = &[
    Key {
        name: "group",
        kind: form("name of a log group", r"[^{}]+"),
        default: Default::Words("the destination's, if it is one for all records, else `/weir/PIPELINE`"),
        example: "/weir/letters",
        about: "All dead letters of a pipeline go to one place: a fixed name, without fields.",
        more: &[],
    },
    Key {
        name: "stream",
        kind: form("name of a log stream", r"[^{}]+"),
        default: Default::Value("dead-letter"),
        example: "letters",
        about: "A fixed name, too.",
        more: &[],
    },
    Key {
        name: "raw",
        kind: Kind::Boolean,
        default: Default::Value("false"),
        example: "true",
        about: "Where a redaction is set, the letter of a record holds its position, SHA-256 and length instead of its \
                bytes, which may be what is hidden, and is read from the stream again when it is sent. With `true`, \
                its bytes.",
        more: &[],
    },
];

static DESTINATION: &[Key] = &[
    Key {
        name: "group",
        kind: form("template of a log group's name", ANY),
        default: Default::Required,
        example: "/cdc/${STAGE:-prod}/{table}",
        about: "The log group.",
        more: &[],
    },
    Key {
        name: "stream",
        kind: form("template of a log stream's name", ANY),
        default: Default::Value("\"{shard_id}\""),
        example: "\"{table}/{shard_id}\"",
        about: "The log stream.",
        more: &[],
    },
    Key {
        name: "allow_groups",
        kind: Kind::Texts,
        default: Default::Words("none"),
        example: "[ \"/db/*/audit\" ]",
        about: "The groups that are meant, with `*` for any characters: needed where the group's name is drawn from \
                the records, since whoever writes those must not choose a foreign one. An event of any other goes to \
                the dead letters.",
        more: &[],
    },
    Key {
        name: "create",
        kind: Kind::Boolean,
        default: Default::Value("true"),
        example: "true",
        about: "Create a missing group or stream. With `false`, the group, a stream of a fixed name and the group and \
                stream of the dead letters must exist.",
        more: &[],
    },
    Key {
        name: "retention_days",
        kind: Kind::Days,
        default: Default::Words("events are kept for ever"),
        example: "365",
        about: "Of a group that Weir creates. CloudWatch Logs takes 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, \
                400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 and 3653.",
        more: &[],
    },
    Key {
        name: "kms_key",
        kind: form("ARN of a KMS key", KEY_ARN),
        default: Default::Words("CloudWatch Logs' own key"),
        example: "arn:aws:kms:eu-central-1:777788889999:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        about: "Of a group that Weir creates. The key's policy must let `logs.REGION.amazonaws.com` use it.",
        more: &[],
    },
    Key {
        name: "tags",
        kind: Kind::Tags,
        default: Default::Words("none"),
        example: "{ team: data-platform, cost-center: \"4711\" }",
        about: "Of a group that Weir creates.",
        more: &[],
    },
    Key {
        name: "class",
        kind: Kind::Word(&["standard", "infrequent_access"]),
        default: Default::Words("`standard`, by CloudWatch Logs"),
        example: "standard",
        about: "Of a group that Weir creates; it can't be changed later. `infrequent_access` is cheaper to write to, \
                with fewer features (no subscription filters, for one). No events can be read back from such a group, \
                so that `look_up` is off, and the dead letters go to a standard group of their own.",
        more: &[],
    },
    Key {
        name: "reconcile",
        kind: Kind::Boolean,
        default: Default::Value("false"),
        example: "true",
        about: "Set `retention_days`, `kms_key`, `tags` and `class` on groups that exist, too, once after each start. \
                Other tags stay; a wrong class is told. What can't be set holds up no event: it is told and tried \
                again.",
        more: &[],
    },
    Key {
        name: "oversize",
        kind: Kind::Word(&["split", "truncate", "dead_letter"]),
        default: Default::Value("split"),
        example: "truncate",
        about: "A message larger than CloudWatch Logs takes (1,048,550 bytes): in numbered parts \
                `{\"id\", \"part\", \"parts\", \"message\"}` whose messages joined are the original; its beginning, and how \
                much went; or whole, to the dead letters.",
        more: &[],
    },
    Key {
        name: "too_old",
        kind: Kind::Word(&["dead_letter", "now"]),
        default: Default::Value("dead_letter"),
        example: "now",
        about: "Events that CloudWatch Logs refuses because they are more than 14 days old, or older than the group's \
                retention. With `now` they are put at the time of the put, with `weirOriginalTime` in the message. For \
                a backfill from an old start, use `now`.",
        more: &[],
    },
    Key {
        name: "too_new",
        kind: Kind::Word(&["dead_letter", "now"]),
        default: Default::Value("dead_letter"),
        example: "now",
        about: "The same of events more than 2 hours ahead.",
        more: &[],
    },
    Key {
        name: "look_up",
        kind: Kind::Boolean,
        default: Default::Value("true"),
        example: "false",
        about: "When a worker died, its successor reads the newest events of the shard's log stream and leaves out the \
                records that are there already. Best effort: `false`, or a failure, only means that what was sent \
                since the last checkpoint is sent again.",
        more: &[],
    },
    region("that of the SDK's usual chain"),
    role("arn:aws:iam::777788889999:role/weir-logs"),
    EXTERNAL,
];
