//! Ten thousand good records, and one of each kind that can't be delivered in their midst.

use std::time::Duration;

use crate::records::{Fate, Kind};
use crate::shards::Service;
use crate::until;
use crate::world::{GROUP, PATIENCE, Pace, World, balanced, problems};

const RECORDS: usize = 10_000;
const POISON: [Kind; 8] = [
    Kind::Undecodable,
    Kind::Marked,
    Kind::TooOld,
    Kind::Oversize,
    Kind::TooNew,
    Kind::Empty,
    Kind::UnknownMessage,
    Kind::Expired,
];

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_are_delivered_around_one_poison_of_each_kind() {
    let mut world = World::new(Service::Kinesis, 1, Pace { lease: 10, drain: 20 }).await;
    {
        let mut state = world.aws.state();
        state.logs.refuses_marked = true;
        state.logs.keep(GROUP, 1);
    }
    for record in 0..RECORDS {
        // In the midst, one after another, with good ones between.
        if let Some(kind) = record.checked_sub(RECORDS / 2).and_then(|at| POISON.get(at)) {
            world.append(0, *kind);
        }
        world.append(0, Kind::Good);
    }
    let mut weir = world.start().await;
    let account = world.settle(&mut weir, PATIENCE).await;
    println!("{account:?}");
    assert!(account.is_settled(), "lost: {:?}", account.lost);
    let numbers = balanced(&mut weir).await;
    let is_letter = |kind: &&Kind| matches!(kind.fate(), Fate::Letter(_));
    let letters = POISON.iter().filter(is_letter).count();
    let series = "weir_records_dead_lettered_total";
    assert_eq!(numbers.sum(series), letters as f64, "{series}");
    until("the problems to be solved", Duration::from_secs(30), async || {
        problems(&weir).await.is_empty()
    })
    .await;
    weir.terminate();
    assert_eq!(weir.ended().await.code(), Some(0));
    let account = world.account();
    assert!(account.wrong.is_empty(), "{:#?}", account.wrong);
    assert_eq!(
        (account.delivered, account.letters, account.repeats),
        (RECORDS + POISON.len() - letters, letters, 0)
    );
    assert_eq!(world.complaints(), Vec::<String>::new());
    world.drained().unwrap();
}
