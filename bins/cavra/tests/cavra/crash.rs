//! `kill -9` in the middle of a bulk: everything of it is there afterwards, or nothing.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::program::{B, Folder, Serving, plans, run, status_of};

/// The largest bulk that the issue names.
const SCHEDULES: usize = 100;
const OWNERS: usize = 100;
const ROUTES: u64 = 10_000;

/// How many databases are killed side by side, and how often each.
const DATABASES: u32 = 2;
const ROUNDS: u32 = 25;

fn bulk_body(state: &str) -> Vec<u8> {
    let body = json!({
        "filter": { "action": "deliver" }, "acknowledged_by": "ana@example.org", "acknowledgement_state": state,
        "notes": "drill answered",
    });
    body.to_string().into_bytes()
}

/// Sends a bulk and gives the status of its answer as soon as that is there.
fn send_bulk(serving: &Serving, state: &str) -> impl FnOnce() -> Option<u16> + Send + use<> {
    let (url, body) = (
        serving.url(&format!("{B}/acknowledgements/bulk")),
        bulk_body(state),
    );
    move || status_of(&url, body)
}

/// How long an undisturbed bulk takes.
fn measured(serving: &Serving) -> Duration {
    #[expect(
        clippy::disallowed_methods,
        reason = "the kills are spread over the time that a bulk takes here"
    )]
    let begun = Instant::now();
    assert_eq!(send_bulk(serving, "acknowledged")(), Some(200));
    begun.elapsed()
}

/// What the rounds came to.
#[derive(Debug, Default)]
struct Tally {
    kept: u32,
    lost: u32,
    answered: u32,
}

fn rounds(database_number: u32) -> Tally {
    let folder = Folder::new();
    let database = folder.file("cavra.db");
    let plans = folder.write("plans.ndjson", plans(SCHEDULES, OWNERS));
    run(&["import", &plans, "--database", &database]).succeeded();
    let start = || Serving::start(&["--database", &database, "--log", "error"]);
    let mut serving = start();
    let whole = measured(&serving);
    let (mut old, mut new) = ("acknowledged", "escalated");
    let mut tally = Tally::default();
    for round in 0..ROUNDS {
        assert_eq!(serving.count(&format!("state={old}")), ROUTES);
        // From the beginning to a little beyond the answer, closer together at first: the answer of a bulk takes as
        // long to write as the bulk itself, and every bulk that is kept makes the check at the end longer.
        let step = round * DATABASES + database_number;
        let moment = whole * 23 / 20 * step * step / (ROUNDS * DATABASES).pow(2);
        let (answer, answered) = channel();
        let send = send_bulk(&serving, new);
        let sender = std::thread::spawn(move || answer.send(send()));
        let answer = if round + 1 < ROUNDS {
            answered.recv_timeout(moment)
        } else {
            answered.recv().map_err(RecvTimeoutError::from)
        };
        assert_ne!(answer, Err(RecvTimeoutError::Disconnected));
        serving.kill();
        // An answer may also have come between the last look and the kill.
        let status = answer.or_else(|_| answered.recv()).unwrap();
        sender.join().unwrap().unwrap();

        serving = start();
        let (kept, lost) = (
            serving.count(&format!("state={new}")),
            serving.count(&format!("state={old}")),
        );
        assert!(
            (kept, lost) == (ROUTES, 0) || (kept, lost) == (0, ROUTES),
            "round {round}: {kept} routes are {new} and {lost} are {old}"
        );
        if let Some(status) = status {
            assert_eq!(
                (status, kept),
                (200, ROUTES),
                "round {round}: an answered bulk is there"
            );
            tally.answered += 1;
        }
        if kept == ROUTES {
            tally.kept += 1;
            (old, new) = (new, old);
        } else {
            tally.lost += 1;
        }
    }
    serving.stop();
    run(&["check", "--database", &database]).succeeded();
    tally
}

#[test]
fn a_bulk_of_ten_thousand_routes_survives_fifty_kills_whole_or_not_at_all() {
    let workers: Vec<_> = (0..DATABASES)
        .map(|number| std::thread::spawn(move || rounds(number)))
        .collect();
    let tallies: Vec<Tally> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
    let sum = |count: fn(&Tally) -> u32| tallies.iter().map(count).sum::<u32>();
    assert_eq!(
        sum(|tally| tally.kept) + sum(|tally| tally.lost),
        DATABASES * ROUNDS
    );
    // Otherwise the moments were all before the commit, or all after it, and nothing was tried.
    assert!(
        sum(|tally| tally.kept) > 0 && sum(|tally| tally.lost) > 0,
        "{tallies:?}"
    );
    assert!(sum(|tally| tally.answered) >= DATABASES, "{tallies:?}");
}
