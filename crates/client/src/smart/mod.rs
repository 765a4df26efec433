//! SMART Backend Services, the client's side: [`TokenSource`] gives the token that goes with the next request.

mod configuration;
mod token;

pub use configuration::SmartConfiguration;
pub(crate) use configuration::token_uri;
pub use token::{SmartSettings, Token, TokenSource};
