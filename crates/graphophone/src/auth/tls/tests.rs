//! Real handshakes over a pipe in memory, with rustls' own client as the judge.

use std::{fs, os::unix::fs::PermissionsExt as _, sync::Arc};

use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

use super::*;
use crate::auth::unix_now;

/// Carries the handshake out in memory; the protocol that was agreed, or the client's complaint.
fn handshake(
    server: ServerConfig,
    ca_pem: &str,
    name: &str,
    alpn: &[&[u8]],
) -> Result<Option<Vec<u8>>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name)?;
    let mut server = ServerConnection::new(Arc::new(server))?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut unread = wire.as_slice();
        while !unread.is_empty() {
            server.read_tls(&mut unread).unwrap();
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut unread = wire.as_slice();
        while !unread.is_empty() {
            client.read_tls(&mut unread).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok(client.alpn_protocol().map(<[u8]>::to_vec))
}

#[test]
fn one_ca_file_makes_clients_trust_this_machine_and_the_borrowed_names() {
    let directory = tempfile::tempdir().unwrap();
    let ca = DevCa::open(directory.path(), unix_now()).unwrap();
    let more = ["calls.example.com".to_owned(), "10.1.2.3".to_owned()];
    let config = ca.server_config(&more, unix_now()).unwrap();
    let own = ["localhost", "127.0.0.1", "::1", "calls.example.com", "10.1.2.3"];
    for name in own.into_iter().chain(IMPERSONATED_HOSTS) {
        let agreed = handshake(config.clone(), ca.certificate_pem(), name, &[b"h2", b"http/1.1"]);
        assert_eq!(agreed.unwrap().as_deref(), Some(b"h2".as_slice()), "{name}");
    }
    let http1 = handshake(config.clone(), ca.certificate_pem(), "localhost", &[b"http/1.1"]);
    assert_eq!(http1.unwrap().as_deref(), Some(b"http/1.1".as_slice()));
    let stranger = handshake(config.clone(), ca.certificate_pem(), "example.org", &[]);
    assert!(matches!(stranger, Err(rustls::Error::InvalidCertificate(_))), "{stranger:?}");
    let elsewhere = tempfile::tempdir().unwrap();
    let other = DevCa::open(elsewhere.path(), unix_now()).unwrap();
    let distrust = handshake(config, other.certificate_pem(), "localhost", &[]);
    assert!(matches!(distrust, Err(rustls::Error::InvalidCertificate(_))), "{distrust:?}");
}

#[test]
fn the_machines_own_name_is_in_the_certificate_if_it_is_a_host_name() {
    let params = server_params(&[], unix_now()).unwrap();
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if let Some(name) = subject_name(&machine) {
        assert!(params.subject_alt_names.contains(&name), "{machine}");
    }
    let twice = server_params(&["localhost".into(), "LOCALHOST".into()], unix_now()).unwrap();
    assert_eq!(twice.subject_alt_names.len(), params.subject_alt_names.len());
}

#[test]
fn the_ca_is_made_once_and_its_key_is_the_owners() {
    let directory = tempfile::tempdir().unwrap();
    let first = DevCa::open(directory.path(), unix_now()).unwrap();
    let again = DevCa::open(directory.path(), unix_now() + 86_400).unwrap();
    assert_eq!(first.certificate_pem(), again.certificate_pem());
    assert_eq!(first.certificate_path(), directory.path().join(CA_FILE));
    let mode =
        |file| fs::metadata(directory.path().join(file)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(CA_KEY_FILE), mode(CA_FILE)), (0o600, 0o644));
    // Whoever trusted the file at the first start trusts the server after the second.
    let config = again.server_config(&[], unix_now()).unwrap();
    assert!(handshake(config, first.certificate_pem(), "localhost", &[]).is_ok());
}

