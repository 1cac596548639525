//! What an index keeps, drops, and finds.

use std::collections::BTreeSet;
use std::time::Duration;

use operone_core::clock::Timestamp;
use operone_core::id::MemoryId;
use operone_core::memory::{Change, Entry, Record, Revision};

use super::bytes::INDEX_BYTES;
use super::{Index, Search};
use crate::policy::Policy;

const NOW: Timestamp = Timestamp::from_millis(1_000);

fn id(number: usize) -> MemoryId {
    MemoryId::new(format!("mem-{number}")).unwrap()
}

fn entry(number: usize, content: &str) -> Entry {
    Entry::new(id(number), content, Vec::new(), Timestamp::from_millis(number as i64))
}

fn write(index: &mut Index, entry: Entry) {
    let revision = Revision(index.revision().0 + 1);
    index.apply(Record::new(revision, entry.id.clone(), Change::Written(Box::new(entry))));
}

fn erase(index: &mut Index, number: usize) {
    index.apply(Record::new(Revision(index.revision().0 + 1), id(number), Change::Erased(NOW)));
}

fn index(policy: Policy, contents: &[&str]) -> Index {
    let mut index = Index::new(policy, None);
    for (number, content) in contents.iter().enumerate() {
        write(&mut index, entry(number, content));
    }
    index
}

fn search(text: &str) -> Search<'_> {
    Search {
        text,
        dense: None,
        filter: &|_| true,
        recency: None,
        asked_at: NOW,
        now: NOW,
        after: None,
        limit: 100,
        explain: false,
    }
}

fn found(index: &Index, text: &str) -> Vec<(String, f64)> {
    let found = index.search(&search(text)).memories;
    found.into_iter().map(|(_, found)| (found.entry.content, found.score)).collect()
}

fn contents(index: &Index, text: &str) -> Vec<String> {
    found(index, text).into_iter().map(|(content, _)| content).collect()
}

#[test]
fn what_is_erased_leaves_no_trace() {
    let texts = ["alpha", "beta gamma", "gamma", "delta", "alpha delta"];
    for policy in [Policy::facts(), Policy::conversation()] {
        let mut erased = index(policy, &texts);
        for number in [1, 4, 1, 0] {
            erase(&mut erased, number);
        }
        let mut kept = Index::new(policy, None);
        write(&mut kept, entry(2, "gamma"));
        write(&mut kept, entry(3, "delta"));
        for query in ["alpha", "beta", "gamma", "delta", "gamma delta alpha"] {
            assert_eq!(found(&erased, query), found(&kept, query), "{query}");
        }
        assert_eq!(erased.bytes(), kept.bytes());
        assert_eq!(erased.postings.len(), 2);
        for number in [2, 3] {
            erase(&mut erased, number);
        }
        assert_eq!((erased.bytes(), erased.threads.count(), erased.terms), (INDEX_BYTES, 0, 0));
        assert!(contents(&erased, "").is_empty());
    }
}

#[test]
fn a_new_version_takes_the_place_of_the_old_one() {
    let mut changed = index(Policy::conversation(), &["alpha", "beta", "gamma", "beta"]);
    write(&mut changed, entry(1, "omega"));
    write(&mut changed, entry(3, "delta"));
    let whole = index(Policy::conversation(), &["alpha", "omega", "gamma", "delta"]);
    for query in ["alpha", "beta", "omega", "gamma", "delta", ""] {
        assert_eq!(found(&changed, query), found(&whole, query), "{query}");
    }
    assert_eq!((changed.bytes(), changed.postings.len()), (whole.bytes(), whole.postings.len()));
}

#[test]
fn tags_and_actors_are_found_and_hide_no_content() {
    let mut index = Index::new(Policy::facts(), None);
    let mut said = entry(1, "to be or not to be");
    said.tags = vec!["hamlet".into()];
    said.actor = Some("Shakespeare".into());
    write(&mut index, said);
    for query in ["hamlet", "to be", "Shakespeare"] {
        assert_eq!(contents(&index, query).len(), 1, "{query}");
    }
}

#[test]
fn the_score_of_the_best_is_its_share_of_the_query() {
    let index = index(Policy::facts(), &["User prefers dark mode", "The dark side of the moon", "Buy milk"]);
    let whole = found(&index, "Which mode does the user prefer, dark?");
    assert_eq!((whole[0].0.as_str(), whole[0].1, whole.len()), ("User prefers dark mode", 1.0, 2));
    assert!(whole[1].1 > 0.0 && whole[1].1 < 0.5);
    let part = index.search(&search("dark chocolate"));
    let best = part.memories[0].1.score;
    assert!(best < 0.4, "'chocolate' is unknown here and weighs more: {best}");
    assert_eq!(part.coverage, best);
    assert!(found(&index, "penguins").is_empty() && found(&index, "?!").is_empty());
}

#[test]
fn of_equal_scores_the_newest_comes_first() {
    let index = index(Policy::facts(), &["one fact", "two facts", "one more fact of many other things"]);
    assert_eq!(contents(&index, "fact")[..2], ["two facts", "one fact"]);
}

