//! What an agent and an edge count.

use std::net::SocketAddr;

use super::{Fleet, HOST, not_run};
use crate::clients::{Viewer, get};
use crate::machines::Agent;
use crate::metrics::{expect, promtool_finds_nothing_wrong, samples, until};
use crate::servers::{append, eventually};

/// Where an agent says that it serves its metrics.
fn metrics_of(agent: &Agent) -> SocketAddr {
    let said = agent.said();
    let address = said.split("http://").nth(1).and_then(|rest| rest.split("/_/metrics").next());
    address.unwrap_or_else(|| panic!("no address: {said}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_and_edge_count_what_they_send_and_get() {
    let test = "agent_and_edge_count_what_they_send_and_get";
    let Some(mut fleet) = Fleet::start(1).await else {
        return not_run(test, "there is no nats-server");
    };
    fleet.kill_agent();
    append(fleet.log(), "first\n");
    let counting = ["--metrics", "127.0.0.1:0"];
    fleet.agent = Agent::start(&fleet.nats.url(), HOST, fleet.logs.path(), &counting);
    let (agent, edge) = (metrics_of(&fleet.agent), fleet.edges[0].address);
    fleet.is_listed().await;
    expect(agent, &[("tailcast_agent_logs", 1.0), ("tailcast_agent_logs_published", 0.0)]).await;
    expect(edge, &[("tailcast_machines", 1.0), ("tailcast_mirrored_logs_followed", 0.0)]).await;
    let target = format!("{}?tail=1&format=text&lines=all", fleet.target());
    let v1 = [("sec-websocket-protocol", "tailcast.v1")];
    let (mut viewer, _) = Viewer::connect(edge, &target, &v1).await.unwrap();
    until(&mut viewer, "first").await;
    append(fleet.log(), "and second\n");
    until(&mut viewer, "and second").await;
    expect(
        agent,
        &[
            ("tailcast_broker_connected", 1.0),
            ("tailcast_agent_logs_published", 1.0),
            // Where the log is, and what was appended.
            ("tailcast_agent_messages_total", 2.0),
            ("tailcast_agent_bytes_total", 11.0),
            ("tailcast_agent_messages_waiting", 0.0),
            ("tailcast_agent_answered_bytes_total", 6.0),
            ("tailcast_agent_refusals_total{reason=\"busy\"}", 0.0),
        ],
    )
    .await;
    expect(
        edge,
        &[
            ("tailcast_broker_connected", 1.0),
            ("tailcast_broker_disconnects_total", 0.0),
            ("tailcast_machines_away", 0.0),
            ("tailcast_mirrored_logs_followed", 1.0),
            ("tailcast_mirrored_bytes_total", 11.0),
            ("tailcast_fetched_bytes_total", 6.0),
            ("tailcast_spool_max_bytes", (10_u64 << 30) as f64),
            ("tailcast_spool_evicted_files_total", 0.0),
        ],
    )
    .await;
    let kept = samples(edge).await["tailcast_spool_bytes"];
    assert!((17.0..100_000.0).contains(&kept), "{kept}");
    // What is not there is refused.
    let missing = format!("{}.missing", fleet.target());
    get(edge, &missing, &[]).await;
    for address in [agent, edge] {
        promtool_finds_nothing_wrong(&get(address, "/_/metrics", &[]).await.text());
        let open = get(address, "/_/metrics", &[("accept", "application/openmetrics-text")]).await;
        assert!(open.text().ends_with("# EOF\n"));
    }
    assert_eq!(get(agent, "/", &[]).await.status, 404);
    let names =
        get(agent, "/_/metrics", &[]).await.text() + &get(edge, "/_/metrics", &[]).await.text();
    assert!(!names.contains("a.log"), "{names}");
    fleet.nats.kill();
    for address in [agent, edge] {
        expect(address, &[("tailcast_broker_connected", 0.0)]).await;
    }
    fleet.nats.start_again();
    for address in [agent, edge] {
        let back = [("tailcast_broker_connected", 1.0), ("tailcast_broker_disconnects_total", 1.0)];
        expect(address, &back).await;
    }
    fleet.kill_agent();
    expect(edge, &[("tailcast_machines_away", 1.0)]).await;
    drop(viewer);
    expect(edge, &[("tailcast_mirrored_logs_followed", 0.0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_has_metrics_while_it_waits_for_its_broker() {
    let logs = tempfile::tempdir().unwrap();
    let counting = ["--metrics", "127.0.0.1:0"];
    let agent = Agent::begin("nats://127.0.0.1:9", HOST, logs.path(), &counting);
    eventually("it says where", async || {
        let said = agent.said();
        if said.contains("/_/metrics") { Ok(()) } else { Err(said) }
    })
    .await;
    let address = metrics_of(&agent);
    expect(address, &[("tailcast_broker_connected", 0.0)]).await;
    // An address that somebody has already is a mistake.
    let taken = ["--metrics".to_owned(), address.to_string()];
    let taken: Vec<&str> = taken.iter().map(String::as_str).collect();
    let mut other = Agent::begin("nats://127.0.0.1:9", HOST, logs.path(), &taken);
    assert_eq!(other.wait().await.code(), Some(2));
    assert!(other.said().contains("cannot listen on"), "{}", other.said());
}
