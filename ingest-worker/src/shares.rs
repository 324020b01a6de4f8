//! Which partitions are whose: of n living workers in order of their ids, the one of rank r takes the partitions p
//! with p mod n = r. Everybody who sees the same workers comes to the same answer without asking.

use domain::Partition;
use uuid::Uuid;

/// A worker's share of the partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    pub rank: u16,
    /// 0: nothing is mine.
    pub of: u16,
}

impl Share {
    pub const ALL: Share = Share { rank: 0, of: 1 };
    pub const NOTHING: Share = Share { rank: 0, of: 0 };

    /// The partitions of lane `lane` of `lanes`, of this share.
    pub fn partitions(self, partitions: u16, lane: u16, lanes: u16) -> impl Iterator<Item = Partition> {
        let mine = (0..partitions).filter(move |p| p.checked_rem(self.of) == Some(self.rank));
        mine.filter(move |p| p.checked_div(self.of).and_then(|n| n.checked_rem(lanes)) == Some(lane))
            .map(Partition)
    }
}

/// Follows who lives. A change counts once it was seen twice in a row: somebody who is late once loses nothing.
pub struct Shares {
    me: Uuid,
    last: Vec<Uuid>,
    share: Share,
}

impl Shares {
    pub fn new(me: Uuid) -> Shares {
        Shares { me, last: Vec::new(), share: Share::NOTHING }
    }

    /// `living`: everybody who lives, in order of id.
    pub fn see(&mut self, living: Vec<Uuid>) -> Share {
        if living == self.last {
            let rank = living.iter().position(|id| *id == self.me);
            self.share = match (rank.map(u16::try_from), u16::try_from(living.len())) {
                (Some(Ok(rank)), Ok(of)) => Share { rank, of },
                _ => Share::NOTHING,
            };
        }
        self.last = living;
        self.share
    }
}
