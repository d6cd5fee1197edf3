//! Long texts on their way into storage, or into an answer, piece by piece: memory does not feel their length.

use std::io::{self, Read, Seek, SeekFrom, Write};

use cavra_evidence::digest::{Digest, DigestWriter};
use cavra_storage::{pack, unpack};
use serde::Serialize;
use tempfile::SpooledTempFile;

/// How much text goes into one piece, in bytes; a piece ends behind the entry that fills it.
const PIECE_BYTES: usize = 256 << 10;

/// Packed pieces of a text: in memory while they are few, then in a temporary file that has no name and goes with
/// the process.
struct Packing {
    file: SpooledTempFile,
    piece: Vec<u8>,
}

impl Packing {
    fn new(memory_bytes: usize) -> Self {
        Self {
            file: SpooledTempFile::new(memory_bytes),
            piece: Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 8),
        }
    }

    /// One more element of a list; the first one has no comma in front.
    fn element<T: Serialize>(&mut self, element: &T, first: bool) -> io::Result<()> {
        if !first {
            self.piece.push(b',');
        }
        Ok(serde_json::to_writer(&mut self.piece, element)?)
    }

    const fn is_full(&self) -> bool {
        self.piece.len() >= PIECE_BYTES
    }

    fn end_piece(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let packed = pack(&self.piece);
        self.file
            .write_all(&u64::try_from(packed.len()).unwrap_or(u64::MAX).to_le_bytes())?;
        self.file.write_all(&packed)?;
        self.piece.clear();
        Ok(())
    }

    /// The pieces, from the first one on.
    fn pieces(mut self) -> io::Result<Pieces> {
        self.end_piece()?;
        let mut pieces = Pieces {
            before: None,
            given: false,
            file: self.file,
        };
        pieces.rewind()?;
        Ok(pieces)
    }
}

/// A text from its beginning to its end, and its digest.
pub(crate) struct Spool {
    packing: Packing,
    digest: DigestWriter,
    bytes: u64,
}

impl Spool {
    pub(crate) fn new(memory_bytes: usize) -> Self {
        Self {
            packing: Packing::new(memory_bytes),
            digest: DigestWriter::new(),
            bytes: 0,
        }
    }

    pub(crate) fn text(&mut self, text: &[u8]) -> io::Result<()> {
        self.packing.piece.extend_from_slice(text);
        self.end_full_piece()
    }

    /// One more element of a list; the first one has no comma in front.
    pub(crate) fn entry<T: Serialize>(&mut self, entry: &T, first: bool) -> io::Result<()> {
        self.packing.element(entry, first)?;
        self.end_full_piece()
    }

    fn end_full_piece(&mut self) -> io::Result<()> {
        if self.packing.is_full() {
            self.end_piece()
        } else {
            Ok(())
        }
    }

    fn end_piece(&mut self) -> io::Result<()> {
        self.digest.write_all(&self.packing.piece)?;
        self.bytes += u64::try_from(self.packing.piece.len()).unwrap_or(u64::MAX);
        self.packing.end_piece()
    }

    /// Ends the text: its digest, its length in bytes, and its pieces.
    pub(crate) fn finish(mut self) -> io::Result<(Digest, u64, Pieces)> {
        self.end_piece()?;
        Ok((self.digest.finish(), self.bytes, self.packing.pieces()?))
    }
}

/// The elements of a document, as they come. A few are kept as they are, for the document's record; of more, only their
/// text.
///
/// What stands before them counts them, so it is written last.
pub(crate) struct Elements<T> {
    most: usize,
    memory_bytes: usize,
    few: Vec<T>,
    many: Option<Box<Tail>>,
}

/// What the elements have become.
pub(crate) enum Listed<T> {
    /// No more than were to be kept.
    Few(Vec<T>),
    /// Their text.
    Many(Box<Tail>),
}

impl<T: Serialize> Elements<T> {
    /// Keeps `most` elements as they are.
    pub(crate) fn new(most: usize, memory_bytes: usize) -> Self {
        Self {
            most,
            memory_bytes,
            few: Vec::new(),
            many: None,
        }
    }

