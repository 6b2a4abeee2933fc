//! The people that every measurement is made with: always the same for the same number, for both kinds of directory.
//! Writes them as ConneX pages and as LDIF. Never reads a clock or anything random.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

/// Goes up when anybody's data changes, so that a directory that was filled before is filled again.
pub(crate) const GENERATOR: u32 = 1;

/// Entries of one page, which is also what the program asks for by default.
pub(crate) const PAGE: usize = 1000;

/// How many people share a firm, on average.
const PEOPLE_PER_FIRM: usize = 50;

const GIVEN: [&str; 24] = [
    "Avery", "Blake", "Casey", "Dana", "Ellis", "Frankie", "Gray", "Harper", "Indigo", "Jules", "Kendall", "Logan",
    "Morgan", "Noor", "Oakley", "Parker", "Quinn", "Riley", "Sage", "Taylor", "Uma", "Val", "Winter", "Zion",
];
const FAMILY: [&str; 20] = [
    "Sampleton",
    "Exampleson",
    "Testerman",
    "Placeholder",
    "Mockridge",
    "Dummont",
    "Fixturova",
    "Stubbs",
    "Fakenham",
    "Specimen",
    "Modelli",
    "Protos",
    "Trialworth",
    "Draftley",
    "Patternos",
    "Beispiel",
    "Muster",
    "Ejemplo",
    "Esempio",
    "Voorbeeld",
];
/// Of a few per mille: names whose letters are not all ASCII, composed and not, and those with punctuation.
const ODD_FAMILY: [&str; 4] = ["Müstermann", "O'Example", "Exe\u{0301}mple", "van der Sample-Ñandú"];
const TITLES: [&str; 8] = [
    "Estimator",
    "Project Manager",
    "Surveyor",
    "Civil Engineer",
    "Site Supervisor",
    "Accountant",
    "Inspector",
    "Contract Administrator",
];
const ROLES: [&str; 6] = [
    "member",
    "bidder",
    "project manager",
    "inspector",
    "document reader",
    "timekeeper",
];
const CITIES: [&str; 5] = ["Sampleville", "Exampleton", "Testburg", "Mock City", "Port Placeholder"];
const TRADES: [&str; 6] = [
    "Paving",
    "Surveying",
    "Bridges",
    "Concrete",
    "Engineering, Inc.",
    "Works",
];
const KINDS: [&str; 4] = ["consultant", "bidder", "contractor", "vendor"];

/// What the directory says: as it was first, or after 1 % of the people have another telephone number or title.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Original,
    Changed,
}

impl State {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Original => Self::Changed,
            Self::Changed => Self::Original,
        }
    }
}

/// Somebody, as both kinds of directory state them.
pub(crate) struct Person {
    number: usize,
    given: &'static str,
    family: &'static str,
    pub(crate) email: String,
    phone: Option<String>,
    title: Option<String>,
    roles: Vec<&'static str>,
    disabled: bool,
    firm: usize,
}

