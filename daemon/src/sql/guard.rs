//! What SQLite itself keeps a statement from. sqlx has no words for it, so this file speaks to SQLite directly; nothing
//! else in the house does.

use std::ffi::{CStr, c_char, c_int, c_void};

use libsqlite3_sys as sqlite;
use sqlx::sqlite::LockedSqliteHandle;

use crate::config::size::Size;

pub(super) const ERROR: i32 = sqlite::SQLITE_ERROR;
pub(super) const READ_ONLY: i32 = sqlite::SQLITE_READONLY;
pub(super) const INTERRUPTED: i32 = sqlite::SQLITE_INTERRUPT;
pub(super) const TOO_BIG: i32 = sqlite::SQLITE_TOOBIG;
pub(super) const CONSTRAINT: i32 = sqlite::SQLITE_CONSTRAINT;
pub(super) const MISMATCH: i32 = sqlite::SQLITE_MISMATCH;
pub(super) const NOT_AUTHORIZED: i32 = sqlite::SQLITE_AUTH;
pub(super) const RANGE: i32 = sqlite::SQLITE_RANGE;

/// Steps of SQLite's machine between two looks at whether the run goes on: some tens of microseconds.
pub(super) const STEPS: i32 = 4_096;

/// Pragmas that tell something, or change something within the database.
const PRAGMAS: [&str; 19] = [
    "application_id",
    "data_version",
    "encoding",
    "foreign_key_check",
    "foreign_key_list",
    "foreign_keys",
    "freelist_count",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "optimize",
    "page_count",
    "page_size",
    "quick_check",
    "table_info",
    "table_list",
    "table_xinfo",
    "user_version",
];

/// Keeps every statement of the connection within its database, and every value within `longest`.
pub(super) fn install(handle: &mut LockedSqliteHandle<'_>, longest: Size) {
    let database = handle.as_raw_handle().as_ptr();
    let longest = c_int::try_from(longest.0).unwrap_or(c_int::MAX);
    #[expect(unsafe_code, reason = "the handle is locked, so it is valid and used by no other thread")]
    unsafe {
        sqlite::sqlite3_set_authorizer(database, Some(authorize), std::ptr::null_mut());
        sqlite::sqlite3_limit(database, sqlite::SQLITE_LIMIT_LENGTH, longest);
    }
}

/// Whether a transaction is open.
pub(super) fn in_transaction(handle: &mut LockedSqliteHandle<'_>) -> bool {
    let database = handle.as_raw_handle().as_ptr();
    #[expect(unsafe_code, reason = "the handle is locked, so it is valid and used by no other thread")]
    let is_autocommit = unsafe { sqlite::sqlite3_get_autocommit(database) };
    is_autocommit == 0
}

/// Asked for each thing that a statement would do, when it is prepared: <https://www.sqlite.org/c3ref/set_authorizer.html>.
extern "C" fn authorize(
    _: *mut c_void,
    action: c_int,
    first: *const c_char,
    second: *const c_char,
    _: *const c_char,
    _: *const c_char,
) -> c_int {
    let allowed = match action {
        // An empty name is a temporary database, which VACUUM needs; any other name is a file.
        sqlite::SQLITE_ATTACH => text(first).is_empty(),
        sqlite::SQLITE_PRAGMA => PRAGMAS.iter().any(|pragma| text(first).eq_ignore_ascii_case(pragma)),
        sqlite::SQLITE_FUNCTION => !text(second).eq_ignore_ascii_case("load_extension"),
        _ => true,
    };
    if allowed { sqlite::SQLITE_OK } else { sqlite::SQLITE_DENY }
}

fn text<'a>(pointer: *const c_char) -> &'a str {
    if pointer.is_null() {
        return "";
    }
    #[expect(unsafe_code, reason = "SQLite passes text that ends with a zero and lives until the callback returns")]
    let text = unsafe { CStr::from_ptr(pointer) };
    // A name that is not text is none that is allowed.
    text.to_str().unwrap_or("?")
}
