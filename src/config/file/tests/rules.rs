//! How records are read, kept, hidden and told, and where dead letters go.

use super::*;
use crate::decode::{Decode, DecodeSettings};
use crate::filter::Filter;
use crate::redact::{Key, Path, Redaction, Rule, With};
use crate::shape::Format;

#[test]
fn dead_letters_have_a_fixed_place_of_their_own() {
    let file = |letters: &str, destination: &str| {
        format!(
            "pipelines: {{ p: {{ source: {SOURCE}, destination: {destination}, dead_letter: {letters} }} }}"
        )
    };
    for (letters, destination, what) in [
        (
            "{ group: \"/weir/{table}\" }",
            DESTINATION,
            "p.dead_letter.group: `/weir/{table}` holds a brace, and all dead letters of a pipeline go to one place: \
             write a fixed name",
        ),
        (
            "{ stream: \"a:b\" }",
            DESTINATION,
            "p.dead_letter.stream: `a:b` holds ':'",
        ),
        ("{ raw: 1 }", DESTINATION, "p.dead_letter.raw: `1` is neither"),
        (
            "{ to: x }",
            DESTINATION,
            "p.dead_letter.to: is not a known key: use one of group, stream, raw",
        ),
        (
            "{ stream: x }",
            "{ group: g, stream: x }",
            "p.destination.stream: `x` is the stream of the dead letters",
        ),
        (
            "{ group: g }",
            "{ group: g, stream: dead-letter }",
            "p.destination.stream: `dead-letter` is the stream of the dead letters",
        ),
        // The template may give any name.
        (
            "{ group: g }",
            "{ group: \"{table}\", stream: dead-letter }",
            "p.destination.stream: `dead-letter` is the stream of the dead letters",
        ),
    ] {
        let found = problems(&file(letters, destination));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].to_string().contains(what), "{what} in {}", found[0]);
    }
    for (letters, destination) in [
        ("{ group: h }", "{ group: g, stream: dead-letter }"),
        ("{ stream: x }", "{ group: g, stream: dead-letter }"),
        ("{ raw: true }", DESTINATION),
    ] {
        load(&file(letters, destination)).unwrap();
    }
}

/// The one problem of a file whose pipeline `p` reads so and has these keys beside.
fn problem_of_decode(source: &str, keys: &str) -> String {
    let text = format!("pipelines: {{ p: {{ source: {source}, {keys}, destination: {DESTINATION} }} }}");
    let found = problems(&text);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].to_string()
}

#[test]
fn ways_to_decode_that_do_not_fit_are_refused() {
    const KINESIS: &str = "{ kinesis_stream: s }";
    for (source, keys, says) in [
        (
            KINESIS,
            "decode: audits",
            "pipelines.p.decode: `audits` is no way to decode: did you mean `audit`?",
        ),
        (
            KINESIS,
            "decode: lambda",
            "pipelines.p.decode: `lambda` is how a DynamoDB stream's records are read",
        ),
        (
            SOURCE,
            "decode: change",
            "pipelines.p.decode: `change` is for Kinesis streams",
        ),
        (SOURCE, "gzip: auto", "pipelines.p.gzip: is for Kinesis streams"),
        (
            SOURCE,
            "inflate_limit: 64MiB",
            "pipelines.p.inflate_limit: is for Kinesis streams",
        ),
        (
            SOURCE,
            "unknown_messages: skip",
            "pipelines.p.unknown_messages: is for Kinesis streams",
        ),
        (
            KINESIS,
            "gzip: sometimes",
            "pipelines.p.gzip: `sometimes` is no way to treat gzip: use one of",
        ),
        (
            KINESIS,
            "gzip: false",
            "pipelines.p.gzip: `false` is no way to treat gzip: did you mean `never`?",
        ),
        (
            KINESIS,
            "inflate_limit: 512KiB",
            "inflate_limit: `512KiB` is too little: use 1MiB to 256MiB",
        ),
        (KINESIS, "inflate_limit: 1GiB", "is too much: use 1MiB to 256MiB"),
        (
            KINESIS,
            "gzip: never, inflate_limit: 2MiB",
            "pipelines.p.inflate_limit: limits what gzip opens to, and `gzip` is never",
        ),
        (
            KINESIS,
            "decode: text, unknown_messages: skip",
            "pipelines.p.unknown_messages: is about subscription envelopes, and `decode: text` opens none",
        ),
        (KINESIS, "decoded: text", "did you mean `decode`?"),
    ] {
        let problem = problem_of_decode(source, keys);
        assert!(problem.contains(says), "{problem}");
    }
    let same =
        format!("pipelines: {{ p: {{ source: {SOURCE}, decode: lambda, destination: {DESTINATION} }} }}");
    assert_eq!(
        load(&same).unwrap().pipelines[0].decode,
        DecodeSettings::of(Decode::Lambda)
    );
    // With a source that is wrong, nothing is said of what would fit it.
    assert!(
        problem_of_decode("{ start: latest }", "decode: change, gzip: never").contains("names no stream")
    );
}

