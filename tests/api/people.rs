//! Users over the API: read, created, edited against their version, disabled, deleted, exported.

use serde_json::{Value as Json, json};

use super::desk::Desk;
use crate::cli::{alone, with_source};
use crate::harness::database::{Database, on_both_engines};

on_both_engines!(
    a_user_lives_its_life,
    an_edit_says_what_it_is_based_on,
    of_two_edits_at_once_one_wins,
    the_last_administrator_stays,
    a_field_of_the_directory_is_edited_with_a_warning,
    users_are_filtered_sorted_and_paged,
    the_export_is_safe_and_complete,
    only_an_administrator_writes,
    wrong_input_is_a_problem_and_never_a_defect,
);

async fn desk(db: &Database) -> Desk {
    Desk::open(&alone(db)).await
}

fn new_user(email: &str) -> Json {
    json!({"email": email, "first_name": "Sam", "last_name": "Sample"})
}

#[track_caller]
fn create(api: &Desk, body: &Json) -> Json {
    api.json("POST", "/users", &[], body).with(201)
}

fn id(user: &Json) -> &str {
    user["id"].as_str().expect("an id")
}

async fn a_user_lives_its_life(db: Database) {
    let api = desk(&db).await;
    let answer = api.json("POST", "/users", &[], &new_user(" Sam@agency.example "));
    let sam = answer.with(201);
    assert_eq!(
        (&sam["email"], &sam["kind"], &sam["own"]),
        (&json!("Sam@agency.example"), &json!("employee"), &json!(true))
    );
    assert_eq!(
        sam["organization"]["name"], "Example Agency",
        "an employee is of the agency's own"
    );
    let path = format!("/users/{}", id(&sam));
    assert_eq!(answer.header("location"), Some(format!("/api/v1{path}").as_str()));
    let read = api.get(&path);
    assert_eq!(read.header("etag"), answer.header("etag"));
    assert_eq!(read.with(200)["authorities"]["email"], "local");
    assert_eq!(
        api.json("POST", "/users", &[], &new_user("SAM@AGENCY.example"))
            .problem(409),
        "address_taken"
    );

    let etag = read.header("etag").expect("an ETag").to_owned();
    let patch = json!({"phone": "+1 201 555 0100", "title": "  Bridge   Engineer ", "billable": true, "attributes": {"badge": 7, "desk": "B 2"}, "roles": ["Reviewer", "Manager"]});
    let edited = api.json("PATCH", &path, &[("if-match", &etag)], &patch);
    let now = edited.with(200);
    assert_eq!(
        (&now["title"], &now["billable"], &now["warnings"]),
        (&json!("Bridge Engineer"), &json!(true), &json!([]))
    );
    assert_eq!(
        now["roles"],
        json!([{"name": "Manager", "origin": "local"}, {"name": "Reviewer", "origin": "local"}])
    );
    let etag = edited.header("etag").expect("an ETag").to_owned();
    let patch = json!({"phone": null, "billable": null, "attributes": {"badge": null}, "roles": ["Manager"]});
    let merge = [
        ("if-match", etag.as_str()),
        ("content-type", "application/merge-patch+json"),
    ];
    let now = api
        .send("PATCH", &format!("/api/v1{path}"), &merge, &patch.to_string())
        .with(200);
    assert_eq!(
        (&now["phone"], &now["billable"], &now["title"]),
        (&Json::Null, &Json::Null, &json!("Bridge Engineer"))
    );
    assert_eq!(
        (&now["attributes"], now["roles"].as_array().map(Vec::len)),
        (&json!({"desk": "B 2"}), Some(1))
    );

    let disabled = api.json("POST", &format!("{path}/disable"), &[], &json!({})).with(200);
    assert_eq!(
        (&disabled["status"], &disabled["disabled_by"]),
        (&json!("disabled"), &json!("admin"))
    );
    let why = disabled["why_disabled"].as_str().expect("a sentence");
    assert!(why.starts_with("Disabled here by api:test on "), "{why}");
    assert_eq!(
        api.json("POST", &format!("{path}/disable"), &[], &json!({})).with(200)["status"],
        "disabled"
    );
    assert_eq!(
        api.json("POST", &format!("{path}/enable"), &[], &json!({})).with(200)["status"],
        "active"
    );
    let gone = api.send("DELETE", &format!("/api/v1{path}"), &[], "");
    assert_eq!((gone.status, gone.body.as_str()), (204, ""));
    assert_eq!(api.get(&path).problem(404), "not_found");
    assert_eq!(
        api.send("DELETE", &format!("/api/v1{path}"), &[], "").problem(404),
        "not_found"
    );

    let actions: Vec<Json> = api.all(&format!("/audit?user={}&limit=2", id(&sam)));
    let told: Vec<&str> = actions.iter().filter_map(|row| row["action"].as_str()).collect();
    assert_eq!(
        told,
        [
            "user.deleted",
            "user.enabled",
            "user.disabled",
            "user.edited",
            "user.edited",
            "user.created"
        ]
    );
    assert!(
        actions
            .iter()
            .all(|row| row["actor"] == "api:test" && row["user"] == sam["id"]),
        "{actions:?}"
    );
    assert_eq!(
        actions[4]["details"]["fields"]["phone"],
        json!({"before": null, "after": "+1 201 555 0100"})
    );
    assert!(
        !api.log().to_lowercase().contains("agency.example"),
        "no address in the log: {}",
        api.log()
    );
}

