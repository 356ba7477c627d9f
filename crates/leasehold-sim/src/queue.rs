//! What will happen, by true time; at the same time, in the order in which it was planned.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

struct Entry<T> {
    time: u64,
    order: u64,
    what: T,
}

/// The one queue of a world.
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Entry<T>>,
    planned: u64,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Queue<T> {
        Queue { heap: BinaryHeap::new(), planned: 0 }
    }

    pub(crate) fn plan(&mut self, time: u64, what: T) {
        self.planned += 1;
        self.heap.push(Entry { time, order: self.planned, what });
    }

    /// What happens next, and when.
    pub(crate) fn next(&mut self) -> Option<(u64, T)> {
        self.heap.pop().map(|entry| (entry.time, entry.what))
    }
}

impl<T> Entry<T> {
    fn key(&self) -> (u64, u64) {
        (self.time, self.order)
    }
}

// The heap gives the greatest first; the earliest is wanted.
impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Entry<T> {}
