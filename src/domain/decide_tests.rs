//! `decide` as a table, case by case, and as properties over random cases.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::domain::entry::{Attributes, Entry, OrganizationRef};
use crate::domain::field::Values;
use crate::domain::id::{ExternalId, UserId};
use crate::domain::plan::ChangeDigest;
use crate::domain::roles::RolePolicy;
use crate::domain::rule::Rule;

struct World {
    source: SourceName,
    mapping: Mapping,
    authorities: Authorities,
}

impl World {
    fn new() -> Self {
        let rules = BTreeMap::from([
            (Field::Email, Rule::Copy("mail".into())),
            (Field::Phone, Rule::Copy("phone".into())),
            (Field::Title, Rule::Copy("title".into())),
            (Field::License, Rule::Copy("license".into())),
            (Field::Status, Rule::Copy("status".into())),
            (Field::Roles, Rule::Copy("role".into())),
        ]);
        let roles = RolePolicy {
            administrative: BTreeSet::from(["Admin".to_owned()]),
            grantable: BTreeSet::from(["Admin".to_owned()]),
            ..RolePolicy::default()
        };
        let mut authorities = Authorities::default();
        authorities.set(Field::Title, Authority::Initial);
        Self {
            source: SourceName::parse("s").expect("name"),
            mapping: Mapping::new(rules, roles, "consultant".into(), false),
            authorities,
        }
    }

    fn policy(&self) -> Policy<'_> {
        Policy {
            source: &self.source,
            mapping: &self.mapping,
            authorities: &self.authorities,
            correlate_by_email: true,
        }
    }

    fn entry(&self, pairs: &[(&str, &str)]) -> Mapped {
        let names = pairs.iter().map(|(key, _)| *key).chain(["mail"]).map(Into::into);
        let mut attributes = Attributes::new(&names.collect());
        if !pairs.iter().any(|(k, _)| *k == "mail") {
            attributes.push("mail", "a@x.example");
        }
        for (key, value) in pairs {
            attributes.push(key, value);
        }
        let organization = Some(OrganizationRef {
            id: id("o1"),
            name: None,
        });
        self.mapping
            .map(
                &Entry {
                    id: id("e1"),
                    organization,
                    attributes,
                },
                None,
            )
            .expect("mapped")
    }

    fn record(&self, entry: &Mapped) -> Record {
        Record {
            id: entry.id.clone(),
            user: UserId(Uuid::nil()),
            organization: entry.organization.clone(),
            digest: entry.digest(),
            values: entry.values.clone(),
            absent: false,
        }
    }

    /// The user that an entry leaves behind when it is created.
    fn user(&self, entry: &Mapped) -> User {
        let kept = entry
            .values
            .iter()
            .filter(|(f, _)| self.policy().authority(f) != Authority::Local);
        let values: Vec<_> = kept.map(|(f, v)| (f.clone(), v.clone())).collect();
        let administrator = entry.values.set(&Field::Roles).contains("Admin");
        let status = match entry.values.text(&Field::Status) {
            Some("disabled") => Status::Disabled(DisabledBy::Directory),
            _ => Status::Active,
        };
        User {
            id: UserId(Uuid::nil()),
            values: Values::new(values),
            status,
            local_roles: BTreeSet::new(),
            of_self: false,
            administrator,
        }
    }

    fn decide(&self, presence: Presence<'_>, record: Option<&Record>, user: Option<&User>) -> Decision {
        decide(
            Case {
                presence,
                record,
                user,
                facts: &remains(),
            },
            &self.policy(),
        )
    }
}

fn id(text: &str) -> ExternalId {
    ExternalId::parse(text).expect("id")
}

fn remains() -> Facts {
    Facts {
        holder: None,
        administrator_remains: true,
    }
}

fn with(user: &User, field: Field, value: Value) -> User {
    let mut values: Vec<_> = user.values.iter().map(|(f, v)| (f.clone(), v.clone())).collect();
    values.push((field, value));
    User {
        values: Values::new(values),
        ..user.clone()
    }
}

