//! Long texts on their way into storage, or into an answer, piece by piece: memory does not feel their length.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};

use cavra_evidence::digest::{Digest, DigestWriter};
use cavra_storage::pack;
use serde::Serialize;
use tempfile::SpooledTempFile;

/// How much text goes into one piece, in bytes; a piece ends behind the entry that fills it.
const PIECE_BYTES: usize = 256 << 10;

/// How many pieces of work may wait for a thread.
const WAITING: usize = 4;

/// The pieces of a text so far: packed, in memory while they are few, then in a temporary file that has no name and
/// goes with the process; and the digest of the text.
struct Packed {
    file: SpooledTempFile,
    digest: DigestWriter,
    bytes: u64,
}

impl Packed {
    fn new(memory_bytes: usize) -> Self {
        Self {
            file: SpooledTempFile::new(memory_bytes),
            digest: DigestWriter::new(),
            bytes: 0,
        }
    }

    fn piece(&mut self, text: &[u8]) -> io::Result<()> {
        self.digest.write_all(text)?;
        self.bytes += u64::try_from(text.len()).unwrap_or(u64::MAX);
        let packed = pack(text);
        self.file
            .write_all(&u64::try_from(packed.len()).unwrap_or(u64::MAX).to_le_bytes())?;
        self.file.write_all(&packed)
    }
}

/// Work on one item after the other on a thread of its own, while the next ones are made.
struct Beside<T, R> {
    running: Option<Running<T, R>>,
}

struct Running<T, R> {
    items: SyncSender<T>,
    /// Items that are done with: whoever made them uses their memory again, or gives it back where it came from.
    done: Receiver<T>,
    thread: JoinHandle<io::Result<R>>,
}

impl<T: Send + 'static, R: Send + 'static> Beside<T, R> {
    fn start(name: &str, state: R, step: fn(&mut R, &T) -> io::Result<()>) -> io::Result<Self> {
        let (items, waiting) = sync_channel(WAITING);
        let (give_back, done) = channel();
        let thread = Builder::new()
            .name(name.to_owned())
            .spawn(move || work(state, step, &waiting, &give_back))?;
        Ok(Self {
            running: Some(Running { items, done, thread }),
        })
    }

    /// Gives an item to work on; gives one that is done with, if there is one.
    fn give(&mut self, item: T) -> io::Result<Option<T>> {
        let running = self.running.as_ref().ok_or_else(Self::failed)?;
        if running.items.send(item).is_err() {
            // It ended before its time, and says why.
            return self.end().and(Err(Self::failed()));
        }
        Ok(running.done.try_recv().ok())
    }

    /// What has become of all items.
    fn end(&mut self) -> io::Result<R> {
        let Running { items, done, thread } = self.running.take().ok_or_else(Self::failed)?;
        drop(items);
        let ended = thread.join();
        drop(done);
        ended.unwrap_or_else(|_| Err(io::Error::other("a thread that writes a text panicked")))
    }

    fn failed() -> io::Error {
        io::Error::other("the text could not be written")
    }
}

fn work<T, R>(
    mut state: R,
    step: fn(&mut R, &T) -> io::Result<()>,
    waiting: &Receiver<T>,
    give_back: &Sender<T>,
) -> io::Result<R> {
    for item in waiting {
        step(&mut state, &item)?;
        // Whoever made it may have ended: then nobody needs it.
        let _ = give_back.send(item);
    }
    Ok(state)
}

enum Packing {
    /// A text that fits one piece needs no thread.
    Here(Packed),
    Beside(Beside<Vec<u8>, Packed>),
}

/// A text from its beginning to its end, and its digest.
pub(crate) struct Spool {
    piece: Vec<u8>,
    packing: Packing,
}

impl Spool {
    pub(crate) fn new(memory_bytes: usize) -> Self {
        Self {
            piece: Self::new_piece(),
            packing: Packing::Here(Packed::new(memory_bytes)),
        }
    }

