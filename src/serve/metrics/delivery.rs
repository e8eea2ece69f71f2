//! How long a line takes from the write to the last socket.

use std::time::{Duration, SystemTime};

use prometheus_client::metrics::histogram::Histogram;

/// In seconds. A system call apart from each other at the start; a poll apart at the end.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// A file that was last written to longer ago has a time that somebody set, or was copied to the
/// log's name.
const LONGEST: Duration = Duration::from_secs(3600);

/// Times from the write to a log until a broadcast group has sent the bytes to all of its members.
///
/// The time of the write is the file's modification time. Many writes in one chunk count as one, at
/// the time of the last that was seen when the chunk was read.
#[derive(Clone, Debug)]
pub(in crate::serve) struct Delivery(Histogram);

impl Default for Delivery {
    fn default() -> Self {
        Self(Histogram::new(BUCKETS))
    }
}

impl Delivery {
    /// Counts bytes that were written at this time and are delivered now.
    pub(in crate::serve) fn observe(&self, written: SystemTime) {
        // Clocks of other machines may be ahead.
        let Ok(taken) = SystemTime::now().duration_since(written) else { return };
        if taken < LONGEST {
            self.0.observe(taken.as_secs_f64());
        }
    }

    pub(super) fn histogram(&self) -> Histogram {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::prometheus_text;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn times_that_cannot_be_are_left_out() {
        let delivery = Delivery::default();
        let counted = || {
            let mut registry = Registry::default();
            registry.register("times", "Times", delivery.histogram());
            let mut text = String::new();
            prometheus_text::encode(&mut text, &registry).unwrap();
            ["times_count ", "times_bucket{le=\"0.5\"} ", "times_bucket{le=\"2.5\"} "].map(|name| {
                let value = text.lines().find_map(|line| line.strip_prefix(name));
                value.unwrap_or_else(|| panic!("no {name}in {text}")).parse::<u64>().unwrap()
            })
        };
        let now = SystemTime::now();
        delivery.observe(now + Duration::from_secs(60));
        delivery.observe(SystemTime::UNIX_EPOCH);
        assert_eq!(counted(), [0, 0, 0]);
        delivery.observe(now - Duration::from_millis(1200));
        assert_eq!(counted(), [1, 0, 1]);
    }
}
