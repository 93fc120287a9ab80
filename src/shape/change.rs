//! A DynamoDB change as one object that Logs Insights can ask: `new.status`, `changed.status.old`.
//!
//! Pure. Owns the fields of the formats `plain` and `diff`, for changes of a DynamoDB stream and for those that
//! came through Kinesis. Both keep what names the change for good.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::attributes::{plain as plain_value, plain_all};
use super::diff::{Changed, Changes};
use crate::decode::Decode;
use crate::decode::kinesis_change::{self, Unit};
use crate::json::Tree;
use crate::json::number::Decimal;
use crate::stream::StreamArn;

/// What `diff` says where everything that changed is hidden.
const ALL_HIDDEN: &str = "what changed is hidden";

/// The change with ordinary values:
///
/// ```text
/// {"eventID", "eventName", "table", "time", "keys": {…}, "new": {…}, "old": {…}, "sequenceNumber", "userIdentity",
///  "eventSourceARN" or "awsRegion"}
/// ```
///
/// What the record doesn't have is absent: an image, by the stream's view type; the sequence number and the ARN,
/// of a change that came through Kinesis.
pub fn plain(record: Tree<'_>, how: Decode) -> Tree<'_> {
    told(record, how, |out, change| {
        out.push("new", change.take("NewImage").map(plain_all));
        out.push("old", change.take("OldImage").map(plain_all));
    })
}

/// The change by what it `changed`, which was found before anything was hidden. As [`plain`], but for the images:
///
/// ```text
/// "changed": {"status": {"old": …, "new": …}, …}
/// ```
///
/// An attribute of which a side was removed to hide it is left out. Where the record doesn't tell what changed, it
/// has `new` and `old` as far as there are images, and a `note` that says so.
pub fn diff<'a>(record: Tree<'a>, how: Decode, changes: &Changes<'a>) -> Tree<'a> {
    told(record, how, |out, change| {
        let (new, old) = (change.take("NewImage"), change.take("OldImage"));
        match changes {
            Changes::Told(all) => {
                let changed = sides(all, old, new);
                let is_all_hidden = changed.is_empty() && !all.is_empty();
                out.push("changed", Some(Tree::Object(changed)));
                out.push("note", is_all_hidden.then_some(Tree::text(ALL_HIDDEN)));
            }
            Changes::Untold => {
                let view = change.take("StreamViewType");
                let view = view.as_ref().and_then(Tree::as_text);
                out.push("new", new.map(plain_all));
                out.push("old", old.map(plain_all));
                out.push("note", Some(Tree::text(untold(view))));
            }
        }
    })
}

/// Why it is not told what changed.
fn untold(view: Option<&str>) -> String {
    match view {
        Some(view) if view != "NEW_AND_OLD_IMAGES" => format!(
            "what changed can't be told: the stream's view type is {view}, and only NEW_AND_OLD_IMAGES holds both images"
        ),
        _ => "what changed can't be told: the record does not hold both images".to_owned(),
    }
}

/// Each attribute that changed with what it was and is.
fn sides<'a>(
    changed: &[Changed<'a>],
    old: Option<Tree<'a>>,
    new: Option<Tree<'a>>,
) -> Vec<(Cow<'a, str>, Tree<'a>)> {
    let by_name = |image: Option<Tree<'a>>| -> BTreeMap<Cow<'a, str>, Tree<'a>> {
        match image {
            Some(Tree::Object(members)) => members.into_iter().collect(),
            _ => BTreeMap::new(),
        }
    };
    let (mut old, mut new) = (by_name(old), by_name(new));
    let sides = changed.iter().filter_map(
        |Changed {
             name,
             had_old,
             has_new,
         }| {
            let (old, new) = (old.remove(name), new.remove(name));
            // One side alone would tell that the attribute was added, or removed.
            if (old.is_some(), new.is_some()) != (*had_old, *has_new) {
                return None;
            }
            let mut sides = Fields::default();
            sides.push("old", old.map(plain_value));
            sides.push("new", new.map(plain_value));
            Some((name.clone(), Tree::Object(sides.0)))
        },
    );
    sides.collect()
}

