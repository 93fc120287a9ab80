use proptest::prelude::*;
use serde_json::Value;

use super::*;

const CONSTRUCTED: &str = include_str!("../../../tests/golden/audit/constructed.jsonl");

/// The message of a line that came in no envelope, without an id.
fn message(line: &str) -> (String, bool) {
    Messages::default().message(line, None)
}

fn plain(line: &str) -> String {
    message(line).0
}

fn json(line: &str) -> Value {
    serde_json::from_str(&plain(line)).unwrap()
}

#[test]
fn each_dialect_becomes_its_message() {
    let table = [
        (
            "Aurora",
            r"1700000000123456,au-1,app,10.1.2.3,17,2001,QUERY,shop,'SELECT \'a, b\'',0",
            r#"{"timestamp":1700000000123456,"serverhost":"au-1","username":"app","host":"10.1.2.3","connectionid":17,"queryid":2001,"operation":"QUERY","database":"shop","object":"SELECT 'a, b'","retcode":0}"#,
        ),
        (
            "a table row has no return code",
            "1700000000123456,au-1,app,10.1.2.3,17,2002,WRITE,shop,orders,",
            r#"{"timestamp":1700000000123456,"serverhost":"au-1","username":"app","host":"10.1.2.3","connectionid":17,"queryid":2002,"operation":"WRITE","database":"shop","object":"orders","retcode":null}"#,
        ),
        (
            "MariaDB on RDS",
            "20240102 03:04:05,ip-10-0-0-9,app,10.0.0.5,7,0,DISCONNECT,shop,,0",
            r#"{"timestamp":"20240102 03:04:05","serverhost":"ip-10-0-0-9","username":"app","host":"10.0.0.5","connectionid":7,"queryid":0,"operation":"DISCONNECT","database":"shop","object":"","retcode":0}"#,
        ),
        (
            "MySQL on RDS: a query",
            "20240102 03:04:05,ip-10-0-0-9,app,10.0.0.5,7,70,QUERY,shop,'SELECT 1, 2',0,,",
            r#"{"timestamp":"20240102 03:04:05","serverhost":"ip-10-0-0-9","username":"app","host":"10.0.0.5","connectionid":7,"queryid":70,"operation":"QUERY","database":"shop","object":"SELECT 1, 2","retcode":0,"connection_type":null}"#,
        ),
        (
            "MySQL on RDS: a proxy",
            "20240102 03:04:05,ip-10-0-0-9,px,localhost,9,0,PROXY_CONNECT,shop,`d,5`@`%`,0,SOCKET",
            r#"{"timestamp":"20240102 03:04:05","serverhost":"ip-10-0-0-9","username":"px","host":"localhost","connectionid":9,"queryid":0,"operation":"PROXY_CONNECT","database":"shop","object":"`d,5`@`%`","retcode":0,"connection_type":"SOCKET"}"#,
        ),
        (
            "MySQL on RDS: an unknown type of connection is a digit",
            "20240102 03:04:05,ip-10-0-0-9,app,localhost,9,0,CONNECT,shop,,0,2",
            r#"{"timestamp":"20240102 03:04:05","serverhost":"ip-10-0-0-9","username":"app","host":"localhost","connectionid":9,"queryid":0,"operation":"CONNECT","database":"shop","object":"","retcode":0,"connection_type":"2"}"#,
        ),
        (
            "MariaDB 12: the TLS version stands for the object",
            "20260102 03:04:05,m1,app,192.0.2.7:50123,8,0,CONNECT,shop,TLSv1.3,0",
            r#"{"timestamp":"20260102 03:04:05","serverhost":"m1","username":"app","host":"192.0.2.7","port":50123,"connectionid":8,"queryid":0,"operation":"CONNECT","database":"shop","object":"","retcode":0,"tls_version":"TLSv1.3"}"#,
        ),
        (
            "MariaDB 12: without TLS",
            "20260102 03:04:05,m1,app,192.0.2.7:50123,8,0,FAILED_CONNECT,,,1045",
            r#"{"timestamp":"20260102 03:04:05","serverhost":"m1","username":"app","host":"192.0.2.7","port":50123,"connectionid":8,"queryid":0,"operation":"FAILED_CONNECT","database":"","object":"","retcode":1045,"tls_version":null}"#,
        ),
        (
            "MariaDB 12: only a connection has TLS",
            "20260102 03:04:05,m1,app,192.0.2.7:50123,8,9,READ,shop,TLSv1.3,",
            r#"{"timestamp":"20260102 03:04:05","serverhost":"m1","username":"app","host":"192.0.2.7","port":50123,"connectionid":8,"queryid":9,"operation":"READ","database":"shop","object":"TLSv1.3","retcode":null}"#,
        ),
        (
            "MariaDB Enterprise 12.3: through a socket",
            "20260102 03:04:05,m1,app,localhost:unavailable,8,0,CONNECT,,,0,",
            r#"{"timestamp":"20260102 03:04:05","serverhost":"m1","username":"app","host":"localhost","port":null,"connectionid":8,"queryid":0,"operation":"CONNECT","database":"","object":"","retcode":0,"tls_version":null}"#,
        ),
        (
            "MariaDB Enterprise: another user",
            "20260102 03:04:05,m1,app,192.0.2.7:50123,8,0,CHANGE_USER,shop,`n,ew`,0,TLSv1.2",
            r#"{"timestamp":"20260102 03:04:05","serverhost":"m1","username":"app","host":"192.0.2.7","port":50123,"connectionid":8,"queryid":0,"operation":"CHANGE_USER","database":"shop","object":"`n,ew`","retcode":0,"tls_version":"TLSv1.2"}"#,
        ),
        (
            "an absent return code of a query",
            "1700000000123456,au-1,,,17,2001,QUERY,,'',",
            r#"{"timestamp":1700000000123456,"serverhost":"au-1","username":"","host":"","connectionid":17,"queryid":2001,"operation":"QUERY","database":"","object":"","retcode":null}"#,
        ),
        (
            "MariaDB Enterprise: a setting, whose value has commas",
            "20260102 03:04:05,m1,root,localhost,8,0,AUDIT_CONFIG,mysql,excl_users=a,b,0",
            r#"{"timestamp":"20260102 03:04:05","serverhost":"m1","username":"root","host":"localhost","connectionid":8,"queryid":0,"operation":"AUDIT_CONFIG","database":"mysql","object":"excl_users=a,b","retcode":0}"#,
        ),
    ];
    for (name, line, expected) in table {
        assert_eq!(plain(line), expected, "{name}");
        assert_eq!(
            plain(&format!("{line}\r\n")),
            expected,
            "{name}, with its line break"
        );
    }
}

