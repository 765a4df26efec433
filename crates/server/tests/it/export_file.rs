//! `$export-file`: media type, encodings, entity tags, ranges, and what a deletion does to a download.

use std::io::Read;

use http_body_util::BodyExt;
use hyper::Method;
use sha2::Digest;

use crate::fixture::Server;
use crate::http::Ask;

/// A server with an export of one Patient file, its URL and its text.
async fn exported() -> (Server, String, String) {
    let server = Server::populated().await;
    let (_, manifest) = server.export("$export?_type=Patient").await;
    let url = manifest["output"][0]["url"].as_str().unwrap().to_owned();
    let text = server.get(&url).await.text().to_owned();
    (server, url, text)
}

fn get(server: &Server, url: &str) -> Ask {
    server.ask(Method::GET, url)
}

#[tokio::test]
async fn a_file_is_ndjson_with_its_exact_media_type_f_01_f_02_f_09() {
    let (server, url, text) = exported().await;
    let answer = get(&server, &url)
        .header("accept", "application/fhir+ndjson")
        .send()
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/fhir+ndjson");
    assert_eq!(answer.header("content-length"), text.len().to_string());
    assert_eq!(answer.header("vary"), "Accept-Encoding");
    assert!(!answer.has("content-encoding"));
    assert!(text.ends_with('\n') && !text.contains("\n\n") && !text.contains('\r'));
    assert_eq!(answer.lines().len(), 2);
}

#[tokio::test]
async fn head_tells_the_same_without_the_body() {
    let (server, url, text) = exported().await;
    let answer = server.ask(Method::HEAD, &url).send().await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(answer.header("content-length"), text.len().to_string());
    assert_eq!(answer.header("accept-ranges"), "bytes");
}

#[tokio::test]
async fn the_encoding_is_what_the_client_takes_f_08() {
    let (server, url, text) = exported().await;
    let gzip = get(&server, &url)
        .header("accept-encoding", "gzip, deflate")
        .send()
        .await;
    assert_eq!(gzip.header("content-encoding"), "gzip");
    assert_eq!(gzip.header("content-type"), "application/fhir+ndjson");
    let mut unpacked = String::new();
    let mut decoder = flate2::read::MultiGzDecoder::new(&gzip.body[..]);
    decoder.read_to_string(&mut unpacked).expect("gzip");
    assert_eq!(unpacked, text);

    let zstd = get(&server, &url)
        .header("accept-encoding", "gzip, zstd")
        .send()
        .await;
    assert_eq!(zstd.header("content-encoding"), "zstd");
    assert_eq!(zstd.header("content-length"), zstd.body.len().to_string());
    assert_eq!(zstd::decode_all(&zstd.body[..]).expect("zstd"), text.as_bytes());

    let identity = get(&server, &url)
        .header("accept-encoding", "identity")
        .send()
        .await;
    assert!(!identity.has("content-encoding"));
    let none = get(&server, &url).header("accept-encoding", "br, identity;q=0");
    none.send().await.refusal(406);
    let tags = [gzip.header("etag"), zstd.header("etag"), identity.header("etag")];
    assert!(
        tags[0] != tags[1] && tags[1] != tags[2] && tags[0] != tags[2],
        "{tags:?}"
    );
    assert!(
        tags.iter().all(|tag| tag.starts_with('"')),
        "strong tags: {tags:?}"
    );
}

#[tokio::test]
async fn the_manifest_proves_each_file_whole_f_16() {
    let server = Server::populated().await;
    let (_, manifest) = server.export("$export").await;
    for file in manifest["output"].as_array().unwrap() {
        let said = &file["extension"]["https://dpc.cms.gov/checksum"]["valueString"];
        let text = server.get(file["url"].as_str().unwrap()).await.body;
        let length = &file["extension"]["https://dpc.cms.gov/file_length"]["valueDecimal"];
        assert_eq!(length.as_u64(), Some(text.len() as u64));
        let digest = sha2::Sha256::digest(&text);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(said.as_str().unwrap(), format!("sha256:{hex}"));
    }
}

