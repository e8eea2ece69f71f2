//! Agents with `--publish always`: what was published once is not sent again, also where the stream has
//! dropped it.

use tailcast::broker::StreamLimits;
use tailcast::broker::nats::StreamFailure;

use super::*;

/// What the stream has of a log, in its order, without its bytes that are not there any more.
async fn stored(nats: &Nats, name: &RemoteName) -> Result<Vec<Content>, StreamFailure> {
    let (broker, mut all) = (nats.connect().await, Vec::new());
    let subject = names::log(&name.host.parse().unwrap(), &name.path);
    let mut from = 0;
    while let Some(stored) = broker.next(&subject, from).await? {
        from = stored.sequence + 1;
        all.push(Message::decode(&stored.fields, stored.payload).unwrap().content);
    }
    Ok(all)
}

/// The offsets before and after the bytes of a message.
fn range(content: &Content) -> Option<(u64, u64)> {
    let Content::Bytes { at, bytes, .. } = content else { return None };
    Some((at.offset.0, at.offset.plus(bytes.len()).0))
}

async fn until_stored(
    nats: &Nats,
    name: &RemoteName,
    what: &str,
    holds: impl Fn(&[Content]) -> bool,
) {
    eventually(what, async || {
        // The stream may be made anew at this moment.
        let stored = stored(nats, name).await;
        if stored.as_ref().is_ok_and(|stored| holds(stored)) { Ok(()) } else { Err(stored) }
    })
    .await;
}

fn is_at_end(stored: &[Content], end: u64) -> bool {
    let last = stored.last().and_then(Content::end);
    last.is_some_and(|last| last.offset.0 == end)
}

struct Scene {
    nats: Nats,
    logs: TempDir,
    state: TempDir,
    quiet: PathBuf,
    loud: PathBuf,
}

impl Scene {
    async fn new() -> Option<Self> {
        let (nats, logs, state) = (Nats::start().await?, logs(), self::logs());
        let [quiet, loud] = ["quiet.log", "loud.log"].map(|name| logs.path().join(name));
        put(&quiet, "one\n");
        put(&loud, "");
        Some(Self { nats, logs, state, quiet, loud })
    }

    fn agent(&self) -> Agent {
        let state = self.state.path().to_str().unwrap();
        let more = ["--publish", "always", "--stream-max-bytes", "1MiB", "--state-dir", state];
        Agent::start(&self.nats.url(), "web", self.logs.path(), &more)
    }

    fn name(&self) -> RemoteName {
        name("web", &self.quiet)
    }

    /// Waits until the agent has saved how far the quiet log was published.
    async fn is_saved(&self, end: u64) {
        let file = self.state.path().join("agent/web.places");
        eventually("the place is saved", async || {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let lines = text.lines().filter(|line| line.contains("quiet.log"));
            let ends: Vec<&str> = lines.filter_map(|line| line.split(' ').nth(3)).collect();
            if ends == [end.to_string()] { Ok(()) } else { Err(text) }
        })
        .await;
    }

