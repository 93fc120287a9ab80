//! Traces: a collector of the test's own gets what the real binary sends.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::emulator::free_address;
use crate::weir::Weir;
use crate::world::{GROUP, TABLE, World};
use crate::writers::{Plan, Writers};

const SOME: Plan = Plan {
    keys: 40,
    versions: 5,
    padding: 10,
    over: Duration::from_secs(3),
};

/// A collector that takes OTLP over HTTP, in JSON. It is too busy for the first request.
struct Collector {
    address: SocketAddr,
    /// The head and the body of each request.
    taken: Arc<Mutex<Vec<(String, Value)>>>,
    /// The body that was not taken.
    put_off: Arc<Mutex<Option<Value>>>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let taken = Arc::<Mutex<Vec<_>>>::default();
        let put_off = Arc::<Mutex<_>>::default();
        let into = (taken.clone(), put_off.clone());
        tokio::spawn(async move {
            while let Ok((wire, _)) = listener.accept().await {
                tokio::spawn(take(BufReader::new(wire), into.clone()));
            }
        });
        Self {
            address,
            taken,
            put_off,
        }
    }

    fn spans(&self) -> Vec<Value> {
        let taken = self.taken.lock().unwrap();
        let spans = taken.iter().flat_map(|(_, body)| {
            body["resourceSpans"][0]["scopeSpans"][0]["spans"]
                .as_array()
                .unwrap()
        });
        spans.cloned().collect()
    }
}

type Kept = (Arc<Mutex<Vec<(String, Value)>>>, Arc<Mutex<Option<Value>>>);

async fn take(mut wire: BufReader<TcpStream>, (taken, put_off): Kept) {
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if wire.read_line(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let head = head.to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap().parse().unwrap()];
        wire.read_exact(&mut body).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let is_first = put_off.lock().unwrap().is_none();
        let answer: &[u8] = if is_first {
            *put_off.lock().unwrap() = Some(body);
            b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"
        } else {
            taken.lock().unwrap().push((head, body));
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
        };
        wire.get_mut().write_all(answer).await.unwrap();
    }
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

fn count(span: &Value, key: &str) -> u64 {
    let attributes = span["attributes"].as_array().unwrap();
    let found = attributes.iter().find(|a| a["key"] == key).unwrap();
    text(&found["value"], "intValue").parse().unwrap()
}

/// Runs with all batches traced, until all is delivered.
async fn run(world: &World, endpoint: SocketAddr) -> Weir {
    let file = world.dir.path().join("traced.yaml");
    let settings = format!(
        "tracing: {{ sample: 1 }}\ncheckpoint: {{ interval: 1s }}\npipelines:\n  orders:\n    source: {{ dynamodb_table: \
         {TABLE} }}\n    destination: {{ group: {GROUP} }}\n"
    );
    std::fs::write(&file, settings).unwrap();
    let endpoint = format!("http://{endpoint}");
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20secret"),
        ("OTEL_SERVICE_NAME", "weir-of-the-test"),
    ];
    let mut weir = world.run(&["-c", file.to_str().unwrap()], &variables);
    let mut writers = Writers::start(&world.dynamodb, SOME);
    weir.ready().await;
    writers.done().await;
    world.all_delivered(&mut weir, SOME).await;
    weir
}

#[tokio::test(flavor = "multi_thread")]
async fn each_batch_has_a_trace_from_its_read_to_its_checkpoint() {
    let world = World::new().await;
    let collector = Collector::start().await;
    let mut weir = run(&world, collector.address).await;
    weir.terminate();
    assert!(weir.ended().await.success());

    {
        let taken = collector.taken.lock().unwrap();
        let (head, body) = &taken[0];
        assert_eq!(
            Some(body),
            collector.put_off.lock().unwrap().as_ref(),
            "sent again"
        );
        assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
        assert!(head.contains("api-key: a secret\r\n"), "{head}");
        let service = &body["resourceSpans"][0]["resource"]["attributes"][0];
        assert_eq!(
            (text(service, "key"), text(&service["value"], "stringValue")),
            ("service.name", "weir-of-the-test")
        );
    }
    let spans = collector.spans();
    let roots: BTreeMap<(&str, &str), &Value> = spans
        .iter()
        .filter(|span| span["name"] == "shard.batch")
        .map(|span| ((text(span, "traceId"), text(span, "spanId")), span))
        .collect();
    println!("{} spans of {} batches", spans.len(), roots.len());
    let records: u64 = roots.values().map(|root| count(root, "weir.records")).sum();
    assert_eq!(records, SOME.changes() as u64);
    // Which spans tell of each batch: those below it, and those that are linked to it.
    let mut parts: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for span in spans.iter().filter(|span| span["name"] != "shard.batch") {
        let parent = (text(span, "traceId"), text(span, "parentSpanId"));
        let root = roots
            .get(&parent)
            .unwrap_or_else(|| panic!("no batch for {span}"));
        let time = |span: &Value, key: &str| text(span, key).parse::<u64>().unwrap();
        assert!(
            time(span, "startTimeUnixNano") >= time(root, "startTimeUnixNano"),
            "{span} of {root}"
        );
        assert!(
            time(span, "endTimeUnixNano") >= time(span, "startTimeUnixNano"),
            "{span}"
        );
        let links = span["links"].as_array().into_iter().flatten();
        let links = links.map(|link| (text(link, "traceId"), text(link, "spanId")));
        for batch in std::iter::once(parent).chain(links) {
            assert!(roots.contains_key(&batch), "{span}");
            parts.entry(batch).or_default().push(text(span, "name"));
        }
    }
    for (batch, root) in &roots {
        assert!(
            root["parentSpanId"].is_null() && root["status"].is_null(),
            "{root}"
        );
        let parts = &parts[batch];
        let of = |name: &str| parts.iter().filter(|part| **part == name).count();
        assert_eq!(of("get_records"), 1, "{parts:?}");
        assert!(of("decode") >= 1 && of("put") >= 1, "{parts:?}");
    }
    assert!(parts.values().any(|parts| parts.contains(&"checkpoint")));
    let log = std::fs::read_to_string(weir.log()).unwrap();
    assert!(!log.contains("a secret"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_down_holds_up_nothing() {
    let world = World::new().await;
    let mut weir = run(&world, free_address()).await;
    let outcome = "weir_trace_spans_total{outcome=\"failed\"}";
    crate::until("spans to be dropped", Duration::from_secs(30), async || {
        let metrics = crate::http::get(weir.http, "/metrics").await.unwrap().body;
        metrics.lines().any(|line| line.starts_with(outcome))
    })
    .await;
    weir.terminate();
    assert!(weir.ended().await.success());
}
