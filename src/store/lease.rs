//! One writer per source: a lease with an epoch. Who lost it is refused inside the writing transaction.

use std::os::unix::fs::MetadataExt as _;

use jiff::ToSpan;

use super::error::{StoreError, StoreErrorKind};
use super::row::args;
use super::sql::statements;
use super::{Store, Tx};
use crate::domain::id::{RunId, SourceName};

/// How long a lease holds without being renewed. Long enough for a slow database, short enough for a dead machine.
pub const LEASE_SECONDS: i64 = 60;

/// A lease that ends later than this from now was taken before the clock was put back: nobody renews it that far.
const LEASE_HOURS_MAX: i64 = 1;

/// The right to write for one source, until it is released, expires or is taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The source.
    pub source: SourceName,
    /// Grows by one with every holder: an older one is refused.
    pub epoch: i64,
    /// Runs that the holder before left behind: they are written down as failed.
    pub interrupted: Vec<RunId>,
    /// Whether the last holder had not given it back: it was killed, or stood still.
    pub taken_over: bool,
    holder: String,
}

statements! {
    READ = "SELECT epoch, process, expires_at::text, holder FROM leases WHERE source = $1";
    TAKE = "INSERT INTO leases (source, epoch, holder, process, expires_at) \
        VALUES ($1, 1, $2, $3, $4::timestamptz) ON CONFLICT (source) DO UPDATE SET epoch = leases.epoch + 1, \
        holder = $2, process = $3, expires_at = $4::timestamptz \
        WHERE leases.expires_at < $5::timestamptz OR leases.expires_at > $7::timestamptz OR leases.epoch = $6 RETURNING epoch";
    RENEW = "UPDATE leases SET expires_at = $4::timestamptz WHERE source = $1 AND epoch = $2 AND holder = $3";
    RELEASE = "UPDATE leases SET holder = '', process = '', expires_at = $4::timestamptz \
        WHERE source = $1 AND epoch = $2 AND holder = $3";
    INTERRUPT = "UPDATE runs SET state = 'failed', finished_at = $3::timestamptz, error = $4::jsonb \
        WHERE source = $1 AND state = 'running' AND epoch < $2 RETURNING id::text";
    FORGET_PLANS = "DELETE FROM changes WHERE run_id IN (SELECT id FROM runs WHERE source = $1 AND state = 'failed' AND epoch < $2)";
}

impl Store {
    /// Takes the lease of `source`, or says who has it. What a dead holder left running is marked as failed.
    ///
    /// # Errors
    /// [`StoreErrorKind::LeaseHeld`] while another run holds it.
    pub async fn take_lease(&self, source: &SourceName) -> Result<Lease, StoreError> {
        let now = self.now();
        let (mut abandoned, mut taken_over) = (-1, false);
        if let Some(mut row) = self.row(READ, args![source]).await? {
            let (epoch, process, _, holder) = (row.int()?, row.text()?, row.text()?, row.text()?);
            taken_over = !holder.is_empty();
            if holder.is_empty() || is_dead(&process) {
                abandoned = epoch;
            }
        }
        let holder = self.new_id().to_string();
        let mut tx = self.begin().await?;
        let taken = tx
            .row(
                TAKE,
                args![
                    source,
                    &holder,
                    own_process(),
                    expiry(now),
                    now,
                    abandoned,
                    later(now, LEASE_HOURS_MAX.hours())
                ],
            )
            .await?;
        let Some(mut row) = taken else { return Err(held(source)) };
        let epoch = row.int()?;
        let error = serde_json::json!({
            "code": "interrupted",
            "message": "the program ended before the run did; nothing of it was applied, and the next run starts afresh",
        });
        let rows = tx.rows(INTERRUPT, args![source, epoch, now, error.to_string()]).await?;
        let interrupted: Vec<RunId> = rows.into_iter().map(|mut row| row.parsed()).collect::<Result<_, _>>()?;
        if !interrupted.is_empty() {
            tx.execute(FORGET_PLANS, args![source, epoch]).await?;
        }
        tx.commit().await?;
        Ok(Lease {
            source: source.clone(),
            epoch,
            interrupted,
            taken_over,
            holder,
        })
    }

