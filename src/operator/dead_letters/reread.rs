//! The bytes of a record that a dead letter withholds, read from the stream again.
//!
//! A worker reads the same shard at the same time, and a shard has one allowance for all who read it: each answer is
//! waited out, and what it held is kept for the letters that come next.

use super::{BETWEEN_LOOKS, LetterDesk};
use crate::decode::aggregate;
use crate::logs::dead_letter::{Body, Data, Letter, RecordBody};
use crate::operator::survey::pace;
use crate::stream::{Ask, Next, Record, SequenceNumber, ShardId, SourceError, StartingPosition, StreamArn};

/// A stream may give nothing at a record's place a few times before it gives the record.
const READS: u32 = 5;
/// The last answer of a stream.
#[derive(Default)]
pub(super) struct Shelf {
    of: usize,
    shard: Option<(StreamArn, ShardId)>,
    records: Vec<Record>,
}

impl Shelf {
    fn find(
        &self,
        of: usize,
        stream: &StreamArn,
        shard: &ShardId,
        number: &SequenceNumber,
    ) -> Option<&Record> {
        let is_of = |(of_stream, of_shard): &(StreamArn, ShardId)| of_stream == stream && of_shard == shard;
        let is_here = self.of == of && self.shard.as_ref().is_some_and(is_of);
        self.records
            .iter()
            .find(|record| is_here && record.sequence_number == *number)
    }
}

impl LetterDesk {
    /// The letter with its bytes: where they are withheld, they are read from the stream again. The error says why
    /// they can't be.
    pub(super) async fn whole(
        &mut self,
        of: usize,
        letter: Letter,
        shelf: &mut Shelf,
    ) -> Result<Letter, String> {
        let Body::Record(
            body @ RecordBody {
                data: Data::Withheld { .. },
                ..
            },
        ) = &letter.body
        else {
            return Ok(letter);
        };
        let read = self.read_record(of, &letter, shelf).await;
        let record = read.map_err(|why| {
            format!(
                "its bytes are withheld from the dead letter, and must be read from the stream again: {why}"
            )
        })?;
        if Data::withheld(&record.data) != body.data {
            return Err(
                "its bytes are withheld from the dead letter, and the stream now holds others at its position (or it was \
                 written with another `wire`)"
                    .to_owned(),
            );
        }
        let body = Body::Record(RecordBody {
            data: Data::Bytes(record.data),
            partition_key: record.partition_key,
            time: body.time,
        });
        Ok(Letter { body, ..letter })
    }

    /// The letter's record, as the stream has it.
    async fn read_record(&mut self, of: usize, letter: &Letter, shelf: &mut Shelf) -> Result<Record, String> {
        const GONE: &str =
            "it is not in the stream any more: `weir dead-letters discard ID` takes the letter off the list";
        let source = self.mail[of].source.clone();
        let poll = self.mail[of].config.source.poll();
        let place = &letter.origin.place;
        let stream = StreamArn::new(letter.origin.stream.as_str());
        let shard = ShardId::new(letter.origin.shard.as_str());
        let part_of = |record: &Record| {
            let mut parts = match source.has_aggregates() {
                true => aggregate::user_records(record).0,
                false => vec![record.clone()],
            };
            parts.retain(|part| part.sub_sequence_number == place.sub_sequence_number);
            Ok(parts.pop().ok_or("its aggregate has no such part")?)
        };
        if let Some(record) = shelf.find(of, &stream, &shard, &place.sequence_number) {
            return part_of(record);
        }
        let at = StartingPosition::At(place.sequence_number.clone());
        let told = |error: SourceError| match error {
            SourceError::DataTrimmed => format!("the stream has trimmed it: {GONE}"),
            SourceError::NotFound(what) => format!("the stream or its shard is gone ({what}): {GONE}"),
            error => error.to_string(),
        };
        let iterator = self
            .ask_stream(async || source.iterator(&stream, &shard, &at).await)
            .await;
        let mut iterator = iterator.map_err(told)?;
        for _ in 0..READS {
            let read = self
                .ask_stream(async || source.records(&stream, &iterator, Ask::ALL).await)
                .await;
            let batch = read.map_err(told)?;
            let bytes = batch.records.iter().map(|record| record.data.len()).sum();
            let rest = pace::rest(&*source, poll, batch.records.len(), bytes);
            self.clock.sleep(rest).await;
            if !batch.records.is_empty() {
                *shelf = Shelf {
                    of,
                    shard: Some((stream.clone(), shard.clone())),
                    records: batch.records,
                };
                // Of a position that is trimmed, Kinesis gives what comes after it.
                return match shelf.find(of, &stream, &shard, &place.sequence_number) {
                    Some(record) => part_of(record),
                    None => Err(GONE.to_owned()),
                };
            }
            match batch.next {
                Next::At(next) => iterator = next,
                Next::End | Next::PerhapsEnd => break,
            }
            self.clock.sleep(BETWEEN_LOOKS).await;
        }
        Err(GONE.to_owned())
    }
}
