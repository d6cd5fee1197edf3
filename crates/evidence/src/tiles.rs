//! The tree as tiles (C2SP `tlog-tiles`): blocks of up to 256 hashes, which never change once they are full.
//!
//! A tile at level 0 holds leaf hashes; the hash at place `n` of level `L` is the root of the full tile `n` of
//! level `L - 1`. From tiles every hash of the tree follows, so nothing else is kept.

use std::fmt::Write as _;

use crate::digest::Digest;
use crate::merkle::{Nodes, node_hash};

/// Hashes in a full tile.
pub const TILE_WIDTH: u64 = 256;

/// Levels of the tree that one tile spans.
const TILE_HEIGHT: u32 = 8;

/// Bytes of a hash.
const HASH_BYTES: usize = 32;

/// Tiles above this level cannot exist: `256^8` is beyond a 64-bit size.
pub const MAX_LEVEL: u8 = 7;

/// Which tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TileId {
    /// Level, 0 for leaf hashes.
    pub level: u8,
    /// Place among the tiles of its level.
    pub index: u64,
}

/// How many hashes a level has in a tree of `size` leaves.
const fn hashes_of(level: u8, size: u64) -> u64 {
    let shift = TILE_HEIGHT * level as u32;
    if shift >= u64::BITS { 0 } else { size >> shift }
}

/// How many hashes a tile has in a tree of `size` leaves; 0 when it does not exist.
pub fn tile_width(tile: TileId, size: u64) -> u64 {
    let before = tile.index.saturating_mul(TILE_WIDTH);
    hashes_of(tile.level, size).saturating_sub(before).min(TILE_WIDTH)
}

/// Where tiles are kept.
pub trait Tiles {
    /// Why a tile cannot be had or kept.
    type Error;

    /// The hashes of a tile, as far as it is filled; empty when it is not there.
    ///
    /// # Errors
    /// [`Tiles::Error`].
    fn tile(&self, tile: TileId) -> Result<Vec<u8>, Self::Error>;
}

/// Keeps the hashes of a tile.
pub type WriteTile<'a, E> = dyn FnMut(TileId, &[u8]) -> Result<(), E> + 'a;

/// Appends leaf hashes to a tree of `size` leaves: each tile that changes is written once, whole.
///
/// # Errors
/// The store's.
pub fn append<T: Tiles>(
    tiles: &T,
    size: u64,
    leaves: &[Digest],
    write: &mut WriteTile<'_, T::Error>,
) -> Result<(), T::Error> {
    let (mut level, mut count) = (0_u8, size);
    let mut hashes = leaves.to_vec();
    while !hashes.is_empty() && level <= MAX_LEVEL {
        let mut index = count / TILE_WIDTH;
        let mut bytes = if count % TILE_WIDTH == 0 {
            Vec::new()
        } else {
            tiles.tile(TileId { level, index })?
        };
        let mut above = Vec::new();
        let full = usize::try_from(TILE_WIDTH).unwrap_or(usize::MAX) * HASH_BYTES;
        for hash in &hashes {
            bytes.extend_from_slice(hash.as_bytes());
            if bytes.len() == full {
                write(TileId { level, index }, &bytes)?;
                above.push(tile_root(&bytes));
                bytes.clear();
                index += 1;
            }
        }
        if !bytes.is_empty() {
            write(TileId { level, index }, &bytes)?;
        }
        count = hashes_of(1, count);
        level += 1;
        hashes = above;
    }
    Ok(())
}

fn hashes(bytes: &[u8]) -> Vec<Digest> {
    bytes
        .chunks_exact(HASH_BYTES)
        .filter_map(|chunk| <[u8; HASH_BYTES]>::try_from(chunk).ok())
        .map(Digest::from_bytes)
        .collect()
}

/// The root over a power of two of hashes.
fn fold(mut hashes: Vec<Digest>) -> Option<Digest> {
    while hashes.len() > 1 {
        hashes = hashes
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => node_hash(*left, *right),
                [only] => *only,
                _ => Digest::of([]),
            })
            .collect();
    }
    hashes.first().copied()
}

