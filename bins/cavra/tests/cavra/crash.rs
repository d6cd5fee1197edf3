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

/// The body of an answer to a bulk with a key; none when there was no whole answer.
fn keyed_bulk(url: &str, state: &str, key: &str) -> Option<(u16, Vec<u8>)> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_idle_connections(0)
        .build()
        .into();
    let mut answer = agent
        .post(url)
        .header("content-type", "application/json")
        .header("idempotency-key", key)
        .send(bulk_body(state))
        .ok()?;
    let body = answer
        .body_mut()
        .with_config()
        .limit(u64::MAX)
        .read_to_vec()
        .ok()?;
    Some((answer.status().as_u16(), body))
}

#[test]
fn a_bulk_with_a_key_is_done_once_however_often_it_is_killed_and_sent_again() {
    const SMALL: (usize, usize) = (10, 50);
    const KILLS: u32 = 24;
    let routes = (SMALL.0 * SMALL.1) as u64;
    let folder = Folder::new();
    let database = folder.file("cavra.db");
    let plans = folder.write("plans.ndjson", plans(SMALL.0, SMALL.1));
    run(&["import", &plans, "--database", &database]).succeeded();
    let start = || Serving::start(&["--database", &database, "--log", "error"]);
    let mut serving = start();
    let bulk = |serving: &Serving| serving.url(&format!("{B}/acknowledgements/bulk"));
    let answered = |serving: &Serving| {
        serving.get(&format!("{B}/dashboard"))["acknowledgement_count"]
            .as_u64()
            .unwrap()
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "the kills are spread over the time that a bulk takes here"
    )]
    let begun = Instant::now();
    assert_eq!(keyed_bulk(&bulk(&serving), "dismissed", "whole").unwrap().0, 200);
    let whole = begun.elapsed();
    let (mut again, mut anew) = (0, 0);
    for round in 0..KILLS {
        let (state, key) = (
            ["acknowledged", "escalated"][round as usize % 2],
            format!("round-{round}"),
        );
        let before = answered(&serving);
        let (answer, answers) = channel();
        let (url, sent_key) = (bulk(&serving), key.clone());
        let sender = std::thread::spawn(move || answer.send(keyed_bulk(&url, state, &sent_key)));
        // Now and then the whole answer comes first, however slow the machine has become since it was measured.
        let first = if round % 8 == 7 {
            answers.recv().map_err(RecvTimeoutError::from)
        } else {
            answers.recv_timeout(whole * 3 / 2 * round / KILLS)
        };
        serving.kill();
        let first = first.unwrap_or_else(|_| answers.recv().unwrap());
        sender.join().unwrap().unwrap();
        serving = start();
        let done_before = answered(&serving) > before;
        let (status, body) = keyed_bulk(&bulk(&serving), state, &key).unwrap();
        assert_eq!(status, 200);
        assert_eq!(answered(&serving), before + routes, "round {round}: one effect");
        if let Some((status, given)) = first {
            assert_eq!((status, &given), (200, &body), "round {round}: the same answer");
        }
        if done_before {
            again += 1;
        } else {
            anew += 1;
        }
        assert_eq!(keyed_bulk(&bulk(&serving), state, &key).unwrap().1, body);
    }
    // Otherwise the moments were all before the commit, or all after it.
    assert!(
        again > 0 && anew > 0,
        "{again} were there after the kill, {anew} were not"
    );
    serving.stop();
    run(&["check", "--database", &database]).succeeded();
}
