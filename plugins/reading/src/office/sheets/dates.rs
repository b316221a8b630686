//! Dates in workbooks are numbers of days; only the format of their cell tells them from other numbers.

use std::collections::HashMap;

use crate::Unreadable;
use crate::office::package::Package;
use crate::office::xml::{Event, Walk};

/// The day that a workbook counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Calendar {
    From1900,
    From1904,
}

/// What a cell's format makes of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Shown {
    #[default]
    Number,
    Date,
    Time,
    DateAndTime,
}

/// What the formats of a workbook's cells make of numbers, by the formats' numbers.
pub(crate) fn formats(package: &mut Package<'_>, part: &str) -> Result<Vec<Shown>, Unreadable> {
    let mut own = HashMap::new();
    let mut formats = Vec::new();
    let mut of_cells = false;
    package.walk(part, |event| {
        match event {
            Event::Open(element) => match element.name() {
                b"numFmt" => {
                    if let (Some(id), Some(code)) = (element.number(b"numFmtId"), element.attribute(b"formatCode")) {
                        own.insert(id, Shown::by_code(&code));
                    }
                }
                b"cellXfs" => of_cells = true,
                b"xf" if of_cells => {
                    let id = element.number(b"numFmtId").unwrap_or(0);
                    formats.push(own.get(&id).copied().unwrap_or_else(|| Shown::by_number(id)));
                }
                _ => {}
            },
            Event::Close(b"cellXfs") => return Walk::Enough,
            _ => {}
        }
        Walk::On
    })?;
    Ok(formats)
}

impl Shown {
    /// The formats that every workbook has.
    fn by_number(id: usize) -> Self {
        match id {
            14..=17 | 27..=31 | 36 | 50..=54 | 57 | 58 => Self::Date,
            18..=21 | 32..=35 | 45..=47 | 55 | 56 => Self::Time,
            22 => Self::DateAndTime,
            _ => Self::Number,
        }
    }

    /// A format as a person writes it, such as `yyyy\-mm\-dd "at" hh:mm;[Red]@`. Of its parts the first counts.
    fn by_code(code: &str) -> Self {
        let (mut date, mut time, mut month) = (false, false, false);
        let mut characters = code.chars();
        while let Some(character) = characters.next() {
            match character {
                '\\' | '_' | '*' => drop(characters.next()),
                '"' => drop(characters.by_ref().find(|&c| c == '"')),
                '[' => {
                    let inner: String = characters.by_ref().take_while(|&c| c != ']').collect();
                    time |= matches!(inner.to_ascii_lowercase().as_str(), "h" | "hh" | "m" | "mm" | "s" | "ss");
                }
                ';' => break,
                'y' | 'Y' | 'd' | 'D' => date = true,
                'h' | 'H' | 's' | 'S' => time = true,
                'm' | 'M' => month = true,
                _ => {}
            }
        }
        match (date || (month && !time), time) {
            (true, true) => Self::DateAndTime,
            (true, false) => Self::Date,
            (false, true) => Self::Time,
            (false, false) => Self::Number,
        }
    }

    /// A cell's number as a person sees it.
    pub(crate) fn number(self, text: &str, calendar: Calendar) -> String {
        let number = text.trim().parse::<f64>().ok().filter(|_| self != Self::Number);
        number.and_then(|number| self.moment(number, calendar)).unwrap_or_else(|| text.to_owned())
    }

    fn moment(self, number: f64, calendar: Calendar) -> Option<String> {
        /// 9999-12-31.
        const LAST_DAY: f64 = 2_958_465.0;
        if !(0.0..=LAST_DAY).contains(&number) {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "checked: it is a small number")]
        let seconds = (number * 86_400.0).round() as i64;
        let (days, seconds) = (seconds / 86_400, seconds % 86_400);
        let time = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
        let date = date(days, calendar);
        Some(match self {
            Self::Time if days == 0 => time,
            // More than a day: what a sheet of hours adds up to.
            Self::Time => format!("{}:{:02}:{:02}", days * 24 + seconds / 3600, seconds / 60 % 60, seconds % 60),
            Self::Date if seconds == 0 => date,
            _ => format!("{date} {time}"),
        })
    }
}

/// A day as `2026-11-22`.
fn date(days: i64, calendar: Calendar) -> String {
    let since_1970 = match calendar {
        // Excel believes that 1900 had a 29th of February.
        Calendar::From1900 if days < 60 => days - 25_568,
        Calendar::From1900 => days - 25_569,
        Calendar::From1904 => days - 24_107,
    };
    // Howard Hinnant's days-to-civil: years that begin in March, in eras of 400 years.
    let shifted = since_1970 + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_days_is_told_as_the_day() {
        let of = |number| Shown::Date.number(number, Calendar::From1900);
        assert_eq!(of("1"), "1900-01-01");
        assert_eq!(of("59"), "1900-02-28");
        assert_eq!(of("61"), "1900-03-01");
        assert_eq!(of("45351"), "2024-02-29");
        assert_eq!(of("46348.5"), "2026-11-22 12:00:00");
        assert_eq!(Shown::Date.number("44886", Calendar::From1904), "2026-11-22");
        assert_eq!(Shown::Time.number("0.75", Calendar::From1900), "18:00:00");
        assert_eq!(Shown::Time.number("1.25", Calendar::From1900), "30:00:00");
        assert_eq!(Shown::Number.number("45351", Calendar::From1900), "45351");
        for no_date in ["-1", "1e300", "NaN", "soon", ""] {
            assert_eq!(of(no_date), no_date);
        }
    }

    #[test]
    fn a_format_with_days_or_hours_in_it_makes_a_date() {
        for (code, shown) in [
            ("General", Shown::Number),
            ("#,##0.00 \"days\"", Shown::Number),
            ("[Red]0.00;[Blue]-0.00", Shown::Number),
            ("yyyy\\-mm\\-dd", Shown::Date),
            ("mmm", Shown::Date),
            ("[$-409]d/m/yy h:mm AM/PM;@", Shown::DateAndTime),
            ("[h]:mm:ss", Shown::Time),
            ("mm:ss", Shown::Time),
        ] {
            assert_eq!(Shown::by_code(code), shown, "{code}");
        }
    }
}
