//! One HTTP request and its answer: credentials, time-outs, byte limits, retries, and a sentence for each failure.
//! Follows no redirect, uses no proxy of the environment, and lets no secret and no body into a message.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{RequestBuilder, Response, StatusCode};
use secrecy::ExposeSecret;
use tokio::time::{sleep, timeout};
use url::Url;

use super::place::{check_url, misconfigured, origin, place};
use super::retry::{self, Waits};
use super::settings::{Auth, PAGE_SIZE_MAX, Settings};
use super::tls;
use super::token::{Granted, Token, Tokens, fixed_header};
use crate::sources::{SourceError, SourceErrorKind as Kind};

/// What stands between the base URL and the resources.
const API: [&str; 2] = ["api", "v1"];

/// What the server said, where it is something to go on with.
#[derive(Debug)]
pub(super) enum Answer {
    /// 200 with JSON.
    Found(Vec<u8>),
    /// 404, said by the API itself and not by something in front of it.
    Absent,
    /// 410: the cursor has expired.
    Gone,
}

/// The outcome of one attempt.
enum Attempt {
    Answer(Answer),
    /// 401.
    Unauthorized,
    /// 429 or 5xx, with what `Retry-After` asks for.
    Busy(StatusCode, Option<Duration>),
    /// 400: for a token endpoint this may mean "the other way of sending the secret".
    BadRequest,
}

/// The HTTP side of a source.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    settings: Settings,
    fixed: Option<HeaderValue>,
    tokens: Tokens,
}

