//! What one value may be.
//!
//! Pure. Each function takes the value as given and returns it checked, or what is wrong with it and the
//! way out, as the rest of a sentence that begins with the value. The file and the flags share them.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{FLEET_SUFFIX, LeaseKeys, LogFormat, Start, units};
use crate::clock::Timestamp;
use crate::logs::template::{Fields, Template, TemplateKind};
use crate::stream::StreamArn;
use crate::suggest;

/// What is wrong, and the way out.
pub type Checked<T> = Result<T, String>;

/// The length of a table's name (API reference of DynamoDB's CreateTable).
const TABLE_NAME: RangeInclusive<usize> = 3..=255;

/// What CloudWatch Logs takes (API reference of PutRetentionPolicy).
const RETENTION_DAYS: [u16; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
];

/// A name for the state tables, with room for that of the fleet's.
pub fn application(text: &str) -> Checked<String> {
    let longest = TABLE_NAME.end() - FLEET_SUFFIX.len();
    table_like(
        text,
        *TABLE_NAME.start()..=longest,
        "the state tables are named after the application",
    )
}

/// The name of a DynamoDB table.
pub fn table_name(text: &str) -> Checked<String> {
    if text.starts_with("arn:") {
        return Err(match StreamArn::new(text).table() {
            Some(table) if text.contains("/stream/") => {
                format!("is the ARN of a stream: give it as the stream's ARN, or the table's name, `{table}`")
            }
            Some(table) => format!("is an ARN: give the table's name, `{table}`"),
            None => "is an ARN: give the table's name".to_owned(),
        });
    }
    table_like(text, TABLE_NAME, "as DynamoDB names tables")
}

fn table_like(text: &str, length: RangeInclusive<usize>, why: &str) -> Checked<String> {
    let fits = length.contains(&text.len());
    if fits
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
    {
        return Ok(text.to_owned());
    }
    let (min, max) = length.into_inner();
    Err(format!(
        "must be {min} to {max} of the characters a-z A-Z 0-9 _ . - ({why})"
    ))
}

/// The ARN of a DynamoDB stream.
pub fn stream_arn(text: &str) -> Checked<StreamArn> {
    const SHAPE: &str = "arn:aws:dynamodb:REGION:ACCOUNT:table/TABLE/stream/LABEL";
    let arn = StreamArn::new(text);
    let fields: Vec<&str> = text.splitn(6, ':').collect();
    let &["arn", partition, service, region, account, resource] = fields.as_slice() else {
        return Err(format!("is not an ARN: it looks like {SHAPE}"));
    };
    if service != "dynamodb" {
        return Err(format!(
            "is not the ARN of a DynamoDB stream: it looks like {SHAPE}"
        ));
    }
    let parts: Vec<&str> = resource.split('/').collect();
    match parts.as_slice() {
        ["table", table, "stream", label]
            if !partition.is_empty()
                && !label.is_empty()
                && self::region(region).is_ok()
                && is_account(account)
                && table_name(table).is_ok() =>
        {
            Ok(arn)
        }
        ["table", table] => Err(format!(
            "is the ARN of a table: give the table's name, `{table}`, or the ARN of its stream (`LatestStreamArn` in DescribeTable)"
        )),
        _ => Err(format!(
            "is not the ARN of a DynamoDB stream: it looks like {SHAPE}"
        )),
    }
}

