//! A step: a heading, the work, and how long it took.

use std::io::Write as _;

use anyhow::Context as _;

use crate::process::Stopwatch;

/// Does the work under a heading. A failure names the command that runs this step again.
pub fn step<T>(name: &str, again: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    println!("\n== {name}");
    // What the work starts writes to the same terminal or file, and not through our buffer.
    std::io::stdout().flush()?;
    let stopwatch = Stopwatch::start();
    let result = work();
    let seconds = stopwatch.seconds();
    match &result {
        Ok(_) => println!("== {name}: passed in {seconds:.1} s"),
        Err(_) => println!("== {name}: FAILED after {seconds:.1} s"),
    }
    result.with_context(|| format!("step `{name}` failed; to run it alone: {again}\n  because"))
}

#[cfg(test)]
mod tests {
    use super::step;

    #[test]
    fn a_failed_step_names_the_command_that_repeats_it() {
        let result: anyhow::Result<()> =
            step("layers", "cargo xtask layers", || anyhow::bail!("a bad arrow"));
        let text = format!("{:#}", result.expect_err("the step fails"));
        assert!(
            text.starts_with("step `layers` failed; to run it alone: cargo xtask layers"),
            "{text}"
        );
        assert!(text.ends_with("a bad arrow"), "{text}");
    }
}
