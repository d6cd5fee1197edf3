//! Another release binary of this program, in turn with this one and in the same run: what a change between the two
//! costs, on a machine that has other work as well. It makes its own database: an older one does not open a newer file.

use std::path::{Path, PathBuf};

use super::{Bench, Took, bulk, import, median, plans, processor, shown, text};

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
        let spent = processor(&running);
        let (wall, _, _) = bulk(&running, routes, minimal)?;
        let took = Took {
            wall,
            processor: processor(&running) - spent,
        };
        running.stop()?;
        if minimal {
            self.short.push(took);
        } else {
            self.whole.push(took);
        }
        Ok(())
    }

    /// The rows that hold this program against the other.
    pub(super) fn rows(&self, bench: &mut Bench, name: &str, whole: &[Took], short: &[Took]) {
        for (what, ours, theirs) in [
            (name.to_owned(), whole, &self.whole),
            (format!("{name}, short answer"), short, &self.short),
        ] {
            let of = |took: &[Took], what: fn(&Took) -> f64| median(took.iter().map(what).collect());
            let wall = [ours, theirs].map(|took| of(took, |took| took.wall));
            let processor = [ours, theirs].map(|took| of(took, |took| took.processor));
            bench.row(
                &format!("{what}, against `{}`", self.program.display()),
                &shown(wall[0]),
                &shown(wall[1]),
                &format!("{:.2}", wall[0] / wall[1]),
                &format!(
                    "the floor is the other program; processor time {} and {}, {:.2} times the other's",
                    shown(processor[0]),
                    shown(processor[1]),
                    processor[0] / processor[1]
                ),
            );
        }
    }
}
