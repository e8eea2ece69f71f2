//! The commands of docs/fleet.md, run as they stand there, with ports and directories of a test.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::{Nats, TempDir, get, not_run};
use crate::clients::Viewer;
use crate::machines::connect;
use crate::servers::{Port, Program, append, command, eventually, output_of};

fn docs() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/fleet.md")).unwrap()
}

/// The commands of all blocks of `sh`, without their comments. A line that ends with `\` goes on in the next.
fn commands() -> Vec<Vec<String>> {
    let docs = docs();
    let blocks = docs.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut commands = Vec::new();
    for block in blocks {
        for line in block.replace("\\\n", " ").lines() {
            let line = line.split(" # ").next().unwrap_or_default();
            let words = line.split_whitespace().map(|word| word.trim_matches('\'').to_owned());
            commands.push(words.collect());
        }
    }
    commands
}

/// The command that begins like this.
fn found(start: &[&str]) -> Vec<String> {
    let all = commands();
    let begins = |words: &&Vec<String>| words.iter().zip(start).all(|(one, other)| one == other);
    let found = all.iter().find(begins).unwrap_or_else(|| panic!("no {start:?} in {all:?}"));
    found[start.len()..].to_vec()
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_three_terminals_of_the_docs_show_a_log() {
    let Some(nats) = Nats::program() else {
        return not_run("the_three_terminals_of_the_docs_show_a_log", "there is no nats-server");
    };
    let [logs, spool, store] = [(); 3].map(|()| TempDir::new().unwrap());
    let (port, log) = (Port::hold(), logs.path().canonicalize().unwrap().join("syslog"));
    append(&log, "a line\n");
    let number = port.number.to_string();
    let own = |words: Vec<String>| -> Vec<String> {
        let logs = logs.path().to_str().unwrap();
        let own = |word: String| match word.as_str() {
            "/var/log" => logs.to_owned(),
            word => word.replace("127.0.0.1:4222", &format!("127.0.0.1:{number}")),
        };
        words.into_iter().map(own).collect()
    };
    let mut broker = Command::new(nats);
    broker.args(own(found(&["nats-server"]))).args(["-p", &number, "-a", "127.0.0.1", "-sd"]);
    broker.arg(store.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let _broker = Killed(broker.spawn().unwrap());
    let mut agent = command();
    agent.arg("agent").args(own(found(&["tailcast", "agent"])));
    agent.stdout(Stdio::null()).stderr(Stdio::null());
    let _agent = Killed(agent.spawn().unwrap());
    let mut edge = command();
    edge.arg("serve").args(own(found(&["tailcast", "serve"])));
    edge.args(["--port", "0", "--spool"]).arg(spool.path());
    let edge = Program::start(&mut edge);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let address = format!("/@{host}{}", log.display());
    eventually("the log is listed", async || {
        let list = get(edge.address, "/_/logs", &[]).await.text();
        if list.contains(&address) { Ok(()) } else { Err(list) }
    })
    .await;
    let mut viewer = Viewer::v1(edge.address, &format!("{address}?tail=1&format=raw")).await;
    viewer.expect("open").await;
}

/// The stream as the documented command of the broker's own tool makes it. The tool itself is not needed.
fn documented_stream() -> Value {
    let words = found(&["nats", "stream", "add", "TAILCAST"]);
    let mut flags = BTreeMap::new();
    let mut words = words.iter().peekable();
    while let Some(flag) = words.next() {
        let value = words.next_if(|value| !value.starts_with("--"));
        flags.insert(flag.trim_start_matches("--").to_owned(), value.cloned());
    }
    let mut take = |flag: &str| flags.remove(flag).unwrap_or_else(|| panic!("no --{flag}"));
    let nanoseconds = |text: &str| {
        let (number, unit) = text.split_at(text.len() - 1);
        let seconds = match unit {
            "d" => 86_400,
            "m" => 60,
            _ => panic!("{text}"),
        };
        number.parse::<u64>().unwrap() * seconds * 1_000_000_000
    };
    let text = |value: Option<String>| value.unwrap();
    let stream = json!({
        "name": "TAILCAST",
        "subjects": [text(take("subjects"))],
        "storage": text(take("storage")),
        "retention": text(take("retention")),
        "discard": text(take("discard")),
        "max_bytes": text(take("max-bytes")).strip_suffix("GiB").unwrap().parse::<u64>().unwrap() << 30,
        "max_age": nanoseconds(&text(take("max-age"))),
        "duplicate_window": nanoseconds(&text(take("dupe-window"))),
        "num_replicas": text(take("replicas")).parse::<u64>().unwrap(),
        "allow_direct": take("allow-direct").is_none(),
    });
    assert_eq!(take("defaults"), None);
    assert!(flags.is_empty(), "not known here: {flags:?}");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_takes_the_stream_of_the_docs_as_it_is() {
    let Some(nats) = Nats::start().await else {
        return not_run("an_agent_takes_the_stream_of_the_docs", "there is no nats-server");
    };
    let mut wanted = documented_stream();
    // There is one broker here, with a disk of its own.
    wanted["num_replicas"] = 1.into();
    wanted["max_bytes"] = (1 << 30).into();
    let broker = connect(&nats.url()).await;
    let ask = async |subject: &str, payload: String| -> Value {
        let message = (tailcast::broker::fields::Fields::default(), bytes::Bytes::from(payload));
        let asked = broker.request(subject, message, crate::servers::DEADLINE).await;
        serde_json::from_slice(&asked.unwrap().1).unwrap()
    };
    let made = ask("$JS.API.STREAM.CREATE.TAILCAST", wanted.to_string()).await;
    assert!(made["error"].is_null(), "{made}");
    let logs = TempDir::new().unwrap();
    let _agent = super::Agent::start(&nats.url(), super::HOST, logs.path(), &[]);
    let found = ask("$JS.API.STREAM.INFO.TAILCAST", String::new()).await;
    for (name, value) in wanted.as_object().unwrap() {
        assert_eq!(&found["config"][name], value, "{name}");
    }
}

#[test]
fn each_flag_of_the_docs_is_one_of_the_program() {
    let docs = docs();
    for (section, name) in [("## The agent", "agent"), ("## The edge", "serve")] {
        let (_, rest) = docs.split_once(&format!("\n{section}\n")).unwrap();
        let (section, _) = rest.split_once("\n## ").unwrap();
        let help = output_of(command().args([name, "--help"]));
        let help = String::from_utf8(help.stdout).unwrap();
        let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('|').next());
        let mut flags = 0;
        for flag in cells.flat_map(|cell| cell.split('`')).filter(|it| it.starts_with("--")) {
            assert!(help.contains(flag.split(' ').next().unwrap()), "{name} has no {flag}");
            let is_named = help.contains(&flag.replace(' ', " <"));
            assert!(is_named || help.contains(flag), "{name} names {flag} otherwise");
            flags += 1;
        }
        assert!(flags >= 4, "{flags} flags of {name}");
    }
}
