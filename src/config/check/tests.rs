use super::*;
use crate::clock::Timestamp;
use crate::config::{FanOut, LogClass, Oversize, SourceConfig, Start, StreamChoice, Untimely};
use crate::decode::{Decode, Gzip, UnknownMessages};
use crate::stream::StreamArn;

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
        "give it as `kinesis_stream_arn`",
    );
    says(
        stream_arn("arn:aws:sqs:eu-west-1:111122223333:x"),
        "is not the ARN of a DynamoDB stream",
    );
    says(
        stream_arn("arn:aws:dynamodb:eu-west-1:111122223333:table/orders"),
        "name, `orders`",
    );
    for bad in [
        "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/*",
        "arn:*:dynamodb:eu-west-1:111122223333:table/orders/stream/2024-11-09T08:12:19.138",
    ] {
        says(stream_arn(bad), "it looks like");
    }
    says(
        stream_arn("arn:aws:dynamodb:eu-west-1:1111:table/orders/stream/2024-11-09T08:12:19.138"),
        "it looks like",
    );
}

const KINESIS: &str = "arn:aws:kinesis:eu-west-1:111122223333:stream/rds-audit";

#[test]
fn a_kinesis_stream_is_a_name_or_the_arn_of_one() {
    assert_eq!(kinesis_stream("Rds_audit.v2-x").unwrap(), "Rds_audit.v2-x");
    assert!(kinesis_stream("x").is_ok() && kinesis_stream(&"a".repeat(128)).is_ok());
    for bad in ["", "a/b", "a b", "ströme"] {
        says(kinesis_stream(bad), "1 to 128");
    }
    says(kinesis_stream(&"a".repeat(129)), "1 to 128");
    says(kinesis_stream(KINESIS), "give the stream's name, `rds-audit`");
    says(
        kinesis_stream("arn:aws:sns:eu-west-1:111122223333:x"),
        "is an ARN: give the stream's name",
    );
    for good in [
        KINESIS,
        "arn:aws-cn:kinesis:cn-north-1:111122223333:stream/a",
        "arn:aws:kinesis:us-east-1:000000000000:stream/A_b.c-d",
    ] {
        assert_eq!(kinesis_stream_arn(good).unwrap().as_str(), good);
    }
    for (bad, text) in [
        ("rds-audit", "is not an ARN: it looks like arn:aws:kinesis:"),
        (
            "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2024-11-09T08:12:19.138",
            "give it as `dynamodb_stream_arn`",
        ),
        (
            "arn:aws:kinesis:eu-west-1:111122223333:stream/rds-audit/consumer/weir:1700000000",
            "is the ARN of a consumer: give the stream's, arn:aws:kinesis:eu-west-1:111122223333:stream/rds-audit",
        ),
        (
            "arn:aws:firehose:eu-west-1:111122223333:stream/x",
            "is not the ARN of a Kinesis stream",
        ),
        ("arn:aws:kinesis:eu-west-1:1111:stream/x", "12 digits of account"),
        ("arn:aws:kinesis::111122223333:stream/x", "it looks like"),
        ("arn::kinesis:eu-west-1:111122223333:stream/x", "it looks like"),
        ("arn:aws:kinesis:eu-west-1:111122223333:stream/", "it looks like"),
        (
            "arn:aws:kinesis:eu-west-1:111122223333:stream/a#1",
            "it looks like",
        ),
        (
            "arn:aws:kinesis:eu-west-1:111122223333:stream/a/b",
            "it looks like",
        ),
        ("arn:aws:kinesis:eu-west-1:111122223333:x", "it looks like"),
    ] {
        says(kinesis_stream_arn(bad), text);
    }
    assert_eq!(
        any_stream_arn(KINESIS),
        Ok(StreamChoice::KinesisArn(StreamArn::new(KINESIS)))
    );
    says(any_stream_arn("orders"), "is not the ARN of a stream");
    assert!(consumer("weir-rds-audit").is_ok());
    says(consumer("arn:x"), "give no ARN");
}

