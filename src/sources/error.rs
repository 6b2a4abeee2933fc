//! What a source answers when it cannot be read: one sentence that says what, where and what to do.

use std::error::Error;

/// The closed set of causes; the code is stable and part of `sync --output json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceErrorKind {
    /// No connection: refused, no such host, no route, broken off.
    Unreachable,
    /// A time limit passed.
    Timeout,
    /// The certificate was refused, or TLS could not be agreed.
    Tls,
    /// The credentials were refused.
    Authentication,
    /// The credentials are good, and may not read this.
    Forbidden,
    /// What was to be read does not exist: a base DN, an organization, a path, a file.
    NotFound,
    /// The answer is not what the protocol says.
    Protocol,
    /// A limit of ours was met: bytes, pages, depth.
    Limit,
    /// The server says that it cannot answer now (busy, 429, 5xx), still after the retries.
    Unavailable,
    /// A redirect, referral or link that leads to another origin.
    ForeignOrigin,
    /// The configuration cannot work as it is (an unreadable secret, a bad URL).
    Configuration,
    /// The run was stopped.
    Cancelled,
}

impl SourceErrorKind {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unreachable => "source_unreachable",
            Self::Timeout => "source_timeout",
            Self::Tls => "source_tls",
            Self::Authentication => "source_authentication",
            Self::Forbidden => "source_forbidden",
            Self::NotFound => "source_not_found",
            Self::Protocol => "source_protocol",
            Self::Limit => "source_limit",
            Self::Unavailable => "source_unavailable",
            Self::ForeignOrigin => "source_foreign_origin",
            Self::Configuration => "source_configuration",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Why a source could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// Which of the causes.
    pub kind: SourceErrorKind,
    /// One sentence: what happened, where (host, DN, path; never a secret), and what to do.
    pub message: String,
    /// What the library said, for the log.
    #[source]
    pub cause: Option<Box<dyn Error + Send + Sync>>,
}

impl SourceError {
    /// An error with its sentence.
    pub fn new(kind: SourceErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            cause: None,
        }
    }

    /// Keeps what the library said.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Whether the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            SourceErrorKind::Unreachable | SourceErrorKind::Timeout | SourceErrorKind::Unavailable
        )
    }
}
