//! What the data files say is done differently is not what is done anyway.

use fhirhose_client::{QuirkProfile, Quirks};

#[test]
fn a_workaround_does_something() {
    let defaults = serde_json::to_value(Quirks::default()).unwrap();
    for profile in QuirkProfile::known() {
        for difference in &profile.differences {
            for (member, value) in &difference.workaround {
                let place = format!("{}: {}: {member}", profile.name, difference.id);
                assert_ne!(defaults[member], *value, "{place}");
            }
        }
    }
}
