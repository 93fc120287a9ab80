//! Audit lines of MySQL and MariaDB: `timestamp,serverhost,username,host,connectionid,queryid,operation,
//! database,object,retcode`, as JSON.
//!
//! Pure. Owns what the writers differ in (Aurora, the plugins of RDS, MariaDB 12 and its Enterprise edition),
//! and must never drop a line: one that can't be read becomes a message with the line and the reason.
//!
//! The fields are separated by commas that nothing escapes, except inside the SQL of a QUERY. So a line is
//! read from two sides: its middle is found by `,connectionid,queryid,OPERATION,`, its end from the right.
//! Where a line has two readings, this one counts:
//!
//! * Extra commas before the ids belong to the user, in a table row to the object, else to the database.
//! * The first QUERY that reads is the operation, for its SQL may hold anything, a whole audit line too. If
//!   there is none, the last operation that reads is: the user of a refused connection is whatever a
//!   stranger sent, while a database or a table that is named like an audit line takes someone with rights.
//!   A QUERY that begins a quote and does not end it well is no place to look for other operations.
//! * The object of a QUERY begins at the first `,'`, and ends at the last quote of the line, if no backslash
//!   escapes it: no writer puts a quote behind the object. A quote between the two is part of the SQL.
//! * A table row with `YYYYMMDD HH:MM:SS` that ends in two commas, or in two and a TLS version, is one of
//!   MariaDB Enterprise 12.3, which writes how the client was connected behind the return code of all rows.
//! * `fd00::1:50123` is an address without a port. `[fd00::1]:50123` has one.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::Envelope;
use crate::json::plain_length;

/// The most places where an operation is looked for, so that a line made of them takes no longer. No real one
/// has more: MariaDB's plugin writes what stands before the object into 1024 bytes (server_audit.c, where AWS
/// has it from), and an operation takes nine with its ids.
const ANCHORS: usize = 128;

/// The fields of an audit line's message, in their order. Of one that can't be read, `message` and `error` stand for all but the last four.
pub const FIELDS: [&str; 19] = [
    "timestamp",
    "serverhost",
    "username",
    "host",
    "port",
    "connectionid",
    "queryid",
    "operation",
    "database",
    "object",
    "retcode",
    "connection_type",
    "tls_version",
    "message",
    "error",
    "logGroup",
    "logStream",
    "owner",
    "id",
];

/// One parsed audit line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow<'a> {
    pub timestamp: Timestamp<'a>,
    pub serverhost: &'a str,
    pub username: &'a str,
    pub host: &'a str,
    pub port: Port,
    pub connection_id: Number<'a>,
    pub query_id: Number<'a>,
    pub operation: &'a str,
    pub database: &'a str,
    pub object: Object<'a>,
    pub retcode: Option<Number<'a>>,
    pub transport: Transport<'a>,
}

/// When it happened, as it stands on the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timestamp<'a> {
    /// Aurora: µs since 1970, in 16 digits.
    Micros(&'a str),
    /// The others: `YYYYMMDD HH:MM:SS` on the server's clock, whose zone the line does not tell.
    Local(&'a str),
}

/// The client's port, which MariaDB 12 writes behind the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// The host stood alone.
    Unwritten,
    /// The client came through a socket or a pipe.
    Unavailable,
    Is(u16),
}

/// How the client was connected, in the dialects that tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport<'a> {
    Unwritten,
    /// RDS for MySQL. Its QUERY rows have the field, and nothing in it.
    ConnectionType(Option<&'a str>),
    /// MariaDB 12. Without a version: unencrypted.
    TlsVersion(Option<&'a str>),
}

/// A whole number, by its digits. The plugins print the id of a connection as a signed one, so that a high id
/// is negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number<'a>(&'a str);

impl<'a> Number<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
        (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit)).then_some(Self(text))
    }

    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// A number, unless it is beyond 64 bits (or begins with zeros): no writer prints such, and a reader of
    /// the JSON would round it. It becomes text, with all of its digits.
    fn write(self, out: &mut Json) {
        let digits = self.0.strip_prefix('-').unwrap_or(self.0);
        let canonical = self.0 == "0" || !digits.starts_with('0');
        // Any number of 18 digits is below 2⁶³.
        let is_short = digits.len() <= 18;
        if canonical && (is_short || self.0.parse::<u64>().is_ok() || self.0.parse::<i64>().is_ok()) {
            out.text.push_str(self.0);
        } else {
            out.quote(self.0);
        }
    }
}