/// The ARN of an IAM role.
pub fn role_arn(text: &str) -> Checked<String> {
    let fields: Vec<&str> = text.splitn(6, ':').collect();
    match fields.as_slice() {
        ["arn", partition, "iam", "", account, resource]
            if !partition.is_empty()
                && is_account(account)
                && resource.strip_prefix("role/").is_some_and(|name| {
                    !name.is_empty() && !name.ends_with('/') && !name.contains(char::is_whitespace)
                }) =>
        {
            Ok(text.to_owned())
        }
        _ => Err("is not the ARN of a role: it looks like arn:aws:iam::ACCOUNT:role/NAME, with 12 digits of account"
            .to_owned()),
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// An external id: 2 to 1224 of `[\w+=,.@:\/-]` (API reference of STS AssumeRole).
pub fn external_id(text: &str) -> Checked<String> {
    let held = |c: char| c.is_ascii_alphanumeric() || "_+=,.@:/-".contains(c);
    if (2..=1224).contains(&text.len()) && text.chars().all(held) {
        return Ok(text.to_owned());
    }
    Err("must be 2 to 1224 of the characters a-z A-Z 0-9 _ + = , . @ : / -".to_owned())
}

/// A region by its shape alone: new ones appear, and emulators make their own.
pub fn region(text: &str) -> Checked<String> {
    let held = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    // It becomes a label of a host name: RFC 1035, 2.3.4 (63 characters).
    if (1..=63).contains(&text.len())
        && text.bytes().all(held)
        && !text.starts_with('-')
        && !text.ends_with('-')
    {
        return Ok(text.to_owned());
    }
    Err("is not a region: it looks like eu-west-1".to_owned())
}

/// A pipeline's name: the first part of its lease keys, which end at a `/`.
pub fn pipeline_name(text: &str) -> Checked<String> {
    let held = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=64).contains(&text.len()) && text.chars().all(held) {
        return Ok(text.to_owned());
    }
    Err(
        "a pipeline's name must be 1 to 64 of the characters a-z A-Z 0-9 . _ - (it begins its lease keys)"
            .to_owned(),
    )
}

/// The template of a log group's name.
pub fn group(text: &str) -> Checked<Template> {
    Template::parse(text, TemplateKind::Group).map_err(|e| e.to_string())
}

/// The template of a log stream's name.
pub fn stream(text: &str) -> Checked<Template> {
    Template::parse(text, TemplateKind::Stream).map_err(|e| e.to_string())
}

/// Days of retention.
pub fn retention_days(text: &str) -> Checked<u16> {
    let list = || RETENTION_DAYS.map(|d| d.to_string()).join(", ");
    let Ok(days) = text.parse::<i64>() else {
        return Err(format!("is not a number of days: use one of {}", list()));
    };
    let nearest = RETENTION_DAYS
        .into_iter()
        .min_by_key(|&d| i64::from(d).abs_diff(days));
    match nearest {
        Some(same) if i64::from(same) == days => Ok(same),
        Some(near) => Err(format!(
            "is not a retention that CloudWatch Logs takes: the nearest is {near} (it takes {})",
            list()
        )),
        None => Err(format!("use one of {}", list())),
    }
}

/// The address that health and metrics are served on.
pub fn address(text: &str) -> Checked<SocketAddr> {
    text.parse().map_err(|_| {
        let example = match text
            .rsplit_once(':')
            .map_or(text, |(_, port)| port)
            .parse::<u16>()
        {
            Ok(port) => format!("0.0.0.0:{port}"),
            Err(_) => "0.0.0.0:8080".to_owned(),
        };
        format!("is not an IP address and a port: write it like `{example}`")
    })
}

/// `weir` or `kcl`.
pub fn lease_keys(text: &str) -> Checked<LeaseKeys> {
    match text {
        "weir" => Ok(LeaseKeys::Weir),
        "kcl" => Ok(LeaseKeys::Kcl),
        _ => Err(format!(
            "is no make of lease keys: {}",
            suggest::one_of(text, &["weir", "kcl"])
        )),
    }
}

/// `auto`, `text` or `json`.
pub fn log_format(text: &str) -> Checked<LogFormat> {
    match text {
        "auto" => Ok(LogFormat::Auto),
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(format!(
            "is not a log format: {}",
            suggest::one_of(other, &["auto", "text", "json"])
        )),
    }
}

/// `trim_horizon`, `latest`, or a time in RFC 3339.
pub fn start(text: &str) -> Checked<Start> {
    match text {
        "trim_horizon" => return Ok(Start::TrimHorizon),
        "latest" => return Ok(Start::Latest),
        _ => {}
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(Start::At(Timestamp::from_millis(time.as_millisecond())));
    }
    let way_out = match suggest::nearest(text, &["trim_horizon", "latest"]) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            "use `trim_horizon`, `latest`, or a time with its offset, like `2024-11-09T08:12:19Z`".to_owned()
        }
    };
    Err(format!("is not a starting position: {way_out}"))
}

/// `true` or `false`.
pub fn boolean(text: &str) -> Checked<bool> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("is neither `true` nor `false`: use one of them".to_owned()),
    }
}

/// A duration within bounds.
pub fn duration(bounds: RangeInclusive<Duration>) -> impl Fn(&str) -> Checked<Duration> {
    move |text| within(units::duration(text)?, &bounds, units::show_duration)
}

/// A size in bytes within bounds.
pub fn size(bounds: RangeInclusive<usize>) -> impl Fn(&str) -> Checked<usize> {
    move |text| within(units::size(text)?, &bounds, units::show_size)
}

