//! Distinguished names (RFC 4514): parsed, normalized for comparison, and taken apart. Never asks a directory what an
//! attribute means: values are compared without regard to case and to repeated spaces, as nearly all naming
//! attributes are.

/// A distinguished name, parsed and normalized: two texts of the same name are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dn {
    parts: Vec<Rdn>,
}

/// One level of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rdn {
    /// Normalized text: `cn=anna b+uid=7`.
    normal: String,
    /// The first value as it was written, unescaped: what to show.
    value: String,
}

impl Dn {
    /// Parses `text`; `None` where it is no distinguished name.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = text.trim_matches(' ');
        if rest.is_empty() {
            return Some(Self { parts });
        }
        loop {
            let (rdn, tail) = parse_rdn(rest)?;
            parts.push(rdn);
            match tail {
                None => return Some(Self { parts }),
                Some(tail) => rest = tail,
            }
        }
    }

    /// The normalized text: the same for every spelling of one name.
    pub(super) fn normalized(&self) -> String {
        self.parts
            .iter()
            .map(|rdn| rdn.normal.as_str())
            .collect::<Vec<_>>()
            .join(",")
    }

    /// The value of the first (lowest) level, as written.
    pub(super) fn first_value(&self) -> Option<&str> {
        self.parts.first().map(|rdn| rdn.value.as_str())
    }

    /// The name one level up; `None` above the top.
    pub(super) fn parent(&self) -> Option<Self> {
        let (_, above) = self.parts.split_first()?;
        Some(Self { parts: above.to_vec() })
    }

    /// Whether this name is `base` or below it.
    pub(super) fn is_within(&self, base: &Self) -> bool {
        let own = self.parts.iter().rev().map(|rdn| &rdn.normal);
        let mut shared = own.zip(base.parts.iter().rev().map(|rdn| &rdn.normal));
        self.parts.len() >= base.parts.len() && shared.all(|(a, b)| a == b)
    }
}

/// Whether two values are the same to a directory that compares without regard to case and repeated spaces.
pub(super) fn same_value(a: &str, b: &str) -> bool {
    normal_value(a) == normal_value(b)
}

/// One RDN, and what comes after its comma.
fn parse_rdn(text: &str) -> Option<(Rdn, Option<&str>)> {
    let mut pairs = Vec::with_capacity(1);
    let mut shown = None;
    let mut rest = text;
    loop {
        let (kind, after) = rest.split_once('=')?;
        let kind = attribute_type(kind)?;
        let (value, end) = parse_value(after.trim_start_matches(' '))?;
        pairs.push(format!("{kind}={}", normal_value(&value)));
        shown.get_or_insert(value);
        match end.as_bytes().first() {
            Some(b'+') => rest = &end[1..],
            separator => {
                pairs.sort_unstable();
                let rdn = Rdn {
                    normal: pairs.join("+"),
                    value: shown?,
                };
                return Some((rdn, separator.map(|_| &end[1..])));
            }
        }
    }
}

fn attribute_type(text: &str) -> Option<String> {
    let name = text.trim_matches(' ').to_ascii_lowercase();
    let name = name.strip_prefix("oid.").unwrap_or(&name);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.' || byte == b'_';
    (!name.is_empty() && name.bytes().all(plain)).then(|| name.to_owned())
}

/// One value with its escapes resolved, and the rest from its separator (`,`, `;` or `+`) on.
fn parse_value(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        return parse_quoted(quoted);
    }
    let bytes = text.as_bytes();
    let mut value = Vec::with_capacity(bytes.len());
    let mut at = 0;
    // Trailing spaces belong to the value only where they are escaped.
    let mut kept = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b',' | b';' | b'+' => break,
            b'\\' => {
                at += unescape(&bytes[at..], &mut value)?;
                kept = value.len();
            }
            b'"' => return None,
            _ => {
                value.push(byte);
                at += 1;
                if byte != b' ' {
                    kept = value.len();
                }
            }
        }
    }
    value.truncate(kept);
    Some((String::from_utf8(value).ok()?, &text[at..]))
}

