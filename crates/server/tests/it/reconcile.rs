//! Two servers are compared by their trees and made equal; what that costs is counted in bytes on the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fhirhose_bulk::reconcile::{
    Differences, Found, ReconcileSide, Repair, RepairReport, ServerSide, TypeReport, compare_type,
};
use fhirhose_bulk::sync::both::{FhirPeer, Pair, Side};
use fhirhose_client::pull::PullSettings;
use fhirhose_client::{
    Addresses, DataProvider, ExportParameters, FetchPolicy, Http, HttpSettings, PlainHttp,
};
use fhirhose_fhir::export_request::ExportLevel;
use fhirhose_fhir::resource_type::ResourceType;
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::Server;

const COUNT: usize = 3_000;

struct Nobody;

#[async_trait::async_trait]
impl Differences for Nobody {
    async fn hear(&mut self, _type: ResourceType, _found: &Found) -> fhirhose_bulk::Result<()> {
        Ok(())
    }
}

/// A server that is reached through a wire that counts.
struct Metered {
    server: Server,
    provider: DataProvider,
    bytes: Arc<AtomicU64>,
}

impl Metered {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let outside = format!("http://{}/fhir", listener.local_addr().expect("an address"));
        let base = outside.parse().expect("a URL");
        let server = Server::start_with(|settings| settings.base_url = Some(base)).await;
        let bytes = Arc::new(AtomicU64::new(0));
        let (counter, inside) = (Arc::clone(&bytes), server.address);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let counter = Arc::clone(&counter);
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(inside).await else {
                        return;
                    };
                    let mut far = Counted { stream: far, counter };
                    // Either side may hang up.
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        let settings = HttpSettings {
            policy: FetchPolicy {
                plain_http: PlainHttp::Anywhere,
                addresses: Addresses::Any,
                ..FetchPolicy::default()
            },
            ..HttpSettings::default()
        };
        let http = Http::new(&settings).expect("a client");
        let provider = DataProvider::new(&http, &outside).expect("a URL");
        let lines: Vec<String> = (0..COUNT).map(|at| line(at, "same")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        server.import_lines(&lines).await;
        Self {
            server,
            provider,
            bytes,
        }
    }

    async fn side(&self) -> ServerSide {
        let side = ServerSide::new(self.provider.clone(), basic())
            .await
            .expect("it answers");
        side.expect("it has trees")
    }

    fn peer(&self) -> Arc<FhirPeer> {
        let parameters = ExportParameters::new(ExportLevel::System);
        Arc::new(FhirPeer::new(
            self.provider.clone(),
            parameters,
            PullSettings::default(),
        ))
    }
}

/// Counts what goes through in both directions.
struct Counted {
    stream: TcpStream,
    counter: Arc<AtomicU64>,
}

mod counted {
    use std::io;
    use std::pin::Pin;
    use std::sync::atomic::Ordering;
    use std::task::{Context, Poll, ready};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::Counted;

    impl AsyncRead for Counted {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
            let read = buffer.filled().len() - before;
            self.counter.fetch_add(read as u64, Ordering::Relaxed);
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Counted {
        fn poll_write(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
            self.counter.fetch_add(written as u64, Ordering::Relaxed);
            Poll::Ready(Ok(written))
        }

        fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_flush(context)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(context)
        }
    }
}

