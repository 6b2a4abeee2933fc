//! Servers that would lead the source elsewhere, hold it for ever, fill its memory, or are not who they should be.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rollcall::sources::SourceErrorKind as Kind;
use rollcall::sources::connex::Connex;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};

use super::{CANARY, NO_ORGANIZATIONS, accounts, connex, list_all, oauth, page, sample, settings};
use crate::harness::raw_server::{RawServer, Reply, answer};

#[tokio::test]
async fn nothing_is_followed_to_another_place() {
    let trap = Arc::new(RawServer::start(|_| Reply::json(200, page(&["u-1"], None, None))).await);
    let elsewhere = trap.url().join("/api/v1/users").expect("a URL");
    for status in [301, 302, 303, 307, 308] {
        let target = elsewhere.clone();
        let server = accounts(move |_| Reply::full(status, &[("location", target.as_str())], "")).await;
        let error = list_all(&connex(server.url())).await.0.expect_err("redirected");
        assert_eq!(error.kind, Kind::ForeignOrigin, "{error}");
        assert!(
            error
                .message
                .contains(&format!("127.0.0.1:{}", elsewhere.port().expect("one"))),
            "{error}"
        );
    }
    for next in [
        elsewhere.as_str(),
        "https://user:pw@elsewhere.example/",
        "//169.254.169.254/latest",
    ] {
        let body = page(&["u-1"], Some(next), None);
        let link = format!("<{elsewhere}>; rel=\"next\"");
        let server =
            accounts(move |_| Reply::full(200, &[("content-type", "application/json"), ("link", &link)], &body)).await;
        let error = list_all(&connex(server.url())).await.0.expect_err("foreign");
        assert_eq!(error.kind, Kind::ForeignOrigin, "{error}");
        assert_eq!(server.requests().len(), 2);
    }
    let target = elsewhere.clone();
    let server = RawServer::start(move |_| Reply::full(307, &[("location", target.as_str())], "")).await;
    let error = list_all(&oauth(server.url()))
        .await
        .0
        .expect_err("the token endpoint redirects");
    assert_eq!(error.kind, Kind::ForeignOrigin, "{error}");
    assert!(trap.requests().is_empty(), "nothing was sent there");
}

#[tokio::test]
async fn servers_that_are_silent_or_drip_are_given_up() {
    let body = page(&["u-1"], None, None);
    let whole = answer(
        200,
        &[("content-type", "application/json")],
        body.as_bytes(),
        body.len(),
    );
    let half = whole[..whole.len() / 2].to_vec();
    for reply in [
        Reply::Stall(Vec::new()),
        Reply::Stall(half),
        Reply::Drip(whole, Duration::from_millis(20)),
    ] {
        let shown = format!("{reply:?}").chars().take(20).collect::<String>();
        let server = accounts(move |_| reply.clone()).await;
        let mut settings = settings(server.url());
        settings.retries_max = 0;
        settings.connect_timeout = Duration::from_millis(500);
        settings.first_byte_timeout = Duration::from_millis(100);
        settings.idle_timeout = Duration::from_millis(200);
        settings.page_timeout = Duration::from_millis(900);
        let source = Connex::new(settings.clone()).expect("settings");
        let error = list_all(&source).await.0.expect_err(&shown);
        assert_eq!(error.kind, Kind::Timeout, "{shown}: {error}");
        settings.listing_timeout = Duration::from_millis(50);
        let error = list_all(&Connex::new(settings).expect("settings"))
            .await
            .0
            .expect_err(&shown);
        assert!(
            error.kind == Kind::Timeout && error.message.contains("listing"),
            "{shown}: {error}"
        );
    }
}

