//! What updates do, and what they must leave alone.

use axum::http::StatusCode;
use serde_json::json;

use crate::browser::{ENTER, SPACE, TAB};
use crate::canned::{self, json as of};
use crate::is_clean;
use crate::stage::{Stage, ask_now};

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_seen_and_so_is_its_age() {
    let mut stage = Stage::new().await;
    let browser = stage.open(&of(&canned::healthy())).await;
    // By itself, each few seconds.
    stage.say(&of(&canned::lagging()));
    let headline =
        |word: &str| format!("document.querySelector('#headline').innerText.trim().startsWith('{word}')");
    browser.until(&headline("Lagging")).await;
    is_clean(&browser, &stage.wire.endpoint()).await;

    stage.wire.cut().await;
    browser.until(&headline("No answer for ")).await;
    let sub = browser.text("document.querySelector('#sub').textContent").await;
    assert!(
        sub.starts_with(
            "What stands below is of 03:12:45 UTC, and may be wrong by now. The process has ended"
        ),
        "{sub}"
    );
    assert_eq!(
        browser
            .text("getComputedStyle(document.querySelector('#below')).filter")
            .await,
        "grayscale(1)",
        "what is old looks old"
    );
    assert!(browser.text("document.title").await.starts_with("No answer"));
    browser
        .until("parseInt(document.querySelector('#since').textContent.slice(5)) >= 3")
        .await;
    browser.shoot("no-answer", 2400).await;
    stage.wire.mend().await;
    browser.until(&headline("Lagging")).await;
    assert_eq!(
        browser.text("document.querySelector('#since').textContent").await,
        ""
    );

    let others = [
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "text/plain",
            "",
            "/status answers 503",
        ),
        (
            StatusCode::OK,
            "text/html",
            "<p>Log in",
            "What came is not a status",
        ),
        (
            StatusCode::OK,
            "application/json",
            "null",
            "What came is not a status",
        ),
    ];
    for (code, kind, text, told) in others {
        stage.say_else(code, kind, text.to_owned());
        ask_now(&browser).await;
        browser
            .until(&format!(
                "document.querySelector('#sub').textContent.includes('{told}')"
            ))
            .await;
    }
    stage.show(&browser, &of(&canned::healthy())).await;
    browser.until(&headline("Healthy")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_reaches_all_and_updates_take_nothing_away() {
    let stage = Stage::new().await;
    let browser = stage.open(&of(&canned::stuck())).await;
    browser.size(1280, 500).await;
    let focused = "document.activeElement.id || document.activeElement.className";
    let mut way = Vec::new();
    for _ in 0..40 {
        browser.press(&[TAB]).await;
        let now = browser.text(focused).await;
        let seen = "const s = getComputedStyle(document.activeElement); return s.outlineStyle !== 'none'";
        assert_eq!(browser.run(seen).await, json!(true), "the focus on {now} is seen");
        way.push(now);
        if way.last().unwrap() == "fold" {
            break;
        }
    }
    let nameless = way.iter().filter(|w| w.is_empty()).count();
    assert_eq!(nameless, 5, "the five buttons of the states: {way:?}");
    way.retain(|w| !w.is_empty());
    assert_eq!(way, ["skip", "pause", "text", "order", "ended", "fold"]);

    // Opened by the keyboard, it stays open, focused and in its place, whatever comes.
    let opened = "document.querySelector('#shards .fold[aria-expanded=true]')?.title";
    browser.press(&[ENTER]).await;
    let shard = browser.text(opened).await;
    assert!(shard.starts_with("shardId-"), "{shard}");
    let before = browser.run("return scrollY").await;
    assert!(before.as_f64().unwrap() > 0.0, "the page is scrolled: {before}");
    let mut other = of(&canned::stuck());
    let shards = other["pipelines"]["orders"]["shards"].as_array_mut().unwrap();
    shards.reverse();
    shards.pop();
    for shard in shards {
        shard["lag_seconds"] = json!(3.3);
    }
    for status in [of(&canned::stuck()), other, of(&canned::refused())] {
        stage.show(&browser, &status).await;
        assert_eq!(browser.text(opened).await, shard, "it is open still");
        assert_eq!(
            browser.text("document.activeElement.title").await,
            shard,
            "it has the focus still"
        );
    }
    stage.show(&browser, &of(&canned::stuck())).await;
    assert_eq!(
        browser.run("return scrollY").await,
        before,
        "nothing has scrolled"
    );
    let fact = "document.querySelector('#shards tr.more dl').innerText";
    assert!(
        browser
            .text(fact)
            .await
            .contains("arn:aws:kinesis:eu-west-1:123456789012:stream/rds-audit")
    );
    browser.press(&[SPACE]).await;
    assert_eq!(
        browser.text(opened).await,
        "undefined",
        "closed by the keyboard too"
    );

    // What is typed stays, and so does its caret.
    browser.run("document.querySelector('#text').focus()").await;
    browser.press(&["p", "a", "r", "e", "n", "t"]).await;
    stage.show(&browser, &of(&canned::stuck())).await;
    let shown = "[...document.querySelectorAll('#shards tbody')].map(b => b.rows[0].cells[2].innerText.trim()).join()";
    assert!(browser.text(shown).await.starts_with("waiting for parent"));
    assert_eq!(
        browser
            .text("document.querySelectorAll('#shards tbody').length")
            .await,
        "1"
    );
    let field = "document.activeElement.id + document.activeElement.selectionStart";
    assert_eq!(browser.text(field).await, "text6");

    // Paused, nothing comes in.
    browser.run("document.querySelector('#text').value = ''").await;
    browser.run("document.querySelector('#pause').focus()").await;
    browser.press(&[ENTER]).await;
    let fresh = browser.text("document.querySelector('#fresh').textContent").await;
    assert_eq!(fresh, "Paused at 03:12:45 UTC");
    browser.requests().await;
    let revision = stage.say(&of(&canned::lagging()));
    ask_now(&browser).await;
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    assert!(browser.requests().await.is_empty(), "nothing is asked");
    assert_eq!(
        browser.text("document.querySelector('#word').textContent").await,
        "Needs you"
    );
    browser.press(&[ENTER]).await;
    browser.until(&format!("last.revision === {revision}")).await;
    assert_eq!(
        browser.text("document.querySelector('#word').textContent").await,
        "Lagging"
    );
    is_clean_but(&browser).await;
}

/// `requests` was asked for above, and forgets what it has told.
async fn is_clean_but(browser: &crate::browser::Browser) {
    let console = browser.console().await;
    assert!(console.is_empty(), "{console:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_shards_only_what_changed_is_touched() {
    let stage = Stage::new().await;
    let browser = stage.open(&of(&canned::thousand())).await;
    let count = "document.querySelectorAll('#shards tbody').length";
    assert_eq!(browser.text(count).await, "1000");
    let shown = browser.text("document.querySelector('#shown').textContent").await;
    assert!(
        shown.starts_with("1,000 of 1,000 shards shown; 230 more are not told here"),
        "{shown}"
    );
    browser
        .run(
            "window.touched = new Set(); new MutationObserver(all => all.forEach(m => \
             touched.add(m.target.closest?.('tbody') ?? m.target.parentElement?.closest('tbody')))) \
             .observe(document.querySelector('#shards'), { subtree: true, childList: true, characterData: true, attributes: true })",
        )
        .await;
    let mut status = canned::thousand();
    let orders = canned::orders(&mut status);
    orders.shards[400].lag_seconds = Some(77.0);
    stage.show(&browser, &of(&status)).await;
    // The caption is in no body; it did not change.
    assert_eq!(browser.text("touched.size").await, "1");
    assert_eq!(
        browser
            .text("[...touched][0] === document.querySelectorAll('#shards tbody')[400]")
            .await,
        "true"
    );

    let press = |name: &str| {
        format!(
            "[...document.querySelectorAll('.chips button')].find(b => b.innerText.startsWith('{name}')).click()"
        )
    };
    let chips = browser.text("document.querySelector('.chips').innerText").await;
    for chip in ["All 1,000", "Stuck 1", "Read here 666", "Read elsewhere 333"] {
        assert!(chips.contains(chip), "{chip} in {chips}");
    }
    browser.run(&press("Stuck")).await;
    assert_eq!(browser.text(count).await, "1");
    browser.run(&press("All")).await;
    let order = |by: &str| {
        format!(
            "const o = document.querySelector('#order'); o.value = '{by}'; o.dispatchEvent(new Event('change'))"
        )
    };
    browser.run(&order("lag")).await;
    let first = "document.querySelector('#shards tbody').innerText";
    assert!(
        browser.text(first).await.contains("1 min 17 s"),
        "the furthest behind is first"
    );
    browser.run(&order("lineage")).await;
    assert_eq!(browser.text(count).await, "1000");
    browser.shoot("thousand-shards", 1400).await;
    is_clean(&browser, &stage.wire.endpoint()).await;
}
