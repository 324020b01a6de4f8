//! Where integers end: an error that says so, and nothing changed.

use crate::definition;
use domain::fold::{self, Fact, Seen};
use domain::{Contribution, Day, Decimal, Enrollment, ExperimentId, Moments, Plan, Tally, Timestamp, Unit};
use ethnum::I256;
use proptest::prelude::*;

const AT: Timestamp = Timestamp(1_772_438_422_239_000);
const HOUR: i64 = 3_600_000_000;

fn plan(experiment: i64) -> Plan {
    let mut d = definition::all_kinds();
    d.attribution.window_hours = Some(24);
    Plan::new(ExperimentId(experiment), 1, &d)
}

fn enrollment(plan: &Plan) -> Enrollment {
    Enrollment::new(plan, 1, 0, AT, AT.day())
}

fn purchase(value: i64, after: i64) -> Fact<'static> {
    Fact { experiment: ExperimentId::NONE, event: "purchase", value: Decimal(value), at: AT.plus(after) }
}

/// A unit whose second enrollment stands at an edge; the fact must leave both as they are.
fn refused(edge: impl Fn(&mut Enrollment), fact: &Fact<'_>) {
    let plans = [plan(1), plan(2)];
    let mut full = enrollment(&plans[1]);
    edge(&mut full);
    let mut alone = full.clone();
    alone.add(&plans[1], 1, fact.value, fact.at).expect_err("overflows");
    assert_eq!(alone, full);
    let before = Unit { enrollments: vec![enrollment(&plans[0]), full], ..Unit::default() };
    let mut unit = before.clone();
    let find = |e: &Enrollment| plans.iter().find(|p| p.experiment == e.experiment);
    fold::convert(&mut unit, fact, find).expect_err("overflows");
    assert_eq!(unit, before);
}

#[test]
fn a_users_sums_end_loudly() {
    let slot = 1;
    let tally = |t: Tally| move |e: &mut Enrollment| e.tallies[slot] = t;
    let full = Tally { count: u32::MAX, pre_count: u32::MAX, ..Tally::default() };
    refused(tally(full), &purchase(1, 0));
    refused(tally(full), &purchase(1, -2 * HOUR));
    for (sum, value) in
        [(i128::MAX, 1), (i128::MIN, -1), (i128::MAX - 5, 6), (i128::MIN + i128::from(i64::MAX), i64::MIN)]
    {
        refused(tally(Tally { count: 1, sum, ..Tally::default() }), &purchase(value, 0));
        refused(tally(Tally { pre_count: 1, pre_sum: sum, ..Tally::default() }), &purchase(value, -2 * HOUR));
    }
    refused(|e| e.before = u32::MAX, &purchase(1, -1));
    refused(|e| e.before = u32::MAX, &purchase(1, -2 * HOUR));
    refused(|e| e.after_window = u32::MAX, &purchase(1, 24 * HOUR));
}

#[test]
fn the_last_values_inside_are_exact() {
    let plan = plan(1);
    let mut e = enrollment(&plan);
    e.tallies[1] = Tally { count: u32::MAX - 1, sum: i128::MAX - 5, ..Tally::default() };
    e.add(&plan, 1, Decimal(5), AT).unwrap();
    assert_eq!(e.tallies[1], Tally { count: u32::MAX, sum: i128::MAX, ..Tally::default() });
    for value in [i64::MAX, i64::MIN] {
        let mut e = enrollment(&plan);
        e.add(&plan, 1, Decimal(value), AT).unwrap();
        e.add(&plan, 1, Decimal(value), AT).unwrap();
        assert_eq!(e.tallies[1].sum, 2 * i128::from(value));
    }
}

#[test]
fn a_history_of_extreme_values_is_exact() {
    let plan = plan(1);
    let seen = Seen { variation: 0, at: AT, day: AT.day(), phase: 0 };
    let mut unit = Unit::default();
    let history = (0..3).map(|_| purchase(i64::MAX, 0));
    assert_eq!(fold::expose(&mut unit, &plan, seen, history), Ok(fold::Exposed::Enrolled));
    assert_eq!(unit.enrollments[0].tallies[1].sum, 3 * i128::from(i64::MAX));
}

/// One enrollment with these sums of `purchase`, squared into an arm's moments.
fn squared(sum: i128, pre_sum: i128) -> (Plan, Enrollment) {
    let plan = plan(1);
    let mut e = enrollment(&plan);
    e.tallies[1] = Tally { count: u32::MAX, sum, pre_count: u32::MAX, pre_sum };
    (plan, e)
}

#[test]
fn products_of_extreme_sums_are_exact() {
    use domain::plan::Feature::{PreSum, Sum};
    for (a, b) in
        [(i128::MAX, i128::MIN), (i128::MIN, i128::MIN), (i128::MAX, i128::MAX), (1 << 90, -(1 << 90))]
    {
        let (plan, e) = squared(a, b);
        let mut moments = Moments::default();
        moments.shift(&plan, None, Some(&e)).unwrap();
        let [wide_a, wide_b] = [a, b].map(I256::from);
        assert_eq!(moments.product(&plan, Sum(1), Sum(1)), wide_a * wide_a);
        assert_eq!(moments.product(&plan, Sum(1), PreSum(1)), wide_a * wide_b);
        assert_eq!(moments.product(&plan, PreSum(1), PreSum(1)), wide_b * wide_b);
        moments.shift(&plan, Some(&e), None).unwrap();
        assert!(moments.same(&Moments::default()));
    }
}

