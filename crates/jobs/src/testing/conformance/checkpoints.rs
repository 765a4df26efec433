//! What a job is given and writes, and how it reads back.

use super::{Bench, a_write, assert_kind, new_job, progress, succeeded};
use crate::{Checkpoint, ErrorKind, JobId, JobRecord, NewJob};

pub(super) async fn run(bench: &mut impl AsyncFnMut() -> Bench) {
    created_job_reads_back_and_refuses_its_id_twice(&bench().await).await;
    opaque_bytes_read_back_as_written(&bench().await).await;
    checkpoint_keeps_state_entries_progress_and_holds(&bench().await).await;
    checkpoint_without_parts_leaves_them(&bench().await).await;
    progress_never_goes_back(&bench().await).await;
    entries_page_by_key_and_belong_to_one_job(&bench().await).await;
    attempts_count_from_zero_when_the_job_moves_forward(&bench().await).await;
}

async fn created_job_reads_back_and_refuses_its_id_twice(bench: &Bench) {
    let job = new_job(JobId::random(&bench.ids), "export", 5);
    assert_eq!(bench.store.job(&job.id).await.expect("reading works"), None);
    bench.store.create(job.clone()).await.expect("the id is free");
    let other = NewJob {
        kind: "import".to_owned(),
        ..job.clone()
    };
    assert_kind(bench.store.create(other).await, ErrorKind::Exists);
    assert_eq!(bench.job(&job.id).await, JobRecord::new(job));
}

async fn opaque_bytes_read_back_as_written(bench: &Bench) {
    let awkward = vec![0, 0xff, b'"', b'\\', 0xc3, 0x28, b'\n'];
    let job = NewJob {
        spec: awkward.clone(),
        ..new_job(JobId::random(&bench.ids), "export", 0)
    };
    let id = job.id;
    bench.store.create(job).await.expect("the id is free");
    let (_, lease) = bench.must_claim(1).await;
    let write = Checkpoint::new()
        .state(awkward.clone())
        .entry(u64::MAX, awkward.clone())
        .entry(0, Vec::new());
    bench
        .store
        .checkpoint(&lease, write)
        .await
        .expect("the lease is fresh");
    bench
        .store
        .finish(&lease, succeeded(&awkward, 2, 9))
        .await
        .expect("the lease is fresh");
    let job = bench.job(&id).await;
    assert_eq!(
        (&job.spec, job.checkpoint.as_ref(), job.result.as_ref()),
        (&awkward, Some(&awkward), Some(&awkward))
    );
    let entries = bench.store.entries(&id, 0, 9).await.expect("reading works");
    assert_eq!(entries, [(0, Vec::new()), (u64::MAX, awkward)]);
}

async fn checkpoint_keeps_state_entries_progress_and_holds(bench: &Bench) {
    let id = bench.create(0).await;
    let (_, lease) = bench.must_claim(0).await;
    let write = Checkpoint::new()
        .state(b"s".to_vec())
        .entry(2, b"b".to_vec())
        .entry(1, b"a".to_vec());
    let write = write.progress(progress(3, 10, "files")).holds(42);
    bench
        .store
        .checkpoint(&lease, write.clone())
        .await
        .expect("the lease is fresh");
    bench
        .store
        .checkpoint(&lease, write)
        .await
        .expect("the same again is no error");
    let rewrite = Checkpoint::new().entry(2, b"c".to_vec());
    bench
        .store
        .checkpoint(&lease, rewrite)
        .await
        .expect("the lease is fresh");
    let job = bench.job(&id).await;
    assert_eq!(
        (job.checkpoint.as_deref(), job.holds),
        (Some(&b"s"[..]), Some(42))
    );
    assert_eq!(job.progress, progress(3, 10, "files"));
    let entries = bench.store.entries(&id, 0, 9).await.expect("reading works");
    assert_eq!(entries, [(1, b"a".to_vec()), (2, b"c".to_vec())]);
    let (resumed, _) = bench.must_claim(30).await;
    assert_eq!(
        resumed.checkpoint, job.checkpoint,
        "the next claim goes on from it"
    );
}

async fn checkpoint_without_parts_leaves_them(bench: &Bench) {
    let id = bench.create(0).await;
    let (_, lease) = bench.must_claim(0).await;
    bench
        .store
        .checkpoint(&lease, a_write())
        .await
        .expect("the lease is fresh");
    let before = bench.job(&id).await;
    bench
        .store
        .checkpoint(&lease, Checkpoint::new())
        .await
        .expect("the lease is fresh");
    assert_eq!(bench.job(&id).await, before);
}

async fn progress_never_goes_back(bench: &Bench) {
    let id = bench.create(0).await;
    let (_, lease) = bench.must_claim(0).await;
    for report in [
        progress(5, 0, "five"),
        progress(3, 10, "three"),
        progress(4, 8, ""),
    ] {
        bench
            .store
            .checkpoint(&lease, Checkpoint::new().progress(report))
            .await
            .expect("the lease is fresh");
    }
    assert_eq!(bench.job(&id).await.progress, progress(5, 10, "three"));
    // More turns out to be to do: the share that was told stays.
    let write = Checkpoint::new().progress(progress(6, 60, ""));
    bench
        .store
        .checkpoint(&lease, write)
        .await
        .expect("the lease holds");
    let job = bench.job(&id).await;
    assert_eq!((job.progress.percent(), job.percent()), (Some(10), Some(50)));
}

async fn entries_page_by_key_and_belong_to_one_job(bench: &Bench) {
    let first = bench.create(0).await;
    let second = bench.create(1).await;
    for (id, base) in [(first, 0), (second, 100)] {
        let (job, lease) = bench.must_claim(2).await;
        assert_eq!(job.id, id);
        // Keys on both sides of a byte's end, so that an order by text or by little-endian bytes shows.
        let keys = [base, base + 2, base + 9, base + 10, base + 255, base + 256];
        let entries = keys.map(|key| (key, key.to_string().into_bytes())).to_vec();
        bench
            .store
            .checkpoint(
                &lease,
                Checkpoint {
                    entries,
                    ..Checkpoint::new()
                },
            )
            .await
            .expect("the lease is fresh");
    }
    let page = async |from, limit| {
        let entries = bench
            .store
            .entries(&first, from, limit)
            .await
            .expect("reading works");
        entries.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(page(0, 3).await, [0, 2, 9]);
    assert_eq!(page(10, 9).await, [10, 255, 256]);
    assert_eq!(page(257, 9).await, [0; 0]);
    assert_eq!(page(0, 0).await, [0; 0]);
}

async fn attempts_count_from_zero_when_the_job_moves_forward(bench: &Bench) {
    let id = bench.create(0).await;
    bench.must_claim(0).await;
    let (job, lease) = bench.must_claim(30).await;
    assert_eq!(job.attempts, 2);
    let write = Checkpoint::new().state(b"same".to_vec());
    bench
        .store
        .checkpoint(&lease, write.clone())
        .await
        .expect("the lease is fresh");
    assert_eq!(bench.job(&id).await.attempts, 0);
    let (_, lease) = bench.must_claim(60).await;
    bench
        .store
        .checkpoint(&lease, write)
        .await
        .expect("the lease is fresh");
    assert_eq!(
        bench.job(&id).await.attempts,
        1,
        "writing the same state is not moving forward"
    );
    let write = Checkpoint::new().progress(progress(1, 0, ""));
    bench
        .store
        .checkpoint(&lease, write)
        .await
        .expect("the lease is fresh");
    assert_eq!(bench.job(&id).await.attempts, 0);
}
