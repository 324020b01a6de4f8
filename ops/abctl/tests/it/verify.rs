//! `verify` finds nothing where nothing is wrong, and every single change where something is.

use crate::pipeline::{Pipeline, User, partition, play, plot};
use abctl::simulate::script::Habits;
use abctl::simulate::world::World;
use abctl::verify::recompute::{Days, Difference, Recomputation};
use domain::Plan;

fn recompute(pipeline: &Pipeline, plan: &Plan, stored: &Days) -> Vec<Difference> {
    let mut sums = Recomputation::new(plan);
    for (id, user) in &pipeline.users {
        let conversions: Vec<_> = user.conversions.values().map(|c| c.dated()).collect();
        sums.add(partition(id), id, &user.unit, &conversions).unwrap();
    }
    assert!(sums.units > 100 && sums.conversions > 20);
    sums.compare(stored).unwrap()
}

fn played() -> Pipeline {
    play(&plot(World::varied("x-"), Habits::varied(), 5), 2, 3_000, 100).0
}

#[test]
fn increments_equal_the_recomputation_day_by_day() {
    let pipeline = played();
    for plan in &pipeline.plans {
        let stored = &pipeline.moments[&plan.experiment];
        assert!(stored.values().any(|days| days.len() > 3), "several days");
        assert_eq!(recompute(&pipeline, plan, stored), []);
    }
}

#[test]
fn a_missing_row_stands_for_the_one_before_it() {
    let pipeline = played();
    let plan = &pipeline.plans[0];
    let mut stored = pipeline.moments[&plan.experiment].clone();
    let days = stored.values_mut().next().unwrap();
    let (last, row) = days.iter().next_back().map(|(d, m)| (*d, m.clone())).unwrap();
    // A row that repeats the one before it is as good as none.
    days.insert(domain::Day(last.0 + 3), row);
    assert_eq!(recompute(&pipeline, plan, &stored), []);
    // But a change that is not stored is missed on its own day.
    let days = stored.values_mut().next().unwrap();
    days.remove(&domain::Day(last.0 + 3));
    days.remove(&last);
    let found = recompute(&pipeline, plan, &stored);
    assert!(found.len() == 1 && found[0].at.contains(&last.to_string()), "{found:?}");
}

#[test]
fn every_altered_number_is_found() {
    let pipeline = played();
    let plan = &pipeline.plans[0];
    let stored = &pipeline.moments[&plan.experiment];
    let key = stored.keys().next().unwrap().clone();
    let products = plan.products.len();
    for at in 0..products + 2 {
        let mut altered = stored.clone();
        let last = altered.get_mut(&key).unwrap().values_mut().next_back().unwrap();
        match at.checked_sub(products) {
            None => last.products[at] += ethnum::I256::ONE,
            Some(0) => last.heads.enrolled -= 1,
            Some(_) => last.heads.before += 1,
        }
        assert_eq!(recompute(&pipeline, plan, &altered).len(), 1, "product {at}");
    }
    let mut extra = stored.clone();
    let other = abctl::verify::recompute::Key { phase: 9, ..key };
    extra.insert(other, stored.values().next().unwrap().clone());
    assert!(!recompute(&pipeline, plan, &extra).is_empty());
}

#[test]
fn a_lost_doubled_or_altered_raw_row_is_found() {
    let find = |spoil: &dyn Fn(&mut Pipeline)| {
        let mut pipeline = played();
        let stored = pipeline.moments[&pipeline.plans[0].experiment].clone();
        spoil(&mut pipeline);
        let plan = pipeline.plans[0].clone();
        recompute(&pipeline, &plan, &stored)
    };
    // Who bought after the exposure: a purchase before it is kept, and changes no arm.
    let counted = |p: &Pipeline| {
        let plan = &p.plans[0];
        let purchase = plan.event_index("purchase").unwrap();
        let bought = |u: &User| {
            u.unit
                .enrollment(plan.experiment)
                .is_some_and(|e| e.tallies.get(purchase).is_some_and(|t| t.sum > 0))
        };
        p.users.iter().find(|(_, u)| bought(u)).unwrap().0.clone()
    };
    let lost = find(&|p| p.users.get_mut(&counted(p)).unwrap().conversions.clear());
    assert!(
        lost.iter().any(|d| d.at.starts_with("unit")) && lost.iter().any(|d| d.at.starts_with("partition"))
    );
    let unit = find(&|p| {
        let user = counted(p);
        p.users.get_mut(&user).unwrap().unit.enrollments[0].tallies[0].sum += 1;
    });
    assert_eq!(unit.len(), 1, "{unit:?}");
    let gone = find(&|p| {
        let user = counted(p);
        p.users.remove(&user);
    });
    assert!(!gone.is_empty());
}