async fn an_edit_says_what_it_is_based_on(db: Database) {
    let api = desk(&db).await;
    let sam = create(&api, &new_user("sam@agency.example"));
    let path = format!("/users/{}", id(&sam));
    let title = |text: &str| json!({"title": text});
    assert_eq!(
        api.json("PATCH", &path, &[], &title("None")).problem(428),
        "precondition_required"
    );
    assert_eq!(
        api.json("PATCH", &path, &[("if-match", "\"0\"")], &title("Old"))
            .problem(412),
        "precondition_failed"
    );
    assert_eq!(
        api.json("PATCH", &path, &[("if-match", "\"0\"")], &json!({}))
            .problem(412),
        "precondition_failed"
    );
    assert_eq!(
        api.json("PATCH", &path, &[("if-match", "0")], &title("Bad"))
            .problem(400),
        "bad_request"
    );
    let etag = api.get(&path).header("etag").expect("an ETag").to_owned();
    let weak = format!("W/{etag}");
    assert_eq!(
        api.json("PATCH", &path, &[("if-match", &weak)], &title("Weak"))
            .problem(412),
        "precondition_failed"
    );
    // An application edits with plain SQL.
    db.sql(&format!(
        "UPDATE users SET phone = '+1 201 555 0101' WHERE id = '{}'",
        id(&sam)
    ))
    .await;
    assert_eq!(
        api.json("PATCH", &path, &[("if-match", &etag)], &title("Late"))
            .problem(412),
        "precondition_failed"
    );
    let two = format!("\"0\", {}", api.get(&path).header("etag").expect("an ETag"));
    assert_eq!(
        api.json("PATCH", &path, &[("if-match", &two)], &title("New")).with(200)["title"],
        "New"
    );
    assert_eq!(
        api.json("PATCH", &path, &[("if-match", "*")], &title("Any")).with(200)["title"],
        "Any"
    );
    assert_eq!(
        api.json("PATCH", &path, &[("if-match", "*")], &json!({})).with(200)["title"],
        "Any",
        "nothing to change"
    );
    let none = "/users/019a0000-0000-7000-8000-000000000001";
    assert_eq!(
        api.json("PATCH", none, &[("if-match", "*")], &title("None"))
            .problem(404),
        "not_found"
    );
}

async fn of_two_edits_at_once_one_wins(db: Database) {
    let api = desk(&db).await;
    let sam = create(&api, &new_user("sam@agency.example"));
    let path = format!("/users/{}", id(&sam));
    for round in 0..5 {
        let etag = api.get(&path).header("etag").expect("an ETag").to_owned();
        let titles: Vec<String> = (0..4).map(|n| format!("round {round} by {n}")).collect();
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let edit = |title: &String| {
                api.json("PATCH", &path, &[("if-match", &etag)], &json!({"title": title}))
                    .status
            };
            let threads: Vec<_> = titles.iter().map(|title| scope.spawn(move || edit(title))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("answered"))
                .collect()
        });
        let won = statuses.iter().position(|status| *status == 200).expect("one wins");
        assert_eq!(
            statuses.iter().filter(|status| **status == 412).count(),
            3,
            "{statuses:?}"
        );
        assert_eq!(api.get(&path).with(200)["title"], titles[won].as_str());
    }
}