/// What is read of a pipeline `p` with this source, these keys beside it, and variables.
fn filter_of(source: &str, keys: &str) -> Result<Option<Filter>, ConfigError> {
    let vars = |name: &str| match name {
        "OPERATION" => Some("READ\"".to_owned()),
        "PATTERN" => Some(r#"{"eventName":["REMOVE"]}"#.to_owned()),
        _ => None,
    };
    let text = format!("pipelines: {{ p: {{ source: {source}, {keys}, destination: {DESTINATION} }} }}");
    let mut config = read(&text, &vars, Overrides::default())?;
    Ok(config.pipelines.remove(0).shape.filter)
}

#[test]
fn a_filter_is_one_pattern_or_a_list_of_them_with_variables() {
    const KINESIS: &str = "{ kinesis_stream: s }";
    let remove = serde_json::json!({ "eventName": ["REMOVE"] });
    let read = serde_json::json!({ "operation": [{ "anything-but": ["READ\""] }, null, 1.5] });
    let data = serde_json::json!({ "data": { "n": [18446744073709551615u64, "a"] } });
    for (source, keys, patterns) in [
        (SOURCE, "filter: { eventName: [REMOVE] }", vec![remove.clone()]),
        (SOURCE, "filter: [{ eventName: [REMOVE] }]", vec![remove.clone()]),
        (
            SOURCE,
            r#"filter: '{"eventName": ["REMOVE"]}'"#,
            vec![remove.clone()],
        ),
        (SOURCE, "filter: \"${PATTERN}\"", vec![remove.clone()]),
        (
            SOURCE,
            "filter: [\"${PATTERN}\", { eventName: [\"${UNSET:-REMOVE}\"] }]",
            vec![remove.clone(), remove],
        ),
        (
            KINESIS,
            "decode: audit, filter: [{ operation: [{ anything-but: [\"${OPERATION}\"] }, null, 1.5] }]",
            vec![read],
        ),
        (
            KINESIS,
            "filter: { data: { n: [18446744073709551615, a] } }",
            vec![data],
        ),
    ] {
        let expected = Filter::parse(&patterns).unwrap();
        assert_eq!(filter_of(source, keys).unwrap(), Some(expected), "{keys}");
    }
    assert_eq!(filter_of(SOURCE, "decode: lambda").unwrap(), None);
}

#[test]
fn filters_that_are_wrong_or_keep_nothing_are_refused() {
    const KINESIS: &str = "{ kinesis_stream: s }";
    for (source, keys, says) in [
        (
            SOURCE,
            "filter: { eventName: INSERT }",
            r#"pipelines.p.filter: pattern 1: `eventName` is a text: put it in a list, as in ["INSERT"]"#,
        ),
        (
            SOURCE,
            "filter: [{ eventName: [INSERT] }, { eventNames: [INSERT] }]",
            "pipelines.p.filter: pattern 2: `eventNames` is no field of a change: did you mean `eventName`?",
        ),
        (
            KINESIS,
            "filter: [{ operation: [READ] }]",
            "pipelines.p.filter: pattern 1: `operation` is no field of this pipeline's events: use one of data, \
             partitionKey, sequenceNumber, approximateArrivalTimestamp, logGroup, logStream, owner (what a message \
             holds is below `data`, as in {\"data\": {\"operation\": ...}})",
        ),
        (
            KINESIS,
            "decode: audit, filter: [{ operations: [READ] }]",
            "`operations` is no field of an audit line: did you mean `operation`?",
        ),
        (
            SOURCE,
            "filter: { dynamodb: { NewImage: { a: { NULL: [true] } } } }",
            "a key is null, as YAML reads NULL, ~ and nothing at all: write it in quotes, as in \"NULL\"",
        ),
        (
            SOURCE,
            r#"filter: { Pattern: '{"eventName":["INSERT"]}' }"#,
            r#"remove `Pattern:` and write the text itself, as in '{"eventName":["INSERT"]}'"#,
        ),
        (
            SOURCE,
            "filter: []",
            "pipelines.p.filter: holds no pattern, and would keep nothing",
        ),
        (SOURCE, "filter: {}", "pipelines.p.filter: pattern 1 is empty"),
        (
            SOURCE,
            "filter: ",
            "pipelines.p.filter: has no value: give one, or remove the key",
        ),
        (
            SOURCE,
            "filter: INSERT",
            "pipelines.p.filter: pattern 1 is not JSON",
        ),
        (
            SOURCE,
            "filter: [[{ eventName: [INSERT] }]]",
            "pattern 1 is a list: write an object",
        ),
        (
            SOURCE,
            "filter: [{ eventName: [\"${UNSET}\"] }]",
            "pipelines.p.filter: the environment variable `UNSET` is not set",
        ),
        (
            SOURCE,
            "filter: '{\"eventName\": [\"${OPERATION}\"]}'",
            "pattern 1 is not JSON",
        ),
        (
            KINESIS,
            "filter: { data: { n: [12345678901234567890123] } }",
            "`data.n` holds the number 1.2345678901234568e+22, which has more digits than YAML keeps",
        ),
        (
            SOURCE,
            "filter: [{ eventName: [a] }, { eventName: [b] }, { eventName: [c] }, { eventName: [d] }, \
             { eventName: [e] }, { eventName: [f] }]",
            "holds 6 patterns where 5 are the most",
        ),
        (
            SOURCE,
            "filters: { eventName: [INSERT] }",
            "did you mean `filter`?",
        ),
    ] {
        let error = filter_of(source, keys).unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains('\n'), "{error}");
    }
    // Of records that are read in no known way, nothing is said of what fits them.
    let error = filter_of(KINESIS, "decode: xml, filter: { a: [1] }")
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("pipelines.p.decode") && !error.contains("filter"),
        "{error}"
    );
}

