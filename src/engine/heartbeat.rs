//! Keeping a lease for as long as its run lives.

use super::{Engine, telling};
use crate::store::{LEASE_SECONDS, Lease, StoreErrorKind};

/// Renews a lease for as long as it lives.
#[derive(Debug)]
pub(super) struct Heartbeat(tokio::task::JoinHandle<()>);

impl Heartbeat {
    pub(super) fn start(engine: &Engine, lease: &Lease) -> Self {
        let (store, lease) = (engine.store.clone(), lease.clone());
        let every = std::time::Duration::from_secs(LEASE_SECONDS.unsigned_abs() / 4);
        Self(tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                // A lease that was lost is refused where it matters: inside the writing transaction.
                match store.renew_lease(&lease).await {
                    Err(error) if error.kind == StoreErrorKind::LeaseLost => return telling::lost(&lease),
                    Err(error) if !error.is_transient() => return,
                    _ => {}
                }
            }
        }))
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.abort();
    }
}