async fn the_last_administrator_stays(db: Database) {
    let api = desk(&db).await;
    let mut admin = new_user("root@agency.example");
    admin["roles"] = json!(["Admin"]);
    let root = create(&api, &admin);
    let path = format!("/users/{}", id(&root));
    let refused = |answer: super::desk::Answer| assert_eq!(answer.problem(409), "last_administrator");
    refused(api.json("POST", &format!("{path}/disable"), &[], &json!({})));
    refused(api.send("DELETE", &format!("/api/v1{path}"), &[], ""));
    refused(api.json("PATCH", &path, &[("if-match", "*")], &json!({"roles": []})));
    let now = api.get(&path).with(200);
    assert_eq!(
        (&now["status"], &now["roles"][0]["name"]),
        (&json!("active"), &json!("Admin"))
    );
    admin["email"] = json!("second@agency.example");
    create(&api, &admin);
    assert_eq!(
        api.json("POST", &format!("{path}/disable"), &[], &json!({})).with(200)["status"],
        "disabled"
    );
}

async fn a_field_of_the_directory_is_edited_with_a_warning(db: Database) {
    let directory = crate::cli::directory().await;
    let api = Desk::open(&with_source(&db, &directory)).await;
    api.program.ok(&["sync", "connex"]);
    let users = api.get("/users?q=avery").with(200);
    let avery = users["items"][0].clone();
    let path = format!("/users/{}", id(&avery));
    let shown = api.get(&path).with(200);
    assert_eq!(shown["link"], json!({"source": "connex", "external_id": "acc-1"}));
    assert_eq!(shown["own"], false);
    let decided = |field: &str| shown["authorities"][field].as_str().expect("somebody");
    assert_eq!(
        [decided("phone"), decided("title"), decided("license")],
        ["directory", "initial", "local"]
    );
    let edited = api
        .json(
            "PATCH",
            &path,
            &[("if-match", "*")],
            &json!({"phone": "1", "license": "PE-0000"}),
        )
        .with(200);
    let warning = edited["warnings"][0].as_str().expect("a warning");
    assert!(
        warning.starts_with("phone is decided by the directory of source connex"),
        "{warning}"
    );
    let edited = api
        .json("PATCH", &path, &[("if-match", "*")], &json!({"license": "PE-0001"}))
        .with(200);
    assert_eq!(edited["warnings"], json!([]));
    api.program.ok(&["sync", "connex"]);
    let back = api.get(&path).with(200);
    assert_eq!(
        (&back["phone"], &back["license"]),
        (&json!("+1 201 555 0100"), &json!("PE-0001"))
    );

    // What was put back is on record with both values, by every filter.
    let organization = back["organization"]["id"].as_str().expect("an organization");
    let of_user = format!("?user={}", id(&avery));
    for filter in [
        "",
        "?source=connex",
        &format!("?organization={organization}"),
        "?organization=org-1",
        &of_user,
        "?field=phone",
    ] {
        let drift = api.all(&format!("/drift{filter}"));
        let told: Vec<_> = drift
            .iter()
            .map(|d| (&d["user"], &d["field"], &d["before"], &d["after"]))
            .collect();
        assert_eq!(
            told,
            [(&avery["id"], &json!("phone"), &json!("1"), &json!("+1 201 555 0100"))],
            "{filter}"
        );
    }
    for filter in [
        "?source=other",
        "?organization=org-2",
        "?field=title",
        "?user=019a0000-0000-7000-8000-000000000001",
    ] {
        assert!(api.all(&format!("/drift{filter}")).is_empty(), "{filter}");
    }
    // Several fields of several users, one item a page.
    for user in api.all("/users?kind=contractor") {
        let edit = json!({"phone": "2", "first_name": "Edited"});
        api.json("PATCH", &format!("/users/{}", id(&user)), &[("if-match", "*")], &edit)
            .with(200);
    }
    api.program.ok(&["sync", "connex"]);
    let drift = api.all("/drift?limit=1");
    let mut keys: Vec<String> = drift
        .iter()
        .map(|d| format!("{} {} {}", d["run"], d["user"], d["field"]))
        .collect();
    assert_eq!(drift.len(), 7, "{drift:?}");
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 7, "none twice");
    assert_eq!(
        drift.last().map(|d| &d["before"]),
        Some(&json!("1")),
        "the newest run first"
    );
    assert_eq!(api.get(&format!("/organizations/{organization}")).with(200)["drift"], 3);

    let off = api.json("POST", &format!("{path}/disable"), &[], &json!({})).with(200);
    assert_eq!(off["disabled_by"], "admin");
    let on = api.json("POST", &format!("{path}/enable"), &[], &json!({})).with(200);
    assert!(
        on["warnings"][0]
            .as_str()
            .is_some_and(|w| w.contains("decides its status")),
        "{on}"
    );
    let employee = api
        .json("PATCH", &path, &[("if-match", "*")], &json!({"kind": "employee"}))
        .with(200);
    assert!(
        employee["warnings"][0]
            .as_str()
            .is_some_and(|w| w.contains("no sync touches it")),
        "{employee}"
    );
    assert_eq!(employee["authorities"]["phone"], "local");
}

