//! The CRI v1 contract.
