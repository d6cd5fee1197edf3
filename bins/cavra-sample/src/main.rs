//! `cavra-sample`: the HTTP surface on seeded data in memory. No network, no files, no setup.

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use cavra_app::plan::ScheduleSettings;
use cavra_app::system::{SystemClock, SystemIds};
use cavra_app::{App, Settings};
use cavra_domain::id::{IdSource, SequentialIds};
use cavra_domain::time::{Clock, FixedClock, Timestamp};
use cavra_http::{Limits, ServeOptions, ServerInfo};
use cavra_rbac::Access;
use cavra_storage::sqlite::SqliteStore;
use clap::Parser;

/// What the sample shows.
const QUICKSTART: &str = include_str!("../../../fixtures/quickstart.json");

/// Serve the drill-governance API on invented data, in memory: nothing is read, nothing is kept.
///
/// Everything that `cavra api` does works here, on 17 invented schedules whose times are moved to now. Stop it,
/// and what you did is gone.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Try:\n  curl -s http://127.0.0.1:8000/runtime/go-pilot/rollback-drill-notifications/dashboard"
)]
struct Arguments {
    /// Address to listen on; it must be this machine's own. Port 0 picks a free one.
    #[arg(long, env = "CAVRA_LISTEN", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// Let the clock stand still at this RFC 3339 time, so that answers can be compared byte for byte.
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    frozen_clock: Option<Timestamp>,
    /// Origins that browsers may call from, separated by commas.
    #[arg(long, env = "CAVRA_CORS_ORIGINS", value_delimiter = ',')]
    cors_origins: Vec<String>,
    /// What to log, as in `info` or `warn,cavra_http=debug`.
    #[arg(long, env = "CAVRA_LOG", default_value = "warn")]
    log: String,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(&arguments.log)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let listener = cavra_http::bind(arguments.listen, &Access::OpenLocal)?;
    let (clock, ids): (Arc<dyn Clock>, Arc<dyn IdSource>) = match arguments.frozen_clock {
        Some(at) => (Arc::new(FixedClock(at)), Arc::new(SequentialIds::default())),
        None => (Arc::new(SystemClock), Arc::new(SystemIds::default())),
    };
    let store = Arc::new(SqliteStore::in_memory().context("the memory database cannot be set up")?);
    let settings = Settings {
        schedules: ScheduleSettings::default(),
        spool_bytes: usize::MAX,
        ..Settings::default()
    };
    let app = App::new(store, Arc::clone(&clock), Arc::clone(&ids), settings);
    app.seed(QUICKSTART).context("the sample data cannot be loaded")?;
    let info = ServerInfo {
        api_base_url: String::new(),
        metadata_mode: "sample",
        cors_origins: arguments.cors_origins,
        hosts: std::collections::BTreeSet::new(),
        ids,
        clock,
        access: Access::OpenLocal,
    };
    let options = ServeOptions {
        workers: 2,
        limits: Limits {
            spool_bytes: usize::MAX,
            ..Limits::default()
        },
        allowed_hosts: Vec::new(),
    };
    actix_web::rt::System::new().block_on(async move {
        let listening = cavra_http::serve(app, info, &options, listener)?;
        let ready = |address| {
            writeln!(std::io::stdout(), "listening on http://{address}")?;
            writeln!(
                std::io::stderr(),
                "sample data in memory: what you do here is gone when this stops"
            )
        };
        listening
            .run_until_stopped(ready)
            .await
            .context("the server failed")
    })
}
