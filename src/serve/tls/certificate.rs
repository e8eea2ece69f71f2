//! A certificate with its key, checked before a server uses it.
//!
//! What no client could accept is refused: a key of another certificate, a weak key, a chain that
//! does not begin with the server's certificate. What only some clients or the clock decide is a
//! warning, because a restart at night must not end a server whose certificate has just expired.

use std::fmt::{self, Debug, Display, Formatter};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use webpki::{EndEntityCert, KeyUsage};

/// A certificate that ends within this time is worth a warning.
const ENDS_SOON: Duration = Duration::from_secs(14 * 24 * 3600);
/// The protocols that are offered. WebSockets need HTTP/1.1, and a browser that is offered HTTP/2
/// would take that.
const PROTOCOLS: [&[u8]; 1] = [b"http/1.1"];

/// A certificate and its key, ready for connections.
#[derive(Clone)]
pub struct Certificate {
    config: Arc<ServerConfig>,
    not_before: SystemTime,
    not_after: SystemTime,
    warnings: Vec<String>,
}

impl Debug for Certificate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// The file that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFile {
    /// The one with the certificates.
    Chain,
    /// The one with the key.
    Key,
}

/// Why a certificate cannot be used, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadCertificate {
    /// The file that is wrong.
    pub file: BadFile,
    what: String,
    /// What to do about it.
    pub hint: String,
}

impl Display for BadCertificate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for BadCertificate {}

impl BadFile {
    fn is(self, what: impl Into<String>, hint: impl Into<String>) -> BadCertificate {
        BadCertificate { file: self, what: what.into(), hint: hint.into() }
    }

    /// Refuses what is no PEM file.
    fn check_pem(self, content: &[u8]) -> Result<(), BadCertificate> {
        let is_pem = content.windows(11).any(|window| window == b"-----BEGIN ");
        if content.trim_ascii().is_empty() {
            Err(self.is("it is empty", "name the file that the certificate authority has written"))
        } else if is_pem {
            Ok(())
        } else if content.first() == Some(&0x30) {
            // A sequence in ASN.1, as which certificates and keys are encoded.
            let hint = match self {
                Self::Chain => "convert it: `openssl x509 -inform der -in FILE -out FILE.pem`",
                Self::Key => "convert it: `openssl pkey -inform der -in FILE -out FILE.pem`",
            };
            Err(self.is("it is DER, not PEM", hint))
        } else {
            Err(self.is("it is not PEM", "PEM files have lines such as `-----BEGIN …-----`"))
        }
    }

    fn is_damaged(self, error: &pem::Error) -> BadCertificate {
        self.is(format!("it is damaged: {error}"), "copy it again, with all its lines")
    }
}

/// The cryptography of all TLS in this program. Another crate may bring in a second one, so each
/// use names it.
pub(in crate::serve) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

impl Certificate {
    /// Reads the contents of two PEM files: the server's certificate with those of its issuers after
    /// it, and the key.
    ///
    /// # Errors
    /// What no client could accept, and what cannot be read.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, BadCertificate> {
        let chain = read_chain(chain)?;
        let key = read_key(key)?;
        let signing = provider().key_provider.load_private_key(key.clone_key());
        let signing = signing.map_err(|_| unusable(&key))?;
        let certified = CertifiedKey::new(chain, signing);
        check_first(&certified)?;
        let chain = &certified.cert;
        let leaf = EndEntityCert::try_from(&chain[0]).map_err(|error| {
            let hint = "let the certificate authority make a new one, of version 3";
            BadFile::Chain.is(format!("the certificate cannot be read: {error}"), hint)
        })?;
        let (not_before, not_after) = validity(&leaf)?;
        let mut warnings = Vec::new();
        warnings.extend(misplaced(chain).map(|number| {
            format!(
                "certificate {number} of the chain is not of the issuer of the one before it, so \
                 some clients will not trust it: put them in order, without others between them"
            )
        }));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| BadFile::Key.is(error.to_string(), "use a key of another kind"))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(Self { config: Arc::new(config), not_before, not_after, warnings })
    }

    /// What the handshake needs.
    pub(in crate::serve) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Why no client accepts it at this time, and what to do about it. None if it is valid.
    #[must_use]
    pub fn untimely(&self, now: SystemTime) -> Option<BadCertificate> {
        if now > self.not_after {
            let what = format!("the certificate has expired on {}", date(self.not_after));
            Some(BadFile::Chain.is(what, "renew it, and let the renewal write to the same file"))
        } else if now < self.not_before {
            let what = format!("the certificate is valid from {} only", date(self.not_before));
            Some(BadFile::Chain.is(what, "check the clock of this machine"))
        } else {
            None
        }
    }

    /// What is not quite right with it at this time, and what to do.
    #[must_use]
    pub fn warnings(&self, now: SystemTime) -> Vec<String> {
        let mut warnings = self.warnings.clone();
        warnings.extend(self.expiry_warning(now));
        warnings
    }

    /// What is to be said about its time of validity, from 14 days before its end.
    #[must_use]
    pub fn expiry_warning(&self, now: SystemTime) -> Option<String> {
        if let Some(untimely) = self.untimely(now) {
            return Some(format!("{untimely}: {}", untimely.hint));
        }
        let ends_soon = now + ENDS_SOON > self.not_after;
        ends_soon.then(|| {
            let end = date(self.not_after);
            format!("the certificate expires on {end}: renew it")
        })
    }

    /// The last moment at which it is valid.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }
}

