//! Rights: what a visitor may not read is forbidden by every route and transport, whether or not it
//! exists.

use std::collections::BTreeSet;
use std::path::Path;

use tailcast::log::Access;
use tailcast::serve::{Rule, Settings};

use crate::clients::{Answer, Streaming, Viewer, get, request};
use crate::machine::Machine;
use crate::servers::{TestServer, eventually, target};

/// How long a change may take to end what it ends.
const END_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(5);
/// What only another visitor may read.
const SECRET: &str = "classified";

/// A server with one directory for Ann and one for Bob, behind a proxy that names them.
async fn serve(rules: &[(&[&str], &[&str])]) -> TestServer {
    serve_with(rules, |_| ()).await
}

/// The same, with what is done to the access before.
async fn serve_with(rules: &[(&[&str], &[&str])], prepare: impl FnOnce(&Access)) -> TestServer {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    for name in ["ann", "bob"] {
        std::fs::create_dir(top.join(name)).unwrap();
        std::fs::write(top.join(name).join("a.log"), format!("a line of {name}\n")).unwrap();
    }
    for name in [SECRET.to_owned(), format!("{SECRET}-2026-11-28"), format!("{SECRET}.1")] {
        std::fs::write(top.join(format!("bob/{name}.log")), format!("{SECRET} text\n")).unwrap();
    }
    // Their names lie in Ann's directory, and where they lead in Bob's.
    for (link, file) in [("link.log", "a.log"), ("dangling.log", "none.log")] {
        std::os::unix::fs::symlink(top.join("bob").join(file), top.join("ann").join(link)).unwrap();
    }
    std::os::unix::fs::symlink(top.join("bob"), top.join("ann/directory")).unwrap();
    let settings = settings(top, rules);
    let access = Access::new([top]).unwrap();
    prepare(&access);
    TestServer::over(directory, access, settings).await
}

/// The settings of a server with these rules, whose paths lie in a directory.
fn settings(top: &Path, rules: &[(&[&str], &[&str])]) -> Settings {
    let text = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let rule = |(who, read): &(&[&str], &[&str])| {
        let read: Vec<String> = read.iter().map(|name| target(&top.join(name))).collect();
        Rule::new(&text(who), &read).unwrap()
    };
    Settings {
        user_header: Some("x-user".parse().unwrap()),
        group_header: Some("x-groups".parse().unwrap()),
        trusted_proxies: vec!["127.0.0.1".parse().unwrap()],
        rules: rules.iter().map(rule).collect(),
        ..Settings::default()
    }
}

const ANN_AND_BOB: &[(&[&str], &[&str])] = &[(&["ann"], &["ann"]), (&["bob"], &["bob"])];
const ANN: (&str, &str) = ("x-user", "ann");
const BOB: (&str, &str) = ("x-user", "bob");

/// The variants of an enum in the source.
fn variants(file: &str, name: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/serve").join(file);
    let file = syn::parse_file(&std::fs::read_to_string(path).unwrap()).unwrap();
    let found = file.items.iter().find_map(|item| match item {
        syn::Item::Enum(item) if item.ident == name => Some(item),
        _ => None,
    });
    found.unwrap().variants.iter().map(|variant| variant.ident.to_string()).collect()
}

/// The headers of a request.
type Headers = Vec<(&'static str, &'static str)>;