#[test]
fn a_renamed_table_reads_alike_in_all_dialects() {
    let table = [
        ("a|shop.b,", "a|shop.b"),
        ("a,,shop,b", "a|shop.b"),
        ("a,shop,b,", "a|shop.b"),
        ("a|shop.b,,shop,b", "a|shop.b"),
        ("a,x|shop.b,", "a,x|shop.b"),
        ("a,", "a"),
    ];
    for (end, object) in table {
        let line = format!("20240102 03:04:07,h,app,10.0.0.5,7,71,RENAME,shop,{end}");
        let row = parse(&line).unwrap();
        assert_eq!((row.database, &*row.object.text()), ("shop", object), "{end}");
        assert_eq!(row.retcode, None, "{end}");
    }
}

#[test]
fn constructed_lines_read_as_expected() {
    let mut rows = 0;
    for row in CONSTRUCTED.lines() {
        let row: Value = serde_json::from_str(row).unwrap();
        let line = row["line"].as_str().unwrap();
        let (message, parsed) = message(line);
        assert_eq!(parsed, row["ok"], "{line}: {message}");
        let message: Value = serde_json::from_str(&message).unwrap();
        for (key, value) in row["expect"].as_object().unwrap() {
            if key != "note" {
                assert_eq!(message.get(key), Some(value), "{key} of {line}");
            }
        }
        if !parsed {
            assert_eq!(message["message"], line);
            assert!(!message["error"].as_str().unwrap().is_empty());
        }
        rows += 1;
    }
    assert_eq!(rows, 25);
}

/// The widely copied `,(?=(?:[^']*'[^']*')*[^']*$)`: a comma separates if an even number of quotes follows.
fn by_the_regex(line: &str) -> Vec<&str> {
    let mut fields = Vec::new();
    let mut start = 0;
    for (at, _) in line.match_indices(',') {
        if line[at..].matches('\'').count().is_multiple_of(2) {
            fields.push(&line[start..at]);
            start = at + 1;
        }
    }
    fields.push(&line[start..]);
    fields
}

#[test]
fn the_object_of_a_plain_line_is_what_the_regex_finds() {
    let plain_lines = [
        "1700000000123456,au-1,app,10.1.2.3,17,2001,QUERY,shop,'SELECT 1',0",
        "1700000000123456,au-1,app,10.1.2.3,17,2001,QUERY,shop,'SELECT a, b, c FROM t',0",
        "1700000000123456,au-1,app,10.1.2.3,17,2001,QUERY,,'',0",
        "1700000000123456,au-1,app,10.1.2.3,17,2001,READ,shop,orders,",
        "1700000000123456,au-1,app,10.1.2.3,17,0,CONNECT,,,0",
        r"1700000000123456,au-1,app,10.1.2.3,17,2001,QUERY,shop,'UPDATE t SET a=\'x\', b=2',0",
        "20240102 03:04:05,h,app,10.0.0.5,7,70,QUERY,shop,'SELECT \"a, b\"',1146",
    ];
    for line in plain_lines {
        let fields = by_the_regex(line);
        assert_eq!(fields.len(), 10, "{line}");
        let ninth = fields[8].trim_matches('\'').replace("\\'", "'");
        assert_eq!(parse(line).unwrap().object.text(), ninth, "{line}");
    }
    // Where the regex is wrong: it takes an escaped quote for an end, and cut SQL has quotes without a pair.
    for (object, meant) in [
        (r"SELECT \'a, b\'", "SELECT 'a, b'"),
        (r"SELECT \'a, b", "SELECT 'a, b"),
    ] {
        let line = format!("1700000000123456,au-1,app,10.1.2.3,17,2001,QUERY,shop,'{object}',0");
        assert_ne!(by_the_regex(&line).len(), 10, "{line}");
        assert_eq!(parse(&line).unwrap().object.text(), meant, "{line}");
    }
}

