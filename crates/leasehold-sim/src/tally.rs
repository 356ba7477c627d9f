//! What happened in a world: each "always" is worth as much as the counters beside it.

macro_rules! tally {
    ($($name:ident),+ $(,)?) => {
        /// How often each thing happened.
        #[derive(Default, Debug, Clone, PartialEq, Eq)]
        pub struct Tally {
            $(#[doc = stringify!($name)] pub $name: u64,)+
        }

        impl Tally {
            /// Adds what happened in another world.
            pub fn add(&mut self, other: &Tally) {
                $(self.$name += other.$name;)+
            }

            /// Panics if something never happened: such a run has shown nothing of it.
            pub fn assert_that_everything_happened(&self) {
                $(assert!(self.$name > 0, "{} never happened", stringify!($name));)+
            }
        }
    };
}

tally! {
    events,
    grants,
    grants_by_reading,
    grants_by_the_first_write,
    renewals,
    releases,
    refusals,
    failures,
    found_free,
    expiries,
    ends_noticed,
    deletions_noticed,
    suspicions,
    takeovers_by_sight,
    takeovers_by_age,
    takeovers_of_orphans,
    takeovers_by_giving_up,
    second_leases,
    lost_requests,
    lost_replies,
    late_writes_landed,
    late_writes_refused,
    second_copies_refused_first,
    throttled_but_landed,
    never_sent,
    cancels,
    crashes,
    freezes,
    suspends,
    pauses,
    forced,
    deleted,
    hints,
}
