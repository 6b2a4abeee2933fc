//! The JSON of the directory, decoded into entries: the strict envelope of a page, and tolerant items inside it.
//! One item that cannot be read never costs the page; a page that is none is never an empty one. No I/O.

use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::domain::entry::{DirectoryOrganization, Received};

use super::account::AccountSeed;
use super::organization::{self, OrganizationSeed};

/// Longest cursor that is taken, in bytes: it has to fit a request line.
const CURSOR_BYTES_MAX: usize = 4096;

/// One item of a page.
#[derive(Debug, PartialEq)]
pub(super) enum Item<T> {
    /// Something that is there.
    Present(T),
    /// A tombstone: it says that there is nothing.
    Deleted,
    /// Something that is there and cannot be told from anything else.
    Nameless,
}

/// One page, checked.
#[derive(Debug, PartialEq)]
pub(super) struct Page<T> {
    pub(super) items: Vec<Item<T>>,
    pub(super) next: Option<String>,
    pub(super) total: Option<u64>,
    pub(super) as_of: Option<String>,
}

/// Why a body is no page; the text completes "… answered with".
#[derive(Debug, PartialEq)]
pub(super) struct NoPage(pub(super) String);

/// Decodes a page of accounts, of which only the attributes `wanted` are kept.
pub(super) fn accounts(body: &[u8], wanted: &Arc<[Arc<str>]>, depth_max: usize) -> Result<Page<Received>, NoPage> {
    tolerant(body, depth_max, |text, suspect| {
        page(text, AccountSeed { wanted, suspect })
    })
}

/// Decodes one account. `Err` where the body is no JSON at all.
pub(super) fn account(body: &[u8], wanted: &Arc<[Arc<str>]>, depth_max: usize) -> Result<Item<Received>, NoPage> {
    tolerant(body, depth_max, |text, suspect| {
        let mut json = serde_json::Deserializer::from_str(text);
        let item = AccountSeed { wanted, suspect }.deserialize(&mut json)?;
        json.end()?;
        Ok(Ok(item))
    })
}

/// Decodes a page of organizations.
pub(super) fn organizations(body: &[u8], depth_max: usize) -> Result<Page<DirectoryOrganization>, NoPage> {
    tolerant(body, depth_max, |text, _| page(text, OrganizationSeed))
}

/// Decodes one organization.
pub(super) fn organization(body: &[u8], depth_max: usize) -> Result<Item<DirectoryOrganization>, NoPage> {
    tolerant(body, depth_max, |text, _| {
        serde_json::from_str::<Value>(text).map(|value| Ok(organization::read(&value)))
    })
}

/// Runs `parse` on the body; where single characters in it are broken (bytes that are no UTF-8, half a surrogate
/// pair), once more on a copy in which they are replaced and with `suspect` set, so that they cost their entry
/// and not the page.
fn tolerant<T>(
    body: &[u8],
    depth_max: usize,
    parse: impl Fn(&str, bool) -> serde_json::Result<Result<T, NoPage>>,
) -> Result<T, NoPage> {
    if depth_exceeds(body, depth_max) {
        return Err(NoPage(format!("JSON that is nested more than {depth_max} levels deep")));
    }
    let outcome = match std::str::from_utf8(body) {
        Ok(text) => match parse(text, false) {
            Err(first) => match without_lone_surrogates(text) {
                Some(repaired) => parse(&repaired, true),
                None => Err(first),
            },
            good => good,
        },
        Err(_) => {
            let text = String::from_utf8_lossy(body);
            match without_lone_surrogates(&text) {
                Some(repaired) => parse(&repaired, true),
                None => parse(&text, true),
            }
        }
    };
    outcome.unwrap_or_else(|error| Err(NoPage(describe(body, &error))))
}

/// Says what came instead of a page. Never quotes it: a body may hold names and addresses.
fn describe(body: &[u8], error: &serde_json::Error) -> String {
    let first = body.trim_ascii_start().first().copied();
    match first {
        None => "an empty body".into(),
        Some(b'<') => "an HTML or XML page".into(),
        Some(b'[') if !error.is_eof() && !error.is_syntax() => "a bare JSON array".into(),
        Some(b'n') if error.is_data() => "`null`".into(),
        _ if error.is_eof() => "JSON that breaks off in the middle".into(),
        _ if error.is_syntax() => format!("what is no JSON (line {}, column {})", error.line(), error.column()),
        _ => format!(
            "JSON of another shape (line {}, column {})",
            error.line(),
            error.column()
        ),
    }
}