fn change(decision: Decision) -> Change {
    match decision {
        Decision::Change(change) => *change,
        other => panic!("a change was expected: {other:?}"),
    }
}

fn code(decision: Decision) -> QuarantineCode {
    match decision {
        Decision::Quarantine(why) => why.code,
        other => panic!("a quarantine was expected: {other:?}"),
    }
}

#[test]
fn the_same_again_is_unchanged() {
    let w = World::new();
    let e = w.entry(&[("phone", "1"), ("title", "t"), ("license", "L"), ("role", "editor")]);
    assert_eq!(
        w.decide(Presence::Present(&e), Some(&w.record(&e)), Some(&w.user(&e))),
        Decision::Unchanged
    );
}

#[test]
fn a_newcomer_gets_everything_but_what_is_local() {
    let w = World::new();
    let e = w.entry(&[("phone", "1"), ("title", "t"), ("license", "L")]);
    let c = change(w.decide(Presence::Present(&e), None, None));
    assert_eq!((c.action, c.reason), (Action::Create, Reason::New));
    assert!(c.field(&Field::Title).is_some() && c.field(&Field::License).is_none());
}

#[test]
fn a_change_of_any_part_changes_its_digest() {
    let w = World::new();
    let e = w.entry(&[("phone", "1")]);
    let c = change(w.decide(Presence::Present(&e), None, None));
    let (mut less, mut other, mut update) = (c.clone(), c.clone(), c.clone());
    less.fields.pop();
    other.digest = Some(w.entry(&[("phone", "2")]).digest());
    update.action = Action::Update;
    let digests: BTreeSet<ChangeDigest> = [c, less, other, update].iter().map(ChangeDigest::of).collect();
    assert_eq!(digests.len(), 4);
}

#[test]
fn local_edits_are_put_back_by_authority() {
    let w = World::new();
    let e = w.entry(&[("phone", "1"), ("title", "t"), ("license", "L")]);
    let (r, u) = (w.record(&e), w.user(&e));
    for (field, is_put_back) in [(Field::Phone, true), (Field::Title, false), (Field::License, false)] {
        let edited = with(&u, field.clone(), Value::text("edited"));
        match w.decide(Presence::Present(&e), Some(&r), Some(&edited)) {
            Decision::Change(c) if is_put_back => {
                let step = c.field(&field).expect("the field");
                assert!(step.drift && c.has_drift());
                assert_eq!(
                    (step.before.as_text(), step.after.as_text()),
                    (Some("edited"), Some("1"))
                );
            }
            Decision::Unchanged if !is_put_back => {}
            other => panic!("{field}: {other:?}"),
        }
    }
}

#[test]
fn a_default_of_ours_is_given_once() {
    let w = World::new();
    let e = w.entry(&[]);
    let other_kind = with(&w.user(&e), Field::Kind, Value::text("vendor"));
    assert_eq!(
        w.decide(Presence::Present(&e), Some(&w.record(&e)), Some(&other_kind)),
        Decision::Unchanged
    );
}

#[test]
fn three_ways_are_told_apart() {
    let w = World::new();
    let old = w.entry(&[("phone", "1")]);
    let new = w.entry(&[("phone", "2")]);
    let (r, u) = (w.record(&old), w.user(&old));
    let step = |d: Decision| change(d).field(&Field::Phone).cloned().expect("phone");
    assert!(
        !step(w.decide(Presence::Present(&new), Some(&r), Some(&u))).drift,
        "the directory changed it"
    );
    let edited = with(&u, Field::Phone, Value::text("3"));
    let both = step(w.decide(Presence::Present(&new), Some(&r), Some(&edited)));
    assert!(
        both.drift && both.after == Value::text("2"),
        "both changed it: the directory wins"
    );
    let ahead = with(&u, Field::Phone, Value::text("2"));
    assert_eq!(
        w.decide(Presence::Present(&new), Some(&r), Some(&ahead)),
        Decision::Remember,
        "the edit was what came"
    );
}

