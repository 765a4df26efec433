//! Filters of cohorts: whoever may choose them learns from who comes what the filtered resources hold.

use fhirhose_auth::Actions;
use fhirhose_fhir::group::GroupMembers;
use fhirhose_fhir::resource_type::ResourceType;

use super::{Rights, unreadable};
use crate::app::App;
use crate::problem::Problem;

impl Rights {
    /// Checks a resource that is about to be written: each `member-filter` of a Group must be of a type that may be read and
    /// searched. What cannot be read as a Group is refused when it is prepared.
    ///
    /// # Errors
    /// 403 that names the types.
    pub(crate) fn check_filters(
        &self,
        app: &App,
        resource_type: ResourceType,
        text: &[u8],
    ) -> Result<(), Problem> {
        if resource_type != ResourceType::GROUP {
            return Ok(());
        }
        let Ok(members) = GroupMembers::read(text, app.now()) else {
            return Ok(());
        };
        let filters = members.filters.iter().enumerate();
        let criteria = filters.filter_map(|(index, filter)| filter.compile(index, &app.base_url).ok());
        let mut types: Vec<ResourceType> = criteria
            .map(|criteria| criteria.resource_type())
            .filter(|each| !self.may(Actions::READING, *each))
            .collect();
        types.dedup();
        match types.as_slice() {
            [] => Ok(()),
            types => Err(unreadable("member-filter", types)),
        }
    }
}