/// What both formats tell of a change, with the images in their midst.
fn told<'a>(
    record: Tree<'a>,
    how: Decode,
    images: impl FnOnce(&mut Fields<'a>, &mut Fields<'a>),
) -> Tree<'a> {
    let mut record = Fields::of(record);
    let mut change = record.take("dynamodb").map(Fields::of).unwrap_or_default();
    let mut out = Fields::default();
    let arn = record.take("eventSourceARN");
    let table = arn
        .as_ref()
        .and_then(Tree::as_text)
        .and_then(|arn| StreamArn::new(arn).table().map(str::to_owned));
    out.push("eventID", record.take("eventID"));
    out.push("eventName", record.take("eventName"));
    out.push(
        "table",
        table.map(Tree::text).or_else(|| record.take("tableName")),
    );
    let precision = change.take("ApproximateCreationDateTimePrecision");
    let time = change.take("ApproximateCreationDateTime");
    let precision = precision.as_ref().and_then(Tree::as_text);
    out.push("time", time.map(|spelt| time_of(spelt, how, precision)));
    out.push("keys", change.take("Keys").map(plain_all));
    images(&mut out, &mut change);
    out.push("sequenceNumber", change.take("SequenceNumber"));
    out.push("userIdentity", record.take("userIdentity"));
    match arn {
        Some(arn) => out.push("eventSourceARN", Some(arn)),
        None => out.push("awsRegion", record.take("awsRegion")),
    }
    Tree::Object(out.0)
}

/// When the change happened, in RFC 3339. A time that can't be read exactly stays as it is spelt.
fn time_of<'a>(spelt: Tree<'a>, how: Decode, precision: Option<&str>) -> Tree<'a> {
    let Tree::Number(digits) = &spelt else {
        return spelt;
    };
    let read = match how {
        Decode::Lambda => seconds(digits),
        _ => kinesis_change::exactly(digits, precision).and_then(|(number, unit)| match unit {
            Unit::Millisecond => {
                let time = jiff::Timestamp::from_millisecond(number).ok()?;
                Some(format!("{time:.3}"))
            }
            Unit::Microsecond => {
                let time = jiff::Timestamp::from_microsecond(number).ok()?;
                Some(format!("{time:.6}"))
            }
        }),
    };
    read.map_or(spelt, Tree::text)
}

/// A DynamoDB stream tells seconds, as a rule whole ones.
fn seconds(digits: &str) -> Option<String> {
    let (seconds, nanos) = Decimal::of_json(digits)?.seconds()?;
    let time = jiff::Timestamp::new(seconds, nanos).ok()?;
    Some(match nanos {
        0 => format!("{time:.0}"),
        _ if nanos % 1_000_000 == 0 => format!("{time:.3}"),
        _ if nanos % 1_000 == 0 => format!("{time:.6}"),
        _ => format!("{time:.9}"),
    })
}

/// The members of an object.
#[derive(Default)]
struct Fields<'a>(Vec<(Cow<'a, str>, Tree<'a>)>);

impl<'a> Fields<'a> {
    fn of(object: Tree<'a>) -> Self {
        match object {
            Tree::Object(members) => Self(members),
            _ => Self::default(),
        }
    }

    /// A member's value, the last of its name. A null is an absent one.
    fn take(&mut self, name: &str) -> Option<Tree<'a>> {
        let at = self.0.iter().rposition(|(n, _)| n == name)?;
        let (_, value) = self.0.remove(at);
        Some(value).filter(|value| *value != Tree::Null)
    }

    fn push(&mut self, name: &'static str, value: Option<Tree<'a>>) {
        self.0.extend(value.map(|value| (Cow::Borrowed(name), value)));
    }
}
