//! The file source from outside: what is read, and what is never taken as whole.

mod delivery;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rollcall::domain::entry::{Batch, Entry, Received};
use rollcall::domain::id::ExternalId;
use rollcall::domain::quarantine::QuarantineCode;
use rollcall::sources::file::{Completeness, Format};
use rollcall::sources::{Listing, ListingScope, Lookup, Source, SourceErrorKind};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use delivery::{Delivery, PEOPLE, collect};

fn id(text: &str) -> ExternalId {
    ExternalId::parse(text).expect("valid")
}

fn entry(received: &Received) -> &Entry {
    match received {
        Received::Entry(entry) => entry,
        Received::Unreadable { reason, .. } => panic!("{reason}"),
    }
}

fn unreadable(received: &Received) -> (Option<&str>, QuarantineCode) {
    match received {
        Received::Entry(entry) => panic!("{entry:?} was read"),
        Received::Unreadable { id, reason } => (id.as_ref().map(ExternalId::as_str), reason.code),
    }
}

fn assert_incomplete(listing: &Listing, words: &str) {
    assert!(!listing.complete, "{listing:?}");
    let reason = listing.reason.as_deref().expect("a reason");
    assert!(reason.contains(words), "{reason}");
}

#[tokio::test]
async fn a_csv_file_with_its_checksum_is_complete() {
    let (listing, entries) = Delivery::csv(PEOPLE).with_checksum().list().await.expect("read");
    assert!(listing.complete && listing.reason.is_none(), "{listing:?}");
    assert_eq!((listing.entries, listing.pages), (3, 1));
    assert!(listing.proof[0].contains("SHA-256"));
    assert!(listing.as_of.expect("the file's time").ends_with('Z'));
    let first = entry(&entries[0]);
    assert_eq!(first.id, id("p1"));
    let firm = first.organization.as_ref().expect("a firm");
    assert_eq!((firm.id.as_str(), firm.name.as_deref()), ("f1", Some("Example Bridge")));
    assert_eq!(first.attributes.all("roles"), ["member", "manager"]);
    assert!(
        entry(&entries[1]).attributes.all("roles").is_empty(),
        "an empty cell states nothing"
    );
    let third = entry(&entries[2]);
    assert_eq!(third.attributes.first("given"), Some("Ca\"sey\nLine"));
    assert_eq!(
        third.organization.as_ref().and_then(|o| o.name.as_deref()),
        Some("Sample, Paving")
    );
}

#[tokio::test]
async fn an_end_marker_that_counts_right_is_proof_too() {
    let (listing, entries) = Delivery::csv(format!("{PEOPLE}#END 3\n")).list().await.expect("read");
    assert!(listing.complete, "{listing:?}");
    assert_eq!(entries.len(), 3);
    let (listing, _) = Delivery::csv(format!("{PEOPLE}#END 3")).list().await.expect("read");
    assert!(listing.complete, "the marker itself needs no line end: {listing:?}");
    let (listing, _) = Delivery::csv(format!("{PEOPLE}#END 4\n")).list().await.expect("read");
    assert_incomplete(&listing, "has 3 records and its end marker says 4");
    let (listing, _) = Delivery::csv(format!("{PEOPLE}#END 3\np4,,,d@x.example,D,\n"))
        .list()
        .await
        .expect("read");
    assert_incomplete(&listing, "goes on behind its end marker");
    let (listing, _) = Delivery::csv(format!("{PEOPLE}#END 3\n#END 3\n"))
        .list()
        .await
        .expect("read");
    assert_incomplete(&listing, "goes on behind its end marker");
    let (listing, _) = Delivery::csv(format!("{PEOPLE}#END 2\n"))
        .with_checksum()
        .list()
        .await
        .expect("read");
    assert_incomplete(&listing, "its end marker says 2");
}

