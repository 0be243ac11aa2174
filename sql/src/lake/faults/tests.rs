use object_store::memory::InMemory;
use object_store::{ObjectStoreExt, PutMode};

use super::*;

const ALL: &[Fault] = &[Fault::Reset, Fault::Lost, Fault::Stuck];

/// Which of many requests go wrong, in this order.
async fn wrong(faults: &Faults, order: impl Iterator<Item = u64>) -> Vec<u64> {
    let store = faults.around(Arc::new(InMemory::new()), "");
    let mut wrong = Vec::new();
    for number in order {
        if store.put(&Path::from(format!("{number}")), "x".into()).await.is_err() {
            wrong.push(number);
        }
    }
    wrong.sort_unstable();
    wrong
}

#[tokio::test]
async fn the_seed_says_which_requests_go_wrong_whatever_their_order() {
    let of = |seed| Faults::seeded(seed, 50, ALL);
    let forwards = wrong(&of(7), 0..2_000).await;
    assert_eq!(wrong(&of(7), (0..2_000).rev()).await, forwards);
    assert_ne!(wrong(&of(8), 0..2_000).await, forwards);
    assert!((60..150).contains(&forwards.len()), "5 % of 2,000: {}", forwards.len());
    assert_eq!(wrong(&Faults::seeded(7, 0, ALL), 0..100).await, [0_u64; 0]);
}

#[tokio::test]
async fn what_is_lost_was_done_and_what_is_reset_was_not() {
    for (fault, is_there) in [(Fault::Lost, true), (Fault::Reset, false), (Fault::Broken, false)] {
        let memory = Arc::new(InMemory::new());
        let store = Faults::new(move |_| Some(fault)).around(Arc::clone(&memory) as _, "");
        let path = Path::from("a");
        assert!(store.put_opts(&path, "x".into(), PutMode::Create.into()).await.is_err());
        assert_eq!(memory.head(&path).await.is_ok(), is_there, "{fault:?}");
    }
}

#[tokio::test]
async fn a_stale_listing_knows_only_of_the_past() {
    use futures::TryStreamExt;
    let faults = Faults::new(|request| (request.verb == Verb::List && request.nth == 0).then_some(Fault::Stale));
    let store = faults.around(Arc::new(InMemory::new()), "");
    for name in ["1", "2", "3", "4", "5", "6"] {
        store.put(&name.into(), "x".into()).await.unwrap();
    }
    let names = || async {
        let found: Vec<_> = store.list(None).try_collect().await.unwrap();
        found.into_iter().map(|found| found.location.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["1", "2"]);
    assert_eq!(names().await.len(), 6);
}
