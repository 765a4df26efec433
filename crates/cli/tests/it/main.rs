//! The binary as its users run it: commands, exit codes, and SIGKILL at any moment.
#![allow(
    clippy::unwrap_used,
    reason = "in a test, what cannot be unwrapped is the failure"
)]

mod at_rest;
mod audit;
mod authorization;
mod bulk_data_client;
mod client;
mod client_tokens;
mod commands;
mod doctor;
mod export;
mod faulty;
mod gate;
mod http;
mod jobs;
mod kill;
mod listen;
mod logs;
mod outbound;
mod pull;
mod pull_attachments;
mod pull_faulty;
mod pull_flags;
mod pull_kill;
mod readme;
mod s3;
mod sample;
mod served;
mod stops;
mod sync;
mod sync_faulty;
mod sync_kill;
mod two_way;
mod typed;
mod unread;
mod verify;
