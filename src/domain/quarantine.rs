//! Why an entry is kept out of a plan. A bad entry is a value, not an error: the run goes on without it.

use std::fmt;

/// The closed set of reasons; the code is stable and stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuarantineCode {
    /// The entry could not be decoded (bytes that are no UTF-8, a wrong JSON type).
    Unreadable,
    /// A value is too long, or an attribute has too many values.
    TooLarge,
    /// A value contains a control or bidirectional formatting character.
    UnsafeText,
    /// The external id is missing or cannot be one.
    BadId,
    /// No e-mail address.
    NoEmail,
    /// Something that is no e-mail address.
    BadEmail,
    /// A status that is neither `active` nor `disabled`.
    BadStatus,
    /// A kind, or another field of a closed vocabulary, has a value that it cannot have.
    BadValue,
    /// The directory says `employee`: employees are the agency's own.
    EmployeeKind,
    /// The same external id twice in one listing, with different contents.
    DuplicateId,
    /// Two entries claim the same e-mail address.
    AddressClaimedTwice,
    /// The address belongs to an employee or to the agency's own organization.
    AddressOfEmployee,
    /// The address belongs to an administrator, who is never taken over by address.
    AddressOfAdministrator,
    /// The address belongs to a user that another entry of this source, or another source, is linked to.
    AddressOfLinkedUser,
    /// The address belongs to a user that this source may not own.
    AddressOfOther,
    /// The linked user was made an employee here; employees are not touched.
    UserIsEmployee,
    /// The change would leave nobody who can administer.
    LastAdministrator,
    /// The entry names no organization, and the configuration requires one.
    NoOrganization,
    /// It could not be asked at the directory whether the entry is gone or has moved.
    NotConfirmed,
}

impl QuarantineCode {
    /// Every code, for documents and tests.
    pub const ALL: [Self; 19] = [
        Self::Unreadable,
        Self::TooLarge,
        Self::UnsafeText,
        Self::BadId,
        Self::NoEmail,
        Self::BadEmail,
        Self::BadStatus,
        Self::BadValue,
        Self::EmployeeKind,
        Self::DuplicateId,
        Self::AddressClaimedTwice,
        Self::AddressOfEmployee,
        Self::AddressOfAdministrator,
        Self::AddressOfLinkedUser,
        Self::AddressOfOther,
        Self::UserIsEmployee,
        Self::LastAdministrator,
        Self::NoOrganization,
        Self::NotConfirmed,
    ];

    /// The stable name, as stored and printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::TooLarge => "too_large",
            Self::UnsafeText => "unsafe_text",
            Self::BadId => "bad_id",
            Self::NoEmail => "no_email",
            Self::BadEmail => "bad_email",
            Self::BadStatus => "bad_status",
            Self::BadValue => "bad_value",
            Self::EmployeeKind => "employee_kind",
            Self::DuplicateId => "duplicate_id",
            Self::AddressClaimedTwice => "address_claimed_twice",
            Self::AddressOfEmployee => "address_of_employee",
            Self::AddressOfAdministrator => "address_of_administrator",
            Self::AddressOfLinkedUser => "address_of_linked_user",
            Self::AddressOfOther => "address_of_other",
            Self::UserIsEmployee => "user_is_employee",
            Self::LastAdministrator => "last_administrator",
            Self::NoOrganization => "no_organization",
            Self::NotConfirmed => "not_confirmed",
        }
    }

    /// The code of a stored name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

/// A reason with its detail: one sentence for the administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Which of the reasons.
    pub code: QuarantineCode,
    /// What was seen and what to do. May name the address: it is shown to administrators, never logged.
    pub detail: String,
}

impl Quarantined {
    /// A reason with its sentence.
    pub fn new(code: QuarantineCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Quarantined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}
