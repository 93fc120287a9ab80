//! The real page on a server whose `/status` says what a test wants it to say.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::browser::Browser;
use crate::wire::Wire;

/// What `/status` answers: its code, its kind, its text.
type Said = Arc<Mutex<(StatusCode, &'static str, String)>>;

pub struct Stage {
    said: Said,
    revision: AtomicUsize,
    /// Between the browser and the server, so that the server can go away.
    pub wire: Wire,
    pub server: SocketAddr,
}

impl Stage {
    pub async fn new() -> Self {
        let said = Said::default();
        let one = || {
            Router::new()
                .merge(weir::http::page::routes())
                .route("/status", get(answer))
                .with_state(said.clone())
        };
        // The second as behind a load balancer that gives each service a path of its own.
        let routes = one().nest("/behind/a/", one());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let server = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        let wire = Wire::to(server).await;
        Self {
            said,
            revision: AtomicUsize::new(1),
            wire,
            server,
        }
    }

    /// `/status` says this from now on. Returns which answer that is: the page ignores keys that it doesn't know.
    pub fn say(&self, status: &Value) -> usize {
        let revision = self.revision.fetch_add(1, Relaxed);
        let mut status = status.clone();
        status["revision"] = revision.into();
        self.say_else(StatusCode::OK, "application/json", status.to_string());
        revision
    }

    pub fn say_else(&self, code: StatusCode, kind: &'static str, text: String) {
        *self.said.lock().unwrap() = (code, kind, text);
    }

    /// A browser that has the page open and shows this.
    pub async fn open(&self, status: &Value) -> Browser {
        self.say(status);
        let browser = Browser::start().await;
        browser.go(&self.wire.endpoint()).await;
        browser.until("!document.querySelector('#below').hidden").await;
        browser
    }

    /// The page shows this now, without the wait for its next poll.
    pub async fn show(&self, browser: &Browser, status: &Value) {
        let revision = self.say(status);
        ask_now(browser).await;
        browser.until(&format!("last?.revision === {revision}")).await;
    }
}

/// As when a person comes back to the tab.
pub async fn ask_now(browser: &Browser) {
    browser
        .run("document.dispatchEvent(new Event('visibilitychange'))")
        .await;
}

async fn answer(State(said): State<Said>) -> Response {
    let (code, kind, text) = said.lock().unwrap().clone();
    (code, [(header::CONTENT_TYPE, kind)], text).into_response()
}
