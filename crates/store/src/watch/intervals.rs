//! Ranges of keys, found by a key that lies in them, without looking at all of them.
//!
//! An AVL tree in the order of ranges' starts. Each node also knows how far any range beneath it reaches, so that a search
//! leaves out what ends before the key, and what begins behind it.

use std::cmp::Ordering;

use super::span::{End, Span};

/// Something for each of some ranges.
#[derive(Debug)]
pub struct Intervals<T> {
    root: Tree<T>,
}

type Tree<T> = Option<Box<Node<T>>>;

#[derive(Debug)]
struct Node<T> {
    span: Span,
    value: T,
    /// The furthest end in this subtree.
    furthest: End,
    height: u8,
    left: Tree<T>,
    right: Tree<T>,
}

impl<T> Default for Intervals<T> {
    fn default() -> Intervals<T> {
        Intervals { root: None }
    }
}

impl<T> Intervals<T> {
    /// What is kept for exactly this range.
    pub fn get_mut(&mut self, span: &Span) -> Option<&mut T> {
        let mut tree = &mut self.root;
        while let Some(node) = tree {
            match span.cmp(&node.span) {
                Ordering::Less => tree = &mut node.left,
                Ordering::Equal => return Some(&mut node.value),
                Ordering::Greater => tree = &mut node.right,
            }
        }
        None
    }

    /// Keeps something for a range that is not there yet.
    pub fn insert(&mut self, span: Span, value: T) {
        let furthest = span.end.clone();
        let node = Box::new(Node { span, value, furthest, height: 1, left: None, right: None });
        self.root = Some(insert(self.root.take(), node));
    }

    /// Forgets a range.
    pub fn remove(&mut self, span: &Span) {
        self.root = remove(self.root.take(), span);
    }

    /// Shows what is kept for ranges that hold a key, in the order of their starts.
    pub fn around(&self, key: &[u8], mut each: impl FnMut(&T)) {
        visit(&self.root, key, &mut each);
    }
}

fn visit<T>(tree: &Tree<T>, key: &[u8], each: &mut impl FnMut(&T)) {
    let Some(node) = tree else { return };
    if !node.furthest.is_beyond(key) {
        return;
    }
    visit(&node.left, key, each);
    if *node.span.start <= *key {
        if node.span.end.is_beyond(key) {
            each(&node.value);
        }
        visit(&node.right, key, each);
    }
}

fn height<T>(tree: &Tree<T>) -> u8 {
    tree.as_ref().map_or(0, |node| node.height)
}

impl<T> Node<T> {
    fn update(&mut self) {
        self.height = 1 + height(&self.left).max(height(&self.right));
        let ends = [&self.left, &self.right].into_iter().flatten().map(|child| &child.furthest);
        self.furthest = ends.fold(&self.span.end, |furthest, end| furthest.max(end)).clone();
    }
}

fn insert<T>(tree: Tree<T>, new: Box<Node<T>>) -> Box<Node<T>> {
    let Some(mut node) = tree else { return new };
    match new.span.cmp(&node.span) {
        Ordering::Less => node.left = Some(insert(node.left.take(), new)),
        Ordering::Equal => unreachable!("a range is kept once"),
        Ordering::Greater => node.right = Some(insert(node.right.take(), new)),
    }
    balanced(node)
}

fn remove<T>(tree: Tree<T>, span: &Span) -> Tree<T> {
    let mut node = tree?;
    match span.cmp(&node.span) {
        Ordering::Less => node.left = remove(node.left.take(), span),
        Ordering::Greater => node.right = remove(node.right.take(), span),
        Ordering::Equal => {
            let (left, right) = (node.left.take(), node.right.take());
            let Some(right) = right else { return left };
            let (rest, mut first) = without_first(right);
            first.left = left;
            first.right = rest;
            node = first;
        }
    }
    Some(balanced(node))
}

/// Takes the first node out of a subtree.
fn without_first<T>(mut node: Box<Node<T>>) -> (Tree<T>, Box<Node<T>>) {
    match node.left.take() {
        None => (node.right.take(), node),
        Some(left) => {
            let (rest, first) = without_first(left);
            node.left = rest;
            (Some(balanced(node)), first)
        }
    }
}

