//! Keeps two systems in step: [`both`] in both directions.

pub mod both;
