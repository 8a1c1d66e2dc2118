//! Tests of the control groups: parsing, a v2 tree made of plain files, and the kernel itself.

mod kernel;
mod pure;
mod v2_files;
