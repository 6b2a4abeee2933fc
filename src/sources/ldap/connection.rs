//! One connection to a directory: made, protected, bound, and asked one thing at a time. Follows no referral, sends
//! no credential before the connection is as safe as the configuration says.

use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use ldap3::asn1::{PL, StructureTag};
use ldap3::controls::RawControl;
use ldap3::exop::Exop;
use ldap3::{LdapConnAsync, LdapConnSettings, LdapResult, Scope, SearchOptions, SearchStream, StdStream};
use secrecy::ExposeSecret;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::rustls::ClientConfig;

use super::address::{Place, Security};
use super::entry::EntryBytes;
use super::failure::Context;
use super::guard::{self, Passed, Transport, Window};
use super::settings::{Bind, Settings, Timeouts};
use super::tls;
use crate::sources::{SourceError, SourceErrorKind};

/// Times that a connection is tried: enough for a server that restarts, few enough not to hammer one that is down.
const CONNECT_ATTEMPTS_MAX: usize = 3;

/// Where to connect, how, and as whom: checked.
#[derive(Debug)]
pub(super) struct Endpoint {
    place: Place,
    tls: Option<Arc<ClientConfig>>,
    bind: Bind,
    timeouts: Timeouts,
    pub(super) context: Context,
}

impl Endpoint {
    /// Checks everything about the connection that can be checked without one.
    pub(super) fn new(settings: &Settings) -> Result<Self, SourceError> {
        let place = Place::parse(&settings.url, settings.starttls)?;
        let uses_tls = matches!(
            place,
            Place::Tcp {
                security: Security::Tls | Security::StartTls,
                ..
            }
        );
        let tls = match uses_tls {
            true => Some(tls::client_config(
                settings.ca_file.as_deref(),
                settings.client_certificate.as_ref(),
            )?),
            false => None,
        };
        let identity = match &settings.bind {
            Bind::Anonymous => "an anonymous identity".to_owned(),
            Bind::Simple { dn, password } => {
                check_credentials(&place, dn, password.expose_secret(), settings.allow_plaintext)?;
                dn.clone()
            }
            Bind::External => {
                let stated = matches!(place, Place::Unix(_)) || uses_tls && settings.client_certificate.is_some();
                if !stated {
                    return Err(configuration(format!(
                        "Nothing tells {place} who we are: SASL EXTERNAL needs a client certificate with TLS, or ldapi://."
                    )));
                }
                "the identity of the client certificate or process".to_owned()
            }
        };
        let context = Context {
            place: place.to_string(),
            identity,
        };
        Ok(Self {
            place,
            tls,
            bind: settings.bind.clone(),
            timeouts: settings.timeouts,
            context,
        })
    }

    /// A bound connection; tries again what may pass (no route, busy), never what was refused.
    pub(super) async fn connect(&self) -> Result<Connection, SourceError> {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(2))
            .with_max_times(CONNECT_ATTEMPTS_MAX - 1)
            .with_jitter();
        (|| self.connect_once())
            .retry(pauses)
            .when(SourceError::is_transient)
            .await
    }

    async fn connect_once(&self) -> Result<Connection, SourceError> {
        let attempt = async {
            let (transport, _) = self.open().await?;
            let mut connection = self.over(transport).await?;
            connection.bind(&self.bind).await?;
            Ok(connection)
        };
        timeout(self.timeouts.connect, attempt)
            .await
            .unwrap_or_else(|_| Err(self.slow()))
    }

    /// The bare connection, protected as configured, and in words how. For a probe, which wants each step by itself.
    pub(super) async fn open(&self) -> Result<(Box<dyn Transport>, String), SourceError> {
        let unreachable = |error| self.context.unreachable(error);
        let (host, port, security) = match &self.place {
            Place::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(unreachable)?;
                return Ok((Box::new(stream), "a Unix socket".to_owned()));
            }
            Place::Tcp { host, port, security } => (host.as_str(), *port, *security),
        };
        let mut stream = TcpStream::connect((host, port)).await.map_err(unreachable)?;
        // Requests are small and waited for: nothing is gained by gathering them.
        stream.set_nodelay(true).map_err(unreachable)?;
        let Some(config) = self.tls.clone() else {
            return Ok((Box::new(stream), "without TLS".to_owned()));
        };
        if security == Security::StartTls {
            tls::start_tls(&mut stream, host).await?;
        }
        let stream = tls::handshake(stream, host, config).await?;
        let version = stream
            .get_ref()
            .1
            .protocol_version()
            .and_then(|version| version.as_str());
        let version = version.unwrap_or("TLS").replace("TLSv1_", "TLS 1.");
        let how = if security == Security::StartTls {
            " by StartTLS"
        } else {
            ""
        };
        Ok((
            Box::new(stream),
            format!("{version}{how}, certificate and host name verified"),
        ))
    }

    /// Puts the guard and the library over a bare connection.
    pub(super) async fn over(&self, transport: Box<dyn Transport>) -> Result<Connection, SourceError> {
        let local = |error| {
            configuration("No socket pair could be made: raise the limit of open files of this process.").because(error)
        };
        let (ours, theirs) = StdUnixStream::pair().map_err(local)?;
        ours.set_nonblocking(true).map_err(local)?;
        let ours = UnixStream::from_std(ours).map_err(local)?;
        let settings = LdapConnSettings::new().set_std_stream(StdStream::Unix(theirs));
        let (driver, ldap) = LdapConnAsync::with_settings(settings, "ldapi:///")
            .await
            .map_err(|error| self.context.library(error, None))?;
        let window = Arc::new(Window::default());
        let (sender, passed) = mpsc::unbounded_channel();
        let guard = tokio::spawn(guard::run(transport, ours, Arc::clone(&window), sender)).abort_handle();
        // Its outcome is told by the guard: the library's own error would only say that the pair was closed.
        let driver = tokio::spawn(async move { drop(driver.drive().await) }).abort_handle();
        Ok(Connection {
            ldap,
            stream: None,
            passed,
            entries: Entries::default(),
            window,
            tasks: [guard, driver],
            idle: self.timeouts.idle,
            context: self.context.clone(),
        })
    }

    pub(super) fn credentials(&self) -> &Bind {
        &self.bind
    }

    /// The connection took too long.
    pub(super) fn slow(&self) -> SourceError {
        SourceError::new(
            SourceErrorKind::Timeout,
            format!(
                "{} gave no connection within {} s: check the host, the port and the firewall.",
                self.context.place,
                self.timeouts.connect.as_secs_f32()
            ),
        )
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        self.timeouts.connect
    }
}

