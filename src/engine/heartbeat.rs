//! Keeping a lease for as long as its run lives.

use super::Engine;
use crate::store::{LEASE_SECONDS, Lease};

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
                if let Err(error) = store.renew_lease(&lease).await
                    && !error.is_transient()
                {
                    return;
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
