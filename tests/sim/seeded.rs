//! 200 drawn stories of DynamoDB streams and 100 of Kinesis streams, in tests that run side by side.

use crate::scenario::{any, any_of_kinesis};
use crate::seeds::{chosen, demand_kept, run};
use crate::subject::program;

fn tell(test: &str, usual: std::ops::Range<u64>) {
    tell_of(test, usual, false);
}

fn tell_of(test: &str, usual: std::ops::Range<u64>, kinesis: bool) {
    let mut broken = Vec::new();
    for seed in chosen(usual) {
        let run = match kinesis {
            true => run(seed, |world| any_of_kinesis(world, program())),
            false => run(seed, |world| any(world, program())),
        };
        if !run.violations.is_empty() {
            broken.push((seed, run));
        }
    }
    // All are counted, the first is told.
    let seeds: Vec<u64> = broken.iter().map(|(seed, _)| *seed).collect();
    if let Some((seed, run)) = broken.first() {
        demand_kept(&format!("seeded::{test}"), *seed, run, &seeds);
    }
}

#[test]
fn every_story_keeps_the_promises_1() {
    tell("every_story_keeps_the_promises_1", 0..50);
}

#[test]
fn every_story_keeps_the_promises_2() {
    tell("every_story_keeps_the_promises_2", 50..100);
}

#[test]
fn every_story_keeps_the_promises_3() {
    tell("every_story_keeps_the_promises_3", 100..150);
}

#[test]
fn every_story_keeps_the_promises_4() {
    tell("every_story_keeps_the_promises_4", 150..200);
}

#[test]
fn every_story_of_kinesis_keeps_the_promises_1() {
    tell_of("every_story_of_kinesis_keeps_the_promises_1", 0..50, true);
}

#[test]
fn every_story_of_kinesis_keeps_the_promises_2() {
    tell_of("every_story_of_kinesis_keeps_the_promises_2", 50..100, true);
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in chosen(0..6) {
        let told = || run(seed, |world| any(world, program()));
        let (a, b) = (told(), told());
        let differ = a.trace.iter().zip(&b.trace).position(|(a, b)| a != b);
        assert!(
            a.trace == b.trace,
            "seed {seed} differs from line {differ:?} on:\n{:?}\n{:?}",
            differ.map(|i| &a.trace[i]),
            differ.map(|i| &b.trace[i]),
        );
    }
}
