//! Endpoints whose TLS is not good: nothing of a notification reaches them.

use graphophone_store::NotificationState;
use graphophone_testkit::seen;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

/// What is wrong, and what the log has to say.
struct Bad {
    name: &'static str,
    origin: String,
    cause: &'static str,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_without_good_tls_is_told_nothing() {
    let mut root = CertificateParams::new(vec![]).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
    let certificate = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &ca).unwrap().der().clone(), key)
    };
    let expired = certificate(&|params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let other = certificate(&|params| {
        params.subject_alt_names =
            CertificateParams::new(vec!["other.example".to_owned()]).unwrap().subject_alt_names;
    });
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let own = (own.cert.der().clone(), own.signing_key);
    let good = certificate(&|_| {});

    let told = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let mut bad = Vec::new();
    for (name, (der, key), cause) in [
        ("expired", expired, "expired"),
        ("wrong name", other, "not valid for name"),
        ("self-signed", own, "certificate"),
    ] {
        bad.push(Bad { name, origin: serve(der, &key, &told), cause });
    }
    // A server of TLS 1.1 refuses a client that knows 1.2 and 1.3 only: alert protocol_version.
    let old = raw(Some(&[0x15, 3, 2, 0, 2, 2, 70])).await;
    bad.push(Bad { name: "TLS 1.1", origin: old, cause: "alert" });
    bad.push(Bad { name: "stalls", origin: raw(None).await, cause: "time" });

    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let trusted = vec![ca.der().clone()];
    let deliverer = deliverer(Duration::from_secs(3), trusted);
    let every = Duration::from_millis(100);
    let outbox = Outbox::start(store.clone(), deliverer, settings(every)).await.unwrap();
    let good_told = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let good = serve(good.0, &good.1, &good_told);
    let mut sequences = Vec::new();
    for (call, bad) in (0..).zip(&bad) {
        sequences.push(owe(&store, &outbox, vec![notification(call, 0, &bad.origin)]).await[0]);
    }
    let well = owe(&store, &outbox, vec![notification(100, 0, &good)]).await[0];
    for (bad, sequence) in bad.iter().zip(&sequences) {
        let record = seen(bad.name, || async {
            Some(logged(&store, *sequence).await).filter(|record| record.attempts >= 2)
        })
        .await;
        assert_eq!(record.state, NotificationState::Owed, "{}", bad.name);
        let error = record.last_error.unwrap();
        assert!(error.contains(bad.cause), "{}: {error}", bad.name);
    }
    seen("the good one is told", || async {
        Some(logged(&store, well).await).filter(|one| one.state == NotificationState::Delivered)
    })
    .await;
    assert_eq!(told.load(std::sync::atomic::Ordering::SeqCst), 0);
    assert_eq!(good_told.load(std::sync::atomic::Ordering::SeqCst), 1);
    outbox.shut_down(Duration::ZERO).await;
}

/// An HTTPS server that counts requests.
fn serve(
    certificate: CertificateDer<'static>,
    key: &KeyPair,
    told: &Arc<std::sync::atomic::AtomicU64>,
) -> String {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.serialize_der().try_into().unwrap())
        .unwrap();
    let told = Arc::clone(told);
    let app = axum::Router::new().fallback(move || async move {
        told.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    });
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let tls = axum_server::tls_rustls::RustlsConfig::from_config(Arc::new(config));
    let server = axum_server::from_tcp_rustls(listener, tls).unwrap();
    tokio::spawn(server.serve(app.into_make_service()));
    format!("https://localhost:{port}/")
}

/// A server that answers a TLS hello with these bytes, or with nothing.
async fn raw(answer: Option<&'static [u8]>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut hello = [0; 1_024];
            let _ = stream.read(&mut hello).await;
            if let Some(answer) = answer {
                let _ = stream.write_all(answer).await;
            }
            kept.push(stream);
        }
    });
    format!("https://127.0.0.1:{port}/")
}
