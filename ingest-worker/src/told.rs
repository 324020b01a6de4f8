//! The controls that tell something of one user in one experiment: a stratum, a pre-period value, an exclusion. They
//! are applied like events.

use domain::Timestamp;
use domain::attributes::Attribute;
use queue::frame::{Control, Frame};

/// What is told of a user besides what the user did.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    pub user_id: &'a str,
    pub attribute: Attribute<'a>,
    pub occurred_given: Option<Timestamp>,
}

impl<'a> Told<'a> {
    /// `None`: the control is not about one user in one experiment.
    pub fn of(frame: &Frame<'a>, control: &Control<'a>) -> Option<Told<'a>> {
        let corrected = |given: Option<Timestamp>| given.map(|t| t.plus(frame.clock_shift));
        let (user_id, attribute, occurred_given) = match *control {
            Control::PrePeriod { user_id, covariate, value, occurred_given } => {
                let (name, at) = (covariate.unwrap_or_default(), corrected(occurred_given));
                (user_id, Attribute::Covariate { name, value, at }, occurred_given)
            }
            Control::Stratum { user_id, stratum, occurred_given } => {
                let at = corrected(occurred_given);
                (user_id, Attribute::Stratum { value: stratum, at }, occurred_given)
            }
            Control::Exclusion { user_id, reason, excluded } => {
                (user_id, Attribute::Exclusion { excluded, reason, batch: frame.batch }, None)
            }
            Control::Phase { .. }
            | Control::Stop { .. }
            | Control::Restart { .. }
            | Control::Erase { .. } => {
                return None;
            }
        };
        Some(Told { user_id, attribute, occurred_given })
    }

    /// As it came.
    pub fn control(self) -> Control<'a> {
        let Told { user_id, attribute, occurred_given } = self;
        match attribute {
            Attribute::Covariate { name, value, .. } => {
                let covariate = Some(name).filter(|name| !name.is_empty());
                Control::PrePeriod { user_id, covariate, value, occurred_given }
            }
            Attribute::Stratum { value, .. } => Control::Stratum { user_id, stratum: value, occurred_given },
            Attribute::Exclusion { excluded, reason, .. } => Control::Exclusion { user_id, reason, excluded },
        }
    }
}