/// A number that looks random: the finalizer of SplitMix64.
fn mixed(number: usize, salt: u64) -> u64 {
    let mut x = (number as u64).wrapping_add(salt.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

fn pick<T: Copy>(from: &[T], number: usize, salt: u64) -> T {
    let at = mixed(number, salt) % from.len() as u64;
    from[at as usize]
}

/// How many firms `people` have.
pub(crate) fn firms(people: usize) -> usize {
    (people / PEOPLE_PER_FIRM).max(1)
}

/// Whether this one is of the 1 % that change.
pub(crate) fn changes(number: usize) -> bool {
    number % 100 == 42
}

/// How many of `people` change.
pub(crate) fn changing(people: usize) -> usize {
    (0..people).filter(|number| changes(*number)).count()
}

/// Somebody of `people`.
pub(crate) fn person(number: usize, people: usize, state: State) -> Person {
    let odd = mixed(number, 1) % 1000;
    let (given, family) = match odd {
        0..4 => (pick(&GIVEN, number, 2), ODD_FAMILY[odd as usize]),
        _ => (pick(&GIVEN, number, 2), pick(&FAMILY, number, 3)),
    };
    let firm = (mixed(number, 4) % firms(people) as u64) as usize;
    let local = format!("{}.{number}", given.to_lowercase());
    let email = match odd {
        // Upper case and a tag: an address is the same without regard to case, and a tag is part of it.
        5 => format!("{}+Tag@Firm{firm}.example", local.to_uppercase()),
        _ => format!("{local}@firm{firm}.example"),
    };
    let moved = state == State::Changed && changes(number);
    let line = mixed(number, 5) % 10_000;
    let area = mixed(number, 6) % 800 + 100;
    let phone = match (moved && (number / 100).is_multiple_of(2), odd) {
        (true, _) => Some(format!("+1 {area} 556 {line:04}")),
        (false, 6 | 7) => None,
        (false, _) => Some(format!("+1 {area} 555 {line:04}")),
    };
    let title = match (moved && !(number / 100).is_multiple_of(2), odd) {
        (true, _) => Some(format!("Senior {}", pick(&TITLES, number, 7))),
        (false, 7 | 8) => None,
        (false, _) => Some(pick(&TITLES, number, 7).to_owned()),
    };
    let mut roles = vec![pick(&ROLES, number, 8)];
    if mixed(number, 9).is_multiple_of(5) {
        roles.push("reviewer");
    }
    Person {
        number,
        given,
        family,
        email,
        phone,
        title,
        roles,
        disabled: mixed(number, 10).is_multiple_of(20),
        firm,
    }
}

fn firm_name(firm: usize) -> String {
    format!("Example {} {firm}", pick(&TRADES, firm, 11))
}

impl Person {
    fn json(&self) -> Json {
        json!({
            "id": format!("u-{:08}", self.number),
            "organization_id": format!("o-{:06}", self.firm),
            "email": self.email,
            "first_name": self.given,
            "last_name": self.family,
            "phone": self.phone,
            "title": self.title,
            "kind": pick(&KINDS, self.firm, 12),
            "roles": self.roles,
            "status": if self.disabled { "disabled" } else { "active" },
            "updated_at": "2026-11-01T08:00:00Z",
        })
    }

    /// The distinguished name below `base`.
    fn dn(&self, base: &str) -> String {
        format!("uid=p{:08},{base}", self.number)
    }

    /// The whole entry, for slapadd.
    pub(crate) fn ldif(&self, base: &str, out: &mut String) {
        let (high, low) = (mixed(self.number, 13), mixed(self.number, 14));
        let uuid = uuid::Builder::from_random_bytes(((u128::from(high) << 64) | u128::from(low)).to_be_bytes());
        let kind = if self.disabled { "former" } else { "current" };
        let (given, family, number) = (self.given, self.family, self.number);
        let _ = write!(
            out,
            "dn: {}\nobjectClass: inetOrgPerson\nentryUUID: {}\nuid: p{number:08}\ngivenName: {given}\nsn: {family}\n\
             cn: {given} {family}\nmail: {}\no: {}\nl: {}\nemployeeType: {kind}\nemployeeNumber: {number}\n",
            self.dn(base),
            uuid.into_uuid(),
            self.email,
            firm_name(self.firm),
            pick(&CITIES, self.firm, 15),
        );
        for role in &self.roles {
            let _ = writeln!(out, "businessCategory: {role}");
        }
        for (name, value) in self.changeable() {
            if let Some(value) = value {
                let _ = writeln!(out, "{name}: {value}");
            }
        }
        out.push('\n');
    }

    /// What makes an entry of the other state this one, for ldapmodify.
    pub(crate) fn modification(&self, base: &str, out: &mut String) {
        let _ = write!(out, "dn: {}\nchangetype: modify\n", self.dn(base));
        for (name, value) in self.changeable() {
            let _ = writeln!(out, "replace: {name}");
            if let Some(value) = value {
                let _ = writeln!(out, "{name}: {value}");
            }
            out.push_str("-\n");
        }
        out.push('\n');
    }

    fn changeable(&self) -> [(&'static str, &Option<String>); 2] {
        [("telephoneNumber", &self.phone), ("title", &self.title)]
    }
}

fn pages(count: usize, item: impl Fn(usize) -> Json) -> Vec<String> {
    let starts: Vec<usize> = (0..count).step_by(PAGE).collect();
    let page = |(at, start): (usize, &usize)| {
        let items: Vec<Json> = (*start..count.min(start + PAGE)).map(&item).collect();
        let next = (at + 1 < starts.len()).then(|| (at + 1).to_string());
        json!({"items": items, "next": next, "total": count, "as_of": "2026-11-21T17:00:00Z"}).to_string()
    };
    starts.iter().enumerate().map(page).collect()
}

/// The accounts as the pages of a ConneX-style directory.
pub(crate) fn account_pages(people: usize, state: State) -> Vec<String> {
    pages(people, |number| person(number, people, state).json())
}

/// The firms as the pages of a ConneX-style directory.
pub(crate) fn organization_pages(people: usize) -> Vec<String> {
    pages(firms(people), |firm| {
        json!({
            "id": format!("o-{firm:06}"),
            "name": firm_name(firm),
            "kind": pick(&KINDS, firm, 12),
            "status": "active",
            "requested_access": true,
            "founder_id": null,
            "phone": "+1 555 0100",
            "city": pick(&CITIES, firm, 15),
            "updated_at": "2026-11-01T08:00:00Z",
        })
    })
}
