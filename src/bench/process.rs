//! CPU and memory of processes, from `/proc`.

use std::collections::BTreeMap;
use std::io;

/// CPU and memory of processes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Seconds of CPU since their start, in user and kernel mode.
    pub(crate) cpu: f64,
    /// Resident memory in bytes.
    pub(crate) rss: u64,
}

impl Usage {
    /// The sum over these processes and their descendants.
    pub(crate) fn of(pids: &[u32]) -> io::Result<Self> {
        let mut usage = Self::default();
        for pid in with_descendants(pids)? {
            match Self::of_one(pid) {
                Ok(one) => {
                    usage.cpu += one.cpu;
                    usage.rss += one.rss;
                }
                // A descendant may end in the meantime.
                Err(_) if !pids.contains(&pid) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(usage)
    }

    /// The usage of this process.
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

/// The used fields of `/proc/PID/stat`, see proc_pid_stat(5).
struct Stat {
    parent: u32,
    /// Clock ticks in user and kernel mode, with those of children that were waited for.
    ticks: u64,
}

impl Stat {
    fn of(pid: u32) -> io::Result<Self> {
        let stat = read(&format!("/proc/{pid}/stat"))?;
        // The name may contain anything, and ends at the last bracket.
        let fields: Vec<&str> =
            stat.rsplit(") ").next().unwrap_or_default().split_whitespace().collect();
        let field = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
        let sum = |range: std::ops::Range<usize>| range.map(field).sum::<Option<u64>>();
        match (field(1), sum(11..15)) {
            // A zombie: the process has ended and was not waited for.
            _ if fields.first() == Some(&"Z") => Err(io::ErrorKind::NotFound.into()),
            (Some(parent), Some(ticks)) => Ok(Self { parent: parent as u32, ticks }),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a file in /proc is no log")]
fn read(path: &str) -> io::Result<String> {
    std::fs::read_to_string(path)
}

/// These processes and all of their descendants.
fn with_descendants(pids: &[u32]) -> io::Result<Vec<u32>> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if let Some(pid) = name.to_str().and_then(|name| name.parse().ok())
            && let Ok(stat) = Stat::of(pid)
        {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut with_descendants: Vec<u32> = Vec::new();
    let mut found = pids.to_vec();
    while let Some(pid) = found.pop() {
        if !with_descendants.contains(&pid) {
            with_descendants.push(pid);
            found.extend(children.get(&pid).into_iter().flatten());
        }
    }
    Ok(with_descendants)
}
