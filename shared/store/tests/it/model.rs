//! Whatever is done to both databases, they say the same: random transactions, ended in every way.

use crate::db::{ACTOR, Backend, Db, TENANT, listing};
use crate::owner::{Owner, TODAY, conversion, enrolled, key, moments, unit_of};
use domain::codec::encode_unit;
use domain::{BatchId, Day, ExperimentId, Partition, Timestamp};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use store::apply::{
    Advance, Changes, Count, DeadLetter, HistoryOf, MomentsRow, NewConversion, NewReceipt, NewUnit,
};
use store::{Experiment, Status, WriterRow};
use uuid::Uuid;

const USERS: [&str; 6] = ["u", "v", "w", "ü", "", "a-user-with-a-longer-name"];
const KEYS: [&str; 4] = ["", "k", "K", "🎈"];
const METRICS: [&str; 3] = ["purchase", "signup", "é"];
const NAMES: [&str; 6] = ["exposures", "conversions", "deduplicated", "dead_lettered", "discarded", "late"];
const EXPERIMENTS: usize = 3;
const OWNERS: u16 = 2;

#[derive(Debug, Clone)]
enum Step {
    Apply(Box<Transaction>),
    Become(usize, Status),
    Delete(usize),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Commit,
    Rollback,
    /// With the connection, as by a crash.
    Drop,
}

/// User, experiment or 0, key.
type Place = (usize, i64, usize);
/// Metric, value, time given.
type Said = (usize, i64, Option<i64>);

#[derive(Debug, Clone)]
struct Transaction {
    owner: u16,
    /// Begins as somebody who does not know where the partition stands.
    stale: bool,
    rewinds: bool,
    later: bool,
    accepted: u64,
    /// Users loaded and written.
    users: BTreeSet<usize>,
    /// Of users, with experiments and metrics.
    history: (BTreeSet<usize>, BTreeSet<i64>, BTreeSet<usize>),
    conversions: BTreeMap<Place, Said>,
    /// (experiment, variation, stratum): users.
    moments: BTreeMap<(usize, i16, bool), i64>,
    /// (experiment or 0, variation, name): more.
    counters: BTreeMap<(i64, i16, usize), i64>,
    receipts: BTreeSet<(u8, u16)>,
    letters: u8,
    writers: BTreeMap<u8, u64>,
    forgotten: BTreeSet<u8>,
    end: End,
}

fn step() -> impl Strategy<Value = Step> {
    let status = prop_oneof![Just(Status::Running), Just(Status::Stopped), Just(Status::Archived)];
    prop_oneof![
        12 => transaction().prop_map(|t| Step::Apply(Box::new(t))),
        2 => (0..EXPERIMENTS, status).prop_map(|(e, to)| Step::Become(e, to)),
        1 => (0..EXPERIMENTS).prop_map(Step::Delete),
    ]
}

fn transaction() -> impl Strategy<Value = Transaction> {
    let (users, keys) = (0..USERS.len(), 0..KEYS.len());
    let experiment = || 0..=i64::try_from(EXPERIMENTS).unwrap();
    let value = prop_oneof![any::<i64>(), -3_i64..3];
    let given = proptest::option::of(-1_000_000_i64..1_000_000);
    let conversion = (0..METRICS.len(), value, given);
    let end = prop_oneof![6 => Just(End::Commit), 1 => Just(End::Rollback), 1 => Just(End::Drop)];
    (
        (
            0..OWNERS,
            proptest::bool::weighted(0.1),
            proptest::bool::weighted(0.1),
            any::<bool>(),
            0..9_u64,
            end,
        ),
        btree_set(users.clone(), 0..5),
        (btree_set(users.clone(), 0..4), btree_set(experiment(), 0..3), btree_set(0..METRICS.len(), 0..3)),
        btree_map((users, experiment(), keys), conversion, 0..12),
        btree_map((0..EXPERIMENTS, -1..2_i16, any::<bool>()), 0..100_i64, 0..5),
        btree_map((experiment(), -1..2_i16, 0..NAMES.len()), 0..100_i64, 0..5),
        (btree_set((0..3_u8, 0..2_u16), 0..3), 0..2_u8),
        (btree_map(0..4_u8, 0..100_u64, 0..3), btree_set(0..4_u8, 0..2)),
    )
        .prop_map(
            |(
                (owner, stale, rewinds, later, accepted, end),
                users,
                history,
                conversions,
                moments,
                counters,
                (receipts, letters),
                (writers, forgotten),
            )| Transaction {
                owner,
                stale,
                rewinds,
                later,
                accepted,
                users,
                history,
                conversions,
                moments,
                counters,
                receipts,
                letters,
                writers,
                forgotten,
                end,
            },
        )
}

/// A database that is played to, with what its owners know.
struct Player {
    db: Db,
    experiments: Vec<Experiment>,
    owners: Vec<Owner>,
    entries: u64,
    /// All that was answered.
    heard: String,
}

