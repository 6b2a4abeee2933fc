//! The lists of the store, page by page, on both engines: complete, in order, without repeats while rows change, and
//! bounded however many rows there are.

use std::collections::BTreeSet;

use rollcall::domain::field::Field;
use rollcall::domain::id::{OrganizationId, SourceName, UserId};
use rollcall::store::{
    Actor, AuditFilter, EditedFields, Expected, NewUser, OrganizationFilter, QuarantineFilter, Store, StoreErrorKind,
    UserFilter, UserKey, UserOrder, UserRow,
};

use super::{cli, employee, roles};
use crate::harness::database::{Database, on_both_engines};

on_both_engines!(
    users_are_listed_in_every_order_and_filter,
    a_search_answers_beginnings_first,
    a_search_among_many_is_bounded_and_complete,
    few_of_a_role_or_firm_are_found_among_many,
    paging_is_stable_while_rows_change,
    a_cursor_that_is_none_is_refused,
    an_edit_meets_the_version_it_is_based_on,
    of_two_edits_of_one_version_one_wins,
    organizations_are_listed_by_name,
    quarantine_and_audit_are_listed,
);

/// Every page of a list of users, with `limit` on a page.
async fn pages(store: &Store, filter: &UserFilter, order: UserOrder, limit: u64) -> (Vec<UserRow>, usize) {
    let (mut all, mut after, mut count) = (Vec::new(), None, 0);
    loop {
        let page = store
            .user_page(filter, order, after.as_deref(), limit)
            .await
            .expect("read")
            .expect("a good cursor");
        assert!(page.items.len() as u64 <= limit, "{}", page.items.len());
        count += 1;
        all.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return (all, count),
        }
        assert!(count < 1_000, "the list does not end");
    }
}

fn emails(users: &[UserRow]) -> Vec<&str> {
    users.iter().map(|u| u.email.as_str()).collect()
}

async fn create(store: &Store, email: &str) -> UserId {
    store.create_user(&employee(email), &cli()).await.expect("created")
}

/// Adds `n` users by plain SQL: `u000001@bulk.example` and so on, of whom each `rare`-th is a vendor named Rareword.
async fn bulk(db: &Database, n: u32, rare: u32) {
    let id = |n: &str| match db.url.starts_with("sqlite") {
        true => format!("printf('00000000-0000-7000-8000-%012x', {n})"),
        false => format!("('00000000-0000-7000-8000-' || lpad(to_hex({n}), 12, '0'))::uuid"),
    };
    let number = match db.url.starts_with("sqlite") {
        true => "printf('%06d', n)",
        false => "lpad(n::text, 6, '0')",
    };
    let (id, when) = (id("n"), format!("n % {rare} = 0"));
    let sql = format!(
        "WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < {n}) \
         INSERT INTO users (id, kind, email, first_name, last_name) \
         SELECT {id}, CASE WHEN {when} THEN 'vendor' ELSE 'consultant' END, 'U' || {number} || '@bulk.example', \
         CASE WHEN {when} THEN 'Rareword' ELSE 'Common' END, 'Sample' FROM counted"
    );
    assert_eq!(db.sql(&sql).await, u64::from(n));
    db.sql("ANALYZE").await;
}

async fn users_are_listed_in_every_order_and_filter(db: Database) {
    let store = db.store().await;
    let mut ids = Vec::new();
    for email in [
        "d@x.example",
        "B@x.example",
        "a@x.example",
        "C@x.example",
        "e@x.example",
    ] {
        ids.push(create(&store, email).await);
    }
    let sorted = [
        "a@x.example",
        "B@x.example",
        "C@x.example",
        "d@x.example",
        "e@x.example",
    ];
    for limit in [1, 2, 3, 5, 6] {
        let order = UserOrder::default();
        let (all, _) = pages(&store, &UserFilter::default(), order, limit).await;
        assert_eq!(emails(&all), sorted, "{limit}");
        let down = UserOrder {
            descending: true,
            ..order
        };
        let (mut all, _) = pages(&store, &UserFilter::default(), down, limit).await;
        all.reverse();
        assert_eq!(emails(&all), sorted, "{limit}");
        let created = UserOrder {
            key: UserKey::Created,
            descending: false,
        };
        let (all, _) = pages(&store, &UserFilter::default(), created, limit).await;
        assert_eq!(all.iter().map(|u| u.id).collect::<Vec<_>>(), ids, "{limit}");
        let newest = UserOrder {
            key: UserKey::Created,
            descending: true,
        };
        let (mut all, _) = pages(&store, &UserFilter::default(), newest, limit).await;
        all.reverse();
        assert_eq!(all.iter().map(|u| u.id).collect::<Vec<_>>(), ids, "{limit}");
    }
    store.disable_user(ids[1], &cli(), &roles()).await.expect("disabled");
    let with = |status: &str| UserFilter {
        status: Some(status.into()),
        ..UserFilter::default()
    };
    let (disabled, _) = pages(&store, &with("disabled"), UserOrder::default(), 2).await;
    assert_eq!(emails(&disabled), ["B@x.example"]);
    let (active, _) = pages(&store, &with("active"), UserOrder::default(), 2).await;
    assert_eq!(active.len(), 4);
    let kind = |kind: &str| UserFilter {
        kind: Some(kind.into()),
        ..UserFilter::default()
    };
    assert_eq!(
        pages(&store, &kind("employee"), UserOrder::default(), 2).await.0.len(),
        5
    );
    assert_eq!(pages(&store, &kind("vendor"), UserOrder::default(), 2).await.0.len(), 0);
}

