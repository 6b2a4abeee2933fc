//! The section `http`: where the API and the console listen, and what their clients may take.

use std::net::SocketAddr;
use std::time::Duration;

use schemars::JsonSchema;
use url::Url;

use super::read::{self, Cell, Decoded, Table};

/// Longest time that can be set here, in seconds: a client that may take an hour holds a connection for an hour.
const TIMEOUT_SECONDS_MAX: u64 = 3_600;

/// The API and the console.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Http {
    /// The address and port to listen on.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// The address under which people reach it, used in links.
    #[schemars(with = "String")]
    pub public_url: Url,
    /// An address and port of its own for the metrics; without it they are at `listen`.
    #[schemars(with = "Option<String>")]
    pub metrics_listen: Option<SocketAddr>,
    /// Most connections that are open at once.
    #[schemars(range(min = 8, max = 100_000))]
    pub max_connections: u32,
    /// How long a new connection may be silent.
    #[schemars(with = "String")]
    pub first_byte_timeout: Duration,
    /// How long the head of a request may take, from its first byte.
    #[schemars(with = "String")]
    pub header_timeout: Duration,
    /// How long the body of a request may take, and how long a client may take nothing of its answer.
    #[schemars(with = "String")]
    pub request_timeout: Duration,
    /// How long a connection may wait for its next request.
    #[schemars(with = "String")]
    pub idle_timeout: Duration,
    /// Most bytes of a request's body.
    #[schemars(range(min = 1024, max = 1_073_741_824))]
    pub max_body_bytes: u64,
}

fn address(cell: Cell<'_>) -> Decoded<SocketAddr> {
    let parsed = read::text(cell).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| "an address with a port, such as \"127.0.0.1:8480\"".to_owned())
}

fn public_url(cell: Cell<'_>) -> Decoded<Url> {
    let url = read::text(cell).ok().and_then(|text| Url::parse(&text).ok());
    url.filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host())
        .filter(|url| url.username().is_empty() && url.password().is_none())
        .filter(|url| url.query().is_none() && url.fragment().is_none())
        .ok_or_else(|| "an address such as \"https://rollcall.example\", without user, query or fragment".to_owned())
}

/// Reads the section.
pub(super) fn http(root: &mut Table<'_>) -> Option<Http> {
    let mut table = root.table("http")?;
    let listen = table.need("listen", "an address with a port", address);
    let public_url = table.need(
        "public_url",
        "an address such as \"https://rollcall.example\"",
        public_url,
    );
    let metrics_listen = table.get("metrics_listen", address);
    let max_connections = table.need("max_connections", "a number of connections", read::integer(8..=100_000));
    let time =
        |table: &mut Table<'_>, key| table.need(key, "a time such as \"30s\"", read::duration(TIMEOUT_SECONDS_MAX));
    let first_byte_timeout = time(&mut table, "first_byte_timeout");
    let header_timeout = time(&mut table, "header_timeout");
    let request_timeout = time(&mut table, "request_timeout");
    let idle_timeout = time(&mut table, "idle_timeout");
    let bytes = read::integer(1_024..=1_073_741_824);
    let max_body_bytes = table.need("max_body_bytes", "a number of bytes", bytes);
    if let (Some(metrics), Some(listen)) = (metrics_listen, listen)
        && metrics == listen
        && metrics.port() != 0
    {
        table.problem(
            "metrics_listen",
            "the API listens there (`listen`); name another port, or leave it away to have the metrics beside the API",
        );
    }
    table.finish();
    Some(Http {
        listen: listen?,
        public_url: public_url?,
        metrics_listen,
        max_connections: u32::try_from(max_connections?).ok()?,
        first_byte_timeout: first_byte_timeout?,
        header_timeout: header_timeout?,
        request_timeout: request_timeout?,
        idle_timeout: idle_timeout?,
        max_body_bytes: max_body_bytes?,
    })
}
