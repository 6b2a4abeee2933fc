//! A ConneX-style directory that serves pages written beforehand, and the bare reading of all of them. Each is a
//! process of its own, so that its CPU time is not taken for the program's.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State as Shared};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use tokio::net::TcpListener;

use crate::Outcome;
use crate::child::Server;
use crate::client::Client;
use crate::people::{self, State};

/// The first argument of the process that serves; the second is how many people there are.
pub(crate) const SERVE: &str = "serve-pages";
/// The first argument of the process that reads; the second is the server's address.
pub(crate) const READ: &str = "read-pages";

/// A serving process.
pub(crate) struct Pages {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
}

impl Pages {
    /// Starts it, and waits until its pages are written.
    pub(crate) fn start(people: usize) -> Outcome<Self> {
        let this = std::env::current_exe()?;
        let count = people.to_string();
        let mut server = Server::start(this.as_os_str(), &[SERVE.as_ref(), count.as_ref()], Stdio::piped())?;
        let out = server.0.stdout.take().ok_or("the server's output is piped")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let address = line.trim().parse().map_err(|_| "the server of pages did not start")?;
        Ok(Self { server, address })
    }

    /// Has it serve that state from now on.
    pub(crate) async fn become_state(&self, state: State) -> Outcome<()> {
        let mut client = Client::connect(self.address, None).await?;
        let path = match state {
            State::Original => "/original",
            State::Changed => "/changed",
        };
        let (answer, _) = client.ask(Method::POST, path, None).await?;
        if answer.status == StatusCode::NO_CONTENT {
            Ok(())
        } else {
            Err("the server of pages refused".into())
        }
    }
}

/// What is served.
struct Shelf {
    organizations: Vec<Bytes>,
    original: Vec<Bytes>,
    changed: Vec<Bytes>,
    is_changed: AtomicBool,
}

#[derive(Deserialize)]
struct Wanted {
    /// The number of a page.
    cursor: Option<usize>,
}

fn page(from: &[Bytes], wanted: &Wanted) -> Response {
    match from.get(wanted.cursor.unwrap_or(0)) {
        Some(page) => ([(header::CONTENT_TYPE, "application/json")], page.clone()).into_response(),
        None => StatusCode::GONE.into_response(),
    }
}

/// Serves `people` until it is killed, after its address on a line of standard output.
pub(crate) async fn serve(people: usize) -> Outcome<()> {
    let bytes = |pages: Vec<String>| pages.into_iter().map(Bytes::from).collect();
    let shelf = Arc::new(Shelf {
        organizations: bytes(people::organization_pages(people)),
        original: bytes(people::account_pages(people, State::Original)),
        changed: bytes(people::account_pages(people, State::Changed)),
        is_changed: AtomicBool::new(false),
    });
    let organizations =
        async |Shared(shelf): Shared<Arc<Shelf>>, Query(wanted): Query<Wanted>| page(&shelf.organizations, &wanted);
    let accounts = async |Shared(shelf): Shared<Arc<Shelf>>, Query(wanted): Query<Wanted>| {
        let changed = shelf.is_changed.load(Ordering::Acquire);
        page(if changed { &shelf.changed } else { &shelf.original }, &wanted)
    };
    let switch = |to: bool| {
        post(async move |Shared(shelf): Shared<Arc<Shelf>>| {
            shelf.is_changed.store(to, Ordering::Release);
            StatusCode::NO_CONTENT
        })
    };
    let router = Router::new()
        .route("/api/v1/organizations", get(organizations))
        .route("/api/v1/users", get(accounts))
        .route("/changed", switch(true))
        .route("/original", switch(false))
        .with_state(shelf);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    Ok(axum::serve(listener, router).await?)
}

/// An account as a program that wants all of it would hold it.
#[derive(Deserialize)]
#[expect(
    dead_code,
    reason = "the fields are parsed because that is what is measured; nobody looks at them"
)]
struct Account {
    id: String,
    organization_id: Option<String>,
    email: String,
    first_name: Option<String>,
    last_name: Option<String>,
    phone: Option<String>,
    title: Option<String>,
    kind: Option<String>,
    roles: Vec<String>,
    status: String,
    updated_at: String,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "as above")]
struct Organization {
    id: String,
    name: String,
    kind: String,
    status: String,
    requested_access: bool,
    phone: Option<String>,
    city: Option<String>,
    updated_at: String,
}

#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
}

/// The floor: reads and parses every page over one connection, one after the other, and keeps nothing. Prints how many
/// accounts there were.
pub(crate) async fn read(address: SocketAddr) -> Outcome<()> {
    let mut client = Client::connect(address, None).await?;
    walk::<Organization>(&mut client, "organizations").await?;
    println!("{}", walk::<Account>(&mut client, "users").await?);
    Ok(())
}

async fn walk<T: for<'de> Deserialize<'de>>(client: &mut Client, what: &str) -> Outcome<usize> {
    let mut count = 0;
    let mut path = format!("/api/v1/{what}?limit={}", people::PAGE);
    loop {
        let (_, bytes) = client.ask(Method::GET, &path, None).await?;
        let page: Page<T> = serde_json::from_slice(&bytes)?;
        count += page.items.len();
        match page.next {
            Some(next) => path = format!("/api/v1/{what}?limit={}&cursor={next}", people::PAGE),
            None => return Ok(count),
        }
    }
}
