//! Notification plans: a schedule that is due becomes routes. Nothing is sent (contract decisions 2, 4).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cavra_domain::actor::Actor;
use cavra_domain::id::PlanId;
use cavra_domain::id::ScheduleId;
use cavra_domain::public_safe::{Field, Text};
use cavra_domain::schedule::{
    DUE_SOON_DEFAULT, Days, HISTORY_MAX_AGE_DEFAULT, Mode, NotificationPlan, PlanRequest, RequestedProviders,
    RoutingPolicy, ScheduleError, ScheduleReport, build_plan,
};
use cavra_domain::time::Timestamp;
use cavra_storage::StorageError;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::{App, AppError, append_own, transaction_time};

/// Where schedules come from when a request brings none, and how they are judged (contract wire 1.2).
#[derive(Debug, Clone)]
pub struct ScheduleSettings {
    /// Schedule files, read at every use.
    pub files: Vec<PathBuf>,
    /// The drill history, read at every use.
    pub history: Option<PathBuf>,
    /// How far the pilot is.
    pub mode: Mode,
    /// A drill that is due within so many days is due soon.
    pub due_soon_days: Days,
    /// A last drill within so many days is fresh.
    pub history_max_age_days: Days,
}

impl Default for ScheduleSettings {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            history: None,
            mode: Mode::Disabled,
            due_soon_days: DUE_SOON_DEFAULT,
            history_max_age_days: HISTORY_MAX_AGE_DEFAULT,
        }
    }
}

/// A plan to make.
#[derive(Debug, Clone)]
pub struct Deliver {
    /// The schedule; none for a configured one.
    pub schedule: Option<Value>,
    /// Which configured schedule; none for the only one.
    pub schedule_id: Option<ScheduleId>,
    /// The routing policy.
    pub routing_policy: Option<Value>,
    /// Which providers.
    pub requested: RequestedProviders,
    /// Notify although nothing is due.
    pub force: bool,
    /// Who asks.
    pub actor: Actor,
}

/// A plan that was made, or the one that says the same already.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Delivered {
    /// The report about the schedule.
    pub schedule: ScheduleReport,
    /// The plan.
    #[schemars(with = "NotificationPlan")]
    pub plan: Value,
    /// Always null: this service sends nothing.
    pub delivery: Option<Value>,
    /// The plan's evidence record.
    pub plan_metadata: Value,
    /// Always null: there is no delivery to record.
    pub metadata: Option<Value>,
    /// Always true: the plan is stored.
    pub success: bool,
    /// The schedule.
    pub event_id: String,
    /// Whether the schedule's current plan says the same, so that it was kept and no clock was reset.
    pub resent: bool,
    /// Who asked.
    pub actor: Actor,
}

/// The report about a configured schedule.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ConfiguredSchedule {
    /// The report.
    #[serde(flatten)]
    pub report: ScheduleReport,
    /// Every configured schedule, by the id in its file.
    pub configured_schedule_ids: Vec<String>,
}

impl App {
    /// The report about a configured schedule: the named one, else the first.
    ///
    /// # Errors
    /// [`AppError::Unknown`] when no file has that id, [`AppError::ScheduleFile`] when a file cannot be read.
    pub fn schedule_report(&self, schedule_id: Option<&ScheduleId>) -> Result<ConfiguredSchedule, AppError> {
        let files = self.schedule_files()?;
        let configured_schedule_ids = files.iter().map(|file| file.id().to_owned()).collect();
        let chosen = match schedule_id {
            None => files.first(),
            Some(wanted) => Some(
                files
                    .iter()
                    .find(|file| file.id() == wanted.as_str())
                    .ok_or_else(|| AppError::Unknown {
                        what: "configured schedule",
                        id: wanted.to_string(),
                    })?,
            ),
        };
        let report = self.report(
            chosen.map(|file| &file.content),
            chosen.map(|file| file.path.as_path()),
            self.now(),
        )?;
        Ok(ConfiguredSchedule {
            report,
            configured_schedule_ids,
        })
    }