/// Whether brackets outside of strings nest deeper than `depth_max`.
fn depth_exceeds(body: &[u8], depth_max: usize) -> bool {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(&byte) = body.get(at) {
        match byte {
            b'"' => {
                at += 1;
                while let Some(&inner) = body.get(at) {
                    match inner {
                        b'"' => break,
                        b'\\' => at += 2,
                        _ => at += 1,
                    }
                }
            }
            b'{' | b'[' => {
                depth += 1;
                if depth > depth_max {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    false
}

/// A copy in which escapes of half a surrogate pair are U+FFFD; `None` where there are none.
fn without_lone_surrogates(text: &str) -> Option<String> {
    let unit = |at: usize| -> Option<u16> {
        let escape = text.as_bytes().get(at..at + 6)?;
        let digits = escape.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut repaired = String::new();
    let (mut copied, mut at) = (0, 0);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            at += 1;
            continue;
        }
        match unit(at) {
            Some(0xD800..=0xDBFF) if matches!(unit(at + 6), Some(0xDC00..=0xDFFF)) => at += 12,
            Some(0xD800..=0xDFFF) => {
                repaired.push_str(&text[copied..at]);
                repaired.push_str("\\ufffd");
                at += 6;
                copied = at;
            }
            _ => at += 2,
        }
    }
    if copied == 0 {
        return None;
    }
    repaired.push_str(&text[copied..]);
    Some(repaired)
}

/// Decodes an envelope whose items `seed` reads.
fn page<T, S>(text: &str, seed: S) -> serde_json::Result<Result<Page<T>, NoPage>>
where
    S: for<'de> DeserializeSeed<'de, Value = Item<T>> + Copy,
{
    let mut json = serde_json::Deserializer::from_str(text);
    let envelope = EnvelopeSeed(seed).deserialize(&mut json)?;
    json.end()?;
    Ok(envelope.check())
}

/// The envelope as it came.
struct Envelope<T> {
    items: Option<Vec<Item<T>>>,
    next: Option<Scalar>,
    total: Option<Scalar>,
    as_of: Option<Scalar>,
}

impl<T> Envelope<T> {
    fn check(self) -> Result<Page<T>, NoPage> {
        let Some(items) = self.items else {
            return Err(NoPage("a JSON object without `items`".into()));
        };
        let next = match self.next {
            Some(Scalar::Null) => None,
            Some(Scalar::Text(cursor)) if cursor.is_empty() => {
                return Err(NoPage("a page whose `next` is an empty text".into()));
            }
            Some(Scalar::Text(cursor)) if cursor.len() > CURSOR_BYTES_MAX => {
                return Err(NoPage(format!(
                    "a page whose `next` has more than {CURSOR_BYTES_MAX} bytes"
                )));
            }
            Some(Scalar::Text(cursor)) => Some(cursor),
            Some(_) => return Err(NoPage("a page whose `next` is neither a text nor null".into())),
            None => {
                return Err(NoPage(
                    "a page without `next`, which alone says where a listing ends".into(),
                ));
            }
        };
        let total = match self.total {
            None | Some(Scalar::Null) => None,
            Some(Scalar::Count(total)) => Some(total),
            Some(_) => return Err(NoPage("a page whose `total` is no count".into())),
        };
        let as_of = match self.as_of {
            Some(Scalar::Text(text)) => Some(text),
            _ => None,
        };
        Ok(Page {
            items,
            next,
            total,
            as_of,
        })
    }
}

/// Reads an envelope, and refuses one that names a key twice: which of the two to believe nobody knows.
struct EnvelopeSeed<S>(S);

impl<'de, T, S: DeserializeSeed<'de, Value = Item<T>> + Copy> DeserializeSeed<'de> for EnvelopeSeed<S> {
    type Value = Envelope<T>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Envelope<T>, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, T, S: DeserializeSeed<'de, Value = Item<T>> + Copy> Visitor<'de> for EnvelopeSeed<S> {
    type Value = Envelope<T>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a page")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope<T>, A::Error> {
        let mut page = Envelope {
            items: None,
            next: None,
            total: None,
            as_of: None,
        };
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            let twice = match &*key {
                "items" => page.items.replace(map.next_value_seed(ItemsSeed(self.0))?).is_some(),
                "next" => page.next.replace(map.next_value_seed(ScalarSeed)?).is_some(),
                "total" => page.total.replace(map.next_value_seed(ScalarSeed)?).is_some(),
                "as_of" => page.as_of.replace(map.next_value_seed(ScalarSeed)?).is_some(),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    false
                }
            };
            if twice {
                return Err(A::Error::custom("a key of the page stands in it twice"));
            }
        }
        Ok(page)
    }
}

