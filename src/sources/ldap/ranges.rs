//! Attributes that Active Directory gives in parts (`member;range=0-1499`): asks for the next part. Never calls an
//! attribute read whose end was not stated.

use super::connection::Connection;
use super::decode::{Ranged, split_range};
use super::failure::Verdict;
use super::listing::of_one;
use crate::sources::SourceError;

/// Another part of an attribute.
#[derive(Debug)]
pub(super) struct Part {
    /// Its name with its range, as the server wrote it.
    pub(super) description: String,
    /// Its values; `None` for what is no string of bytes.
    pub(super) values: Vec<Option<Vec<u8>>>,
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
    let Some(entry) = few.entries.into_iter().next() else {
        return Ok(None);
    };
    for attribute in entry.attributes() {
        let description = attribute.description.map(std::str::from_utf8);
        let (Some(Ok(description)), Some(values)) = (description, attribute.values) else {
            continue;
        };
        let (name, range) = split_range(description);
        if !name.eq_ignore_ascii_case(&ranged.name) {
            continue;
        }
        let values: Vec<_> = values.map(|value| value.map(<[u8]>::to_vec)).collect();
        let leads_on = match range {
            // The end, or an attribute that is whole after all.
            Some(None) | None => true,
            Some(Some(next)) => next > ranged.next && !values.is_empty(),
        };
        let description = description.to_owned();
        return Ok(leads_on.then_some(Part { description, values }));
    }
    Ok(None)
}
