//! The judgement about one entry, its record and its user. Pure and total: whatever comes in, one decision comes out.
//! Never looks at a second row: what needs more than one comes in as a plain fact.

use super::field::{Authorities, Authority, Field, Value};
use super::id::SourceName;
use super::mapping::{Mapped, Mapping};
use super::plan::{Action, Change, FieldChange, Given, Reason};
use super::quarantine::{QuarantineCode, Quarantined};
use super::record::Record;
use super::user::{DisabledBy, Holder, Status, User};

/// What a run knows of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence<'a> {
    /// The directory lists it, as mapped.
    Present(&'a Mapped),
    /// The directory lists it, and it cannot be used.
    Quarantined(&'a Quarantined),
    /// A complete listing lacks it.
    Absent,
}

/// What needed more than one row to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Another user has the entry's address, and would still have it after this run.
    pub holder: Option<Holder>,
    /// Whether an active administrator remains whatever this run does to the others.
    pub administrator_remains: bool,
}

/// One case to judge.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// What the directory says now.
    pub presence: Presence<'a>,
    /// What it said last.
    pub record: Option<&'a Record>,
    /// What we hold: the user that the record links to.
    pub user: Option<&'a User>,
    /// The rest.
    pub facts: &'a Facts,
}

/// Who decides what, for one source.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'a> {
    /// The source.
    pub source: &'a SourceName,
    /// What its directory states.
    pub mapping: &'a Mapping,
    /// Who decides each field.
    pub authorities: &'a Authorities,
    /// Whether a user without a link may be found by address.
    pub correlate_by_email: bool,
}

impl Policy<'_> {
    /// Who decides `field` of this source's users: nobody but the agency, where the directory does not state it.
    ///
    /// A kind or roles that no rule maps are a default of ours, which a new user gets and the agency may change.
    pub fn authority(&self, field: &Field) -> Authority {
        let configured = self.authorities.of(field);
        match (self.mapping.covers(field), self.mapping.rule(field), field) {
            (false, ..) => Authority::Local,
            (true, None, Field::Kind | Field::Roles) => configured.max(Authority::Initial),
            _ => configured,
        }
    }

    /// The fields that a new user gets of what the directory says of it. An entry that has no record, and whose address
    /// nobody has, is a creation with these, whatever it says: of such entries no more need be asked.
    pub fn given(&self) -> Given {
        let is_given = |field: &Field| self.authority(field) != Authority::Local;
        Given::new(self.mapping.fields().filter(is_given).collect())
    }
}

/// What becomes of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing to do, nothing to write.
    Unchanged,
    /// The user stays as it is; what the directory said is to be remembered.
    Remember,
    /// The user changes.
    Change(Box<Change>),
    /// The entry is kept out, and counts as present.
    Quarantine(Quarantined),
}

/// Judges one case.
pub fn decide(case: Case<'_>, policy: &Policy<'_>) -> Decision {
    match (case.presence, case.record, case.user) {
        (Presence::Quarantined(why), ..) => Decision::Quarantine(why.clone()),
        (Presence::Absent, None, _) => Decision::Unchanged,
        // A link without a user: deleted here, and not to come back until somebody lifts it.
        (_, Some(_), None) => Decision::Unchanged,
        (Presence::Absent, Some(record), Some(user)) => absent(record, user, case.facts, policy),
        (Presence::Present(entry), None, _) => newcomer(entry, case.facts, policy),
        (Presence::Present(entry), Some(record), Some(user)) => {
            if user.is_own() {
                return Decision::Quarantine(made_employee());
            }
            if let (Some(holder), Authority::Directory) = (&case.facts.holder, policy.authority(&Field::Email)) {
                return Decision::Quarantine(address_taken(entry, holder, policy));
            }
            update(entry, Some(record), user, case.facts, policy)
        }
    }
}

fn made_employee() -> Quarantined {
    Quarantined::new(
        QuarantineCode::UserIsEmployee,
        "the linked user is an employee or belongs to the agency's own organization now, so no sync touches it; change the user back, or remove the entry from the directory",
    )
}

fn last_administrator() -> Quarantined {
    Quarantined::new(
        QuarantineCode::LastAdministrator,
        "the change would leave no active administrator; make somebody else an administrator first",
    )
}

