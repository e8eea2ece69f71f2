//! Figures of the process, with the names that Prometheus's client libraries give them.

use std::fs;

use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// Fields of `/proc/self/stat` after the name of the program, counted from 0: proc(5) counts from 1
/// and has two fields before.
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;
const THREADS: usize = 17;
const START_TICKS: usize = 19;
const VIRTUAL_BYTES: usize = 20;
const RESIDENT_PAGES: usize = 21;

/// The numbers of `/proc/self/stat` that are of use.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    /// Parses the text of `/proc/self/stat`. The name of the program may hold anything.
    fn parse(text: &str) -> Option<Self> {
        let (_, fields) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: number(USER_TICKS)? + number(SYSTEM_TICKS)?,
            threads: number(THREADS)?,
            start_ticks: number(START_TICKS)?,
            virtual_bytes: number(VIRTUAL_BYTES)?,
            resident_pages: number(RESIDENT_PAGES)?,
        })
    }
}

/// Registers what the kernel says about this process. What it does not say is left out.
#[expect(clippy::cast_precision_loss, reason = "ticks are far below 2^52")]
pub(super) fn register(registry: &mut Registry) {
    let ticks = clock_ticks_per_second().max(1) as f64;
    if let Some(stat) = read("/proc/self/stat").as_deref().and_then(Stat::parse) {
        let cpu = ConstCounter::new(stat.cpu_ticks as f64 / ticks);
        registry.register("cpu_seconds", "User and system CPU time", cpu);
        let resident = ConstGauge::new(stat.resident_pages * page_size() as u64);
        registry.register("resident_memory_bytes", "Resident memory", resident);
        let virtual_memory = ConstGauge::new(stat.virtual_bytes);
        registry.register("virtual_memory_bytes", "Virtual memory", virtual_memory);
        registry.register("threads", "Threads", ConstGauge::new(stat.threads));
        if let Some(booted) = booted() {
            let started = ConstGauge::new(booted as f64 + stat.start_ticks as f64 / ticks);
            let help = "Start of the process, in seconds since 1970";
            registry.register("start_time_seconds", help, started);
        }
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // One of them is the directory itself.
        let open = ConstGauge::new((entries.count() as u64).saturating_sub(1));
        registry.register("open_fds", "Open descriptors", open);
    }
    if let Some(max) = getrlimit(Resource::Nofile).current {
        registry.register("max_fds", "The most descriptors that may be open", ConstGauge::new(max));
    }
}

#[expect(clippy::disallowed_methods, reason = "files of the kernel are no logs")]
fn read(file: &str) -> Option<String> {
    fs::read_to_string(file).ok()
}

/// When the machine was started, in seconds since 1970.
fn booted() -> Option<u64> {
    let text = read("/proc/stat")?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_found_behind_any_name_of_a_program() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194304 1 0 0 0 150 50 0 0 20 0 9 0 4200 8192 33 1 1";
        let expected = Stat {
            cpu_ticks: 200,
            threads: 9,
            start_ticks: 4200,
            virtual_bytes: 8192,
            resident_pages: 33,
        };
        assert_eq!(Stat::parse(text), Some(expected));
        assert_eq!(Stat::parse("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_has_all_figures() {
        let mut registry = Registry::default();
        register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::prometheus_text::encode(&mut text, &registry).unwrap();
        for name in [
            "cpu_seconds_total",
            "resident_memory_bytes",
            "virtual_memory_bytes",
            "threads",
            "start_time_seconds",
            "open_fds",
            "max_fds",
        ] {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
            assert!(value.is_some_and(|value: f64| value >= 0.0), "{name}: {text}");
        }
    }
}
