//! What the store answers when it cannot do what it was asked. One sentence for a person, a stable code, and the cause.

/// The closed set of causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// No connection, or it broke.
    Unreachable,
    /// Somebody else holds it: a lock, a deadlock, a serialization failure.
    Busy,
    /// Not a database of ours, half migrated, or newer than this program.
    Schema,
    /// The configured URL cannot be one.
    Configuration,
    /// A constraint of a table refuses it.
    Constraint,
    /// Another user has the address.
    AddressTaken,
    /// There is no such row.
    NotFound,
    /// The row is not the one that the edit was based on.
    VersionMismatch,
    /// No room, read-only, an I/O error.
    Storage,
    /// The plan no longer fits the table.
    Stale,
    /// Another run holds the source.
    LeaseHeld,
    /// The lease was lost to another run: this one may not write.
    LeaseLost,
    /// The last administrator would go.
    LastAdministrator,
    /// What was read back is not what was written, or a statement is wrong.
    Internal,
}

impl StoreErrorKind {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unreachable => "store_unreachable",
            Self::Busy => "store_busy",
            Self::Schema => "store_schema",
            Self::Configuration => "store_configuration",
            Self::Constraint => "store_constraint",
            Self::AddressTaken => "address_taken",
            Self::NotFound => "not_found",
            Self::VersionMismatch => "version_mismatch",
            Self::Storage => "store_storage",
            Self::Stale => "plan_stale",
            Self::LeaseHeld => "busy",
            Self::LeaseLost => "lease_lost",
            Self::LastAdministrator => "last_administrator",
            Self::Internal => "store_internal",
        }
    }
}

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// Which of the causes.
    pub kind: StoreErrorKind,
    /// One sentence: what, where, what to do. Never a secret.
    pub message: String,
    /// What the driver said.
    #[source]
    pub cause: Option<Box<sqlx::Error>>,
}

impl StoreError {
    /// An error with its sentence.
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            cause: None,
        }
    }

    /// Whether the same transaction may succeed when it is tried again.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Unreachable | StoreErrorKind::Busy)
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let (kind, message) = classify(&error);
        Self {
            kind,
            message,
            cause: Some(Box::new(error)),
        }
    }
}

fn classify(error: &sqlx::Error) -> (StoreErrorKind, String) {
    use StoreErrorKind as K;
    match error {
        sqlx::Error::Database(db) => classify_database(db.as_ref()),
        sqlx::Error::Io(io) => (
            K::Unreachable,
            format!("the connection to the database failed ({io}); check that it runs and that database.url is right"),
        ),
        sqlx::Error::Tls(tls) => (
            K::Unreachable,
            format!("TLS with the database failed ({tls}); check sslmode and sslrootcert in database.url"),
        ),
        sqlx::Error::PoolTimedOut => (
            K::Unreachable,
            "no connection to the database could be had in time; check that it runs, and database.max_connections"
                .into(),
        ),
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            (K::Unreachable, "the connection to the database was closed".into())
        }
        sqlx::Error::Protocol(what) => (K::Unreachable, format!("the connection to the database broke ({what})")),
        other => (
            K::Internal,
            format!("the database answered in an unexpected way ({other}); this is a defect worth reporting"),
        ),
    }
}

fn classify_database(db: &dyn sqlx::error::DatabaseError) -> (StoreErrorKind, String) {
    use StoreErrorKind as K;
    let code = db.code().unwrap_or_default().into_owned();
    let said = db.message();
    let sqlite = db.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some();
    // SQLite's extended codes keep the primary code in their low byte.
    let primary = if sqlite {
        code.parse::<u32>().unwrap_or(1) & 0xff
    } else {
        0
    };
    match (sqlite, primary, code.get(..2).unwrap_or_default(), code.as_str()) {
        (true, 5 | 6, ..) => (K::Busy, "the database stayed locked by another program longer than we wait; try again when a backup or another command has ended".into()),
        (true, 8, ..) => (K::Storage, "the database file cannot be written (read-only); check the rights of the file and of its directory".into()),
        (true, 13, ..) => (K::Storage, "the disk is full: nothing was written; make room and run again".into()),
        (true, 10, ..) => (K::Storage, format!("reading or writing the database file failed ({said}); check the disk, and whether it is full")),
        (true, 14, ..) => (K::Storage, "the database file cannot be opened; check that its directory exists and may be written".into()),
        (true, 26 | 11, ..) => (K::Schema, "the file is no SQLite database, or is damaged; check database.url, or restore a backup".into()),
        (true, 19, ..) => constraint(said),
        (false, _, "23", _) => constraint(said),
        (false, _, _, "40001" | "40P01" | "55P03") => (K::Busy, "another transaction was in the way (a deadlock or a serialization failure); try again".into()),
        (false, _, "28", _) => (K::Unreachable, format!("the database refused the sign-in ({said}); check the user in database.url and database.password_file")),
        (false, _, _, "3D000") => (K::Unreachable, format!("{said}; create it first (createdb), or correct database.url")),
        (false, _, "53", _) => (K::Storage, format!("the database server is out of a resource ({said}); make room and run again")),
        (false, _, "57" | "08", _) => (K::Unreachable, format!("the database server ended the connection ({said}); try again when it runs")),
        (false, _, _, "25006") => (K::Storage, "the database is read-only (a standby?); point database.url at the primary".into()),
        (false, _, _, "42501") => (K::Schema, format!("the database user lacks a right ({said}); grant it the right to create tables in its schema")),
        _ => (K::Internal, format!("the database refused a statement ({said}); this is a defect worth reporting")),
    }
}

fn constraint(said: &str) -> (StoreErrorKind, String) {
    if said.contains("users_email") {
        let taken = "another user has this e-mail address already (addresses are compared without regard to case); nothing was changed";
        (StoreErrorKind::AddressTaken, taken.into())
    } else {
        let refused = format!("a constraint of the database refused the change ({said}); nothing was changed");
        (StoreErrorKind::Constraint, refused)
    }
}
