//! Whether another file can have had a log's name between two files that had it.
//!
//! No system call tells that afterwards, and that no such file is found says nothing: it may have
//! been moved elsewhere, compressed or removed. So the answer comes from the times of the two files
//! that are known, and it is "yes" unless they leave no room. A rotation renames the one file and
//! makes the next at once. Where the first was last changed just when the second was created,
//! nothing lasted between the two.
//!
//! What this can't see: a file that had the name for less than a tick of the clock, in a log whose
//! files last for long otherwise.

use std::time::{Duration, SystemTime};

/// File systems stamp files with a clock that ticks. At 100 Hz, the least that kernels have, a tick
/// takes so long.
const TICK: Duration = Duration::from_millis(10);
/// A log whose files last for less may have been rotated twice within a tick: then their times
/// prove nothing.
const LIFE_MIN: Duration = Duration::from_secs(10);

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
/// renaming then is not that at which it lost the name.
pub(in crate::log) fn follows_directly(
    before: &Life,
    is_shifted: bool,
    next_born: SystemTime,
) -> bool {
    let is_at_birth = |time: SystemTime| {
        let apart = time.duration_since(next_born).or_else(|_| next_born.duration_since(time));
        apart.is_ok_and(|apart| apart <= TICK)
    };
    let lasted = next_born.duration_since(before.born).unwrap_or_default();
    // A time of writing can be set to any value. It is then before the change.
    let is_plausible = before.written <= before.changed + TICK;
    lasted >= LIFE_MIN
        && is_plausible
        && (is_at_birth(before.written) || (!is_shifted && is_at_birth(before.changed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_follows_another_one_directly_where_their_times_leave_no_room() {
        let at = |seconds: f64| SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds);
        let life = |written: f64, changed: f64| Life {
            born: at(1000.0),
            written: at(written),
            changed: at(changed),
        };
        for (what, before, is_shifted, expected) in [
            ("it was renamed when the next one was made", life(1500.0, 1999.999), false, true),
            ("the same, and renamed again", life(1500.0, 1999.999), true, false),
            ("it was written until then, and renamed again", life(1999.995, 2500.0), true, true),
            ("it was written a moment longer", life(2000.005, 2000.005), true, true),
            ("it was renamed a second before", life(1500.0, 1999.0), false, false),
            ("it was renamed later", life(1500.0, 2100.0), false, false),
            ("it is written still", life(5000.0, 5000.0), false, false),
            ("its time of writing was set", life(2000.0, 1500.0), false, false),
        ] {
            assert_eq!(follows_directly(&before, is_shifted, at(2000.0)), expected, "{what}");
        }
        let young = Life { born: at(1995.0), ..life(2000.0, 2000.0) };
        assert!(!follows_directly(&young, false, at(2000.0)), "files that last for seconds");
        let later = Life { born: at(2001.0), ..life(2000.0, 2000.0) };
        assert!(!follows_directly(&later, false, at(2000.0)), "it is younger than the next one");
    }
}