async fn users_are_filtered_sorted_and_paged(db: Database) {
    let directory = crate::cli::directory().await;
    let api = Desk::open(&with_source(&db, &directory)).await;
    api.program.ok(&["sync", "connex"]);
    let mut admin = new_user("zoe@agency.example");
    admin["roles"] = json!(["Admin"]);
    create(&api, &admin);
    let emails = |path: &str| -> Vec<String> {
        let text = |user: &Json| {
            user["email"]
                .as_str()
                .expect("text")
                .split('@')
                .next()
                .expect("a name")
                .to_owned()
        };
        api.all(path).iter().map(text).collect()
    };
    assert_eq!(emails("/users?limit=1"), ["avery", "blair", "casey", "zoe"]);
    assert_eq!(emails("/users?limit=3&sort=-email"), ["zoe", "casey", "blair", "avery"]);
    assert_eq!(emails("/users?sort=-created&limit=2")[0], "zoe");
    assert_eq!(emails("/users?kind=employee"), ["zoe"]);
    assert_eq!(emails("/users?role=Admin"), ["zoe"]);
    assert_eq!(emails("/users?organization=org-1").len(), 3);
    assert_eq!(emails("/users?organization=Example+Paving&q=BLAIR"), ["blair"]);
    assert_eq!(emails("/users?organization=nobody").len(), 0);
    let zoe = api.all("/users?q=zoe%40")[0].clone();
    create(
        &api,
        &json!({"email": "ann@agency.example", "first_name": "Ann", "last_name": "Other", "roles": ["Admin"]}),
    );
    api.json("POST", &format!("/users/{}/disable", id(&zoe)), &[], &json!({}))
        .with(200);
    assert_eq!(emails("/users?status=disabled"), ["zoe"]);
    assert_eq!(emails("/users?status=active&kind=employee"), ["ann"]);
    assert_eq!(emails("/users?status=all&kind=employee"), ["ann", "zoe"]);
    // A cursor belongs to its list, its filters and its order.
    let next = api.get("/users?limit=1").with(200)["next"]
        .as_str()
        .expect("more")
        .to_owned();
    for other in ["/users?limit=1&sort=-email", "/users?limit=1&q=a", "/audit?limit=1"] {
        assert_eq!(
            api.get(&format!("{other}&cursor={next}")).problem(400),
            "bad_cursor",
            "{other}"
        );
    }
    assert_eq!(
        api.get(&format!("/users?limit=2&cursor={next}")).with(200)["items"][0]["email"],
        "avery@paving.example"
    );
}

