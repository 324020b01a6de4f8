//! `abctl migrate-store`: from the SQLite file of `abctl up` into an empty PostgreSQL, where the three tiers go on.
//!
//! Every row of every table is copied ([`store::moving`]). The sums are recomputed from the raw rows, for PostgreSQL has
//! more partitions; those of experiments whose raw rows are purged are added up. Before anything is committed they are
//! held against those that SQLite kept, at the end of every day: either both databases give the same answers, as of
//! every day, or nothing has moved.

use crate::output;
use crate::up::Directory;
use crate::verify::recompute::Recomputation;
use crate::verify::{RawRows, VerifyError, dated, read_all};
use anyhow::{Context, Result, bail};
use clap::Args;
use domain::{Day, Moments, Overflow, Partition, Plan};
use service::settings::{Refusal, Settings};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use store::moving::Table;
use store::postgres::{Import, PgStore};
use store::sqlite::SqliteStore;
use store::{Answers, ArmRow, Experiment, Experiments, MomentsKey, StoreError, Upkeep};

/// Rows of one slice of a table.
const SLICE: u32 = 5_000;
/// Of a deployment that is not told (`AB_PARTITIONS`).
const PARTITIONS: u16 = 16;
const CONNECTIONS: usize = 2;
/// Differences shown to people; `--json` has all.
const SHOWN: usize = 20;

/// Move what `abctl up` has kept into an empty PostgreSQL (AB_DATABASE_URL).
///
/// Everything that was acknowledged is there afterwards, keys, webhooks and the audit log too, and all answers are the
/// same: otherwise nothing is moved.
#[derive(Args)]
pub struct MigrateStore {
    /// Directory of `abctl up`, which must not run.
    #[arg(long, default_value = "abstream-data", value_name = "DIR")]
    from: PathBuf,
}

/// What was moved.
#[derive(Debug, Default, serde::Serialize)]
pub struct Moved {
    pub experiments: usize,
    pub units: u64,
    pub conversions: u64,
    /// Rows of sums, and answers (experiment, arm and day) that were compared.
    pub moments: usize,
    pub answers: usize,
    pub partitions: u16,
    /// Why nothing was moved: answers that would differ.
    pub differences: Vec<String>,
}

impl MigrateStore {
    /// Whether it was moved.
    pub async fn run(&self, settings: &Settings, json: bool) -> Result<bool> {
        let file = self.from.join(backends::DATABASE_FILE);
        if !file.is_file() {
            bail!(Refusal::new("--from", format!("{} has no database of `abctl up`", self.from.display())));
        }
        // Nobody writes while it is held.
        let _held = Directory::hold(&self.from)?;
        let source = SqliteStore::connect(&file).await.context(file.display().to_string())?;
        let url = settings.database_url()?;
        let target = async {
            let target = PgStore::connect(url.expose(), CONNECTIONS).await?;
            target.migrate().await?;
            let partitions = settings.queue.partitions.unwrap_or(PARTITIONS);
            target.check(partitions).await?;
            Ok::<_, StoreError>((target.import().await?, partitions))
        };
        let (import, partitions) = target.await.with_context(|| url.to_string())?;
        let moved = carry(&source, import, partitions).await?;
        if json {
            output::json(&moved)?;
        } else {
            output::lines(&moved.lines())?;
        }
        Ok(moved.differences.is_empty())
    }
}

/// Copies, compares, and commits if nothing differs.
async fn carry(source: &SqliteStore, import: Import, partitions: u16) -> Result<Moved> {
    let recorded = source.partitions().await?.context("no deployment has used this database yet")?;
    source.check(recorded).await?;
    for table in Table::ALL {
        let mut offset = 0;
        while let Some(rows) = source.export(table, SLICE, offset).await? {
            import.rows(table, &rows).await?;
            offset += u64::from(SLICE);
        }
    }
    let experiments = source.kept_experiments().await?;
    if let Some(e) = experiments.iter().find(|e| e.rebuild.is_some()) {
        bail!("the sums of experiment {} are being rebuilt: move when abctl up has done that", e.key);
    }
    let (sealed, counted): (Vec<_>, Vec<_>) = experiments.iter().partition(|e| e.purged_at.is_some());
    let plans: Vec<Plan> = counted.into_iter().map(Experiment::plan).collect();
    let mut sums: Vec<Recomputation<'_>> = plans.iter().map(Recomputation::new).collect();
    let shown = source.all_experiments().await?.len();
    let mut moved = Moved { experiments: shown, partitions, ..Moved::default() };
    read_all(source, partitions, &mut async |partition, rows: &RawRows| {
        let mut conversions = Vec::with_capacity(rows.conversions.len());
        for unit in &rows.units {
            let own: Vec<_> = rows.conversions_of(unit.id).collect();
            let dated: Vec<_> = own.iter().map(|c| dated(c)).collect();
            for sum in &mut sums {
                sum.add(partition, &unit.user_id, &unit.unit, &dated)?;
            }
            conversions.extend(own.into_iter().map(|c| (unit.tenant.as_str(), c)));
        }
        moved
            .differences
            .extend(rows.orphans.iter().map(|unit| format!("conversions of unit {unit:?} without the unit")));
        moved.units += rows.units.len() as u64;
        moved.conversions += conversions.len() as u64;
        import.units(&rows.units).await?;
        import.conversions(&conversions).await?;
        Ok::<_, VerifyError>(())
    })
    .await?;
    for (plan, sum) in plans.iter().zip(sums) {
        let kept = source.moments_rows(plan.experiment, plan.version).await?;
        let (rows, differences) = sum.rows()?;
        moved
            .differences
            .extend(differences.into_iter().map(|d| format!("{}: {} and {}", d.at, d.stored, d.recomputed)));
        moved.answers += compare(&kept, &rows, &mut moved.differences)?;
        moved.moments += rows.len();
        import.moments(&rows).await?;
    }
    for experiment in sealed {
        let kept = source.moments_rows(experiment.id, experiment.plan_version).await?;
        let rows = added_up(experiment, &kept)?;
        moved.answers += compare(&kept, &rows, &mut moved.differences)?;
        moved.moments += rows.len();
        import.moments(&rows).await?;
    }
    if moved.differences.is_empty() {
        import.finish(partitions, source.stood().await?).await?;
    }
    Ok(moved)
}