/// What was touched: the SQL of a QUERY, the table of a table row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object<'a> {
    /// As it is meant.
    Plain(Cow<'a, str>),
    /// The inside of the quotes, where a backslash escapes.
    Escaped(&'a str),
}

impl Object<'_> {
    /// The object without its escapes. An unknown escape stays as it is.
    pub fn text(&self) -> Cow<'_, str> {
        let escaped = match self {
            Self::Plain(text) => return Cow::Borrowed(text),
            Self::Escaped(text) if !text.contains('\\') => return Cow::Borrowed(text),
            Self::Escaped(text) => text,
        };
        let mut text = String::with_capacity(escaped.len());
        let mut rest = *escaped;
        while let Some((safe, tail)) = rest.split_once('\\') {
            text.push_str(safe);
            let mut chars = tail.chars();
            let meant = match chars.next() {
                Some('b') => '\u{8}',
                Some('t') => '\t',
                Some('n') => '\n',
                Some('f') => '\u{c}',
                Some('r') => '\r',
                Some(same @ ('\'' | '\\')) => same,
                _ => {
                    text.push('\\');
                    rest = tail;
                    continue;
                }
            };
            text.push(meant);
            rest = chars.as_str();
        }
        text.push_str(rest);
        Cow::Owned(text)
    }
}

/// Why a line is no audit line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    #[error("the line doesn't begin with 16 digits or with YYYYMMDD HH:MM:SS, and a comma")]
    NoTimestamp,
    #[error("the 16 digits are no time in microseconds: they begin with 0")]
    Micros,
    #[error("the month is {0}")]
    Month(u32),
    #[error("the day is {0}, which the month doesn't have")]
    Day(u32),
    #[error("the hour is {0}")]
    Hour(u32),
    #[error("the minute is {0}")]
    Minute(u32),
    #[error("the second is {0}")]
    Second(u32),
    #[error("server, user, host, two ids and a known operation don't follow the timestamp")]
    NoOperation,
    #[error("the database or the object is missing")]
    NoNames,
    #[error("the query is missing, or not in quotes")]
    NoQuery,
    #[error("the object never closes its quote")]
    OpenQuote,
    #[error("behind the object's closing quote stands more than a return code, or none")]
    NoEnd,
    #[error("the return code is no number")]
    NoRetcode,
    #[error("what follows the return code is neither a connection type nor a TLS version")]
    NoTransport,
}

/// What an operation's row looks like behind the operation.
#[derive(Clone, Copy)]
enum Kind {
    Query,
    Connection,
    /// The object is the other user.
    Proxy,
    /// And AUDIT_CONFIG, whose object is `name=value`.
    Table,
    Rename,
}

impl Kind {
    /// QUERY is the one name of all statements: QUERY_DDL and its like are filters, not operations.
    fn of(operation: &str) -> Option<Self> {
        Some(match operation {
            "QUERY" => Self::Query,
            "CONNECT" | "DISCONNECT" | "FAILED_CONNECT" | "CHANGEUSER" => Self::Connection,
            // The last two: MariaDB Enterprise.
            "PROXY_CONNECT" | "CHANGE_USER" | "CHANGE_USER_DONE" => Self::Proxy,
            "READ" | "WRITE" | "CREATE" | "ALTER" | "DROP" | "AUDIT_CONFIG" => Self::Table,
            "RENAME" => Self::Rename,
            _ => return None,
        })
    }
}

/// Reads one line. A line break at its end is not part of it.
pub fn parse(line: &str) -> Result<AuditRow<'_>, AuditError> {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    let (timestamp, rest) = timestamp(line)?;
    let mut last = None;
    let mut why = None;
    for anchor in anchors(rest).take(ANCHORS) {
        match (anchor.kind, anchor.row(timestamp)) {
            (Kind::Query, Ok(row)) => return Ok(row),
            (Kind::Query, Err(e)) if e != AuditError::NoQuery => return Err(e),
            (_, Ok(row)) => last = Some(row),
            (_, Err(e)) => why = why.or(Some(e)),
        }
    }
    last.ok_or(why.unwrap_or(AuditError::NoOperation))
}

