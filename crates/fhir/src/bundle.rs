//! The lines of a `deleted` file: transaction Bundles whose entries are deletions (spec M-31).
//!
//! [`write_deleted_bundles`] puts up to [`DELETED_ENTRIES_MAX`] deletions into one line. Which resources count as deleted is decided above.

use crate::id::Id;
use crate::resource_type::ResourceType;

/// Most deletions in one Bundle: a consumer applies a Bundle as one transaction, which should stay small.
pub const DELETED_ENTRIES_MAX: usize = 100;

/// Appends Bundle lines, each ended by a line feed, for these deletions in their order; returns the number of lines.
///
/// Every line but the last holds [`DELETED_ENTRIES_MAX`] entries; no deletions give no line, for a Bundle without entries says nothing.
pub fn write_deleted_bundles<'a>(
    deleted: impl IntoIterator<Item = (ResourceType, &'a Id)>,
    out: &mut Vec<u8>,
) -> u64 {
    let mut lines = 0;
    let mut entries = 0;
    for (resource_type, id) in deleted {
        if entries == DELETED_ENTRIES_MAX {
            out.extend_from_slice(BUNDLE_END);
            entries = 0;
        }
        if entries == 0 {
            out.extend_from_slice(BUNDLE_START);
            lines += 1;
        } else {
            out.push(b',');
        }
        write_entry(resource_type, id, out);
        entries += 1;
    }
    if entries > 0 {
        out.extend_from_slice(BUNDLE_END);
    }
    lines
}

const BUNDLE_START: &[u8] = br#"{"resourceType":"Bundle","type":"transaction","entry":["#;
const BUNDLE_END: &[u8] = b"]}\n";

/// Type names and ids have no character that JSON or a URL would escape.
fn write_entry(resource_type: ResourceType, id: &Id, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"request":{"method":"DELETE","url":""#);
    out.extend_from_slice(resource_type.name().as_bytes());
    out.push(b'/');
    out.extend_from_slice(id.as_str().as_bytes());
    out.extend_from_slice(br#""}}"#);
}
