//! A cluster of three brokers, which keep the stream together.

use std::process::{Child, Command, Stdio};

use super::*;
use crate::servers::Port;

/// One broker of a cluster.
struct Member {
    child: Option<Child>,
    config: PathBuf,
    name: String,
    port: u16,
}

impl Member {
    fn start(&mut self) {
        let program = Nats::program().unwrap();
        let log = self.config.with_extension("log");
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let mut broker = Command::new(program);
        broker.arg("-c").arg(&self.config).stdout(Stdio::null()).stderr(log);
        self.child = Some(broker.spawn().unwrap());
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

struct Cluster {
    members: Vec<Member>,
    _ports: Vec<Port>,
    _directory: TempDir,
}

impl Cluster {
    fn start() -> Option<Self> {
        Nats::program()?;
        let directory = tempfile::tempdir().unwrap();
        let held: Vec<Port> = (0..6).map(|_| Port::hold()).collect();
        let ports: Vec<u16> = held.iter().map(|port| port.number).collect();
        let routes: Vec<String> =
            ports[3..].iter().map(|port| format!("nats-route://127.0.0.1:{port}")).collect();
        let members = (0..3).map(|nth| {
            let (name, port) = (format!("n{nth}"), ports[nth]);
            let (config, store) =
                (directory.path().join(format!("{name}.conf")), directory.path().join(&name));
            let text = format!(
                "server_name: {name}\nlisten: \"127.0.0.1:{port}\"\n\
                 jetstream {{ store_dir: {store:?}, max_mem: 64MB, max_file: 2GB }}\n\
                 cluster {{ name: fleet, listen: \"127.0.0.1:{}\", routes: {routes:?} }}\n",
                ports[3 + nth]
            );
            std::fs::write(&config, text).unwrap();
            let mut member = Member { child: None, config, name, port };
            member.start();
            member
        });
        Some(Self { members: members.collect(), _ports: held, _directory: directory })
    }

    fn url(&self) -> String {
        let urls = self.members.iter().map(|member| format!("nats://127.0.0.1:{}", member.port));
        urls.collect::<Vec<_>>().join(",")
    }

    /// The one that leads the stream, as another one says it.
    async fn leader(&self) -> usize {
        let mut found = None;
        eventually("the stream has a leader and two followers", async || {
            let broker = crate::machines::connect(&self.url()).await;
            let subject = "$JS.API.STREAM.INFO.TAILCAST";
            let nothing = (tailcast::broker::fields::Fields::default(), bytes::Bytes::new());
            let asked = broker.request(subject, nothing, Duration::from_secs(2)).await;
            let (_, answer) = asked.map_err(|error| format!("{error:?}"))?;
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            let cluster = &answer["cluster"];
            let current = cluster["replicas"]
                .as_array()
                .map_or(0, |all| all.iter().filter(|replica| replica["current"] == true).count());
            let leader = cluster["leader"].as_str().filter(|_| current == 2);
            found = self.members.iter().position(|it| Some(it.name.as_str()) == leader);
            found.map(|_| ()).ok_or(answer.to_string())
        })
        .await;
        found.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_of_a_cluster_that_is_killed_in_a_storm_loses_nobody_a_byte() {
    let Some(mut cluster) = Cluster::start() else {
        return not_run("the_leader_of_a_cluster", "there is no nats-server");
    };
    let logs = tempfile::tempdir().unwrap();
    let log = logs.path().canonicalize().unwrap().join("a.log");
    append(&log, "");
    let url = cluster.url();
    let _agent = Agent::start(&url, HOST, logs.path(), &["--stream-replicas", "3"]);
    let spools = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let edges: Vec<Program> = spools
        .iter()
        .map(|spool| {
            Program::serve_on(0, &["--nats", &url, "--spool", spool.path().to_str().unwrap()])
        })
        .collect();
    let target = format!("/@{HOST}{}", log.display());
    let storm = Storm::begin(&log, None);
    let viewers = edges.iter().map(|edge| Roaming::new(vec![edge.address], &target));
    let (progress, reading): (Vec<_>, Vec<_>) =
        viewers.map(|viewer| (Arc::clone(&viewer.progress), tokio::spawn(viewer.read()))).unzip();
    for _ in 0..2 {
        let leader = cluster.leader().await;
        pace(Duration::from_millis(500)).await;
        cluster.members[leader].kill();
        let written = std::fs::metadata(&log).unwrap().len() as usize;
        pace(Duration::from_secs(2)).await;
        cluster.members[leader].start();
        eventually("all viewers have what was written until then", async || {
            let got: Vec<_> = progress.iter().map(|it| it.load(Ordering::Relaxed)).collect();
            if got.iter().all(|got| *got >= written) { Ok(()) } else { Err((got, written)) }
        })
        .await;
    }
    // It is led by another one, or again by the same.
    cluster.leader().await;
    let written = storm.end();
    for viewer in reading {
        viewer.await.unwrap().assert_has(&written, false);
    }
}
