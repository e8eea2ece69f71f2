//! Statistics, and how they are printed.

use std::fmt;

pub const MIB: f64 = 1024.0 * 1024.0;

/// Latencies in nanoseconds, sorted.
pub struct Latencies(Vec<u64>);

impl Latencies {
    pub fn new(mut all: Vec<u64>) -> Self {
        all.sort_unstable();
        Self(all)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest latency that is at least as high as this share of all; 0 without latencies.
    fn quantile(&self, share: f64) -> u64 {
        let at = (self.0.len() as f64 * share).ceil() as usize;
        self.0.get(at.saturating_sub(1)).copied().unwrap_or_default()
    }

    pub fn p50(&self) -> u64 {
        self.quantile(0.5)
    }

    pub fn p99(&self) -> u64 {
        self.quantile(0.99)
    }

    pub fn max(&self) -> u64 {
        self.0.last().copied().unwrap_or_default()
    }
}

pub fn millis(nanos: u64) -> String {
    format!("{:.2}", nanos as f64 / 1e6)
}

pub fn ratio(without: u64, with: u64) -> String {
    format!("{:.2}", with as f64 / without.max(1) as f64)
}

/// A Markdown table.
pub struct Table(Vec<Vec<String>>);

impl Table {
    pub fn new(heads: &[&str]) -> Self {
        Self(vec![heads.iter().map(|&head| head.to_owned()).collect()])
    }

    pub fn row(&mut self, cells: &[String]) {
        self.0.push(cells.to_vec());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, row) in self.0.iter().enumerate() {
            writeln!(f, "| {} |", row.join(" | "))?;
            if at == 0 {
                writeln!(f, "|---|{}", "---:|".repeat(row.len() - 1))?;
            }
        }
        Ok(())
    }
}
