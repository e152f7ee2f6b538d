//! Certificates: a development CA of our own, because Microsoft's libraries refuse plain HTTP, and
//! an operator's files in production.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType,
};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{
        CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName,
        pem::{self, PemObject as _},
    },
};
use time::{Duration, OffsetDateTime};

use super::{
    keys::contains,
    private_file::{self, FileError},
};

/// File of the development CA's certificate, inside the data directory: clients trust this one.
pub const CA_FILE: &str = "ca.pem";
/// File of the development CA's key, mode 0600, inside the data directory.
pub const CA_KEY_FILE: &str = "ca.key";

/// Hosts of Microsoft's that unmodified clients have built in. The development certificate covers
/// them for people who point those names at Graphophone (spec clients.md §6).
pub const IMPERSONATED_HOSTS: [&str; 7] = [
    "graph.microsoft.com",
    "login.microsoftonline.com",
    "login.windows.net",
    "sts.windows.net",
    "login.botframework.com",
    "api.aps.skype.com",
    "api.botframework.com",
];

/// Life of the development CA's certificate, in days.
const CA_DAYS: i64 = 20 * 365;
/// Life of a server certificate, in days: the most that browsers accept. It is made at each start.
const SERVER_DAYS: i64 = 397;

/// Why there is no TLS. Each variant names the file or the name at fault.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that the operating system does not let us use.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file without a certificate in it.
    #[error("{} holds no certificate in PEM form", .0.display())]
    ConfigNoCertificate(PathBuf),
    /// A file without a private key in it.
    #[error("{} holds no private key in PEM form", .0.display())]
    ConfigNoKey(PathBuf),
    /// A key and a certificate that do not belong together.
    #[error("the key in {} does not belong to the certificate in {}", key.display(), certificate.display())]
    ConfigMismatch {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of the key.
        key: PathBuf,
    },
    /// A certificate or key of a kind rustls cannot use.
    #[error("the certificate in {} or the key in {} cannot be used", certificate.display(), key.display())]
    ConfigUnusable {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of the key.
        key: PathBuf,
        /// What rustls said.
        #[source]
        source: rustls::Error,
    },
    /// The development CA has a certificate but no key.
    #[error("{} is missing but {} exists; delete the latter to get a new CA", key.display(), certificate.display())]
    ConfigCaKeyMissing {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of the key.
        key: PathBuf,
    },
    /// A name that no certificate can carry.
    #[error("{0:?} is neither a host name nor an address")]
    ConfigName(String),
    /// The library could not make a certificate.
    #[error("no certificate could be made")]
    Generation(#[source] rcgen::Error),
}

/// Makes aws-lc-rs the process's TLS provider, for clients that ask for the default one. May be
/// called any number of times.
pub fn install_crypto_provider() {
    // An error says that there is one already, and it can only be this one.
    let _ = aws_lc_rs::default_provider().install_default();
}

