//! Other programs: started with a clear error when they fail, timed, and stopped when they take too long.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// cargo, started in `folder`, as if it had been typed there.
///
/// `cargo xtask` gives this process the variables of the package `xtask`. A build script that watches one of them would
/// run again for nothing, so they are not passed on.
pub fn cargo(folder: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(folder);
    for (name, _) in std::env::vars_os() {
        let ours = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_")
                || name.starts_with("CARGO_MANIFEST_")
                || name.starts_with("CARGO_BIN_")
        });
        if ours {
            command.env_remove(name);
        }
    }
    command
}

/// The command as one would type it.
pub fn describe(command: &Command) -> String {
    let quote = |word: &OsStr| {
        let word = word.to_string_lossy();
        if word.is_empty() || word.contains(|c: char| c.is_whitespace() || "\"'$&|;<>()*?#".contains(c)) {
            format!("'{}'", word.replace('\'', r"'\''"))
        } else {
            word.into_owned()
        }
    };
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program());
    std::iter::once(program)
        .chain(command.get_args())
        .map(quote)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs it with this process's output; anything but success is an error.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot start `{}`", describe(command)))?;
    expect_success(command, status)
}

/// Runs it and returns what it prints on standard output; its standard error goes to ours.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{}`", describe(command)))?;
    expect_success(command, output.status)?;
    String::from_utf8(output.stdout).with_context(|| format!("`{}` printed no UTF-8", describe(command)))
}

/// Whether it can be started and succeeds, without showing what it prints.
pub fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn expect_success(command: &Command, status: ExitStatus) -> anyhow::Result<()> {
    if !status.success() {
        bail!("`{}` ended with {status}", describe(command));
    }
    Ok(())
}

/// Measures how long something takes.
#[derive(Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(
        clippy::disallowed_methods,
        reason = "the duration of a step is shown to people, nothing depends on it"
    )]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// A program in the background that does not outlive this value.
#[derive(Debug)]
pub struct Background {
    name: String,
    pid: u32,
    exit: Receiver<std::io::Result<ExitStatus>>,
    ended: Option<ExitStatus>,
}

impl Background {
    /// Watches a child whose pipes, if any, have been taken. `name` is for messages.
    pub fn watch(name: &str, mut child: Child) -> Self {
        let (sender, exit) = std::sync::mpsc::channel();
        let pid = child.id();
        std::thread::spawn(move || {
            // Nobody listens any more when the value is gone; then nobody is interested either.
            let _ = sender.send(child.wait());
        });
        Self {
            name: name.to_owned(),
            pid,
            exit,
            ended: None,
        }
    }

    /// Waits for its end; none if it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> anyhow::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            match self.exit.recv_timeout(limit) {
                Ok(status) => {
                    self.ended = Some(status.with_context(|| format!("cannot wait for {}", self.name))?);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("nobody waits for {} any more", self.name),
            }
        }
        Ok(self.ended)
    }

    /// Sends a signal, by the shell's own `kill`: there is no other way without unsafe code.
    pub fn signal(&self, signal: &str) -> anyhow::Result<()> {
        run(Command::new("sh").args(["-c", r#"kill -s "$0" "$1""#, signal, &self.pid.to_string()]))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if matches!(self.wait(Duration::ZERO), Ok(None)) {
            // Both can fail only if it has ended in between, which is what is wanted.
            let _ = self.signal("KILL");
            let _ = self.wait(Duration::from_secs(10));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::{Background, describe, output, run};

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["test", "--", "a b", "it's"]);
        assert_eq!(describe(&command), r"cargo test -- 'a b' 'it'\''s'");
    }

    #[test]
    fn a_failing_command_is_an_error_that_names_it() {
        let error = run(Command::new("sh").args(["-c", "exit 3"])).expect_err("it exits with 3");
        assert_eq!(error.to_string(), "`sh -c 'exit 3'` ended with exit status: 3");
        let error = output(&mut Command::new("no-such-program-here")).expect_err("there is none");
        assert_eq!(error.to_string(), "cannot start `no-such-program-here`");
    }

    #[test]
    fn a_background_program_is_asked_to_stop_and_its_exit_is_seen() {
        let mut child = Command::new("sh")
            .args([
                "-c",
                "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let mut ready = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout)
            .read_line(&mut ready)
            .expect("it says when it is ready");
        let mut background = Background::watch("sh", child);
        assert_eq!(
            background.wait(Duration::ZERO).expect("it can be waited for"),
            None
        );
        background.signal("TERM").expect("the signal is sent");
        let status = background
            .wait(Duration::from_secs(20))
            .expect("it can be waited for");
        assert_eq!(status.and_then(|status| status.code()), Some(7));
    }

    #[test]
    fn a_background_program_does_not_outlive_its_value() {
        let child = Command::new("sleep").arg("600").spawn().expect("sleep starts");
        let pid = child.id().to_string();
        drop(Background::watch("sleep", child));
        assert!(!super::succeeds(Command::new("sh").args([
            "-c",
            r#"kill -0 "$0""#,
            &pid
        ])));
    }
}
