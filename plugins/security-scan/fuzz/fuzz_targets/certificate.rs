//! A file that is called like a certificate: it is read or refused, and what stands around its block changes nothing.
#![no_main]

#[path = "../../src/hardening/certificates/certificate.rs"]
mod certificate;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some(known)) = certificate::read(bytes) else { return };
    assert!(known.rsa_bits.is_none_or(|bits| bits <= bytes.len() * 8));
    if bytes.starts_with(b"-----BEGIN CERTIFICATE-----") {
        let between = [b"Certificate:\n    Data:\n", bytes, b"\n# the end\n"].concat();
        assert_eq!(certificate::read(&between), Ok(Some(known)));
    }
});
