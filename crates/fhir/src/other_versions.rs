//! Resource types that R4 does not have and another published version of FHIR has.
//!
//! Clients ask for scopes on every type that they know. A name in this list is such a type; any other that is not a
//! [`ResourceType`](crate::resource_type::ResourceType) is a slip.

/// The types, alphabetically, taken from the lists of resources of HL7's publications: DSTU2 (1.0.2), STU3 (3.0.2), R4B (4.3.0) and
/// R5 (5.0.0), less those of R4 (4.0.1); see `hl7.org/fhir/{DSTU2,STU3,R4B,R5}/resourcelist.html`. Abstract types are left out.
const TYPES: &[&str] = &[
    "ActorDefinition",
    "AdministrableProductDefinition",
    "ArtifactAssessment",
    "BiologicallyDerivedProductDispense",
    "BodySite",
    "Citation",
    "ClinicalUseDefinition",
    "ConditionDefinition",
    "Conformance",
    "DataElement",
    "DeviceAssociation",
    "DeviceComponent",
    "DeviceDispense",
    "DeviceUsage",
    "DeviceUseRequest",
    "DiagnosticOrder",
    "EligibilityRequest",
    "EligibilityResponse",
    "EncounterHistory",
    "EvidenceReport",
    "ExpansionProfile",
    "FormularyItem",
    "GenomicStudy",
    "ImagingManifest",
    "ImagingObjectSelection",
    "ImagingSelection",
    "Ingredient",
    "InventoryItem",
    "InventoryReport",
    "ManufacturedItemDefinition",
    "MedicationOrder",
    "MedicinalProductDefinition",
    "NutritionIntake",
    "NutritionProduct",
    "Order",
    "OrderResponse",
    "PackagedProductDefinition",
    "Permission",
    "ProcedureRequest",
    "ProcessRequest",
    "ProcessResponse",
    "ReferralRequest",
    "RegulatedAuthorization",
    "RequestOrchestration",
    "Requirements",
    "Sequence",
    "ServiceDefinition",
    "SubscriptionStatus",
    "SubscriptionTopic",
    "SubstanceDefinition",
    "TestPlan",
    "Transport",
];

/// Whether a name is a type of another published version and not of R4.
pub fn is_type_of_another_version(name: &str) -> bool {
    TYPES.binary_search(&name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource_type::ResourceType;

    #[test]
    fn the_list_is_sorted_and_holds_no_type_of_r4() {
        assert!(TYPES.is_sorted());
        assert!(TYPES.iter().all(|name| ResourceType::parse(name).is_none()));
        assert!(
            is_type_of_another_version("SubscriptionTopic") && is_type_of_another_version("ActorDefinition")
        );
        assert!(!is_type_of_another_version("Patient") && !is_type_of_another_version("Resource"));
    }
}
