//! The Merkle tree of RFC 6962 and RFC 9162: roots, inclusion proofs and consistency proofs, made and verified.
//!
//! The tree's hashes come from whoever keeps them, through [`Nodes`]; this module keeps nothing. Why no crate:
//! see ADR 0020.
//!
//! ```
//! use cavra_evidence::merkle::{MemoryNodes, inclusion_proof, leaf_hash, root, verify_inclusion};
//!
//! let leaves: Vec<_> = ["a", "b", "c"].iter().map(leaf_hash).collect();
//! let nodes = MemoryNodes::new(&leaves);
//! let proof = inclusion_proof(&nodes, 1, 3).unwrap();
//! assert!(verify_inclusion(leaves[1], 1, 3, &proof, root(&nodes, 3).unwrap()).is_ok());
//! ```

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// A leaf or an earlier tree that lies outside the tree.
    #[error("the proof is for something outside the tree")]
    OutOfRange,
    /// More or fewer hashes than the place in the tree takes.
    #[error("the proof has the wrong number of hashes")]
    Length,
    /// Hashed together, the proof gives another root.
    #[error("the proof leads to another root")]
    Root,
}

/// The hash of the empty tree.
pub fn empty_root() -> Digest {
    Digest::of([])
}

/// The hash of a leaf (RFC 9162 2.1.1).
pub fn leaf_hash(leaf: impl AsRef<[u8]>) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update([0]);
    hasher.update(leaf);
    Digest::from_bytes(hasher.finalize().into())
}

/// The hash of an inner node (RFC 9162 2.1.1).
pub fn node_hash(left: Digest, right: Digest) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update([1]);
    hasher.update(left.as_bytes());
    hasher.update(right.as_bytes());
    Digest::from_bytes(hasher.finalize().into())
}

/// The hashes of full subtrees.
pub trait Nodes {
    /// Why a hash cannot be had.
    type Error;

    /// The hash over the `2^level` leaves from `index * 2^level` on, all of which exist.
    ///
    /// # Errors
    /// [`Nodes::Error`].
    fn node(&self, level: u32, index: u64) -> Result<Digest, Self::Error>;
}

/// The hash over the leaves from `start` to `end`; `start` is a multiple of the subtree's full size.
fn range<N: Nodes>(nodes: &N, start: u64, end: u64) -> Result<Digest, N::Error> {
    let size = end - start;
    if size == 0 {
        return Ok(empty_root());
    }
    if size.is_power_of_two() {
        let level = size.trailing_zeros();
        return nodes.node(level, start >> level);
    }
    let middle = start + split(size);
    Ok(node_hash(
        range(nodes, start, middle)?,
        range(nodes, middle, end)?,
    ))
}

/// The largest power of two below `size`, which is at least 2.
const fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// The root of the tree's first `size` leaves.
///
/// # Errors
/// [`Nodes::Error`].
pub fn root<N: Nodes>(nodes: &N, size: u64) -> Result<Digest, N::Error> {
    range(nodes, 0, size)
}

