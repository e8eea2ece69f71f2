//! The pages in a real Chromium, driven through chromedriver.
//!
//! A machine without them fails these tests and is told what to install: a page that nobody looked at is not tested.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use fantoccini::wd::{Capabilities, TimeoutConfiguration};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempDir};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::servers::DEADLINE;

/// A browser is several processes; more of them at once only make each other late.
static SEATS: Semaphore = Semaphore::const_new(2);

const NEEDED: &str = "the tests of the pages need the Debian packages `chromium` and `chromium-driver`\n\
                      hint: `tests/run` installs them, and so does `apt-get install chromium chromium-driver`";

/// Notes what must never happen on a page, from before its first script on.
const WITNESS: &str = "window.troubles = [];
    document.addEventListener('securitypolicyviolation', (event) =>
        troubles.push(`policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sample}`));
    window.addEventListener('error', (event) => troubles.push(`error: ${event.message}`));
    window.addEventListener('unhandledrejection', (event) => troubles.push(`rejection: ${event.reason}`));";

/// A browser with a profile of its own. It ends when dropped.
pub struct Browser {
    pub client: Client,
    session: String,
    driver: Arc<Driver>,
    _profile: TempDir,
    _seat: SemaphorePermit<'static>,
}

impl Browser {
    pub async fn start() -> Self {
        let seat = SEATS.acquire().await.unwrap();
        let driver = Driver::shared();
        let profile = tempfile::tempdir().unwrap();
        let mut flags: Vec<String> = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--window-size=1200,800",
        ]
        .map(str::to_owned)
        .into();
        flags.push(format!("--user-data-dir={}", profile.path().display()));
        let Value::Object(capabilities) = json!({
            "goog:chromeOptions": {"args": flags},
            "goog:loggingPrefs": {"browser": "ALL"},
        }) else {
            unreachable!("an object was written");
        };
        let client = connect(&driver, &capabilities).await;
        let session = client.session_id().await.unwrap().unwrap();
        let browser = Self { client, session, driver, _profile: profile, _seat: seat };
        browser.client.update_timeouts(impatient()).await.unwrap();
        browser.witness().await;
        browser
    }

    /// Watches for troubles in the present window, from its next page on.
    pub async fn witness(&self) {
        self.cdp("Page.addScriptToEvaluateOnNewDocument", json!({"source": WITNESS})).await;
    }

    /// Opens a target of a server.
    pub async fn open(&self, address: SocketAddr, target: &str) {
        self.goto(&format!("http://{address}{target}")).await;
    }

    pub async fn goto(&self, url: &str) {
        let opened = timeout(DEADLINE, self.client.goto(url)).await;
        opened.unwrap_or_else(|_| panic!("{url} did not load")).unwrap();
    }

    /// What a script's `return` gives.
    pub async fn run(&self, script: &str) -> Value {
        match timeout(DEADLINE, self.client.execute(script, Vec::new())).await {
            Ok(Ok(value)) => value,
            Ok(Err(error)) => panic!("{error} from the script {script}"),
            Err(_) => panic!("no answer from the page to the script {script}"),
        }
    }

    /// An expression's value.
    pub async fn value(&self, expression: &str) -> Value {
        self.run(&format!("return ({expression});")).await
    }

    /// The text of what a selector finds.
    pub async fn text(&self, selector: &str) -> String {
        let text = self.value(&format!("document.querySelector('{selector}').textContent")).await;
        text.as_str().unwrap().to_owned()
    }

    /// Waits until an expression is true.
    pub async fn until(&self, expression: &str) {
        let until = Instant::now() + DEADLINE;
        while self.value(expression).await != Value::Bool(true) {
            if Instant::now() > until {
                panic!("`{expression}`: not within {DEADLINE:?}; {}", self.report().await);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the state line says this.
    pub async fn until_state(&self, state: &str) {
        self.until(&format!("document.querySelector('#state')?.dataset.state === '{state}'")).await;
    }

    /// The texts of the rows on the page.
    pub async fn rows(&self) -> Vec<String> {
        let rows = self
            .value("[...document.querySelectorAll('#rows .row')].map((row) => row.textContent)")
            .await;
        serde_json::from_value(rows).unwrap()
    }

    /// Waits until the rows are these, and no others.
    pub async fn until_rows(&self, wanted: &[String]) {
        let until = Instant::now() + DEADLINE;
        loop {
            let rows = self.rows().await;
            if rows == wanted {
                return;
            }
            if Instant::now() > until {
                let same = rows.iter().zip(wanted).take_while(|(row, wanted)| row == wanted);
                let at = same.count();
                panic!(
                    "{} rows instead of {}; the first difference is at {at}: {:?} instead of {:?}; {}",
                    rows.len(),
                    wanted.len(),
                    rows.get(at),
                    wanted.get(at),
                    self.report().await
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn click(&self, selector: &str) {
        self.client.find(Locator::Css(selector)).await.unwrap().click().await.unwrap();
    }

    /// Turns the wheel over the middle of the window; negative is up.
    pub async fn wheel(&self, pixels: i32) {
        let wheel =
            json!({"type": "mouseWheel", "x": 600, "y": 300, "deltaX": 0, "deltaY": pixels});
        self.cdp("Input.dispatchMouseEvent", wheel).await;
    }

    /// Says how the system is set: `light` or `dark`.
    pub async fn prefer(&self, scheme: &str) {
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        self.cdp("Emulation.setEmulatedMedia", json!({"features": [feature]})).await;
    }

    /// Sets the size of the page's window, in CSS pixels.
    pub async fn resize(&self, width: u32, height: u32) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.cdp("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// A command of the Chrome DevTools Protocol.
    pub async fn cdp(&self, method: &str, parameters: Value) -> Value {
        self.command("goog/cdp/execute", &json!({"cmd": method, "params": parameters})).await
    }

    /// Fails if a script failed or the page's policy was violated.
    pub async fn assert_no_trouble(&self) {
        let troubles = self.value("window.troubles ?? []").await;
        assert_eq!(troubles, json!([]), "{}", self.report().await);
        let log = self.log().await;
        // An answer that is no 200 and a connection that broke are in the log too; those come from the network.
        let bad: Vec<&Value> = log
            .as_array()
            .unwrap()
            .iter()
            .filter(|entry| entry["source"] != "network")
            .filter(|entry| entry["level"] == "SEVERE" || entry["source"] == "security")
            .filter(|entry| !entry["message"].as_str().unwrap().contains("WebSocket connection to"))
            .collect();
        assert!(bad.is_empty(), "{bad:#?}");
    }

    /// The browser's own log since it was last asked.
    async fn log(&self) -> Value {
        self.command("se/log", &json!({"type": "browser"})).await
    }

    /// All that helps to understand a failure.
    async fn report(&self) -> String {
        let seen = self
            .run(
                "const text = (selector) => document.querySelector(selector)?.textContent;
                 const rows = [...document.querySelectorAll('#rows .row, #rows .mark')];
                 return {url: location.href, title: document.title, state: text('#state'), notice: text('#notice'),
                         button: text('#new-lines'), rows: rows.length,
                         last: rows.slice(-10).map((row) => row.outerHTML), troubles: window.troubles,
                         body: rows.length ? undefined : document.body.innerText.slice(0, 1000)};",
            )
            .await;
        format!("the page: {seen:#}; the browser's log: {:#}", self.log().await)
    }

    /// A WebDriver command that the crate has no words for.
    async fn command(&self, path: &str, parameters: &Value) -> Value {
        let driver = Arc::clone(&self.driver);
        let target = format!("/session/{}/{path}", self.session);
        let body = parameters.to_string();
        let asking = tokio::task::spawn_blocking(move || driver.ask("POST", &target, &body));
        let mut answer = asking.await.unwrap().unwrap();
        assert!(answer["value"]["error"].is_null(), "{path} {parameters}: {answer:#}");
        answer["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Also after a failed test, and without a runtime to wait in.
        let target = format!("/session/{}", self.session);
        if let Err(error) = self.driver.ask("DELETE", &target, "") {
            tracing::debug!(%error, "can't end the browser");
        }
    }
}

async fn connect(driver: &Driver, capabilities: &Capabilities) -> Client {
    let url = format!("http://{}", driver.address);
    let mut builder = ClientBuilder::new(HttpConnector::new());
    builder.capabilities(capabilities.clone());
    match timeout(2 * DEADLINE, builder.connect(&url)).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => panic!("can't start Chromium: {error}\n{NEEDED}"),
        Err(_) => panic!("Chromium did not start; chromedriver said: {}", driver.said()),
    }
}

/// No command of a test takes longer than a test may wait.
fn impatient() -> TimeoutConfiguration {
    TimeoutConfiguration::new(Some(DEADLINE), Some(DEADLINE), None)
}

/// One chromedriver for all browsers of this process, as long as there is one.
struct Driver {
    child: Child,
    address: SocketAddr,
    output: NamedTempFile,
}

impl Driver {
    fn shared() -> Arc<Self> {
        static RUNNING: Mutex<Weak<Driver>> = Mutex::new(Weak::new());
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.upgrade().unwrap_or_else(|| {
            let driver = Arc::new(Self::start());
            *running = Arc::downgrade(&driver);
            driver
        })
    }

    fn start() -> Self {
        let output = NamedTempFile::new().unwrap();
        let child = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(output.reopen().unwrap())
            .stderr(output.reopen().unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("can't run `chromedriver`: {error}\n{NEEDED}"));
        let mut driver = Self { child, address: ([127, 0, 0, 1], 0).into(), output };
        let until = Instant::now() + DEADLINE;
        loop {
            let said = driver.said();
            let port = said.lines().find_map(|line| {
                line.split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok()
            });
            if let Some(port) = port {
                driver.address.set_port(port);
                return driver;
            }
            let ended = driver.child.try_wait().unwrap();
            assert!(ended.is_none(), "chromedriver ended with {ended:?}: {said}\n{NEEDED}");
            assert!(Instant::now() < until, "chromedriver did not say its port: {said}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn said(&self) -> String {
        let mut said = String::new();
        self.output.reopen().unwrap().read_to_string(&mut said).unwrap();
        said
    }

    /// Asks the driver itself, without a runtime. It leaves connections open, so its answer is read by its length.
    fn ask(&self, method: &str, target: &str, body: &str) -> std::io::Result<Value> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        write!(
            stream,
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().map_err(std::io::Error::other)?;
                }
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer)?;
        Ok(serde_json::from_slice(&answer)?)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
