//! TLS for the API server and for Prometheus: the trusted CAs, and the client certificate. It accepts certificates and
//! keys in every form that Go accepts; the error says what rustls does not support.

mod der;
mod pem;
mod verify;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, InconsistentKeys, RootCertStore, SignatureScheme};

use self::verify::{Anything, Trusted};

/// The CAs that are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The CAs of this machine.
    System,
    /// A PEM bundle.
    Bundle(Vec<u8>),
    /// `insecure-skip-tls-verify`.
    Anyone,
}

/// The client certificate, which can be replaced while connections are open.
#[derive(Debug, Default)]
pub(crate) struct Identity {
    held: RwLock<Option<Arc<CertifiedKey>>>,
    /// The number of replacements. A connection with an earlier certificate is not used for new requests.
    turn: AtomicU64,
}

impl Identity {
    /// Replaces the certificate and the key (PEM). Does nothing if the certificate is the same.
    pub(crate) fn set(&self, cert: &[u8], key: &[u8]) -> Result<(), String> {
        let next = certified(cert, key)?;
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if held.as_ref().is_some_and(|before| before.cert == next.cert) {
            return Ok(());
        }
        if held.replace(Arc::new(next)).is_some() {
            self.turn.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    pub(crate) fn turn(&self) -> u64 {
        self.turn.load(Ordering::Relaxed)
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        held.key.choose_scheme(schemes).is_some().then_some(held)
    }

    fn has_certs(&self) -> bool {
        self.held.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

/// The TLS configuration of all connections to one server.
pub(crate) fn client_config(trust: &Trust, identity: Arc<Identity>) -> Result<ClientConfig, String> {
    let provider = Arc::new(default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .dangerous();
    let builder = match trust {
        Trust::Anyone => builder.with_custom_certificate_verifier(Arc::new(Anything(provider))),
        Trust::System => builder.with_custom_certificate_verifier(Arc::new(store(system(), provider))),
        Trust::Bundle(pem) if pem.is_empty() => {
            // as in client-go, an empty file counts as no bundle
            builder.with_custom_certificate_verifier(Arc::new(store(system(), provider)))
        }
        Trust::Bundle(pem) => {
            let found = authorities(pem)?;
            builder.with_custom_certificate_verifier(Arc::new(store(found, provider)))
        }
    };
    let mut config = builder.with_client_cert_resolver(identity);
    // a resumed session would use the certificate of the previous connection
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn store(trusted: Vec<CertificateDer<'static>>, provider: Arc<CryptoProvider>) -> Trusted {
    let mut roots = RootCertStore::empty();
    // a certificate that cannot be a trust anchor can still be the server's own certificate
    let _counted = roots.add_parsable_certificates(trusted.iter().cloned());
    Trusted::new(roots, trusted, provider)
}

fn system() -> Vec<CertificateDer<'static>> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "a CA certificate of this machine cannot be read");
    }
    found.certs
}

/// The certificates of a bundle. Other blocks are skipped, as in Go's AppendCertsFromPEM.
fn authorities(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let blocks = pem::blocks(pem);
    let found: Vec<CertificateDer<'static>> = blocks
        .into_iter()
        .filter(|block| block.label == "CERTIFICATE" && !block.headers && der::outline(&block.der).is_some())
        .map(|block| block.der.into())
        .collect();
    if found.is_empty() {
        return Err("there is no certificate in it (PEM, -----BEGIN CERTIFICATE-----)".into());
    }
    Ok(found)
}

/// A client's certificate and key, read as Go's X509KeyPair reads them.
fn certified(cert: &[u8], key: &[u8]) -> Result<CertifiedKey, String> {
    let chain: Vec<CertificateDer<'static>> = pem::blocks(cert)
        .into_iter()
        .filter(|block| block.label == "CERTIFICATE")
        .map(|block| block.der.into())
        .collect();
    if chain.is_empty() {
        return Err("client-certificate: there is no certificate in it (PEM)".into());
    }
    let found = pem::blocks(key)
        .into_iter()
        .find(|block| block.label == "PRIVATE KEY" || block.label.ends_with(" PRIVATE KEY"))
        .ok_or("client-key: there is no private key in it (PEM)")?;
    if found.headers || found.label == "ENCRYPTED PRIVATE KEY" {
        return Err("client-key: it is encrypted with a password, which kubectl cannot use either: decrypt it with `openssl pkey -in KEY`".into());
    }
    let label = found.label.clone();
    let der = found.der.clone();
    let private = PrivateKeyDer::try_from(found.der)
        .map_err(|_| format!("client-key: the {label} in it is not a key of a known form"))?;
    let signer = default_provider().key_provider.load_private_key(private).map_err(|e| {
        let why = if holds(&der, P521) {
            "it is a P-521 key, which is not supported here: use P-256, P-384, Ed25519 or RSA".to_owned()
        } else if label.starts_with("RSA") || holds(&der, RSA) {
            format!("this RSA key cannot be used: 2048 to 8192 bits are supported ({e})")
        } else {
            format!("this key cannot be used: {e}")
        };
        format!("client-key: {why}")
    })?;
    let certified = CertifiedKey::new(chain, signer);
    match certified.keys_match() {
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err("client-key: it is the key of another certificate".into())
        }
        // rustls cannot read a certificate of version 1, so the key is not compared; the server checks it
        _ => Ok(certified),
    }
}

/// The object identifiers of secp521r1 and rsaEncryption as they are encoded in a key.
const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
