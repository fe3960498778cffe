//! Chromium, driven through WebDriver.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use fantoccini::{
    Client, ClientBuilder, Locator, elements::Element, wd::WebDriverCompatibleCommand,
};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use url::{ParseError, Url};

use crate::site::Site;

/// How long a page may take to load.
const DEADLINE: Duration = Duration::from_secs(20);

fn driver() -> PathBuf {
    env::var_os("TEST_CHROMEDRIVER").map_or_else(|| "chromedriver".into(), PathBuf::from)
}

/// Returns whether the driver and the browser are installed.
pub(crate) fn is_installed() -> bool {
    let answers = |program: PathBuf| {
        let mut command = Command::new(program);
        let command = command
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    answers(driver()) && answers("chromium".into())
}

/// A browser that is signed in to a site.
pub(crate) struct Browser {
    pub(crate) client: Client,
    driver: Child,
    port: u16,
    session: String,
    origin: String,
}

impl Browser {
    pub(crate) async fn sign_in(site: &Site) -> Self {
        let mut driver = Command::new(driver())
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port: u16 = loop {
            let line = lines.next().expect("the driver prints its port").unwrap();
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                break port.trim_end_matches('.').parse().unwrap();
            }
        };
        let capabilities = json!({
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--disable-quic", "--no-first-run", "--disable-background-networking",
                "--disable-component-update", "--disable-sync", "--hide-scrollbars",
            ] },
        });
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities.as_object().unwrap().clone())
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .unwrap();
        let session = client.session_id().await.unwrap().unwrap();
        let browser = Self {
            client,
            driver,
            port,
            session,
            origin: site.url(""),
        };
        browser.devtools("Network.enable", json!({})).await;
        let headers = json!({ "headers": { "Authorization": site.credential } });
        browser
            .devtools("Network.setExtraHTTPHeaders", headers)
            .await;
        let permissions = json!({
            "origin": browser.origin,
            "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"],
        });
        browser
            .devtools("Browser.grantPermissions", permissions)
            .await;
        browser.resize(1280, 860, false).await;
        browser
    }

    /// Closes the browser, after checking that no page violated its content security policy.
    pub(crate) async fn close(self) {
        let log = self.client.issue_cmd(Log).await.unwrap();
        for entry in log.as_array().unwrap() {
            let said = entry["message"].as_str().unwrap();
            // Expected error responses, such as 401 and 422, are logged too.
            assert!(
                said.contains("the server responded with a status of"),
                "{said}"
            );
        }
        self.client.clone().close().await.unwrap();
    }

    pub(crate) async fn devtools(&self, method: &str, parameters: Value) -> Value {
        let command = DevTools {
            method: method.to_owned(),
            parameters,
        };
        self.client.issue_cmd(command).await.unwrap()
    }

    pub(crate) async fn resize(&self, width: u32, height: u32, narrow: bool) {
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": narrow,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
            .await;
    }

    pub(crate) async fn prefer(&self, scheme: &str) {
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    /// Emulates forced colors.
    pub(crate) async fn force_colors(&self) {
        let media = json!({ "features": [{ "name": "forced-colors", "value": "active" }] });
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    pub(crate) async fn goto(&self, path: &str) {
        self.client
            .goto(&format!("{}{path}", self.origin))
            .await
            .unwrap();
    }

    /// Returns the path of the page, with its query.
    pub(crate) async fn path(&self) -> String {
        let url = self.client.current_url().await.unwrap();
        url.as_str()
            .strip_prefix(&self.origin)
            .unwrap_or(url.as_str())
            .to_owned()
    }

    /// Returns the visible text of the page.
    pub(crate) async fn text(&self) -> String {
        self.find("body").await.text().await.unwrap()
    }

    /// Waits for an element.
    pub(crate) async fn find(&self, selector: &str) -> Element {
        let wait = self.client.wait().at_most(DEADLINE);
        match wait.for_element(Locator::Css(selector)).await {
            Ok(element) => element,
            Err(error) => panic!("no {selector}: {error}"),
        }
    }

    /// Waits for this page heading.
    pub(crate) async fn heading(&self, heading: &str) {
        let xpath = format!("//h1[normalize-space()=\"{heading}\"]");
        let wait = self.client.wait().at_most(DEADLINE);
        if let Err(error) = wait.for_element(Locator::XPath(&xpath)).await {
            panic!("no {heading}: {error} in {}", self.text().await);
        }
    }

    /// Clicks a button or a link with this text.
    pub(crate) async fn click(&self, text: &str) {
        let xpath = format!(
            "//*[self::button or self::a or self::summary or self::label][normalize-space()=\"{text}\"]"
        );
        let wait = self.client.wait().at_most(DEADLINE);
        let element = wait.for_element(Locator::XPath(&xpath)).await;
        element.expect(text).click().await.unwrap();
    }

    /// Replaces the value of a field.
    pub(crate) async fn fill(&self, selector: &str, text: &str) {
        let field = self.find(selector).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    pub(crate) async fn choose(&self, selector: &str, label: &str) {
        self.find(selector)
            .await
            .select_by_label(label)
            .await
            .unwrap();
    }

    /// Returns the content of the clipboard.
    pub(crate) async fn clipboard(&self) -> String {
        let script = "navigator.clipboard.readText().then(arguments[0], e => arguments[0](`${e}`))";
        let text = self.client.execute_async(script, vec![]).await.unwrap();
        text.as_str().unwrap().to_owned()
    }

    /// Takes a screenshot as PNG.
    pub(crate) async fn picture(&self) -> Vec<u8> {
        self.client.screenshot().await.unwrap()
    }
}

impl Drop for Browser {
    /// Ends the session, which closes the browser, and then the driver, even if the test failed.
    fn drop(&mut self) {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
            let request = format!(
                "DELETE /session/{} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
                self.session
            );
            let _ = stream.write_all(request.as_bytes());
            let _ = stream.read(&mut [0]);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// A command of the DevTools protocol.
#[derive(Debug)]
struct DevTools {
    method: String,
    parameters: Value,
}

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!(
            "session/{}/goog/cdp/execute",
            session.unwrap_or_default()
        ))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        let body = json!({ "cmd": self.method, "params": self.parameters });
        (Method::POST, Some(body.to_string()))
    }
}

/// Reads the browser's log.
#[derive(Debug)]
struct Log;

impl WebDriverCompatibleCommand for Log {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({ "type": "browser" }).to_string()))
    }
}
