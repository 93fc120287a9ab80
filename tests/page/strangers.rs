//! Words of strangers, and the fence around the page.

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::canned::{self, HOSTILE};
use crate::is_clean;
use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_wrote_stays_text() {
    let stage = Stage::new().await;
    let browser = stage.open(&canned::json(&canned::hostile())).await;
    browser
        .run("document.querySelectorAll('.fold').forEach(b => b.click())")
        .await;
    // An alert would make each further request an error.
    stage.show(&browser, &canned::json(&canned::healthy())).await;
    stage.show(&browser, &canned::json(&canned::hostile())).await;
    let page = browser.text("document.body.textContent").await;
    for text in HOSTILE {
        assert!(page.contains(text), "{text} is shown as it is");
    }
    let made = "document.querySelectorAll('img, iframe, object, body script ~ script, svg[onload], body b b').length";
    assert_eq!(browser.text(made).await, "0");
    assert_eq!(
        browser.text("document.scripts.length").await,
        "1",
        "the page's own"
    );
    assert_eq!(
        browser.text("({}).source === undefined").await,
        "true",
        "no prototype was written to"
    );
    is_clean(&browser, &stage.wire.endpoint()).await;
    // The policy holds what the page itself would forget.
    let caught =
        "try { document.body.innerHTML = '<img src=x>'; return 'let through' } catch (e) { return e.name }";
    assert_eq!(browser.run(caught).await, json!("TypeError"));
    let fetched = "return fetch('http://127.0.0.1:9/').then(() => 'let through', e => 'refused')";
    assert_eq!(browser.run(fetched).await, json!("refused"));
    let console = browser.console().await.join("\n");
    assert!(console.contains("Content Security Policy"), "{console}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_works_below_another_path() {
    let stage = Stage::new().await;
    stage.say(&canned::json(&canned::healthy()));
    let browser = crate::browser::Browser::start().await;
    let url = format!("{}/behind/a/", stage.wire.endpoint());
    browser.go(&url).await;
    browser
        .until("document.querySelector('#word').textContent === 'Healthy'")
        .await;
    is_clean(&browser, &url).await;
}

/// An answer's head in small letters, and how long its body is.
async fn asked(address: SocketAddr, request: &str) -> (String, usize) {
    let mut wire = TcpStream::connect(address).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n");
    wire.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    wire.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.len())
}

#[tokio::test]
async fn the_page_comes_with_its_fence() {
    let stage = Stage::new().await;
    let (head, length) = asked(stage.server, "GET /").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(length > 10_000);
    for line in [
        "content-type: text/html; charset=utf-8",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
        "x-frame-options: deny",
        "content-security-policy: default-src 'none'; style-src 'sha256-",
    ] {
        assert!(head.contains(line), "{line} in {head}");
    }
    for hole in ["unsafe", "*", "http:", "https:"] {
        let policy = head
            .lines()
            .find(|l| l.starts_with("content-security-policy"))
            .unwrap();
        assert!(!policy.contains(hole), "{policy}");
    }
    let (same, nothing) = asked(stage.server, "HEAD /").await;
    assert_eq!(nothing, 0);
    assert!(same.contains(&format!("content-length: {length}")), "{same}");
    let (icon, _) = asked(stage.server, "GET /favicon.ico").await;
    assert!(icon.starts_with("http/1.1 204"), "{icon}");
}
