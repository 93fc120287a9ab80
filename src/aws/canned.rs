//! Answers from a list, for the tests of the adapters: what goes on the wire, and what comes back.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::RetryConfig;
use bytes::Bytes;

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub date: Option<&'static str>,
    pub retry_after: Option<&'static str>,
    pub body: Bytes,
    /// The body has no end: what comes after these bytes never comes.
    pub open: bool,
}

pub fn answer(status: u16, body: &str) -> Answer {
    Answer {
        status,
        date: None,
        retry_after: None,
        body: Bytes::copy_from_slice(body.as_bytes()),
        open: false,
    }
}

pub fn ok(body: &str) -> Answer {
    answer(200, body)
}

/// No answer, ever.
pub fn silence() -> Answer {
    answer(0, "")
}

pub fn error(status: u16, code: &str) -> Answer {
    answer(
        status,
        &format!(r#"{{"__type":"com.amazonaws#{code}","message":"told so"}}"#),
    )
}

/// One message of an event stream: `:message-type`, the name of the event or exception, its JSON.
pub fn message(kind: &str, name: &str, payload: &str) -> Vec<u8> {
    let mut headers = Vec::new();
    for (header, value) in [
        (":message-type", kind),
        (&*format!(":{kind}-type"), name),
        (":content-type", "application/json"),
    ] {
        headers.push(u8::try_from(header.len()).unwrap());
        headers.extend(header.bytes());
        // 7: a string.
        headers.push(7);
        headers.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        headers.extend(value.bytes());
    }
    let crc = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum().to_be_bytes()
    };
    let total = 12 + headers.len() + payload.len() + 4;
    let mut message = Vec::new();
    message.extend(u32::try_from(total).unwrap().to_be_bytes());
    message.extend(u32::try_from(headers.len()).unwrap().to_be_bytes());
    message.extend(crc(&message));
    message.extend(headers);
    message.extend(payload.bytes());
    message.extend(crc(&message));
    message
}

/// An event stream that begins with these messages. `open`: and goes on.
pub fn events(messages: &[Vec<u8>], open: bool) -> Answer {
    let mut body = message("event", "initial-response", "{}");
    body.extend(messages.concat());
    Answer {
        body: body.into(),
        open,
        ..ok("")
    }
}

/// These bytes, then nothing, and no end.
struct Endless(Option<Bytes>);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, std::io::Error>>> {
        match self.0.take() {
            Some(bytes) => Poll::Ready(Some(Ok(http_body::Frame::data(bytes)))),
            None => Poll::Pending,
        }
    }
}

/// Gives its answers in order, then broken connections. Keeps the heads and the bodies of the requests. A request
/// whose body is not of the length that its head tells gets no answer, as from a server.
#[derive(Clone, Debug, Default)]
pub struct Canned {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
    heads: Arc<Mutex<Vec<BTreeMap<String, String>>>>,
}

impl Canned {
    pub fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self {
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            ..Self::default()
        }
    }

    /// The bodies of the requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// The headers of the requests so far.
    pub fn heads(&self) -> Vec<BTreeMap<String, String>> {
        self.heads.lock().unwrap().clone()
    }

    pub fn config(&self) -> SdkConfig {
        let connector = SharedHttpConnector::new(self.clone());
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("eu-west-1"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                "test", "test", None, None, "test",
            )))
            .retry_config(RetryConfig::disabled())
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .build()
    }
}

impl HttpConnector for Canned {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = request.body().bytes().unwrap_or_default();
        self.asked
            .lock()
            .unwrap()
            .push(String::from_utf8_lossy(body).into_owned());
        let headers = request.headers();
        let head = headers
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.heads.lock().unwrap().push(head.collect());
        if headers
            .get("content-length")
            .is_some_and(|told| told != body.len().to_string())
        {
            return HttpConnectorFuture::new(std::future::pending());
        }
        let Some(answer) = self.answers.lock().unwrap().pop_front() else {
            let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
            return HttpConnectorFuture::ready(Err(ConnectorError::io(broken.into())));
        };
        if answer.status == 0 {
            return HttpConnectorFuture::new(std::future::pending());
        }
        let body = match answer.open {
            true => SdkBody::from_body_1_x(Endless(Some(answer.body))),
            false => SdkBody::from(answer.body),
        };
        let mut response = HttpResponse::new(answer.status.try_into().unwrap(), body);
        if let Some(date) = answer.date {
            response.headers_mut().insert("date", date);
        }
        if let Some(after) = answer.retry_after {
            response.headers_mut().insert("retry-after", after);
        }
        HttpConnectorFuture::ready(Ok(response))
    }
}
