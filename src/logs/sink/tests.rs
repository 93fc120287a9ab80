use super::*;

const STREAM: &str = "arn:aws:kinesis:eu-west-1:1:stream/s#1700000000";

/// A lane of no sink, and where its deliveries would arrive.
pub(super) fn lane() -> (Lane, mpsc::UnboundedReceiver<Delivered>) {
    let (answers, rx) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared {
        alive: AtomicBool::new(true),
        answers,
        pipeline: "orders".to_owned(),
        stream: STREAM.to_owned(),
        shard: "shardId-1".to_owned(),
        letters_to: LogDestination {
            group: "/g".to_owned(),
            stream: "dead-letter".to_owned(),
        },
    });
    (Lane { shared }, rx)
}
