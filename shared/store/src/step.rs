//! What a change of an experiment's definition takes, judged by what is served and what is being built.

use crate::{Experiment, Phase};
use domain::definition::Definition;
use domain::{Plan, Timestamp};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The sums served are what it needs.
    Serve,
    /// The sums being built are.
    Follow,
    /// It needs sums of this version.
    Build(u32),
}

/// `anew`: whatever there is, it is not to be used.
pub(crate) fn step(current: &Experiment, wanted: &Definition, anew: bool) -> Step {
    let last = current.rebuild.as_ref().map_or(current.plan_version, |next| next.version);
    let plan = |version| Plan::new(current.id, version, wanted);
    if anew {
        Step::Build(last + 1)
    } else if current.next_plan().is_some_and(|next| next == plan(next.version)) {
        Step::Follow
    } else if current.plan() == plan(current.plan_version) {
        Step::Serve
    } else {
        Step::Build(last + 1)
    }
}

/// The phases once `wanted` holds, from `now` on; `None`: as they are.
pub(crate) fn phases(current: &Experiment, wanted: &Definition, now: Timestamp) -> Option<Vec<Phase>> {
    let phase = |d: &Definition, began_at| Phase {
        began_at,
        coverage: d.coverage,
        weights: d.variations.iter().map(|v| v.weight).collect(),
    };
    let old = phase(current.wanted(), now);
    if old == phase(wanted, now) {
        return None;
    }
    let mut phases = current.phases.clone();
    if phases.is_empty() {
        phases.push(Phase { began_at: current.started_at.unwrap_or(current.created_at), ..old });
    }
    phases.push(phase(wanted, now));
    Some(phases)
}
