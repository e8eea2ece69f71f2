//! nginx, HAProxy or Caddy with its documented configuration from `deploy/`, in front of the real
//! program on a unix socket.
//!
//! Only what must differ in a test is replaced in the configuration: ports, paths and the idle
//! timeout. It is TLS on the one port, as documented, and plain on another one, for clients that
//! have no TLS. The client's TLS is that of `openssl s_client`.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::StreamExt;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Join, join};
use tokio::process::{Child as Process, ChildStdin, ChildStdout};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::clients::{Answer, parse};
use crate::servers::{DEADLINE, Program, append, command, eventually};
use crate::tail::Tail;

const NAME: &str = "logs.example.com";
/// The idle timeout of the proxies in these tests, in seconds.
const IDLE_SECONDS: usize = 2;
/// The server sends a heartbeat each second.
pub const HEARTBEATS_IN_THREE_TIMEOUTS: usize = 3 * IDLE_SECONDS;

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Haproxy,
    Caddy,
}

impl Kind {
    pub fn program(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Caddy => "caddy",
        }
    }

    /// Its program, which Debian keeps where not every user's `PATH` leads.
    fn path(self) -> Option<PathBuf> {
        let folders = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"];
        folders
            .iter()
            .map(|folder| Path::new(folder).join(self.program()))
            .find(|path| path.exists())
    }
}

/// How people sign in at the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignIn {
    /// They don't.
    None,
    /// With the name `ann` and the password `open`.
    Own,
    /// At a program that nginx asks, such as oauth2-proxy, at this address.
    Asked(SocketAddr),
}

const PASSWORD: &str = "open";

/// A running proxy, and the server behind it.
pub struct Proxy {
    kind: Kind,
    pub server: Program,
    directory: TempDir,
    tls: SocketAddr,
    plain: SocketAddr,
    child: Child,
}

/// The documented configuration, with these texts replaced.
fn documented(file: &str, replacements: &[(&str, String)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file);
    let mut text = std::fs::read_to_string(path).unwrap();
    for (from, to) in replacements {
        assert!(text.contains(from), "{file} has no {from:?}");
        text = text.replace(from, to);
    }
    text
}

/// The text with these commented lines in use. The lines of the same headers that the configuration has
/// without a sign-in are removed, as its comments say.
fn with_sign_in(text: &str, commented: &[&str], removed: &[&str]) -> String {
    for line in commented {
        assert!(text.contains(&format!("#{line}")), "it has no {line:?}");
    }
    for line in removed {
        assert!(text.lines().any(|own| own.trim() == *line), "it has no {line:?}");
    }
    let kept = text.lines().filter(|line| !removed.contains(&line.trim()));
    let used = kept.map(|line| match line.trim_start().strip_prefix('#') {
        Some(rest) if commented.iter().any(|line| rest.starts_with(line)) => rest,
        _ => line,
    });
    used.map(|line| format!("{line}\n")).collect()
}

fn nginx_with_sign_in(text: String, sign_in: SignIn, at: &Path) -> String {
    let removed =
        ["proxy_set_header X-Remote-User   \"\";", "proxy_set_header X-Remote-Groups \"\";"];
    match sign_in {
        SignIn::None => text,
        SignIn::Own => {
            let users = at.join("users");
            std::fs::write(&users, format!("ann:{}\n", hash(&["-apr1"]))).unwrap();
            let lines = [
                "auth_basic ",
                "auth_basic_user_file ",
                "proxy_set_header X-Remote-User   $remote_user;",
                "proxy_set_header X-Remote-Groups \"\";",
                "proxy_set_header Authorization   \"\";",
            ];
            with_sign_in(&text, &lines, &removed)
                .replace("/etc/nginx/tailcast.users", users.to_str().unwrap())
        }
        SignIn::Asked(address) => {
            let lines = [
                "auth_request ",
                "auth_request_set ",
                "proxy_set_header X-Remote-User   $tailcast_user;",
                "proxy_set_header X-Remote-Groups $tailcast_groups;",
                "proxy_set_header Cookie ",
                "error_page 401 = @sign_in;",
                "location ",
                "    ",
                "}",
            ];
            with_sign_in(&text, &lines, &removed).replace("127.0.0.1:4180", &address.to_string())
        }
    }
}