impl Client {
    pub(super) fn new(settings: &Settings) -> Result<Self, SourceError> {
        check_url(settings, &settings.url)?;
        if let Auth::OAuth2 {
            token_url: Some(url), ..
        } = &settings.auth
        {
            check_url(settings, url)?;
        }
        if settings.page_size == 0 || settings.page_size > PAGE_SIZE_MAX {
            return Err(misconfigured(format!(
                "a page of {} items cannot be asked for: set `page_size` to between 1 and {PAGE_SIZE_MAX}",
                settings.page_size
            )));
        }
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::configuration(settings)?)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(settings.connect_timeout)
            .user_agent(concat!("rollcall/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| misconfigured("no HTTP client can be made: report it as a bug").because(error))?;
        Ok(Self {
            http,
            fixed: fixed_header(settings)?,
            settings: settings.clone(),
            tokens: Tokens::default(),
        })
    }

    /// The host and port, for messages.
    pub(super) fn host(&self) -> String {
        origin(&self.settings.url)
    }

    /// The URL of a resource below the API; each of `segments` is one path segment, whatever stands in it.
    pub(super) fn url(&self, segments: &[&str]) -> Result<Url, SourceError> {
        if segments.iter().any(|segment| matches!(*segment, "." | "..")) {
            // No URL can carry them: every parser takes them for steps in the path, percent-encoded or not.
            return Err(SourceError::new(
                Kind::Protocol,
                format!(
                    "the ids `.` and `..` cannot be asked for at {}: have them changed there",
                    self.host()
                ),
            ));
        }
        let mut url = self.settings.url.clone();
        url.path_segments_mut()
            .expect("an http URL has path segments: its scheme was checked")
            .pop_if_empty()
            .extend(API)
            .extend(segments);
        Ok(url)
    }

    /// Fetches `url`, again where that may help.
    pub(super) async fn get(&self, url: &Url) -> Result<Answer, SourceError> {
        let mut waits = Waits::new(&self.settings);
        let mut refused = None;
        loop {
            let token = self.token(refused).await?;
            let request = self.authenticated(self.http.get(url.clone()), token.as_ref());
            let (error, asked) = match self.attempt(request, url, self.settings.page_bytes_max).await {
                Ok(Attempt::Answer(answer)) => return Ok(answer),
                Ok(Attempt::Unauthorized) => match token {
                    Some(token) if refused.is_none() => {
                        refused = Some(token.generation);
                        continue;
                    }
                    _ => return Err(self.unauthorized(url)),
                },
                Ok(Attempt::BadRequest) => return Err(self.bad_request(url)),
                Ok(Attempt::Busy(status, asked)) => (self.busy(url, status), asked),
                Err(error) if error.is_transient() => (error, None),
                Err(error) => return Err(error),
            };
            match waits.next(asked) {
                Some(wait) => sleep(wait).await,
                None => return Err(error),
            }
        }
    }

    fn authenticated(&self, request: RequestBuilder, token: Option<&Token>) -> RequestBuilder {
        let request = request.header(ACCEPT, "application/json");
        match (&self.settings.auth, token, &self.fixed) {
            (Auth::Basic { user, password }, ..) => request.basic_auth(user, Some(password.expose_secret())),
            (_, Some(token), _) => request.header(AUTHORIZATION, token.header()),
            (_, None, Some(header)) => request.header(AUTHORIZATION, header.clone()),
            (_, None, None) => request,
        }
    }

    /// The OAuth2 token to use, where that is the way; not the one of generation `refused`.
    async fn token(&self, refused: Option<u64>) -> Result<Option<Token>, SourceError> {
        let Auth::OAuth2 { token_url, .. } = &self.settings.auth else {
            return Ok(None);
        };
        let url = token_url.clone().unwrap_or_else(|| {
            let mut url = self.settings.url.clone();
            url.path_segments_mut()
                .expect("an http URL has path segments: its scheme was checked")
                .pop_if_empty()
                .extend(["oauth", "token"]);
            url
        });
        self.tokens.current(refused, self.fetch_token(&url)).await.map(Some)
    }

    async fn fetch_token(&self, url: &Url) -> Result<Granted, SourceError> {
        let mut waits = Waits::new(&self.settings);
        // RFC 6749, section 2.3.1: every server takes the secret as HTTP Basic. Some do not know that.
        let mut in_body = false;
        loop {
            let request = self.token_request(url, in_body);
            let (error, asked) = match self.attempt(request, url, TOKEN_BYTES_MAX).await {
                Ok(Attempt::Answer(Answer::Found(body))) => {
                    return Granted::read(&body)
                        .ok_or_else(|| self.protocol(url, "no bearer token", "the grant of RFC 6749, section 5.1,"));
                }
                Ok(Attempt::Answer(_)) => return Err(not_there(url)),
                Ok(Attempt::Unauthorized | Attempt::BadRequest) if !in_body => {
                    in_body = true;
                    continue;
                }
                Ok(Attempt::Unauthorized | Attempt::BadRequest) => return Err(self.unauthorized(url)),
                Ok(Attempt::Busy(status, asked)) => (self.busy(url, status), asked),
                Err(error) if error.is_transient() => (error, None),
                Err(error) => return Err(error),
            };
            match waits.next(asked) {
                Some(wait) => sleep(wait).await,
                None => return Err(error),
            }
        }
    }

    fn token_request(&self, url: &Url, in_body: bool) -> RequestBuilder {
        let Auth::OAuth2 {
            client_id,
            client_secret,
            scope,
            ..
        } = &self.settings.auth
        else {
            unreachable!("tokens are asked for with OAuth2 alone");
        };
        let secret = client_secret.expose_secret();
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend(scope.iter().map(|scope| ("scope", scope.as_str())));
        let request = self.http.post(url.clone()).header(ACCEPT, "application/json");
        if in_body {
            form.extend([("client_id", client_id.as_str()), ("client_secret", secret)]);
            return request.form(&form);
        }
        let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        request
            .basic_auth(encoded(client_id), Some(encoded(secret)))
            .form(&form)
    }

    /// Sends one request and reads its whole answer.
    async fn attempt(&self, request: RequestBuilder, url: &Url, bytes_max: usize) -> Result<Attempt, SourceError> {
        let head_limit = self.settings.connect_timeout + self.settings.first_byte_timeout;
        let whole = async {
            let response = timeout(head_limit, request.send())
                .await
                .map_err(|_| silent(url, head_limit))?
                .map_err(|error| self.not_reached(url, error))?;
            self.judge(response, url, bytes_max).await
        };
        timeout(self.settings.page_timeout, whole).await.unwrap_or_else(|_| {
            let seconds = self.settings.page_timeout.as_secs_f64();
            Err(SourceError::new(
                Kind::Timeout,
                format!(
                    "{} was not done with its answer after {seconds} s: look at its load",
                    place(url)
                ),
            ))
        })
    }

    async fn judge(&self, response: Response, url: &Url, bytes_max: usize) -> Result<Attempt, SourceError> {
        let status = response.status();
        let content = content_type(&response);
        let json = is_json(&content);
        match status {
            StatusCode::OK | StatusCode::NOT_FOUND if !json => {
                let came = format!("{status} and {}", shown_type(&content));
                Err(self.protocol(url, &came, "JSON"))
            }
            StatusCode::OK => {
                let body = self.body(response, url, bytes_max).await?;
                Ok(Attempt::Answer(Answer::Found(body)))
            }
            StatusCode::NOT_FOUND => {
                let body = self.body(response, url, ERROR_BYTES_MAX).await?;
                if serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&body).is_err() {
                    return Err(self.protocol(url, "404 and no problem document", "one (RFC 9457)"));
                }
                Ok(Attempt::Answer(Answer::Absent))
            }
            StatusCode::GONE => Ok(Attempt::Answer(Answer::Gone)),
            StatusCode::UNAUTHORIZED => Ok(Attempt::Unauthorized),
            StatusCode::BAD_REQUEST => Ok(Attempt::BadRequest),
            StatusCode::FORBIDDEN => Err(SourceError::new(
                Kind::Forbidden,
                format!(
                    "{} may not be read with these credentials (403): have them allowed there",
                    place(url)
                ),
            )),
            StatusCode::TOO_MANY_REQUESTS => Ok(Attempt::Busy(status, retry::asked(response.headers()))),
            status if status.is_server_error() => Ok(Attempt::Busy(status, retry::asked(response.headers()))),
            status if status.is_redirection() => Err(self.redirected(&response, url)),
            status => Err(self.protocol(url, &format!("the status {status}"), "a page")),
        }
    }

