//! `/_/metrics` and `/_/readyz`, and the files for Prometheus that rely on them.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use tailcast::serve::Settings;
use tokio::time::timeout;

use crate::clients::{Answer, Streaming, Viewer, get};
use crate::servers::{DEADLINE, TestServer, append, eventually, not_run};
use crate::transport::encrypted;

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy");

async fn scrape(server: &TestServer) -> Answer {
    get(server.address, "/_/metrics", &[]).await
}

/// The samples of a scrape: name and labels, and the value.
pub async fn samples(address: SocketAddr) -> BTreeMap<String, f64> {
    let answer = get(address, "/_/metrics", &[]).await;
    assert_eq!(answer.status, 200);
    let text = answer.text();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(sample).collect()
}

/// Waits until samples have these values.
pub async fn expect(address: SocketAddr, wanted: &[(&str, f64)]) {
    eventually(&format!("{wanted:?}"), async || {
        let samples = samples(address).await;
        let other = wanted.iter().find(|(name, value)| samples.get(*name) != Some(value));
        other.map_or(Ok(()), |(name, _)| Err(format!("{name} is {:?}", samples.get(*name))))
    })
    .await;
}

/// Receives messages until one has this text.
pub async fn until(viewer: &mut Viewer, text: &str) {
    let received = async { while !viewer.text().await.contains(text) {} };
    timeout(DEADLINE, received).await.unwrap_or_else(|_| panic!("no {text}"));
}

/// A program of the `prometheus` package.
fn promtool() -> Option<Command> {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/promtool/usr/bin/promtool");
    let named = [unpacked.as_path(), Path::new("/usr/bin/promtool")];
    named.into_iter().find(|file| file.exists()).map(Command::new)
}

/// Asserts that `promtool`, if it is there, finds nothing wrong with the text of a scrape.
pub fn promtool_finds_nothing_wrong(text: &str) {
    let Some(mut check) = promtool() else {
        not_run("promtool's check of metrics", "there is no `promtool`");
        return;
    };
    let mut checking = check
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    checking.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let checked = checking.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && said.is_empty(), "{said}\n{text}");
}

#[tokio::test]
async fn viewers_lines_and_bytes_are_counted() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "old\n");
    let path = server.path("a.log");
    let mut first = Viewer::v1(server.address, &format!("{log}?tail=1")).await;
    let mut second = Viewer::original(server.address, &format!("{log}?tail=1&format=text")).await;
    let mut events = Streaming::get(
        server.address,
        &format!("{log}?tail=1"),
        &[("accept", "text/event-stream")],
    )
    .await;
    events.read_until("old\"]]}\n\n").await;
    until(&mut first, "old").await;
    until(&mut second, "old").await;
    expect(
        server.address,
        &[
            ("tailcast_viewers{transport=\"websocket\"}", 2.0),
            ("tailcast_viewers{transport=\"events\"}", 1.0),
            ("tailcast_viewers_behind", 0.0),
        ],
    )
    .await;
    let before = samples(server.address).await;
    append(&path, "one\ntwo\n");
    until(&mut first, "two").await;
    until(&mut second, "two").await;
    events.read_until("two\"]]}\n\n").await;
    let grown = |name: &str, after: &BTreeMap<String, f64>| {
        let value = |samples: &BTreeMap<String, f64>| samples.get(name).copied();
        let before = value(&before).unwrap_or_else(|| panic!("no {name}"));
        value(after).unwrap() - before
    };
    let after = samples(server.address).await;
    assert_eq!(grown("tailcast_log_lines_total", &after), 2.0);
    assert_eq!(grown("tailcast_log_bytes_total", &after), 8.0);
    assert!(grown("tailcast_sent_bytes_total{transport=\"websocket\"}", &after) >= 16.0);
    assert!(grown("tailcast_sent_bytes_total{transport=\"events\"}", &after) >= 8.0);
    assert!(grown("tailcast_sent_messages_total", &after) >= 2.0);
    // Each of the two protocols has a group of its own.
    eventually("both groups are counted", async || {
        let counted = grown("tailcast_delivery_seconds_count", &samples(server.address).await);
        (counted >= 2.0).then_some(()).ok_or(counted)
    })
    .await;
    let followed = ["events", "polling"]
        .map(|watched| after[&format!("tailcast_logs_followed{{watched=\"{watched}\"}}")]);
    assert_eq!(followed.iter().sum::<f64>(), 1.0, "{followed:?}");
    drop((first, second, events));
    expect(
        server.address,
        &[
            ("tailcast_viewers{transport=\"websocket\"}", 0.0),
            ("tailcast_viewers{transport=\"events\"}", 0.0),
        ],
    )
    .await;
}

