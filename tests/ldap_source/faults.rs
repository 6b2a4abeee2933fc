//! Servers that err, lie or attack: whatever they do, no listing is called complete that is not, and the process
//! goes on.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc as blocking;
use std::time::Duration;

use rollcall::domain::entry::Received;
use rollcall::domain::quarantine::QuarantineCode;
use rollcall::sources::ldap::{Ldap, Settings};
use rollcall::sources::{ListingScope, Source, SourceErrorKind};
use tokio::sync::mpsc;

use super::raw_directory::{BIND, EXTENDED, RawDirectory, done, entry, message, person, reference, result, tlv};
use super::{bind, failure, id, list, try_list};

#[tokio::test]
async fn the_same_page_again_and_again_ends_the_listing() {
    let stuck = RawDirectory::searching(|asked| {
        [
            person(asked.id, "a"),
            person(asked.id, "b"),
            done(asked.id, 0, Some(b"X")),
        ]
        .concat()
    });
    let read = list(stuck.settings()).await;
    assert!(read.reason().contains("same page"), "{}", read.reason());
    assert_eq!(read.listing.pages, 2);

    let round = RawDirectory::searching(|asked| match asked.contains(b"to-b") {
        false => [person(asked.id, "a"), done(asked.id, 0, Some(b"to-b"))].concat(),
        true => [person(asked.id, "b"), done(asked.id, 0, Some(b"to-a"))].concat(),
    });
    let read = list(round.settings()).await;
    assert!(read.reason().contains("same page"), "{}", read.reason());
    assert_eq!(read.listing.pages, 3);

    let empty = RawDirectory::searching(|asked| done(asked.id, 0, Some(b"X")));
    assert!(list(empty.settings()).await.reason().contains("same page"));
}

#[tokio::test]
async fn one_cookie_for_all_pages_is_no_loop_while_the_entries_are_new() {
    let pages = AtomicUsize::new(0);
    let directory = RawDirectory::searching(move |asked| {
        let page = pages.fetch_add(1, Ordering::SeqCst);
        let cookie: &[u8] = if page == 3 { b"" } else { b"0" };
        [person(asked.id, &format!("u{page}")), done(asked.id, 0, Some(cookie))].concat()
    });
    let read = list(directory.settings()).await;
    assert!(read.listing.complete, "{:?}", read.listing);
    assert_eq!(read.ids(), ["u0", "u1", "u2", "u3"]);
}

