//! The spans of time of several files as those of one log. Pure.

use crate::search::times::{Bucket, Spans, Times};

/// What is in the files, in so many common spans. A span of a file that lies in two of these is divided
/// between them, and the spans have no offsets.
#[must_use]
pub fn together(files: &[Times], wanted: usize) -> Times {
    let exact = files.iter().all(|file| file.exact);
    let first = files.iter().filter_map(|file| file.first).min();
    let last = files.iter().filter_map(|file| file.last).max();
    let (Some(first), Some(last)) = (first, last) else {
        return Times { exact, ..Times::default() };
    };
    let spans = Spans { first, last, count: wanted };
    let bucket = |nth| Bucket { time: spans.start(nth), ..Bucket::default() };
    let mut buckets: Vec<Bucket> = (0..wanted).map(bucket).collect();
    for file in files {
        let ends = file.buckets.iter().skip(1).map(|next| next.time);
        let ends = ends.chain(file.last.map(|last| last.saturating_add(1)));
        for (bucket, end) in file.buckets.iter().zip(ends) {
            divide(bucket, end, spans, &mut buckets);
        }
    }
    Times { first: Some(first), last: Some(last), exact, buckets }
}

/// Adds the counts of a span of a file to the common spans in which it lies: to each its part, by time.
fn divide(bucket: &Bucket, end: i64, spans: Spans, common: &mut [Bucket]) {
    let begin = bucket.time;
    // More spans than milliseconds leave some of them without time.
    let end = end.max(begin.saturating_add(1));
    let length = i128::from(end) - i128::from(begin);
    let (from, to) = (spans.of(begin), spans.of(end - 1));
    let counts = [bucket.lines, bucket.errors, bucket.warnings];
    let mut given = [0; 3];
    for (nth, common) in common.iter_mut().enumerate().take(to + 1).skip(from) {
        let until = if nth == to { end } else { spans.start(nth + 1) };
        let part = i128::from(until) - i128::from(begin);
        let upto = counts.map(|count| (i128::from(count) * part / length) as u64);
        common.lines += upto[0] - given[0];
        common.errors += upto[1] - given[1];
        common.warnings += upto[2] - given[2];
        given = upto;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn times(first: i64, last: i64, lines: &[u64]) -> Times {
        let spans = Spans { first, last, count: lines.len() };
        let bucket = |(nth, lines): (usize, &u64)| Bucket {
            time: spans.start(nth),
            lines: *lines,
            errors: lines / 2,
            warnings: lines / 3,
            ..Bucket::default()
        };
        let buckets = lines.iter().enumerate().map(bucket).collect();
        Times { first: Some(first), last: Some(last), exact: true, buckets }
    }

    fn lines(times: &Times) -> Vec<u64> {
        times.buckets.iter().map(|bucket| bucket.lines).collect()
    }

    #[test]
    fn files_one_after_the_other_are_one_log() {
        let files = [times(0, 99, &[10, 20]), times(100, 199, &[30, 40])];
        let whole = together(&files, 4);
        assert_eq!((whole.first, whole.last, whole.exact), (Some(0), Some(199), true));
        assert_eq!(lines(&whole), [10, 20, 30, 40]);
        assert_eq!(lines(&together(&files, 2)), [30, 70]);
        // A span that lies in two is divided.
        assert_eq!(
            lines(&together(&[times(0, 99, &[10]), times(300, 399, &[8])], 8)),
            [5, 5, 0, 0, 0, 0, 4, 4]
        );
        let untimed = Times { exact: false, ..Times::default() };
        let part = together(&[untimed.clone(), files[0].clone()], 2);
        assert_eq!((lines(&part), part.exact), (vec![10, 20], false));
        assert_eq!(together(std::slice::from_ref(&untimed), 2), untimed);
    }

    proptest! {
        #[test]
        fn no_line_is_lost_or_counted_twice(
            files in proptest::collection::vec(
                (-1000i64..1000, 0i64..3000, proptest::collection::vec(0u64..50, 1..20)), 1..6),
            wanted in 1usize..40,
        ) {
            let files: Vec<Times> =
                files.iter().map(|(first, length, lines)| times(*first, first + length, lines)).collect();
            let whole = together(&files, wanted);
            let sum = |times: &Times, of: fn(&Bucket) -> u64| times.buckets.iter().map(of).sum::<u64>();
            for of in [|it: &Bucket| it.lines, |it: &Bucket| it.errors, |it: &Bucket| it.warnings] {
                prop_assert_eq!(sum(&whole, of), files.iter().map(|file| sum(file, of)).sum::<u64>());
            }
            prop_assert_eq!(whole.buckets.len(), wanted);
            prop_assert!(whole.buckets.is_sorted_by_key(|bucket| bucket.time));
        }
    }
}
