//! The HTTP and HTTPS listeners.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use axum::{Extension, Router};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle};
use tracing::warn;

use super::{
    StartError,
    connections::{Counted, FIRST_REQUEST_WITHIN},
    refused, set_up,
};
use crate::{
    auth::{tls, token_endpoint::Scheme, unix_now},
    config::{Config, Profile},
};

/// A base URL that the certificate is good for, as far as it is known.
pub(super) fn https_url(config: &Config, at: SocketAddr) -> Option<String> {
    match config.profile {
        Profile::Dev => Some(format!("https://localhost:{}", at.port())),
        Profile::Production => {
            let url = config.server.public_url.as_ref().filter(|url| url.scheme() == "https")?;
            Some(url.as_str().trim_end_matches('/').to_owned())
        }
    }
}

/// Why an address that a setting names cannot be used.
fn unusable(setting: &'static str, at: SocketAddr) -> impl Fn(io::Error) -> StartError + Copy {
    move |source| StartError::ConfigListen { setting, address: at.to_string(), source }
}

async fn bind(at: SocketAddr) -> io::Result<(std::net::TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(at).await?.into_std()?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

pub(super) async fn serve_http(
    config: &Config,
    router: Router,
    room: &Arc<Semaphore>,
    stop: &axum_server::Handle<SocketAddr>,
    tasks: &mut Vec<JoinHandle<()>>,
) -> Result<SocketAddr, StartError> {
    let fault = unusable("http.listen", config.http.listen);
    let (listener, at) = bind(config.http.listen).await.map_err(fault)?;
    let server = axum_server::from_tcp(listener)
        .map_err(fault)?
        .map(|acceptor| Counted::new(acceptor, room))
        .first_request_timeout(FIRST_REQUEST_WITHIN)
        .handle(stop.clone());
    tasks.push(tokio::spawn(async move {
        if let Err(error) = server.serve(router.into_make_service()).await {
            warn!(%error, "the HTTP listener has ended");
        }
    }));
    Ok(at)
}

pub(super) async fn serve_https(
    config: &Config,
    router: Router,
    room: &Arc<Semaphore>,
    stop: &axum_server::Handle<SocketAddr>,
    tasks: &mut Vec<JoinHandle<()>>,
) -> Result<(Option<SocketAddr>, Option<PathBuf>), StartError> {
    let Some(wanted) = config.https.listen else { return Ok((None, None)) };
    let (tls, ca) = match (&config.https.cert, &config.https.key) {
        (Some(cert), Some(key)) => {
            let tls = tls::server_config_from_files(cert, key)
                .map_err(|error| refused("https.cert, https.key", error.into()))?;
            (tls, None)
        }
        _ => {
            let ca = tls::DevCa::open(&config.store.path, unix_now()).map_err(|error| {
                refused("store.path: the dev certificate authority", error.into())
            })?;
            let tls = ca
                .server_config(&[], unix_now())
                .map_err(|error| set_up("the dev certificate cannot be made", error.into()))?;
            // Whoever reads it in the ready file may be in another directory.
            let path = ca.certificate_path();
            (tls, Some(std::path::absolute(path).unwrap_or_else(|_| path.to_owned())))
        }
    };
    let fault = unusable("https.listen", wanted);
    let (listener, at) = bind(wanted).await.map_err(fault)?;
    let tls = axum_server::tls_rustls::RustlsConfig::from_config(Arc::new(tls));
    let router = router.layer(Extension(Scheme::Https));
    let server = axum_server::from_tcp_rustls(listener, tls)
        .map_err(fault)?
        .map(|acceptor| Counted::new(acceptor, room))
        .first_request_timeout(FIRST_REQUEST_WITHIN)
        .handle(stop.clone());
    tasks.push(tokio::spawn(async move {
        if let Err(error) = server.serve(router.into_make_service()).await {
            warn!(%error, "the HTTPS listener has ended");
        }
    }));
    Ok((Some(at), ca))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_https_address_told_is_one_the_certificate_is_good_for() {
        let at = SocketAddr::from(([127, 0, 0, 1], 8443));
        let mut config = Config::load(Profile::Dev, None, BTreeMap::new()).unwrap();
        assert_eq!(https_url(&config, at).as_deref(), Some("https://localhost:8443"));
        config.profile = Profile::Production;
        assert_eq!(https_url(&config, at), None);
        config.server.public_url = Some("https://calls.example.com/".parse().unwrap());
        assert_eq!(https_url(&config, at).as_deref(), Some("https://calls.example.com"));
    }
}