#[test]
fn an_arms_sums_end_loudly() {
    let (plan, e) = squared(i128::MIN, 0);
    let mut moments = Moments::default();
    // (2^127)^2 = 2^254: the second one passes 2^255.
    moments.shift(&plan, None, Some(&e)).unwrap();
    let before = moments.clone();
    moments.shift(&plan, None, Some(&e)).expect_err("overflows");
    assert_eq!(moments, before);
    let mut sum = before.clone();
    sum.add(&before).expect_err("overflows");
    assert_eq!(sum, before);

    let plain = enrollment(&plan);
    for (enrolled, before, after) in [(i64::MAX, None, Some(&plain)), (i64::MIN, Some(&plain), None)] {
        let mut moments = Moments::default();
        moments.heads.enrolled = enrolled;
        let unchanged = moments.clone();
        moments.shift(&plan, before, after).expect_err("overflows");
        assert_eq!(moments, unchanged);
    }
    let mut heads = Moments::default();
    heads.heads.before = i64::MAX;
    let unchanged = heads.clone();
    let mut more = Moments::default();
    more.heads.before = 1;
    heads.add(&more).expect_err("overflows");
    assert_eq!(heads, unchanged);
}

#[test]
fn caps_bound_from_above_only() {
    use domain::plan::Feature::{CappedCount, CappedSum};
    let (plan, mut e) = squared(i128::MAX, 0);
    let at = |e: &Enrollment, f| {
        Contribution::of(e, &plan).feature(plan.features.iter().position(|x| *x == f).unwrap() as u16)
    };
    let (sum, count) = (CappedSum(1, Decimal(12_500_000)), CappedCount(1, Decimal(2_000_000)));
    assert_eq!((at(&e, sum), at(&e, count)), (12_500_000, 2));
    e.tallies[1] = Tally { count: 1, sum: i128::MIN, ..Tally::default() };
    assert_eq!((at(&e, sum), at(&e, count)), (i128::MIN, 1));
}

#[test]
fn experiments_that_do_not_count_it_are_left_alone() {
    let plans = [plan(1), plan(2)];
    let before = Unit { enrollments: plans.iter().map(enrollment).collect(), ..Unit::default() };
    let mut unit = before.clone();
    let only_second =
        |e: &Enrollment| plans.iter().find(|p| p.experiment == e.experiment && e.experiment.0 == 2);
    assert_eq!(fold::convert(&mut unit, &purchase(7, 0), only_second), Ok(true));
    assert_eq!(unit.enrollments[0], before.enrollments[0]);
    assert_eq!(unit.enrollments[1].tallies[1], Tally { count: 1, sum: 7, ..Tally::default() });
    assert_eq!(fold::convert(&mut unit, &purchase(7, 0), |_| None), Ok(false));
    assert!(unit.has_conversions);
    // Nor does a conversion change an experiment it does not name, or one that does not use its event.
    let both = |e: &Enrollment| plans.iter().find(|p| p.experiment == e.experiment);
    let elsewhere = Fact { experiment: ExperimentId(3), ..purchase(7, 0) };
    assert_eq!(fold::convert(&mut unit, &elsewhere, both), Ok(false));
    assert_eq!(fold::convert(&mut unit, &Fact { event: "unused", ..purchase(7, 0) }, both), Ok(false));
}

fn tallies() -> impl Strategy<Value = Tally> {
    let sum = prop_oneof![any::<i128>(), Just(i128::MAX), Just(i128::MIN), any::<i64>().prop_map(i128::from)];
    (any::<u32>(), sum.clone(), any::<u32>(), sum).prop_map(|(count, sum, pre_count, pre_sum)| Tally {
        count,
        sum,
        pre_count,
        pre_sum,
    })
}

proptest! {
    #![proptest_config(crate::cases(1000))]

    /// Every tally there can be: a shift either is undone by its inverse, or fails and changes nothing.
    #[test]
    fn shifts_are_undone_or_refused(a in [tallies(), tallies(), tallies()], b in [tallies(), tallies(), tallies()]) {
        let plan = plan(1);
        let [a, b] = [a, b].map(|tallies| Enrollment { tallies: tallies.to_vec(), ..enrollment(&plan) });
        let mut moments = Moments::default();
        for after in [&a, &b] {
            let before = moments.clone();
            match moments.shift(&plan, None, Some(after)) {
                Ok(()) => {
                    let mut undone = moments.clone();
                    undone.shift(&plan, Some(after), None).unwrap();
                    prop_assert!(undone.same(&before));
                }
                Err(_) => prop_assert_eq!(&moments, &before),
            }
        }
        let mut replaced = Moments::default();
        replaced.shift(&plan, None, Some(&a)).unwrap();
        let before = replaced.clone();
        match replaced.shift(&plan, Some(&a), Some(&b)) {
            Ok(()) => {
                let mut scratch = Moments::default();
                scratch.shift(&plan, None, Some(&b)).unwrap();
                prop_assert!(replaced.same(&scratch));
            }
            Err(_) => prop_assert_eq!(replaced, before),
        }
    }

    #[test]
    fn any_conversion_is_added_or_refused(tally in tallies(), exposed: i64, at: i64, value: i64, counters: [u32; 2]) {
        let plan = plan(1);
        let mut e = Enrollment { exposed_at: Timestamp(exposed), before: counters[0], after_window: counters[1], ..enrollment(&plan) };
        e.day = Day(0);
        e.tallies[1] = tally;
        let before = e.clone();
        let total = |e: &Enrollment| {
            let t = e.tallies[1];
            (t.sum.wrapping_add(t.pre_sum), u64::from(t.count) + u64::from(e.before) + u64::from(e.after_window))
        };
        if e.add(&plan, 1, Decimal(value), Timestamp(at)).is_err() {
            prop_assert_eq!(e, before);
        } else {
            prop_assert_eq!(total(&e).1, total(&before).1 + 1);
            let grown = total(&e).0.wrapping_sub(total(&before).0);
            prop_assert!(grown == i128::from(value) || grown == 0);
        }
    }
}
