//! How many bytes go into SQLite's write-ahead log, seen from outside. A checkpoint lets the log begin anew, so its
//! size alone tells too little: the header of the index beside it (`-shm`) tells how many pages the log holds and by
//! which salt it goes, and is looked at every few milliseconds.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::Outcome;

/// Between two looks. A log that began anew within that time and grew again is counted from where it was last seen.
const LOOK: Duration = Duration::from_millis(2);

/// Bytes of the header of a page in the log, beside the page itself (SQLite's documentation, "WAL File Format").
const FRAME_HEADER_BYTES: u64 = 24;

/// A log under observation.
pub(crate) struct Watch {
    index: Arc<File>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Outcome<u64>>>,
}

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    page_bytes: u64,
    frames: u64,
    salt: [u8; 8],
}

impl Watch {
    /// Of the database `file`, which some connection holds open.
    pub(crate) fn new(file: &Path) -> Outcome<Self> {
        let index = File::open(format!("{}-shm", file.display()))?;
        Ok(Self {
            index: Arc::new(index),
            stop: Arc::default(),
            thread: None,
        })
    }

    /// Begins to count.
    pub(crate) fn begin(&mut self) -> Outcome<()> {
        let (index, stop) = (Arc::clone(&self.index), Arc::clone(&self.stop));
        self.stop.store(false, Ordering::Release);
        let first = header(&index)?;
        self.thread = Some(thread::spawn(move || count(&index, &stop, first)));
        Ok(())
    }

    /// The bytes since.
    pub(crate) fn end(&mut self) -> Outcome<u64> {
        self.stop.store(true, Ordering::Release);
        let thread = self.thread.take().ok_or("nothing was being counted")?;
        thread.join().map_err(|_| "the count of the log broke off")?
    }
}

fn count(index: &File, stop: &AtomicBool, first: Header) -> Outcome<u64> {
    let (mut sum, mut last) = (0, first);
    loop {
        let ends = stop.load(Ordering::Acquire);
        let now = header(index)?;
        let grown = match now.salt == last.salt && now.frames >= last.frames {
            true => now.frames - last.frames,
            false => now.frames,
        };
        sum += grown * (now.page_bytes + FRAME_HEADER_BYTES);
        last = now;
        if ends {
            return Ok(sum);
        }
        thread::sleep(LOOK);
    }
}

/// Reads the first copy of the header until it agrees with the second: a writer may be at it.
fn header(index: &File) -> Outcome<Header> {
    const BYTES: usize = 48;
    const ATTEMPTS: usize = 1000;
    for _ in 0..ATTEMPTS {
        let mut both = [0; 2 * BYTES];
        index.read_exact_at(&mut both, 0)?;
        let (one, two) = both.split_at(BYTES);
        if one == two {
            let number = |at: usize| u32::from_ne_bytes([one[at], one[at + 1], one[at + 2], one[at + 3]]);
            let mut salt = [0; 8];
            salt.copy_from_slice(&one[32..40]);
            let page = u16::from_ne_bytes([one[14], one[15]]);
            // A page of 64 KiB does not fit the field: it is written as 1.
            let page_bytes = if page == 1 { 65_536 } else { u64::from(page) };
            return Ok(Header {
                page_bytes,
                frames: u64::from(number(16)),
                salt,
            });
        }
        thread::sleep(Duration::from_micros(100));
    }
    Err("the index of the log does not come to rest".into())
}
