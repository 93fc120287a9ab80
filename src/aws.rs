//! The clients of AWS's services.
//!
//! Owns the HTTP client of the process (proxy, CA bundle, connect time-out), the credentials, and the
//! rule that the SDK never retries: Weir does, by its own clock and counting. Called by `app` and `cli`;
//! the adapters get their clients from there.
//!
//! Taken from the environment, as by every AWS SDK: the credential chain, `AWS_REGION`, `AWS_PROFILE`,
//! `AWS_USE_FIPS_ENDPOINT`, `AWS_USE_DUALSTACK_ENDPOINT`, `AWS_ENDPOINT_URL` and its forms for one service,
//! `AWS_ENDPOINT_URL_{DYNAMODB,DYNAMODB_STREAMS,KINESIS,CLOUDWATCH_LOGS,STS}`. By this module: `HTTPS_PROXY`,
//! `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`, `AWS_CA_BUNDLE`, `SSL_CERT_FILE`. Where HTTP_PROXY is set, the
//! addresses that credentials come from (169.254.169.254, 169.254.170.2) belong in NO_PROXY.

pub mod arn;
pub mod bounded;
#[cfg(test)]
pub(crate) mod canned;
pub mod denial;
pub mod failure;
pub mod raw;
mod requests;

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_dynamodb::config::SharedAsyncSleep;
use aws_sdk_dynamodb::config::{SharedCredentialsProvider, StalledStreamProtectionConfig};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpClient, SharedHttpConnector};
use aws_smithy_runtime_api::client::interceptors::SharedInterceptor;
use aws_smithy_types::retry::RetryConfig;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

pub use self::requests::{Class, Requests};
use crate::config::{AwsSettings, Wire};
use failure::Failure;

/// How long a connection may take to be made. The endpoints are in the same region as a rule, and a lease
/// request has one second for everything.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long any one request may take, unless its caller gives it less. GetRecords is the slowest of them:
/// some megabytes over a poor line.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Connections to one host that are kept while nobody uses them. Each holds up to 400 KB of what hyper read ahead, and a
/// burst of hundreds of shards leaves hundreds of them. More are made as they are needed.
const IDLE_CONNECTIONS: usize = 32;

/// The name a role session gets; it shows in CloudTrail.
const SESSION: &str = "weir";

/// Why there are no clients.
#[derive(Debug, thiserror::Error)]
pub enum AwsError {
    #[error(
        "no AWS region: set AWS_REGION in the environment, `region` in the AWS profile, or `region` under state, source and destination in the file"
    )]
    NoRegion,
    #[error("{variable} names {path}, which can't be used as a CA bundle: {problem}")]
    CaBundle {
        variable: &'static str,
        path: String,
        problem: String,
    },
    #[error(
        "{variable} is `{value}`, which is no URL: write it like `https://vpce-1a2b.example.com`, or leave the variable out"
    )]
    Endpoint { variable: &'static str, value: String },
}

/// The clients for one set of settings. Cheap to clone; clones share their connections and credentials.
#[derive(Clone, Debug)]
pub struct Clients {
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub streams: aws_sdk_dynamodbstreams::Client,
    pub kinesis: aws_sdk_kinesis::Client,
    pub logs: aws_sdk_cloudwatchlogs::Client,
    /// Where they send their requests, for messages and ARNs.
    pub region: String,
    pub connections: Connections,
    /// How the adapters that use them read and write.
    pub wire: Wire,
    /// Who they sign as. `None`: nobody is set up.
    pub credentials: Option<SharedCredentialsProvider>,
}

/// Whose credentials there are, as far as they tell without a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The id of the access key, which is no secret: CloudTrail shows it too.
    pub access_key: String,
    /// Not all sources of credentials tell it.
    pub account: Option<String>,
}

impl Clients {
    /// Gets the credentials, as a first request would: from the environment, a profile, a role. Asks the service whose
    /// role it is alone.
    pub async fn identity(&self) -> Result<Identity, Failure> {
        let none = |why: &str| Failure::Denied(format!("no credentials: {why}"));
        let Some(provider) = &self.credentials else {
            return Err(none("no provider of credentials is set up"));
        };
        match provider.provide_credentials().await {
            Ok(credentials) => Ok(Identity {
                access_key: credentials.access_key_id().to_owned(),
                account: credentials.account_id().map(|id| id.as_str().to_owned()),
            }),
            Err(error) => Err(none(&failure::chain(&error))),
        }
    }

