//! The groups that rows announce are bounded and safe to show, and they are nested if no cursor
//! moves.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tailcast::render::{GroupStart, Row, Terminal};

/// The deepest nesting of groups.
const DEPTH_MAX: usize = 32;

/// Markers that one byte stands for, so that the fuzzer finds them often.
const MARKERS: [&str; 20] = [
    "::group::",
    "::endgroup::",
    "##[group]",
    "##[endgroup]",
    "section_start:1:",
    "section_end:1:",
    "[collapsed=true]",
    "--- ",
    "+++ ",
    "~~~ ",
    "2026-03-14T15:09:26.5Z ",
    "2026-03-14T15:09:26.1234567Z ",
    "2026-03-14T15:09:26.123456Z 00O ",
    "2026-03-14T15:09:26.123456Z 00O+",
    "2026-03-14T15:09:26.123456789Z stdout P ",
    "travis_fold:start:a\r",
    "travis_fold:end:a\r",
    "##teamcity[blockOpened name='a']",
    "##teamcity[blockClosed name='a']",
    "\x1b_bk;t=1700000000000\x07",
];

fn check(opening: &GroupStart) {
    assert!((1..=DEPTH_MAX).contains(&opening.level), "{opening:?}");
    assert!(opening.name.len() <= 256, "{opening:?}");
    assert!(!opening.name.chars().any(|ch| ch.is_control() && ch != '\t'), "{opening:?}");
}

fuzz_target!(|bytes: &[u8]| {
    let mut log = Vec::new();
    for &byte in bytes {
        match MARKERS.get(usize::from(byte).wrapping_sub(0x80)) {
            Some(marker) => log.extend_from_slice(marker.as_bytes()),
            None => log.push(byte),
        }
    }
    let mut rows: Vec<Row> = Vec::new();
    let mut terminal = Terminal::new(0);
    for piece in log.chunks(64) {
        let patch = terminal.feed(piece);
        rows.retain(|row| row.offset < patch.from);
        rows.extend(patch.rows().cloned());
    }
    // If rows are erased or moved, their notes go with them.
    let moves = bytes.iter().any(|byte| matches!(byte, 0x1b | 0x08 | 0x0b | 0x0c | 0xc2));
    let mut depth = 0;
    for group in rows.iter().filter_map(|row| row.note()?.group.as_ref()) {
        group.opens.iter().for_each(check);
        if moves {
            continue;
        }
        if let Some(level) = group.closes {
            assert!((1..=depth).contains(&level), "{group:?} in {depth}");
            depth = level - 1;
        }
        if let Some(opening) = &group.opens {
            depth += 1;
            assert_eq!(opening.level, depth, "{group:?}");
        }
    }
});
