//! A broker whose disk is full.

use super::*;

const DISK_BYTES: u64 = 24 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_whose_disk_is_full_is_told_and_loses_nobody_a_byte() {
    let test = "a_broker_whose_disk_is_full_is_told_and_loses_nobody_a_byte";
    let Some(mut nats) = Nats::on_disk_of(DISK_BYTES).await else {
        return not_run(test, "there is no nats-server, or no namespace of its own");
    };
    let [logs, own, spool] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let path = |directory: &TempDir| directory.path().canonicalize().unwrap().join("a.log");
    append(path(&logs), "first\n");
    append(path(&own), "a line of the edge\n");
    let agent = Agent::start(&nats.url(), HOST, logs.path(), &["--stream-max-bytes", "512MiB"]);
    let (spool, own_directory) = (spool.path().to_str().unwrap(), own.path().to_str().unwrap());
    let edge = Program::serve_on(0, &["--nats", &nats.url(), "--spool", spool, own_directory]);
    let target = format!("/@{HOST}{}", path(&logs).display());
    let reading = tokio::spawn(Roaming::new(vec![edge.address], &target).read());
    // Both are viewers of one log. Now it is published.
    let v1 = [("sec-websocket-protocol", "tailcast.v1")];
    let live = format!("{target}?tail=1&format=text&lines=0");
    let (mut live, _) = Viewer::connect(edge.address, &live, &v1).await.unwrap();
    live.expect("open").await;
    append(path(&logs), "published\n");
    while !live.text().await.contains("published") {}
    let mut written = b"first\npublished\n".to_vec();
    nats.fill_disk();
    // More than fits into what was allocated already.
    let block = format!("{}\n", "x".repeat(1023)).repeat(1024);
    for _ in 0..32 {
        append(path(&logs), &block);
        written.extend_from_slice(block.as_bytes());
    }
    // Everything else goes on.
    let own_log = path(&own);
    let answer = get(edge.address, own_log.to_str().unwrap(), &[]).await;
    assert_eq!(answer.text(), "a line of the edge\n");
    eventually("the agent says so", async || {
        let said = agent.said();
        let says = said.contains("look whether the disk of the broker is full")
            || said.contains("look into its log, and whether its disk is full");
        if says { Ok(()) } else { Err(said) }
    })
    .await;
    reading.abort();
    // It is given a larger disk, and keeps nothing of what it had.
    nats.kill();
    nats.disk = Some(8 * DISK_BYTES);
    nats.start_again();
    let reading = tokio::spawn(Roaming::new(vec![edge.address], &target).read());
    append(path(&logs), "the end\n");
    written.extend_from_slice(b"the end\n");
    match reading.await {
        Ok(reader) => reader.assert_has(&written, false),
        Err(error) => {
            panic!("{error:.200}\n{}\n{}\n{}", agent.said(), nats.said(), edge.said())
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_takes_no_more_is_told_and_gets_the_rest_when_there_is_room() {
    let test = "a_stream_that_takes_no_more_is_told_and_gets_the_rest_when_there_is_room";
    let Some(nats) = Nats::start().await else {
        return not_run(test, "there is no nats-server");
    };
    // As an operator makes it who would rather lose no message than the newest ones.
    let manage = async |what: &str, config: &'static str| {
        let broker = nats.connect().await;
        let subject = format!("$JS.API.STREAM.{what}.TAILCAST");
        let asked = (
            tailcast::broker::fields::Fields::default(),
            bytes::Bytes::from_static(config.as_bytes()),
        );
        let (_, answer) = broker.request(&subject, asked, Duration::from_secs(5)).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(!answer.contains("\"error\""), "{answer}");
    };
    let config = r#"{"name":"TAILCAST","subjects":["tailcast.log.>"],"retention":"limits","storage":"file",
        "discard":"new","max_bytes":1048576,"num_replicas":1,"max_consumers":-1,"max_msgs":-1}"#;
    manage("CREATE", config).await;
    let [logs, spool] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let log = logs.path().canonicalize().unwrap().join("a.log");
    append(&log, "first\n");
    let agent = Agent::start(&nats.url(), HOST, logs.path(), &["--metrics", "127.0.0.1:0"]);
    let edge =
        Program::serve_on(0, &["--nats", &nats.url(), "--spool", spool.path().to_str().unwrap()]);
    let target = format!("/@{HOST}{}", log.display());
    let v1 = [("sec-websocket-protocol", "tailcast.v1")];
    let live = format!("{target}?tail=1&format=text&lines=0");
    let (mut live, _) = Viewer::connect(edge.address, &live, &v1).await.unwrap();
    live.expect("open").await;
    append(&log, "published\n");
    while !live.text().await.contains("published") {}
    let reading = tokio::spawn(Roaming::new(vec![edge.address], &target).read());
    let mut written = b"first\npublished\n".to_vec();
    let block = format!("{}\n", "x".repeat(1023)).repeat(64);
    for _ in 0..40 {
        append(&log, &block);
        written.extend_from_slice(block.as_bytes());
    }
    append(&log, "the end\n");
    written.extend_from_slice(b"the end\n");
    let says = async |what: &str| {
        eventually(what, async || {
            let said = agent.said();
            if said.contains(what) { Ok(()) } else { Err(said) }
        })
        .await;
    };
    says("the broker does not take its messages: trying again").await;
    // Each time there is room, more comes.
    while !reading.is_finished() {
        manage("PURGE", "").await;
        pace(Duration::from_millis(200)).await;
    }
    says("the broker takes its messages again").await;
    reading.await.unwrap().assert_has(&written, false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_room_for_the_stream_is_told_with_what_to_do() {
    let Some(nats) = Nats::start().await else {
        return not_run("a_broker_without_room_for_the_stream", "there is no nats-server");
    };
    let logs = tempfile::tempdir().unwrap();
    let agent = Agent::begin(&nats.url(), HOST, logs.path(), &["--stream-max-bytes", "100GiB"]);
    eventually("it says so", async || {
        let said = agent.said();
        let says = said.contains("nothing can be published yet: trying again")
            && said.contains("`--stream-max-bytes`");
        if says { Ok(()) } else { Err(said) }
    })
    .await;
}
