//! The whole loop, held together by content: what is pulled from a server, proven, loaded elsewhere and exported again is what was there.

use crate::measure::Measured;
use crate::pull::{Served, pulled};
use crate::scenarios::{Folders, clear, export_all, generate, import_from};
use anyhow::{Result, ensure};
use fhirhose_bulk::diff::{DiffReport, DiffSettings, diff_folders};
use fhirhose_client::receipt::{ProveSettings, PulledFolder};
use fhirhose_client::{Clock, SystemClock};
use std::path::Path;
use std::time::Instant;

/// Pulls, verifies, loads, exports and compares; fails where anything differs.
pub(crate) async fn measured(folders: &Folders, dir: &Path, resources: u64) -> Result<Measured> {
    let began = Instant::now();
    clear(&folders.out)?;
    std::fs::create_dir_all(&folders.out)?;
    let (download, again) = (folders.out.join("pulled"), folders.out.join("again"));
    let expected = generate(folders, resources)?.resources;
    // Other scenarios have changed the store.
    import_from(folders, &folders.population).await?;
    let server = Served::start(dir, resources)?;
    let bytes = pulled(&server, &download).await?;
    drop(server);
    let folder = PulledFolder::open(&download)?;
    let proof = folder.prove(
        &ProveSettings {
            deep: true,
            ..ProveSettings::default()
        },
        &|_| (),
    )?;
    ensure!(proof.is_whole(), "the pulled folder is not whole");
    let second = Folders {
        store: folders.out.join("store"),
        out: again.clone(),
        ..Folders::of(dir, resources)
    };
    import_from(&second, &download).await?;
    export_all(&second).await?;
    for (older, newer) in [(&folders.population, &download), (&download, &again)] {
        let same = compare(older, newer, &folders.out.join("difference"))?;
        ensure!(same == expected, "{same} resources are the same of {expected}");
    }
    let peak_bytes = crate::measure::peak_bytes()?;
    clear(&folders.out)?;
    Ok(Measured {
        resources: expected,
        text_bytes: bytes,
        wall_secs: began.elapsed().as_secs_f64(),
        cpu_secs: crate::measure::cpu_secs()?,
        peak_bytes,
        disk_bytes: 0,
    })
}

/// How many resources two folders have alike; fails where one has what the other has not.
fn compare(older: &Path, newer: &Path, out: &Path) -> Result<u64> {
    clear(out)?;
    let settings = DiffSettings {
        transaction_time: Some(SystemClock.now().to_string()),
        ..DiffSettings::default()
    };
    let report: DiffReport = diff_folders(older, newer, out, &settings, SystemClock.now(), &|_| ())?;
    for each in &report.types {
        ensure!(
            each.added + each.changed + each.removed == 0,
            "{}: {} added, {} changed, {} removed",
            each.resource_type,
            each.added,
            each.changed,
            each.removed
        );
    }
    Ok(report.types.iter().map(|each| each.same).sum())
}
