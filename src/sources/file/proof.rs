//! What shows that a delivered file is whole and was not changed while it was read: checksum, end marker, and the
//! file's stamp before and after. Decides nothing about rows.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{Completeness, Format, Settings};
use crate::sources::{SourceError, SourceErrorKind};

/// Largest checksum file, in bytes: a delivery of several files has a line for each.
const CHECKSUM_FILE_BYTES_MAX: u64 = 64 * 1024;

/// What a file is known by; when any of it changes, the file did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    pub(super) size: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }

    /// The time of the last change, as RFC 3339.
    pub(super) fn modified(&self) -> Option<String> {
        let nanoseconds = i32::try_from(self.modified.1).ok()?;
        let time = jiff::Timestamp::new(self.modified.0, nanoseconds).ok()?;
        Some(format!("{time:.0}"))
    }
}

/// An error about the file at `path`.
pub(super) fn fail(kind: SourceErrorKind, path: &Path, rest: &str) -> SourceError {
    SourceError::new(kind, format!("the file {} {rest}", path.display()))
}

pub(super) fn io_error(path: &Path, error: io::Error) -> SourceError {
    let (kind, what) = match error.kind() {
        io::ErrorKind::NotFound => (
            SourceErrorKind::NotFound,
            "does not exist; check `path`, and that the delivery arrived",
        ),
        io::ErrorKind::PermissionDenied => (
            SourceErrorKind::Forbidden,
            "may not be read by this process; give it the right to read the file",
        ),
        _ => (
            SourceErrorKind::Unavailable,
            "could not be read; check the disk or the share that it is on",
        ),
    };
    fail(kind, path, what).because(error)
}

/// Opens the file once: everything about it is asked of this handle.
pub(super) fn open(path: &Path) -> Result<(File, Stamp), SourceError> {
    // Looked at before it is opened, because opening a pipe would wait for a writer.
    let kind = std::fs::metadata(path).map_err(|error| io_error(path, error))?;
    if !kind.is_file() {
        return Err(fail(
            SourceErrorKind::Configuration,
            path,
            "is no regular file; name the delivered file in `path`",
        ));
    }
    let file = File::open(path).map_err(|error| io_error(path, error))?;
    let stamp = Stamp::of(&file.metadata().map_err(|error| io_error(path, error))?);
    Ok((file, stamp))
}

/// Refuses a file that is not, in all of its marks, the one whose reading began.
pub(super) fn unchanged(path: &Path, file: &File, before: Stamp, bytes_read: u64) -> Result<(), SourceError> {
    let at_handle = Stamp::of(&file.metadata().map_err(|error| io_error(path, error))?);
    let at_path = std::fs::metadata(path).map(|metadata| Stamp::of(&metadata)).ok();
    if at_handle == before && at_path == Some(before) && bytes_read == before.size {
        return Ok(());
    }
    Err(fail(
        SourceErrorKind::Unavailable,
        path,
        "changed or was replaced while it was read; deliver under another name and rename it when it is whole, and run again",
    ))
}

/// The file's bytes as they pass, with what must be known of them in the end.
pub(super) struct Watched {
    file: File,
    hasher: Option<Sha256>,
    pub(super) bytes: u64,
    pub(super) last_byte: Option<u8>,
    /// Whether the quotation marks so far are an odd number: one of them is not closed then.
    pub(super) quotes_are_odd: bool,
    /// Bytes that may still be read for the record at hand.
    pub(super) allowance: u64,
}

impl Watched {
    pub(super) fn new(file: File, hash: bool) -> Self {
        Self {
            file,
            hasher: hash.then(Sha256::new),
            bytes: 0,
            last_byte: None,
            quotes_are_odd: false,
            allowance: u64::MAX,
        }
    }

    pub(super) fn into_parts(self) -> (File, Option<String>) {
        let digest = self.hasher.map(|hasher| {
            let digest = hasher.finalize();
            digest.iter().map(|byte| format!("{byte:02x}")).collect()
        });
        (self.file, digest)
    }
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.allowance == 0 {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "a record is too long"));
        }
        let read = self.file.read(buffer)?;
        self.allowance = self.allowance.saturating_sub(read as u64);
        self.bytes += read as u64;
        if let Some(last) = buffer[..read].last() {
            self.last_byte = Some(*last);
        }
        self.quotes_are_odd ^= buffer[..read].iter().filter(|byte| **byte == b'"').count() % 2 == 1;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..read]);
        }
        Ok(read)
    }
}

