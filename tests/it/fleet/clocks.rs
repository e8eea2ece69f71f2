//! Machines whose clocks are apart.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Fleet, HOST, Roaming, Storm};
use crate::clients::{Viewer, get};
use crate::machines::Agent;
use crate::servers::{Program, append, command, eventually, not_run, pace};
use std::time::Duration;

/// The library that gives a process another clock. Debian's package is `faketime`.
fn library() -> Option<PathBuf> {
    let name = "faketime/libfaketimeMT.so.1";
    let directories = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    directories
        .chain([PathBuf::from("/usr/lib")])
        .map(|at| at.join(name))
        .find(|file| file.exists())
}

/// Gives a process a clock that is so many hours ahead. What is measured stays: timers run on.
fn set_clock<'a>(command: &'a mut Command, library: &Path, hours: i32) -> &'a mut Command {
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME", format!("{hours:+}h"))
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_are_an_hour_apart_lose_nobody_a_byte() {
    let test = "clocks_that_are_an_hour_apart_lose_nobody_a_byte";
    let Some(library) = library() else { return not_run(test, "there is no libfaketime") };
    let Some(mut fleet) = Fleet::start(0).await else {
        return not_run(test, "there is no nats-server");
    };
    let agent = |fleet: &Fleet, hours| {
        let mut agent = Agent::command(&fleet.nats.url(), HOST, fleet.logs.path(), &[]);
        Agent::spawn(set_clock(&mut agent, &library, hours)).ready()
    };
    fleet.kill_agent();
    fleet.agent = agent(&fleet, 1);
    for hours in [-1, 0] {
        fleet.spools.push(tempfile::tempdir().unwrap());
        let spool = fleet.spools.last().unwrap().path().to_str().unwrap();
        let mut edge = command();
        edge.args(["serve", "--port", "0", "--nats", &fleet.nats.url(), "--spool", spool]);
        fleet.edges.push(Program::start(set_clock(&mut edge, &library, hours)));
    }
    append(fleet.log(), "");
    fleet.is_listed().await;
    let storm = Storm::begin(&fleet.log(), Some(300));
    let addresses = fleet.addresses();
    let [one, other] = [0, 1].map(|edge| vec![addresses[edge]]);
    let viewers = [one, other, addresses.clone()].map(|edges| Roaming::new(edges, &fleet.target()));
    let reading = viewers.map(|viewer| tokio::spawn(viewer.read()));
    pace(Duration::from_secs(1)).await;
    // The clock of the machine is set back by two hours while it is away.
    fleet.kill_agent();
    pace(Duration::from_millis(300)).await;
    fleet.agent = agent(&fleet, -1);
    pace(Duration::from_secs(1)).await;
    let written = storm.end();
    for viewer in reading {
        viewer.await.unwrap().assert_has(&written, true);
    }
    // No clock makes a machine that is there look as if it was away, or one that is away as if it was there.
    let target = format!("{}?tail=1&format=raw", fleet.target());
    for &edge in &addresses {
        let list = get(edge, "/_/logs", &[]).await.text();
        assert!(list.contains(&fleet.target()) && !list.contains("\"away\""), "{list}");
        let mut viewer = Viewer::v1(edge, &target).await;
        viewer.expect("open").await;
    }
    fleet.kill_agent();
    for edge in addresses {
        eventually("the machine is away", async || {
            let list = get(edge, "/_/logs", &[]).await.text();
            if list.contains("\"away\"") { Ok(()) } else { Err(list) }
        })
        .await;
    }
}
