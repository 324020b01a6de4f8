//! What is older than it is kept is deleted, or counted: asked for here, done by the owners of the partitions, a little
//! at a time.

use serde::{Deserialize, Serialize};
use service::http::{Problem, Request, Response, StatusCode};
use store::{Kept, Purge, PurgeOf};

use crate::answer::{Parameters, actor, json, storage};
use crate::app::Analyzer;

/// As AB_RETENTION_* may be.
const DAYS_MAX: u32 = 36_600;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    conversions_days: Option<u32>,
    dead_letters_days: Option<u32>,
    audit_days: Option<u32>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Answer {
    dry_run: bool,
    asked_at: String,
    /// Null: none of these were asked for.
    conversions: Option<Of>,
    dead_letters: Option<Of>,
    audit: Option<Of>,
    done_partitions: u16,
    partitions: u16,
    done: bool,
}

#[derive(Serialize)]
struct Of {
    before: String,
    rows: u64,
}

impl Body {
    /// A kind that is not named is kept as configured, unless any is named: then it stays.
    fn kept(&self, configured: Kept) -> Result<Kept, Problem> {
        let asked = Kept {
            conversions: self.conversions_days,
            dead_letters: self.dead_letters_days,
            audit: self.audit_days,
        };
        let kept = if asked.is_everything() { configured } else { asked };
        let days = [kept.conversions, kept.dead_letters, kept.audit];
        if days.into_iter().flatten().any(|days| !(1..=DAYS_MAX).contains(&days)) {
            let detail = format!("days must be from 1 to {DAYS_MAX}");
            return Err(Problem::unprocessable("invalid_retention", detail));
        }
        if kept.is_everything() {
            let detail = "say how many days to keep: conversions_days, dead_letters_days or audit_days; \
                          AB_RETENTION_* say nothing";
            return Err(Problem::unprocessable("invalid_retention", detail));
        }
        Ok(kept)
    }
}

pub async fn post(app: &Analyzer, mut request: Request) -> Result<Response, Problem> {
    Parameters::of(&request, &[])?;
    let body: Body = json(&mut request, "invalid_body").await?;
    let kept = body.kept(app.kept)?;
    let (tenant, actor) = (&request.principal().tenant, actor(&request));
    let purge = app.store.purge(tenant, kept, body.dry_run, app.partitions, actor).await.map_err(storage)?;
    Response::json(StatusCode::ACCEPTED, &Answer::of(&purge))
}

pub async fn get(app: &Analyzer, request: &Request) -> Result<Response, Problem> {
    let parameters = Parameters::of(request, &["dry_run"])?;
    let dry_run = parameters.parsed("dry_run", "must be true or false", |text| text.parse().ok())?;
    let purge = app.store.last_purge(dry_run.unwrap_or(false)).await.map_err(storage)?;
    let purge = purge.ok_or_else(|| Problem::not_found("no_purge", "no purge was asked for yet"))?;
    Response::json(StatusCode::OK, &Answer::of(&purge))
}

impl Answer {
    fn of(p: &Purge) -> Answer {
        let of = |of: Option<PurgeOf>| of.map(|of| Of { before: of.before.to_string(), rows: of.rows });
        Answer {
            dry_run: p.dry_run,
            asked_at: p.asked_at.to_string(),
            conversions: of(p.conversions),
            dead_letters: of(p.dead_letters),
            audit: of(p.audit),
            done_partitions: p.done_partitions,
            partitions: p.partitions,
            done: p.done_partitions == p.partitions,
        }
    }
}
