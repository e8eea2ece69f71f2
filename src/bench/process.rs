//! What a process and its children have used, as /proc tells.

use std::collections::BTreeMap;
use std::io;

/// CPU and memory of a process and of its children that run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Seconds of CPU since they began, in the kernel and outside of it.
    pub(crate) cpu: f64,
    /// Bytes that are resident.
    pub(crate) rss: u64,
}

impl Usage {
    /// Of these processes, together.
    pub(crate) fn of(pids: &[u32]) -> io::Result<Self> {
        let mut usage = Self::default();
        for pid in family(pids)? {
            match Self::of_one(pid) {
                Ok(one) => {
                    usage.cpu += one.cpu;
                    usage.rss += one.rss;
                }
                // A child may end while it is looked at.
                Err(_) if !pids.contains(&pid) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(usage)
    }

    /// Of this process alone.
    pub(crate) fn own() -> io::Result<Self> {
        Self::of_one(std::process::id())
    }

    fn of_one(pid: u32) -> io::Result<Self> {
        let stat = Stat::of(pid)?;
        let status = read(&format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        let second = rustix::param::clock_ticks_per_second() as f64;
        Ok(Self { cpu: stat.ticks as f64 / second, rss: kibibytes.unwrap_or(0) * 1024 })
    }
}

/// What is used of `/proc/PID/stat`.
struct Stat {
    parent: u32,
    /// In the kernel and outside, with the children that have ended and been waited for.
    ticks: u64,
}

impl Stat {
    fn of(pid: u32) -> io::Result<Self> {
        let stat = read(&format!("/proc/{pid}/stat"))?;
        // The name may hold anything, and ends at the last bracket.
        let fields: Vec<&str> =
            stat.rsplit(") ").next().unwrap_or_default().split_whitespace().collect();
        let field = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
        let sum = |range: std::ops::Range<usize>| range.map(field).sum::<Option<u64>>();
        match (field(1), sum(11..15)) {
            // It has ended, and has not been waited for.
            _ if fields.first() == Some(&"Z") => Err(io::ErrorKind::NotFound.into()),
            (Some(parent), Some(ticks)) => Ok(Self { parent: parent as u32, ticks }),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "what the kernel tells in /proc is no log")]
fn read(path: &str) -> io::Result<String> {
    std::fs::read_to_string(path)
}

/// These processes and all that descend from them.
fn family(pids: &[u32]) -> io::Result<Vec<u32>> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if let Some(pid) = name.to_str().and_then(|name| name.parse().ok())
            && let Ok(stat) = Stat::of(pid)
        {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut family: Vec<u32> = Vec::new();
    let mut found = pids.to_vec();
    while let Some(pid) = found.pop() {
        if !family.contains(&pid) {
            family.push(pid);
            found.extend(children.get(&pid).into_iter().flatten());
        }
    }
    Ok(family)
}
