//! Two-way sync: loops of random edits on both sides with crashes, and the state that they leave.

mod loops;
mod mock;
mod peer;
mod state;
