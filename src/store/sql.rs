//! One way to write a statement for both engines.
//!
//! Statements are written in PostgreSQL's dialect with `$1` parameters and `::type` casts. SQLite takes the same
//! statements without the casts: ids, times and JSON are text there. What differs by more than a cast is a function
//! here, and there are few.

use std::borrow::Cow;

use super::row::Arg;

/// Which engine a statement is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// SQLite, the default.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

impl Engine {
    /// The statement as this engine takes it.
    pub(super) fn statement<'a>(self, sql: &'a str) -> Cow<'a, str> {
        match self {
            Self::Postgres => Cow::Borrowed(sql),
            Self::Sqlite => Cow::Owned(without_casts(sql)),
        }
    }

    /// A table function that yields the elements of the JSON array `expression` as `role.value`.
    pub(super) fn each_role(self, expression: &str) -> String {
        match self {
            Self::Postgres => format!(
                "LATERAL (SELECT element COLLATE \"C\" AS value FROM jsonb_array_elements_text({expression}) AS a(element)) AS role"
            ),
            Self::Sqlite => format!("json_each({expression}) AS role"),
        }
    }

    /// A table function that yields the keys of the JSON object `expression` as `item.key`.
    pub(super) fn each_key(self, expression: &str) -> String {
        match self {
            Self::Postgres => format!("LATERAL jsonb_object_keys({expression}) AS item(key)"),
            Self::Sqlite => format!("json_each({expression}) AS item"),
        }
    }

    /// JSON object `base` with the keys of `patch` set, and those whose value there is null removed; everything else
    /// in `base` stays as it is (RFC 7396 for a patch without nested objects).
    pub(super) fn json_merge(self, base: &str, patch: &str) -> String {
        match self {
            Self::Postgres => format!(
                "(({base} || {patch}) - ARRAY(SELECT gone.key FROM jsonb_each({patch}) AS gone WHERE gone.value = 'null'::jsonb))"
            ),
            Self::Sqlite => format!("json_patch({base}, {patch})"),
        }
    }

    /// What keeps a row as it was read until the transaction ends. On SQLite a transaction that writes is alone anyway.
    pub(super) fn for_update(self) -> &'static str {
        match self {
            Self::Postgres => " FOR UPDATE",
            Self::Sqlite => "",
        }
    }

    /// A name as a key to sort by: in the order of bytes, without regard to case.
    pub(super) fn name_key(self, column: &str) -> String {
        match self {
            Self::Postgres => format!("(lower({column}) COLLATE \"C\")"),
            Self::Sqlite => format!("lower({column})"),
        }
    }

    /// The text at a key of a JSON object, the key being ours.
    pub(super) fn json_text(self, object: &str, key: &str) -> String {
        format!("({object} ->> '{key}')")
    }

    /// A comparison of a text column in the order of bytes.
    pub(super) fn in_bytes(self, column: &str, comparison: &str) -> String {
        match self {
            Self::Postgres => format!("{column} COLLATE \"C\" {comparison}"),
            Self::Sqlite => format!("{column} {comparison}"),
        }
    }

    /// The statement that makes a temporary table of this connection; `definition` is its name with its columns.
    pub(super) fn temporary_table(self, definition: &str) -> String {
        match self {
            Self::Postgres => format!("CREATE TEMPORARY TABLE {definition}"),
            Self::Sqlite => format!("CREATE TEMP TABLE {}", definition.replace(" COLLATE \"C\"", "")),
        }
    }

    /// The statement that drops a temporary table where there is one, and never another program's of that name.
    pub(super) fn drop_temporary_table(self, name: &str) -> String {
        match self {
            Self::Postgres => format!("DROP TABLE IF EXISTS pg_temp.{name}"),
            Self::Sqlite => format!("DROP TABLE IF EXISTS temp.{name}"),
        }
    }
}

fn without_casts(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(at) = rest.find("::") {
        out.push_str(&rest[..at]);
        rest = rest[at + 2..].trim_start_matches(|c: char| c.is_ascii_lowercase() || c == '_');
    }
    out.push_str(rest);
    out
}

/// A time as it is stored in SQLite and sent to PostgreSQL: RFC 3339 in UTC with six digits, so that text order is
/// time order.
pub(super) fn time_text(time: jiff::Timestamp) -> String {
    format!("{time:.6}")
}

/// Conditions that are put together as they are asked for, joined by AND, each with one argument.
#[derive(Debug)]
pub(super) struct Conditions {
    sql: String,
    arguments: Vec<Arg>,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            sql: "1 = 1".into(),
            arguments: Vec::new(),
        }
    }
}

impl Conditions {
    /// Adds a condition, in which `$n` stands for `argument`. Never what somebody typed: that is an argument.
    pub(super) fn add(&mut self, condition: &str, argument: impl Into<Arg>) {
        self.arguments.push(argument.into());
        let n = format!("${}", self.arguments.len());
        self.sql.push_str(" AND ");
        self.sql.push_str(&condition.replace("$n", &n));
    }

    /// Adds that a column of texts has a value, where one is asked for.
    pub(super) fn equal(&mut self, column: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.add(&format!("{column} = $n"), value);
        }
    }

    /// What follows WHERE.
    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    /// The arguments, in order.
    pub(super) fn arguments(&self) -> &[Arg] {
        &self.arguments
    }
}

/// Names the statements of a file, and lists them so that a test can prepare each on both engines.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)*) => {
        $($(#[$doc])* pub(super) const $name: &str = $sql;)*
        /// Every statement of this file, by name.
        pub(super) const ALL: &[(&str, &str)] = &[$((stringify!($name), $name)),*];
    };
}
pub(super) use statements;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casts_are_left_out_for_sqlite() {
        let sql = "SELECT id::text, $1::timestamptz FROM t WHERE a = '::' || b::jsonb -> 'x'";
        assert_eq!(
            Engine::Sqlite.statement(sql),
            "SELECT id, $1 FROM t WHERE a = '' || b -> 'x'"
        );
        assert_eq!(Engine::Postgres.statement(sql), sql);
    }

    #[test]
    fn times_sort_as_text() {
        let t = |s: &str| time_text(s.parse().expect("time"));
        assert_eq!(t("2026-01-02T03:04:05Z"), "2026-01-02T03:04:05.000000Z");
        assert!(t("2026-01-02T03:04:05.9Z") < t("2026-01-02T03:04:06Z"));
    }

    #[test]
    fn postgres_times_parse() {
        let parsed: jiff::Timestamp = "2026-11-21 19:49:47.123456+00".parse().expect("time");
        assert_eq!(parsed, "2026-11-21T19:49:47.123456Z".parse().expect("time"));
    }
}
