//! Tests of the network: names and leases, and the kernel in namespaces of the tests' own.

mod hostports;
mod kernel;
mod pure;