/// A resource of about a kilobyte.
fn line(at: usize, text: &str) -> String {
    let filling = "x".repeat(1_000);
    format!(r#"{{"resourceType":"Basic","id":"b{at}","code":{{"text":"{text} {filling}"}}}}"#)
}

fn basic() -> ResourceType {
    ResourceType::parse("Basic").expect("a type")
}

async fn compare(a: &Metered, b: &Metered) -> (TypeReport, u64) {
    let (left, right) = (a.side().await, b.side().await);
    let before = a.bytes.load(Ordering::Relaxed) + b.bytes.load(Ordering::Relaxed);
    let sides: Pair<&dyn ReconcileSide> = Pair {
        source: &left,
        target: &right,
    };
    let report = compare_type(sides, basic(), &mut Nobody)
        .await
        .expect("a comparison");
    let after = a.bytes.load(Ordering::Relaxed) + b.bytes.load(Ordering::Relaxed);
    (report, after - before)
}

async fn repair(a: &Metered, b: &Metered, deletes: bool) -> RepairReport {
    let (left, right) = (a.side().await, b.side().await);
    let sides: Pair<&dyn ReconcileSide> = Pair {
        source: &left,
        target: &right,
    };
    let mut repair = Repair {
        from: &left,
        from_side: Side::Source,
        to: b.peer(),
        deletes,
        report: RepairReport::default(),
    };
    compare_type(sides, basic(), &mut repair)
        .await
        .expect("a comparison");
    repair.report
}

#[tokio::test]
async fn comparing_costs_as_much_as_differs_and_a_repair_ends_it() {
    let (a, b) = (Metered::start().await, Metered::start().await);
    let whole = (COUNT * line(0, "same").len()) as u64;
    let (report, equal_bytes) = compare(&a, &b).await;
    assert!(report.is_equal() && report.in_a == COUNT as u64, "{report:?}");
    assert!(
        equal_bytes < 4_000,
        "{equal_bytes} bytes to say that all is equal"
    );
    b.server
        .import_lines(&[&line(7, "other"), &line(COUNT, "more")])
        .await;
    b.server.delete("/fhir/Basic/b8").await;
    let (report, few_bytes) = compare(&a, &b).await;
    assert_eq!(
        (report.different, report.missing_in_a, report.missing_in_b),
        (1, 1, 1)
    );
    assert!(
        few_bytes < whole / 20,
        "{few_bytes} bytes for three differences in {whole}"
    );
    let more: Vec<String> = (100..130).map(|at| line(at, "other")).collect();
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    b.server.import_lines(&more).await;
    let (report, more_bytes) = compare(&a, &b).await;
    assert_eq!(report.different, 31);
    assert!(
        more_bytes < whole / 10 && more_bytes > few_bytes,
        "{more_bytes} bytes after {few_bytes}"
    );
    let kept = repair(&a, &b, false).await;
    assert_eq!(
        (kept.written, kept.deleted, kept.left, kept.is_whole()),
        (32, 0, 1, false)
    );
    let all = repair(&a, &b, true).await;
    assert_eq!(
        (all.written, all.deleted, all.left, all.is_whole()),
        (0, 1, 0, true)
    );
    assert!(compare(&a, &b).await.0.is_equal());
}

#[tokio::test]
async fn a_repair_writes_nothing_over_what_changed_since_it_was_compared() {
    let (a, b) = (Metered::start().await, Metered::start().await);
    b.server.import_lines(&[&line(7, "other")]).await;
    let left = a.side().await;
    let mut repair = Repair {
        from: &left,
        from_side: Side::Source,
        to: b.peer(),
        deletes: false,
        report: RepairReport::default(),
    };
    let mut found = Found::new();
    let hash = |text: String| {
        fhirhose_fhir::content_hash::content_hash(
            text.as_bytes(),
            fhirhose_fhir::content_hash::Ignoring::SERVER_META,
        )
    };
    found.insert(
        "b7".to_owned(),
        Pair {
            source: hash(line(7, "same")).ok(),
            target: hash(line(7, "other")).ok(),
        },
    );
    let newest = json!({ "resourceType": "Basic", "id": "b7", "code": { "text": "newest" } });
    b.server.put(&newest).await;
    repair.hear(basic(), &found).await.expect("it is looked at");
    assert_eq!((repair.report.written, repair.report.behind), (0, 1));
    let now = b.server.get("/fhir/Basic/b7").await.json();
    assert_eq!(now["code"]["text"], "newest");
}
