//! The HTTP surface of the service (actix-web).
//!
//! [`routes`] is the one table of operations; [`openapi::document`] describes it; [`serve`] runs
//! it. Only `error.rs` knows status codes.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix_cors::Cors;
use actix_web::dev::Server;
use actix_web::http::header;
use actix_web::middleware::{Compress, from_fn};
use actix_web::{App as WebApp, HttpServer, web};
use cavra_app::App;
use cavra_domain::id::IdSource;
use cavra_domain::time::Clock;
use cavra_rbac::Access;
use futures_util::future::select;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};

mod authenticate;
mod context;
pub mod error;
mod extract;
mod handlers;
mod live;
mod metrics;
mod middleware;
pub mod openapi;
mod page;
pub mod routes;
pub mod wire;

pub use extract::Limits;
pub use metrics::Metrics;

/// How long a stop waits for what is in flight, in seconds.
const STOP_SECONDS: u64 = 30;

/// What the server says of itself, and how it checks who asks.
#[derive(Debug, Clone)]
pub struct ServerInfo {
    /// Where clients find the API; empty for the origin that they came from.
    pub api_base_url: String,
    /// How evidence is kept: `sqlite` or `sample`.
    pub metadata_mode: &'static str,
    /// Origins that browsers may call from.
    pub cors_origins: Vec<String>,
    /// Host names that are served; [`serve`] puts them together.
    pub hosts: BTreeSet<String>,
    /// Where request ids come from.
    pub ids: Arc<dyn IdSource>,
    /// The time in request ids.
    pub clock: Arc<dyn Clock>,
    /// How callers are known.
    pub access: Access,
}

/// How to serve.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Worker threads.
    pub workers: usize,
    /// What requests may cost.
    pub limits: Limits,
    /// Host names beside those of the address listened on and of the sign-in.
    pub allowed_hosts: Vec<String>,
}

/// Why the server does not start.
#[derive(Debug, Error)]
pub enum ServeError {
    /// Open local mode beyond this machine.
    #[error(
        "`{0}` is not a loopback address: without an identity provider the service only listens on this machine; \
         use 127.0.0.1, or configure one with CAVRA_APPROVAL_OIDC_CONFIG"
    )]
    NotLoopback(SocketAddr),
    /// An origin that is none.
    #[error("`{0}` is not an origin such as https://console.example.org; `*` is not allowed")]
    Origin(String),
    /// The address cannot be listened on.
    #[error("cannot listen on `{address}`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The server cannot be set up.
    #[error("cannot start the server")]
    Start(#[source] std::io::Error),
}

/// A server that is listening, and where.
pub struct Listening {
    /// The address, with the port that was picked.
    pub address: SocketAddr,
    /// The server; tests stop it by its handle.
    pub server: Server,
    live: Arc<live::Live>,
}

impl Listening {
    /// Runs until SIGTERM or SIGINT, and then finishes what is in flight. `ready` is called with the address once a
    /// signal would be heeded, so that whoever waits for it may stop the server at once.
    ///
    /// # Errors
    /// The operating system's, and those of `ready`.
    pub async fn run_until_stopped(
        self,
        ready: impl FnOnce(SocketAddr) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let handle = self.server.handle();
        let live = Arc::clone(&self.live);
        actix_web::rt::spawn(async move {
            select(pin!(terminate.recv()), pin!(interrupt.recv())).await;
            live.close();
            handle.stop(true).await;
        });
        ready(self.address)?;
        self.server.await
    }
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Takes the address: before anything else, so that a start which cannot succeed touches no database.
///
/// # Errors
/// [`ServeError`] when the address is not free, or not loopback where nobody is verified.
pub fn bind(listen: SocketAddr, access: &Access) -> Result<TcpListener, ServeError> {
    // Nothing is configured that could verify anybody, so only this machine may ask.
    if matches!(access, Access::OpenLocal) && !listen.ip().is_loopback() {
        return Err(ServeError::NotLoopback(listen));
    }
    TcpListener::bind(listen).map_err(|source| ServeError::Listen {
        address: listen,
        source,
    })
}

/// Sets up the server on a listener from [`bind`].
///
/// # Errors
/// [`ServeError`] when an origin is none, or the server cannot be set up.
pub fn serve(
    app: App,
    mut info: ServerInfo,
    options: &ServeOptions,
    listener: TcpListener,
) -> Result<Listening, ServeError> {
    let address = listener.local_addr().map_err(ServeError::Start)?;
    info.hosts = ["localhost", "127.0.0.1", "[::1]"]
        .into_iter()
        .map(str::to_owned)
        .collect();
    info.hosts.insert(match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    });
    info.hosts
        .extend(options.allowed_hosts.iter().map(|host| host.to_ascii_lowercase()));
    if let Access::Identity(guard) = &info.access {
        info.hosts
            .extend(guard.redirect_host().map(str::to_ascii_lowercase));
    }
    for origin in &info.cors_origins {
        check_origin(origin)?;
    }
    let limits = options.limits;
    let access = web::Data::new(info.access.clone());
    let info = web::Data::new(info);
    let live = live::Live::new();
    actix_web::rt::spawn(Arc::clone(&live).watch(app.clone()));
    let news = web::Data::from(Arc::clone(&live));
    let app = web::Data::new(app);
    let metrics = web::Data::new(Metrics::default());
    let server = HttpServer::new(move || {
        WebApp::new()
            .app_data(app.clone())
            .app_data(news.clone())
            .app_data(info.clone())
            .app_data(metrics.clone())
            .app_data(access.clone())
            .app_data(limits)
            .wrap(from_fn(middleware::around))
            .wrap(Compress::default())
            .wrap(cors(&info.cors_origins))
            .configure(routes::register)
            .configure(page::register)
            .default_service(web::route().to(routes::nothing_here))
    })
    .workers(options.workers)
    .tcp_nodelay(true)
    .client_request_timeout(Duration::from_secs(10))
    .shutdown_timeout(STOP_SECONDS)
    .disable_signals()
    .listen(listener)
    .map_err(ServeError::Start)?
    .run();
    Ok(Listening {
        address,
        server,
        live,
    })
}

/// An origin is a scheme, a host and perhaps a port; never `*`, never a path.
fn check_origin(origin: &str) -> Result<(), ServeError> {
    let rest = origin
        .strip_prefix("https://")
        .or_else(|| origin.strip_prefix("http://"));
    let plain = |rest: &str| {
        !rest.is_empty()
            && rest
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']'))
    };
    if rest.is_some_and(plain) {
        Ok(())
    } else {
        Err(ServeError::Origin(origin.to_owned()))
    }
}

/// CORS as published clients need it (contract sandbox-ui 1.3): exact origins, no credentials.
fn cors(origins: &[String]) -> Cors {
    let mut cors = Cors::default()
        .allowed_methods(["GET", "POST", "OPTIONS"])
        .allowed_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT,
            header::IF_NONE_MATCH,
            middleware::REQUEST_ID,
            context::IDEMPOTENCY_KEY,
            context::PREFER,
        ])
        .expose_headers([
            middleware::REQUEST_ID,
            header::ETAG,
            context::KEY_EXPIRES,
            context::REPLAYED,
            context::PREFERENCE_APPLIED,
        ])
        .block_on_origin_mismatch(false)
        .max_age(600);
    for origin in origins {
        cors = cors.allowed_origin(origin);
    }
    cors
}