/// How long the timestamp is that a text begins with, by its looks. A comma follows it.
fn stamp_length(text: &[u8]) -> Option<usize> {
    let looks = |shape: &[u8]| {
        let start = text.get(..shape.len())?;
        let alike = start.iter().zip(shape).all(|(byte, like)| match like {
            b'0' => byte.is_ascii_digit(),
            _ => byte == like,
        });
        alike.then_some(shape.len() - 1)
    };
    looks(b"0000000000000000,").or_else(|| looks(b"00000000 00:00:00,"))
}

/// The timestamp, and what follows its comma.
fn timestamp(line: &str) -> Result<(Timestamp<'_>, &str), AuditError> {
    let (stamp, rest) = stamp_length(line.as_bytes())
        .and_then(|length| line.split_at_checked(length))
        .and_then(|(stamp, rest)| Some((stamp, rest.strip_prefix(',')?)))
        .ok_or(AuditError::NoTimestamp)?;
    if stamp.len() == 16 {
        return match stamp.starts_with('0') {
            true => Err(AuditError::Micros),
            false => Ok((Timestamp::Micros(stamp), rest)),
        };
    }
    let part = |from, to| stamp.get(from..to).and_then(|p| p.parse().ok()).unwrap_or(0u32);
    let (year, month, day) = (part(0, 4), part(4, 6), part(6, 8));
    let days = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return Err(AuditError::Month(month)),
    };
    match (day, part(9, 11), part(12, 14), part(15, 17)) {
        (day, ..) if day == 0 || day > days => Err(AuditError::Day(day)),
        (_, hour @ 24.., ..) => Err(AuditError::Hour(hour)),
        (_, _, minute @ 60.., _) => Err(AuditError::Minute(minute)),
        // The 60th is a leap second.
        (_, _, _, second @ 61..) => Err(AuditError::Second(second)),
        _ => Ok((Timestamp::Local(stamp), rest)),
    }
}

/// A place where `,connectionid,queryid,OPERATION,` stands.
struct Anchor<'a> {
    serverhost: &'a str,
    username: &'a str,
    host: &'a str,
    connection_id: Number<'a>,
    query_id: Number<'a>,
    kind: Kind,
    operation: &'a str,
    /// What follows its last comma.
    rest: &'a str,
}

/// The anchors of what follows the timestamp, from the left. Each comma is taken for the last one of an
/// anchor; three more before it and two numbers between them make it one.
fn anchors(text: &str) -> impl Iterator<Item = Anchor<'_>> {
    let mut server = None;
    let mut commas = [None; 4];
    let mut from = 0;
    let places = std::iter::from_fn(move || {
        let at = from
            + text
                .as_bytes()
                .get(from..)?
                .iter()
                .position(|byte| *byte == b',')?;
        from = at + 1;
        Some(at)
    });
    places.filter_map(move |at| {
        let server = *server.get_or_insert(at);
        let [before, first, second, third] = commas;
        commas = [first, second, third, Some(at)];
        let operation = text.get(third? + 1..at)?;
        let kind = Kind::of(operation)?;
        let query_id = Number::read(text.get(second? + 1..third?)?)?;
        let connection_id = Number::read(text.get(first? + 1..second?)?)?;
        // The user may hold commas, the server and the host none.
        let before = before.filter(|before| *before > server)?;
        Some(Anchor {
            serverhost: text.get(..server)?,
            username: text.get(server + 1..before)?,
            host: text.get(before + 1..first?)?,
            connection_id,
            query_id,
            kind,
            operation,
            rest: text.get(at + 1..)?,
        })
    })
}

/// What follows the operation.
struct Tail<'a> {
    database: &'a str,
    object: Object<'a>,
    retcode: Option<Number<'a>>,
    transport: Transport<'a>,
}

