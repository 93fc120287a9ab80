//! What is described is what is read: `keys`, the schema that is made of it, and the reader, asked one by one.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use super::examples::known_below;
use super::*;
use crate::config::keys::{Default, Key, Kind, TOP};
use crate::config::schema;

/// Every key with its path; a pipeline is `p`. The keys of a redaction's rules stand below `redact`.
fn all() -> Vec<(String, &'static Key)> {
    fn below(prefix: &str, keys: &'static [Key], found: &mut Vec<(String, &'static Key)>) {
        for key in keys {
            let path = format!("{prefix}{}", key.name);
            let inner = match key.kind {
                Kind::Named(_) => format!("{path}.p."),
                _ => format!("{path}."),
            };
            found.push((path, key));
            below(&inner, key.kind.below(), found);
        }
    }
    let mut found = Vec::new();
    below("", TOP, &mut found);
    assert!(found.len() > 70, "{}", found.len());
    found
}

/// Those that are no part of a list's item.
fn outside_of_lists() -> Vec<(String, &'static Key)> {
    let of_rules = |path: &str| path.contains(".redact.");
    all().into_iter().filter(|(path, _)| !of_rules(path)).collect()
}

#[test]
fn the_keys_described_are_those_that_are_read() {
    let mut read = BTreeSet::new();
    known_below("", &mut read);
    let described = outside_of_lists().into_iter().map(|(path, _)| path).collect();
    assert_eq!(read, described);

    let rule = problem_with_rule("{ path: Keys.a, zzz: 1 }");
    let Some((_, Kind::Rules(keys))) = all()
        .iter()
        .find(|(path, _)| path.ends_with(".redact"))
        .map(|(path, key)| (path, &key.kind))
    else {
        panic!("`redact` is a list of rules");
    };
    let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
    assert!(
        rule.ends_with(&format!("use one of {}", names.join(", "))),
        "{rule}"
    );
}

fn problem_with_rule(rule: &str) -> String {
    let found = problems(&format!(
        "pipelines: {{ p: {{ source: {SOURCE}, destination: {DESTINATION}, redact: [{rule}] }} }}"
    ));
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].to_string()
}

/// Files to put a key into. What one refuses for the sake of other keys, another takes.
fn bases() -> Vec<Value> {
    let full = parse(&example("full.yaml")).unwrap();
    let dynamodb = json!({"pipelines": {"p": {
        "source": {"dynamodb_table": "orders"}, "destination": {"group": "g"}
    }}});
    let audit = json!({"pipelines": {"p": {
        "source": {"kinesis_stream": "s"}, "decode": "audit", "destination": {"group": "g"}
    }}});
    vec![full, dynamodb, audit]
}

/// The names of the pipelines of `base` that have this key, or of all: that of the path is `p`.
fn places(base: &Value, path: &str) -> Vec<Vec<String>> {
    let at: Vec<String> = path.split('.').map(str::to_owned).collect();
    let Some("p") = at.get(1).map(String::as_str) else {
        return vec![at];
    };
    let names = base["pipelines"].as_object().unwrap().keys();
    let mut places: Vec<Vec<String>> = names
        .map(|name| {
            let mut at = at.clone();
            at[1].clone_from(name);
            at
        })
        .collect();
    let has = |at: &Vec<String>| base.pointer(&format!("/{}", at.join("/"))).is_some();
    if places.iter().any(has) {
        places.retain(has);
    }
    places
}

/// `base` with this value there, or without any.
fn with(base: &Value, at: &[String], value: Option<&Value>) -> Value {
    let mut file = base.clone();
    let (last, sections) = at.split_last().unwrap();
    match value {
        Some(value) => {
            let section = sections
                .iter()
                .fold(&mut file, |section, name| &mut section[name]);
            section[last] = value.clone();
        }
        None => {
            let path: String = sections.iter().map(|name| format!("/{name}")).collect();
            if let Some(Value::Object(section)) = file.pointer_mut(&path) {
                section.remove(last);
            }
        }
    }
    file
}

fn yaml(text: &str) -> Value {
    parse(&format!("value: {text}")).unwrap()["value"].take()
}

fn loads(file: &Value) -> Option<Config> {
    load(&file.to_string()).ok()
}

/// The problems of a key, wherever the full example has it, with this value.
fn problems_of(path: &str, value: &Value) -> Vec<String> {
    let full = &bases()[0];
    let places = places(full, path);
    let files = places.iter().map(|at| with(full, at, Some(value)).to_string());
    let found = files.flat_map(|file| problems(&file));
    found.map(|problem| problem.what).collect()
}

