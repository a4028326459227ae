//! Security advisories in the [OSV format]: which version is affected, how badly, and where it is fixed.
//!
//! Two plugins share this crate. One downloads all records of an ecosystem and gives them to a [`database::Builder`];
//! the other asks the [`database::Database`] that comes out of it about the packages of lock files and distributions.
//!
//! A record ([`osv`]) becomes an [`advisory`] for each package that it is about. Whether an installed version is
//! affected is decided by the [`range`](mod@range)s of the advisory in the order that the ecosystem has for its
//! [`version`]s. Advisories that mean the same become one [`vulnerability`], with the worst [`severity`] that any of
//! them says.
//!
//! Everything runs in a sandbox as well: there are no threads, no clock, and no files other than through
//! [`database::ReadAt`].
//!
//! [OSV format]: https://ossf.github.io/osv-schema/

pub mod advisory;
pub mod database;
pub mod ecosystem;
pub mod osv;
pub mod range;
pub mod severity;
pub mod version;
pub mod vulnerability;
