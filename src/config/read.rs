//! Takes typed values out of a table of the configuration and reports, with its place, whatever does not fit: wrong
//! types, values out of range, unknown keys, secrets written inline. Knows no section.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ::config::{Map, Value, ValueKind};

use super::error::{Place, Problem};
use super::layers::Places;

/// Longest text from the configuration that an error repeats, in characters.
const ECHO_CHARS_MAX: usize = 60;

/// Where the keys of a configuration stand, and what was found wrong so far.
pub(super) struct Context<'a> {
    places: &'a Places,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Context<'a> {
    pub(super) fn new(places: &'a Places, problems: Vec<Problem>) -> Self {
        Self {
            places,
            problems: RefCell::new(problems),
        }
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    /// The place of the key at `path`, or of the nearest table above it.
    pub(super) fn place(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path) {
                return place.clone();
            }
            match path.rsplit_once('.') {
                Some((above, _)) => path = above,
                None => return Place::Default { line: None },
            }
        }
    }

    pub(super) fn report(&self, path: &str, message: impl Into<String>) {
        self.problems.borrow_mut().push(Problem {
            place: self.place(path),
            key: Some(path.to_owned()),
            message: message.into(),
        });
    }
}

/// One value, before its type is known.
#[derive(Clone, Copy)]
pub(super) struct Cell<'a> {
    pub(super) value: &'a Value,
    /// From an environment variable, where everything is text.
    environment: bool,
}

/// What a decoder answers: the value, or what is to be written instead (`an address such as "…"`).
pub(super) type Decoded<T> = Result<T, String>;

/// One table of the configuration. Every key that is asked for is a known key; [`Table::finish`] reports the others.
pub(super) struct Table<'a> {
    pub(super) context: &'a Context<'a>,
    /// Its path, such as `sources.ad`; empty for the root.
    pub(super) path: String,
    values: BTreeMap<&'a str, &'a Value>,
    known: Vec<&'static str>,
}

