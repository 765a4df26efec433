//! A server whose stderr nobody reads: it answers, says later how much it could not say, and ends.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::process::Signal;

use crate::http::{eventually, exchange, free_port, wait_for_health};
use crate::sample::{fhirhose, signal, text};

/// Requests that are sent at a time.
const TURN: usize = 200;

/// As many requests as fill a pipe with what is logged of them, and what a server holds of a log beside it.
const MANY: usize = 10_000;

/// As many as fill a pipe.
const SOME: usize = 2_000;

/// A server that says all that it can into a pipe; it ends with the value.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(folder: &Path) -> Self {
        let (port, store) = (free_port(), folder.join("store"));
        let listen = format!("127.0.0.1:{port}");
        let mut command = fhirhose(&["serve", "-vvv", "--data", text(&store), "--listen", &listen]);
        let command = command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        wait_for_health(&mut child, port);
        Self { child, port }
    }

    /// Sends so many requests, which all must be answered.
    fn ask(&self, requests: usize) {
        let ask = |more| format!("HEAD /fhir/metadata HTTP/1.1\r\nHost: localhost\r\n{more}\r\n");
        let turn = ask("").repeat(TURN - 1) + &ask("Connection: close\r\n");
        for asked in (0..requests).step_by(TURN) {
            let answers = exchange(self.port, &turn).expect("an answer");
            let answered = answers.matches("HTTP/1.1 200 ").count();
            assert_eq!(answered, TURN, "after {asked}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_server_whose_log_nobody_reads_answers_and_says_later_how_much_it_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path());
    server.ask(MANY);
    // Somebody reads again.
    let said = BufReader::new(server.child.stderr.take().unwrap()).lines();
    let mut said = said.map(Result::unwrap).peekable();
    let first = said.peek().unwrap();
    assert!(first.starts_with("serving "), "{first}");
    let dropped_of = |line: &str| {
        let (_, count) = line.split_once("stderr did not take them: ")?;
        Some(count.parse::<usize>().unwrap())
    };
    let mut told = 0;
    let dropped = said.by_ref().find_map(|line| {
        told += usize::from(line.contains("answered"));
        dropped_of(&line)
    });
    assert!(dropped.is_some_and(|count| count > 0), "{dropped:?}");
    assert!(
        told + dropped.unwrap() >= MANY,
        "{told} lines and {dropped:?} dropped"
    );
    // From now on it is as before, to the last line.
    server.ask(SOME);
    signal(&server.child, Signal::TERM);
    let rest: Vec<String> = said.collect();
    let told = rest.iter().filter(|line| line.contains("answered")).count();
    assert!(server.child.wait().unwrap().success());
    let dropped = rest.iter().find_map(|line| dropped_of(line));
    assert_eq!((told, dropped), (SOME, None));
}

#[test]
fn a_server_whose_log_nobody_reads_ends_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path());
    server.ask(SOME);
    signal(&server.child, Signal::TERM);
    let status = eventually("the end of the server", || server.child.try_wait().unwrap());
    assert!(status.success(), "{status}");
}