    pub(crate) fn push(&mut self, element: T) -> io::Result<()> {
        if let Some(tail) = &mut self.many {
            return tail.element(&element, false);
        }
        self.few.push(element);
        if self.few.len() > self.most {
            let mut tail = Tail(Packing::new(self.memory_bytes));
            for (index, element) in self.few.drain(..).enumerate() {
                tail.element(&element, index == 0)?;
            }
            self.many = Some(Box::new(tail));
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Listed<T> {
        match self.many {
            Some(tail) => Listed::Many(tail),
            None => Listed::Few(self.few),
        }
    }
}

/// A text without its beginning.
pub(crate) struct Tail(Packing);

impl Tail {
    fn element<T: Serialize>(&mut self, element: &T, first: bool) -> io::Result<()> {
        self.0.element(element, first)?;
        if self.0.is_full() {
            self.0.end_piece()?;
        }
        Ok(())
    }

    /// Ends the text with these words: its pieces, without a beginning.
    pub(crate) fn pieces(mut self, close: &str) -> io::Result<Pieces> {
        self.0.piece.extend_from_slice(close.as_bytes());
        self.0.pieces()
    }

    /// Puts it between these words: digest and length in bytes of the whole, and its pieces.
    pub(crate) fn finish(self, open: &str, close: &str) -> io::Result<(Digest, u64, Pieces)> {
        let mut pieces = self.pieces(close)?;
        let mut digest = DigestWriter::new();
        let mut bytes = open.len();
        digest.write_all(open.as_bytes())?;
        for packed in &mut pieces {
            let text = unpack(&packed?).map_err(io::Error::other)?;
            digest.write_all(&text)?;
            bytes += text.len();
        }
        pieces.before = Some(pack(open.as_bytes()));
        pieces.rewind()?;
        Ok((digest.finish(), u64::try_from(bytes).unwrap_or(u64::MAX), pieces))
    }
}

/// The packed pieces of a text, in order.
#[derive(Debug)]
pub(crate) struct Pieces {
    /// A piece before those of the file.
    before: Option<Vec<u8>>,
    /// Whether that one was given.
    given: bool,
    file: SpooledTempFile,
}

impl Pieces {
    /// Begins again.
    pub(crate) fn rewind(&mut self) -> io::Result<()> {
        self.given = false;
        self.file.seek(SeekFrom::Start(0)).map(|_| ())
    }
}

impl Iterator for Pieces {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        if !std::mem::replace(&mut self.given, true)
            && let Some(before) = &self.before
        {
            return Some(Ok(before.clone()));
        }
        let mut length = [0; 8];
        match self.file.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return None,
            Err(error) => return Some(Err(error)),
        }
        let mut piece = vec![0; usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX)];
        Some(self.file.read_exact(&mut piece).map(|()| piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The elements `0` to `count`, of which three may be kept.
    fn elements(count: u32, memory_bytes: usize) -> Listed<String> {
        let mut elements = Elements::new(3, memory_bytes);
        for number in 0..count {
            elements.push(number.to_string()).unwrap();
        }
        elements.finish()
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
        for (count, memory_bytes) in [(4, 1 << 20), (100_000, usize::MAX), (100_000, 1_000)] {
            let Listed::Many(tail) = elements(count, memory_bytes) else {
                panic!("{count} are many")
            };
            let quoted: Vec<_> = (0..count).map(|number| format!("\"{number}\"")).collect();
            let whole = format!("{{\"of\":{count},\"list\":[{}],\"end\":1}}", quoted.join(","));
            let open = format!("{{\"of\":{count},\"list\":[");
            let (digest, bytes, mut pieces) = tail.finish(&open, "],\"end\":1}").unwrap();
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
    fn a_text_without_its_beginning_is_the_elements_and_the_end() {
        let Listed::Many(tail) = elements(4, 1 << 20) else {
            panic!("four are many")
        };
        assert_eq!(text(&mut tail.pieces("]}").unwrap()), br#""0","1","2","3"]}"#);
    }
}