#[test]
fn what_is_hidden_is_read_into_its_place() {
    let pipeline = |source: &str, keys: &str| {
        let text = format!("pipelines: {{ p: {{ source: {source}, {keys}, destination: {DESTINATION} }} }}");
        load(&text).unwrap().pipelines.remove(0)
    };
    let rule = |path: &str, with| Rule {
        path: Path::parse(path).unwrap(),
        with,
    };
    let hash = With::Hash(Key::new(REDACT_KEY).unwrap());
    let keys = r#"redact: [ NewImage.card, "${NO:-Keys}.a\\.b", { path: "*.c" }, { path: OldImage.d, with: hash },
            { path: OldImage.0, with: remove } ], redact_key: "${WEIR_REDACT_KEY}", redact_sql: false"#;
    let expected = vec![
        rule("NewImage.card", With::Mask),
        rule(r"Keys.a\.b", With::Mask),
        rule("*.c", With::Mask),
        rule("OldImage.d", hash),
        rule("OldImage.0", With::Remove),
    ];
    assert_eq!(
        pipeline(SOURCE, keys).shape.redact,
        Redaction::new(expected, false)
    );
    let audit = |keys: &str| pipeline("{ kinesis_stream: s }", &format!("decode: audit, {keys}"));
    assert_eq!(
        audit("redact_sql: true").shape.redact,
        Redaction::new(Vec::new(), true)
    );
    assert_eq!(audit("redact_sql: false").shape.redact, None);
    let host = vec![rule("host", With::Mask)];
    assert_eq!(
        audit("redact: [ host ]").shape.redact,
        Redaction::new(host, false)
    );
    let any = vec![rule("whatever.it.is", With::Mask)];
    assert_eq!(
        pipeline("{ kinesis_stream: s }", "redact: [ whatever.it.is ]")
            .shape
            .redact,
        Redaction::new(any, false)
    );
}