#[test]
fn the_words_described_are_those_that_are_taken() {
    for (path, key) in all() {
        let Kind::Word(described) = key.kind else {
            continue;
        };
        let found = match path.strip_suffix(".redact.with") {
            Some(_) => vec![problem_with_rule("{ path: Keys.a, with: zzz }")],
            None => problems_of(&path, &json!("zzz")),
        };
        let lists = found.iter().filter_map(|what| what.split_once("use one of "));
        let mut taken: BTreeSet<&str> = lists.flat_map(|(_, list)| list.split(", ")).collect();
        // Taken of DynamoDB's streams, where there is no choice, and not told to who has one.
        if path == "pipelines.p.decode" {
            taken.insert("lambda");
        }
        assert_eq!(BTreeSet::from_iter(described.iter().copied()), taken, "{path}");
    }
}

#[test]
fn the_bounds_described_are_those_that_are_kept() {
    for (path, key) in all() {
        let (much, between) = match &key.kind {
            Kind::Duration(_) => (json!("999999h"), key.kind.words().replace("duration, ", "")),
            Kind::Size(_) => (json!("999999GiB"), key.kind.words().replace("size, ", "")),
            Kind::Number(_) => (json!(9_999_999), key.kind.words()),
            _ => continue,
        };
        let says = format!("is too much: use {}", between.replace('`', ""));
        assert!(problems_of(&path, &much).contains(&says), "{path}: {says}");
    }
}

#[test]
fn the_defaults_described_are_those_that_hold() {
    let mut tried = 0;
    for (path, key) in outside_of_lists() {
        let Default::Value(default) = key.default else {
            continue;
        };
        // The full example has keys that need others.
        let held = bases()[1..].iter().any(|base| {
            let at = &places(base, &path)[0];
            let absent = loads(&with(base, at, None));
            let present = loads(&with(base, at, Some(&yaml(default))));
            // The place of the dead letters has its default where it is used.
            let is_taken = present.is_some() && path == "pipelines.p.dead_letter.stream";
            present.is_some() && (absent == present || is_taken)
        });
        assert!(held, "{path}: {default}");
        tried += 1;
    }
    assert!(tried > 25, "{tried}");
    let rule = |rule: &str| {
        let mut file = bases()[1].clone();
        file["pipelines"]["p"]["redact"] = json!([yaml(rule)]);
        loads(&file)
    };
    assert!(rule("{ path: Keys.a }").is_some());
    assert_eq!(rule("{ path: Keys.a }"), rule("{ path: Keys.a, with: mask }"));
    let letters = crate::logs::dead_letter::STREAM;
    let described = all()
        .into_iter()
        .find(|(path, _)| path.ends_with("dead_letter.stream"));
    assert!(matches!(described.unwrap().1.default, Default::Value(stream) if stream == letters));
}

/// Values that a key of this kind never takes.
fn wrong(kind: &Kind) -> Vec<Value> {
    let mut wrong = vec![Value::Null];
    wrong.extend(match kind {
        Kind::Text(_) => vec![json!(5), json!(true), json!([]), json!({}), json!("")],
        Kind::Word(_) => vec![json!("zzz"), json!(5), json!([]), json!("")],
        Kind::Boolean => vec![json!("maybe"), json!(1), json!({}), json!("TRUE")],
        Kind::Duration(_) => ["15", "soon", "1.5s", "15sec", "15S", "-1s", ""]
            .map(Value::from)
            .into_iter()
            .chain([json!(15), json!({})])
            .collect(),
        Kind::Size(_) => ["256", "256mib", "256Mi", "1TiB", ""]
            .map(Value::from)
            .into_iter()
            .chain([json!(256), json!([])])
            .collect(),
        Kind::Number(bounds) => vec![
            json!(bounds.start() - 1),
            json!(bounds.end() + 1),
            json!(1.5),
            json!("many"),
        ],
        Kind::Part => vec![json!(-0.1), json!(1.1), json!("1%"), json!({}), json!("")],
        Kind::Days => vec![json!(2), json!("2"), json!("year"), json!(true)],
        Kind::Texts => vec![json!(5), json!([5]), json!({}), json!(""), json!([""])],
        Kind::Tags => vec![json!(5), json!([]), json!({"a": 5}), json!({"a!": "b"})],
        Kind::Filter => vec![
            json!(5),
            json!([]),
            json!([5]),
            json!(vec![json!({"eventName": ["INSERT"]}); 6]),
        ],
        Kind::Rules(_) => vec![
            json!("*.a"),
            json!([]),
            json!([5]),
            json!([{"with": "mask"}]),
            json!([{"path": "*.a", "with": "hide"}]),
            json!([{"path": "*.a", "zzz": "mask"}]),
        ],
        Kind::Section(_) => vec![json!(5), json!([]), json!({"zzz": 1})],
        Kind::Named(_) => vec![json!(5), json!([]), json!({}), json!({"p": {"zzz": 1}})],
    });
    wrong
}

