//! The screenshots of the README: `cargo test --test it -- --ignored makes_the_screenshots_of_the_readme`.

use std::path::Path;
use std::time::{Duration, SystemTime};

use fantoccini::Locator;
use serde_json::json;
use tailcast::log::Access;
use tailcast::serve::Settings;

use crate::browser::Browser;
use crate::servers::{TestServer, append};

const BUILD: &str = "build/weather-station.log";

/// What a build of a small program says.
fn build_log() -> String {
    const CRATES: [&str; 36] = [
        "proc-macro2 v1.0.103",
        "unicode-ident v1.0.22",
        "quote v1.0.42",
        "libc v0.2.177",
        "cfg-if v1.0.4",
        "memchr v2.8.1",
        "bytes v1.12.1",
        "itoa v1.0.15",
        "pin-project-lite v0.2.16",
        "smallvec v1.15.1",
        "once_cell v1.21.3",
        "futures-core v0.3.31",
        "autocfg v1.5.0",
        "fnv v1.0.7",
        "http v1.4.0",
        "serde_core v1.0.228",
        "mio v1.1.0",
        "socket2 v0.6.5",
        "tokio v1.54.1",
        "httparse v1.10.1",
        "futures-task v0.3.31",
        "http-body v1.0.1",
        "rustix v1.1.6",
        "bitflags v2.10.0",
        "hyper v1.12.0",
        "tracing-core v0.1.36",
        "serde_json v1.0.145",
        "hashbrown v0.14.5",
        "dashmap v6.2.1",
        "inotify v0.11.0",
        "notify v8.2.2",
        "syn v2.0.110",
        "serde_derive v1.0.228",
        "tokio-macros v2.8.0",
        "clap v4.6.1",
        "tungstenite v0.30.0",
    ];
    let mut log = String::from("$ cargo test --color always\n");
    for name in CRATES {
        log += &format!("\x1b[1m\x1b[92m   Compiling\x1b[0m {name}\n");
    }
    log + "\x1b[1m\x1b[92m   Compiling\x1b[0m weather-station v0.4.0 (/srv/build/weather-station)\n\
           \x1b[1m\x1b[33mwarning\x1b[0m\x1b[1m: unused variable: `humidity`\x1b[0m\n  \
           \x1b[1m\x1b[94m--> \x1b[0msrc/sensor.rs:48:9\n   \
           \x1b[1m\x1b[94m|\x1b[0m\n\
           \x1b[1m\x1b[94m48\x1b[0m \x1b[1m\x1b[94m|\x1b[0m     let humidity = self.bus.read(HUMIDITY)?;\n   \
           \x1b[1m\x1b[94m|\x1b[0m         \x1b[1m\x1b[33m^^^^^^^^\x1b[0m \x1b[1m\x1b[33mhelp: if this is intentional, prefix it with an underscore: `_humidity`\x1b[0m\n   \
           \x1b[1m\x1b[94m|\x1b[0m\n   \
           \x1b[1m\x1b[94m= \x1b[0m\x1b[1mnote\x1b[0m: `#[warn(unused_variables)]` on by default\n\n\
           \x1b[1m\x1b[92m    Finished\x1b[0m `test` profile [unoptimized + debuginfo] target(s) in 38.12s\n\
           \x1b[1m\x1b[92m     Running\x1b[0m unittests src/lib.rs (target/debug/deps/weather_station-5f0c1d22e9a7b8c3)\n\n\
           running 7 tests\n\
           test bus::tests::a_frame_with_a_bad_checksum_is_dropped ... \x1b[32mok\x1b[0m\n\
           test bus::tests::a_silent_sensor_times_out ... \x1b[32mok\x1b[0m\n\
           test sensor::tests::a_reading_keeps_its_unit ... \x1b[32mok\x1b[0m\n\
           test sensor::tests::calibration_survives_a_restart ... \x1b[32mok\x1b[0m\n\
           test sensor::tests::dew_point_below_zero ... \x1b[31mFAILED\x1b[0m\n\
           test store::tests::rows_come_back_in_order ... \x1b[32mok\x1b[0m\n\
           test upload::tests::needs_the_network ... \x1b[33mignored\x1b[0m\n\n\
           failures:\n\n\
           ---- sensor::tests::dew_point_below_zero stdout ----\n\n\
           thread 'sensor::tests::dew_point_below_zero' panicked at src/sensor.rs:112:9:\n\
           assertion `left == right` failed\n  \
           left: \x1b[31m-3.4\x1b[0m\n \
           right: \x1b[32m-3.5\x1b[0m\n\n\
           test result: \x1b[31mFAILED\x1b[0m. 5 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.21s\n\n\
           \x1b[1m\x1b[91merror\x1b[0m: test failed, to rerun pass `--lib`\n"
}