/// How a route is asked for a log, and what it does with one that is not the visitor's.
enum Asked {
    /// It answers 403 to these methods and targets.
    Refused(Vec<(&'static str, String, Headers)>),
    /// It answers without anything of the log.
    Silent(Vec<(String, Headers)>),
    /// It is a WebSocket.
    WebSocket(Vec<String>),
}

const HTML: (&str, &str) = ("accept", "text/html");
const EVENTS: (&str, &str) = ("accept", "text/event-stream");

/// Each route and transport by its name, with requests for a log.
fn routes(log: &str) -> Vec<(&'static str, Asked)> {
    let plain = |targets: &[&str]| {
        Asked::Refused(targets.iter().map(|more| ("GET", format!("{log}{more}"), vec![])).collect())
    };
    let api = |call: &str, queries: &[&str]| {
        let target = |query: &&str| ("GET", format!("/_/{call}{log}{query}"), vec![]);
        Asked::Refused(queries.iter().map(target).collect())
    };
    let silent = |targets: &[&str], headers: &[(&'static str, &'static str)]| {
        Asked::Silent(targets.iter().map(|&target| (target.to_owned(), headers.to_vec())).collect())
    };
    vec![
        ("Route::List", silent(&["/"], &[])),
        ("Route::List", silent(&["/"], &[HTML])),
        ("Route::ListJson", silent(&["/_/logs"], &[])),
        ("ApiCall::Rows", api("rows", &["", "?from=0", "?filter=1&q=text"])),
        ("ApiCall::Lines", api("lines", &["?at=0", "?line=1"])),
        ("ApiCall::Find", api("find", &["?q=text"])),
        ("ApiCall::Text", api("text", &["", "?from=0"])),
        ("ApiCall::Rows", api("rows", &["?history=1", "?history=1&filter=1&q=text"])),
        ("ApiCall::Find", api("find", &["?history=1&q=text"])),
        ("ApiCall::Text", api("text", &["?history=1"])),
        ("ApiCall::History", api("history", &[""])),
        ("ApiCall::Times", api("times", &["", "?buckets=3"])),
        ("ApiCall::Fields", api("fields", &["?field=status", "?field=status&where=a%3D1"])),
        ("ApiCall::Fields", api("fields", &["?field=status&history=1"])),
        ("ApiCall::Rows", api("rows", &["?since=0", "?time=0&history=1"])),
        ("Transport::Plain", plain(&["?history=1", "?history=1&lines=1&tail=1"])),
        ("Route::Newer", api("newer", &[""])),
        ("Route::Health", silent(&["/_/healthz"], &[])),
        ("Route::Ready", silent(&["/_/readyz"], &[])),
        ("Route::Metrics", silent(&["/_/metrics"], &[])),
        ("Route::SignIn", silent(&["/_/sign-in"], &[HTML])),
        ("Route::SignOut", silent(&["/_/sign-out"], &[HTML])),
        ("Route::Check", silent(&["/_/check?origin=http://a"], &[])),
        (
            "Route::Own",
            silent(
                &["/_/merged", "/_/beside", "/_/levels.json", "/_/traces.json", "/_/rules.json"],
                &[],
            ),
        ),
        ("Route::Preflight", Asked::Silent(vec![])),
        ("Route::Options", Asked::Silent(vec![])),
        (
            "Transport::Plain",
            plain(&[
                "",
                "?lines=1",
                "?tail=1",
                "?format=raw",
                "?format=text&lines=1",
                "?format=html",
            ]),
        ),
        ("Transport::Plain", Asked::Refused(vec![("HEAD", log.to_owned(), vec![])])),
        (
            "Transport::Plain",
            Asked::Refused(vec![("GET", log.to_owned(), vec![("range", "bytes=0-3")])]),
        ),
        ("Transport::Page", Asked::Refused(vec![("GET", log.to_owned(), vec![HTML])])),
        ("Transport::Events", Asked::Refused(vec![("GET", log.to_owned(), vec![EVENTS])])),
        (
            "Transport::WebSocket",
            Asked::WebSocket(vec![
                log.to_owned(),
                format!("{log}?tail=1"),
                format!("{log}?tail=1&wait=1"),
                format!("{log}?from=0&generation=0"),
            ]),
        ),
        // Each log of a merged stream, and of merged rows, is refused by itself: see below.
        ("Route::Events", Asked::Silent(vec![])),
        ("Route::MergedRows", silent(&[&format!("/_/merged-rows?log={log}")], &[])),
        ("Route::MergedRows", silent(&[&format!("/_/merged-rows?history=1&log={log}")], &[])),
    ]
}

/// An answer without what differs by its target.
fn told(answer: &Answer, log: &str) -> (u16, String) {
    (answer.status, answer.text().replace(log, "LOG"))
}

#[tokio::test]
async fn every_route_and_transport_refuses_what_the_visitor_may_not_read_whether_or_not_it_exists()
{
    let machine = Machine::default();
    machine.create("/ann/a.log", "a line of ann\n");
    machine.create(&format!("/bob/{SECRET}.log"), format!("{SECRET} text\n"));
    let spool = tempfile::tempdir().unwrap();
    let of_machine: &[(&[&str], &[&str])] = &[
        (&["ann"], &["ann", "/@web1/ann", "/@web1/carl/*.log"]),
        (&["bob"], &["bob", "/@web1/bob"]),
    ];
    let server = serve_with(of_machine, |access| machine.mirror_in(access, spool.path())).await;
    let address = server.address;
    let log_of = |name: &str| target(&server.path(name));
    let secret = log_of(&format!("bob/{SECRET}.log"));
    // None of these may be told from the others.
    let logs = [
        secret.clone(),
        log_of("bob/none.log"),
        log_of("bob"),
        log_of("bob/*.log"),
        log_of(&format!("bob/{SECRET}-2026-11-28.log")),
        log_of("ann/../bob/a.log"),
        log_of("annex/a.log"),
        "/etc/passwd".to_owned(),
        format!("/@web1/bob/{SECRET}.log"),
        "/@web1/bob/none.log".to_owned(),
        "/@web1/bob/*.log".to_owned(),
        // Ann may read the log of this very name, and not all that it matches as a pattern.
        "/@web1/carl/*.log".to_owned(),
        format!("/@web1/ann/../bob/{SECRET}.log"),
        "/@web2/bob/a.log".to_owned(),
        "/@web1".to_owned(),
    ];
    // These have a name that Ann may read, and lead where she may not.
    let links = ["ann/link.log", "ann/dangling.log", "ann/directory/a.log"].map(log_of);
    let mut seen = BTreeSet::new();
    for log in logs.iter().chain(&links) {
        for (name, asked) in routes(log) {
            seen.insert(name.to_owned());
            match asked {
                Asked::Refused(requests) => {
                    for (method, target, mut headers) in requests {
                        headers.push(ANN);
                        let answer = request(address, method, &target, &headers).await;
                        assert_eq!(answer.status, 403, "{name} {method} {target} {headers:?}");
                        let other = target.replace(log.as_str(), &secret);
                        let expected = request(address, method, &other, &headers).await;
                        assert_eq!(told(&answer, log), told(&expected, &secret), "{name} {target}");
                        assert!(!answer.text().contains(&format!("{SECRET} text")), "{target}");
                    }
                }
                Asked::Silent(requests) => {
                    for (target, mut headers) in requests {
                        headers.push(ANN);
                        let answer = get(address, &target, &headers).await;
                        assert!(answer.status < 400, "{name} {target}: {answer:?}");
                        let text = answer.text();
                        assert!(
                            !text.contains(SECRET) && !text.contains("/bob"),
                            "{target}: {text}"
                        );
                    }
                }
                Asked::WebSocket(targets) => {
                    for target in targets {
                        let v1 = [("sec-websocket-protocol", "tailcast.v1"), ANN];
                        let (mut viewer, _) = Viewer::connect(address, &target, &v1).await.unwrap();
                        let (said, close) = viewer.rest().await;
                        assert_eq!(close.map(|(code, _)| code), Some(4403), "{target}: {said}");
                        let (mut viewer, _) =
                            Viewer::connect(address, &target, &[ANN]).await.unwrap();
                        let (said, close) = viewer.rest().await;
                        assert_eq!(close.map(|(code, _)| code), Some(1008), "{target}");
                        assert_eq!(said, "<font color=\"red\"><strong>Forbidden</strong></font>");
                    }
                }
            }
        }
    }
    let mut all: BTreeSet<String> = BTreeSet::new();
    for (file, name) in
        [("route.rs", "Route"), ("route.rs", "Transport"), ("http/api.rs", "ApiCall")]
    {
        all.extend(variants(file, name).iter().map(|variant| format!("{name}::{variant}")));
    }
    // What these stand for is among the others.
    for group in ["Route::Api", "Route::Log"] {
        assert!(all.remove(group), "{group}");
    }
    assert_eq!(seen, all, "a route is not in the table above");
    let own = get(address, "/@web1/ann/a.log", &[ANN]).await;
    assert_eq!((own.status, own.text().as_str()), (200, "a line of ann\n"));
    // Bob may do all of this.
    let of_machine = format!("/@web1/bob/{SECRET}.log");
    for (name, asked) in routes(&secret).into_iter().chain(routes(&of_machine)) {
        if let Asked::Refused(requests) = asked {
            for (method, target, mut headers) in requests {
                if target.contains("tail=1") || headers.contains(&EVENTS) {
                    continue;
                }
                headers.push(BOB);
                let answer = request(address, method, &target, &headers).await;
                assert!(answer.status < 300, "{name} {target}: {answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_merged_stream_refuses_each_log_by_itself() {
    let server = serve(ANN_AND_BOB).await;
    let [own, other, none, link] = ["ann/a.log", "bob/a.log", "bob/none.log", "ann/link.log"]
        .map(|name| target(&server.path(name)));
    let merged = format!("/_/events?log={own}&log={other}&log={none}&log={link}");
    let said = get(server.address, &merged, &[ANN]).await.text();
    assert!(said.contains("a line of ann") && !said.contains("a line of bob"), "{said}");
    for log in 1..4 {
        let refused = format!(
            r#"{{"log":{log},"message":{{"type":"error","code":4403,"message":"Forbidden"}}}}"#
        );
        assert!(said.contains(&refused), "{refused} in {said}");
    }
}

#[tokio::test]
async fn merged_rows_leave_out_each_log_that_the_visitor_may_not_read() {
    let server = serve(ANN_AND_BOB).await;
    let [own, other, none, link] = ["ann/a.log", "bob/a.log", "bob/none.log", "ann/link.log"]
        .map(|name| target(&server.path(name)));
    for query in ["", "last=1&", "history=1&", "filter=1&q=line&"] {
        let merged = format!("/_/merged-rows?{query}log={other}&log={own}&log={none}&log={link}");
        let answer = get(server.address, &merged, &[ANN]).await;
        let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(said["rows"].as_array().unwrap().len(), 1, "{query}: {said}");
        assert_eq!(said["rows"][0][1], "a line of ann", "{query}: {said}");
        assert_eq!(said["files"][0]["log"], 1, "{query}: {said}");
        let forbidden =
            serde_json::json!({"error": "forbidden", "message": "you may not read this log"});
        for log in [0, 2, 3] {
            assert_eq!(said["logs"][log], forbidden, "{query}: {said}");
        }
    }
}

#[tokio::test]
async fn each_visitor_sees_a_list_of_their_own() {
    let server =
        serve(&[(&["ann"], &["ann"]), (&["@ops"], &["bob/a.log"]), (&["*"], &["later"])]).await;
    std::fs::create_dir(server.path("later")).unwrap();
    std::fs::write(server.path("later/b.log"), "").unwrap();
    let list = async |headers: &[(&str, &str)]| {
        let text = get(server.address, "/", headers).await.text();
        let mut names: Vec<String> = text
            .lines()
            .map(|line| {
                line.strip_prefix(&format!("{}/", target(server.directory.path())))
                    .unwrap()
                    .to_owned()
            })
            .collect();
        names.sort();
        names
    };
    assert_eq!(list(&[ANN]).await, ["ann/a.log", "later/b.log"]);
    assert_eq!(list(&[BOB]).await, ["later/b.log"]);
    assert_eq!(list(&[BOB, ("x-groups", "dev, ops")]).await, ["bob/a.log", "later/b.log"]);
    // Both directories belong to a member of the group, and so does what leads from one to another.
    let both = list(&[ANN, ("x-groups", "ops")]).await;
    assert_eq!(both, ["ann/a.log", "ann/link.log", "bob/a.log", "later/b.log"]);
    let page = get(server.address, "/", &[ANN, HTML]).await.text();
    assert!(page.contains("Signed in as ann") && !page.contains("/bob"), "{page}");
    let page = get(server.address, "/", &[BOB, HTML]).await.text();
    assert!(page.contains("Signed in as bob"), "the page of another visitor");
}

#[tokio::test]
async fn a_name_is_believed_from_a_trusted_proxy_alone() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.log"), "a line\n").unwrap();
    let log = target(&directory.path().join("a.log"));
    let access = Access::new([directory.path()]).unwrap();
    let settings = Settings {
        user_header: Some("x-user".parse().unwrap()),
        trusted_proxies: vec!["10.0.0.1".parse().unwrap(), "unix".parse().unwrap()],
        ..Settings::default()
    };
    let server = TestServer::over(directory, access, settings.clone()).await;
    assert_eq!(get(server.address, &log, &[ANN]).await.status, 401);
    let trusted = Settings { trusted_proxies: vec!["127.0.0.1".parse().unwrap()], ..settings };
    let server = TestServer::with(trusted).await;
    for (headers, status) in [
        (&[ANN][..], 200),
        (&[], 401),
        (&[ANN, BOB], 401),
        (&[("x-user", "")], 401),
        (&[("x-user", "*")], 401),
        (&[("x-user", "@ops")], 401),
        (&[("x-user", "a b")], 401),
    ] {
        assert_eq!(get(server.address, "/", headers).await.status, status, "{headers:?}");
    }
}

#[tokio::test]
async fn viewers_with_different_rights_see_the_same_log_and_are_counted_together() {
    let server = serve(&[(&["ann", "bob"], &["ann"]), (&["eve"], &["ann", "bob"])]).await;
    let log = format!("{}?tail=1", target(&server.path("ann/a.log")));
    let mut viewers = Vec::new();
    for name in ["ann", "bob", "eve"] {
        let (mut viewer, _) =
            Viewer::connect(server.address, &log, &[("x-user", name)]).await.unwrap();
        viewer.text().await;
        viewers.push(viewer);
    }
    let list = get(server.address, "/_/logs", &[ANN]).await.text();
    assert!(list.contains(r#""viewers":3"#), "all who look are counted: {list}");
    crate::servers::append(server.path("ann/a.log"), "more\n");
    for viewer in &mut viewers {
        assert!(viewer.text().await.contains("more"));
    }
}

#[tokio::test]
async fn a_link_that_is_turned_to_another_directory_shows_nothing_of_it() {
    let server = serve(ANN_AND_BOB).await;
    let link = server.path("ann/turning.log");
    std::os::unix::fs::symlink(server.path("ann/a.log"), &link).unwrap();
    let log = format!("{}?tail=1", target(&link));
    let v1 = [("sec-websocket-protocol", "tailcast.v1"), ANN];
    let (mut viewer, _) = Viewer::connect(server.address, &log, &v1).await.unwrap();
    viewer.expect("open").await;
    viewer.expect("rows").await;
    let new = server.path("ann/new");
    std::os::unix::fs::symlink(server.path(&format!("bob/{SECRET}.log")), &new).unwrap();
    std::fs::rename(&new, &link).unwrap();
    // It is followed no further until it leads to a place of Ann's again.
    let mut said = viewer.text().await;
    assert!(said.contains("waiting"), "{said}");
    std::fs::write(server.path("ann/b.log"), "the present\n").unwrap();
    std::os::unix::fs::symlink(server.path("ann/b.log"), &new).unwrap();
    std::fs::rename(&new, &link).unwrap();
    while !said.contains("the present") {
        said += &viewer.text().await;
    }
    assert!(!said.contains(SECRET), "{said}");
}

#[tokio::test]
async fn a_link_in_the_place_of_a_rule_gives_no_right_to_what_it_leads_to() {
    let rules: &[(&[&str], &[&str])] =
        &[(&["ann"], &["ann/build.log", "ann/builds"]), (&["bob"], &["bob"])];
    let server = serve(rules).await;
    let (secret, name) = (format!("bob/{SECRET}.log"), server.path("ann/build.log"));
    std::os::unix::fs::symlink(server.path(&secret), &name).unwrap();
    std::os::unix::fs::symlink(server.path("bob"), server.path("ann/builds")).unwrap();
    // The rules are read once more, as after any change of the configuration.
    let access = Access::new([server.directory.path()]).unwrap();
    server.handle.reload(access, settings(server.directory.path(), rules)).await;
    for path in [&secret, "ann/build.log", &format!("ann/builds/{SECRET}.log")] {
        let answer = get(server.address, &target(&server.path(path)), &[ANN]).await;
        assert_eq!(answer.status, 403, "{path}");
    }
    std::fs::remove_file(&name).unwrap();
    std::fs::write(&name, "a build\n").unwrap();
    assert_eq!(get(server.address, &target(&name), &[ANN]).await.text(), "a build\n");
}

#[tokio::test]
async fn those_with_other_rights_are_among_the_viewers_of_a_log() {
    let server = serve(&[(&["ann"], &["ann/a.log"]), (&["bob"], &["ann", "bob"])]).await;
    let log = format!("{}?tail=1&viewers=1", target(&server.path("ann/a.log")));
    let v1 = ("sec-websocket-protocol", "tailcast.v1");
    let (mut ann, _) = Viewer::connect(server.address, &log, &[v1, ANN]).await.unwrap();
    let (_bob, _) = Viewer::connect(server.address, &log, &[v1, BOB]).await.unwrap();
    let both = r#"{"type":"viewers","count":2,"names":["ann","bob"]}"#;
    let told = async { while ann.text().await != both {} };
    tokio::time::timeout(crate::servers::DEADLINE, told).await.expect("both are told");
}

#[tokio::test]
async fn a_stream_goes_on_without_old_files_that_may_be_read_no_longer() {
    let server = serve(&[(&["ann"], &["ann/app", "ann/old"])]).await;
    for directory in ["ann/app", "ann/old"] {
        std::fs::create_dir(server.path(directory)).unwrap();
    }
    std::fs::write(server.path("ann/app/b.log"), "the present\n").unwrap();
    std::fs::write(server.path("ann/old/b.log.1"), "an old line\n").unwrap();
    let log = target(&server.path("ann/app/b.log"));
    let all = format!("{log}?tail=1&history=1&lines=all");
    let v1 = [("sec-websocket-protocol", "tailcast.v1"), ANN];
    let read = async || {
        let (mut viewer, _) = Viewer::connect(server.address, &all, &v1).await.unwrap();
        let mut said = String::new();
        while !said.contains("the present") {
            said += &viewer.text().await;
        }
        (viewer, said)
    };
    let (mut ending, said) = read().await;
    assert!(said.contains("an old line"), "{said}");
    let (mut staying, _) =
        Viewer::connect(server.address, &format!("{log}?tail=1"), &v1).await.unwrap();
    let since = std::time::Instant::now();
    let access = Access::new([server.directory.path()]).unwrap();
    let narrow = settings(server.directory.path(), &[(&["ann"], &["ann/app"])]);
    server.handle.reload(access, narrow).await;
    // It is told to connect again, not that the log is forbidden.
    let (_, close) = ending.rest().await;
    assert_eq!(close.map(|(code, _)| code), Some(1001));
    assert!(since.elapsed() < END_TIME_MAX, "it took {:?}", since.elapsed());
    let (_viewer, said) = read().await;
    assert!(!said.contains("an old line"), "{said}");
    crate::servers::append(server.path("ann/app/b.log"), "another\n");
    let mut said = String::new();
    while !said.contains("another") {
        said += &staying.text().await;
    }
}

#[tokio::test]
async fn whom_a_proxy_names_is_signed_out_when_the_proxy_or_its_header_no_longer_counts() {
    let everything: &[(&[&str], &[&str])] = &[(&["ann"], &["ann"])];
    let server = serve(everything).await;
    let top = server.directory.path();
    let reload = async |settings: Settings| {
        server.handle.reload(Access::new([top]).unwrap(), settings).await;
    };
    let tail = format!("{}?tail=1", target(&server.path("ann/a.log")));
    let v1 = [("sec-websocket-protocol", "tailcast.v1"), ANN];
    let trusted = |name: &str| vec![name.parse().unwrap()];
    let first = || settings(top, everything);
    for (changed, stays) in [
        (Settings { trusted_proxies: trusted("127.0.0.0/8"), ..first() }, true),
        (Settings { trusted_proxies: trusted("127.0.0.2"), ..first() }, false),
        (Settings { user_header: Some("x-name".parse().unwrap()), ..first() }, false),
    ] {
        reload(first()).await;
        let (mut viewer, _) = Viewer::connect(server.address, &tail, &v1).await.unwrap();
        viewer.expect("open").await;
        viewer.expect("rows").await;
        let mut events = Streaming::get(server.address, &tail, &[EVENTS, ANN]).await;
        while !events.body().contains("a line of ann") {
            events.read_more().await;
        }
        let since = std::time::Instant::now();
        reload(changed).await;
        if stays {
            crate::servers::append(server.path("ann/a.log"), "another\n");
            viewer.expect("rows").await;
            while !events.body().contains("another") {
                events.read_more().await;
            }
            continue;
        }
        assert_eq!(viewer.expect("error").await["code"], 4401);
        assert_eq!(viewer.rest().await.1.map(|(code, _)| code), Some(4401));
        assert!(events.rest().await.contains("\"code\":4401"));
        assert!(since.elapsed() < END_TIME_MAX, "it took {:?}", since.elapsed());
        assert_eq!(get(server.address, "/", &[ANN]).await.status, 401);
    }
}

#[tokio::test]
async fn a_right_that_ends_cuts_no_pattern_of_another_directory() {
    let both: &[(&[&str], &[&str])] = &[(&["ann"], &["ann/own", "bob"])];
    let server = serve(both).await;
    std::fs::create_dir(server.path("ann/own")).unwrap();
    std::fs::write(server.path("ann/own/a-1.log"), "first\n").unwrap();
    let pattern = |name: &str| format!("{}?tail=1", target(&server.path(name)));
    let v1 = [("sec-websocket-protocol", "tailcast.v1"), ANN];
    let connect = async |name| {
        let (mut viewer, _) = Viewer::connect(server.address, &pattern(name), &v1).await.unwrap();
        viewer.expect("open").await;
        viewer.expect("rows").await;
        viewer
    };
    let mut staying = connect("ann/own/a-*.log").await;
    let mut ending = connect("bob/*.log").await;
    let access = Access::new([server.directory.path()]).unwrap();
    let one = settings(server.directory.path(), &[(&["ann"], &["ann/own"])]);
    server.handle.reload(access, one).await;
    assert_eq!(ending.expect("error").await["code"], 4403);
    // It goes on to the next match, too.
    std::fs::write(server.path("ann/own/a-2.log"), "second\n").unwrap();
    let mut said = String::new();
    while !said.contains("second") {
        said += &staying.text().await;
    }
    assert!(!said.contains("4403"), "{said}");
}

#[tokio::test]
async fn the_list_names_the_viewers_of_the_logs_that_a_visitor_may_read_and_of_no_others() {
    let server = serve(&[(&["ann"], &["ann/a.log"]), (&["bob"], &["ann", "bob"])]).await;
    let v1 = ("sec-websocket-protocol", "tailcast.v1");
    let mut viewers = Vec::new();
    for (name, who) in [("ann/a.log", ANN), ("ann/a.log", BOB), ("bob/a.log", BOB)] {
        let log = format!("{}?tail=1", target(&server.path(name)));
        let (mut viewer, _) = Viewer::connect(server.address, &log, &[v1, who]).await.unwrap();
        viewer.expect("open").await;
        viewers.push(viewer);
    }
    for (who, expected) in [(ANN, 1), (BOB, 2)] {
        eventually("the names", async || {
            let list = get(server.address, "/_/logs", &[who]).await.text();
            let both = list.matches(r#""viewers":2,"names":["ann","bob"]"#).count();
            let named = list.matches(r#""names":["#).count();
            if (both, named) == (1, expected) { Ok(()) } else { Err(list) }
        })
        .await;
    }
    let page = get(server.address, "/", &[ANN, HTML]).await.text();
    assert!(page.contains(r#"title="ann, bob"><span>ann +1</span>"#), "{page}");
}
