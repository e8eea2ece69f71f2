//! Many viewers of one log: one watch, one read, one rendering, and every byte for every viewer.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio_tungstenite::tungstenite::Message;

use crate::clients::{Streaming, Viewer};
use crate::servers::{Program, TestServer, append, eventually, pace};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_viewers_get_every_line_once() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "start\n");
    let target = format!("{log}?tail=1");
    let mut viewers: Vec<Viewer> = stream::iter(0..1000)
        .map(|_| Viewer::original(server.address, &target))
        .buffer_unordered(50)
        .collect()
        .await;
    for viewer in &mut viewers {
        assert_eq!(viewer.text().await, "start\n");
    }
    let lines: String = (0..500).map(|n| format!("line {n} of the storm\n")).collect();
    let reading = viewers.into_iter().map(|mut viewer| {
        let wanted = lines.clone();
        tokio::spawn(async move {
            let all = viewer.text_until("line 499 of the storm\n").await;
            assert!(all == wanted, "got {all}");
        })
    });
    let reading: Vec<_> = reading.collect();
    for line in lines.split_inclusive('\n') {
        append(&log, line);
        pace(Duration::from_millis(1)).await;
    }
    for reader in reading {
        reader.await.unwrap();
    }
}

#[tokio::test]
async fn viewers_of_a_log_share_one_watch_and_one_descriptor() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("a.log");
    std::fs::write(&log, "x\n").unwrap();
    let program = Program::serve(&[directory.path().to_str().unwrap()]);
    assert_eq!((program.watches(), program.descriptors_of(&log)), (0, 0));
    let target = format!("{}?tail=1", log.display());
    let mut viewers = Vec::new();
    for _ in 0..10 {
        let mut viewer = Viewer::original(program.address, &target).await;
        viewer.text().await;
        viewers.push(viewer);
    }
    let mut curl = Streaming::get(program.address, &target, &[]).await;
    curl.read_until("x\n").await;
    assert_eq!((program.watches(), program.descriptors_of(&log)), (1, 1));
    append(&log, "y\n");
    for viewer in &mut viewers {
        assert_eq!(viewer.text().await, "y\n");
    }
    drop((viewers, curl));
    eventually("the watch and the descriptor are free", async || {
        match (program.watches(), program.descriptors_of(&log)) {
            (0, 0) => Ok(()),
            held => Err(held),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lagging_viewer_gets_everything_later() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "");
    let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1&format=raw")).await;
    viewer.expect("open").await;
    // Much more than the socket, the broadcast and all buffers hold, before the viewer reads a
    // byte.
    let block: Vec<u8> = (0..1u32 << 18).flat_map(u32::to_be_bytes).collect();
    for _ in 0..64 {
        append(&log, &block);
    }
    let mut offset = 0;
    while offset < 64 * block.len() {
        let message = viewer.next().await.unwrap().into_data();
        let (head, data) = message.split_at(8);
        assert_eq!(u64::from_be_bytes(head.try_into().unwrap()), offset as u64);
        let start = offset % block.len();
        let expected = block[start..].iter().chain(block.iter().cycle()).take(data.len());
        assert!(data.iter().eq(expected), "other bytes at {offset}");
        offset += data.len();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_skipping_viewer_gets_a_gap_that_names_what_it_missed() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "");
    let target = format!("{log}?tail=1&format=raw");
    let mut viewer = Viewer::v1(server.address, &format!("{target}&lag=skip")).await;
    let mut other = Viewer::v1(server.address, &target).await;
    viewer.expect("open").await;
    other.expect("open").await;
    // A viewer skips nothing before it has been up to date once. Both are up to date when a piece
    // is rendered only once.
    let mut offset = 0;
    eventually("both are up to date", async || {
        let before = server.renders().await;
        append(&log, "x");
        for viewer in [&mut viewer, &mut other] {
            assert_eq!(bytes_at(&viewer.next().await.unwrap().into_data(), offset), 1);
        }
        offset += 1;
        match server.renders().await - before {
            1 => Ok(()),
            renders => Err(renders),
        }
    })
    .await;
    // Much more than the sockets and the broadcast hold. It is all published before the viewer
    // continues to read.
    let end = offset + (64 << 20);
    let block = vec![b'x'; 1 << 20];
    (0..64).for_each(|_| append(&log, &block));
    let mut published = offset;
    while published < end {
        published += bytes_at(&other.next().await.unwrap().into_data(), published);
    }
    let mut skipped = 0;
    while offset < end {
        match viewer.next().await.unwrap() {
            Message::Text(text) => {
                let gap: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert_eq!((&gap["type"], gap["from"].as_u64()), (&"gap".into(), Some(offset)));
                let to = gap["to"].as_u64().unwrap();
                skipped += to - offset;
                offset = to;
            }
            message => offset += bytes_at(&message.into_data(), offset),
        }
    }
    assert!(skipped > 0, "nothing was skipped");
}

/// The number of bytes in a message, which must begin at this offset.
fn bytes_at(message: &[u8], offset: u64) -> u64 {
    let (head, bytes) = message.split_at(8);
    assert_eq!(u64::from_be_bytes(head.try_into().unwrap()), offset);
    bytes.len() as u64
}
