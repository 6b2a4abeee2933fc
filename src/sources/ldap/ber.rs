//! Looks at the outside of LDAP messages before a library decodes them: lengths, depth, and the shape that RFC 4511
//! gives them. Never allocates in proportion to what a message claims, and never recurses deeper than [`DEPTH_MAX`].

use std::str;

/// Longest message that is accepted, in bytes. A page holds a thousand entries, each a message of its own of a few
/// kilobytes; eight megabytes is an entry with every photograph in it.
pub(super) const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Deepest nesting that is accepted. An entry nests five deep; the decoder behind us recurses on the stack.
pub(super) const DEPTH_MAX: usize = 32;

/// The object identifier of the paged results control (RFC 2696).
pub(super) const PAGED_RESULTS: &str = "1.2.840.113556.1.4.319";

/// Numbers of the protocol operations that matter here (RFC 4511, section 4).
pub(super) mod operation {
    pub(in super::super) const BIND_REQUEST: u8 = 0;
    pub(in super::super) const BIND_RESPONSE: u8 = 1;
    pub(in super::super) const SEARCH_REQUEST: u8 = 3;
    pub(in super::super) const SEARCH_ENTRY: u8 = 4;
    pub(in super::super) const SEARCH_DONE: u8 = 5;
    pub(in super::super) const SEARCH_REFERENCE: u8 = 19;
    pub(in super::super) const EXTENDED_REQUEST: u8 = 23;
    pub(in super::super) const EXTENDED_RESPONSE: u8 = 24;
    pub(in super::super) const INTERMEDIATE: u8 = 25;
}

const CONSTRUCTED: u8 = 0x20;
const APPLICATION: u8 = 0x40;
const CLASS_BITS: u8 = 0xc0;
const NUMBER_BITS: u8 = 0x1f;
const BOOLEAN: u8 = 1;
const INTEGER: u8 = 2;
const OCTET_STRING: u8 = 4;
const ENUMERATED: u8 = 10;
const SEQUENCE: u8 = 0x30;
const CONTROLS: u8 = 0xa0;
/// Where Active Directory misplaces the name of a notice of disconnection.
const MISPLACED_NAME: u8 = 0x8a;

/// Why a message is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("a message of {0} bytes, where {MESSAGE_BYTES_MAX} is the most")]
    TooLong(u64),
    #[error("a message nested deeper than {DEPTH_MAX}")]
    TooDeep,
    #[error("a message that is not LDAP ({0})")]
    Shape(&'static str),
}

/// The tag and the extent of one BER element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) tag: u8,
    /// Where the content begins.
    pub(super) content: usize,
    /// Bytes of the whole element, header included.
    pub(super) total: usize,
}

/// Reads the header at the start of `bytes`; `None` while more bytes are needed.
pub(super) fn header(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let Some(&tag) = bytes.first() else { return Ok(None) };
    if tag & NUMBER_BITS == NUMBER_BITS {
        return Err(Malformed::Shape("a tag number above 30"));
    }
    let Some(&first) = bytes.get(1) else { return Ok(None) };
    let (content, length) = match first {
        0..0x80 => (2, u64::from(first)),
        0x80 => return Err(Malformed::Shape("an indefinite length")),
        _ => {
            let digits = usize::from(first & 0x7f);
            if digits > 8 {
                return Err(Malformed::TooLong(u64::MAX));
            }
            let Some(digits) = bytes.get(2..2 + digits) else {
                return Ok(None);
            };
            let length = digits.iter().fold(0_u64, |sum, digit| sum << 8 | u64::from(*digit));
            (2 + digits.len(), length)
        }
    };
    if length > MESSAGE_BYTES_MAX as u64 {
        return Err(Malformed::TooLong(length));
    }
    let total = content + usize::try_from(length).map_err(|_| Malformed::TooLong(length))?;
    Ok(Some(Header { tag, content, total }))
}

/// As [`header`], for the start of a message: whatever else speaks there is refused at its first byte, and not waited
/// for.
pub(super) fn message_header(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    match bytes.first() {
        Some(&first) if first != SEQUENCE => Err(Malformed::Shape("no SEQUENCE at its start")),
        _ => header(bytes),
    }
}

/// One element of a constructed one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    tag: u8,
    content: &'a [u8],
}

impl<'a> Element<'a> {
    fn number(self) -> u8 {
        self.tag & NUMBER_BITS
    }

    fn is_constructed(self) -> bool {
        self.tag & CONSTRUCTED != 0
    }