    /// Makes the lease hold for another [`LEASE_SECONDS`].
    ///
    /// # Errors
    /// [`StoreErrorKind::LeaseLost`] where another run has taken it over.
    pub async fn renew_lease(&self, lease: &Lease) -> Result<(), StoreError> {
        let renewed = self
            .execute(
                RENEW,
                args![&lease.source, lease.epoch, &lease.holder, expiry(self.now())],
            )
            .await?;
        if renewed == 1 { Ok(()) } else { Err(lost(lease)) }
    }

    /// Gives the lease back; one that was lost already is left alone.
    pub async fn release_lease(&self, lease: &Lease) -> Result<(), StoreError> {
        self.execute(RELEASE, args![&lease.source, lease.epoch, &lease.holder, self.now()])
            .await
            .map(drop)
    }
}

/// Locks the lease for the rest of the transaction, and refuses it where it was lost.
pub(super) async fn guard(tx: &mut Tx, lease: &Lease, now: jiff::Timestamp) -> Result<(), StoreError> {
    match tx
        .execute(RENEW, args![&lease.source, lease.epoch, &lease.holder, expiry(now)])
        .await?
    {
        1 => Ok(()),
        _ => Err(lost(lease)),
    }
}

fn expiry(now: jiff::Timestamp) -> jiff::Timestamp {
    later(now, LEASE_SECONDS.seconds())
}

fn later(now: jiff::Timestamp, span: jiff::Span) -> jiff::Timestamp {
    now.checked_add(span).unwrap_or(jiff::Timestamp::MAX)
}

fn held(source: &SourceName) -> StoreError {
    StoreError::new(
        StoreErrorKind::LeaseHeld,
        format!("another run of source {source} is under way; wait for it, and look at it with `rollcall runs list`"),
    )
}

fn lost(lease: &Lease) -> StoreError {
    StoreError::new(
        StoreErrorKind::LeaseLost,
        format!(
            "the lease of source {} was taken over by another run, so this one wrote nothing",
            lease.source
        ),
    )
}

/// Machine, process namespace, account, process id and its start: enough to know later whether that process still lives.
/// Empty where the system does not tell: such a holder is waited for until its lease expires.
fn own_process() -> String {
    process(std::process::id()).unwrap_or_default()
}

fn process(id: u32) -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
    // A service may be kept from seeing the processes of other accounts, and would take them all for dead.
    let account = std::fs::metadata("/proc/self").ok()?.uid();
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in parentheses may contain spaces; the start time is the 20th word after it (proc(5)).
    let started = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.to_owned();
    Some(format!(
        "{}/{}/{account}/{id}/{started}",
        boot.trim(),
        namespace.display()
    ))
}

/// Whether the process surely lives no more: same machine, namespace and account, and no process of that id and start.
fn is_dead(identity: &str) -> bool {
    let mut parts = identity.rsplitn(3, '/');
    let (Some(_started), Some(id), Some(place)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let Ok(id) = id.parse::<u32>() else { return false };
    let here = own_process();
    let same_place = here.rsplitn(3, '/').nth(2) == Some(place);
    same_place && process(id).as_deref() != Some(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_of_this_machine_can_be_known_dead() {
        let own = own_process();
        assert!(!is_dead(&own), "{own}");
        let (place_and_id, _) = own.rsplit_once('/').expect("identity");
        assert!(is_dead(&format!("{place_and_id}/1")));
        let place: Vec<&str> = place_and_id.rsplitn(3, '/').collect();
        let other_account = format!("{}/4294967294/{}/1", place[2], place[0]);
        assert!(!is_dead(&other_account), "{other_account}");
        assert!(!is_dead("another-boot/pid:[1]/1/1"));
        assert!(!is_dead(""));
    }
}
