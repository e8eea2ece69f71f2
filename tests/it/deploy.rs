//! The files of `deploy/`, as far as they can be tried on one machine: what they name has to be there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use yaml_rust2::{Yaml, YamlLoader};

use crate::servers::{Port, command, eventually, not_run, output_of};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn file(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What `tailcast COMMAND --help` says.
fn help(of: &str) -> String {
    let output = output_of(command().args([of, "--help"]));
    assert!(output.status.success(), "there is no command `{of}`");
    String::from_utf8(output.stdout).unwrap()
}

/// Asserts that a command has these flags and variables.
fn assert_known(of: &str, words: &[&str]) {
    let help = help(of);
    for word in words {
        let is_known = help
            .split(|c: char| !c.is_ascii_alphanumeric() && !"-_".contains(c))
            .any(|known| known == *word);
        assert!(is_known, "`tailcast {of}` knows no `{word}`");
    }
}

#[test]
fn systemd_understands_the_units() {
    let units = ["tailcast.service", "tailcast.socket", "tailcast-agent.service"];
    let directory = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_tailcast");
    for unit in units {
        let text = file(&format!("deploy/{unit}")).replace("/usr/bin/tailcast", program);
        std::fs::write(directory.path().join(unit), text).unwrap();
    }
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no", "--recursive-errors=no"]);
    let paths = units.map(|unit| directory.path().join(unit));
    let Ok(verified) = verify.args(&paths).output() else {
        return not_run("the units of systemd", "there is no `systemd-analyze`");
    };
    let said = [verified.stdout, verified.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    // What the system of this machine has may be wrong.
    let own: Vec<_> = said.lines().filter(|line| line.contains("tailcast")).collect();
    assert!(own.is_empty() && verified.status.success(), "{said}");
}

#[test]
#[cfg(feature = "nats")]
fn the_units_start_the_program_with_flags_that_it_has() {
    for unit in ["tailcast.service", "tailcast-agent.service"] {
        let text = file(&format!("deploy/{unit}"));
        let start = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        let words: Vec<&str> = start.split_whitespace().collect();
        assert_eq!(words[0], "/usr/bin/tailcast");
        let flags = words[2..].iter().filter(|word| word.starts_with("--"));
        let variables = text.split_whitespace().map(|word| word.trim_start_matches('#'));
        let variables = variables.filter_map(|word| word.split_once('=')).map(|(name, _)| name);
        let variables = variables.filter(|name| name.starts_with("TAILCAST_"));
        let named: Vec<&str> = flags.copied().chain(variables).collect();
        assert_known(words[1], &named);
    }
}

/// The string at a path of keys.
fn text<'y>(of: &'y Yaml, keys: &[&str]) -> &'y str {
    let found = keys.iter().fold(of, |at, key| &at[*key]);
    found.as_str().unwrap_or_else(|| panic!("no text at {keys:?} of {of:?}"))
}

fn list(of: &Yaml) -> &[Yaml] {
    of.as_vec().map_or(&[], Vec::as_slice)
}

/// Checks what the parts of one manifest say of each other. Returns its container.
fn container_of(manifest: &str) -> (Vec<Yaml>, Yaml) {
    let all = YamlLoader::load_from_str(&file(manifest)).unwrap();
    for object in &all {
        text(object, &["apiVersion"]);
        text(object, &["metadata", "name"]);
    }
    let names_of = |kind: &str| -> Vec<&str> {
        let of_kind = all.iter().filter(|object| text(object, &["kind"]) == kind);
        of_kind.map(|object| text(object, &["metadata", "name"])).collect()
    };
    let daemon = all.iter().find(|object| text(object, &["kind"]) == "DaemonSet").unwrap();
    assert_eq!(text(daemon, &["apiVersion"]), "apps/v1");
    let (spec, template) = (&daemon["spec"], &daemon["spec"]["template"]);
    assert_eq!(spec["selector"]["matchLabels"], template["metadata"]["labels"], "{manifest}");
    let [container] = list(&template["spec"]["containers"]) else { panic!("{manifest}") };
    let volumes = list(&template["spec"]["volumes"]);
    for volume in volumes {
        if !volume["secret"].is_badvalue() {
            assert!(names_of("Secret").contains(&text(volume, &["secret", "secretName"])));
        }
        if !volume["configMap"].is_badvalue() {
            assert!(names_of("ConfigMap").contains(&text(volume, &["configMap", "name"])));
        }
    }
    let volumes: BTreeSet<&str> = volumes.iter().map(|volume| text(volume, &["name"])).collect();
    let mounts = list(&container["volumeMounts"]);
    let mounted: BTreeSet<&str> = mounts.iter().map(|mount| text(mount, &["name"])).collect();
    assert_eq!(volumes, mounted, "the volumes of {manifest}");
    for variable in list(&container["env"]) {
        let key = &variable["valueFrom"]["secretKeyRef"];
        if key.is_badvalue() {
            continue;
        }
        let secret = all.iter().find(|object| {
            text(object, &["kind"]) == "Secret"
                && text(object, &["metadata", "name"]) == text(key, &["name"])
        });
        text(secret.unwrap(), &["stringData", text(key, &["key"])]);
    }
    let (all, container) = (all.clone(), container.clone());
    (all, container)
}

