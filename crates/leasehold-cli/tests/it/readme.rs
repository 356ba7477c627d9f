//! The first page: what a stranger types first must work, as it stands there.

use std::path::Path;

use leasehold_servers::{gcs, spanner};

use crate::world::{Seen, World, end, with_mode};

const README: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md"));
const CI_AND_CRON: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/ci-and-cron.md"));

/// The examples of the first page that a shell runs, in their order.
fn examples() -> Vec<String> {
    shell_blocks(README, "In four examples")
}

/// The blocks of shell in a section of a page.
fn shell_blocks(page: &str, heading: &str) -> Vec<String> {
    let section = page.split("\n## ").find(|section| section.starts_with(heading));
    let blocks = section.expect("the section is there").split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// A directory with what the examples start.
fn world() -> World {
    let world = World::new();
    for name in ["deploy.sh", "migrate", "server"] {
        let text = format!("#!/bin/sh\necho {name} >>did\n");
        with_mode(&world.path(name), &text, 0o755);
    }
    std::fs::create_dir(world.path("migrations")).expect("there is room");
    world.write("migrations/1.sql", "CREATE TABLE t (n INT64)");
    world
}

/// Types an example as a user does, on a machine where nothing is set up but where the store is.
fn typed(world: &World, example: &str, urls: &[(&str, &str)]) -> Seen {
    let mut text = example.to_owned();
    for (there, here) in urls {
        assert!(text.contains(there), "{there} is not in {text}");
        text = text.replace(there, &format!("'{here}'"));
    }
    let mut command = world.script("sh", &text);
    command.env_remove("LEASEHOLD_BACKEND").env("XDG_STATE_HOME", world.path("state"));
    end(command).expect(0)
}

fn did(world: &World) -> String {
    world.read("did").replace('\n', " ")
}

#[test]
fn a_deploy_runs_on_one_machine() {
    let world = world();
    typed(&world, &examples()[0], &[]);
    assert_eq!(did(&world), "deploy.sh ");
    assert!(Path::new(&world.path("state")).exists(), "the locks are in the state directory");
}

/// Two instances, one after the other: one migration, two servers. A new file, and it migrates again.
#[test]
fn a_migration_runs_once_on_one_machine() {
    let world = world();
    let example = &examples()[1];
    typed(&world, example, &[]);
    typed(&world, example, &[]);
    assert_eq!(did(&world), "migrate server server ");
    world.write("migrations/2.sql", "DROP TABLE t");
    typed(&world, example, &[]);
    assert_eq!(did(&world), "migrate server server migrate server ");
}

#[test]
fn a_deploy_runs_through_a_bucket() {
    let (world, server) = (world(), gcs::Fake::start());
    let here = format!("{}&project=acme", server.url("acme-locks/prod"));
    typed(&world, &examples()[2], &[("gs://acme-locks/prod", &here)]);
    assert_eq!(did(&world), "deploy.sh ");
    assert_eq!(examples().len(), 3, "an example that no test types");
}

#[test]
fn a_migration_runs_once_through_spanner() {
    let (world, server) = (world(), spanner::Fake::start());
    server.make_instance("acme/locks");
    let url = server.url("acme/locks/prod");
    let example = &shell_blocks(CI_AND_CRON, "A table in Cloud Spanner")[0];
    typed(&world, example, &[("spanner://acme/locks/prod", &url)]);
    typed(&world, example, &[("spanner://acme/locks/prod", &url)]);
    assert_eq!(did(&world), "migrate server server ");
}
