//! Dates as people and file names write them, in UTC.

use keys::Timestamp;

/// Milliseconds of a day.
pub const DAY: u64 = 24 * 3600 * 1000;

/// A moment, taken apart.
struct Parts {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

/// As in file names: `20260730T031500Z`.
#[must_use]
pub fn compact(at: Timestamp) -> String {
    let Parts {
        year,
        month,
        day,
        hour,
        minute,
        second,
    } = parts(at);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// As people read it: `2026-07-30 03:15 UTC`.
#[must_use]
pub fn readable(at: Timestamp) -> String {
    let Parts {
        year,
        month,
        day,
        hour,
        minute,
        ..
    } = parts(at);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

/// Reads what [`compact`] writes.
#[must_use]
pub fn parse_compact(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = &bytes[from..to];
        let is_number = digits.iter().all(u8::is_ascii_digit);
        is_number.then(|| {
            digits
                .iter()
                .fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
        })
    };
    let days = days_before(number(0, 4)?, number(4, 6)?, number(6, 8)?)?;
    let seconds = ((days * 24 + number(9, 11)?) * 60 + number(11, 13)?) * 60 + number(13, 15)?;
    let at = Timestamp(seconds * 1000);
    // What is no date (the 31st of June, 25 o'clock) does not come back as it was.
    (compact(at) == text).then_some(at)
}

/// Howard Hinnant's `civil_from_days`, for days since 1970: <https://howardhinnant.github.io/date_algorithms.html>.
fn parts(at: Timestamp) -> Parts {
    let seconds = at.0 / 1000;
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Counted from March.
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    Parts {
        year: era * 400 + year_of_era + u64::from(month <= 2),
        month,
        day: day_of_year - (153 * shifted + 2) / 5 + 1,
        hour: seconds / 3600 % 24,
        minute: seconds / 60 % 60,
        second: seconds % 60,
    }
}

/// Days from 1970-01-01 to a date; `None` before. The inverse of [`parts`], from the same source.
fn days_before(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_are_written_and_read() {
        // From `date -u -d @SECONDS`.
        let known = [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_868_799, "20000229T235959Z"),
            (1_780_282_800, "20260601T030000Z"),
            (4_107_542_399, "21000228T235959Z"),
            (4_107_542_400, "21000301T000000Z"),
        ];
        for (seconds, text) in known {
            let at = Timestamp(seconds * 1000);
            assert_eq!(compact(at), text);
            assert_eq!(parse_compact(text), Some(at));
        }
        assert_eq!(readable(Timestamp(1_780_282_800_000)), "2026-06-01 03:00 UTC");
    }

    #[test]
    fn every_day_of_eight_hundred_years_is_one_after_the_other() {
        let mut last = String::new();
        for day in 0..800 * 366 {
            let at = Timestamp(day * DAY + 3_600_000);
            let text = compact(at);
            assert!(text > last, "{text} after {last}");
            assert_eq!(parse_compact(&text), Some(at));
            last = text;
        }
    }

    #[test]
    fn what_is_no_date_is_not_read() {
        for text in [
            "",
            "20260230T000000Z",
            "20261301T000000Z",
            "20260730T240000Z",
            "20260730T006000Z",
            "20260730 031500Z",
            "20260730T031500",
            "19691231T235959Z",
            "2026073\u{661}T03150Z",
        ] {
            assert_eq!(parse_compact(text), None, "{text}");
        }
    }
}