/// The older form `"…"` (RFC 2253, section 4), which some servers still give.
fn parse_quoted(text: &str) -> Option<(String, &str)> {
    let bytes = text.as_bytes();
    let mut value = Vec::with_capacity(bytes.len());
    let mut at = 0;
    loop {
        match *bytes.get(at)? {
            b'"' => break,
            b'\\' => at += unescape(&bytes[at..], &mut value)?,
            byte => {
                value.push(byte);
                at += 1;
            }
        }
    }
    let rest = text[at + 1..].trim_start_matches(' ');
    let ends = rest.is_empty() || rest.starts_with([',', ';', '+']);
    ends.then_some((String::from_utf8(value).ok()?, rest))
}

/// Appends what the escape at the start of `bytes` stands for; gives its length.
fn unescape(bytes: &[u8], value: &mut Vec<u8>) -> Option<usize> {
    let first = *bytes.get(1)?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    if let (Some(high), Some(low)) = (digit(first), bytes.get(2).and_then(|low| digit(*low))) {
        value.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits are a byte"));
        return Some(3);
    }
    if !first.is_ascii() {
        return None;
    }
    value.push(first);
    Some(2)
}

/// The value as it is compared: lower case, spaces folded, escaped where RFC 4514 wants it.
fn normal_value(value: &str) -> String {
    let mut normal = String::with_capacity(value.len());
    for word in value.split([' ', '\t']).filter(|word| !word.is_empty()) {
        if !normal.is_empty() {
            normal.push(' ');
        }
        for c in word.chars().flat_map(char::to_lowercase) {
            match c {
                '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => normal.extend(['\\', c]),
                '#' if normal.is_empty() => normal.push_str("\\#"),
                c if c.is_control() => {
                    let mut bytes = [0; 4];
                    normal.extend(c.encode_utf8(&mut bytes).bytes().map(|byte| format!("\\{byte:02x}")));
                }
                c => normal.push(c),
            }
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(text: &str) -> String {
        Dn::parse(text)
            .unwrap_or_else(|| panic!("{text} is a name"))
            .normalized()
    }

    #[test]
    fn spellings_of_one_name_are_equal() {
        let expected = "cn=anna bo\\, jr,ou=a\\+b,dc=example";
        for text in [
            "cn=Anna Bo\\, Jr,ou=a\\+b,dc=example",
            "CN = anna  bo\\2C JR , OU=A\\2bB; DC=Example",
            "cn=\"Anna Bo, Jr\",ou=\"a+b\",dc=example",
            "cn=\\41nna Bo\\, Jr\\20,ou=a\\+b,dc=example",
        ] {
            assert_eq!(normal(text), expected, "{text}");
        }
        assert_eq!(normal("uid=7+cn=Åsa"), normal("CN=\\c3\\a5sa + UID=7"));
        assert_ne!(normal("cn=a,dc=b"), normal("cn=a\\,dc\\=b"));
        assert_eq!(normal(""), "");
    }

    #[test]
    fn a_normalized_name_is_a_name_and_stays_itself() {
        for text in [
            "cn=\\#1 \\<x\\>,o=a\\\\b",
            "cn=\\00\\0d,o=é",
            "cn=#04024869,o=x",
            "cn=a b+sn=c,o=x",
        ] {
            let once = normal(text);
            assert_eq!(normal(&once), once, "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "x",
            "=x",
            "cn",
            "cn=a,",
            "cn=a\\",
            "cn=\\ff",
            "cn=\"a",
            "cn=\"a\"b",
            "c n=a",
            "cn=a\"b",
            "cn=\\é",
        ] {
            assert!(Dn::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn names_are_taken_apart() {
        let dn = Dn::parse("uid=7,o=Acme\\, Inc,dc=example").expect("a name");
        let parent = dn.parent().expect("not the top");
        assert_eq!(parent.first_value(), Some("Acme, Inc"));
        assert_eq!(parent.normalized(), "o=acme\\, inc,dc=example");
        let base = Dn::parse("DC=Example").expect("a name");
        assert!(dn.is_within(&base) && base.is_within(&base) && !base.is_within(&dn));
        assert!(!Dn::parse("dc=other").expect("a name").is_within(&base));
        assert!(Dn::parse("").expect("the top").parent().is_none());
    }
}
