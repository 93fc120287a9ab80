use std::time::Duration;

use aws_smithy_runtime_api::client::http::SharedHttpConnector;
use serde_json::json;

use super::*;
use crate::aws::canned::{Answer, Canned, answer, ok, silence};
use crate::clock::{SystemClock, Timestamp};
use crate::config::TracingConfig;
use crate::trace::export::Exporter;
use crate::trace::otlp::{Taken, Verdict, verdict};

fn tracer(sample: f64) -> (Tracer, mpsc::Receiver<Span>) {
    let rng = fastrand::Rng::with_seed(1);
    Tracer::on(sample, Arc::new(SystemClock), rng, Metrics::new())
}

fn told(spans: &mut mpsc::Receiver<Span>) -> Vec<Span> {
    std::iter::from_fn(|| spans.try_recv().ok()).collect()
}

#[test]
fn a_batch_ends_when_all_its_records_are_finished() {
    let (tracer, mut spans) = tracer(1.0);
    let batches = tracer.batches().unwrap();
    let (first, second) = (tracer.batch().unwrap(), tracer.batch().unwrap());
    batches.entered(first.clone(), 0, 3, 30, false);
    batches.settled(3, "p", "s");
    assert!(told(&mut spans).is_empty(), "more of it is to come");
    batches.entered(first.clone(), 3, 5, 20, true);
    batches.entered(second.clone(), 5, 6, 1, true);
    for (index, of) in [(0, &first), (4, &first), (5, &second)] {
        assert_eq!(batches.of(index).unwrap().context, of.context);
    }
    assert!(batches.of(6).is_none());
    batches.settled(5, "p", "s");
    let ended = told(&mut spans);
    assert_eq!((ended.len(), ended[0].context), (1, first.context));
    assert_eq!(ended[0].attributes[2], ("weir.records", Value::Count(5)));
    assert_eq!(ended[0].attributes[3], ("weir.bytes", Value::Count(50)));
    // The second is left to another worker.
    batches.left("p", "s");
    let left = told(&mut spans);
    assert_eq!((left.len(), left[0].context), (1, second.context));
    assert!(left[0].error.is_some());
}

#[test]
fn an_answer_whose_rest_is_dropped_ends_with_what_was_entered() {
    let (tracer, mut spans) = tracer(1.0);
    let batches = tracer.batches().unwrap();
    batches.entered(tracer.batch().unwrap(), 0, 3, 30, false);
    batches.cut();
    batches.settled(3, "p", "s");
    assert_eq!(told(&mut spans).len(), 1);
}

#[test]
fn a_checkpoint_is_a_part_of_the_first_batch_and_linked_to_the_others() {
    let (tracer, mut spans) = tracer(1.0);
    let batches = tracer.batches().unwrap();
    assert_eq!(batches.checkpoint_begins(), None);
    let both = [tracer.batch().unwrap(), tracer.batch().unwrap()];
    for (index, batch) in both.iter().enumerate() {
        batches.entered(batch.clone(), index as u64, index as u64 + 1, 1, true);
    }
    batches.settled(2, "p", "s");
    told(&mut spans);
    batches.checkpointed(batches.checkpoint_begins().unwrap());
    let checkpoint = told(&mut spans).pop().unwrap();
    assert_eq!(checkpoint.parent, Some(both[0].context.span));
    assert_eq!(checkpoint.context.trace, both[0].context.trace);
    assert_eq!(checkpoint.links, [both[1].context]);
    assert_eq!(batches.checkpoint_begins(), None);
}

#[test]
fn a_sample_is_traced_and_nothing_when_it_is_off() {
    let (some, _spans) = tracer(0.25);
    let traced = (0..4_000).filter(|_| some.batch().is_some()).count();
    assert!((800..1_200).contains(&traced), "{traced}");
    let off = Tracer::off();
    assert!(off.batch().is_none() && off.batches().is_none());
    let (none, _spans) = tracer(0.0);
    assert!((0..1_000).all(|_| none.batch().is_none()));
}

