//! A directory on a raw socket: it serves whatever a test puts on the wire, in any order, pages and brokenness.

use std::sync::{Arc, Mutex};

use serde_json::{Value as Json, json};

use crate::harness::raw_server::{RawServer, Reply, Request};

/// What it serves.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub(crate) organizations: Vec<Json>,
    pub(crate) accounts: Vec<Json>,
    pub(crate) fault: Fault,
}

/// What goes wrong while accounts are listed.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Fault {
    /// Nothing.
    #[default]
    None,
    /// The first page says that there are more accounts than will come.
    WrongTotal,
    /// The second page breaks off in the middle.
    Truncated,
    /// The second page is answered with this status.
    Status(u16),
    /// Every page is answered with this body.
    Body(&'static str),
    /// The second page is the first once more.
    Repeats,
    /// The last page names itself as the next one.
    NeverEnds,
    /// Whoever asks for one account by its id is answered with this status.
    LookUps(u16),
}

/// A handle on the world of a running server.
#[derive(Clone)]
pub(crate) struct Handle(Arc<Mutex<World>>);

impl Handle {
    /// Changes what is served.
    pub(crate) fn set(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.0.lock().expect("no panic inside"));
    }
}

/// Serves `world`.
pub(crate) async fn serve(world: World) -> (RawServer, Handle) {
    let handle = Handle(Arc::new(Mutex::new(world)));
    let served = handle.clone();
    let server = RawServer::start(move |request| answer(&served.0.lock().expect("no panic inside"), request)).await;
    (server, handle)
}

fn answer(world: &World, request: &Request) -> Reply {
    let segments = request.path.trim_start_matches("/api/v1/").split('/');
    let path: Vec<String> = segments.map(decoded).collect();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let one = |all: &[Json], id: &str| {
        let found = all.iter().find(|item| item["id"] == id);
        found.map_or_else(|| Reply::problem(404, &[]), |item| Reply::json(200, item.to_string()))
    };
    match path.as_slice() {
        ["organizations"] => page(&world.organizations, request, &Fault::None),
        ["organizations", id] => one(&world.organizations, id),
        ["users"] => page(&world.accounts, request, &world.fault),
        ["users", id] => match world.fault {
            Fault::LookUps(status) => Reply::problem(status, &[]),
            _ => one(&world.accounts, id),
        },
        ["organizations", id, "users"] => {
            let members: Vec<Json> = world
                .accounts
                .iter()
                .filter(|one| one["organization_id"] == *id)
                .cloned()
                .collect();
            page(&members, request, &world.fault)
        }
        _ => Reply::problem(404, &[]),
    }
}

/// A segment of a path without its percent-encoding.
fn decoded(segment: &str) -> String {
    let pair = format!("={}", segment.replace('+', "%2B"));
    url::form_urlencoded::parse(pair.as_bytes())
        .map(|(_, value)| value.into_owned())
        .collect()
}

fn page(all: &[Json], request: &Request, fault: &Fault) -> Reply {
    let limit: usize = request
        .query
        .get("limit")
        .map_or(1000, |text| text.parse().expect("a number"));
    let from: usize = request.cursor().map_or(0, |text| text.parse().expect("our own"));
    let is_second = from > 0;
    if let Fault::Body(body) = fault {
        return Reply::json(200, body);
    }
    if let (Fault::Status(status), true) = (fault, is_second) {
        return Reply::problem(*status, &[]);
    }
    let first = if *fault == Fault::Repeats && is_second { 0 } else { from };
    let items: Vec<&Json> = all.iter().skip(first).take(limit).collect();
    let until = from + limit;
    let total = all.len() + usize::from(*fault == Fault::WrongTotal);
    let next = match fault {
        Fault::NeverEnds if until >= all.len() => Some(from.to_string()),
        _ => (until < all.len()).then(|| until.to_string()),
    };
    let body = json!({"items": items, "next": next, "total": total, "as_of": "2026-11-21T17:00:00Z"}).to_string();
    if *fault == Fault::Truncated && is_second {
        return Reply::json(200, &body[..body.len() / 2]);
    }
    Reply::json(200, body)
}

/// A firm on the wire.
pub(crate) fn firm(id: &str) -> Json {
    json!({"id": id, "name": format!("Example {id}"), "kind": "vendor", "status": "active", "requested_access": true,
        "founder_id": null, "phone": null, "city": "Sampleville", "updated_at": "2026-11-01T08:00:00Z"})
}

/// An account on the wire.
pub(crate) fn account(id: &str, organization: &str) -> Json {
    json!({"id": id, "organization_id": organization, "email": format!("{id}@{organization}.example"),
        "first_name": "Avery", "last_name": "Sampleton", "phone": "+1 555 0100", "title": null, "roles": ["member"],
        "status": "active", "updated_at": "2026-11-01T08:00:00Z"})
}
