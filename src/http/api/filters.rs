//! What lists are filtered by: sources, organizations and users, as a query names them.

use super::super::App;
use super::super::error::{Code, Problem};
use crate::domain::id::{SourceName, UserId};
use crate::store::Organization;

/// Most characters of a text that is searched for.
pub(super) const SEARCH_CHARS_MAX: usize = 200;

/// The organization that a filter means.
#[derive(Debug)]
pub(super) enum Firm {
    /// Whichever.
    Any,
    /// One that is here.
    Here(Box<Organization>),
    /// One that is not here: by this id only something at a directory can be meant.
    Elsewhere(String),
}

fn bad(detail: String) -> Problem {
    Problem::new(Code::BadQuery, detail)
}

/// A text to search for; `None` where nothing is left of it.
pub(super) fn search(text: Option<String>) -> Result<Option<String>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let trimmed = text.trim();
    if trimmed.chars().count() > SEARCH_CHARS_MAX {
        return Err(bad(format!(
            "`q` has more than {SEARCH_CHARS_MAX} characters; search for less"
        )));
    }
    Ok(Some(trimmed.to_owned()).filter(|text| !text.is_empty()))
}

/// A source.
pub(super) fn source(name: Option<&str>) -> Result<Option<SourceName>, Problem> {
    name.map(SourceName::parse)
        .transpose()
        .map_err(|why| bad(why.to_string()))
}

/// A user, by its id here.
pub(super) fn user(id: Option<&str>) -> Result<Option<UserId>, Problem> {
    id.map(str::parse)
        .transpose()
        .map_err(|_| bad("`user` is no id of a user; take the `id` that GET /users answers".to_owned()))
}

/// An organization: its id here, its id at the directory, or its name.
pub(super) async fn firm(app: &App, source: Option<&SourceName>, wanted: Option<&str>) -> Result<Firm, Problem> {
    let Some(wanted) = wanted else { return Ok(Firm::Any) };
    let found = app.store().find_organizations(source, wanted).await?;
    let one = match found.as_slice() {
        [] => None,
        [one] => app.store().organization(*one).await?,
        several => {
            let ids: Vec<String> = several.iter().take(5).map(ToString::to_string).collect();
            return Err(bad(format!(
                "`organization` means several: {}; name one of these ids",
                ids.join(", ")
            )));
        }
    };
    Ok(match one {
        Some(one) => Firm::Here(Box::new(one)),
        None => Firm::Elsewhere(wanted.to_owned()),
    })
}
