//! The layer of the environment: `ROLLCALL__SECTION__KEY`. Reads what it is given, never the process's own variables.

use ::config::{Map, Value, ValueKind};

use super::error::{Place, Problem};
use super::layers::{Layer, structured};
use crate::domain::id::SourceName;

/// What the names of our environment variables begin with.
const ENVIRONMENT_PREFIX: &str = "ROLLCALL__";

/// The layer of the environment: `ROLLCALL__SECTION__KEY`, in any case, sources by their name.
///
/// The `config` crate's own environment source splits keys at single underscores or folds case by settings that do
/// not go together, so this one is ours. Values stay text: each key reads them as what it expects.
pub(super) fn layer(
    variables: impl Iterator<Item = (String, String)>,
    known_sources: &[String],
    problems: &mut Vec<Problem>,
) -> Layer {
    let mut layer = Layer {
        single_keys: true,
        ..Layer::default()
    };
    let mut variables: Vec<_> = variables
        .filter(|(name, _)| {
            name.get(..ENVIRONMENT_PREFIX.len())
                .is_some_and(|p| p.eq_ignore_ascii_case(ENVIRONMENT_PREFIX))
        })
        .collect();
    variables.sort();
    for (name, text) in variables {
        let place = Place::Environment(name.as_str().into());
        let mut path: Vec<String> = name[ENVIRONMENT_PREFIX.len()..]
            .split("__")
            .map(str::to_ascii_lowercase)
            .collect();
        let key = path.join(".");
        let mut refuse = |message: &str| {
            problems.push(Problem {
                place: place.clone(),
                key: Some(key.clone()),
                message: message.into(),
            });
        };
        if path.len() < 2 || path.iter().any(String::is_empty) {
            refuse("the name has no section and key; write ROLLCALL__SECTION__KEY, with two underscores between");
            continue;
        }
        if path[0] == "sources" {
            if path.len() < 3 {
                refuse("the name has no key; write ROLLCALL__SOURCES__NAME__KEY with the name of a source");
                continue;
            }
            let wanted = path[1].replace('-', "_");
            if let Some(known) = known_sources.iter().find(|known| known.replace('-', "_") == wanted) {
                path[1].clone_from(known);
            } else if SourceName::parse(&path[1]).is_err() {
                refuse("that is no source name; write ROLLCALL__SOURCES__NAME__KEY with the name of a source");
                continue;
            }
            if !layer.source_names.contains(&path[1]) {
                layer.source_names.push(path[1].clone());
            }
        }
        if !insert(&mut layer, &path, &text, &place) {
            refuse(
                "another variable sets a key above or below this one, or the same in another case; remove one of them",
            );
        }
    }
    layer
}

/// Puts `text` at `path`. False where that contradicts what another variable put there.
fn insert(layer: &mut Layer, path: &[String], text: &str, place: &Place) -> bool {
    let mut at = &mut layer.tree;
    for depth in 0..path.len() - 1 {
        layer.places.insert(path[..=depth].join("."), place.clone());
        let below = at
            .entry(path[depth].clone())
            .or_insert_with(|| Value::new(None, ValueKind::Table(Map::new())));
        let ValueKind::Table(below) = &mut below.kind else {
            return false;
        };
        at = below;
    }
    let path_text = path.join(".");
    layer.places.insert(path_text, place.clone());
    at.insert(path[path.len() - 1].clone(), structured(text)).is_none()
}

#[cfg(test)]
mod tests {
    #[test]
    fn variables_meet_sources_whose_names_have_dashes() {
        let mut problems = Vec::new();
        let layer = super::layer(
            [("rollcall__Sources__AD_EU__base_dn".to_owned(), "dc=example".to_owned())].into_iter(),
            &["ad-eu".to_owned()],
            &mut problems,
        );
        assert!(problems.is_empty());
        assert!(layer.places.contains_key("sources.ad-eu.base_dn"), "{:?}", layer.places);
    }
}
