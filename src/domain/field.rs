//! The fields of a user that a source can fill, and who decides each. Names only: no values, no rules.

use std::fmt;
use std::sync::Arc;

/// A field of a user.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The e-mail address.
    Email,
    /// The first name.
    FirstName,
    /// The last name.
    LastName,
    /// The telephone number.
    Phone,
    /// The job title.
    Title,
    /// What the user is to the agency (`consultant`, `vendor`, …).
    Kind,
    /// The license that the user has.
    License,
    /// Whether the user's time is billed.
    Billable,
    /// The organization that the user belongs to.
    Organization,
    /// Active or disabled.
    Status,
    /// The roles.
    Roles,
    /// A further value, by its name.
    Attribute(Arc<str>),
}

impl Field {
    /// The field of a name such as `email` or `attributes.badge`.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "email" => Self::Email,
            "first_name" => Self::FirstName,
            "last_name" => Self::LastName,
            "phone" => Self::Phone,
            "title" => Self::Title,
            "kind" => Self::Kind,
            "license" => Self::License,
            "billable" => Self::Billable,
            "organization" => Self::Organization,
            "status" => Self::Status,
            "roles" => Self::Roles,
            _ => Self::Attribute(text.strip_prefix("attributes.").filter(|name| !name.is_empty())?.into()),
        })
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Email => "email",
            Self::FirstName => "first_name",
            Self::LastName => "last_name",
            Self::Phone => "phone",
            Self::Title => "title",
            Self::Kind => "kind",
            Self::License => "license",
            Self::Billable => "billable",
            Self::Organization => "organization",
            Self::Status => "status",
            Self::Roles => "roles",
            Self::Attribute(name) => return write!(f, "attributes.{name}"),
        })
    }
}

/// Who decides a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// The directory, at every sync.
    Directory,
    /// The directory once, when the user is created.
    Initial,
    /// The people here.
    Local,
}

impl Authority {
    /// The authority of a name.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "directory" => Some(Self::Directory),
            "initial" => Some(Self::Initial),
            "local" => Some(Self::Local),
            _ => None,
        }
    }
}
