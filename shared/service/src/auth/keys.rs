use super::issued::{Issued, NotKnown};
use super::{Digest, Scopes};
use crate::settings::{Auth, Refusal, Secret};
use arc_swap::ArcSwap;
use foldhash::{HashMap, HashMapExt};
use queue::keys::IssuedKey;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Whom a key speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Empty for a request without a key on a public route.
    pub tenant: Arc<str>,
    pub scopes: Scopes,
    /// By which the audit log knows the key, and which does not give it away: `AB_ADMIN_TOKEN`, `sha256:` and the
    /// digest's first digits, or number and name of an issued one.
    pub name: Arc<str>,
}

impl Principal {
    /// Nobody: no tenant, no scope.
    pub fn anonymous() -> Self {
        Self { tenant: Arc::from(""), scopes: Scopes::NONE, name: Arc::from("") }
    }

    pub fn can(&self, scopes: Scopes) -> bool {
        self.scopes.has(scopes)
    }

    /// A key that browsers may hold in the open.
    pub fn only_events(&self) -> bool {
        self.scopes == Scopes::EVENTS
    }
}

pub(super) type Table = HashMap<Digest, Arc<Principal>>;

/// The keys of a process: those that its settings and files give, replaced as a whole when a file changes, and those
/// that admins issue.
#[derive(Debug)]
pub struct Keys {
    table: ArcSwap<Table>,
    issued: ArcSwap<Table>,
    pub(super) source: OnceLock<Issued>,
    sources: Mutex<Sources>,
    strict: bool,
}

/// Where keys come from, with the content that is in force.
#[derive(Debug, Clone)]
struct Sources {
    auth: Auth,
    kept: Option<Kept>,
}

#[derive(Debug, Clone)]
struct Kept {
    path: PathBuf,
    entries: Secret,
}

/// Keys below this length are refused in production, in characters.
const MIN_KEY_LENGTH: usize = 24;
/// Fewer different characters than this can be guessed.
const MIN_DIFFERENT: usize = 8;
const DEFAULT_TENANT: &str = "default";
/// Parts of keys that people copy from documentation.
const EXAMPLES: &[&str] =
    &["changeme", "change-me", "change_me", "example", "password", "replace", "secret", "insecure"];
const EXAMPLE_PREFIXES: &[&str] =
    &["demo", "test", "dev-", "local", "your", "my-", "abstream", "key-", "token"];

impl Keys {
    /// `strict` (production) also refuses short keys and known examples.
    pub fn new(auth: &Auth, strict: bool) -> Result<Self, Refusal> {
        let sources = Sources { auth: auth.clone(), kept: None };
        let table = ArcSwap::from_pointee(build(&sources, strict)?);
        let (issued, source) = (ArcSwap::default(), OnceLock::new());
        Ok(Self { table, issued, source, sources: Mutex::new(sources), strict })
    }

    /// Adds the keys of a file that the process keeps itself. What it says of a key holds, whatever the settings say:
    /// whoever exports such a key for a client may start the server in the same shell.
    pub fn keep(&self, path: &Path, entries: &str) -> Result<(), Refusal> {
        let kept = Kept { path: path.to_owned(), entries: Secret::new(entries) };
        let add = |sources: &mut Sources| {
            sources.kept = Some(kept);
            Ok(())
        };
        self.update(add).map(drop)
    }

    /// Whom the key speaks for; `None` for an unknown one.
    pub fn find(&self, key: &str) -> Option<Arc<Principal>> {
        let digest = Digest::of(key);
        let configured = self.table.load().get(&digest).cloned();
        configured.or_else(|| self.issued.load().get(&digest).cloned())
    }

    /// The same for a key that [`Keys::find`] does not know: it may have been issued a moment ago.
    pub async fn find_anew(&self, key: &str) -> Result<Option<Arc<Principal>>, NotKnown> {
        let Some(source) = self.source.get().filter(|_| super::issued::is_issued(key)) else {
            return Ok(None);
        };
        source.catch_up(self).await?;
        Ok(self.find(key))
    }

    /// These are the keys that are issued, and no others.
    pub fn set_issued(&self, issued: &[IssuedKey]) {
        self.issued.store(Arc::new(super::issued::table_of(issued)));
    }

    /// True when some key has at least one of `scopes`.
    pub fn any_with(&self, scopes: Scopes) -> bool {
        self.table.load().values().any(|principal| principal.scopes.intersects(scopes))
    }

    pub fn len(&self) -> usize {
        self.table.load().len()
    }

    /// How many of those that admins issue are in force.
    pub fn issued(&self) -> usize {
        self.issued.load().len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.load().is_empty()
    }

