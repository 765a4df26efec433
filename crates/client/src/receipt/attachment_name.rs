//! The name of a file in `attachments/`: [`AttachmentName`].

use std::fmt;

/// The longest extension of a name, in bytes.
pub const ATTACHMENT_EXTENSION_BYTES_MAX: usize = 16;

/// `<SHA-256 of the content in lower-case hex>.<extension>`, or the same without an extension.
///
/// The extension has 1 to [`ATTACHMENT_EXTENSION_BYTES_MAX`] bytes: ASCII letters and digits, behind the first of them `.`, `-`, `_` and `+`
/// too. Names are in the order of their texts. Small, for there may be a million of them in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttachmentName {
    sha256: [u8; 32],
    /// Filled up with zeros.
    extension: [u8; ATTACHMENT_EXTENSION_BYTES_MAX],
}

impl AttachmentName {
    /// Reads a name without its folder; `None` for every other name.
    pub fn parse(name: &str) -> Option<Self> {
        let (sha256, text) = match name.split_once('.') {
            Some((sha256, extension)) if is_extension(extension) => (sha256, extension),
            Some(_) => return None,
            None => (name, ""),
        };
        let mut extension = [0; ATTACHMENT_EXTENSION_BYTES_MAX];
        extension[..text.len()].copy_from_slice(text.as_bytes());
        Some(Self {
            sha256: unhex(sha256)?,
            extension,
        })
    }

    /// The SHA-256 that the content must have.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// Its path in a pulled folder.
    pub fn path(&self) -> String {
        format!("{}/{self}", super::ATTACHMENTS)
    }
}

impl fmt::Display for AttachmentName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&super::hex(&self.sha256))?;
        let extension = self.extension.split(|&byte| byte == 0).next().unwrap_or_default();
        match std::str::from_utf8(extension) {
            Ok(extension) if !extension.is_empty() => write!(out, ".{extension}"),
            _ => Ok(()),
        }
    }
}

fn is_extension(text: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b".-_+".contains(&byte);
    text.len() <= ATTACHMENT_EXTENSION_BYTES_MAX
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(is_good)
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(digits[0])? << 4 | digit(digits[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_alike_and_sorted_as_texts() {
        let hash = |digit: &str| digit.repeat(64);
        let names = [
            hash("0"),
            hash("0") + ".a",
            hash("0") + ".pdf",
            hash("0") + ".tar.gz",
            hash("a") + ".vnd-x_y+16bytes",
        ];
        let read: Vec<_> = names
            .iter()
            .map(|name| AttachmentName::parse(name).unwrap())
            .collect();
        assert!(read.is_sorted());
        for (name, read) in names.iter().zip(read) {
            assert_eq!(*name, read.to_string());
            assert_eq!(read.path(), format!("attachments/{name}"));
        }
        for other in [
            String::new(),
            "1.Patient.ndjson".to_owned(),
            hash("A") + ".pdf",
            hash("0") + ".",
            hash("0") + "..",
            hash("0") + "0.pdf",
            hash("0") + "/../x",
            hash("0") + ".p/f",
            hash("0") + ".seventeen-letters",
            hash("0") + ".é",
        ] {
            assert_eq!(AttachmentName::parse(&other), None, "{other}");
        }
    }
}