impl<'a> Anchor<'a> {
    fn row(&self, timestamp: Timestamp<'a>) -> Result<AuditRow<'a>, AuditError> {
        let mut tail = match self.kind {
            Kind::Query => query(self.rest),
            Kind::Connection | Kind::Proxy => connection(self.rest),
            Kind::Table | Kind::Rename => {
                let (rest, transport) = match timestamp {
                    Timestamp::Micros(_) => (self.rest, Transport::Unwritten),
                    Timestamp::Local(_) => table_transport(self.rest),
                };
                let tail = match self.kind {
                    Kind::Rename => rename(rest),
                    _ => table(rest),
                };
                tail.map(|tail| Tail { transport, ..tail })
            }
        }?;
        let (host, port) = match timestamp {
            Timestamp::Micros(_) => (self.host, Port::Unwritten),
            Timestamp::Local(_) => host_and_port(self.host),
        };
        // MariaDB 12 tells the TLS version where the object stands, and nothing if there is no TLS. That it is
        // MariaDB 12 is known by the port then.
        if let (
            Kind::Connection,
            Timestamp::Local(_),
            Transport::Unwritten,
            Object::Plain(Cow::Borrowed(tls)),
        ) = (self.kind, timestamp, tail.transport, &tail.object)
        {
            if is_tls(tls) {
                tail.transport = Transport::TlsVersion(Some(tls));
                tail.object = Object::Plain(Cow::Borrowed(""));
            } else if port != Port::Unwritten {
                tail.transport = Transport::TlsVersion(None);
            }
        }
        Ok(AuditRow {
            timestamp,
            serverhost: self.serverhost,
            username: self.username,
            host,
            port,
            connection_id: self.connection_id,
            query_id: self.query_id,
            operation: self.operation,
            database: tail.database,
            object: tail.object,
            retcode: tail.retcode,
            transport: tail.transport,
        })
    }
}

/// `host:port` of MariaDB 12. A host without brackets that has two colons is an IPv6 address, to its end.
fn host_and_port(field: &str) -> (&str, Port) {
    let Some((host, port)) = field.rsplit_once(':') else {
        return (field, Port::Unwritten);
    };
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    match port.parse() {
        _ if port == "unavailable" => (bracketed.unwrap_or(host), Port::Unavailable),
        Ok(port) if digits && (bracketed.is_some() || !host.contains(':')) => {
            (bracketed.unwrap_or(host), Port::Is(port))
        }
        _ => (field, Port::Unwritten),
    }
}

/// `database,'SQL',retcode`, and for RDS for MySQL `,,` behind it.
fn query(rest: &str) -> Result<Tail<'_>, AuditError> {
    let quote = rest.as_bytes().windows(2).position(|pair| pair == b",'");
    let (database, rest) = quote
        .and_then(|at| Some((rest.get(..at)?, rest.get(at + 2..)?)))
        .ok_or(AuditError::NoQuery)?;
    let (object, end) = closing_quote(rest).ok_or(AuditError::OpenQuote)?;
    let (retcode, transport) = query_end(end).ok_or(AuditError::NoEnd)?;
    Ok(Tail {
        database,
        object: Object::Escaped(object),
        retcode,
        transport,
    })
}

/// What stands before and behind the last quote, which nothing escapes.
fn closing_quote(text: &str) -> Option<(&str, &str)> {
    let at = text.bytes().rposition(|byte| byte == b'\'')?;
    let (object, end) = (text.get(..at)?, text.get(at + 1..)?);
    let backslashes = object.bytes().rev().take_while(|b| *b == b'\\').count();
    (backslashes % 2 == 0).then_some((object, end))
}

/// The return code behind the quote, and how the client was connected where the dialect has room for that.
fn query_end(end: &str) -> Option<(Option<Number<'_>>, Transport<'_>)> {
    let fields = end.strip_prefix(',')?;
    if let Some(code) = Number::read(fields) {
        return Some((Some(code), Transport::Unwritten));
    }
    let mut fields = fields.split(',');
    let retcode = retcode(fields.next()?).ok()?;
    let transport = match (fields.next(), fields.next(), fields.next()) {
        (None, ..) => Transport::Unwritten,
        (Some(""), Some(""), None) => Transport::ConnectionType(None),
        (Some(field), None | Some(""), None) => transport(field).ok()?,
        _ => return None,
    };
    Some((retcode, transport))
}

/// `database,object,retcode`, and in RDS for MySQL and in MariaDB Enterprise how the client was connected.
/// No object of a connection is a number, so a number before the last field is the return code.
fn connection(rest: &str) -> Result<Tail<'_>, AuditError> {
    let (head, last) = rest.rsplit_once(',').ok_or(AuditError::NoNames)?;
    let (names, retcode, transport) = match head.rsplit_once(',').map(|(h, c)| (h, Number::read(c))) {
        Some((names, Some(code))) => (names, Some(code), transport(last)?),
        _ => (head, retcode(last)?, Transport::Unwritten),
    };
    // `user`@`host`: of a proxy, whose name may hold commas.
    let quoted = names.ends_with('`').then(|| names.find(",`")).flatten();
    let (database, object) = quoted
        .or_else(|| names.rfind(','))
        .and_then(|at| names.split_at_checked(at))
        .and_then(|(database, object)| Some((database, object.strip_prefix(',')?)))
        .ok_or(AuditError::NoNames)?;
    Ok(Tail {
        database,
        object: Object::Plain(Cow::Borrowed(object)),
        retcode,
        transport,
    })
}

