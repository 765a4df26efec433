//! What a status answer says of a job that is not finished: `X-Progress` and `Retry-After` (S-03, S-05).

use std::time::Duration;

use fhirhose_jobs::{JobRecord, JobState, Timestamp};

/// `X-Progress` must stay below 100 characters (S-05).
const PROGRESS_CHARS_MAX: usize = 99;

/// Says in how many whole seconds to ask again: a tenth of the job's age, at least 1 and at most `secs_max`.
///
/// So nobody waits longer than a tenth of what the job took, and a job of an hour is not asked 3,600 times.
pub(crate) fn retry_after_secs(job: &JobRecord, now: Timestamp, secs_max: u64) -> u64 {
    let age: Duration = now.since(job.created);
    (age.as_secs() / 10).clamp(1, secs_max.max(1))
}

/// Says how far a job is, in visible ASCII characters.
pub(crate) fn progress_text(job: &JobRecord) -> String {
    let progress = &job.progress;
    let waits = match job.state {
        _ if job.paused.is_some() => Some("paused by the operator"),
        JobState::Queued if job.attempts == 0 => Some("waiting for its turn"),
        JobState::Queued => Some("waiting to be tried again"),
        _ => None,
    };
    let percent = job.percent();
    // What was reached is told to who waits, too: a job that lets others go first has not gone back.
    let mut text = match (waits, percent) {
        (Some(waits), Some(percent)) => format!("{waits}, {percent}% complete"),
        (Some(waits), None) => waits.to_owned(),
        (None, Some(percent)) => format!("{percent}% complete"),
        (None, None) => "in progress".to_owned(),
    };
    if !progress.note.is_empty() {
        text.push_str(", ");
        text.push_str(&progress.note);
    }
    let plain = |character: char| {
        if matches!(character, ' '..='~') {
            character
        } else {
            '?'
        }
    };
    text.chars().take(PROGRESS_CHARS_MAX).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhirhose_jobs::{JobId, NewJob, Progress};

    fn job(progress: Progress) -> JobRecord {
        let new = NewJob {
            id: JobId::from_bytes([1; 16]),
            kind: "export".to_owned(),
            spec: Vec::new(),
            owner: String::new(),
            created: Timestamp::from_micros(0),
        };
        let mut job = JobRecord::new(new);
        job.state = JobState::Running;
        job.progress = progress;
        job
    }

    #[test]
    fn a_young_job_is_asked_every_second_and_an_old_one_seldom() {
        let job = job(Progress::default());
        let after = |age_secs: i64| retry_after_secs(&job, Timestamp::from_micros(age_secs * 1_000_000), 30);
        assert_eq!(
            [after(0), after(3), after(60), after(299), after(86_400)],
            [1, 1, 6, 29, 30]
        );
    }

    #[test]
    fn progress_is_short_visible_text_s_05() {
        let (done, total) = (1, 3);
        let long = Progress {
            done,
            total,
            note: "ä\n".repeat(200),
        };
        let text = progress_text(&job(long));
        assert!(text.starts_with("33% complete, ??"), "{text}");
        assert!(text.len() < 100);
    }

    #[test]
    fn a_job_that_lets_others_go_first_does_not_go_back_s_05() {
        let (done, total, note) = (1, 4, "7 resources".to_owned());
        let mut job = job(Progress { done, total, note });
        job.state = JobState::Queued;
        assert_eq!(
            progress_text(&job),
            "waiting for its turn, 25% complete, 7 resources"
        );
        job.progress = Progress::default();
        assert_eq!(progress_text(&job), "waiting for its turn");
    }
}
