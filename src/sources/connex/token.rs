//! Who the source says it is: a header made once, or an OAuth2 token that is fetched, kept, and renewed before it
//! expires or when it is refused. Secrets leave this file in a header marked sensitive, and never in a message.

use std::time::Duration;

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::settings::{Auth, Settings};
use crate::sources::{SourceError, SourceErrorKind};

/// A token is renewed this long before it expires, in seconds, or at nine tenths of a short life.
const RENEW_BEFORE_SECONDS: u64 = 60;
/// Longest life that is believed, in seconds; a day.
const TOKEN_LIFE_SECONDS_MAX: u64 = 24 * 3600;

/// A token in use, and which one it is.
#[derive(Debug, Clone)]
pub(super) struct Token {
    header: HeaderValue,
    renew_at: Option<Instant>,
    pub(super) generation: u64,
}

impl Token {
    pub(super) fn header(&self) -> HeaderValue {
        self.header.clone()
    }
}

/// The tokens of one source.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<Option<Token>>);

impl Tokens {
    /// The token to use now, fetched with `fetch` where there is none, or it is about to expire, or it is the one of
    /// generation `refused`. Whoever comes second waits, and uses what the first one fetched.
    pub(super) async fn current(
        &self,
        refused: Option<u64>,
        fetch: impl Future<Output = Result<Granted, SourceError>> + Send,
    ) -> Result<Token, SourceError> {
        let mut held = self.0.lock().await;
        if let Some(token) = &*held {
            let fresh = token.renew_at.is_none_or(|at| Instant::now() < at);
            if fresh && refused != Some(token.generation) {
                return Ok(token.clone());
            }
        }
        let granted = fetch.await?;
        let token = Token {
            header: bearer(&granted.token)?,
            renew_at: granted
                .life
                .and_then(|life| Instant::now().checked_add(renew_after(life))),
            generation: held.as_ref().map_or(0, |token| token.generation + 1),
        };
        *held = Some(token.clone());
        Ok(token)
    }
}

fn renew_after(life: Duration) -> Duration {
    let life = life.min(Duration::from_secs(TOKEN_LIFE_SECONDS_MAX));
    life.saturating_sub(Duration::from_secs(RENEW_BEFORE_SECONDS))
        .max(life * 9 / 10)
}

/// What a token endpoint granted.
pub(super) struct Granted {
    token: SecretString,
    life: Option<Duration>,
}

#[derive(Deserialize)]
struct Grant {
    access_token: SecretString,
    token_type: Option<String>,
    expires_in: Option<serde_json::Value>,
}

impl Granted {
    /// Reads the answer of a token endpoint (RFC 6749, section 5.1); `None` where it is none.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let grant: Grant = serde_json::from_slice(body).ok()?;
        if grant
            .token_type
            .is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer"))
        {
            return None;
        }
        // Some servers write the number as a text; anything else is as good as unstated.
        let seconds = match &grant.expires_in {
            Some(serde_json::Value::Number(number)) => number.as_u64(),
            Some(serde_json::Value::String(text)) => text.parse().ok(),
            _ => None,
        };
        Some(Self {
            token: grant.access_token,
            life: seconds.map(Duration::from_secs),
        })
    }
}

/// The header of an authentication that needs no fetching.
pub(super) fn fixed_header(settings: &Settings) -> Result<Option<HeaderValue>, SourceError> {
    match &settings.auth {
        Auth::Bearer { token } => bearer(token).map(Some),
        Auth::None | Auth::Basic { .. } | Auth::OAuth2 { .. } => Ok(None),
    }
}

fn bearer(token: &SecretString) -> Result<HeaderValue, SourceError> {
    let text = format!("Bearer {}", token.expose_secret());
    let mut header = HeaderValue::from_str(&text).map_err(|_| {
        SourceError::new(
            SourceErrorKind::Configuration,
            "the bearer token holds a character that no HTTP header can carry: look for a line break in its file",
        )
    })?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_read_leniently_and_only_as_bearer_tokens() {
        let life = |body: &str| Granted::read(body.as_bytes()).map(|granted| granted.life.map(|life| life.as_secs()));
        assert_eq!(
            life(r#"{"access_token": "t", "token_type": "Bearer", "expires_in": 300}"#),
            Some(Some(300))
        );
        assert_eq!(life(r#"{"access_token": "t", "expires_in": "300"}"#), Some(Some(300)));
        assert_eq!(
            life(r#"{"access_token": "t", "token_type": "bearer", "expires_in": -1}"#),
            Some(None)
        );
        assert_eq!(life(r#"{"access_token": "t"}"#), Some(None));
        assert_eq!(life(r#"{"access_token": "t", "token_type": "mac"}"#), None);
        assert_eq!(life(r#"{"error": "invalid_client"}"#), None);
    }

    #[test]
    fn tokens_are_renewed_early() {
        let after = |seconds| renew_after(Duration::from_secs(seconds)).as_secs();
        assert_eq!(after(3600), 3540);
        assert_eq!(after(100), 90);
        assert_eq!(after(0), 0);
        assert_eq!(after(u64::MAX), TOKEN_LIFE_SECONDS_MAX - RENEW_BEFORE_SECONDS);
    }

    #[test]
    fn a_token_with_a_line_break_is_refused_and_not_shown() {
        let error = bearer(&"canary\nvalue".into()).expect_err("refused");
        assert_eq!(error.kind, SourceErrorKind::Configuration);
        assert!(!format!("{error:?}").contains("canary"));
    }
}