#[test]
fn what_can_not_be_hidden_so_is_told_with_the_way_out() {
    const KINESIS: &str = "{ kinesis_stream: s }";
    for (source, keys, says) in [
        (SOURCE, "redact: NewImage.a", "pipelines.p.redact: must be a list"),
        (
            SOURCE,
            "redact: []",
            "pipelines.p.redact: is an empty list: add an item, or remove the key",
        ),
        (
            SOURCE,
            "redact: [ 1 ]",
            "pipelines.p.redact[0]: `1` is not a text to YAML: put it in quotes",
        ),
        (
            SOURCE,
            "redact: [ Keys.a, Keys..b ]",
            "pipelines.p.redact[1]: `Keys..b` has an empty name between dots",
        ),
        (
            SOURCE,
            "redact: [ { path: '' } ]",
            "pipelines.p.redact[0].path: `` is empty: write a path like",
        ),
        (
            SOURCE,
            "redact: [ { with: mask } ]",
            "pipelines.p.redact[0].path: is missing: name the values",
        ),
        (
            SOURCE,
            "redact: [ Keys.a, { path: Keys.b, with: hide } ]",
            "pipelines.p.redact[1].with: `hide` is no way to hide a value: use one of mask, remove, hash",
        ),
        (
            SOURCE,
            "redact: [ { path: Keys.b, with: masked } ]",
            "pipelines.p.redact[0].with: `masked` is no way to hide a value: did you mean `mask`?",
        ),
        (
            SOURCE,
            "redact: [ { path: Keys.b, how: mask } ]",
            "pipelines.p.redact[0].how: is not a known key: use one of path, with",
        ),
        (
            SOURCE,
            "redact: [ { path: Keys.b, with: hash } ]",
            "pipelines.p.redact[0].with: `hash` needs a key: set `redact_key` beside `redact`",
        ),
        (
            SOURCE,
            "redact: [ Keys.b, { path: Keys.b, with: remove } ]",
            "pipelines.p.redact[1]: `Keys.b` is the path of redact[0] too: remove one of the two",
        ),
        (
            SOURCE,
            "redact: [ '*.b', Keys.a, { path: Keys.b.c, with: remove } ]",
            "pipelines.p.redact[2]: `Keys.b.c` names nothing that redact[0], `*.b`, has not hidden before: remove one of",
        ),
        (
            KINESIS,
            "redact: [ a, a.b ]",
            "pipelines.p.redact[1]: `a.b` names nothing that redact[0], `a`, has not hidden before",
        ),
        (
            KINESIS,
            "decode: audit, redact: [ '*.host' ]",
            "pipelines.p.redact[0]: `*.host` goes below a field, and those of an audit line have nothing below them: \
             name the field alone, as in `host`",
        ),
        (
            KINESIS,
            "decode: audit, redact: [ object.0 ]",
            "name the field alone, as in `object`",
        ),
        (
            KINESIS,
            "decode: audit, redact: [ data.users ]",
            "name the field alone, as in `host`",
        ),
        (
            SOURCE,
            "redact: [ dynamodb.NewImage.a ]",
            "pipelines.p.redact[0]: `dynamodb.NewImage.a` begins at `dynamodb`, and paths begin below it: remove",
        ),
        (
            SOURCE,
            "redact: [ card_number ]",
            "pipelines.p.redact[0]: `card_number` begins with `card_number`, and a change has nothing to hide there: \
             begin with NewImage, OldImage, Keys",
        ),
        (
            KINESIS,
            "decode: change, redact: [ eventID ]",
            "begin with NewImage, OldImage, Keys",
        ),
        (
            KINESIS,
            "decode: audit, redact: [ user ]",
            "begins with `user`, which is no field of an audit line: did you mean `username`?",
        ),
        (
            KINESIS,
            "decode: text, redact: [ a ]",
            "pipelines.p.redact: hides fields, and what is read with `decode: text` has none",
        ),
        (
            KINESIS,
            "decode: base64, redact: [ a ]",
            "read with `decode: base64` has none",
        ),
        (
            KINESIS,
            "decode: subscription, redact_sql: true",
            "pipelines.p.redact_sql: `true` is for the statements of audit lines: add `decode: audit`",
        ),
        (
            SOURCE,
            "redact_sql: 1",
            "pipelines.p.redact_sql: `1` is neither `true` nor `false`",
        ),
        (
            SOURCE,
            "redact: [ Keys.a ], redact_key: at-least-sixteen",
            "pipelines.p.redact_key: is for `with: hash`, and no path of `redact` is hashed",
        ),
        (
            KINESIS,
            "redact_key: at-least-sixteen",
            "redact_key: is for `with: hash`",
        ),
        (SOURCE, "redacts: [ a ]", "did you mean `redact`?"),
    ] {
        let problem = problem_of_decode(source, keys);
        assert!(problem.contains(says), "{keys}: {problem}");
    }
}

