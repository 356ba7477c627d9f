//! Fuzz targets of the files that anybody may have put, renamed or damaged on the disk.
//! `leasehold-fuzz` says how they are run.

mod directory;
mod names;
mod state;