async fn a_search_answers_beginnings_first(db: Database) {
    let store = db.store().await;
    for (email, first, last) in [
        ("zoe@x.example", "Ann", "Sample"),
        ("ann@x.example", "Zo\u{eb}", "Sample"),
        ("joann@x.example", "Jo", "Sample"),
        ("per%cent@x.example", "Per", "Cent"),
        ("other@x.example", "Ot", "Her"),
    ] {
        let new = NewUser {
            first_name: Some(first.into()),
            last_name: Some(last.into()),
            ..employee(email)
        };
        store.create_user(&new, &cli()).await.expect("created");
    }
    let find = |query: &str| UserFilter {
        query: Some(query.into()),
        ..UserFilter::default()
    };
    for limit in [1, 2, 10] {
        let (found, _) = pages(&store, &find("ANN"), UserOrder::default(), limit).await;
        assert_eq!(
            emails(&found),
            ["ann@x.example", "zoe@x.example", "joann@x.example"],
            "{limit}"
        );
    }
    let whole = pages(&store, &find("ann sample"), UserOrder::default(), 10).await.0;
    assert_eq!(emails(&whole), ["zoe@x.example"]);
    assert_eq!(
        emails(&pages(&store, &find("%"), UserOrder::default(), 10).await.0),
        ["per%cent@x.example"]
    );
    assert_eq!(
        emails(&pages(&store, &find("Zo\u{eb}"), UserOrder::default(), 10).await.0),
        ["ann@x.example"]
    );
    assert!(pages(&store, &find("_"), UserOrder::default(), 10).await.0.is_empty());
    let newest = UserOrder {
        key: UserKey::Created,
        descending: true,
    };
    let (found, _) = pages(&store, &find("ann"), newest, 2).await;
    assert_eq!(emails(&found), ["joann@x.example", "ann@x.example", "zoe@x.example"]);
}

async fn a_search_among_many_is_bounded_and_complete(db: Database) {
    let store = db.store().await;
    bulk(&db, 25_000, 5_000).await;
    let orders = [
        UserOrder::default(),
        UserOrder {
            key: UserKey::Address,
            descending: true,
        },
        UserOrder {
            key: UserKey::Created,
            descending: false,
        },
        UserOrder {
            key: UserKey::Created,
            descending: true,
        },
    ];
    let filters = [
        UserFilter {
            query: Some("rareword".into()),
            ..UserFilter::default()
        },
        UserFilter {
            kind: Some("vendor".into()),
            ..UserFilter::default()
        },
    ];
    for filter in &filters {
        for order in orders {
            let (all, count) = pages(&store, filter, order, 3).await;
            let ids: BTreeSet<UserId> = all.iter().map(|u| u.id).collect();
            assert_eq!((all.len(), ids.len()), (5, 5), "{filter:?} {order:?}");
            assert!(
                count >= 2,
                "a page looks at a bounded number of rows, so there are several"
            );
        }
    }
    // What an index serves is found at once.
    let exact = UserFilter {
        query: Some("u024999@".into()),
        ..UserFilter::default()
    };
    let first = store
        .user_page(&exact, UserOrder::default(), None, 3)
        .await
        .expect("read")
        .expect("page");
    assert_eq!(emails(&first.items), ["U024999@bulk.example"]);
}

