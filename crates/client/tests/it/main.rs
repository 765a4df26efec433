//! The client against servers of the test's own.

mod guard;
mod limits;
mod server;
mod tls;
