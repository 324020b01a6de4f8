use foldhash::{HashMap, HashMapExt};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Unknown keys an address may present in a window.
const ALLOWED: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Addresses remembered. Past it, addresses not yet seen share one count, so guessing stays slow and memory bounded.
const MAX_ADDRESSES: usize = 10_000;

/// The brake on guessing keys: 20 unknown keys a minute per address. Requests with a valid key never come here.
#[derive(Debug)]
pub struct Throttle {
    seen: Mutex<Seen>,
    max_addresses: usize,
}

#[derive(Debug)]
struct Seen {
    addresses: HashMap<u64, Window>,
    others: Option<Window>,
    /// When it was last looked for windows that are over.
    swept: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    began: Instant,
    count: u32,
}

impl Default for Throttle {
    fn default() -> Self {
        Self::with_capacity(MAX_ADDRESSES)
    }
}

impl Throttle {
    /// Remembers at most `max_addresses`.
    pub fn with_capacity(max_addresses: usize) -> Self {
        Self {
            seen: Mutex::new(Seen { addresses: HashMap::new(), others: None, swept: None }),
            max_addresses,
        }
    }

    /// How many addresses are remembered.
    pub fn remembered(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).addresses.len()
    }

    /// Whether `address` may present unknown keys at the moment. `Err`: how long it has to wait.
    pub fn check(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let network = network_of(address);
        let full = seen.addresses.len() >= self.max_addresses;
        let window = seen.addresses.get(&network).or(seen.others.as_ref().filter(|_| full));
        window.map_or(Ok(()), |window| Window { ..*window }.count_at(now))
    }

    /// Counts an unknown key from `address`. `Err`: how long that address has to wait.
    pub fn unknown_key(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let network = network_of(address);
        let full = seen.addresses.len() >= self.max_addresses && !seen.addresses.contains_key(&network);
        // At most once a second: whoever has many addresses must not make every guess cost a look at all of them.
        let due = seen.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP_EVERY);
        if full && due {
            seen.swept = Some(now);
            seen.addresses.retain(|_, window| now.saturating_duration_since(window.began) < WINDOW);
        }
        let window = match seen.addresses.len() >= self.max_addresses && full {
            true => seen.others.get_or_insert(Window { began: now, count: 0 }),
            false => seen.addresses.entry(network).or_insert(Window { began: now, count: 0 }),
        };
        window.count_at(now)
    }
}

impl Window {
    fn count_at(&mut self, now: Instant) -> Result<(), Duration> {
        if now.saturating_duration_since(self.began) >= WINDOW {
            *self = Window { began: now, count: 0 };
        }
        if self.count >= ALLOWED {
            return Err(WINDOW.saturating_sub(now.saturating_duration_since(self.began)));
        }
        self.count += 1;
        Ok(())
    }
}

/// One IPv4 address, or the /64 of an IPv6 address: a single customer holds that many.
fn network_of(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            [a, b, c, d].iter().fold(0, |bits, segment| bits << 16 | u64::from(*segment))
        }
    }
}
