//! Sizes in bytes, as people write them.

/// Parses a size such as `512MiB`, `2GB`, `64k` or `1000`: `k`, `M`, `G` and `T` alone count in 1024,
/// as `KiB` does, and `kB` in 1000.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || "expected a size such as `100MiB` or `2GB`".to_owned();
    let digits = text.find(|ch: char| !ch.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit = unit.trim_start().to_ascii_lowercase();
    let (letter, rest) = unit.split_at_checked(1).unwrap_or((unit.as_str(), ""));
    let power = match letter {
        "" | "b" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return Err(wrong()),
    };
    let base: u64 = match (power, rest) {
        (0, "") | (1.., "" | "i" | "ib") => 1024,
        (1.., "b") => 1000,
        _ => return Err(wrong()),
    };
    number.checked_mul(base.pow(power)).ok_or_else(|| "this is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_with_its_unit() {
        for (text, size) in [
            ("0", 0),
            ("1000", 1000),
            ("12B", 12),
            ("64k", 65_536),
            ("64KiB", 65_536),
            ("1 MB", 1_000_000),
            ("1GiB", 1 << 30),
            ("2gb", 2_000_000_000),
        ] {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in ["", "k", "-1", "1x", "1kx", "1bb", "1.5G", "99999999999T", "1é"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