fn absent(record: &Record, user: &User, facts: &Facts, policy: &Policy<'_>) -> Decision {
    if user.status != Status::Active || user.is_own() {
        return Decision::Unchanged;
    }
    if user.administrator && !facts.administrator_remains {
        return Decision::Quarantine(last_administrator());
    }
    let status = FieldChange {
        before: Value::text("active"),
        after: Value::text("disabled"),
        directory_before: record.values.get(&Field::Status).cloned(),
        // The last run disabled it for the same reason, and somebody enabled it here.
        drift: record.absent,
    };
    Decision::Change(Box::new(Change {
        action: Action::Disable,
        reason: Reason::Absent,
        external_id: record.id.clone(),
        organization: record.organization.clone(),
        user: Some(user.id),
        email: user.email().to_owned(),
        fields: vec![(Field::Status, status)],
        digest: None,
        record_digest: Some(record.digest),
        source: policy.source.clone(),
    }))
}

fn newcomer(entry: &Mapped, facts: &Facts, policy: &Policy<'_>) -> Decision {
    match &facts.holder {
        None => Decision::Change(Box::new(create(entry, policy))),
        Some(holder) => match may_own(entry, holder, policy) {
            Ok(()) => update(entry, None, &holder.user, facts, policy),
            Err(why) => Decision::Quarantine(why),
        },
    }
}

fn create(entry: &Mapped, policy: &Policy<'_>) -> Change {
    let fields = entry
        .values
        .iter()
        .filter(|(field, _)| policy.authority(field) != Authority::Local)
        .map(|(field, value)| {
            let change = FieldChange {
                before: Value::Text(None),
                after: value.clone(),
                directory_before: None,
                drift: false,
            };
            (field.clone(), change)
        })
        .collect();
    Change {
        action: Action::Create,
        reason: Reason::New,
        external_id: entry.id.clone(),
        organization: entry.organization.clone(),
        user: None,
        email: entry.email.as_str().to_owned(),
        fields,
        digest: Some(entry.digest()),
        record_digest: None,
        source: policy.source.clone(),
    }
}

/// Whether an entry without a link may take over the user that has its address.
fn may_own(entry: &Mapped, holder: &Holder, policy: &Policy<'_>) -> Result<(), Quarantined> {
    let free = holder.link.is_none() && holder.ownable_organization && policy.correlate_by_email;
    // Whoever controls an address at one firm is not let into another's.
    let theirs = holder.user.value(&Field::Organization);
    let same_firm = match theirs.as_text() {
        None => true,
        Some(firm) => firm.starts_with("local:") || entry.organization.as_ref().is_some_and(|o| o.as_str() == firm),
    };
    if holder.user.is_own() || holder.user.administrator || !free || !same_firm {
        return Err(address_taken(entry, holder, policy));
    }
    Ok(())
}

fn address_taken(entry: &Mapped, holder: &Holder, policy: &Policy<'_>) -> Quarantined {
    let (address, user) = (&entry.email, holder.user.id);
    if holder.user.is_own() {
        return Quarantined::new(
            QuarantineCode::AddressOfEmployee,
            format!(
                "{address} is the address of an employee (user {user}), whom no directory may take over; correct one of the two addresses"
            ),
        );
    }
    match &holder.link {
        Some((source, id)) if source == policy.source => Quarantined::new(
            QuarantineCode::AddressOfLinkedUser,
            format!(
                "{address} belongs to user {user}, who is linked to another entry ({id}); a used address is not inherited: delete that user to free it"
            ),
        ),
        Some((source, id)) => Quarantined::new(
            QuarantineCode::AddressOfLinkedUser,
            format!(
                "{address} belongs to user {user} of source {source} (entry {id}); one person in two directories needs two addresses, or one of them removed"
            ),
        ),
        None if holder.user.administrator => Quarantined::new(
            QuarantineCode::AddressOfAdministrator,
            format!(
                "{address} is the address of an administrator (user {user}), who is never taken over by address; use another address for one of them"
            ),
        ),
        None => Quarantined::new(
            QuarantineCode::AddressOfOther,
            format!(
                "{address} belongs to user {user}, whom this entry may not take over (it is of another firm, or may not be linked by address); change one of the two addresses"
            ),
        ),
    }
}