#[test]
fn a_full_queue_drops_spans_and_counts_them() {
    let metrics = Metrics::new();
    let rng = fastrand::Rng::with_seed(1);
    let (tracer, mut spans) = Tracer::on(1.0, Arc::new(SystemClock), rng, metrics.clone());
    let batch = tracer.batch().unwrap();
    for _ in 0..QUEUE + 7 {
        batch.part("decode", batch.began(), Vec::new());
    }
    assert_eq!(metrics.trace_spans.with_label_values(&["queue_full"]).get(), 7);
    assert_eq!(told(&mut spans).len(), QUEUE);
}

#[test]
fn spans_are_told_as_otlp_says() {
    let span = Span {
        name: "put",
        context: SpanContext {
            trace: 0xab,
            span: 0xcd,
        },
        parent: Some(1),
        began: 1_700_000_000_000_000_000,
        ended: 1_700_000_000_000_000_001,
        attributes: vec![
            ("weir.events", Value::Count(3)),
            ("weir.log_group", Value::Text("/g".into())),
        ],
        links: vec![SpanContext { trace: 2, span: 3 }],
        error: Some("denied".into()),
    };
    let resource = [("service.name".to_owned(), "weir".to_owned())].into();
    let want = json!({ "resourceSpans": [{
        "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "weir" } }] },
        "scopeSpans": [{
            "scope": { "name": "weir", "version": env!("CARGO_PKG_VERSION") },
            "spans": [{
                "traceId": "000000000000000000000000000000ab",
                "spanId": "00000000000000cd",
                "parentSpanId": "0000000000000001",
                "name": "put",
                "kind": 3,
                "startTimeUnixNano": "1700000000000000000",
                "endTimeUnixNano": "1700000000000000001",
                "attributes": [
                    { "key": "weir.events", "value": { "intValue": "3" } },
                    { "key": "weir.log_group", "value": { "stringValue": "/g" } },
                ],
                "links": [{ "traceId": "00000000000000000000000000000002", "spanId": "0000000000000003" }],
                "status": { "code": 2, "message": "denied" },
            }],
        }],
    }] });
    assert_eq!(otlp::body(&resource, &[span]), want);
}

#[test]
fn an_answer_means_what_the_specification_says() {
    let taken = |rejected, message: &str| {
        Verdict::Taken(Taken {
            rejected,
            message: message.to_owned(),
        })
    };
    let later = |seconds| Verdict::Again(Some(Duration::from_secs(seconds)));
    // Sun, 06 Nov 1994 08:49:37 GMT.
    let now = Timestamp::from_millis(784_111_777_000);
    for (status, retry_after, body, want) in [
        (200, None, "{}", taken(0, "")),
        (200, None, r#"{"partialSuccess":{}}"#, taken(0, "")),
        (
            200,
            None,
            r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"old"}}"#,
            taken(3, "old"),
        ),
        (
            200,
            None,
            r#"{"partialSuccess":{"rejectedSpans":3,"new":[]}}"#,
            taken(3, ""),
        ),
        (
            200,
            None,
            r#"{"partialSuccess":{"errorMessage":"slow down"}}"#,
            taken(0, "slow down"),
        ),
        // A success is one, whatever stands in its body.
        (200, None, "", taken(0, "")),
        (202, Some("5"), "<html>", taken(0, "")),
        (429, None, "", Verdict::Again(None)),
        (429, Some("5"), "", later(5)),
        (502, None, "", Verdict::Again(None)),
        (503, Some(" 7 "), "", later(7)),
        (503, Some("Sun, 06 Nov 1994 08:49:57 GMT"), "", later(20)),
        (503, Some("Sun, 06 Nov 1994 08:00:00 GMT"), "", later(0)),
        (503, Some("soon"), "", Verdict::Again(None)),
        (503, Some("-1"), "", Verdict::Again(None)),
        (504, None, "", Verdict::Again(None)),
        (307, None, "", Verdict::Refused),
        (400, None, "", Verdict::Refused),
        (401, Some("5"), "", Verdict::Refused),
        (404, None, "", Verdict::Refused),
        (413, None, "", Verdict::Refused),
        (500, None, "", Verdict::Refused),
        (501, Some("5"), "", Verdict::Refused),
    ] {
        let means = verdict(status, retry_after, body.as_bytes(), now);
        assert_eq!(means, want, "{status} {retry_after:?} {body}");
    }
}

