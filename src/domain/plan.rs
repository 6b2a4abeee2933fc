//! What a run would do: its changes, their order, counts and hash. Never applies anything.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::digest::hash_value;
use super::field::{Field, Value};
use super::id::{Digest, ExternalId, InvalidId, SourceName, UserId};

/// What happens to one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// A user is created.
    Create,
    /// Fields change, or a link is made.
    Update,
    /// The user may no longer sign in. Other fields may change too.
    Disable,
    /// The user may sign in again. Other fields may change too.
    Enable,
    /// The user is deleted.
    Delete,
}

impl Action {
    /// Every action, in the order of display.
    pub const ALL: [Self; 5] = [Self::Create, Self::Update, Self::Enable, Self::Disable, Self::Delete];

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Disable => "disable",
            Self::Enable => "enable",
            Self::Delete => "delete",
        }
    }

    /// The action of a stored word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }
}

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The directory lists somebody new.
    New,
    /// A user without a link was found by its address.
    Linked,
    /// A field differs from what the directory says.
    Edited,
    /// The directory says `disabled`.
    DisabledInDirectory,
    /// The directory says `active` again.
    EnabledInDirectory,
    /// A complete listing lacks the entry.
    Absent,
    /// The entry is listed again.
    Returned,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::New,
        Self::Linked,
        Self::Edited,
        Self::DisabledInDirectory,
        Self::EnabledInDirectory,
        Self::Absent,
        Self::Returned,
    ];

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Linked => "linked",
            Self::Edited => "edited",
            Self::DisabledInDirectory => "disabled_in_directory",
            Self::EnabledInDirectory => "enabled_in_directory",
            Self::Absent => "absent",
            Self::Returned => "returned",
        }
    }

    /// The reason of a stored word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

/// One field of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChange {
    /// What the user has.
    pub before: Value,
    /// What it gets.
    pub after: Value,
    /// What the directory said when we last applied it, if it ever did.
    pub directory_before: Option<Value>,
    /// Whether somebody changed it locally, so that it is being put back.
    pub drift: bool,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What happens.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// The source whose run it is.
    pub source: SourceName,
    /// The entry.
    pub external_id: ExternalId,
    /// The organization under which it is shown and weighed: the entry's, else the record's.
    pub organization: Option<ExternalId>,
    /// The user, where there is one already.
    pub user: Option<UserId>,
    /// The address that the user has, for display.
    pub email: String,
    /// What changes, sorted by field.
    pub fields: Vec<(Field, FieldChange)>,
    /// Digest of the entry; `None` where it is absent.
    pub digest: Option<Digest>,
    /// Digest of the record that was compared; `None` where there was none.
    pub record_digest: Option<Digest>,
}

impl Change {
    /// Whether a field is put back.
    pub fn has_drift(&self) -> bool {
        self.fields.iter().any(|(_, change)| change.drift)
    }

    /// The change of one field.
    pub fn field(&self, field: &Field) -> Option<&FieldChange> {
        self.fields
            .iter()
            .find(|(known, _)| known == field)
            .map(|(_, change)| change)
    }
}

/// How much of each. `update` counts users with a changed field besides the status, and those with drift.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Users created.
    pub create: u64,
    /// Users updated, also where they are disabled or enabled at the same time.
    pub update: u64,
    /// Users disabled.
    pub disable: u64,
    /// Users enabled.
    pub enable: u64,
    /// Users deleted.
    pub delete: u64,
    /// Users whose address changes (also counted in `update`).
    pub email_change: u64,
    /// Users whose directory roles change (also counted in `update`).
    pub role_change: u64,
    /// Users of whom at least one field is put back (also counted in `update`).
    pub drift: u64,
    /// Entries that ask for nothing.
    pub unchanged: u64,
    /// Entries kept out.
    pub quarantine: u64,
}

impl Counts {
    /// Counts one change.
    pub fn add(&mut self, change: &Change) {
        let touches = |field: &Field| change.action != Action::Create && change.field(field).is_some();
        let beyond_status = change.fields.iter().any(|(field, _)| *field != Field::Status);
        match change.action {
            Action::Create => self.create += 1,
            Action::Delete => self.delete += 1,
            Action::Disable => self.disable += 1,
            Action::Enable => self.enable += 1,
            Action::Update => {}
        }
        let updates = change.action == Action::Update
            || (matches!(change.action, Action::Disable | Action::Enable) && (beyond_status || change.has_drift()));
        self.update += u64::from(updates);
        self.drift += u64::from(change.has_drift());
        self.email_change += u64::from(touches(&Field::Email));
        self.role_change += u64::from(touches(&Field::Roles));
    }

