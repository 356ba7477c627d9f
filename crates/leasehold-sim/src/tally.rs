//! What happened in a world: each "always" is worth as much as the counters beside it.

/// Counters of a kind of world.
pub trait Tally: Default + Clone + Send {
    /// Adds what happened in another world.
    fn add(&mut self, other: &Self);

    /// Each counter by its name, what it counts, and its value.
    fn rows(&self) -> Vec<(&'static str, &'static str, u64)>;
}

/// Makes a [`Tally`]: a public struct of counters, each with a sentence for people.
macro_rules! tally {
    ($(#[$doc:meta])+ $tally:ident { $($name:ident $says:literal,)+ }) => {
        $(#[$doc])+
        #[derive(Default, Debug, Clone, PartialEq, Eq)]
        pub struct $tally {
            $(#[doc = $says] pub $name: u64,)+
        }

        impl $crate::tally::Tally for $tally {
            fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)+
            }

            fn rows(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), $says, self.$name),)+]
            }
        }
    };
}

pub(crate) use tally;
