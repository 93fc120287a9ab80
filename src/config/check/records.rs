//! How records are read, kept, hidden and told.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::{Checked, word};
use crate::config::StreamChoice;
use crate::decode::{Decode, Gzip, UnknownMessages, audit};
use crate::filter::Filter;
use crate::redact::{self, Key, Path, Segment, With};
use crate::shape::Format;
use crate::suggest;

/// What `inflate_limit` may be. A subscription envelope opens to a few MiB as a rule, and a record has 10 MiB at
/// most; what one opens to is in memory as a whole.
pub const INFLATE_LIMIT: RangeInclusive<usize> = (1 << 20)..=(256 << 20);

/// What the records of a Kinesis stream may be read as.
pub const DECODES: [(&str, Decode); 7] = [
    ("auto", Decode::Auto),
    ("subscription", Decode::Subscription),
    ("audit", Decode::Audit),
    ("change", Decode::Change),
    ("json", Decode::Json),
    ("text", Decode::Text),
    ("base64", Decode::Base64),
];

/// As the settings spell it.
pub fn decode_word(how: Decode) -> &'static str {
    let word = DECODES.iter().find(|(_, decode)| *decode == how);
    // Only `lambda` is not on the list.
    word.map_or("lambda", |(word, _)| word)
}

/// What records are read as: one of the words for Kinesis, or `lambda`.
pub fn decode(text: &str) -> Checked<Decode> {
    match DECODES.iter().find(|(word, _)| *word == text) {
        Some((_, decode)) => Ok(*decode),
        None if text == "lambda" => Ok(Decode::Lambda),
        None => Err(format!(
            "is no way to decode: {}",
            suggest::one_of(text, &DECODES.map(|(word, _)| word))
        )),
    }
}

/// Whether the records of this stream can be read so.
pub fn decode_fits(how: Decode, stream: &StreamChoice) -> Checked<()> {
    match (stream.kinesis_name().is_some(), how) {
        (true, Decode::Lambda) => Err(
            "is how a DynamoDB stream's records are read: changes of a table that come through Kinesis are read with \
             `change`"
                .to_owned(),
        ),
        (true, _) | (false, Decode::Lambda) => Ok(()),
        (false, _) => Err(
            "is for Kinesis streams, and the records of a DynamoDB stream are changes of its table: leave it out \
             (which is `lambda`)"
                .to_owned(),
        ),
    }
}

/// How events may be told, and the word for what they are as they were decoded.
pub const FORMATS: [(&str, Format); 5] = [
    ("lambda", Format::Decoded),
    ("plain", Format::Plain),
    ("diff", Format::Diff),
    ("json", Format::Decoded),
    ("raw", Format::Raw),
];

/// How events are told of records that are read so. Without `how`, which is wrong then, any of the words will do.
pub fn format(text: &str, how: Option<Decode>) -> Checked<Format> {
    let known = FORMATS.iter().find(|(word, _)| *word == text);
    let (what, words): (_, &[&str]) = match how {
        Some(Decode::Lambda | Decode::Change) => {
            ("changes of a DynamoDB table", &["lambda", "plain", "diff"])
        }
        Some(Decode::Audit) => ("audit lines", &["json", "raw"]),
        None => ("", &FORMATS.map(|(word, _)| word)),
        Some(Decode::Auto) => {
            return Err(
                "can't be had of records that are read by their looks, which may be anything: say what they are, as \
                 in `decode: change` or `decode: audit`, or leave it out"
                    .to_owned(),
            );
        }
        Some(other) => {
            return Err(format!(
                "is for changes of a DynamoDB table and for audit lines, and `decode: {}` gives neither: leave it out",
                decode_word(other)
            ));
        }
    };
    match known {
        Some((word, format)) if words.contains(word) => Ok(*format),
        Some(_) => Err(format!(
            "is not how {what} are told: use one of {}",
            words.join(", ")
        )),
        None => Err(format!("is not a format: {}", suggest::one_of(text, words))),
    }
}

/// Whether events that are told so can have something hidden in them.
pub fn format_fits_redaction(format: Format) -> Checked<()> {
    match format {
        Format::Decoded | Format::Plain | Format::Diff => Ok(()),
        Format::Raw => Err(
            "is the line as it was written, in which nothing can be hidden, and `redact` or `redact_sql` is set: use \
             json, or remove the other"
                .to_owned(),
        ),
    }
}

/// Whether a subscription envelope may be opened.
pub(super) fn opens_envelopes(how: Decode) -> bool {
    match how {
        Decode::Auto | Decode::Subscription | Decode::Audit => true,
        Decode::Lambda | Decode::Change | Decode::Json | Decode::Text | Decode::Base64 => false,
    }
}

