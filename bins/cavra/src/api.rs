//! `cavra api`.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use cavra_app::system::{SystemClock, SystemIds};
use cavra_app::{App, Settings};
use cavra_domain::id::IdSource;
use cavra_domain::time::Clock;
use cavra_http::{Limits, ServeOptions, ServerInfo};
use cavra_storage::sqlite::SqliteStore;
use tracing_subscriber::EnvFilter;

use crate::arguments::{Api, LogFormat};
use crate::evidence;
use crate::options::{Options, options};

pub(crate) fn run(api: Api) -> anyhow::Result<ExitCode> {
    let options = options(api)?;
    log(&options)?;
    let listener = cavra_http::bind(options.listen)?;
    let store = Arc::new(SqliteStore::open(&options.database)?);
    let (clock, ids): (Arc<dyn Clock>, Arc<dyn IdSource>) =
        (Arc::new(SystemClock), Arc::new(SystemIds::default()));
    let settings = Settings {
        schedules: options.schedules.clone(),
        signer: options.signer.map(Arc::new),
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