    fn children(self) -> Elements<'a> {
        Elements(self.content)
    }

    /// The elements of a constructed one; none of a primitive one.
    pub(super) fn elements(self) -> Elements<'a> {
        match self.is_constructed() {
            true => self.children(),
            false => Elements::none(),
        }
    }

    /// The content of a primitive one.
    pub(super) fn bytes(self) -> Option<&'a [u8]> {
        self.primitive().ok()
    }

    /// The content, where it is a primitive one.
    fn primitive(self) -> Result<&'a [u8], Malformed> {
        match self.is_constructed() {
            false => Ok(self.content),
            true => Err(Malformed::Shape("a constructed string")),
        }
    }

    /// The content, where it is text.
    fn text(self) -> Result<&'a str, Malformed> {
        str::from_utf8(self.primitive()?).map_err(|_| Malformed::Shape("a text that is no UTF-8"))
    }
}

/// The elements one after another in `.0`; ends early on nothing, fails on what does not fit.
#[derive(Debug, Clone)]
pub(super) struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// No elements.
    pub(super) fn none() -> Self {
        Self(&[])
    }

    /// The next element of what was checked already; the end where there is none.
    pub(super) fn next_good(&mut self) -> Option<Element<'a>> {
        self.next().ok().flatten()
    }

    fn next(&mut self) -> Result<Option<Element<'a>>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let header = header(self.0)?.ok_or(Malformed::Shape("an element cut short"))?;
        let whole = self
            .0
            .get(..header.total)
            .ok_or(Malformed::Shape("an element longer than what holds it"))?;
        self.0 = &self.0[header.total..];
        Ok(Some(Element {
            tag: header.tag,
            content: &whole[header.content..],
        }))
    }

    fn required(&mut self, missing: &'static str) -> Result<Element<'a>, Malformed> {
        self.next()?.ok_or(Malformed::Shape(missing))
    }
}

/// What the outside of a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message<'a> {
    /// The id of the request that it answers; 0 for an unsolicited notification.
    pub(super) id: i32,
    /// Its protocol operation.
    pub(super) operation: u8,
    /// The diagnostic text of a result; empty otherwise.
    pub(super) text: &'a str,
    /// The code of a result; 0 otherwise.
    pub(super) code: u32,
}

/// Checks one whole message (RFC 4511, section 4.1.1), as far down as the decoder behind us trusts it.
pub(super) fn message(pdu: &[u8]) -> Result<Message<'_>, Malformed> {
    let mut outer = Elements(pdu);
    message_header(pdu)?;
    let envelope = outer.required("nothing")?;
    check_nesting(envelope.content, 1)?;
    let mut parts = envelope.children();
    let id = parts.required("no message id")?;
    if id.tag != INTEGER {
        return Err(Malformed::Shape("no message id"));
    }
    let id = i32::try_from(unsigned(id.content)?).map_err(|_| Malformed::Shape("a message id out of range"))?;
    let body = parts.required("no operation")?;
    if body.tag & CLASS_BITS != APPLICATION {
        return Err(Malformed::Shape("no operation"));
    }
    match parts.next()? {
        None => {}
        Some(controls) if controls.tag == CONTROLS => check_controls(controls)?,
        Some(name) if name.tag == MISPLACED_NAME && id == 0 => {}
        Some(_) => return Err(Malformed::Shape("something after the operation")),
    }
    if parts.next()?.is_some() {
        return Err(Malformed::Shape("something after the controls"));
    }
    let operation = body.number();
    let (code, text) = check_answer(operation, body)?;
    Ok(Message {
        id,
        operation,
        text,
        code,
    })
}

/// The parts of the operation of a message that [`message`] let through.
pub(super) fn operation_parts(pdu: &[u8]) -> Elements<'_> {
    let body = Elements(pdu).next_good().and_then(|envelope| {
        let mut parts = envelope.children();
        parts.next_good();
        parts.next_good()
    });
    body.map_or(Elements::none(), Element::elements)
}

/// The message id and the operation of a request of our own.
pub(super) fn request(pdu: &[u8]) -> Result<(i32, u8), Malformed> {
    let mut parts = Elements(pdu).required("nothing")?.children();
    let id = unsigned(parts.required("no message id")?.content)?;
    let body = parts.required("no operation")?;
    let id = i32::try_from(id).map_err(|_| Malformed::Shape("a message id out of range"))?;
    Ok((id, body.number()))
}

fn check_nesting(mut content: &[u8], depth: usize) -> Result<(), Malformed> {
    if depth > DEPTH_MAX {
        return Err(Malformed::TooDeep);
    }
    while !content.is_empty() {
        let header = header(content)?.ok_or(Malformed::Shape("an element cut short"))?;
        let whole = content
            .get(..header.total)
            .ok_or(Malformed::Shape("an element longer than what holds it"))?;
        if header.tag & CONSTRUCTED != 0 {
            check_nesting(&whole[header.content..], depth + 1)?;
        }
        content = &content[header.total..];
    }
    Ok(())
}