/// Patterns of which an event has to match one.
pub fn filter(patterns: &[Value]) -> Checked<Filter> {
    Filter::parse(patterns).map_err(|error| error.to_string())
}

/// Whether the events of records that are read so can match.
pub fn filter_fits(filter: &Filter, how: Decode) -> Checked<()> {
    filter.fits(how).map_err(|error| error.to_string())
}

/// Whether `unknown_messages` can matter.
pub fn unknown_messages_fit(how: Decode) -> Checked<()> {
    match opens_envelopes(how) {
        true => Ok(()),
        false => Err(format!(
            "is about subscription envelopes, and `decode: {}` opens none: remove one of the two",
            decode_word(how)
        )),
    }
}

/// A path of values that are hidden, in what records of this kind become.
pub fn redact_path(text: &str, how: Option<Decode>) -> Checked<Path> {
    let path = Path::parse(text).map_err(|e| e.to_string())?;
    let known: Vec<&str> = match how {
        Some(Decode::Lambda | Decode::Change) => redact::PARTS.to_vec(),
        // A line that can't be read is withheld, unless it is wished raw.
        Some(Decode::Audit) => {
            let fields = audit::FIELDS.into_iter().filter(|field| *field != "id");
            fields.chain(["withheld"]).collect()
        }
        _ => return Ok(path),
    };
    let is_id = |segment: &Segment| match segment {
        Segment::Name(name) => name == "id",
        Segment::Any => true,
    };
    if how == Some(Decode::Audit) && path.segments().len() == 1 && path.segments().iter().all(is_id) {
        return Err(
            "hides the `id` of the line, by which a repeated one is known: name the fields to hide"
                .to_owned(),
        );
    }
    if let (Some(Decode::Audit), [first, second, ..]) = (how, path.segments()) {
        let is_field = |segment: &&Segment| match segment {
            Segment::Name(name) => known.contains(&name.as_str()),
            Segment::Any => false,
        };
        let field = match [first, second].into_iter().find(is_field) {
            Some(Segment::Name(name)) => name,
            _ => "host",
        };
        return Err(format!(
            "goes below a field, and those of an audit line have nothing below them: name the field alone, as in \
             `{field}`"
        ));
    }
    match path.segments().first() {
        Some(Segment::Name(first)) if !known.contains(&first.as_str()) => Err(match how {
            Some(Decode::Audit) => format!(
                "begins with `{first}`, which is no field of an audit line: {}",
                suggest::one_of(first, &known)
            ),
            _ if first == "dynamodb" => {
                "begins at `dynamodb`, and paths begin below it: remove the `dynamodb.`".to_owned()
            }
            _ => format!(
                "begins with `{first}`, and a change has nothing to hide there: begin with NewImage, OldImage, Keys, or \
                 `*` for all three"
            ),
        }),
        _ => Ok(path),
    }
}

/// What becomes of a value that is hidden. `Err` also tells where a hash lacks its key.
pub fn redact_with(text: &str, key: Option<&Key>, has_key: bool) -> Checked<Option<With>> {
    match (text, key) {
        ("mask", _) => Ok(Some(With::Mask)),
        ("remove", _) => Ok(Some(With::Remove)),
        ("hash", Some(key)) => Ok(Some(With::Hash(key.clone()))),
        // That the key is wrong is told where it stands.
        ("hash", None) if has_key => Ok(None),
        ("hash", None) => Err(
            "needs a key: set `redact_key` beside `redact`, best from the environment, as in \
             `redact_key: ${WEIR_REDACT_KEY}`"
                .to_owned(),
        ),
        (other, _) => Err(format!(
            "is no way to hide a value: {}",
            suggest::one_of(other, &["mask", "remove", "hash"])
        )),
    }
}

/// `auto`, `always` or `never`.
pub fn gzip(text: &str) -> Checked<Gzip> {
    const WHAT: &str = "is no way to treat gzip";
    let words = [
        ("auto", Gzip::Auto),
        ("always", Gzip::Always),
        ("never", Gzip::Never),
    ];
    match text {
        "true" => Err(format!("{WHAT}: did you mean `always`?")),
        "false" => Err(format!("{WHAT}: did you mean `never`?")),
        other => word(other, &words, WHAT),
    }
}

/// `dead_letter` or `skip`.
pub fn unknown_messages(text: &str) -> Checked<UnknownMessages> {
    let words = [
        ("dead_letter", UnknownMessages::DeadLetter),
        ("skip", UnknownMessages::Skip),
    ];
    word(text, &words, "is nothing to do with a message")
}