    /// A Kinesis client with connections of its own. Requests to one host share a connection where the service
    /// speaks HTTP/2, and its window: 5 MB that came for some and are not read stop all others. A request
    /// whose answer is read slowly, or not at all for a while, needs a connection for itself.
    pub fn kinesis_apart(&self) -> aws_sdk_kinesis::Client {
        let config = self.kinesis.config().to_builder();
        aws_sdk_kinesis::Client::from_conf(config.http_client((self.connections.0)()).build())
    }
}

/// Makes HTTP clients that share nothing but their settings.
#[derive(Clone)]
pub struct Connections(Arc<dyn Fn() -> SharedHttpClient + Send + Sync>);

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connections")
    }
}

/// Makes clients, each set of settings once.
pub struct AwsClients {
    http: SharedHttpClient,
    connections: Connections,
    /// Who counts the requests, if anybody does.
    requests: Option<Requests>,
    wire: Wire,
    made: tokio::sync::Mutex<HashMap<AwsSettings, Clients>>,
}

impl AwsClients {
    /// Reads the proxy and the CA bundle from the environment. No I/O but reading the bundle.
    pub fn from_env() -> Result<Self, AwsError> {
        let bundle = CaBundle::find(|name| std::env::var_os(name))?;
        endpoints(|name| std::env::var_os(name))?;
        Ok(Self::new(ProxyConfig::from_env(), bundle))
    }

    fn new(proxy: ProxyConfig, bundle: Option<CaBundle>) -> Self {
        let connections = Connections(Arc::new(move || http_client(proxy.clone(), bundle.clone())));
        Self {
            http: (connections.0)(),
            connections,
            requests: None,
            wire: Wire::default(),
            made: tokio::sync::Mutex::default(),
        }
    }

    /// The clients made from now on have their requests counted.
    pub fn counted(mut self, requests: Requests) -> Self {
        self.requests = Some(requests);
        self
    }

    /// The adapters of the clients made from now on read and write so.
    pub fn wire(mut self, wire: Wire) -> Self {
        self.wire = wire;
        self
    }

    /// The clients for `settings`. Looks the region up where the settings have none; asks for no credentials
    /// yet: those that are missing show as a denied request.
    pub async fn clients(&self, settings: &AwsSettings) -> Result<Clients, AwsError> {
        // Held while the first caller makes them, so that a role is assumed once.
        let mut made = self.made.lock().await;
        if let Some(clients) = made.get(settings) {
            return Ok(clients.clone());
        }
        let config = Box::pin(self.sdk_config(settings)).await?;
        let mut dynamodb = aws_sdk_dynamodb::config::Builder::from(&config);
        let mut streams = aws_sdk_dynamodbstreams::config::Builder::from(&config);
        let mut kinesis = aws_sdk_kinesis::config::Builder::from(&config);
        let mut logs = aws_sdk_cloudwatchlogs::config::Builder::from(&config);
        if let Some(requests) = self.requests.clone().map(SharedInterceptor::new) {
            dynamodb.push_interceptor(requests.clone());
            streams.push_interceptor(requests.clone());
            kinesis.push_interceptor(requests.clone());
            logs.push_interceptor(requests);
        }
        let clients = Clients {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            streams: aws_sdk_dynamodbstreams::Client::from_conf(streams.build()),
            kinesis: aws_sdk_kinesis::Client::from_conf(kinesis.build()),
            logs: aws_sdk_cloudwatchlogs::Client::from_conf(logs.build()),
            region: config.region().map(ToString::to_string).unwrap_or_default(),
            connections: self.connections.clone(),
            wire: self.wire,
            credentials: config.credentials_provider(),
        };
        made.insert(settings.clone(), clients.clone());
        Ok(clients)
    }

    async fn sdk_config(&self, settings: &AwsSettings) -> Result<SdkConfig, AwsError> {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(self.http.clone())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .operation_timeout(REQUEST_TIMEOUT)
                    .build(),
            )
            // It watches for bodies that trickle; the time-outs above end those too.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Ok(name) = AppName::new(concat!("weir-", env!("CARGO_PKG_VERSION"))) {
            loader = loader.app_name(name);
        }
        if let Some(region) = &settings.region {
            loader = loader.region(Region::new(region.clone()));
        }
        let mut config = loader.load().await;
        let region = config.region().cloned();
        // AWS_REGION may be set to nothing.
        let region = region
            .filter(|region| !region.as_ref().is_empty())
            .ok_or(AwsError::NoRegion)?;
        if let Some(role) = &settings.assume_role_arn {
            let mut provider = AssumeRoleProvider::builder(role)
                .session_name(SESSION)
                .region(region)
                .configure(&config);
            if let Some(id) = &settings.external_id {
                provider = provider.external_id(id);
            }
            let provider = SharedCredentialsProvider::new(provider.build().await);
            config = config.into_builder().credentials_provider(provider).build();
        }
        // Only now, so that the credential providers above keep the SDK's retries: getting a credential is
        // not one of Weir's requests, and nobody but they would repeat it.
        Ok(config
            .into_builder()
            .retry_config(RetryConfig::disabled())
            .build())
    }
}