/// The TLS version behind the empty return code of a table row of MariaDB Enterprise 12.3, and what is before it.
/// Of two commas at the end the last is its, not the object's; `database,,` has no object, and no such field.
fn table_transport(rest: &str) -> (&str, Transport<'_>) {
    match rest.rsplit_once(',') {
        Some((head, tls))
            if head.ends_with(',')
                && head.bytes().filter(|b| *b == b',').count() > 1
                && (tls.is_empty() || is_tls(tls)) =>
        {
            (
                head,
                Transport::TlsVersion(Some(tls).filter(|tls| !tls.is_empty())),
            )
        }
        _ => (rest, Transport::Unwritten),
    }
}

/// `database,object,`: a table row has no return code; a row of AUDIT_CONFIG has one.
fn table(rest: &str) -> Result<Tail<'_>, AuditError> {
    let (names, code) = rest.rsplit_once(',').ok_or(AuditError::NoNames)?;
    let (database, object) = names.split_once(',').ok_or(AuditError::NoNames)?;
    Ok(Tail {
        database,
        object: Object::Plain(Cow::Borrowed(object)),
        retcode: retcode(code)?,
        transport: Transport::Unwritten,
    })
}

/// A table row whose object is `old|database.new`. MariaDB Enterprise puts database and new name into fields
/// of their own, before the empty return code or behind it; the object becomes what the others write.
fn rename(rest: &str) -> Result<Tail<'_>, AuditError> {
    let mut left = rest.splitn(5, ',');
    let mut right = rest.rsplitn(4, ',');
    let next = (left.next(), left.next(), left.next(), left.next(), left.next());
    let last = (right.next(), right.next(), right.next(), right.next());
    let (database, old, new_database, new) = match (next, last) {
        (_, (Some(new), Some(new_database), Some(""), Some(names))) if !new.is_empty() => {
            let (database, old) = names.split_once(',').ok_or(AuditError::NoNames)?;
            (database, old, new_database, new)
        }
        ((Some(database), Some(old), Some(new_database), Some(new), Some("")), _) if !rest.contains('|') => {
            (database, old, new_database, new)
        }
        _ => return table(rest),
    };
    let object = match old.contains('|') {
        true => Cow::Borrowed(old),
        false => Cow::Owned(format!("{old}|{new_database}.{new}")),
    };
    Ok(Tail {
        database,
        object: Object::Plain(object),
        retcode: None,
        transport: Transport::Unwritten,
    })
}

fn retcode(field: &str) -> Result<Option<Number<'_>>, AuditError> {
    match field {
        "" => Ok(None),
        _ => Number::read(field).map(Some).ok_or(AuditError::NoRetcode),
    }
}

/// The field behind the return code. An empty one is MariaDB's, of a connection without TLS.
fn transport(field: &str) -> Result<Transport<'_>, AuditError> {
    match field {
        "" => Ok(Transport::TlsVersion(None)),
        "UNDEFINED" | "TCP/IP" | "SOCKET" | "NAMED_PIPE" | "SSL" | "SHARED_MEMORY" | "0" | "1" | "2"
        | "3" | "4" | "5" => Ok(Transport::ConnectionType(Some(field))),
        _ if is_tls(field) => Ok(Transport::TlsVersion(Some(field))),
        _ => Err(AuditError::NoTransport),
    }
}