/// Checks the parts of an answer that the decoder takes for granted; gives the code and the text of a result.
fn check_answer(operation: u8, body: Element<'_>) -> Result<(u32, &str), Malformed> {
    use self::operation as op;
    match operation {
        op::BIND_RESPONSE | op::SEARCH_DONE | op::EXTENDED_RESPONSE if body.is_constructed() => check_result(body),
        op::SEARCH_ENTRY | op::SEARCH_REFERENCE | op::INTERMEDIATE if body.is_constructed() => Ok((0, "")),
        _ => Err(Malformed::Shape("an operation that answers nothing")),
    }
}

fn check_result(body: Element<'_>) -> Result<(u32, &str), Malformed> {
    let mut parts = body.children();
    let code = parts.required("no result code")?;
    if code.tag != ENUMERATED {
        return Err(Malformed::Shape("no result code"));
    }
    let code = unsigned(code.content)?;
    parts.required("no matched DN")?.text()?;
    let text = parts.required("no diagnostic text")?.text()?;
    while let Some(part) = parts.next()? {
        match part.number() {
            3 if part.is_constructed() => {
                let mut urls = part.children();
                while let Some(url) = urls.next()? {
                    url.text()?;
                }
            }
            3 => return Err(Malformed::Shape("a referral that is no list")),
            10 => drop(part.text()?),
            7 | 11 => drop(part.primitive()?),
            _ => {}
        }
    }
    Ok((code, text))
}

fn check_controls(controls: Element<'_>) -> Result<(), Malformed> {
    let mut list = controls.children();
    while let Some(control) = list.next()? {
        if !control.is_constructed() {
            return Err(Malformed::Shape("a control that is no SEQUENCE"));
        }
        let mut parts = control.children();
        parts.required("a control without its name")?.text()?;
        let mut value = parts.next()?;
        if let Some(criticality) = value.filter(|part| part.number() == BOOLEAN) {
            if criticality.primitive()?.is_empty() {
                return Err(Malformed::Shape("an empty BOOLEAN"));
            }
            value = parts.next()?;
        }
        match value {
            None => {}
            Some(value) if value.number() == OCTET_STRING => drop(value.primitive()?),
            Some(_) => return Err(Malformed::Shape("a control with an odd value")),
        }
    }
    Ok(())
}

fn unsigned(content: &[u8]) -> Result<u32, Malformed> {
    match content {
        [] => Err(Malformed::Shape("an empty number")),
        [first, ..] if *first >= 0x80 => Err(Malformed::Shape("a negative number")),
        digits if digits.len() > 4 => Err(Malformed::Shape("a number of more than 32 bits")),
        digits => Ok(digits.iter().fold(0, |sum, digit| sum << 8 | u32::from(*digit))),
    }
}

