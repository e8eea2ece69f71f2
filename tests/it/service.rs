//! The program as a service: what it tells systemd, the sockets that it takes from it, its units, its
//! access log, and what a package installs.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::clients::{Viewer, get};
use crate::servers::{
    DEADLINE, Program, append, command, eventually, not_run, output_of, put, target,
};
use crate::transport::Pem;

/// A directory with a log and a configuration, and the socket of a service manager.
struct Scene {
    directory: TempDir,
    manager: UnixDatagram,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("logs")).unwrap();
        append(directory.path().join("logs/a.log"), "first\n");
        let manager = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        manager.set_read_timeout(Some(DEADLINE)).unwrap();
        let scene = Self { directory, manager };
        scene.configure("");
        scene
    }

    fn configure(&self, more: &str) {
        let prefix = self.directory.path().join("logs");
        put(self.directory.path().join("a.toml"), format!("prefix = [{prefix:?}]\n{more}"));
    }

    fn serve(&self) -> Command {
        let mut serve = command();
        serve
            .args(["serve", "--port", "0", "--config"])
            .arg(self.directory.path().join("a.toml"))
            .env("NOTIFY_SOCKET", self.directory.path().join("notify"));
        serve
    }

    /// The next message to the service manager.
    async fn told(&self) -> String {
        let manager = self.manager.try_clone().unwrap();
        let receiving = spawn_blocking(move || {
            let mut message = [0; 1024];
            let len = manager.recv(&mut message).expect("a message to the service manager");
            String::from_utf8(message[..len].to_vec()).unwrap()
        });
        receiving.await.unwrap()
    }
}

#[tokio::test]
async fn systemd_learns_when_the_service_is_ready_reloads_and_ends() {
    let scene = Scene::new();
    let mut program = Program::start(&mut scene.serve());
    assert_eq!(scene.told().await.trim(), "READY=1");
    scene.configure("max-viewers = 7\n");
    program.signal(Signal::HUP);
    let reloading = scene.told().await;
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(scene.told().await.trim(), "READY=1");
    let said = program.said();
    assert!(said.contains("read the configuration again"), "ready only after the reload: {said}");
    program.signal(Signal::TERM);
    assert_eq!(scene.told().await.trim(), "STOPPING=1");
    assert!(program.wait().await.success());
}

#[tokio::test]
async fn systemd_is_told_in_time_that_the_service_still_runs() {
    let scene = Scene::new();
    let _program = Program::start(scene.serve().env("WATCHDOG_USEC", "300000"));
    let mut told = Vec::new();
    while told.len() < 4 {
        told.push(scene.told().await.trim().to_owned());
    }
    assert_eq!(told.iter().filter(|line| *line == "WATCHDOG=1").count(), 3, "{told:?}");
}

#[tokio::test]
async fn sockets_of_systemd_stand_instead_of_the_configured_addresses() {
    let scene = Scene::new();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let unix = scene.directory.path().join("passed.sock");
    drop(tcp);
    // As systemd does it: the first socket is descriptor 3, and the variables name the process.
    let script = format!(
        "import os, socket, sys\n\
         tcp = socket.create_server(('127.0.0.1', {}))\n\
         unix = socket.socket(socket.AF_UNIX); unix.bind({:?}); unix.listen()\n\
         os.dup2(tcp.fileno(), 13); os.dup2(unix.fileno(), 14)\n\
         os.dup2(13, 3); os.dup2(14, 4)\n\
         os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='2')\n\
         os.execv(sys.argv[1], sys.argv[1:])\n",
        address.port(),
        unix.to_str().unwrap()
    );
    let serve = scene.serve();
    let mut passing = Command::new("python3");
    passing.arg("-c").arg(script).arg(serve.get_program()).args(serve.get_args());
    let program = Program::start(&mut passing);
    assert_eq!(program.address, address);
    let log = target(&scene.directory.path().join("logs/a.log"));
    assert_eq!(get(address, &log, &[]).await.text(), "first\n");
    let mut tail = command();
    tail.args(["tail", "--lines", "all", "--no-follow"])
        .arg(format!("unix:{}:{log}", unix.display()));
    let tailed = spawn_blocking(move || output_of(&mut tail)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&tailed.stdout), "first\n", "{tailed:?}");
}

