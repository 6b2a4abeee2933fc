//! The configuration from outside: what is accepted, and that whatever is not gets an answer with its place.

mod documents;

use std::path::PathBuf;

use rollcall::config::{self, Auth, Config, ConfigError, LdapBind, LdapOrganization, OnLimit, SourceKind};
use rollcall::domain::field::{Authority, Field};
use rollcall::domain::rule::Rule;

/// One of each kind of source, with most of the keys. Every broken configuration is this one with a change.
const BASE: &str = r#"[database]
url = "postgres://rollcall@db.example/rollcall"
password_file = "database-password"
max_connections = 4

[agency]
name = "Example Agency"
administrator_roles = ["Admin", "Root"]
default_role = "authenticated user"

[http]
listen = "127.0.0.1:8480"
public_url = "https://rollcall.example"

[fields.phone]
authority = "local"

[fields.attributes.badge]
authority = "initial"

[brakes]
disable = { share = 0.2, count = 50, floor = 3 }
create = { share = 0.5, count = 500, floor = 50 }
window_hours = 12
empty = "hold"
first_run = "hold"

[source_defaults]
listing_timeout = "30m"

[[sources]]
name = "connex"
kind = "connex"
url = "https://connex.example"
auth = { kind = "bearer", token_file = "connex-token" }
schedule = "0 */15 * * * *"
timezone = "America/Chicago"
grant_administrator_roles = ["Root"]
roles = { "project manager" = "Manager" }
page_size = 500
enabled = true

[[sources]]
name = "ad"
kind = "ldap"
url = "ldaps://dc1.example"
bind_dn = "cn=rollcall,ou=services,dc=example,dc=com"
bind_password_file = "ad-password"
base_dn = "ou=partners,dc=example,dc=com"
filter = "(objectClass=person)"
external_id = "objectGUID"
organization = "company"
ignore_referrals = false
tls = { ca_file = "/etc/rollcall/dc-ca.pem" }
[sources.fields]
email = { lower = "mail" }
title = false
phone = { first_of = ["telephoneNumber", "mobile"] }
status = { disabled_bit = 2, of = "userAccountControl" }
kind = { lookup = "employeeType", table = { "c" = "contractor" }, default = "vendor" }
[sources.fields.attributes]
login = { capture = "userPrincipalName", pattern = "^([^@]+)@" }
office = { join = ["l", "physicalDeliveryOfficeName"], separator = ", " }

[[sources]]
name = "delivery"
kind = "file"
path = "/srv/delivery/people.csv"
format = "csv"
completeness = "checksum"
external_id = "person_id"
organization_name = "firm"
separator = "|"
organization = "firm_id"
[sources.fields]
email = "mail"
license = { constant = "basic" }
"#;

fn load_text(text: &str) -> (Result<Config, ConfigError>, PathBuf) {
    load_with(text.as_bytes(), &[])
}

fn load_with(text: &[u8], environment: &[(&str, &str)]) -> (Result<Config, ConfigError>, PathBuf) {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("rollcall.toml");
    std::fs::write(&file, text).expect("written");
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    (config::load(std::slice::from_ref(&file), environment), file)
}

