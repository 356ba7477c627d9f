//! Fuzz targets of the protocol: records that strangers wrote, names that strangers chose, and what
//! an acquisition does with them. `leasehold-fuzz` says how they are run.

mod acquisition;
mod json;
mod name;
mod reader;
mod record;
mod run;
mod words;
