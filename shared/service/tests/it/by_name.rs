//! Counters by names that others choose.

use service::metrics::{Metrics, NAMED};

#[test]
fn threads_that_meet_new_names_together_make_no_more_of_them_than_allowed() {
    let metrics = Metrics::new();
    let counter = metrics.counter_by_name("things_total", "Things", "name").unwrap();
    let (threads, names) = (8, NAMED * 3);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..names).for_each(|n| counter.inc_by(&format!("name-{n}"), 2)));
        }
    });
    let page = metrics.render().unwrap();
    let counts: Vec<u64> = page
        .lines()
        .filter_map(|line| line.strip_prefix("things_total{")?.rsplit(' ').next()?.parse().ok())
        .collect();
    assert_eq!(counts.len(), NAMED + 1);
    assert_eq!(counts.iter().sum::<u64>(), threads * names as u64 * 2);
}

#[test]
fn a_name_keeps_its_child_when_there_is_no_room_for_others() {
    let metrics = Metrics::new();
    let counter = metrics.counter_by_name("things_total", "Things", "name").unwrap();
    (0..NAMED + 50).for_each(|n| counter.inc_by(&format!("name-{n}"), 1));
    counter.inc_by("name-3", 5);
    // Of a tenant that is really called so.
    counter.inc_by("other", 7);
    let page = metrics.render().unwrap();
    for line in ["things_total{name=\"name-3\"} 6", "things_total{name=\"other\"} 57"] {
        assert!(page.lines().any(|shown| shown == line), "{line} is not in {page}");
    }
}