fn check_credentials(place: &Place, dn: &str, password: &str, allow_plaintext: bool) -> Result<(), SourceError> {
    // A bind with a name and no password is "unauthenticated": it succeeds, as nobody (RFC 4513, section 5.1.2).
    if dn.is_empty() || password.is_empty() {
        return Err(configuration(format!(
            "The LDAP source for {place} has a bind DN or a password that is empty: state both, or neither for an anonymous bind."
        )));
    }
    if !allow_plaintext && !place.is_confidential() {
        return Err(configuration(format!(
            "The password of {dn} would cross the network to {place} in the clear: use ldaps:// or `starttls = true`."
        )));
    }
    Ok(())
}

fn configuration(message: impl Into<String>) -> SourceError {
    SourceError::new(SourceErrorKind::Configuration, message)
}

/// One search (RFC 4511, section 4.5.1).
#[derive(Debug, Clone)]
pub(super) struct Query {
    pub(super) base: String,
    pub(super) scope: Scope,
    pub(super) filter: String,
    pub(super) attributes: Arc<[Arc<str>]>,
    /// Most entries that the server shall give; 0 for all.
    pub(super) size_limit: i32,
}

/// One thing that a server answers to a search.
#[derive(Debug)]
pub(super) enum Answer {
    Entry(EntryBytes),
    /// The URLs of a search reference.
    Reference(Vec<String>),
    Done(LdapResult),
}

/// What a short search gave.
#[derive(Debug)]
pub(super) struct Few {
    pub(super) entries: Vec<EntryBytes>,
    pub(super) references: Vec<String>,
    pub(super) result: LdapResult,
}

/// Entries that arrived together, and how far they were taken.
#[derive(Default)]
struct Entries {
    arrived: Arc<Vec<u8>>,
    taken: usize,
}

impl Entries {
    fn new(arrived: Vec<u8>) -> Self {
        Self {
            arrived: Arc::new(arrived),
            taken: 0,
        }
    }

    fn next(&mut self) -> Option<EntryBytes> {
        let length = guard::whole_message(&self.arrived[self.taken..]).ok().flatten()?;
        let at = self.taken..self.taken + length;
        self.taken = at.end;
        Some(EntryBytes::new(&self.arrived, at))
    }
}

/// The library's search under way.
type Stream = SearchStream<'static, Arc<str>, Arc<[Arc<str>]>>;

