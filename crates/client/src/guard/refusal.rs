//! What the guard says when it refuses, also from deep within the HTTP library: [`Refusal`].

use std::error::Error as StdError;
use std::fmt;

/// What one is told of a server that cannot be reached and of one that may not be, alike: which it is would tell a stranger
/// what there is in the network behind us. The log tells.
pub(crate) const NOT_REACHED: &str =
    "the server cannot be reached, or fetching from its address is not allowed";

/// Why something is not fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The URL alone says so.
    Url(String),
    /// The address that the name stands for.
    Address,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(why) => f.write_str(why),
            Self::Address => f.write_str(NOT_REACHED),
        }
    }
}

impl StdError for Refusal {}

impl Refusal {
    /// Finds a refusal among the causes of an error.
    pub(crate) fn within<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        causes(error).find_map(|cause| cause.downcast_ref())
    }
}

/// An error and all below it; what an `io::Error` wraps included, which `source` leaves out.
pub(crate) fn causes<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |cause| below(*cause))
}

fn below<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e (dyn StdError + 'static)> {
    let wrapped = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    match wrapped {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}
