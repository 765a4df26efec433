//! Files as they are sent: codings, ranges, links that are good no more.

use fhirhose_client::testing::{
    Cut, EntityTag, ExpiredLink, Fault, FileCoding, Manner, Place, RetryAfter, Strike, Words,
};
use fhirhose_client::{
    Begun, Coding, DecodeLimits, Decoder, ErrorKind, FileRequest, OpenedFile, RestartPoint,
};
use futures::StreamExt;

use super::{PATIENTS, Scene, everything};

type Result<T> = std::result::Result<T, fhirhose_client::Error>;

async fn scene(manner: Manner, fault: Option<Fault>) -> (Scene, String) {
    let script = fault.into_iter().map(|fault| Strike::once(Place::File(0), fault));
    let scene = Scene::new(2, manner, script.collect()).await;
    let url = scene.export(&everything()).await.unwrap().remove(0);
    (scene, url)
}

async fn encoded(mut opened: OpenedFile) -> (Vec<u8>, Result<()>) {
    let mut bytes = Vec::new();
    while let Some(chunk) = opened.stream.next().await {
        match chunk {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(error) => return (bytes, Err(error)),
        }
    }
    (bytes, Ok(()))
}

fn decoded(coding: Coding, from: RestartPoint, bytes: &[u8]) -> Result<String> {
    let mut decoder = Decoder::new(coding, from, DecodeLimits::default())?;
    let mut text = Vec::new();
    decoder.push(bytes, &mut |piece| {
        text.extend_from_slice(piece);
        Ok(())
    })?;
    decoder.finish()?;
    Ok(String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn files_come_in_the_coding_that_the_server_likes_best_cl_10() {
    for (coding, token) in [
        (FileCoding::Identity, Coding::Identity),
        (FileCoding::Gzip, Coding::Gzip),
        (FileCoding::GzipMembers, Coding::Gzip),
        (FileCoding::Zstd, Coding::Zstd),
        (FileCoding::ZstdFrames, Coding::Zstd),
    ] {
        let manner = Manner {
            coding,
            ..Manner::default()
        };
        let (scene, url) = scene(manner, None).await;
        let opened = scene.provider.open(&FileRequest::new(&url, false)).await.unwrap();
        assert_eq!((opened.coding, opened.from), (token, 0));
        let length = opened.encoded_bytes;
        let (bytes, end) = encoded(opened).await;
        end.unwrap();
        assert_eq!(length, Some(bytes.len() as u64));
        assert_eq!(decoded(token, RestartPoint::default(), &bytes).unwrap(), PATIENTS);
        let plain = scene.provider.clone().without_compression();
        let opened = plain.open(&FileRequest::new(&url, false)).await.unwrap();
        assert_eq!(opened.coding, Coding::Identity);
        let asked = scene.ehr.asked_at(Place::File(0));
        let header = |number: usize, name: &str| asked[number].header(name).map(str::to_owned);
        assert_eq!(header(0, "accept").as_deref(), Some("application/fhir+ndjson"));
        assert_eq!(header(0, "accept-encoding").as_deref(), Some("zstd, gzip"));
        assert_eq!(header(1, "accept-encoding").as_deref(), Some("identity"));
    }
}

#[tokio::test]
async fn a_coding_that_nobody_knows_is_named_cl_10() {
    for (coding, name) in [
        (FileCoding::Unknown, "snail"),
        (FileCoding::GzipTwice, "gzip, gzip"),
    ] {
        let manner = Manner {
            coding,
            ..Manner::default()
        };
        let (scene, url) = scene(manner, None).await;
        let error = scene
            .provider
            .open(&FileRequest::new(&url, false))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(name), "{cause}");
    }
}

#[tokio::test]
async fn a_body_that_broke_off_is_gone_on_with_in_its_coding_cl_10_f_12() {
    for coding in [FileCoding::Identity, FileCoding::Gzip, FileCoding::Zstd] {
        let manner = Manner {
            coding,
            ..Manner::default()
        };
        let (scene, url) = scene(manner, Some(Fault::Cut(Cut::Body(20)))).await;
        let opened = scene.provider.open(&FileRequest::new(&url, false)).await.unwrap();
        let (coding, etag) = (opened.coding, opened.etag.clone().unwrap());
        let (mut bytes, end) = encoded(opened).await;
        assert_eq!(
            (bytes.len(), end.unwrap_err().kind()),
            (20, ErrorKind::Unreachable)
        );
        let request = FileRequest {
            begun: Some(Begun {
                from: 20,
                etag,
                coding,
            }),
            ..FileRequest::new(&url, false)
        };
        let opened = scene.provider.open(&request).await.unwrap();
        assert_eq!((opened.from, opened.coding), (20, coding));
        let whole = opened.encoded_bytes.unwrap();
        bytes.extend(encoded(opened).await.0);
        assert_eq!(bytes.len() as u64, whole);
        assert_eq!(
            decoded(coding, RestartPoint::default(), &bytes).unwrap(),
            PATIENTS
        );
    }
}

/// Asks for the rest of a file of which ten bytes are there.
async fn rest(manner: Manner, fault: Option<Fault>) -> Result<(u64, Coding)> {
    let (scene, url) = scene(manner, fault.clone()).await;
    let etag = "\"file-0-\"".to_owned();
    let begun = Begun {
        from: 10,
        etag,
        coding: Coding::Identity,
    };
    let request = FileRequest {
        begun: Some(begun),
        ..FileRequest::new(&url, false)
    };
    let opened = scene.provider.open(&request).await?;
    Ok((opened.from, opened.coding))
}

#[tokio::test]
async fn a_file_that_cannot_be_gone_on_with_begins_anew_cl_10_f_12() {
    let good = Manner::default;
    assert_eq!(rest(good(), None).await.unwrap(), (10, Coding::Identity));
    // The server sends all of it, and says so.
    assert_eq!(rest(good(), Some(Fault::IgnoresRange)).await.unwrap().0, 0);
    for entity_tag in [EntityTag::Weak, EntityTag::None, EntityTag::Restless] {
        let manner = Manner { entity_tag, ..good() };
        assert_eq!(rest(manner, None).await.unwrap().0, 0, "{entity_tag:?}");
    }
    for fault in [Fault::OtherRange, Fault::RangeRefused] {
        let error = rest(good(), Some(fault.clone())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Changed, "{fault:?}");
    }
    // Weak tags are not for going on.
    let manner = Manner {
        entity_tag: EntityTag::Weak,
        ..good()
    };
    let (scene, url) = scene(manner, None).await;
    let opened = scene.provider.open(&FileRequest::new(&url, false)).await.unwrap();
    assert_eq!(opened.etag, None);
}

#[tokio::test]
async fn links_that_are_good_no_more_are_told_apart_from_trouble() {
    for expired_link in [ExpiredLink::Forbidden, ExpiredLink::NotFound, ExpiredLink::Gone] {
        let manner = Manner {
            expired_link,
            ..Manner::default()
        };
        let (scene, url) = scene(manner, Some(Fault::Expired)).await;
        let error = scene
            .provider
            .open(&FileRequest::new(&url, false))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LinkExpired, "{expired_link:?}");
        // A query of a link is a secret.
        assert!(!format!("{error:?}").contains("sig="), "{error:?}");
    }
    for (fault, kind) in [
        (Fault::answer(400, Words::Xml), ErrorKind::LinkExpired),
        (Fault::answer(400, Words::Exception), ErrorKind::Refused),
        (Fault::answer(502, Words::Html), ErrorKind::Busy),
        (Fault::answer(200, Words::Html), ErrorKind::Busy),
        (Fault::answer(500, Words::Nothing), ErrorKind::Busy),
        (Fault::Cut(Cut::Before), ErrorKind::Unreachable),
    ] {
        let (scene, url) = scene(Manner::default(), Some(fault.clone())).await;
        let error = scene
            .provider
            .open(&FileRequest::new(&url, false))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{fault:?}");
    }
    let busy = Fault::answer_later(429, RetryAfter::Secs(5 * 3_600), Words::Nothing);
    let (scene, url) = scene(Manner::default(), Some(busy)).await;
    let error = scene
        .provider
        .open(&FileRequest::new(&url, false))
        .await
        .unwrap_err();
    assert_eq!(error.retry_after().unwrap().as_secs(), 300);
}
