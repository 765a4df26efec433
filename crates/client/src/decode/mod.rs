//! Content codings undone as bytes arrive: [`Decoder`], which knows where it could begin again.
//!
//! A zstd body is a row of frames and a gzip body a row of members; behind each of them a decoder that knows nothing can begin. That
//! place is a [`RestartPoint`]: a body that broke off is gone on with from there by a range of the *encoded* form.
//!
//! ```
//! use fhirhose_client::{Coding, DecodeLimits, Decoder, RestartPoint};
//!
//! let mut decoder = Decoder::new(Coding::Identity, RestartPoint::default(), DecodeLimits::default())?;
//! let mut text = Vec::new();
//! decoder.push(b"{}\n", &mut |piece| Ok(text.extend_from_slice(piece)))?;
//! decoder.finish()?;
//! assert_eq!((text.as_slice(), decoder.restart_point().decoded), (&b"{}\n"[..], 3));
//! # Ok::<(), fhirhose_client::Error>(())
//! ```

mod codec;

use codec::Codec;
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// How much text is given to the sink at once, at most; of a body without a coding as much as came.
const PIECE_BYTES: usize = 256 << 10;

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coding {
    /// As it is.
    #[default]
    Identity,
    /// gzip (RFC 1952).
    Gzip,
    /// zstd (RFC 8878).
    Zstd,
}

impl Coding {
    /// Its name in `Accept-Encoding` and `Content-Encoding`.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// Reads a `Content-Encoding`.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] with the name of a coding that is not known here, or of several one upon the other.
    pub fn parse(header: &str) -> Result<Self> {
        match header.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            other => {
                let name: String = other
                    .chars()
                    .filter(|letter| !letter.is_control())
                    .take(64)
                    .collect();
                let problem = format!("the content coding `{name}` is not known, and was not asked for");
                Err(Error::new(ErrorKind::Protocol, problem))
            }
        }
    }
}

/// A place where decoding can begin: behind a whole frame or member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RestartPoint {
    /// Its offset in the encoded form.
    pub encoded: u64,
    /// Its offset in the text.
    pub decoded: u64,
}

/// What one body may become, so that a few bytes do not fill a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// How much text no ratio is asked of, in bytes.
    pub free_bytes: u64,
    /// How many bytes of text there may be to each encoded byte, beyond that.
    pub ratio_max: u64,
    /// The window that a zstd frame may want, as a power of two. 23, or 8 MiB, is what RFC 9659 lets a body have.
    pub zstd_window_log_max: u32,
    /// Whether the checksums of zstd frames are passed over: for a text that is held to a SHA-256 of its own at its end.
    pub passes_checksums: bool,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            free_bytes: 1 << 30,
            ratio_max: 1_000,
            zstd_window_log_max: 23,
            passes_checksums: false,
        }
    }
}

/// Undoes the coding of one body.
pub struct Decoder {
    coding: Coding,
    /// None without a coding.
    codec: Option<Codec>,
    /// How much has come and how much was given.
    at: RestartPoint,
    restart: RestartPoint,
    /// Whether a frame or a member is begun and not ended.
    is_inside: bool,
    limits: DecodeLimits,
    piece: Vec<u8>,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Decoder")
            .field("coding", &self.coding())
            .field("at", &self.at)
            .field("restart", &self.restart)
            .finish_non_exhaustive()
    }
}

impl Decoder {
    /// Begins at the beginning, or at a restart point of an earlier decoder of the same form of the same file.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when the zstd library does not take the window of `limits`.
    pub fn new(coding: Coding, from: RestartPoint, limits: DecodeLimits) -> Result<Self> {
        let piece_bytes = match coding {
            Coding::Identity => 0,
            Coding::Gzip | Coding::Zstd => PIECE_BYTES,
        };
        Ok(Self {
            coding,
            codec: Codec::new(coding, &limits)?,
            at: from,
            restart: from,
            is_inside: false,
            limits,
            piece: vec![0; piece_bytes],
        })
    }

    /// The coding that is undone.
    pub fn coding(&self) -> Coding {
        self.coding
    }

    /// Takes encoded bytes, all of them, and gives text to `sink`, at most 256 KiB at once unless the body has no coding. Blocks as long
    /// as the sink does.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] for what is not of the coding, or becomes more than the limits allow; and what the sink says. Afterwards the
    /// decoder is of no use.
    pub fn push(&mut self, encoded: &[u8], sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut rest = encoded;
        loop {
            let Some(codec) = &mut self.codec else {
                return self.pass(encoded, sink);
            };
            let step = codec.step(rest, &mut self.piece)?;
            rest = &rest[step.read..];
            self.at.encoded += step.read as u64;
            self.at.decoded += step.written as u64;
            self.check_growth()?;
            if step.written > 0 {
                sink(&self.piece[..step.written])?;
            }
            self.is_inside = !step.is_end && (self.is_inside || step.read > 0);
            if step.is_end {
                self.restart = self.at;
            }
            // A full piece may have more behind it, without any more input.
            if rest.is_empty() && step.written < self.piece.len() {
                return Ok(());
            }
            if step.read == 0 && step.written == 0 && !step.is_end {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    "the compressed body does not go on",
                ));
            }
        }
    }

    /// Gives bytes that have no coding.
    fn pass(&mut self, text: &[u8], sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        sink(text)?;
        self.at.encoded += text.len() as u64;
        self.at.decoded += text.len() as u64;
        self.restart = self.at;
        Ok(())
    }

    /// Hears that the body has ended.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] within a frame or a member: the body was cut off.
    pub fn finish(&self) -> Result<()> {
        match self.is_inside {
            true => {
                let problem = format!("the {} body was cut off", self.coding().token());
                Err(Error::new(ErrorKind::Corrupt, problem))
            }
            false => Ok(()),
        }
    }

    /// The last place where another decoder could begin; of a body without a coding, where this one is.
    pub fn restart_point(&self) -> RestartPoint {
        self.restart
    }

    /// How much has come and how much was given: a connection that broke is gone on with from `encoded` by this decoder.
    pub fn position(&self) -> RestartPoint {
        self.at
    }

    fn check_growth(&self) -> Result<()> {
        let allowed = self.at.encoded.saturating_mul(self.limits.ratio_max);
        if self.at.decoded <= allowed.max(self.limits.free_bytes) {
            return Ok(());
        }
        let problem = format!("the compressed body becomes more than {allowed} bytes, which is not believed");
        Err(Error::new(ErrorKind::Corrupt, problem))
    }
}

#[cfg(test)]
mod tests;
