//! Which crate may depend on which (the design's layout): arrows point down only, and some libraries are for some only.

use crate::workspace::{Dependency, Package};

/// A crate of the workspace and those of the workspace that it may use.
struct Layer {
    name: &'static str,
    may_use: &'static [&'static str],
}

/// From the bottom up.
const LAYERS: [Layer; 8] = [
    Layer {
        name: "fhirhose-fhir",
        may_use: &[],
    },
    Layer {
        name: "fhirhose-jobs",
        may_use: &[],
    },
    Layer {
        name: "fhirhose-auth",
        may_use: &["fhirhose-fhir"],
    },
    Layer {
        name: "fhirhose-store",
        may_use: &["fhirhose-jobs", "fhirhose-fhir"],
    },
    Layer {
        name: "fhirhose-client",
        may_use: &["fhirhose-auth", "fhirhose-fhir"],
    },
    Layer {
        name: "fhirhose-bulk",
        may_use: &[
            "fhirhose-store",
            "fhirhose-client",
            "fhirhose-jobs",
            "fhirhose-auth",
            "fhirhose-fhir",
        ],
    },
    Layer {
        name: "fhirhose-server",
        may_use: &[
            "fhirhose-bulk",
            "fhirhose-store",
            "fhirhose-client",
            "fhirhose-jobs",
            "fhirhose-auth",
            "fhirhose-fhir",
        ],
    },
    Layer {
        name: "fhirhose",
        // The layout names server, bulk and client. Those below them are here too, for the binary opens the store
        // and starts the runner that it hands to them.
        may_use: &[
            "fhirhose-server",
            "fhirhose-bulk",
            "fhirhose-client",
            "fhirhose-store",
            "fhirhose-jobs",
            "fhirhose-auth",
            "fhirhose-fhir",
        ],
    },
];

/// Libraries that only some crates may use outside their tests.
const RESERVED: [(&str, &[&str]); 3] = [
    ("axum", &["fhirhose-server", "fhirhose"]),
    ("reqwest", &["fhirhose-client", "fhirhose-server", "fhirhose"]),
    ("anyhow", &["fhirhose", "fhirhose-bench", "xtask"]),
];

/// Folders of the workspace that nothing depends on; they lie beside the layers, and the benchmarks may use any of them.
const BESIDE: [&str; 2] = ["fhirhose-bench", "xtask"];

/// Tells each arrow that the layout does not have.
pub(super) fn problems(packages: &[Package]) -> Vec<String> {
    packages.iter().flat_map(package_problems).collect()
}

fn package_problems(package: &Package) -> Vec<String> {
    let name = &package.name;
    let layer = LAYERS.iter().find(|layer| layer.name == name);
    if layer.is_none() && !BESIDE.contains(&name.as_str()) {
        return vec![format!("{name}: in no layer of the layout")];
    }
    let may_use = layer.map_or(&[][..], |layer| layer.may_use);
    let mut problems = Vec::new();
    for dependency in &package.dependencies {
        let below = layer.is_none() && LAYERS.iter().any(|layer| layer.name == dependency.name);
        if is_own(dependency)
            && !below
            && !may_use.contains(&dependency.name.as_str())
            && !is_own_test(package, dependency)
        {
            problems.push(format!("{name}: must not use {}", dependency.name));
        }
        if is_reserved_from(package, dependency) {
            problems.push(format!("{name}: {} is for other crates", dependency.name));
        }
    }
    problems
}

fn is_own(dependency: &Dependency) -> bool {
    BESIDE.contains(&dependency.name.as_str()) || LAYERS.iter().any(|layer| layer.name == dependency.name)
}

/// A crate whose tests use itself with another feature.
fn is_own_test(package: &Package, dependency: &Dependency) -> bool {
    dependency.dev && dependency.name == package.name
}

fn is_reserved_from(package: &Package, dependency: &Dependency) -> bool {
    let reserved = RESERVED.iter().find(|(library, _)| *library == dependency.name);
    !dependency.dev && reserved.is_some_and(|(_, users)| !users.contains(&package.name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::{LAYERS, problems};
    use crate::workspace::{Dependency, Package};

    fn package(name: &str, dependency: &str, dev: bool) -> Package {
        let dependency = Dependency {
            name: dependency.to_owned(),
            dev,
        };
        Package {
            name: name.to_owned(),
            dependencies: vec![dependency],
        }
    }

    fn check(name: &str, dependency: &str, expected: &[&str]) {
        assert_eq!(
            problems(&[package(name, dependency, false)]),
            expected,
            "{name} {dependency}"
        );
    }

    #[test]
    fn each_layer_uses_layers_below_only() {
        for (level, layer) in LAYERS.iter().enumerate() {
            for used in layer.may_use {
                assert!(
                    LAYERS[..level].iter().any(|below| below.name == *used),
                    "{} {used}",
                    layer.name
                );
            }
        }
    }

    #[test]
    fn an_arrow_that_the_layout_lacks_is_a_problem() {
        check("fhirhose-store", "fhirhose-fhir", &[]);
        check(
            "fhirhose-fhir",
            "fhirhose-jobs",
            &["fhirhose-fhir: must not use fhirhose-jobs"],
        );
        check(
            "fhirhose-client",
            "fhirhose-store",
            &["fhirhose-client: must not use fhirhose-store"],
        );
        check(
            "fhirhose-bulk",
            "fhirhose-server",
            &["fhirhose-bulk: must not use fhirhose-server"],
        );
        check("fhirhose-fhir", "xtask", &["fhirhose-fhir: must not use xtask"]);
        check(
            "fhirhose-new",
            "serde",
            &["fhirhose-new: in no layer of the layout"],
        );
    }

    #[test]
    fn only_their_own_crates_use_reserved_libraries() {
        check("fhirhose-server", "axum", &[]);
        check(
            "fhirhose-store",
            "axum",
            &["fhirhose-store: axum is for other crates"],
        );
        check("fhirhose-client", "reqwest", &[]);
        check(
            "fhirhose-bulk",
            "reqwest",
            &["fhirhose-bulk: reqwest is for other crates"],
        );
        check(
            "fhirhose-server",
            "anyhow",
            &["fhirhose-server: anyhow is for other crates"],
        );
    }

    #[test]
    fn tests_may_use_reserved_libraries_but_no_upper_layer() {
        assert!(problems(&[package("fhirhose-client", "axum", true)]).is_empty());
        assert!(problems(&[package("fhirhose-jobs", "fhirhose-jobs", true)]).is_empty());
        assert_eq!(
            problems(&[package("fhirhose-client", "fhirhose-server", true)]).len(),
            1
        );
    }
}
