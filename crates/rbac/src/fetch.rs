//! Asking the provider over HTTP: the only connections that this service makes.

use std::time::Duration;

use openidconnect::url::Url;
use openidconnect::{HttpRequest, HttpResponse};
use thiserror::Error;
use ureq::Agent;
use ureq::config::Config;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::config::is_loopback;

/// Largest answer that is taken.
const MAX_BYTES: u64 = 512 << 10;

/// Why the provider gave nothing.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    /// An address that must not be asked.
    #[error("`{0}` is neither https nor on a loopback address next to a loopback issuer")]
    Address(String),
    /// No connection, no answer in time, or an answer that is too large.
    #[error("`{url}` does not answer")]
    Transport {
        /// What was asked.
        url: String,
        /// Why.
        #[source]
        source: ureq::Error,
    },
    /// Another status than 200. Redirects are not followed.
    #[error("`{url}` answers with status {status}")]
    Status {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
    },
}

/// An HTTP client with limits: no redirect, a time-out over the whole exchange, a largest answer.
#[derive(Clone)]
pub(crate) struct Fetcher {
    agent: Agent,
    /// Whether the issuer is on this machine, where plain `http` is allowed.
    loopback: bool,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher")
            .field("loopback", &self.loopback)
            .finish_non_exhaustive()
    }
}

/// The certificates of a PEM text; nothing when there is none or one cannot be read.
pub(crate) fn certificates(pem: &str) -> Option<Vec<Certificate<'static>>> {
    let mut certificates = Vec::new();
    for item in parse_pem(pem.as_bytes()) {
        if let PemItem::Certificate(certificate) = item.ok()? {
            certificates.push(certificate);
        }
    }
    (!certificates.is_empty()).then_some(certificates)
}

impl Fetcher {
    pub(crate) fn new(issuer: &Url, timeout: Duration, ca: Option<&str>) -> Self {
        let roots = ca
            .and_then(certificates)
            .map_or(RootCerts::WebPki, |certificates| {
                RootCerts::new_with_certs(&certificates)
            });
        let loopback = is_loopback(issuer);
        let mut config = Config::builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_global(Some(timeout))
            .user_agent(concat!("cavra/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(roots).build());
        if loopback {
            // Nothing on this machine is asked through a proxy.
            config = config.proxy(None);
        }
        Self {
            agent: config.build().new_agent(),
            loopback,
        }
    }

    fn allowed(&self, url: &Url) -> Result<(), FetchError> {
        let plain = url.scheme() == "http" && self.loopback && is_loopback(url);
        if url.scheme() == "https" || plain {
            Ok(())
        } else {
            Err(FetchError::Address(url.to_string()))
        }
    }

    /// The body of a 200 answer.
    pub(crate) fn get(&self, url: &Url) -> Result<Vec<u8>, FetchError> {
        self.allowed(url)?;
        let transport = |source| FetchError::Transport {
            url: url.to_string(),
            source,
        };
        let mut response = self
            .agent
            .get(url.as_str())
            .header("accept", "application/json")
            .call()
            .map_err(transport)?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(FetchError::Status {
                url: url.to_string(),
                status,
            });
        }
        response
            .body_mut()
            .with_config()
            .limit(MAX_BYTES)
            .read_to_vec()
            .map_err(transport)
    }

    /// A request of the sign-in library, under the same limits.
    pub(crate) fn call(&self, request: HttpRequest) -> Result<HttpResponse, FetchError> {
        let text = request.uri().to_string();
        let url = Url::parse(&text).map_err(|_| FetchError::Address(text.clone()))?;
        self.allowed(&url)?;
        let transport = |source| FetchError::Transport {
            url: text.clone(),
            source,
        };
        let response = self.agent.run(request).map_err(transport)?;
        let (parts, mut body) = response.into_parts();
        let bytes = body
            .with_config()
            .limit(MAX_BYTES)
            .read_to_vec()
            .map_err(transport)?;
        Ok(HttpResponse::from_parts(parts, bytes))
    }
}