impl Player {
    async fn new(backend: Backend) -> Player {
        let db = Db::new(backend).await;
        let mut experiments = Vec::new();
        for n in 0..EXPERIMENTS {
            experiments.push(db.experiment(&format!("e{n}")).await);
        }
        let mut owners = Vec::new();
        for partition in 0..OWNERS {
            owners.push(Owner::of(&*db, partition).await);
        }
        Player { db, experiments, owners, entries: 0, heard: String::new() }
    }

    fn hear(&mut self, what: &impl std::fmt::Debug) {
        writeln!(self.heard, "{what:?}").unwrap();
    }

    async fn play(&mut self, step: &Step) {
        match step {
            Step::Apply(transaction) => self.apply(transaction).await,
            Step::Become(e, to) => {
                let id = self.experiments[*e].id;
                let changed = self.db.set_status(TENANT, id, *to, ACTOR).await.unwrap();
                self.hear(&std::mem::discriminant(&changed));
            }
            Step::Delete(e) => {
                let deleted =
                    self.db.delete_experiment(TENANT, self.experiments[*e].id, ACTOR).await.unwrap();
                self.hear(&deleted);
                self.look_again().await;
            }
        }
    }

    async fn look_again(&mut self) {
        for owner in &mut self.owners {
            owner.state = owner.apply.load(owner.partition).await.unwrap();
        }
    }

    async fn apply(&mut self, t: &Transaction) {
        self.entries += 1;
        let to = format!("{}-0", self.entries);
        let owner = &mut self.owners[usize::from(t.owner)];
        let partition = owner.partition;
        let known = owner.advance(&to, t.accepted);
        let advance = Advance {
            day: if t.later { Day(known.day.0 + 1) } else { known.day },
            epoch: known.epoch + i64::from(t.stale),
            rewinds: t.rewinds,
            lost: t.accepted / 3,
            ..known
        };
        let ids: Vec<_> = t.users.iter().map(|u| unit_of(USERS[*u])).collect();
        let Some(mut loaded) = owner.apply.begin(&advance, &ids).await.unwrap() else {
            return self.hear(&"moved");
        };
        loaded.sort_by_key(|(id, _)| *id);

        let all: Vec<ExperimentId> = self.experiments.iter().map(|e| e.id).collect();
        let mut catalogue = owner.apply.experiments(partition, &all).await.unwrap();
        catalogue.moments.sort_by(|a, b| a.key.cmp(&b.key));
        let mut exist: Vec<_> = catalogue.experiments.iter().map(|e| (e.id, e.status, e.revision)).collect();
        exist.sort_by_key(|e| e.0);

        let of = HistoryOf {
            units: t.history.0.iter().map(|u| unit_of(USERS[*u])).collect(),
            experiments: t.history.1.iter().map(|e| ExperimentId(*e)).collect(),
            metrics: t.history.2.iter().map(|m| METRICS[*m]).collect(),
        };
        let conversions: Vec<_> = t
            .conversions
            .iter()
            .map(|((user, experiment, key), (metric, value, given))| NewConversion {
                experiment: ExperimentId(*experiment),
                metric: METRICS[*metric],
                occurred_given: given.map(Timestamp),
                ..conversion(USERS[*user], KEYS[*key], *value)
            })
            // Not in key order.
            .rev()
            .collect();
        let (mut past, outcomes) = owner.apply.record(advance.day, &of, &conversions).await.unwrap();
        past.sort_by_key(|p| (p.unit, p.experiment, p.metric.clone(), p.value.0, p.occurred_at));

        let sums: Vec<_> = t
            .moments
            .iter()
            .filter(|((e, ..), _)| exist.iter().any(|(id, ..)| *id == self.experiments[*e].id))
            .map(|((e, variation, gold), users)| {
                let experiment = &self.experiments[*e];
                let stratum = if *gold { "gold" } else { "" };
                (key(experiment, partition, *variation, stratum), moments(&experiment.plan(), *users))
            })
            .collect();
        let e = &self.experiments[0];
        let day = Day(TODAY.0 + i32::try_from(self.entries).unwrap());
        let state = |id| {
            let mut unit = enrolled(e, day);
            unit.has_conversions = conversions.iter().any(|c| c.unit == id);
            encode_unit(&unit)
        };
        let here = |id| loaded.iter().any(|(known, _)| *known == id);
        let changes = Changes {
            new_units: t
                .users
                .iter()
                .map(|u| (unit_of(USERS[*u]), USERS[*u]))
                .filter(|(id, _)| !here(*id))
                .map(|(id, user_id)| NewUnit { id, tenant: TENANT, user_id, state: state(id) })
                .collect(),
            changed_units: ids.iter().filter(|id| here(**id)).map(|id| (*id, state(*id))).collect(),
            moments: sums
                .iter()
                .map(|(k, moments)| MomentsRow {
                    key: k.clone(),
                    day,
                    moments,
                    is_new: !catalogue.moments.iter().any(|row| row.key == *k),
                })
                .collect(),
            counters: t
                .counters
                .iter()
                .map(|((experiment, variation, name), n)| Count {
                    tenant: TENANT,
                    experiment: ExperimentId(*experiment),
                    variation: *variation,
                    name: NAMES[*name],
                    n: *n,
                })
                .collect(),
            rebuilds: Vec::new(),
            erased: None,
            receipts: t.receipts.iter().map(|(batch, part)| receipt(*batch, *part, self.entries)).collect(),
            dead_letters: (0..t.letters).map(|n| letter(&to, n)).collect(),
            losses: Vec::new(),
            writers: t
                .writers
                .iter()
                .map(|(n, total)| WriterRow { writer: writer(*n), number: 1, total: *total, seen_ms: 0 })
                .collect(),
            forgotten: t
                .forgotten
                .iter()
                .filter(|n| !t.writers.contains_key(n))
                .map(|n| writer(*n))
                .collect(),
        };
        owner.apply.write(&advance, &changes).await.unwrap();
        match t.end {
            End::Commit => owner.apply.commit().await.unwrap(),
            End::Rollback => owner.apply.rollback().await.unwrap(),
            End::Drop => owner.apply = self.db.connect().await.unwrap(),
        }
        owner.state = owner.apply.load(partition).await.unwrap();
        let state = owner.state.clone();
        self.hear(&(loaded, exist, catalogue.moments, past, outcomes));
        self.hear(&(state.epoch, state.position, state.day));
    }

