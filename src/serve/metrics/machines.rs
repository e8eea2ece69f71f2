//! What is counted of the logs of other machines.

use prometheus_client::registry::Registry;

use super::{counter, gauge};
use crate::log::mirrored::Figures;

pub(super) fn register(figures: Figures, registry: &mut Registry) {
    let help = "Whether there is a connection to the broker";
    gauge(registry, "broker_connected", help, figures.is_connected.into());
    let help = "How often the connection to the broker was lost";
    counter(registry, "broker_disconnects", help, figures.losses);
    gauge(registry, "machines", "Machines whose agents are known", figures.machines);
    let help = "Machines whose agents do not answer now";
    gauge(registry, "machines_away", help, figures.machines_away);
    let help = "Logs of other machines that are followed now";
    gauge(registry, "mirrored_logs_followed", help, figures.followed);
    let help = "Bytes of other machines' logs that came while the logs were followed";
    counter(registry, "mirrored_bytes", help, figures.fed_bytes);
    let help = "Bytes of other machines' logs that were fetched because somebody read them";
    counter(registry, "fetched_bytes", help, figures.fetched_bytes);
    let help = "Bytes of other machines' logs that are in the spool";
    gauge(registry, "spool_bytes", help, figures.kept_bytes);
    let help = "The most bytes that are in the spool";
    gauge(registry, "spool_max_bytes", help, figures.kept_bytes_max);
    let help = "Files that were removed from the spool to make room";
    counter(registry, "spool_evicted_files", help, figures.evicted_files);
}
