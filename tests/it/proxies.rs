//! A server behind proxies: what is believed of them, and the documented configurations with the
//! real programs.

mod real;
mod sign_in;

use std::cell::Cell;
use std::time::{Duration, Instant};

use tailcast::log::Access;
use tailcast::serve::Settings;

use crate::clients::{Viewer, get};
use crate::servers::{Program, TestServer, append, eventually, target};
use real::{Kind, Proxy};

/// Settings that trust the peers of these tests.
fn trusting(settings: Settings) -> Settings {
    Settings { trusted_proxies: vec!["127.0.0.1".parse().unwrap()], ..settings }
}

#[tokio::test]
async fn log_lines_name_the_client_of_a_trusted_proxy_and_nobody_whom_another_peer_names() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("a.log");
    append(&log, "x\n");
    let log = target(&log);
    let served = directory.path().to_str().unwrap();
    let headers = [("X-Forwarded-For", "6.6.6.6, 192.0.2.7"), ("X-Forwarded-Host", "localhost")];
    let trusting = Program::serve(&[served, "--trusted-proxy", "127.0.0.0/8"]);
    assert_eq!(get(trusting.address, &log, &headers).await.status, 200);
    Viewer::connect(trusting.address, &log, &[("x-forwarded-for", "192.0.2.8")])
        .await
        .unwrap()
        .0
        .rest()
        .await;
    get(trusting.address, "/etc/passwd", &headers).await;
    let said = trusting.said();
    for line in
        ["viewer came remote=192.0.2.7", "viewer came remote=192.0.2.8", "refused remote=192.0.2.7"]
    {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(!said.contains("6.6.6.6"), "{said}");
    let other =
        Program::serve(&[served, "--trusted-proxy", "192.0.2.0/24", "--trusted-proxy", "unix"]);
    assert_eq!(get(other.address, &log, &headers).await.status, 200);
    let said = other.said();
    assert!(
        said.contains("viewer came remote=127.0.0.1:") && !said.contains("192.0.2.7"),
        "{said}"
    );
}

#[tokio::test]
async fn the_origin_is_compared_with_the_forwarded_host_of_a_trusted_proxy_only() {
    let settings = Settings { allow_hosts: vec!["logs.example".into()], ..Settings::default() };
    let headers = [
        ("X-Forwarded-Host", "logs.example"),
        ("X-Forwarded-Proto", "https"),
        ("Origin", "https://logs.example"),
    ];
    let status = async |settings: Settings, headers: &[(&str, &str)]| {
        let server = TestServer::with(settings).await;
        let log = server.log("a.log", "x\n");
        get(server.address, &log, headers).await.status
    };
    assert_eq!(status(trusting(settings.clone()), &headers).await, 200);
    assert_eq!(status(settings.clone(), &headers).await, 403);
    let foreign = [("X-Forwarded-Host", "evil.example"), ("Origin", "https://evil.example")];
    assert_eq!(status(trusting(settings.clone()), &foreign).await, 421);
    assert_eq!(status(settings, &foreign).await, 403);
}

#[tokio::test]
async fn a_trusted_proxy_that_removes_the_base_can_say_so() {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path().to_str().unwrap().to_owned();
    let log = directory.path().join("a.log");
    append(&log, "inside\n");
    // Both `/a.log` and the whole path lie inside this prefix.
    let access = Access::new(["/"]).unwrap();
    let settings = Settings { base_path: base.parse().unwrap(), ..Settings::default() };
    let server = TestServer::over(directory, access, trusting(settings)).await;
    let log = target(&log);
    let removed = [("X-Forwarded-Prefix", base.as_str())];
    let told = get(server.address, &log, &removed).await;
    assert_eq!((told.status, told.text().as_str()), (200, "inside\n"));
    assert_eq!(get(server.address, &log, &[]).await.status, 404, "it is `/a.log`");
    assert_eq!(get(server.address, &format!("{base}{log}"), &[]).await.text(), "inside\n");
}

/// Runs a test with a real proxy, if it is installed.
async fn with(kind: Kind, test: &str, play: impl AsyncFnOnce(Proxy)) {
    match Proxy::before_a_server(kind).await {
        Some(proxy) => play(proxy).await,
        None => crate::servers::not_run(
            &format!("proxies::{test}"),
            &format!("there is no `{}`", kind.program()),
        ),
    }
}

