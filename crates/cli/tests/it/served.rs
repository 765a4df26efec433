//! A server that runs: [`Served`].

use crate::http::{exchange, free_port, wait_for_health};
use crate::sample::{fhirhose, signal, text};
use rustix::process::Signal;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

/// `fhirhose serve` over a data folder; it ends with the value. What it says goes to a file: nobody would empty a pipe.
pub(crate) struct Served {
    pub(crate) child: Child,
    pub(crate) port: u16,
    /// What it has said.
    pub(crate) log: PathBuf,
}

impl Served {
    /// Serves at a port that is free.
    pub(crate) fn start(data: &Path, more: &[&str]) -> Self {
        Self::start_at(free_port(), data, more)
    }

    /// Serves at this port, and waits until it answers.
    pub(crate) fn start_at(port: u16, data: &Path, more: &[&str]) -> Self {
        let (listen, log) = (format!("127.0.0.1:{port}"), data.with_extension("said"));
        let said = File::create(&log).unwrap();
        let mut command = fhirhose(&["serve", "--data", text(data), "--listen", &listen]);
        command.args(more).stdout(Stdio::null()).stderr(said);
        let child = command.spawn().unwrap();
        let mut served = Self { child, port, log };
        wait_for_health(&mut served.child, port);
        served
    }

    pub(crate) fn base(&self) -> String {
        format!("http://127.0.0.1:{}/fhir", self.port)
    }

    /// Sends what has a FHIR body to `/fhir/` and this, and gives the status of the answer.
    pub(crate) fn send(&self, method: &str, name: &str, body: &str) -> u16 {
        let (port, length) = (self.port, body.len());
        let request = format!(
            "{method} /fhir/{name} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/fhir+json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        let answer = exchange(port, &request).expect("the server answers");
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Ends it by a signal and waits for it.
    pub(crate) fn end(mut self, by: Signal) {
        signal(&self.child, by);
        self.child.wait().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself; then the test has failed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