#[tokio::test]
async fn rotations_truncations_and_refusals_are_counted_by_reason() {
    let server = TestServer::with(Settings { max_viewers: 1, ..Settings::default() }).await;
    let log = server.log("a.log", "old\n");
    let path = server.path("a.log");
    let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1")).await;
    until(&mut viewer, "old").await;
    std::fs::rename(&path, server.path("a.log.1")).unwrap();
    append(&path, "rotated\n");
    until(&mut viewer, "rotated").await;
    std::fs::File::create(&path).unwrap();
    append(&path, "cut\n");
    until(&mut viewer, "cut").await;
    let full = Viewer::v1(server.address, &log).await.rest().await;
    assert_eq!(full.1.unwrap().0, 1013);
    let asked = async |target: &str, headers: &[(&str, &str)]| {
        get(server.address, target, headers).await.status
    };
    assert_eq!(asked("/etc/passwd", &[]).await, 403);
    assert_eq!(asked(&format!("{log}.missing"), &[]).await, 404);
    assert_eq!(asked(&log, &[("origin", "http://evil.example")]).await, 403);
    let refusals = |reason: &str| format!("tailcast_refusals_total{{reason=\"{reason}\"}}");
    expect(
        server.address,
        &[
            ("tailcast_resets_total{reason=\"rotated\"}", 1.0),
            ("tailcast_resets_total{reason=\"truncated\"}", 1.0),
            ("tailcast_gaps_total", 0.0),
            (&refusals("full"), 1.0),
            (&refusals("forbidden"), 1.0),
            (&refusals("not_found"), 1.0),
            (&refusals("origin"), 1.0),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_viewer_that_reads_nothing_is_behind_by_what_the_log_grows() {
    const BYTES: usize = 64 << 20;
    let server = TestServer::start().await;
    let log = server.log("a.log", "x\n".repeat(BYTES / 2));
    let _unread = Streaming::get(server.address, &format!("{log}?tail=1&from=0"), &[]).await;
    let (mut behind, mut before) = (0.0, 0.0);
    // It gets no more once the socket is full.
    eventually("it is behind, and the socket is full", async || {
        let samples = samples(server.address).await;
        before = std::mem::replace(&mut behind, samples["tailcast_behind_bytes"]);
        assert_eq!(samples["tailcast_behind_max_bytes"], behind);
        let is_behind = samples["tailcast_viewers_behind"] == 1.0 && behind > BYTES as f64 / 2.0;
        (is_behind && behind == before).then_some(()).ok_or(behind)
    })
    .await;
    append(server.path("a.log"), "y\n".repeat(500));
    expect(server.address, &[("tailcast_behind_bytes", behind + 1000.0)]).await;
}

#[tokio::test]
async fn no_sample_names_a_log() {
    let server = TestServer::start().await;
    let log = server.log("of-a-secret-project.log", "x\n");
    let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1")).await;
    until(&mut viewer, "x").await;
    let text = scrape(&server).await.text();
    assert!(text.contains("tailcast_viewers{"), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test]
async fn the_format_is_what_the_scraper_accepts() {
    let server = TestServer::start().await;
    let plain = scrape(&server).await;
    assert_eq!(plain.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(!plain.text().contains("# EOF"));
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    let open = get(server.address, "/_/metrics", &[("accept", accept)]).await;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(open.header("content-type"), Some(content_type));
    assert!(open.text().ends_with("# EOF\n"));
    assert_eq!(open.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn promtool_finds_nothing_wrong_with_the_metrics_and_the_alerts() {
    if promtool().is_none() {
        not_run("promtool's checks of metrics and alerts", "there is no `promtool`");
        return;
    }
    let server = TestServer::start().await;
    let log = server.log("a.log", "x\n");
    let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1")).await;
    until(&mut viewer, "x").await;
    get(server.address, "/etc/passwd", &[]).await;
    promtool_finds_nothing_wrong(&scrape(&server).await.text());
    let rules = format!("{DEPLOY}/alerts.yml");
    let checked = promtool().unwrap().args(["check", "rules", &rules]).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[tokio::test]
async fn dashboard_and_alerts_use_metrics_that_exist() {
    // With a certificate, whose metric is there then.
    let server = TestServer::with(encrypted()).await;
    let log = server.log("a.log", "x\n");
    let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1")).await;
    until(&mut viewer, "x").await;
    get(server.address, "/etc/passwd", &[]).await;
    let text = scrape(&server).await.text();
    let names = |text: &str| -> Vec<String> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let words = text.split(|c: char| !is_part(c));
        let ours =
            words.filter(|word| word.starts_with("tailcast_") || word.starts_with("process_"));
        ours.map(str::to_owned).collect()
    };
    let there = names(&text);
    for file in ["grafana.json", "alerts.yml"] {
        let content = std::fs::read_to_string(format!("{DEPLOY}/{file}")).unwrap();
        let used = names(&content);
        assert!(used.len() > 5, "{file} uses {used:?}");
        for name in used {
            assert!(there.contains(&name), "{file} uses {name}, which does not exist");
        }
    }
    let dashboard = std::fs::read(format!("{DEPLOY}/grafana.json")).unwrap();
    serde_json::from_slice::<serde_json::Value>(&dashboard).unwrap();
}

#[tokio::test]
async fn a_server_is_ready_while_it_takes_viewers() {
    let server = TestServer::with(Settings { max_viewers: 1, ..Settings::default() }).await;
    let log = server.log("a.log", "x\n");
    let ready = async || {
        let answer = get(server.address, "/_/readyz", &[("host", "balancer.example")]).await;
        (answer.status, answer.text())
    };
    assert_eq!(ready().await, (200, "{\"status\":\"ready\"}".to_owned()));
    let viewer = Viewer::v1(server.address, &format!("{log}?tail=1")).await;
    assert_eq!(ready().await, (503, "{\"status\":\"full\"}".to_owned()));
    drop(viewer);
    eventually("it is ready again", async || {
        let (status, text) = ready().await;
        (status == 200).then_some(()).ok_or(text)
    })
    .await;
}