/// The page, its scripts, find and streams through a proxy.
async fn everything_passes(proxy: Proxy) {
    let log = proxy.log("a.log", "first\nERROR: it failed\n");
    let html = [("Accept", "text/html")];
    let page = proxy.get(&log, &html).await;
    assert_eq!(page.status, 200, "{page:?}");
    let script = page.text().split("src=\"").find_map(|rest| {
        rest.split('"')
            .next()
            .filter(|address| address.ends_with("viewer/main.js"))
            .map(str::to_owned)
    });
    let script = script.expect("the page has its script");
    assert!(script.starts_with("/logs/_/page/"), "{script}");
    assert_eq!(proxy.get_at(&script, &[]).await.status, 200);
    let list = proxy.get("/_/logs", &[]).await.text();
    assert!(list.contains("\"/logs/"), "{list}");
    let found = proxy.get(&format!("/_/find{log}?q=failed"), &[]).await;
    assert!(found.status == 200 && found.text().contains("\"rows\""), "{found:?}");
    assert_eq!(proxy.get(&log, &[]).await.text(), "first\nERROR: it failed\n");
    assert_eq!(proxy.get("/etc/passwd", &[]).await.status, 403);
    // The names of logs pass unchanged.
    let odd = proxy.log("a+b &%c é.log", "odd\n");
    assert_eq!(proxy.get(&odd, &[]).await.text(), "odd\n", "{odd}");
    // The page's origin is the server's own, and another one is not.
    let origin = proxy.origin();
    assert_eq!(proxy.get(&log, &[("Origin", &origin)]).await.status, 200);
    let foreign = [("Origin", "https://evil.example")];
    assert_eq!(proxy.get(&log, &foreign).await.status, 403);
    // Nothing is buffered: each line comes while the stream is open.
    proxy.follows_without_delay(&log).await;
    // What the client says of itself is not believed.
    let spoofed = [
        ("X-Forwarded-For", "6.6.6.6"),
        ("Forwarded", "for=6.6.6.6;host=evil.example"),
        ("X-Forwarded-Prefix", "/logs"),
    ];
    assert_eq!(proxy.get(&log, &spoofed).await.text(), "first\nERROR: it failed\n");
    let said = proxy.server.said();
    assert!(said.contains("remote=127.0.0.1 ") && !said.contains("6.6.6.6"), "{said}");
}

#[tokio::test]
async fn everything_passes_through_nginx() {
    with(Kind::Nginx, "everything_passes_through_nginx", everything_passes).await;
}

#[tokio::test]
async fn everything_passes_through_haproxy() {
    with(Kind::Haproxy, "everything_passes_through_haproxy", everything_passes).await;
}

#[tokio::test]
async fn everything_passes_through_caddy() {
    with(Kind::Caddy, "everything_passes_through_caddy", everything_passes).await;
}

/// A silent WebSocket outlives the proxy's idle timeout, thanks to the heartbeats and to nothing
/// else.
async fn silence_is_outlived(mut proxy: Proxy) {
    let log = proxy.log("a.log", "first\n");
    let mut viewer = proxy.follow(&log).await;
    viewer.read_until("first\n").await;
    viewer.wait_for_heartbeats(real::HEARTBEATS_IN_THREE_TIMEOUTS).await;
    append(proxy.path("a.log"), "after the silence\n");
    viewer.read_until("first\nafter the silence\n").await;
    proxy.serve_again(&["--heartbeat", "0"]);
    let mut viewer = proxy.follow(&log).await;
    viewer.read_until("first\nafter the silence\n").await;
    viewer.is_cut().await;
}

#[tokio::test]
async fn a_silent_log_is_followed_for_longer_than_the_idle_timeout_of_nginx() {
    let name = "a_silent_log_is_followed_for_longer_than_the_idle_timeout_of_nginx";
    with(Kind::Nginx, name, silence_is_outlived).await;
}

#[tokio::test]
async fn a_silent_log_is_followed_for_longer_than_the_idle_timeout_of_haproxy() {
    let name = "a_silent_log_is_followed_for_longer_than_the_idle_timeout_of_haproxy";
    with(Kind::Haproxy, name, silence_is_outlived).await;
}

/// A client that is cut off by the proxy's reload goes on at the next byte.
/// A proxy that is not reloaded after this time is told once more: on a busy machine the first signal
/// had no effect once.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);

async fn a_reload_is_survived(proxy: Proxy) {
    let log = proxy.log("a.log", "first\n");
    let tail = proxy.tail(&log);
    tail.prints("first\n").await;
    for round in 0..2 {
        proxy.reload().await;
        let reloaded = Cell::new(Instant::now());
        append(proxy.path("a.log"), format!("after reload {round}\n"));
        eventually("it connects again", async || {
            let said = tail.said();
            if said.matches("connected again").count() > round {
                return Ok(());
            }
            if reloaded.get().elapsed() > RELOAD_INTERVAL {
                reloaded.set(Instant::now());
                proxy.reload().await;
            }
            Err(said)
        })
        .await;
        append(proxy.path("a.log"), format!("later {round}\n"));
        tail.prints(std::fs::read_to_string(proxy.path("a.log")).unwrap()).await;
    }
}

#[tokio::test]
async fn a_viewer_resumes_after_a_reload_of_nginx() {
    with(Kind::Nginx, "a_viewer_resumes_after_a_reload_of_nginx", a_reload_is_survived).await;
}

#[tokio::test]
async fn a_viewer_resumes_after_a_reload_of_haproxy() {
    with(Kind::Haproxy, "a_viewer_resumes_after_a_reload_of_haproxy", a_reload_is_survived).await;
}
