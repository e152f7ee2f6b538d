//! The one way out for fetches: connections to addresses that the guard has seen, by deadline.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tower::Service;
use url::Url;

use super::guard::{Guard, LookupError, Refusal};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no connection.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error("the connection was refused or lost")]
    PeerUnreachable(#[source] Arc<io::Error>),
    #[error("TLS could not be agreed")]
    PeerTls(#[source] Arc<dyn std::error::Error + Send + Sync>),
    #[error("no connection within {0:?}")]
    PeerSilent(Duration),
}

/// Name look-up, TCP and TLS within one deadline.
#[derive(Clone)]
pub(crate) struct Connector {
    https: HttpsConnector<GuardedTcp>,
    deadline: Duration,
}

impl Connector {
    pub(crate) fn new(guard: Guard, deadline: Duration, roots: RootCertStore) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("aws-lc-rs supports the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { https: (GuardedTcp { guard, deadline }, tls).into(), deadline }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.https.call(uri);
        let deadline = self.deadline;
        Box::pin(async move {
            match tokio::time::timeout(deadline, connecting).await {
                Ok(Ok(stream)) => Ok(stream),
                Ok(Err(error)) if error.is::<ConnectError>() => Err(error),
                Ok(Err(error)) => Err(ConnectError::PeerTls(error.into()).into()),
                Err(_) => Err(ConnectError::PeerSilent(deadline).into()),
            }
        })
    }
}

/// TCP to the first address that the guard allows and that answers.
#[derive(Clone)]
struct GuardedTcp {
    guard: Guard,
    deadline: Duration,
}

impl GuardedTcp {
    async fn connect(self, uri: Uri) -> Result<TokioIo<TcpStream>, ConnectError> {
        let started = Instant::now();
        let url = Url::parse(&uri.to_string()).map_err(|_| unparsable())?;
        let addresses = self.guard.lookup(&url).await?;
        let mut left = addresses.len() as u32;
        let mut last = ConnectError::PeerSilent(self.deadline);
        for address in addresses {
            // A dead first address must leave time for the next one.
            let now = Instant::now();
            let share = (started + self.deadline).saturating_duration_since(now) / left;
            left -= 1;
            match timeout_at(now + share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return checked(stream, address).map_err(unreachable),
                Ok(Err(error)) => last = unreachable(error),
                Err(_) => last = ConnectError::PeerSilent(self.deadline),
            }
        }
        Err(last)
    }
}

impl Service<Uri> for GuardedTcp {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// The system's certificate authorities, plus `extra` ones. A machine without any still gets a
/// client: plain http on loopback must work there, and https says what is missing.
pub(crate) fn roots(extra: &[CertificateDer<'static>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::debug!(%error, "a system certificate authority could not be read");
    }
    roots.add_parsable_certificates(system.certs);
    roots.add_parsable_certificates(extra.iter().cloned());
    if roots.is_empty() {
        tracing::warn!(
            "no certificate authorities found (package ca-certificates): https prompts will fail"
        );
    }
    roots
}

fn checked(stream: TcpStream, address: SocketAddr) -> io::Result<TokioIo<TcpStream>> {
    // TCP simultaneous open on loopback can connect a socket to itself.
    if stream.local_addr()? == address {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(stream))
}

fn unreachable(error: io::Error) -> ConnectError {
    ConnectError::PeerUnreachable(Arc::new(error))
}

fn unparsable() -> ConnectError {
    LookupError::Refused(Refusal::BotUri(super::guard::UriFault::NotAbsolute)).into()
}