    /// Whether anybody's row would change.
    pub fn has_changes(&self) -> bool {
        self.create + self.update + self.disable + self.enable + self.delete > 0
    }
}

/// The SHA-256 of a plan: who releases it names it, so that exactly this plan is applied.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PlanHash([u8; 32]);

impl fmt::Display for PlanHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::str::FromStr for PlanHash {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let wrong = || InvalidId("a plan's hash has 64 hexadecimal digits; `rollcall runs show` prints it".into());
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Debug for PlanHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlanHash({self})")
    }
}

/// The fields that a new user gets of what the directory says of it, sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    fields: Vec<Field>,
    hash: [u8; 32],
}

impl Given {
    /// These fields, in the order of [`Field`].
    pub fn new(fields: Vec<Field>) -> Self {
        let mut hash = Sha256::new();
        for field in &fields {
            hash_value(&mut hash, &Value::text(field.to_string()));
        }
        let hash = hash.finalize().into();
        Self { fields, hash }
    }

    /// The fields.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }
}

/// The SHA-256 of one change: everything in it but the id that is given to a new user.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangeDigest([u8; 32]);

impl fmt::Debug for ChangeDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChangeDigest({})", PlanHash(self.0))
    }
}

impl ChangeDigest {
    /// The digest of a change.
    pub fn of(change: &Change) -> Self {
        if let (Action::Create, Some(entry)) = (change.action, change.digest) {
            let fields = change.fields.iter().map(|(field, _)| field.clone());
            return Self::of_creation(entry, &Given::new(fields.collect()));
        }
        let mut hash = Sha256::new();
        hash.update([Action::ALL.iter().position(|a| *a == change.action).unwrap_or(0) as u8]);
        for text in [
            Some(change.external_id.as_str()),
            change.organization.as_ref().map(ExternalId::as_str),
        ] {
            hash_value(&mut hash, &Value::Text(text.map(str::to_owned)));
        }
        hash.update(change.user.map(|u| u.0.into_bytes()).unwrap_or_default());
        hash.update(change.digest.map(|d| d.0).unwrap_or_default().to_be_bytes());
        hash.update(change.record_digest.map(|d| d.0).unwrap_or_default().to_be_bytes());
        for (field, step) in &change.fields {
            hash_value(&mut hash, &Value::text(field.to_string()));
            hash_value(&mut hash, &step.before);
            hash_value(&mut hash, &step.after);
            hash.update([u8::from(step.drift)]);
        }
        hash.update([0xff]);
        Self(hash.finalize().into())
    }

    /// The digest of a creation. The digest of its entry covers the id, the organization and every value, so all that
    /// is left to say is which of them are given.
    pub fn of_creation(entry: Digest, given: &Given) -> Self {
        let mut bytes = [0xfc; 49];
        bytes[1..17].copy_from_slice(&entry.0.to_be_bytes());
        bytes[17..].copy_from_slice(&given.hash);
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of an entry that is only to be remembered.
    pub fn remembered(entry: Digest) -> Self {
        let mut hash = Sha256::new();
        hash.update([0xfe]);
        hash.update(entry.0.to_be_bytes());
        Self(hash.finalize().into())
    }
}

/// Hashes a plan: its organizations in the order of their ids, then the digests of its changes, sorted.
///
/// So the hash is that of a set: changes may come in any order, and none of them need be held, only 32 bytes of each.
/// Ids that are given to new users are not in it: the same directory and the same table give the same hash.
#[derive(Debug, Default)]
pub struct PlanHasher {
    organizations: Sha256,
    changes: Vec<ChangeDigest>,
}

impl PlanHasher {
    /// A hasher that has taken these changes already.
    pub fn with_changes(changes: Vec<ChangeDigest>) -> Self {
        Self {
            organizations: Sha256::new(),
            changes,
        }
    }

    /// Takes an organization that is new or changes, in the order of their ids. `said` is what it becomes, written in
    /// one way only.
    pub fn add_organization(&mut self, id: &ExternalId, said: &str) {
        self.organizations.update([0xfd]);
        hash_value(&mut self.organizations, &Value::text(id.as_str()));
        hash_value(&mut self.organizations, &Value::text(said));
    }

    /// Takes one change.
    pub fn add(&mut self, change: ChangeDigest) {
        self.changes.push(change);
    }

    /// The hash of all that was taken.
    pub fn finish(mut self) -> PlanHash {
        self.changes.sort_unstable();
        let mut hash = self.organizations;
        for change in &self.changes {
            hash.update(change.0);
        }
        PlanHash(hash.finalize().into())
    }
}