/// Texts at the edges of their shapes: those that are taken, and those that are not.
fn edges() -> Vec<(&'static str, Vec<String>, Vec<String>)> {
    let long = |count: usize| "a".repeat(count);
    let all = |texts: &[&str]| -> Vec<String> { texts.iter().map(|&text| text.to_owned()).collect() };
    let both = |texts: &[&str], more: String| [all(texts), vec![more]].concat();
    let uuid = "1234abcd-12AB-34cd-56ef-1234567890ab";
    let log_key = format!("arn:aws-cn:kms:cn-north-1:111122223333:key/{uuid}");
    let mrk = format!("mrk-{}", long(32));
    vec![
        (
            "application",
            both(&["abc", "A_.-9"], long(249)),
            both(&["ab", "a b", "a/b"], long(250)),
        ),
        (
            "state.lease_table",
            both(&["abc"], long(255)),
            both(&["ab", "a:b"], long(256)),
        ),
        (
            "state.region",
            both(&["a", "us-gov-west-1"], long(63)),
            both(&["EU", "-a", "a-", "a_b"], long(64)),
        ),
        (
            "state.assume_role_arn",
            all(&[
                "arn:aws:iam::111122223333:role/a",
                "arn:aws-cn:iam::111122223333:role/a/b/c:d",
            ]),
            all(&[
                "arn:aws:iam::1:role/a",
                "arn:aws:iam::111122223333:user/a",
                "arn:aws:iam::111122223333:role/a/",
                "role/a",
            ]),
        ),
        (
            "state.external_id",
            both(&["ab", "a+=,.@:/-_"], long(1224)),
            both(&["a", "a b", "a*"], long(1225)),
        ),
        (
            "state.kms_key",
            both(
                &[
                    uuid,
                    "alias/a/b_-9",
                    "arn:aws:kms:eu-west-1:111122223333:alias/a",
                    &log_key,
                ],
                mrk.clone(),
            ),
            all(&[
                "a",
                "alias/",
                "alias/a b",
                "mrk-1",
                "arn:aws:kms:eu-west-1:1:alias/a",
            ]),
        ),
        (
            "pipelines.p.destination.kms_key",
            vec![log_key],
            both(&[uuid, "alias/a"], mrk),
        ),
        (
            "tracing.otlp_endpoint",
            all(&["http://c", "https://[::1]:4318/otlp/v1/traces", "http://c:4318/"]),
            all(&[
                "c:4318",
                "grpc://c",
                "http://",
                "http:///x",
                "http://a b",
                "http://u:p@c",
                "http://c?x",
            ]),
        ),
        (
            "http.address",
            all(&["[::1]:0", "127.0.0.1:65535"]),
            all(&["80", ":80", "localhost:80", "1.2.3.4"]),
        ),
        (
            "pipelines.p.source.start",
            all(&["latest", "2024-11-09T08:12:19.123+01:00", "20241109T081219Z"]),
            all(&["now", "yesterday", "Latest"]),
        ),
        (
            "drain.timeout",
            all(&["1 s", "1000ms", "60m"]),
            all(&["1  sec", "1d", "s", "1.0s"]),
        ),
        (
            "memory",
            all(&["16 MiB", "100MB", "17000kB", "64GiB"]),
            all(&["16mb", "16M", "MiB", "0x10MiB"]),
        ),
        (
            "pipelines.p.dead_letter.group",
            all(&["a", "/a/b_c-d.e#f"]),
            all(&["{table}", "a}b"]),
        ),
        (
            "pipelines.p.destination.group",
            all(&["a", "/{table}/x", "{pipeline}"]),
            vec![],
        ),
    ]
}

