//! Exports: whose data a client may export, and of which types.

use std::collections::BTreeSet;

use fhirhose_auth::Actions;
use fhirhose_fhir::export_request::{AssociatedData, ExportLevel, ExportRequest};
use fhirhose_fhir::resource_type::ResourceType;

use super::{Rights, forbidden, held, needs, unreadable};
use crate::problem::Problem;

impl Rights {
    /// Checks whose data is asked for. One patient needs a scope for Patient, a Group one for Group (K-10), unless the client was given
    /// this very Group; a client that was given certain Groups gets at nobody's data but through them.
    ///
    /// # Errors
    /// 403 for too small a scope; 404 for a Group that is not for this client, the same as for one that is not there.
    pub(crate) fn check_level(&self, level: &ExportLevel) -> Result<(), Problem> {
        match (level, self.grant.is_held_to_groups()) {
            (ExportLevel::Group(id), true) => match self.grant.reaches_group(id) {
                true => Ok(()),
                false => Err(Problem::not_found(
                    "the Group that is to be exported does not exist",
                )),
            },
            (ExportLevel::Group(_), false) => match self.may(Actions::READ, ResourceType::GROUP) {
                true => Ok(()),
                false => Err(forbidden(&needs("system/Group.r"))),
            },
            (_, true) => Err(held()),
            // Whether there is such a patient is told by 404.
            (ExportLevel::Patient(_), false) => self.check(Actions::READ, ResourceType::PATIENT),
            (ExportLevel::System | ExportLevel::AllPatients, false) => Ok(()),
        }
    }

    /// Finds the types that an export may hold; `None` for all but `AuditEvent`, which must be named and then was checked.
    ///
    /// # Errors
    /// 403 for what is asked for by name and may not be read, filters too (K-45, A-43), and when nothing may be read at all.
    pub(crate) fn exported_types(
        &self,
        request: &ExportRequest,
    ) -> Result<Option<Vec<ResourceType>>, Problem> {
        let readable = self.exportable();
        let check = |what: &str, named: &mut dyn Iterator<Item = ResourceType>| {
            let refused: BTreeSet<ResourceType> = named.filter(|each| !readable.contains(each)).collect();
            match refused.is_empty() {
                true => Ok(()),
                false => Err(unreadable(what, &refused.into_iter().collect::<Vec<_>>())),
            }
        };
        check("_type", &mut request.types.iter().flatten().copied())?;
        let filtered = request.type_filters.iter();
        check(
            "_typeFilter",
            &mut filtered.map(|criteria| criteria.resource_type()),
        )?;
        check("organizeOutputBy", &mut request.organize_output_by.into_iter())?;
        if request.patients.is_some() {
            check("patient", &mut std::iter::once(ResourceType::PATIENT))?;
        }
        if request.associated_data != AssociatedData::Default {
            check(
                "includeAssociatedData",
                &mut std::iter::once(ResourceType::PROVENANCE),
            )?;
        }
        let is_every = self.grant.scopes.allows_every(Actions::READ);
        if is_every && !self.grant.is_held_to_groups() {
            return Ok(None);
        }
        let mut granted: Vec<ResourceType> = readable.into_iter().collect();
        if request.types.is_none() {
            granted.retain(|each| *each != ResourceType::AUDIT_EVENT);
        }
        match granted.is_empty() {
            true => Err(forbidden(
                "the token does not allow to read any type that would be exported",
            )),
            false => Ok(Some(granted)),
        }
    }

    /// Checks that the types of a job may be read: the token of a later request need not be the one that began it (A-54).
    ///
    /// # Errors
    /// 403 that names those that may not.
    pub(crate) fn check_types_of_job(&self, types: &[ResourceType]) -> Result<(), Problem> {
        let readable = self.exportable();
        let refused: Vec<ResourceType> = types
            .iter()
            .copied()
            .filter(|each| !readable.contains(each))
            .collect();
        match refused.is_empty() {
            true => Ok(()),
            false => Err(unreadable("the export", &refused)),
        }
    }

    /// The types that may come in an export. Where a client is held to its Groups, Group is none of them: the Groups of its patients
    /// name other patients.
    fn exportable(&self) -> BTreeSet<ResourceType> {
        let mut types = self.grant.scopes.types(Actions::READ);
        if self.grant.is_held_to_groups() {
            types.remove(&ResourceType::GROUP);
        }
        types
    }
}
