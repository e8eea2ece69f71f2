//! Events with bytes that follow one another, as one.

use std::time::SystemTime;

use bytes::Bytes;

use crate::mirror::remote::{RemoteEvent, RemotePosition};

/// An event, and the bytes that follow its own directly.
pub(super) struct Together {
    pub(super) event: RemoteEvent,
    pub(super) more: Vec<(Bytes, SystemTime)>,
}

/// Events in their order, of which those with bytes that follow one another are one.
pub(super) fn together(all: impl IntoIterator<Item = RemoteEvent>) -> Vec<Together> {
    let mut done: Vec<Together> = Vec::new();
    let mut next: Option<RemotePosition> = None;
    for event in all {
        let RemoteEvent::Bytes { at, bytes, written } = event else {
            next = None;
            done.push(Together { event, more: Vec::new() });
            continue;
        };
        let is_next =
            next.is_some_and(|next| next.generation == at.generation && next.offset == at.offset);
        next = Some(RemotePosition { offset: at.offset.plus(bytes.len()), ..at });
        match done.last_mut().filter(|_| is_next) {
            Some(last) => last.more.push((bytes, written)),
            None => {
                let event = RemoteEvent::Bytes { at, bytes, written };
                done.push(Together { event, more: Vec::new() });
            }
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::log::access::Identity;
    use crate::log::{Generation, Offset};

    /// Where bytes are and what they are; None for an event without any.
    type Said = Option<(u64, u64, Vec<u8>)>;

    fn event(said: &Said) -> RemoteEvent {
        let Some((inode, offset, bytes)) = said else { return RemoteEvent::Reachable };
        let generation = Generation::new(Identity { device: 1, inode: *inode }, 1, b"");
        let at = RemotePosition { generation, offset: Offset(*offset) };
        let bytes = Bytes::copy_from_slice(bytes);
        RemoteEvent::Bytes { at, bytes, written: SystemTime::UNIX_EPOCH }
    }

    fn said(Together { event, more }: &Together) -> Said {
        let RemoteEvent::Bytes { at, bytes, .. } = event else { return None };
        let all = std::iter::once(bytes).chain(more.iter().map(|(bytes, _)| bytes));
        let all = all.flat_map(|bytes| bytes.to_vec()).collect();
        Some((at.generation.identity.inode, at.offset.0, all))
    }

    proptest! {
        #[test]
        fn what_follows_directly_is_one_and_nothing_is_lost(
            all in proptest::collection::vec(
                proptest::option::weighted(0.9, (1u64..3, 0u64..4, proptest::collection::vec(any::<u8>(), 1..3))),
                0..20,
            )
        ) {
            let mut expected: Vec<Said> = Vec::new();
            for one in &all {
                let end = |(inode, offset, bytes): &(u64, u64, Vec<u8>)| (*inode, offset + bytes.len() as u64);
                match (expected.last_mut(), one) {
                    (Some(Some(last)), Some(one)) if end(last) == (one.0, one.1) => last.2.extend(&one.2),
                    _ => expected.push(one.clone()),
                }
            }
            let found: Vec<Said> = together(all.iter().map(event)).iter().map(said).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
