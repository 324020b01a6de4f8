//! What was claimed to the gateways, with what answer, and what may be stored of it.
//!
//! Whoever sends events of a user sends one request at a time. So an event that was acknowledged lies in the queue
//! before anything sent later; of one whose request got no clear answer nothing is known, it may be stored or not, and
//! even be overtaken. Of all claims to one place (a user's enrollment, or a conversion's key) the first that arrives
//! wins for ever: one of those without an answer before the first acknowledged one, or that one itself.

use domain::{Decimal, ExperimentId, Timestamp};
use std::collections::{BTreeMap, HashMap};

/// What can be stored once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub tenant: String,
    pub user: String,
    pub experiment: ExperimentId,
    /// Of a conversion; `None`: the enrollment.
    pub key: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    pub what: What,
    /// `None` claims no time of its own: any fits.
    pub at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Variation(i16),
    Conversion { metric: String, value: Decimal },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub content: Content,
    /// Or nothing is known of it.
    pub acknowledged: bool,
}

/// The claims to every place, in the order sent.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    claims: HashMap<Place, Vec<Claim>>,
}

/// A claim whose request is under way.
#[derive(Debug)]
pub struct Open {
    place: Place,
    index: usize,
}

/// How the claims compare with what is stored; places, not events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    pub acknowledged: u64,
    pub applied: u64,
    pub lost: u64,
    /// Stored twice, or under a key that nobody sent: a keyless event that got a second one.
    pub double: u64,
    /// What is lost, for people.
    pub missing: Vec<String>,
    /// Everything else that is not as it may be.
    pub differences: Vec<String>,
}

impl Ledger {
    /// Before it is sent.
    pub fn claim(&mut self, place: Place, content: Content) -> Open {
        let claims = self.claims.entry(place.clone()).or_default();
        claims.push(Claim { content, acknowledged: false });
        Open { place, index: claims.len() - 1 }
    }

    pub fn acknowledge(&mut self, open: &Open) {
        if let Some(claim) = self.claims.get_mut(&open.place).and_then(|c| c.get_mut(open.index)) {
            claim.acknowledged = true;
        }
    }

    /// Adds the claims of somebody who sends for other users.
    pub fn merge(&mut self, other: Ledger) {
        for (place, claims) in other.claims {
            self.claims.entry(place).or_default().extend(claims);
        }
    }

    pub fn compare(&self, stored: &[(Place, Content)]) -> Comparison {
        let mut result = Comparison::default();
        let mut found: BTreeMap<&Place, u64> = BTreeMap::new();
        for (place, content) in stored {
            let times = found.entry(place).or_default();
            *times += 1;
            let claims = self.claims.get(place);
            if *times > 1 || claims.is_none() {
                result.double += 1;
                result.differences.push(format!("{place:?}: {content:?} was never sent, or is there twice"));
            } else if let Some(claims) = claims
                && !may_win(claims).any(|claim| claim.content.fits(content))
            {
                result.differences.push(format!("{place:?}: {content:?} stored, of {claims:?}"));
            }
        }
        result.applied = found.len() as u64;
        for (place, claims) in &self.claims {
            if !claims.iter().any(|claim| claim.acknowledged) {
                continue;
            }
            result.acknowledged += 1;
            if !found.contains_key(place) {
                result.lost += 1;
                result.missing.push(format!("{place:?}: acknowledged and not stored, of {claims:?}"));
            }
        }
        result
    }
}

/// Those without an answer, up to the first acknowledged one and with it.
fn may_win(claims: &[Claim]) -> impl Iterator<Item = &Claim> {
    let first = claims.iter().position(|claim| claim.acknowledged);
    claims.iter().take(first.map_or(claims.len(), |first| first + 1))
}

impl Content {
    fn fits(&self, stored: &Content) -> bool {
        self.what == stored.what && self.at.is_none_or(|at| stored.at == Some(at))
    }
}
