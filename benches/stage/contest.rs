//! Programs that do the same in turns, compared by the CPU time that they take.

use std::time::Instant;

use super::figures::{Figure, Goal};
use super::{Server, median, median_ratio, range, row, setting};

/// What one program did: how many rows it found in how many bytes, and the seconds of CPU and of time
/// that it took. The rows are `None` if it gave up.
pub struct Turn {
    pub rows: Option<u64>,
    pub bytes: u64,
    pub cpu: f64,
    pub took: f64,
}

/// A program, or a loop of this one, and the speed of its turns in GB per second of CPU.
pub struct Contender<'a> {
    name: &'static str,
    run: Box<dyn Fn() -> Option<Turn> + 'a>,
    speeds: Vec<f64>,
}

impl<'a> Contender<'a> {
    pub fn new(name: &'static str, run: impl Fn() -> Option<Turn> + 'a) -> Self {
        Self { name, run: Box::new(run), speeds: Vec::new() }
    }
}

/// Lets all run in turns, and returns the rows that the first one found and its speed by the clock.
fn compete(contenders: &mut [Contender<'_>], agree: bool) -> (Option<u64>, f64) {
    let (mut rows, mut by_clock) = (None, Vec::new());
    for round in 0..setting("ROUNDS", 3) as usize {
        for turn in 0..contenders.len() {
            let at = (round + turn) % contenders.len();
            let contender = &mut contenders[at];
            let Some(turn) = (contender.run)() else { continue };
            let gigabytes = turn.bytes as f64 / 1e9;
            contender.speeds.push(gigabytes / turn.cpu);
            if at == 0 {
                rows = turn.rows;
                by_clock.push(gigabytes / turn.took);
            }
            let differs = agree && rows.is_some() && turn.rows.is_some() && turn.rows != rows;
            assert!(!differs, "{} found {:?}, not {rows:?}", contender.name, turn.rows);
        }
    }
    (rows, median(by_clock))
}

/// The heads of the columns for contenders: the speed of each, and the ratio to it of the first one.
fn heads(contenders: &[Contender<'_>]) -> Vec<String> {
    contenders
        .iter()
        .enumerate()
        .flat_map(|(nth, Contender { name, .. })| {
            [Some((*name).to_owned()), (nth > 0).then(|| format!("/ {name}"))].into_iter().flatten()
        })
        .collect()
}

/// The cells for contenders.
fn cells(contenders: &[Contender<'_>]) -> Vec<String> {
    let first = &contenders[0].speeds;
    contenders
        .iter()
        .enumerate()
        .flat_map(|(nth, Contender { speeds, .. })| {
            if speeds.is_empty() {
                return vec!["not installed".to_owned(), String::new()];
            }
            let ratio = median(first.iter().zip(speeds).map(|(one, other)| one / other).collect());
            let mut cells = vec![range(speeds)];
            cells.extend((nth > 0).then(|| format!("{ratio:.2}")));
            cells
        })
        .collect()
}

fn print(cells: &[String]) {
    row(&cells.iter().map(|cell| cell as &dyn std::fmt::Display).collect::<Vec<_>>());
}

/// Lets all run in turns, and prints a row of the table: the name, the rows and the speed by the clock
/// of the first one, and the speeds of all.
pub fn print_contest(name: &str, contenders: &mut [Contender<'_>], agree: bool) {
    let (rows, speed) = compete(contenders, agree);
    let first = [
        name.to_owned(),
        rows.map_or(String::new(), |rows| rows.to_string()),
        format!("{speed:.2}"),
    ];
    print(&[&first[..], &cells(contenders)].concat());
}

/// Adds a contest to the table of all benches: the first one beside the one of this name, or alone.
pub fn note_contest(what: &str, contenders: &[Contender<'_>], beside: Option<&str>, goal: Goal) {
    let [ours, others @ ..] = contenders else { return };
    let mut figure = Figure::new(what, median(ours.speeds.clone()), "GB/CPU s").goal(goal);
    if let Some(name) = beside {
        let other = others.iter().find(|other| other.name == name && !other.speeds.is_empty());
        let Some(other) = other else { return };
        let ratio = median_ratio(&ours.speeds, &other.speeds);
        figure = figure.beside(name, median(other.speeds.clone()), ratio);
    }
    figure.note();
}

/// Adds each contender by its name to the table of all benches.
pub fn note_each(what: &str, contenders: &[Contender<'_>]) {
    for Contender { name, speeds, .. } in contenders.iter().filter(|one| !one.speeds.is_empty()) {
        Figure::new(format!("{what}: {name}"), median(speeds.clone()), "GB/CPU s").note();
    }
}

/// Prints the heads of such a table.
pub fn print_heads(what: &str, contenders: &[Contender<'_>]) {
    let first = [what, "rows", "GB/s by the clock"];
    let heads: Vec<String> =
        first.map(str::to_owned).into_iter().chain(heads(contenders)).collect();
    print(&heads);
    println!("|---|{}", "---:|".repeat(heads.len() - 1));
}

/// Measures a loop of this thread over so many bytes.
pub fn alone(bytes: u64, count: impl FnOnce() -> u64) -> Option<Turn> {
    // To the nanosecond, while the kernel's files are renewed at each tick only.
    let cpu = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let (began, before) = (Instant::now(), cpu());
    let rows = Some(count());
    Some(Turn { rows, bytes, cpu: cpu() - before, took: began.elapsed().as_secs_f64() })
}

/// Seconds of CPU of the processes that this one has waited for.
pub fn cpu_of_children() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[13].parse::<u64>().unwrap() + fields[14].parse::<u64>().unwrap();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

impl Server {
    /// Seconds of CPU of its threads so far, to the nanosecond. Those that have ended are not counted.
    pub fn cpu_of_threads(&self) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let of = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        let all = tasks.map(|task| on_cpu(&of(task.unwrap().path().join("schedstat"))));
        all.sum()
    }
}

/// The seconds of CPU in a text of the kernel's.
fn on_cpu(schedstat: &str) -> f64 {
    schedstat.split_whitespace().next().map_or(0.0, |ns| ns.parse::<f64>().unwrap() / 1e9)
}