fn haproxy_with_sign_in(text: String, sign_in: SignIn) -> String {
    if sign_in == SignIn::None {
        return text;
    }
    let lines = [
        "userlist people",
        "    user ann password ",
        "http-request auth realm logs unless",
        "http-request set-header X-Remote-User ",
        "http-request del-header Authorization",
    ];
    with_sign_in(&text, &lines, &["http-request del-header X-Remote-User"])
        .replace("$6$...", &hash(&["-6"]))
}

fn caddy_with_sign_in(text: String, sign_in: SignIn) -> String {
    if sign_in == SignIn::None {
        return text;
    }
    let lines =
        ["basicauth {", "    ann ", "}", "header_up X-Remote-User ", "header_up -Authorization"];
    let output = Command::new(Kind::Caddy.path().unwrap())
        .args(["hash-password", "--plaintext", PASSWORD])
        .output()
        .unwrap();
    let hash = String::from_utf8(output.stdout).unwrap();
    with_sign_in(&text, &lines, &["header_up -X-Remote-User"]).replace("$2a$14$...", hash.trim())
}

/// The hash of [`PASSWORD`] by `openssl passwd`.
fn hash(form: &[&str]) -> String {
    let output = Command::new("openssl").arg("passwd").args(form).arg(PASSWORD).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Free addresses. Another program may take one before the proxy does, which then fails to start.
fn free_addresses() -> [SocketAddr; 2] {
    let held = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap())
}

fn make_certificate(directory: &Path) {
    let output = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ])
        .args([
            "-days",
            "2",
            "-subj",
            "/CN=logs.example.com",
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
        ])
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let [key, certificate] =
        ["key.pem", "cert.pem"].map(|name| std::fs::read_to_string(directory.join(name)).unwrap());
    std::fs::write(directory.join("both.pem"), certificate + &key).unwrap();
}

fn serve(directory: &Path, more: &[&str]) -> Program {
    let unix = format!("unix:{}", directory.join("tailcast.sock").display());
    let mut serve = command();
    serve.args(["serve", "--listen", "127.0.0.1:0", "--listen", &unix, "--base-path", "/logs"]);
    serve.args(["--trusted-proxy", "unix", "--allow-host", NAME]);
    serve.args(more).arg(directory.join("served"));
    Program::start(&mut serve)
}

impl Proxy {
    /// Starts the proxy before a server with an empty directory. None if it is not installed.
    pub async fn before_a_server(kind: Kind) -> Option<Self> {
        let heartbeat = |_: &Path| ["--heartbeat", "1"].map(str::to_owned).to_vec();
        Self::with_sign_in(kind, SignIn::None, heartbeat).await
    }

    /// The same with a sign-in at the proxy, for a server with the flags that `prepare` returns for its
    /// directory.
    pub async fn with_sign_in(
        kind: Kind,
        sign_in: SignIn,
        prepare: impl FnOnce(&Path) -> Vec<String>,
    ) -> Option<Self> {
        let program = kind.path()?;
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        std::fs::create_dir(at.join("served")).unwrap();
        make_certificate(at);
        let flags = prepare(&at.join("served"));
        let server = serve(at, &flags.iter().map(String::as_str).collect::<Vec<_>>());
        for attempt in 0.. {
            let [tls, plain] = free_addresses();
            let mut child = Self::start(kind, &program, at, tls, plain, sign_in);
            let is_up = |child: &mut Child| match child.try_wait().unwrap() {
                Some(_) => Err(true),
                None => std::net::TcpStream::connect(tls).map(drop).map_err(|_| false),
            };
            let mut has_ended = false;
            eventually("the proxy listens", async || match is_up(&mut child) {
                Err(false) => Err(std::fs::read_to_string(at.join("said")).unwrap()),
                Err(true) => {
                    has_ended = true;
                    Ok(())
                }
                Ok(()) => Ok(()),
            })
            .await;
            if !has_ended {
                return Some(Self { kind, server, tls, plain, child, directory });
            }
            let said = std::fs::read_to_string(at.join("said")).unwrap();
            assert!(attempt < 5, "{} ended: {said}", kind.program());
        }
        unreachable!("the last attempt fails")
    }