async fn the_export_is_safe_and_complete(db: Database) {
    let api = desk(&db).await;
    let hostile = [
        ("=cmd|' /C calc'!A0", "Sample"),
        ("@SUM(1)", "+1"),
        ("-2", "a \"b\", c"),
        ("<script>", "\u{ff1d}1"),
    ];
    for (n, (first, last)) in hostile.iter().enumerate() {
        let user = json!({"email": format!("u{n}@agency.example"), "first_name": first, "last_name": last, "phone": "+1 201 555 0100"});
        create(&api, &user);
    }
    // More than one page of the stream.
    let many = match db.url.starts_with("sqlite") {
        true => "printf('00000000-0000-7000-8000-%012x', n)",
        false => "('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid",
    };
    db.sql(&format!(
        "WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < 2500) \
         INSERT INTO users (id, email, first_name) SELECT {many}, 'bulk' || n || '@agency.example', 'Bulk' FROM counted"
    ))
    .await;
    let answer = api.get("/users/export.csv");
    assert_eq!(answer.status, 200, "{:?}", answer.headers);
    assert!(
        answer
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("text/csv"))
    );
    assert_eq!(
        answer.header("content-disposition"),
        Some("attachment; filename=\"users.csv\"")
    );
    let mut reader = csv::ReaderBuilder::new().from_reader(answer.body.as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().expect("CSV");
    assert_eq!(rows.len(), 2504);
    for cell in rows.iter().flatten() {
        assert!(
            !cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\u{ff1d}']),
            "{cell}"
        );
    }
    let u1 = rows.iter().find(|row| &row[2] == "u1@agency.example").expect("there");
    assert_eq!([&u1[3], &u1[4], &u1[5]], ["'@SUM(1)", "'+1", "'+1 201 555 0100"]);
    // The command writes the same file.
    assert_eq!(api.program.ok(&["users", "export"]), answer.body);
}

async fn only_an_administrator_writes(db: Database) {
    let api = desk(&db).await;
    let sam = create(&api, &new_user("sam@agency.example"));
    let path = format!("/api/v1/users/{}", id(&sam));
    for scope in ["read", "sync"] {
        let token = format!("Bearer {}", api.token(scope, scope));
        let headers = [
            ("authorization", token.as_str()),
            ("content-type", "application/json"),
            ("if-match", "*"),
        ];
        let own = json!({"title": "x"}).to_string();
        let (disable, enable) = (format!("{path}/disable"), format!("{path}/enable"));
        let new = new_user("x@agency.example").to_string();
        let writes = [
            ("PATCH", path.as_str(), own.as_str()),
            ("DELETE", &path, ""),
            ("POST", &disable, ""),
            ("POST", &enable, ""),
            ("POST", "/api/v1/users", &new),
        ];
        for (method, path, body) in writes {
            assert_eq!(
                api.send(method, path, &headers, body).problem(403),
                "forbidden",
                "{scope} {method} {path}"
            );
        }
        for path in [
            "/users",
            "/users/export.csv",
            "/organizations",
            "/quarantine",
            "/drift",
            "/audit",
        ] {
            assert_eq!(
                api.send("GET", &format!("/api/v1{path}"), &headers, "").status,
                200,
                "{scope} {path}"
            );
            let nobody = [("authorization", "Bearer rollcall_0")];
            assert_eq!(
                api.send("GET", &format!("/api/v1{path}"), &nobody, "").problem(401),
                "unauthenticated"
            );
        }
    }
    assert_eq!(api.get(&format!("/users/{}", id(&sam))).with(200)["title"], Json::Null);
}