#[test]
fn a_crash_between_the_two_files_of_the_ca_does_no_harm() {
    let directory = tempfile::tempdir().unwrap();
    DevCa::open(directory.path(), unix_now()).unwrap();
    fs::remove_file(directory.path().join(CA_FILE)).unwrap();
    let ca = DevCa::open(directory.path(), unix_now()).unwrap();
    let config = ca.server_config(&[], unix_now()).unwrap();
    assert!(handshake(config, ca.certificate_pem(), "localhost", &[]).is_ok());
}

#[test]
fn broken_ca_files_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let open = || DevCa::open(directory.path(), unix_now()).unwrap_err();
    DevCa::open(directory.path(), unix_now()).unwrap();
    let (ca, key) = (directory.path().join(CA_FILE), directory.path().join(CA_KEY_FILE));
    let (good_ca, good_key) = (fs::read(&ca).unwrap(), fs::read(&key).unwrap());

    fs::write(&ca, "nothing").unwrap();
    assert!(open().to_string().contains(CA_FILE));
    fs::write(&ca, &good_ca).unwrap();
    fs::write(&key, "nothing").unwrap();
    assert!(open().to_string().contains(CA_KEY_FILE));
    fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(matches!(open(), TlsError::ConfigMismatch { .. }));
    fs::remove_file(&key).unwrap();
    assert!(matches!(open(), TlsError::ConfigCaKeyMissing { .. }));
    fs::write(&key, good_key).unwrap();
    assert!(DevCa::open(directory.path(), unix_now()).is_ok());
}

#[test]
fn a_name_that_is_none_is_a_configuration_error() {
    let directory = tempfile::tempdir().unwrap();
    let ca = DevCa::open(directory.path(), unix_now()).unwrap();
    for name in ["", "a b", "http://x", "x:443", "ü.example"] {
        let error = ca.server_config(&[name.to_owned()], unix_now()).unwrap_err();
        assert!(matches!(&error, TlsError::ConfigName(said) if said == name), "{error}");
    }
}

#[test]
fn an_operators_files_are_used_or_the_one_at_fault_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, contents: &str| {
        let path = directory.path().join(name);
        fs::write(&path, contents).unwrap();
        path
    };
    let make = || {
        let made = rcgen::generate_simple_self_signed(["calls.example.com".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    };
    let (certificate_pem, key_pem) = make();
    let certificate = file("cert.pem", &certificate_pem);
    let key = file("key.pem", &key_pem);
    let config = server_config_from_files(&certificate, &key).unwrap();
    assert_eq!(config.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    assert!(handshake(config, &certificate_pem, "calls.example.com", &[]).is_ok());
    let both = file("both.pem", &(key_pem.clone() + &certificate_pem));
    assert!(server_config_from_files(&both, &both).is_ok());

    let other_key = file("other.key", &make().1);
    let damaged = file("damaged.pem", &certificate_pem.replace("MII", "!!!"));
    let missing = directory.path().join("missing.pem");
    let error =
        |certificate: &Path, key: &Path| server_config_from_files(certificate, key).unwrap_err();
    assert!(
        matches!(error(&missing, &key), TlsError::File(FileError::Unreadable { path, .. }) if path == missing)
    );
    assert!(
        matches!(error(&certificate, &missing), TlsError::File(FileError::Unreadable { path, .. }) if path == missing)
    );
    assert!(matches!(error(&key, &key), TlsError::ConfigNoCertificate(path) if path == key));
    assert!(
        matches!(error(&damaged, &key), TlsError::ConfigNoCertificate(path) if path == damaged)
    );
    assert!(
        matches!(error(&certificate, &certificate), TlsError::ConfigNoKey(path) if path == certificate)
    );
    assert!(matches!(error(&certificate, &other_key), TlsError::ConfigMismatch { .. }));
}

#[test]
fn the_provider_may_be_installed_twice() {
    install_crypto_provider();
    install_crypto_provider();
    assert!(rustls::crypto::CryptoProvider::get_default().is_some());
}