#[test]
fn a_consumer_that_is_named_by_default_must_fit() {
    let mut source = SourceConfig::of(StreamChoice::Kinesis("s".into()));
    let long = "a".repeat(100);
    assert!(consumer_fits(&source, &long, &long).is_ok(), "there is none");
    source.fan_out = Some(FanOut::default());
    assert!(consumer_fits(&source, "weir", "p").is_ok());
    assert!(consumer_fits(&source, &long, &"p".repeat(27)).is_ok());
    says(
        consumer_fits(&source, &long, &"p".repeat(28)),
        "has 129 characters where Kinesis takes 128",
    );
    source.fan_out = Some(FanOut {
        consumer: Some("own".into()),
    });
    assert!(consumer_fits(&source, &long, &long).is_ok());
}

#[test]
fn what_a_record_is_read_as_fits_its_stream() {
    let kinesis = StreamChoice::Kinesis("s".into());
    let table = StreamChoice::Table("orders".into());
    for (word, decode) in DECODES {
        assert_eq!(self::decode(word), Ok(decode));
        assert_eq!(decode_word(decode), word);
        assert!(decode_fits(decode, &kinesis).is_ok());
        says(decode_fits(decode, &table), "is for Kinesis streams");
    }
    assert_eq!(decode("lambda"), Ok(Decode::Lambda));
    assert!(decode_fits(Decode::Lambda, &table).is_ok());
    says(decode_fits(Decode::Lambda, &kinesis), "read with `change`");
    says(decode("subscriptions"), "did you mean `subscription`?");
    says(decode("changes"), "did you mean `change`?");
    says(
        decode("xml"),
        "use one of auto, subscription, audit, change, json, text, base64",
    );
    assert_eq!(gzip("always"), Ok(Gzip::Always));
    says(gzip("always_"), "did you mean `always`?");
    says(gzip("false"), "did you mean `never`?");
    says(gzip("true"), "did you mean `always`?");
    says(gzip("on"), "use one of auto, always, never");
    assert_eq!(unknown_messages("skip"), Ok(UnknownMessages::Skip));
    says(unknown_messages("deadletter"), "did you mean `dead_letter`?");
    assert!(unknown_messages_fit(Decode::Auto).is_ok());
    says(unknown_messages_fit(Decode::Json), "`decode: json` opens none");
}

