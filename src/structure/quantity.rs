//! Numbers with a unit, as logs write durations and sizes: `812ms`, `1.5s`, `4KiB`.

/// A duration in nanoseconds, or a size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) enum Quantity {
    Duration(f64),
    Size(f64),
}

impl Quantity {
    /// The quantity that a text is. A number without a unit is none. Go's `1m30.5s` is one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (sign, text) = text.strip_prefix('-').map_or((1.0, text), |text| (-1.0, text));
        let mut sum: Option<Self> = None;
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
            let (number, behind) = rest.split_at(digits);
            let number: f64 = number.parse().ok()?;
            let behind = behind.trim_start();
            let len = behind.find(|char: char| char.is_ascii_digit()).unwrap_or(behind.len());
            let (unit, next) = behind.split_at(len);
            rest = next;
            sum = Some(match (sum, of_unit(unit.trim_end(), number * sign)?) {
                (None, one) => one,
                (Some(Self::Duration(sum)), Self::Duration(one)) => Self::Duration(sum + one),
                (Some(_), _) => return None,
            });
        }
        sum
    }
}

fn of_unit(unit: &str, number: f64) -> Option<Quantity> {
    let nanoseconds = match unit {
        "ns" => 1.0,
        "us" | "µs" | "μs" => 1e3,
        "ms" => 1e6,
        "s" | "sec" => 1e9,
        "m" | "min" => 60e9,
        "h" => 3_600e9,
        "d" => 86_400e9,
        _ => return of_size(unit).map(|bytes| Quantity::Size(number * bytes)),
    };
    Some(Quantity::Duration(number * nanoseconds))
}

fn of_size(unit: &str) -> Option<f64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_with_units_are_quantities() {
        for (text, wanted) in [
            ("812ms", Some(Quantity::Duration(812e6))),
            ("1.5s", Some(Quantity::Duration(1.5e9))),
            ("-2s", Some(Quantity::Duration(-2e9))),
            ("1m30s", Some(Quantity::Duration(90e9))),
            ("-1m30s", Some(Quantity::Duration(-90e9))),
            ("12.5µs", Some(Quantity::Duration(12.5e3))),
            ("3 ms", Some(Quantity::Duration(3e6))),
            ("4KiB", Some(Quantity::Size(4096.0))),
            ("2 MB", Some(Quantity::Size(2e6))),
            ("500", None),
            ("", None),
            ("-", None),
            ("ms", None),
            ("1.2.3s", None),
            ("1m 2KB", None),
            ("12 apples", None),
        ] {
            assert_eq!(Quantity::parse(text), wanted, "{text:?}");
        }
    }
}
