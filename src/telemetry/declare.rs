//! The macro that declares every event once: the variant, its name, level and fields, its sentence, and what the
//! catalogue says of it. The log and the document cannot say different things, because there is one source of both.

use std::fmt;

use super::value::escape;

/// An event, as the catalogue has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The stable name.
    pub name: &'static str,
    /// Its level, in capitals.
    pub level: &'static str,
    /// Its fields, in their order.
    pub fields: &'static [&'static str],
    /// What it means.
    pub means: &'static str,
    /// What to do, with fields in braces; absent where there is nothing to do.
    pub remedy: Option<&'static str>,
}

/// The target of every event, by which a filter can tell them from other lines.
pub(super) const TARGET: &str = "rollcall::events";

/// The name of the field that has an event's name.
pub(super) const NAME_FIELD: &str = "event";

/// The sentence, and after it what to do.
pub(super) fn message(says: fmt::Arguments<'_>, remedy: &[fmt::Arguments<'_>]) -> String {
    let mut text = escape(&says.to_string()).into_owned();
    for what in remedy {
        text.push_str("; ");
        text.push_str(&escape(&what.to_string()));
    }
    text
}

macro_rules! events {
    (<$life:lifetime> $(
        $variant:ident $name:literal $level:ident { $($field:ident: $kind:ty),* $(,)? }
            says $says:literal;
            $(do $remedy:literal;)?
            means $means:literal;
    )*) => {
        /// What happened. The names are stable; docs/log-events.md lists them.
        #[derive(Debug, Clone)]
        pub enum Event<$life> {
            $(
                #[doc = $means]
                #[expect(missing_docs, reason = "FIELDS says what a field of this name has, in every event")]
                $variant { $($field: $kind),* },
            )*
        }

        /// Every event.
        pub const CATALOGUE: &[$crate::telemetry::Entry] = &[$(
            $crate::telemetry::Entry {
                name: $name,
                level: stringify!($level),
                fields: &[$(stringify!($field)),*],
                means: $means,
                remedy: [$(Some($remedy),)? None][0],
            },
        )*];

        impl Event<'_> {
            /// The stable name.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant { .. } => $name,)* }
            }

            /// How much it matters.
            pub fn level(&self) -> ::tracing::Level {
                match self { $(Self::$variant { .. } => ::tracing::Level::$level,)* }
            }

            /// Writes the line.
            pub(super) fn write(&self) {
                use $crate::telemetry::declare::{TARGET, message};
                match self {$(
                    Self::$variant { $($field),* } => ::tracing::event!(
                        target: TARGET,
                        ::tracing::Level::$level,
                        event = $name,
                        $($field = $crate::telemetry::value::Loggable::value($field),)*
                        "{}",
                        message(format_args!($says), &[$(format_args!($remedy))?])
                    ),
                )*}
            }
        }
    };
}
pub(super) use events;
