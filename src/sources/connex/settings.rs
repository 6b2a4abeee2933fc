//! What a ConneX-style source is told: where, as whom, and every limit with its default. Plain values; reads nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::domain::id::SourceName;

/// Accounts asked for in one page: the most that the protocol allows.
pub const PAGE_SIZE_MAX: u32 = 1000;
/// Time for name resolution, TCP and TLS, in seconds.
pub const CONNECT_TIMEOUT_SECONDS: u64 = 10;
/// Time from a request to the head of its answer, in seconds: a first page may be counted before it is sent.
pub const FIRST_BYTE_TIMEOUT_SECONDS: u64 = 60;
/// Longest silence inside an answer, in seconds.
pub const IDLE_TIMEOUT_SECONDS: u64 = 30;
/// Time for one whole answer, in seconds: one byte now and then is no silence, and would never end.
pub const PAGE_TIMEOUT_SECONDS: u64 = 300;
/// Time for a whole listing, in seconds.
pub const LISTING_TIMEOUT_SECONDS: u64 = 2 * 3600;
/// Bytes of one answer after decompression: 1000 accounts of 16 kB.
pub const PAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Pages of one walk: a million accounts in pages of ten.
pub const PAGES_MAX: u64 = 100_000;
/// Accounts of one walk.
pub const ENTRIES_MAX: u64 = 10_000_000;
/// Levels of JSON; an account has four.
pub const JSON_DEPTH_LEVELS_MAX: usize = 32;
/// Times that one request is tried again.
pub const RETRIES_MAX: usize = 5;
/// First wait before a retry, in milliseconds; doubles from there, with jitter.
pub const RETRY_DELAY_MIN_MILLISECONDS: u64 = 250;
/// Longest wait of our own choosing before a retry, in milliseconds.
pub const RETRY_DELAY_MAX_MILLISECONDS: u64 = 20_000;
/// Longest wait that a server may ask for with `Retry-After`, in seconds.
pub const RETRY_AFTER_MAX_SECONDS: u64 = 60;

/// How the source says who it is.
#[derive(Debug, Clone)]
pub enum Auth {
    /// Not at all.
    None,
    /// A fixed bearer token (RFC 6750).
    Bearer {
        /// The token.
        token: SecretString,
    },
    /// User and password (RFC 7617).
    Basic {
        /// The user name.
        user: String,
        /// The password.
        password: SecretString,
    },
    /// Client credentials (RFC 6749, section 4.4).
    OAuth2 {
        /// Where tokens are issued; `None` is `/oauth/token` below the base URL.
        token_url: Option<Url>,
        /// The client's id.
        client_id: String,
        /// The client's secret.
        client_secret: SecretString,
        /// The scope to ask for, where the server wants one.
        scope: Option<String>,
    },
}

impl Auth {
    /// Whether anything secret is sent.
    pub(super) fn is_secret(&self) -> bool {
        !matches!(self, Self::None)
    }
}

/// Everything that a source needs to know. [`Settings::new`] fills in the defaults.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The configured name.
    pub name: SourceName,
    /// The base URL, in front of `/api/v1`.
    pub url: Url,
    /// How to say who asks.
    pub auth: Auth,
    /// A PEM file of the authorities to trust instead of the machine's own.
    pub ca_file: Option<PathBuf>,
    /// Whether credentials may go over plain `http://` to a host that is not this machine.
    pub allow_plaintext: bool,
    /// The JSON keys of an account that the mapping asks for.
    pub wanted: Arc<[Arc<str>]>,
    /// Items asked for in one page, at most [`PAGE_SIZE_MAX`].
    pub page_size: u32,
    /// See [`CONNECT_TIMEOUT_SECONDS`].
    pub connect_timeout: Duration,
    /// See [`FIRST_BYTE_TIMEOUT_SECONDS`].
    pub first_byte_timeout: Duration,
    /// See [`IDLE_TIMEOUT_SECONDS`].
    pub idle_timeout: Duration,
    /// See [`PAGE_TIMEOUT_SECONDS`].
    pub page_timeout: Duration,
    /// See [`LISTING_TIMEOUT_SECONDS`].
    pub listing_timeout: Duration,
    /// See [`PAGE_BYTES_MAX`].
    pub page_bytes_max: usize,
    /// See [`PAGES_MAX`].
    pub pages_max: u64,
    /// See [`ENTRIES_MAX`].
    pub entries_max: u64,
    /// See [`JSON_DEPTH_LEVELS_MAX`].
    pub json_depth_levels_max: usize,
    /// See [`RETRIES_MAX`].
    pub retries_max: usize,
    /// See [`RETRY_DELAY_MIN_MILLISECONDS`].
    pub retry_delay_min: Duration,
    /// See [`RETRY_DELAY_MAX_MILLISECONDS`].
    pub retry_delay_max: Duration,
    /// See [`RETRY_AFTER_MAX_SECONDS`].
    pub retry_after_max: Duration,
}

impl Settings {
    /// Settings with every limit at its default, no credentials, and no attribute wanted yet.
    pub fn new(name: SourceName, url: Url) -> Self {
        Self {
            name,
            url,
            auth: Auth::None,
            ca_file: None,
            allow_plaintext: false,
            wanted: Arc::new([]),
            page_size: PAGE_SIZE_MAX,
            connect_timeout: Duration::from_secs(CONNECT_TIMEOUT_SECONDS),
            first_byte_timeout: Duration::from_secs(FIRST_BYTE_TIMEOUT_SECONDS),
            idle_timeout: Duration::from_secs(IDLE_TIMEOUT_SECONDS),
            page_timeout: Duration::from_secs(PAGE_TIMEOUT_SECONDS),
            listing_timeout: Duration::from_secs(LISTING_TIMEOUT_SECONDS),
            page_bytes_max: PAGE_BYTES_MAX,
            pages_max: PAGES_MAX,
            entries_max: ENTRIES_MAX,
            json_depth_levels_max: JSON_DEPTH_LEVELS_MAX,
            retries_max: RETRIES_MAX,
            retry_delay_min: Duration::from_millis(RETRY_DELAY_MIN_MILLISECONDS),
            retry_delay_max: Duration::from_millis(RETRY_DELAY_MAX_MILLISECONDS),
            retry_after_max: Duration::from_secs(RETRY_AFTER_MAX_SECONDS),
        }
    }
}
