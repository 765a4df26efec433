//! A way to a server that can be stopped at a request: [`Gate`].
//!
//! A process that is to be killed at some place of its work is killed while the request that it makes there is held, however fast or
//! slow the machine is.

use crate::http::{ByHand, Request, eventually};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex};

/// Where a request is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Before the server has it, which never gets it.
    Asked,
    /// When the server has answered; nobody hears the answer.
    Answered,
}

/// Tells the request that is to be held.
pub(crate) type Sought = fn(&Request) -> bool;

/// Stands before a server, passes on what comes, one request a connection, and what is answered.
pub(crate) struct Gate {
    before: ByHand,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    watch: Mutex<Watch>,
    /// A request is let go.
    let_go: Condvar,
}

#[derive(Default)]
struct Watch {
    /// What is waited for; gone as soon as it has come.
    sought: Option<(Sought, Hold)>,
    /// It has come and is held.
    holds: bool,
}

impl Gate {
    /// Begins to pass on to the server at a port.
    pub(crate) fn before(server: u16) -> Self {
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let before = ByHand::start(move |request, _| {
            let hold = shared.found(request);
            let answer = match hold {
                Some(Hold::Asked) => None,
                None | Some(Hold::Answered) => pass(server, request),
            };
            if hold.is_none() {
                return answer;
            }
            shared.hold();
            None
        });
        Self { before, state }
    }

    pub(crate) fn base(&self) -> String {
        self.before.base()
    }

    /// Starts a process, and kills it while the first such request of it is held.
    pub(crate) fn killed_at(&self, what: &str, sought: (Sought, Hold), start: impl FnOnce() -> Child) {
        self.state.watch.lock().unwrap().sought = Some(sought);
        let mut child = start();
        eventually(what, || {
            let holds = self.state.watch.lock().unwrap().holds;
            let ended = child.try_wait().unwrap();
            assert_eq!(ended, None, "{what}: it ended before");
            holds.then_some(())
        });
        child.kill().unwrap();
        child.wait().unwrap();
        self.state.watch.lock().unwrap().holds = false;
        self.state.let_go.notify_all();
    }
}

impl State {
    /// Whether this is the request that is waited for.
    fn found(&self, request: &Request) -> Option<Hold> {
        let mut watch = self.watch.lock().unwrap();
        let (_, hold) = watch.sought.take_if(|(is_sought, _)| is_sought(request))?;
        Some(hold)
    }

    fn hold(&self) {
        let mut watch = self.watch.lock().unwrap();
        watch.holds = true;
        drop(self.let_go.wait_while(watch, |watch| watch.holds).unwrap());
    }
}

/// The server's answer to the request, as it comes. Who asked may be gone, and the server too.
fn pass(server: u16, request: &Request) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", server)).ok()?;
    let head = request.head.strip_suffix("\r\n")?;
    let request = [
        head.as_bytes(),
        b"Connection: close\r\n\r\n",
        request.body.as_slice(),
    ];
    stream.write_all(&request.concat()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(answer)
}