async fn few_of_a_role_or_firm_are_found_among_many(db: Database) {
    let store = db.store().await;
    bulk(&db, 12_000, 5_000).await;
    let late = create(&store, "zz@late.example").await;
    let admin = EditedFields {
        add_roles: vec!["Admin".into()],
        ..EditedFields::default()
    };
    store
        .edit_user(late, &admin, &Expected::Any, &cli(), &roles())
        .await
        .expect("edited");
    let firm = store.ensure_self_organization("Example Agency").await.expect("made");
    db.sql(&format!(
        "UPDATE users SET organization_id = '{firm}' WHERE lower(email) IN ('zz@late.example', 'u011999@bulk.example')"
    ))
    .await;
    for order in [
        UserOrder::default(),
        UserOrder {
            key: UserKey::Created,
            descending: true,
        },
    ] {
        let role = UserFilter {
            role: Some("Admin".into()),
            ..UserFilter::default()
        };
        let page = store
            .user_page(&role, order, None, 5)
            .await
            .expect("read")
            .expect("page");
        assert_eq!((emails(&page.items), page.next), (vec!["zz@late.example"], None));
        let of_firm = UserFilter {
            organization: Some(firm),
            ..UserFilter::default()
        };
        let (all, count) = pages(&store, &of_firm, order, 1).await;
        assert_eq!((all.len(), count), (2, 2), "one page for each, and none that is empty");
        let both = UserFilter {
            status: Some("disabled".into()),
            ..of_firm
        };
        assert!(pages(&store, &both, order, 1).await.0.is_empty());
    }
}

async fn paging_is_stable_while_rows_change(db: Database) {
    let store = db.store().await;
    let mut ids = Vec::new();
    for n in 0..30 {
        ids.push(create(&store, &format!("n{n:02}@x.example")).await);
    }
    let order = UserOrder::default();
    let (mut seen, mut after, mut n) = (Vec::new(), None, 0);
    loop {
        let page = store
            .user_page(&UserFilter::default(), order, after.as_deref(), 7)
            .await
            .expect("read")
            .expect("page");
        seen.extend(page.items.into_iter().map(|u| u.email));
        // Rows come, go and move before and behind the place where the list stands.
        create(&store, &format!("a{n}@x.example")).await;
        if let Some(last) = ids.get(n * 7 + 6) {
            let deleted = store.delete_user(*last, &cli(), &roles()).await;
            deleted.expect("the last one of the page is deleted");
        }
        n += 1;
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
        if n == 4 {
            create(&store, "n28b@x.example").await;
        }
        assert!(n < 5, "the list ends");
    }
    let unique: BTreeSet<&String> = seen.iter().collect();
    assert_eq!(unique.len(), seen.len(), "nobody twice: {seen:?}");
    for n in 0..30 {
        assert!(seen.contains(&format!("n{n:02}@x.example")), "{n} is missing: {seen:?}");
    }
}

async fn a_cursor_that_is_none_is_refused(db: Database) {
    let store = db.store().await;
    let created = UserOrder {
        key: UserKey::Created,
        descending: false,
    };
    let by_address = UserOrder::default();
    for (order, bad) in [
        (created, "ax"),
        (created, "x"),
        (created, ""),
        (by_address, "\u{fc}"),
        (by_address, "aa\0"),
        (by_address, "b1"),
    ] {
        let page = store
            .user_page(&UserFilter::default(), order, Some(bad), 5)
            .await
            .expect("no error");
        assert_eq!(page, None, "{bad:?}");
    }
    for bad in ["", "x", "x y", "019a0000-0000-7000-8000-000000000001 a\0b"] {
        let page = store
            .organization_page(&OrganizationFilter::default(), Some(bad), 5)
            .await
            .expect("no error");
        assert_eq!(page, None, "{bad:?}");
    }
}

fn title(text: &str) -> EditedFields {
    EditedFields {
        columns: vec![(Field::Title, Some(text.into()))],
        ..EditedFields::default()
    }
}

