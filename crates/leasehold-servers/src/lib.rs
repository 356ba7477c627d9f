//! The servers that the tests need.
