//! Other servers, if they are installed. Each is started as its users start it, on a free port.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Companion, Server, TAILCAST, ask, get};

/// The interval at which the bench polls a log for a server that does not read files.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

const NCHAN_MODULE: &str = "load_module /usr/lib/nginx/modules/ngx_nchan_module.so;";
/// Publishing to nchan, and its WebSocket subscribers.
const NCHAN: &str = "location = /publish { nchan_publisher; nchan_channel_id log; }\n\
    location / { nchan_subscriber websocket; nchan_channel_id log; }";

impl Server {
    /// The server of this name; `None` if it is not installed.
    pub fn peer(name: &str, log: &Path) -> Option<Self> {
        let port = free_port();
        match name {
            "original" => {
                let python = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
                let mut command = Command::new(python);
                let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
                command.arg(folder.join("benches/original.py")).arg(port.to_string());
                Self::other(command, port)
            }
            "websocketd" => {
                let mut command = Command::new("websocketd");
                command.args(["--address=127.0.0.1", "--port", &port.to_string()]);
                command.args(["tail", "-n", "0", "-F"]).arg(log);
                Self::other(command, port)
            }
            "nchan" => {
                let server = Self::nginx(log.parent().unwrap(), port, NCHAN_MODULE, "", NCHAN)?;
                feed(&server.address, log);
                Some(server)
            }
            "nchan TLS" => {
                let tls = Self::certificate();
                let plain = free_port();
                // Messages are published without TLS, so that only their way to the viewers counts.
                let listen = format!(
                    " ssl; listen 127.0.0.1:{plain}; ssl_certificate {0}/chain.pem; \
                     ssl_certificate_key {0}/key.pem",
                    tls.path().display()
                );
                let mut server =
                    Self::nginx(log.parent().unwrap(), port, NCHAN_MODULE, &listen, NCHAN)?;
                feed(&format!("127.0.0.1:{plain}"), log);
                (server.scheme, server.tls) = ("https", Some(tls));
                Some(server)
            }
            "edge" => Self::edge(log.parent().unwrap(), false),
            "two edges" => Self::edge(log.parent().unwrap(), true),
            "frontail" => {
                let mut command =
                    Command::new(std::env::var_os("FRONTAIL").unwrap_or_else(|| "frontail".into()));
                command.args(["--disable-usage-stats", "-n", "0", "-h", "127.0.0.1", "-p"]);
                command.arg(port.to_string()).arg(log);
                let mut server = Self::other(command, port)?;
                server.address = translate(server.address.clone());
                Some(server)
            }
            _ => panic!("no peer is called {name}"),
        }
    }

    /// An edge, with a broker and an agent that has the logs of the directory. With another edge beside it,
    /// if so wanted.
    fn edge(logs: &Path, are_two: bool) -> Option<Self> {
        let machine = "machine".to_owned();
        let mut server = Self::fleet([(machine, logs.to_owned())], are_two)?;
        server.machine = "/@machine";
        if let Some(beside) = &mut server.beside {
            beside.machine = "/@machine";
        }
        Some(server)
    }

    /// An edge, with a broker and an agent for each machine, which has the logs of a directory. With
    /// another edge beside it, if so wanted. `None` if there is no broker.
    pub fn fleet(
        machines: impl IntoIterator<Item = (String, PathBuf)>,
        are_two: bool,
    ) -> Option<Self> {
        let port = free_port();
        let store = tempfile::tempdir().unwrap();
        let mut broker = Command::new("nats-server");
        broker.args(["--jetstream", "--addr", "127.0.0.1", "--port", &port.to_string()]);
        broker.arg("--store_dir").arg(store.path().join("broker"));
        broker.stdout(Stdio::null()).stderr(Stdio::null());
        let broker = Companion { name: "broker", child: broker.spawn().ok()? };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        let url = format!("nats://127.0.0.1:{port}");
        let agent = |(machine, logs): (String, PathBuf)| {
            let mut agent = Command::new(TAILCAST);
            agent.env("TAILCAST_LOG", "warn").args(["agent", "--name", &machine, "--nats", &url]);
            let mut child = agent.arg(logs).stdout(Stdio::piped()).spawn().unwrap();
            let mut ready = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
            Companion { name: "agent", child }
        };
        let mut others: Vec<Companion> = machines.into_iter().map(agent).collect();
        others.push(broker);
        let own = store.path().join("own");
        std::fs::create_dir(&own).unwrap();
        let start = |spool: &str| {
            let spool = store.path().join(spool).display().to_string();
            let flags = ["--port", "0", "--nats", &url, "--spool", &spool];
            Self::start(Self::command(TAILCAST.as_ref(), &own, &flags))
        };
        let mut server = start("spool");
        server.beside = are_two.then(|| Box::new(start("other spool")));
        server.others = others;
        server.store = Some(store);
        Some(server)
    }

