//! Attributes that Active Directory gives in parts (`member;range=0-1499`): asks for the next part. Never calls an
//! attribute read whose end was not stated.

use ldap3::asn1::StructureTag;

use super::connection::Connection;
use super::decode::{Ranged, children, split_range};
use super::failure::Verdict;
use super::listing::of_one;
use crate::sources::SourceError;

/// Another part of an attribute.
#[derive(Debug)]
pub(super) struct Part {
    /// Its name with its range, as the server wrote it.
    pub(super) description: String,
    pub(super) values: Vec<StructureTag>,
}

/// Asks for the next part of `ranged` of the entry `dn`; `None` where the server gives none that leads on.
pub(super) async fn next(connection: &mut Connection, dn: &str, ranged: &Ranged) -> Result<Option<Part>, SourceError> {
    let asked = format!("{};range={}-*", ranged.name, ranged.next);
    let few = connection.few(&of_one(dn, &[&asked]), 1).await?;
    if few.result.rc != 0 {
        return match connection.context.search(dn, 0, &few.result) {
            // An entry that went away meanwhile, or a part that is refused: a matter of that entry alone.
            Verdict::Failed(error) if error.is_transient() => Err(error),
            _ => Ok(None),
        };
    }
    let Some(attributes) = few
        .entries
        .into_iter()
        .next()
        .and_then(|entry| children(entry).into_iter().nth(1))
    else {
        return Ok(None);
    };
    for attribute in children(attributes) {
        let mut halves = children(attribute).into_iter();
        let description = halves
            .next()
            .and_then(StructureTag::expect_primitive)
            .map(String::from_utf8);
        let (Some(Ok(description)), Some(values)) = (description, halves.next()) else {
            continue;
        };
        let (name, range) = split_range(&description);
        if !name.eq_ignore_ascii_case(&ranged.name) {
            continue;
        }
        let values = children(values);
        let leads_on = match range {
            // The end, or an attribute that is whole after all.
            Some(None) | None => true,
            Some(Some(next)) => next > ranged.next && !values.is_empty(),
        };
        return Ok(leads_on.then_some(Part { description, values }));
    }
    Ok(None)
}