    fn start(
        kind: Kind,
        program: &Path,
        at: &Path,
        tls: SocketAddr,
        plain: SocketAddr,
        sign_in: SignIn,
    ) -> Child {
        let said =
            std::fs::File::options().append(true).create(true).open(at.join("said")).unwrap();
        let path = |name: &str| at.join(name).display().to_string();
        let socket = ("/run/tailcast/tailcast.sock", path("tailcast.sock"));
        let mut command = Command::new(program);
        match kind {
            Kind::Nginx => {
                let site = documented(
                    "nginx.conf",
                    &[
                        socket,
                        ("listen 443 ssl;", format!("listen {tls} ssl; listen {plain};")),
                        ("/etc/ssl/logs.example.com.pem", path("cert.pem")),
                        ("/etc/ssl/logs.example.com.key", path("key.pem")),
                        ("proxy_read_timeout 60s", format!("proxy_read_timeout {IDLE_SECONDS}s")),
                    ],
                );
                let site = nginx_with_sign_in(site, sign_in, at);
                std::fs::write(at.join("site.conf"), site).unwrap();
                let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
                let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                    .map(|name| format!("{name}_temp_path {};\n", path(name)))
                    .concat();
                let main = format!(
                    "{user}daemon off;\npid {};\nerror_log stderr;\nworker_processes 1;\n\
                     worker_shutdown_timeout 1s;\nevents {{}}\n\
                     http {{\naccess_log off;\n{folders}include {};\n}}\n",
                    path("pid"),
                    path("site.conf")
                );
                std::fs::write(at.join("nginx.conf"), main).unwrap();
                command.args([
                    "-p",
                    at.to_str().unwrap(),
                    "-e",
                    "stderr",
                    "-c",
                    &path("nginx.conf"),
                ]);
            }
            Kind::Haproxy => {
                let text = documented(
                    "haproxy.cfg",
                    &[
                        socket,
                        ("bind :443 ssl", format!("bind {plain}\n    bind {tls} ssl")),
                        ("/etc/haproxy/logs.example.com.pem", path("both.pem")),
                        ("hard-stop-after 5m", "hard-stop-after 1s".to_owned()),
                        ("timeout client       60s", format!("timeout client {IDLE_SECONDS}s")),
                        ("timeout server       60s", format!("timeout server {IDLE_SECONDS}s")),
                        ("timeout tunnel       60s", format!("timeout tunnel {IDLE_SECONDS}s")),
                    ],
                );
                let text = haproxy_with_sign_in(text, sign_in);
                std::fs::write(at.join("haproxy.cfg"), text).unwrap();
                command.args(["-W", "-db", "-f", &path("haproxy.cfg")]);
            }
            Kind::Caddy => {
                let sites = format!("https://{NAME}:{}", tls.port());
                let text = documented(
                    "Caddyfile",
                    &[
                        socket,
                        (
                            "\nlogs.example.com {",
                            format!(
                                "\n{{\n    admin off\n    auto_https disable_redirects\n    default_bind 127.0.0.1\n}}\n\n{sites} {{"
                            ),
                        ),
                    ],
                );
                let certificate = format!("    tls {} {}\n", path("cert.pem"), path("key.pem"));
                let text =
                    text.replace("    redir /logs", &format!("{certificate}    redir /logs"));
                let text = caddy_with_sign_in(text, sign_in);
                std::fs::write(at.join("Caddyfile"), text).unwrap();
                command.args(["run", "--adapter", "caddyfile", "--config", &path("Caddyfile")]);
                command.env("HOME", at).env("XDG_DATA_HOME", at).env("XDG_CONFIG_HOME", at);
            }
        }
        command.current_dir(at).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        command.spawn().unwrap()
    }

    /// Starts another server in place of the first.
    pub fn serve_again(&mut self, more: &[&str]) {
        self.server.child.kill().unwrap();
        self.server.child.wait().unwrap();
        self.server = serve(self.directory.path(), more);
    }

    /// Makes the proxy read its configuration again. Connections are cut soon.
    pub async fn reload(&self) {
        let signal = match self.kind {
            Kind::Nginx => Signal::HUP,
            Kind::Haproxy => Signal::USR2,
            Kind::Caddy => panic!("it has no signal for this"),
        };
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("served").join(name)
    }

    /// Writes a log. Returns its percent-encoded path, without the base.
    pub fn log(&self, name: &str, content: &str) -> String {
        append(self.path(name), content);
        let path = self.path(name).to_str().unwrap().to_owned();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
        path.bytes()
            .map(
                |byte| {
                    if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
                },
            )
            .collect()
    }

    /// The origin of its pages.
    pub fn origin(&self) -> String {
        format!("https://{}", self.host())
    }

    fn host(&self) -> String {
        format!("{NAME}:{}", self.tls.port())
    }