#[test]
fn we_remember_why_a_user_is_disabled() {
    let w = World::new();
    let (on, off) = (w.entry(&[]), w.entry(&[("status", "disabled")]));
    let (r, u) = (w.record(&on), w.user(&on));
    let by_admin = User {
        status: Status::Disabled(DisabledBy::Administrator),
        ..u.clone()
    };
    let by_directory = User {
        status: Status::Disabled(DisabledBy::Directory),
        ..u.clone()
    };
    assert_eq!(
        change(w.decide(Presence::Present(&off), Some(&r), Some(&u))).action,
        Action::Disable
    );
    assert_eq!(
        w.decide(Presence::Present(&on), Some(&r), Some(&by_admin)),
        Decision::Unchanged
    );
    let c = change(w.decide(Presence::Present(&on), Some(&r), Some(&by_directory)));
    assert_eq!((c.action, c.reason), (Action::Enable, Reason::EnabledInDirectory));
    let absent = Record {
        absent: true,
        ..r.clone()
    };
    let c = change(w.decide(Presence::Present(&on), Some(&absent), Some(&by_directory)));
    assert_eq!((c.action, c.reason), (Action::Enable, Reason::Returned));
}

#[test]
fn absence_disables_once_and_puts_back() {
    let w = World::new();
    let e = w.entry(&[]);
    let (r, u) = (w.record(&e), w.user(&e));
    let c = change(w.decide(Presence::Absent, Some(&r), Some(&u)));
    assert_eq!(
        (c.action, c.reason, c.has_drift()),
        (Action::Disable, Reason::Absent, false)
    );
    let gone = Record {
        absent: true,
        ..r.clone()
    };
    assert!(
        change(w.decide(Presence::Absent, Some(&gone), Some(&u))).has_drift(),
        "somebody enabled it here"
    );
    let disabled = User {
        status: Status::Disabled(DisabledBy::Directory),
        ..u
    };
    assert_eq!(
        w.decide(Presence::Absent, Some(&gone), Some(&disabled)),
        Decision::Unchanged
    );
    assert_eq!(w.decide(Presence::Absent, Some(&r), None), Decision::Unchanged);
}

#[test]
fn employees_are_never_touched() {
    let w = World::new();
    let e = w.entry(&[("phone", "2"), ("status", "disabled")]);
    let (r, u) = (w.record(&w.entry(&[("phone", "1")])), w.user(&w.entry(&[])));
    let employee = with(&u, Field::Kind, Value::text("employee"));
    let of_self = User { of_self: true, ..u };
    for own in [employee, of_self] {
        assert_eq!(
            code(w.decide(Presence::Present(&e), Some(&r), Some(&own))),
            QuarantineCode::UserIsEmployee
        );
        assert_eq!(w.decide(Presence::Absent, Some(&r), Some(&own)), Decision::Unchanged);
    }
}