fn date(time: SystemTime) -> String {
    httpdate::fmt_http_date(time)
}

/// The certificates of a file, in their order. Never empty.
fn read_chain(content: &[u8]) -> Result<Vec<CertificateDer<'static>>, BadCertificate> {
    BadFile::Chain.check_pem(content)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(content)
        .collect::<Result<_, _>>()
        .map_err(|error| BadFile::Chain.is_damaged(&error))?;
    if !chain.is_empty() {
        return Ok(chain);
    }
    let (what, hint) = if has_key(content) {
        ("it has a key and no certificate", "name the certificate's file first, and then the key's")
    } else {
        ("it has no certificate", "name a file with `-----BEGIN CERTIFICATE-----`")
    };
    Err(BadFile::Chain.is(what, hint))
}

fn has_key(content: &[u8]) -> bool {
    PrivateKeyDer::from_pem_slice(content).is_ok()
}

fn read_key(content: &[u8]) -> Result<PrivateKeyDer<'static>, BadCertificate> {
    BadFile::Key.check_pem(content)?;
    let text = String::from_utf8_lossy(content);
    if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENC") {
        let hint = "decrypt it: `openssl pkey -in FILE -out FILE.plain`, and let only the server's \
                    user read that";
        return Err(BadFile::Key.is("the key is encrypted with a passphrase", hint));
    }
    PrivateKeyDer::from_pem_slice(content).map_err(|error| match error {
        pem::Error::NoItemsFound => BadFile::Key
            .is("it has no private key", "name a file with `-----BEGIN PRIVATE KEY-----`"),
        error => BadFile::Key.is_damaged(&error),
    })
}

/// Why a key cannot be used.
fn unusable(key: &PrivateKeyDer<'_>) -> BadCertificate {
    use ::ring::rsa::KeyPair;

    let rejected = match key {
        PrivateKeyDer::Pkcs1(key) => KeyPair::from_der(key.secret_pkcs1_der()).err(),
        PrivateKeyDer::Pkcs8(key) => KeyPair::from_pkcs8(key.secret_pkcs8_der()).err(),
        _ => None,
    };
    // ring has no other way to tell the reasons apart.
    if rejected.is_some_and(|rejected| rejected.to_string() == "TooSmall") {
        let hint = "make a new key of at least 2048 bits, or of the kind ECDSA P-256, and a new \
                    certificate for it";
        return BadFile::Key.is("the RSA key has fewer than 2048 bits, which is too weak", hint);
    }
    BadFile::Key.is(
        "the key is damaged, or of a kind that is not supported",
        "use ECDSA P-256 or P-384, Ed25519, or RSA with 2048 to 8192 bits",
    )
}

