//! What quirks do to a kick-off: [`Quirks::adapt`], and how lists are written in a query.

use std::borrow::Cow;

use fhirhose_fhir::export_request::ExportLevel;

use super::{ListForm, QuirkLevel, Quirks};
use crate::kick_off::ExportParameters;
use crate::{Error, ErrorKind, Result};

impl Quirks {
    /// Gives the parameters as this server is to be asked.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] for what the server does not have, before it is asked: a level, POST, or (unless it is asked to be lenient) a
    /// parameter.
    pub fn adapt<'a>(&self, parameters: &'a ExportParameters) -> Result<Cow<'a, ExportParameters>> {
        self.check(parameters)?;
        match &self.since_when_none {
            Some(since) if parameters.since.is_none() => Ok(Cow::Owned(ExportParameters {
                since: Some(since.clone()),
                ..parameters.clone()
            })),
            _ => Ok(Cow::Borrowed(parameters)),
        }
    }

    fn check(&self, parameters: &ExportParameters) -> Result<()> {
        let refuse = |what: String| {
            let problem = format!("{what}, as the quirks `{}` say; it was not asked", self.name);
            Err(Error::new(ErrorKind::Refused, problem))
        };
        let level = match parameters.level {
            ExportLevel::System => QuirkLevel::System,
            ExportLevel::AllPatients => QuirkLevel::Patient,
            ExportLevel::Group(_) => QuirkLevel::Group,
            ExportLevel::Patient(_) => return Ok(()),
        };
        if !self.levels.is_empty() && !self.levels.contains(&level) {
            let has: Vec<&str> = self.levels.iter().map(|level| level.name()).collect();
            let (asked, has) = (level.name(), has.join(" and "));
            return refuse(format!("the server has no export of {asked}, only of {has}"));
        }
        if parameters.wants_post() && !self.takes_post {
            return refuse("the server takes no kick-off by POST, which this one needs".to_owned());
        }
        if parameters.lenient {
            return Ok(());
        }
        let names = parameters.names();
        let unsupported = names
            .iter()
            .find(|name| self.unsupported_parameters.contains(*name));
        match unsupported {
            Some(name) => refuse(format!("the server does not support `{name}`")),
            None => Ok(()),
        }
    }

    /// Whether nothing is done differently.
    pub fn is_standard(&self) -> bool {
        let name = self.name.clone();
        *self
            == Self {
                name,
                ..Self::default()
            }
    }

    /// How many files are fetched at a time, of as many as are wanted; at least one.
    pub fn parallel(&self, wanted: usize) -> usize {
        let most = match self.parallel_downloads_max {
            0 => wanted,
            most => wanted.min(most),
        };
        most.max(1)
    }

    /// Several values of a parameter as those of a query.
    pub(crate) fn list(&self, values: &[String]) -> Vec<String> {
        written(self.lists, values)
    }

    /// Filters as values of `_typeFilter` in a query.
    pub(crate) fn filters(&self, filters: &[String]) -> Vec<String> {
        if !self.escapes_filter_commas {
            return written(self.type_filters, filters);
        }
        let escaped: Vec<String> = filters.iter().map(|filter| filter.replace(',', "%2C")).collect();
        written(self.type_filters, &escaped)
    }
}

impl QuirkLevel {
    fn name(self) -> &'static str {
        match self {
            Self::System => "the whole system",
            Self::Patient => "all patients",
            Self::Group => "a Group",
        }
    }
}

fn written(form: ListForm, values: &[String]) -> Vec<String> {
    match form {
        _ if values.is_empty() => Vec::new(),
        ListForm::Commas => vec![values.join(",")],
        ListForm::Repeats => values.to_vec(),
    }
}