#[tokio::test]
async fn a_known_etag_gets_304() {
    let (server, url, _) = exported().await;
    let etag = get(&server, &url).send().await.header("etag").to_owned();
    let again = get(&server, &url).header("if-none-match", &etag).send().await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(again.header("etag"), etag);
    let other = get(&server, &url)
        .header("if-none-match", "\"other\"")
        .send()
        .await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn a_download_resumes_by_range_and_if_range_f_12() {
    let (server, url, text) = exported().await;
    let etag = get(&server, &url).send().await.header("etag").to_owned();
    let rest = get(&server, &url)
        .header("range", "bytes=10-")
        .header("if-range", &etag)
        .send()
        .await;
    assert_eq!((rest.status, rest.text()), (206, &text[10..]));
    assert_eq!(
        rest.header("content-range"),
        format!("bytes 10-{}/{}", text.len() - 1, text.len())
    );
    assert_eq!(rest.header("content-length"), (text.len() - 10).to_string());
    let middle = get(&server, &url).header("range", "bytes=3-6").send().await;
    assert_eq!((middle.status, middle.text()), (206, &text[3..7]));
    let changed = get(&server, &url)
        .header("range", "bytes=10-")
        .header("if-range", "\"other\"")
        .send()
        .await;
    assert_eq!((changed.status, changed.text()), (200, text.as_str()));
    let beyond = get(&server, &url).header("range", "bytes=999999-").send().await;
    beyond.refusal(416);
    assert_eq!(beyond.header("content-range"), format!("bytes */{}", text.len()));
}

#[tokio::test]
async fn the_zstd_form_has_ranges_and_a_tag_of_its_own_f_12() {
    let (server, url, text) = exported().await;
    let ask = || get(&server, &url).header("accept-encoding", "zstd");
    let whole = ask().send().await;
    let etag = whole.header("etag").to_owned();
    assert_eq!(
        (whole.header("accept-ranges"), whole.header("content-encoding")),
        ("bytes", "zstd")
    );
    assert_ne!(etag, get(&server, &url).send().await.header("etag"));
    let rest = ask()
        .header("range", "bytes=10-")
        .header("if-range", &etag)
        .send()
        .await;
    assert_eq!((rest.status, rest.header("content-encoding")), (206, "zstd"));
    let length = whole.body.len();
    assert_eq!(
        rest.header("content-range"),
        format!("bytes 10-{}/{length}", length - 1)
    );
    let together = [&whole.body[..10], &rest.body[..]].concat();
    assert_eq!(zstd::decode_all(&together[..]).unwrap(), text.as_bytes());
    // A tag of another form is no reason to send a part.
    let identity = get(&server, &url).send().await.header("etag").to_owned();
    let other = ask()
        .header("range", "bytes=10-")
        .header("if-range", &identity)
        .send()
        .await;
    assert_eq!((other.status, other.body.len()), (200, length));
    let beyond = ask().header("range", &format!("bytes={length}-")).send().await;
    beyond.refusal(416);
    assert_eq!(beyond.header("content-range"), format!("bytes */{length}"));
}

#[tokio::test]
async fn a_range_of_the_gzip_form_is_not_served_f_12() {
    let (server, url, _) = exported().await;
    let ask = get(&server, &url)
        .header("range", "bytes=10-")
        .header("accept-encoding", "gzip");
    let answer = ask.send().await;
    assert_eq!((answer.status, answer.header("accept-ranges")), (200, "none"));
}

#[tokio::test]
async fn files_that_the_manifest_does_not_name_are_404_f_03() {
    let (server, url, _) = exported().await;
    let folder = url.rsplit_once('/').unwrap().0;
    for name in ["2.Patient.ndjson", "..", "%2e%2e%2fformat", "1.Patient.ndjson%00"] {
        get(&server, &format!("{folder}/{name}"))
            .send()
            .await
            .refusal(404);
    }
}

#[tokio::test]
async fn a_file_being_downloaded_survives_its_deletion_d_05_d_06() {
    let server = Server::start().await;
    // More than the buffers of both ends hold, so that the server cannot have sent it all before the deletion.
    let padding = "x".repeat(1 << 20);
    let lines: Vec<String> = (0..32)
        .map(|number| format!(r#"{{"resourceType":"Patient","id":"p{number}","x":"{padding}"}}"#))
        .collect();
    server
        .import_lines(&lines.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let (status_url, manifest) = server.export("$export").await;
    let url = manifest["output"][0]["url"].as_str().unwrap();
    let download = get(&server, url).open().await;
    let bytes: usize = download.headers()["content-length"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(bytes > 32 << 20);
    assert_eq!(server.delete(&status_url).await.status, 202);
    get(&server, url).send().await.refusal(404);
    let body = download
        .into_body()
        .collect()
        .await
        .expect("the download goes on")
        .to_bytes();
    assert_eq!(body.len(), bytes);
    assert_eq!(body.iter().filter(|byte| **byte == b'\n').count(), 32);
}

#[tokio::test]
async fn each_file_holds_one_type_and_a_type_may_have_several_files_f_14() {
    let server = Server::start_with(|settings| settings.export_file_bytes_max = 1).await;
    let lines: Vec<String> = ["Patient", "Patient", "Device"]
        .iter()
        .enumerate()
        .map(|(number, name)| format!(r#"{{"resourceType":"{name}","id":"x{number}"}}"#))
        .collect();
    server
        .import_lines(&lines.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let (_, manifest) = server.export("$export").await;
    let types: Vec<&str> = manifest["output"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["Device", "Patient", "Patient"]);
    // Each line has the type of its file.
    assert_eq!(server.names(&manifest["output"]).await.len(), 3);
}
