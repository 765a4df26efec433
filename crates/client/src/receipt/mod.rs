//! Folders of pulled or exported files, and the signed receipt in their `manifest.json` that proves them whole later and elsewhere.
//!
//! [`write_manifest`] ends a pull or an export: the server's manifest with the files' paths for URLs, and a [`Receipt`] with what each file
//! is, bound to the exact bytes of the manifest by a signature. What lies in `attachments/` by then it finds itself, and has bound by a list
//! of its own. [`PulledFolder::open`] reads such a folder, and those of other clients
//! without a receipt; [`PulledFolder::prove`] holds the files to what is written. How a third party checks a receipt is in
//! `docs/receipts.md`.
//!
//! Nothing here fetches anything, and nothing here decides which key is to be believed: the caller names the signer.

mod attachment_name;
mod attachments;
mod files;
mod folder;
mod head;
mod ids;
mod prove;
mod prove_attachments;
mod record;
mod scan;
mod seal;
mod write;

pub use attachment_name::{ATTACHMENT_EXTENSION_BYTES_MAX, AttachmentName};
pub(crate) use attachments::Attachments;
pub use attachments::{ATTACHMENTS, ATTACHMENTS_LIST, ReceiptAttachments};
pub use files::{FolderFile, is_ndjson};
pub(crate) use folder::{LISTS, receipt_in};
pub use folder::{MANIFEST, PulledFolder, Standing};
pub use head::ResourceHead;
pub use prove::{Damage, Extra, Proof, ProveSettings, Sealed};
pub use record::{Asked, RECEIPT_EXTENSION, Receipt, ReceiptFile};
pub(crate) use seal::{digest, hex};
pub use write::{Delivery, write_manifest};
pub(crate) use write::{clean_request, entry};

/// The longest `manifest.json` that is read, in bytes.
const MANIFEST_BYTES_MAX: u64 = 256 << 20;

/// The longest line that is looked into, in bytes; a longer one is damage.
const LINE_BYTES_MAX: usize = 1 << 30;