#[test]
fn an_address_is_taken_over_only_from_whom_this_source_may_own() {
    let w = World::new();
    let e = w.entry(&[("phone", "1")]);
    let free = w.user(&e);
    let other = SourceName::parse("other").expect("name");
    type Held = (User, Option<(SourceName, ExternalId)>, bool, Option<QuarantineCode>);
    let of = |firm: &str| with(&free, Field::Organization, Value::text(firm));
    let cases: [Held; 10] = [
        (free.clone(), None, true, None),
        (of("o1"), None, true, None),
        (of("local:1"), None, true, None),
        (of("o2"), None, true, Some(QuarantineCode::AddressOfOther)),
        (
            with(&free, Field::Kind, Value::text("employee")),
            None,
            true,
            Some(QuarantineCode::AddressOfEmployee),
        ),
        (
            User {
                of_self: true,
                ..free.clone()
            },
            None,
            false,
            Some(QuarantineCode::AddressOfEmployee),
        ),
        (
            User {
                administrator: true,
                ..free.clone()
            },
            None,
            true,
            Some(QuarantineCode::AddressOfAdministrator),
        ),
        (
            free.clone(),
            Some((w.source.clone(), id("e2"))),
            true,
            Some(QuarantineCode::AddressOfLinkedUser),
        ),
        (
            free.clone(),
            Some((other, id("e1"))),
            true,
            Some(QuarantineCode::AddressOfLinkedUser),
        ),
        (free.clone(), None, false, Some(QuarantineCode::AddressOfOther)),
    ];
    for (user, link, ownable_organization, refused) in cases {
        let facts = Facts {
            holder: Some(Holder {
                user,
                link,
                ownable_organization,
            }),
            administrator_remains: true,
        };
        let case = Case {
            presence: Presence::Present(&e),
            record: None,
            user: None,
            facts: &facts,
        };
        match (decide(case, &w.policy()), refused) {
            (Decision::Change(c), None) => assert_eq!((c.action, c.reason), (Action::Update, Reason::Linked)),
            (Decision::Quarantine(why), Some(expected)) => assert_eq!(why.code, expected),
            (got, expected) => panic!("{expected:?}: {got:?}"),
        }
        // Whoever has the address, an entry with a link of its own never takes it.
        let (r, u) = (w.record(&e), w.user(&e));
        let linked = Case {
            presence: Presence::Present(&e),
            record: Some(&r),
            user: Some(&u),
            facts: &facts,
        };
        assert!(matches!(decide(linked, &w.policy()), Decision::Quarantine(_)));
    }
}

#[test]
fn the_last_administrator_stays() {
    let w = World::new();
    let admin = w.entry(&[("role", "Admin")]);
    let (r, u) = (w.record(&admin), w.user(&admin));
    let (off, plain) = (w.entry(&[("role", "Admin"), ("status", "disabled")]), w.entry(&[]));
    let alone = Facts {
        holder: None,
        administrator_remains: false,
    };
    for presence in [Presence::Absent, Presence::Present(&off), Presence::Present(&plain)] {
        let judge = |facts| {
            decide(
                Case {
                    presence,
                    record: Some(&r),
                    user: Some(&u),
                    facts,
                },
                &w.policy(),
            )
        };
        assert_eq!(code(judge(&alone)), QuarantineCode::LastAdministrator, "{presence:?}");
        assert!(matches!(judge(&remains()), Decision::Change(_)), "{presence:?}");
    }
}

#[test]
fn a_deleted_user_does_not_come_back() {
    let w = World::new();
    let e = w.entry(&[]);
    assert_eq!(
        w.decide(Presence::Present(&e), Some(&w.record(&e)), None),
        Decision::Unchanged
    );
    let changed = w.entry(&[("phone", "2")]);
    assert_eq!(
        w.decide(Presence::Present(&changed), Some(&w.record(&e)), None),
        Decision::Unchanged
    );
}

#[test]
fn a_local_grant_stays_a_local_grant() {
    let w = World::new();
    let e = w.entry(&[("role", "editor"), ("role", "viewer")]);
    let (r, u) = (w.record(&e), w.user(&e));
    let granted_here = with(
        &User {
            local_roles: BTreeSet::from(["editor".into()]),
            ..u
        },
        Field::Roles,
        Value::Set(BTreeSet::from(["viewer".into()])),
    );
    assert_eq!(
        w.decide(Presence::Present(&e), Some(&r), Some(&granted_here)),
        Decision::Unchanged
    );
    let without = w.entry(&[("role", "viewer")]);
    assert_eq!(
        w.decide(Presence::Present(&without), Some(&r), Some(&granted_here)),
        Decision::Remember
    );
}

