//! Mapping: each function, each refusal, and the digest.

use regex::Regex;

use super::*;
use crate::domain::entry::OrganizationRef;

fn a(name: &str) -> Arc<str> {
    name.into()
}

fn entry(pairs: &[(&str, &str)]) -> Entry {
    let mut attributes = Attributes::new(&pairs.iter().map(|(name, _)| a(name)).collect());
    for (name, value) in pairs {
        attributes.push(name, value);
    }
    Entry {
        id: ExternalId::parse("e1").expect("id"),
        organization: Some(OrganizationRef {
            id: ExternalId::parse("o1").expect("id"),
            name: None,
        }),
        attributes,
    }
}

fn mapping(extra: Vec<(Field, Rule)>) -> Mapping {
    let mut rules = BTreeMap::from([(Field::Email, Rule::Copy(a("mail")))]);
    rules.extend(extra);
    let roles = RolePolicy {
        table: None,
        default: Some("authenticated user".into()),
        administrative: BTreeSet::from(["Admin".into()]),
        grantable: BTreeSet::new(),
    };
    Mapping::new(rules, roles, "consultant".into(), false)
}

fn mapped(m: &Mapping, pairs: &[(&str, &str)]) -> Result<Mapped, QuarantineCode> {
    let mut all = vec![("mail", "a@x.example")];
    all.extend_from_slice(pairs);
    m.map(&entry(&all), None).map_err(|q| q.code)
}

#[test]
fn each_function_does_what_its_name_says() {
    let table = BTreeMap::from([("c".to_owned(), "Civil".to_owned())]);
    let cases: Vec<(Rule, Option<&str>)> = vec![
        (Rule::Copy(a("x")), Some("A b")),
        (Rule::Lower(a("x")), Some("a b")),
        (Rule::Trim(a("x")), Some("A b")),
        (Rule::FirstOf(vec![a("none"), a("blank"), a("y")]), Some("c")),
        (
            Rule::Lookup {
                attribute: a("y"),
                table: table.clone(),
                default: None,
            },
            Some("Civil"),
        ),
        (
            Rule::Lookup {
                attribute: a("none"),
                table: table.clone(),
                default: None,
            },
            None,
        ),
        (
            Rule::Lookup {
                attribute: a("x"),
                table,
                default: Some("Other".into()),
            },
            Some("Other"),
        ),
        (
            Rule::Capture {
                attribute: a("x"),
                pattern: Regex::new("A +(.)").expect("regex"),
            },
            Some("b"),
        ),
        (
            Rule::Capture {
                attribute: a("x"),
                pattern: Regex::new("Z(.)").expect("regex"),
            },
            None,
        ),
        (
            Rule::Join {
                attributes: vec![a("x"), a("none"), a("y")],
                separator: "/".into(),
            },
            Some("A b/c"),
        ),
        (Rule::Constant("k".into()), Some("k")),
    ];
    for (rule, expected) in cases {
        let m = mapping(vec![(Field::Title, rule.clone())]);
        let got = mapped(&m, &[("x", "  A  b "), ("y", "c"), ("blank", " ")]).expect("mapped");
        let want = expected.map(str::to_owned);
        // Copy and Lower see the raw value, the normalization comes after.
        assert_eq!(got.values.get(&Field::Title), Some(&Value::Text(want)), "{rule:?}");
    }
}

#[test]
fn absent_is_not_false_and_nothing_is_guessed() {
    let m = mapping(vec![(Field::Status, Rule::Copy(a("active")))]);
    assert_eq!(
        mapped(&m, &[]).expect("absent").values.text(&Field::Status),
        Some("active")
    );
    assert_eq!(
        mapped(&m, &[("active", "Disabled")])
            .expect("word")
            .values
            .text(&Field::Status),
        Some("disabled")
    );
    for unreadable in ["N", "0", "", "false", "true", "inactive?"] {
        assert_eq!(
            mapped(&m, &[("active", unreadable)]),
            Err(QuarantineCode::BadStatus),
            "{unreadable:?}"
        );
    }
}

#[test]
fn the_disabled_bit_is_read_as_an_integer() {
    let m = mapping(vec![(
        Field::Status,
        Rule::DisabledBit {
            attribute: a("uac"),
            bit: 2,
        },
    )]);
    let status = |v: &str| mapped(&m, &[("uac", v)]).map(|x| x.values.text(&Field::Status).map(str::to_owned));
    assert_eq!(status("514"), Ok(Some("disabled".into())));
    assert_eq!(status("512"), Ok(Some("active".into())));
    assert_eq!(status("-2147483646"), Ok(Some("disabled".into())));
    assert_eq!(status("x"), Err(QuarantineCode::BadStatus));
    assert_eq!(
        mapped(&m, &[]).expect("absent").values.text(&Field::Status),
        Some("active")
    );
}

#[test]
fn an_administrative_role_is_refused_whatever_its_case() {
    let m = mapping(vec![(Field::Roles, Rule::Copy(a("role")))]);
    let got = mapped(&m, &[("role", "ADMIN"), ("role", "editor")]).expect("mapped");
    assert_eq!(got.values.set(&Field::Roles), BTreeSet::from(["editor".to_owned()]));
    assert_eq!(got.refused_roles, BTreeSet::from(["ADMIN".to_owned()]));
    let nothing = mapped(&m, &[("role", "admin")]).expect("mapped");
    assert_eq!(
        nothing.values.set(&Field::Roles),
        BTreeSet::from(["authenticated user".to_owned()])
    );
}

#[test]
fn kinds_come_from_entry_then_organization_then_default() {
    let m = mapping(vec![(Field::Kind, Rule::Copy(a("k")))]);
    let e = entry(&[("mail", "a@x.example")]);
    let kind = |org: Option<&str>| m.map(&e, org).map(|x| x.values.text(&Field::Kind).map(str::to_owned));
    assert_eq!(kind(Some("bidder")), Ok(Some("bidder".into())));
    assert_eq!(kind(None), Ok(Some("consultant".into())));
    assert_eq!(
        mapped(&m, &[("k", "Vendor")]).expect("kind").values.text(&Field::Kind),
        Some("vendor")
    );
    assert_eq!(mapped(&m, &[("k", "Employee")]), Err(QuarantineCode::EmployeeKind));
    assert_eq!(mapped(&m, &[("k", "a b")]), Err(QuarantineCode::BadValue));
}

#[test]
fn the_digest_sees_every_value_and_the_id() {
    let m = mapping(vec![
        (Field::Title, Rule::Copy(a("t"))),
        (Field::Phone, Rule::Copy(a("p"))),
    ]);
    let base = mapped(&m, &[("t", "x")]).expect("mapped");
    let other_field = mapped(&m, &[("p", "x")]).expect("mapped");
    assert_ne!(base.digest(), other_field.digest());
    assert_eq!(base.digest(), mapped(&m, &[("t", " x ")]).expect("mapped").digest());
    let renamed = Mapped {
        id: ExternalId::parse("e2").expect("id"),
        ..base.clone()
    };
    assert_ne!(base.digest(), renamed.digest());
}

#[test]
fn oversized_attributes_are_quarantined() {
    let m = mapping(vec![(Field::Title, Rule::Copy(a("t")))]);
    assert_eq!(
        mapped(&m, &[("t", &"x".repeat(1_000_000))]),
        Err(QuarantineCode::TooLarge)
    );
}
