//! Gathers the parameters of one kick-off, and all that is wrong with them: [`Reader`].

use super::argument::Argument;
use super::filters::Filter;
use super::parameters::{self, ExportParameter};
use super::{AssociatedData, ExportLevel, ExportRequest, KickOff};
use crate::elements::ElementFilter;
use crate::outcome::{Findings, Issue, IssueCode, LISTED_ISSUES_MAX, OperationOutcome, Severity};
use crate::parameters::clip;
use crate::prefer::Handling;
use crate::resource_type::ResourceType;

/// What was read so far. The readers of single parameters fill `request` and the lists beside it.
pub(super) struct Reader<'a> {
    pub(super) kick_off: &'a KickOff<'a>,
    pub(super) request: ExportRequest,
    /// Elements that were found good, and how many were given at all.
    pub(super) elements: (Vec<String>, usize),
    /// Filters that were found good, and how many were given at all.
    pub(super) filters: (Vec<Filter>, usize),
    /// Whether `_type` was given, with good types or bad ones.
    pub(super) types_given: bool,
    findings: Findings,
    /// The parameters of 0..1 that came already.
    seen: Vec<&'static str>,
    unlisted: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(kick_off: &'a KickOff<'a>) -> Self {
        let request = ExportRequest {
            level: kick_off.level.clone(),
            types: None,
            since: None,
            until: None,
            elements: None,
            patients: None,
            type_filters: Vec::new(),
            associated_data: AssociatedData::Default,
            organize_output_by: None,
            allow_partial_manifests: false,
            file_bytes_min: None,
            file_bytes_max: None,
            wire: kick_off.wire,
            ignored: Vec::new(),
            separate_status: kick_off.preferences.separate_export_status,
            dry_run: false,
            request_url: kick_off.request_url.to_owned(),
        };
        Self {
            kick_off,
            request,
            elements: (Vec::new(), 0),
            filters: (Vec::new(), 0),
            types_given: false,
            findings: Findings::default(),
            seen: Vec::new(),
            unlisted: 0,
        }
    }

    /// Reads one parameter.
    pub(super) fn take(&mut self, argument: &Argument<'_>) {
        let Some(parameter) = parameters::find(argument.name) else {
            let text = format!("the parameter {} is unknown", clip(argument.name));
            return self.leave_out(argument.place(Issue::error(IssueCode::NotSupported, text)));
        };
        if !parameter.repeats && self.came_before(parameter) {
            return self.refuse(argument.issue(IssueCode::Invalid, "given more than once"));
        }
        (parameter.read)(self, argument);
    }

    fn came_before(&mut self, parameter: &ExportParameter) -> bool {
        let came = self.seen.contains(&parameter.name);
        self.seen.push(parameter.name);
        came
    }

    /// Records what must not be: the request fails.
    pub(super) fn refuse(&mut self, issue: Issue) {
        self.findings.push(issue);
    }

    /// Records what is not supported: the request fails, or goes on without it and reports it (K-22).
    pub(super) fn leave_out(&mut self, issue: Issue) {
        self.leave_out_all(vec![issue]);
    }

    /// Records all that is not supported of one value: one outcome if it is left out.
    pub(super) fn leave_out_all(&mut self, issues: Vec<Issue>) {
        if self.kick_off.preferences.handling == Handling::Strict {
            return issues.into_iter().for_each(|issue| self.refuse(issue));
        }
        if self.request.ignored.len() == LISTED_ISSUES_MAX {
            self.unlisted += 1;
            return;
        }
        let softened = |issue: Issue| Issue {
            severity: Severity::Warning,
            details: format!("ignored: {}", issue.details),
            ..issue
        };
        let issues = issues.into_iter().map(softened).collect();
        self.request.ignored.push(OperationOutcome { issues });
    }

    /// Looks at what only shows when all parameters are known, and gives the request or everything that is wrong.
    pub(super) fn finish(mut self) -> Result<ExportRequest, OperationOutcome> {
        if let Some(patients) = &mut self.request.patients {
            patients.sort_unstable();
            patients.dedup();
        }
        self.check_types();
        self.check_window();
        self.check_file_sizes();
        self.finish_elements();
        self.finish_filters();
        if self.unlisted > 0 {
            let text = format!(
                "ignored: {} further parameters that are not listed",
                self.unlisted
            );
            let outcome = OperationOutcome::warning(IssueCode::TooLong, text);
            self.request.ignored.push(outcome);
        }
        self.findings.or(self.request)
    }

    /// Refuses types that can all not be in the export (spec §1.3 `_type`); some outside the compartment beside others are fine.
    fn check_types(&mut self) {
        if self.types_given
            && self.request.types.is_none()
            && self.kick_off.preferences.handling == Handling::Lenient
        {
            // Without a type that is known, going on would export all of them.
            let text = "_type: none of the types is known";
            self.refuse(Issue::error(IssueCode::NotSupported, text));
        }
        let types = self.request.types.as_deref().unwrap_or_default();
        if !types.is_empty() && !types.iter().any(|resource_type| self.is_exported(*resource_type)) {
            let text = "_type: none of the types is in the Patient compartment; use the system-level export";
            self.leave_out(Issue::error(IssueCode::NotSupported, text));
        }
    }

    fn check_window(&mut self) {
        if let (Some(since), Some(until)) = (self.request.since, self.request.until)
            && until <= since
        {
            let text = "_until: not after _since, so that nothing could match";
            self.refuse(Issue::error(IssueCode::Invariant, text));
        }
    }

    fn check_file_sizes(&mut self) {
        if let (Some(min), Some(max)) = (self.request.file_bytes_min, self.request.file_bytes_max)
            && max <= min
        {
            let text = "_maximumFileSize: not more than _minimumFileSize";
            self.refuse(Issue::error(IssueCode::Invariant, text));
        }
    }

    fn finish_elements(&mut self) {
        let elements = std::mem::take(&mut self.elements.0);
        if elements.is_empty() {
            return;
        }
        match ElementFilter::parse(elements.iter().map(String::as_str)) {
            Ok(filter) => self.request.elements = Some(filter),
            Err(error) => self.refuse(Issue::error(IssueCode::Value, format!("_elements: {error}"))),
        }
    }

    /// Takes the filters of types that are exported; the others would do nothing, in silence (T-11).
    fn finish_filters(&mut self) {
        for Filter { criteria, expression } in std::mem::take(&mut self.filters.0) {
            let resource_type = criteria.resource_type();
            let types = self.request.types.as_deref();
            let problem = if types.is_some_and(|types| !types.contains(&resource_type)) {
                "which _type leaves out"
            } else if !self.is_exported(resource_type) {
                "which is not in the Patient compartment"
            } else {
                self.request.type_filters.push(criteria);
                continue;
            };
            let text = format!("_typeFilter: the filter is on {resource_type}, {problem}");
            let issue = Issue::error(IssueCode::Invalid, text);
            self.leave_out(match expression {
                Some(expression) => issue.with_expression(expression),
                None => issue,
            });
        }
    }

    /// Whether the level has resources of a type in its own right.
    fn is_exported(&self, resource_type: ResourceType) -> bool {
        self.kick_off.level == ExportLevel::System || resource_type.in_patient_compartment()
    }
}
