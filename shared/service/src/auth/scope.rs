/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    pub const NONE: Scopes = Scopes(0);
    /// May only send events, exposures and conversions: the one for browsers and apps.
    pub const EVENTS: Scopes = Scopes(1);
    /// All ingest routes.
    pub const INGEST: Scopes = Scopes(2);
    pub const READ: Scopes = Scopes(4);
    /// Experiments and housekeeping of the tenant.
    pub const ADMIN: Scopes = Scopes(8);
    /// Across tenants; given by configuration only.
    pub const OPERATOR: Scopes = Scopes(16);
    pub const ALL: Scopes = Scopes(31);
    /// What admins may give to the keys they issue.
    pub const ISSUABLE: Scopes = Scopes(15);

    const NAMES: [(&'static str, Scopes); 5] = [
        ("events", Scopes::EVENTS),
        ("ingest", Scopes::INGEST),
        ("read", Scopes::READ),
        ("admin", Scopes::ADMIN),
        ("operator", Scopes::OPERATOR),
    ];

    pub const fn union(self, other: Scopes) -> Scopes {
        Scopes(self.0 | other.0)
    }

    /// Those of `self` that are in `other` too.
    pub const fn within(self, other: Scopes) -> Scopes {
        Scopes(self.0 & other.0)
    }

    /// All of `other` are in `self`.
    pub const fn has(self, other: Scopes) -> bool {
        self.0 & other.0 == other.0
    }

    /// At least one of `other` is in `self`.
    pub const fn intersects(self, other: Scopes) -> bool {
        self.0 & other.0 != 0
    }

    /// `events,read`; `None` for an unknown or missing name.
    pub fn parse(text: &str) -> Option<Scopes> {
        text.split(',').try_fold(Scopes::NONE, |scopes, name| {
            let (_, scope) = Scopes::NAMES.iter().find(|(known, _)| *known == name.trim())?;
            Some(scopes.union(*scope))
        })
    }

    /// Names of the scopes in the set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Scopes::NAMES.into_iter().filter(move |(_, scope)| self.has(*scope)).map(|(name, _)| name)
    }
}
