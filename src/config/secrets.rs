//! Secrets that stand in files of their own. A secret is read when it is needed, and never kept in the configuration;
//! nothing here prints one.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::error::{ConfigError, Place};

/// Largest file of a secret, in bytes: tokens and passwords are short, a wrong path may be anything.
const SECRET_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Where relative paths of secrets are looked for first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lookup {
    /// What `$CREDENTIALS_DIRECTORY` says, where systemd put the credentials of the service.
    pub credentials_directory: Option<PathBuf>,
}

/// A secret, by the file that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    path: PathBuf,
    /// The directory of the configuration file that names it.
    base: PathBuf,
    key: String,
    place: Place,
}

impl Secret {
    pub(super) fn new(path: PathBuf, key: String, place: Place) -> Self {
        let base = match &place {
            Place::File { file, .. } => file.parent().map(Path::to_path_buf).unwrap_or_default(),
            Place::Default { .. } | Place::Environment(_) => PathBuf::new(),
        };
        Self { path, base, key, place }
    }

    /// The path as it was configured.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the secret is read from: `$CREDENTIALS_DIRECTORY` first, then beside the configuration file.
    fn resolve(&self, lookup: &Lookup) -> PathBuf {
        if self.path.is_relative()
            && let Some(directory) = &lookup.credentials_directory
            && directory.join(&self.path).exists()
        {
            return directory.join(&self.path);
        }
        self.base.join(&self.path)
    }

    /// Reads the secret; one newline at its end is no part of it.
    ///
    /// Refuses a file that others may read or write: who can read the file can be us.
    pub fn read(&self, lookup: &Lookup) -> Result<SecretString, ConfigError> {
        let file = self.resolve(lookup);
        let name = file.display();
        let refuse = |message: String| ConfigError::one(self.place.clone(), self.key.clone(), message);
        let cannot_read = |error: std::io::Error| {
            refuse(format!(
                "the secret file {name} cannot be read ({error}); check the path and who may read it"
            ))
        };
        // Opened once: what is checked is what is read. A FIFO or device would block, so the kind is looked at first.
        let kind = std::fs::metadata(&file).map_err(cannot_read)?;
        if !kind.is_file() {
            return Err(refuse(format!(
                "{name} is not a file; name the file that holds the secret"
            )));
        }
        let open = std::fs::File::open(&file).map_err(cannot_read)?;
        let mode = open.metadata().map_err(cannot_read)?.mode() & 0o7777;
        if mode & 0o026 != 0 {
            return Err(refuse(format!(
                "the secret file {name} can be read or changed by others (mode {mode:04o}); run `chmod 600 {name}`"
            )));
        }
        let mut bytes = Vec::new();
        open.take(SECRET_FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(cannot_read)?;
        if bytes.len() as u64 > SECRET_FILE_BYTES_MAX {
            return Err(refuse(format!(
                "the secret file {name} is larger than {SECRET_FILE_BYTES_MAX} bytes; name the file that holds the secret"
            )));
        }
        let mut text = String::from_utf8(bytes).map_err(|_| {
            refuse(format!(
                "the secret file {name} is not valid UTF-8; save the secret as plain text"
            ))
        })?;
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        if text.trim().is_empty() {
            return Err(refuse(format!(
                "the secret file {name} is empty; write the secret into it"
            )));
        }
        // Inside, a line break or NUL would end a header or a protocol field early.
        if text.chars().any(char::is_control) {
            return Err(refuse(format!(
                "the secret file {name} has more than one line or a control character; leave the secret alone in it"
            )));
        }
        Ok(SecretString::from(text))
    }
}

impl schemars::JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SecretFile".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "minLength": 1 })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use secrecy::ExposeSecret as _;

    use super::*;

    fn secret_file(directory: &Path, name: &str, content: &[u8], mode: u32) -> Secret {
        let file = directory.join(name);
        std::fs::write(&file, content).expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("mode");
        Secret::new(file, "sources.x.auth.token_file".into(), Place::Default { line: None })
    }

    #[test]
    fn only_the_line_end_is_trimmed() {
        let directory = tempfile::tempdir().expect("directory");
        for (content, expected) in [("a b \n", "a b "), ("x\r\n", "x"), ("plain", "plain")] {
            let secret = secret_file(directory.path(), "s", content.as_bytes(), 0o600);
            assert_eq!(secret.read(&Lookup::default()).expect("read").expose_secret(), expected);
        }
    }

    #[test]
    fn files_open_to_others_are_refused_with_the_remedy() {
        let directory = tempfile::tempdir().expect("directory");
        for mode in [0o644, 0o604, 0o602, 0o660, 0o620] {
            let secret = secret_file(directory.path(), "s", b"canary", mode);
            let error = secret.read(&Lookup::default()).expect_err("refused").to_string();
            assert!(
                error.contains("chmod 600") && !error.contains("canary"),
                "{mode:o}: {error}"
            );
        }
        for mode in [0o600, 0o400, 0o440, 0o640] {
            assert!(
                secret_file(directory.path(), "t", b"canary", mode)
                    .read(&Lookup::default())
                    .is_ok(),
                "{mode:o}"
            );
            std::fs::remove_file(directory.path().join("t")).expect("removed");
        }
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        let directory = tempfile::tempdir().expect("directory");
        for content in [
            &b""[..],
            b"\n",
            b"  \n",
            b"two\nlines\n",
            b"\xff\xfe",
            b"a\0b",
            &[b'x'; 70_000],
        ] {
            let secret = secret_file(directory.path(), "s", content, 0o600);
            assert!(secret.read(&Lookup::default()).is_err());
        }
        let directory_itself = Secret::new(directory.path().to_owned(), "k".into(), Place::Default { line: None });
        assert!(
            directory_itself
                .read(&Lookup::default())
                .expect_err("refused")
                .to_string()
                .contains("not a file")
        );
    }

    #[test]
    fn relative_paths_are_credentials_first() {
        let credentials = tempfile::tempdir().expect("directory");
        let beside = tempfile::tempdir().expect("directory");
        secret_file(credentials.path(), "token", b"from systemd", 0o600);
        secret_file(beside.path(), "token", b"from beside", 0o600);
        let place = Place::File {
            file: std::sync::Arc::new(beside.path().join("rollcall.toml")),
            line: 3,
        };
        let secret = Secret::new("token".into(), "k".into(), place);
        let lookup = Lookup {
            credentials_directory: Some(credentials.path().to_owned()),
        };
        assert_eq!(secret.read(&lookup).expect("read").expose_secret(), "from systemd");
        assert_eq!(
            secret.read(&Lookup::default()).expect("read").expose_secret(),
            "from beside"
        );
        std::fs::remove_file(credentials.path().join("token")).expect("removed");
        assert_eq!(secret.read(&lookup).expect("read").expose_secret(), "from beside");
    }
}
