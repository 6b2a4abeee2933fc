//! What strangers may take: connections, time and memory. Whatever they do, the process lives and others are answered.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Served;
use crate::harness::daemon::{DEADLINE, Daemon};
use crate::harness::database::Database;

/// How much of a body is written at once.
const PIECE: usize = 64 * 1024;

/// Peak memory of the process, in bytes (proc_pid_status(5)).
fn peak_memory(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).expect("the process lives");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("a peak");
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes * 1024
}

async fn connect(daemon: &Daemon) -> TcpStream {
    TcpStream::connect(daemon.address()).await.expect("a connection")
}

/// What comes until the server ends the connection.
async fn to_the_end(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A connection that is reset has ended, too.
    let read = tokio::time::timeout(DEADLINE, socket.read_to_end(&mut bytes)).await;
    let _ = read.expect("the server ends the connection");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_half_sent_heads_keep_nobody_out() {
    let served = Served::with(Database::sqlite().await, "max_connections = 200\n").await;
    let before = peak_memory(&served.daemon);
    let mut sockets = Vec::new();
    for number in 0..5_000 {
        let mut socket = connect(&served.daemon).await;
        socket
            .write_all(b"GET /api/v1/runs HTTP/1.1\r\nHost: a\r\nX-Half: ")
            .await
            .expect("written");
        sockets.push(socket);
        if number % 500 == 499 {
            let asked = Instant::now();
            let fresh = served.daemon.api("");
            assert_eq!(fresh.get("/healthz").await.status, 200);
            assert!(
                asked.elapsed() < Duration::from_secs(5),
                "{number}: {:?}",
                asked.elapsed()
            );
        }
    }
    // The oldest had to go, without a word.
    assert_eq!(to_the_end(&mut sockets[0]).await, "");
    let grown = peak_memory(&served.daemon) - before;
    assert!(grown < 64 << 20, "{grown}");
    drop(sockets);
    assert_eq!(served.admin.get("/runs").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_being_answered_is_not_closed_to_make_room() {
    let served = Served::with(Database::sqlite().await, "max_connections = 8\n").await;
    let (store, lease) = served.hold_source().await;
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let api = served.daemon.api(&served.secret);
            tokio::spawn(async move { api.post("/sources/connex/sync?wait=60", serde_json::json!({})).await })
        })
        .collect();
    // They take every connection once they are all there, those of this test's own client included.
    let refused = crate::harness::daemon::eventually("the limit", async || {
        let ask = served.daemon.api("");
        let answered = tokio::time::timeout(Duration::from_secs(1), ask.get("/healthz")).await;
        answered.is_err().then_some(())
    });
    refused.await;
    // The ninth waits, and is answered when one of them is done.
    let ninth = tokio::spawn({
        let api = served.daemon.api("");
        async move { api.get("/healthz").await }
    });
    store.release_lease(&lease).await.expect("given back");
    for one in waiting {
        assert_eq!(one.await.expect("no panic").is(200)["state"], "applied");
    }
    assert_eq!(ninth.await.expect("no panic").status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_slow_heads_and_idleness_end() {
    let short = "first_byte_timeout = \"1s\"\nheader_timeout = \"2s\"\nidle_timeout = \"1s\"\n";
    let served = Served::with(Database::sqlite().await, short).await;
    let begun = Instant::now();
    let mut silent = connect(&served.daemon).await;
    assert_eq!(to_the_end(&mut silent).await, "");
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());

    // One byte now and then does not help: the head as a whole has its time.
    let begun = Instant::now();
    let mut slow = connect(&served.daemon).await;
    for byte in b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: ".iter().cycle() {
        let mut buffer = [0];
        let read = tokio::time::timeout(Duration::from_millis(50), slow.read(&mut buffer)).await;
        if matches!(read, Ok(Ok(0) | Err(_))) || slow.write_all(&[*byte]).await.is_err() {
            break;
        }
        assert!(begun.elapsed() < DEADLINE, "the slow head was not ended");
    }
    assert!(begun.elapsed() >= Duration::from_millis(1_900), "{:?}", begun.elapsed());

    let begun = Instant::now();
    let mut idle = connect(&served.daemon).await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .expect("written");
    let answer = to_the_end(&mut idle).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with('}'),
        "{answer}"
    );
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_without_end_and_slow_ones_are_refused() {
    let served = Served::with(Database::sqlite().await, "request_timeout = \"2s\"\n").await;
    let head = |more: &str| {
        format!(
            "POST /api/v1/sources/connex/sync HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n{more}\r\n\r\n",
            served.secret
        )
    };
    let before = peak_memory(&served.daemon);
    for more in ["Content-Length: 104857600", "Transfer-Encoding: chunked"] {
        let (mut from, mut to) = connect(&served.daemon).await.into_split();
        to.write_all(head(more).as_bytes()).await.expect("written");
        let is_chunked = more.starts_with("Transfer");
        let writing = tokio::spawn(async move {
            for _ in 0..1_600 {
                let size = format!("{:x}\r\n", PIECE);
                if is_chunked && to.write_all(size.as_bytes()).await.is_err() {
                    return;
                }
                if to.write_all(&vec![b' '; PIECE]).await.is_err() {
                    return;
                }
                if is_chunked && to.write_all(b"\r\n").await.is_err() {
                    return;
                }
            }
        });
        let mut answer = Vec::new();
        // The client may be cut off before it has read why.
        let _ = tokio::time::timeout(DEADLINE, from.read_to_end(&mut answer))
            .await
            .expect("the end");
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 413 "),
            "{more}: {answer}"
        );
        tokio::time::timeout(DEADLINE, writing)
            .await
            .expect("nobody reads 100 MB")
            .expect("no panic");
        assert_eq!(served.admin.get("/runs").await.is(200)["items"], serde_json::json!([]));
    }
    let grown = peak_memory(&served.daemon) - before;
    assert!(grown < 32 << 20, "{grown}");

    let begun = Instant::now();
    let mut slow = connect(&served.daemon).await;
    slow.write_all(head("Content-Length: 1000").as_bytes())
        .await
        .expect("written");
    slow.write_all(b"{").await.expect("written");
    let answer = to_the_end(&mut slow).await;
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.contains("body_timeout"),
        "{answer}"
    );
    assert!(begun.elapsed() >= Duration::from_millis(1_900), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_is_let_go() {
    let served = Served::with(
        Database::sqlite().await,
        "request_timeout = \"1s\"\nidle_timeout = \"3s\"\n",
    )
    .await;
    let before = peak_memory(&served.daemon);
    let (_from, mut to) = connect(&served.daemon).await.into_split();
    // It asks and asks, and takes no answer: soon it cannot even ask any more, and then it is closed.
    let asking = async {
        while to
            .write_all(b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .is_ok()
        {}
    };
    tokio::time::timeout(DEADLINE, asking)
        .await
        .expect("the server lets go");
    let grown = peak_memory(&served.daemon) - before;
    assert!(grown < 32 << 20, "{grown}");
    assert_eq!(served.admin.get("/runs").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_are_none_or_too_large_are_refused() {
    let served = Served::new(Database::sqlite().await).await;
    let huge = format!(
        "GET /healthz HTTP/1.1\r\nHost: a\r\nX-Huge: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    let many: String = (0..200).map(|n| format!("X-{n}: a\r\n")).collect();
    let many = format!("GET /healthz HTTP/1.1\r\nHost: a\r\n{many}\r\n");
    for (bytes, status) in [
        (huge.as_bytes(), "431"),
        (many.as_bytes(), "431"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400"),
        (b"GET / HTTP/9.9\r\n\r\n", "400"),
        (b"SSH-2.0-example\r\n\r\n", "400"),
    ] {
        let mut socket = connect(&served.daemon).await;
        // The server may have refused before everything is written.
        let _ = socket.write_all(bytes).await;
        let answer = to_the_end(&mut socket).await;
        let refused = answer.starts_with(&format!("HTTP/1.1 {status} ")) || answer.is_empty();
        assert!(refused, "{answer}");
    }
    assert_eq!(served.admin.get("/runs").await.status, 200);
}