    /// nginx with one worker, which serves the whole file system with `sendfile`.
    pub fn nginx_files(folder: &Path) -> Option<Self> {
        Self::nginx(folder, free_port(), "", "", "root /;")
    }

    /// `listen` is what follows the address of the port.
    fn nginx(folder: &Path, port: u16, module: &str, listen: &str, places: &str) -> Option<Self> {
        let configuration = folder.join("nginx.conf");
        let folder = folder.display();
        let text = format!(
            "daemon off; master_process off; pid {folder}/nginx.pid; error_log /dev/null;\n\
             {module}\n\
             worker_rlimit_nofile 20000;\n\
             events {{ worker_connections 10000; }}\n\
             http {{ access_log off; sendfile on; tcp_nopush on; sendfile_max_chunk 2m;\n\
             keepalive_requests 1000000;\n\
             client_body_temp_path {folder}/c; proxy_temp_path {folder}/p;\n\
             fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
             server {{ listen 127.0.0.1:{port}{listen}; {places} }} }}\n"
        );
        std::fs::write(&configuration, text).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&configuration);
        Self::other(command, port)
    }

    /// Starts a server, and waits until it listens.
    fn other(mut command: Command, port: u16) -> Option<Self> {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        let mut server = Self {
            child,
            scheme: "http",
            address: format!("127.0.0.1:{port}"),
            tls: None,
            machine: "",
            others: Vec::new(),
            beside: None,
            store: None,
        };
        // A Python without the library, or an nginx without the module, ends at once.
        while TcpStream::connect(&server.address).is_err() {
            if server.child.try_wait().unwrap().is_some() {
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Publishes what is appended to a log while the server runs: nchan reads no files.
fn feed(address: &str, log: &Path) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut file = File::open(log).unwrap();
    std::thread::spawn(move || {
        let (mut news, mut answer) = (Vec::new(), [0; 4096]);
        loop {
            news.clear();
            if file.read_to_end(&mut news).unwrap() == 0 {
                std::thread::sleep(LOOK_INTERVAL);
                continue;
            }
            let head = format!(
                "POST /publish HTTP/1.1\r\nHost: nchan\r\nContent-Length: {}\r\n\r\n",
                news.len()
            );
            news.splice(..0, head.into_bytes());
            let is_told = stream.write_all(&news).is_ok();
            if !is_told || !stream.read(&mut answer).is_ok_and(|read| read > 0) {
                return;
            }
        }
    });
}

/// A proxy for frontail that lets a plain WebSocket client join the Socket.IO namespace of the log.
fn translate(server: String) -> String {
    let mut page = String::new();
    get(&server, "/").read_to_string(&mut page).unwrap();
    let is_digest = |word: &&str| word.len() == 32 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let mut words = page.split(|c: char| !c.is_ascii_alphanumeric());
    let namespace = words.find(is_digest).expect("the page names the namespace").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for viewer in listener.incoming() {
            let (server, namespace) = (server.clone(), namespace.clone());
            std::thread::spawn(move || pass_on(viewer.unwrap(), &server, &namespace));
        }
    });
    address
}

fn pass_on(mut viewer: TcpStream, server: &str, namespace: &str) {
    let mut head = [0; 4096];
    let read = viewer.read(&mut head).unwrap();
    let head = String::from_utf8_lossy(&head[..read]);
    let Some((_, fields)) = head.split_once("\r\n") else { return };
    let (mut stream, answer, begun) =
        ask(server, &format!("GET /socket.io/?EIO=3&transport=websocket HTTP/1.1\r\n{fields}"));
    let enter = format!("40/{namespace},");
    // A text frame with a zero mask.
    let mut frame = vec![0x81, 0x80 | enter.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(enter.as_bytes());
    stream.write_all(&frame).unwrap();
    viewer.write_all(answer.as_bytes()).unwrap();
    viewer.write_all(&begun).unwrap();
    let mut piece = [0; 16 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut piece) {
        if viewer.write_all(&piece[..read]).is_err() {
            return;
        }
    }
}