    /// Everything that can be read, instants of the database's own clock apart.
    async fn reads(&mut self) {
        let all = Partition(0).unit_range(1);
        let units = self.db.units(all, None, 100).await.unwrap();
        let conversions = self.db.conversions(all.0, all.1).await.unwrap();
        self.hear(&(units, conversions));
        for e in self.experiments.clone() {
            let mut days = vec![None];
            days.extend((0..40).map(|n| Some(Day(TODAY.0 + n))));
            for as_of in days {
                let mut answer = self.db.answer(&e, as_of).await.unwrap();
                answer.sort_by(|a, b| a.key.cmp(&b.key));
                self.hear(&answer);
            }
            let rows = self.db.moments_rows(e.id, e.plan_version).await.unwrap();
            let counters = self.db.counters(TENANT, Some(e.id), None).await.unwrap();
            self.hear(&(rows, counters));
        }
        let listed = self.db.list_experiments(TENANT, listing(ExperimentId(0), 10)).await.unwrap();
        let listed: Vec<_> = listed
            .into_iter()
            .map(|e| (e.id, e.key, e.status, e.revision, e.started_at.is_some(), e.stopped_at.is_some()))
            .collect();
        let counters = self.db.counters(TENANT, None, None).await.unwrap();
        let accounts = self.db.accounting().await.unwrap();
        self.hear(&(listed, counters, accounts));
        for n in 0..3 {
            let parts = self.db.receipt(TENANT, batch(n), None).await.unwrap();
            self.hear(&parts);
        }
        let letters = self.db.texts("SELECT entry || ' ' || detail FROM dead_letters ORDER BY id").await;
        self.hear(&letters);
    }
}

fn batch(n: u8) -> BatchId {
    BatchId(Uuid::from_u128(n.into()))
}

fn writer(n: u8) -> Uuid {
    Uuid::from_u128(1 << (8 * n))
}

fn receipt(n: u8, part: u16, recorded: u64) -> NewReceipt<'static> {
    let (deduplicated, conflicts, dead_lettered) = (0, 0, 0);
    let (batch, request_id) = (batch(n), "r");
    NewReceipt {
        tenant: TENANT,
        batch,
        request_id,
        part,
        parts: 2,
        recorded,
        deduplicated,
        conflicts,
        dead_lettered,
    }
}

fn letter(entry: &str, n: u8) -> DeadLetter<'static> {
    DeadLetter {
        tenant: TENANT,
        experiment: ExperimentId::NONE,
        entry: entry.into(),
        batch: None,
        request_id: None,
        reason: "overflow",
        detail: n.to_string(),
        events: 1,
        payload: b"{}".as_slice().into(),
        digest: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn both_databases_say_the_same(steps in vec(step(), 1..25)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let heard = runtime.block_on(async {
            let mut heard = Vec::new();
            for backend in [Backend::Postgres, Backend::Sqlite] {
                let mut player = Player::new(backend).await;
                for step in &steps {
                    player.play(step).await;
                }
                player.reads().await;
                heard.push(player.heard);
            }
            heard
        });
        for (postgres, sqlite) in heard[0].lines().zip(heard[1].lines()) {
            prop_assert_eq!(postgres, sqlite);
        }
        prop_assert_eq!(heard[0].len(), heard[1].len());
    }
}