/// Compares field by field, by authority; `record` is `None` for a user just found by its address.
fn update(entry: &Mapped, record: Option<&Record>, user: &User, facts: &Facts, policy: &Policy<'_>) -> Decision {
    let fields: Vec<(Field, FieldChange)> = entry
        .values
        .iter()
        .filter(|(field, _)| policy.authority(field) == Authority::Directory)
        .filter_map(|(field, said)| compare(field, said, record, user).map(|change| (field.clone(), change)))
        .collect();
    let becomes_disabled = fields
        .iter()
        .any(|(f, c)| *f == Field::Status && c.after == Value::text("disabled"));
    let becomes_active = fields
        .iter()
        .any(|(f, c)| *f == Field::Status && c.after == Value::text("active"));
    let loses_administration = becomes_disabled || loses_role(&fields, user, policy);
    if user.administrator && user.status == Status::Active && loses_administration && !facts.administrator_remains {
        return Decision::Quarantine(last_administrator());
    }
    let digest = entry.digest();
    if fields.is_empty() {
        let known = record.is_some_and(|r| r.digest == digest && !r.absent);
        return match record {
            Some(_) if known => Decision::Unchanged,
            Some(_) => Decision::Remember,
            None => Decision::Change(Box::new(changed(
                Action::Update,
                Reason::Linked,
                entry,
                record,
                user,
                fields,
                policy,
            ))),
        };
    }
    let action = match (becomes_disabled, becomes_active) {
        (true, _) => Action::Disable,
        (_, true) => Action::Enable,
        _ => Action::Update,
    };
    let reason = match (record, action) {
        (None, _) => Reason::Linked,
        (Some(_), Action::Disable) => Reason::DisabledInDirectory,
        (Some(r), Action::Enable) if r.absent => Reason::Returned,
        (Some(_), Action::Enable) => Reason::EnabledInDirectory,
        _ => Reason::Edited,
    };
    Decision::Change(Box::new(changed(action, reason, entry, record, user, fields, policy)))
}

fn changed(
    action: Action,
    reason: Reason,
    entry: &Mapped,
    record: Option<&Record>,
    user: &User,
    fields: Vec<(Field, FieldChange)>,
    policy: &Policy<'_>,
) -> Change {
    Change {
        action,
        reason,
        external_id: entry.id.clone(),
        organization: entry.organization.clone(),
        user: Some(user.id),
        email: user.email().to_owned(),
        fields,
        digest: Some(entry.digest()),
        record_digest: record.map(|r| r.digest),
        source: policy.source.clone(),
    }
}

fn loses_role(fields: &[(Field, FieldChange)], user: &User, policy: &Policy<'_>) -> bool {
    let administers = |role: &String| policy.mapping.roles().administers(role);
    let Some((_, change)) = fields.iter().find(|(field, _)| *field == Field::Roles) else {
        return false;
    };
    let Value::Set(after) = &change.after else { return false };
    !after.iter().any(administers) && !user.local_roles.iter().any(administers)
}

/// What becomes of one field that the directory decides; `None` where it is right already.
fn compare(field: &Field, said: &Value, record: Option<&Record>, user: &User) -> Option<FieldChange> {
    let (held, wanted) = match field {
        Field::Status => match (user.status, said.as_text()) {
            // Only what the directory disabled may it enable again.
            (Status::Disabled(DisabledBy::Administrator), _) => return None,
            (Status::Active, _) => (Value::text("active"), said.clone()),
            (Status::Disabled(DisabledBy::Directory), _) => (Value::text("disabled"), said.clone()),
        },
        Field::Roles => match said {
            // A role that was granted here stays a grant of ours, so the directory need not grant it again.
            Value::Set(wanted) => (
                user.value(field),
                Value::Set(wanted.difference(&user.local_roles).cloned().collect()),
            ),
            Value::Text(_) => return None,
        },
        _ => (user.value(field), said.clone()),
    };
    if held == wanted {
        return None;
    }
    let directory_before = record.and_then(|r| r.values.get(field)).cloned();
    let expected = match (field, &directory_before) {
        (Field::Status, Some(_)) if record.is_some_and(|r| r.absent) => Some(Value::text("disabled")),
        (Field::Roles, Some(Value::Set(granted))) => {
            Some(Value::Set(granted.difference(&user.local_roles).cloned().collect()))
        }
        (_, other) => other.clone(),
    };
    let drift = expected.is_some_and(|expected| expected != held);
    Some(FieldChange {
        before: held,
        after: wanted,
        directory_before,
        drift,
    })
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