/// The inclusion proof of leaf `index` in the tree of `size` leaves (RFC 9162 2.1.3.1); `index < size`.
///
/// # Errors
/// [`Nodes::Error`].
pub fn inclusion_proof<N: Nodes>(nodes: &N, index: u64, size: u64) -> Result<Vec<Digest>, N::Error> {
    let mut proof = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            proof.push(range(nodes, middle, end)?);
            end = middle;
        } else {
            proof.push(range(nodes, start, middle)?);
            start = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree of `old` leaves is the beginning of the tree of `new` leaves (RFC 9162 2.1.4.1);
/// `old <= new`. Empty when `old` is 0 or `new`.
///
/// # Errors
/// [`Nodes::Error`].
pub fn consistency_proof<N: Nodes>(nodes: &N, old: u64, new: u64) -> Result<Vec<Digest>, N::Error> {
    let mut proof = Vec::new();
    if old == 0 || old >= new {
        return Ok(proof);
    }
    let (mut start, mut end) = (0, new);
    while old != end {
        let middle = start + split(end - start);
        if old <= middle {
            proof.push(range(nodes, middle, end)?);
            end = middle;
        } else {
            proof.push(range(nodes, start, middle)?);
            start = middle;
        }
    }
    // The old tree's own last subtree; when it is the whole old tree, its hash is known.
    if start != 0 {
        proof.push(range(nodes, start, end)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Verifies an inclusion proof (RFC 9162 2.1.3.2).
///
/// # Errors
/// [`ProofError`].
pub fn verify_inclusion(
    leaf: Digest,
    index: u64,
    size: u64,
    proof: &[Digest],
    root: Digest,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::OutOfRange);
    }
    let (mut place, mut last) = (index, size - 1);
    let mut hash = leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if place & 1 == 1 || place == last {
            hash = node_hash(*sibling, hash);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(hash, *sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    match (last, hash == root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Root),
        _ => Err(ProofError::Length),
    }
}

/// Verifies a consistency proof (RFC 9162 2.1.4.2). An empty old tree is the beginning of every tree.
///
/// # Errors
/// [`ProofError`].
pub fn verify_consistency(
    old: u64,
    new: u64,
    proof: &[Digest],
    old_root: Digest,
    new_root: Digest,
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::OutOfRange);
    }
    if old == 0 || old == new {
        let same = if old == 0 {
            old_root == empty_root()
        } else {
            old_root == new_root
        };
        return match (proof.is_empty(), same) {
            (false, _) => Err(ProofError::Length),
            (true, false) => Err(ProofError::Root),
            (true, true) => Ok(()),
        };
    }
    let (mut place, mut last) = (old - 1, new - 1);
    while place & 1 == 1 {
        place >>= 1;
        last >>= 1;
    }
    let mut hashes = proof.iter().copied();
    let first = if old.is_power_of_two() {
        old_root
    } else {
        hashes.next().ok_or(ProofError::Length)?
    };
    let (mut of_old, mut of_new) = (first, first);
    for hash in hashes {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if place & 1 == 1 || place == last {
            of_old = node_hash(hash, of_old);
            of_new = node_hash(hash, of_new);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            of_new = node_hash(of_new, hash);
        }
        place >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if of_old == old_root && of_new == new_root {
        Ok(())
    } else {
        Err(ProofError::Root)
    }
}

/// A tree that only grows and only knows its root: one hash per level is kept.
#[derive(Clone, Debug, Default)]
pub struct RootBuilder {
    /// Full subtrees from left to right, largest first.
    subtrees: Vec<Digest>,
    size: u64,
}

impl RootBuilder {
    /// Adds the hash of one more leaf.
    pub fn push(&mut self, leaf: Digest) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.subtrees.pop() {
                hash = node_hash(left, hash);
            }
        }
        self.subtrees.push(hash);
        self.size += 1;
    }

    /// How many leaves there are.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree so far.
    pub fn root(&self) -> Digest {
        let mut subtrees = self.subtrees.iter().rev().copied();
        match subtrees.next() {
            None => empty_root(),
            Some(last) => subtrees.fold(last, |right, left| node_hash(left, right)),
        }
    }
}

/// All hashes of a tree in memory: for tests, and for trees that somebody holds whole.
#[derive(Clone, Debug)]
pub struct MemoryNodes(Vec<Vec<Digest>>);

impl MemoryNodes {
    /// The tree over these leaf hashes.
    pub fn new(leaves: &[Digest]) -> Self {
        let mut levels = vec![leaves.to_vec()];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let above = below
                .chunks_exact(2)
                .filter_map(|pair| match pair {
                    [left, right] => Some(node_hash(*left, *right)),
                    _ => None,
                })
                .collect();
            levels.push(above);
        }
        Self(levels)
    }
}

impl Nodes for MemoryNodes {
    type Error = ProofError;

    fn node(&self, level: u32, index: u64) -> Result<Digest, ProofError> {
        let place = || {
            let level = self.0.get(usize::try_from(level).ok()?)?;
            level.get(usize::try_from(index).ok()?).copied()
        };
        place().ok_or(ProofError::OutOfRange)
    }
}

#[cfg(test)]
mod tests {
    use ct_merkle::mem_backed_tree::MemoryBackedTree;
    use proptest::prelude::*;

    use super::*;