    /// The files that keys were read from.
    pub fn files(&self) -> Vec<PathBuf> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = sources.kept.as_ref().map(|kept| kept.path.clone());
        sources.auth.api_keys_file.iter().cloned().chain(kept).collect()
    }

    /// Takes `entries` in place of what that file held; true when that made a difference. On an error the keys stay as
    /// they were. That there is none is one: whoever writes a file anew empties it first.
    pub fn replace(&self, file: &Path, entries: &str) -> Result<bool, Refusal> {
        self.update(|sources| {
            if sources.auth.api_keys_file.as_deref() == Some(file) {
                if entries_of(entries).next().is_none() {
                    return Err(Refusal::new("AB_API_KEYS_FILE", "holds no key"));
                }
                sources.auth.api_keys = Some(Secret::new(entries));
            }
            if let Some(kept) = sources.kept.as_mut().filter(|kept| kept.path == file) {
                kept.entries = Secret::new(entries);
            }
            Ok(())
        })
    }

    fn update(&self, change: impl FnOnce(&mut Sources) -> Result<(), Refusal>) -> Result<bool, Refusal> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = sources.clone();
        change(&mut changed)?;
        let table = build(&changed, self.strict)?;
        *sources = changed;
        let differs = **self.table.load() != table;
        if differs {
            self.table.store(Arc::new(table));
        }
        Ok(differs)
    }
}

fn build(sources: &Sources, strict: bool) -> Result<Table, Refusal> {
    let Sources { auth, kept } = sources;
    let mut table = Table::new();
    let sender = Scopes::INGEST.union(Scopes::EVENTS).union(Scopes::READ);
    let tokens = [
        ("AB_API_TOKEN", &auth.api_token, sender),
        ("AB_READONLY_API_TOKEN", &auth.readonly_api_token, Scopes::READ),
        ("AB_ADMIN_TOKEN", &auth.admin_token, Scopes::ALL),
    ];
    for (variable, token, scopes) in tokens {
        let Some(token) = token else { continue };
        check_key(token.expose(), strict).map_err(|reason| Refusal::new(variable, reason))?;
        insert(&mut table, Digest::of(token.expose()), DEFAULT_TENANT, scopes, variable)
            .map_err(|reason| Refusal::new(variable, reason))?;
    }
    if let Some(entries) = &auth.api_keys {
        add_entries(&mut table, entries, strict).map_err(|reason| Refusal::new("AB_API_KEYS", reason))?;
    }
    if let Some(Kept { path, entries }) = kept {
        let refuse = |reason: &str| Refusal::new("AB_DATA", format!("{}: {reason}", path.display()));
        let mut kept = Table::new();
        add_entries(&mut kept, entries, strict).map_err(|reason| refuse(&reason))?;
        if kept.is_empty() {
            return Err(refuse("holds no key: remove it, and the next start makes new ones"));
        }
        table.extend(kept);
    }
    Ok(table)
}

fn add_entries(table: &mut Table, entries: &Secret, strict: bool) -> Result<(), String> {
    for (number, entry) in entries_of(entries.expose()).enumerate() {
        parse_entry(entry, strict)
            .and_then(|(digest, tenant, scopes)| {
                insert(table, digest, tenant, scopes, &format!("sha256:{}", digest.short()))
            })
            .map_err(|reason| format!("entry {}: {reason}", number + 1))?;
    }
    Ok(())
}

fn entries_of(text: &str) -> impl Iterator<Item = &str> {
    let entries = text.split([';', '\n']).map(str::trim);
    entries.filter(|entry| !entry.is_empty() && !entry.starts_with('#'))
}

fn insert(table: &mut Table, digest: Digest, tenant: &str, scopes: Scopes, name: &str) -> Result<(), String> {
    let principal = Principal { tenant: Arc::from(tenant), scopes, name: Arc::from(name) };
    match table.insert(digest, Arc::new(principal)) {
        Some(_) => Err("holds a key that is configured twice".into()),
        None => Ok(()),
    }
}

/// `key:tenant:scope,scope` or `sha256:HEX:tenant:scope,scope`. Reasons never repeat the key.
fn parse_entry(entry: &str, strict: bool) -> Result<(Digest, &str, Scopes), String> {
    let mut parts = entry.rsplitn(3, ':');
    let (Some(scopes), Some(tenant), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("must read key:tenant:scope,scope".into());
    };
    let scopes = Scopes::parse(scopes).ok_or("scopes are events, ingest, read, admin, operator")?;
    if !is_tenant(tenant) {
        return Err("a tenant is 1 to 64 of letters, digits, '.', '_' and '-'".into());
    }
    let digest = match key.strip_prefix("sha256:") {
        Some(hex) => Digest::parse(hex).ok_or("sha256: needs 64 hexadecimal digits")?,
        None => {
            check_key(key, strict)?;
            Digest::of(key)
        }
    };
    Ok((digest, tenant, scopes))
}

pub(crate) fn is_tenant(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
}

fn check_key(key: &str, strict: bool) -> Result<(), String> {
    if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic() && b != b':' && b != b';') {
        return Err("a key is visible ASCII without ':' and ';'".into());
    }
    if !strict {
        return Ok(());
    }
    let lower = key.to_ascii_lowercase();
    let example = EXAMPLES.iter().any(|part| lower.contains(part))
        || EXAMPLE_PREFIXES.iter().any(|prefix| lower.starts_with(prefix));
    let mut different: Vec<u8> = key.bytes().collect();
    different.sort_unstable();
    different.dedup();
    if example {
        Err("is a known example key: production needs a random one".into())
    } else if key.len() < MIN_KEY_LENGTH {
        Err(format!("is too short: production needs at least {MIN_KEY_LENGTH} characters"))
    } else if different.len() < MIN_DIFFERENT {
        Err("is easily guessed: production needs a random key".into())
    } else {
        Ok(())
    }
}