#[test]
fn a_bad_line_tells_why() {
    let query = |stamp: &str| format!("{stamp},h,app,10.0.0.5,7,70,QUERY,shop,'SELECT 1',0");
    let behind = |rest: &str| format!("20240102 03:04:05,h,app,10.0.0.5,7,{rest}");
    let table = [
        (String::new(), AuditError::NoTimestamp),
        ("hello world".to_owned(), AuditError::NoTimestamp),
        ("1700000000123456".to_owned(), AuditError::NoTimestamp),
        (query("170000000012345"), AuditError::NoTimestamp),
        (query("17000000001234567"), AuditError::NoTimestamp),
        (query("2024-01-02 03:04:05"), AuditError::NoTimestamp),
        (query("0700000000123456"), AuditError::Micros),
        (query("20241302 03:04:05"), AuditError::Month(13)),
        (query("20240002 03:04:05"), AuditError::Month(0)),
        (query("20240231 03:04:05"), AuditError::Day(31)),
        (query("20230229 03:04:05"), AuditError::Day(29)),
        (query("19000229 03:04:05"), AuditError::Day(29)),
        (query("20240431 03:04:05"), AuditError::Day(31)),
        (query("20240100 03:04:05"), AuditError::Day(0)),
        (query("20240102 24:04:05"), AuditError::Hour(24)),
        (query("20240102 03:60:05"), AuditError::Minute(60)),
        (query("20240102 03:04:61"), AuditError::Second(61)),
        ("1700000000123463,au-1,app".to_owned(), AuditError::NoOperation),
        (behind("70,SELECT,shop,'SELECT 1',0"), AuditError::NoOperation),
        (behind("x,QUERY,shop,'SELECT 1',0"), AuditError::NoOperation),
        (behind("70,QUERY"), AuditError::NoOperation),
        (
            "20240102 03:04:05,app,10.0.0.5,7,70,QUERY,shop,'SELECT 1',0".to_owned(),
            AuditError::NoOperation,
        ),
        (behind("70,QUERY,shop,0"), AuditError::NoQuery),
        (behind("70,QUERY,shop,SELECT 1,0"), AuditError::NoQuery),
        (behind("70,QUERY,shop,'SELECT 1"), AuditError::OpenQuote),
        (behind(r"70,QUERY,shop,'SELECT \'a\'"), AuditError::OpenQuote),
        (behind(r"70,QUERY,shop,'SELECT 1\',0"), AuditError::OpenQuote),
        (behind("70,QUERY,shop,'SELECT 1'"), AuditError::NoEnd),
        (behind("70,QUERY,shop,'SELECT 1',x"), AuditError::NoEnd),
        (behind("70,QUERY,shop,'SELECT 1',0,x"), AuditError::NoEnd),
        (behind("70,QUERY,shop,'SELECT 1',0,,,"), AuditError::NoEnd),
        (behind("0,CONNECT,shop,,x"), AuditError::NoRetcode),
        (
            behind("0,CONNECT,shop,,0,carrier pigeon"),
            AuditError::NoTransport,
        ),
        (behind("0,CONNECT,0"), AuditError::NoNames),
        (behind("70,READ,orders"), AuditError::NoNames),
        (behind("70,READ,shop,orders"), AuditError::NoNames),
        (behind("70,READ,shop,orders,x"), AuditError::NoRetcode),
    ];
    for (line, why) in table {
        assert_eq!(parse(&line), Err(why), "{line}");
        let message = json(&line);
        assert_eq!(message["message"], line);
        assert_eq!(message["error"], why.to_string());
    }
    assert_eq!(AuditError::Month(13).to_string(), "the month is 13");
}

#[test]
fn times_that_exist_are_accepted() {
    for stamp in [
        "20240229 23:59:59",
        "20000229 00:00:00",
        "20161231 23:59:60",
        "1700000000123456",
    ] {
        let line = format!("{stamp},h,app,10.0.0.5,7,70,QUERY,shop,'SELECT 1',0");
        assert!(parse(&line).is_ok(), "{stamp}");
    }
}