    /// The leaves of the reference tests of Certificate Transparency.
    const LEAVES: [&str; 8] = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];

    /// The roots of the trees of the first 1 to 8 of them.
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2)
            .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
            .collect()
    }

    fn reference() -> (Vec<Digest>, MemoryNodes) {
        let leaves: Vec<_> = LEAVES.iter().map(|leaf| leaf_hash(hex(leaf))).collect();
        let nodes = MemoryNodes::new(&leaves);
        (leaves, nodes)
    }

    fn texts(proof: &[Digest]) -> Vec<String> {
        proof.iter().map(Digest::to_hex).collect()
    }

    #[test]
    fn the_roots_of_the_reference_trees_come_out() {
        let (leaves, nodes) = reference();
        let mut builder = RootBuilder::default();
        assert_eq!(builder.root().to_hex(), Digest::of([]).to_hex());
        for (size, expected) in (1..).zip(ROOTS) {
            assert_eq!(root(&nodes, size).unwrap().to_hex(), expected);
            builder.push(leaves[usize::try_from(size - 1).unwrap()]);
            assert_eq!(
                (builder.size(), builder.root().to_hex()),
                (size, expected.to_owned())
            );
        }
    }

    #[test]
    fn the_inclusion_proofs_of_the_reference_trees_come_out() {
        let (_, nodes) = reference();
        let proof = |index, size| texts(&inclusion_proof(&nodes, index, size).unwrap());
        assert!(proof(0, 1).is_empty());
        assert_eq!(
            proof(0, 8),
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ]
        );
        assert_eq!(
            proof(5, 8),
            [
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ]
        );
        assert_eq!(
            proof(2, 3),
            ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]
        );
        assert_eq!(
            proof(1, 5),
            [
                "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ]
        );
    }

    #[test]
    fn the_consistency_proofs_of_the_reference_trees_come_out() {
        let (_, nodes) = reference();
        let proof = |old, new| texts(&consistency_proof(&nodes, old, new).unwrap());
        assert!(proof(1, 1).is_empty());
        assert_eq!(
            proof(1, 8),
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ]
        );
        assert_eq!(
            proof(6, 8),
            [
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ]
        );
        assert_eq!(
            proof(2, 5),
            [
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ]
        );
    }

    /// Every tree up to 70 leaves, against an implementation by somebody else.
    #[test]
    fn roots_and_proofs_are_those_of_an_independent_implementation() {
        let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        let mut leaves = Vec::new();
        for number in 0..70_u8 {
            theirs.push(vec![number; usize::from(number % 5)]);
            leaves.push(leaf_hash(vec![number; usize::from(number % 5)]));
            let nodes = MemoryNodes::new(&leaves);
            let size = u64::from(number) + 1;
            let their_root = theirs.root();
            assert_eq!(
                root(&nodes, size).unwrap().as_bytes().as_slice(),
                their_root.as_bytes().as_slice()
            );
            for index in 0..size {
                let ours = inclusion_proof(&nodes, index, size).unwrap();
                let bytes: Vec<u8> = ours.iter().flat_map(|hash| *hash.as_bytes()).collect();
                let their_proof = theirs.prove_inclusion(usize::try_from(index).unwrap());
                assert_eq!(bytes, their_proof.as_bytes());
            }
            for old in 1..size {
                let ours = consistency_proof(&nodes, old, size).unwrap();
                let bytes: Vec<u8> = ours.iter().flat_map(|hash| *hash.as_bytes()).collect();
                let added = usize::try_from(size - old).unwrap();
                assert_eq!(bytes, theirs.prove_consistency(added).as_bytes(), "{old} {size}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_proof_verifies_and_no_changed_one_does(
            size in 1..300_u64, at in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>(),
        ) {
            let leaves: Vec<_> = (0..size).map(|number| leaf_hash(number.to_be_bytes())).collect();
            let nodes = MemoryNodes::new(&leaves);
            let index = u64::try_from(at.index(leaves.len())).unwrap();
            let whole = root(&nodes, size).unwrap();
            let leaf = leaves[at.index(leaves.len())];
            let proof = inclusion_proof(&nodes, index, size).unwrap();
            prop_assert_eq!(verify_inclusion(leaf, index, size, &proof, whole), Ok(()));
            prop_assert!(verify_inclusion(leaf_hash("x"), index, size, &proof, whole).is_err());
            prop_assert!(verify_inclusion(leaf, size, size, &proof, whole).is_err());
            let old = index + 1;
            let before = root(&nodes, old).unwrap();
            let step = consistency_proof(&nodes, old, size).unwrap();
            prop_assert_eq!(verify_consistency(old, size, &step, before, whole), Ok(()));
            prop_assert!(verify_consistency(old, size, &step, leaf_hash("y"), whole).is_err());
            prop_assert!(verify_consistency(size + 1, size, &[], whole, whole).is_err());
            for (proof, verify) in [
                (proof, Box::new(|proof: &[Digest]| verify_inclusion(leaf, index, size, proof, whole)) as Box<dyn Fn(&[Digest]) -> _>),
                (step, Box::new(|proof: &[Digest]| verify_consistency(old, size, proof, before, whole))),
            ] {
                let mut longer = proof.clone();
                longer.push(leaf);
                prop_assert!(verify(&longer).is_err());
                if proof.is_empty() {
                    continue;
                }
                prop_assert!(verify(&proof[1..]).is_err());
                let mut changed = proof.clone();
                let place = flip.index(changed.len());
                changed[place] = leaf_hash("z");
                prop_assert!(verify(&changed).is_err());
            }
        }
    }
}
