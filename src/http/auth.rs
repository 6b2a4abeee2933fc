//! Who is asking: a token in `Authorization: Bearer …`, looked up at each request, so that one that was revoked or has
//! expired is dead at the next. Never logs a token, and takes none from an address or a cookie.

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use uuid::Uuid;

use super::App;
use super::error::Problem;
use crate::domain::token::{TokenScope, TokenSecret};
use crate::store::Actor;
use crate::telemetry::{self, Event};

/// Who is asking, and what they may.
#[derive(Debug, Clone)]
pub struct Caller {
    /// As the audit trail names them: `api:` and the name of the token.
    pub actor: Actor,
    /// What the token may do.
    pub scope: TokenScope,
    token: Uuid,
}

impl Caller {
    /// Refuses who lacks the scope.
    ///
    /// # Errors
    /// 403, with the scope that is needed.
    pub fn need(&self, needed: TokenScope) -> Result<(), Problem> {
        if self.scope.allows(needed) {
            Ok(())
        } else {
            refused("its scope does not reach", Some(self.token));
            Err(Problem::forbidden(self.scope, needed))
        }
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let sent = bearer(parts)?;
        let unknown = || {
            refused("it is not known", None);
            Problem::unauthenticated(
                "the token is not known here; is it complete, and of this installation? `rollcall token list` shows the names and beginnings",
                true,
            )
        };
        let secret = TokenSecret::parse(sent).ok_or_else(unknown)?;
        let token = app.store().token(&secret).await?.ok_or_else(unknown)?;
        let now = app.store().now();
        let renew = format!("make a new one with `rollcall token create {}`", token.name);
        if token.revoked_at.is_some() {
            refused("it was revoked", Some(token.id));
            let detail = format!("the token {} was revoked; {renew}", token.name);
            return Err(Problem::unauthenticated(detail, true));
        }
        if token.expires_at.is_some_and(|end| end <= now) {
            refused("it has expired", Some(token.id));
            let detail = format!("the token {} has expired; revoke it, and {renew}", token.name);
            return Err(Problem::unauthenticated(detail, true));
        }
        let caller = Self {
            actor: Actor(format!("api:{}", token.name)),
            scope: token.scope,
            token: token.id,
        };
        app.note_use(token);
        Ok(caller)
    }
}

/// Says that a token was refused, by its id where it has one here.
fn refused(reason: &'static str, token: Option<Uuid>) {
    telemetry::emit(&Event::TokenRefused { reason, token });
}

/// The token of the request (RFC 6750, section 2.1; the scheme's case does not matter).
fn bearer(parts: &Parts) -> Result<&str, Problem> {
    let none = || {
        Problem::unauthenticated(
            "send a token with the request, as `Authorization: Bearer TOKEN`; `rollcall token create NAME` makes one",
            false,
        )
    };
    let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or_else(none)?;
    if values.next().is_some() {
        return Err(Problem::unauthenticated(
            "the request has several Authorization headers; send one",
            true,
        ));
    }
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or_else(none)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(token.trim())
    } else {
        Err(none())
    }
}