fn tile_root(bytes: &[u8]) -> Digest {
    fold(hashes(bytes)).unwrap_or_else(|| Digest::of([]))
}

/// The tree's nodes, read from tiles.
#[derive(Debug)]
pub struct TileNodes<'a, T>(
    /// Where the tiles are.
    pub &'a T,
);

/// Why a node cannot be read from tiles.
#[derive(Debug, thiserror::Error)]
pub enum TileError<E> {
    /// The store failed.
    #[error(transparent)]
    Store(E),
    /// A tile has fewer hashes than the tree.
    #[error("tile {index} of level {level} is not as full as the log is long")]
    Short {
        /// Its level.
        level: u8,
        /// Its place.
        index: u64,
    },
}

impl<T: Tiles> Nodes for TileNodes<'_, T> {
    type Error = TileError<T::Error>;

    fn node(&self, level: u32, index: u64) -> Result<Digest, Self::Error> {
        let (tile_level, within) = (level / TILE_HEIGHT, level % TILE_HEIGHT);
        // The first of the hashes of the tile's level that the node is made of, and how many they are.
        let (first, count) = (index << within, 1_u64 << within);
        let tile = TileId {
            level: u8::try_from(tile_level).unwrap_or(u8::MAX),
            index: first / TILE_WIDTH,
        };
        let bytes = self.0.tile(tile).map_err(TileError::Store)?;
        let from = usize::try_from(first % TILE_WIDTH).unwrap_or(usize::MAX);
        let to = from + usize::try_from(count).unwrap_or(usize::MAX);
        let part = bytes.get(from * HASH_BYTES..to * HASH_BYTES);
        part.and_then(|part| fold(hashes(part))).ok_or(TileError::Short {
            level: tile.level,
            index: tile.index,
        })
    }
}

/// What a path under `/tile/` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TilePath {
    /// Hashes.
    Hashes(TileId, u64),
    /// The leaves themselves: their place among bundles, and how many.
    Entries(u64, u64),
}

/// The path of a tile behind `tile/`, for a tile of so many hashes.
pub fn tile_path(path: TilePath) -> String {
    let (mut text, index, width) = match path {
        TilePath::Hashes(tile, width) => (format!("{}", tile.level), tile.index, width),
        TilePath::Entries(index, width) => ("entries".to_owned(), index, width),
    };
    let mut groups = vec![format!("{:03}", index % 1000)];
    let mut rest = index / 1000;
    while rest > 0 {
        groups.push(format!("x{:03}", rest % 1000));
        rest /= 1000;
    }
    for group in groups.iter().rev() {
        // Writing to a string does not fail.
        let _ = write!(text, "/{group}");
    }
    if width < TILE_WIDTH {
        let _ = write!(text, ".p/{width}");
    }
    text
}