/// Checks that the first certificate is that of the key.
fn check_first(certified: &CertifiedKey) -> Result<(), BadCertificate> {
    let matches = |certificate: &CertificateDer<'static>| {
        CertifiedKey::new(vec![certificate.clone()], Arc::clone(&certified.key)).keys_match()
    };
    let mismatch = rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch);
    match matches(&certified.cert[0]) {
        Ok(()) => Ok(()),
        Err(error) if error != mismatch => Err(BadFile::Chain.is(
            format!("the certificate cannot be read: {error}"),
            "let the certificate authority make a new one, of version 3",
        )),
        Err(_) => {
            let own = certified.cert.iter().position(|certificate| matches(certificate).is_ok());
            Err(match own {
                Some(at) => BadFile::Chain.is(
                    format!(
                        "the certificates are in the wrong order: the server's own is number {}",
                        at + 1
                    ),
                    "put the server's certificate first, and its issuers after it",
                ),
                None => BadFile::Key.is(
                    "the key is not that of the certificate",
                    "name the key from which the certificate was made",
                ),
            })
        }
    }
}

/// The number, from 1, of the first certificate whose subject is not the issuer of the one before.
fn misplaced(chain: &[CertificateDer<'static>]) -> Option<usize> {
    let parsed: Vec<_> =
        chain.iter().map(|certificate| EndEntityCert::try_from(certificate).ok()).collect();
    let at = parsed.windows(2).position(|pair| match pair {
        [Some(issued), Some(issuer)] => issued.issuer() != issuer.subject(),
        _ => true,
    });
    at.map(|at| at + 2)
}

/// From when until when a certificate is valid. webpki tells each only as the reason for which it
/// refuses the certificate at a time outside.
fn validity(leaf: &EndEntityCert<'_>) -> Result<(SystemTime, SystemTime), BadCertificate> {
    let at = |seconds: u64| {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        leaf.verify_for_usage(&[], &[], &[], time, KeyUsage::server_auth(), None, None).err()
    };
    // The last second of the year 9999, after which no certificate can be valid.
    let end = at(253_402_300_800);
    let not_after = match end {
        Some(webpki::Error::CertExpired { not_after, .. }) => not_after,
        error => {
            let what = format!("the certificate's time of validity cannot be read: {error:?}");
            return Err(BadFile::Chain.is(what, "let the certificate authority make a new one"));
        }
    };
    let not_before = match at(0) {
        Some(webpki::Error::CertNotValidYet { not_before, .. }) => not_before,
        _ => UnixTime::since_unix_epoch(Duration::ZERO),
    };
    let time = |time: UnixTime| UNIX_EPOCH + Duration::from_secs(time.as_secs());
    Ok((time(not_before), time(not_after)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd,
    };

    /// RSA with 1024 bits, which no generator of the tests makes.
    const WEAK: &str = include_str!("../../../tests/it/certificates/weak.pem");
    const WEAK_KEY: &str = include_str!("../../../tests/it/certificates/weak.key");
    const WEAK_KEY_PKCS1: &str = include_str!("../../../tests/it/certificates/weak-pkcs1.key");

    fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    /// A certificate of this issuer, and its key.
    fn issued(
        issuer: &CertifiedIssuer<'static, KeyPair>,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(["logs.example".to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, issuer).unwrap(), key)
    }

    #[test]
    fn every_common_kind_of_key_is_taken() {
        for algorithm in
            [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519]
        {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let params = CertificateParams::new(["a".to_owned()]).unwrap();
            let certificate = params.self_signed(&key).unwrap();
            let (chain, key) = (certificate.pem(), key.serialize_pem());
            let read = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
            assert_eq!(read.warnings(SystemTime::now()), Vec::<String>::new(), "{algorithm:?}");
        }
    }

    #[test]
    fn what_no_client_could_accept_is_refused_with_the_file_and_the_reason() {
        let issuer = authority("issuer");
        let (own, key) = issued(&issuer, |_| ());
        let (chain, key_pem) = (own.pem(), key.serialize_pem());
        let other = KeyPair::generate().unwrap().serialize_pem();
        let reversed = issuer.pem() + &chain;
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n\
                         -----END ENCRYPTED PRIVATE KEY-----\n";
        let old_encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n\
                             -----END RSA PRIVATE KEY-----\n";
        let half = chain.replace("-----END", "");
        let not_asn1 = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let not_a_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let (chain_der, key_der) = (own.der().to_vec(), key.serialize_der());
        let (of_chain, of_key) = (BadFile::Chain, BadFile::Key);
        for (chain, key, file, what) in [
            (b" \n".as_slice(), key_pem.as_bytes(), of_chain, "it is empty"),
            (chain.as_bytes(), b"", of_key, "it is empty"),
            (&chain_der, key_pem.as_bytes(), of_chain, "it is DER, not PEM"),
            (chain.as_bytes(), &key_der, of_key, "it is DER, not PEM"),
            (b"hello", key_pem.as_bytes(), of_chain, "it is not PEM"),
            (chain.as_bytes(), b"hello", of_key, "it is not PEM"),
            (key_pem.as_bytes(), chain.as_bytes(), of_chain, "a key and no certificate"),
            (chain.as_bytes(), chain.as_bytes(), of_key, "no private key"),
            (half.as_bytes(), key_pem.as_bytes(), of_chain, "it is damaged"),
            (not_asn1.as_bytes(), key_pem.as_bytes(), of_chain, "cannot be read"),
            (chain.as_bytes(), not_a_key.as_bytes(), of_key, "damaged, or of a kind"),
            (chain.as_bytes(), other.as_bytes(), of_key, "not that of the certificate"),
            (reversed.as_bytes(), key_pem.as_bytes(), of_chain, "the server's own is number 2"),
            (chain.as_bytes(), encrypted.as_bytes(), of_key, "encrypted with a passphrase"),
            (chain.as_bytes(), old_encrypted.as_bytes(), of_key, "encrypted with a passphrase"),
            (WEAK.as_bytes(), WEAK_KEY.as_bytes(), of_key, "fewer than 2048 bits"),
            (WEAK.as_bytes(), WEAK_KEY_PKCS1.as_bytes(), of_key, "fewer than 2048 bits"),
        ] {
            let wrong = Certificate::from_pem(chain, key).expect_err(what);
            assert_eq!(wrong.file, file, "{what}: {wrong}");
            assert!(wrong.to_string().contains(what), "{wrong} instead of {what}");
            assert!(!wrong.hint.is_empty(), "{what}");
        }
    }

    #[test]
    fn the_time_of_validity_is_read_and_only_warned_of() {
        let issuer = authority("issuer");
        let (certificate, key) = issued(&issuer, |params| {
            params.not_before = date_time_ymd(2030, 1, 1);
            params.not_after = date_time_ymd(2030, 3, 1);
        });
        let (chain, key) = (certificate.pem() + &issuer.pem(), key.serialize_pem());
        let read = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        let day = |days: u64| UNIX_EPOCH + Duration::from_secs((21_915 + days) * 24 * 3600);
        assert_eq!((read.not_before, read.not_after), (day(0), day(59)));
        for (now, warning) in [
            (day(0) - Duration::from_secs(1), "is valid from Tue, 01 Jan 2030"),
            (day(0), ""),
            (day(44), ""),
            (day(46), "expires on Fri, 01 Mar 2030"),
            (day(60), "has expired on Fri, 01 Mar 2030"),
        ] {
            let warnings = read.warnings(now).concat();
            assert!(warnings.contains(warning), "{warnings} instead of {warning}");
            assert_eq!(warnings.is_empty(), warning.is_empty(), "{warnings}");
            let is_untimely = read.untimely(now).is_some();
            assert_eq!(is_untimely, now < day(0) || now > day(59), "{warning}");
        }
    }

    #[test]
    fn a_chain_that_some_clients_cannot_follow_is_warned_of() {
        let (root, between) = (authority("root"), authority("between"));
        let (certificate, key) = issued(&between, |_| ());
        let key = key.serialize_pem();
        let warnings = |chain: String| {
            let read = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
            read.warnings(SystemTime::now()).concat()
        };
        assert_eq!(warnings(certificate.pem()), "");
        assert_eq!(warnings(certificate.pem() + &between.pem()), "");
        let wrong = warnings(certificate.pem() + &root.pem() + &between.pem());
        assert!(wrong.contains("certificate 2 of the chain"), "{wrong}");
    }
}
