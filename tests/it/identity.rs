//! Who visitors are: passwords, tokens and sessions of the real program.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tailcast::serve::{password_hash, token_digest};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Error;

use crate::clients::{Answer, Streaming, Viewer, exchange, get};
use crate::servers::{Program, append, command, eventually, output_of, put, target};

/// How long a change may take to end what it ends.
const END_TIME_MAX: Duration = Duration::from_secs(5);
const TOKEN: &str = "a-token-of-the-tests";
const HTML: (&str, &str) = ("Accept", "text/html");

/// `Authorization` for Ann with the password `open`, for Bob with `sesame`, and with wrong ones.
const ANN: (&str, &str) = ("Authorization", "Basic YW5uOm9wZW4=");
const BOB: (&str, &str) = ("Authorization", "Basic Ym9iOnNlc2FtZQ==");
const WRONG: (&str, &str) = ("Authorization", "Basic YW5uOm1pc2d1ZXNz");
const NOBODY: (&str, &str) = ("Authorization", "Basic ZXZlOm1pc2d1ZXNz");

struct Scene {
    directory: TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { directory: tempfile::tempdir().unwrap() };
        for name in ["a", "b"] {
            std::fs::create_dir_all(scene.path("logs").join(name)).unwrap();
            append(scene.log(name), format!("first of {name}\n"));
        }
        scene.users(&["ann", "bob"]);
        put(scene.path("tokens"), format!("ci:{}\n", token_digest(TOKEN)));
        scene.configure("");
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.path("logs").join(name).join("a.log")
    }

    fn users(&self, names: &[&str]) {
        let line = |name: &&str| {
            let password = if *name == "bob" { "sesame" } else { "open" };
            format!("{name}:{}\n", password_hash(password, 4).unwrap())
        };
        put(self.path("users"), names.iter().map(line).collect::<String>());
    }

    fn configure(&self, more: &str) {
        let text = format!(
            "prefix = [{:?}]\nusers = {:?}\ntokens = {:?}\nstate-dir = {:?}\n{more}",
            self.path("logs"),
            self.path("users"),
            self.path("tokens"),
            self.path("state")
        );
        put(self.path("tailcast.toml"), text);
    }

    fn serve(&self) -> Program {
        Program::serve(&["--config", self.path("tailcast.toml").to_str().unwrap()])
    }

    /// The rule that lets somebody read one of the directories.
    fn rule(&self, who: &str, name: &str) -> String {
        format!("[[allow]]\nwho = [{who:?}]\nread = [{:?}]\n", self.path("logs").join(name))
    }
}

async fn post(program: &Program, target: &str, form: &str, headers: &[(&str, &str)]) -> Answer {
    let mut head = format!(
        "POST {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
        program.address,
        form.len()
    );
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    exchange(program.address, format!("{head}\r\n{form}").as_bytes()).await
}

const SIGN_IN: &str = "name=ann&password=open&next=%2F";

/// The cookie that an answer sets, without its attributes.
fn cookie_of(answer: &Answer) -> String {
    let cookie = answer.header("set-cookie").unwrap_or_else(|| panic!("{answer:?}"));
    cookie.split(';').next().unwrap().to_owned()
}

async fn status(program: &Program, target: &str, headers: &[(&str, &str)]) -> u16 {
    get(program.address, target, headers).await.status
}

