//! Encryption of output files at rest: [`OutputKeys`], and the form of a sealed file.
//!
//! A sealed file is what an unsealed one is, piece by piece: each block and the index are sealed with AES-256-GCM on their own, so that
//! ranges and streams stay cheap. What tells how to open it comes last:
//!
//! ```text
//! sealed blocks · sealed index ([`super::index`], frame and all)
//! trailer: salt 32 · id of the key 8 · length of the sealed index u32 · crc32 of these u32 · "fhirenc1"
//! ```
//! The file's own key is HKDF-SHA256 of the key, with the salt, which is random, and the info `fhirhose output file 1`. No nonce comes
//! twice under it: it is the number of the block, u64, then 0, or 1 for the index, in 4 bytes. The associated data is the file's name,
//! `{job}/{file}`, and for the index the trailer too. So a block that was altered, moved, left out, or taken from another file
//! does not open, nor does a file under another name. Numbers are little-endian.

use std::fmt;
use std::sync::Arc;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{hkdf, hmac};

use super::OutputName;
use super::writer::hex;
use crate::{Error, ErrorKind, Result};

/// How much longer a sealed block is.
pub(super) const TAG_BYTES: usize = 16;

/// How long the trailer is.
pub(super) const TRAILER_BYTES: usize = SALT_BYTES + ID_BYTES + 16;

const SALT_BYTES: usize = 32;
const ID_BYTES: usize = 8;
const MAGIC: &[u8; 8] = b"fhirenc1";
const FILE_INFO: &[u8] = b"fhirhose output file 1";
const ID_INFO: &[u8] = b"fhirhose output key id 1";

/// The keys of output files: one that seals what is written, and older ones that still open what they sealed.
#[derive(Clone)]
pub struct OutputKeys {
    /// The one that seals comes first.
    keys: Arc<[MasterKey]>,
}

struct MasterKey {
    /// Tells which key a file wants, and nothing of the key.
    id: [u8; ID_BYTES],
    secret: [u8; 32],
}

impl OutputKeys {
    /// Seals with the first key and opens with all. Keys are 32 random bytes each.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] without a key.
    pub fn new(keys: Vec<[u8; 32]>) -> Result<Self> {
        if keys.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "there is no key for output files"));
        }
        let keys = keys.into_iter().map(|secret| {
            let signed = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), ID_INFO);
            let mut id = [0; ID_BYTES];
            id.copy_from_slice(&signed.as_ref()[..ID_BYTES]);
            MasterKey { id, secret }
        });
        Ok(Self { keys: keys.collect() })
    }

    /// Makes the key of a new file.
    pub(super) fn seal(&self, name: &OutputName) -> Result<FileCipher> {
        let mut salt = [0; SALT_BYTES];
        SystemRandom::new()
            .fill(&mut salt)
            .map_err(|_| Error::new(ErrorKind::Storage, "get random bytes for an output file"))?;
        FileCipher::new(&self.keys[0], salt, name)
    }
}

/// Makes the key of a sealed file again.
///
/// # Errors
/// [`ErrorKind::NoKey`] if the key that it wants is not among `keys`.
pub(super) fn open(keys: Option<&OutputKeys>, trailer: &Trailer, name: &OutputName) -> Result<FileCipher> {
    let known = keys.map(|keys| &*keys.keys).unwrap_or_default();
    let Some(key) = known.iter().find(|key| key.id == trailer.key_id) else {
        let problem = format!(
            "output {name} is encrypted with the key {}, which was not given: name it with --output-key-file or --output-key-command",
            hex(&trailer.key_id)
        );
        return Err(Error::new(ErrorKind::NoKey, problem));
    };
    FileCipher::new(key, trailer.salt, name)
}

impl fmt::Debug for OutputKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OutputKeys({} keys)", self.keys.len())
    }
}

/// A piece of a file that is sealed on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    Block(u64),
    /// The index, which is so long when it is sealed.
    Index(u32),
}

/// Seals and opens the pieces of one file.
pub(super) struct FileCipher {
    key: LessSafeKey,
    name: String,
    key_id: [u8; ID_BYTES],
    salt: [u8; SALT_BYTES],
}