/// A gzip stream of a fixed Huffman block that says "the last byte again, 258 times" `times` over.
fn gzip_bomb(times: usize) -> Vec<u8> {
    let mut bits = vec![true, true, false];
    // The literal 0x20 is code 0x30 + 0x20 in eight bits, most significant first.
    bits.extend((0..8).rev().map(|bit| (0x50 >> bit) & 1 == 1));
    for _ in 0..times {
        // Length 258 is symbol 285, code 0b11000101; distance 1 is code 0 in five bits.
        bits.extend((0..8).rev().map(|bit| (0b1100_0101 >> bit) & 1 == 1));
        bits.extend([false; 5]);
    }
    let mut stream = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    for byte in bits.chunks(8) {
        stream.push(
            byte.iter()
                .enumerate()
                .fold(0, |sum, (at, bit)| sum | (u8::from(*bit) << at)),
        );
    }
    stream
}

#[tokio::test]
async fn bodies_without_end_and_bombs_meet_a_limit() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"items\": [".to_vec();
    let zipped = [("content-type", "application/json"), ("content-encoding", "gzip")];
    for reply in [
        Reply::Endless(head, br#"{"id": "u-1"},"#.repeat(100)),
        Reply::full(200, &zipped, gzip_bomb(20_000)),
    ] {
        let server = accounts(move |_| reply.clone()).await;
        let mut settings = settings(server.url());
        settings.page_bytes_max = 1024 * 1024;
        let error = list_all(&Connex::new(settings).expect("settings"))
            .await
            .0
            .expect_err("too much");
        assert_eq!(error.kind, Kind::Limit, "{error}");
        assert_eq!(server.requests().len(), 2, "not tried again");
    }
}

/// An authority, written to a file, and a server's certificate that it signed.
fn certificates(folder: &tempfile::TempDir, names: &[&str], expired: bool) -> (PathBuf, TlsAcceptor) {
    let authority_key = rcgen::KeyPair::generate().expect("a key");
    let mut authority = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&authority_key).expect("signed");
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, certificate.pem()).expect("written");
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut server = rcgen::CertificateParams::new(names).expect("parameters");
    if expired {
        server.not_before = rcgen::date_time_ymd(2020, 1, 1);
        server.not_after = rcgen::date_time_ymd(2021, 1, 1);
    }
    let key = rcgen::KeyPair::generate().expect("a key");
    let signed = server.signed_by(&key, &issuer).expect("signed");
    let configuration = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![signed.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .expect("a certificate");
    (file, TlsAcceptor::from(Arc::new(configuration)))
}

#[tokio::test]
async fn a_certificate_that_is_not_good_is_refused_before_anything_is_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let (other_authority, _) = certificates(&elsewhere, &["localhost"], false);
    for (names, expired, trusted, good) in [
        (&["localhost"][..], false, true, true),
        (&["localhost"], true, true, false),
        (&["elsewhere.example"], false, true, false),
        (&["localhost"], false, false, false),
    ] {
        let (authority, tls) = certificates(&folder, names, expired);
        let server = RawServer::start_with(Some(tls), |_| Reply::json(200, NO_ORGANIZATIONS)).await;
        let mut settings = settings(server.url_of("localhost"));
        settings.ca_file = Some(if trusted { authority } else { other_authority.clone() });
        let (listing, _) = list_all(&Connex::new(settings).expect("settings")).await;
        if good {
            assert!(listing.expect("a listing").complete);
            assert_eq!(
                server.requests()[0].headers["authorization"],
                format!("Bearer {CANARY}")
            );
        } else {
            let error = listing.expect_err("refused");
            assert_eq!(error.kind, Kind::Tls, "{error}");
            assert!(
                error.message.contains("localhost") && error.message.contains("ca_file"),
                "{error}"
            );
            assert!(server.requests().is_empty(), "nothing was sent");
        }
    }
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_was_asked_for() {
    let running = sample().await;
    let mut url = running.url();
    url.set_scheme("https").expect("a scheme");
    let error = list_all(&connex(url)).await.0.expect_err("no TLS");
    assert_eq!(error.kind, Kind::Tls, "{error}");
}
