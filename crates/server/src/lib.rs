//! The HTTP surface: routes, limits and OperationOutcome answers, with the job runner beside it in the same process.
//!
//! [`bind`] takes the port, [`Bound::serve`] answers requests and runs jobs until it is told to stop; [`ServerSettings`] says how.
//! [`routes`] lists every path with its methods. A handler never does bulk work: it parses, records a job, answers.
//!
//! [`AuthSettings`] says who decides what a request may do. Where nobody does, the server binds loopback addresses only.
//! It terminates no TLS, and knows one FHIR version, R4.

mod access;
mod answer;
mod app;
pub mod audit;
mod authority;
mod call;
mod clients;
mod compact;
mod conformance;
mod create_job;
mod download;
mod error;
mod flood_settings;
mod floods;
mod forwarded;
mod job_view;
mod listener;
mod metrics_port;
mod operator_socket;
mod origin;
mod pace;
mod polling;
mod problem;
mod resource;
mod rest;
mod rest_settings;
mod routes;
mod serve;
mod settings;
mod sources;
mod upkeep;

pub use authority::{
    AuthSettings, ExternalSettings, KeySettings, Secret, SmartSettings, TOKEN_SECS_MAX, TokenProof,
    UnregisteredClients,
};
pub use clients::{
    CLIENTS_MAX, ClientChange, ClientFault, ClientRegistry, ClientView, NewClient, NewKeys, Rotation,
};
pub use error::{Error, ErrorKind, Result};
pub use flood_settings::FloodSettings;
pub use listener::settings::{
    ClientCertificates, ConnectionSettings, ForwardedBy, ProxySettings, TlsSettings, TransportSettings,
};
pub use metrics_port::serve_metrics;
pub use rest_settings::RestSettings;
pub use routes::{RouteMethods, routes};
pub use serve::{Bound, Components, bind};
pub use settings::{HeaderMode, ServerSettings};