async fn an_edit_meets_the_version_it_is_based_on(db: Database) {
    let store = db.store().await;
    let id = create(&store, "a@x.example").await;
    let version = store.user(id).await.expect("read").expect("there").version();
    assert_eq!(
        store.user(id).await.expect("read").expect("there").version(),
        version,
        "the same content"
    );
    let first = Expected::OneOf(vec!["other".into(), version.clone()]);
    let mut edit = title("Engineer");
    edit.billable = Some(Some(true));
    edit.attributes = [
        ("badge".to_owned(), serde_json::json!(7)),
        ("gone".to_owned(), serde_json::Value::Null),
    ]
    .into();
    let after = store
        .edit_user(id, &edit, &first, &cli(), &roles())
        .await
        .expect("edited");
    assert_eq!((after.title.as_deref(), after.billable), (Some("Engineer"), Some(true)));
    assert_eq!(after.attributes, serde_json::json!({"badge": 7}));
    assert_ne!(after.version(), version);
    let late = store
        .edit_user(id, &title("Late"), &first, &cli(), &roles())
        .await
        .expect_err("refused");
    assert_eq!(late.kind, StoreErrorKind::VersionMismatch);
    // Plain SQL and a role that was granted by it are changes too.
    let based = |v: &UserRow| Expected::OneOf(vec![v.version()]);
    db.sql(&format!("UPDATE users SET phone = '1' WHERE id = '{id}'")).await;
    let refused = store
        .edit_user(id, &title("Late"), &based(&after), &cli(), &roles())
        .await
        .expect_err("refused");
    assert_eq!(refused.kind, StoreErrorKind::VersionMismatch);
    let now = store.user(id).await.expect("read").expect("there");
    db.sql("INSERT INTO groups (id, kind, name) VALUES ('019a0000-0000-7000-8000-000000000001', 'role', 'Reviewer')")
        .await;
    db.sql(&format!(
        "INSERT INTO memberships (user_id, group_id) VALUES ('{id}', '019a0000-0000-7000-8000-000000000001')"
    ))
    .await;
    let refused = store
        .edit_user(id, &title("Late"), &based(&now), &cli(), &roles())
        .await
        .expect_err("refused");
    assert_eq!(refused.kind, StoreErrorKind::VersionMismatch);
    let now = store.user(id).await.expect("read").expect("there");
    assert_eq!(now.title.as_deref(), Some("Engineer"), "what was refused wrote nothing");
    assert_eq!(store.user_audit(id, 10).await.expect("audit").len(), 2);
}

async fn of_two_edits_of_one_version_one_wins(db: Database) {
    let store = db.store().await;
    let id = create(&store, "a@x.example").await;
    for round in 0..10 {
        let version = store.user(id).await.expect("read").expect("there").version();
        let expected = Expected::OneOf(vec![version]);
        let (left, right) = (format!("left {round}"), format!("right {round}"));
        let (left_edit, right_edit) = (title(&left), title(&right));
        let (actor, roles) = (cli(), roles());
        let (one, two) = tokio::join!(
            store.edit_user(id, &left_edit, &expected, &actor, &roles),
            store.edit_user(id, &right_edit, &expected, &actor, &roles),
        );
        let now = store.user(id).await.expect("read").expect("there").title;
        match (one, two) {
            (Ok(_), Err(e)) => assert_eq!((e.kind, now), (StoreErrorKind::VersionMismatch, Some(left))),
            (Err(e), Ok(_)) => assert_eq!((e.kind, now), (StoreErrorKind::VersionMismatch, Some(right))),
            other => panic!("one wins, and one only: {other:?}"),
        }
    }
}