/// The sums of an arm over all partitions, by the day at whose end they were.
type Arm = (i16, String, u16);

/// Holds the answers that two sets of rows give against each other, as of every day on which either changed; returns
/// how many were compared.
fn compare(kept: &[ArmRow], rows: &[ArmRow], differences: &mut Vec<String>) -> Result<usize, Overflow> {
    let (kept, new) = (by_day(kept), by_day(rows));
    let days: BTreeSet<Day> =
        kept.values().chain(new.values()).flat_map(|of| of.keys().map(|k| k.1)).collect();
    let arms: BTreeSet<&Arm> = kept.keys().chain(new.keys()).collect();
    let mut compared = 0;
    for arm in arms {
        for day in &days {
            let (a, b) = (as_of(kept.get(arm), *day)?, as_of(new.get(arm), *day)?);
            compared += 1;
            if !a.same(&b) {
                differences
                    .push(format!("variation {} stratum {:?} phase {} as of {day}", arm.0, arm.1, arm.2));
            }
        }
    }
    Ok(compared)
}

fn by_day(rows: &[ArmRow]) -> BTreeMap<Arm, BTreeMap<(Partition, Day), &Moments>> {
    let mut arms: BTreeMap<Arm, BTreeMap<(Partition, Day), &Moments>> = BTreeMap::new();
    for ArmRow { key, day, moments } in rows {
        let arm = (key.variation, key.stratum.clone(), key.phase);
        arms.entry(arm).or_default().insert((key.partition, *day), moments);
    }
    arms
}

/// The rows of all partitions as rows of the first one.
fn added_up(experiment: &Experiment, kept: &[ArmRow]) -> Result<Vec<ArmRow>, Overflow> {
    let mut rows = Vec::new();
    for ((variation, stratum, phase), of) in by_day(kept) {
        for day in of.keys().map(|(_, day)| *day).collect::<BTreeSet<_>>() {
            let (experiment, plan_version) = (experiment.id, experiment.plan_version);
            let (partition, stratum) = (Partition(0), stratum.clone());
            let key = MomentsKey { experiment, plan_version, partition, variation, stratum, phase };
            rows.push(ArmRow { key, day, moments: as_of(Some(&of), day)? });
        }
    }
    Ok(rows)
}

/// The last row of each partition up to a day, added up.
fn as_of(rows: Option<&BTreeMap<(Partition, Day), &Moments>>, day: Day) -> Result<Moments, Overflow> {
    let mut last: BTreeMap<Partition, &Moments> = BTreeMap::new();
    for ((partition, at), moments) in rows.into_iter().flatten() {
        if *at <= day {
            last.insert(*partition, moments);
        }
    }
    let mut total = Moments::default();
    last.values().try_for_each(|moments| total.add(moments))?;
    Ok(total)
}

impl Moved {
    fn lines(&self) -> Vec<String> {
        let Moved { experiments, units, conversions, moments, answers, partitions, differences } = self;
        if !differences.is_empty() {
            let mut lines: Vec<String> =
                differences.iter().take(SHOWN).map(|d| format!("differs: {d}")).collect();
            lines.push(format!(
                "migrate-store: nothing was moved, {} answers would differ",
                differences.len()
            ));
            return lines;
        }
        vec![format!(
            "migrate-store: moved (experiments={experiments}, units={units}, conversions={conversions}, \
             rows={moments}, partitions={partitions}), answers compared: {answers}, all equal"
        )]
    }
}
