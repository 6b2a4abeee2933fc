//! What the sample directory holds: organizations and accounts, as they stand on the wire and in the data file, and
//! what each of them may contain. Pure.

use std::fmt::Display;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest id, in characters; the protocol says so.
pub const ID_CHARACTERS_MAX: usize = 64;
/// Longest text of any field, in characters.
pub const TEXT_CHARACTERS_MAX: usize = 254;
/// Most roles of one account.
pub const ROLES_MAX: usize = 50;

/// What a firm, or a person of it, is to the agency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Plans and advises.
    Consultant,
    /// Bids for work.
    Bidder,
    /// Builds.
    Contractor,
    /// Sells.
    Vendor,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Consultant, Self::Bidder, Self::Contractor, Self::Vendor];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Consultant => "consultant",
            Self::Bidder => "bidder",
            Self::Contractor => "contractor",
            Self::Vendor => "vendor",
        }
    }
}

/// Whether a firm is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrganizationStatus {
    /// It is.
    #[default]
    Active,
    /// It has closed.
    Closed,
}

/// Whether a person may sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccountStatus {
    /// May.
    #[default]
    Active,
    /// May not.
    Disabled,
}

/// One firm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Organization {
    /// Opaque, up to [`ID_CHARACTERS_MAX`] characters.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// Whether it is still there.
    #[serde(default)]
    pub status: OrganizationStatus,
    /// Whether it asked the agency for access.
    pub requested_access: bool,
    /// The account that created it.
    #[serde(default)]
    pub founder_id: Option<String>,
    /// Its telephone number.
    #[serde(default)]
    pub phone: Option<String>,
    /// Where it is.
    #[serde(default)]
    pub city: Option<String>,
    /// When it was last changed; in a data file it may be left out.
    #[serde(default, serialize_with = "write_time", deserialize_with = "read_time")]
    pub updated_at: Timestamp,
}

/// One person of a firm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Opaque, up to [`ID_CHARACTERS_MAX`] characters.
    pub id: String,
    /// The firm.
    pub organization_id: String,
    /// The sign-in name.
    pub email: String,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
    /// Telephone number.
    #[serde(default)]
    pub phone: Option<String>,
    /// What it says on the card.
    #[serde(default)]
    pub title: Option<String>,
    /// As the organization's, where it is stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// What the person may do.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Whether the person may sign in.
    #[serde(default)]
    pub status: AccountStatus,
    /// When it was last changed; in a data file it may be left out.
    #[serde(default, serialize_with = "write_time", deserialize_with = "read_time")]
    pub updated_at: Timestamp,
}

impl Organization {
    /// Says what is wrong with it, in words that complete "the organization …".
    pub fn check(&self) -> Result<(), String> {
        check_id(&self.id)?;
        check_text("name", &self.name, true)?;
        check_text("phone", self.phone.as_deref().unwrap_or_default(), false)?;
        check_text("city", self.city.as_deref().unwrap_or_default(), false)
    }
}

impl Account {
    /// Says what is wrong with it, in words that complete "the account …".
    pub fn check(&self) -> Result<(), String> {
        check_id(&self.id)?;
        check_text("email", &self.email, true)?;
        let parts = self.email.split_once('@');
        if !parts.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty()) {
            return Err("has an `email` that is no address: write it as name@firm.example".into());
        }
        check_text("first_name", &self.first_name, true)?;
        check_text("last_name", &self.last_name, true)?;
        check_text("phone", self.phone.as_deref().unwrap_or_default(), false)?;
        check_text("title", self.title.as_deref().unwrap_or_default(), false)?;
        if self.roles.len() > ROLES_MAX {
            return Err(format!("has more than {ROLES_MAX} `roles`: remove some"));
        }
        self.roles.iter().try_for_each(|role| check_text("roles", role, true))
    }
}

/// Says why a text can be no id.
pub(super) fn check_id(id: &str) -> Result<(), String> {
    if id.is_empty() || id.chars().count() > ID_CHARACTERS_MAX || id.chars().any(char::is_control) {
        return Err(format!(
            "has an `id` that cannot be one: use 1 to {ID_CHARACTERS_MAX} printable characters"
        ));
    }
    Ok(())
}

fn check_text(name: &str, text: &str, required: bool) -> Result<(), String> {
    if required && text.trim().is_empty() {
        return Err(format!("has no `{name}`: fill it in"));
    }
    if text.chars().count() > TEXT_CHARACTERS_MAX {
        return Err(format!(
            "has a `{name}` of more than {TEXT_CHARACTERS_MAX} characters: shorten it"
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("has a control character in its `{name}`: remove it"));
    }
    Ok(())
}

fn write_time<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(time)
}

fn read_time<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    fn wrong<E: serde::de::Error>(error: impl Display) -> E {
        E::custom(format!("`updated_at` is no time as 2026-11-21T17:00:00Z ({error})"))
    }
    String::deserialize(from)?.parse().map_err(wrong)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::cli::directory) fn account(id: &str, organization: &str) -> Account {
        Account {
            id: id.into(),
            organization_id: organization.into(),
            email: format!("{id}@paving.example"),
            first_name: "Avery".into(),
            last_name: "Sampleton".into(),
            phone: None,
            title: None,
            kind: None,
            roles: vec!["member".into()],
            status: AccountStatus::Active,
            updated_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn accounts_are_checked_field_by_field() {
        let check = |change: fn(&mut Account)| {
            let mut account = account("u-1", "o-1");
            change(&mut account);
            account.check()
        };
        assert_eq!(check(|_| ()), Ok(()));
        assert_eq!(check(|account| account.last_name = "<script>".into()), Ok(()));
        for (change, said) in [
            ((|account| account.id = String::new()) as fn(&mut Account), "`id`"),
            (|account| account.id = "x".repeat(65), "`id`"),
            (|account| account.email = "nobody".into(), "`email`"),
            (|account| account.email = "@x".into(), "`email`"),
            (|account| account.first_name = "  ".into(), "`first_name`"),
            (|account| account.title = Some("a\nb".into()), "`title`"),
            (|account| account.phone = Some("5".repeat(255)), "`phone`"),
            (|account| account.roles = vec!["x".into(); ROLES_MAX + 1], "`roles`"),
        ] {
            let refusal = check(change).expect_err(said);
            assert!(refusal.contains(said), "{refusal}");
        }
    }

    #[test]
    fn times_and_absent_kinds_stand_on_the_wire_as_the_protocol_says() {
        let json = serde_json::to_string(&account("u-1", "o-1")).expect("JSON");
        assert!(json.contains(r#""updated_at":"1970-01-01T00:00:00Z""#), "{json}");
        assert!(json.contains(r#""phone":null"#) && !json.contains("kind"), "{json}");
        assert_eq!(
            serde_json::from_str::<Account>(&json).expect("read back"),
            account("u-1", "o-1")
        );
    }
}
