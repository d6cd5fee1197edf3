//! `cavra api`.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use cavra_app::system::{SystemClock, SystemIds};
use cavra_app::{App, Settings};
use cavra_domain::id::IdSource;
use cavra_domain::time::Clock;
use cavra_http::{Limits, ServeOptions, ServerInfo};
use cavra_rbac::{Access, Guard};
use cavra_storage::sqlite::SqliteStore;
use tracing_subscriber::EnvFilter;

use crate::arguments::{Api, LogFormat};
use crate::evidence;
use crate::options::{Options, options};

pub(crate) fn run(api: Api) -> anyhow::Result<ExitCode> {
    let options = options(api)?;
    log(&options)?;
    let (clock, ids): (Arc<dyn Clock>, Arc<dyn IdSource>) =
        (Arc::new(SystemClock), Arc::new(SystemIds::default()));
    let access = access(&options, &clock)?;
    let listener = cavra_http::bind(options.listen, &access)?;
    let store = Arc::new(SqliteStore::open(&options.database)?);
    let settings = Settings {
        schedules: options.schedules.clone(),
        ..Settings::default()
    };
    let app = App::new(store, Arc::clone(&clock), Arc::clone(&ids), settings);
    if !options.import.is_empty() {
        let code = evidence::import_into(&app, &options.import, false)?;
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
    }
    let info = ServerInfo {
        api_base_url: options.public_api_base_url,
        metadata_mode: "sqlite",
        cors_origins: options.cors_origins,
        hosts: std::collections::BTreeSet::new(),
        ids,
        clock,
        access,
    };
    let serve = ServeOptions {
        workers: options.workers,
        limits: Limits::default(),
        allowed_hosts: options.allowed_hosts,
    };
    actix_web::rt::System::new().block_on(async move {
        let listening = cavra_http::serve(app, info, &serve, listener)?;
        let served = listening
            .run_until_stopped(|address| writeln!(std::io::stdout(), "listening on http://{address}"))
            .await;
        served.context("the server failed")
    })?;
    Ok(ExitCode::SUCCESS)
}

/// How callers are known. What is configured and cannot be honoured stops the start: nothing runs open by mistake.
fn access(options: &Options, clock: &Arc<dyn Clock>) -> anyhow::Result<Access> {
    match (&options.oidc_config, &options.rbac_file) {
        (None, None) if options.anonymous_read => {
            bail!(
                "`anonymous_read` means nothing without an identity provider: set CAVRA_APPROVAL_OIDC_CONFIG as well"
            )
        }
        (None, None) => Ok(Access::OpenLocal),
        (None, Some(_)) => bail!(
            "`CAVRA_APPROVAL_RBAC_FILE` is set without `CAVRA_APPROVAL_OIDC_CONFIG`: there would be rights, and nobody \
             who could prove to have them"
        ),
        (Some(oidc), rbac) => {
            let guard = Guard::load(oidc, rbac.as_deref(), options.anonymous_read, Arc::clone(clock))
                .context("identity is not configured rightly, and the service does not run open instead")?;
            Ok(Access::Identity(Arc::new(guard)))
        }
    }
}

fn log(options: &Options) -> anyhow::Result<()> {
    let filter = EnvFilter::builder()
        .parse(&options.log)
        .context("`log` is not a filter such as `info`")?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match options.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}
