//! How long to wait before a request is tried again: exponential with jitter, at least what `Retry-After` asks for,
//! up to a cap. Pure but for the jitter; reads no clock: a date is weighed against the server's own `Date`.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use super::settings::Settings;

/// The waits before the retries of one request.
pub(super) struct Waits {
    own: ExponentialBackoff,
    asked_max: Duration,
}

impl Waits {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            own: ExponentialBuilder::default()
                .with_min_delay(settings.retry_delay_min)
                .with_max_delay(settings.retry_delay_max)
                .with_max_times(settings.retries_max)
                .with_jitter()
                .build(),
            asked_max: settings.retry_after_max,
        }
    }

    /// The next wait, where `asked` is what the server asked for; `None` when there were enough retries.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Option<Duration> {
        let own = self.own.next()?;
        Some(asked.unwrap_or_default().min(self.asked_max).max(own))
    }
}

/// What `Retry-After` asks for (RFC 9110, section 10.2.3): seconds or a date; `None` where it says nothing usable.
pub(super) fn asked(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a long time, which the cap cuts.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    let now = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    Some(until.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::SourceName;

    fn after(text: &str, date: Option<&str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, text.parse().expect("a header value"));
        if let Some(date) = date {
            headers.insert(DATE, date.parse().expect("a header value"));
        }
        asked(&headers)
    }

    #[test]
    fn retry_after_is_read_in_every_form() {
        let now = Some("Sat, 21 Nov 2026 17:00:00 GMT");
        assert_eq!(after("7", None), Some(Duration::from_secs(7)));
        assert_eq!(
            after("99999999999999999999999", None),
            Some(Duration::from_secs(u64::MAX))
        );
        assert_eq!(after("-5", None), None);
        assert_eq!(after("soon", None), None);
        assert_eq!(after("", None), None);
        assert_eq!(
            after("Sat, 21 Nov 2026 17:00:30 GMT", now),
            Some(Duration::from_secs(30))
        );
        assert_eq!(after("Sat, 21 Nov 2026 16:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(after("Sat, 21 Nov 2026 17:00:30 GMT", None), None);
        assert_eq!(asked(&HeaderMap::new()), None);
    }

    #[test]
    fn waits_are_bounded_on_both_sides_and_in_number() {
        let mut settings = Settings::new(
            SourceName::parse("connex").expect("a name"),
            "https://connex.example".parse().expect("a URL"),
        );
        settings.retries_max = 3;
        let mut waits = Waits::new(&settings);
        let first = waits.next(None).expect("a first wait");
        assert!(first >= settings.retry_delay_min && first <= settings.retry_delay_min * 2);
        let second = waits.next(Some(Duration::ZERO)).expect("a second wait");
        assert!(second >= settings.retry_delay_min, "never below the backoff");
        assert_eq!(
            waits.next(Some(Duration::from_secs(u64::MAX))),
            Some(settings.retry_after_max)
        );
        assert_eq!(waits.next(None), None);
    }
}
