//! HTTP by hand, and waiting for what a process or a server comes to.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Child;
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

/// A port that was free a moment ago; the server keeps it through its restarts.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
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
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
