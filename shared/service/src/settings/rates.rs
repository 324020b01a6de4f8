use crate::auth::is_tenant;
use foldhash::HashMap;

/// Of one tenant, a second; `None`: as many as come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    pub events: Option<u64>,
    pub requests: Option<u64>,
}

/// `AB_RATE_LIMIT_EVENTS`, `AB_RATE_LIMIT_REQUESTS`, and what `AB_RATE_LIMIT_TENANTS` says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rates {
    default: Rate,
    tenants: HashMap<String, Rate>,
}

impl Rates {
    /// `tenant:events=N,requests=N`, separated by `;` or line ends; what is not named is as for everybody, `unlimited`
    /// is no limit. Lines that begin with `#` are comments.
    pub fn parse(default: Rate, text: &str) -> Result<Self, String> {
        let mut rates = Self { default, tenants: HashMap::default() };
        let entries = text
            .split([';', '\n'])
            .map(str::trim)
            .filter(|entry| !entry.is_empty() && !entry.starts_with('#'));
        for (number, entry) in entries.enumerate() {
            rates.add(entry).map_err(|reason| format!("entry {}: {reason}", number + 1))?;
        }
        Ok(rates)
    }

    fn add(&mut self, entry: &str) -> Result<(), &'static str> {
        let (tenant, limits) = entry.split_once(':').ok_or("must read tenant:events=N,requests=N")?;
        let tenant = tenant.trim();
        if !is_tenant(tenant) {
            return Err("a tenant is 1 to 64 of letters, digits, '.', '_' and '-'");
        }
        let mut rate = self.default;
        for limit in limits.split(',') {
            let (what, number) = limit.split_once('=').ok_or("must read tenant:events=N,requests=N")?;
            let number = match number.trim() {
                "unlimited" => None,
                number => {
                    Some(number.parse().ok().filter(|n| *n > 0).ok_or("a limit is 1 or more, or unlimited")?)
                }
            };
            match what.trim() {
                "events" => rate.events = number,
                "requests" => rate.requests = number,
                _ => return Err("limits are of events and of requests"),
            }
        }
        match self.tenants.insert(tenant.to_owned(), rate) {
            Some(_) => Err("the tenant has an entry already"),
            None => Ok(()),
        }
    }

    pub fn of(&self, tenant: &str) -> Rate {
        self.tenants.get(tenant).copied().unwrap_or(self.default)
    }
}

/// Syntax of `AB_RATE_LIMIT_TENANTS`.
pub fn check_rates(text: &str) -> Result<(), String> {
    Rates::parse(Rate::default(), text).map(drop)
}
