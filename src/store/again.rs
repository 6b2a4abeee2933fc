//! Entries that were taken for unchanged while their users turned out to be out of step: what they say stands in their
//! records, so they are staged from there, and the directory need not be read twice.

use std::collections::BTreeSet;

use super::case::{Staged, StagedEntry, parse_id, read_record, record_columns};
use super::comparison::Comparison;
use super::error::StoreError;
use super::row::args;
use crate::domain::decide::Policy;
use crate::domain::field::Field;
use crate::domain::id::ExternalId;
use crate::domain::mapping::Mapped;
use crate::domain::record::Record;
use crate::domain::text::EmailAddress;

/// How many entries are staged from their records with one statement.
const AGAIN_AT_ONCE: usize = 500;

impl Comparison {
    /// Once the listing has ended: waits until it is known whose users are out of step, and stages those entries that
    /// were taken for unchanged meanwhile, as their records have them. Gives the ids of entries whose record does not
    /// say what it was made from, since somebody changed it by hand: they are to be asked for again.
    pub async fn settle(&mut self, policy: &Policy<'_>) -> Result<Vec<ExternalId>, StoreError> {
        let again = self.known.settle().await?;
        let mut unlike = Vec::new();
        for portion in again.chunks(AGAIN_AT_ONCE) {
            let users: Vec<String> = portion.iter().map(|user| format!("'{user}'")).collect();
            let sql = format!(
                "SELECT r.external_id, {} FROM records r LEFT JOIN organizations ro ON ro.id = r.organization_id \
                 WHERE r.user_id IN ({})",
                record_columns!(),
                users.join(", ")
            );
            for mut row in self.session.conn().rows(&sql, args![]).await? {
                let id = row.text()?;
                match read_record(&mut row, &id)?.and_then(said_again) {
                    Some(entry) => self.stage(entry, policy).await?,
                    None => unlike.push(parse_id(id)?),
                }
            }
        }
        Ok(unlike)
    }
}

/// The entry that a record was made from; `None` where the record does not say that any more.
fn said_again(record: Record) -> Option<StagedEntry> {
    let mapped = Mapped {
        id: record.id.clone(),
        organization: record.organization.clone(),
        email: EmailAddress::parse(record.values.text(&Field::Email)?).ok()?,
        values: record.values,
        refused_roles: BTreeSet::new(),
    };
    (mapped.digest() == record.digest).then(|| StagedEntry {
        id: Some(record.id),
        organization: record.organization,
        content: Staged::Mapped(Box::new(mapped)),
    })
}
