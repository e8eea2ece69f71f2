//! What must not be lost with a stream that has been trimmed, emptied or removed, a machine that is
//! away, and a broker that is set up otherwise than expected.

use std::os::unix::fs::FileExt;

use bytes::Bytes;
use tailcast::broker::fields::Fields;
use tailcast::broker::message::{Content, Message};
use tailcast::broker::{BrokerAddress, ConnectFailure, Options, StreamLimits, names};
use tailcast::log::access::Identity;

use super::*;
use crate::transport::Pem;

/// Asks the broker itself, as this user, to do something with the stream.
pub(super) async fn manage(nats: &Nats, url: &str, what: &str) {
    let broker = nats.connect_as(url).await;
    let subject = format!("$JS.API.STREAM.{what}.{}", names::STREAM);
    let asked = (Fields::default(), Bytes::new());
    let (_, answer) = broker.request(&subject, asked, DEADLINE).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains("\"success\":true"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_messages_have_left_the_stream_is_opened_while_it_is_published() {
    let nats = broker!("a_log_whose_messages_have_left_the_stream_…");
    let logs = logs();
    let log = logs.path().join("app.log");
    put(&log, "one\n");
    let _agent = Agent::start(&nats.url(), "web", logs.path(), &[]);
    let name = name("web", &log);
    let edge = Arc::new(nats.edge().await);
    let mut first = Mirror::follow(&edge, &name, None);
    first.until("the start", |mirror| !mirror.turns.is_empty()).await;
    append(&log, "two\n");
    first.until_end(8).await;
    manage(&nats, &nats.url(), "PURGE").await;
    let other = Arc::new(nats.edge().await);
    let mut second = Mirror::follow(&other, &name, None);
    second.until("the place", |mirror| !mirror.turns.is_empty()).await;
    assert_eq!(second.at.unwrap().offset, Offset(8));
    append(&log, "three\n");
    second.until_end(14).await;
    first.until_end(14).await;
    assert_eq!(second.copies[0].generation.to_string(), first.copies[0].generation.to_string());
    // The place of one that has no file is said, too.
    std::fs::remove_file(&log).unwrap();
    first.until("that it is missing", |mirror| mirror.waiting == [WaitReason::Missing]).await;
    manage(&nats, &nats.url(), "PURGE").await;
    let mut third = Mirror::follow(&Arc::new(nats.edge().await), &name, None);
    third.until("that it is missing", |mirror| mirror.waiting == [WaitReason::Missing]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_is_asked_for_no_message_of_a_stream_that_it_is_just_making() {
    let mut nats = broker!("a_broker_is_asked_for_no_message_of_a_stream_…");
    let subject = "tailcast.log.web.0123456789abcdef".to_owned();
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (broker, subject) = (nats.connect().await, subject.clone());
        asking.spawn(async move {
            loop {
                let _answer = broker.last(&subject).await;
                let _answer = broker.next(&subject, 1).await;
            }
        });
    }
    let maker = nats.connect().await;
    let limits = StreamLimits { bytes: 1 << 20, age: Duration::from_secs(60), replicas: 1 };
    for _ in 0..100 {
        maker.make_stream(&limits).await.unwrap();
        manage(&nats, &nats.url(), "DELETE").await;
    }
    asking.abort_all();
    assert!(!nats.has_crashed(), "{}", nats.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_starts_anew_knows_by_its_edges_what_the_stream_has_lost() {
    let nats = broker!("an_agent_that_starts_anew_knows_by_its_edges_…");
    let Web { logs, log, mut agent, edge } = Web::with(&nats, "one\n").await;
    let mut mirror = Mirror::follow(&edge, &name("web", &log), None);
    mirror.until("the start", |mirror| !mirror.turns.is_empty()).await;
    append(&log, "two\n");
    mirror.until_end(8).await;
    agent.kill();
    manage(&nats, &nats.url(), "PURGE").await;
    mirror.until("that it is away", |mirror| mirror.reach.last() == Some(&false)).await;
    agent = Agent::start(&nats.url(), "web", logs.path(), &[]);
    mirror.until("that it is back", |mirror| mirror.reach.last() == Some(&true)).await;
    append(&log, "three\n");
    mirror.until_end(14).await;
    assert_eq!(mirror.copies.len(), 1, "it is the same file: {:?}", mirror.turns);
    // One that was written anew meanwhile is another one.
    agent.kill();
    manage(&nats, &nats.url(), "PURGE").await;
    std::fs::write(&log, "one, but otherwise than before\n").unwrap();
    let _agent = Agent::start(&nats.url(), "web", logs.path(), &[]);
    mirror.until("the other one", |mirror| mirror.copies.len() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_made_large_before_it_is_written_is_followed() {
    let nats = broker!("a_file_that_was_made_large_before_it_is_written_is_followed");
    let logs = logs();
    let log = logs.path().join("app.log");
    let file = std::fs::File::create(&log).unwrap();
    let none = rustix::fs::FallocateFlags::empty();
    rustix::fs::fallocate(&file, none, 0, 1 << 20).unwrap();
    file.write_all_at(&[b'x'; 5120], 0).unwrap();
    let _agent = Agent::start(&nats.url(), "web", logs.path(), &[]);
    let edge = Arc::new(nats.edge().await);
    let mut events = edge.follow(&name("web", &log), None);
    let mut next = async || timeout(DEADLINE, events.recv()).await.unwrap().unwrap();
    let RemoteEvent::Turn { at, size, .. } = next().await else { panic!("no turn") };
    assert_eq!((at.offset, size), (Offset(5120), 5120));
    file.write_all_at(b"written\n", 5120).unwrap();
    loop {
        if let RemoteEvent::Bytes { at, bytes, .. } = next().await {
            assert_eq!((at.offset, &bytes[..]), (Offset(5120), &b"written\n"[..]));
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_only_a_machine_that_is_away_has_are_not_said_to_be_gone() {
    let nats = broker!("bytes_that_only_a_machine_that_is_away_has_are_not_said_to_be_gone");
    let Web { logs, log, mut agent, edge } = Web::with(&nats, "not published\n").await;
    let name = name("web", &log);
    let mut mirror = Mirror::follow(&edge, &name, None);
    mirror.until("the start", |mirror| !mirror.turns.is_empty()).await;
    append(&log, "published\n");
    mirror.until_end(24).await;
    agent.kill();
    append(&log, "later\n");
    mirror.until("that it is away", |mirror| mirror.reach.last() == Some(&false)).await;
    let generation = mirror.copies[0].generation;
    let fetch = async |range| edge.fetch(&name, &generation, range).await;
    assert_eq!(fetch(14..24).await.unwrap().bytes, "published\n", "the stream has it");
    assert_eq!(fetch(24..30).await.unwrap_err(), FetchError::Unreachable);
    assert_eq!(fetch(0..14).await.unwrap_err(), FetchError::Unreachable);
    // The first part comes, and there may be more.
    let part = fetch(20..30).await.unwrap();
    assert!(part.bytes == "hed\n" && part.size >= 30, "{part:?}");
    assert!(fetch(0..0).await.unwrap().size >= 24);
    let _agent = Agent::start(&nats.url(), "web", logs.path(), &[]);
    assert_eq!(fetch(24..30).await.unwrap().bytes, "later\n");
    assert_eq!(fetch(24..99).await.unwrap().size, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_removed_is_made_anew() {
    let nats = broker!("a_stream_that_was_removed_is_made_anew");
    let Web { logs: _logs, log, agent: _agent, edge } = Web::with(&nats, "one\n").await;
    let mut mirror = Mirror::follow(&edge, &name("web", &log), None);
    mirror.until("the start", |mirror| !mirror.turns.is_empty()).await;
    append(&log, "two\n");
    mirror.until_end(8).await;
    manage(&nats, &nats.url(), "DELETE").await;
    append(&log, "three\n");
    mirror.until_end(14).await;
    assert_eq!(mirror.all(0).await, b"one\ntwo\nthree\n");
    assert_eq!(mirror.copies.len(), 1, "{:?}", mirror.turns);
    // Also without a log that is followed.
    drop(mirror);
    let broker = nats.connect().await;
    manage(&nats, &nats.url(), "DELETE").await;
    eventually("there is a stream again", async || {
        broker.stream_state().await.map(|_| ()).map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_hear_that_nothing_comes_while_there_is_no_stream() {
    let Some(nats) = Nats::with(&documented_permissions()).await else {
        return not_run("viewers_hear_that_nothing_comes_…", "there is no nats-server");
    };
    let logs = logs();
    let log = logs.path().join("app.log");
    put(&log, "one\n");
    let admin = nats.url_as("admin", "admin-secret");
    drop(Agent::start(&admin, "first", logs.path(), &[]));
    // This one may make no stream.
    let web = nats.url_as("web-1", "web-1-secret");
    let _agent = Agent::start(&web, "web-1", logs.path(), &[]);
    let edge = Arc::new(Edge::new(nats.connect_as(&nats.url_as("edge", "edge-secret")).await));
    let mut mirror = Mirror::follow(&edge, &name("web-1", &log), None);
    mirror.until("the start", |mirror| !mirror.turns.is_empty()).await;
    manage(&nats, &admin, "DELETE").await;
    mirror.until("that nothing comes", |mirror| mirror.reach == [false]).await;
    drop(Agent::start(&admin, "first", logs.path(), &[]));
    mirror.until("that it goes on", |mirror| mirror.reach == [false, true]).await;
    append(&log, "two\n");
    mirror.until_end(8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_says_which_generation_came_after_another_one() {
    let nats = broker!("an_agent_says_which_generation_came_after_another_one");
    let Web { logs, log, agent: _agent, edge } = Web::with(&nats, "first file\n").await;
    let name = name("web", &log);
    let mut mirror = Mirror::follow(&edge, &name, None);
    mirror.until("the start", |mirror| !mirror.turns.is_empty()).await;
    let old = mirror.copies[0].generation;
    let size = edge.ending(&name, &old).await.unwrap();
    assert_eq!((size.size, size.next), (11, None));
    std::fs::rename(&log, logs.path().join("app.log.1")).unwrap();
    put(&log, "second file\n");
    mirror.until("the second file", |mirror| mirror.copies.len() == 2).await;
    let size = edge.ending(&name, &old).await.unwrap();
    assert_eq!(size.size, 11);
    // Nobody who wants bytes, or their number, waits for that.
    for range in [0..0, 0..11] {
        assert_eq!(edge.fetch(&name, &old, range).await.unwrap().next, None);
    }
    assert!(
        size.next.is_some_and(|next| next.generation.is(&mirror.copies[1].generation)),
        "{size:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_with_a_certificate_that_is_not_trusted_is_not_waited_for() {
    let (files, pem) = (tempfile::tempdir().unwrap(), Pem::new());
    pem.write(files.path());
    let path = |name: &str| files.path().join(name);
    let tls =
        format!("tls {{ cert_file: {:?}, key_file: {:?} }}", path("chain.pem"), path("key.pem"));
    let Some(nats) = Nats::with(&tls).await else {
        return not_run("a_broker_with_a_certificate_…", "there is no nats-server");
    };
    let logs = logs();
    let url = nats.url().replace("nats://", "tls://");
    let mut agent = Agent::begin(&url, "web", logs.path(), &[]);
    assert!(!agent.wait().await.success());
    let said = agent.said();
    assert!(said.contains("certificate") && said.contains("`--nats-tls-ca FILE`"), "{said}");
    let address: BrokerAddress = url.parse().unwrap();
    let options = Options {
        address,
        login: None,
        authorities: None,
        name: "test".to_owned(),
        inbox: names::EDGE_INBOX.to_owned(),
    };
    let failure = tailcast::broker::Broker::connect(&options).await.unwrap_err();
    assert!(matches!(failure, ConnectFailure::Tls(_)), "{failure:?}");
    put(path("authority.pem"), crate::transport::authority());
    let authority = path("authority.pem");
    drop(Agent::start(&url, "web", logs.path(), &["--nats-tls-ca", authority.to_str().unwrap()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_an_agent_no_longer_gives_is_waited_for() {
    let nats = broker!("a_log_that_an_agent_no_longer_gives_is_waited_for");
    let (logs, others) = (logs(), self::logs());
    let log = logs.path().join("app.log");
    put(&log, "one\n");
    let mut agent = Agent::start(&nats.url(), "web", logs.path(), &[]);
    let edge = Arc::new(nats.edge().await);
    let mut mirror = Mirror::follow(&edge, &name("web", &log), None);
    mirror.until("the start", |mirror| !mirror.turns.is_empty()).await;
    agent.kill();
    agent = Agent::start(&nats.url(), "web", others.path(), &[]);
    mirror.until("that it is not given", |mirror| mirror.waiting == [WaitReason::Unreadable]).await;
    agent.kill();
    let _agent = Agent::start(&nats.url(), "web", logs.path(), &[]);
    let turns = mirror.turns.len();
    mirror.until("that it goes on", |mirror| mirror.turns.len() > turns).await;
    append(&log, "two\n");
    mirror.until_end(8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_paths_pass_a_broker_that_takes_small_messages_only() {
    let Some(nats) = Nats::with("max_payload: 64KB\n").await else {
        return not_run("long_paths_pass_a_broker_…", "there is no nats-server");
    };
    let logs = logs();
    let mut directory = logs.path().canonicalize().unwrap();
    while directory.as_os_str().len() < 3700 {
        // Each of its bytes is three in a header.
        directory.push("é".repeat(120));
    }
    std::fs::create_dir_all(&directory).unwrap();
    let files: Vec<PathBuf> = (0..9).map(|nth| directory.join(format!("{nth}.log"))).collect();
    for file in &files {
        put(file, "");
    }
    let _agent = Agent::start(&nats.url(), "web", logs.path(), &[]);
    let edge = Arc::new(nats.edge().await);
    let mut mirrors: Vec<_> =
        files.iter().map(|file| Mirror::follow(&edge, &name("web", file), None)).collect();
    for mirror in &mut mirrors {
        mirror.until("the start", |mirror| !mirror.turns.is_empty()).await;
    }
    let large = "a line of a large file\n".repeat(10_000);
    append(&files[0], &large);
    mirrors[0].until_end(large.len() as u64).await;
    assert!(mirrors[0].copies[0].from(0) == large.as_bytes());
    eventually("the list comes in small pages", async || {
        let logs = edge.logs("web");
        if logs.len() == files.len() { Ok(()) } else { Err(logs.len()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_stream_has_of_machines_that_are_away_is_read_again_after_a_loss() {
    let mut nats = broker!("what_the_stream_has_of_machines_that_are_away_is_read_again_…");
    let logs = logs();
    let _agent = Agent::start(&nats.url(), "web", logs.path(), &[]);
    let edge = Arc::new(nats.edge().await);
    eventually("the machine is there", async || {
        let hosts = edge.hosts();
        if hosts.iter().any(|host| host.away.is_none()) { Ok(()) } else { Err(hosts) }
    })
    .await;
    let broker = nats.connect().await;
    let generation = Generation::new(Identity { device: 1, inode: 2 }, 7, b"one\n");
    let at = RemotePosition { generation, offset: Offset(0) };
    let publish = async |path: &[u8]| {
        let content = Content::Bytes {
            at,
            bytes: Bytes::from_static(b"one\n"),
            written: std::time::SystemTime::now(),
        };
        let message = Message { path: path.to_vec(), content };
        let subject = names::log(&"gone".parse().unwrap(), path);
        broker.publish(&subject, message.encode(), None, None).await.unwrap();
    };
    publish(b"/var/log/app.log").await;
    // No log of a machine lies elsewhere than below its name.
    publish(b"/../@web/etc/forged").await;
    publish(b"-b/var/log/forged").await;
    nats.kill();
    nats.start_again();
    eventually("the machine that is gone is listed", async || {
        let logs = edge.logs("gone");
        let paths: Vec<_> = logs.iter().map(|log| log.path.escape_ascii().to_string()).collect();
        if paths == ["/var/log/app.log"] { Ok(()) } else { Err(paths) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_gives_bytes_of_an_earlier_generation() {
    let nats = broker!("the_stream_gives_bytes_of_an_earlier_generation");
    let Web { logs: _logs, log, agent: _agent, edge } = Web::with(&nats, "one\n").await;
    let name = name("web", &log);
    let mut mirror = Mirror::follow(&edge, &name, None);
    mirror.until("the start", |mirror| !mirror.turns.is_empty()).await;
    append(&log, "two\n");
    mirror.until_end(8).await;
    append(&log, "three\n");
    mirror.until_end(14).await;
    std::fs::write(&log, "x\n").unwrap();
    mirror.until("the truncation", |mirror| mirror.copies.len() == 2).await;
    mirror.until_end(2).await;
    // The machine has these bytes no more, the stream has.
    let lost = mirror.copies[0].generation;
    let fetched = edge.fetch(&name, &lost, 4..100).await.unwrap();
    assert_eq!((&fetched.bytes[..], fetched.size), (&b"two\nthree\n"[..], 14));
    assert_eq!(edge.fetch(&name, &lost, 6..10).await.unwrap().bytes, "o\nth");
    assert_eq!(edge.fetch(&name, &lost, 0..0).await.unwrap().size, 14);
    assert_eq!(edge.fetch(&name, &lost, 0..4).await.unwrap_err(), FetchError::Gone);
    // Then nobody has them any more.
    manage(&nats, &nats.url(), "PURGE").await;
    assert_eq!(edge.fetch(&name, &lost, 4..100).await.unwrap_err(), FetchError::Gone);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_neither_the_machine_nor_the_stream_has_are_gone() {
    let nats = broker!("bytes_that_neither_the_machine_nor_the_stream_has_are_gone");
    let Web { logs: _logs, log, agent: _agent, edge } = Web::with(&nats, "one\n").await;
    let name = name("web", &log);
    // The log had turned to a file of 500 bytes, and was truncated before any of them was published.
    let generation = Generation::new(Identity { device: 1, inode: 2 }, 7, &[b'x'; 256]);
    let at = RemotePosition { generation, offset: Offset(0) };
    let content = Content::Turn { at, reason: Reason::Rotated, size: 500, before: None };
    let message = Message { path: name.path.to_vec(), content };
    let subject = names::log(&"web".parse().unwrap(), &name.path);
    nats.connect().await.publish(&subject, message.encode(), None, None).await.unwrap();
    assert_eq!(edge.fetch(&name, &generation, 0..0).await.unwrap().size, 0);
    assert_eq!(edge.fetch(&name, &generation, 0..500).await.unwrap_err(), FetchError::Gone);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_byte_is_left_out_where_something_else_stands_between_them() {
    let nats = broker!("no_byte_is_left_out_where_something_else_stands_between_them");
    let logs = logs();
    drop(Agent::start(&nats.url(), "first", logs.path(), &[]));
    let broker = nats.connect().await;
    let path = Path::new("/var/log/not-there.log");
    let name = name("gone", path);
    let position = |nonce, offset| {
        let generation = Generation::new(Identity { device: 1, inode: 2 }, nonce, b"");
        RemotePosition { generation, offset: Offset(offset) }
    };
    let bytes = |at, bytes: &'static str| Content::Bytes {
        at,
        bytes: Bytes::from_static(bytes.as_bytes()),
        written: std::time::SystemTime::UNIX_EPOCH,
    };
    let missing =
        |offset| Content::Waiting { reason: WaitReason::Missing, after: Some(position(7, offset)) };
    let late = |at| bytes(position(6, at), "late");
    for content in [
        bytes(position(6, 0), "old\n"),
        bytes(position(7, 0), "one\n"),
        missing(4),
        late(4),
        late(8),
        bytes(position(7, 4), "two\n"),
        missing(8),
        bytes(position(7, 8), "end\n"),
        late(12),
        missing(12),
    ] {
        let message = Message { path: name.path.to_vec(), content };
        let subject = names::log(&"gone".parse().unwrap(), &name.path);
        broker.publish(&subject, message.encode(), None, None).await.unwrap();
    }
    for offset in [0, 2, 4, 6, 8, 11] {
        let edge = Arc::new(nats.edge().await);
        let mut mirror = Mirror::follow(&edge, &name, Some(position(7, offset)));
        mirror.until("that it is away", |mirror| mirror.reach == [false]).await;
        let copy = mirror.copies.iter().find(|copy| copy.generation.is(&position(7, 0).generation));
        let expected = &b"one\ntwo\nend\n"[offset as usize..];
        assert_eq!(copy.unwrap().from(offset), expected, "from {offset}");
        assert!(mirror.waiting.ends_with(&[WaitReason::Missing]), "{:?}", mirror.waiting);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_the_broker_no_longer_takes_is_cut() {
    let mut nats = broker!("a_message_that_the_broker_no_longer_takes_is_cut");
    let Web { logs: _logs, log, agent: _agent, edge } = Web::with(&nats, "").await;
    let mut mirror = Mirror::follow(&edge, &name("web", &log), None);
    mirror.until("the start", |mirror| !mirror.turns.is_empty()).await;
    nats.kill();
    mirror.until("that it is away", |mirror| mirror.reach.last() == Some(&false)).await;
    let written = "a line that waits for the broker\n".repeat(20_000);
    append(&log, &written);
    // The message is made by now, or it is made later: it arrives either way.
    nats.more = "max_payload: 64KB\n".to_owned();
    nats.start_again();
    mirror.until_end(written.len() as u64).await;
    assert!(mirror.copies[0].from(0) == written.as_bytes());
}
