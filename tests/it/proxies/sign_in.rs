//! People sign in at the real proxy, as its configuration documents it, and tailcast knows them by
//! the headers that the proxy sets.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;

use super::real::{Kind, Proxy, SignIn};
use crate::servers::not_run;

/// `ann` with the password of [`SignIn::Own`], and with another one.
const ANN: (&str, &str) = ("authorization", "Basic YW5uOm9wZW4=");
const WRONG: (&str, &str) = ("authorization", "Basic YW5uOm1pc2d1ZXNz");

/// A proxy before a server that knows people by its headers, and where `ann` and `bob` may read one
/// directory each, and `@ops` another one.
async fn proxy(kind: Kind, sign_in: SignIn, test: &str) -> Option<Proxy> {
    let proxy = Proxy::with_sign_in(kind, sign_in, prepare).await;
    if proxy.is_none() {
        not_run(&format!("proxies::sign_in::{test}"), &format!("there is no `{}`", kind.program()));
    }
    proxy
}

fn prepare(served: &Path) -> Vec<String> {
    let mut rules = String::new();
    for (who, directory) in [("ann", "ann"), ("bob", "bob"), ("@ops", "ops")] {
        let directory = served.join(directory);
        std::fs::create_dir(&directory).unwrap();
        let read = directory.display();
        rules += &format!("[[allow]]\nwho = [\"{who}\"]\nread = [\"{read}\"]\n");
    }
    let config = served.with_file_name("tailcast.toml");
    std::fs::write(&config, rules).unwrap();
    let config = config.to_str().unwrap();
    let user = ["--user-header", "X-Remote-User", "--group-header", "X-Remote-Groups"];
    ["--config", config].into_iter().chain(user).map(str::to_owned).collect()
}

/// With `signed_in`, the sender of a request is `ann` to the proxy.
async fn the_proxy_names_ann(proxy: &Proxy, signed_in: (&'static str, &str)) {
    let [ann, bob] = ["ann", "bob"].map(|who| proxy.log(&format!("{who}/a.log"), "inside\n"));
    let spoofed = ("X-Remote-User", "bob");
    assert_eq!(proxy.get(&ann, &[]).await.status, 401);
    assert_eq!(proxy.get(&bob, &[spoofed]).await.status, 401, "it names itself");
    for headers in [&[signed_in][..], &[signed_in, spoofed]] {
        let answer = proxy.get(&ann, headers).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "inside\n"), "{headers:?}");
        assert_eq!(proxy.get(&bob, headers).await.status, 403, "{headers:?}");
    }
    let list = proxy.get("/_/logs", &[signed_in]).await.text();
    assert!(list.contains(&ann) && !list.contains(&bob), "{list}");
    let mut viewer = proxy.follow_with(&ann, &[signed_in]).await;
    viewer.read_until("inside\n").await;
}

async fn the_proxy_has_passwords(kind: Kind, test: &str) {
    let Some(proxy) = proxy(kind, SignIn::Own, test).await else { return };
    let log = proxy.log("ann/a.log", "");
    assert_eq!(proxy.get(&log, &[WRONG]).await.status, 401);
    the_proxy_names_ann(&proxy, ANN).await;
}

#[tokio::test]
async fn people_sign_in_at_nginx() {
    the_proxy_has_passwords(Kind::Nginx, "people_sign_in_at_nginx").await;
}

#[tokio::test]
async fn people_sign_in_at_haproxy() {
    the_proxy_has_passwords(Kind::Haproxy, "people_sign_in_at_haproxy").await;
}

#[tokio::test]
async fn people_sign_in_at_caddy() {
    the_proxy_has_passwords(Kind::Caddy, "people_sign_in_at_caddy").await;
}

/// A configuration without sign-in passes no name on.
async fn nobody_names_themselves(kind: Kind, test: &str) {
    let Some(proxy) = proxy(kind, SignIn::None, test).await else { return };
    let log = proxy.log("ann/a.log", "inside\n");
    let ops = proxy.log("ops/a.log", "inside\n");
    for header in ["X-Remote-User", "x-remote-user", "X_Remote_User"] {
        let headers = [(header, "ann"), ("X-Remote-Groups", "ops")];
        assert_eq!(proxy.get(&log, &headers).await.status, 401, "{header}");
        assert_eq!(proxy.get(&ops, &headers).await.status, 401, "{header}");
    }
}

#[tokio::test]
async fn nobody_names_themselves_through_nginx() {
    nobody_names_themselves(Kind::Nginx, "nobody_names_themselves_through_nginx").await;
}

#[tokio::test]
async fn nobody_names_themselves_through_haproxy() {
    nobody_names_themselves(Kind::Haproxy, "nobody_names_themselves_through_haproxy").await;
}

#[tokio::test]
async fn nobody_names_themselves_through_caddy() {
    nobody_names_themselves(Kind::Caddy, "nobody_names_themselves_through_caddy").await;
}

/// Answers as oauth2-proxy does with `set-xauthrequest`: `ann` of `ops` is who has the cookie
/// `session=ann`.
fn stand_in_for_oauth2_proxy() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap());
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let head: Vec<String> =
        lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let has_session = head.iter().any(|line| {
        line.to_ascii_lowercase().starts_with("cookie:") && line.contains("session=ann")
    });
    let answer = match head.first().map_or("", |line| line) {
        line if line.starts_with("GET /oauth2/auth ") && has_session => {
            "202 Accepted\r\nX-Auth-Request-User: ann\r\nX-Auth-Request-Groups: ops,dev\r\n"
        }
        line if line.starts_with("GET /oauth2/start?rd=/logs/") => "200 OK\r\n",
        _ => "401 Unauthorized\r\n",
    };
    write!(stream, "HTTP/1.1 {answer}Content-Length: 0\r\nConnection: close\r\n\r\n").ok();
}

#[tokio::test]
async fn people_sign_in_at_a_program_that_nginx_asks() {
    let test = "people_sign_in_at_a_program_that_nginx_asks";
    let asked = stand_in_for_oauth2_proxy();
    let Some(proxy) = proxy(Kind::Nginx, SignIn::Asked(asked), test).await else { return };
    let cookie = ("cookie", "session=ann");
    the_proxy_names_ann(&proxy, cookie).await;
    let ops = proxy.log("ops/a.log", "of the group\n");
    assert_eq!(proxy.get(&ops, &[cookie]).await.text(), "of the group\n");
    let page = proxy.get(&ops, &[("Accept", "text/html")]).await;
    let to = page.header("location").unwrap_or_default();
    assert!(
        page.status == 302 && to.ends_with(&format!("/oauth2/start?rd=/logs{ops}")),
        "{page:?}"
    );
    assert_eq!(proxy.get_at("/oauth2/start?rd=/logs/", &[]).await.status, 200);
}