#[test]
fn a_port_is_told_from_an_address() {
    let table = [
        ("192.0.2.7:50123", "192.0.2.7", Port::Is(50123)),
        ("db.example:1", "db.example", Port::Is(1)),
        ("localhost:unavailable", "localhost", Port::Unavailable),
        ("localhost", "localhost", Port::Unwritten),
        ("", "", Port::Unwritten),
        ("fd00::1f", "fd00::1f", Port::Unwritten),
        ("::1", "::1", Port::Unwritten),
        // Which of the two it is, nobody can tell; an address that loses its end would be a wrong one.
        ("fd00::1:50123", "fd00::1:50123", Port::Unwritten),
        ("fd00::1:unavailable", "fd00::1", Port::Unavailable),
        ("[fd00::1]:50123", "fd00::1", Port::Is(50123)),
        ("[fd00::1]:unavailable", "fd00::1", Port::Unavailable),
        ("[fd00::1]", "[fd00::1]", Port::Unwritten),
        ("h:65536", "h:65536", Port::Unwritten),
        ("h:+1", "h:+1", Port::Unwritten),
        ("h:", "h:", Port::Unwritten),
    ];
    for (field, host, port) in table {
        let line = format!("20260102 03:04:05,m1,app,{field},8,9,READ,shop,t,");
        let row = parse(&line).unwrap();
        assert_eq!((row.host, row.port), (host, port), "{field}");

        let line = format!("1700000000123456,m1,app,{field},8,9,READ,shop,t,");
        let row = parse(&line).unwrap();
        assert_eq!(
            (row.host, row.port),
            (field, Port::Unwritten),
            "{field} on Aurora"
        );
    }
}

#[test]
fn extra_commas_have_their_places() {
    let table = [
        (
            "we,ird,10.0.0.5,7,70,QUERY,shop,'SELECT 1',0",
            "we,ird",
            "shop",
            "SELECT 1",
        ),
        ("u,,10.0.0.5,7,70,QUERY,s,h,'SELECT 1',0", "u,", "s,h", "SELECT 1"),
        ("u,10.0.0.5,7,70,QUERY,s,'a','b',0", "u", "s", "a','b"),
        ("u,10.0.0.5,7,70,READ,s,or,ders,", "u", "s", "or,ders"),
        ("u,10.0.0.5,7,70,CONNECT,s,h,,0", "u", "s,h", ""),
        ("u,10.0.0.5,7,70,CONNECT,s,h,,0,SSL", "u", "s,h", ""),
        (
            "u,10.0.0.5,7,70,PROXY_CONNECT,s,h,`a,b`@`%`,0",
            "u",
            "s,h",
            "`a,b`@`%`",
        ),
    ];
    for (rest, username, database, object) in table {
        let line = format!("20240102 03:04:05,h,{rest}");
        let row = parse(&line).unwrap();
        assert_eq!(row.host, "10.0.0.5", "{rest}");
        assert_eq!(
            (row.username, row.database, &*row.object.text()),
            (username, database, object),
            "{rest}"
        );
    }
}

#[test]
fn sql_that_holds_an_audit_line_stays_sql() {
    let line = "20240102 03:04:05,h,app,10.0.0.5,7,70,QUERY,shop,'INSERT INTO t VALUES \
                (\\'x,h,evil,10.9.9.9,1,2,QUERY,d,\\', 3,4,CONNECT,d,,0)',0";
    let row = parse(line).unwrap();
    assert_eq!(
        (row.username, row.host, row.operation),
        ("app", "10.0.0.5", "QUERY")
    );
    assert!(row.object.text().ends_with("3,4,CONNECT,d,,0)"));
}

#[test]
fn a_stranger_cannot_hide_behind_a_user_name() {
    // The last is as long as a name can be in MariaDB: 384 bytes.
    let fakes = [
        "x,10.9.9.9,1,0,CONNECT,d".to_owned(),
        "x,10.9.9.9,1,2,READ,d".to_owned(),
        "x,10.9.9.9,1,0,AUDIT_CONFIG,d".to_owned(),
        format!("x,h{},d,e", ",1,2,READ".repeat(42)),
    ];
    for fake in &fakes {
        for end in ["", ",", ",TLSv1.3", ",SSL"] {
            let line = format!("20240102 03:04:05,h,{fake},10.0.0.5,8,0,FAILED_CONNECT,,,1045{end}");
            let row = parse(&line).unwrap();
            assert_eq!(
                (row.username, row.host, row.operation),
                (fake.as_str(), "10.0.0.5", "FAILED_CONNECT"),
                "{line}"
            );
        }
    }
    // A name that fakes a query can't be told from SQL. The line goes out as it is, never as the fake.
    let line = "20240102 03:04:05,h,x,10.9.9.9,1,2,QUERY,d,'y',0,10.0.0.5,8,0,FAILED_CONNECT,,,1045";
    assert!(parse(line).is_err());
}

