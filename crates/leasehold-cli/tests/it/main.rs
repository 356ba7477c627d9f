//! The program, tested from outside: what is typed, what is printed, how it ends.
//!
//! The cases in `cases/` are there once for each kind of store. Where a store cannot be started its cases
//! tell the test command so and end before they begin.

mod bucket;
mod credentials;
mod demo;
mod disk;
mod doctor;
mod host;
mod init;
mod json_page;
mod limits;
mod once_on_bucket;
mod other_language;
mod places;
mod readme;
mod shell;
mod spanner;
mod store;
mod surroundings;
mod terminal;
mod told;
mod tools;
mod typed;
mod world;

#[path = "cases"]
mod on_files {
    use crate::world::World;

    #[expect(clippy::unnecessary_wraps, reason = "another kind may not be had")]
    fn world() -> Option<World> {
        Some(World::new())
    }

    mod codes;
    mod crashes;
    mod demo;
    mod loss;
    mod once;
    mod once_ends;
    mod once_races;
    mod output;
    mod script;
    mod signals;
}

#[path = "cases"]
#[expect(clippy::duplicate_mod, reason = "the same cases on another store")]
mod on_fake_bucket {
    use crate::store::Store;
    use crate::world::World;

    #[expect(clippy::unnecessary_wraps, reason = "another kind may not be had")]
    fn world() -> Option<World> {
        Some(World::on(Store::on_fake_bucket()))
    }

    mod codes;
    mod crashes;
    mod demo;
    mod loss;
    mod once;
    mod once_ends;
    mod once_races;
    mod output;
    mod script;
    mod signals;
}

#[path = "cases"]
#[expect(clippy::duplicate_mod, reason = "the same cases on another store")]
mod on_fake_gcs_server {
    use crate::store::Store;
    use crate::world::World;

    fn world() -> Option<World> {
        Store::on_outside_bucket().map(World::on)
    }

    mod codes;
    mod crashes;
    mod demo;
    mod loss;
    mod once;
    mod once_ends;
    mod once_races;
    mod output;
    mod script;
    mod signals;
}

#[path = "cases"]
#[expect(clippy::duplicate_mod, reason = "the same cases on another store")]
mod on_fake_database {
    use crate::store::Store;
    use crate::world::World;

    #[expect(clippy::unnecessary_wraps, reason = "another kind may not be had")]
    fn world() -> Option<World> {
        Some(World::on(Store::on_fake_database()))
    }

    mod codes;
    mod crashes;
    mod demo;
    mod loss;
    mod once;
    mod once_ends;
    mod once_races;
    mod output;
    mod script;
    mod signals;
}

#[path = "cases"]
#[expect(clippy::duplicate_mod, reason = "the same cases on another store")]
mod on_spanner_emulator {
    use crate::store::Store;
    use crate::world::World;

    fn world() -> Option<World> {
        Store::on_outside_database().map(World::on)
    }

    mod codes;
    mod crashes;
    mod demo;
    mod loss;
    mod once;
    mod once_ends;
    mod once_races;
    mod output;
    mod script;
    mod signals;
}