/// Checks the command of a container. Returns its arguments.
fn arguments_of(container: &Yaml) -> Vec<String> {
    let arguments = list(&container["args"]).iter().map(|word| word.as_str().unwrap());
    let arguments: Vec<String> = arguments.map(str::to_owned).collect();
    let variables = list(&container["env"]).iter().map(|variable| text(variable, &["name"]));
    let flags = arguments[1..].iter().map(String::as_str).filter(|word| word.starts_with("--"));
    let named: Vec<&str> = variables.chain(flags).collect();
    assert_known(&arguments[0], &named);
    let mounts: Vec<&str> =
        list(&container["volumeMounts"]).iter().map(|mount| text(mount, &["mountPath"])).collect();
    for path in arguments.iter().filter(|word| word.starts_with('/')) {
        let is_mounted = mounts.iter().any(|mount| Path::new(path).starts_with(mount));
        assert!(is_mounted, "`{path}` lies in none of {mounts:?}");
    }
    arguments
}

#[test]
#[cfg(feature = "nats")]
fn the_manifest_of_an_agent_names_what_is_there() {
    let (all, container) = container_of("deploy/kubernetes-agent.yml");
    let arguments = arguments_of(&container);
    assert_eq!(arguments[0], "agent");
    let url = all.iter().find_map(|object| object["stringData"]["url"].as_str()).unwrap();
    let mut address: tailcast::broker::BrokerAddress = url.parse().unwrap();
    assert!(address.take_login().is_some());
}

