use std::sync::Arc;

use proptest::prelude::*;
use tokio::runtime::Handle;

use super::*;
use crate::log::access::Identity;
use crate::mirror::remote::Remote;
use crate::mirror::spool::file::state::{DENIAL_TIME_MAX, PIECE_BYTES};

/// The ranges of a test begin and end at multiples of this.
const STEP: u64 = PIECE_BYTES / 4;
const STEPS: u64 = 24;

fn ranges() -> impl Strategy<Value = Ranges> {
    let range =
        (0..STEPS, 0..STEPS).prop_map(|(one, other)| STEP * one.min(other)..STEP * one.max(other));
    proptest::collection::vec(range, 0..4).prop_map(|all| all.into_iter().collect())
}

fn state(size: u64, present: Ranges, gone: Ranges) -> State {
    let generation = Generation::new(Identity { device: 1, inode: 1 }, 1, b"");
    let (modified, order) = (SystemTime::UNIX_EPOCH, VecDeque::new());
    State {
        generation,
        is_told: true,
        alias: None,
        size,
        modified,
        next: None,
        followed: None,
        present,
        gone,
        lost: Ranges::default(),
        denied: None,
        order,
        is_noted: true,
        noted: None,
    }
}

#[test]
fn what_was_asked_for_in_vain_is_asked_for_again_after_a_while() {
    let mut state = state(100, std::iter::once(0..10).collect(), Ranges::default());
    let now = Instant::now();
    state.lost.insert(50..60);
    state.gone.insert(50..60);
    state.deny(&(0..100), now);
    state.deny(&(0..100), now + DENIAL_TIME_MAX / 2);
    assert_eq!(state.look(&(0..100)), (None, Some(10..100)));
    assert!(!state.is_denial_over(now + DENIAL_TIME_MAX / 2));
    assert!(state.is_denial_over(now + DENIAL_TIME_MAX));
    state.forget_denials();
    assert!(!state.is_denial_over(now + DENIAL_TIME_MAX));
    assert_eq!(state.look(&(0..100)), (Some(10..50), None));
    assert_eq!(state.look(&(50..100)), (Some(60..100), Some(50..60)), "gone for good");
}

#[tokio::test]
async fn where_no_holes_can_be_made_a_file_is_given_back_whole() {
    let generation = Generation::new(Identity { device: 1, inode: 1 }, 1, b"");
    let name = RemoteName { host: "web".into(), path: b"/x".as_slice().into() };
    let (size, modified) = (0, SystemTime::UNIX_EPOCH);
    let present = Ranges::default();
    let note = Note { name, generation, size, modified, next: None, followed: None, present };
    let remote: Arc<dyn Remote> = Arc::new(crate::mirror::LaterRemote::default());
    let origin = Origin { remote, runtime: Handle::current() };
    let kept = tempfile::tempfile().unwrap();
    let file = SpoolFile::new(note, None, kept, PathBuf::from("/x"), 1, origin, Weak::new());
    let bytes: Vec<u8> = (0..4 << 20).map(|nth: u32| (nth % 251) as u8).collect();
    let len = bytes.len() as u64;
    file.keep(0, &bytes, None).unwrap();
    let no_holes = |_: &File, _: &Range<u64>| Err(io::ErrorKind::Unsupported.into());
    let reading = file.want(&(100..200));
    assert_eq!(file.give_back(1000, 4096, no_holes), 0, "somebody is about to read");
    drop(reading);
    let broken = |_: &File, _: &Range<u64>| Err(io::ErrorKind::Other.into());
    assert_eq!((file.give_back(1000, 4096, broken), file.bytes()), (0, len));
    assert_eq!((file.give_back(1000, 4096, no_holes), file.bytes()), (len, 0));
    assert_eq!((file.file.metadata().unwrap().len(), file.size()), (0, len));
    // What comes then lies at its own offset.
    file.keep(len, b"and on", None).unwrap();
    assert_eq!(file.read_at(len, 6).unwrap(), b"and on");
    assert_eq!(file.here_before(len), len);
}

proptest! {
    /// What is asked for is brought piece by piece, none of which has anything that is there.
    #[test]
    fn pieces_bring_all_that_is_missing_and_nothing_twice(present in ranges(), lost in ranges(), from in 0..STEPS, len in 1..STEPS) {
        let mut gone = lost;
        present.iter().for_each(|range| gone.remove(&range));
        let size = STEP * STEPS;
        let mut state = state(size, present, gone);
        let wanted = STEP * from..(STEP * (from + len)).min(size);
        let first_gone = {
            let mut at = wanted.start;
            loop {
                if let Some(gone) = state.gone.at(at).filter(|_| at < wanted.end) {
                    break Some(at..gone.end.min(wanted.end));
                }
                at += STEP;
                if at >= wanted.end { break None; }
            }
        };
        for _ in 0..=STEPS {
            let (Some(missing), _) = state.look(&wanted) else { break };
            let piece = state.piece(&missing);
            prop_assert!(piece.contains(&missing.start), "{piece:?} without {missing:?}");
            prop_assert!(piece.end - piece.start <= PIECE_BYTES && piece.end <= size, "{piece:?}");
            for at in (piece.start..piece.end).step_by(STEP as usize) {
                prop_assert!(state.present.at(at).is_none() && state.gone.at(at).is_none(), "{at} twice");
            }
            state.present.insert(piece);
        }
        prop_assert_eq!(state.look(&wanted), (None, first_gone));
    }
}
