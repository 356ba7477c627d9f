//! The state machine with a primitive that a test chooses.

use leasehold_core::lease;
use leasehold_core::primitive::Any;

pub(crate) type Lease = lease::Lease<Any>;
pub(crate) type Input = lease::Input<Any>;
pub(crate) type Output = lease::Output<Any>;
pub(crate) type Event = lease::Event<Any>;