#[test]
fn the_eleventh_field_of_mariadb_enterprise_is_no_part_of_the_object() {
    let null = Value::Null;
    for (end, object, retcode, tls) in [
        ("READ,shop,orders,,", "orders", null.clone(), null.clone()),
        (
            "WRITE,shop,orders,,TLSv1.3",
            "orders",
            null.clone(),
            "TLSv1.3".into(),
        ),
        (
            "RENAME,shop,a|shop.b,,TLSv1.2",
            "a|shop.b",
            null.clone(),
            "TLSv1.2".into(),
        ),
        ("RENAME,shop,a,shop,b,,", "a|shop.b", null.clone(), null.clone()),
        ("QUERY,shop,'a',,", "a", null.clone(), null.clone()),
        ("QUERY,shop,'a',,TLSv1.3", "a", null.clone(), "TLSv1.3".into()),
        ("QUERY,shop,'a',0,TLSv1.3", "a", 0.into(), "TLSv1.3".into()),
    ] {
        let row = json(&format!("20260101 00:00:00,srv,u,h:5,1,2,{end}"));
        assert_eq!(row["database"], "shop", "{row}");
        assert_eq!(row["object"], object, "{row}");
        assert_eq!(row["retcode"], retcode, "{row}");
        assert_eq!(row.get("tls_version"), Some(&tls), "{row}");
    }
    // The others have no such field.
    let row = json("20260101 00:00:00,srv,u,h,1,2,QUERY,shop,'a',0,,");
    assert_eq!(row.get("connection_type"), Some(&null), "{row}");
    let row = json("20260101 00:00:00,srv,u,h,1,2,DROP,shop,,");
    assert_eq!(
        (&row["object"], row.get("tls_version")),
        (&"".into(), None),
        "{row}"
    );
    let row = json("1700000000123456,srv,u,h,1,2,READ,shop,orders,,");
    assert_eq!(
        (&row["object"], row.get("tls_version")),
        (&"orders,".into(), None),
        "{row}"
    );
}

