//! Long texts on their way into storage, or into an answer, piece by piece: memory does not feel their length.

use std::io::{self, Read, Seek, SeekFrom, Write};

use cavra_evidence::digest::{Digest, DigestWriter};
use cavra_storage::pack;
use serde::Serialize;
use tempfile::SpooledTempFile;

/// How much text goes into one piece, in bytes; a piece ends behind the entry that fills it.
const PIECE_BYTES: usize = 256 << 10;

/// Packed pieces of a text: in memory while they are few, then in a temporary file that has no name and goes with
/// the process.
pub(crate) struct Spool {
    file: SpooledTempFile,
    piece: Vec<u8>,
    digest: DigestWriter,
    bytes: u64,
}

impl Spool {
    pub(crate) fn new(memory_bytes: usize) -> Self {
        Self {
            file: SpooledTempFile::new(memory_bytes),
            piece: Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 8),
            digest: DigestWriter::new(),
            bytes: 0,
        }
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
        serde_json::to_writer(&mut self.piece, entry)?;
        self.end_full_piece()
    }

    fn end_full_piece(&mut self) -> io::Result<()> {
        if self.piece.len() >= PIECE_BYTES {
            self.end_piece()
        } else {
            Ok(())
        }
    }

    fn end_piece(&mut self) -> io::Result<()> {
        self.digest.write_all(&self.piece)?;
        self.bytes += u64::try_from(self.piece.len()).unwrap_or(u64::MAX);
        let packed = pack(&self.piece);
        self.file
            .write_all(&u64::try_from(packed.len()).unwrap_or(u64::MAX).to_le_bytes())?;
        self.file.write_all(&packed)?;
        self.piece.clear();
        Ok(())
    }

    /// Ends the text: its digest, its length in bytes, and its pieces.
    pub(crate) fn finish(mut self) -> io::Result<(Digest, u64, Pieces)> {
        if !self.piece.is_empty() {
            self.end_piece()?;
        }
        let mut pieces = Pieces(self.file);
        pieces.rewind()?;
        Ok((self.digest.finish(), self.bytes, pieces))
    }
}

/// The packed pieces of a spool, in order.
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
