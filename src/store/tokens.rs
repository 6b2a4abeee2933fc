//! API tokens: their hashes, scopes and ends. The token itself is never here.

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::Store;
use super::audit::Actor;
use super::error::{StoreError, StoreErrorKind};
use super::row::{Row, args};
use super::sql::statements;
use crate::domain::token::{TokenName, TokenScope, TokenSecret};

/// How long a use is not written down again.
const USE_SECONDS: i64 = 60;

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// Its id.
    pub id: Uuid,
    /// Its name, which no other token has until this one is revoked.
    pub name: String,
    /// Its first characters.
    pub prefix: String,
    /// What it may do.
    pub scope: TokenScope,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken<'a> {
    /// Its name.
    pub name: &'a TokenName,
    /// Itself; its hash and its first characters are kept.
    pub secret: &'a TokenSecret,
    /// What it may do.
    pub scope: TokenScope,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

statements! {
    INSERT_TOKEN = "INSERT INTO tokens (id, name, hash, prefix, scope, created_at, created_by, expires_at) \
        VALUES ($1::uuid, $2, $3, $4, $5, $6::timestamptz, $7, $8::timestamptz)";
    TOKENS = "SELECT id::text, name, prefix, scope, created_at::text, created_by, expires_at::text, revoked_at::text, \
        last_used_at::text FROM tokens ORDER BY id";
    TOKEN_OF_HASH = "SELECT id::text, name, prefix, scope, created_at::text, created_by, expires_at::text, revoked_at::text, \
        last_used_at::text FROM tokens WHERE hash = $1";
    TOUCH = "UPDATE tokens SET last_used_at = $2::timestamptz WHERE id = $1::uuid \
        AND (last_used_at IS NULL OR last_used_at < $3::timestamptz)";
    REVOKE = "UPDATE tokens SET revoked_at = $2::timestamptz WHERE name = $1 AND revoked_at IS NULL \
        RETURNING id::text";
}

fn read(mut row: Row) -> Result<TokenRow, StoreError> {
    let r = &mut row;
    let (id, name, prefix, scope) = (r.parsed()?, r.text()?, r.text()?, r.text()?);
    Ok(TokenRow {
        id,
        name,
        prefix,
        scope: TokenScope::parse(&scope).ok_or_else(|| {
            StoreError::new(
                StoreErrorKind::Internal,
                "a token has a scope that there is not; was its row changed by hand? Revoke it and make another",
            )
        })?,
        created_at: r.time()?,
        created_by: r.text()?,
        expires_at: r.opt_time()?,
        revoked_at: r.opt_time()?,
        last_used_at: r.opt_time()?,
    })
}

impl Store {
    /// Keeps a new token, and answers its id.
    ///
    /// # Errors
    /// [`StoreErrorKind::Constraint`] where a token of that name has not been revoked.
    pub async fn create_token(&self, new: &NewToken<'_>, actor: &Actor) -> Result<Uuid, StoreError> {
        let id = self.new_id();
        let mut tx = self.begin().await?;
        let row = args![
            id.to_string(),
            new.name.as_str(),
            new.secret.hash(),
            new.secret.prefix(),
            new.scope.as_str(),
            self.now(),
            &actor.0,
            new.expires_at.map(super::sql::time_text)
        ];
        tx.execute(INSERT_TOKEN, row).await.map_err(|error| match error.kind {
            StoreErrorKind::Constraint => StoreError::new(
                StoreErrorKind::Constraint,
                format!(
                    "there is a token {name} already; revoke it first (`rollcall token revoke {name}`), or choose another name",
                    name = new.name
                ),
            ),
            _ => error,
        })?;
        let details = json!({
            "token": new.name.as_str(),
            "scope": new.scope.as_str(),
            "expires_at": new.expires_at.map(|t| t.to_string()),
        });
        self.audit(&mut tx, actor, "token.created", details).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Every token, also those that have ended, the oldest first.
    pub async fn tokens(&self) -> Result<Vec<TokenRow>, StoreError> {
        self.rows(TOKENS, args![]).await?.into_iter().map(read).collect()
    }

    /// The token that somebody sent, whether or not it still holds. It is found by its hash, so how long that takes
    /// says nothing about a token.
    pub async fn token(&self, secret: &TokenSecret) -> Result<Option<TokenRow>, StoreError> {
        self.row(TOKEN_OF_HASH, args![secret.hash()])
            .await?
            .map(read)
            .transpose()
    }

    /// Writes down that a token was used, at most once a minute.
    pub async fn touch_token(&self, token: &TokenRow) -> Result<(), StoreError> {
        let now = self.now();
        let before = now
            .checked_sub(jiff::SignedDuration::from_secs(USE_SECONDS))
            .unwrap_or(Timestamp::MIN);
        if token.last_used_at.is_some_and(|used| used >= before) {
            return Ok(());
        }
        self.execute(TOUCH, args![token.id.to_string(), now, before])
            .await
            .map(drop)
    }

    /// Revokes the token of a name; answers its id, where there was one.
    pub async fn revoke_token(&self, name: &TokenName, actor: &Actor) -> Result<Option<Uuid>, StoreError> {
        let mut tx = self.begin().await?;
        let Some(mut row) = tx.row(REVOKE, args![name.as_str(), self.now()]).await? else {
            return Ok(None);
        };
        let id = row.parsed()?;
        self.audit(&mut tx, actor, "token.revoked", json!({"token": name.as_str()}))
            .await?;
        tx.commit().await?;
        Ok(Some(id))
    }
}
