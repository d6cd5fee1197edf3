//! Options of `cavra api`: the command line goes before the environment, both before the file, all before the
//! defaults.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use cavra_app::plan::ScheduleSettings;
use cavra_domain::schedule::{Days, Mode};
use serde::Deserialize;

use crate::arguments::{Api, LogFormat};

/// The file's options; unknown ones are refused.
#[expect(
    clippy::struct_field_names,
    reason = "fields are named like the options, and one of those is a file"
)]
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Option<SocketAddr>,
    database: Option<PathBuf>,
    import: Option<Vec<PathBuf>>,
    schedule: Option<Vec<PathBuf>>,
    drill_history: Option<PathBuf>,
    backend_mode: Option<String>,
    due_soon_days: Option<f64>,
    history_max_age_days: Option<f64>,
    cors_origins: Option<Vec<String>>,
    public_api_base_url: Option<String>,
    allowed_hosts: Option<Vec<String>>,
    oidc_config: Option<PathBuf>,
    rbac_file: Option<PathBuf>,
    anonymous_read: Option<bool>,
    workers: Option<usize>,
    log: Option<String>,
    log_format: Option<LogFormat>,
}

/// What `cavra api` runs with.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) listen: SocketAddr,
    pub(crate) database: PathBuf,
    pub(crate) import: Vec<PathBuf>,
    pub(crate) schedules: ScheduleSettings,
    pub(crate) cors_origins: Vec<String>,
    pub(crate) public_api_base_url: String,
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) oidc_config: Option<PathBuf>,
    pub(crate) rbac_file: Option<PathBuf>,
    pub(crate) anonymous_read: bool,
    pub(crate) workers: usize,
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,
}

pub(crate) fn options(api: Api) -> anyhow::Result<Options> {
    let file = api
        .config
        .as_deref()
        .map(read_file)
        .transpose()?
        .unwrap_or_default();
    let list = |given: Vec<PathBuf>, file: Option<Vec<PathBuf>>| {
        if given.is_empty() {
            file.unwrap_or_default()
        } else {
            given
        }
    };
    let names = |given: Vec<String>, file: Option<Vec<String>>| {
        let names = if given.is_empty() {
            file.unwrap_or_default()
        } else {
            given
        };
        names
            .into_iter()
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect()
    };
    // As published, an empty name is none.
    let path_of = |given: Option<OsString>, file: Option<PathBuf>| {
        let path = given.map(PathBuf::from).or(file);
        path.filter(|path| !path.as_os_str().is_empty())
    };
    let defaults = ScheduleSettings::default();
    let workers = api
        .workers
        .or(file.workers)
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from));
    if workers == 0 {
        bail!("`workers` must be at least 1");
    }
    Ok(Options {
        listen: api
            .listen
            .or(file.listen)
            .unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 8000))),
        database: api
            .database
            .or(file.database)
            .unwrap_or_else(|| PathBuf::from("cavra.db")),
        import: list(api.import, file.import),
        schedules: ScheduleSettings {
            files: list(api.schedules, file.schedule),
            history: api.drill_history.or(file.drill_history),
            mode: mode(api.backend_mode.or(file.backend_mode).as_deref())?,
            due_soon_days: days(
                "due_soon_days",
                api.due_soon_days.or(file.due_soon_days),
                defaults.due_soon_days,
            )?,
            history_max_age_days: days(
                "history_max_age_days",
                api.history_max_age_days.or(file.history_max_age_days),
                defaults.history_max_age_days,
            )?,
        },
        cors_origins: names(api.cors_origins, file.cors_origins),
        public_api_base_url: api
            .public_api_base_url
            .or(file.public_api_base_url)
            .unwrap_or_default(),
        allowed_hosts: names(api.allowed_hosts, file.allowed_hosts),
        oidc_config: path_of(api.oidc_config, file.oidc_config),
        rbac_file: path_of(api.rbac_file, file.rbac_file),
        anonymous_read: api.anonymous_read.or(file.anonymous_read).unwrap_or(false),
        workers,
        log: api.log.or(file.log).unwrap_or_else(|| "info".to_owned()),
        log_format: api.log_format.or(file.log_format).unwrap_or(LogFormat::Text),
    })
}

fn read_file(path: &Path) -> anyhow::Result<File> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    toml::from_str(&text).with_context(|| format!("`{}` is not a valid configuration", path.display()))
}

fn days(name: &str, given: Option<f64>, default: Days) -> anyhow::Result<Days> {
    match given {
        None => Ok(default),
        Some(days) => Days::parse(days).with_context(|| format!("`{name}` must be a number of days")),
    }
}

/// The published system takes an unknown mode for `disabled`; a misspelt option is better refused.
fn mode(given: Option<&str>) -> anyhow::Result<Mode> {
    match given.filter(|mode| !mode.trim().is_empty()) {
        None => Ok(Mode::Disabled),
        Some(mode) => Mode::parse(mode)
            .with_context(|| "`backend_mode` must be disabled, shadow, enforce or promoted".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_option_in_the_file_is_refused_by_name() {
        let error = toml::from_str::<File>("lissten = \"127.0.0.1:1\"").unwrap_err();
        assert!(error.to_string().contains("lissten"), "{error}");
    }

    #[test]
    fn every_option_can_stand_in_the_file() {
        let file: File = toml::from_str(
            "listen = \"127.0.0.1:1\"\ndatabase = \"x.db\"\nimport = [\"a\"]\nschedule = [\"b\"]\ndrill_history = \"c\"\n\
             backend_mode = \"promoted\"\ndue_soon_days = 1.5\nhistory_max_age_days = 2.0\ncors_origins = [\"https://d\"]\n\
             public_api_base_url = \"https://e\"\nallowed_hosts = [\"f\"]\noidc_config = \"g\"\n\
             rbac_file = \"h\"\nanonymous_read = true\nworkers = 3\nlog = \"warn\"\nlog_format = \"json\"",
        )
        .unwrap();
        assert_eq!((file.workers, file.log_format), (Some(3), Some(LogFormat::Json)));
    }
}
