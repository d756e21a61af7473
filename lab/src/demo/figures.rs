//! How figures are written for people: the same in the live view, the table and the picture.

use std::time::Duration;

/// `12345` as `12,345`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// In milliseconds below a second, in tenths of a second above; never rounded down to nothing.
pub(super) fn time(duration: Duration) -> String {
    if duration.is_zero() {
        "0".to_owned()
    } else if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis().max(1))
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}

/// A part of a whole in per cent; never rounded down to nothing.
pub(super) fn share(part: u64, whole: u64) -> String {
    let percent = if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 };
    if part > 0 && percent < 0.1 { "< 0.1 %".to_owned() } else { format!("{percent:.1} %") }
}

/// At most so many characters, the last one an ellipsis if something is left out.
pub(super) fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_as_people_write_them() {
        let written = [0, 7, 999, 1_000, 12_345, 1_234_567].map(grouped);
        assert_eq!(written, ["0", "7", "999", "1,000", "12,345", "1,234,567"]);
        let times = [0, 300, 8_400, 999_999, 1_000_000, 70_120_000].map(|micros| time(Duration::from_micros(micros)));
        assert_eq!(times, ["0", "1 ms", "8 ms", "999 ms", "1.0 s", "70.1 s"]);
        let shares = [(0, 0), (0, 5), (1, 12_000), (1_310, 12_521), (5, 5)].map(|(part, whole)| share(part, whole));
        assert_eq!(shares, ["0.0 %", "0.0 %", "< 0.1 %", "10.5 %", "100.0 %"]);
        assert_eq!(["abc", "abcd"].map(|text| shortened(text, 3)), ["abc", "ab…"]);
    }
}
