//! Who signs in at a broker, and how: TLS, a user with the documented permissions, and credentials files.

use nkeys::KeyPair;
use serde_json::{Value, json};

use super::*;
use crate::transport::{Pem, authority};

/// Base64 for URLs, without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number = three.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        let (number, digits) = (number << (8 * (3 - three.len())), three.len() + 1);
        let digit = |nth: usize| DIGITS[(number >> (18 - 6 * nth) & 63) as usize] as char;
        text.extend((0..digits).map(digit));
    }
    text
}

/// What one key says of another one, signed, as `nsc` makes it.
fn signed(by: &KeyPair, of: &KeyPair, name: &str, nats: &Value) -> String {
    let head = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let claims = json!({
        "jti": "TEST", "iat": 1_700_000_000, "iss": by.public_key(), "name": name,
        "sub": of.public_key(), "nats": nats,
    });
    let text = [head, claims].map(|part| base64(part.to_string().as_bytes())).join(".");
    let signature = by.sign(text.as_bytes()).unwrap();
    format!("{text}.{}", base64(&signature))
}

/// A broker that trusts an operator, and the credentials of a user of one of its accounts.
struct Operator {
    config: String,
    credentials: String,
    /// Those of a user whose account nobody knows.
    strange: String,
}

impl Operator {
    fn new() -> Self {
        let operator = KeyPair::new_operator();
        let [account, system, stranger] = [(); 3].map(|()| KeyPair::new_account());
        let all = -1;
        let limits = json!({
            "subs": all, "data": all, "payload": all, "imports": all, "exports": all, "conn": all, "leaf": all,
            "wildcards": true, "mem_storage": all, "disk_storage": all, "streams": all, "consumer": all,
        });
        let nats = json!({ "type": "operator", "version": 2 });
        let trusted = signed(&operator, &operator, "operator", &nats);
        let nats = json!({ "type": "account", "version": 2, "limits": limits });
        let known = signed(&operator, &account, "logs", &nats);
        let nats = json!({ "type": "account", "version": 2, "limits": {} });
        let of_system = signed(&operator, &system, "system", &nats);
        let [account_key, system_key] = [&account, &system].map(KeyPair::public_key);
        let config = format!(
            "operator: {trusted}\nsystem_account: {system_key}\nresolver: MEMORY\n\
             resolver_preload {{ {account_key}: {known}\n {system_key}: {of_system} }}\n"
        );
        let credentials = |account: &KeyPair| {
            let user = KeyPair::new_user();
            let limits =
                json!({ "type": "user", "version": 2, "subs": all, "data": all, "payload": all });
            let token = signed(account, &user, "agent", &limits);
            format!(
                "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
                 -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
                user.seed().unwrap()
            )
        };
        Self { config, credentials: credentials(&account), strange: credentials(&stranger) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credentials_file_is_a_login_and_that_of_another_account_is_none() {
    let operator = Operator::new();
    let Some(nats) = Nats::with(&operator.config).await else {
        return not_run("a_credentials_file_is_a_login", "there is no nats-server");
    };
    let (logs, files) = (logs(), self::logs());
    let log = logs.path().join("app.log");
    put(&log, "one\n");
    let [good, strange] = ["good.creds", "strange.creds"].map(|name| files.path().join(name));
    put(&good, &operator.credentials);
    put(&strange, &operator.strange);
    let with = |file: &Path| ["--nats-creds".to_owned(), file.to_str().unwrap().to_owned()];
    let flags = with(&good);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let _agent = Agent::start(&nats.url(), "web", logs.path(), &flags);
    let spool = files.path().join("spool");
    let mut arguments = vec!["--nats", "", "--spool", spool.to_str().unwrap()];
    let url = nats.url();
    arguments[1] = &url;
    arguments.extend(&flags);
    let edge = crate::servers::Program::serve_on(0, &arguments);
    let target = format!("/@web{}", log.canonicalize().unwrap().display());
    eventually("the edge serves the log", async || {
        let text = crate::clients::get(edge.address, &target, &[]).await.text();
        if text == "one\n" { Ok(()) } else { Err((text, edge.said())) }
    })
    .await;
    // Neither without any, nor with those of somebody else.
    let flags = with(&strange);
    let strange: Vec<&str> = flags.iter().map(String::as_str).collect();
    for more in [&strange[..], &[]] {
        let mut agent = Agent::begin(&nats.url(), "other", logs.path(), more);
        assert_eq!(agent.wait().await.code(), Some(1), "{more:?}: {}", agent.said());
        let said = agent.said();
        assert!(said.contains("\nhint: check the user and the password"), "{said}");
        assert!(!said.contains("eyJ"), "no part of the credentials is told: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seed_of_a_key_is_a_login_where_the_broker_knows_its_public_half() {
    let (known, strange) = (KeyPair::new_user(), KeyPair::new_user());
    let config = format!("authorization {{ users: [ {{ nkey: {} }} ] }}", known.public_key());
    let Some(nats) = Nats::with(&config).await else {
        return not_run("the_seed_of_a_key_is_a_login", "there is no nats-server");
    };
    let (logs, files) = (logs(), self::logs());
    let seed = |name: &str, key: &KeyPair, before: &str| {
        let file = files.path().join(name);
        put(&file, format!("{before}{}\n", key.seed().unwrap()));
        file.to_str().unwrap().to_owned()
    };
    let [known, with_text] =
        [("known.nk", ""), ("text.nk", "# of web\n")].map(|(name, text)| seed(name, &known, text));
    let strange = seed("strange.nk", &strange, "");
    for file in [&known, &with_text] {
        drop(Agent::start(&nats.url(), "web", logs.path(), &["--nats-creds", file]));
    }
    let mut agent = Agent::begin(&nats.url(), "web", logs.path(), &["--nats-creds", &strange]);
    assert_eq!(agent.wait().await.code(), Some(1), "{}", agent.said());
    let said = agent.said();
    assert!(said.contains("\nhint: check the user and the password"), "{said}");
    assert!(!said.contains("SU"), "no part of the key is told: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_configuration_works_with_tls_and_refuses_others_clearly() {
    let (files, pem) = (self::logs(), Pem::new());
    pem.write(files.path());
    let path = |name: &str| files.path().join(name);
    let config = format!(
        "{}\ntls {{ cert_file: {:?}, key_file: {:?} }}",
        documented_permissions(),
        path("chain.pem"),
        path("key.pem")
    );
    let Some(nats) = Nats::with(&config).await else {
        return not_run("the_documented_configuration_works_with_tls", "there is no nats-server");
    };
    let logs = logs();
    put(logs.path().join("app.log"), "one\n");
    put(path("authority.pem"), authority());
    let other = rcgen::generate_simple_self_signed(["elsewhere".to_owned()]).unwrap();
    put(path("other.pem"), other.cert.pem());
    let [authority, other] =
        ["authority.pem", "other.pem"].map(|name| path(name).to_str().unwrap().to_owned());
    let tls = |url: String| url.replace("nats://", "tls://");
    let admin = tls(nats.url_as("admin", "admin-secret"));
    let trusting = ["--nats-tls-ca", &authority];
    drop(Agent::start(&admin, "first", logs.path(), &trusting));
    let web = tls(nats.url_as("web-1", "web-1-secret"));
    let _agent = Agent::start(&web, "web-1", logs.path(), &trusting);
    let wrong = tls(nats.url_as("web-1", "s3cret"));
    for (url, authority, expected) in [
        (&web, &other, "hint: name the authority of the broker's certificate with `--nats-tls-ca"),
        (&wrong, &authority, "hint: check the user and the password in the URL"),
    ] {
        let mut agent = Agent::begin(url, "web-1", logs.path(), &["--nats-tls-ca", authority]);
        assert_eq!(agent.wait().await.code(), Some(1), "{}", agent.said());
        let said = agent.said();
        assert!(said.contains(expected) && !said.contains("s3cret"), "{said}");
    }
    // The edge is told the same.
    let edge = tls(nats.url_as("edge", "edge-secret"));
    let spool = path("spool");
    let spool = spool.to_str().unwrap();
    let flags =
        ["serve", "--port", "0", "--nats", &edge, "--spool", spool, "--nats-tls-ca", &other];
    let output = crate::servers::command().args(flags).arg(logs.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("`--nats-tls-ca FILE`"), "{said}");
    assert!(!said.contains("edge-secret"), "{said}");
}