    /// Reads a body, counting what comes out of the decompression.
    async fn body(&self, mut response: Response, url: &Url, bytes_max: usize) -> Result<Vec<u8>, SourceError> {
        let mut body = Vec::new();
        loop {
            let chunk = timeout(self.settings.idle_timeout, response.chunk())
                .await
                .map_err(|_| silent(url, self.settings.idle_timeout))?
                .map_err(|error| {
                    SourceError::new(
                        Kind::Unreachable,
                        format!(
                            "{} broke off in the middle of its answer: look at the network, and at its log",
                            place(url)
                        ),
                    )
                    .because(error.without_url())
                })?;
            let Some(chunk) = chunk else { return Ok(body) };
            if body.len() + chunk.len() > bytes_max {
                return Err(SourceError::new(
                    Kind::Limit,
                    format!(
                        "{} sent more than the {bytes_max} bytes that one answer may have: set a smaller `page_size`, or find out what it sends",
                        place(url)
                    ),
                ));
            }
            body.extend_from_slice(&chunk);
        }
    }

    fn not_reached(&self, url: &Url, error: reqwest::Error) -> SourceError {
        let error = error.without_url();
        let host = origin(url);
        if let Some(refusal) = tls::refusal(&error) {
            let message = format!(
                "the certificate or TLS of {host} was refused ({refusal}): mend it there, or set `tls.ca_file` to the authority that signed it"
            );
            return SourceError::new(Kind::Tls, message).because(error);
        }
        let (kind, message) = if error.is_timeout() {
            let seconds = self.settings.connect_timeout.as_secs_f64();
            (
                Kind::Timeout,
                format!("no connection to {host} within {seconds} s: check the address and the firewall"),
            )
        } else if error.is_connect() {
            (
                Kind::Unreachable,
                format!("no connection to {host}: check the address, and that the service is running"),
            )
        } else {
            (
                Kind::Unreachable,
                format!("{} broke off without an answer: look at its log", place(url)),
            )
        };
        SourceError::new(kind, message).because(error)
    }

    /// That something came which is not what the protocol says.
    pub(super) fn protocol(&self, url: &Url, came: &str, expected: &str) -> SourceError {
        SourceError::new(
            Kind::Protocol,
            format!(
                "{} answered with {came} where {expected} was expected: check the `url` of source `{}`, and what stands between",
                place(url),
                self.settings.name
            ),
        )
    }

    fn unauthorized(&self, url: &Url) -> SourceError {
        SourceError::new(
            Kind::Authentication,
            format!(
                "{} refused the credentials of source `{}`: renew them there, and in the secret file",
                place(url),
                self.settings.name
            ),
        )
    }

    fn bad_request(&self, url: &Url) -> SourceError {
        self.protocol(url, "400 (a request that it does not understand)", "a page")
    }

    fn busy(&self, url: &Url, status: StatusCode) -> SourceError {
        SourceError::new(
            Kind::Unavailable,
            format!(
                "{} cannot answer now ({}, still after {} retries): try later, or ask its operator",
                place(url),
                status.as_u16(),
                self.settings.retries_max
            ),
        )
    }

    fn redirected(&self, response: &Response, url: &Url) -> SourceError {
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let target = location.and_then(|text| url.join(text).ok());
        match target {
            Some(target) if target.origin() == url.origin() => {
                self.protocol(url, &format!("a redirect to {}", place(&target)), "JSON")
            }
            Some(target) => SourceError::new(
                Kind::ForeignOrigin,
                format!(
                    "{} redirects to {}, which was not followed: set the `url` of source `{}` to where the API really is",
                    place(url),
                    origin(&target),
                    self.settings.name
                ),
            ),
            None => self.protocol(url, &format!("the status {}", response.status()), "JSON"),
        }
    }
}

/// A token and what surrounds it fits in this many bytes.
const TOKEN_BYTES_MAX: usize = 64 * 1024;
/// A problem document fits in this many bytes.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// That the API has nothing at `url`.
pub(super) fn not_there(url: &Url) -> SourceError {
    SourceError::new(
        Kind::NotFound,
        format!("there is no {}: check the `url` of the source", place(url)),
    )
}

fn silent(url: &Url, limit: Duration) -> SourceError {
    SourceError::new(
        Kind::Timeout,
        format!(
            "{} was silent for {} s: look at its load, and at the network",
            place(url),
            limit.as_secs_f64()
        ),
    )
}

fn content_type(response: &Response) -> String {
    let value = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = value.unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

fn is_json(content: &str) -> bool {
    content == "application/json" || (content.starts_with("application/") && content.ends_with("+json"))
}

fn shown_type(content: &str) -> String {
    match content {
        "" => "no content type".into(),
        "text/html" => "an HTML page".into(),
        other => format!(
            "the content type `{}`",
            other.chars().take(60).collect::<String>().escape_debug()
        ),
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