#[test]
fn only_in_a_conversation_neighbours_help() {
    let talk = [
        "Lisbon has a new bridge.",
        "The weather is nice.",
        "Where did you spend your holidays?",
        "Oh, in Lisbon, with Ada.",
        "And you?",
    ];
    let order =
        ["Where did you spend your holidays?", "Oh, in Lisbon, with Ada.", "Lisbon has a new bridge."];
    let query = "Was it Lisbon, on your holidays?";
    assert_eq!(contents(&index(Policy::conversation(), &talk), query), order);
    let alone = found(&index(Policy::facts(), &talk), query);
    assert_eq!((alone.len(), alone[1].1), (3, alone[2].1), "both say Lisbon once: {alone:?}");
    let question = contents(&index(Policy::conversation(), &talk), "holidays");
    assert_eq!(question, ["Where did you spend your holidays?"], "a neighbour's word is no match");
}

#[test]
fn a_thread_lends_its_words_and_keeps_to_itself() {
    let mut index = Index::new(Policy::facts(), None);
    for (number, (thread, content)) in [
        ("a", "We climbed the mountain."),
        ("b", "The oven is broken."),
        ("a", "The view was great."),
        ("b", "The view of the street was blocked."),
        ("a", "The mountain hut was full."),
    ]
    .into_iter()
    .enumerate()
    {
        let mut said = entry(number, content);
        said.thread = Some(thread.into());
        write(&mut index, said);
    }
    let order = contents(&index, "view from the mountain");
    let place = |content: &str| order.iter().position(|found| found == content).unwrap();
    assert!(place("The view was great.") < place("The view of the street was blocked."), "{order:?}");
}

#[test]
fn importance_and_age_move_scores_a_little_and_never_past_one() {
    let mut index = Index::new(Policy::facts(), None);
    for (number, importance) in [(1, 1.0), (2, 0.5), (3, 0.0)] {
        let mut said = entry(number, "the same fact");
        said.importance = importance;
        write(&mut index, said);
    }
    let scores: Vec<f64> = found(&index, "fact").into_iter().map(|(_, score)| score).collect();
    assert_eq!((scores[0], scores.len()), (1.0, 3));
    assert!(scores.is_sorted_by(|a, b| a > b) && scores[2] > 0.89, "{scores:?}");
    let recency = operone_core::memory::Recency { weight: 1.0, half_life: Duration::from_millis(1) };
    let aged = index.search(&Search {
        recency: Some(recency),
        asked_at: Timestamp::from_millis(3),
        ..search("fact")
    });
    assert_eq!(aged.memories[0].1.entry.id, id(3), "the newest wins where age is asked for");
    assert!(aged.memories.iter().all(|(_, memory)| (0.0..=1.0).contains(&memory.score)));
}

#[test]
fn what_expires_is_read_until_that_moment() {
    let mut index = Index::new(Policy::facts(), None);
    let mut said = entry(1, "fact");
    said.expires_at = Some(Timestamp::from_millis(500));
    write(&mut index, said);
    let at =
        |now| index.search(&Search { now: Timestamp::from_millis(now), ..search("fact") }).memories.len();
    assert_eq!((at(499), at(500), at(501)), (1, 0, 0));
    assert_eq!(index.unreadable(Timestamp::from_millis(500)), [id(1)]);
}

#[test]
fn an_idle_conversation_lapses_and_does_not_come_back() {
    let policy = Policy::conversation().with_idle_for(Some(Duration::from_millis(100)));
    let mut index = Index::new(policy, None);
    let readable = |index: &Index, now| index.readable(Timestamp::from_millis(now)).count();
    for number in [0, 90, 180] {
        write(&mut index, entry(number, "word"));
    }
    assert_eq!((readable(&index, 279), readable(&index, 280)), (3, 0));
    write(&mut index, entry(300, "word"));
    assert_eq!((readable(&index, 301), index.unreadable(Timestamp::from_millis(301)).len()), (1, 3));
}

/// Whatever is written, changed and erased in whatever order, the index is the one that a reader who comes later builds.
#[test]
fn an_index_that_followed_equals_one_that_was_built() {
    let words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"];
    let mut followed = Index::new(Policy::conversation(), None);
    let mut log: Vec<Record> = Vec::new();
    let mut seed = 7_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for step in 0..600 {
        let number = random(60);
        let revision = Revision(step + 1);
        let is_erased =
            log.iter().any(|record| record.id == id(number) && matches!(record.change, Change::Erased(_)));
        let record = if random(8) == 0 || is_erased {
            for record in log.iter_mut().filter(|record| record.id == id(number)) {
                record.change = Change::Blank;
            }
            Record::new(revision, id(number), Change::Erased(NOW))
        } else {
            let mut said = entry(number, &format!("{} {}", words[random(6)], words[random(6)]));
            said.thread = Some(words[random(3)].to_owned());
            Record::new(revision, id(number), Change::Written(Box::new(said)))
        };
        log.push(record.clone());
        followed.apply(record);
    }
    let mut built = Index::new(Policy::conversation(), None);
    log.into_iter().for_each(|record| built.apply(record));
    let texts: BTreeSet<String> = words.iter().map(|word| format!("{word} beta")).collect();
    for text in &texts {
        let scores = |index: &Index| {
            let found = index.search(&search(text)).memories;
            let mut scores: Vec<_> = found
                .into_iter()
                .map(|(_, found)| (found.entry.id.to_string(), found.score.to_bits()))
                .collect();
            scores.sort();
            scores
        };
        assert_eq!(scores(&followed), scores(&built), "{text}");
    }
    assert_eq!(followed.bytes(), built.bytes());
}
