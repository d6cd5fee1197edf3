//! `cargo xtask bench load`: many small requests for a long time, and whether anything grows that should not.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::{Bench, position, text};
use crate::measure::{Running, mega};
use crate::process;

/// How many requests a second are meant; `xtask/load/mixed.lua` paces them.
const RATE: f64 = 200.0;

/// How many times the server is looked at.
const LOOKS: u64 = 10;

/// What the server has grown to.
#[derive(Debug, Clone, Copy)]
struct Look {
    /// Resident memory, in megabytes.
    memory: f64,
    /// The database file, in bytes.
    file: u64,
    /// The write-ahead log beside it, in bytes.
    ahead: u64,
    /// Evidence records.
    records: u64,
}

impl Look {
    fn at(running: &Running, database: &Path) -> anyhow::Result<Self> {
        let ahead = format!("{}-wal", text(database)?);
        Ok(Self {
            memory: running.memory("VmRSS:")?,
            file: fs::metadata(database)?.len(),
            ahead: fs::metadata(ahead).map_or(0, |ahead| ahead.len()),
            records: position(running)?,
        })
    }

    fn row(&self, elapsed: u64) -> String {
        let (file, ahead) = (mega(self.file), mega(self.ahead));
        format!(
            "| {elapsed} s | {:.1} MB | {file:.1} MB | {ahead:.1} MB | {} |",
            self.memory, self.records
        )
    }
}

impl Bench {
    /// Drives the server with wrk, and prints what it said and what the server grew to.
    pub(super) fn load(&mut self, seconds: u64) -> anyhow::Result<()> {
        if !process::succeeds(Command::new("sh").args(["-c", "command -v wrk"])) {
            bail!("the load is made by wrk, which is not installed; on Debian: apt-get install wrk");
        }
        let database = self.copy(&self.database(10_000)?, "load.db")?;
        let running = self.serve(&database)?;
        let mut child = Command::new("wrk")
            .args(["--threads", "1", "--connections", "20", "--latency"])
            .args(["--duration", &format!("{seconds}s")])
            .arg("--script")
            .arg(self.root.join("xtask/load/mixed.lua"))
            .arg(&running.address)
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start wrk")?;
        let output = child.stdout.take().context("its output is piped")?;
        let (told, telling) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let lines: Vec<String> = BufReader::new(output).lines().map_while(Result::ok).collect();
            // Nobody listens any more when the bench has failed.
            let _ = told.send(lines);
        });
        let step = (seconds / LOOKS).max(1);
        let mut looks = vec![(0, Look::at(&running, &database)?)];
        let lines = loop {
            if let Ok(lines) = telling.recv_timeout(Duration::from_secs(step)) {
                break lines;
            }
            let elapsed = step * u64::try_from(looks.len())?;
            looks.push((elapsed, Look::at(&running, &database)?));
        };
        child.wait()?;
        looks.push((seconds, Look::at(&running, &database)?));
        running.stop()?;
        let result = lines.iter().rev().find(|line| line.starts_with('{'));
        let result: Value = serde_json::from_str(result.context("wrk said nothing")?)?;
        print!("{}", told_of(&result, &looks)?);
        Ok(())
    }
}

