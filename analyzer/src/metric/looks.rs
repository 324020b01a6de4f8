//! The planned looks that were taken at a treatment, and whether one of them ended the experiment.

use domain::Day;
use serde::Serialize;

use super::contrast::Contrast;
use super::methods::Methods;
use crate::stats::Undefined;
use crate::stats::group_sequential::{boundaries, looks};

#[derive(Debug, Clone, Serialize)]
pub struct PlannedLooks {
    /// Users of both arms.
    pub planned: Vec<u64>,
    /// Two-sided level of all looks together, corrected for the number of treatments.
    pub alpha: f64,
    pub taken: Vec<LookTaken>,
    /// Whether a look taken so far was at or past its boundary.
    pub crossed: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct LookTaken {
    /// The end of this UTC day.
    pub day: String,
    pub users: u64,
    /// Level spent up to this look.
    pub spent: f64,
    /// |z| at which the look ends the experiment.
    pub boundary: f64,
    /// Of the relative effect.
    pub z: f64,
    pub effect: f64,
    /// effect +- boundary x standard error: holds at all planned looks together.
    pub ci: [f64; 2],
    pub crossed: bool,
}

impl PlannedLooks {
    /// `contrasts`: as they stood at the looks, ascending.
    pub fn taken(contrasts: &[(Day, Contrast<'_>)], methods: &Methods) -> Result<PlannedLooks, Undefined> {
        let (planned, alpha) = (&methods.looks, methods.family_alpha);
        let mut effects = Vec::with_capacity(contrasts.len());
        for (day, contrast) in contrasts {
            effects.push((day, contrast.decisive().1.relative?));
        }
        let sizes: Vec<u64> = effects.iter().map(|(_, effect)| effect.users.iter().sum()).collect();
        let plan = looks(&sizes, planned.last().copied().unwrap_or_default(), alpha);
        let bounds = boundaries(&plan)?;
        let mut taken = Vec::with_capacity(sizes.len());
        for (((day, effect), users), (look, boundary)) in
            effects.into_iter().zip(sizes).zip(plan.iter().zip(bounds))
        {
            let standard_error = effect.variance.sqrt();
            let z = effect.estimate / standard_error;
            taken.push(LookTaken {
                day: day.to_string(),
                users,
                spent: look.spent,
                boundary,
                z,
                effect: effect.estimate,
                ci: [-boundary, boundary].map(|b| effect.estimate + b * standard_error),
                crossed: z.abs() >= boundary,
            });
        }
        let crossed = taken.iter().any(|look| look.crossed);
        Ok(PlannedLooks { planned: planned.clone(), alpha: alpha.get(), taken, crossed })
    }
}