fn accepted(text: &str) -> Config {
    load_text(text).0.unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// `BASE` with `find`, which is in it once, replaced.
fn changed(find: &str, replace: &str) -> String {
    assert_eq!(BASE.matches(find).count(), 1, "`{find}` has to be there once");
    BASE.replacen(find, replace, 1)
}

#[test]
fn the_default_alone_is_a_configuration() {
    let config = accepted("");
    assert_eq!(config.database.url, "sqlite:///var/lib/rollcall/rollcall.db");
    assert_eq!(config.brakes.disable.count, 100);
    assert_eq!(config.brakes.empty, OnLimit::Hold);
    assert_eq!(config.fields.of(&Field::License), Authority::Local);
    assert_eq!(config.fields.of(&Field::Email), Authority::Directory);
    assert!(config.sources.is_empty());
}

#[test]
fn every_section_is_read() {
    let config = accepted(BASE);
    assert_eq!(config.fields.of(&Field::Phone), Authority::Local);
    assert_eq!(config.fields.of(&Field::Attribute("badge".into())), Authority::Initial);
    assert_eq!(config.fields.of(&Field::Organization), Authority::Directory);
    assert_eq!((config.brakes.disable.share, config.brakes.disable.floor), (0.2, 3));
    assert_eq!(
        config.brakes.role_change.count, 200,
        "the default stays where the file is silent"
    );
    assert_eq!(
        config.sources.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(),
        ["connex", "ad", "delivery"]
    );

    let connex = config.source("connex").expect("there");
    let SourceKind::Connex(settings) = &connex.kind else {
        panic!("{connex:?}")
    };
    assert!(matches!(&settings.auth, Auth::Bearer { token_file } if token_file.path() == "connex-token"));
    assert_eq!(connex.common.page_size, 500);
    assert_eq!(
        connex.common.listing_timeout.as_secs(),
        30 * 60,
        "from [source_defaults]"
    );
    assert!(matches!(connex.fields.get(&Field::Email), Some(Rule::Copy(name)) if &**name == "email"));

    let ad = config.source("ad").expect("there");
    let SourceKind::Ldap(settings) = &ad.kind else {
        panic!("{ad:?}")
    };
    assert!(matches!(&settings.bind, LdapBind::Simple { dn, .. } if dn.starts_with("cn=rollcall")));
    assert_eq!(
        settings.organization,
        Some(LdapOrganization::Attribute {
            attribute: "company".into()
        })
    );
    assert!(matches!(
        ad.fields.get(&Field::Status),
        Some(Rule::DisabledBit { bit: 2, .. })
    ));
    assert!(!ad.fields.contains_key(&Field::Title), "`false` takes a default away");
    let wanted = ad.mapping(&config.agency).attributes();
    let wanted: Vec<&str> = wanted.iter().map(|name| &**name).collect();
    let expected = "employeeType givenName l mail mobile physicalDeliveryOfficeName sn telephoneNumber \
                    userAccountControl userPrincipalName";
    assert_eq!(wanted.join(" "), expected);
}

#[test]
fn the_examples_are_valid() {
    let examples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    let mut count = 0;
    for example in std::fs::read_dir(examples).expect("examples") {
        let file = example.expect("entry").path();
        let config = config::load(std::slice::from_ref(&file), std::iter::empty());
        let config = config.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert_eq!(config.sources.len(), 1, "{}", file.display());
        count += 1;
    }
    assert_eq!(count, 4);
}

#[test]
fn later_layers_win_key_by_key() {
    let directory = tempfile::tempdir().expect("directory");
    let (first, second) = (directory.path().join("a.toml"), directory.path().join("b.toml"));
    std::fs::write(&first, BASE).expect("written");
    let overlay = "[brakes]\ndisable = { count = 7 }\n[[sources]]\nname = \"connex\"\nenabled = false\n\
                   auth = { kind = \"none\" }\n";
    std::fs::write(&second, overlay).expect("written");
    let environment = [
        ("ROLLCALL__HTTP__LISTEN", "[::1]:9000"),
        ("rollcall__agency__administrator_roles", "Root, Boss"),
        ("ROLLCALL__BRAKES__DISABLE__SHARE", "0.05"),
        ("ROLLCALL__SOURCES__CONNEX__PAGE_SIZE", "250"),
        ("ROLLCALL__SOURCES__CONNEX__CORRELATE_BY_EMAIL", "FALSE"),
        ("ROLLCALL__SOURCES__AD__BIND_PASSWORD_FILE", "/run/other"),
        ("ROLLCALL_CONFIG", "not ours"),
        ("RÖLLCALL__X", "not ours"),
        ("ROLLCALÖ_X", "not ours"),
    ];
    let environment = environment
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = config::load(&[first, second], environment).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.http.listen.to_string(), "[::1]:9000");
    assert_eq!(config.agency.administrator_roles, ["Root", "Boss"]);
    let disable = config.brakes.disable;
    assert_eq!((disable.share, disable.count, disable.floor), (0.05, 7, 3));
    let connex = config.source("connex").expect("there");
    assert!(!connex.enabled && !connex.common.correlate_by_email);
    assert_eq!(connex.common.page_size, 250);
    let SourceKind::Connex(settings) = &connex.kind else {
        panic!("{connex:?}")
    };
    assert_eq!(settings.auth, Auth::None {});
    assert_eq!(config.sources.len(), 3);
}

