//! Black-box tests of Holdfast.
