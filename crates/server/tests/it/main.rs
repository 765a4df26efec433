//! Behaviour of the server over real HTTP, on a free port of this machine.

// All of this binary is a test; the lint's own exception sees only functions that are marked so.
#![allow(clippy::unwrap_used)]

mod access;
mod at_rest;
mod audit;
mod audit_trail;
mod binary;
mod bundle;
mod certification;
mod certification_tokens;
mod client_keys;
mod clients;
mod cohort;
mod conditional;
mod create;
mod deleted;
mod digest;
mod dry_run;
mod elsewhere;
mod everything;
mod export_file;
mod export_status;
mod external;
mod fixture;
mod flood;
mod history;
mod http;
mod import;
mod interactions;
mod kick_off;
mod limits;
mod metadata;
mod operator;
mod organised;
mod pace;
mod pages;
mod population;
mod proxy;
mod reconcile;
mod registered;
mod requirements;
mod routes;
mod search;
mod serve;
mod tls;
mod token;
mod token_requests;
mod versions;