async fn wrong_input_is_a_problem_and_never_a_defect(db: Database) {
    let api = desk(&db).await;
    let sam = create(&api, &new_user("sam@agency.example"));
    let path = format!("/users/{}", id(&sam));
    let long = "x".repeat(2_000);
    let huge = "9".repeat(400);
    for query in [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=x",
        &format!("limit={huge}"),
        "cursor=",
        "cursor=zz",
        "cursor=6869",
        "unknown=1",
        "status=gone",
        "sort=name",
        "q=%00",
        "q=a%00b",
        "kind=%00",
        "role=%00",
        "organization=%00",
        &format!("q={long}"),
    ] {
        let code = api.get(&format!("/users?{query}")).problem(400);
        assert!(["bad_query", "bad_cursor"].contains(&code.as_str()), "{query}: {code}");
    }
    for odd in [
        "q=%25",
        "q=_",
        "q=%27%3B--",
        "q=%E2%80%AE",
        "kind=%27",
        &format!("role={long}"),
        &format!("kind={long}"),
        "organization=%F0%9F%A6%80",
    ] {
        assert_eq!(api.get(&format!("/users?{odd}")).with(200)["items"], json!([]), "{odd}");
    }
    for list in ["quarantine", "drift", "audit"] {
        for query in [
            "user=x",
            "user=%00",
            "source=A%20b",
            "source=%00",
            "limit=0",
            "cursor=00",
            "organization=%00",
            "unknown=",
        ] {
            let code = api.get(&format!("/{list}?{query}")).problem(400);
            assert!(
                ["bad_query", "bad_cursor"].contains(&code.as_str()),
                "{list} {query}: {code}"
            );
        }
    }
    for query in [
        "/drift?field=nonsense",
        "/audit?run=x",
        "/organizations?status=gone",
        "/organizations?source=%20",
        "/organizations?followed=maybe",
    ] {
        assert_eq!(api.get(query).problem(400), "bad_query", "{query}");
    }
    for odd in [
        "x",
        "%00",
        "..",
        "019a0000-0000-7000-8000-000000000001",
        &long,
        "%F0%9F%A6%80",
    ] {
        assert_eq!(
            api.get(&format!("/users/{odd}")).problem(404).as_str(),
            "not_found",
            "{odd}"
        );
    }
    let bad = [
        json!({"email": "sam"}),
        json!({"email": null, "first_name": "x", "last_name": "y"}),
        json!([]),
        json!("x"),
        json!({"email": "a@x.example", "first_name": "", "last_name": "y"}),
        json!({"email": "a@x.example", "first_name": "a\u{0}b", "last_name": "y"}),
        json!({"email": "a@x.example", "first_name": "a\u{202e}b", "last_name": "y"}),
        json!({"email": "a@x.example", "first_name": long, "last_name": "y"}),
        json!({"email": "a@x.example", "first_name": "x", "last_name": "y", "kind": "self"}),
        json!({"email": "a@x.example", "first_name": "x", "last_name": "y", "roles": [" "]}),
        json!({"email": "a@x.example", "first_name": "x", "last_name": "y", "roles": [long]}),
        json!({"email": "a@x.example", "first_name": "x", "last_name": "y", "organization": "\u{0}"}),
        json!({"email": "a@x.example", "first_name": "x", "last_name": "y", "organization": "019a0000-0000-7000-8000-000000000001"}),
        json!({"email": "a@x.example", "first_name": "x", "last_name": "y", "status": "disabled"}),
    ];
    for body in bad {
        assert_eq!(api.json("POST", "/users", &[], &body).problem(422), "invalid", "{body}");
    }
    let bad = [
        json!({"email": ""}),
        json!({"kind": "a b"}),
        json!({"id": "x"}),
        json!({"phone": 7}),
        json!({"billable": "yes"}),
        json!({"attributes": {"a b": 1}}),
        json!({"attributes": {"a": {"b": 1}}}),
        json!({"attributes": {"a": "\u{0}"}}),
        json!({"roles": "Admin"}),
        json!({"title": "a\u{7}b"}),
    ];
    for body in bad {
        assert_eq!(
            api.json("PATCH", &path, &[("if-match", "*")], &body).problem(422),
            "invalid",
            "{body}"
        );
    }
    let headers = [("if-match", "*"), ("content-type", "application/json")];
    assert_eq!(
        api.send("PATCH", &format!("/api/v1{path}"), &headers, "{").problem(400),
        "bad_request"
    );
    assert_eq!(
        api.send(
            "PATCH",
            &format!("/api/v1{path}"),
            &[("if-match", "*"), ("content-type", "text/plain")],
            "{}"
        )
        .problem(415),
        "not_json"
    );
    assert_eq!(
        api.get(&path).with(200)["updated_at"],
        sam["updated_at"],
        "none of it wrote anything"
    );
    assert!(!api.log().contains("http.failed"), "{}", api.log());
}