fn within<T: PartialOrd + Copy>(value: T, bounds: &RangeInclusive<T>, show: fn(T) -> String) -> Checked<T> {
    let (min, max) = (*bounds.start(), *bounds.end());
    if value < min {
        Err(format!("is too little: use {} to {}", show(min), show(max)))
    } else if value > max {
        Err(format!("is too much: use {} to {}", show(min), show(max)))
    } else {
        Ok(value)
    }
}

/// What is known of the state tables' names: of a wrong one nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct StateNames<'a> {
    pub application: Option<&'a str>,
    /// `state.lease_table`, where it is set.
    pub lease_table: Option<&'a str>,
    /// `state.fleet_table`, where it is set.
    pub fleet_table: Option<&'a str>,
}

/// Why this source table can't be read, if so: a state table would be it.
pub fn apart_from_state(names: StateNames<'_>, table: &str) -> Checked<()> {
    let StateNames {
        application,
        lease_table,
        fleet_table,
    } = names;
    for (which, key, set, suffix) in [
        ("the lease table", "state.lease_table", lease_table, ""),
        (
            "the fleet's table",
            "state.fleet_table",
            fleet_table,
            FLEET_SUFFIX,
        ),
    ] {
        match (set, application) {
            (Some(set), _) if set == table => {
                return Err(format!("reads {which}, `{key}`: choose another name for that"));
            }
            (None, Some(application)) if table.strip_suffix(suffix) == Some(application) => {
                return Err(format!(
                    "reads {which} of the application `{application}`, which is named after it: choose another \
                     application"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A KMS key: its id, its ARN or an alias (API reference of KMS, "Key identifiers").
pub fn kms_key(text: &str) -> Checked<String> {
    let alias = |text: &str| {
        text.strip_prefix("alias/").is_some_and(|name| {
            let held = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'-');
            !name.is_empty() && name.bytes().all(held)
        })
    };
    let fields: Vec<&str> = text.splitn(6, ':').collect();
    let fits = match fields.as_slice() {
        ["arn", partition, "kms", region, account, resource] => {
            let key = resource.strip_prefix("key/").is_some_and(is_key_id);
            !partition.is_empty()
                && self::region(region).is_ok()
                && is_account(account)
                && (key || alias(resource))
        }
        _ => is_key_id(text) || alias(text),
    };
    match fits {
        true => Ok(text.to_owned()),
        false => Err(
            "is not a KMS key: give its id, its ARN (arn:aws:kms:REGION:ACCOUNT:key/ID), or an alias (alias/NAME)"
                .to_owned(),
        ),
    }
}

/// A UUID, or a multi-Region key's id.
fn is_key_id(text: &str) -> bool {
    let hex = |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit());
    let parts: Vec<&str> = text.split('-').collect();
    match parts.as_slice() {
        ["mrk", id] => hex(id, 32),
        [a, b, c, d, e] => hex(a, 8) && [b, c, d].iter().all(|part| hex(part, 4)) && hex(e, 12),
        _ => false,
    }
}

/// What a tag's key and value may hold besides letters and digits (Developer Guide of DynamoDB, "Tagging
/// restrictions").
fn in_a_tag(c: char) -> bool {
    c.is_alphanumeric() || " +-=._:/@".contains(c)
}

/// A tag's key.
pub fn tag_key(text: &str) -> Checked<()> {
    if text.to_lowercase().starts_with("aws:") {
        return Err("a tag's key can't begin with `aws:`, which AWS reserves".to_owned());
    }
    match (1..=128).contains(&text.chars().count()) && text.chars().all(in_a_tag) {
        true => Ok(()),
        false => Err("a tag's key must be 1 to 128 letters, digits, spaces and + - = . _ : / @".to_owned()),
    }
}

/// A tag's value.
pub fn tag_value(text: &str) -> Checked<String> {
    match text.chars().count() <= 256 && text.chars().all(in_a_tag) {
        true => Ok(text.to_owned()),
        false => {
            Err("a tag's value must be at most 256 letters, digits, spaces and + - = . _ : / @".to_owned())
        }
    }
}

/// Renders a name with what is known before a stream is read, and stand-ins of the usual length for the
/// rest: a name that is too long or reserved is better told now than when the first shard is read.
pub fn renders(template: &Template, application: &str, pipeline: &str, table: Option<&str>) -> Checked<()> {
    let fields = Fields {
        application,
        pipeline,
        table,
        shard_id: "shardId-00000001573081276000-9a8f9ff6",
        region: Some("eu-west-1"),
        account: Some("111122223333"),
    };
    template
        .render(&fields)
        .map(drop)
        .map_err(|e| format!("gives no valid name: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says<T: std::fmt::Debug>(checked: Checked<T>, text: &str) {
        let error = checked.unwrap_err();
        assert!(error.contains(text), "{error:?} should contain {text:?}");
    }

    #[test]
    fn an_application_leaves_room_for_the_fleets_table() {
        assert!(application("weir").is_ok());
        assert!(application(&"a".repeat(249)).is_ok());
        says(application(&"a".repeat(250)), "3 to 249");
        says(application("ab"), "3 to 249");
        says(application("my app"), "a-z A-Z 0-9 _ . -");
    }

    #[test]
    fn a_table_is_a_name_and_not_an_arn() {
        assert_eq!(table_name("Orders_2.x-y").unwrap(), "Orders_2.x-y");
        assert!(table_name(&"a".repeat(255)).is_ok());
        for bad in ["", "ab", "a/b/c", "ordörs"] {
            says(table_name(bad), "3 to 255");
        }
        says(table_name(&"a".repeat(256)), "3 to 255");
        says(
            table_name("arn:aws:dynamodb:eu-west-1:111122223333:table/orders"),
            "give the table's name, `orders`",
        );
        says(
            table_name("arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2024-11-09T08:12:19.138"),
            "is the ARN of a stream",
        );
    }

    #[test]
    fn a_stream_arn_is_one_of_a_dynamodb_stream() {
        for good in [
            "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2024-11-09T08:12:19.138",
            "arn:aws-cn:dynamodb:cn-north-1:111122223333:table/orders/stream/2024-11-09T08:12:19.138",
            "arn:aws:dynamodb:ddblocal:000000000000:table/orders/stream/2024-11-09T08:12:19.138",
        ] {
            assert_eq!(stream_arn(good).unwrap().as_str(), good);
        }
        says(stream_arn("orders"), "is not an ARN");
        says(
            stream_arn("arn:aws:kinesis:eu-west-1:111122223333:stream/x"),
            "is not the ARN of a DynamoDB stream",
        );
        says(
            stream_arn("arn:aws:dynamodb:eu-west-1:111122223333:table/orders"),
            "name, `orders`",
        );
        says(
            stream_arn("arn:aws:dynamodb:eu-west-1:1111:table/orders/stream/2024-11-09T08:12:19.138"),
            "it looks like",
        );
    }

    #[test]
    fn a_role_is_an_iam_role_arn() {
        assert!(role_arn("arn:aws:iam::111122223333:role/path/weir").is_ok());
        assert!(role_arn("arn:aws-us-gov:iam::111122223333:role/weir").is_ok());
        for bad in [
            "weir",
            "arn:aws:iam::111122223333:user/weir",
            "arn:aws:iam::1111:role/weir",
            "arn:aws:iam:eu-west-1:111122223333:role/weir",
            "arn:aws:iam::111122223333:role/",
            "arn:aws:sts::111122223333:assumed-role/weir/x",
        ] {
            says(role_arn(bad), "arn:aws:iam::ACCOUNT:role/NAME");
        }
    }

    #[test]
    fn small_texts_keep_to_their_shape() {
        assert!(external_id("cdc:prod/1").is_ok());
        says(external_id("x"), "2 to 1224");
        says(external_id("a b"), "2 to 1224");
        assert!(region("eu-west-1").is_ok() && region("ddblocal").is_ok());
        for bad in ["", "EU-WEST-1", "eu west 1", "-eu", "eu_west_1"] {
            says(region(bad), "eu-west-1");
        }
        assert!(pipeline_name("orders.v2_x-1").is_ok());
        for bad in ["", "a/b", "a b", "é"] {
            says(pipeline_name(bad), "1 to 64");
        }
        says(pipeline_name(&"a".repeat(65)), "1 to 64");
        assert_eq!(boolean("true"), Ok(true));
        says(boolean("yes"), "neither `true` nor `false`");
        assert_eq!(log_format("json"), Ok(LogFormat::Json));
        says(log_format("jsn"), "did you mean `json`?");
        says(log_format("xml"), "auto, text, json");
    }

    #[test]
    fn a_retention_that_is_not_on_the_list_names_the_nearest() {
        assert_eq!(retention_days("365"), Ok(365));
        says(retention_days("360"), "the nearest is 365");
        says(retention_days("0"), "the nearest is 1 ");
        says(retention_days("99999"), "the nearest is 3653");
        says(retention_days("-5"), "the nearest is 1 ");
        says(retention_days("30 days"), "is not a number of days");
    }

    #[test]
    fn an_address_is_an_ip_and_a_port() {
        assert_eq!(address("[::1]:9000").unwrap(), "[::1]:9000".parse().unwrap());
        says(address(":9000"), "`0.0.0.0:9000`");
        says(address("9000"), "`0.0.0.0:9000`");
        says(address("localhost:9000"), "`0.0.0.0:9000`");
        says(address("localhost"), "`0.0.0.0:8080`");
    }

    #[test]
    fn a_start_is_a_word_or_a_time() {
        assert_eq!(start("trim_horizon"), Ok(Start::TrimHorizon));
        assert_eq!(start("latest"), Ok(Start::Latest));
        let at = Start::At(Timestamp::from_millis(1_731_139_939_138));
        assert_eq!(start("2024-11-09T08:12:19.138Z"), Ok(at));
        assert_eq!(start("2024-11-09T09:12:19.138+01:00"), Ok(at));
        says(start("TRIM_HORIZON"), "did you mean `trim_horizon`?");
        says(start("earliest"), "`2024-11-09T08:12:19Z`");
        says(start("2024-11-09"), "`2024-11-09T08:12:19Z`");
        says(start("2024-11-09T08:12:19"), "with its offset");
    }

    #[test]
    fn bounds_are_stated_where_they_are_passed() {
        let check = duration(Duration::from_secs(3)..=Duration::from_secs(300));
        assert_eq!(check("3s"), Ok(Duration::from_secs(3)));
        assert_eq!(check("5m"), Ok(Duration::from_secs(300)));
        says(check("2999ms"), "is too little: use 3s to 5m");
        says(check("301s"), "is too much: use 3s to 5m");
        says(size(1 << 24..=1 << 36)("1KiB"), "use 16MiB to 64GiB");
    }

    #[test]
    fn no_state_table_is_a_source_table() {
        let named = |application| StateNames {
            application: Some(application),
            ..StateNames::default()
        };
        assert!(apart_from_state(named("weir"), "orders").is_ok());
        says(
            apart_from_state(named("orders"), "orders"),
            "reads the lease table of the application `orders`",
        );
        says(
            apart_from_state(named("orders"), "orders-fleet"),
            "reads the fleet's table",
        );
        let set = StateNames {
            lease_table: Some("cdc-leases"),
            fleet_table: Some("cdc-workers"),
            ..named("orders")
        };
        for table in ["orders", "orders-fleet"] {
            assert!(
                apart_from_state(set, table).is_ok(),
                "{table} is no state table any more"
            );
        }
        says(apart_from_state(set, "cdc-leases"), "`state.lease_table`");
        says(apart_from_state(set, "cdc-workers"), "`state.fleet_table`");
        // Of a wrong application nothing more is said.
        assert!(apart_from_state(StateNames::default(), "orders").is_ok());
    }

    #[test]
    fn a_kms_key_is_an_id_an_arn_or_an_alias() {
        for good in [
            "1234abcd-12ab-34cd-56ef-1234567890ab",
            "mrk-1234abcd12ab34cd56ef1234567890ab",
            "alias/cdc/state",
            "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
            "arn:aws:kms:eu-west-1:111122223333:alias/cdc",
        ] {
            assert_eq!(kms_key(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "cdc",
            "alias/",
            "1234abcd",
            "arn:aws:kms:eu-west-1:111122223333:cdc",
            "arn:aws:kms:eu-west-1:1111:alias/cdc",
            "arn:aws:iam::111122223333:role/cdc",
        ] {
            says(kms_key(bad), "alias/NAME");
        }
    }

    #[test]
    fn tags_keep_to_what_aws_takes() {
        assert!(tag_key("cost-center").is_ok() && tag_key("Kostenträger 1").is_ok());
        says(tag_key("aws:name"), "which AWS reserves");
        says(tag_key(""), "1 to 128");
        says(tag_key(&"k".repeat(129)), "1 to 128");
        says(tag_key("a;b"), "1 to 128");
        assert_eq!(tag_value(""), Ok(String::new()));
        says(tag_value(&"v".repeat(257)), "at most 256");
        says(tag_value("a\nb"), "at most 256");
    }
}
