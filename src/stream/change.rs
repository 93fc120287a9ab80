//! Where the fields of a DynamoDB change stand in its text.
//!
//! Pure. What is found on the one way through an answer is kept with each record, so that the decoder need not look
//! for it again. Of a record out of the ordinary (a field that stands twice, a key with an escape) nothing is kept:
//! the decoder then reads it with serde_json, as any record that came in another way.

use bytes::Bytes;
use bytes_utils::Str;

use crate::json::cursor::Cursor;

/// A field that Lambda's event record has too (DynamoDB Streams API reference: `Record`, `StreamRecord`, `Identity`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    EventId,
    EventName,
    EventSource,
    AwsRegion,
    ApproximateCreationDateTime,
    Keys,
    NewImage,
    OldImage,
    SequenceNumber,
    SizeBytes,
    StreamViewType,
    IdentityType,
    PrincipalId,
}

const COUNT: usize = Field::PrincipalId as usize + 1;

/// A record's text, and the places of its fields in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeFields {
    /// A slice of the answer, which was found to be UTF-8 once for all its records.
    text: Str,
    /// Where each begins, and its length. Of an absent one, and of a null, no byte.
    places: [(u32, u32); COUNT],
    has_identity: bool,
}

impl ChangeFields {
    /// The record that is next in `answer`, which the cursor goes through. `None`: it is no object with an object
    /// `dynamodb` in it, or one out of the ordinary, or no JSON.
    pub fn read(cursor: &mut Cursor<'_>, answer: &Str) -> Option<Self> {
        cursor.peek()?;
        let start = cursor.at();
        let mut reading = Reading {
            start,
            places: [(0, 0); COUNT],
            seen: 0,
        };
        let (mut has_change, mut has_identity) = (false, false);
        cursor.eat(b'{')?;
        let mut first = true;
        while cursor.another(&mut first, b'}')? {
            match cursor.key()? {
                "eventID" => reading.field(cursor, Field::EventId)?,
                "eventName" => reading.field(cursor, Field::EventName)?,
                "eventSource" => reading.field(cursor, Field::EventSource)?,
                "awsRegion" => reading.field(cursor, Field::AwsRegion)?,
                "dynamodb" if !has_change => {
                    has_change = true;
                    reading.change(cursor)?;
                }
                "userIdentity" if !has_identity => {
                    has_identity = true;
                    reading.identity(cursor)?;
                }
                "dynamodb" | "userIdentity" => return None,
                _ => drop(cursor.value()?),
            }
        }
        has_change.then(|| Self {
            text: answer.slice_ref(cursor.since(start)),
            places: reading.places,
            has_identity,
        })
    }

    /// The record.
    pub fn data(&self) -> &Bytes {
        self.text.inner()
    }

    /// The field's JSON. An absent one and a null are `None`.
    pub fn get(&self, field: Field) -> Option<&str> {
        let (from, length) = self.places[field as usize];
        let (from, length) = (from as usize, length as usize);
        self.text.get(from..from + length).filter(|json| !json.is_empty())
    }

    /// Whether the record has a `userIdentity`, with whatever in it.
    pub fn has_identity(&self) -> bool {
        self.has_identity
    }
}

struct Reading {
    /// Of the record.
    start: usize,
    places: [(u32, u32); COUNT],
    /// A bit for each field that was read.
    seen: u32,
}

impl Reading {
    #[inline]
    fn field(&mut self, cursor: &mut Cursor<'_>, field: Field) -> Option<()> {
        let bit = 1 << field as u32;
        if self.seen & bit != 0 {
            return None;
        }
        self.seen |= bit;
        let value = cursor.value()?;
        if value != "null" {
            let from = cursor.at() - value.len() - self.start;
            self.places[field as usize] = (u32::try_from(from).ok()?, u32::try_from(value.len()).ok()?);
        }
        Some(())
    }

    fn change(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        cursor.eat(b'{')?;
        let mut first = true;
        while cursor.another(&mut first, b'}')? {
            let field = match cursor.key()? {
                "ApproximateCreationDateTime" => Field::ApproximateCreationDateTime,
                "Keys" => Field::Keys,
                "NewImage" => Field::NewImage,
                "OldImage" => Field::OldImage,
                "SequenceNumber" => Field::SequenceNumber,
                "SizeBytes" => Field::SizeBytes,
                "StreamViewType" => Field::StreamViewType,
                _ => {
                    cursor.value()?;
                    continue;
                }
            };
            self.field(cursor, field)?;
        }
        Some(())
    }

    /// Capitalised on the wire, in lower case in Lambda's record; some emulators send the latter.
    fn identity(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        cursor.eat(b'{')?;
        let mut first = true;
        while cursor.another(&mut first, b'}')? {
            match cursor.key()? {
                "Type" | "type" => self.field(cursor, Field::IdentityType)?,
                "PrincipalId" | "principalId" => self.field(cursor, Field::PrincipalId)?,
                _ => drop(cursor.value()?),
            }
        }
        Some(())
    }
}
