//! One event as a line of JSON. In: level, name, message, fields. Out: `{"time", "level", "event", "message", fields…}` on
//! standard error, the time in UTC as RFC 3339 has it.

use std::{
    io::Write,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use serde_json::{Map, Value};

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Info,
    /// The run goes on, but a person should look.
    Warn,
    /// Something failed.
    Error,
}

/// Writes the event in one piece, so that lines of several threads do not mix.
pub(super) fn write(level: Level, event: &str, message: &str, fields: &impl Serialize) {
    let mut line = json(SystemTime::now(), level, event, message, fields);
    line.push('\n');
    let _gone = std::io::stderr().write_all(line.as_bytes());
}

fn json(time: SystemTime, level: Level, event: &str, message: &str, fields: &impl Serialize) -> String {
    let mut object = Map::new();
    object.insert("time".into(), rfc3339(time).into());
    object.insert("level".into(), serde_json::to_value(level).unwrap_or_default());
    object.insert("event".into(), event.into());
    object.insert("message".into(), message.into());
    match serde_json::to_value(fields) {
        Ok(Value::Object(fields)) => {
            for (mut name, value) in fields {
                // The four above are every line's.
                while object.contains_key(&name) {
                    name.push('_');
                }
                object.insert(name, value);
            }
        }
        Ok(value) => drop(object.insert("value".into(), value)),
        // The message says it too.
        Err(_) => {}
    }
    Value::Object(object).to_string()
}

/// Seconds of a day.
const DAY: u64 = 86_400;

/// `2026-11-23T23:53:00.123Z`.
fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, milliseconds) = (since.as_secs(), since.subsec_millis());
    let (year, month, day) = date(seconds / DAY);
    let (hour, minute, second) = (seconds % DAY / 3600, seconds % 3600 / 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
}

/// The date so many days after 1970-01-01 in the Gregorian calendar.
fn date(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_utc_as_rfc_3339_has_them() {
        // By `date -u -d @N +%FT%TZ`.
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.250Z"),
            (951_782_400, "2000-02-29T00:00:00.250Z"),
            (1_735_689_599, "2024-12-31T23:59:59.250Z"),
            (1_795_478_400, "2026-11-24T00:00:00.250Z"),
            (4_107_542_400, "2100-03-01T00:00:00.250Z"),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(250);
            assert_eq!(rfc3339(time), expected, "{seconds}");
        }
    }

    #[test]
    fn fields_stand_beside_the_message_and_replace_nothing() {
        #[derive(Serialize)]
        struct Fields {
            done: u64,
            event: &'static str,
            rate: f64,
        }
        let line = json(
            UNIX_EPOCH,
            Level::Warn,
            "note",
            "two\nlines \"quoted\"",
            &Fields { done: 3, event: "of the fields", rate: f64::NAN },
        );
        assert!(!line.contains('\n'), "{line}");
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            value,
            serde_json::json!({
                "time": "1970-01-01T00:00:00.000Z", "level": "warn", "event": "note", "message": "two\nlines \"quoted\"",
                "done": 3, "event_": "of the fields", "rate": null,
            })
        );
    }
}