/// A connection. Does one thing at a time; dropped, it is closed at once.
pub(super) struct Connection {
    ldap: ldap3::Ldap,
    stream: Option<Stream>,
    /// What the guard has let through for the search under way.
    passed: mpsc::UnboundedReceiver<Passed>,
    entries: Entries,
    window: Arc<Window>,
    tasks: [AbortHandle; 2],
    idle: Duration,
    pub(super) context: Context,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Connection {
    /// Says who we are.
    pub(super) async fn bind(&mut self, bind: &Bind) -> Result<(), SourceError> {
        self.ldap.with_timeout(self.idle);
        let result = match bind {
            Bind::Anonymous => return Ok(()),
            Bind::Simple { dn, password } => self.ldap.simple_bind(dn, password.expose_secret()).await,
            Bind::External => self.ldap.sasl_external_bind().await,
        };
        let result = result.map_err(|error| self.failed(error))?;
        self.context.bind(&result)
    }

    /// As whom the server sees us (RFC 4532); `None` where it does not say.
    pub(super) async fn who_am_i(&mut self) -> Result<Option<String>, SourceError> {
        self.ldap.with_timeout(self.idle);
        let answer = self.ldap.extended(ldap3::exop::WhoAmI).await;
        let ldap3::result::ExopResult(Exop { val, .. }, result) = answer.map_err(|error| self.failed(error))?;
        let name = val.and_then(|bytes| String::from_utf8(bytes).ok());
        Ok(name.filter(|_| result.rc == 0))
    }

    /// Begins a search; nothing else may be asked until [`Answer::Done`].
    pub(super) async fn search(&mut self, query: &Query, control: Option<RawControl>) -> Result<(), SourceError> {
        debug_assert!(self.stream.is_none(), "one thing at a time");
        self.ldap.with_timeout(self.idle);
        self.ldap
            .with_search_options(SearchOptions::new().sizelimit(query.size_limit));
        if let Some(control) = control {
            self.ldap.with_controls(control);
        }
        let attributes = Arc::clone(&query.attributes);
        match self
            .ldap
            .streaming_search(&query.base, query.scope, &query.filter, attributes)
            .await
        {
            Ok(stream) => self.stream = Some(stream),
            Err(error) => return Err(self.failed(error)),
        }
        Ok(())
    }

    /// The next answer to the search under way.
    pub(super) async fn next(&mut self) -> Result<Answer, SourceError> {
        loop {
            if let Some(entry) = self.entries.next() {
                return Ok(Answer::Entry(entry));
            }
            let passed = match timeout(self.idle, self.passed.recv()).await {
                Ok(passed) => passed,
                Err(elapsed) => return Err(self.failed(elapsed.into())),
            };
            match passed {
                Some(Passed::Entries { arrived, .. }) => self.entries = Entries::new(arrived),
                // The guard has ended: the library finds out by itself, and the cause is there.
                Some(Passed::ToLibrary { .. }) | None => {
                    if let Some(answer) = self.library_says().await? {
                        return Ok(answer);
                    }
                }
            }
        }
    }

    /// The next thing that the library has for the search under way; `None` for one that says nothing.
    async fn library_says(&mut self) -> Result<Option<Answer>, SourceError> {
        let stream = self.stream.as_mut().expect("a search is under way");
        match stream.next().await.map_err(|error| self.failed(error))? {
            Some(item) if item.is_ref() => Ok(Some(Answer::Reference(urls(item.0)))),
            // An intermediate response (RFC 4511, section 4.13), which nobody asked for.
            Some(_) => Ok(None),
            None => {
                let mut stream = self.stream.take().expect("a search is under way");
                Ok(Some(Answer::Done(stream.finish().await)))
            }
        }
    }

    /// Whether a search is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.stream.is_some()
    }

    /// A search that is expected to give at most `most` entries; more is an error of the limit.
    pub(super) async fn few(&mut self, query: &Query, most: usize) -> Result<Few, SourceError> {
        self.search(query, None).await?;
        let (mut entries, mut references) = (Vec::new(), Vec::new());
        loop {
            match self.next().await? {
                Answer::Done(result) => {
                    return Ok(Few {
                        entries,
                        references,
                        result,
                    });
                }
                Answer::Reference(urls) => references.extend(urls),
                Answer::Entry(entry) => entries.push(entry),
            }
            if entries.len() > most || references.len() > 1_000 {
                return Err(SourceError::new(
                    SourceErrorKind::Limit,
                    format!(
                        "{} gave more than the {most} entries that were asked for below {}: it ignores size limits.",
                        self.context.place, query.base
                    ),
                ));
            }
        }
    }

    fn failed(&self, error: ldap3::LdapError) -> SourceError {
        self.context.library(error, self.window.take_cause())
    }
}

/// The URLs of a reference; what is no text is left out.
fn urls(reference: StructureTag) -> Vec<String> {
    let PL::C(items) = reference.payload else {
        return Vec::new();
    };
    items
        .into_iter()
        .filter_map(|item| String::from_utf8(item.expect_primitive()?).ok())
        .collect()
}
