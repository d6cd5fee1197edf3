//! How many bad tokens are answered as such. A token is verified first, so a valid one is never refused because of
//! somebody else's bad ones; what the limit spares is the log, and what it slows is guessing.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cavra_domain::time::Clock;
use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

/// So many refusals apart, keys that nobody used for a while are dropped.
const SWEEP_EVERY: u32 = 1024;

/// Whose bad tokens are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// An address, or the /64 that a host has of IPv6.
    Address([u8; 8]),
    /// The hash of issuer and subject that the tokens claim.
    Subject(String),
}

/// The program's clock, as the library wants one.
#[derive(Debug, Clone)]
struct ClockAdapter(Arc<dyn Clock>);

impl GovernorClock for ClockAdapter {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let micros = u64::try_from(self.0.now().micros()).unwrap_or(0);
        Nanos::new(micros.saturating_mul(1000))
    }
}

type Limiter = RateLimiter<Key, HashMapStateStore<Key>, ClockAdapter, NoOpMiddleware<Nanos>>;

/// Counts bad tokens by address and by claimed subject.
pub(crate) struct BadTokens {
    limiter: Limiter,
    clock: ClockAdapter,
    seen: AtomicU32,
}

impl std::fmt::Debug for BadTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BadTokens")
            .field("keys", &self.limiter.len())
            .finish_non_exhaustive()
    }
}

impl BadTokens {
    pub(crate) fn new(per_minute: u32, clock: Arc<dyn Clock>) -> Self {
        let quota = Quota::per_minute(NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN));
        let clock = ClockAdapter(clock);
        Self {
            limiter: RateLimiter::new(quota, HashMapStateStore::default(), clock.clone()),
            clock,
            seen: AtomicU32::new(0),
        }
    }

    /// Counts one more. Gives the seconds to wait when that is too many.
    pub(crate) fn count(&self, address: Option<IpAddr>, subject: Option<&str>) -> Option<u64> {
        if self.seen.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.limiter.retain_recent();
        }
        // An address that is over its limit adds no subjects, so that nobody fills the table.
        let address = address.map(|address| Key::Address(network(address)));
        let subject = subject.map(|subject| Key::Subject(subject.to_owned()));
        for key in [address, subject].into_iter().flatten() {
            if let Err(until) = self.limiter.check_key(&key) {
                let wait: Duration = until.wait_time_from(self.clock.now());
                return Some(wait.as_secs().saturating_add(1));
            }
        }
        None
    }
}

fn network(address: IpAddr) -> [u8; 8] {
    let octets = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    let mut network = [0; 8];
    // A v4 address is in the last four bytes of its mapped form; the other half is the network of a v6 one.
    let half = if address.is_ipv4() {
        octets.get(8..)
    } else {
        octets.get(..8)
    };
    if let Some(half) = half {
        network.copy_from_slice(half);
    }
    network
}