#[test]
fn the_secrets_of_enabled_sources_are_listed() {
    let disabled = changed("enabled = true", "enabled = false");
    let paths = |text: &str| {
        accepted(text)
            .secrets()
            .map(|secret| secret.path().display().to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(paths(BASE), ["database-password", "connex-token", "ad-password"]);
    assert_eq!(paths(&disabled), ["database-password", "ad-password"]);
}

#[test]
fn a_secret_beside_the_configuration_is_read_and_never_shown() {
    use secrecy::ExposeSecret as _;
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().expect("directory");
    let (file, secret) = (
        directory.path().join("rollcall.toml"),
        directory.path().join("connex-token"),
    );
    std::fs::write(&file, BASE).expect("written");
    std::fs::write(&secret, "canary\n").expect("written");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).expect("mode");
    let config = config::load(&[file], std::iter::empty()).expect("valid");
    let token = config
        .source("connex")
        .and_then(|source| source.secret())
        .expect("a token");
    let error = token
        .read(&config.lookup)
        .expect_err("readable by everybody")
        .to_string();
    assert!(
        error.contains("key `sources.connex.auth.token_file`") && error.contains("chmod 600"),
        "{error}"
    );
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("mode");
    let read = token.read(&config.lookup).expect("read");
    assert_eq!(read.expose_secret(), "canary");
    assert!(!format!("{config:?}{read:?}{}{error}", config.show()).contains("canary"));
}

#[test]
fn what_is_shown_can_be_read_again_and_says_where_it_came_from() {
    let (config, _) = load_with(BASE.as_bytes(), &[("ROLLCALL__HTTP__LISTEN", "127.0.0.1:1")]);
    let shown = config.expect("valid").show();
    assert!(
        shown.contains("listen = \"127.0.0.1:1\"  # environment variable ROLLCALL__HTTP__LISTEN"),
        "{shown}"
    );
    assert!(shown.contains("rollcall.toml:4\n"), "{shown}");
    assert!(
        shown.contains("first_name = \"givenName\"  # built-in default"),
        "{shown}"
    );
    let again = accepted(&shown).show();
    let bare = |text: &str| {
        text.lines()
            .map(|l| l.split("  # ").next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(bare(&again), bare(&shown));
}

/// The cases of `broken.toml`: what to find in [`BASE`] and what to put there; a text on the line that the answer must
/// name (empty: where the change begins), the key that it must name, and words that it must contain.
fn broken() -> Vec<[String; 5]> {
    let mut file: toml::Table = include_str!("broken.toml").parse().expect("TOML");
    file.remove("cases")
        .expect("cases")
        .try_into()
        .expect("five texts each")
}

#[test]
fn each_broken_configuration_is_answered_with_its_place_and_what_to_do() {
    let cases = broken();
    assert!(cases.len() > 100);
    for [find, replace, at, key, words] in &cases {
        let text = changed(find, replace);
        let (result, file) = load_text(&text);
        let error = result
            .expect_err(&format!("`{find}` → `{replace}` was accepted"))
            .to_string();
        let offset = if at.is_empty() { BASE.find(find) } else { text.find(at) }.expect("there");
        let line = text[..offset].matches('\n').count() + 1;
        // Of `[[sources]]` the header is meant, which is the line above the name.
        let lines = [
            format!("{}:{line}: ", file.display()),
            format!("{}:{}: ", file.display(), line.saturating_sub(1)),
        ];
        let answer = error.lines().find(|answer| {
            lines.iter().any(|place| answer.starts_with(place.as_str()))
                && (key.is_empty() || answer.contains(&format!("key `{key}")))
                && answer.contains(words)
        });
        assert!(
            answer.is_some(),
            "`{find}` → `{replace}`: expected line {line}, `{key}`, `{words}` in\n{error}"
        );
        assert!(!error.contains("canary"), "a secret was printed: {error}");
    }
}

/// Puts wrong values of every type and wrong names at every key: each is accepted or answered, and never a panic.
#[test]
fn every_key_withstands_every_kind_of_value() {
    let values = [
        "2026-11-21",
        "[[1]]",
        "{ a = 1 }",
        "-1",
        "9223372036854775808",
        "0x_1",
        "\"\"",
        "\"\\u0000\"",
        "true",
        "{}",
        "1e400",
        "\"x\"",
        "[true, \"a\"]",
    ];
    let mut answered = 0;
    let lines: Vec<&str> = BASE.lines().collect();
    for (number, line) in lines.iter().enumerate() {
        let Some((key, value)) = line.split_once(" = ") else {
            continue;
        };
        let wrong_values = values.iter().map(|wrong| format!("{key} = {wrong}"));
        let wrong_keys = [
            format!("{key}x = {value}"),
            format!("\"{key}.y\" = {value}"),
            format!("\"\" = {value}"),
        ];
        for mutant in wrong_values.chain(wrong_keys) {
            let mut mutated = lines.clone();
            mutated[number] = &mutant;
            let (result, file) = load_text(&mutated.join("\n"));
            if let Err(error) = result {
                answered += 1;
                for answer in error.to_string().lines() {
                    let rest = answer
                        .strip_prefix(&format!("{}:", file.display()))
                        .expect("each answer names the file");
                    let line = rest.split(':').next().unwrap_or_default();
                    assert!(
                        line.parse::<usize>()
                            .is_ok_and(|line| (1..=lines.len()).contains(&line)),
                        "{answer}"
                    );
                    assert!(answer.contains("; "), "{answer} says what to do");
                }
            }
        }
    }
    assert!(answered >= 200, "{answered}");
}

#[test]
fn files_cut_short_or_damaged_are_answered() {
    for end in (0..BASE.len()).step_by(5) {
        // A file that ends early may still be a configuration; it never panics.
        drop(load_text(&BASE[..end]));
    }
    for at in (0..BASE.len()).step_by(31) {
        for byte in [0_u8, 0xff, b'[', b'"', b'\n'] {
            let mut damaged = BASE.as_bytes().to_vec();
            damaged[at] = byte;
            let (result, file) = load_with(&damaged, &[]);
            if let Err(error) = result {
                assert!(error.to_string().starts_with(&file.display().to_string()), "{error}");
            }
        }
    }
    let (result, file) = load_with(b"[http]\nlisten = \"\xff\"\n", &[]);
    let error = result.expect_err("no UTF-8").to_string();
    assert_eq!(
        error,
        format!(
            "{}:2: the line is not valid UTF-8; save the file as UTF-8",
            file.display()
        )
    );
    let (result, _) = load_with(&b"a = ".iter().copied().chain([b'['; 200_000]).collect::<Vec<_>>(), &[]);
    assert!(result.is_err(), "nested too deep");
    let (result, _) = load_with(&vec![b'#'; 2 * 1024 * 1024], &[]);
    assert!(result.expect_err("too large").to_string().contains("larger than"));
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let missing = PathBuf::from("/nonexistent/rollcall.toml");
    let error = config::load(&[missing], std::iter::empty())
        .expect_err("missing")
        .to_string();
    assert!(
        error.starts_with("/nonexistent/rollcall.toml:1: the file cannot be read"),
        "{error}"
    );
    let directory = tempfile::tempdir().expect("directory");
    let error = config::load(&[directory.path().to_owned()], std::iter::empty())
        .expect_err("a directory")
        .to_string();
    assert!(error.contains("cannot be read"), "{error}");
}

#[test]
fn variables_are_answered_by_their_name() {
    for (name, value, words) in [
        ("ROLLCALL__HTTP__LISEN", "127.0.0.1:1", "did you mean `listen`"),
        ("ROLLCALL__HTTP__LISTEN", "nowhere", "an address with a port"),
        ("ROLLCALL__HTTP", "x", "no section and key"),
        ("ROLLCALL__", "x", "no section and key"),
        ("ROLLCALL__HTTP____LISTEN", "x", "no section and key"),
        ("ROLLCALL__SOURCES__X", "x", "the name has no key"),
        ("ROLLCALL__SOURCES__9__URL", "x", "no source name"),
        ("ROLLCALL__SOURCES__NEW__URL", "https://x.example", "the key is missing"),
        ("ROLLCALL__BRAKES__DISABLE__SHARE", "ten", "from 0 to 1"),
        ("ROLLCALL__BRAKES__DISABLE", "0.1", "a table"),
        ("ROLLCALL__NOWHERE__KEY", "1", "no such key"),
        (
            "ROLLCALL__SOURCES__AD__BIND_PASSWORD",
            "canary",
            "a secret is never written",
        ),
        ("ROLLCALL__SOURCES__CONNEX__AUTH__TOKEN", "canary", "`token_file`"),
    ] {
        let (result, _) = load_with(BASE.as_bytes(), &[(name, value)]);
        let error = result.expect_err(name).to_string();
        assert!(
            error.contains(&format!("environment variable {name}: ")) && error.contains(words),
            "{name}: {error}"
        );
        assert!(!error.contains("canary"), "{error}");
    }
    let twice = [
        ("ROLLCALL__HTTP__LISTEN", "127.0.0.1:1"),
        ("rollcall__http__listen", "127.0.0.1:2"),
    ];
    let (result, _) = load_with(b"", &twice);
    assert!(result.expect_err("twice").to_string().contains("remove one of them"));
}

#[test]
fn sources_are_tables_of_their_own() {
    for text in [
        "[sources]\nname = \"connex\"\n",
        "sources = 5\n",
        "sources = [5]\n",
        "[sources.connex]\nkind = \"file\"\n",
    ] {
        let error = load_text(text).0.expect_err(text).to_string();
        assert!(
            error.contains("rollcall.toml:1: key `sources`") && error.contains("[[sources]]"),
            "{error}"
        );
    }
}

#[test]
fn all_problems_are_answered_at_once() {
    let text = "[http]\nlisten = 5\n[brakes]\ndisabel = 1\n[nonsense]\n";
    let error = load_text(text).0.expect_err("broken");
    assert_eq!(error.problems.len(), 3, "{error}");
}
