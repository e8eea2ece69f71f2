//! What a bench measured, for the table that `cargo bench` prints at its end.

use std::io::Write;

use serde::{Deserialize, Serialize};

/// Names the file to which each bench adds its figures. Without it they are only printed.
pub const FILE: &str = "TAILCAST_BENCH_FIGURES";

/// What a figure has to be.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// The same for the ratio to what it is compared with.
    RatioAtMost(f64),
    RatioAtLeast(f64),
}

/// A measured figure, beside what it is compared with.
#[derive(Debug, Serialize, Deserialize)]
pub struct Figure {
    pub what: String,
    pub value: f64,
    pub unit: String,
    /// The name of the other one, and its figure.
    pub beside: Option<(String, f64)>,
    /// The median of the ratios of the rounds.
    pub ratio: Option<f64>,
    pub goal: Option<Goal>,
}

impl Figure {
    pub fn new(what: impl Into<String>, value: f64, unit: &str) -> Self {
        let (what, unit) = (what.into(), unit.to_owned());
        Self { what, value, unit, beside: None, ratio: None, goal: None }
    }

    /// Compares it with another one, by the median of the ratios of their rounds.
    pub fn beside(mut self, name: &str, value: f64, ratio: f64) -> Self {
        self.beside = Some((name.to_owned(), value));
        self.ratio = Some(ratio);
        self
    }

    pub fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    /// Adds it to the file, if there is one.
    pub fn note(self) {
        let Some(path) = std::env::var_os(FILE) else { return };
        let file = std::fs::File::options().create(true).append(true).open(path);
        let mut file = file.expect("the file of the figures can be made");
        let text = serde_json::to_string(&self).expect("it has names and numbers only");
        writeln!(file, "{text}").expect("the file of the figures can be written");
    }
}
