//! The key file of a new repository: the master key, encrypted with what scrypt makes of the password.

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use rustic_core::jiff::Timestamp;
use rustic_core::repofile::MasterKey;
use scrypt::Params;
use serde_json::json;

use crate::ArchiveError;
use crate::open::Cipher;
use crate::seal::Sealer;

/// The cost of one guess, as OWASP recommends it: 16 MiB for 2^14, five times. rustic takes 2^17 once, which is in the same
/// list but needs 128 MiB, more than all the rest of a backup; restic takes 2^14 or 2^15 as often as half a second allows.
/// <https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>
const LOG_N: u8 = 14;
const R: u32 = 8;
const P: u32 = 5;

fn failed(error: impl std::fmt::Display) -> ArchiveError {
    ArchiveError::Seal(error.to_string())
}

/// The content of a key file by which `password` opens the repository with the key `master`.
///
/// # Errors
///
/// When the system gives no random numbers.
pub fn key_file(master: &MasterKey, password: &str) -> Result<Vec<u8>, ArchiveError> {
    let mut salt = [0; 64];
    getrandom::fill(&mut salt).map_err(failed)?;
    let params = Params::new(LOG_N, R, P).map_err(failed)?;
    let mut derived = [0; 64];
    scrypt::scrypt(password.as_bytes(), &salt, &params, &mut derived).map_err(failed)?;
    let plain = serde_json::to_vec(master).map_err(failed)?;
    let mut sealer = Sealer::new(&Cipher::derived(&derived), None, true)?;
    let data = sealer.header(&plain)?;
    let file = json!({
        "created": Timestamp::now().to_string(),
        "kdf": "scrypt",
        "N": 1_u32 << LOG_N,
        "r": R,
        "p": P,
        "salt": BASE64.encode(salt),
        "data": BASE64.encode(data),
    });
    serde_json::to_vec(&file).map_err(failed)
}

#[cfg(test)]
mod tests {
    use rustic_core::repofile::KeyFile;

    use super::*;

    #[test]
    fn rustic_opens_it_with_the_password_and_no_other() {
        let master = MasterKey::new();
        let file: KeyFile = serde_json::from_slice(&key_file(&master, "secret").unwrap()).unwrap();
        assert_eq!((file.n, file.r, file.p), (16_384, 8, 5));
        assert!(file.key_from_password(&"secret").is_ok());
        assert!(file.key_from_password(&"other").is_err());
    }
}
