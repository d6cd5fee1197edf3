//! Another release binary of this program, in turn with this one and in the same run: what a change between the two
//! costs, on a machine that has other work as well. It makes its own database: an older one does not open a newer file.

use std::path::{Path, PathBuf};

use super::{Bench, Spent, Took, bulk, import, median, plans, shown, text};

/// The other program, and what it took so far.
pub(super) struct Against {
    program: PathBuf,
    base: PathBuf,
    whole: Vec<Took>,
    short: Vec<Took>,
}

impl Against {
    pub(super) fn new(bench: &Bench, program: &Path, routes: usize) -> anyhow::Result<Self> {
        let base = bench.file(&format!("against-{routes}.db"));
        let store = bench.file("plans.ndjson");
        plans(&store, routes.div_ceil(100))?;
        import(program, &store, text(&base)?)?;
        Ok(Self {
            program: program.to_owned(),
            base,
            whole: Vec::new(),
            short: Vec::new(),
        })
    }

    /// One bulk over all routes.
    pub(super) fn bulk(&mut self, bench: &Bench, routes: usize, minimal: bool) -> anyhow::Result<()> {
        let served = bench.copy(&self.base, "against.db")?;
        let running = bench.serve_with(&self.program, &served)?;
        let spent = Spent::by(&running);
        let (wall, _, _) = bulk(&running, routes, minimal)?;
        let took = Took {
            wall,
            processor: Spent::since(&running, spent),
        };
        running.stop()?;
        if minimal {
            self.short.push(took);
        } else {
            self.whole.push(took);
        }
        Ok(())
    }

    /// The rows that hold this program, whole answers and short ones, against the other.
    pub(super) fn rows(&self, name: &str, whole: &[Took], short: &[Took]) -> String {
        let mut rows = String::new();
        for (what, ours, theirs) in [
            (name.to_owned(), whole, &self.whole),
            (format!("{name}, short answer"), short, &self.short),
        ] {
            let of = |took: &[Took], what: fn(&Took) -> f64| median(took.iter().map(what).collect());
            let wall = [ours, theirs].map(|took| of(took, |took| took.wall));
            let processor = [ours, theirs].map(|took| of(took, |took| took.processor));
            let cells = [wall, processor]
                .map(|[ours, theirs]| format!("{} | {} | {:.2}", shown(ours), shown(theirs), ours / theirs));
            let row = format!("| {what} | {} |\n", cells.join(" | "));
            print!("{row}");
            rows.push_str(&row);
        }
        rows
    }
}

/// These rows as a table.
pub(super) fn table(program: Option<&Path>, rows: &str) -> String {
    program.map_or_else(String::new, |program| {
        format!(
            "\nAgainst `{}`, in turn:\n\n| what | this | the other | ratio | this, processor time | the other | ratio \
             |\n| --- | --- | --- | --- | --- | --- | --- |\n{rows}",
            program.display()
        )
    })
}