/// Whether the schema takes each of these files, by another's validator.
fn verdicts(files: &[Value]) -> Vec<bool> {
    let tools = std::env::var_os("WEIR_TOOLS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools"),
        PathBuf::from,
    );
    let script = "import json, sys, jsonschema\n\
                  asked = json.load(sys.stdin)\n\
                  jsonschema.Draft202012Validator.check_schema(asked['schema'])\n\
                  jsonschema.Draft7Validator.check_schema(asked['schema'])\n\
                  validator = jsonschema.Draft202012Validator(asked['schema'])\n\
                  print(json.dumps([validator.is_valid(file) for file in asked['files']]))";
    let mut python = Command::new(tools.join("venv/bin/python"))
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("scripts/tools has installed Python's packages");
    let asked = json!({"schema": schema::schema(), "files": files}).to_string();
    python.stdin.take().unwrap().write_all(asked.as_bytes()).unwrap();
    let told = python.wait_with_output().unwrap();
    assert!(told.status.success());
    serde_json::from_slice(&told.stdout).unwrap()
}

#[test]
fn the_schema_and_the_reader_take_and_refuse_the_same() {
    let bases = bases();
    let mut files = Vec::new();
    for (path, text) in examples() {
        files.push((path, parse(&text).unwrap(), true));
    }
    for (path, key) in outside_of_lists() {
        let default = match key.default {
            Default::Value(default) => Some(default),
            _ => None,
        };
        for text in [Some(key.example), default].into_iter().flatten() {
            let value = yaml(text);
            let places = bases.iter().flat_map(|base| {
                let places = places(base, &path).into_iter();
                places.map(|at| with(base, &at, Some(&value)))
            });
            let taken = places.into_iter().find(|file| loads(file).is_some());
            let taken = taken.unwrap_or_else(|| panic!("{path}: {text} is never taken"));
            files.push((format!("{path}: {text}"), taken, true));
        }
        let at = &places(&bases[0], &path)[0];
        for value in wrong(&key.kind) {
            let file = with(&bases[0], at, Some(&value));
            files.push((format!("{path}: {value}"), file, false));
        }
        if matches!(key.default, Default::Required | Default::Alternative) {
            files.push((format!("{path} is missing"), with(&bases[0], at, None), false));
        }
    }
    for (path, right, wrong) in edges() {
        // Where a role is, which an external id needs.
        let base = &bases[usize::from(path != "state.external_id")];
        let at = &places(base, path)[0];
        let edges = right
            .iter()
            .map(|text| (text, true))
            .chain(wrong.iter().map(|text| (text, false)));
        for (text, is_right) in edges {
            files.push((
                format!("{path}: {text}"),
                with(base, at, Some(&json!(text))),
                is_right,
            ));
        }
    }
    let pipeline = &bases[1]["pipelines"]["p"];
    for (what, file) in [
        ("a list", json!([])),
        ("a name", json!({"pipelines": {"a/b": pipeline}})),
        (
            "two streams",
            json!({"pipelines": {"p": {
                "source": {"dynamodb_table": "orders", "kinesis_stream": "s"}, "destination": {"group": "g"}
            }}}),
        ),
    ] {
        files.push((what.to_owned(), file, false));
    }
    for text in ["${X}", "a${X:-b}", "$${X}"] {
        let mut file = bases[1].clone();
        file["put_rate"] = json!(text);
        file["drain"] = json!({"timeout": text});
        file["log"] = json!({"format": text});
        file["state"] = json!({"create": text});
        file["pipelines"]["p"]["destination"]["retention_days"] = json!(text);
        // Whether they hold is known where the variables are: no verdict of the reader's.
        assert_eq!(verdicts(&[file]), [true], "{text}");
    }

    let only_files: Vec<Value> = files.iter().map(|(_, file, _)| file.clone()).collect();
    let mut different = Vec::new();
    for ((what, file, right), by_schema) in files.iter().zip(verdicts(&only_files)) {
        let by_reader = loads(file).is_some();
        if by_schema != *right || by_reader != *right {
            different.push(format!("{what}: {right}, reader {by_reader}, schema {by_schema}"));
        }
    }
    assert!(different.is_empty(), "{different:#?}");
    assert!(files.len() > 400, "{}", files.len());
}

#[test]
fn the_schema_beside_the_examples_is_the_one_that_is_printed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/weir.schema.json");
    if std::env::var_os("WEIR_BLESS").is_some() {
        std::fs::write(&path, schema::text()).unwrap();
    }
    let beside = std::fs::read_to_string(&path).unwrap();
    assert!(
        beside == schema::text(),
        "config/weir.schema.json is not what `weir schema` prints: run this test with WEIR_BLESS=1"
    );
    for (path, text) in examples() {
        let first = "# yaml-language-server: $schema=weir.schema.json\n";
        assert!(text.starts_with(first), "{path}");
    }
}
