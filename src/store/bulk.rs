//! Many rows on their way into one table: COPY on PostgreSQL, statements of some hundred rows on SQLite. Values are
//! written straight into the form that the engine takes.

use std::io::Write as _;

use sqlx::Arguments as _;
use sqlx::sqlite::SqliteArguments;

use super::row::Arg;
use super::sql::Engine;

/// Most parameters of one statement: SQLite's default limit is 32,766; a statement of some 500 rows is fastest.
const PARAMETERS_MAX: usize = 8_000;

/// Takes the values of a row, one after the other.
pub(super) trait Cells {
    /// Text, or NULL.
    fn text(&mut self, text: Option<String>);
    /// Text of our own making, which has nothing in it that an engine would have to be told apart.
    fn plain(&mut self, text: &str);
    /// A number.
    fn int(&mut self, number: i64);
    /// A truth value, or NULL.
    fn flag(&mut self, truth: Option<bool>);
}

impl Cells for Vec<Arg> {
    fn text(&mut self, text: Option<String>) {
        self.push(Arg::Text(text));
    }
    fn plain(&mut self, text: &str) {
        self.push(Arg::Text(Some(text.to_owned())));
    }
    fn int(&mut self, number: i64) {
        self.push(Arg::Int(Some(number)));
    }
    fn flag(&mut self, truth: Option<bool>) {
        self.push(Arg::Bool(truth));
    }
}

/// Rows that are gathered.
pub(super) enum Bulk {
    /// Lines of COPY's text format.
    Lines(Lines),
    /// The arguments of statements.
    Bound(Bound),
}

/// Rows as COPY takes them (PostgreSQL documentation, COPY, "Text Format").
pub(super) struct Lines {
    pub(super) text: Vec<u8>,
    /// Values that are the same in every row come first.
    prefix: Vec<u8>,
    is_first: bool,
}

/// Rows as statements take them.
pub(super) struct Bound {
    /// The arguments of each statement, and how many rows it has.
    pub(super) statements: Vec<(SqliteArguments, usize)>,
    /// One row between VALUES and its end.
    pub(super) one: String,
    rows_at_once: usize,
}

impl Bulk {
    /// No row yet. The columns of each are `constants`, which have nothing in them that needs quoting, then `columns`
    /// others.
    pub(super) fn new(engine: Engine, constants: &[&str], columns: usize) -> Self {
        match engine {
            Engine::Postgres => Self::Lines(Lines {
                text: Vec::new(),
                prefix: constants.iter().flat_map(|c| c.bytes().chain([b'\t'])).collect(),
                is_first: true,
            }),
            Engine::Sqlite => {
                let constants = constants.iter().map(|constant| format!("'{constant}'"));
                let bound = std::iter::repeat_n("?".to_owned(), columns);
                Self::Bound(Bound {
                    statements: Vec::new(),
                    one: format!("({})", constants.chain(bound).collect::<Vec<_>>().join(",")),
                    rows_at_once: (PARAMETERS_MAX / columns).max(1),
                })
            }
        }
    }

    /// Whether there is no row.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Lines(lines) => lines.text.is_empty(),
            Self::Bound(bound) => bound.statements.is_empty(),
        }
    }

    /// Begins a row. The one before has all its values.
    pub(super) fn row(&mut self) -> &mut dyn Cells {
        match self {
            Self::Lines(lines) => {
                if !lines.text.is_empty() {
                    lines.text.push(b'\n');
                }
                lines.text.extend_from_slice(&lines.prefix);
                lines.is_first = true;
                lines
            }
            Self::Bound(bound) => {
                match bound.statements.last_mut() {
                    Some((_, rows)) if *rows < bound.rows_at_once => *rows += 1,
                    _ => bound.statements.push((SqliteArguments::default(), 1)),
                }
                bound
            }
        }
    }

    /// Adds a row whose values stand together.
    pub(super) fn push(&mut self, values: Vec<Arg>) {
        let cells = self.row();
        for value in values {
            match value {
                Arg::Text(text) => cells.text(text),
                Arg::Int(Some(number)) => cells.int(number),
                Arg::Int(None) => cells.text(None),
                Arg::Bool(truth) => cells.flag(truth),
            }
        }
    }
}

impl Lines {
    fn next(&mut self) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.is_first) {
            self.text.push(b'\t');
        }
        &mut self.text
    }
}

impl Cells for Lines {
    fn text(&mut self, text: Option<String>) {
        let out = self.next();
        let Some(text) = text else {
            out.extend_from_slice(b"\\N");
            return;
        };
        let is_special = |byte: &u8| matches!(byte, b'\\' | b'\t' | b'\n' | b'\r');
        let mut rest = text.as_bytes();
        while let Some(at) = rest.iter().position(is_special) {
            out.extend_from_slice(&rest[..at]);
            out.extend_from_slice(match rest[at] {
                b'\\' => b"\\\\",
                b'\t' => b"\\t",
                b'\n' => b"\\n",
                _ => b"\\r",
            });
            rest = &rest[at + 1..];
        }
        out.extend_from_slice(rest);
    }
    fn plain(&mut self, text: &str) {
        self.next().extend_from_slice(text.as_bytes());
    }
    fn int(&mut self, number: i64) {
        // Writing into memory does not fail.
        let _ = write!(self.next(), "{number}");
    }
    fn flag(&mut self, truth: Option<bool>) {
        let word: &[u8] = match truth {
            Some(true) => b"t",
            Some(false) => b"f",
            None => b"\\N",
        };
        self.next().extend_from_slice(word);
    }
}

impl Bound {
    fn add<'v>(&mut self, value: impl sqlx::Encode<'v, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>) {
        if let Some((arguments, _)) = self.statements.last_mut() {
            // Texts and numbers are always encoded; a value left out would be NULL.
            let _ = arguments.add(value);
        }
    }
}

impl Cells for Bound {
    fn text(&mut self, text: Option<String>) {
        self.add(text);
    }
    fn plain(&mut self, text: &str) {
        self.add(text.to_owned());
    }
    fn int(&mut self, number: i64) {
        self.add(number);
    }
    fn flag(&mut self, truth: Option<bool>) {
        self.add(truth);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_copy_reads_them() {
        let mut bulk = Bulk::new(Engine::Postgres, &["x"], 4);
        for text in [Some("a\tb\\c\nd\r"), None] {
            let cells = bulk.row();
            cells.text(text.map(str::to_owned));
            cells.int(-7);
            cells.flag(Some(true));
            cells.plain("p");
        }
        let Bulk::Lines(lines) = bulk else {
            panic!("PostgreSQL takes lines")
        };
        assert_eq!(
            String::from_utf8(lines.text).expect("text"),
            "x\ta\\tb\\\\c\\nd\\r\t-7\tt\tp\nx\t\\N\t-7\tt\tp"
        );
    }

    #[test]
    fn statements_have_some_hundred_rows() {
        let mut bulk = Bulk::new(Engine::Sqlite, &["x"], 16);
        for _ in 0..1_001 {
            let cells = bulk.row();
            (0..16).for_each(|number| cells.int(number));
        }
        let Bulk::Bound(bound) = bulk else {
            panic!("SQLite takes statements")
        };
        assert!(bound.one.starts_with("('x',?,"), "{}", bound.one);
        let rows: Vec<usize> = bound.statements.iter().map(|(_, rows)| *rows).collect();
        assert_eq!(rows, [500, 500, 1]);
    }
}
