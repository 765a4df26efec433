//! The table and its verdicts.

use crate::measure::Measured;
use std::fmt::Write as _;

/// The figures of one size of population.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// The population itself.
    pub(crate) population: Measured,
    /// Each scenario's median.
    pub(crate) scenarios: Vec<(String, Measured)>,
}

impl Figures {
    fn of(&self, scenario: &str) -> Measured {
        self.scenarios
            .iter()
            .find(|(name, _)| name == scenario)
            .map(|(_, measured)| *measured)
            .unwrap_or_default()
    }

    fn rate(&self, scenario: &str) -> f64 {
        let measured = self.of(scenario);
        measured.resources as f64 / measured.wall_secs.max(1e-9)
    }

    fn text_rate(&self, scenario: &str) -> f64 {
        let measured = self.of(scenario);
        measured.text_bytes as f64 / measured.wall_secs.max(1e-9)
    }

    fn peak(&self) -> u64 {
        self.scenarios
            .iter()
            .map(|(_, measured)| measured.peak_bytes)
            .max()
            .unwrap_or_default()
    }
}

/// Renders everything; also gives how many targets are missed.
pub(crate) fn render(small: &Figures, large: Option<&Figures>) -> (String, usize) {
    let mut text = String::new();
    for figures in std::iter::once(small).chain(large) {
        let (resources, bytes) = (figures.population.resources, figures.population.text_bytes);
        let each = bytes as f64 / resources.max(1) as f64;
        let _ = writeln!(
            text,
            "\n{resources} resources, {:.2} GB of NDJSON, {each:.0} bytes each",
            bytes as f64 / 1e9
        );
        let _ = writeln!(
            text,
            "{:<14} {:>12} {:>9} {:>9} {:>9} {:>10} {:>10}",
            "scenario", "resources/s", "MB/s", "seconds", "cpu s", "peak MiB", "disk MB"
        );
        for (name, measured) in &figures.scenarios {
            let seconds = measured.wall_secs.max(1e-9);
            let _ = writeln!(
                text,
                "{name:<14} {:>12.0} {:>9.0} {:>9.3} {:>9.2} {:>10} {:>10.1}",
                measured.resources as f64 / seconds,
                measured.text_bytes as f64 / seconds / 1e6,
                measured.wall_secs,
                measured.cpu_secs,
                measured.peak_bytes >> 20,
                measured.disk_bytes as f64 / 1e6,
            );
        }
    }
    let mut missed = 0;
    let _ = writeln!(text, "\n{:<58} {:>9} {:>9}", "target", "measured", "wanted");
    for (name, measured, bound, at_least) in verdicts(small, large) {
        let holds = if at_least {
            measured >= bound
        } else {
            measured <= bound
        };
        missed += usize::from(!holds);
        let sign = if at_least { "≥" } else { "≤" };
        let verdict = if holds { "" } else { "  MISSED" };
        let _ = writeln!(text, "{name:<58} {measured:>9.4} {sign} {bound:<7}{verdict}");
    }
    (text, missed)
}

type Verdict = (&'static str, f64, f64, bool);

fn verdicts(small: &Figures, large: Option<&Figures>) -> Vec<Verdict> {
    let export = small.of("export").wall_secs;
    let text = small.population.text_bytes as f64;
    let mut verdicts = vec![
        (
            "import, as a part of its limit",
            ratio(small.rate("import"), small.rate("limit-import")),
            0.30,
            true,
        ),
        (
            "export to plain files, as a part of its limit",
            ratio(small.rate("export"), small.rate("limit-export")),
            0.50,
            true,
        ),
        (
            "the store on disk, as a part of the NDJSON",
            small.of("export").disk_bytes as f64 / text,
            0.125,
            false,
        ),
        (
            "peak memory of any scenario, in GiB",
            small.peak() as f64 / f64::from(1 << 30),
            1.0,
            false,
        ),
        (
            "a Group of 1 %, as a part of the full export's time",
            small.of("group").wall_secs / export,
            0.03,
            false,
        ),
        (
            "_since with 1,000 changes, as a part of it",
            small.of("since").wall_secs / export,
            0.005,
            false,
        ),
    ];
    verdicts.extend(verdicts_on_parameters(small));
    verdicts.extend(verdicts_on_pulls(small));
    verdicts.push(verdict_on_floods(small));
    if let Some(large) = large {
        let grown = large.peak() as f64 / small.peak() as f64;
        verdicts.push((
            "import of the large population, as a part of the small's rate",
            ratio(large.rate("import"), small.rate("import")),
            0.8,
            true,
        ));
        verdicts.push((
            "export of the large population, likewise",
            ratio(large.rate("export"), small.rate("export")),
            0.8,
            true,
        ));
        verdicts.push((
            "peak memory of the large one, as a part of the small's",
            grown,
            1.1,
            false,
        ));
    }
    verdicts
}

/// What proving each file costs a client, and the memory that it takes.
fn verdicts_on_pulls(small: &Figures) -> Vec<Verdict> {
    vec![
        (
            "pull, as a part of plain parallel GETs of the same files",
            ratio(small.text_rate("pull"), small.text_rate("copy")),
            0.80,
            true,
        ),
        (
            "likewise, of GETs whose files are synced",
            ratio(small.text_rate("pull"), small.text_rate("synced-copy")),
            0.80,
            true,
        ),
        (
            "peak memory of a pull, in MiB",
            small.of("pull").peak_bytes as f64 / f64::from(1 << 20),
            256.0,
            false,
        ),
    ]
}

/// How much slower an ordinary client is served during a flood.
fn verdict_on_floods(small: &Figures) -> Verdict {
    (
        "99th percentile of a client during a flood, as times the quiet",
        small.of("flood").wall_secs / small.of("quiet").wall_secs,
        50.0,
        false,
    )
}

/// What the parameters of an export cost, held against the plain export of the same run.
fn verdicts_on_parameters(small: &Figures) -> Vec<Verdict> {
    vec![
        (
            "filtered export, as a part of the full export's rate",
            ratio(small.rate("filtered"), small.rate("export")),
            0.50,
            true,
        ),
        (
            "export of a few _elements, likewise",
            ratio(small.rate("elements"), small.rate("export")),
            0.25,
            true,
        ),
        (
            "export organised by Patient, as a part of the full one's MB/s",
            ratio(small.text_rate("organized"), small.text_rate("export")),
            0.40,
            true,
        ),
        (
            "a cohort of 1 % by a filter, as a part of its time",
            small.of("cohort").wall_secs / small.of("export").wall_secs,
            0.06,
            false,
        ),
    ]
}

fn ratio(measured: f64, limit: f64) -> f64 {
    measured / limit.max(1e-9)
}
