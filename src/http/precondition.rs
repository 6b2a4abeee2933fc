//! Which version of a row an edit is based on: `If-Match` and `ETag` (RFC 9110, sections 8.8.3 and 13.1.1).

use axum::http::{HeaderMap, HeaderValue, header};

use super::error::{Code, Problem};
use crate::store::Expected;

/// Most versions that one request may name.
const VERSIONS_MAX: usize = 20;

/// Reads `If-Match`, which an edit must have: two people who edit the same user would else overwrite each other.
///
/// # Errors
/// 428 where there is none, 400 where it cannot be read.
pub(super) fn expected(headers: &HeaderMap) -> Result<Expected, Problem> {
    let mut versions = Vec::new();
    let mut any = false;
    for value in headers.get_all(header::IF_MATCH) {
        let text = value.to_str().map_err(|_| unreadable())?;
        for tag in text.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
            any |= tag == "*";
            versions.extend(version(tag)?);
        }
    }
    if any {
        return Ok(Expected::Any);
    }
    if !headers.contains_key(header::IF_MATCH) {
        return Err(Problem::new(
            Code::PreconditionRequired,
            "say which version the edit is based on: send the ETag of the answer to GET as `If-Match`, or `If-Match: *` to overwrite whatever is there",
        ));
    }
    if versions.len() > VERSIONS_MAX {
        return Err(unreadable());
    }
    Ok(Expected::OneOf(versions))
}

/// The version of one entity tag; `None` for `*`. A weak one never matches, but is none that cannot be read.
fn version(tag: &str) -> Result<Option<String>, Problem> {
    if tag == "*" {
        return Ok(None);
    }
    let (tag, prefix) = match tag.strip_prefix("W/") {
        Some(rest) => (rest, "W/"),
        None => (tag, ""),
    };
    let quoted = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let inside = quoted.filter(|inside| !inside.contains('"')).ok_or_else(unreadable)?;
    Ok(Some(format!("{prefix}{inside}")))
}

fn unreadable() -> Problem {
    Problem::new(
        Code::BadRequest,
        "the header If-Match cannot be read; send an ETag as it came, with its quotation marks",
    )
}

/// The header `ETag` of a version.
pub(super) fn etag(version: &str) -> (header::HeaderName, HeaderValue) {
    let value = HeaderValue::from_str(&format!("\"{version}\"")).expect("a version is hexadecimal digits");
    (header::ETAG, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::IF_MATCH, HeaderValue::from_str(value).expect("a value"));
            }
            expected(&headers).map_err(|problem| problem.code())
        };
        let of = |versions: &[&str]| Ok(Expected::OneOf(versions.iter().map(|v| (*v).to_owned()).collect()));
        assert_eq!(read(&["\"a\""]), of(&["a"]));
        assert_eq!(read(&["\"a\", \"b\"", "W/\"c\""]), of(&["a", "b", "W/c"]));
        assert_eq!(read(&["*"]), Ok(Expected::Any));
        assert_eq!(read(&[]), Err(Code::PreconditionRequired));
        assert_eq!(read(&[""]), of(&[]), "it matches nothing");
        for bad in ["a", "\"a", "'a'", "\"a\"b\""] {
            assert_eq!(read(&[bad]), Err(Code::BadRequest), "{bad}");
        }
    }
}