#[tokio::test]
async fn nothing_but_the_sign_in_and_the_health_is_answered_without_an_identity() {
    let scene = Scene::new();
    let program = scene.serve();
    let (address, log) = (program.address, target(&scene.log("a")));
    for more in ["/", "/_/logs", "/_/merged", "/_/check?origin=x", "/_/nothing", "/etc/passwd"] {
        let answer = get(address, more, &[]).await;
        assert_eq!(answer.status, 401, "{more}");
        let text = format!("{answer:?}").to_lowercase();
        assert!(text.contains(r#"www-authenticate: basic realm=\"tailcast\", charset=\"utf-8\""#));
        assert!(text.contains(r#"www-authenticate: bearer realm=\"tailcast\""#), "{text}");
    }
    for call in ["", "/_/rows", "/_/lines", "/_/find", "/_/text", "/_/newer"] {
        assert_eq!(status(&program, &format!("{call}{log}"), &[]).await, 401, "{call}");
    }
    assert_eq!(status(&program, &log, &[("Accept", "text/event-stream")]).await, 401);
    assert_eq!(status(&program, &format!("/_/events?log={log}"), &[]).await, 401);
    assert_eq!(status(&program, &format!("/_/merged-rows?log={log}"), &[]).await, 401);
    match Viewer::connect(address, &log, &[("sec-websocket-protocol", "tailcast.v1")]).await {
        Err(Error::Http(answer)) => assert_eq!(answer.status(), 401, "before any 101"),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was let in"),
    }
    assert_eq!(get(address, "/_/healthz", &[]).await.text(), r#"{"status":"ok"}"#);
    for page in ["/_/sign-in", "/_/sign-out"] {
        let page = get(address, page, &[HTML]).await;
        assert_eq!(page.status, 200);
        let text = page.text();
        // What the page loads is there, too.
        for part in text.split(['"']).filter(|part| part.starts_with("/_/page/")) {
            assert_eq!(status(&program, part, &[]).await, 200, "{part}");
        }
        assert!(page.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
        assert_eq!(page.header("cache-control"), Some("no-store"));
    }
}

#[tokio::test]
async fn a_browser_that_wants_a_page_is_sent_to_the_sign_in_and_back() {
    let scene = Scene::new();
    let program = scene.serve();
    let wanted = format!("{}?lines=5&from=1", target(&scene.log("a")));
    let sent = get(program.address, &wanted, &[HTML]).await;
    assert_eq!(sent.status, 303);
    let location = sent.header("location").unwrap().to_owned();
    assert!(location.starts_with("/_/sign-in?next=%2F"), "{location}");
    let next = location.split_once("next=").unwrap().1;
    let page = get(program.address, &location, &[HTML]).await.text();
    assert!(page.contains(&wanted.replace('&', "&#38;")), "the form keeps the place: {page}");
    let signed_in =
        post(&program, "/_/sign-in", &format!("name=ann&password=open&next={next}"), &[HTML]).await;
    assert_eq!((signed_in.status, signed_in.header("location")), (303, Some(wanted.as_str())));
    let cookie = cookie_of(&signed_in);
    assert_eq!(status(&program, &wanted, &[("Cookie", &cookie), HTML]).await, 200);
    // A script of the page is told, and sent nowhere.
    for mode in ["cors", "same-origin"] {
        let script = [HTML, ("Sec-Fetch-Mode", mode), ("Sec-Fetch-Site", "same-origin")];
        let answer = get(program.address, &wanted, &script).await;
        assert_eq!(answer.status, 401);
        assert!(!format!("{answer:?}").contains("Basic"), "a browser would ask by itself");
    }
}

#[tokio::test]
async fn a_cookie_has_the_attributes_that_protect_it() {
    let scene = Scene::new();
    scene.configure("trusted-proxy = ['127.0.0.1']\nbase-path = '/logs'\n");
    let program = scene.serve();
    let attributes = async |headers: &[(&str, &str)]| {
        let answer = post(&program, "/logs/_/sign-in", SIGN_IN, headers).await;
        assert_eq!((answer.status, answer.header("location")), (303, Some("/logs/")));
        let cookie = answer.header("set-cookie").unwrap().to_owned();
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        (pair.split('=').next().unwrap().to_owned(), attributes.to_owned())
    };
    let plain = "Path=/logs; Max-Age=604800; HttpOnly; SameSite=Lax";
    assert_eq!(attributes(&[]).await, ("tailcast".to_owned(), plain.to_owned()));
    let tls = [("X-Forwarded-Proto", "https")];
    assert_eq!(
        attributes(&tls).await,
        ("__Secure-tailcast".to_owned(), format!("{plain}; Secure"))
    );
    drop(program);
    scene.configure("trusted-proxy = ['127.0.0.1']\n");
    let program = scene.serve();
    let answer = post(&program, "/_/sign-in", SIGN_IN, &tls).await;
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-tailcast=ann|"), "{cookie}");
    assert!(
        cookie.ends_with("; Path=/; Max-Age=604800; HttpOnly; SameSite=Lax; Secure"),
        "{cookie}"
    );
    // A cookie that came without TLS does not count with it: anybody on the way could have set it.
    let weak = cookie_of(&post(&program, "/_/sign-in", SIGN_IN, &[]).await);
    assert_eq!(status(&program, "/", &[("Cookie", &weak)]).await, 200);
    assert_eq!(status(&program, "/", &[("Cookie", &weak), tls[0]]).await, 401);
}

#[tokio::test]
async fn a_password_or_a_token_is_enough_on_every_url_and_a_password_brings_a_cookie() {
    let scene = Scene::new();
    let program = scene.serve();
    let (address, log) = (program.address, target(&scene.log("a")));
    let bearer = format!("Bearer {TOKEN}");
    let token = ("authorization", bearer.as_str());
    for headers in [&[ANN][..], &[token]] {
        assert_eq!(get(address, &log, headers).await.text(), "first of a\n");
        assert_eq!(status(&program, &format!("/_/rows{log}"), headers).await, 200);
        let mut events = Streaming::get(
            address,
            &format!("{log}?tail=1"),
            &[headers[0], ("accept", "text/event-stream")],
        )
        .await;
        while !events.body().contains("first of a") {
            events.read_more().await;
        }
    }
    let name = |(_, value): (&'static str, &str)| [("authorization", value.to_owned())];
    for [(header, value)] in [name(ANN), name(("", &bearer))] {
        let (mut viewer, _) = Viewer::connect(address, &log, &[(header, &value)]).await.unwrap();
        assert!(viewer.text().await.contains("first of a"));
    }
    // Not every browser sends the password with a WebSocket. It sends the cookie.
    let answer = get(address, "/", &[ANN]).await;
    let cookie = cookie_of(&answer);
    let (mut viewer, _) = Viewer::connect(address, &log, &[("cookie", &cookie)]).await.unwrap();
    assert!(viewer.text().await.contains("first of a"));
    let again = get(address, "/", &[ANN, ("Cookie", &cookie)]).await;
    assert_eq!(again.header("set-cookie"), None, "it has one already");
    assert_eq!(get(address, "/", &[token]).await.header("set-cookie"), None);
    for wrong in [WRONG, NOBODY, ("Authorization", "Bearer x"), ("Authorization", "Digest x")] {
        let answer = get(address, "/", &[wrong, ("Cookie", &cookie)]).await;
        assert_eq!(answer.status, 401, "a wrong password counts though there is a session");
        assert!(answer.text().contains("the name, the password or the token is wrong"));
    }
    let said = program.said();
    for secret in ["sesame", "misguess", TOKEN, cookie.split('|').next_back().unwrap(), "YW5u"] {
        assert!(!said.contains(secret), "{secret:?} is in the log: {said}");
    }
}

#[tokio::test]
async fn a_form_of_another_site_signs_nobody_in_or_out() {
    let scene = Scene::new();
    scene.configure("allow-origin = ['http://listed.example']\n");
    let program = scene.serve();
    let own = format!("http://{}", program.address);
    for (headers, expected) in [
        (vec![("Origin", own.as_str())], 303),
        (vec![("Origin", own.as_str()), ("Sec-Fetch-Site", "same-origin")], 303),
        (vec![("Origin", "null"), ("Sec-Fetch-Site", "same-origin")], 303),
        (vec![], 303),
        (vec![("Origin", "http://evil.example")], 403),
        (vec![("Origin", "null")], 403),
        (vec![("Origin", "http://listed.example")], 403),
        (vec![("Sec-Fetch-Site", "cross-site")], 403),
        (vec![("Sec-Fetch-Site", "same-site")], 403),
    ] {
        let cookie = cookie_of(&get(program.address, "/", &[ANN]).await);
        let signed_in = post(&program, "/_/sign-in", SIGN_IN, &headers).await;
        assert_eq!(signed_in.status, expected, "{headers:?}");
        assert_eq!(signed_in.header("set-cookie").is_some(), expected == 303, "{headers:?}");
        let mut with_cookie = headers.clone();
        with_cookie.push(("Cookie", &cookie));
        assert_eq!(post(&program, "/_/sign-out", "", &with_cookie).await.status, expected);
        let left = status(&program, "/", &[("Cookie", &cookie)]).await;
        assert_eq!(left, if expected == 303 { 401 } else { 200 }, "{headers:?}");
    }
    assert_eq!(status(&program, "/_/sign-out", &[]).await, 200, "a link signs nobody out");
}

#[tokio::test]
async fn a_session_begins_anew_with_each_sign_in_and_ends_with_the_sign_out() {
    let scene = Scene::new();
    let program = scene.serve();
    let sign_in = async |headers: &[(&str, &str)]| {
        cookie_of(&post(&program, "/_/sign-in", SIGN_IN, headers).await)
    };
    let first = sign_in(&[]).await;
    // Whoever set a cookie in this browser before gets nothing by it.
    let second = sign_in(&[("Cookie", &first)]).await;
    assert_ne!(first, second);
    assert_eq!(status(&program, "/", &[("Cookie", &first)]).await, 401, "it has ended");
    assert_eq!(status(&program, "/", &[("Cookie", &second)]).await, 200);
    let other = sign_in(&[]).await;
    let tail = format!("{}?tail=1", target(&scene.log("a")));
    let v1 = |cookie| [("sec-websocket-protocol", "tailcast.v1"), ("cookie", cookie)];
    let (mut ending, _) = Viewer::connect(program.address, &tail, &v1(&second)).await.unwrap();
    let (mut staying, _) = Viewer::connect(program.address, &tail, &v1(&other)).await.unwrap();
    for viewer in [&mut ending, &mut staying] {
        viewer.expect("open").await;
        viewer.expect("rows").await;
    }
    let out = post(&program, "/_/sign-out", "", &[("Cookie", &second)]).await;
    assert_eq!((out.status, out.header("location")), (303, Some("/_/sign-in?left=1")));
    assert!(out.header("set-cookie").unwrap().starts_with("tailcast=; Path=/; Max-Age=0;"));
    assert_eq!(ending.expect("error").await["code"], 4401);
    assert_eq!(ending.rest().await.1.map(|(code, _)| code), Some(4401));
    append(scene.log("a"), "second\n");
    staying.expect("rows").await;
    assert_eq!(status(&program, "/", &[("Cookie", &second)]).await, 401);
    drop(program);
    let program = scene.serve();
    assert_eq!(status(&program, "/", &[("Cookie", &other)]).await, 200, "over a restart");
    assert_eq!(status(&program, "/", &[("Cookie", &second)]).await, 401, "the end, too");
    let mode = std::fs::metadata(scene.path("state/session-key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn servers_with_one_state_directory_know_of_each_others_sign_outs() {
    let scene = Scene::new();
    let (old, new) = (scene.serve(), scene.serve());
    let sign_in = async || cookie_of(&post(&old, "/_/sign-in", SIGN_IN, &[]).await);
    let (first, second, staying) = (sign_in().await, sign_in().await, sign_in().await);
    let tail = format!("{}?tail=1", target(&scene.log("a")));
    let watch = async |program: &Program, cookie: &str| {
        let headers = [("sec-websocket-protocol", "tailcast.v1"), ("cookie", cookie)];
        let (mut viewer, _) = Viewer::connect(program.address, &tail, &headers).await.unwrap();
        viewer.expect("open").await;
        viewer.expect("rows").await;
        viewer
    };
    let (mut ending, mut going_on) = (watch(&new, &first).await, watch(&new, &staying).await);
    let since = Instant::now();
    post(&old, "/_/sign-out", "", &[("Cookie", &first)]).await;
    assert_eq!(ending.expect("error").await["code"], 4401);
    assert!(since.elapsed() < END_TIME_MAX, "it took {:?}", since.elapsed());
    assert_eq!(status(&new, "/", &[("Cookie", &first)]).await, 401);
    // The one that writes later forgets nothing of what the other one has written.
    post(&new, "/_/sign-out", "", &[("Cookie", &second)]).await;
    becomes(&old, "/", &[("Cookie", &second)], 401).await;
    drop((old, new));
    let program = scene.serve();
    for (cookie, expected) in [(&first, 401), (&second, 401), (&staying, 200)] {
        assert_eq!(status(&program, "/", &[("Cookie", cookie)]).await, expected);
    }
    let (said, close) = going_on.rest().await;
    assert_ne!(close.map(|(code, _)| code), Some(4401), "{said}");
}

#[tokio::test]
async fn a_reload_needs_no_state_directory() {
    let scene = Scene::new();
    let program = scene.serve();
    let cookie = cookie_of(&post(&program, "/_/sign-in", SIGN_IN, &[]).await);
    std::fs::remove_dir_all(scene.path("state")).unwrap();
    put(scene.path("state"), "no directory");
    scene.configure("allow-host = ['logs.example']\n");
    program.signal(Signal::HUP);
    becomes(&program, "/", &[("Cookie", &cookie), ("Host", "logs.example")], 200).await;
}

/// Waits until the program answers with this status.
async fn becomes(program: &Program, target: &str, headers: &[(&str, &str)], expected: u16) {
    eventually("the status", async || {
        let status = status(program, target, headers).await;
        if status == expected { Ok(()) } else { Err(status) }
    })
    .await;
}

#[tokio::test]
async fn a_user_or_token_that_is_removed_ends_its_streams_and_no_others() {
    let scene = Scene::new();
    let program = scene.serve();
    let address = program.address;
    let tail = format!("{}?tail=1", target(&scene.log("a")));
    let cookie = cookie_of(&get(address, "/", &[BOB]).await);
    let bearer = format!("Bearer {TOKEN}");
    let protocol = ("sec-websocket-protocol", "tailcast.v1");
    let mut viewers = Vec::new();
    for identity in [
        ("authorization", ANN.1),
        ("authorization", BOB.1),
        ("cookie", &cookie),
        ("authorization", &bearer),
    ] {
        let (mut viewer, _) = Viewer::connect(address, &tail, &[protocol, identity]).await.unwrap();
        viewer.expect("open").await;
        viewer.expect("rows").await;
        viewers.push(viewer);
    }
    let (mut original, _) =
        Viewer::connect(address, &tail, &[("authorization", BOB.1)]).await.unwrap();
    original.text().await;
    let mut plain = Streaming::get(address, &tail, &[BOB]).await;
    plain.read_until("first of a\n").await;
    let mut events = Streaming::get(address, &tail, &[BOB, ("accept", "text/event-stream")]).await;
    while !events.body().contains("first of a") {
        events.read_more().await;
    }
    let changed = Instant::now();
    scene.users(&["ann"]);
    // Ann has the same password, and another hash of it: what began with the old one has ended.
    put(scene.path("tokens"), "");
    for viewer in &mut viewers {
        assert_eq!(viewer.expect("error").await["code"], 4401);
        assert_eq!(viewer.rest().await.1.map(|(code, _)| code), Some(4401));
    }
    let (said, close) = original.rest().await;
    assert!(said.ends_with("Signed out</strong></font>"), "{said}");
    assert_eq!(close.map(|(code, _)| code), Some(1008));
    plain.rest().await;
    assert!(!plain.is_complete(), "a log that is cut off must not look complete");
    assert!(events.rest().await.contains("\"code\":4401"));
    assert!(changed.elapsed() < END_TIME_MAX, "it took {:?}", changed.elapsed());
    for gone in [BOB, ("Cookie", cookie.as_str()), ("Authorization", bearer.as_str())] {
        assert_eq!(status(&program, "/", &[gone]).await, 401, "{gone:?}");
    }
    assert_eq!(status(&program, "/", &[ANN]).await, 200);
}

#[tokio::test]
async fn a_rule_that_is_removed_ends_the_streams_that_it_allowed_and_no_others() {
    let scene = Scene::new();
    let both = format!("{}{}", scene.rule("ann", "a"), scene.rule("*", "b"));
    scene.configure(&both);
    let program = scene.serve();
    let address = program.address;
    let tail = |name| format!("{}?tail=1", target(&scene.log(name)));
    let v1 = [("sec-websocket-protocol", "tailcast.v1"), ("authorization", ANN.1)];
    let (mut staying, _) = Viewer::connect(address, &tail("a"), &v1).await.unwrap();
    let (mut ending, _) = Viewer::connect(address, &tail("b"), &v1).await.unwrap();
    for viewer in [&mut staying, &mut ending] {
        viewer.expect("open").await;
        viewer.expect("rows").await;
    }
    assert_eq!(status(&program, &target(&scene.log("a")), &[BOB]).await, 403);
    let changed = Instant::now();
    scene.configure(&format!("{}{}", scene.rule("ann", "a"), scene.rule("bob", "b")));
    assert_eq!(ending.expect("error").await["code"], 4403);
    assert_eq!(ending.rest().await.1.map(|(code, _)| code), Some(4403));
    assert!(changed.elapsed() < END_TIME_MAX, "it took {:?}", changed.elapsed());
    append(scene.log("a"), "second\n");
    staying.expect("rows").await;
    assert_eq!(status(&program, &target(&scene.log("b")), &[ANN]).await, 403);
    assert_eq!(status(&program, &target(&scene.log("b")), &[BOB]).await, 200);
}

#[tokio::test]
async fn a_file_of_users_that_is_wrong_is_told_with_its_line_and_changes_nothing() {
    let scene = Scene::new();
    let program = scene.serve();
    let users = std::fs::read_to_string(scene.path("users")).unwrap();
    put(scene.path("users"), format!("{users}eve:{{SHA}}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n"));
    eventually("it is told", async || {
        let said = program.said();
        let told = said.lines().find(|line| line.contains("so nothing changes")).map(str::to_owned);
        told.filter(|line| {
            line.contains("is wrong in line 3: the password is a SHA-1 hash")
                && line.contains("tailcast password")
                && !line.contains("W6ph5")
        })
        .map(|_| ())
        .ok_or(said)
    })
    .await;
    assert_eq!(status(&program, "/", &[ANN]).await, 200);
    put(scene.path("users"), format!("{users}eve:{}\n", password_hash("misguess", 4).unwrap()));
    program.signal(Signal::HUP);
    becomes(&program, "/", &[NOBODY], 200).await;
    let output =
        output_of(command().args(["serve", "--port", "0", "--users"]).arg(scene.path("none")));
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn whoever_guesses_has_to_wait_and_others_do_not() {
    let scene = Scene::new();
    scene.configure("trusted-proxy = ['127.0.0.1']\n");
    let program = scene.serve();
    let from = |address| ("X-Forwarded-For", address);
    let mut last = 0;
    for _ in 0..12 {
        last = status(&program, "/", &[WRONG, from("10.0.0.1")]).await;
    }
    assert_eq!(last, 429);
    let answer = get(program.address, "/", &[WRONG, from("10.0.0.1")]).await;
    assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() > 0, "{answer:?}");
    let form = post(&program, "/_/sign-in", "name=ann&password=wrong", &[from("10.0.0.1")]).await;
    assert_eq!(form.status, 429);
    assert!(form.text().contains("Try again in"), "{}", form.text());
    assert_eq!(status(&program, "/", &[ANN, from("10.0.0.2")]).await, 200, "from elsewhere");
}

#[tokio::test]
async fn the_commands_make_lines_for_both_files() {
    use std::io::Write;
    let scene = Scene::new();
    let made = |arguments: &[&str], input: &str| {
        let mut command = command();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(input.as_bytes()).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        output_of(command.args(arguments).stdin(file))
    };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let password = made(&["password", "eve", "--cost", "4"], "a password: with all\n");
    let line = text(password.stdout);
    assert!(line.starts_with("eve:$2y$04$") && line.ends_with('\n'), "{line}");
    let token = made(&["token", "robot"], "");
    let (token_line, said) = (text(token.stdout), text(token.stderr));
    let secret = said.lines().find(|line| line.starts_with("tailcast_")).unwrap();
    assert_eq!(token_line, format!("robot:{}\n", token_digest(secret)));
    put(scene.path("users"), line);
    put(scene.path("tokens"), token_line);
    let program = scene.serve();
    let form = "name=eve&password=a+password%3A+with+all";
    assert_eq!(post(&program, "/_/sign-in", form, &[]).await.status, 303);
    let bearer = format!("Bearer {secret}");
    assert_eq!(status(&program, "/", &[("Authorization", &bearer)]).await, 200);
    for (arguments, input) in [
        (&["password", "a b"][..], "x\n"),
        (&["password", "eve"], "\n"),
        (&["password", "eve"], ""),
        (&["password"], "x\n"),
        (&["token", "@ops"], ""),
        (&["password", "eve"], &"x".repeat(72)),
    ] {
        let output = made(arguments, input);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && text(output.stderr).contains("hint: "));
    }
}

#[tokio::test]
async fn tail_signs_in_with_a_password_or_a_token_and_says_what_to_do_without() {
    let scene = Scene::new();
    let program = scene.serve();
    put(scene.path("token"), format!("{TOKEN}\n"));
    put(scene.path("password"), "open\n");
    put(scene.path("other"), "misguess\n");
    let path = |name: &str| scene.path(name).to_str().unwrap().to_owned();
    let log = target(&scene.log("a"));
    let url = format!("http://{}{log}", program.address);
    let with_user = format!("http://ann@{}{log}", program.address);
    let tail = |arguments: &[&str], input: &str| {
        std::fs::write(scene.path("input"), input).unwrap();
        let mut command = command();
        command.args(["tail", "--no-follow"]).args(arguments);
        output_of(command.stdin(std::fs::File::open(scene.path("input")).unwrap()))
    };
    for (arguments, input) in [
        (vec!["--token-file", &path("token"), &url], ""),
        (vec!["--user", "ann", "--password-file", &path("password"), &url], ""),
        (vec!["--password-file", &path("password"), &with_user], ""),
        (vec!["--user", "ann", &url], "open\n"),
        (vec![&with_user], "open"),
    ] {
        let output = tail(&arguments, input);
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "first of a\n",
            "{arguments:?} {output:?}"
        );
    }
    for (arguments, code, hint) in [
        (vec![url.as_str()], 1, "hint: sign in: give `--user NAME`"),
        (vec!["--user", "ann", "--password-file", &path("other"), &url], 1, "hint: check the name"),
        (vec!["--token-file", &path("other"), &url], 1, "hint: check the name"),
        (vec!["--token-file", &path("none"), &url], 2, "hint: name a file"),
        (vec!["--password-file", &path("password"), &url], 2, "hint: give `--user NAME`"),
        (vec![&with_user.replace("ann@", "ann:open@")], 2, "hint: others can see it there"),
    ] {
        let output = tail(&arguments, "");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?} {said}");
        assert!(said.contains(hint), "{arguments:?} {said}");
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test]
async fn a_token_that_gets_another_name_ends_the_streams_of_the_old_one() {
    let scene = Scene::new();
    let program = scene.serve();
    let bearer = format!("Bearer {TOKEN}");
    let tail = format!("{}?tail=1", target(&scene.log("a")));
    let headers = [("sec-websocket-protocol", "tailcast.v1"), ("authorization", bearer.as_str())];
    let (mut viewer, _) = Viewer::connect(program.address, &tail, &headers).await.unwrap();
    viewer.expect("open").await;
    viewer.expect("rows").await;
    put(scene.path("tokens"), format!("robot:{}\n", token_digest(TOKEN)));
    assert_eq!(viewer.expect("error").await["code"], 4401);
    // The same token is admitted, under its new name.
    assert_eq!(status(&program, "/", &[("Authorization", &bearer)]).await, 200);
}

#[tokio::test]
async fn a_page_of_a_listed_origin_reads_with_a_token_and_not_with_the_cookie() {
    let scene = Scene::new();
    scene.configure("allow-origin = ['http://listed.example']\n");
    let program = scene.serve();
    let cookie = cookie_of(&post(&program, "/_/sign-in", SIGN_IN, &[]).await);
    let own = format!("http://{}", program.address);
    let (bearer, log) = (format!("Bearer {TOKEN}"), target(&scene.log("a")));
    for (origin, proof, expected) in [
        (own.as_str(), ("Cookie", &cookie), 200),
        ("http://listed.example", ("Cookie", &cookie), 401),
        ("http://listed.example", ("Authorization", &bearer), 200),
    ] {
        let headers = [("Origin", origin), (proof.0, proof.1.as_str())];
        assert_eq!(status(&program, &log, &headers).await, expected, "{headers:?}");
    }
}

#[tokio::test]
async fn a_server_that_others_can_reach_warns_unless_it_knows_its_visitors() {
    const WARNING: &str = "everybody who can reach this machine can read these logs";
    let scene = Scene::new();
    let users = scene.path("users");
    let sign_in = ["--users", users.to_str().unwrap()];
    for (host, flags, warns) in
        [("0.0.0.0", &[][..], true), ("127.0.0.1", &[], false), ("0.0.0.0", &sign_in[..], false)]
    {
        let logs = scene.path("logs");
        let mut serve = command();
        serve.args(["serve", "--port", "0", "--host", host]).args(flags).arg(&logs);
        serve.env("STATE_DIRECTORY", scene.path("state"));
        let program = Program::start(&mut serve);
        // The server warns before it answers.
        let address = SocketAddr::from(([127, 0, 0, 1], program.address.port()));
        assert_eq!(get(address, "/_/healthz", &[]).await.status, 200);
        let said = program.said();
        assert_eq!(said.contains(WARNING), warns, "{host} {flags:?}: {said}");
    }
}