#[tokio::test]
async fn without_proof_nobody_is_missing_and_the_answer_says_how_to_give_it() {
    let (listing, entries) = Delivery::csv(PEOPLE).list().await.expect("read");
    assert_incomplete(&listing, "sha256sum people.txt > people.txt.sha256");
    assert_incomplete(&listing, "#END N");
    assert_eq!(entries.len(), 3);
    let jsonl = Delivery::new(Format::Jsonl, "{\"id\":1}\n");
    assert_incomplete(&jsonl.list().await.expect("read").0, "{\"end\": N}");
    let strict = Delivery::csv(format!("{PEOPLE}#END 3\n")).set(|s| s.completeness = Completeness::Checksum);
    assert_incomplete(&strict.list().await.expect("read").0, "sha256sum");
    let strict = Delivery::csv(PEOPLE)
        .with_checksum()
        .set(|s| s.completeness = Completeness::EndMarker);
    assert_incomplete(&strict.list().await.expect("read").0, "#END N");
}

/// Cut after any byte: never complete, never a row that was not in the file.
#[tokio::test]
async fn a_file_cut_short_anywhere_is_never_whole() {
    let whole = format!("{PEOPLE}#END 3\n");
    let (_, all) = Delivery::csv(&whole).list().await.expect("read");
    for end in 0..PEOPLE.len() {
        let Ok((listing, entries)) = Delivery::csv(&whole[..end]).list().await else {
            assert!(end <= PEOPLE.find('\n').expect("a header"), "cut at {end}");
            continue;
        };
        assert!(!listing.complete, "cut at {end}: {listing:?}");
        for received in entries.iter().filter(|received| matches!(received, Received::Entry(_))) {
            assert!(all.contains(received), "cut at {end}: {received:?}");
        }
    }
}

#[tokio::test]
async fn a_checksum_that_does_not_fit_fails_the_listing() {
    let wrong = "0".repeat(64);
    let error = Delivery::csv(PEOPLE)
        .with_checksum_file(&format!("{wrong}  people.txt\n"))
        .error()
        .await;
    assert_eq!(error.kind, SourceErrorKind::Protocol);
    assert!(error.message.contains("SHA-256"), "{error}");
    for text in ["", "no sum\n", "abc  people.txt\n", &format!("{wrong}  other.txt\n")] {
        let error = Delivery::csv(PEOPLE).with_checksum_file(text).error().await;
        assert!(error.message.contains("sha256sum people.txt"), "{error}");
    }
    let marked = Delivery::csv(format!("{PEOPLE}#END 3\n")).with_checksum_file(&wrong);
    assert_eq!(
        marked.error().await.kind,
        SourceErrorKind::Protocol,
        "a right marker does not outweigh a wrong sum"
    );
}

#[tokio::test]
async fn checksum_files_come_in_several_forms() {
    let sum = Sha256::digest(PEOPLE.as_bytes());
    let sum: String = sum.iter().map(|byte| format!("{byte:02X}")).collect();
    for text in [
        format!("{sum}\n"),
        format!("{sum} *people.txt\r\n"),
        format!("{}  other.txt\n{sum}  ./out/people.txt\n", "1".repeat(64)),
    ] {
        let (listing, _) = Delivery::csv(PEOPLE)
            .with_checksum_file(&text)
            .list()
            .await
            .expect("read");
        assert!(listing.complete, "{text}: {listing:?}");
    }
}

