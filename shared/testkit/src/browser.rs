//! A real browser without a window, driven by WebDriver over plain HTTP.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use serde_json::{Value, json};

use crate::http::Client;
use crate::{Process, os, ports};

const START_LIMIT: Duration = Duration::from_secs(60);
/// Of what a page does while we wait for it, in milliseconds: longer than a request that may wait for its commit.
const SCRIPT_LIMIT: u64 = 90_000;
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
/// Chromium as root, in a machine that reaches nothing but itself.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// Chromium with a profile of its own; ends with its driver when dropped.
pub struct Browser {
    client: Client,
    session: String,
    _driver: Process,
}

impl Browser {
    /// With a window of this size, light or dark.
    pub async fn start(width: u32, height: u32, dark: bool) -> Result<Self> {
        let (Some(driver), Some(chromium)) = (os::on_path("chromedriver"), os::on_path("chromium")) else {
            bail!("chromium and chromedriver not found on PATH: run `make setup`");
        };
        let port = ports::free_port()?;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut driver = Process::at("chromedriver", driver).arg(format!("--port={port}")).spawn()?;
        driver.wait_ready(addr, "/status", START_LIMIT).await?;
        let mut flags: Vec<String> = FLAGS.map(str::to_owned).to_vec();
        flags.push(format!("--window-size={width},{height}"));
        let options = json!({"binary": chromium, "args": flags});
        let capabilities = json!({
            "browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"script": SCRIPT_LIMIT},
        });
        let wanted = json!({"capabilities": {"alwaysMatch": capabilities}});
        let client = Client::at(addr).timeout(ANSWER_LIMIT);
        let mut browser = Self { client, session: String::new(), _driver: driver };
        let begun = browser.call("POST", "/session", &wanted).await?;
        let id = begun["sessionId"].as_str().context("a session without id")?;
        browser.session = format!("/session/{id}");
        // The window, not the flag, says how wide a phone is.
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        browser.devtools("Emulation.setDeviceMetricsOverride", &metrics).await?;
        let scheme = json!({"name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" }});
        browser.devtools("Emulation.setEmulatedMedia", &json!({"features": [scheme]})).await?;
        Ok(browser)
    }

    /// Opens a page and waits until it is loaded.
    pub async fn open(&self, url: &str) -> Result<()> {
        self.session_call("/url", &json!({"url": url})).await.map(drop)
    }

    /// Runs a function's body; its value.
    pub async fn run(&self, body: &str) -> Result<Value> {
        self.session_call("/execute/sync", &json!({"script": body, "args": []})).await
    }

    /// Runs an async function's body; what it returns. An error when it throws.
    pub async fn run_async(&self, body: &str) -> Result<Value> {
        let script = format!(
            "const done = arguments[arguments.length - 1];
             (async () => {{ {body} }})().then((value) => done({{ value }}), (error) => done({{ error: String(error) }}));"
        );
        let mut outcome = self.session_call("/execute/async", &json!({"script": script, "args": []})).await?;
        if let Some(error) = outcome["error"].as_str() {
            bail!("the page: {error}");
        }
        Ok(outcome["value"].take())
    }

    /// What the page shows to a reader.
    pub async fn text(&self) -> Result<String> {
        Ok(self.run("return document.body.innerText").await?.as_str().unwrap_or_default().to_owned())
    }

    /// Types into whatever has the focus: text, or keys of WebDriver such as `\u{e007}` for Enter.
    pub async fn type_keys(&self, keys: &str) -> Result<()> {
        let presses = keys.chars().flat_map(|key| {
            [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})]
        });
        let actions: Vec<Value> = presses.collect();
        let actions = json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]});
        self.session_call("/actions", &actions).await.map(drop)
    }

    /// A command of the DevTools protocol.
    pub async fn devtools(&self, command: &str, parameters: &Value) -> Result<Value> {
        self.session_call("/goog/cdp/execute", &json!({"cmd": command, "params": parameters})).await
    }

    /// Messages of the console since the last call, refused resources included.
    pub async fn console(&self) -> Result<Vec<String>> {
        let entries = self.session_call("/se/log", &json!({"type": "browser"})).await?;
        let entries = entries.as_array().cloned().unwrap_or_default();
        Ok(entries.iter().map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect())
    }

    /// The whole page as a PNG.
    pub async fn screenshot(&self) -> Result<Vec<u8>> {
        let wanted = json!({"format": "png", "captureBeyondViewport": true});
        let shot = self.devtools("Page.captureScreenshot", &wanted).await?;
        let data = shot["data"].as_str().context("a screenshot without data")?;
        Ok(base64::engine::general_purpose::STANDARD.decode(data)?)
    }

    async fn session_call(&self, path: &str, body: &Value) -> Result<Value> {
        self.call("POST", &format!("{}{path}", self.session), body).await
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let headers = [("content-type", "application/json")];
        let answer = self.client.request(method, path, &headers, body.to_string()).await?;
        let value = answer.json()?["value"].take();
        if answer.status != 200 {
            bail!("{path}: {}", value["message"].as_str().unwrap_or_default());
        }
        Ok(value)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver is killed without a word to its browser: both are of one process group.
        let group = format!("-{}", self._driver.pid());
        drop(std::process::Command::new("kill").args(["-KILL", "--", &group]).status());
    }
}