async fn organizations_are_listed_by_name(db: Database) {
    let store = db.store().await;
    let own = store.ensure_self_organization("Example Agency").await.expect("made");
    for n in 0..7 {
        let (id, city) = (
            format!("019a0000-0000-7000-8000-00000000000{n}"),
            if n == 3 { "Sampleton" } else { "Elsewhere" },
        );
        let (name, status) = (
            ["b Paving", "A Bridges", "c Roads", "d", "B paving", "E", "f"][n],
            ["active", "closed"][n % 2],
        );
        db.sql(&format!(
            "INSERT INTO organizations (id, name, kind, source, external_id, followed, status, attributes) \
             VALUES ('{id}', '{name}', 'contractor', 'connex', 'org-{n}', {}, '{status}', '{{\"city\": \"{city}\"}}')",
            if n < 4 { "true" } else { "false" }
        ))
        .await;
    }
    create(&store, "a@x.example").await;
    db.sql(&format!("UPDATE users SET organization_id = '{own}'")).await;
    let list = async |filter: OrganizationFilter, limit: u64| {
        let (mut all, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = store
                .organization_page(&filter, after.as_deref(), limit)
                .await
                .expect("read")
                .expect("page");
            all.extend(page.items);
            match page.next {
                Some(next) => after = Some(next),
                None => return all,
            }
        }
    };
    let names = |all: &[rollcall::store::Organization]| all.iter().map(|o| o.name.clone()).collect::<Vec<_>>();
    for limit in [1, 3, 100] {
        let all = list(OrganizationFilter::default(), limit).await;
        assert_eq!(
            names(&all),
            [
                "A Bridges",
                "b Paving",
                "B paving",
                "c Roads",
                "d",
                "E",
                "Example Agency",
                "f"
            ],
            "{limit}"
        );
        assert_eq!(all.iter().map(|o| o.users).sum::<u64>(), 1);
    }
    let with = |query: &str| OrganizationFilter {
        query: Some(query.into()),
        ..OrganizationFilter::default()
    };
    assert_eq!(names(&list(with("PAV"), 1).await), ["b Paving", "B paving"]);
    assert_eq!(names(&list(with("org-2"), 5).await), ["c Roads"]);
    assert_eq!(names(&list(with("sampleton"), 5).await), ["d"]);
    let closed = OrganizationFilter {
        status: Some("closed".into()),
        ..OrganizationFilter::default()
    };
    assert_eq!(list(closed, 2).await.len(), 3);
    let followed = OrganizationFilter {
        followed: Some(true),
        source: Some(SourceName::parse("connex").expect("name")),
        ..OrganizationFilter::default()
    };
    assert_eq!(list(followed, 2).await.len(), 4);

    let id: OrganizationId = "019a0000-0000-7000-8000-000000000002".parse().expect("id");
    let version = store.organization(id).await.expect("read").expect("there").version();
    let expected = Expected::OneOf(vec![version]);
    assert!(store.follow(id, false, &expected, &cli()).await.expect("unfollowed"));
    let late = store.follow(id, true, &expected, &cli()).await.expect_err("refused");
    assert_eq!(late.kind, StoreErrorKind::VersionMismatch);
}

async fn quarantine_and_audit_are_listed(db: Database) {
    let store = db.store().await;
    for n in 0..5 {
        db.sql(&format!(
            "INSERT INTO quarantine (source, external_id, organization, code, detail, first_seen_at, last_seen_at, times, run_id) VALUES \
             ('connex', 'acc-{n}', 'org-{}', 'no_email', 'why', '2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z', 1, '019a0000-0000-7000-8000-000000000001')",
            n % 2
        ))
        .await;
    }
    let all = store
        .quarantine_page(&QuarantineFilter::default(), Some(("connex", "acc-1")), 2)
        .await
        .expect("read");
    assert_eq!(
        all.iter().map(|q| q.external_id.as_str()).collect::<Vec<_>>(),
        ["acc-2", "acc-3"]
    );
    let filter = QuarantineFilter {
        organization: Some("org-1".into()),
        ..QuarantineFilter::default()
    };
    assert_eq!(store.quarantine_page(&filter, None, 9).await.expect("read").len(), 2);

    let own = store.ensure_self_organization("Example Agency").await.expect("made");
    let new = NewUser {
        organization: Some(own),
        ..employee("a@x.example")
    };
    let first = store.create_user(&new, &cli()).await.expect("created");
    let second = create(&store, "b@x.example").await;
    store
        .delete_user(first, &Actor("api:example".into()), &roles())
        .await
        .expect("deleted");
    let audit = async |filter: AuditFilter| {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = store.audit_page(&filter, after, 1).await.expect("read");
            all.extend(page.items.into_iter().map(|row| row.action));
            match page.next {
                Some(next) => after = Some(next.parse().expect("an id")),
                None => return all.join(" "),
            }
        }
    };
    assert_eq!(
        audit(AuditFilter::default()).await,
        "user.deleted user.created user.created"
    );
    let of_user = AuditFilter {
        user: Some(second),
        ..AuditFilter::default()
    };
    assert_eq!(audit(of_user).await, "user.created");
    let of_firm = AuditFilter {
        organization: Some(own),
        ..AuditFilter::default()
    };
    assert_eq!(
        audit(of_firm).await,
        "user.deleted user.created",
        "also of users who are gone"
    );
    let by = AuditFilter {
        actor: Some("api:example".into()),
        ..AuditFilter::default()
    };
    assert_eq!(audit(by).await, "user.deleted");
    for (action, expected) in [
        ("user.", "user.deleted user.created user.created"),
        ("user.deleted", "user.deleted"),
        ("run.", ""),
    ] {
        assert_eq!(
            audit(AuditFilter {
                action: Some(action.into()),
                ..AuditFilter::default()
            })
            .await,
            expected
        );
    }
}