#[test]
fn the_key_of_the_hashes_is_never_shown() {
    for (key, says) in [
        (
            "\"\"",
            "redact_key: has 0 bytes, and needs 16 at least: let it be random",
        ),
        ("S3CRETS3CRET", "redact_key: has 12 bytes, and needs 16 at least"),
        (
            "5353535353535353",
            "redact_key: is not a text to YAML: put it in quotes",
        ),
        ("[ S3CRETS3CRETS3CRET ]", "redact_key: is not a text to YAML"),
        (
            "\"${S3_NOT_SET}\"",
            "the environment variable `S3_NOT_SET` is not set: set it",
        ),
        (
            "\"                  \"",
            "redact_key: is nothing but white space: let it be random",
        ),
        ("\"${}\"", "redact_key: holds a `${` that is no variable"),
        (
            "\"S3CRET${S3CRET\"",
            "redact_key: holds a `${` that is no variable",
        ),
        (
            "\"S3CRET${S3CRET}\"",
            "redact_key: holds a `${` that is no variable",
        ),
        (
            "\"${S3CRET-S3CRET}\"",
            "redact_key: holds a `${` that is no variable",
        ),
    ] {
        let keys = format!("redact: [ {{ path: Keys.a, with: hash }} ], redact_key: {key}");
        let problem = problem_of_decode(SOURCE, &keys);
        assert!(problem.contains(says), "{key}: {problem}");
        assert!(
            !problem.contains("S3CRET") && !problem.contains("5353") && !problem.contains("default"),
            "{problem}"
        );
    }
    let keys = "redact: [ { path: Keys.a, with: hash } ], redact_key: S3CRETS3CRETS3CRET";
    let text = format!("pipelines: {{ p: {{ source: {SOURCE}, {keys}, destination: {DESTINATION} }} }}");
    let config = format!("{:?}", load(&text).unwrap());
    assert!(
        config.contains("Hash(Key(hidden))") && !config.contains("S3CRET"),
        "{config}"
    );
    let bytes = format!("{:?}", "S3CRET".as_bytes());
    assert!(!config.contains(bytes.trim_matches(['[', ']'])), "{config}");
}

/// The problems of a pipeline of this stream with these keys.
fn problems_of_pipeline(stream: &str, keys: &str) -> Vec<String> {
    let text =
        format!("pipelines: {{ p: {{ source: {{ {stream} }}, destination: {DESTINATION}, {keys} }} }}");
    match load(&text) {
        Ok(_) => Vec::new(),
        Err(_) => problems(&text).iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_format_fits_what_the_records_are() {
    let (table, kinesis) = ("dynamodb_table: orders", "kinesis_stream: s");
    for (stream, keys, format) in [
        (table, "format: lambda", Format::Decoded),
        (table, "format: plain", Format::Plain),
        (table, "format: diff", Format::Diff),
        (kinesis, "decode: change, format: lambda", Format::Decoded),
        (kinesis, "decode: change, format: plain", Format::Plain),
        (kinesis, "decode: change, format: diff", Format::Diff),
        (kinesis, "decode: audit, format: json", Format::Decoded),
        (kinesis, "decode: audit, format: raw", Format::Raw),
        (kinesis, "decode: audit", Format::Decoded),
    ] {
        let text =
            format!("pipelines: {{ p: {{ source: {{ {stream} }}, destination: {DESTINATION}, {keys} }} }}");
        assert_eq!(load(&text).unwrap().pipelines[0].shape.format, format, "{keys}");
    }
    for (stream, keys, says) in [
        (
            table,
            "format: plian",
            "pipelines.p.format: `plian` is not a format: did you mean `plain`?",
        ),
        (
            table,
            "format: raw",
            "pipelines.p.format: `raw` is not how changes of a DynamoDB table are told: use one of lambda, plain, diff",
        ),
        (
            kinesis,
            "decode: audit, format: diff",
            "pipelines.p.format: `diff` is not how audit lines are told: use one of json, raw",
        ),
        (
            kinesis,
            "format: plain",
            "pipelines.p.format: `plain` can't be had of records that are read by their looks, which may be anything: \
             say what they are, as in `decode: change` or `decode: audit`, or leave it out",
        ),
        (
            kinesis,
            "decode: subscription, format: json",
            "pipelines.p.format: `json` is for changes of a DynamoDB table and for audit lines, and `decode: \
             subscription` gives neither: leave it out",
        ),
        (
            table,
            "format: 7",
            "pipelines.p.format: `7` is not a text to YAML",
        ),
    ] {
        let found = problems_of_pipeline(stream, keys);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(says), "{found:?}");
    }
    // Of a wrong way to decode nothing more is said.
    let found = problems_of_pipeline(kinesis, "decode: adit, format: raw");
    assert_eq!(found.len(), 1, "{found:?}");
    let found = problems_of_pipeline(kinesis, "decode: audit, format: raw, redact: [host]");
    let says = "pipelines.p.format: `raw` is the line as it was written, in which nothing can be hidden, and `redact` \
                or `redact_sql` is set: use json, or remove the other";
    assert!(found.iter().any(|problem| problem == says), "{found:?}");
}
