//! The conditions of a statement that is put together from what was asked for. Values are always parameters.

use super::row::Arg;

/// Conditions joined by AND, with their arguments.
#[derive(Debug, Clone, Default)]
pub(super) struct Conditions {
    parts: Vec<String>,
    args: Vec<Arg>,
}

impl Conditions {
    /// Adds a condition whose `$1`, `$2`, … are `args`, whatever was added before.
    pub(super) fn and(&mut self, condition: &str, args: &[Arg]) {
        let mut text = String::with_capacity(condition.len() + 4);
        let mut rest = condition;
        while let Some(at) = rest.find('$') {
            text.push_str(&rest[..=at]);
            rest = &rest[at + 1..];
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let number: usize = rest[..digits].parse().unwrap_or(0);
            text.push_str(&(number + self.args.len()).to_string());
            rest = &rest[digits..];
        }
        text.push_str(rest);
        self.parts.push(text);
        self.args.extend_from_slice(args);
    }

    /// Whether nothing was asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// ` WHERE …`, or nothing.
    pub(super) fn sql(&self) -> String {
        if self.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", self.parts.join(" AND "))
        }
    }

    /// The arguments, in order.
    pub(super) fn args(&self) -> &[Arg] {
        &self.args
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// What it has, in the order of the list.
    pub items: Vec<T>,
    /// After which key the list goes on; `None` at its end. A search may go on after a page that is short or empty: it
    /// looks at a bounded number of rows for each page.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// The page out of up to `limit + 1` rows: where there is one too many, the list goes on.
    pub(super) fn cut(mut items: Vec<T>, limit: u64, key: impl Fn(&T) -> String) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let goes_on = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| goes_on).map(key);
        Self { items, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::row::args;

    #[test]
    fn parameters_are_numbered_in_order() {
        let mut conditions = Conditions::default();
        assert_eq!(conditions.sql(), "");
        conditions.and("(a = $1 OR b = $1)", args!["x"]);
        conditions.and("c", args![]);
        conditions.and("(d, e) > ($1, $2::uuid)", args!["y", "z"]);
        assert_eq!(
            conditions.sql(),
            " WHERE (a = $1 OR b = $1) AND c AND (d, e) > ($2, $3::uuid)"
        );
        assert_eq!(conditions.args(), args!["x", "y", "z"]);
    }

    #[test]
    fn a_page_goes_on_where_there_is_one_too_many() {
        let page = |n: u64, limit| Page::cut((0..n).collect(), limit, u64::to_string);
        assert_eq!(page(3, 3).next, None);
        assert_eq!(page(4, 3).next.as_deref(), Some("2"));
        assert_eq!(page(4, 3).items, [0, 1, 2]);
    }
}
