//! Numbers of a workbook as text: dates and times as ISO 8601, shares as percent, others in their shortest form.

use jiff::civil::{DateTime, date};
use jiff::{SignedDuration, Unit};

/// What a number stands for, by its format.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Shape {
    #[default]
    Number,
    Percent,
    /// A day, with the time of day where it is not midnight.
    Date,
    /// A time without a day, which may be longer than one.
    Time,
}

/// What a format code of a workbook makes of a number.
pub(super) fn shape(code: &str) -> Shape {
    let code = code.split(';').next().unwrap_or_default();
    let mut letters = String::new();
    let mut chars = code.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => drop(chars.by_ref().find(|c| *c == '"')),
            '\\' | '_' | '*' => drop(chars.next()),
            '[' => {
                let inside: String = chars.by_ref().take_while(|c| *c != ']').collect();
                // [h] counts hours; [Red] and [$-409] say nothing of the number.
                if matches!(inside.to_ascii_lowercase().as_str(), "h" | "hh" | "m" | "mm" | "s" | "ss") {
                    letters.push_str(&inside);
                }
            }
            c => letters.extend(c.to_lowercase()),
        }
    }
    if letters.contains("general") {
        return Shape::Number;
    }
    if letters.contains(['d', 'y']) || letters.contains('m') && !letters.contains(['h', 's']) {
        Shape::Date
    } else if letters.contains(['h', 's']) {
        Shape::Time
    } else if letters.contains('%') {
        Shape::Percent
    } else {
        Shape::Number
    }
}

/// What the formats mean that every workbook has.
pub(super) fn built_in(id: u32) -> Shape {
    match id {
        9 | 10 => Shape::Percent,
        14..=17 | 22 | 27..=31 | 36 | 50..=54 | 57 | 58 => Shape::Date,
        18..=21 | 32..=35 | 45..=47 | 55 | 56 => Shape::Time,
        _ => Shape::Number,
    }
}

/// The number as text; what is no number stays as it is.
pub(super) fn show(text: &str, shape: Shape, from_1904: bool) -> String {
    let Some(number) = text.parse::<f64>().ok().filter(|number| number.is_finite()) else {
        return text.to_owned();
    };
    match shape {
        Shape::Percent => format!("{}%", shortest(number * 100.0)),
        Shape::Date => moment(number, from_1904).unwrap_or_else(|| shortest(number)),
        Shape::Time if (0.0..1e6).contains(&number) => duration(number),
        _ if text.bytes().all(|byte| byte.is_ascii_digit()) => text.to_owned(),
        _ => shortest(number),
    }
}

/// Without the digits beyond the fifteenth, which are noise.
fn shortest(number: f64) -> String {
    let rounded = format!("{number:.14e}").parse().unwrap_or(number);
    if rounded != 0.0 && !(1e-9..1e18).contains(&f64::abs(rounded)) {
        format!("{rounded:e}")
    } else {
        format!("{rounded}")
    }
}

fn moment(serial: f64, from_1904: bool) -> Option<String> {
    let begin: DateTime = match (from_1904, serial < 60.0) {
        (true, _) => date(1904, 1, 1).into(),
        // The first workbooks took 1900 for a leap year, and all others do so after them.
        (false, true) => date(1899, 12, 31).into(),
        (false, false) => date(1899, 12, 30).into(),
    };
    if !(0.0..2_958_466.0).contains(&serial) {
        return None;
    }
    let seconds = SignedDuration::from_secs_f64((serial * 86_400.0).round());
    let moment = begin.checked_add(seconds).ok()?.round(Unit::Second).ok()?;
    let is_midnight = moment.time() == jiff::civil::Time::midnight();
    Some(if is_midnight { moment.date().to_string() } else { moment.to_string() })
}

fn duration(days: f64) -> String {
    // Below a million days, so that nothing is cut off.
    let seconds = (days * 86_400.0).round() as u64;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_tell_dates_from_numbers() {
        let cases = [
            ("General", Shape::Number),
            ("#,##0.00", Shape::Number),
            ("[Red]#,##0;-#,##0", Shape::Number),
            ("\"days\" 0", Shape::Number),
            ("0.0%", Shape::Percent),
            ("dd/mm/yyyy", Shape::Date),
            ("[$-409]mmm\\-yy;@", Shape::Date),
            ("mmmm", Shape::Date),
            ("yyyy-mm-dd hh:mm", Shape::Date),
            ("[h]:mm:ss", Shape::Time),
            ("mm:ss", Shape::Time),
        ];
        for (code, expected) in cases {
            assert_eq!(shape(code), expected, "{code}");
        }
    }

    #[test]
    fn numbers_dates_and_times() {
        assert_eq!(show("45000", Shape::Date, false), "2023-03-15");
        assert_eq!(show("45000.75", Shape::Date, false), "2023-03-15T18:00:00");
        assert_eq!(show("59", Shape::Date, false), "1900-02-28");
        assert_eq!(show("61", Shape::Date, false), "1900-03-01");
        assert_eq!(show("1e300", Shape::Date, false), "1e300");
        assert_eq!(show("1.5", Shape::Time, false), "36:00:00");
        assert_eq!(show("0.1", Shape::Percent, false), "10%");
        assert_eq!(show("1.1000000000000001", Shape::Number, false), "1.1");
        assert_eq!(show("12345678901234567890", Shape::Number, false), "12345678901234567890");
        assert_eq!(show("-4.0E-2", Shape::Number, false), "-0.04");
        assert_eq!(show("NaN", Shape::Number, false), "NaN");
    }
}