/// Sets a node right whose subtrees changed by one level at most.
fn balanced<T>(mut node: Box<Node<T>>) -> Box<Node<T>> {
    let (left, right) = (height(&node.left), height(&node.right));
    if left > right + 1 {
        node.left = node
            .left
            .take()
            .map(|left| if height(&left.left) < height(&left.right) { rotated_left(left) } else { left });
        return rotated_right(node);
    }
    if right > left + 1 {
        node.right = node
            .right
            .take()
            .map(|right| if height(&right.right) < height(&right.left) { rotated_right(right) } else { right });
        return rotated_left(node);
    }
    node.update();
    node
}

fn rotated_left<T>(mut node: Box<Node<T>>) -> Box<Node<T>> {
    let mut up = node.right.take().expect("the higher side has a node");
    node.right = up.left.take();
    node.update();
    up.left = Some(node);
    up.update();
    up
}

fn rotated_right<T>(mut node: Box<Node<T>>) -> Box<Node<T>> {
    let mut up = node.left.take().expect("the higher side has a node");
    node.left = up.right.take();
    node.update();
    up.right = Some(node);
    up.update();
    up
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bytes::Bytes;
    use kontiki_kv::KeyRange;
    use std::collections::BTreeMap;

    /// Heights and reaches are those of the subtrees, and no side is more than one level higher.
    fn check<T>(tree: &Tree<T>) -> (u8, Option<End>) {
        let Some(node) = tree else { return (0, None) };
        let ((left, before), (right, behind)) = (check(&node.left), check(&node.right));
        assert!(left.abs_diff(right) <= 1);
        assert_eq!(node.height, 1 + left.max(right));
        let furthest = [before, behind].into_iter().flatten().fold(node.span.end.clone(), End::max);
        assert_eq!(node.furthest, furthest);
        (node.height, Some(furthest))
    }

    struct Draw(u64);

    impl Draw {
        fn upto(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % bound
        }

        fn key(&mut self) -> Vec<u8> {
            (0..=self.upto(3)).map(|_| u8::try_from(self.upto(5)).unwrap()).collect()
        }

        fn span(&mut self) -> Span {
            let range_end = if self.upto(6) == 0 { vec![0] } else { self.key() };
            Span::of(&KeyRange { key: Bytes::from(self.key()), range_end: range_end.into() })
        }
    }

    #[test]
    fn what_is_found_is_what_a_walk_over_all_finds() {
        for seed in 0..40 {
            let mut draw = Draw(seed);
            let (mut intervals, mut all) = (Intervals::default(), BTreeMap::new());
            for step in 0..300_u32 {
                let span = draw.span();
                if draw.upto(3) > 0 && !all.contains_key(&span) {
                    all.insert(span.clone(), step);
                    intervals.insert(span, step);
                } else {
                    let near = all.range(span.clone()..).next().map(|(span, _)| span.clone()).unwrap_or(span);
                    assert_eq!(intervals.get_mut(&near).copied(), all.remove(&near));
                    intervals.remove(&near);
                }
                check(&intervals.root);
                let (key, mut found) = (draw.key(), Vec::new());
                intervals.around(&key, |value| found.push(*value));
                let holds = |span: &Span| span.end != End::Only && span.contains(&key);
                let expected: Vec<_> = all.iter().filter(|(span, _)| holds(span)).map(|(_, value)| *value).collect();
                assert_eq!(found, expected, "seed {seed}, step {step}");
            }
        }
    }

    #[test]
    fn a_search_leaves_out_what_cannot_hold_the_key() {
        let mut intervals = Intervals::default();
        for number in 0..50_000_u32 {
            let (key, range_end) = (format!("/{number:06}/"), format!("/{number:06}0"));
            intervals.insert(Span::of(&KeyRange { key: key.into(), range_end: range_end.into() }), number);
        }
        assert!(height(&intervals.root) <= 23, "1.44 times the logarithm");
        let mut found = Vec::new();
        intervals.around(b"/012345/name", |number| found.push(*number));
        assert_eq!(found, [12_345]);
    }
}