#[tokio::test]
async fn the_access_log_is_text_json_or_off() {
    let scene = Scene::new();
    let log = target(&scene.directory.path().join("logs/a.log"));
    for format in ["text", "json", "off"] {
        let program = Program::start(scene.serve().args(["--access-log", format]));
        Viewer::v1(program.address, &log).await.rest().await;
        get(program.address, &log, &[]).await;
        get(program.address, "/etc/passwd", &[]).await;
        let objects = |said: &str| -> Vec<serde_json::Value> {
            let lines = said.lines().filter(|line| line.starts_with('{'));
            lines.map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let lines = if format == "off" { 0 } else { 5 };
        eventually("the lines are there", async || {
            let said = program.said();
            let marks = ["viewer came", "viewer gone", "refused"];
            let found = marks.iter().map(|mark| said.matches(mark).count()).sum::<usize>();
            if found == lines { Ok(()) } else { Err(said) }
        })
        .await;
        let said = program.said();
        assert!(said.contains("serving prefix="), "other lines stay as they are: {said}");
        let objects = objects(&said);
        assert_eq!(objects.len(), if format == "json" { 5 } else { 0 }, "{said}");
        // The server may notice the end of the stream after the client has begun the download.
        let of = |transport: &str| {
            let is_gone = |object: &&serde_json::Value| object["message"] == "viewer gone";
            let mut gone = objects.iter().filter(is_gone);
            gone.find(|object| object["transport"] == transport).unwrap()
        };
        if format != "json" {
            continue;
        }
        let (gone, downloaded) = (of("tailcast.v1"), of("download"));
        assert_eq!((&downloaded["bytes"], &downloaded["reason"]), (&6.into(), &"complete".into()));
        assert_eq!(gone["log"], log);
        assert_eq!(gone["reason"], "complete");
        assert!(gone["bytes"].as_u64().unwrap() > 0 && gone["seconds"].is_u64(), "{gone}");
        assert!(gone["remote"].as_str().unwrap().starts_with("127.0.0.1:"), "{gone}");
        let refused = objects.iter().find(|object| object["message"] == "refused").unwrap();
        assert_eq!((&refused["path"], &refused["status"]), (&"/etc/passwd".into(), &403.into()));
    }
}

#[test]
fn the_unit_is_as_confined_as_it_can_be() {
    const EXPOSURE_MAX: f32 = 2.0;
    let Ok(analysed) = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", "deploy/tailcast.service"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
    else {
        not_run("the exposure of the unit of systemd", "there is no `systemd-analyze`");
        return;
    };
    let said = String::from_utf8_lossy(&analysed.stdout);
    let level = said.split("exposure level for tailcast.service: ").nth(1).unwrap_or_default();
    let level: f32 = level.split(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("{said}"));
    assert!(level <= EXPOSURE_MAX, "{level}: {said}");
}

#[test]
fn manual_pages_name_every_flag_of_every_command() {
    let directory = tempfile::tempdir().unwrap();
    let written = output_of(command().args(["man", "--directory"]).arg(directory.path()));
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let top = output_of(command().arg("--help"));
    let help = String::from_utf8(top.stdout).unwrap();
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names = commands.lines().filter_map(|line| line.split_whitespace().next());
    let mut pages = 0;
    for name in names.filter(|name| *name != "help") {
        let page = directory.path().join(format!("tailcast-{name}.1"));
        let page = std::fs::read_to_string(&page).unwrap_or_else(|_| panic!("no page of {name}"));
        let help = output_of(command().args([name, "--help"]));
        let help = String::from_utf8(help.stdout).unwrap();
        for word in help.split_whitespace().filter(|word| word.starts_with("--")) {
            // A value that may be left out stands in brackets.
            let flag = word.split('[').next().unwrap_or_default();
            let flag = flag.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            let escaped = flag.replace('-', "\\-");
            assert!(page.contains(&escaped), "the page of {name} does not name {flag}");
        }
        pages += 1;
    }
    assert!(pages >= 4 && directory.path().join("tailcast.1").exists());
    let nowhere = output_of(command().args(["man", "--directory", "/nonexistent"]));
    let said = String::from_utf8_lossy(&nowhere.stderr);
    assert!(nowhere.status.code() == Some(2) && said.contains("hint: "), "{said}");
}

#[test]
fn completions_are_scripts_of_their_shell() {
    for (shell, mark) in [
        ("bash", "complete -F _tailcast"),
        ("zsh", "#compdef tailcast"),
        ("fish", "complete -c tailcast"),
    ] {
        let made = output_of(command().args(["completions", shell]));
        let script = String::from_utf8(made.stdout).unwrap();
        assert!(script.contains(mark) && script.contains("max-viewers"), "{shell}: {script}");
    }
    let script = output_of(command().args(["completions", "bash"])).stdout;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), script).unwrap();
    assert!(output_of(Command::new("bash").arg("-n").arg(file.path())).status.success());
}

#[tokio::test]
async fn a_health_check_needs_no_other_program() {
    let scene = Scene::new();
    let certificate = scene.directory.path().join("tls");
    std::fs::create_dir(&certificate).unwrap();
    Pem::new().write(&certificate);
    let socket = scene.directory.path().join("health.sock");
    let listen = format!("unix:{}", socket.display());
    let mut program = Program::start(&mut scene.serve());
    let mut encrypted = command();
    encrypted
        .args(["serve", "--listen", "127.0.0.1:0", "--listen", &listen, "--base-path", "/logs"])
        .args(Pem::arguments(&certificate))
        .arg(scene.directory.path().join("logs"));
    let encrypted = Program::start(&mut encrypted);
    let health = |url: &str| output_of(command().args(["health", url]));
    for url in [
        format!("http://{}", program.address),
        format!("https://{}/logs/", encrypted.address),
        listen,
    ] {
        let output = health(&url);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("\"status\":\"ok\""), "{url}: {output:?}");
    }
    let wrong = health(&format!("http://{}/elsewhere", program.address));
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
    assert_eq!(health("logs.example").status.code(), Some(2));
    let address = program.address;
    program.signal(Signal::TERM);
    assert!(program.wait().await.success());
    let gone = health(&format!("http://{address}"));
    let said = String::from_utf8_lossy(&gone.stderr);
    assert!(gone.status.code() == Some(1) && said.contains("is not well"), "{said}");
}