    /// Makes and stores a notification plan. A plan that says what the schedule's current one says is not made
    /// again: sending it twice neither begins a new cycle nor resets a clock (contract decisions 3).
    ///
    /// # Errors
    /// [`AppError::Schedule`] when schedule or policy cannot be used, [`AppError::NoSchedule`] and
    /// [`AppError::Unknown`] when there is no such schedule; nothing is stored then.
    pub fn deliver(&self, command: Deliver) -> Result<Delivered, AppError> {
        let (schedule, path) = match command.schedule {
            Some(schedule) => (schedule, None),
            None => self.configured(command.schedule_id.as_ref())?,
        };
        let (app, ids) = (self.clone(), Arc::clone(&self.ids));
        self.writing(move |tx| {
            let at = transaction_time(app.clock.as_ref(), tx.state())?;
            let report = app.report(Some(&schedule), path.as_deref(), at)?;
            let policy = RoutingPolicy::parse(command.routing_policy.as_ref(), &report.schedule)?;
            let plan = build_plan(&PlanRequest {
                report: &report,
                policy: &policy,
                requested: &command.requested,
                force: command.force,
                plan_id: PlanId::from_uuid(ids.next(at)),
                generated_at: at,
                actor: command.actor.clone(),
            })?;
            let record = plan.record().into_value();
            let event_id = plan.schedule_id.to_string();
            let same = tx
                .state()
                .current_plan(&plan.schedule_id)?
                .filter(|current| hex(&current.content_key) == plan.content_key());
            let resent = same.is_some();
            let plan_metadata = if let Some(current) = same {
                let stored = tx.state().record(current.plan_id.as_str())?.ok_or_else(|| {
                    StorageError::Corrupt(format!("the plan `{}` has no record", current.plan_id))
                })?;
                serde_json::from_str(&stored.json)
                    .map_err(|_| StorageError::Corrupt(format!("record {} is not JSON", stored.position)))?
            } else {
                append_own(tx, &record, at)?;
                record
            };
            Ok(Delivered {
                schedule: report,
                plan: plan_metadata.get("plan").cloned().unwrap_or(Value::Null),
                delivery: None,
                plan_metadata,
                metadata: None,
                success: true,
                event_id,
                resent,
                actor: command.actor,
            })
        })
    }

    fn report(
        &self,
        schedule: Option<&Value>,
        path: Option<&Path>,
        now: Timestamp,
    ) -> Result<ScheduleReport, AppError> {
        let settings = &self.settings.schedules;
        let history = settings.history.as_deref().map(read_object).transpose()?;
        // Only the file's name: a caller learns nothing of the machine's folders.
        let name = path
            .and_then(Path::file_name)
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let settings = cavra_domain::schedule::ScheduleSettings {
            mode: settings.mode,
            schedule_path: Text::parse(Field::line("rollback_drill_schedule_path", 300), &name)
                .map_err(ScheduleError::from)?,
            due_soon_days: settings.due_soon_days,
            history_max_age_days: settings.history_max_age_days,
        };
        Ok(ScheduleReport::build(schedule, history.as_ref(), &settings, now)?)
    }

    fn schedule_files(&self) -> Result<Vec<ScheduleFile>, AppError> {
        let read = |path: &PathBuf| {
            Ok(ScheduleFile {
                path: path.clone(),
                content: read_object(path)?,
            })
        };
        self.settings.schedules.files.iter().map(read).collect()
    }

    fn configured(&self, schedule_id: Option<&ScheduleId>) -> Result<(Value, Option<PathBuf>), AppError> {
        let mut files = self.schedule_files()?;
        match schedule_id {
            Some(wanted) => files.retain(|file| file.id() == wanted.as_str()),
            // With several schedules the request has to say which it means.
            None if files.len() > 1 => {
                let ids: Vec<&str> = files.iter().map(ScheduleFile::id).collect();
                return Err(AppError::WhichSchedule(ids.join(", ")));
            }
            None => {}
        }
        match (files.into_iter().next(), schedule_id) {
            (Some(file), _) => Ok((file.content, Some(file.path))),
            (None, Some(wanted)) => Err(AppError::Unknown {
                what: "configured schedule",
                id: wanted.to_string(),
            }),
            (None, None) => Err(AppError::NoSchedule),
        }
    }
}

struct ScheduleFile {
    path: PathBuf,
    content: Value,
}

impl ScheduleFile {
    fn id(&self) -> &str {
        self.content
            .get("schedule_id")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .trim()
    }
}

fn read_object(path: &Path) -> Result<Value, AppError> {
    let name = || {
        path.file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    let bytes = std::fs::read(path).map_err(|_| AppError::ScheduleFile(name()))?;
    cavra_evidence::strict::parse(&bytes)
        .ok()
        .filter(|value| value.is_object() || value.is_array())
        .ok_or_else(|| AppError::ScheduleFile(name()))
}

fn hex(bytes: &[u8; 32]) -> String {
    cavra_evidence::digest::Digest::from_bytes(*bytes).to_hex()
}
