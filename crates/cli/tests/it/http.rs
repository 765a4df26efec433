//! HTTP by hand, and waiting for what a process or a server comes to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How often a process or a server is looked at.
pub(crate) const LOOK: Duration = Duration::from_millis(2);

/// How often a status is polled: a server tells those who ask oftener to wait.
const POLL: Duration = Duration::from_millis(100);

/// After this long what did not come is taken not to come: much longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// Looks until there is something, and fails when it does not come.
pub(crate) fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    look_every(LOOK, what, look)
}

/// As [`eventually`], for what is polled.
pub(crate) fn polled<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    look_every(POLL, what, look)
}

fn look_every<T>(pause: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: nothing in {PATIENCE:?}");
        std::thread::sleep(pause);
    }
}

/// A port that is free, for a server that keeps it through its restarts. While nobody listens there, nobody else gets it: it is below
/// those that systems give to whoever asks for any, and each call gives another.
pub(crate) fn free_port() -> u16 {
    const FIRST: usize = 20_000;
    const PORTS: usize = 12_000;
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    // Tests that run beside these are in other processes, and begin elsewhere.
    let first = std::process::id() as usize * 101;
    let asked = || ASKED.fetch_add(1, Ordering::Relaxed);
    let mut ports = (0..PORTS).map(|_| FIRST + (first + asked()) % PORTS);
    let is_free = |port: &usize| TcpListener::bind(("127.0.0.1", *port as u16)).is_ok();
    ports.find(is_free).expect("a port is free") as u16
}

/// Waits until a server answers that was just started.
pub(crate) fn wait_for_health(server: &mut Child, port: u16) {
    let health = format!("http://127.0.0.1:{port}/health");
    eventually("a server that answers", || {
        assert_eq!(server.try_wait().unwrap(), None, "the server ended by itself");
        (get(&health).0 == 200).then_some(())
    });
}

/// Polls a status until it is not 202 any more, and gives the answer's status and body.
pub(crate) fn finished(status_url: &str) -> (u16, String) {
    polled("the end of a job", || {
        Some(get(status_url)).filter(|(status, _)| *status != 202)
    })
}

/// GET by hand: status and body; status 0 when nobody answers.
pub(crate) fn get(url: &str) -> (u16, String) {
    let rest = url.strip_prefix("http://127.0.0.1:").unwrap();
    let (port, path) = rest.split_once('/').unwrap();
    let request = format!(
        "GET /{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
    );
    let Some(answer) = exchange(port.parse().unwrap(), &request) else {
        return (0, String::new());
    };
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    (status.unwrap_or(0), body.unwrap_or_default())
}

/// Sends a request as it stands and gives the whole answer; `None` when nobody answers.
pub(crate) fn exchange(port: u16, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// A request as it came.
pub(crate) struct Request {
    /// The first line and the headers.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    fn read(stream: &TcpStream) -> Option<Self> {
        let (mut stream, mut head) = (BufReader::new(stream), String::new());
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let lower = head.to_lowercase();
        let length = lower.split("content-length: ").nth(1);
        let length = length.and_then(|rest| rest.lines().next()?.trim().parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body).ok()?;
        Some(Self { head, body })
    }

    pub(crate) fn method(&self) -> &str {
        self.head.split(' ').next().unwrap_or_default()
    }

    /// Path and query.
    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    /// All of it.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.head, String::from_utf8_lossy(&self.body))
    }
}

/// Answers each request by a function, and keeps all requests that have no long bodies.
pub(crate) struct ByHand {
    pub(crate) port: u16,
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
}

impl ByHand {
    /// Starts it; the function hears its port too. A request for which it gives nothing is not answered.
    pub(crate) fn start(answer: impl Fn(&Request, u16) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        const BODY_BYTES_KEPT: usize = 64 << 10;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer) = (Arc::clone(&requests), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, kept, answer) = (stream.unwrap(), Arc::clone(&kept), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let Some(request) = Request::read(&stream) else {
                        return;
                    };
                    let answer = answer(&request, port);
                    if request.body.len() <= BODY_BYTES_KEPT {
                        kept.lock().unwrap().push(request.text());
                    }
                    // A client that does not listen any more has what it wants.
                    let _ = stream.write_all(&answer.unwrap_or_default());
                });
            }
        });
        Self { port, requests }
    }

    pub(crate) fn base(&self) -> String {
        format!("http://127.0.0.1:{}/fhir", self.port)
    }

    /// How many requests so far have this in them.
    pub(crate) fn asked(&self, what: &str) -> usize {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|request| request.contains(what)).count()
    }
}

/// A whole answer, after which the connection ends.
pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}