#[test]
fn the_manifest_of_a_server_names_what_is_there() {
    let (all, container) = container_of("deploy/kubernetes.yml");
    let arguments = arguments_of(&container);
    assert_eq!(arguments[0], "serve");
    let [port] = list(&container["ports"]) else { panic!("one port") };
    let number = port["containerPort"].as_i64().unwrap();
    let known = file("docs/deploy.md") + &file("docs/metrics.md");
    for (probe, path) in [("livenessProbe", "/_/healthz"), ("readinessProbe", "/_/readyz")] {
        let probe = &container[probe]["httpGet"];
        assert_eq!(text(probe, &["path"]), path);
        assert_eq!(text(probe, &["port"]), text(port, &["name"]));
        assert!(known.contains(path), "{path} is in the docs");
    }
    let service = all.iter().find(|object| text(object, &["kind"]) == "Service").unwrap();
    let [served] = list(&service["spec"]["ports"]) else { panic!("one port of the service") };
    assert_eq!(text(served, &["targetPort"]), text(port, &["name"]));
    // The configuration is right, with files where the secret would be.
    let config = all.iter().find_map(|object| object["data"]["tailcast.toml"].as_str()).unwrap();
    assert!(config.contains(&format!("\"0.0.0.0:{number}\"")), "it listens at {number}");
    let directory = tempfile::tempdir().unwrap();
    for name in ["users", "tokens"] {
        std::fs::write(directory.path().join(name), "").unwrap();
    }
    let own = directory.path().to_str().unwrap();
    let mounts = list(&container["volumeMounts"]);
    for name in config.split('"').filter(|word| word.starts_with('/')) {
        let is_mounted =
            mounts.iter().any(|mount| Path::new(name).starts_with(text(mount, &["mountPath"])));
        assert!(is_mounted, "`{name}` is mounted");
    }
    let config = config.replace("/etc/tailcast-accounts", own).replace("/var/lib/tailcast", own);
    let config = config.replace("/var/log/containers\", \"/var/log/pods", own);
    let path = directory.path().join("tailcast.toml");
    std::fs::write(&path, config).unwrap();
    let checked = output_of(command().arg("config").arg(&path));
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

/// A process that is killed when dropped.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The instructions of the image, each with its words.
fn instructions() -> Vec<(String, String)> {
    let text = file("deploy/Dockerfile");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let split = lines.map(|line| line.split_once(' ').unwrap());
    split.map(|(name, rest)| (name.to_owned(), rest.to_owned())).collect()
}

/// The words of an instruction that is a JSON array.
fn words(of: &str) -> Vec<String> {
    serde_json::from_str(of).unwrap_or_else(|error| panic!("{of}: {error}"))
}

/// The image without an engine: a root with nothing but the program and what it is linked to, in which
/// its commands run with its variables, and with another port.
#[tokio::test]
async fn the_image_serves_and_says_that_it_is_well() {
    let test = "the_image_serves_and_says_that_it_is_well";
    let root = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_tailcast");
    let mut unshare = Command::new("unshare");
    let can = unshare.args(["--user", "--map-root-user", "chroot", "/", "true"]).output();
    if !can.is_ok_and(|output| output.status.success()) {
        return not_run(test, "there are no namespaces of users");
    }
    let instructions = instructions();
    let of = |name: &str| -> &str {
        let found = instructions.iter().find(|(instruction, _)| instruction == name);
        &found.unwrap_or_else(|| panic!("no {name}")).1
    };
    assert_eq!(of("COPY"), "tailcast /tailcast");
    std::fs::copy(program, root.path().join("tailcast")).unwrap();
    // That of the image is linked statically, this one is not.
    let linked = output_of(Command::new("ldd").arg(program));
    let linked = String::from_utf8(linked.stdout).unwrap();
    for library in linked.split_whitespace().filter(|word| word.starts_with('/')) {
        let to = root.path().join(library.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(library, to).unwrap();
    }
    let mut environment: Vec<(&str, &str)> =
        of("ENV").split_whitespace().map(|pair| pair.split_once('=').unwrap()).collect();
    let names: Vec<&str> = environment.iter().map(|(name, _)| *name).collect();
    assert_known("serve", &names);
    let prefix = environment.iter().find(|(name, _)| *name == "TAILCAST_PREFIX").unwrap().1;
    let logs = root.path().join(prefix.trim_start_matches('/'));
    std::fs::create_dir_all(&logs).unwrap();
    std::fs::create_dir(root.path().join("proc")).unwrap();
    std::fs::write(logs.join("a.log"), "a line\n").unwrap();
    assert!(help("serve").contains(&format!("[default: {}]", of("EXPOSE"))), "its usual port");
    let (user, group) = of("USER").split_once(':').unwrap();
    assert!(user == group && user.parse::<u32>().unwrap() > 60_000, "a user of its own");
    let port = Port::hold();
    let number = port.number.to_string();
    environment.push(("TAILCAST_PORT", &number));
    let inside = |words: Vec<String>| {
        let mut inside = Command::new("unshare");
        let line = "mount --rbind /proc \"$0/proc\" && exec chroot \"$0\" \"$@\"";
        inside.args(["--user", "--map-root-user", "--mount", "sh", "-c", line]).arg(root.path());
        inside.args(words).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        inside.envs(environment.iter().copied());
        inside
    };
    let mut start = words(of("ENTRYPOINT"));
    start.extend(words(of("CMD")));
    let serving = inside(start).stdout(std::process::Stdio::null()).spawn().unwrap();
    let _serving = Killed(serving);
    let health = of("HEALTHCHECK").strip_prefix("CMD ").unwrap();
    eventually("the image is well", async || {
        let output = output_of(&mut inside(words(health)));
        if output.status.success() { Ok(()) } else { Err(output) }
    })
    .await;
    let page = crate::clients::get(port.address(), &format!("{prefix}/a.log"), &[]).await;
    assert_eq!(page.text(), "a line\n");
}