/// The certificate authority of a development server. Whoever trusts its [`CA_FILE`] trusts
/// whoever holds the key, so the key never leaves the data directory.
#[derive(Debug)]
pub struct DevCa {
    certificate_path: PathBuf,
    pem: String,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl DevCa {
    /// Loads the CA from `directory` or makes it there. `now` is unix seconds.
    ///
    /// # Errors
    /// A file that cannot be read or written, or holds something else.
    pub fn open(directory: &Path, now: u64) -> Result<Self, TlsError> {
        private_file::create_directory(directory)?;
        let certificate_path = directory.join(CA_FILE);
        let key_path = directory.join(CA_KEY_FILE);
        if certificate_path.exists() && !key_path.exists() {
            let (certificate, key) = (certificate_path, key_path);
            return Err(TlsError::ConfigCaKeyMissing { certificate, key });
        }
        let generated =
            || KeyPair::generate().map(|key| key.serialize_pem()).map_err(TlsError::Generation);
        let key_pem = private_file::read_or_create(&key_path, private_file::PRIVATE, generated)?;
        let key = KeyPair::from_pem(&String::from_utf8_lossy(&key_pem))
            .map_err(|_| TlsError::ConfigNoKey(key_path.clone()))?;
        let params = ca_params(&key, now);
        // Also the way back from a crash between the two files: the key counts.
        let self_signed = || {
            let certificate = params.self_signed(&key).map_err(TlsError::Generation)?;
            Ok::<_, TlsError>(certificate.pem())
        };
        let pem =
            private_file::read_or_create(&certificate_path, private_file::PUBLIC, self_signed)?;
        let certificate = CertificateDer::from_pem_slice(&pem)
            .map_err(|_| TlsError::ConfigNoCertificate(certificate_path.clone()))?;
        let pem = String::from_utf8_lossy(&pem).into_owned();
        if !contains(&certificate, &key.subject_public_key_info()) {
            return Err(TlsError::ConfigMismatch { certificate: certificate_path, key: key_path });
        }
        let issuer = Issuer::new(params, key);
        Ok(Self { certificate_path, pem, certificate, issuer })
    }

    /// Where the certificate is that clients have to trust.
    pub fn certificate_path(&self) -> &Path {
        &self.certificate_path
    }

    /// That certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    /// TLS for this machine's names and loopback addresses, [`IMPERSONATED_HOSTS`] and
    /// `more_names` (host names or addresses). The certificate is new and lives in memory only.
    ///
    /// # Errors
    /// One of `more_names` is no name.
    pub fn server_config(&self, more_names: &[String], now: u64) -> Result<ServerConfig, TlsError> {
        let key = KeyPair::generate().map_err(TlsError::Generation)?;
        let params = server_params(more_names, now)?;
        let leaf = params.signed_by(&key, &self.issuer).map_err(TlsError::Generation)?;
        let chain = vec![leaf.der().clone(), self.certificate.clone()];
        let key_der = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let path = &self.certificate_path;
        configure(chain, key_der).map_err(|source| TlsError::ConfigUnusable {
            certificate: path.clone(),
            key: path.with_file_name(CA_KEY_FILE),
            source,
        })
    }
}

/// TLS with an operator's certificate chain and key (PEM; PKCS#8, PKCS#1 or SEC1).
///
/// # Errors
/// Names the file that is missing, empty, of the wrong kind, or does not fit the other.
pub fn server_config_from_files(certificate: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(&private_file::read(certificate)?).collect();
    let chain = chain.map_err(|_| TlsError::ConfigNoCertificate(certificate.to_owned()))?;
    if chain.is_empty() {
        return Err(TlsError::ConfigNoCertificate(certificate.to_owned()));
    }
    let key_der = PrivateKeyDer::from_pem_slice(&private_file::read(key)?)
        .map_err(|_: pem::Error| TlsError::ConfigNoKey(key.to_owned()))?;
    configure(chain, key_der).map_err(|source| {
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        if matches!(source, rustls::Error::InconsistentKeys(_)) {
            TlsError::ConfigMismatch { certificate, key }
        } else {
            TlsError::ConfigUnusable { certificate, key, source }
        }
    })
}

/// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1, no client certificates.
fn configure(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Everything but the dates follows from the key: so the issuer that signs later is the one in
/// [`CA_FILE`] without reading that file's fields.
fn ca_params(key: &KeyPair, now: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    let public = key.subject_public_key_info();
    let print = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, &public);
    let short: String = print.as_ref()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name = DistinguishedName::new();
    let name = format!("Graphophone development CA {short}");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_dates(&mut params, now, CA_DAYS);
    params
}

fn server_params(more_names: &[String], now: u64) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Graphophone development server");
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    // A machine may be called anything; what is no host name cannot be asked for either.
    let machine = Some(machine.as_str()).filter(|name| subject_name(name).is_some());
    let fixed = ["localhost"].into_iter().chain(IMPERSONATED_HOSTS).chain(machine);
    for name in fixed.chain(more_names.iter().map(String::as_str)) {
        let name = subject_name(name).ok_or_else(|| TlsError::ConfigName(name.to_owned()))?;
        if !params.subject_alt_names.contains(&name) {
            params.subject_alt_names.push(name);
        }
    }
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        params.subject_alt_names.push(SanType::IpAddress(address));
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Python 3.13 checks strictly (RFC 5280 §4.2.1.1).
    params.use_authority_key_identifier_extension = true;
    set_dates(&mut params, now, SERVER_DAYS);
    Ok(params)
}

fn subject_name(name: &str) -> Option<SanType> {
    match ServerName::try_from(name).ok()? {
        ServerName::DnsName(name) => {
            Some(SanType::DnsName(name.as_ref().to_ascii_lowercase().try_into().ok()?))
        }
        ServerName::IpAddress(address) => Some(SanType::IpAddress(address.into())),
        _ => None,
    }
}

/// From yesterday on, for clients whose clock is behind.
fn set_dates(params: &mut CertificateParams, now: u64, days: i64) {
    let now = i64::try_from(now).unwrap_or(0);
    let now = OffsetDateTime::from_unix_timestamp(now).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    params.not_before = now - Duration::days(1);
    params.not_after = now + Duration::days(days - 1);
}

#[cfg(test)]
mod tests;