    fn new_piece() -> Vec<u8> {
        Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 8)
    }

    pub(crate) fn text(&mut self, text: &[u8]) -> io::Result<()> {
        self.piece.extend_from_slice(text);
        self.end_full_piece()
    }

    /// One more element of a list; the first one has no comma in front.
    pub(crate) fn entry<T: Serialize>(&mut self, entry: &T, first: bool) -> io::Result<()> {
        if !first {
            self.piece.push(b',');
        }
        crate::json::write(&mut self.piece, entry)?;
        self.end_full_piece()
    }

    fn end_full_piece(&mut self) -> io::Result<()> {
        if self.piece.len() < PIECE_BYTES {
            return Ok(());
        }
        if let Packing::Here(packed) = &mut self.packing {
            let packed = std::mem::replace(packed, Packed::new(0));
            self.packing = Packing::Beside(Beside::start(
                "cavra-packer",
                packed,
                |packed, piece: &Vec<u8>| packed.piece(piece),
            )?);
        }
        if let Packing::Beside(packer) = &mut self.packing {
            let full = std::mem::take(&mut self.piece);
            self.piece = packer.give(full)?.unwrap_or_else(Self::new_piece);
            self.piece.clear();
        }
        Ok(())
    }

    /// Ends the text: its digest, its length in bytes, and its pieces.
    pub(crate) fn finish(self) -> io::Result<(Digest, u64, Pieces)> {
        let mut packed = match self.packing {
            Packing::Here(packed) => packed,
            Packing::Beside(mut packer) => packer.end()?,
        };
        if !self.piece.is_empty() {
            packed.piece(&self.piece)?;
        }
        let mut pieces = Pieces(packed.file);
        pieces.rewind()?;
        Ok((packed.digest.finish(), packed.bytes, pieces))
    }
}

/// How many elements are written at once.
const BATCH: usize = 256;

/// The elements of a document that begins with their list, as they come. A few are kept as they are, for the document's
/// record; of more, only their text, which is written on another thread.
pub(crate) struct Elements<T> {
    open: &'static str,
    most: usize,
    memory_bytes: usize,
    /// Those that are not on their way yet.
    batch: Vec<T>,
    many: Option<Beside<Vec<T>, List>>,
}

/// What the elements have become.
pub(crate) enum Listed<T> {
    /// No more than were to be kept.
    Few(Vec<T>),
    /// The text of the document up to here.
    Many(Box<Spool>),
}

/// A list on its way.
struct List {
    spool: Spool,
    empty: bool,
}

impl List {
    fn batch<T: Serialize>(&mut self, elements: &[T]) -> io::Result<()> {
        elements
            .iter()
            .try_for_each(|element| self.spool.entry(element, std::mem::take(&mut self.empty)))
    }
}

impl<T: Serialize + Send + 'static> Elements<T> {
    /// Keeps `most` elements as they are; `open` is the document's text before the first.
    pub(crate) fn new(open: &'static str, most: usize, memory_bytes: usize) -> Self {
        Self {
            open,
            most,
            memory_bytes,
            batch: Vec::new(),
            many: None,
        }
    }

    pub(crate) fn push(&mut self, element: T) -> io::Result<()> {
        self.batch.push(element);
        match &mut self.many {
            None if self.batch.len() <= self.most => Ok(()),
            Some(_) if self.batch.len() < BATCH => Ok(()),
            Some(writer) => Self::give(writer, &mut self.batch),
            None => {
                let mut spool = Spool::new(self.memory_bytes);
                spool.text(self.open.as_bytes())?;
                let list = List { spool, empty: true };
                let writer = self
                    .many
                    .insert(Beside::start("cavra-list", list, |list, batch: &Vec<T>| {
                        list.batch(batch)
                    })?);
                Self::give(writer, &mut self.batch)
            }
        }
    }

    fn give(writer: &mut Beside<Vec<T>, List>, batch: &mut Vec<T>) -> io::Result<()> {
        let full = std::mem::take(batch);
        *batch = writer.give(full)?.unwrap_or_else(|| Vec::with_capacity(BATCH));
        batch.clear();
        Ok(())
    }

    pub(crate) fn finish(mut self) -> io::Result<Listed<T>> {
        let Some(mut writer) = self.many else {
            return Ok(Listed::Few(self.batch));
        };
        if !self.batch.is_empty() {
            Self::give(&mut writer, &mut self.batch)?;
        }
        Ok(Listed::Many(Box::new(writer.end()?.spool)))
    }
}

