//! The token endpoint: checks assertions as SMART has it, and remembers what it gave.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use fhirhose_auth::{Assertion, AssertionRules};
use fhirhose_fhir::instant::Instant;
use serde_json::json;

use super::connection::{Answer, Request};
use super::manner::TokenManner;

/// What was given and used.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// Until when a token is good, in microseconds.
    given: HashMap<String, i64>,
    /// Ids of assertions.
    used: HashSet<String>,
}

impl Tokens {
    /// Whether a request shows a token that is good.
    pub(super) fn is_good(&self, request: &Request, now: Instant) -> bool {
        let until = bearer(request).and_then(|token| self.given.get(token));
        until.is_some_and(|until| now.micros() < *until)
    }

    /// Takes a request's token for good no more.
    pub(super) fn revoke(&mut self, request: &Request) {
        if let Some(token) = bearer(request) {
            self.given.remove(token);
        }
    }

    pub(super) fn answer(
        &mut self,
        request: &Request,
        url: &str,
        manner: &TokenManner,
        now: Instant,
    ) -> Answer {
        let field = |name: &str| {
            let mut fields = url::form_urlencoded::parse(&request.body);
            fields
                .find(|(own, _)| own == name)
                .map(|(_, value)| value.into_owned())
        };
        let assertion = field("client_assertion").unwrap_or_default();
        if let Err(why) = self.check(&assertion, url, manner, now) {
            let body = json!({"error": "invalid_client", "error_description": why}).to_string();
            return Answer::new(400).body("application/json", body);
        }
        let token = format!("secret-token-{}", self.given.len());
        let lifetime = i64::try_from(manner.lifetime_secs).unwrap_or(i64::MAX / 2_000_000);
        self.given
            .insert(token.clone(), now.micros() + lifetime * 1_000_000);
        let body = json!({
            "access_token": token,
            "token_type": "bearer",
            "expires_in": manner.lifetime_secs,
            "scope": field("scope").unwrap_or_default(),
        });
        Answer::new(200).body("application/json", Bytes::from(body.to_string()))
    }

    fn check(
        &mut self,
        assertion: &str,
        url: &str,
        manner: &TokenManner,
        now: Instant,
    ) -> Result<(), String> {
        let told = |fault: &dyn std::fmt::Display| fault.to_string();
        let assertion = Assertion::parse(assertion).map_err(|fault| told(&fault))?;
        assertion
            .check(&AssertionRules::smart(url), now)
            .map_err(|fault| told(&fault))?;
        let key = manner.keys.choose(assertion.kid(), assertion.algorithm());
        assertion
            .verify(key.map_err(|fault| told(&fault))?)
            .map_err(|fault| told(&fault))?;
        if assertion.client_id() != manner.client_id {
            return Err("no such client".to_owned());
        }
        if !self.used.insert(assertion.jti().to_owned()) {
            return Err("the assertion was used before".to_owned());
        }
        Ok(())
    }
}

fn bearer(request: &Request) -> Option<&str> {
    let mut headers = request.headers.iter();
    let (_, value) = headers.find(|(name, _)| name == "authorization")?;
    value.strip_prefix("Bearer ")
}
