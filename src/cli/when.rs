//! Moments as people write them: `yesterday`, `2h`, `2026-11-30`, `2026-11-30 14:00`, or RFC 3339.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

use crate::model::Time;

/// A moment, or a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct When {
    /// The moment, or the first of the day.
    pub(crate) from: Time,
    /// The moment, or the first behind the day.
    pub(crate) to: Time,
}

/// What can be written, for whoever wrote something else.
const FORM: &str = "a time is written as 2026-11-30, 2026-11-30 14:00 or 2026-11-30T14:00:00Z, as 'today' or 'yesterday', or \
                    as how long ago it was: 30m, 2h, 3d, 1w";

/// What a text means now, on a machine of this time zone.
pub(crate) fn parse(text: &str) -> Result<When, String> {
    let now = Timestamp::from_millisecond(Time::now().millis()).map_err(|error| error.to_string())?;
    parse_at(text, &now.to_zoned(TimeZone::system())).ok_or_else(|| FORM.to_owned())
}

fn parse_at(text: &str, now: &Zoned) -> Option<When> {
    let text = text.trim();
    let moment = |at: Timestamp| Time::from_millis(at.as_millisecond());
    let exactly = |at: Timestamp| When { from: moment(at), to: moment(at) };
    let day = |date: Date| {
        let first = |date: Date| Some(moment(date.to_zoned(now.time_zone().clone()).ok()?.timestamp()));
        Some(When { from: first(date)?, to: first(date.tomorrow().ok()?)? })
    };
    match text {
        "now" => return Some(exactly(now.timestamp())),
        "today" => return day(now.date()),
        "yesterday" => return day(now.date().yesterday().ok()?),
        _ => {}
    }
    if let Some(unit) = text.chars().last().filter(|unit| "smhdw".contains(*unit))
        && let Some(digits) = text.strip_suffix(unit).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
    {
        // Beyond this no calendar goes.
        let number = digits.parse::<i64>().ok().filter(|number| *number <= 1_000_000)?;
        let seconds = number.checked_mul(match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => 7 * 86_400,
        })?;
        return now.timestamp().checked_sub(seconds.seconds()).ok().map(exactly);
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(exactly(at));
    }
    if text.len() <= "2026-11-30".len() {
        return day(text.parse().ok()?);
    }
    let at: DateTime = text.parse().ok()?;
    at.to_zoned(now.time_zone().clone()).ok().map(|at| exactly(at.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_people_write_it() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let now = "2026-11-30T12:00:00Z".parse::<Timestamp>().unwrap().to_zoned(zone);
        let shown = |text: &str| parse_at(text, &now).map(|when| (when.from.to_string(), when.to.to_string()));
        let exactly = |at: &str| Some((at.to_owned(), at.to_owned()));
        let from_to = |from: &str, to: &str| Some((from.to_owned(), to.to_owned()));
        for (text, meant) in [
            ("now", exactly("2026-11-30T12:00:00Z")),
            ("2h", exactly("2026-11-30T10:00:00Z")),
            ("30m", exactly("2026-11-30T11:30:00Z")),
            ("90s", exactly("2026-11-30T11:58:30Z")),
            ("3d", exactly("2026-11-27T12:00:00Z")),
            ("1w", exactly("2026-11-23T12:00:00Z")),
            ("today", from_to("2026-11-29T23:00:00Z", "2026-11-30T23:00:00Z")),
            ("yesterday", from_to("2026-11-28T23:00:00Z", "2026-11-29T23:00:00Z")),
            ("2026-10-01", from_to("2026-09-30T23:00:00Z", "2026-10-01T23:00:00Z")),
            ("2026-10-01 14:00", exactly("2026-10-01T13:00:00Z")),
            ("2026-10-01T14:00:05", exactly("2026-10-01T13:00:05Z")),
            ("2026-10-01T14:00:00Z", exactly("2026-10-01T14:00:00Z")),
            ("2026-10-01T14:00:00+02:00", exactly("2026-10-01T12:00:00Z")),
        ] {
            assert_eq!(shown(text), meant, "{text}");
        }
        for text in
            ["", "h", "2 h", "-2h", "2y", "tomorrow", "2026-13-01", "2026-11-31", "30.11.2026", "99999999w", "ä"]
        {
            assert_eq!(parse_at(text, &now), None, "{text}");
        }
        assert!(parse("soon").unwrap_err().contains("yesterday"));
    }
}
