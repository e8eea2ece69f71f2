//! Whether another file can have had a log's name between two files that had it.
//!
//! No system call answers that afterwards. A search that finds no such file proves nothing: the
//! file may have been moved elsewhere, compressed or removed. So the times of the two known files
//! decide, and the answer is "yes" unless they leave no room. A rotation renames the one file and
//! creates the next one at once. If the first file was last changed at the moment at which the
//! second one was created, no file can have had the name between them.
//!
//! File systems stamp files with a clock that ticks. So files stay unseen that had the name while it
//! ticked once, in a log whose other files last longer. A server that follows the log sees them,
//! because it counts the events of the name.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_getres};

/// A log whose files last for fewer ticks may have been rotated several times within one. Then their
/// times prove nothing.
const LIFE_TICKS_MIN: u32 = 4;
/// A tick at 100 Hz, the lowest rate of a kernel.
const TICK_MAX: Duration = Duration::from_millis(10);

/// In unit tests no file lasts for four ticks. So the times prove nothing, on any machine, and the
/// model of a viewer knows what has to be told.
const UNIT_TEST_TICK: Duration = Duration::from_secs(3600);

/// The tick of the clock with which this machine stamps files.
pub(in crate::log) static TICK: LazyLock<Duration> = LazyLock::new(|| {
    if cfg!(test) {
        return UNIT_TEST_TICK;
    }
    let tick = clock_getres(ClockId::RealtimeCoarse);
    Duration::try_from(tick).unwrap_or(TICK_MAX).min(TICK_MAX)
});

/// What a file system says of the time of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) struct Life {
    /// When it was created.
    pub(in crate::log) born: SystemTime,
    /// When it was last written.
    pub(in crate::log) written: SystemTime,
    /// When it was last written or renamed, or changed otherwise.
    pub(in crate::log) changed: SystemTime,
}

/// Whether a file that was created at `next_born` had the log's name right after the file of this
/// life. `is_shifted` says that the earlier file was renamed again since: the time of its last
/// renaming then is not that at which it lost the name. Times that are at most a `tick` apart count as
/// the same: the file system's clock may tick between the two calls of a rotation.
pub(in crate::log) fn follows_directly(
    before: &Life,
    is_shifted: bool,
    next_born: SystemTime,
    tick: Duration,
) -> bool {
    // Ticks are not quite equal, since the clock is corrected while it runs.
    let tick = tick + tick / 8;
    let is_at_birth = |time: SystemTime| {
        let apart = time.duration_since(next_born).or_else(|_| next_born.duration_since(time));
        apart.is_ok_and(|apart| apart <= tick)
    };
    let lasted = next_born.duration_since(before.born).unwrap_or_default();
    // A time of writing can be set to any value. It is then before the change.
    let is_plausible = before.written <= before.changed + tick;
    lasted >= tick * LIFE_TICKS_MIN
        && is_plausible
        && (is_at_birth(before.written) || (!is_shifted && is_at_birth(before.changed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_follows_another_one_directly_where_their_times_leave_no_room() {
        let at = |seconds: f64| SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds);
        let tick = Duration::from_millis(4);
        let life = |written: f64, changed: f64| Life {
            born: at(1000.0),
            written: at(written),
            changed: at(changed),
        };
        for (what, before, is_shifted, expected) in [
            ("it was renamed when the next one was made", life(1500.0, 1999.996), false, true),
            ("the same, and renamed again", life(1500.0, 1999.996), true, false),
            ("it was written until then, and renamed again", life(1999.996, 2500.0), true, true),
            ("it was written a moment longer", life(2000.004, 2000.004), true, true),
            ("it was renamed two ticks before", life(1500.0, 1999.992), false, false),
            ("it was renamed a second before", life(1500.0, 1999.0), false, false),
            ("it was renamed later", life(1500.0, 2100.0), false, false),
            ("it is written still", life(5000.0, 5000.0), false, false),
            ("its time of writing was set", life(2000.0, 1500.0), false, false),
        ] {
            assert_eq!(follows_directly(&before, is_shifted, at(2000.0), tick), expected, "{what}");
        }
        for (born, expected) in [(1999.98, true), (1999.99, false), (2001.0, false)] {
            let before = Life { born: at(born), ..life(2000.0, 2000.0) };
            assert_eq!(follows_directly(&before, false, at(2000.0), tick), expected, "{born}");
        }
    }
}