/// The packed pieces of a text, in order.
#[derive(Debug)]
pub(crate) struct Pieces(SpooledTempFile);

impl Pieces {
    /// Begins again.
    pub(crate) fn rewind(&mut self) -> io::Result<()> {
        self.0.seek(SeekFrom::Start(0)).map(|_| ())
    }
}

impl Iterator for Pieces {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut length = [0; 8];
        match self.0.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return None,
            Err(error) => return Some(Err(error)),
        }
        let mut piece = vec![0; usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX)];
        Some(self.0.read_exact(&mut piece).map(|()| piece))
    }
}

#[cfg(test)]
mod tests {
    use cavra_storage::unpack;

    use super::*;

    /// The elements `0` to `count`, of which three may be kept.
    fn elements(count: u32, memory_bytes: usize) -> Listed<String> {
        let mut elements = Elements::new("{\"list\":[", 3, memory_bytes);
        for number in 0..count {
            elements.push(number.to_string()).unwrap();
        }
        elements.finish().unwrap()
    }

    fn text(pieces: &mut Pieces) -> Vec<u8> {
        pieces
            .flat_map(|piece| unpack(&piece.unwrap()).unwrap())
            .collect()
    }

    #[test]
    fn few_elements_are_kept_as_they_are() {
        for count in [0, 1, 3] {
            let Listed::Few(few) = elements(count, 1 << 20) else {
                panic!("{count} are few")
            };
            assert_eq!(
                few,
                (0..count).map(|number| number.to_string()).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn of_many_elements_the_whole_text_comes_out_with_its_digest_in_memory_or_in_a_file() {
        for (count, memory_bytes) in [
            (4, 1 << 20),
            (30_000, 1 << 20),
            (400_000, usize::MAX),
            (400_000, 1_000),
        ] {
            let Listed::Many(mut spool) = elements(count, memory_bytes) else {
                panic!("{count} are many")
            };
            let quoted: Vec<_> = (0..count).map(|number| format!("\"{number}\"")).collect();
            let whole = format!("{{\"list\":[{}],\"of\":{count}}}", quoted.join(","));
            spool.text(format!("],\"of\":{count}}}").as_bytes()).unwrap();
            let (digest, bytes, mut pieces) = spool.finish().unwrap();
            assert_eq!(digest, Digest::of(&whole));
            assert_eq!(usize::try_from(bytes).unwrap(), whole.len());
            assert!(text(&mut pieces) == whole.as_bytes());
            // Nothing is left, and all of it comes again.
            assert!(pieces.next().is_none());
            pieces.rewind().unwrap();
            assert!(text(&mut pieces) == whole.as_bytes());
        }
    }

    #[test]
    fn work_that_fails_is_told_by_its_reason_and_nothing_is_taken_after_it() {
        let fails_at_three = |seen: &mut u32, item: &u32| {
            *seen += 1;
            match item {
                3 => Err(io::Error::from(io::ErrorKind::StorageFull)),
                _ => Ok(()),
            }
        };
        let mut work = Beside::start("test", 0, fails_at_three).unwrap();
        let error = (0..100_000).find_map(|item| work.give(item).err()).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(work.give(1).is_err() && work.end().is_err());
        // The last item may be what fails.
        let mut work = Beside::start("test", 0, fails_at_three).unwrap();
        work.give(3).unwrap();
        assert_eq!(work.end().unwrap_err().kind(), io::ErrorKind::StorageFull);
        let mut work = Beside::start("test", 0, fails_at_three).unwrap();
        for item in 10..20 {
            work.give(item).unwrap();
        }
        assert_eq!(work.end().unwrap(), 10);
    }
}
