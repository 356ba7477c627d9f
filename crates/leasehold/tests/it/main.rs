//! The library's tests, through its public door.

mod virtual_time;
