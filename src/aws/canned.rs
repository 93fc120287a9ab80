//! Answers from a list, for the tests of the adapters: what goes on the wire, and what comes back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::RetryConfig;

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub date: Option<&'static str>,
    pub body: String,
}

pub fn answer(status: u16, body: &str) -> Answer {
    Answer {
        status,
        date: None,
        body: body.to_owned(),
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

/// Gives its answers in order, then broken connections. Keeps the bodies of the requests.
#[derive(Clone, Debug, Default)]
pub struct Canned {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Canned {
    pub fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self {
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            asked: Arc::default(),
        }
    }

    /// The bodies of the requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
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
        let Some(answer) = self.answers.lock().unwrap().pop_front() else {
            let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
            return HttpConnectorFuture::ready(Err(ConnectorError::io(broken.into())));
        };
        if answer.status == 0 {
            return HttpConnectorFuture::new(std::future::pending());
        }
        let mut response = HttpResponse::new(answer.status.try_into().unwrap(), SdkBody::from(answer.body));
        if let Some(date) = answer.date {
            response.headers_mut().insert("date", date);
        }
        HttpConnectorFuture::ready(Ok(response))
    }
}
