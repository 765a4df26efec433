//! What is known of one kind of server, with where it is known from: [`QuirkProfile`].

use std::sync::LazyLock;

use reqwest::header::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use super::Quirks;
use crate::guard::HostPattern;
use crate::{Error, ErrorKind, Result};

/// The data files, in the order in which they are compared: HAPI last, for others are built with it.
const FILES: [&str; 8] = [
    include_str!("../../quirks/standard.json"),
    include_str!("../../quirks/fhirhose.json"),
    include_str!("../../quirks/epic.json"),
    include_str!("../../quirks/oracle-health.json"),
    include_str!("../../quirks/bcda.json"),
    include_str!("../../quirks/ab2d.json"),
    include_str!("../../quirks/dpc.json"),
    include_str!("../../quirks/hapi.json"),
];

static KNOWN: LazyLock<Vec<QuirkProfile>> = LazyLock::new(|| {
    let read = FILES.iter().map(|text| QuirkProfile::parse(text));
    read.collect::<Result<_>>()
        .expect("the files beside this one are read by a test")
});

/// A kind of server: how it is recognised, how it differs, and what is done about it. Read from a data file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QuirkProfile {
    /// Its name on command lines.
    pub name: String,
    /// Its name for people.
    pub title: String,
    /// What to know of it, in a sentence.
    pub about: String,
    /// By what it is recognised.
    pub recognise: Signs,
    /// How it differs.
    pub differences: Vec<Difference>,
    #[serde(skip)]
    quirks: Quirks,
}

/// By what a kind of server is recognised; one sign is enough.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Signs {
    /// `software.name` of its CapabilityStatement; with `*` at the end, how it begins.
    pub software: Vec<String>,
    /// `publisher` of its CapabilityStatement, likewise.
    pub publishers: Vec<String>,
    /// Its host, or `*.` and the domain above it.
    pub hosts: Vec<String>,
    /// Headers of its answers, lower case, with what is in them.
    pub headers: Map<String, Value>,
}

/// One way in which a server differs from the standard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Difference {
    /// Names it.
    pub id: String,
    /// What the server does.
    pub says: String,
    /// What is done about it: members of [`Quirks`].
    #[serde(default)]
    pub workaround: Map<String, Value>,
    /// What a person should know or do.
    pub advice: Option<String>,
    /// Where it is known from.
    pub sources: Vec<String>,
}

impl QuirkProfile {
    /// All that are known here.
    pub fn known() -> &'static [Self] {
        &KNOWN
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        KNOWN.iter().find(|profile| profile.name == name)
    }

    /// Reads a data file.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when it is not one, has a member that means nothing, or says a thing twice.
    pub fn parse(text: &str) -> Result<Self> {
        let broken = |why: String| Error::new(ErrorKind::Corrupt, format!("reading quirks: {why}"));
        let mut profile: Self = serde_json::from_str(text).map_err(|source| broken(source.to_string()))?;
        for pattern in &profile.recognise.hosts {
            pattern.parse::<HostPattern>()?;
        }
        let mut quirks = Map::new();
        quirks.insert("name".to_owned(), profile.name.clone().into());
        for (member, value) in profile
            .differences
            .iter()
            .flat_map(|difference| &difference.workaround)
        {
            if quirks.insert(member.clone(), value.clone()).is_some() {
                return Err(broken(format!("`{member}` is said twice")));
            }
        }
        profile.quirks =
            serde_json::from_value(Value::Object(quirks)).map_err(|source| broken(source.to_string()))?;
        Ok(profile)
    }

    /// What is done differently.
    pub fn quirks(&self) -> &Quirks {
        &self.quirks
    }

    /// Finds the kind of server by its address and, as far as they are there, its CapabilityStatement and the headers that it came with.
    pub fn recognise(base: &Url, statement: &Value, headers: &HeaderMap) -> Option<&'static Self> {
        KNOWN
            .iter()
            .find(|profile| profile.recognise.fit(base, statement, headers))
    }
}

impl Quirks {
    /// What is to be done differently with a server: what its kind needs, or nothing for one that is not known.
    pub fn recognise(base: &Url, statement: &Value, headers: &HeaderMap) -> Self {
        QuirkProfile::recognise(base, statement, headers)
            .map_or_else(Self::default, |profile| profile.quirks.clone())
    }
}

impl Signs {
    fn fit(&self, base: &Url, statement: &Value, headers: &HeaderMap) -> bool {
        let host = base.host_str().unwrap_or_default();
        let host_fits = |pattern: &String| {
            pattern
                .parse::<HostPattern>()
                .is_ok_and(|pattern| pattern.fits(host))
        };
        let header_fits = |(name, part): (&String, &Value)| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            let part = part.as_str().unwrap_or_default().to_ascii_lowercase();
            value.is_some_and(|value| value.to_ascii_lowercase().contains(&part))
        };
        self.hosts.iter().any(host_fits)
            || any_fits(&self.software, &statement["software"]["name"])
            || any_fits(&self.publishers, &statement["publisher"])
            || self.headers.iter().any(header_fits)
    }
}

/// Compares without regard to case; `*` at the end of a pattern stands for anything.
fn any_fits(patterns: &[String], said: &Value) -> bool {
    let Some(said) = said.as_str().map(str::to_lowercase) else {
        return false;
    };
    patterns.iter().any(|pattern| {
        let pattern = pattern.to_lowercase();
        match pattern.strip_suffix('*') {
            Some(beginning) => said.starts_with(beginning),
            None => said == pattern,
        }
    })
}
