//! The examples do what they say.

use std::net::SocketAddr;

use tailcast::serve::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::browser::Browser;
use crate::servers::{TestServer, append};

const PAGE: &str = include_str!("../../examples/original.html");
/// What the example follows.
const FOLLOWED: &str = "ws://127.0.0.1:8765/tmp/build.log?";

/// The page's own server, which is not the log's.
async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Serves the example, with another log in it.
async fn serve_page(listener: TcpListener, server: SocketAddr, log: &str) {
    assert_eq!(PAGE.matches(FOLLOWED).count(), 1);
    let page = PAGE.replace(FOLLOWED, &format!("ws://{server}{log}?"));
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
        page.len()
    );
    while let Ok((mut stream, _)) = listener.accept().await {
        let answer = answer.clone();
        tokio::spawn(async move {
            // The whole request is in the first read: a browser sends a short one, in one piece.
            let _bytes = stream.read(&mut [0; 4096]).await.unwrap();
            stream.write_all(answer.as_bytes()).await.ok();
        });
    }
}

#[tokio::test]
async fn the_example_page_follows_a_log_from_an_origin_that_is_allowed() {
    let (listener, origin) = listen().await;
    let settings =
        Settings { allow_origins: vec![format!("http://{origin}")], ..Settings::default() };
    let server = TestServer::with(settings).await;
    let log = server.log("build.log", "one <b>\n\x1b[31mtwo\x1b[0m\n");
    tokio::spawn({
        let log = log.clone();
        async move { serve_page(listener, server.address, &log).await }
    });
    let browser = Browser::start().await;
    browser.open(origin, "/").await;
    let shows = |text: &str| format!("document.querySelector('#log').textContent === {text:?}");
    browser.until(&shows("one <b>\ntwo\n")).await;
    browser
        .until("getComputedStyle(document.querySelector('#log span')).color === 'rgb(170, 0, 0)'")
        .await;
    append(&log, "three\n");
    browser.until(&shows("one <b>\ntwo\nthree\n")).await;
    append(&log, "ping\nfour\n");
    browser.until(&shows("one <b>\ntwo\nthree\nping\nfour\n")).await;
    browser.assert_no_trouble().await;
}

#[tokio::test]
async fn the_example_page_sees_nothing_from_an_origin_that_is_not_allowed() {
    let (listener, origin) = listen().await;
    let server = TestServer::start().await;
    let log = server.log("build.log", "secret\n");
    let address = server.address;
    tokio::spawn(async move { serve_page(listener, address, &log).await });
    let browser = Browser::start().await;
    browser.open(origin, "/").await;
    browser.until("document.querySelector('#log').textContent === 'closed (1006)\\n'").await;
    assert_eq!(server.viewers().await, 0);
}