/// Where the checksum of `path` is expected.
fn checksum_file(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sha256");
    name.into()
}

/// The checksum that was delivered, in lower case; `None` where there is none, or none is asked for.
pub(super) fn delivered_checksum(settings: &Settings) -> Result<Option<String>, SourceError> {
    if settings.completeness == Completeness::EndMarker {
        return Ok(None);
    }
    let path = checksum_file(&settings.path);
    let mut text = String::new();
    match std::fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(&path, error)),
        Ok(metadata) if !metadata.is_file() => {
            let what = "is no regular file; write it with sha256sum";
            return Err(fail(SourceErrorKind::Configuration, &path, what));
        }
        Ok(_) => {}
    }
    File::open(&path)
        .and_then(|file| file.take(CHECKSUM_FILE_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| io_error(&path, error))?;
    let name = settings.path.file_name().unwrap_or_default().to_string_lossy();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let found = lines.iter().find_map(|line| {
        let (sum, file) = line.trim().split_once([' ', '\t']).unwrap_or((line.trim(), ""));
        // `*` marks a binary read, and the path may be the producer's.
        let file = file.trim_start().trim_start_matches('*');
        let is_ours = file.rsplit('/').next() == Some(&name) || (lines.len() == 1 && file.is_empty());
        let is_sum = sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_ours && is_sum).then(|| sum.to_ascii_lowercase())
    });
    found.map(Some).ok_or_else(|| {
        let what = format!("has no SHA-256 sum for {name}; write it with `sha256sum {name} > {name}.sha256`");
        fail(SourceErrorKind::Protocol, &path, &what)
    })
}

/// What was seen of the end of a file.
#[derive(Debug, Default)]
pub(super) struct End {
    /// Rows, readable or not.
    pub(super) rows: u64,
    /// What the end marker says.
    pub(super) marker: Option<u64>,
    /// Whether anything stood behind the end marker.
    pub(super) rows_after_marker: bool,
    /// Whether the delivered checksum was there; it is right then.
    pub(super) checksum: bool,
}

/// What speaks for the file being whole, and why it is not taken as whole where that is so.
pub(super) fn judge(settings: &Settings, end: &End) -> (Vec<String>, Option<String>) {
    let file = settings.path.display();
    let mut proof = Vec::new();
    if end.checksum {
        proof.push("the file has the delivered SHA-256 sum".to_owned());
    }
    if let Some(count) = end.marker {
        if end.rows_after_marker {
            let reason = format!("{file} goes on behind its end marker; deliver one listing in a file");
            return (proof, Some(reason));
        }
        if count != end.rows {
            let rows = end.rows;
            let reason = format!("{file} has {rows} records and its end marker says {count}; deliver it again");
            return (proof, Some(reason));
        }
        proof.push(format!("the end marker counts {count} records, and as many arrived"));
    }
    let proven = match settings.completeness {
        Completeness::Any => end.checksum || end.marker.is_some(),
        Completeness::Checksum => end.checksum,
        Completeness::EndMarker => end.marker.is_some(),
    };
    let reason = (!proven).then(|| missing_proof(settings));
    (proof, reason)
}

fn missing_proof(settings: &Settings) -> String {
    let file = settings.path.display();
    let name = settings.path.file_name().unwrap_or_default().to_string_lossy();
    let checksum = format!("a checksum beside it (`sha256sum {name} > {name}.sha256`)");
    let marker = match settings.format {
        Format::Csv => "a last line `#END N` with the number of records",
        Format::Jsonl => "a last line `{\"end\": N}` with the number of records",
    };
    let provide = match settings.completeness {
        Completeness::Any => format!("{checksum} or {marker}"),
        Completeness::Checksum => checksum,
        Completeness::EndMarker => marker.to_owned(),
    };
    format!("nothing shows that {file} is whole; have it delivered with {provide}")
}