/// A server of logs as a small machine has them.
async fn machine() -> TestServer {
    // A place with a name for people.
    let directory =
        tempfile::Builder::new().prefix("logs").rand_bytes(0).tempdir_in("/tmp").unwrap();
    let place = |name: &str| directory.path().join(name);
    let many = |line: &str, times: usize| line.repeat(times);
    for (name, content, age) in [
        (BUILD, build_log(), 0),
        ("nginx/access.log", many("192.0.2.7 GET /forecast 200\n", 94_000), 3),
        ("app/worker-1.log", many("job done\n", 40_000), 42),
        ("app/worker-2.log", many("job done\n", 31_000), 190),
        ("nginx/error.log", many("upstream timed out\n", 210), 1_500),
        ("postgresql/postgresql-16-main.log", many("checkpoint complete\n", 8_400), 7_300),
        ("backup/2026-11-22.log", many("copied\n", 1_200), 64_000),
        ("app/worker-1.log.1", many("job done\n", 900_000), 90_000),
        ("installer/first boot.log", many("ok\n", 700), 19 * 86_400),
    ] {
        let path = place(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        append(&path, content);
        let file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
    }
    let access = Access::new([directory.path()]).unwrap();
    TestServer::over(directory, access, Settings::default()).await
}

/// Saves what the window shows, and says how large the picture is.
#[expect(clippy::print_stdout, reason = "it is a command as much as a test")]
async fn shoot(browser: &Browser, name: &str) {
    // A row under the pointer is lit.
    let away = json!({"type": "mouseMoved", "x": 0, "y": 0});
    browser.cdp("Input.dispatchMouseEvent", away).await;
    let picture = browser.client.screenshot().await.unwrap();
    let folder = std::env::var("TAILCAST_SCREENSHOTS")
        .unwrap_or_else(|_| format!("{}/docs", env!("CARGO_MANIFEST_DIR")));
    std::fs::create_dir_all(&folder).unwrap();
    let path = Path::new(&folder).join(name);
    std::fs::write(&path, &picture).unwrap();
    println!("{}: {} KiB", path.display(), picture.len() / 1024);
}

/// Opens the build's log while its last lines are written.
async fn open_build(browser: &Browser, server: &TestServer) {
    let log = server.path(BUILD);
    let whole = build_log();
    let (before, last) = whole.split_at(whole.find("test result").unwrap());
    std::fs::write(&log, before).unwrap();
    browser.open(server.address, log.to_str().unwrap()).await;
    browser.until_state("live").await;
    append(&log, last);
    browser
        .until(
            "[...document.querySelectorAll('#rows .row')].at(-1)?.textContent.startsWith('error')",
        )
        .await;
    browser.until("document.querySelector('#age').textContent.startsWith('last line')").await;
}

#[tokio::test]
#[ignore = "it writes into docs/; run it by name"]
async fn makes_the_screenshots_of_the_readme() {
    let server = machine().await;
    let browser = Browser::start().await;
    browser.resize(1200, 750).await;
    for (scheme, viewer) in [("light", "viewer.png"), ("dark", "viewer-dark.png")] {
        browser.prefer(scheme).await;
        open_build(&browser, &server).await;
        shoot(&browser, viewer).await;
    }
    // Opened beside the viewer, so that the list shows that somebody watches.
    let list = browser.client.new_window(true).await.unwrap().handle;
    browser.client.switch_to_window(list).await.unwrap();
    browser.resize(1200, 750).await;
    browser.prefer("light").await;
    browser.open(server.address, "/").await;
    browser.until("document.querySelectorAll('#logs tr').length === 9").await;
    shoot(&browser, "list.png").await;
}

/// Pictures of every state, wide and narrow, light and dark: for a person to look at after a change of the pages.
#[tokio::test]
#[ignore = "its pictures are for a person: name their folder in TAILCAST_SCREENSHOTS"]
async fn makes_pictures_of_every_state() {
    if std::env::var_os("TAILCAST_SCREENSHOTS").is_none() {
        return;
    }
    let server = machine().await;
    let browser = Browser::start().await;
    let target = |name: &str| server.path(name).display().to_string();
    for (width, height) in [(1200, 750), (390, 760)] {
        for scheme in ["light", "dark"] {
            browser.resize(width, height).await;
            browser.prefer(scheme).await;
            let picture = |state: &str| format!("{state}-{width}-{scheme}.png");
            browser.open(server.address, "/").await;
            browser.until("document.querySelectorAll('#logs tr').length >= 9").await;
            shoot(&browser, &picture("list")).await;
            browser
                .client
                .find(Locator::Css("#filter"))
                .await
                .unwrap()
                .send_keys("nothing like it")
                .await
                .unwrap();
            shoot(&browser, &picture("list-no-match")).await;
            open_build(&browser, &server).await;
            shoot(&browser, &picture("viewer")).await;
            browser.run("document.querySelector('#follow').click()").await;
            append(target(BUILD), "and another line that was written meanwhile\n".repeat(1234));
            browser
                .until(
                    "document.querySelector('#new-lines-count').textContent === '1,234 new lines'",
                )
                .await;
            shoot(&browser, &picture("paused")).await;
            browser.run("document.querySelector('#help-open').click()").await;
            shoot(&browser, &picture("help")).await;

            let log = target("marks.log");
            append(&log, "before the rotation\n");
            browser.open(server.address, &log).await;
            browser.until_state("live").await;
            std::fs::rename(&log, server.path("marks.log.1")).unwrap();
            append(&log, "after the rotation, before the truncation\n");
            browser.until("document.querySelectorAll('.mark[data-mark]').length === 1").await;
            std::fs::write(&log, "after the truncation\n").unwrap();
            browser.until("document.querySelectorAll('.mark[data-mark]').length === 2").await;
            shoot(&browser, &picture("marks")).await;
            std::fs::remove_file(&log).unwrap();
            std::fs::remove_file(server.path("marks.log.1")).unwrap();

            append(target("empty.log"), "");
            browser.open(server.address, &target("empty.log")).await;
            browser.until_state("live").await;
            shoot(&browser, &picture("empty")).await;
            browser.open(server.address, &target("not-yet.log")).await;
            browser.until_state("waiting").await;
            shoot(&browser, &picture("waiting")).await;
            browser.open(server.address, "/etc/passwd").await;
            shoot(&browser, &picture("forbidden")).await;
        }
    }
}