impl<'a> Table<'a> {
    pub(super) fn new(context: &'a Context<'a>, path: String, values: &'a Map<String, Value>) -> Self {
        let values = values.iter().map(|(key, value)| (key.as_str(), value)).collect();
        Self {
            context,
            path,
            values,
            known: Vec::new(),
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Reports something about `key`, which may be absent.
    pub(super) fn problem(&self, key: &str, message: impl Into<String>) {
        self.context.report(&self.path_of(key), message);
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// Where `key` was written, or its table.
    pub(super) fn place(&self, key: &str) -> Place {
        self.context.place(&self.path_of(key))
    }

    fn cell(&mut self, key: &'static str) -> Option<Cell<'a>> {
        self.known.push(key);
        let value = *self.values.get(key)?;
        Some(Cell {
            value,
            environment: matches!(self.place(key), Place::Environment(_)),
        })
    }

    /// The value of `key`; `None` where it is absent, or was reported because it does not fit.
    pub(super) fn get<T>(&mut self, key: &'static str, decode: impl Fn(Cell<'a>) -> Decoded<T>) -> Option<T> {
        let cell = self.cell(key)?;
        decode(cell)
            .map_err(|expected| {
                let found = describe(cell.value, key);
                self.problem(key, format!("{found} cannot be used here; write {expected}"));
            })
            .ok()
    }

    /// The value of `key`; where it is absent that is reported, with `example` for what to write.
    pub(super) fn need<T>(
        &mut self,
        key: &'static str,
        example: &str,
        decode: impl Fn(Cell<'a>) -> Decoded<T>,
    ) -> Option<T> {
        if !self.has(key) {
            self.known.push(key);
            self.problem(key, format!("the key is missing; write {example}"));
            return None;
        }
        self.get(key, decode)
    }

    /// The table below `key`.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Table<'a>> {
        let cell = self.cell(key)?;
        let path = self.path_of(key);
        match &cell.value.kind {
            ValueKind::Table(values) => Some(Table::new(self.context, path, values)),
            _ => {
                let found = describe(cell.value, key);
                self.problem(
                    key,
                    format!("{found} cannot be used here; write a table, `[{path}]` or `{key} = {{ … }}`"),
                );
                None
            }
        }
    }

    /// The table below a key that is free.
    pub(super) fn entry(&mut self, key: &str) -> Option<Table<'a>> {
        match &self.values.get(key)?.kind {
            ValueKind::Table(values) => Some(Table::new(self.context, self.path_of(key), values)),
            _ => {
                self.problem(key, "this is a table of its own; write its keys below it");
                None
            }
        }
    }

    /// The raw value of `key`, for keys that take more than one type.
    pub(super) fn raw(&mut self, key: &'static str) -> Option<&'a Value> {
        self.cell(key).map(|cell| cell.value)
    }

    /// Every key with its value, for tables whose keys are free.
    pub(super) fn free(&self) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        self.values.clone().into_iter()
    }

    /// Adds names to the known keys.
    pub(super) fn know(&mut self, keys: &[&'static str]) {
        self.known.extend_from_slice(keys);
    }

    /// Reports every key that nobody asked for, with the nearest that is known.
    pub(super) fn finish(self) {
        for key in self.values.keys().filter(|key| !self.known.contains(*key)) {
            self.problem(key, unknown_key(key, &self.known));
        }
    }
}

/// Names under which people write a secret in the place of the file that holds it.
const SECRET_KEYS: [&str; 8] = [
    "password",
    "bind_password",
    "token",
    "client_secret",
    "secret",
    "passwd",
    "api_key",
    "bind_pw",
];

fn unknown_key(key: &str, known: &[&'static str]) -> String {
    if SECRET_KEYS.contains(&key) {
        let file_key = format!("{key}_file");
        let instead = known
            .iter()
            .find(|known| **known == file_key)
            .or_else(|| known.iter().find(|known| is_secret_key(known)))
            .map_or_else(
                || "the `…_file` key of the source".to_owned(),
                |known| format!("`{known}`"),
            );
        return format!(
            "a secret is never written in the configuration; put it in a file of its own (chmod 600) and name that file with {instead}"
        );
    }
    match nearest(key, known) {
        Some((nearest, true)) => format!("there is no such key; did you mean `{nearest}`?"),
        Some((nearest, false)) => format!("there is no such key; remove it (the nearest known key is `{nearest}`)"),
        None => "there is no such key; remove it".into(),
    }
}

/// The known key nearest to `key`, and whether it is near enough to be what was meant.
pub(super) fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<(&'k str, bool)> {
    // A longer key than any known one is no misspelling, and comparing it would take time for nothing.
    let key: String = key.chars().take(ECHO_CHARS_MAX).collect::<String>().to_lowercase();
    known
        .iter()
        .min_by_key(|known| strsim::damerau_levenshtein(&key, known))
        .map(|known| (*known, strsim::damerau_levenshtein(&key, known) <= 1 + known.len() / 4))
}

fn is_secret_key(key: &str) -> bool {
    key.ends_with("_file") && ["password", "token", "secret"].iter().any(|word| key.contains(word))
}

/// What was found, in words; never the text of what may be a secret.
fn describe(value: &Value, key: &str) -> String {
    let may_be_secret = key == "auth" || is_secret_key(key);
    match &value.kind {
        ValueKind::Nil => "a date".into(),
        ValueKind::Boolean(truth) => format!("`{truth}`"),
        ValueKind::Table(_) => "a table".into(),
        ValueKind::Array(items) => format!("a list of {}", items.len()),
        ValueKind::String(text) if text.is_empty() => "an empty text".into(),
        ValueKind::String(text) if may_be_secret || (text.contains("://") && text.contains('@')) => "this text".into(),
        ValueKind::String(text) => {
            let mut short: String = text.chars().take(ECHO_CHARS_MAX).collect();
            if short.len() < text.len() {
                short.push('…');
            }
            format!("the text \"{}\"", short.escape_debug())
        }
        ValueKind::Float(number) => format!("the number {number:?}"),
        ValueKind::I64(number) => format!("the number {number}"),
        other => format!("the number {other}"),
    }
}

/// Any text that is not empty.
pub(super) fn text(cell: Cell<'_>) -> Decoded<String> {
    match &cell.value.kind {
        ValueKind::String(text) if !text.trim().is_empty() && !text.chars().any(char::is_control) => Ok(text.clone()),
        _ => Err("a text in quotes that is not empty, on one line".into()),
    }
}

/// A path.
pub(super) fn path(cell: Cell<'_>) -> Decoded<PathBuf> {
    text(cell).map(PathBuf::from).map_err(|_| "the path of a file".into())
}

/// `true` or `false`.
pub(super) fn truth(cell: Cell<'_>) -> Decoded<bool> {
    match &cell.value.kind {
        ValueKind::Boolean(truth) => Ok(*truth),
        ValueKind::String(text) if cell.environment && text.eq_ignore_ascii_case("true") => Ok(true),
        ValueKind::String(text) if cell.environment && text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err("`true` or `false`, without quotes".into()),
    }
}

/// A whole number in `range`.
pub(super) fn integer(range: RangeInclusive<u64>) -> impl Fn(Cell<'_>) -> Decoded<u64> {
    move |cell| {
        let number = match &cell.value.kind {
            ValueKind::I64(number) => u64::try_from(*number).ok(),
            ValueKind::String(text) if cell.environment => text.trim().parse().ok(),
            _ => None,
        };
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            format!(
                "a whole number from {} to {}, without quotes",
                range.start(),
                range.end()
            )
        })
    }
}

/// A share of a whole.
pub(super) fn share(cell: Cell<'_>) -> Decoded<f64> {
    let number = match &cell.value.kind {
        ValueKind::Float(number) => Some(*number),
        ValueKind::I64(number) => Some(if *number == 0 {
            0.0
        } else if *number == 1 {
            1.0
        } else {
            f64::NAN
        }),
        ValueKind::String(text) if cell.environment => text.trim().parse().ok(),
        _ => None,
    };
    number
        .filter(|number| (0.0..=1.0).contains(number))
        .ok_or_else(|| "a share from 0 to 1, such as 0.10 for ten in a hundred".into())
}

/// A time such as `30s`, `15m`, `12h` or `90d`: more than nothing, and at most `seconds_max`.
pub(super) fn duration(seconds_max: u64) -> impl Fn(Cell<'_>) -> Decoded<Duration> {
    move |cell| {
        let parsed = match &cell.value.kind {
            ValueKind::String(text) => parse_duration(text),
            _ => None,
        };
        parsed
            .filter(|time| !time.is_zero() && *time <= Duration::from_secs(seconds_max))
            .ok_or_else(|| {
                format!("a time such as \"500ms\", \"30s\", \"15m\", \"12h\" or \"90d\", at most {seconds_max} seconds")
            })
    }
}

/// Reads a time: digits and one of the units `ms`, `s`, `m`, `h`, `d`.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..split].parse().ok()?;
    let seconds = |each: u64| number.checked_mul(each).map(Duration::from_secs);
    match &text[split..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(60 * 60),
        "d" => seconds(24 * 60 * 60),
        _ => None,
    }
}

/// One of a closed set of words.
pub(super) fn choice<T: Clone>(words: &'static [(&'static str, T)]) -> impl Fn(Cell<'_>) -> Decoded<T> {
    move |cell| {
        let found = match &cell.value.kind {
            ValueKind::String(text) => words
                .iter()
                .find(|(word, _)| *word == text || (cell.environment && word.eq_ignore_ascii_case(text))),
            _ => None,
        };
        found
            .map(|(_, value)| value.clone())
            .ok_or_else(|| one_of(words.iter().map(|(word, _)| *word)))
    }
}

