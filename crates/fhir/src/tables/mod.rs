//! What HL7's R4 (4.0.1) definitions say about each resource type, as static tables.
//!
//! [`TYPES`] holds one [`TypeRow`] per concrete resource type, [`parameters`] its search parameters. `r4.rs` and `parameters.rs` are
//! written by `cargo xtask tables` from the published definitions and never by hand. Only what the code needs is in them: root
//! elements, compartment paths and search parameters, no data types, no value sets.

pub(crate) mod parameters;
mod r4;
pub(crate) mod search;

pub(crate) use r4::TYPES;

/// What is known about one concrete resource type.
#[derive(Debug)]
pub(crate) struct TypeRow {
    /// The type's name, e.g. `Observation`.
    pub(crate) name: &'static str,
    /// The elements at the root of the resource in the order of its definition, inherited ones first.
    pub(crate) elements: &'static [RootElement],
    /// Element paths (without the type's name) that put a resource into a patient's compartment, in the order of the
    /// Patient CompartmentDefinition; empty if the type is not in it. `Device.patient` is added to it (G-08).
    pub(crate) patient_paths: &'static [&'static str],
}

/// One element at the root of a resource.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RootElement {
    /// The element's name; of a choice element without `[x]`.
    pub(crate) name: &'static str,
    /// Whether the JSON member's name is `name` followed by the name of a data type.
    pub(crate) choice: bool,
    /// Whether the definition asks for at least one.
    pub(crate) mandatory: bool,
}

const fn optional(name: &'static str) -> RootElement {
    RootElement {
        name,
        choice: false,
        mandatory: false,
    }
}

const fn mandatory(name: &'static str) -> RootElement {
    RootElement {
        name,
        choice: false,
        mandatory: true,
    }
}

const fn optional_choice(name: &'static str) -> RootElement {
    RootElement {
        name,
        choice: true,
        mandatory: false,
    }
}

const fn mandatory_choice(name: &'static str) -> RootElement {
    RootElement {
        name,
        choice: true,
        mandatory: true,
    }
}

#[cfg(test)]
mod tests {
    use super::{RootElement, TYPES, TypeRow};

    fn row(name: &str) -> &'static TypeRow {
        TYPES.iter().find(|row| row.name == name).expect("a type of R4")
    }

    fn element(name: &str, element: &str) -> RootElement {
        *row(name)
            .elements
            .iter()
            .find(|each| each.name == element)
            .expect("an element of the type")
    }

    #[test]
    fn the_table_holds_all_concrete_types_of_r4_in_order() {
        // HL7's code system resource-types has 148 codes; Resource and DomainResource are abstract.
        assert_eq!(TYPES.len(), 146);
        assert!(TYPES.is_sorted_by(|a, b| a.name < b.name));
    }

    #[test]
    fn compartment_paths_follow_the_definition() {
        let paths = |name: &str| row(name).patient_paths.to_vec();
        assert_eq!(paths("Observation"), ["subject", "performer"]);
        assert_eq!(paths("Appointment"), ["participant.actor"]);
        assert_eq!(paths("AllergyIntolerance"), ["patient", "recorder", "asserter"]);
        assert_eq!(paths("AuditEvent"), ["agent.who", "entity.what"]);
        assert_eq!(paths("CarePlan"), ["subject", "activity.detail.performer"]);
        assert_eq!(paths("Patient"), ["link.other"]);
        assert_eq!(paths("Provenance"), ["target"]);
        assert_eq!(paths("SupplyRequest"), ["deliverTo"]);
        assert_eq!(paths("MedicationDispense"), ["subject", "receiver"]);
        assert!(paths("Practitioner").is_empty());
        assert!(paths("Task").is_empty(), "R4 leaves Task out");
    }

    /// G-08
    #[test]
    fn devices_are_in_the_compartment_of_their_patient() {
        assert_eq!(row("Device").patient_paths, ["patient"]);
    }

    #[test]
    fn compartment_paths_start_at_a_root_element() {
        for row in TYPES {
            for path in row.patient_paths {
                let root = path.split('.').next().expect("a path has a first step");
                assert!(
                    row.elements.iter().any(|element| element.name == root),
                    "{}.{path}",
                    row.name
                );
            }
        }
    }

    #[test]
    fn root_elements_know_choice_and_cardinality() {
        let status = element("Observation", "status");
        assert!(status.mandatory && !status.choice);
        let value = element("Observation", "value");
        assert!(value.choice && !value.mandatory);
        let medication = element("MedicationRequest", "medication");
        assert!(medication.choice && medication.mandatory);
        assert!(!element("Patient", "name").mandatory);
    }

    #[test]
    fn inherited_elements_come_first() {
        let first = |name: &str, count| -> Vec<_> {
            row(name)
                .elements
                .iter()
                .take(count)
                .map(|element| element.name)
                .collect()
        };
        let domain_resource = [
            "id",
            "meta",
            "implicitRules",
            "language",
            "text",
            "contained",
            "extension",
            "modifierExtension",
        ];
        assert_eq!(first("Patient", 8), domain_resource);
        assert_eq!(
            first("Bundle", 5),
            ["id", "meta", "implicitRules", "language", "identifier"]
        );
    }
}