/// Reads a path behind `tile/`. `None` for what is no such path, also for one that is spelt in another way.
pub fn parse_tile_path(text: &str) -> Option<TilePath> {
    let (first, rest) = text.split_once('/')?;
    let (place, width) = match rest.split_once(".p/") {
        Some((place, width)) => (place, width.parse::<u64>().ok()?),
        None => (rest, TILE_WIDTH),
    };
    let mut index = 0_u64;
    for group in place.split('/') {
        let digits = group.strip_prefix('x').unwrap_or(group);
        if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    let path = if first == "entries" {
        TilePath::Entries(index, width)
    } else {
        let level = first.parse().ok().filter(|level| *level <= MAX_LEVEL)?;
        TilePath::Hashes(TileId { level, index }, width)
    };
    // One spelling: the one that is written.
    (width > 0 && width <= TILE_WIDTH && tile_path(path) == text).then_some(path)
}

/// Adds a leaf to an entry bundle: two bytes of length, then the leaf. `false` when it is too long for one.
#[must_use]
pub fn push_entry(bundle: &mut Vec<u8>, leaf: &[u8]) -> bool {
    let Ok(length) = u16::try_from(leaf.len()) else {
        return false;
    };
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(leaf);
    true
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use super::*;
    use crate::merkle::{MemoryNodes, leaf_hash, root};

    #[derive(Default)]
    struct Kept(RefCell<BTreeMap<TileId, Vec<u8>>>);

    impl Tiles for Kept {
        type Error = Infallible;

        fn tile(&self, tile: TileId) -> Result<Vec<u8>, Infallible> {
            Ok(self.0.borrow().get(&tile).cloned().unwrap_or_default())
        }
    }

    #[test]
    fn batches_of_any_size_give_the_tree_that_single_leaves_give() {
        let leaves: Vec<_> = (0..66_000_u32)
            .map(|number| leaf_hash(number.to_be_bytes()))
            .collect();
        let kept = Kept::default();
        let nodes = MemoryNodes::new(&leaves);
        let mut size = 0;
        for batch in [1, 1, 254, 255, 1, 256, 1000, 3, 64_000, 229] {
            let from = usize::try_from(size).unwrap();
            let mut written = Vec::new();
            append(&kept, size, &leaves[from..from + batch], &mut |tile, bytes| {
                written.push((tile, bytes.to_vec()));
                Ok(())
            })
            .unwrap();
            let mut tiles: Vec<_> = written.iter().map(|(tile, _)| *tile).collect();
            tiles.sort();
            tiles.dedup();
            assert_eq!(tiles.len(), written.len(), "a tile is written twice");
            kept.0.borrow_mut().extend(written);
            size += u64::try_from(batch).unwrap();
            assert_eq!(
                root(&TileNodes(&kept), size).unwrap(),
                root(&nodes, size).unwrap()
            );
        }
        for (tile, bytes) in kept.0.borrow().iter() {
            let width = u64::try_from(bytes.len() / HASH_BYTES).unwrap();
            assert_eq!(width, tile_width(*tile, size), "{tile:?}");
        }
    }

    #[test]
    fn a_missing_tile_is_named() {
        let error = root(&TileNodes(&Kept::default()), 300).unwrap_err();
        assert!(
            matches!(error, TileError::Short { level: 1, index: 0 }),
            "{error}"
        );
    }

    #[test]
    fn paths_are_written_as_c2sp_writes_them_and_read_back_only_so() {
        let hashes = |level, index, width| TilePath::Hashes(TileId { level, index }, width);
        for (path, text) in [
            (hashes(0, 1_234_067, 256), "0/x001/x234/067"),
            (hashes(1, 5, 17), "1/005.p/17"),
            (TilePath::Entries(0, 256), "entries/000"),
            (TilePath::Entries(1000, 1), "entries/x001/000.p/1"),
        ] {
            assert_eq!(tile_path(path), text);
            assert_eq!(parse_tile_path(text), Some(path));
        }
        for text in [
            "",
            "0",
            "0/",
            "0/5",
            "00/005",
            "8/000",
            "0/x000/001",
            "0/001/002",
            "0/000.p/0",
            "0/000.p/256",
            "0/000.p/07",
            "-1/000",
            "0/000.p/",
            "entries/0000",
            "0/+01",
            "0/x001/x002",
        ] {
            assert_eq!(parse_tile_path(text), None, "{text}");
        }
    }

    #[test]
    fn an_entry_bundle_has_lengths_before_leaves_and_no_leaf_that_is_too_long() {
        let mut bundle = Vec::new();
        assert!(push_entry(&mut bundle, b"ab"));
        assert!(push_entry(&mut bundle, b""));
        assert_eq!(bundle, [0, 2, b'a', b'b', 0, 0]);
        assert!(!push_entry(&mut bundle, &vec![0; 65_536]));
        assert_eq!(bundle.len(), 6);
    }
}
