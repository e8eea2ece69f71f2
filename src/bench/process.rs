//! CPU and memory of processes, from `/proc`.

use std::collections::BTreeMap;
use std::io;

/// CPU and memory of processes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usage {
    processes: BTreeMap<u32, Cpu>,
    /// Resident memory in bytes.
    pub(crate) rss: u64,
}

/// The CPU of a process since its start, in user and kernel mode.
#[derive(Clone, Debug, Default)]
struct Cpu {
    /// In seconds. The kernel gives it in ticks of 10 ms, which are coarse beside the work of a few
    /// seconds.
    own: f64,
    /// That of children that were waited for, in the same way.
    children: f64,
    /// That of each thread that has not ended, in nanoseconds; for one that runs just now up to a tick
    /// of the scheduler old. Empty where the kernel does not say.
    threads: BTreeMap<u32, u64>,
}

/// By how many seconds the ticks may say more than the threads: user and kernel mode are each rounded
/// down to 10 ms.
const TICKS_OFF: f64 = 0.03;

impl Cpu {
    /// Seconds since an earlier time. They are those of the threads, if no thread has ended since.
    fn since(&self, earlier: &Self) -> f64 {
        let ticks = self.own - earlier.own;
        let begun = earlier.threads.iter();
        let mut then = begun.map(|(thread, cpu)| self.threads.contains_key(thread).then_some(*cpu));
        let own = match then.try_fold(0, |sum, cpu| Some(sum + cpu?)) {
            Some(then) => {
                let now: u64 = self.threads.values().sum();
                let precise = now.saturating_sub(then) as f64 / 1e9;
                // Threads that have begun and ended since are in neither map.
                if ticks > precise + TICKS_OFF { ticks } else { precise }
            }
            None => ticks,
        };
        own + self.children - earlier.children
    }
}

impl Usage {
    /// The sum over these processes and their descendants.
    pub(crate) fn of(pids: &[u32]) -> io::Result<Self> {
        let mut usage = Self::default();
        for pid in with_descendants(pids)? {
            match Self::of_one(pid) {
                Ok(one) => {
                    usage.processes.extend(one.processes);
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

    /// Seconds of CPU since an earlier time.
    pub(crate) fn cpu_since(&self, earlier: &Self) -> f64 {
        let none = Cpu::default();
        let now = self.processes.iter();
        let spent = now.map(|(pid, cpu)| cpu.since(earlier.processes.get(pid).unwrap_or(&none)));
        // What a process has used that has ended, its parent counts.
        let ended = earlier.processes.iter().filter(|(pid, _)| !self.processes.contains_key(pid));
        (spent.sum::<f64>() - ended.map(|(_, cpu)| cpu.own + cpu.children).sum::<f64>()).max(0.0)
    }

    fn of_one(pid: u32) -> io::Result<Self> {
        let stat = Stat::of(pid)?;
        let status = read(&format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        let second = rustix::param::clock_ticks_per_second() as f64;
        let [own, children] = stat.ticks.map(|ticks| ticks as f64 / second);
        let cpu = Cpu { own, children, threads: threads(pid)? };
        Ok(Self { processes: [(pid, cpu)].into(), rss: kibibytes.unwrap_or(0) * 1024 })
    }
}

/// The nanoseconds of CPU of each thread of a process: the first field of
/// `/proc/PID/task/TID/schedstat`. Empty where the kernel does not count them.
fn threads(pid: u32) -> io::Result<BTreeMap<u32, u64>> {
    let mut threads = BTreeMap::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let name = entry?.file_name();
        if let Some(thread) = name.to_str().and_then(|name| name.parse().ok())
            && let Ok(schedstat) = read(&format!("/proc/{pid}/task/{thread}/schedstat"))
            && let Some(cpu) = schedstat.split_whitespace().next().and_then(|cpu| cpu.parse().ok())
        {
            threads.insert(thread, cpu);
        }
    }
    Ok(threads)
}

/// The used fields of `/proc/PID/stat`, see proc_pid_stat(5).
struct Stat {
    parent: u32,
    /// Clock ticks in user and kernel mode: its own, and those of children that were waited for.
    ticks: [u64; 2],
}

impl Stat {
    fn of(pid: u32) -> io::Result<Self> {
        let stat = read(&format!("/proc/{pid}/stat"))?;
        // The name may contain anything, and ends at the last bracket.
        let fields: Vec<&str> =
            stat.rsplit(") ").next().unwrap_or_default().split_whitespace().collect();
        let field = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
        let sum = |range: std::ops::Range<usize>| range.map(field).sum::<Option<u64>>();
        match (field(1), sum(11..13), sum(13..15)) {
            // A zombie: the process has ended and was not waited for.
            _ if fields.first() == Some(&"Z") => Err(io::ErrorKind::NotFound.into()),
            (Some(parent), Some(own), Some(children)) => {
                Ok(Self { parent: parent as u32, ticks: [own, children] })
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(own: f64, children: f64, threads: &[(u32, u64)]) -> Cpu {
        Cpu { own, children, threads: threads.iter().copied().collect() }
    }

    fn usage(processes: &[(u32, &Cpu)]) -> Usage {
        let processes = processes.iter().map(|&(pid, cpu)| (pid, cpu.clone())).collect();
        Usage { processes, rss: 0 }
    }

    #[test]
    fn cpu_is_that_of_the_threads_unless_one_has_ended() {
        let ms = 1_000_000;
        let begun = cpu(1.0, 0.0, &[(1, 700 * ms), (2, 300 * ms)]);
        let same = cpu(1.01, 0.0, &[(1, 703 * ms), (2, 300 * ms), (3, 2 * ms)]);
        let fewer = cpu(1.02, 0.0, &[(1, 718 * ms)]);
        let unknown = cpu(1.02, 0.0, &[]);
        let between = cpu(1.5, 0.0, &[(1, 701 * ms), (2, 300 * ms)]);
        let waited = cpu(1.0, 0.5, &[(1, 700 * ms), (2, 300 * ms)]);
        for (name, now, seconds) in [
            ("the same threads, and one more", &same, 0.005),
            ("a thread has ended", &fewer, 0.02),
            ("the kernel does not say", &unknown, 0.02),
            ("a thread has begun and ended", &between, 0.5),
            ("a child was waited for", &waited, 0.5),
        ] {
            assert!((now.since(&begun) - seconds).abs() < 1e-9, "{name}: {}", now.since(&begun));
        }
    }

    #[test]
    fn a_process_that_has_ended_counts_once() {
        let parent = cpu(1.0, 0.0, &[(1, 1_000_000_000)]);
        let child = cpu(0.4, 0.0, &[(2, 400_000_000)]);
        let begun = usage(&[(1, &parent), (2, &child)]);
        let after = usage(&[(1, &cpu(1.0, 0.6, &[(1, 1_000_000_000)]))]);
        assert!((after.cpu_since(&begun) - 0.2).abs() < 1e-9);
        let new = usage(&[(1, &parent), (2, &child), (3, &cpu(0.0, 0.0, &[(3, 7_000_000)]))]);
        assert!((new.cpu_since(&begun) - 0.007).abs() < 1e-9);
    }

    #[test]
    fn the_cpu_of_this_process_is_counted() {
        let begun = Usage::own().unwrap();
        let mut sum = 0_u64;
        // Threads of other tests begin and end meanwhile.
        while Usage::own().unwrap().cpu_since(&begun) < 0.15 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let own = Usage::of(&[std::process::id()]).unwrap();
        assert!(own.rss > 1 << 20);
        assert!(own.cpu_since(&begun) >= 0.05);
    }
}
