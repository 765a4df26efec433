//! Another server on this machine, such as one that hosts the keys of a client: it answers what a test tells it to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};

/// A request that came in: its first line and headers, and its body.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) head: String,
    pub(crate) body: String,
}

/// What is answered at a path.
#[derive(Debug, Clone, Default)]
pub(crate) struct Page {
    pub(crate) path: String,
    pub(crate) status: u16,
    pub(crate) headers: Vec<String>,
    pub(crate) body: String,
}

#[derive(Default)]
struct State {
    pages: Vec<Page>,
    asked: Vec<Asked>,
}

/// The server; it ends with the runtime of its test.
pub(crate) struct Elsewhere {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    gate: Arc<RwLock<()>>,
}

impl Elsewhere {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::<Mutex<State>>::default();
        let gate = Arc::<RwLock<()>>::default();
        let (shared, passed) = (Arc::clone(&state), Arc::clone(&gate));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&shared), Arc::clone(&passed)));
            }
        });
        Self { address, state, gate }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers nothing as long as what is given lives; requests come in.
    pub(crate) async fn hold(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.gate).write_owned().await
    }

    /// Answers 200 with JSON at a path from now on.
    pub(crate) fn put(&self, path: &str, body: impl Into<String>, headers: &[&str]) {
        self.set(Page {
            path: path.to_owned(),
            status: 200,
            headers: headers.iter().map(|header| (*header).to_owned()).collect(),
            body: body.into(),
        });
    }

    /// Answers so at the page's path from now on.
    pub(crate) fn set(&self, page: Page) {
        let mut state = self.state.lock().unwrap();
        state.pages.retain(|known| known.path != page.path);
        state.pages.push(page);
    }

    /// The requests for a path until now.
    pub(crate) fn asked(&self, path: &str) -> Vec<Asked> {
        let state = self.state.lock().unwrap();
        let is_meant = |asked: &&Asked| asked.head.split(' ').nth(1) == Some(path);
        state.asked.iter().filter(is_meant).cloned().collect()
    }
}

async fn answer(mut stream: TcpStream, state: Arc<Mutex<State>>, gate: Arc<RwLock<()>>) {
    let Some(asked) = read(&mut stream).await else {
        return;
    };
    let path = asked.head.split(' ').nth(1).unwrap_or_default().to_owned();
    let page = {
        let mut state = state.lock().unwrap();
        state.asked.push(asked);
        state.pages.iter().find(|page| page.path == path).cloned()
    };
    drop(gate.read().await);
    let page = page.unwrap_or(Page {
        status: 404,
        ..Page::default()
    });
    let headers: String = page
        .headers
        .iter()
        .map(|header| format!("{header}\r\n"))
        .collect();
    let text = format!(
        "HTTP/1.1 {} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{}",
        page.status,
        page.body.len(),
        page.body
    );
    // Whoever asked may have gone.
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        });
        if body.len() >= length.unwrap_or(0) {
            return Some(Asked {
                head: head.to_owned(),
                body: body.to_owned(),
            });
        }
    }
}
