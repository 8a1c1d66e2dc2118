//! Holdfast.
pub mod disk;
