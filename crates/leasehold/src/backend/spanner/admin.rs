//! What the tools ask of a database.
use leasehold_core::admin::Admin;
use super::SpannerBackend;
impl Admin for SpannerBackend {}
