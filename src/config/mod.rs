//! The configuration: layers of TOML and environment, read strictly into one struct a section. A misspelt key is an
//! error with its place, never a default. Opens no connection, reads no secret, imports nothing but the core.

mod environment;
mod error;
mod http;
mod layers;
mod ldap;
mod mapping;
mod read;
mod schema;
mod secrets;
mod sections;
mod show;
mod source;
mod source_kinds;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::config::{Map, Value, ValueKind};

pub use error::{ConfigError, Place, Problem};
pub use http::Http;
pub use ldap::{Ldap, LdapBind, LdapOrganization};
pub use schema::schema;
pub use secrets::{Lookup, Secret};
pub use sections::{Agency, Brake, Brakes, Database, OnLimit};
pub use source::{Common, NEVER, Source, SourceKind, Tls};
pub use source_kinds::{Auth, Connex, FileCompleteness, FileFormat, FileSource};

use crate::domain::field::Authorities;
use layers::{Layer, Merged, Origin};
use read::{Context, Table};

/// Reads a time as the configuration writes it: digits and one of the units `ms`, `s`, `m`, `h`, `d`.
pub fn parse_duration(text: &str) -> Option<std::time::Duration> {
    read::parse_duration(text)
}

/// The built-in default, with every key; what `config default` prints.
pub const DEFAULT_TOML: &str = include_str!("../../config/default.toml");

/// The file that is read where none is named, if it exists.
pub const SYSTEM_FILE: &str = "/etc/rollcall/rollcall.toml";

/// The sections of a configuration file.
const SECTIONS: [&str; 7] = [
    "database",
    "agency",
    "http",
    "fields",
    "brakes",
    "source_defaults",
    "sources",
];

/// The effective configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where users are kept.
    pub database: Database,
    /// The agency whose user table this is.
    pub agency: Agency,
    /// The API and the console.
    pub http: Http,
    /// Who decides each field.
    pub fields: Authorities,
    /// Limits that stop a run before its first write.
    pub brakes: Brakes,
    /// The sources, in the order of the files.
    pub sources: Vec<Source>,
    /// Where relative paths of secrets are looked for; for [`Secret::read`].
    pub lookup: Lookup,
    shown: String,
}

impl Config {
    /// The effective configuration as TOML, each key with where it came from; no secrets.
    pub fn show(&self) -> String {
        self.shown.clone()
    }

    /// Every secret that the database and the enabled sources need, for a check that each can be read.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let enabled = self.sources.iter().filter(|source| source.enabled);
        self.database
            .password_file
            .iter()
            .chain(enabled.filter_map(Source::secret))
    }

    /// The source of that name.
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.name.as_str() == name)
    }
}

/// Reads the built-in default, then `files` in order (without any, [`SYSTEM_FILE`] if it exists), then the
/// `ROLLCALL__SECTION__KEY` variables in `environment`.
///
/// Answers every problem that can be found at once.
pub fn load(files: &[PathBuf], environment: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
    let system_file = PathBuf::from(SYSTEM_FILE);
    let files = match files {
        // Where that cannot be told, reading it says why.
        [] if system_file.try_exists().unwrap_or(true) => std::slice::from_ref(&system_file),
        files => files,
    };
    let environment: Vec<(String, String)> = environment.collect();
    let lookup = Lookup {
        credentials_directory: environment
            .iter()
            .find(|(name, value)| name == "CREDENTIALS_DIRECTORY" && Path::new(value).is_absolute())
            .map(|(_, value)| PathBuf::from(value)),
    };
    let mut problems = Vec::new();
    let mut layers: Vec<Layer> = Vec::with_capacity(files.len() + 2);
    layers.extend(layers::parse(DEFAULT_TOML, &Origin::Default, &mut problems));
    for file in files {
        layers.extend(layers::read_file(&Arc::new(file.clone()), &mut problems));
    }
    if layers.len() < files.len() + 1 {
        // Part of a configuration would make its missing part look like the mistake.
        return Err(ConfigError::all(problems));
    }
    let known: Vec<String> = layers
        .iter()
        .flat_map(|layer| layer.source_names.iter().cloned())
        .collect();
    layers.push(environment::layer(environment.into_iter(), &known, &mut problems));
    let mut merged = layers::merge(layers);
    fill_sources(&mut merged);
    read_all(&merged, problems, lookup)
}