/// Applies a change to a user, as the store does.
fn apply(change: &Change, user: &User) -> User {
    let mut next = user.clone();
    for (field, step) in &change.fields {
        next = with(&next, field.clone(), step.after.clone());
        if *field == Field::Status {
            next.status = if step.after == Value::text("active") {
                Status::Active
            } else {
                Status::Disabled(DisabledBy::Directory)
            };
        }
    }
    next
}

fn text() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["1", "2", "3"]).prop_map(str::to_owned)
}

fn said() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let status = prop::sample::select(vec!["active", "disabled"]).prop_map(str::to_owned);
    let roles = prop::collection::vec(
        prop::sample::select(vec!["editor", "viewer"]).prop_map(str::to_owned),
        0..3,
    );
    (prop::option::of(text()), prop::option::of(text()), status, roles).prop_map(|(phone, title, status, roles)| {
        let mut pairs = vec![("status", status)];
        pairs.extend(phone.map(|p| ("phone", p)));
        pairs.extend(title.map(|t| ("title", t)));
        pairs.extend(roles.into_iter().map(|r| ("role", r)));
        pairs
    })
}

fn mapped(w: &World, pairs: &[(&'static str, String)]) -> Mapped {
    w.entry(&pairs.iter().map(|(k, v)| (*k, v.as_str())).collect::<Vec<_>>())
}

proptest! {
    /// Whatever an entry without a record says: it is created, with the fields that are given to all of them.
    #[test]
    fn newcomers_are_created_alike(now in said()) {
        let w = World::new();
        let entry = mapped(&w, &now);
        let c = change(w.decide(Presence::Present(&entry), None, None));
        let given = w.policy().given();
        prop_assert_eq!(c.action, Action::Create);
        prop_assert_eq!(c.fields.iter().map(|(field, _)| field.clone()).collect::<Vec<_>>(), given.fields());
        prop_assert_eq!(&c.organization, &entry.organization);
        prop_assert_eq!(ChangeDigest::of(&c), ChangeDigest::of_creation(entry.digest(), &given));
    }

    /// Whatever the directory said, says now, and somebody edited: after one application every directory field is as
    /// it says (unless an administrator disabled the user), local fields are as they were, and there is nothing left.
    #[test]
    fn one_application_converges(before in said(), now in said(), phone in prop::option::of(text()), license in text(), disabled in 0..3_u8) {
        let w = World::new();
        let (old, new) = (mapped(&w, &before), mapped(&w, &now));
        let record = w.record(&old);
        let mut user = with(&w.user(&old), Field::License, Value::text(license.clone()));
        if let Some(phone) = phone {
            user = with(&user, Field::Phone, Value::text(phone));
        }
        user.status = match disabled {
            0 => user.status,
            1 => Status::Disabled(DisabledBy::Administrator),
            _ => Status::Active,
        };
        let title = user.value(&Field::Title);
        let after = match w.decide(Presence::Present(&new), Some(&record), Some(&user)) {
            Decision::Change(c) => apply(&c, &user),
            Decision::Unchanged | Decision::Remember => user.clone(),
            Decision::Quarantine(why) => panic!("{why}"),
        };
        prop_assert_eq!(after.value(&Field::Phone), new.values.get(&Field::Phone).cloned().expect("mapped"));
        prop_assert_eq!(after.value(&Field::Roles), new.values.get(&Field::Roles).cloned().expect("mapped"));
        prop_assert_eq!(after.value(&Field::License), Value::text(license));
        prop_assert_eq!(after.value(&Field::Title), title);
        if user.status == Status::Disabled(DisabledBy::Administrator) {
            prop_assert_eq!(after.status, user.status);
        } else {
            let active = new.values.text(&Field::Status) == Some("active");
            prop_assert_eq!(after.status == Status::Active, active);
        }
        prop_assert_eq!(w.decide(Presence::Present(&new), Some(&w.record(&new)), Some(&after)), Decision::Unchanged);
    }
}
