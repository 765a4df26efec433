//! Before an export: can the server be reached, what does it say of itself, does it give a token?

use serde_json::Value;
use url::{Host, Url};

use super::ask::{Seen, shown, told};
use super::certificate::not_after;
use super::{Check, Examination};
use crate::Error;
use crate::http::below;
use crate::quirks::QuirkProfile;
use crate::smart::token_uri;

/// A certificate that ends earlier is told of, in microseconds: 30 days.
const CERTIFICATE_MICROS_MIN: i64 = 30 * 24 * 60 * 60 * 1_000_000;

const TLS: (&str, &str) = ("R-02", "TLS");
const METADATA: (&str, &str) = ("FHIR", "CapabilityStatement");
const CONFIGURATION: (&str, &str) = ("A-01", "smart-configuration");

impl Examination {
    /// Looks at what the server says of itself, and gives the kind of server that it is.
    pub(super) async fn discover(&mut self) -> Option<QuirkProfile> {
        let mut base = self.provider.base().clone();
        base.set_query(None);
        let (mut statement, mut headers) = (Value::Null, reqwest::header::HeaderMap::new());
        match self
            .ask_openly(&below(&base, ["metadata"]), "application/fhir+json")
            .await
        {
            Ok(seen) => {
                self.look_at_connection(&base, &seen);
                statement = serde_json::from_slice(&seen.body).unwrap_or_default();
                headers = seen.headers.clone();
                self.look_at_statement(&seen, &statement);
            }
            Err(error) => self.note(unreachable(&base, &error)),
        }
        if self.is_reachable() {
            self.pause().await;
            self.look_at_configuration(&base, &statement).await;
        }
        QuirkProfile::recognise(&base, &statement, &headers).cloned()
    }

    fn look_at_connection(&mut self, base: &Url, seen: &Seen) {
        let (id, title) = TLS;
        if base.scheme() != "https" {
            self.note(match is_loopback(base) {
                true => Check::ok(id, title, "none, on this machine"),
                false => Check::differs(
                    id,
                    title,
                    "none: plain HTTP",
                    "all exchanges are secured by TLS 1.2 or newer",
                ),
            });
            return;
        }
        let mut said = "certificate, its chain and its name verified; TLS 1.2 or newer".to_owned();
        let now = self.provider.clock().now();
        let Some(end) = seen.certificate.as_deref().and_then(not_after) else {
            return self.note(Check::ok(id, title, said));
        };
        said.push_str(&format!("; good until {end}"));
        let is_near = end.micros().saturating_sub(now.micros()) < CERTIFICATE_MICROS_MIN;
        self.note(match is_near {
            true => Check::differs(id, title, said, "a certificate is renewed well before its end"),
            false => Check::ok(id, title, said),
        });
    }

    fn look_at_statement(&mut self, seen: &Seen, statement: &Value) {
        let (id, title) = METADATA;
        if !seen.status.is_success() || statement["resourceType"] != "CapabilityStatement" {
            let seen = format!("{} and no CapabilityStatement in JSON", seen.status);
            let check = Check::differs(
                id,
                title,
                seen,
                "`metadata` gives the CapabilityStatement to everybody",
            );
            return self.note(check.so("The server is known by its address alone."));
        }
        let text = |value: &Value| shown(value.as_str().unwrap_or("not said"));
        let version = text(&statement["fhirVersion"]);
        let software = &statement["software"];
        let said = format!(
            "FHIR {version}, software {} {}",
            text(&software["name"]),
            text(&software["version"])
        );
        self.note(match version.starts_with("4.") {
            true => Check::ok(id, title, said),
            false => Check::differs(id, title, said, "Bulk Data is defined on FHIR R4")
                .so("A pull keeps resources of any version; `fhirhose load` reads R4."),
        });
        self.note(exports(statement, self.settings.group.is_some()));
        let instantiates = statement["instantiates"].as_array().into_iter().flatten();
        let mut instantiates = instantiates.filter_map(Value::as_str);
        let (id, title) = ("BDT", "instantiates");
        self.note(
            match instantiates.any(|canonical| canonical.contains("/bulk-data")) {
                true => Check::ok(id, title, "the CapabilityStatement of Bulk Data Access"),
                false => Check::differs(
                    id,
                    title,
                    "not Bulk Data Access",
                    "`instantiates` names the CapabilityStatement of the guide (SHOULD)",
                ),
            },
        );
    }

    async fn look_at_configuration(&mut self, base: &Url, statement: &Value) {
        let (id, title) = CONFIGURATION;
        let url = below(base, [".well-known", "smart-configuration"]);
        let asked = self.ask_openly(&url, "application/json").await;
        let seen = match asked {
            Ok(seen) => seen,
            Err(error) => {
                let rule = "`.well-known/smart-configuration` is there for everybody";
                return self.note(Check::differs(id, title, told(&error), rule));
            }
        };
        let document: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
        if seen.status.is_success() && document["token_endpoint"].is_string() {
            self.is_open = false;
            return self.note(configuration(&document));
        }
        let legacy = token_uri(statement).is_some();
        self.is_open = !legacy;
        self.note(match legacy {
            true => Check::differs(
                id,
                title,
                format!(
                    "{}; the CapabilityStatement names the token endpoint",
                    seen.status
                ),
                "`.well-known/smart-configuration` names the token endpoint",
            )
            .so("The token endpoint is taken from the CapabilityStatement (oauth-uris)."),
            false => Check::ok(
                id,
                title,
                format!(
                    "{}: the server names no token endpoint and seems to be open",
                    seen.status
                ),
            ),
        });
    }

