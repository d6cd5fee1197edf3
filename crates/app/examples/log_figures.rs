//! Figures of the evidence log for `docs/performance.md`:
//! `cargo run --release -p cavra-app --example log_figures [ROUTES [FOLDER]]`. With a folder, the signed package and its
//! public key are left there, as `package.json` and `log.pub`: `cavra verify` and `cavra report` can be measured on it.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::too_many_lines,
    reason = "a measurement reads the clock and prints, one thing after the other"
)]

use std::io::{BufReader, Cursor};
use std::sync::Arc;
use std::time::Instant;

use cavra_app::bulk::{Bulk, BulkSelection};
use cavra_app::import::{ImportOptions, ImportSource, Unwatched};
use cavra_app::system::{SystemClock, SystemIds};
use cavra_app::{App, Settings};
use cavra_domain::acknowledgement::AckState;
use cavra_domain::actor::Actor;
use cavra_domain::bulk::BulkMode;
use cavra_domain::public_safe::Text;
use cavra_domain::route::{Cycles, RouteFilter};
use cavra_domain::time::Timestamp;
use cavra_evidence::digest::Digest;
use cavra_evidence::leaf::Leaf;
use cavra_evidence::note::SigningKey;
use cavra_evidence::package::Signer;
use cavra_evidence::tiles::{TileId, Tiles, append};
use cavra_evidence::verify::{Trust, Verdict, verify};
use cavra_storage::sqlite::SqliteStore;
use serde_json::{Value, json};

/// Routes of one plan.
const OWNERS: usize = 1_000;

struct Empty;

impl Tiles for Empty {
    type Error = std::convert::Infallible;

    fn tile(&self, _: TileId) -> Result<Vec<u8>, Self::Error> {
        Ok(Vec::new())
    }
}

fn timed<T>(what: &str, count: usize, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    let seconds = begun.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = count as f64 / seconds;
    println!("| {what} | {:.1} ms | {rate:.0} /s |", seconds * 1_000.0);
    done
}

fn import(app: &App, records: &[Value]) {
    let lines: Vec<String> = records.iter().map(Value::to_string).collect();
    let source = ImportSource::Text(Box::new(BufReader::new(Cursor::new(lines.join("\n")))));
    app.import(
        vec![source],
        ImportOptions { skip_invalid: false },
        Box::new(Unwatched),
    )
    .expect("the records are good");
}

fn plan(schedule: usize) -> Value {
    let decisions: Vec<Value> = (0..OWNERS)
        .map(|owner| json!({ "provider": "slack", "owner": format!("owner-{owner:04}"), "acknowledgement_minutes": 60 }))
        .collect();
    json!({
        "session_id": format!("gordn-{schedule}"), "created_at": "2026-06-01T08:00:00Z",
        "metadata_kind": "go-backend-rollback-drill-notification-plan", "schedule_id": format!("schedule-{schedule}"),
        "plan": { "status": "due_soon", "route_decisions": decisions },
    })
}

fn main() {
    let routes = std::env::args()
        .nth(1)
        .map_or(100_000, |count| count.parse().expect("a number of routes"));
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&folder.path().join("cavra.db")).expect("a database");
    let key = SigningKey::new("cavra.log/figures", &[7; 32]).expect("a name");
    let public = key.verifier();
    let settings = Settings {
        signer: Some(Arc::new(Signer::new(key, None).expect("a key"))),
        ..Settings::default()
    };
    let app = App::new(
        Arc::new(store),
        Arc::new(SystemClock),
        Arc::new(SystemIds::default()),
        settings,
    );
    let actor = Actor::local("acknowledged_by", "ana@example.org").expect("a name");

    println!("| what | time | rate |\n| --- | --- | --- |");
    for count in [10_000, 100_000] {
        let leaf = |position: usize| Leaf {
            imported: false,
            kind: "go-backend-rollback-drill-notification-ack".to_owned(),
            position: u64::try_from(position).unwrap_or_default(),
            recorded_at: Timestamp::EPOCH,
            sha256: Digest::of(position.to_be_bytes()),
            upgraded: false,
        };
        timed(
            &format!("the log alone, in memory: {count} leaves and their tiles"),
            count,
            || {
                let leaves: Vec<Digest> = (1..=count).map(|position| leaf(position).hash()).collect();
                append(&Empty, 0, &leaves, &mut |_, _| Ok(())).expect("nothing fails");
            },
        );
    }
    let small: Vec<Value> = (0..100_000)
        .map(|number| json!({ "session_id": format!("other-{number}"), "metadata_kind": "another-product" }))
        .collect();
    timed(
        "100,000 small records imported, one durable transaction, leaves and all",
        small.len(),
        || {
            import(&app, &small);
        },
    );
    let plans: Vec<Value> = (0..routes / OWNERS).map(plan).collect();
    timed(
        &format!("{} plans with {routes} routes imported", plans.len()),
        routes,
        || import(&app, &plans),
    );
    let bulk = |schedule: Option<&str>| Bulk {
        selection: BulkSelection::Filter(RouteFilter {
            owner: schedule
                .map(|part| Text::parse(cavra_domain::acknowledgement::NOTES, part).expect("a text")),
            ..RouteFilter::default()
        }),
        said: AckState::Acknowledged,
        external_ref: Text::empty(),
        notes: Text::empty(),
        mode: BulkMode::BestEffort,
        dry_run: false,
        expected_digest: None,
        minimal: false,
        actor: actor.clone(),
    };
    // A tenth of the owners, then everybody.
    let tenth = routes / 10;
    timed(
        &format!("bulk acknowledgement of {tenth} routes, with the log"),
        tenth,
        || app.bulk(bulk(Some("owner-01"))).expect("it is taken"),
    );
    timed(
        &format!(
            "bulk acknowledgement of {} routes more, with the log",
            routes - tenth
        ),
        routes - tenth,
        || app.bulk(bulk(None)).expect("it is taken"),
    );
    let package = timed(
        &format!("package of {routes} routes, the whole population"),
        routes,
        || {
            app.export_package(RouteFilter::default(), Cycles::Current, &actor)
                .expect("it is made")
        },
    );
    let signed = timed("its signed form, written and signed", routes, || {
        app.signed_package(&package, None).expect("it is signed")
    });
    let text = timed("its signed form, read out", routes, || {
        signed.into_text().expect("it is read")
    });
    let found = timed("its verification", routes, || {
        verify(text.as_bytes(), Trust { key: Some(&public) })
    });
    assert_eq!(found.verdict, Verdict::Verified, "{:?}", found.failure);
    if let Some(folder) = std::env::args().nth(2).map(std::path::PathBuf::from) {
        std::fs::write(folder.join("package.json"), &text).expect("the folder can be written");
        std::fs::write(folder.join("log.pub"), format!("{public}\n")).expect("the folder can be written");
    }
    println!(
        "\nenvelope: {} MB; {} records; log of {} leaves",
        text.len() >> 20,
        found.record_count,
        package.position
    );
}