#[test]
fn a_name_that_would_lack_a_value_is_refused_with_the_reason() {
    let kinesis = StreamChoice::Kinesis("rds-audit".into());
    let table = StreamChoice::Table("orders".into());
    let check = |text: &str, stream: &StreamChoice, how| {
        renders(&super::stream(text).unwrap(), "weir", "p", stream, how)
    };
    for (text, stream, how) in [
        ("{table}", &table, Decode::Lambda),
        ("{stream}/{instance}", &kinesis, Decode::Audit),
        (
            "{owner}/{log_group}/{log_stream}/{cluster}",
            &kinesis,
            Decode::Subscription,
        ),
        ("{log_group}", &kinesis, Decode::Auto),
        ("{cluster:-none}/{stream:-none}", &kinesis, Decode::Auto),
        ("{table:-none}", &table, Decode::Lambda),
    ] {
        assert_eq!(check(text, stream, how), Ok(()), "{text}");
    }
    for (text, stream, how, why) in [
        (
            "{table}",
            &kinesis,
            Decode::Auto,
            "uses `{table}`, which is a DynamoDB table, and a Kinesis stream has none: use `{stream}`; or leave \
             it out",
        ),
        (
            "{stream}",
            &table,
            Decode::Lambda,
            "and the source is a table: use `{table}`",
        ),
        (
            "{cluster}",
            &table,
            Decode::Lambda,
            "and a DynamoDB stream holds none",
        ),
        (
            "{shard_id}/{instance}",
            &kinesis,
            Decode::Change,
            "uses `{instance}`, which comes from a subscription envelope, and `decode: change` opens none",
        ),
        ("{owner}", &kinesis, Decode::Text, "`decode: text` opens none"),
        // A default that would always stand there is none.
        (
            "{owner:-none}",
            &kinesis,
            Decode::Text,
            "uses `{owner}`, which comes from",
        ),
        (
            "{table:-x}",
            &kinesis,
            Decode::Auto,
            "use `{stream}`; or leave it out",
        ),
        (
            "{stream:-x}",
            &table,
            Decode::Lambda,
            "use `{table}`; or leave it out",
        ),
        (
            "{cluster:-x}",
            &table,
            Decode::Lambda,
            "and a DynamoDB stream holds none",
        ),
        ("{log_group}", &kinesis, Decode::Json, "`decode: json` opens none"),
        (
            "{log_stream}",
            &kinesis,
            Decode::Base64,
            "`decode: base64` opens none",
        ),
    ] {
        says(check(text, stream, how), why);
    }
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
        "arn:aws:iam::111122223333:role/*",
        "arn:aws:iam::111122223333:role/cdc/w?ir",
        "arn:aws:iam::111122223333:role/${x}",
        "arn:*:iam::111122223333:role/weir",
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
fn a_log_groups_key_is_the_arn_of_a_key() {
    const ID: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";
    let arn = format!("arn:aws:kms:eu-west-1:111122223333:key/{ID}");
    assert_eq!(log_key(&arn).as_ref(), Ok(&arn));
    let alias = "arn:aws:kms:eu-west-1:111122223333:alias/logs";
    for bad in [ID, "alias/logs", alias] {
        says(log_key(bad), "is no ARN of a key");
    }
    says(log_key("arn:aws:s3:::key/x"), "is not a KMS key: give its ARN");
}

#[test]
fn what_becomes_of_events_is_one_of_the_words() {
    assert_eq!(oversize("truncate"), Ok(Oversize::Truncate));
    says(oversize("drop"), "use one of split, truncate, dead_letter");
    says(oversize("spilt"), "did you mean `split`?");
    assert_eq!(untimely("now"), Ok(Untimely::Now));
    says(untimely("dead-letter"), "did you mean `dead_letter`?");
    assert_eq!(log_class("infrequent_access"), Ok(LogClass::InfrequentAccess));
    says(log_class("STANDARD"), "did you mean `standard`?");
    says(log_class("delivery"), "use one of standard, infrequent_access");
}

#[test]
fn a_rate_of_puts_is_a_number_that_is_not_zero() {
    assert_eq!((put_rate("1"), put_rate("100000")), (Ok(1), Ok(100_000)));
    says(put_rate("0"), "lets nothing through");
    says(put_rate("100001"), "is too much");
    says(put_rate("99999999999999999999"), "is not a number of puts");
    says(put_rate("-1"), "is not a number of puts");
    says(put_rate("4k"), "is not a number of puts");
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

#[test]
fn a_collector_is_a_url_of_http() {
    for (given, read) in [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        (
            "https://collector.example/otlp/",
            "https://collector.example/otlp/v1/traces",
        ),
        ("http://[::1]:4318/v1/traces", "http://[::1]:4318/v1/traces"),
    ] {
        assert_eq!(otlp_endpoint(given).unwrap(), read);
        assert_eq!(otlp_url(given).unwrap(), given);
    }
    for bad in [
        "",
        "collector:4317",
        "grpc://c:4317",
        "http://",
        "http:///x",
        "http://a b",
        "http://u:p@c",
        "http://c?x",
    ] {
        says(otlp_endpoint(bad), "write it like `http://127.0.0.1:4318`");
        says(otlp_url(bad), "write it like `http://127.0.0.1:4318`");
    }
}

#[test]
fn a_sample_is_a_part_of_one() {
    for (given, read) in [("0", 0.0), ("1", 1.0), ("0.01", 0.01), ("1e-3", 0.001)] {
        assert_eq!(sample(given), Ok(read));
    }
    for bad in ["", "-0.1", "1.1", "1%", "NaN", "inf"] {
        says(sample(bad), "use 0 (none) to 1 (all)");
    }
}