#[tokio::test]
async fn bad_rows_are_kept_out_one_by_one() {
    let mut content = b"\xef\xbb\xbfid,firm_id,firm,mail,given,roles\r\n".to_vec();
    content.extend(b"p1,,,a@x.example,Avery,\r\n");
    content.extend(b"p2,,,b@x.example,Bla\xffke,\r\n");
    content.extend(b"p3,,,c@x.example,Casey\r\n");
    content.extend(b"p4,,,d@x.example,Drew,,,,\r\n");
    content.extend(format!("p5,,,e@x.example,{},\r\n", "x".repeat(1_000_000)).bytes());
    content.extend(b"p6,,,f@x.example,Fin\0ley,\r\n");
    content.extend(format!("p7,,,g@x.example,Gray,{}\r\n", "r;".repeat(2_000)).bytes());
    content.extend(b"p8,,,h@x.example,Harper,\r\n#END 8\r\n");
    let (listing, entries) = Delivery::csv(&content).list().await.expect("read");
    assert!(listing.complete, "each bad row has its id: {listing:?}");
    assert_eq!(entries.len(), 8);
    assert_eq!(entry(&entries[0]).attributes.first("given"), Some("Avery"));
    assert_eq!(unreadable(&entries[1]), (Some("p2"), QuarantineCode::Unreadable));
    assert_eq!(unreadable(&entries[2]), (Some("p3"), QuarantineCode::Unreadable));
    assert_eq!(unreadable(&entries[3]), (Some("p4"), QuarantineCode::Unreadable));
    assert_eq!(unreadable(&entries[4]), (Some("p5"), QuarantineCode::TooLarge));
    assert_eq!(
        entry(&entries[5]).attributes.first("given"),
        Some("Fin\0ley"),
        "the mapping judges the text"
    );
    assert_eq!(unreadable(&entries[6]), (Some("p7"), QuarantineCode::TooLarge));
    assert_eq!(entry(&entries[7]).id, id("p8"));
}

#[tokio::test]
async fn rows_that_nobody_can_name_make_absence_unprovable() {
    for bad in [
        ",,,a@x.example,A,".to_owned(),
        "p\u{1},,,a@x.example,A,".into(),
        format!("{},,,a@x.example,A,", "x".repeat(10_000)),
    ] {
        let delivery = Delivery::csv(format!("{PEOPLE}{bad}\n#END 4\n"));
        let (listing, entries) = delivery.list().await.expect("read");
        assert!(listing.complete, "the row counts as present: {listing:?}");
        assert_eq!(unreadable(&entries[3]), (None, QuarantineCode::BadId));
        let error = delivery.source().lookup(&id("gone")).await.expect_err("not proven");
        assert!(error.message.contains("proves nothing"), "{error}");
    }
    let id_is_last =
        Delivery::csv("firm_id,firm,mail,given,roles,id\n,,a@x.example,A,,p1\n,,b@x.example,B,p2\n#END 2\n");
    let (listing, entries) = id_is_last.list().await.expect("read");
    assert!(listing.complete, "{listing:?}");
    assert_eq!(unreadable(&entries[1]), (None, QuarantineCode::Unreadable));
}

#[tokio::test]
async fn headers_that_cannot_be_used_name_what_was_found() {
    let error = Delivery::csv("number,mail\n1,a@x.example\n").error().await;
    assert_eq!(error.kind, SourceErrorKind::Protocol);
    assert!(
        error.message.contains("no column `mail`") || error.message.contains("`number`, `mail`"),
        "{error}"
    );
    let error = Delivery::csv(PEOPLE.replacen("given", "first", 1)).error().await;
    assert!(
        error.message.contains("no column `given`") && error.message.contains("`first`"),
        "{error}"
    );
    let error = Delivery::csv(PEOPLE.replacen("firm,", "mail,", 1)).error().await;
    assert!(error.message.contains("two columns `mail`"), "{error}");
    let unused_twice = PEOPLE.replacen("roles\n", "roles,x,x\n", 1);
    let rows = unused_twice
        .replace("manager\n", "manager,,\n")
        .replace("Blake,\n", "Blake,,,\n");
    let rows = rows.replace("Line\",member\n", "Line\",member,,\n");
    let (listing, _) = Delivery::csv(rows)
        .with_checksum()
        .list()
        .await
        .expect("columns that nobody reads may repeat");
    assert!(listing.complete, "{listing:?}");
    let error = Delivery::csv("").with_checksum().error().await;
    assert!(error.message.contains("is empty"), "{error}");
    let error = Delivery::csv(b"id\xff,mail\n").error().await;
    assert!(error.message.contains("UTF-8"), "{error}");
    let html = Delivery::csv("<!DOCTYPE html><html><title>Sign in</title></html>")
        .error()
        .await;
    assert_eq!(html.kind, SourceErrorKind::Protocol);
}

