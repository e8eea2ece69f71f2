//! What the tests of all rooms share.

use proptest::test_runner::Config;

/// The settings of a property test with that many cases. `PROPTEST_CASES` asks all of them for more
/// or fewer, in proportion: with 2560 each runs ten times as many.
pub(crate) fn cases(usual: u32) -> Config {
    let config = Config::default();
    let cases = u64::from(usual) * u64::from(config.cases) / 256;
    let cases = u32::try_from(cases).unwrap_or(u32::MAX).max(1);
    Config { cases, failure_persistence: None, ..config }
}
