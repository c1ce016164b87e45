//! A set of domain names as a tree of labels from the right, and the walk of a certificate's name through it.
//!
//! A plain label costs one look-up, however many names the tree holds. A label that stands for several (`*`, `?`,
//! one that could not be read) tries the children of the nodes reached so far. Every node has one way to it, so a
//! name visits each node at most once, whatever it looks like.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use ct_model::name::UNPARSABLE;
use hashbrown::HashTable;

/// The label that a certificate authority put in place of one it would not show.
pub(super) const REDACTED: &str = "?";

const ROOT: u32 = 0;
const NONE: u32 = u32::MAX;

/// What made a label of a certificate match another one, weakest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Likeness {
    Equal,
    /// `*` stands for zero or more characters within the label, alone for exactly one whole label.
    Wildcard,
    Redacted,
    Unparsable,
}

/// A node that a name reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reached {
    pub(super) node: u32,
    /// The weakest likeness on the way.
    pub(super) likeness: Likeness,
    /// Whether labels of the name are left over.
    pub(super) below: bool,
}

struct Node {
    parent: u32,
    /// Where its label lies in the trie's text.
    label: (u32, u32),
    first_child: u32,
    next_sibling: u32,
}

pub(super) struct Trie {
    nodes: Vec<Node>,
    /// All labels, one after the other.
    text: String,
    /// Labels of the longest name.
    depth: usize,
    /// Nodes by parent and label. Only those who write the list choose the keys; a hostile name can only miss.
    index: HashTable<u32>,
    hasher: BuildHasherDefault<DefaultHasher>,
}

impl Trie {
    pub(super) fn new() -> Self {
        let root = Node { parent: NONE, label: (0, 0), first_child: NONE, next_sibling: NONE };
        Self {
            nodes: vec![root],
            text: String::new(),
            depth: 0,
            index: HashTable::new(),
            hasher: BuildHasherDefault::new(),
        }
    }

    pub(super) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The node of `name`, which has no trailing dot; that of the empty name is the root. Nodes are numbered in the
    /// order in which they are made.
    pub(super) fn insert(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return ROOT;
        }
        self.depth = self.depth.max(name.split('.').count());
        name.rsplit('.').fold(ROOT, |parent, label| match self.child(parent, label) {
            Some(node) => node,
            None => self.add_child(parent, label),
        })
    }

    fn add_child(&mut self, parent: u32, label: &str) -> u32 {
        let offset = |text: &str| u32::try_from(text.len()).expect("the watch list is bounded far below 4 GiB");
        let start = offset(&self.text);
        self.text.push_str(label);
        let node = u32::try_from(self.nodes.len()).expect("a node has a label of at least one byte");
        let next_sibling = std::mem::replace(&mut self.nodes[parent as usize].first_child, node);
        self.nodes.push(Node { parent, label: (start, offset(&self.text)), first_child: NONE, next_sibling });
        let (nodes, text, hasher) = (&self.nodes, &self.text, &self.hasher);
        self.index.insert_unique(hasher.hash_one((parent, label)), node, |node| {
            let node = &nodes[*node as usize];
            hasher.hash_one((node.parent, label_of(node, text)))
        });
        node
    }

    fn child(&self, parent: u32, label: &str) -> Option<u32> {
        let is_child = |node: &u32| {
            let node = &self.nodes[*node as usize];
            node.parent == parent && label_of(node, &self.text) == label
        };
        self.index.find(self.hasher.hash_one((parent, label)), is_child).copied()
    }

    /// Calls `reached` for every node that some number of the name's labels, counted from the right, leads to: the
    /// root first, which needs none. Each node looked at takes one from `budget`; `false` means that it ran out.
    pub(super) fn walk(&self, name: &str, budget: &mut u64, reached: &mut impl FnMut(Reached)) -> bool {
        let mut node = ROOT;
        let mut labels = name.rsplit('.');
        let mut label = labels.next();
        loop {
            match label.map(Label::of) {
                Some(Label::Plain(plain)) => {
                    label = labels.next();
                    reached(Reached { node, likeness: Likeness::Equal, below: true });
                    if !spend(budget) {
                        return false;
                    }
                    let Some(child) = self.child(node, plain) else { return true };
                    node = child;
                }
                // Patterns are read once per name and not once per node. One label beyond the tree's depth tells
                // that labels are left over; what stands before that one does not matter.
                Some(pattern) => {
                    let labels: Vec<Label<'_>> =
                        std::iter::once(pattern).chain(labels.map(Label::of)).take(self.depth + 1).collect();
                    return self.descend(node, Likeness::Equal, &labels, budget, reached);
                }
                None => {
                    reached(Reached { node, likeness: Likeness::Equal, below: false });
                    return true;
                }
            }
        }
    }

    /// [`Trie::walk`] from `node` on. Recurses once per label, so no deeper than the tree.
    fn descend(
        &self,
        node: u32,
        likeness: Likeness,
        labels: &[Label<'_>],
        budget: &mut u64,
        reached: &mut impl FnMut(Reached),
    ) -> bool {
        reached(Reached { node, likeness, below: !labels.is_empty() });
        let Some((label, rest)) = labels.split_first() else { return true };
        if let Label::Plain(plain) = label {
            return spend(budget)
                && self.child(node, plain).is_none_or(|child| self.descend(child, likeness, rest, budget, reached));
        }
        let mut next = self.nodes[node as usize].first_child;
        while next != NONE {
            if !spend(budget) {
                return false;
            }
            let child = &self.nodes[next as usize];
            if let Some(alike) = label.likeness(label_of(child, &self.text))
                && !self.descend(next, likeness.max(alike), rest, budget, reached)
            {
                return false;
            }
            next = child.next_sibling;
        }
        true
    }
}

