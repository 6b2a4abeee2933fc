//! The built-in sample: plainly fictitious firms and people, the same for the same seed. No clock, no file.

use jiff::{SignedDuration, Timestamp};

use super::model::{Account, AccountStatus, Kind, Organization, OrganizationStatus};
use super::store::Data;

/// Fewest accounts of one organization, where there are enough.
const ORGANIZATION_ACCOUNTS_MIN: usize = 5;

/// How much sample to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// How many organizations.
    pub organizations: usize,
    /// How many accounts in all; spread unevenly.
    pub accounts: usize,
    /// Where chance begins.
    pub seed: u64,
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            organizations: 40,
            accounts: 2400,
            seed: 20_261_121,
        }
    }
}

const FIRST_WORDS: [&str; 8] = [
    "Example",
    "Sample",
    "Fictional",
    "Placeholder",
    "Specimen",
    "Pretend",
    "Mockup",
    "Imaginary",
];
const TRADES: [(&str, Kind); 20] = [
    ("Bridge Consulting", Kind::Consultant),
    ("Paving", Kind::Contractor),
    ("Surveying", Kind::Consultant),
    ("Steel Supply", Kind::Vendor),
    ("Earthworks", Kind::Contractor),
    ("Signs & Signals", Kind::Vendor),
    ("Road Builders", Kind::Bidder),
    ("Geotechnics", Kind::Consultant),
    ("Drainage", Kind::Contractor),
    ("Traffic Planning", Kind::Consultant),
    ("Concrete", Kind::Vendor),
    ("Tunnelling", Kind::Bidder),
    ("Landscaping", Kind::Contractor),
    ("Lighting", Kind::Vendor),
    ("Line Marking", Kind::Bidder),
    ("Materials Testing", Kind::Consultant),
    ("Guardrails", Kind::Vendor),
    ("Demolition", Kind::Contractor),
    ("Asphalt", Kind::Bidder),
    ("Environmental Review", Kind::Consultant),
];
const CITIES: [&str; 8] = [
    "Sampleville",
    "Exampleton",
    "Port Placeholder",
    "Mock Springs",
    "Fictional Falls",
    "Testford",
    "Demo Heights",
    "Pretend Hills",
];
const GIVEN_NAMES: [&str; 40] = [
    "Avery", "Jordan", "Riley", "Morgan", "Casey", "Taylor", "Quinn", "Rowan", "Sage", "Emerson", "Finley", "Harper",
    "Kendall", "Logan", "Marley", "Noel", "Parker", "Reese", "Skyler", "Tatum", "Alex", "Blair", "Cameron", "Dakota",
    "Ellis", "Frankie", "Gray", "Hollis", "Indigo", "Jules", "Kit", "Lane", "Micah", "Nico", "Oakley", "Phoenix",
    "Remy", "Shiloh", "Teagan", "Wren",
];
const NAME_BEGINNINGS: [&str; 6] = ["Sample", "Example", "Demo", "Mock", "Specimen", "Pretend"];
const NAME_ENDINGS: [&str; 10] = [
    "ton", "wood", "field", "by", "ford", "man", "ley", "worth", "stone", "brook",
];
const TITLES: [&str; 8] = [
    "Project Engineer",
    "Estimator",
    "Site Supervisor",
    "Office Manager",
    "Surveyor",
    "Bid Coordinator",
    "Inspector",
    "Principal",
];

/// SplitMix64: small, and the same everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).expect("a usize fits 64 bits");
        usize::try_from(self.next() % limit).expect("smaller than a usize")
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

impl Sample {
    /// Makes the data.
    pub fn generate(&self) -> Data {
        let mut chance = Chance(self.seed);
        let sizes = self.sizes(&mut chance);
        let mut organizations = Vec::with_capacity(self.organizations);
        let mut accounts = Vec::with_capacity(self.accounts);
        for (at, size) in sizes.into_iter().enumerate() {
            let first = accounts.len();
            let mut organization = organization(at, &mut chance);
            let domain = domain(&organization.name);
            for number in 0..size {
                accounts.push(account(first + number, number, &organization, &domain, &mut chance));
            }
            organization.founder_id = accounts.get(first).map(|founder: &Account| founder.id.clone());
            organizations.push(organization);
        }
        Data {
            organizations,
            accounts,
        }
    }

    /// How many accounts each organization gets: a few at least, the rest by chance, all together as asked for.
    fn sizes(&self, chance: &mut Chance) -> Vec<usize> {
        if self.organizations == 0 {
            return Vec::new();
        }
        let least = ORGANIZATION_ACCOUNTS_MIN.min(self.accounts / self.organizations);
        let spare = self.accounts - least * self.organizations;
        let weights: Vec<usize> = (0..self.organizations).map(|_| 1 + chance.below(40)).collect();
        let sum: usize = weights.iter().sum();
        let mut sizes: Vec<usize> = weights.iter().map(|weight| least + spare * weight / sum).collect();
        let given: usize = sizes.iter().sum();
        // What rounding left over is less than one for each of them.
        sizes.iter_mut().take(self.accounts - given).for_each(|size| *size += 1);
        sizes
    }
}