impl FileCipher {
    fn new(master: &MasterKey, salt: [u8; SALT_BYTES], name: &OutputName) -> Result<Self> {
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, &salt).extract(&master.secret);
        let key = secret
            .expand(&[FILE_INFO], &AES_256_GCM)
            .map_err(|_| Error::new(ErrorKind::Storage, "make the key of an output file"))?;
        Ok(Self {
            key: LessSafeKey::new(UnboundKey::from(key)),
            name: name.to_string(),
            key_id: master.id,
            salt,
        })
    }

    /// Seals a piece in its place and puts the tag behind it.
    pub(super) fn seal(&self, piece: Piece, bytes: &mut Vec<u8>) -> Result<()> {
        self.key
            .seal_in_place_append_tag(nonce(piece), Aad::from(self.associated(piece)), bytes)
            .map_err(|_| Error::new(ErrorKind::Storage, "encrypt an output file"))
    }

    /// Opens a piece; `None` if it is not what was sealed in this place.
    pub(super) fn open(&self, piece: Piece, sealed: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = sealed.to_vec();
        let associated = Aad::from(self.associated(piece));
        let opened = self
            .key
            .open_in_place(nonce(piece), associated, &mut bytes)
            .ok()?;
        let length = opened.len();
        bytes.truncate(length);
        Some(bytes)
    }

    /// What comes behind a sealed index of this length.
    pub(super) fn trailer(&self, index_bytes: u32) -> Vec<u8> {
        let mut trailer = Vec::with_capacity(TRAILER_BYTES);
        trailer.extend_from_slice(&self.salt);
        trailer.extend_from_slice(&self.key_id);
        trailer.extend_from_slice(&index_bytes.to_le_bytes());
        trailer.extend_from_slice(&crc32fast::hash(&trailer).to_le_bytes());
        trailer.extend_from_slice(MAGIC);
        trailer
    }

    fn associated(&self, piece: Piece) -> Vec<u8> {
        let mut associated = self.name.clone().into_bytes();
        if let Piece::Index(bytes) = piece {
            associated.extend_from_slice(&self.trailer(bytes));
        }
        associated
    }
}

impl fmt::Debug for FileCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileCipher")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// How a sealed file is to be opened.
#[derive(Debug)]
pub(super) struct Trailer {
    salt: [u8; SALT_BYTES],
    key_id: [u8; ID_BYTES],
    /// How long the index before it is, sealed.
    pub(super) index_bytes: u32,
}

impl Trailer {
    /// Reads it from the last bytes of a file; `None` if the file is not sealed.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if it is not what was written.
    pub(super) fn read(tail: &[u8]) -> Result<Option<Self>> {
        let Some(trailer) = tail
            .last_chunk::<TRAILER_BYTES>()
            .filter(|tail| tail.ends_with(MAGIC))
        else {
            return Ok(None);
        };
        let corrupt = || {
            Error::new(
                ErrorKind::Corrupt,
                "the end of an encrypted file is not what was written",
            )
        };
        let (said, rest) = trailer.split_at(SALT_BYTES + ID_BYTES + 4);
        if crc32fast::hash(said).to_le_bytes() != rest[..4] {
            return Err(corrupt());
        }
        let (salt, rest) = said.split_at(SALT_BYTES);
        let (key_id, index_bytes) = rest.split_at(ID_BYTES);
        Ok(Some(Self {
            salt: salt.try_into().map_err(|_| corrupt())?,
            key_id: key_id.try_into().map_err(|_| corrupt())?,
            index_bytes: u32::from_le_bytes(index_bytes.try_into().map_err(|_| corrupt())?),
        }))
    }
}

fn nonce(piece: Piece) -> Nonce {
    let (number, kind) = match piece {
        Piece::Block(number) => (number, 0),
        Piece::Index(_) => (0, 1),
    };
    let mut nonce = [0; NONCE_LEN];
    nonce[..8].copy_from_slice(&number.to_le_bytes());
    nonce[8] = kind;
    Nonce::assume_unique_for_key(nonce)
}