    /// Writes to the other log until the stream has nothing of the quiet one.
    async fn push_out(&self) {
        for nth in 0..48 {
            append(&self.loud, format!("{nth} {}\n", "x".repeat(64 * 1024)));
        }
        // What is still to come would also push out what the quiet log gets next.
        let (loud, size) = (name("web", &self.loud), std::fs::metadata(&self.loud).unwrap().len());
        until_last(&self.nats, &loud, size).await;
        let stored = stored(&self.nats, &self.name()).await.unwrap();
        assert!(stored.is_empty(), "the stream has dropped it: {stored:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_stream_has_dropped_is_not_sent_again_by_an_agent_that_starts_anew() {
    let test = "what_the_stream_has_dropped_is_not_sent_again_by_an_agent_that_starts_anew";
    let Some(scene) = Scene::new().await else {
        return not_run(test, "there is no nats-server");
    };
    let (nats, name) = (&scene.nats, scene.name());
    let mut agent = scene.agent();
    until_stored(nats, &name, "it is published", |stored| is_at_end(stored, 4)).await;
    let generation = stored(nats, &name).await.unwrap().last().unwrap().end().unwrap().generation;
    scene.is_saved(4).await;
    scene.push_out().await;
    // However it ends.
    for (nth, ends_well) in [false, true].into_iter().enumerate() {
        if ends_well {
            agent.signal(Signal::TERM);
            assert!(agent.wait().await.success(), "{}", agent.said());
        } else {
            agent.kill();
        }
        let (line, end) = (format!("more {nth}\n"), 4 + 7 * nth as u64);
        append(&scene.quiet, &line);
        agent = scene.agent();
        until_stored(nats, &name, "what came meanwhile", |all| is_at_end(all, end + 7)).await;
        for content in stored(nats, &name).await.unwrap() {
            let at = content.end().unwrap();
            assert!(at.generation.is(&generation), "it is the same file: {content:?}");
            assert!(range(&content).is_none_or(|(from, _)| from >= end), "{content:?}");
        }
        scene.is_saved(end + 7).await;
        scene.push_out().await;
    }
    // Edges get what is gone from the agent, as before.
    let edge = Arc::new(nats.edge().await);
    let mut mirror = Mirror::follow(&edge, &name, None);
    mirror.until("the place", |mirror| !mirror.turns.is_empty()).await;
    append(&scene.quiet, "end\n");
    mirror.until_end(22).await;
    assert_eq!(mirror.all(0).await, b"one\nmore 0\nmore 1\nend\n");
    assert!(mirror.copies.len() == 1 && mirror.copies[0].generation.is(&generation));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_made_anew_gets_all_logs_from_their_first_byte_on() {
    let test = "a_stream_that_was_made_anew_gets_all_logs_from_their_first_byte_on";
    let Some(scene) = Scene::new().await else {
        return not_run(test, "there is no nats-server");
    };
    let (nats, name) = (&scene.nats, scene.name());
    let mut agent = scene.agent();
    until_stored(nats, &name, "it is published", |stored| is_at_end(stored, 4)).await;
    let generation = stored(nats, &name).await.unwrap().last().unwrap().end().unwrap().generation;
    scene.is_saved(4).await;
    agent.kill();
    trouble::manage(nats, &nats.url(), "DELETE").await;
    let _agent = scene.agent();
    until_stored(nats, &name, "all of it", |all| all.iter().any(|it| range(it) == Some((0, 4))))
        .await;
    // It still is the same file.
    for content in stored(nats, &name).await.unwrap() {
        assert!(content.end().unwrap().generation.is(&generation), "{content:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_made_anew_while_an_agent_runs_gets_all_logs_from_their_first_byte_on() {
    let test = "a_stream_that_is_made_anew_while_an_agent_runs_gets_all_logs_…";
    let Some(scene) = Scene::new().await else {
        return not_run(test, "there is no nats-server");
    };
    let (nats, quiet, loud) = (&scene.nats, scene.name(), name("web", &scene.loud));
    append(&scene.loud, "loud\n");
    let _agent = scene.agent();
    let mut end = 5;
    until_stored(nats, &quiet, "the quiet log", |stored| is_at_end(stored, 4)).await;
    until_stored(nats, &loud, "the loud log", |stored| is_at_end(stored, end)).await;
    // The agent notices that there is none, or somebody else has made it meanwhile.
    for is_made_by_another in [false, true] {
        trouble::manage(nats, &nats.url(), "DELETE").await;
        if is_made_by_another {
            let limits = StreamLimits { bytes: 1 << 20, age: DEADLINE, replicas: 1 };
            nats.connect().await.make_stream(&limits).await.unwrap();
        }
        append(&scene.loud, "more\n");
        end += 5;
        for (name, end) in [(&quiet, 4), (&loud, end)] {
            until_stored(nats, name, "all of it", |stored| {
                // Bytes may come twice.
                let ranges = stored.iter().filter_map(range);
                let from = ranges.rev().take_while(|(from, _)| *from > 0).count();
                let begins = stored.iter().filter_map(range).rev().nth(from);
                begins.is_some_and(|(from, _)| from == 0) && is_at_end(stored, end)
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_written_anew_since_is_sent_from_its_first_byte_on() {
    let test = "a_file_that_was_written_anew_since_is_sent_from_its_first_byte_on";
    let Some(scene) = Scene::new().await else {
        return not_run(test, "there is no nats-server");
    };
    let (nats, name) = (&scene.nats, scene.name());
    let mut agent = scene.agent();
    until_stored(nats, &name, "it is published", |stored| is_at_end(stored, 4)).await;
    scene.is_saved(4).await;
    scene.push_out().await;
    agent.kill();
    std::fs::write(&scene.quiet, "another file\n").unwrap();
    let _agent = scene.agent();
    until_stored(nats, &name, "all of it", |all| all.iter().any(|it| range(it) == Some((0, 13))))
        .await;
}