#[tokio::test]
async fn a_byte_order_mark_may_stand_before_a_quoted_header() {
    let content = format!("\u{feff}{}", PEOPLE.replacen("id,", "\"id\",", 1));
    let (listing, entries) = Delivery::csv(content).with_checksum().list().await.expect("read");
    assert!(listing.complete);
    assert_eq!(entry(&entries[0]).id, id("p1"));
}

#[tokio::test]
async fn a_header_alone_is_an_empty_listing_only_with_proof() {
    let header = PEOPLE.lines().next().expect("a header");
    let (listing, entries) = Delivery::csv(format!("{header}\n"))
        .with_checksum()
        .list()
        .await
        .expect("read");
    assert!(listing.complete && entries.is_empty());
    let (listing, _) = Delivery::csv(format!("{header}\n")).list().await.expect("read");
    assert_incomplete(&listing, "nothing shows");
}

#[tokio::test]
async fn a_quotation_mark_that_is_never_closed_meets_a_limit() {
    let content = format!("{PEOPLE}p4,,,\"{}", "x,y\n".repeat(5_000));
    let delivery = Delivery::csv(content).set(|s| s.limits.record_bytes_max = 10_000);
    let error = delivery.error().await;
    assert_eq!(error.kind, SourceErrorKind::Limit);
    assert!(
        error.message.contains("never closed") && error.message.contains("line 6"),
        "{error}"
    );
    let long_line = Delivery::new(Format::Jsonl, format!("{{\"id\":\"{}\"}}\n", "x".repeat(20_000)));
    let error = long_line.set(|s| s.limits.record_bytes_max = 10_000).error().await;
    assert_eq!(error.kind, SourceErrorKind::Limit);
}

#[tokio::test]
async fn limits_of_entries_hold_at_the_last_one() {
    let delivery = Delivery::csv(PEOPLE).with_checksum().set(|s| s.limits.entries_max = 3);
    assert!(delivery.list().await.expect("three are allowed").0.complete);
    let error = delivery.set(|s| s.limits.entries_max = 2).error().await;
    assert_eq!(error.kind, SourceErrorKind::Limit);
    assert!(error.message.contains("`max_entries`"), "{error}");
}

#[tokio::test]
async fn files_that_are_none_say_so() {
    let delivery = Delivery::csv(PEOPLE);
    std::fs::remove_file(delivery.path()).expect("removed");
    let error = delivery.error().await;
    assert_eq!(error.kind, SourceErrorKind::NotFound);
    assert!(
        error.message.contains("people.txt") && error.message.contains("`path`"),
        "{error}"
    );
    std::fs::create_dir(delivery.path()).expect("made");
    let error = delivery.error().await;
    assert_eq!(error.kind, SourceErrorKind::Configuration);
    let device = Delivery::csv("").set(|s| s.path = PathBuf::from("/dev/zero"));
    assert_eq!(device.error().await.kind, SourceErrorKind::Configuration);
}