    /// Asks for one token, where there is a client to ask as.
    pub(super) async fn token(&mut self) {
        let (id, title) = ("A-21", "Token");
        let Some(tokens) = self.tokens.clone() else {
            let why = match (self.provider.has_credentials(), self.is_open) {
                (true, _) => "a token was given that somebody else has got",
                (false, true) => "the server names no token endpoint",
                (false, false) => "no client id and key were given",
            };
            return self.note(Check::not_tried(id, title, why));
        };
        self.pause().await;
        let token = match tokens.token_by(&**self.provider.clock()).await {
            Ok(token) => token,
            Err(error) => {
                let rule = "a signed assertion of a registered client is answered with a token";
                return self.note(Check::failed(id, title, told(&error), rule));
            }
        };
        self.note(Check::ok(
            id,
            title,
            "a signed assertion was answered with a bearer token",
        ));
        let (asked, granted) = (tokens.scopes_asked(), token.scope_text());
        let is_granted = |scope: &&str| granted.split_whitespace().any(|granted| granted == *scope);
        let (id, title) = ("CL-03", "Scopes");
        let all = asked.split_whitespace().all(|scope| is_granted(&scope));
        let said = format!("asked for `{}`, granted `{}`", shown(asked), shown(granted));
        self.note(match all {
            true => Check::ok(id, title, said),
            false => Check::differs(id, title, said, "a server may grant less than was asked for")
                .so("A pull stops early when a type that it needs is missing."),
        });
    }
}

/// Whether a URL leads to this machine.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn unreachable(base: &Url, error: &Error) -> Check {
    let why = told(error);
    let is_tls = base.scheme() == "https" && why.contains("certificate");
    let (id, title) = if is_tls { TLS } else { ("R-02", "Reachable") };
    let rule = match is_tls {
        true => {
            "the certificate is good, for this name, and signed by an authority that is trusted (--ca names others)"
        }
        false => "the FHIR base URL answers",
    };
    Check::failed(id, title, why, rule)
}

/// Which exports the server says that it has (K-01 to K-03).
fn exports(statement: &Value, has_group: bool) -> Check {
    let rests: Vec<&Value> = statement["rest"].as_array().into_iter().flatten().collect();
    let is_export = |operation: &Value, kind: &str| {
        let definition = match &operation["definition"] {
            Value::String(canonical) => canonical.as_str(),
            // FHIR STU3 has a Reference.
            reference => reference["reference"].as_str().unwrap_or_default(),
        };
        let definition = definition.split('|').next().unwrap_or_default();
        let name = operation["name"]
            .as_str()
            .unwrap_or_default()
            .trim_start_matches('$');
        definition.ends_with(kind) || name == kind || (kind == "/export" && name == "export")
    };
    let lists = |owner: &Value| owner["operation"].as_array().cloned().unwrap_or_default();
    let resources = |kind: &str| {
        let all = rests
            .iter()
            .flat_map(|rest| rest["resource"].as_array().into_iter().flatten());
        let of_kind = all.filter(|resource| resource["type"] == kind);
        of_kind.flat_map(lists).collect::<Vec<Value>>()
    };
    let of_system: Vec<Value> = rests.iter().flat_map(|rest| lists(rest)).collect();
    let has = |kind: &str, resource: &str| {
        let is_named = |operation: &Value| is_export(operation, kind);
        let is_plain = |operation: &Value| is_named(operation) || is_export(operation, "/export");
        of_system.iter().any(is_named) || resources(resource).iter().any(is_plain)
    };
    let system = of_system.iter().any(|operation| is_export(operation, "/export"));
    let levels = [
        ("the whole system", system),
        ("all patients", has("patient-export", "Patient")),
        ("Groups", has("group-export", "Group")),
    ];
    let names: Vec<&str> = levels
        .iter()
        .filter(|(_, has)| *has)
        .map(|(name, _)| *name)
        .collect();
    let (id, title) = ("K-03", "Exports that are declared");
    let said = if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    };
    let is_declared = levels[if has_group { 2 } else { 1 }].1;
    match is_declared {
        true => Check::ok(id, title, said),
        false => Check::differs(
            id,
            title,
            said,
            "the CapabilityStatement declares the export operations that there are",
        )
        .so("A pull asks nevertheless."),
    }
}

/// What `smart-configuration` says for Backend Services.
fn configuration(document: &Value) -> Check {
    let (id, title) = CONFIGURATION;
    let has = |member: &str, value: &str| {
        let values = document[member].as_array();
        values.is_some_and(|values| values.iter().any(|known| known == value))
    };
    let mut missing = Vec::new();
    for (member, value) in [
        ("grant_types_supported", "client_credentials"),
        ("capabilities", "client-confidential-asymmetric"),
        ("token_endpoint_auth_methods_supported", "private_key_jwt"),
    ] {
        if !has(member, value) {
            missing.push(format!("`{value}` in {member}"));
        }
    }
    let algorithms = "token_endpoint_auth_signing_alg_values_supported";
    if !has(algorithms, "RS384") && !has(algorithms, "ES384") {
        missing.push(format!("RS384 or ES384 in {algorithms}"));
    }
    match missing.is_empty() {
        true => Check::ok(
            id,
            title,
            "names the token endpoint and all that Backend Services need",
        ),
        false => Check::differs(
            id,
            title,
            format!("names the token endpoint, but not {}", missing.join(", ")),
            "these are required of servers of SMART Backend Services",
        )
        .so("A pull signs by what its key can do and asks nevertheless."),
    }
}