    /// A connection with TLS.
    fn connect(&self) -> (Process, Join<ChildStdout, ChildStdin>) {
        let mut child = tokio::process::Command::new("openssl")
            .args(["s_client", "-quiet", "-verify_quiet", "-servername", NAME, "-connect"])
            .arg(self.tls.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stream = join(child.stdout.take().unwrap(), child.stdin.take().unwrap());
        (child, stream)
    }

    /// The answer for a target below the base.
    pub async fn get(&self, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.get_at(&format!("/logs{target}"), headers).await
    }

    /// The answer for a target.
    pub async fn get_at(&self, target: &str, headers: &[(&str, &str)]) -> Answer {
        let (_child, mut stream) = self.connect();
        stream.write_all(self.head(target, headers).as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
        read.expect("an answer in time").unwrap();
        parse(&answer)
    }

    fn head(&self, target: &str, headers: &[(&str, &str)]) -> String {
        let mut head =
            format!("GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.host());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head + "\r\n"
    }

    /// Follows a log by server-sent events, and appends to it while the stream is open.
    pub async fn follows_without_delay(&self, log: &str) {
        let (_child, mut stream) = self.connect();
        let headers = [("Accept", "text/event-stream")];
        let head = self.head(&format!("/logs{log}?tail=1"), &headers);
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut came = Vec::new();
        let log = PathBuf::from(log);
        for text in ["first", "second", "third"] {
            while !String::from_utf8_lossy(&came).contains(text) {
                let read = timeout(DEADLINE, stream.read_buf(&mut came)).await;
                let read = read.unwrap_or_else(|_| panic!("{text} does not come")).unwrap();
                assert!(read > 0, "ended after {:?}", String::from_utf8_lossy(&came));
            }
            if text == "first" {
                append(&log, "second\n");
            } else if text == "second" {
                append(&log, "third\n");
            }
        }
        std::fs::write(&log, "first\nERROR: it failed\n").unwrap();
    }

    /// Follows a log by a WebSocket with TLS.
    pub async fn follow(&self, log: &str) -> Follower {
        self.follow_with(log, &[]).await
    }

    /// The same with more headers.
    pub async fn follow_with(&self, log: &str, headers: &[(&'static str, &str)]) -> Follower {
        let (child, stream) = self.connect();
        let url = format!("ws://{}/logs{log}?tail=1&lines=all&format=raw", self.host());
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let connecting = tokio_tungstenite::client_async(request, stream);
        let (stream, _) = timeout(DEADLINE, connecting).await.expect("in time").unwrap();
        Follower { stream, _child: child, came: Vec::new() }
    }

    /// Follows a log by `tailcast tail`, without TLS.
    pub fn tail(&self, log: &str) -> Tail {
        Tail::start(&["-n", "all", &format!("http://{}/logs{log}", self.plain)])
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // These have children, which end with them.
        kill_process(Pid::from_child(&self.child), Signal::TERM).ok();
        let until = std::time::Instant::now() + Duration::from_secs(5);
        while std::time::Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
            crate::servers::pace_blocking(Duration::from_millis(20));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A viewer behind a proxy.
pub struct Follower {
    stream: WebSocketStream<Join<ChildStdout, ChildStdin>>,
    _child: Process,
    came: Vec<u8>,
}

impl Follower {
    /// The next message; None at the end of the connection.
    async fn next(&mut self) -> Option<Message> {
        let next = timeout(DEADLINE, self.stream.next()).await;
        next.unwrap_or_else(|_| panic!("nothing after {:?}", String::from_utf8_lossy(&self.came)))?
            .ok()
    }

    /// Reads until it has got this, and nothing else.
    pub async fn read_until(&mut self, wanted: &str) {
        while self.came.len() < wanted.len() {
            match self.next().await {
                Some(Message::Binary(bytes)) => self.came.extend_from_slice(&bytes),
                Some(Message::Ping(_)) => {}
                other => panic!("{other:?} after {:?}", String::from_utf8_lossy(&self.came)),
            }
        }
        assert_eq!(String::from_utf8_lossy(&self.came), wanted);
    }

    /// Waits for so many heartbeats, with nothing else between them.
    pub async fn wait_for_heartbeats(&mut self, count: usize) {
        for heartbeat in 0..count {
            match self.next().await {
                Some(Message::Ping(_)) => {}
                other => panic!("{other:?} after {heartbeat} heartbeats"),
            }
        }
    }

    /// Waits until the proxy cuts the connection, before anything comes.
    pub async fn is_cut(&mut self) {
        match self.next().await {
            None => {}
            other => panic!("{other:?}, and the connection is open"),
        }
    }
}