#[test]
fn a_collector_is_not_quoted_at_length() {
    let body = json!({ "partialSuccess": { "errorMessage": "ö".repeat(10_000) } });
    let Verdict::Taken(taken) = verdict(200, None, body.to_string().as_bytes(), Timestamp::from_millis(0))
    else {
        panic!("a success is one");
    };
    assert_eq!(taken.message.chars().count(), 300);
}

/// What becomes of a request with two spans: how often it is sent, and how many spans are sent, rejected, failed.
async fn sent_to(answers: impl IntoIterator<Item = Answer>) -> (usize, [u64; 3]) {
    let (canned, metrics) = (Canned::new(answers), Metrics::new());
    let (clock, rng): (Arc<dyn Clock>, _) = (Arc::new(SystemClock), fastrand::Rng::with_seed(1));
    let (tracer, queue) = Tracer::on(1.0, clock.clone(), rng.clone(), metrics.clone());
    let batch = tracer.batch().unwrap();
    for _ in 0..2 {
        batch.part("decode", batch.began(), Vec::new());
    }
    let (settings, connector) = (TracingConfig::default(), SharedHttpConnector::new(canned.clone()));
    let exporter = Exporter::to(
        "http://collector/v1/traces",
        &settings,
        connector,
        clock.clone(),
        rng,
        metrics.clone(),
    );
    let sending = exporter.start(queue);
    let count = |outcome: &str| metrics.trace_spans.with_label_values(&[outcome]).get();
    let counts = || ["sent", "rejected", "failed"].map(count);
    while counts().iter().sum::<u64>() == 0 {
        clock.sleep(Duration::from_millis(100)).await;
    }
    sending.finish().await;
    (canned.asked().len(), counts())
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_asks_for_patience_gets_it_and_one_that_refuses_is_not_asked_again() {
    let later = |status, seconds| Answer {
        retry_after: Some(seconds),
        ..answer(status, "")
    };
    let broken = || std::iter::empty::<Answer>();
    assert_eq!(sent_to([ok("{}")]).await, (1, [2, 0, 0]));
    assert_eq!(
        sent_to([later(429, "3"), answer(503, ""), ok("")]).await,
        (3, [2, 0, 0])
    );
    let partial = r#"{"partialSuccess":{"rejectedSpans":"1","errorMessage":"too old"}}"#;
    assert_eq!(sent_to([ok(partial)]).await, (1, [1, 1, 0]));
    // More than there were: no more than all.
    let partial = r#"{"partialSuccess":{"rejectedSpans":"9"}}"#;
    assert_eq!(sent_to([ok(partial)]).await, (1, [0, 2, 0]));
    assert_eq!(sent_to([answer(400, ""), ok("{}")]).await, (1, [0, 0, 2]));
    // Later than it would be waited for.
    assert_eq!(sent_to([later(503, "60"), ok("{}")]).await, (1, [0, 0, 2]));
    // No answer at all, and no connection.
    assert_eq!(sent_to([silence(), ok("{}")]).await, (1, [0, 0, 2]));
    let (asked, counts) = sent_to(broken()).await;
    assert!(asked > 2, "{asked}");
    assert_eq!(counts, [0, 0, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_repeats() {
    let canned = Canned::new(std::iter::repeat_with(|| answer(503, "")).take(100));
    let (clock, rng): (Arc<dyn Clock>, _) = (Arc::new(SystemClock), fastrand::Rng::with_seed(1));
    let metrics = Metrics::new();
    let (tracer, queue) = Tracer::on(1.0, clock.clone(), rng.clone(), metrics.clone());
    let batch = tracer.batch().unwrap();
    batch.part("decode", batch.began(), Vec::new());
    let connector = SharedHttpConnector::new(canned.clone());
    let settings = TracingConfig::default();
    let exporter = Exporter::to(
        "http://c/v1/traces",
        &settings,
        connector,
        clock,
        rng,
        metrics.clone(),
    );
    exporter.start(queue).finish().await;
    assert_eq!(canned.asked().len(), 1);
    assert_eq!(metrics.trace_spans.with_label_values(&["failed"]).get(), 1);
}
