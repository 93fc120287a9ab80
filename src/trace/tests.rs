use serde_json::json;

use super::*;
use crate::clock::SystemClock;

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
