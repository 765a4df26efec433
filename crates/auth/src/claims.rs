//! The claims of a JWT: [`Claims`], typed on demand, and what holds of their times.

use fhirhose_fhir::instant::Instant;
use serde_json::{Map, Value};

use crate::json::object;

/// Microseconds of a second.
const MICROS: i64 = 1_000_000;

/// What is wrong with a JWT's claims. The texts quote nothing of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimFault {
    /// The payload is no object, or has a name twice.
    #[error("the JWT's claims are not a JSON object in which each name comes once")]
    NotJson,
    /// A claim is missing.
    #[error("the JWT has no claim `{0}`")]
    Missing(&'static str),
    /// A claim is not of its type, or is empty or too long.
    #[error("the JWT's claim `{0}` is malformed")]
    Malformed(&'static str),
    /// `exp` is past.
    #[error("the JWT has expired")]
    Expired,
    /// `nbf` or `iat` is to come.
    #[error("the JWT is not valid yet; do the clocks agree?")]
    Early,
}

/// The claims of a JWT.
pub(crate) struct Claims(Map<String, Value>);

impl Claims {
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, ClaimFault> {
        object(payload).map(Self).ok_or(ClaimFault::NotJson)
    }

    /// A claim that is a text and not empty, if it is there.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<&str>, ClaimFault> {
        let read = |value: &'_ Value| value.as_str().is_some_and(|text| !text.is_empty());
        match self.0.get(name) {
            None => Ok(None),
            Some(value) if read(value) => Ok(value.as_str()),
            Some(_) => Err(ClaimFault::Malformed(name)),
        }
    }

    /// A claim that is a text and has to be there.
    pub(crate) fn needed(&self, name: &'static str) -> Result<&str, ClaimFault> {
        self.text(name)?.ok_or(ClaimFault::Missing(name))
    }

    /// A claim that is an instant, if it is there.
    pub(crate) fn instant(&self, name: &'static str) -> Result<Option<Instant>, ClaimFault> {
        let read = |value: &Value| numeric_instant(value).ok_or(ClaimFault::Malformed(name));
        self.0.get(name).map(read).transpose()
    }

    /// A claim that is a text or an array of texts, at least one.
    pub(crate) fn texts(&self, name: &'static str) -> Result<Option<Vec<&str>>, ClaimFault> {
        let values = match self.0.get(name) {
            None => return Ok(None),
            Some(Value::Array(values)) => values.as_slice(),
            Some(value) => std::slice::from_ref(value),
        };
        let texts: Option<Vec<&str>> = values.iter().map(Value::as_str).collect();
        let texts = texts.filter(|texts| !texts.is_empty());
        texts.map(Some).ok_or(ClaimFault::Malformed(name))
    }
}

/// When a JWT is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) expires: Instant,
    pub(crate) issued: Option<Instant>,
    not_before: Option<Instant>,
}

impl Times {
    pub(crate) fn read(claims: &Claims) -> Result<Self, ClaimFault> {
        Ok(Self {
            expires: claims.instant("exp")?.ok_or(ClaimFault::Missing("exp"))?,
            issued: claims.instant("iat")?,
            not_before: claims.instant("nbf")?,
        })
    }

    /// Holds the times to a clock that may differ by so many seconds from that of whoever signed.
    pub(crate) fn check(&self, now: Instant, skew_secs: u64) -> Result<(), ClaimFault> {
        let latest = after(now, skew_secs);
        if after(self.expires, skew_secs) <= now {
            return Err(ClaimFault::Expired);
        }
        let is_early = |instant: Option<Instant>| instant.is_some_and(|instant| instant > latest);
        if is_early(self.not_before) || is_early(self.issued) {
            return Err(ClaimFault::Early);
        }
        Ok(())
    }
}

/// The instant so many seconds later.
pub(crate) fn after(instant: Instant, secs: u64) -> Instant {
    let micros = i64::try_from(secs).unwrap_or(i64::MAX).saturating_mul(MICROS);
    Instant::from_micros(instant.micros().saturating_add(micros))
}

/// Seconds since 1970, whole ones; what is over is cut off.
pub(crate) fn whole_seconds(instant: Instant) -> i64 {
    instant.micros().div_euclid(MICROS)
}

/// Writes an instant to the microsecond, as a whole number where it is one.
pub(crate) fn numeric_date(instant: Instant) -> Value {
    match instant.micros() % MICROS {
        0 => whole_seconds(instant).into(),
        // Exact until the year 2242: 2^53 microseconds.
        _ => (instant.micros() as f64 / MICROS as f64).into(),
    }
}

fn numeric_instant(value: &Value) -> Option<Instant> {
    let number = value.as_number()?;
    let micros = match number.as_i64() {
        Some(seconds) => seconds.saturating_mul(MICROS),
        // Beyond all instants the cast ends at the last one.
        None => (number.as_f64()? * MICROS as f64).round() as i64,
    };
    Some(Instant::from_micros(micros))
}