/// `"a"`, `"b"` or `"c"`, in words.
pub(super) fn one_of<'w>(words: impl Iterator<Item = &'w str>) -> String {
    let quoted: Vec<String> = words.map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// A list of texts; from the environment also `a,b,c`.
pub(super) fn texts(cell: Cell<'_>) -> Decoded<Vec<String>> {
    let expected = || "a list of texts such as [\"one\", \"two\"]".to_owned();
    match &cell.value.kind {
        ValueKind::Array(items) => items
            .iter()
            .map(|value| {
                text(Cell {
                    value,
                    environment: false,
                })
            })
            .collect::<Result<_, _>>()
            .map_err(|_| expected()),
        ValueKind::String(list) if cell.environment => {
            let items: Vec<String> = list
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(str::to_owned)
                .collect();
            Ok(items)
        }
        _ => Err(expected()),
    }
}

/// A table of texts.
pub(super) fn table_of_texts(cell: Cell<'_>) -> Decoded<BTreeMap<String, String>> {
    let expected = || "a table of texts such as { \"One\" = \"two\" }".to_owned();
    let ValueKind::Table(table) = &cell.value.kind else {
        return Err(expected());
    };
    table
        .iter()
        .map(|(key, value)| match &value.kind {
            ValueKind::String(text) => Ok((key.clone(), text.clone())),
            _ => Err(expected()),
        })
        .collect()
}

/// A value on its own, for what is decoded outside a table.
pub(super) fn lone(value: &Value) -> Cell<'_> {
    Cell {
        value,
        environment: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(parse_duration("30s"), Some(Duration::from_secs(30)));
        assert_eq!(parse_duration("90d"), Some(Duration::from_secs(90 * 86_400)));
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        for bad in [
            "",
            "30",
            "s",
            "-1s",
            "1.5h",
            "30 s",
            "99999999999999999999s",
            "18446744073709551615d",
            "3w",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn nothing_secret_is_described() {
        let secret = Value::new(None, "s3cr3t");
        assert!(!describe(&secret, "token_file").contains("s3cr3t"));
        assert!(!describe(&secret, "auth").contains("s3cr3t"));
        let address = Value::new(None, "postgres://u:s3cr3t@db.example/x");
        assert!(!describe(&address, "listen").contains("s3cr3t"));
    }

    #[test]
    fn the_nearest_key_is_named() {
        assert_eq!(nearest("base_db", &["url", "base_dn"]), Some(("base_dn", true)));
        assert_eq!(nearest("zzzzzzzz", &["url"]), Some(("url", false)));
        assert!(unknown_key("token", &["kind", "token_file"]).contains("`token_file`"));
    }
}
