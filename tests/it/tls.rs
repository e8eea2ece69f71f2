//! TLS on the TCP addresses: the handshake, the certificate's files, and what is told to a client
//! that speaks the wrong protocol. What streams promise is tested over TLS beside the same test
//! over plain TCP.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;
use rustls::version::{TLS12, TLS13};
use tailcast::log::Access;
use tailcast::serve::Settings;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error;

use crate::clients::{Viewer, exchange, get, parse};
use crate::servers::{
    DEADLINE, Program, TestServer, append, command, eventually, output_of, put, target,
};
use crate::transport::{self, Io, Pem, client_config, encrypted};

/// How long a change of a file may take to have its effect.
const RELOAD_TIME_MAX: Duration = Duration::from_secs(5);

/// The server's certificate, as a new connection sees it.
async fn seen(address: std::net::SocketAddr) -> Vec<u8> {
    let Io::Tls(stream) = Io::to(address).await.unwrap() else { panic!("it speaks no TLS") };
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_no_other_protocol_than_http_1_1() {
    let server = TestServer::with(encrypted()).await;
    for (version, known) in
        [(&TLS12, rustls::ProtocolVersion::TLSv1_2), (&TLS13, rustls::ProtocolVersion::TLSv1_3)]
    {
        let connect = async |protocols: &[&str]| {
            let mut config = client_config(&[version]);
            config.alpn_protocols =
                protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
            Io::tls(TcpStream::connect(server.address).await.unwrap(), config).await
        };
        for (offered, agreed) in [
            (&[][..], None),
            (&["http/1.1"], Some("http/1.1")),
            (&["h2", "http/1.1"], Some("http/1.1")),
        ] {
            let mut io = connect(offered).await.unwrap();
            let Io::Tls(stream) = &io else { panic!("it speaks no TLS") };
            let (_, session) = stream.get_ref();
            assert_eq!(session.protocol_version(), Some(known));
            assert_eq!(session.alpn_protocol(), agreed.map(str::as_bytes), "{offered:?}");
            io.write_all(
                b"GET /_/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            )
            .await
            .unwrap();
            let mut answer = Vec::new();
            // An end without `close_notify` would be an error.
            io.read_to_end(&mut answer).await.unwrap();
            assert_eq!(parse(&answer).status, 200);
        }
        assert!(connect(&["h2"]).await.is_err(), "HTTP/2 alone is not spoken");
    }
}

#[tokio::test]
async fn http_on_a_port_with_tls_is_answered_with_the_address_that_is_meant() {
    let server = TestServer::with(encrypted()).await;
    let request = |accept: &str, host: &str| {
        format!(
            "GET /var/log/a%20b.log?tail=1&x=%3Cb%3E HTTP/1.1\r\nHost: {host}\r\n\
             Accept: {accept}\r\n\r\n"
        )
    };
    let ask = async |request: String| {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("no end").unwrap();
        parse(&answer)
    };
    let url = "https://logs.example:8443/var/log/a%20b.log?tail=1&x=%3Cb%3E";
    let plain = ask(request("*/*", "logs.example:8443")).await;
    assert_eq!((plain.status, plain.header("connection")), (400, Some("close")));
    assert_eq!(plain.text(), format!("this port speaks https\nhint: open {url}\n"));
    let page = ask(request("text/html", "logs.example:8443")).await;
    let escaped = url.replace('&', "&#38;");
    assert_eq!(page.status, 400);
    let link = format!("<a href=\"{escaped}\">{escaped}</a>");
    assert!(page.text().contains(&link), "{}", page.text());
    for host in ["", "a@b", "<b>"] {
        let answer = ask(request("text/html", host)).await;
        assert_eq!(answer.status, 400, "{host}");
        assert!(!answer.text().contains("<b>") && !answer.text().contains('@'), "{host}");
    }
}

#[tokio::test]
async fn a_tls_client_on_a_port_without_tls_is_let_go_at_once() {
    if transport::is_everything_encrypted() {
        return;
    }
    let server = TestServer::start().await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let shaking = Io::tls(stream, client_config(rustls::ALL_VERSIONS));
    let error = timeout(DEADLINE / 4, shaking).await.expect("it waits").err().unwrap();
    assert!(error.to_string().contains("corrupt message"), "{error}");
    assert_eq!(get(server.address, "/_/healthz", &[]).await.status, 200);
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_closed_and_delays_no_other() {
    let settings = Settings { head_timeout: Duration::from_secs(1), ..encrypted() };
    let server = TestServer::with(settings).await;
    let mut silent = Vec::new();
    // A handshake of 200 bytes, of which these are the first.
    for begun in [&b""[..], b"\x16", b"\x16\x03\x01\x00\xc8\x01\x00"] {
        for _ in 0..50 {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            stream.write_all(begun).await.unwrap();
            silent.push(stream);
        }
    }
    let asked = Instant::now();
    assert_eq!(get(server.address, "/_/healthz", &[]).await.status, 200);
    assert!(asked.elapsed() < Duration::from_secs(1), "a good client waited {:?}", asked.elapsed());
    for mut stream in silent {
        let ended = timeout(DEADLINE, stream.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok(), "still open");
    }
}

/// A server with few descriptors, and room for so many viewers.
fn short_of_descriptors(scene: &Scene, viewers_max: &str) -> Program {
    let flags = Pem::arguments(scene.directory.path());
    let mut arguments = vec![scene.served(), "--max-viewers", viewers_max];
    arguments.extend(flags.iter().map(String::as_str));
    Program::serve_under("ulimit -n 64", &arguments)
}

#[tokio::test]
async fn silent_handshakes_give_way_to_new_connections() {
    let scene = Scene::new();
    let program = short_of_descriptors(&scene, "10");
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(program.address).await.unwrap());
    }
    eventually("the server runs short of descriptors", async || match program.said() {
        said if said.contains("can't accept") => Ok(()),
        said => Err(said),
    })
    .await;
    let asked = Instant::now();
    assert_eq!(get(program.address, "/_/healthz", &[]).await.status, 200);
    assert!(asked.elapsed() < Duration::from_secs(2), "it took {:?}", asked.elapsed());
    drop(silent);
}

#[tokio::test]
async fn the_oldest_of_too_many_handshakes_gives_way_before_its_time() {
    let server = TestServer::with(encrypted()).await;
    let mut silent = Vec::new();
    let begun = Instant::now();
    for _ in 0..300 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    for stream in &mut silent[..20] {
        let ended = timeout(DEADLINE, stream.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok(), "still open");
    }
    assert!(begun.elapsed() < Settings::default().head_timeout, "after {:?}", begun.elapsed());
    assert_eq!(get(server.address, "/_/healthz", &[]).await.status, 200);
}

#[tokio::test]
async fn a_connection_that_is_turned_away_is_told_over_tls() {
    let scene = Scene::new();
    let program = short_of_descriptors(&scene, "100");
    let tail = format!("{}?tail=1", scene.target());
    let mut viewers = Vec::new();
    let mut refusals = 0;
    // A viewer takes more descriptors while it joins than afterwards, so that one can be refused and the next request has
    // room.
    let answer = loop {
        assert!(
            viewers.len() < 64 && refusals < 64,
            "{} viewers and {refusals} refusals",
            viewers.len()
        );
        match Viewer::connect(program.address, &tail, &[]).await {
            Ok((viewer, _)) => {
                viewers.push(viewer);
                continue;
            }
            Err(Error::Http(answer)) => assert_eq!(answer.status(), 503),
            Err(error) => panic!("it is told nothing: {error}"),
        }
        refusals += 1;
        let answer = get(program.address, "/_/healthz", &[]).await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
    // An established viewer notices nothing.
    append(scene.path().join("logs/a.log"), "second\n");
    assert_eq!(viewers[0].text_until("second\n").await, "first\nsecond\n");
}

/// A log, and the files of a certificate beside it.
struct Scene {
    directory: TempDir,
    pem: Pem,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("logs")).unwrap();
        append(directory.path().join("logs/a.log"), "first\n");
        let pem = Pem::new();
        pem.write(directory.path());
        Self { directory, pem }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn served(&self) -> &str {
        self.path().to_str().unwrap()
    }

    fn target(&self) -> String {
        format!("{}/logs/a.log", self.served())
    }

    fn serve(&self) -> Program {
        let flags = Pem::arguments(self.path());
        let mut arguments = vec![self.served()];
        arguments.extend(flags.iter().map(String::as_str));
        Program::serve(&arguments)
    }
}

/// Waits until the program has said something for the `count`-th time.
async fn says(program: &Program, what: &str, count: usize) {
    eventually(what, async || {
        let said = program.said();
        if said.matches(what).count() >= count { Ok(()) } else { Err(said) }
    })
    .await;
}

#[tokio::test]
async fn a_new_certificate_is_taken_without_a_restart_and_viewers_lose_nothing() {
    let scene = Scene::new();
    let program = scene.serve();
    assert!(program.printed.starts_with("https://127.0.0.1:"), "{}", program.printed);
    assert_eq!(seen(program.address).await, scene.pem.der);
    let mut viewer = Viewer::original(program.address, &format!("{}?tail=1", scene.target())).await;
    assert_eq!(viewer.text().await, "first\n");
    let log = scene.path().join("logs/a.log");
    let told = "read the configuration again";

    // By itself. Kubernetes swaps a directory like this.
    let changed = Instant::now();
    let second = Pem::new();
    second.write(scene.path());
    eventually("the new certificate", async || {
        let now = seen(program.address).await;
        if now == second.der { Ok(()) } else { Err(program.said()) }
    })
    .await;
    assert!(changed.elapsed() < RELOAD_TIME_MAX, "after {:?}", changed.elapsed());
    append(&log, "second\n");
    assert_eq!(viewer.text().await, "second\n");

    // A key that is not its own, and one that has expired: nothing changes.
    put(scene.path().join("key.pem"), &Pem::new().key);
    says(&program, "the key is not that of the certificate", 1).await;
    assert_eq!(seen(program.address).await, second.der);
    let expired = Pem::with(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    expired.write(scene.path());
    says(&program, "the certificate has expired on Wed, 01 Jan 2020", 1).await;
    assert_eq!(seen(program.address).await, second.der);
    std::fs::remove_file(scene.path().join("chain.pem")).unwrap();
    says(&program, "cannot read", 1).await;
    assert_eq!(seen(program.address).await, second.der);

    // At once, when asked.
    let third = Pem::new();
    let before = program.said().matches(told).count();
    third.write(scene.path());
    program.signal(Signal::HUP);
    says(&program, told, before + 1).await;
    assert_eq!(seen(program.address).await, third.der);
    append(&log, "third\n");
    assert_eq!(viewer.text().await, "third\n");
}

#[tokio::test]
async fn a_certificate_behind_a_link_that_is_swapped_is_taken() {
    let scene = Scene::new();
    let data = scene.path().join("..data");
    let version = |name: &str, pem: &Pem| {
        let directory = scene.path().join(name);
        std::fs::create_dir(&directory).unwrap();
        pem.write(&directory);
        let new = scene.path().join("..new");
        std::os::unix::fs::symlink(name, &new).unwrap();
        std::fs::rename(new, &data).unwrap();
    };
    version("..1", &scene.pem);
    for name in ["chain.pem", "key.pem"] {
        std::fs::remove_file(scene.path().join(name)).unwrap();
        let inside = Path::new("..data").join(name);
        std::os::unix::fs::symlink(inside, scene.path().join(name)).unwrap();
    }
    let program = scene.serve();
    assert_eq!(seen(program.address).await, scene.pem.der);
    let second = Pem::new();
    let changed = Instant::now();
    version("..2", &second);
    eventually("the new certificate", async || {
        let now = seen(program.address).await;
        if now == second.der { Ok(()) } else { Err(program.said()) }
    })
    .await;
    assert!(changed.elapsed() < RELOAD_TIME_MAX, "after {:?}", changed.elapsed());
}

#[test]
fn files_that_cannot_be_used_are_refused_at_the_start_with_what_to_do() {
    let scene = Scene::new();
    let [_, chain, _, key] = Pem::arguments(scene.path());
    let other = scene.path().join("other.pem");
    put(&other, Pem::new().key);
    let other = other.to_str().unwrap();
    let missing = scene.path().join("missing.pem");
    let missing = missing.to_str().unwrap();
    for (flags, said, hint) in [
        (&["--tls-cert", &chain][..], "need each other", "give `--tls-cert FILE` and"),
        (&["--tls-key", &key], "need each other", "give `--tls-cert FILE` and"),
        (
            &["--tls-cert", &chain, "--tls-key", other],
            "the key is not that of",
            "name the key from",
        ),
        (&["--tls-cert", &key, "--tls-key", &chain], "a key and no certificate", "first"),
        (&["--tls-cert", missing, "--tls-key", &key], "cannot read", "the server's user may read"),
    ] {
        let mut serve = command();
        let output = output_of(serve.args(["serve", "--port", "0", scene.served()]).args(flags));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {stderr}");
        assert!(stderr.contains(said), "{flags:?}: {stderr}");
        let hinted = stderr.lines().find_map(|line| line.strip_prefix("hint: "));
        assert!(hinted.is_some_and(|hinted| hinted.contains(hint)), "{flags:?}: {stderr}");
    }
}

#[tokio::test]
async fn an_expired_certificate_and_an_open_key_are_warned_of_and_served() {
    use std::os::unix::fs::PermissionsExt;

    let scene = Scene::new();
    let expired = Pem::with(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    expired.write(scene.path());
    let key = scene.path().join("key.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let program = scene.serve();
    let said = program.said();
    assert!(said.contains("the certificate has expired on Wed, 01 Jan 2020"), "{said}");
    assert!(said.contains("every user of this machine may read the key"), "{said}");
    // A valid one replaces it.
    scene.pem.write(scene.path());
    eventually("the new certificate", async || {
        let stream = TcpStream::connect(program.address).await.unwrap();
        Io::tls(stream, client_config(rustls::ALL_VERSIONS)).await.map(drop)
    })
    .await;
}

/// The certificate changes under many viewers: nobody loses a byte, and new ones see the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_change_under_viewers_that_lose_no_byte() {
    let viewers: usize =
        std::env::var("TAILCAST_TEST_VIEWERS").map_or(100, |count| count.parse().unwrap());
    let server = TestServer::with(encrypted()).await;
    let log = server.log("a.log", "");
    let target = format!("{log}?tail=1&lines=all&format=raw");
    let (mut reading, mut written) = (Vec::new(), String::new());
    for round in 0..10 {
        let new = Pem::new();
        let access = Access::new([server.directory.path()]).unwrap();
        let settings = Settings { certificate: Some(new.certificate()), ..Settings::default() };
        server.handle.reload(access, settings).await;
        assert_eq!(seen(server.address).await, new.der);
        for _ in 0..viewers / 10 {
            let mut viewer = Viewer::original(server.address, &target).await;
            reading.push(tokio::spawn(async move {
                let mut got = Vec::new();
                while !got.ends_with(b"the end\n") {
                    got.extend_from_slice(&viewer.next().await.unwrap().into_data());
                }
                got
            }));
        }
        for line in 0..50 {
            let line = format!("{round} {line} {}\n", "x".repeat(line * 40));
            append(&log, &line);
            written += &line;
        }
    }
    append(&log, "the end\n");
    written += "the end\n";
    for reading in reading {
        assert!(reading.await.unwrap() == written.as_bytes(), "a byte is lost");
    }
}

#[tokio::test]
async fn over_tls_only_pages_that_came_by_tls_are_the_servers_own() {
    let server = TestServer::with(encrypted()).await;
    let log = server.log("a.log", "x\n");
    let host = server.address.to_string();
    for (origin, status) in [
        (format!("https://{host}"), 200),
        (format!("http://{host}"), 403),
        ("https://evil.example".to_owned(), 403),
    ] {
        let answer = get(server.address, &log, &[("Origin", &origin)]).await;
        assert_eq!(answer.status, status, "{origin}");
        let viewer = Viewer::connect(server.address, &log, &[("origin", &origin)]).await;
        assert_eq!(viewer.is_ok(), status == 200, "{origin}");
    }
    let answer = get(server.address, &log, &[("Host", "evil.example")]).await;
    assert_eq!(answer.status, 421);
    assert_eq!(answer.header("strict-transport-security"), None);
}

#[tokio::test]
async fn a_request_in_many_small_records_is_read() {
    let server = TestServer::with(encrypted()).await;
    let mut io = Io::to(server.address).await.unwrap();
    for byte in b"GET /_/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" {
        io.write_all(&[*byte]).await.unwrap();
    }
    let mut answer = Vec::new();
    timeout(DEADLINE, io.read_to_end(&mut answer)).await.expect("no end").unwrap();
    assert_eq!(parse(&answer).status, 200);
    assert_eq!(exchange(server.address, b"nonsense\r\n\r\n").await.status, 400);
}

/// Runs `tail` to the end of the log.
fn tail(url: &str, flags: &[&str]) -> (Option<i32>, String, String) {
    let output = output_of(command().args(["tail", "--no-follow"]).args(flags).arg(url));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tail_follows_a_server_whose_authority_it_is_told() {
    let server = TestServer::with(encrypted()).await;
    let log = server.log("a.log", "first\n");
    let url = format!("https://{}{log}", server.address);
    let file = server.path("ca.pem");
    put(&file, transport::authority());
    let ca = ["--ca", file.to_str().unwrap()];
    assert_eq!(tail(&url, &ca), (Some(0), "first\n".to_owned(), String::new()));
    let (code, printed, said) = tail(&url, &["--insecure"]);
    assert_eq!((code, printed.as_str()), (Some(0), "first\n"));
    assert!(said.contains("warning: `--insecure` accepts any certificate"), "{said}");
    // An authority of the machine is named in this way, too.
    let mut by_machine = command();
    by_machine.env("SSL_CERT_FILE", &file).args(["tail", "--no-follow", &url]);
    assert_eq!(output_of(&mut by_machine).stdout, b"first\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_cannot_be_trusted_ends_tail_with_what_to_do() {
    let year = rcgen::date_time_ymd;
    let expired = Pem::with(|params| params.not_after = year(2020, 1, 1));
    let future = Pem::with(|params| {
        (params.not_before, params.not_after) = (year(2090, 1, 1), year(2091, 1, 1));
    });
    let other = Pem::with(|params| {
        params.subject_alt_names =
            vec![rcgen::SanType::DnsName("logs.example".try_into().unwrap())];
    });
    for (pem, known, said, hint) in [
        (&Pem::new(), false, "not issued by anybody who is trusted here", "`--ca FILE`"),
        (&expired, true, "the server's certificate has expired", "renew the certificate"),
        (&future, true, "the server's certificate is not valid yet", "the clock"),
        (&other, true, "for another name: DnsName(\"logs.example\")", "with a name that"),
    ] {
        let settings = Settings { certificate: Some(pem.certificate()), ..Settings::default() };
        let server = TestServer::with(settings).await;
        let log = server.log("a.log", "secret\n");
        let file = server.path("ca.pem");
        put(&file, transport::authority());
        let ca = ["--ca", file.to_str().unwrap()];
        let url = format!("https://{}{log}", server.address);
        let (code, printed, told) = tail(&url, if known { &ca } else { &[] });
        assert_eq!((code, printed.as_str()), (Some(1), ""), "{said}: {told}");
        assert!(told.contains(said) && told.contains(hint), "{said}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wrong_scheme_is_told_by_tail() {
    let encrypted = TestServer::with(encrypted()).await;
    let log = encrypted.log("a.log", "x\n");
    let (code, _, said) = tail(&format!("http://{}{log}", encrypted.address), &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("this port speaks https"), "{said}");
    if transport::is_everything_encrypted() {
        return;
    }
    let plain = TestServer::start().await;
    let log = plain.log("a.log", "x\n");
    let (code, _, said) = tail(&format!("https://{}{log}", plain.address), &["--insecure"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("the server speaks no TLS there"), "{said}");
    assert!(said.contains("begin the URL with http://"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bench_measures_a_server_with_tls() {
    let server = TestServer::with(encrypted()).await;
    let log = server.log("a.log", "");
    let url = format!("https://{}{log}", server.address);
    let file = server.path("ca.pem");
    put(&file, transport::authority());
    let all = ["bench", &url, "--write", &log, "--viewers", "20", "--duration", "1", "--json"];
    let run = |flags: &[&str]| output_of(command().args(all).args(flags));
    let output = run(&["--ca", file.to_str().unwrap(), "--slow", "2@8K"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["viewers"]["connected"], 22, "{report}");
    let output = run(&[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("not issued by anybody who is trusted"), "{said}");
}

#[tokio::test]
async fn a_certificate_of_ones_own_making_works_if_it_is_no_authority() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("a.log");
    append(&log, "line\n");
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let made = |constraint: &str| {
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        openssl.args(["-nodes", "-days", "90", "-subj", "/CN=logs"]);
        openssl.args(["-keyout", &path("key.pem"), "-out", &path("chain.pem")]);
        openssl.args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", constraint]);
        assert!(output_of(&mut openssl).status.success());
    };
    for (constraint, code, words) in [
        ("basicConstraints=critical,CA:FALSE", 0, ""),
        ("basicConstraints=critical,CA:TRUE", 1, "CA:FALSE"),
    ] {
        made(constraint);
        let served = directory.path().to_str().unwrap();
        let arguments = Pem::arguments(directory.path());
        let mut all = vec![served];
        all.extend(arguments.iter().map(String::as_str));
        let program = Program::serve(&all);
        let url = format!("https://{}{}", program.address, target(&log));
        let mut tail = command();
        tail.args(["tail", "--no-follow", "-n", "all", "--ca", &path("chain.pem"), &url]);
        let output = spawn_blocking(move || output_of(&mut tail));
        let output = output.await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{constraint}: {said}");
        assert!(said.contains(words), "{constraint}: {said}");
    }
}

#[tokio::test]
async fn the_end_of_the_certificate_is_among_the_metrics_and_follows_a_new_one() {
    let name = "tailcast_tls_certificate_expiry_timestamp_seconds";
    let scene = Scene::new();
    let until = |year| Pem::with(|params| params.not_after = rcgen::date_time_ymd(year, 1, 1));
    until(2040).write(scene.path());
    let program = scene.serve();
    let shows = async |seconds: &str| {
        eventually(seconds, async || {
            let text = get(program.address, "/_/metrics", &[]).await.text();
            let line = format!("{name} {seconds}");
            if text.lines().any(|shown| shown == line) { Ok(()) } else { Err(text) }
        })
        .await;
    };
    shows("2208988800").await;
    until(2050).write(scene.path());
    shows("2524608000").await;
    let plain = TestServer::start().await;
    let text = get(plain.address, "/_/metrics", &[]).await.text();
    assert!(!text.contains(name), "there is no certificate: {text}");
}

#[tokio::test]
async fn a_certificate_that_expires_soon_is_told_at_the_start() {
    let scene = Scene::new();
    let soon = SystemTime::now() + Duration::from_secs(13 * 24 * 3600);
    Pem::with(|params| params.not_after = soon.into()).write(scene.path());
    let program = scene.serve();
    says(&program, "the certificate expires on ", 1).await;
}
