//! When a service wants to be asked again, as its headers or its words say.

use std::time::{Duration, SystemTime};

use hyper::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;

/// The longest wait that is believed.
const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// `retry-after-ms`, else `Retry-After`, which holds seconds or a date.
pub(crate) fn of_headers(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(millis) = text("retry-after-ms").and_then(|text| text.parse::<f64>().ok()) {
        return duration(millis / 1000.0);
    }
    let after = text(RETRY_AFTER.as_str())?;
    match after.parse::<f64>() {
        Ok(seconds) => duration(seconds),
        Err(_) => {
            let date = httpdate::parse_http_date(after).ok()?;
            Some(date.duration_since(SystemTime::now()).unwrap_or_default().min(MAX_WAIT))
        }
    }
}

/// What the body of an error says: Google's `retryDelay`, or words such as "Please try again in 1m7.66s".
pub(crate) fn of_report(report: &Value) -> Option<Duration> {
    let details = report.get("details").and_then(Value::as_array).into_iter().flatten();
    let delay = details.filter_map(|detail| detail.get("retryDelay")?.as_str()).find_map(span);
    delay.or_else(|| {
        let message = report.get("message").and_then(Value::as_str).or(report.as_str())?.to_lowercase();
        let (_, after) = ["try again in ", "retry in ", "retry after "]
            .iter()
            .find_map(|words| message.split_once(words))?;
        span(after)
    })
}

/// The span of time that a text begins with: `20s`, `1.2s`, `350ms`, `6m0s`, `1h2m`, `20 seconds`.
fn span(text: &str) -> Option<Duration> {
    let (mut rest, mut seconds, mut found) = (text, 0.0, false);
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let Ok(number) = rest.get(..digits)?.trim_end_matches('.').parse::<f64>() else { break };
        let after = rest.get(digits..)?.trim_start_matches(' ');
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let factor = match after.get(..letters)? {
            "ms" | "millisecond" | "milliseconds" => 0.001,
            "s" | "sec" | "second" | "seconds" => 1.0,
            "m" | "min" | "minute" | "minutes" => 60.0,
            "h" | "hour" | "hours" => 3600.0,
            _ => break,
        };
        (seconds, found) = (seconds + number * factor, true);
        rest = after.get(letters..)?;
    }
    duration(seconds).filter(|_| found)
}

fn duration(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds.min(MAX_WAIT.as_secs_f64())).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_say_when() {
        for (words, millis) in [
            ("Rate limit reached. Please try again in 20s. Visit the site", Some(20_000)),
            ("Please try again in 7.66s", Some(7_660)),
            ("Please try again in 6m0s.", Some(360_000)),
            ("Please try again in 350ms.", Some(350)),
            ("You may retry after 2 minutes", Some(120_000)),
            ("Please retry in 41.5s.", Some(41_500)),
            ("Please try again in a while", None),
            ("try again in 99999999999999999999h", Some(86_400_000)),
            ("slow down", None),
        ] {
            let expected = millis.map(Duration::from_millis);
            assert_eq!(of_report(&json!({"message": words})), expected, "{words}");
            assert_eq!(of_report(&json!(words)), expected, "{words}");
        }
        let google = json!({"message": "no", "details": [{"@type": "x"}, {"retryDelay": "33s"}]});
        assert_eq!(of_report(&google), Some(Duration::from_secs(33)));
    }

    #[test]
    fn headers_say_when() {
        let headers = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            headers
        };
        assert_eq!(of_headers(&headers("retry-after-ms", "1500")), Some(Duration::from_millis(1500)));
        assert_eq!(of_headers(&headers("retry-after", "31")), Some(Duration::from_secs(31)));
        assert_eq!(of_headers(&headers("retry-after", "0.5")), Some(Duration::from_millis(500)));
        assert_eq!(of_headers(&headers("retry-after", "-1")), None);
        assert_eq!(of_headers(&headers("retry-after", "soon")), None);
        assert_eq!(
            of_headers(&headers("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")),
            Some(Duration::ZERO)
        );
        let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
        let wait = of_headers(&headers("retry-after", &later)).unwrap();
        assert!((55..=60).contains(&wait.as_secs()), "{wait:?}");
    }
}
