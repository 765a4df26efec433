//! Links that expire, hosts that differ, tokens that stay at home.

use std::time::Duration;

use fhirhose_client::testing::{
    Cut, ExpiredLink, Fault, FileHost, Host, Manner, Place, RetryAfter, Strike, Words,
};

use super::{Case, LARGEST, tokens};

#[tokio::test]
async fn cl_10_links_that_expire_are_had_anew_from_the_manifest_and_the_file_goes_on() {
    for expired_link in [ExpiredLink::Forbidden, ExpiredLink::NotFound, ExpiredLink::Gone] {
        let manner = Manner {
            links_last: Some(Duration::from_secs(600)),
            expired_link,
            ..Manner::default()
        };
        // Put off for longer than links are good, in the middle of the file.
        let script = vec![
            Strike::once(Place::File(LARGEST), Fault::Cut(Cut::Body(3_000))),
            Strike::times(
                4,
                Place::File(LARGEST),
                Fault::answer_later(503, RetryAfter::Secs(300), Words::Nothing),
            ),
        ];
        let case = Case::new(manner, script).await;
        case.whole().await;
        assert!(
            case.asked(Place::Status).len() > 1,
            "the manifest was fetched again"
        );
        let fetches = case.fetches(LARGEST);
        assert_eq!(
            fetches.last(),
            Some(&(206, Some(3_000))),
            "{expired_link:?}: {fetches:?}"
        );
        assert_eq!(case.asked(Place::KickOff).len(), 1);
    }
}

#[tokio::test]
async fn cl_10_a_link_that_is_said_to_have_expired_once_is_had_anew() {
    let (case, _) = Case::struck(Strike::once(Place::File(0), Fault::Expired)).await;
    assert!(case.asked(Place::Status).len() > 1);
}

#[tokio::test]
async fn cl_04_a_token_goes_to_the_server_and_never_along_a_redirect() {
    for status in [302, 307] {
        let manner = Manner {
            tokens: tokens(),
            files_want_token: true,
            file_host: FileHost::Redirected(status),
            ..Manner::default()
        };
        let case = Case::new(
            manner,
            vec![Strike::once(Place::File(LARGEST), Fault::Cut(Cut::Body(500)))],
        )
        .await;
        case.whole().await;
        for asked in case.asked(Place::AnyFile) {
            let bears = asked.header("authorization").is_some();
            assert_eq!(bears, asked.host == Host::Fhir, "{asked:?}");
        }
    }
}

#[tokio::test]
async fn cl_04_a_link_that_is_its_own_permission_gets_no_token() {
    for file_host in [FileHost::Own, FileHost::Other] {
        let manner = Manner {
            tokens: tokens(),
            files_want_token: false,
            file_host,
            ..Manner::default()
        };
        let case = Case::new(manner, Vec::new()).await;
        case.whole().await;
        let asked = case.asked(Place::AnyFile);
        assert!(asked.iter().all(|asked| asked.header("authorization").is_none()));
        assert!(
            case.asked(Place::Status)
                .iter()
                .all(|asked| asked.header("authorization").is_some())
        );
    }
}

#[tokio::test]
async fn cl_04_a_token_does_not_go_to_another_host_even_where_the_manifest_says_so() {
    let manner = Manner {
        tokens: tokens(),
        files_want_token: true,
        file_host: FileHost::Other,
        ..Manner::default()
    };
    let case = Case::new(manner, Vec::new()).await;
    case.whole().await;
    let elsewhere = case
        .ehr
        .asked()
        .into_iter()
        .filter(|asked| asked.host == Host::Files);
    assert!(
        elsewhere
            .into_iter()
            .all(|asked| asked.header("authorization").is_none())
    );
}

#[tokio::test]
async fn cl_10_relative_links_lead_to_the_server() {
    let manner = Manner {
        relative_urls: true,
        ..Manner::default()
    };
    Case::new(manner, Vec::new()).await.whole().await;
}
