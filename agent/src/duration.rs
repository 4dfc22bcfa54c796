// SPDX-License-Identifier: Apache-2.0
//! Durations as Go and protobuf write them: `45s`, `1h30m`, `250ms`, `0.5s`.

use std::time::Duration;

/// Reads a duration; `None` when it is none, or negative.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..number_end].parse().ok()?;
        let unit_end = rest[number_end..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |i| i + number_end);
        let unit = match &rest[number_end..unit_end] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(value * unit).ok()?)?;
        rest = &rest[unit_end..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read() {
        let ms = |t| parse(t).map(|d| d.as_millis());
        assert_eq!(ms("45s"), Some(45_000));
        assert_eq!(ms("1h30m"), Some(5_400_000));
        assert_eq!(ms("250ms"), Some(250));
        assert_eq!(ms("0.5s"), Some(500));
        assert_eq!(ms("24h0m0s"), Some(86_400_000));
        assert_eq!(ms("0"), Some(0));
        for bad in ["", "5", "s", "-5s", "5 s", "5x", "1..5s", "1e400s"] {
            assert_eq!(ms(bad), None, "{bad}");
        }
    }
}
