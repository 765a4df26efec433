//! One step of each coding, over the libraries that know it: [`Codec`].

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{Decoder as Frames, InBuffer, Operation, OutBuffer};
use zstd::zstd_safe::DParameter;

use super::{Coding, DecodeLimits};
use crate::{Error, ErrorKind, Result};

/// Windows of gzip have 32 KiB at most.
const GZIP_WINDOW_LOG: u8 = 15;

/// The state of a coding.
pub(super) enum Codec {
    Gzip {
        member: Box<Decompress>,
        /// Whether bytes of it have been read.
        is_begun: bool,
    },
    Zstd(Frames<'static>),
}

/// What one step has done.
pub(super) struct Step {
    pub(super) read: usize,
    pub(super) written: usize,
    /// Whether a frame or a member has just ended.
    pub(super) is_end: bool,
}

impl Codec {
    /// The state at the beginning; none for a body without a coding.
    pub(super) fn new(coding: Coding, limits: &DecodeLimits) -> Result<Option<Self>> {
        Ok(match coding {
            Coding::Identity => None,
            Coding::Gzip => Some(Self::gzip()),
            Coding::Zstd => {
                let mut frames = Frames::new().map_err(broken)?;
                let window = DParameter::WindowLogMax(limits.zstd_window_log_max);
                let checksums = DParameter::ForceIgnoreChecksum(limits.passes_checksums);
                frames.set_parameter(window).map_err(broken)?;
                frames.set_parameter(checksums).map_err(broken)?;
                Some(Self::Zstd(frames))
            }
        })
    }

    /// Reads some of `encoded` and writes some of `text`. Does nothing between members without input.
    pub(super) fn step(&mut self, encoded: &[u8], text: &mut [u8]) -> Result<Step> {
        match self {
            Self::Gzip { member, is_begun } => {
                if encoded.is_empty() && !*is_begun {
                    return Ok(Step {
                        read: 0,
                        written: 0,
                        is_end: false,
                    });
                }
                *is_begun = true;
                let (read, written) = (member.total_in(), member.total_out());
                let status = member
                    .decompress(encoded, text, FlushDecompress::None)
                    .map_err(broken)?;
                let step = Step {
                    read: usize::try_from(member.total_in() - read).map_err(broken)?,
                    written: usize::try_from(member.total_out() - written).map_err(broken)?,
                    is_end: status == Status::StreamEnd,
                };
                if step.is_end {
                    *self = Self::gzip();
                }
                Ok(step)
            }
            Self::Zstd(frames) => {
                let mut input = InBuffer::around(encoded);
                let mut output = OutBuffer::around(text);
                let hint = frames.run(&mut input, &mut output).map_err(broken)?;
                Ok(Step {
                    read: input.pos(),
                    written: output.pos(),
                    is_end: hint == 0,
                })
            }
        }
    }

    fn gzip() -> Self {
        Self::Gzip {
            member: Box::new(Decompress::new_gzip(GZIP_WINDOW_LOG)),
            is_begun: false,
        }
    }
}

fn broken(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Corrupt, "undoing the compression of a body").caused_by(source)
}