/// What wrk measured, what was seen of the server meanwhile, and what of it is flat.
fn told_of(result: &Value, looks: &[(u64, Look)]) -> anyhow::Result<String> {
    let number = |key: &str| -> anyhow::Result<f64> {
        result
            .get(key)
            .and_then(Value::as_f64)
            .with_context(|| format!("wrk did not say `{key}`"))
    };
    let rate = number("requests")? / number("seconds")?;
    let errors = number("not_2xx")? + number("socket_errors")?;
    let mut report = String::from("| load | |\n| --- | --- |\n");
    writeln!(
        report,
        "| requests | {:.0} in {:.0} s: {rate:.1} per second of {RATE} meant{} |",
        number("requests")?,
        number("seconds")?,
        // Each connection waits for its answer, so a server that is slow is asked less.
        if rate < RATE * 0.95 {
            ", too few: the server or the machine was slow"
        } else {
            ""
        }
    )?;
    writeln!(
        report,
        "| errors | {errors:.0} (answers other than 2xx: {:.0}, sockets: {:.0}) |",
        number("not_2xx")?,
        number("socket_errors")?
    )?;
    for (name, key) in [
        ("p50", "p50_ms"),
        ("p99", "p99_ms"),
        ("p99.9", "p999_ms"),
        ("slowest", "max_ms"),
    ] {
        writeln!(report, "| {name} | {:.2} ms |", number(key)?)?;
    }
    report.push_str(
        "\n| time | memory | database | write-ahead log | records |\n| --- | --- | --- | --- | --- |\n",
    );
    for (elapsed, look) in looks {
        writeln!(report, "{}", look.row(*elapsed))?;
    }
    report.push('\n');
    report.push_str(&growth(looks)?);
    Ok(report)
}

/// An evidence store only ever grows, by what is said to it. Flat means: by the same for each record, with a bounded log
/// ahead of it, and in a process whose memory does not grow with either.
fn growth(looks: &[(u64, Look)]) -> anyhow::Result<String> {
    // The first look is before anything is warm, so the later half is held against the middle.
    let of = |index: usize| {
        looks
            .get(index)
            .map(|(_, look)| *look)
            .context("nothing was seen")
    };
    let (first, middle, last) = (of(0)?, of(looks.len() / 2)?, of(looks.len() - 1)?);
    #[expect(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
    let per_record = |from: Look, to: Look| {
        to.file.saturating_sub(from.file) as f64 / to.records.saturating_sub(from.records).max(1) as f64
    };
    let ahead = looks.iter().map(|(_, look)| look.ahead).max().unwrap_or_default();
    Ok(format!(
        "The database grew by {:.0} bytes for each record, in the later half by {:.0}; the log ahead of it never passed \
         {:.1} MB; memory was {:.1} MB in the middle and {:.1} MB at the end.\n",
        per_record(first, last),
        per_record(middle, last),
        mega(ahead),
        middle.memory,
        last.memory
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn looks() -> Vec<(u64, Look)> {
        [(0, 10.0, 1_000, 0), (30, 20.0, 3_000, 1), (60, 21.0, 4_000, 2)]
            .map(|(elapsed, memory, file, records)| {
                let look = Look {
                    memory,
                    file,
                    ahead: 4_000_000,
                    records,
                };
                (elapsed, look)
            })
            .to_vec()
    }

    #[test]
    fn the_report_counts_every_answer_that_is_not_2xx_and_growth_per_record() {
        let result = json!({ "requests": 12_000, "seconds": 60.0, "not_2xx": 2, "socket_errors": 1, "p50_ms": 1.0,
                             "p99_ms": 3.5, "p999_ms": 4.0, "max_ms": 9.0 });
        let report = told_of(&result, &looks()).unwrap();
        assert!(
            report.contains("| errors | 3 (answers other than 2xx: 2, sockets: 1) |"),
            "{report}"
        );
        assert!(report.contains("200.0 per second of 200 meant |"), "{report}");
        assert!(report.contains("| p99 | 3.50 ms |"), "{report}");
        assert!(
            report.contains("grew by 1500 bytes for each record, in the later half by 1000; the log"),
            "{report}"
        );
        assert!(
            report.contains("memory was 20.0 MB in the middle and 21.0 MB at the end"),
            "{report}"
        );
    }

    #[test]
    fn too_low_a_rate_and_a_missing_number_are_told() {
        let mut result = json!({ "requests": 6_000, "seconds": 60.0, "not_2xx": 0, "socket_errors": 0, "p50_ms": 1.0,
                                 "p99_ms": 3.5, "p999_ms": 4.0, "max_ms": 9.0 });
        assert!(told_of(&result, &looks()).unwrap().contains("too few"));
        result.as_object_mut().unwrap().remove("p99_ms");
        assert!(
            told_of(&result, &looks())
                .unwrap_err()
                .to_string()
                .contains("p99_ms")
        );
    }
}