#[test]
fn escapes_are_undone_and_unknown_ones_stay() {
    let table = [
        (r"a\b\t\n\f\rz", "a\u{8}\t\n\u{c}\rz"),
        (r"it\'s", "it's"),
        (r"a\\b", r"a\b"),
        (r"a\\\'b", r"a\'b"),
        (r"a\\nb", r"a\nb"),
        (r"\x \0 \%", r"\x \0 \%"),
        (r"\東", r"\東"),
        (r"\\", r"\"),
        ("raw\u{1}\u{7f}\n,\"", "raw\u{1}\u{7f}\n,\""),
        ("inner 'quotes' stay", "inner 'quotes' stay"),
        ("", ""),
    ];
    for (escaped, meant) in table {
        let line = format!("20240102 03:04:05,h,app,10.0.0.5,7,70,QUERY,shop,'{escaped}',0");
        assert_eq!(parse(&line).unwrap().object.text(), meant, "{escaped}");
        assert_eq!(json(&line)["object"], meant, "{escaped}");
    }
}

#[test]
fn no_number_loses_a_digit() {
    let table = [
        ("0", "0"),
        ("4294967296", "4294967296"),
        ("-2147483648", "-2147483648"),
        ("18446744073709551615", "18446744073709551615"),
        ("18446744073709551616", r#""18446744073709551616""#),
        ("-9223372036854775809", r#""-9223372036854775809""#),
        ("007", r#""007""#),
        ("-0", r#""-0""#),
    ];
    for (digits, expected) in table {
        let line = format!("20240102 03:04:05,h,app,10.0.0.5,{digits},{digits},QUERY,d,'',{digits}");
        let expected_ids = format!(r#""connectionid":{expected},"queryid":{expected},"#);
        let message = plain(&line);
        assert!(message.contains(&expected_ids), "{message}");
        assert!(
            message.ends_with(&format!(r#""retcode":{expected}}}"#)),
            "{message}"
        );
    }
}

#[test]
fn the_context_follows_the_row_in_order() {
    let envelope = |owner: &str| Envelope {
        log_group: "/aws/rds/cluster/\"x\"/audit".to_owned(),
        log_stream: "i-1.audit.log.0".to_owned(),
        owner: owner.to_owned(),
    };
    let mut messages = Messages::default();
    messages.come_in(0, &envelope("111122223333"));
    let told = r#","logGroup":"/aws/rds/cluster/\"x\"/audit","logStream":"i-1.audit.log.0","owner":"111122223333","id":"37"}"#;
    let line = "1700000000123456,au-1,app,10.1.2.3,17,0,CONNECT,,,0";
    let (good, parsed) = messages.message(line, Some("37"));
    assert!(
        parsed && good.ends_with(&format!(r#""retcode":0{told}"#)),
        "{good}"
    );
    let (bad, parsed) = messages.message("x\n", Some("37"));
    assert!(
        !parsed && bad.starts_with(r#"{"message":"x\n","error":""#) && bad.ends_with(told),
        "{bad}"
    );
    messages.come_in(1, &envelope(""));
    let (other, _) = messages.message(line, Some("38"));
    assert!(
        other.ends_with(r#""logStream":"i-1.audit.log.0","id":"38"}"#),
        "{other}"
    );
    let (only, _) = Messages::default().message("x", Some("37"));
    assert!(only.ends_with(r#"comma","id":"37"}"#), "{only}");
}

#[test]
fn a_message_takes_no_more_memory_than_it_needs_and_none_of_another() {
    let mut messages = Messages::default();
    let line = |length: usize| {
        format!(
            "1700000000123456,au-1,app,10.1.2.3,17,1,QUERY,shop,'{}',0",
            "x".repeat(length)
        )
    };
    for length in [10, Messages::COPIED, 3, Messages::COPIED * 4, 0, 10] {
        let (message, parsed) = messages.message(&line(length), None);
        assert!(parsed && message.capacity() <= message.len() + 64, "{length}");
        assert_eq!(message, plain(&line(length)), "{length}");
    }
}

#[test]
fn a_text_is_cut_into_its_lines() {
    const A: &str = "20240102 03:04:05,h,app,10.0.0.5,7,70,QUERY,shop,'SELECT 1',0";
    const B: &str = "1700000000123456,au-1,app,10.1.2.3,17,0,CONNECT,,,0";
    const RAW: &str = "20240102 03:04:05,h,app,10.0.0.5,7,70,QUERY,shop,'SELECT\r\n\n1,\\'\nx\\'',0,,";
    const OPEN: &str = "20240102 03:04:05,h,app,10.0.0.5,7,70,QUERY,shop,'SELECT";
    let table: [(String, &[&str]); 13] = [
        (String::new(), &[]),
        ("\n\r\n\n".to_owned(), &[]),
        (A.to_owned(), &[A]),
        (format!("{A}\n"), &[A]),
        (format!("{A}\r\n{B}\r\n"), &[A, B]),
        (format!("\n{A}\n\n{B}"), &[A, B]),
        (format!("{RAW}\n{B}"), &[RAW, B]),
        (format!("{B}\n{RAW}"), &[B, RAW]),
        // Never closed: each piece for itself, and the next audit line whole.
        (format!("{OPEN}\n\n  x\n{A}"), &[OPEN, "  x", A]),
        (format!("{OPEN}\nx"), &[OPEN, "x"]),
        (
            format!("{OPEN}\n{OPEN}\n1',0"),
            &[OPEN, {
                const CLOSED: &str = "20240102 03:04:05,h,app,10.0.0.5,7,70,QUERY,shop,'SELECT\n1',0";
                CLOSED
            }],
        ),
        // Only a query is open to what follows.
        (
            format!("{B}x\n1',0"),
            &["1700000000123456,au-1,app,10.1.2.3,17,0,CONNECT,,,0x", "1',0"],
        ),
        ("text\n \nx\r".to_owned(), &["text", " ", "x\r"]),
    ];
    for (text, expected) in table {
        assert_eq!(lines(&text).collect::<Vec<_>>(), expected, "{text:?}");
    }
    assert_eq!(parse(RAW).unwrap().object.text(), "SELECT\r\n\n1,'\nx'");
}

/// Quadratic, each of these would take minutes.
#[test]
fn texts_made_to_be_slow_are_not() {
    let start = "20240102 03:04:05,h,app,10.0.0.5,7,70,QUERY,shop,'";
    let long = 1 << 20;
    let texts = [
        format!("20240102 03:04:05,h,u,h{}", ",1,2,QUERY".repeat(long / 10)),
        format!("20240102 03:04:05,h,u,h{}", ",1,2,CONNECT".repeat(long / 12)),
        format!("20240102 03:04:05,h,u,h{}", ",1,2,RENAME".repeat(long / 11)),
        format!("{start}{}", "\\'".repeat(long / 2)),
        format!("{start}{}',0", "\\".repeat(long)),
        format!("{start}{}", "\n'".repeat(long / 2)),
        format!("{start}\n").repeat(long / 64),
        format!("{start}\nx\n").repeat(long / 64),
        format!("{start}{}", "\\\n".repeat(long / 2)),
        "\r\n".repeat(long / 2),
        ",".repeat(long),
    ];
    for text in texts {
        plain(&text);
        for line in lines(&text) {
            let _ = parse(line);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Dialect {
    Aurora,
    OldMariaDb,
    RdsMySql,
    MariaDb12,
    Enterprise,
}

/// What happened, before a dialect writes it down.
#[derive(Clone, Debug)]
struct Event {
    dialect: Dialect,
    micros: u64,
    local: String,
    serverhost: String,
    username: String,
    host: String,
    port: Option<u16>,
    connection_id: u64,
    query_id: u64,
    retcode: u16,
    transport: Option<&'static str>,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Query {
        database: String,
        sql: String,
        all_escapes: bool,
    },
    Connection {
        operation: &'static str,
        database: String,
    },
    Table {
        operation: &'static str,
        database: String,
        table: String,
    },
}

impl Event {
    /// As the plugin writes it.
    fn line(&self) -> String {
        use Dialect::*;
        let time = match self.dialect {
            Aurora => self.micros.to_string(),
            _ => self.local.clone(),
        };
        let host = match (self.dialect, self.port) {
            (MariaDb12 | Enterprise, Some(port)) => format!("{}:{port}", self.host),
            (Enterprise, None) => format!("{}:unavailable", self.host),
            _ => self.host.clone(),
        };
        let Self {
            serverhost,
            username,
            connection_id,
            query_id,
            retcode,
            ..
        } = self;
        let head = format!("{time},{serverhost},{username},{host},{connection_id},{query_id}");
        let transport = self.transport.unwrap_or_default();
        match &self.what {
            What::Query {
                database,
                sql,
                all_escapes,
            } => {
                let end = if self.dialect == RdsMySql { ",," } else { "" };
                let sql = escape(sql, *all_escapes);
                format!("{head},QUERY,{database},'{sql}',{retcode}{end}")
            }
            What::Connection { operation, database } => match self.dialect {
                Aurora | OldMariaDb => format!("{head},{operation},{database},,{retcode}"),
                RdsMySql | Enterprise => format!("{head},{operation},{database},,{retcode},{transport}"),
                MariaDb12 => format!("{head},{operation},{database},{transport},{retcode}"),
            },
            What::Table {
                operation,
                database,
                table,
            } => format!("{head},{operation},{database},{table},"),
        }
    }

    /// The message it must become, as key and value in order.
    fn fields(&self) -> Vec<(&'static str, Value)> {
        use Dialect::*;
        let mut fields = vec![
            (
                "timestamp",
                match self.dialect {
                    Aurora => self.micros.into(),
                    _ => self.local.clone().into(),
                },
            ),
            ("serverhost", self.serverhost.clone().into()),
            ("username", self.username.clone().into()),
            ("host", self.host.clone().into()),
        ];
        let ported = self.dialect == Enterprise || self.dialect == MariaDb12 && self.port.is_some();
        if ported {
            fields.push(("port", self.port.into()));
        }
        fields.push(("connectionid", self.connection_id.into()));
        fields.push(("queryid", self.query_id.into()));
        let (operation, database, object, retcode) = match &self.what {
            What::Query { database, sql, .. } => ("QUERY", database, sql.as_str(), Some(self.retcode)),
            What::Connection { operation, database } => (*operation, database, "", Some(self.retcode)),
            What::Table {
                operation,
                database,
                table,
            } => (*operation, database, table.as_str(), None),
        };
        fields.push(("operation", operation.into()));
        fields.push(("database", database.clone().into()));
        fields.push(("object", object.into()));
        fields.push(("retcode", retcode.into()));
        match (self.dialect, &self.what) {
            (RdsMySql, What::Query { .. }) => fields.push(("connection_type", Value::Null)),
            (RdsMySql, What::Connection { .. }) => fields.push(("connection_type", self.transport.into())),
            (Enterprise, What::Connection { .. }) => fields.push(("tls_version", self.transport.into())),
            // Without port and TLS, MariaDB 12 writes what its forebears write.
            (MariaDb12, What::Connection { .. }) if ported || self.transport.is_some() => {
                fields.push(("tls_version", self.transport.into()));
            }
            _ => {}
        }
        fields
    }
}

/// What the plugins do to SQL. The older ones know two escapes only.
fn escape(sql: &str, all: bool) -> String {
    let mut out = String::new();
    for char in sql.chars() {
        match char {
            '\'' => out.push_str("\\'"),
            '\\' => out.push_str("\\\\"),
            '\n' if all => out.push_str("\\n"),
            '\t' if all => out.push_str("\\t"),
            '\r' if all => out.push_str("\\r"),
            '\u{8}' if all => out.push_str("\\b"),
            '\u{c}' if all => out.push_str("\\f"),
            other => out.push(other),
        }
    }
    out
}

/// SQL, or anything else that someone sent instead.
fn sql() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => any::<char>().prop_map(String::from),
        2 => "[a-zA-Z0-9 ,'\"\\\\\n\r\t()=東京ü]{0,8}",
        1 => prop::sample::select(vec![
            "'", "\\", ",", "\n", "\r\n", "\u{8}", "\u{c}", "\u{0}", "',0", "',0,,", ",'", "\\'", "\\n",
            ",1,2,QUERY,d,'x',0", ",1,2,CONNECT,d,,0", ",1,2,READ,d,t,", "',0\n", "',0,SSL\n",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn host() -> impl Strategy<Value = (String, bool)> {
    prop_oneof![
        any::<std::net::Ipv4Addr>().prop_map(|ip| (ip.to_string(), true)),
        // With a port behind it, nobody could tell where the address ends; so it has none here.
        any::<std::net::Ipv6Addr>().prop_map(|ip| (ip.to_string(), false)),
        "[a-z0-9.-]{0,20}".prop_map(|name| (name, true)),
    ]
}

/// What the names leave out is what can't be told, in any dialect: an operation between numbers (the user or
/// the database would be cut there), `,'` in the database of a query, a comma in the database of a table, a
/// backtick in the database of a connection, in MariaDB 12 a table of a RENAME without its `|`.
fn what() -> impl Strategy<Value = What> {
    let database = "[a-z0-9_東 ,.-]{0,12}";
    let table = "[a-z0-9_東 ,.'\"-]{1,12}";
    prop_oneof![
        (database, sql(), any::<bool>()).prop_map(|(database, sql, all_escapes)| What::Query {
            database,
            sql,
            all_escapes,
        }),
        (
            prop::sample::select(vec!["CONNECT", "DISCONNECT", "FAILED_CONNECT", "CHANGEUSER"]),
            database
        )
            .prop_map(|(operation, database)| What::Connection { operation, database }),
        (
            prop::sample::select(vec!["READ", "WRITE", "CREATE", "ALTER", "DROP", "RENAME"]),
            "[a-z0-9_東 .-]{0,12}",
            table,
            table
        )
            .prop_map(|(operation, database, table, new)| What::Table {
                operation,
                table: match operation {
                    // A comma at its end is MariaDB Enterprise's eleventh field.
                    "RENAME" => format!("{table}|{database}.{}", new.trim_end_matches(',')),
                    _ => table.trim_end_matches(',').to_owned(),
                },
                database,
            }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    use Dialect::*;
    let local = (1970..2100u32, 1..13u32, 1..29u32, 0..24u32, 0..60u32, 0..61u32).prop_map(
        |(year, month, day, hour, minute, second)| {
            format!("{year:04}{month:02}{day:02} {hour:02}:{minute:02}:{second:02}")
        },
    );
    let dialect = prop::sample::select(vec![Aurora, OldMariaDb, RdsMySql, MariaDb12, Enterprise]);
    (
        (dialect, 1_000_000_000_000_000..=9_999_999_999_999_999u64, local),
        ("[a-z0-9.-]{0,16}", "[a-zA-Z0-9 ,'\"\\\\`@_東]{0,16}", host()),
        (any::<Option<u16>>(), any::<u64>(), any::<u64>(), any::<u16>()),
        (0..6usize, what()),
    )
        .prop_map(
            |(when, who, (port, connection_id, query_id, retcode), (transport, what))| {
                let (dialect, micros, local) = when;
                let (serverhost, username, (host, portable)) = who;
                let types = ["UNDEFINED", "TCP/IP", "SOCKET", "NAMED_PIPE", "SSL", "3"];
                let versions = [
                    None,
                    None,
                    Some("TLSv1.3"),
                    Some("TLSv1.2"),
                    Some("TLSv1"),
                    Some("SSLv3"),
                ];
                Event {
                    dialect,
                    micros,
                    local,
                    serverhost,
                    username,
                    host,
                    port: port.filter(|_| portable),
                    connection_id,
                    query_id,
                    retcode,
                    transport: match dialect {
                        RdsMySql => Some(types[transport]),
                        _ => versions[transport],
                    },
                    what,
                }
            },
        )
}

/// Anything, and much that nearly is an audit line.
fn anything() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => any::<char>().prop_map(String::from),
        1 => event().prop_map(|event| event.line()),
        6 => prop::sample::select(vec![
            "\n", "\r\n", "\r", "'", "\\", ",", ",,", "|", "`", "[", "]", ":", "0", "',0", ",'", "TLSv1.3",
            "20240102 03:04:05,", "20249999 99:99:99,", "1700000000123456,", "h,u,h,1,2,QUERY,d,'",
            ",1,2,QUERY,", ",1,2,CONNECT,", ",1,2,RENAME,", "x",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_row_comes_back_from_each_dialect(event in event()) {
        let line = event.line();
        let (message, parsed) = message(&line);
        prop_assert!(parsed, "{}: {}", line, message);
        let expected: Vec<String> = event
            .fields()
            .into_iter()
            .map(|(key, value)| format!("\"{key}\":{value}"))
            .collect();
        let meant: Value = serde_json::from_str(&format!("{{{}}}", expected.join(","))).unwrap();
        let got: Value = serde_json::from_str(&message).unwrap();
        prop_assert_eq!(&got, &meant, "{}", line);
        // Compared as values above, for the spelling of an escape is free; here the order.
        let mut at = 0;
        for (key, _) in event.fields() {
            let place = message[at..].find(&format!("\"{key}\":"));
            prop_assert!(place.is_some(), "{} in its place in {}", key, message);
            at += place.unwrap();
        }
    }

    #[test]
    fn no_text_is_dropped_or_makes_it_panic(text in anything(), id in any::<Option<String>>()) {
        let (message, parsed) = Messages::default().message(&text, id.as_deref());
        prop_assert_eq!(parsed, parse(&text).is_ok());
        let json: Value = serde_json::from_str(&message).unwrap();
        prop_assert_eq!(json.get("id").and_then(Value::as_str), id.as_deref());
        if parsed {
            let row = parse(&text).unwrap();
            prop_assert_eq!(&json["object"], &*row.object.text());
        } else {
            prop_assert_eq!(&json["message"], &text);
        }
    }

    #[test]
    fn only_line_breaks_are_lost_between_lines(text in anything()) {
        let mut rest = text.as_str();
        for line in lines(&text) {
            prop_assert!(!line.is_empty());
            let at = line.as_ptr() as usize - rest.as_ptr() as usize;
            prop_assert_eq!(rest[..at].replace("\r\n", "").replace('\n', ""), "");
            rest = &rest[at + line.len()..];
            prop_assert!(rest.is_empty() || rest.starts_with('\n') || rest.starts_with("\r\n"));
        }
        prop_assert_eq!(rest.replace("\r\n", "").replace('\n', ""), "");
    }

    /// Except that a raw line break in SQL, with the start of an audit line behind it, ends the line.
    #[test]
    fn rows_come_back_from_a_text(
        events in prop::collection::vec((event(), any::<bool>()), 1..6),
    ) {
        let rows: Vec<String> = events.iter().map(|(event, _)| event.line()).collect();
        let mut text = String::new();
        for (row, (_, windows)) in rows.iter().zip(&events) {
            text.push_str(row);
            text.push_str(if *windows { "\r\n" } else { "\n" });
        }
        prop_assert_eq!(lines(&text).collect::<Vec<_>>(), rows);
    }
}