fn organization(at: usize, chance: &mut Chance) -> Organization {
    let (trade, kind) = TRADES[at % TRADES.len()];
    let word = FIRST_WORDS[(at + at / TRADES.len()) % FIRST_WORDS.len()];
    let round = at / (TRADES.len() * FIRST_WORDS.len());
    let name = match round {
        0 => format!("{word} {trade}"),
        _ => format!("{word} {trade} {}", round + 1),
    };
    // Few, and always the same ones, so that a demonstration can count on finding them.
    let status = if at % 20 == 17 {
        OrganizationStatus::Closed
    } else {
        OrganizationStatus::Active
    };
    Organization {
        id: format!("org-{:05}", 10_000 + at),
        name,
        kind,
        status,
        requested_access: at % 8 != 5,
        founder_id: None,
        phone: Some(phone(chance)),
        city: Some(chance.pick(&CITIES).to_owned()),
        updated_at: changed(chance),
    }
}

fn account(at: usize, number: usize, of: &Organization, domain: &str, chance: &mut Chance) -> Account {
    let first_name = chance.pick(&GIVEN_NAMES);
    let last_name = format!("{}{}", chance.pick(&NAME_BEGINNINGS), chance.pick(&NAME_ENDINGS));
    let email = format!(
        "{}.{}{}@{domain}",
        first_name.to_lowercase(),
        last_name.to_lowercase(),
        number + 1
    );
    let roles = match (number, chance.below(8)) {
        (0, _) => vec!["member".to_owned(), "organization administrator".to_owned()],
        (_, 0) => vec!["member".to_owned(), "project manager".to_owned()],
        (_, 1 | 2) => vec!["member".to_owned(), "bid submitter".to_owned()],
        _ => vec!["member".to_owned()],
    };
    Account {
        id: format!("acc-{:07}", 1_000_000 + at),
        organization_id: of.id.clone(),
        email,
        first_name: first_name.to_owned(),
        last_name,
        phone: (!chance.one_in(6)).then(|| phone(chance)),
        title: (!chance.one_in(4)).then(|| chance.pick(&TITLES).to_owned()),
        kind: Some(of.kind),
        roles,
        status: if number > 0 && chance.one_in(40) {
            AccountStatus::Disabled
        } else {
            AccountStatus::Active
        },
        updated_at: changed(chance),
    }
}

/// 555-0100 to 555-0199 are kept free for fiction.
fn phone(chance: &mut Chance) -> String {
    format!("+1 {} 555 01{:02}", 201 + chance.below(700), chance.below(100))
}

/// Some moment of the year before the autumn of 2026.
fn changed(chance: &mut Chance) -> Timestamp {
    let year = Timestamp::from_second(1_758_000_000).expect("a moment in 2025");
    let seconds = i64::try_from(chance.below(365 * 24 * 3600)).expect("the seconds of a year");
    year + SignedDuration::from_secs(seconds)
}

fn domain(name: &str) -> String {
    let words: Vec<String> = name
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    format!("{}.example", words.join("-"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_sample_is_whole_and_the_same_each_time() {
        let data = Sample::default().generate();
        assert_eq!(data, Sample::default().generate());
        assert_ne!(
            data,
            Sample {
                seed: 1,
                ..Sample::default()
            }
            .generate()
        );
        assert_eq!((data.organizations.len(), data.accounts.len()), (40, 2400));
        data.check().expect("valid");
        let addresses: BTreeSet<_> = data.accounts.iter().map(|account| &account.email).collect();
        assert_eq!(addresses.len(), data.accounts.len(), "no address twice");
        assert!(data.accounts.iter().all(|account| account.email.ends_with(".example")));
        for organization in &data.organizations {
            let people = data
                .accounts
                .iter()
                .filter(|one| one.organization_id == organization.id)
                .count();
            assert!((5..=200).contains(&people), "{}: {people}", organization.name);
        }
        let asked = data.organizations.iter().filter(|one| one.requested_access).count();
        assert_eq!(asked, 35);
        let closed = data
            .organizations
            .iter()
            .filter(|one| one.status == OrganizationStatus::Closed);
        assert_eq!(closed.count(), 2);
        assert!(
            data.accounts
                .iter()
                .any(|account| account.status == AccountStatus::Disabled)
        );
    }

    #[test]
    fn any_size_can_be_made() {
        for (organizations, accounts) in [(0, 0), (1, 0), (3, 2), (1, 1), (400, 10_007)] {
            let data = Sample {
                organizations,
                accounts,
                seed: 7,
            }
            .generate();
            assert_eq!(
                (data.organizations.len(), data.accounts.len()),
                (organizations, accounts)
            );
            data.check().expect("valid");
            let names: BTreeSet<_> = data.organizations.iter().map(|one| &one.name).collect();
            assert_eq!(names.len(), organizations, "no name twice");
        }
    }
}