/// What OpenSSL calls a version: TLSv1.3, TLSv1, SSLv3.
fn is_tls(field: &str) -> bool {
    let version = field.strip_prefix("TLSv").or_else(|| field.strip_prefix("SSLv"));
    version.is_some_and(|v| !v.is_empty() && v.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
}

/// Writes the messages of lines, one after the other.
#[derive(Debug, Default)]
pub struct Messages {
    /// Where the last one was written.
    buffer: String,
    /// What the envelope adds to each message. A plain line has none.
    envelope: Option<(usize, String)>,
}

impl Messages {
    /// A message that is longer keeps the buffer that it was written in: else a long one would be held twice.
    const COPIED: usize = 16 * 1024;

    /// The lines from now on came in this envelope, the one `at` this place of its record's. What it doesn't tell is
    /// left out.
    pub fn come_in(&mut self, at: usize, envelope: &Envelope) {
        if self.envelope.as_ref().is_some_and(|(known, _)| *known == at) {
            return;
        }
        let mut out = Json::default();
        let told = [
            (r#","logGroup":"#, &envelope.log_group),
            (r#","logStream":"#, &envelope.log_stream),
            (r#","owner":"#, &envelope.owner),
        ];
        for (key, value) in told.into_iter().filter(|(_, value)| !value.is_empty()) {
            out.text.push_str(key);
            out.quote(value);
        }
        self.envelope = Some((at, out.text));
    }

    /// The JSON message of a line, and whether it was parsed. One that was not has the line in `message` and the
    /// reason in `error`.
    pub fn message(&mut self, line: &str, id: Option<&str>) -> (String, bool) {
        let mut out = Json {
            text: std::mem::take(&mut self.buffer),
            is_plain: plain_length(line.as_bytes()) == line.len(),
        };
        out.text.clear();
        let parsed = parse(line);
        match &parsed {
            Ok(row) => row.write(&mut out),
            Err(why) => {
                out.text.push_str(r#"{"message":"#);
                out.quote(line);
                out.text.push_str(r#","error":"#);
                out.is_plain = false;
                out.quote(&why.to_string());
            }
        }
        out.is_plain = false;
        if let Some((_, envelope)) = &self.envelope {
            out.text.push_str(envelope);
        }
        if let Some(id) = id {
            out.text.push_str(r#","id":"#);
            out.quote(id);
        }
        out.text.push('}');
        // A record may hold a million lines of a few bytes, and their messages are held until they are delivered: none
        // takes more than it needs.
        let message = match out.text.len() {
            ..=Self::COPIED => {
                let message = out.text.as_str().to_owned();
                self.buffer = out.text;
                message
            }
            _ => {
                out.text.shrink_to_fit();
                out.text
            }
        };
        (message, parsed.is_ok())
    }
}

impl AuditRow<'_> {
    fn write(&self, out: &mut Json) {
        match self.timestamp {
            Timestamp::Micros(digits) => {
                out.text.push_str(r#"{"timestamp":"#);
                out.text.push_str(digits);
            }
            Timestamp::Local(text) => {
                out.text.push_str(r#"{"timestamp":"#);
                out.quote(text);
            }
        }
        out.text.push_str(r#","serverhost":"#);
        out.quote(self.serverhost);
        out.text.push_str(r#","username":"#);
        out.quote(self.username);
        out.text.push_str(r#","host":"#);
        out.quote(self.host);
        match self.port {
            Port::Unwritten => {}
            Port::Unavailable => out.text.push_str(r#","port":null"#),
            Port::Is(port) => {
                // Writing into a String can't fail.
                let _ = write!(out.text, r#","port":{port}"#);
            }
        }
        out.text.push_str(r#","connectionid":"#);
        self.connection_id.write(out);
        out.text.push_str(r#","queryid":"#);
        self.query_id.write(out);
        out.text.push_str(r#","operation":"#);
        out.quote(self.operation);
        out.text.push_str(r#","database":"#);
        out.quote(self.database);
        out.text.push_str(r#","object":"#);
        match &self.object {
            Object::Plain(text) => out.quote(text),
            Object::Escaped(text) => out.quote_unescaped(text),
        }
        out.text.push_str(r#","retcode":"#);
        match self.retcode {
            Some(code) => code.write(out),
            None => out.text.push_str("null"),
        }
        let (key, told) = match self.transport {
            Transport::Unwritten => return,
            Transport::ConnectionType(told) => (r#","connection_type":"#, told),
            Transport::TlsVersion(told) => (r#","tls_version":"#, told),
        };
        out.text.push_str(key);
        match told {
            Some(told) => out.quote(told),
            None => out.text.push_str("null"),
        }
    }
}

/// JSON, written front to back.
#[derive(Default)]
struct Json {
    text: String,
    /// What comes is parts of a text that needs no escapes.
    is_plain: bool,
}

impl Json {
    fn quote(&mut self, text: &str) {
        self.escape(text, |out, tail| {
            out.push_str("\\\\");
            tail
        });
    }

    /// The inside of the quotes of an object, without its escapes. JSON has the same ones but for the quote.
    fn quote_unescaped(&mut self, text: &str) {
        self.escape(text, |out, tail| {
            let known = tail.as_bytes().first().and_then(|byte| match byte {
                b'b' => Some("\\b"),
                b't' => Some("\\t"),
                b'n' => Some("\\n"),
                b'f' => Some("\\f"),
                b'r' => Some("\\r"),
                b'\'' => Some("'"),
                b'\\' => Some("\\\\"),
                _ => None,
            });
            match known.zip(tail.get(1..)) {
                Some((meant, tail)) => {
                    out.push_str(meant);
                    tail
                }
                None => {
                    out.push_str("\\\\");
                    tail
                }
            }
        });
    }

    /// A JSON string: copies what needs no escape in runs, and leaves a backslash to `backslash`, which is
    /// given what follows it and returns what of that is left.
    fn escape<'t>(&mut self, text: &'t str, backslash: impl Fn(&mut String, &'t str) -> &'t str) {
        let out = &mut self.text;
        out.push('"');
        let mut rest = text;
        while !self.is_plain
            && let Some((safe, tail)) = rest.split_at_checked(plain_length(rest.as_bytes()))
            && !tail.is_empty()
        {
            out.push_str(safe);
            let mut chars = tail.chars();
            let special = chars.next();
            rest = chars.as_str();
            match special {
                Some('\\') => rest = backslash(out, rest),
                Some('"') => out.push_str("\\\""),
                Some('\n') => out.push_str("\\n"),
                Some('\t') => out.push_str("\\t"),
                Some('\r') => out.push_str("\\r"),
                Some(control) => {
                    let _ = write!(out, "\\u{:04x}", u32::from(control));
                }
                None => {}
            }
        }
        out.push_str(rest);
        out.push('"');
    }
}

/// Cuts a text into its lines. A raw line break inside the quotes of an object is no end of a line; empty
/// lines are skipped; else no character is lost but the line breaks (`\n` or `\r\n`) between lines.
///
/// A line is joined with those behind it up to the first that ends like a QUERY, and never over the start of
/// an audit line. If none closes the quote, each stays a line of its own. Whatever the text is, it takes time
/// in proportion to its length: two starts never look at the same lines.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    Lines { rest: text }
}

struct Lines<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            let text = self.rest;
            if text.is_empty() {
                return None;
            }
            let (line, rest) = physical_line(text);
            self.rest = rest;
            if line.is_empty() {
                continue;
            }
            // Most lines have an audit line behind them, or nothing: they need no second look.
            if rest.is_empty() || stamp_length(rest.as_bytes()).is_some() || !is_open(line) {
                return Some(line);
            }
            let Some((joined, rest)) = join(text, rest) else {
                return Some(line);
            };
            self.rest = rest;
            return Some(joined);
        }
    }
}

/// The text up to its first line break, and what follows that.
fn physical_line(text: &str) -> (&str, &str) {
    match text.split_once('\n') {
        Some((line, rest)) => (line.strip_suffix('\r').unwrap_or(line), rest),
        None => (text, ""),
    }
}

/// Whether a line begins like an audit line, with its timestamp.
pub fn begins_line(line: &[u8]) -> bool {
    stamp_length(line).is_some()
}

/// Whether it is an audit line that has begun a query and not ended it.
pub fn is_open(line: &str) -> bool {
    matches!(parse(line), Err(AuditError::OpenQuote | AuditError::NoEnd))
}

/// Whether a query that was open before this line ends with it.
pub fn ends_query(line: &str) -> bool {
    let (line, _) = physical_line(line);
    closing_quote(line).is_some_and(|(_, end)| query_end(end).is_some())
}

/// The line that begins with `text`, up to the first line break from `rest` on before which a query ends; and
/// what follows that.
fn join<'a>(text: &'a str, mut rest: &'a str) -> Option<(&'a str, &'a str)> {
    while !rest.is_empty() && stamp_length(rest.as_bytes()).is_none() {
        let (line, behind) = physical_line(rest);
        if ends_query(line) {
            let end = text.len() - rest.len() + line.len();
            return text.get(..end).map(|joined| (joined, behind));
        }
        rest = behind;
    }
    None
}

#[cfg(test)]
mod tests;
