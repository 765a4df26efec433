//! The `Prefer` header of a kick-off (RFC 7240; spec K-21 to K-24).
//!
//! [`Preferences::parse`] reads what the client asks for. Whether a missing `respond-async` is an error is the server's
//! setting, and a preference that the server does not honour is simply not applied: that is what RFC 7240 wants.
//!
//! ```
//! use fhirhose_fhir::prefer::{Handling, Preferences};
//! let preferences = Preferences::parse(["respond-async, handling=lenient"]);
//! assert!(preferences.respond_async);
//! assert_eq!(preferences.handling, Handling::Lenient);
//! ```

use crate::header::{name_and_value, split};

/// What to do about a parameter that is not supported (K-22).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Handling {
    /// Refuse the request.
    #[default]
    Strict,
    /// Go on without the parameter, and report it.
    Lenient,
}

/// What the answer to a write is to carry (FHIR R4, http, return preference).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Return {
    /// Nothing.
    Minimal,
    /// The resource.
    #[default]
    Representation,
    /// An OperationOutcome.
    OperationOutcome,
}

/// The preferences of one request that Bulk Data gives a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Preferences {
    /// `respond-async` was given.
    pub respond_async: bool,
    /// `handling=strict` or `handling=lenient`; strict when not given.
    pub handling: Handling,
    /// `separate-export-status` was given (K-23).
    pub separate_export_status: bool,
    /// `return=…` was given; the representation when not.
    pub returns: Return,
}

impl Preferences {
    /// Reads all values of the `Prefer` header (K-24): several headers, commas, semicolons, any case, optional spaces, quotes.
    ///
    /// A preference that is not known, or has an unknown value, is skipped; of repeated ones the first counts (RFC 7240 §2).
    /// A semicolon separates like a comma, because clients in the field write `respond-async; handling=lenient`.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut respond_async = false;
        let mut separate_export_status = false;
        let mut handling = None;
        let mut returns = None;
        let elements = values.into_iter().flat_map(|value| split(value, ','));
        for piece in elements.flat_map(|element| split(element, ';')) {
            let (name, value) = name_and_value(piece);
            match name.to_ascii_lowercase().as_str() {
                "respond-async" => respond_async = true,
                "separate-export-status" => separate_export_status = true,
                "handling" => handling = handling.or_else(|| parse_handling(value)),
                "return" => returns = returns.or_else(|| parse_return(value)),
                _ => {}
            }
        }
        Self {
            respond_async,
            handling: handling.unwrap_or_default(),
            separate_export_status,
            returns: returns.unwrap_or_default(),
        }
    }
}

fn parse_handling(value: &str) -> Option<Handling> {
    match value.to_ascii_lowercase().as_str() {
        "strict" => Some(Handling::Strict),
        "lenient" => Some(Handling::Lenient),
        _ => None,
    }
}

fn parse_return(value: &str) -> Option<Return> {
    match value.to_ascii_lowercase().as_str() {
        "minimal" => Some(Return::Minimal),
        "representation" => Some(Return::Representation),
        "operationoutcome" => Some(Return::OperationOutcome),
        _ => None,
    }
}