/// Reads the value of a paged results control: the estimate of the total, and the cookie.
pub(super) fn paged_results(value: &[u8]) -> Result<(u32, &[u8]), Malformed> {
    let list = Elements(value).required("an empty paging control")?;
    if list.tag != SEQUENCE {
        return Err(Malformed::Shape("a paging control that is no SEQUENCE"));
    }
    let mut parts = list.children();
    let estimate = parts.required("a paging control without a size")?;
    let cookie = parts.required("a paging control without a cookie")?.primitive()?;
    // Some servers answer -1 for "unknown": the estimate is a courtesy, and no reason to refuse a page.
    Ok((unsigned(estimate.content).unwrap_or(0), cookie))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut all = vec![tag];
        match content.len() {
            short @ 0..0x80 => all.push(short as u8),
            long => {
                all.push(0x84);
                all.extend((long as u32).to_be_bytes());
            }
        }
        all.extend(content);
        all
    }

    fn done(code: u8) -> Vec<u8> {
        let body = [tlv(ENUMERATED, &[code]), tlv(4, b""), tlv(4, b"text")].concat();
        tlv(SEQUENCE, &[tlv(INTEGER, &[7]), tlv(0x65, &body)].concat())
    }

    #[test]
    fn a_result_is_read() {
        let pdu = done(4);
        let read = message(&pdu).expect("well formed");
        assert_eq!(
            read,
            Message {
                id: 7,
                operation: operation::SEARCH_DONE,
                text: "text",
                code: 4
            }
        );
    }

    #[test]
    fn every_cut_is_incomplete_and_none_is_accepted() {
        let pdu = done(0);
        for cut in 0..pdu.len() {
            let head = header(&pdu[..cut]).expect("no violation in a prefix");
            assert!(head.is_none_or(|head| head.total > cut), "{cut}");
            assert!(message(&pdu[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn any_byte_changed_never_panics() {
        let pdu = done(0);
        let mut refused = 0;
        for at in 0..pdu.len() {
            for value in 0..=255 {
                let mut changed = pdu.clone();
                changed[at] = value;
                refused += usize::from(message(&changed).is_err());
            }
        }
        assert!(refused > 1_000, "{refused}");
    }

    #[test]
    fn whatever_passes_does_not_panic_the_library() {
        let control = tlv(SEQUENCE, &[tlv(4, b"1.2"), tlv(1, &[1]), tlv(4, b"v")].concat());
        let referral = tlv(0xa3, &tlv(4, b"ldap://x"));
        let body = [
            tlv(ENUMERATED, &[10]),
            tlv(4, b"cn=a"),
            tlv(4, b"text"),
            referral,
            tlv(0x8a, b"1.2"),
        ]
        .concat();
        let pdu = tlv(
            SEQUENCE,
            &[tlv(INTEGER, &[7]), tlv(0x65, &body), tlv(CONTROLS, &control)].concat(),
        );
        assert!(message(&pdu).is_ok());
        let mut passed = 0;
        for at in 0..pdu.len() {
            for value in 0..=255 {
                let mut changed = pdu.clone();
                changed[at] = value;
                let Ok(read) = message(&changed) else { continue };
                let (_, envelope) = ldap3::asn1::parse_tag(&changed).expect("well formed");
                let body = envelope.expect_constructed().expect("a SEQUENCE").swap_remove(1);
                if read.operation == operation::SEARCH_DONE {
                    let result = ldap3::LdapResult::from(ldap3::asn1::Tag::StructureTag(body));
                    assert_eq!(result.rc, read.code);
                    passed += 1;
                }
            }
        }
        assert!(passed > 1_000, "{passed}");
    }

    #[test]
    fn lengths_are_limited_before_anything_is_read() {
        assert_eq!(
            header(&[0x30, 0x86, 1, 0, 0, 0, 0, 0]),
            Err(Malformed::TooLong(1 << 40))
        );
        assert_eq!(header(&[0x30, 0x89]), Err(Malformed::TooLong(u64::MAX)));
        assert_eq!(header(&[0x30, 0x80]), Err(Malformed::Shape("an indefinite length")));
        assert!(header(&[0x30, 0x83, 0x7f]).expect("a prefix").is_none());
    }

    #[test]
    fn nesting_is_limited() {
        let nested = |depth: usize| (0..depth).fold(Vec::new(), |inner, _| tlv(SEQUENCE, &inner));
        let entry = |depth| tlv(SEQUENCE, &[tlv(INTEGER, &[1]), tlv(0x64, &nested(depth))].concat());
        assert!(message(&entry(DEPTH_MAX - 2)).is_ok());
        assert_eq!(message(&entry(DEPTH_MAX)), Err(Malformed::TooDeep));
        assert_eq!(message(&entry(20_000)), Err(Malformed::TooDeep));
    }

    #[test]
    fn what_would_panic_the_decoder_is_refused() {
        let with = |body: &[u8], tag: u8| tlv(SEQUENCE, &[tlv(INTEGER, &[1]), tlv(tag, body)].concat());
        assert!(message(&with(b"", 0x65)).is_err(), "a result without a code");
        assert!(message(&with(&[tlv(10, &[0]), tlv(4, b"\xff"), tlv(4, b"")].concat(), 0x65)).is_err());
        assert!(
            message(&with(
                &[tlv(10, &[0]), tlv(4, b""), tlv(4, b""), tlv(0x83, b"")].concat(),
                0x65
            ))
            .is_err()
        );
        assert!(message(&with(b"", 0x66)).is_err(), "a request is no answer");
        let control = tlv(CONTROLS, &tlv(SEQUENCE, &[tlv(4, b"1.2"), tlv(1, b"")].concat()));
        let body = [tlv(10, &[0]), tlv(4, b""), tlv(4, b"")].concat();
        let pdu = tlv(SEQUENCE, &[tlv(INTEGER, &[1]), tlv(0x65, &body), control].concat());
        assert!(message(&pdu).is_err(), "an empty BOOLEAN");
    }

    #[test]
    fn a_paging_control_is_read() {
        let value = tlv(SEQUENCE, &[tlv(INTEGER, &[0]), tlv(4, b"next")].concat());
        assert_eq!(paged_results(&value), Ok((0, &b"next"[..])));
        assert!(paged_results(b"").is_err());
        assert!(paged_results(&tlv(SEQUENCE, &tlv(INTEGER, &[0]))).is_err());
    }
}
