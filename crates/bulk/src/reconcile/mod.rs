//! Compares two sides that should hold the same resources, and finds what differs without reading everything.
//!
//! [`tree`] has what is compared; [`Gatherer`] makes it; [`compare_type`] descends two trees where they differ. A side is a
//! [`ReconcileSide`]: [`StoreSide`], [`ServerSide`], [`FolderSide`]. [`Repair`] makes one like the other.

mod compare;
mod folder_side;
mod gather;
mod repair;
mod server_side;
mod side;
mod store_side;
pub mod tree;

pub use compare::{Difference, Differences, Found, TypeReport, compare_type};
pub use folder_side::{FolderLimits, FolderSide, types_of};
pub use gather::{Entry, Gathered, Gatherer, Listing};
pub use repair::{Repair, RepairReport};
pub use server_side::ServerSide;
pub use side::ReconcileSide;
pub use store_side::StoreSide;
