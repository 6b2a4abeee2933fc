//! `rollcall token`: makes, lists and revokes the tokens of the API. A token is shown once, when it is made.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use serde_json::{Value as Json, json};

use super::Output;
use super::cells::{document, time};
use super::context::{Context, actor};
use super::exit::{Exit, Failure};
use super::terminal::{DIM, GREEN, RED, Table, YELLOW, paint};
use crate::config::parse_duration;
use crate::domain::token::{TOKEN_BYTES, TokenName, TokenScope, TokenSecret};
use crate::store::{NewToken, TokenRow};
use crate::telemetry::{self, Event, Who};

#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  rollcall token create nightly --scope sync --expires 90d
  rollcall token list
  rollcall token revoke nightly")]
pub(super) enum Command {
    /// Make a token; it is shown once
    #[command(
        after_help = "Example:\n  rollcall token create nightly --scope sync --expires 90d > nightly.token\n\nWhere standard output is no terminal, the token stands on it alone."
    )]
    Create {
        /// Its name: letters, digits, `-`, `_` and `.`; the audit trail has it
        name: String,
        /// What it may do
        #[arg(long, value_enum, value_name = "SCOPE", default_value = "read")]
        scope: Scope,
        /// When it ends by itself, from now: 12h, 90d; without it, never
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
    },
    /// Every token, also those that have ended
    #[command(after_help = "Example:\n  rollcall token list --output json")]
    List {
        /// How to answer
        #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
        output: Output,
    },
    /// End a token; it is refused from the next request on
    #[command(after_help = "Example:\n  rollcall token revoke nightly")]
    Revoke {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Scope {
    /// Read.
    Read,
    /// Also start runs and dry runs.
    Sync,
    /// Everything.
    Admin,
}

impl From<Scope> for TokenScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Read => Self::Read,
            Scope::Sync => Self::Sync,
            Scope::Admin => Self::Admin,
        }
    }
}

pub(super) async fn run(context: &Context<'_>, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Create { name, scope, expires } => create(context, &name, scope.into(), expires.as_deref()).await,
        Command::List { output } => list(context, output).await,
        Command::Revoke { name } => revoke(context, &name).await,
    }
}

async fn create(context: &Context<'_>, name: &str, scope: TokenScope, expires: Option<&str>) -> Result<Exit, Failure> {
    let name = TokenName::parse(name).map_err(|e| Failure::usage(e.to_string()))?;
    let life = expires.map(|text| {
        let life = parse_duration(text).filter(|life| !life.is_zero());
        life.ok_or_else(|| Failure::usage("--expires takes a time from now, such as 12h or 90d"))
    });
    let life = life.transpose()?;
    let config = context.config()?;
    let store = context.store(&config).await?;
    let expires_at = life.map(|life| {
        let end = store.now().checked_add(life);
        end.map_err(|_| Failure::usage("--expires lies too far ahead; leave it away for a token that does not expire"))
    });
    let expires_at = expires_at.transpose()?;
    let mut random = [0; TOKEN_BYTES];
    getrandom::fill(&mut random).map_err(|e| {
        Failure::new(
            Exit::Failed,
            format!("the system gave no random bytes ({e}), so no token was made; try again"),
        )
    })?;
    let secret = TokenSecret::new(random);
    let new = NewToken {
        name: &name,
        secret: &secret,
        scope,
        expires_at,
    };
    let actor = actor();
    let id = store.create_token(&new, &actor).await?;
    telemetry::emit(&Event::TokenCreated {
        token: id,
        scope: scope.as_str(),
        actor: Who(&actor.0),
    });
    let ends = expires_at.map_or_else(|| "does not expire".to_owned(), |end| format!("expires {}", time(end)));
    let scope = scope.as_str();
    context.terminal.print(&format!("{}\n", secret.expose()))?;
    if std::io::stdout().is_terminal() {
        context.terminal.note(&format!(
            "made token {name} with scope {scope}; it {ends}. It is shown only now: keep it where a secret belongs"
        ));
    }
    Ok(Exit::Done)
}

async fn list(context: &Context<'_>, output: Output) -> Result<Exit, Failure> {
    let config = context.config()?;
    let store = context.store(&config).await?;
    let tokens = store.tokens().await?;
    let now = store.now();
    if output == Output::Json {
        let all: Vec<Json> = tokens.iter().map(|token| token_json(token, now)).collect();
        context.terminal.print(&document(&json!(all)))?;
        return Ok(Exit::Done);
    }
    if tokens.is_empty() {
        context
            .terminal
            .print("No tokens. Make one with `rollcall token create NAME`.\n")?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["name", "begins", "scope", "state", "expires", "last used", "made by"]);
    for token in &tokens {
        let style = match state(token, now) {
            "active" => GREEN,
            "expired" => YELLOW,
            _ => RED,
        };
        let at = |time_of: Option<jiff::Timestamp>| time_of.map_or_else(|| paint(DIM, "never"), time);
        table.row(vec![
            token.name.clone(),
            format!("{}…", token.prefix),
            token.scope.as_str().to_owned(),
            paint(style, state(token, now)),
            at(token.expires_at),
            at(token.last_used_at),
            token.created_by.clone(),
        ]);
    }
    context.terminal.print(&table.render(context.terminal))?;
    Ok(Exit::Done)
}

async fn revoke(context: &Context<'_>, name: &str) -> Result<Exit, Failure> {
    let name = TokenName::parse(name).map_err(|e| Failure::usage(e.to_string()))?;
    let config = context.config()?;
    let store = context.store(&config).await?;
    let actor = actor();
    if let Some(token) = store.revoke_token(&name, &actor).await? {
        telemetry::emit(&Event::TokenRevoked {
            token,
            actor: Who(&actor.0),
        });
        context.terminal.print(&format!(
            "revoked token {name}: it is refused from the next request on\n"
        ))?;
        return Ok(Exit::Done);
    }
    Err(Failure::new(
        Exit::Failed,
        format!("there is no token {name} that could be revoked; `rollcall token list` shows them"),
    ))
}

fn state(token: &TokenRow, now: jiff::Timestamp) -> &'static str {
    if token.revoked_at.is_some() {
        "revoked"
    } else if token.expires_at.is_some_and(|end| end <= now) {
        "expired"
    } else {
        "active"
    }
}

fn token_json(token: &TokenRow, now: jiff::Timestamp) -> Json {
    let at = |time_of: Option<jiff::Timestamp>| time_of.map(|t| t.to_string());
    json!({
        "name": token.name,
        "prefix": token.prefix,
        "scope": token.scope.as_str(),
        "state": state(token, now),
        "created_at": token.created_at.to_string(),
        "created_by": token.created_by,
        "expires_at": at(token.expires_at),
        "revoked_at": at(token.revoked_at),
        "last_used_at": at(token.last_used_at),
    })
}
