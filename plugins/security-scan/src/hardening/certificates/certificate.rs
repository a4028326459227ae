//! What a file says of the certificate in it: PEM or DER by anybody, so it is read to its end or refused.

use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, Uint};
use x509_cert::der::{self, Decode, Encode};
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};

/// `rsaEncryption` of RFC 8017.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// Algorithms of signatures with broken hashes: of RFC 8017 with RSA, RFC 3279 with DSA and ECDSA.
const WEAK: [(ObjectIdentifier, &str); 5] = [
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.2"), "MD2"),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.4"), "MD5"),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5"), "SHA-1"),
    (ObjectIdentifier::new_unwrap("1.2.840.10040.4.3"), "SHA-1"),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.1"), "SHA-1"),
];

/// Certificates in one file beyond which it is a collection.
const MOST: usize = 8;

/// What matters of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// In seconds since 1970.
    pub(crate) ends: i64,
    /// How it is signed, where that is weak.
    pub(crate) weak_signature: Option<&'static str>,
    /// Bits of its key, where it is one of RSA.
    pub(crate) rsa_bits: Option<usize>,
    pub(crate) is_self_signed: bool,
    /// Whether it is made to sign others, not to be shown by a server.
    pub(crate) is_authority: bool,
}

/// The first certificate of a file; none when it holds none or a collection.
///
/// # Errors
/// When it looks like one and cannot be read.
pub(crate) fn read(bytes: &[u8]) -> Result<Option<Known>, String> {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let count = bytes.windows(BEGIN.len()).filter(|it| *it == BEGIN).count();
    let told = |error: der::Error| error.to_string();
    let certificate = match (count, bytes.first()) {
        (1..=MOST, _) => Certificate::load_pem_chain(own_block(bytes, BEGIN)).map_err(told)?.into_iter().next(),
        // A sequence of DER.
        (0, Some(0x30)) => Some(Certificate::from_der(bytes).map_err(told)?),
        _ => None,
    };
    certificate.map(|it| known(&it).map_err(told)).transpose()
}

/// From the first certificate to its end: a key may stand before it, and the text of `openssl x509` between.
fn own_block<'a>(bytes: &'a [u8], begin: &[u8]) -> &'a [u8] {
    const END: &[u8] = b"-----END CERTIFICATE-----";
    let find = |wanted: &[u8], from: usize| {
        bytes[from..].windows(wanted.len()).position(|it| it == wanted).map(|at| from + at)
    };
    let start = find(begin, 0).unwrap_or(0);
    let end = find(END, start).map_or(bytes.len(), |at| at + END.len());
    &bytes[start..end]
}

fn known(certificate: &Certificate) -> der::Result<Known> {
    let inner = certificate.tbs_certificate();
    let ends = inner.validity().not_after.to_unix_duration().as_secs();
    let key = inner.subject_public_key_info();
    let is_rsa = key.algorithm.oid == RSA;
    let rsa_bits = is_rsa.then(|| key.subject_public_key.as_bytes().and_then(rsa_bits)).flatten();
    let is_self_signed = inner.subject().to_der()? == inner.issuer().to_der()?;
    let is_marked = inner.get_extension::<BasicConstraints>()?.is_some_and(|(_, it)| it.ca);
    let has_names = inner.get_extension::<SubjectAltName>()?.is_some();
    Ok(Known {
        ends: i64::try_from(ends).unwrap_or(i64::MAX),
        weak_signature: weak(&certificate.signature_algorithm().oid),
        rsa_bits,
        is_self_signed,
        // openssl marks whatever it signs by itself as an authority; one with names is shown by a server all the same.
        is_authority: is_marked && !has_names,
    })
}

fn weak(signature: &ObjectIdentifier) -> Option<&'static str> {
    WEAK.iter().find(|(algorithm, _)| algorithm == signature).map(|(_, hash)| *hash)
}

/// Bits of the modulus of an `RSAPublicKey` of RFC 8017.
fn rsa_bits(key: &[u8]) -> Option<usize> {
    let numbers: Vec<Uint> = Vec::from_der(key).ok()?;
    let modulus = numbers.first()?.as_bytes();
    let first = modulus.first()?;
    Some(modulus.len() * 8 - first.leading_zeros() as usize)
}
