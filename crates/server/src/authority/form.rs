//! The form of a request to an OAuth endpoint: [`Form`].

use super::oauth::invalid_request;
use crate::problem::Problem;

/// The parameters of a form, decoded, each once.
#[derive(Debug)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// Makes a form of decoded pairs.
    ///
    /// # Errors
    /// `invalid_request` for a parameter that comes twice (RFC 6749 §3.2); unknown ones are nobody's concern, but not twice either.
    pub(crate) fn of(pairs: Vec<(String, String)>) -> Result<Self, Problem> {
        let mut names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(invalid_request("a parameter is given twice"));
        }
        Ok(Self(pairs))
    }

    /// Gives a parameter as it was sent, be it empty.
    pub(crate) fn sent(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Gives a parameter that must be there and not be empty (RFC 6749 §3.2 takes an empty one for missing).
    ///
    /// # Errors
    /// `invalid_request`
    pub(crate) fn needed(&self, name: &'static str) -> Result<&str, Problem> {
        let value = self.sent(name).filter(|value| !value.is_empty());
        value.ok_or_else(|| invalid_request(format!("the parameter {name} is missing")))
    }
}
