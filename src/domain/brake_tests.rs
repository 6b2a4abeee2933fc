//! Brakes at the edges of every limit.

use super::*;

fn limit() -> Limit {
    Limit {
        share: 0.10,
        count: 100,
        floor: 5,
    }
}

fn brakes() -> Brakes {
    let open = Limit {
        share: 1.0,
        count: u64::MAX,
        floor: u64::MAX,
    };
    Brakes {
        disable: limit(),
        create: open,
        email_change: open,
        role_change: open,
        window_hours: 24,
        hold_empty: true,
        hold_first_run: false,
    }
}

fn run_of(base: u64, disable: u64, earlier: u64) -> Vec<Hold> {
    let counts = |disable| Counts {
        disable,
        ..Counts::default()
    };
    let scope = Weighed {
        organization: None,
        base,
        now: counts(disable),
        earlier: counts(earlier),
    };
    brake(
        &brakes(),
        Circumstances {
            entries: base,
            first_run: false,
            new_organization: false,
        },
        &[scope],
    )
}

#[test]
fn share_count_and_floor_meet_where_they_should() {
    for (base, passes) in [
        (0, 5),
        (3, 5),
        (49, 5),
        (50, 5),
        (59, 5),
        (60, 6),
        (999, 99),
        (1_000, 100),
        (1_001, 100),
        (1_000_000, 100),
    ] {
        assert_eq!(limit().of(base), passes, "base {base}");
        assert!(
            run_of(base, passes - 1, 0).is_empty() && run_of(base, passes, 0).is_empty(),
            "base {base}"
        );
        let holds = run_of(base, passes + 1, 0);
        assert_eq!(holds.len(), 1, "base {base}");
        assert_eq!(
            (holds[0].name, holds[0].value, holds[0].limit),
            (BrakeName::Disable, passes + 1, passes)
        );
    }
}

#[test]
fn what_earlier_runs_did_counts_while_it_goes_on() {
    assert!(run_of(1_000, 10, 90).is_empty());
    assert_eq!(run_of(1_000, 11, 90)[0].value, 101);
    assert!(
        run_of(1_000, 0, 500).is_empty(),
        "nothing now, so there is nothing to stop"
    );
}

#[test]
fn an_organization_is_weighed_by_itself() {
    let counts = Counts {
        disable: 6,
        ..Counts::default()
    };
    let organization = ExternalId::parse("o1").expect("id");
    let scopes = [
        Weighed {
            organization: None,
            base: 10_000,
            now: counts,
            earlier: Counts::default(),
        },
        Weighed {
            organization: Some(organization.clone()),
            base: 10,
            now: counts,
            earlier: Counts::default(),
        },
    ];
    let holds = brake(
        &brakes(),
        Circumstances {
            entries: 9_994,
            first_run: false,
            new_organization: false,
        },
        &scopes,
    );
    assert_eq!(holds.len(), 1);
    assert_eq!(holds[0].organization, Some(organization));
}

#[test]
fn an_empty_listing_of_a_populated_scope_is_held_below_every_floor() {
    let scope = |base| Weighed {
        base,
        ..Weighed::default()
    };
    let empty = Circumstances {
        entries: 0,
        first_run: false,
        new_organization: false,
    };
    assert_eq!(brake(&brakes(), empty, &[scope(1)])[0].name, BrakeName::Empty);
    assert!(brake(&brakes(), empty, &[scope(0)]).is_empty());
    let open = Brakes {
        hold_empty: false,
        ..brakes()
    };
    assert!(brake(&open, empty, &[scope(1)]).is_empty());
}

#[test]
fn the_first_run_may_create_and_may_be_looked_at() {
    let careful = Brakes {
        create: limit(),
        ..brakes()
    };
    let scope = Weighed {
        now: Counts {
            create: 1_000,
            ..Counts::default()
        },
        ..Weighed::default()
    };
    let at = |first_run| Circumstances {
        entries: 1_000,
        first_run,
        new_organization: false,
    };
    assert!(brake(&careful, at(true), std::slice::from_ref(&scope)).is_empty());
    assert_eq!(
        brake(&careful, at(false), std::slice::from_ref(&scope))[0].name,
        BrakeName::Create
    );
    let looked_at = Brakes {
        hold_first_run: true,
        ..careful
    };
    assert_eq!(brake(&looked_at, at(true), &[scope])[0].name, BrakeName::FirstRun);
}

#[test]
fn a_new_firm_is_weighed_in_the_run_alone() {
    let careful = Brakes {
        create: limit(),
        ..brakes()
    };
    let now = Counts {
        create: 90,
        ..Counts::default()
    };
    let firm = |base| Weighed {
        organization: ExternalId::parse("o1").ok(),
        base,
        now,
        ..Weighed::default()
    };
    let run = Weighed {
        base: 1_000,
        now,
        ..Weighed::default()
    };
    let at = Circumstances {
        entries: 1_090,
        first_run: false,
        new_organization: false,
    };
    assert!(brake(&careful, at, &[run.clone(), firm(0)]).is_empty());
    assert_eq!(
        brake(&careful, at, &[run, firm(10)]).len(),
        1,
        "a firm that we know does not grow tenfold unasked"
    );
}

#[test]
fn every_explanation_says_what_was_seen_and_what_to_do() {
    for hold in [run_of(1_000, 600, 0), run_of(1_000, 60, 60)].concat() {
        assert!(
            hold.explanation.contains("1000 active users") && hold.explanation.contains("release"),
            "{hold}"
        );
    }
}
