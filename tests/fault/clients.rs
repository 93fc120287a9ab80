//! Clients of the emulator. Patient ones: a test freezes the emulator, and its own requests must outlast that.

use std::net::SocketAddr;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, StalledStreamProtectionConfig};

pub const REGION: &str = "eu-west-1";
pub const ACCESS_KEY: &str = "test";

/// A configuration of the service's crate `$sdk` for the emulator at `$address`: no retries, since a request that
/// was sent twice could be applied twice; no limits on time but the test's own.
macro_rules! config {
    ($sdk:ident, $address:expr) => {
        $sdk::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(format!("http://{}", $address))
            .region(Region::new(REGION))
            .credentials_provider(Credentials::new(ACCESS_KEY, "test", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build()
    };
}

pub fn dynamodb(address: SocketAddr) -> aws_sdk_dynamodb::Client {
    aws_sdk_dynamodb::Client::from_conf(config!(aws_sdk_dynamodb, address))
}

pub fn kinesis(address: SocketAddr) -> aws_sdk_kinesis::Client {
    aws_sdk_kinesis::Client::from_conf(config!(aws_sdk_kinesis, address))
}

pub fn logs(address: SocketAddr) -> aws_sdk_cloudwatchlogs::Client {
    aws_sdk_cloudwatchlogs::Client::from_conf(config!(aws_sdk_cloudwatchlogs, address))
}