#[tokio::test]
async fn a_code_in_the_middle_with_a_cookie_is_never_an_end() {
    for (code, kind) in [
        (3, None),
        (4, None),
        (11, None),
        (53, None),
        (10, None),
        (1, Some(SourceErrorKind::Authentication)),
        (50, Some(SourceErrorKind::Forbidden)),
        (51, Some(SourceErrorKind::Unavailable)),
        (52, Some(SourceErrorKind::Unavailable)),
        (32, Some(SourceErrorKind::NotFound)),
        (12, Some(SourceErrorKind::Protocol)),
        (80, Some(SourceErrorKind::Protocol)),
        (123, Some(SourceErrorKind::Protocol)),
    ] {
        for (first, cookie) in [
            (true, None),
            (true, Some(&b"more"[..])),
            (false, None),
            (false, Some(&b"x"[..])),
        ] {
            let directory = RawDirectory::searching(move |asked| match first || asked.contains(b"next") {
                true => [person(asked.id, "b"), done(asked.id, code, cookie)].concat(),
                false => [person(asked.id, "a"), done(asked.id, 0, Some(b"next"))].concat(),
            });
            match try_list(directory.settings(), ListingScope::Source).await {
                Ok(read) => {
                    assert_eq!(kind, None, "{code}");
                    assert!(read.reason().contains("127.0.0.1:"), "{}", read.reason());
                    assert_eq!(read.ids().len(), if first { 1 } else { 2 });
                }
                Err(error) => assert_eq!(Some(error.kind), kind, "{code}: {error}"),
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_ignores_paging_proves_nothing_unless_told_so() {
    let directory = RawDirectory::searching(|asked| {
        let people: Vec<_> = (0..5).flat_map(|n| person(asked.id, &format!("u{n}"))).collect();
        [people, done(asked.id, 0, None)].concat()
    });
    let read = list(directory.settings()).await;
    assert!(read.reason().contains("page_size = 0"), "{}", read.reason());
    assert_eq!(read.ids().len(), 5);
    let read = list(Settings {
        page_size: 0,
        ..directory.settings()
    })
    .await;
    assert!(read.listing.complete, "{:?}", read.listing);
}

#[tokio::test]
async fn references_are_named_and_never_followed() {
    let elsewhere = RawDirectory::searching(|asked| done(asked.id, 0, Some(b"")));
    let url = format!("{}/ou=a,dc=raw,dc=example", elsewhere.url());
    let target = url.clone();
    let directory = RawDirectory::searching(move |asked| {
        [
            person(asked.id, "a"),
            reference(asked.id, &target),
            done(asked.id, 0, Some(b"")),
        ]
        .concat()
    });
    let read = list(directory.settings()).await;
    assert!(read.reason().contains(&url), "{}", read.reason());
    assert_eq!(read.ids(), ["a"]);
    let read = list(Settings {
        ignore_referrals: true,
        ..directory.settings()
    })
    .await;
    assert!(
        read.listing.complete && read.listing.proof.len() == 2,
        "{:?}",
        read.listing
    );

    let target = url.clone();
    let referral = RawDirectory::searching(move |asked| {
        let urls = tlv(0xa3, &tlv(4, target.as_bytes()));
        message(
            asked.id,
            0x65,
            &[tlv(10, &[10]), tlv(4, b""), tlv(4, b""), urls].concat(),
            b"",
        )
    });
    let read = list(referral.settings()).await;
    assert!(read.reason().contains(&url), "{}", read.reason());
    assert!(elsewhere.requests.lock().expect("whole").is_empty());
}

#[tokio::test]
async fn a_look_up_that_only_saw_references_is_no_not_found() {
    let directory = RawDirectory::searching(|asked| {
        [
            reference(asked.id, "ldap://other.example/dc=x"),
            done(asked.id, 0, None),
        ]
        .concat()
    });
    let source = Ldap::new(directory.settings()).expect("settings");
    let error = source.lookup(&id("a")).await.expect_err("not to be trusted");
    assert_eq!(error.kind, SourceErrorKind::ForeignOrigin);
}

#[tokio::test]
async fn attacks_on_the_decoder_end_the_connection_and_nothing_else() {
    let bomb = (0..5_000).fold(Vec::new(), |inner, _| tlv(0x30, &inner));
    let deep = move |id| message(id, 0x64, &bomb, b"");
    let long = |_| vec![0x30, 0x86, 1, 0, 0, 0, 0, 0, 2, 1, 1];
    let endless = |_| vec![0x30, 0x80, 2, 1, 1];
    let http = |_| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
    let no_code = |id| message(id, 0x65, b"", b"");
    let inner = |id| tlv(0x30, &[&tlv(2, &[id])[..], &[0x64, 3, 4, 9, b'x']].concat());
    let odd_text = |id| message(id, 0x65, &[tlv(10, &[0]), tlv(4, b"\xff"), tlv(4, b"")].concat(), b"");
    let odd_control = |id| {
        message(
            id,
            0x65,
            &[tlv(10, &[0]), tlv(4, b""), tlv(4, b"")].concat(),
            &tlv(0xa0, b"\x04\x00"),
        )
    };
    let odd_cookie = |id| {
        let control = tlv(
            0xa0,
            &tlv(0x30, &[tlv(4, b"1.2.840.113556.1.4.319"), tlv(4, b"\xff")].concat()),
        );
        message(id, 0x65, &[tlv(10, &[0]), tlv(4, b""), tlv(4, b"")].concat(), &control)
    };
    let bind_answer = |id| result(id, 0x61, 0, "");
    let other_id = |id| done(id + 1, 0, Some(b""));
    type Attack = Box<dyn Fn(u8) -> Vec<u8> + Send + Sync>;
    let attacks: Vec<(Attack, SourceErrorKind)> = vec![
        (Box::new(deep), SourceErrorKind::Limit),
        (Box::new(long), SourceErrorKind::Limit),
        (Box::new(endless), SourceErrorKind::Protocol),
        (Box::new(http), SourceErrorKind::Protocol),
        (Box::new(no_code), SourceErrorKind::Protocol),
        (Box::new(inner), SourceErrorKind::Protocol),
        (Box::new(odd_text), SourceErrorKind::Protocol),
        (Box::new(odd_control), SourceErrorKind::Protocol),
        (Box::new(odd_cookie), SourceErrorKind::Protocol),
        (Box::new(bind_answer), SourceErrorKind::Protocol),
        (Box::new(other_id), SourceErrorKind::Protocol),
        (
            Box::new(|_| result(0, 0x78, 52, "going down")),
            SourceErrorKind::Unavailable,
        ),
    ];
    for (number, (attack, kind)) in attacks.into_iter().enumerate() {
        let directory = RawDirectory::searching(move |asked| [person(asked.id, "a"), attack(asked.id)].concat());
        let error = failure(directory.settings()).await;
        assert_eq!(error.kind, kind, "{number}: {error}");
        assert!(error.message.contains("127.0.0.1:"), "{error}");
    }
}

#[tokio::test]
async fn a_flood_that_nobody_reads_is_not_taken_in() {
    /// What may lie in kernel buffers, in our window and in the batches in flight, together.
    const TAKEN_BYTES_MAX: usize = 48 * 1024 * 1024;
    let (told, taken) = blocking::channel();
    let directory = RawDirectory::start(move |asked, stream| {
        let value = vec![b'x'; 1000];
        let people: Vec<_> = (0..100)
            .flat_map(|n| {
                entry(
                    asked.id,
                    format!("uid={n}").as_bytes(),
                    &[("uid", &[b"a"]), ("mail", &[&value])],
                )
            })
            .collect();
        stream
            .set_write_timeout(Some(Duration::from_millis(300)))
            .expect("a socket");
        let mut written = 0;
        while written < 2 * TAKEN_BYTES_MAX {
            match stream.write(&people) {
                Ok(bytes) => written += bytes,
                Err(_) => break,
            }
        }
        told.send(written).is_ok()
    });
    let source = Ldap::new(directory.settings()).expect("settings");
    let (sender, receiver) = mpsc::channel(8);
    let reading = tokio::spawn(async move { source.list(&ListingScope::Source, sender).await });
    let written = tokio::task::spawn_blocking(move || taken.recv().expect("told"))
        .await
        .expect("joined");
    assert!(written < TAKEN_BYTES_MAX, "{written} bytes were taken in");
    drop(receiver);
    let error = reading.await.expect("no panic").expect_err("stopped");
    assert_eq!(error.kind, SourceErrorKind::Cancelled);
}

#[tokio::test]
async fn a_connection_that_breaks_after_any_byte_is_never_complete() {
    let first = [person(1, "a"), done(1, 0, Some(b"next"))].concat();
    let second = [person(2, "b"), done(2, 0, Some(b""))].concat();
    let whole = first.len() + second.len();
    for cut in 0..=whole {
        let (first, second) = (first.clone(), second.clone());
        let directory = RawDirectory::start(move |asked, stream| {
            let (answer, cut) = match asked.contains(b"next") {
                false => (&first, cut.min(first.len())),
                true => (&second, cut.saturating_sub(first.len())),
            };
            stream.write_all(&answer[..cut]).is_ok() && cut == answer.len()
        });
        match try_list(directory.settings(), ListingScope::Source).await {
            Ok(read) => assert!(cut == whole && read.listing.complete, "{cut}: {:?}", read.listing),
            Err(error) => assert!(
                cut < whole && error.kind == SourceErrorKind::Unreachable,
                "{cut}: {error}"
            ),
        }
    }
}

#[tokio::test]
async fn no_credential_is_sent_where_starttls_is_stripped() {
    type Strip = fn(u8) -> Vec<u8>;
    let refuses: Strip = |id| result(id, 0x78, 2, "unsupported extended operation");
    let pretends: Strip = |id| [result(id, 0x78, 0, ""), b"no TLS here".to_vec()].concat();
    let babbles: Strip = |_| b"\x15\x03\x01".to_vec();
    let closes: Strip = |_| Vec::new();
    for strip in [refuses, pretends, babbles, closes] {
        let directory = RawDirectory::start(move |asked, stream| {
            let answer = strip(asked.id);
            stream.write_all(&answer).is_ok() && !answer.is_empty()
        });
        let with = Settings {
            bind: bind("cn=reader"),
            starttls: true,
            ..directory.settings()
        };
        let error = failure(with).await;
        assert_eq!(error.kind, SourceErrorKind::Tls, "{error}");
        let requests = directory.requests.lock().expect("whole");
        assert_eq!(requests[0].operation, EXTENDED);
        assert!(
            !requests.iter().any(|request| request.operation == BIND),
            "{requests:?}"
        );
    }
}

#[tokio::test]
async fn a_busy_server_is_asked_again_and_a_refused_password_never() {
    let tries = AtomicUsize::new(0);
    let directory = RawDirectory::start(move |asked, stream| match asked.operation {
        BIND => {
            let code = if tries.fetch_add(1, Ordering::SeqCst) < 2 {
                51
            } else {
                0
            };
            stream.write_all(&result(asked.id, 0x61, code, "")).is_ok()
        }
        _ => stream.write_all(&done(asked.id, 0, Some(b""))).is_ok(),
    });
    let read = list(Settings {
        bind: bind("cn=reader"),
        ..directory.settings()
    })
    .await;
    assert!(read.listing.complete);

    let refusing = RawDirectory::start(|asked, stream| stream.write_all(&result(asked.id, 0x61, 49, "")).is_ok());
    let error = failure(Settings {
        bind: bind("cn=reader"),
        ..refusing.settings()
    })
    .await;
    assert_eq!(error.kind, SourceErrorKind::Authentication);
    assert_eq!(refusing.requests.lock().expect("whole").len(), 1);
}

#[tokio::test]
async fn a_server_that_drips_runs_into_the_time_limit() {
    let directory = RawDirectory::start(|asked, stream| {
        let page = [person(asked.id, "a"), done(asked.id, 0, Some(b""))].concat();
        page.chunks(1).all(|byte| {
            // The pace of the server that is played, not a wait for anything.
            std::thread::sleep(Duration::from_millis(20));
            stream.write_all(byte).is_ok()
        })
    });
    let mut with = directory.settings();
    with.timeouts.idle = Duration::from_millis(200);
    assert_eq!(failure(with).await.kind, SourceErrorKind::Timeout);
}

#[tokio::test]
async fn what_was_proven_before_a_server_goes_down_stays_proven() {
    let directory = RawDirectory::searching(|asked| {
        [
            person(asked.id, "a"),
            done(asked.id, 0, Some(b"")),
            result(0, 0x78, 52, "going down"),
        ]
        .concat()
    });
    let read = list(directory.settings()).await;
    assert!(read.listing.complete && read.ids() == ["a"], "{:?}", read.listing);
}

#[tokio::test]
async fn bytes_that_are_no_text_are_one_entrys_trouble() {
    let directory = RawDirectory::searching(|asked| {
        [
            entry(asked.id, b"uid=\xff,dc=example", &[("uid", &[b"a"])]),
            entry(
                asked.id,
                b"uid=b,dc=example",
                &[("uid", &[b"b"]), ("mail", &[b"\xfe@firm.example"])],
            ),
            entry(asked.id, b"uid=c,dc=example", &[("uid", &[b"\xff"])]),
            person(asked.id, "d"),
            done(asked.id, 0, Some(b"")),
        ]
        .concat()
    });
    let read = list(directory.settings()).await;
    let seen: Vec<_> = read
        .received()
        .into_iter()
        .map(|received| match received {
            Received::Entry(entry) => (Some(entry.id.as_str()), None),
            Received::Unreadable { id, reason } => (id.as_ref().map(|id| id.as_str()), Some(reason.code)),
        })
        .collect();
    let unreadable = Some(QuarantineCode::Unreadable);
    assert_eq!(
        seen,
        [
            (Some("a"), unreadable),
            (Some("b"), unreadable),
            (None, Some(QuarantineCode::BadId)),
            (Some("d"), None)
        ]
    );
}
