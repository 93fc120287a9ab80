//! `/log-level`: GET tells the filter of Weir's own log, PUT changes it.
//!
//! For those on this machine alone, and not for a web page that their browser shows: who may is [`refusal`], which is
//! pure. There is no other thing that this server lets anybody change.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Shared;

/// Longer than any filter that a person writes.
pub(super) const LONGEST: usize = 4096;

pub(super) async fn get(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    match refusal(peer, &headers) {
        Some(why) => forbidden(why),
        None => format!("{}\n", shared.server.log_level.filter()).into_response(),
    }
}

pub(super) async fn put(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    filter: String,
) -> Response {
    if let Some(why) = refusal(peer, &headers) {
        return forbidden(why);
    }
    let log_level = &shared.server.log_level;
    match log_level.set(filter.trim(), "PUT /log-level") {
        Ok(()) => format!("{}\n", log_level.filter()).into_response(),
        Err(wrong) => (StatusCode::BAD_REQUEST, format!("{wrong}\n")).into_response(),
    }
}

fn forbidden(why: &str) -> Response {
    (StatusCode::FORBIDDEN, format!("{why}\n")).into_response()
}

/// Why a request may not see or change the level.
fn refusal(peer: SocketAddr, headers: &HeaderMap) -> Option<&'static str> {
    // An IPv4 peer of a socket of IPv6 is one of IPv4.
    if !peer.ip().to_canonical().is_loopback() {
        return Some("only for this machine: ask 127.0.0.1, for instance through `kubectl port-forward`");
    }
    // A proxy's peer is the proxy.
    if headers.contains_key("forwarded") || headers.contains_key("x-forwarded-for") {
        return Some("only for this machine: the request came through a proxy");
    }
    // Browsers tell which page asks, where it may matter. No page of Weir's does.
    if headers.contains_key(header::ORIGIN) {
        return Some("not for web pages");
    }
    // A page whose name was made to lead here (DNS rebinding) asks for itself, under its own name.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    if !host.is_some_and(is_this_machine) {
        return Some("only for this machine: ask it as 127.0.0.1, [::1] or localhost");
    }
    None
}

/// Whether a `Host` names this machine by an address of its loopback interface, or as `localhost`.
fn is_this_machine(host: &str) -> bool {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().to_canonical().is_loopback();
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && port.bytes().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    match name.parse::<std::net::IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "127.0.0.1:5000";

    fn is_refused(peer: &str, headers: &[(&'static str, &'static str)]) -> bool {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        refusal(peer.parse().unwrap(), &headers).is_some()
    }

    #[test]
    fn a_peer_on_this_machine_may_see_and_change_the_level() {
        for (peer, host) in [
            (HERE, "127.0.0.1:8080"),
            (HERE, "127.0.0.1"),
            (HERE, "localhost:8080"),
            (HERE, "LOCALHOST"),
            ("127.9.9.9:1", "127.9.9.9:80"),
            ("[::1]:5000", "[::1]:8080"),
            ("[::1]:5000", "[::1]"),
            ("[::ffff:127.0.0.1]:5000", "127.0.0.1:8080"),
        ] {
            assert!(!is_refused(peer, &[("host", host)]), "{peer} {host}");
        }
    }

    #[test]
    fn nobody_else_may() {
        let host = ("host", "127.0.0.1:8080");
        for (peer, headers) in [
            ("10.0.0.7:5000", &[host][..]),
            ("[2001:db8::1]:5000", &[host]),
            ("[::ffff:10.0.0.7]:5000", &[host]),
            (HERE, &[]),
            (HERE, &[("host", "rebound.example:8080")]),
            (HERE, &[("host", "10.0.0.7:8080")]),
            (HERE, &[("host", "localhost.example")]),
            (HERE, &[("host", "127.0.0.1.example:8080")]),
            (HERE, &[("host", "")]),
            (HERE, &[host, ("origin", "https://page.example")]),
            (HERE, &[host, ("origin", "http://127.0.0.1:8080")]),
            (HERE, &[host, ("origin", "null")]),
            (HERE, &[host, ("x-forwarded-for", "10.0.0.7")]),
            (HERE, &[host, ("forwarded", "for=10.0.0.7")]),
        ] {
            assert!(is_refused(peer, headers), "{peer} {headers:?}");
        }
    }
}
