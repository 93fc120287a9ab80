//! Chromium, driven as a person would: WebDriver's few requests that the tests need, by hand.
//!
//! <https://www.w3.org/TR/webdriver2/> has the requests; those below `goog/` and `se/` are chromedriver's own. Nothing
//! but the machine itself can be reached from this browser.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Whatever is not there by then hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Keys as WebDriver names them.
pub const TAB: &str = "\u{E004}";
pub const ENTER: &str = "\u{E007}";
pub const SPACE: &str = " ";

/// A browser with one window. Ends when it goes out of scope.
pub struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    process: Option<Pid>,
    /// Its profile. Dropped last.
    _dir: TempDir,
}

impl Browser {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let told = dir.path().join("chromedriver.log");
        let out = std::fs::File::create(&told).unwrap();
        let driver = Command::new("chromedriver")
            // A port of its own choice, which it tells.
            .arg("--port=0")
            .env("HOME", dir.path())
            .env("TMPDIR", dir.path())
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap_or_else(|e| panic!("chromedriver: {e}; scripts/tools installs it"));
        let mut browser = Self {
            driver,
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            session: String::new(),
            process: None,
            _dir: dir,
        };
        let start = Instant::now();
        let port = loop {
            let text = std::fs::read_to_string(&told).unwrap_or_default();
            let found = text
                .rsplit_once("started successfully on port ")
                .and_then(|(_, rest)| rest.split_once('.')?.0.parse().ok());
            if let Some(port) = found {
                break port;
            }
            assert!(start.elapsed() < PATIENCE, "chromedriver doesn't start: {text}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        browser.address.set_port(port);
        browser.open().await;
        browser
    }

    async fn open(&mut self) {
        let profile = format!("--user-data-dir={}", self._dir.path().join("profile").display());
        let arguments = [
            "--headless=new",
            // Root has no sandbox, and CI is often root; what is shown here is our own page.
            "--no-sandbox",
            // Containers have little shared memory.
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--hide-scrollbars",
            "--force-color-profile=srgb",
            "--no-first-run",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            &profile,
        ];
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
            "unhandledPromptBehavior": "ignore",
        } } });
        let answer = self.ask("POST", "/session", &capabilities).await;
        self.session = answer["sessionId"].as_str().unwrap().to_owned();
        let process = answer["capabilities"]["goog:processID"].as_i64();
        self.process = process.and_then(|id| Pid::from_raw(id as i32));
        self.size(1280, 900).await;
        // What its own first page asked for is nobody's concern.
        self.go("about:blank").await;
        self.requests().await;
    }

    /// One exchange; the answer's `value`. Panics on an error.
    async fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let exchange = async {
            let mut wire = TcpStream::connect(self.address).await?;
            let body = if method == "GET" {
                String::new()
            } else {
                body.to_string()
            };
            let request = format!(
                "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                self.address,
                body.len()
            );
            wire.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            loop {
                if let Some(body) = whole(&answer) {
                    return Ok(body);
                }
                if wire.read_buf(&mut answer).await? == 0 {
                    return Err(std::io::Error::other("an answer without its end"));
                }
            }
        };
        let answer = tokio::time::timeout(PATIENCE, exchange).await;
        let answer: std::io::Result<Value> = answer.unwrap_or_else(|_| panic!("{method} {path} hangs"));
        let mut answer = answer.unwrap_or_else(|e| panic!("{method} {path}: {e}"));
        assert!(
            answer["value"]["error"].is_null(),
            "{method} {path} with {body}: {}",
            answer["value"]
        );
        answer["value"].take()
    }

    async fn post(&self, what: &str, body: &Value) -> Value {
        self.ask("POST", &format!("/session/{}/{what}", self.session), body)
            .await
    }

    /// Opens a page, and waits until it is loaded.
    pub async fn go(&self, url: &str) {
        self.post("url", &json!({ "url": url })).await;
    }

    /// The value of a function's body.
    pub async fn run(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({ "script": script, "args": [] }))
            .await
    }

    /// The value of an expression, as text.
    pub async fn text(&self, expression: &str) -> String {
        let value = self.run(&format!("return String({expression})")).await;
        value.as_str().unwrap().to_owned()
    }

    /// All that is to be read on the page.
    pub async fn all(&self) -> String {
        self.text("document.body.innerText").await
    }

    /// Waits until an expression holds.
    pub async fn until(&self, expression: &str) {
        let start = Instant::now();
        while self.run(&format!("return !!({expression})")).await != json!(true) {
            assert!(
                start.elapsed() < PATIENCE,
                "waited for {expression}, in vain; the page says:\n{}",
                self.all().await
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A command of the DevTools protocol.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.post("goog/cdp/execute", &body).await
    }

    /// The window's inside, in CSS pixels.
    pub async fn size(&self, width: u32, height: u32) {
        let phone = width < 500;
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": if phone { 2 } else { 1 }, "mobile": phone,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// `light` or `dark`, as the system's setting would have it.
    pub async fn scheme(&self, scheme: &str) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", features).await;
    }

    /// Presses keys, one after the other.
    pub async fn press(&self, keys: &[&str]) {
        let strokes: Vec<_> = keys
            .iter()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })))
            .collect();
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": strokes }] });
        self.post("actions", &actions).await;
    }

    /// The page from its top to its end, or to `most` pixels, as `NAME.png` among the screenshots.
    pub async fn shoot(&self, name: &str, most: u32) {
        let size = self
            .run("return [innerWidth, document.documentElement.scrollHeight]")
            .await;
        let (width, height) = (size[0].as_u64().unwrap(), size[1].as_u64().unwrap());
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height.min(most.into()), "scale": 1 });
        let shot = self
            .devtools(
                "Page.captureScreenshot",
                json!({ "format": "png", "captureBeyondViewport": true, "clip": clip }),
            )
            .await;
        let picture = BASE64_STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        let place = screenshots();
        std::fs::create_dir_all(&place).unwrap();
        let path = place.join(format!("{name}.png"));
        std::fs::write(&path, picture).unwrap();
        println!("{}", path.display());
    }

    /// What the page told the console since the last time it was asked: errors of scripts, refusals of the policy,
    /// and requests that failed.
    pub async fn console(&self) -> Vec<String> {
        let entries = self.post("se/log", &json!({ "type": "browser" })).await;
        let entries = entries.as_array().unwrap().iter();
        entries.map(|e| e["message"].to_string()).collect()
    }

    /// The addresses that the page asked for since the last time.
    pub async fn requests(&self) -> Vec<String> {
        let entries = self.post("se/log", &json!({ "type": "performance" })).await;
        let messages = entries.as_array().unwrap().iter();
        let messages =
            messages.map(|e| serde_json::from_str::<Value>(e["message"].as_str().unwrap()).unwrap());
        messages
            .filter(|m| m["message"]["method"] == "Network.requestWillBeSent")
            .map(|m| {
                m["message"]["params"]["request"]["url"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // An error means that it has ended already. The driver leaves its browser alone when it is killed.
        if let Some(process) = self.process {
            kill_process(process, Signal::KILL).ok();
        }
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
}

/// `$WEIR_SCREENSHOTS`, or `target/screenshots`.
fn screenshots() -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_weir")).ancestors().nth(2);
    std::env::var_os("WEIR_SCREENSHOTS").map_or(
        target.expect("target/<profile>/weir").join("screenshots"),
        PathBuf::from,
    )
}

/// The body of an answer that has come to its end.
fn whole(answer: &[u8]) -> Option<Value> {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let length = head.lines().find_map(|l| l.strip_prefix("content-length:"))?;
    let body = answer.get(end..end + length.trim().parse::<usize>().ok()?)?;
    serde_json::from_slice(body).ok()
}