/// Reads the array of items.
struct ItemsSeed<S>(S);

impl<'de, T, S: DeserializeSeed<'de, Value = Item<T>> + Copy> DeserializeSeed<'de> for ItemsSeed<S> {
    type Value = Vec<Item<T>>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de, T, S: DeserializeSeed<'de, Value = Item<T>> + Copy> Visitor<'de> for ItemsSeed<S> {
    type Value = Vec<Item<T>>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of items")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self.0)? {
            items.push(item);
        }
        Ok(items)
    }
}

/// Any JSON value, of which only scalars are kept.
#[derive(Debug, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Text(String),
    Count(u64),
    /// A negative or a fractional number, an array, an object.
    Other,
}

/// Reads a [`Scalar`] and never fails on good JSON.
pub(super) struct ScalarSeed;

impl<'de> DeserializeSeed<'de> for ScalarSeed {
    type Value = Scalar;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Scalar, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ScalarSeed {
    type Value = Scalar;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar::Bool(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar::Count(value))
    }
    fn visit_i64<E>(self, _: i64) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }
    fn visit_str<E>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DEPTH: usize = 32;

    fn parse(body: &str) -> Result<Page<Received>, NoPage> {
        accounts(body.as_bytes(), &Arc::from(["email".into()]), DEPTH)
    }

    #[test]
    fn what_is_no_page_is_said() {
        for (body, said) in [
            ("[]", "bare JSON array"),
            ("null", "`null`"),
            ("{}", "without `items`"),
            ("", "empty body"),
            ("<!doctype html><form>", "HTML"),
            (r#"{"items": []}"#, "without `next`"),
            (r#"{"items": [], "next": 5}"#, "neither a text nor null"),
            (r#"{"items": [], "next": ""}"#, "empty text"),
            (r#"{"items": {}, "next": null}"#, "another shape"),
            (r#"{"items": [], "items": [], "next": null}"#, "another shape"),
            (r#"{"items": [], "next": null, "total": "3"}"#, "`total` is no count"),
            (r#"{"items": [{"id": "1""#, "breaks off"),
            (r#"{"items": [], "next": null} {}"#, "no JSON"),
        ] {
            let NoPage(text) = parse(body).expect_err(body);
            assert!(text.contains(said), "{body}: {text}");
        }
    }

    #[test]
    fn an_empty_page_is_one() {
        let page = parse(r#" {"items": [], "next": null, "total": 0, "as_of": "2026-11-21T17:00:00Z", "x": {}}"#);
        let page = page.expect("a page");
        assert_eq!((page.items.len(), page.next, page.total), (0, None, Some(0)));
        assert_eq!(page.as_of.as_deref(), Some("2026-11-21T17:00:00Z"));
    }

    #[test]
    fn depth_is_counted_outside_of_strings() {
        assert!(!depth_exceeds(br#"{"a": "[[[[[[\"[[["}"#, 1));
        assert!(depth_exceeds(b"[[[]]]", 2));
        assert!(!depth_exceeds(b"[[],[],[]]", 2));
        let deep = format!(
            r#"{{"items": [{{"id": "1", "x": {}}}], "next": null}}"#,
            "[".repeat(100_000)
        );
        assert!(parse(&deep).expect_err("too deep").0.contains("32 levels"));
    }

    #[test]
    fn half_a_surrogate_pair_is_replaced_and_a_whole_one_kept() {
        assert_eq!(without_lone_surrogates(r#""\ud83d\ude00 \\ud800""#), None);
        assert_eq!(
            without_lone_surrogates(r#""a\ud800b""#).as_deref(),
            Some(r#""a\ufffdb""#)
        );
        assert_eq!(without_lone_surrogates(r#""\udc00""#).as_deref(), Some(r#""\ufffd""#));
    }

    proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = accounts(&body, &Arc::from(["email".into()]), DEPTH);
        }

        #[test]
        fn no_text_panics(body in r#"[\[\]{}":,\\ud8dcnulltrue0-9a ]{0,80}"#) {
            let _ = accounts(body.as_bytes(), &Arc::from(["a".into()]), DEPTH);
            let _ = organizations(body.as_bytes(), DEPTH);
        }
    }
}