/// For what is no request to AWS: goes by the same proxy, and trusts the same roots.
pub fn connector_from_env() -> Result<SharedHttpConnector, AwsError> {
    let bundle = CaBundle::find(|name| std::env::var_os(name))?;
    let connector = connector(&ProxyConfig::from_env(), &trust(bundle), None, None);
    Ok(SharedHttpConnector::new(connector))
}

fn trust(bundle: Option<CaBundle>) -> TrustStore {
    match bundle {
        // A bundle named for AWS is all that is trusted, as in the AWS CLI.
        Some(bundle) => TrustStore::empty().with_pem_certificate(bundle.pem),
        // The platform's roots, which are SSL_CERT_FILE's where it is set.
        None => TrustStore::default(),
    }
}

fn connector(
    proxy: &ProxyConfig,
    trust: &TrustStore,
    settings: Option<HttpConnectorSettings>,
    sleep: Option<SharedAsyncSleep>,
) -> Connector {
    let mut connector = Connector::builder()
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .proxy_config(proxy.clone());
    if let Ok(context) = TlsContext::builder().with_trust_store(trust.clone()).build() {
        connector = connector.tls_context(context);
    }
    connector.set_connector_settings(settings);
    connector.set_sleep_impl(sleep);
    connector.build()
}

/// An HTTP client: the SDK keeps a pool of connections in it for each set of time-outs.
fn http_client(proxy: ProxyConfig, bundle: Option<CaBundle>) -> SharedHttpClient {
    let trust = trust(bundle);
    Builder::new().build_with_connector_fn(move |settings, components| {
        let sleep = components.and_then(|c| c.sleep_impl());
        connector(&proxy, &trust, settings.cloned(), sleep)
    })
}

/// The variables of the services that Weir asks.
const ENDPOINTS: [&str; 6] = [
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_DYNAMODB_STREAMS",
    "AWS_ENDPOINT_URL_KINESIS",
    "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS",
    "AWS_ENDPOINT_URL_STS",
];

/// Looks at the endpoints that the environment names: the SDK panics on one that is empty, and fails at each request with
/// one that is no URL.
fn endpoints(variable: impl Fn(&str) -> Option<OsString>) -> Result<(), AwsError> {
    for name in ENDPOINTS {
        let Some(value) = variable(name) else { continue };
        let value = value.to_string_lossy().into_owned();
        let is_url = value
            .parse::<axum::http::Uri>()
            .is_ok_and(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.authority().is_some());
        if !is_url {
            return Err(AwsError::Endpoint {
                variable: name,
                value,
            });
        }
    }
    Ok(())
}

/// A file of certificates, checked: the SDK panics on one it can't use.
#[derive(Clone, Debug)]
struct CaBundle {
    pem: Vec<u8>,
}

impl CaBundle {
    /// The bundle that replaces the platform's roots, if the environment names one. Also looks at
    /// SSL_CERT_FILE, which the platform's own loading only warns about.
    fn find(variable: impl Fn(&str) -> Option<OsString>) -> Result<Option<Self>, AwsError> {
        let named = |name| {
            variable(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        if let Some(path) = named("AWS_CA_BUNDLE") {
            return Self::read("AWS_CA_BUNDLE", &path).map(Some);
        }
        if let Some(path) = named("SSL_CERT_FILE") {
            // Only looked at: the platform's roots are read from it then.
            Self::read("SSL_CERT_FILE", &path)?;
        }
        Ok(None)
    }

    fn read(variable: &'static str, path: &Path) -> Result<Self, AwsError> {
        let unusable = |problem: String| AwsError::CaBundle {
            variable,
            path: path.display().to_string(),
            problem,
        };
        let pem = std::fs::read(path).map_err(|e| unusable(e.to_string()))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|e| unusable(e.to_string()))?;
            roots.add(certificate).map_err(|e| unusable(e.to_string()))?;
        }
        if roots.is_empty() {
            return Err(unusable("it holds no certificate in PEM".to_owned()));
        }
        Ok(Self { pem })
    }
}

#[cfg(test)]
mod tests;