/// Reading waits at the first full batches; what happens to the file meanwhile is seen in the end.
#[tokio::test]
async fn a_file_that_changes_while_it_is_read_is_refused() {
    let rows: String = (0..20_000)
        .map(|n| format!("p{n},,,p{n}@x.example,Name {n},\n"))
        .collect();
    let content = format!("id,firm_id,firm,mail,given,roles\n{rows}#END 20000\n");
    let append = |path: &Path| {
        use std::io::Write as _;
        let mut file = std::fs::File::options().append(true).open(path).expect("open");
        file.write_all(b"late,,,l@x.example,L,\n").expect("appended");
    };
    let truncate = |path: &Path| {
        let file = std::fs::File::options().write(true).open(path).expect("open");
        file.set_len(500_000).expect("cut");
    };
    let replace = |path: &Path| {
        let other = path.with_extension("new");
        std::fs::write(&other, "id\n").expect("written");
        std::fs::rename(&other, path).expect("renamed");
    };
    let remove = |path: &Path| std::fs::remove_file(path).expect("removed");
    let changes: [&dyn Fn(&Path); 4] = [&append, &truncate, &replace, &remove];
    for change in changes {
        let delivery = Delivery::csv(&content);
        let (sender, mut receiver) = mpsc::channel::<Batch>(1);
        let source = delivery.source();
        let listing = source.list(&ListingScope::Source, sender);
        let meddle = async {
            receiver.recv().await.expect("a first batch");
            change(delivery.path());
            collect(receiver).await
        };
        let (listing, _) = tokio::join!(listing, meddle);
        let error = listing.expect_err("it changed");
        assert_eq!(error.kind, SourceErrorKind::Unavailable, "{error}");
        assert!(
            error.is_transient() && error.message.contains("while it was read"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_listing_stops_when_nobody_reads_it() {
    let rows: String = (0..10_000).map(|n| format!("p{n},,,p{n}@x.example,N,\n")).collect();
    let delivery = Delivery::csv(format!("id,firm_id,firm,mail,given,roles\n{rows}"));
    let (sender, mut receiver) = mpsc::channel::<Batch>(1);
    let source = delivery.source();
    let reader = async {
        let first = receiver.recv().await.expect("a first batch");
        drop(receiver);
        first.entries.len()
    };
    let (listing, first) = tokio::join!(source.list(&ListingScope::Source, sender), reader);
    assert_eq!(first, 1000);
    assert_eq!(listing.expect_err("stopped").kind, SourceErrorKind::Cancelled);
}

#[tokio::test]
async fn one_organization_is_picked_by_its_column() {
    let delivery = Delivery::csv(PEOPLE).with_checksum();
    let (listing, entries) = delivery
        .list_scope(ListingScope::Organization(id("f1")))
        .await
        .expect("read");
    assert!(listing.complete);
    assert_eq!((listing.entries, entries.len()), (2, 2));
    let (listing, entries) = delivery
        .list_scope(ListingScope::Organization(id("none")))
        .await
        .expect("read");
    assert!(listing.complete && entries.is_empty());
    let plain = delivery.set(|s| s.organization = None);
    let error = plain
        .list_scope(ListingScope::Organization(id("f1")))
        .await
        .expect_err("no column");
    assert_eq!(error.kind, SourceErrorKind::Configuration);
}

#[tokio::test]
async fn look_ups_need_a_whole_file_to_say_no() {
    let delivery = Delivery::csv(PEOPLE).with_checksum();
    let Lookup::Found(found) = delivery.source().lookup(&id("p2")).await.expect("read") else {
        panic!("p2 is there")
    };
    assert_eq!(entry(&found).id, id("p2"));
    assert_eq!(
        delivery.source().lookup(&id("P2")).await.expect("read"),
        Lookup::NotFound
    );
    let unproven = Delivery::csv(PEOPLE);
    assert!(matches!(
        unproven.source().lookup(&id("p1")).await,
        Ok(Lookup::Found(_))
    ));
    let error = unproven.source().lookup(&id("p9")).await.expect_err("not proven");
    assert!(error.message.contains("proves nothing"), "{error}");
    let twice = Delivery::csv(format!("{PEOPLE}p1,f2,X,other@x.example,Other,\n#END 4\n"));
    let Lookup::Found(found) = twice.source().lookup(&id("p1")).await.expect("read") else {
        panic!("p1 is there")
    };
    assert_eq!(unreadable(&found), (Some("p1"), QuarantineCode::DuplicateId));
}

#[tokio::test]
async fn organizations_are_found_by_id_and_by_name() {
    let source = Delivery::csv(PEOPLE);
    for wanted in ["f2", "sample, PAVING"] {
        let found = source.source().find_organization(wanted).await.expect("read");
        assert_eq!(found.len(), 1, "{wanted}");
        assert_eq!((found[0].id.as_str(), found[0].name.as_str()), ("f2", "Sample, Paving"));
    }
    assert!(source.source().find_organization("F2").await.expect("read").is_empty());
}

#[tokio::test]
async fn json_lines_are_read_as_objects() {
    let content = "\u{feff}{\"id\":1,\"firm_id\":7,\"firm\":\"Example\",\"mail\":\"a@x.example\",\"given\":null,\"roles\":[\"a\",\"b\",3]}\n\
        \n{\"id\":\"2\",\"mail\":\"\",\"given\":true,\"other\":{\"deep\":[1]}}\r\n\
        {\"id\":\"3\",\"mail\":{\"work\":\"c@x.example\"}}\n\
        {\"id\":\"4\",\"firm_id\":[1]}\n\
        {\"end\":4}\n";
    let (listing, entries) = Delivery::new(Format::Jsonl, content).list().await.expect("read");
    assert!(listing.complete, "{listing:?}");
    let first = entry(&entries[0]);
    assert_eq!(
        (first.id.as_str(), first.attributes.all("roles").join("")),
        ("1", "ab3".to_owned())
    );
    assert!(first.attributes.all("given").is_empty(), "null states nothing");
    assert_eq!(first.organization.as_ref().map(|o| o.id.as_str()), Some("7"));
    let second = entry(&entries[1]);
    assert_eq!(
        (second.attributes.first("mail"), second.attributes.first("given")),
        (Some(""), Some("true"))
    );
    assert_eq!(unreadable(&entries[2]), (Some("3"), QuarantineCode::Unreadable));
    assert_eq!(unreadable(&entries[3]), (Some("4"), QuarantineCode::Unreadable));
}

#[tokio::test]
async fn json_lines_that_cannot_be_read_have_no_id() {
    let deep = format!("{{\"id\":\"1\",\"x\":{}1{}}}", "[".repeat(50_000), "]".repeat(50_000));
    let bad = [
        "{\"id\":\"1\"",
        "[1]",
        "5",
        "{\"id\":{}}",
        "{\"mail\":\"a@x.example\"}",
        "<html>",
        deep.as_str(),
    ];
    for bad in bad {
        let content = format!("{{\"id\":\"0\"}}\n{bad}\n{{\"end\":2}}\n");
        let (listing, entries) = Delivery::new(Format::Jsonl, content).list().await.expect("read");
        assert!(listing.complete, "{listing:?}");
        assert_eq!(unreadable(&entries[1]).0, None);
    }
    let mut content = b"{\"id\":\"0\"}\n{\"id\":\"\xff\"}\n".to_vec();
    content.extend(b"{\"end\":2}");
    let (listing, _) = Delivery::new(Format::Jsonl, content).list().await.expect("read");
    assert!(listing.complete, "{listing:?}");
}

#[tokio::test]
async fn a_probe_tells_what_is_there() {
    let probes = Delivery::csv(PEOPLE).with_checksum().source().probe().await;
    let said: Vec<String> = probes.into_iter().map(|probe| probe.outcome.expect("fine")).collect();
    assert!(said[0].contains("bytes") && said[1].contains("SHA-256"), "{said:?}");
    assert!(
        said[2].contains("3 records, 0 unreadable") && said[2].contains("roles 2"),
        "{said:?}"
    );
    let probes = Delivery::csv("x\n").source().probe().await;
    assert!(
        probes
            .last()
            .expect("steps")
            .outcome
            .as_ref()
            .expect_err("no columns")
            .message
            .contains("`x`")
    );
    let missing = Delivery::csv("").set(|s| s.path = PathBuf::from("/nonexistent/people.csv"));
    let probes = missing.source().probe().await;
    assert_eq!(probes.len(), 1);
    assert_eq!(
        probes[0].outcome.as_ref().expect_err("missing").kind,
        SourceErrorKind::NotFound
    );
}

#[tokio::test]
async fn a_listing_ends_when_its_time_is_up() {
    let rows: String = (0..2_000).map(|n| format!("p{n},,,p{n}@x.example,N,\n")).collect();
    let delivery = Delivery::csv(format!("id,firm_id,firm,mail,given,roles\n{rows}"));
    let error = delivery
        .set(|s| s.limits.listing_time_max = Duration::ZERO)
        .error()
        .await;
    assert_eq!(error.kind, SourceErrorKind::Timeout);
}
