//! For whom the page is: a phone in the dark, a screen reader.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::canned::{self, json as of};
use crate::is_clean;
use crate::stage::Stage;

const CHECKS: &str = include_str!("checks.js");

/// What Chromium tells a screen reader: role and name of each node that it doesn't leave out.
async fn spoken(browser: &Browser) -> Vec<(String, String)> {
    let tree = browser.devtools("Accessibility.getFullAXTree", json!({})).await;
    let nodes = tree["nodes"].as_array().unwrap().iter();
    let text = |value: &Value| value["value"].as_str().unwrap_or_default().to_owned();
    nodes
        .filter(|node| node["ignored"] != true)
        .map(|node| (text(&node["role"]), text(&node["name"])))
        .filter(|(role, _)| !["StaticText", "InlineTextBox", "generic"].contains(&role.as_str()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_needs_no_scrolling_sideways() {
    let stage = Stage::new().await;
    let browser = stage.open(&of(&canned::healthy())).await;
    browser.size(360, 740).await;
    let cases = [
        ("healthy", canned::healthy()),
        ("stuck", canned::stuck()),
        ("refused", canned::refused()),
        ("starting", canned::starting()),
        ("hostile", canned::hostile()),
    ];
    for scheme in ["light", "dark"] {
        browser.scheme(scheme).await;
        for (name, status) in &cases {
            stage.show(&browser, &of(status)).await;
            browser
                .run("document.querySelectorAll('.fold[aria-expanded=false]').forEach((b, i) => i < 2 && b.click())")
                .await;
            let widths = browser
                .run("return [document.scrollingElement.scrollWidth, innerWidth, screen.width]")
                .await;
            assert_eq!(widths, json!([360, 360, 360]), "{name}, {scheme}");
            browser
                .run("document.querySelectorAll('.fold[aria-expanded=true]').forEach((b, i) => i && b.click())")
                .await;
            if ["healthy", "stuck"].contains(name) {
                browser.shoot(&format!("phone-{name}-{scheme}"), 4000).await;
            }
        }
    }
    is_clean(&browser, &stage.wire.endpoint()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_can_be_read_and_heard() {
    let stage = Stage::new().await;
    let browser = stage.open(&of(&canned::healthy())).await;
    for (width, scheme) in [(1280, "light"), (1280, "dark"), (360, "light"), (360, "dark")] {
        browser.size(width, 800).await;
        browser.scheme(scheme).await;
        for status in [
            canned::healthy(),
            canned::stuck(),
            canned::at_risk(),
            canned::draining(),
            canned::starting(),
        ] {
            stage.show(&browser, &of(&status)).await;
            browser
                .run("document.querySelector('.fold[aria-expanded=false]')?.click()")
                .await;
            let wrong = browser.run(CHECKS).await;
            assert_eq!(wrong, json!([]), "{width} px, {scheme}");
        }
        // What is old is paler, and still readable.
        browser.run("document.body.classList.add('stale')").await;
        // The transition, if any, is over.
        browser
            .until("getComputedStyle(document.querySelector('#below')).opacity === '0.9'")
            .await;
        assert_eq!(
            browser.run(CHECKS).await,
            json!([]),
            "stale, {width} px, {scheme}"
        );
        browser.run("document.body.classList.remove('stale')").await;

        stage.show(&browser, &of(&canned::stuck())).await;
        let spoken = spoken(&browser).await;
        for (role, name) in &spoken {
            let control = [
                "button",
                "link",
                "searchbox",
                "combobox",
                "checkbox",
                "heading",
                "table",
                "meter",
                "columnheader",
            ];
            assert!(
                !control.contains(&role.as_str()) || !name.trim().is_empty(),
                "a {role} without a name"
            );
        }
        // Small or wide, a table is one.
        for (role, name) in [
            ("banner", ""),
            ("main", ""),
            ("contentinfo", ""),
            ("region", "Needs you"),
            ("region", "Pipelines"),
            ("table", "The workers of the fleet"),
            ("rowheader", "ip-10-0-3-17-1f0c9a55d2b7e840 this one"),
            ("searchbox", "Filter shards by text"),
            ("combobox", "Order"),
            ("columnheader", "Time to trim"),
            ("cell", "live"),
            ("meter", "Memory in use of the budget"),
            ("status", ""),
        ] {
            assert!(
                // On a phone a cell's name begins with its column's.
                spoken
                    .iter()
                    .any(|(r, n)| r == role && (n.trim() == name || role == "cell" && n.ends_with(name))),
                "no {role} {name:?} at {width} px"
            );
        }
    }
    is_clean(&browser, &stage.wire.endpoint()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_another_headline_is_read_out() {
    let stage = Stage::new().await;
    let browser = stage.open(&of(&canned::healthy())).await;
    assert_eq!(
        browser
            .text("document.querySelectorAll('[aria-live], [role=status], [role=alert]').length")
            .await,
        "1"
    );
    browser
        .run(
            "window.heard = []; new MutationObserver(() => heard.push(document.querySelector('#live').textContent)) \
             .observe(document.querySelector('#live'), { subtree: true, childList: true, characterData: true })",
        )
        .await;
    let mut further = canned::lagging();
    canned::orders(&mut further).lag_seconds = Some(900.0);
    for status in [
        canned::healthy(),
        canned::lagging(),
        further,
        canned::stuck(),
        canned::healthy(),
    ] {
        stage.show(&browser, &of(&status)).await;
    }
    assert_eq!(
        browser.run("return heard").await,
        json!(["Lagging", "Needs you: 1 problem", "Healthy"])
    );
    is_clean(&browser, &stage.wire.endpoint()).await;
}