/// Lays `[source_defaults]`, and the mapping that belongs to its kind, under every source.
fn fill_sources(merged: &mut Merged) {
    let Merged { tree, places, .. } = merged;
    let defaults = match tree.get("source_defaults").map(|value| &value.kind) {
        Some(ValueKind::Table(defaults)) => defaults.clone(),
        _ => Map::new(),
    };
    let Some(ValueKind::Table(sources)) = tree.get_mut("sources").map(|value| &mut value.kind) else {
        return;
    };
    for (name, value) in sources.iter_mut() {
        let ValueKind::Table(source) = &mut value.kind else {
            continue;
        };
        for key in source::COMMON_KEYS
            .iter()
            .filter(|key| !source.contains_key(**key))
            .collect::<Vec<_>>()
        {
            if let Some(default) = defaults.get(*key) {
                source.insert((*key).to_owned(), default.clone());
                if let Some(place) = places.get(&format!("source_defaults.{key}")).cloned() {
                    places.insert(format!("sources.{name}.{key}"), place);
                }
            }
        }
        let mapped = source::kind_of(source).map_or(&[][..], mapping::defaults_of);
        if mapped.is_empty() {
            continue;
        }
        let fields = source
            .entry("fields".to_owned())
            .or_insert_with(|| Value::new(None, ValueKind::Table(Map::new())));
        if let ValueKind::Table(fields) = &mut fields.kind {
            for (field, attribute) in mapped
                .iter()
                .filter(|(field, _)| !fields.contains_key(*field))
                .collect::<Vec<_>>()
            {
                fields.insert((*field).to_owned(), Value::new(None, *attribute));
                places.insert(format!("sources.{name}.fields.{field}"), Place::Default { line: None });
            }
        }
    }
}

/// Reads every section, and reports everything that does not fit.
fn read_all(merged: &Merged, problems: Vec<Problem>, lookup: Lookup) -> Result<Config, ConfigError> {
    let context = Context::new(&merged.places, problems);
    let mut root = Table::new(&context, String::new(), &merged.tree);
    let database = sections::database(&mut root);
    let agency = sections::agency(&mut root);
    let http = http::http(&mut root);
    let fields = sections::fields(&mut root);
    let brakes = sections::brakes(&mut root);
    if let Some(mut defaults) = root.table("source_defaults") {
        source::common(&mut defaults);
        defaults.finish();
    }
    let sources = read_sources(&mut root, merged);
    if let Some(agency) = &agency {
        check_granted_roles(&context, agency, &sources);
    }
    root.know(&SECTIONS);
    root.finish();
    let problems = context.into_problems();
    if !problems.is_empty() {
        return Err(ConfigError::all(problems));
    }
    let complete = "a section that could not be read has reported why, and nothing was reported";
    Ok(Config {
        database: database.expect(complete),
        agency: agency.expect(complete),
        http: http.expect(complete),
        fields: fields.expect(complete),
        brakes: brakes.expect(complete),
        sources,
        lookup,
        shown: show::show(merged),
    })
}

fn read_sources(root: &mut Table<'_>, merged: &Merged) -> Vec<Source> {
    if !root.has("sources") {
        return Vec::new();
    }
    let Some(mut table) = root.table("sources") else {
        return Vec::new();
    };
    let mut sources = Vec::new();
    for name in &merged.source_names {
        if let Some(below) = table.entry(name) {
            sources.extend(source::source(below, name));
        }
    }
    sources
}

/// A source can only be allowed to grant what is an administrative role; anything else in the list is a misspelling.
fn check_granted_roles(context: &Context<'_>, agency: &Agency, sources: &[Source]) {
    for source in sources {
        for role in &source.grant_administrator_roles {
            if !agency.administrator_roles.contains(role) {
                context.report(
                    &format!("sources.{}.grant_administrator_roles", source.name),
                    format!(
                        "\"{}\" is not among `agency.administrator_roles`, and every other role is granted anyway; remove it or correct its spelling",
                        role.escape_debug()
                    ),
                );
            }
        }
    }
}
