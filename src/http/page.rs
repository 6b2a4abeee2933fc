//! Lists in pages: how many, from where on, and the opaque cursor of the next one. The server keeps nothing.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::error::{Code, Problem};

/// Items of a page where nobody says how many.
pub(super) const LIMIT_DEFAULT: u32 = 100;

/// Most items of a page.
pub(super) const LIMIT_MAX: u32 = 1_000;

/// Longest cursor, in characters: it holds one external id and a name at the most.
const CURSOR_CHARS_MAX: usize = 8_192;

/// One page of a list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Page<T> {
    /// The items.
    pub(super) items: Vec<T>,
    /// What to send as `cursor` for the next page; null on the last one.
    #[schema(required)]
    pub(super) next: Option<String>,
}

/// What a cursor holds: the list that it belongs to, and the place after which the next page begins.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor<K> {
    list: String,
    after: K,
}

/// A checked request for one page of a list whose place is a `K`.
#[derive(Debug)]
pub(super) struct PageRequest<K> {
    list: String,
    /// Most items to answer.
    pub(super) limit: u32,
    /// The place after which the page begins; `None` at the beginning.
    pub(super) after: Option<K>,
}

impl<K: Serialize + DeserializeOwned> PageRequest<K> {
    /// Reads `limit` and `cursor`. `list` names the list with all that decides which items it has and in which order,
    /// so that a cursor is refused where the filter is another one.
    ///
    /// # Errors
    /// 400 where the limit is none, or the cursor was not given by this list.
    pub(super) fn new(list: impl Into<String>, limit: Option<u32>, cursor: Option<&str>) -> Result<Self, Problem> {
        let list = list.into();
        let limit = match limit {
            None => LIMIT_DEFAULT,
            Some(limit @ 1..=LIMIT_MAX) => limit,
            Some(limit) => {
                let detail = format!("`limit` is {limit}; ask for 1 to {LIMIT_MAX} items");
                return Err(Problem::new(Code::BadQuery, detail));
            }
        };
        let after = match cursor {
            None => None,
            Some(text) => Some(decode(text, &list).ok_or_else(Problem::bad_cursor)?),
        };
        Ok(Self { list, limit, after })
    }

    /// Reads `limit` and `cursor` of a query whose other parameters are its filters.
    pub(super) fn of(
        list: &str,
        filters: &impl Serialize,
        limit: Option<u32>,
        cursor: Option<&str>,
    ) -> Result<Self, Problem> {
        let filters = serde_json::to_string(filters).expect("filters are texts, numbers and truth values");
        let hash = Sha256::digest(format!("{list} {filters}"));
        let short: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self::new(short, limit, cursor)
    }

    /// How many items to read: one more than is answered shows whether there is a next page.
    pub(super) fn read(&self) -> u64 {
        u64::from(self.limit) + 1
    }

    /// The page of what was read, with [`Self::read`] as its limit. `place` is where an item stands in the list.
    pub(super) fn page<R, T>(&self, mut rows: Vec<R>, place: impl Fn(&R) -> K, item: impl Fn(R) -> T) -> Page<T> {
        let limit = self.limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = match rows.last() {
            Some(last) if more => Some(encode(&Cursor {
                list: self.list.clone(),
                after: place(last),
            })),
            _ => None,
        };
        Page {
            items: rows.into_iter().map(item).collect(),
            next,
        }
    }
}

impl<K: Serialize> PageRequest<K> {
    /// The page of items that are as many as they are to be, and go on after `next`.
    pub(super) fn given<R, T>(&self, items: Vec<R>, next: Option<K>, item: impl Fn(R) -> T) -> Page<T> {
        let next = next.map(|after| {
            encode(&Cursor {
                list: self.list.clone(),
                after,
            })
        });
        Page {
            items: items.into_iter().map(item).collect(),
            next,
        }
    }
}

/// As hexadecimal digits: nothing in it needs escaping, and nobody is tempted to read it.
fn encode<K: Serialize>(cursor: &Cursor<K>) -> String {
    let json = serde_json::to_vec(cursor).expect("the place in a list is texts and numbers");
    json.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decode<K: DeserializeOwned>(text: &str, list: &str) -> Option<K> {
    let digits = text.as_bytes();
    if digits.len() > CURSOR_CHARS_MAX || !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |pair: &[u8]| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok();
    let json: Vec<u8> = digits.chunks(2).map(byte).collect::<Option<_>>()?;
    let cursor: Cursor<K> = serde_json::from_slice(&json).ok()?;
    (cursor.list == list).then_some(cursor.after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_goes_from_page_to_page_and_ends() {
        let rows: Vec<u64> = (1..=5).collect();
        let (mut cursor, mut seen): (Option<String>, Vec<u64>) = (None, vec![]);
        for pages in 1.. {
            let request = PageRequest::<u64>::new("/runs?state=held", Some(2), cursor.as_deref()).expect("a page");
            let after = request.after.unwrap_or(0);
            let read = rows
                .iter()
                .copied()
                .filter(|n| *n > after)
                .take(request.read() as usize)
                .collect();
            let page = request.page(read, |n| *n, |n| n);
            seen.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                assert_eq!(pages, 3);
                break;
            }
        }
        assert_eq!(seen, rows);
    }

    #[test]
    fn a_cursor_of_another_list_and_a_limit_out_of_range_are_refused() {
        let request = PageRequest::<u64>::new("/runs", Some(1), None).expect("a page");
        let cursor = request.page(vec![1, 2], |n| *n, |n| n).next.expect("a next page");
        let code = |list, limit, cursor| {
            PageRequest::<u64>::new(list, limit, cursor)
                .map(|_| ())
                .map_err(|p| p.code())
        };
        assert_eq!(code("/runs", None, Some(&cursor)), Ok(()));
        for (list, cursor) in [
            ("/users", cursor.as_str()),
            ("/runs", ""),
            ("/runs", "zz"),
            ("/runs", "+1"),
            ("/runs", "äö"),
        ] {
            assert_eq!(code(list, None, Some(cursor)), Err(Code::BadCursor), "{list} {cursor}");
        }
        for limit in [0, LIMIT_MAX + 1] {
            assert_eq!(code("/runs", Some(limit), None), Err(Code::BadQuery));
        }
    }
}