/// How a name stands to a domain of a list, by the rules of the walk: whether labels of the name are left over, or
/// `None` where the two differ. The empty domain is the root.
pub(super) fn below(domain: &str, name: &str) -> Option<bool> {
    let mut labels = name.rsplit('.');
    for own in domain.rsplit('.').filter(|own| !own.is_empty()) {
        Label::of(labels.next()?).likeness(own)?;
    }
    Some(labels.next().is_some())
}

/// Whether a label of a certificate stands for several.
pub(crate) fn is_pattern(label: &str) -> bool {
    !matches!(Label::of(label), Label::Plain(_))
}

fn spend(budget: &mut u64) -> bool {
    let left = budget.checked_sub(1);
    *budget = left.unwrap_or(0);
    left.is_some()
}

fn label_of<'t>(node: &Node, text: &'t str) -> &'t str {
    &text[node.label.0 as usize..node.label.1 as usize]
}

/// A label of a certificate's name.
enum Label<'l> {
    Plain(&'l str),
    Any(&'l str, Likeness),
    Stars(Stars<'l>),
}

/// A label with `*` in it: what stands before the first, between two, and after the last.
struct Stars<'l> {
    label: &'l str,
    head: &'l str,
    middle: Vec<&'l str>,
    tail: &'l str,
    /// Without the stars.
    bytes: usize,
}

impl<'l> Label<'l> {
    fn of(label: &'l str) -> Self {
        match label {
            "*" => Self::Any(label, Likeness::Wildcard),
            REDACTED => Self::Any(label, Likeness::Redacted),
            UNPARSABLE => Self::Any(label, Likeness::Unparsable),
            _ => match label.split_once('*') {
                None => Self::Plain(label),
                Some((head, rest)) => {
                    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
                    let middle: Vec<_> = middle.split('*').filter(|part| !part.is_empty()).collect();
                    let bytes = head.len() + middle.iter().map(|part| part.len()).sum::<usize>() + tail.len();
                    Self::Stars(Stars { label, head, middle, tail, bytes })
                }
            },
        }
    }

    /// How it matches a label of the tree, if it does.
    fn likeness(&self, label: &str) -> Option<Likeness> {
        match self {
            Self::Plain(own) => (*own == label).then_some(Likeness::Equal),
            Self::Any(own, likeness) => Some(if *own == label { Likeness::Equal } else { *likeness }),
            Self::Stars(stars) if stars.label == label => Some(Likeness::Equal),
            Self::Stars(stars) => stars.matches(label).then_some(Likeness::Wildcard),
        }
    }
}

impl Stars<'_> {
    fn matches(&self, label: &str) -> bool {
        // The lengths go first: head and tail cannot overlap then, and a huge pattern costs nothing.
        if self.bytes > label.len() {
            return false;
        }
        let between = label.strip_prefix(self.head).and_then(|label| label.strip_suffix(self.tail));
        let Some(mut between) = between else { return false };
        // The leftmost place of each part leaves the most for the next.
        self.middle.iter().all(|part| match between.split_once(part) {
            Some((_, after)) => {
                between = after;
                true
            }
            None => false,
        })
    }
}
