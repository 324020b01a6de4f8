use service::settings::{Budgets, Settings, Tier};
use std::time::Duration;

fn budgets(said: &[(&str, &str)]) -> Result<Budgets, String> {
    let env = [&[("AB_REDIS_URL", "redis://h")], said].concat();
    let settings = Settings::for_testing(Tier::Gateway, &env);
    settings.map(|settings| settings.http.budgets).map_err(|refusal| refusal.to_string())
}

fn millis(budgets: &Budgets, class: &str, experiment: &str) -> Option<u128> {
    budgets.of(class, "acme", Some(experiment)).map(|budget| budget.as_millis())
}

#[test]
fn events_and_the_current_answer_have_five_seconds_and_the_rest_as_long_as_it_takes() {
    let budgets = budgets(&[]).unwrap();
    assert_eq!(budgets.of("ingest", "acme", None), Some(Duration::from_secs(5)));
    assert_eq!(millis(&budgets, "live-stats", "checkout"), Some(5_000));
    assert_eq!(millis(&budgets, "timeseries", "checkout"), None);
}

#[test]
fn an_experiment_has_its_own_budget_and_what_is_not_said_stays() {
    let said = "# dashboards\n live-stats = 2s;live-stats:acme/checkout=250ms\ntimeseries=1m;";
    let budgets = budgets(&[("AB_SLA_TIMEOUTS", said)]).unwrap();
    assert_eq!(millis(&budgets, "live-stats", "checkout"), Some(250));
    assert_eq!(millis(&budgets, "live-stats", "pricing"), Some(2_000));
    assert_eq!(budgets.of("live-stats", "globex", Some("checkout")), Some(Duration::from_secs(2)));
    assert_eq!(millis(&budgets, "timeseries", "checkout"), Some(60_000));
    assert_eq!(millis(&budgets, "ingest", "checkout"), Some(5_000));
}

#[test]
fn what_cannot_be_read_is_refused_by_number() {
    for (said, reason) in [
        ("ingest", "entry 1: must read class=5s"),
        ("ingest=5", "entry 1: a budget is"),
        ("ingest=0s", "entry 1: a budget is"),
        ("ingest=1s;ingest=2s", "entry 2: there is an entry for this already"),
        ("live_stats=1s", "entry 1: the classes are"),
        ("ingest:acme=1s", "entry 1: must read class=5s"),
        ("ingest:a b/checkout=1s", "entry 1: must read class=5s"),
        ("ingest:acme/=1s", "entry 1: must read class=5s"),
    ] {
        let refusal = budgets(&[("AB_SLA_TIMEOUTS", said)]).unwrap_err();
        assert!(refusal.starts_with(&format!("AB_SLA_TIMEOUTS: {reason}")), "{refusal}");
    }
}
