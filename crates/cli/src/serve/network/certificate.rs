//! The certificate of the server and its private key, which can be reloaded.

use std::{
    error::Error,
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, CertificateError, InconsistentKeys, RootCertStore, ServerConfig,
        client::verify_server_cert_signed_by_trust_anchor,
        crypto::{CryptoProvider, ring},
        pki_types::{
            CertificateDer, PrivateKeyDer, UnixTime,
            pem::{self, PemObject},
        },
        server::{ClientHello, ParsedCertificate, ResolvesServerCert},
        sign::CertifiedKey,
    },
};
use zeroize::Zeroizing;

use crate::{failure::Failure, note::note, number::count, private_file};

/// More than any chain of certificates. Bounds what a wrong path, such as that of a device, takes.
const MAX_LEN: u64 = 1 << 20;

/// A certificate, its chain and its private key.
pub(in crate::serve) struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

/// Reloads a certificate in a thread of its own. Reading may take forever, such as from a pipe, and must
/// delay neither signals nor the end of the process.
pub(super) struct Reloader(SyncSender<()>);

/// Why a certificate cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unusable(String);

impl Certificate {
    /// Loads a certificate with its chain, and its private key, from PEM files.
    pub(super) fn load(certificate: &Path, key: &Path) -> Result<Self, Unusable> {
        Ok(Self {
            current: RwLock::new(load(certificate, key)?),
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        })
    }

    /// Loads the files again. If they cannot be used, goes on with what was loaded before. Connections that exist
    /// are not affected.
    fn reload(&self) {
        match load(&self.certificate, &self.key) {
            Ok(loaded) => {
                // No code panics while holding the lock.
                let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                // The key belongs to the certificate.
                let is_same = loaded.cert == current.cert;
                *current = loaded;
                drop(current);
                note(match is_same {
                    true => "The TLS certificate has not changed",
                    false => "Reloaded the TLS certificate",
                });
            }
            Err(error) => {
                tracing::error!(
                    "the TLS certificate was not reloaded, the previous one stays in use: {error}"
                );
            }
        }
    }

    /// Returns what performs TLS handshakes with the current certificate: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
    pub(super) fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, Failure> {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::failed("cannot use TLS").because(error))?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(self) as _;
        let mut config = config.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl Reloader {
    pub(super) fn start(certificate: Arc<Certificate>) -> io::Result<Self> {
        // What is requested during a reload is done once, after it.
        let (requests, requested) = sync_channel(1);
        let reload = move || requested.iter().for_each(|()| certificate.reload());
        thread::Builder::new()
            .name("certificate".to_owned())
            .spawn(reload)?;
        Ok(Self(requests))
    }

    /// Requests a reload, without waiting for it.
    pub(super) fn request(&self) {
        // It fails if a reload is requested already.
        let _ = self.0.try_send(());
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read();
        Some(Arc::clone(&current.unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Does not show the key.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("certificate", &self.certificate)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

fn load(certificate: &Path, key: &Path) -> Result<Arc<CertifiedKey>, Unusable> {
    let chain = read_chain(certificate)?;
    let private_key = read_key(key)?;
    let provider = ring::default_provider();
    let loaded = CertifiedKey::from_der(chain, private_key, &provider).map_err(|error| {
        Unusable(match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => format!(
                "the private key in `{}` does not belong to the first certificate in `{}`",
                key.display(),
                certificate.display()
            ),
            rustls::Error::General(message) => format!(
                "cannot use the private key in `{}`: {message}; expected an RSA, ECDSA or Ed25519 key",
                key.display()
            ),
            rustls::Error::InvalidCertificate(error) => format!(
                "the first certificate in `{}` is not a valid X.509 certificate of version 3: {error:?}",
                certificate.display()
            ),
            error => format!("cannot use the certificate in `{}`: {error}", certificate.display()),
        })
    })?;
    if let Some(warning) = check_dates(&loaded, &provider, UnixTime::now()) {
        tracing::warn!(
            "the TLS certificate in `{}` {warning}",
            certificate.display()
        );
    }
    Ok(Arc::new(loaded))
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let (_, text) = read(path, "certificate")?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| not_pem(path, &error))?;
    if chain.is_empty() {
        return Err(Unusable(format!(
            "no certificate in `{}`; expected a PEM file with `-----BEGIN CERTIFICATE-----`",
            path.display()
        )));
    }
    Ok(chain)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Unusable> {
    let (file, text) = read(path, "private key")?;
    let metadata = file
        .metadata()
        .map_err(|error| cannot_read(path, "private key", error))?;
    private_file::check(path, &metadata, "private key").map_err(Unusable)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound if is_encrypted(&text) => Unusable(format!(
            "the private key in `{0}` is encrypted; decrypt it with `openssl pkey -in {0}`",
            path.display()
        )),
        pem::Error::NoItemsFound => Unusable(format!(
            "no private key in `{}`; expected a PEM file with `-----BEGIN PRIVATE KEY-----`, `RSA PRIVATE KEY` or `EC PRIVATE KEY`",
            path.display()
        )),
        error => not_pem(path, &error),
    })
}

fn is_encrypted(text: &[u8]) -> bool {
    String::from_utf8_lossy(text).contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
}

fn read(path: &Path, what: &str) -> Result<(File, Zeroizing<Vec<u8>>), Unusable> {
    let mut file = File::open(path).map_err(|error| cannot_read(path, what, error))?;
    let mut text = Zeroizing::new(Vec::new());
    let read = (&mut file).take(MAX_LEN).read_to_end(&mut text);
    read.map_err(|error| cannot_read(path, what, error))?;
    Ok((file, text))
}

fn cannot_read(path: &Path, what: &str, error: impl Error) -> Unusable {
    Unusable(format!(
        "cannot read the {what} from `{}`: {error}",
        path.display()
    ))
}

fn not_pem(path: &Path, error: &pem::Error) -> Unusable {
    Unusable(format!(
        "`{}` is not a valid PEM file: {error}",
        path.display()
    ))
}

/// Returns what is wrong with the dates of a certificate. Clients will refuse it, but the server can start, so that
/// a certificate that expired does not prevent a restart, or the deployment of the next one.
fn check_dates(key: &CertifiedKey, provider: &CryptoProvider, now: UnixTime) -> Option<String> {
    let certificate = ParsedCertificate::try_from(key.end_entity_cert().ok()?).ok()?;
    // No issuer is trusted, so it is refused in any case. Dates are checked before the issuer.
    let refused = verify_server_cert_signed_by_trust_anchor(
        &certificate,
        &RootCertStore::empty(),
        &[],
        now,
        provider.signature_verification_algorithms.all,
    );
    let days = |from: UnixTime, to: UnixTime| {
        count(to.as_secs().saturating_sub(from.as_secs()) / 86_400, "day")
    };
    let rustls::Error::InvalidCertificate(refused) = refused.err()? else {
        return None;
    };
    match refused {
        CertificateError::ExpiredContext { time, not_after } => {
            Some(format!("expired {} ago", days(not_after, time)))
        }
        CertificateError::NotValidYetContext { time, not_before } => Some(format!(
            "is not valid before {} from now",
            days(time, not_before)
        )),
        _ => None,
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
