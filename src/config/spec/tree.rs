//! A YAML document as a tree in which everything knows its place, and what is wrong with it before any key means anything.
//!
//! No crate that reads YAML into types does this: they keep the last of two equal keys, follow aliases however often, or forget
//! where a value stood.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::flaw::Flaw;
use crate::error::MAX_MISTAKES;
use crate::text::{text, text_with};

/// So deep may lists and maps stand in each other.
const DEEPEST: usize = 64;
/// So many values may stand for aliases, all in all: nine lines of nine aliases each would be a thousand million values.
const MOST_ALIASED: usize = 4096;

/// Where something stands: lines from 1, columns from 0, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) length: usize,
}

/// One value of the document.
#[derive(Debug, Clone)]
pub(super) struct Node<'t> {
    pub(super) kind: NodeKind<'t>,
    pub(super) place: Place,
    /// Set when something is wrong with it that has been told: whoever reads on passes it over.
    pub(super) is_told: Cell<bool>,
}

#[derive(Debug, Clone)]
pub(super) enum NodeKind<'t> {
    /// A word; only a plain one (without quotes) can be a number, true, or nothing.
    Word {
        text: Cow<'t, str>,
        is_plain: bool,
    },
    List(Vec<Node<'t>>),
    /// Keys and values, no key twice.
    Map(Vec<(Node<'t>, Node<'t>)>),
}

impl<'t> Node<'t> {
    fn new(kind: NodeKind<'t>, place: Place) -> Self {
        Node { kind, place, is_told: Cell::new(false) }
    }

    /// The word that it is.
    pub(super) fn word(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Word { text, .. } => Some(text),
            _ => None,
        }
    }

    /// How many values it is, and how many levels.
    fn extent(&self) -> (usize, usize) {
        let parts: Vec<(usize, usize)> = match &self.kind {
            NodeKind::Word { .. } => Vec::new(),
            NodeKind::List(items) => items.iter().map(Node::extent).collect(),
            NodeKind::Map(entries) => entries.iter().map(|(_, value)| value.extent()).collect(),
        };
        let count = 1 + parts.iter().map(|(count, _)| count).sum::<usize>();
        (count, 1 + parts.iter().map(|(_, levels)| *levels).max().unwrap_or_default())
    }
}

/// Reads a document. What is wrong is told in `flaws`; a tree comes back as long as one can be made.
pub(super) fn grow<'t>(words: &'t str, flaws: &mut Vec<Flaw>) -> Option<Node<'t>> {
    let mut tree = Growing { open: Vec::new(), root: None, anchors: HashMap::new(), aliased: 0, flaws };
    let mut documents = 0;
    for event in Parser::new_from_str(words) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let mark = error.marker();
                let place = Place { line: mark.line(), column: mark.col(), length: 1 };
                tree.flaws.push(Flaw::syntax(place, words, error.info()));
                return None;
            }
        };
        if matches!(event, Event::DocumentStart(_)) {
            documents += 1;
            if documents > 1 {
                tree.flaws.push(Flaw::at(place_of(span), text("spec.documents")));
                break;
            }
        }
        tree.take(event, place_of(span)).ok()?;
    }
    let root = tree.root;
    match &root {
        None => flaws.push(Flaw::at(Place { line: 1, column: 0, length: 1 }, text("spec.empty"))),
        Some(Node { kind: NodeKind::Map(_), .. }) => {}
        Some(other) => {
            flaws.push(Flaw::at(other.place, text("spec.nomap")));
            return None;
        }
    }
    root
}

fn place_of(span: Span) -> Place {
    let (start, end) = (span.start, span.end);
    let length = if start.line() == end.line() { end.col().saturating_sub(start.col()) } else { 1 };
    Place { line: start.line(), column: start.col(), length: length.max(1) }
}

/// A tree that isn't whole yet.
struct Growing<'t, 'f> {
    /// The lists and maps that are open, the outermost first, each with its anchor, and the key that waits for its value.
    open: Vec<(Node<'t>, usize, Option<Node<'t>>)>,
    root: Option<Node<'t>>,
    anchors: HashMap<usize, Node<'t>>,
    aliased: usize,
    flaws: &'f mut Vec<Flaw>,
}

/// It can't be read on.
struct Hopeless;

impl<'t> Growing<'t, '_> {
    fn take(&mut self, event: Event<'t>, place: Place) -> Result<(), Hopeless> {
        match event {
            Event::Scalar(words, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), place);
                let is_plain = style == ScalarStyle::Plain;
                // A block of many lines is shown by its first character.
                let length = if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
                    1
                } else {
                    place.length
                };
                let node = Node::new(NodeKind::Word { text: words, is_plain }, Place { length, ..place });
                self.put(node, anchor)?;
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.is_some(), place);
                self.push(NodeKind::List(Vec::new()), place, anchor)?;
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.is_some(), place);
                self.push(NodeKind::Map(Vec::new()), place, anchor)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some((mut node, anchor, _)) = self.open.pop() {
                    if let NodeKind::Map(entries) = &mut node.kind {
                        refuse_twice(entries, self.flaws);
                    }
                    self.put(node, anchor)?;
                }
            }
            Event::Alias(anchor) => {
                // An anchor that is still open would hold itself.
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return self.give_up(place, text("spec.alias.itself"));
                };
                let (count, levels) = node.extent();
                self.limit_aliased(count, place)?;
                self.limit_depth(self.open.len() + levels - 1, place)?;
                self.put(node, 0)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn push(&mut self, kind: NodeKind<'t>, place: Place, anchor: usize) -> Result<(), Hopeless> {
        self.limit_depth(self.open.len() + 1, place)?;
        // A whole list or map is shown by where it begins.
        self.open.push((Node::new(kind, Place { length: 1, ..place }), anchor, None));
        Ok(())
    }

    fn limit_depth(&mut self, depth: usize, place: Place) -> Result<(), Hopeless> {
        if depth <= DEEPEST {
            return Ok(());
        }
        self.give_up(place, text_with("spec.deep", &[("most", &DEEPEST.to_string())]))
    }

    fn give_up(&mut self, place: Place, what: String) -> Result<(), Hopeless> {
        self.flaws.push(Flaw::at(place, what));
        Err(Hopeless)
    }

    fn refuse_tag(&mut self, has_tag: bool, place: Place) {
        if has_tag {
            tell(self.flaws, place, || text("spec.tag"));
        }
    }

    fn limit_aliased(&mut self, count: usize, place: Place) -> Result<(), Hopeless> {
        self.aliased += count;
        if self.aliased <= MOST_ALIASED {
            return Ok(());
        }
        self.give_up(place, text_with("spec.alias.bomb", &[("most", &MOST_ALIASED.to_string())]))
    }

    /// A value is whole: it goes into what is open around it.
    fn put(&mut self, node: Node<'t>, anchor: usize) -> Result<(), Hopeless> {
        if anchor > 0 {
            self.limit_aliased(node.extent().0, node.place)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some((Node { kind: NodeKind::List(items), .. }, ..)) => items.push(node),
            Some((Node { kind: NodeKind::Map(entries), .. }, _, key)) => match key.take() {
                None => *key = Some(node),
                Some(key) if key.word().is_some() => entries.push((key, node)),
                Some(key) => tell(self.flaws, key.place, || text("spec.key.form")),
            },
            // Words are never open.
            Some(_) => {}
        }
        Ok(())
    }
}

/// Takes out the entries whose key stands there already.
fn refuse_twice(entries: &mut Vec<(Node<'_>, Node<'_>)>, flaws: &mut Vec<Flaw>) {
    let mut order: Vec<usize> = (0..entries.len()).collect();
    // Equal keys keep their order, so the first of them is the one that counts.
    order.sort_by_key(|&at| entries[at].0.word());
    let mut first = 0;
    let mut is_twice = vec![false; entries.len()];
    for (at, &index) in order.iter().enumerate().skip(1) {
        let (key, earlier) = (&entries[index].0, &entries[order[first]].0);
        if key.word() == earlier.word() {
            let (word, line) = (key.word().unwrap_or_default(), earlier.place.line.to_string());
            tell(flaws, key.place, || text_with("spec.key.twice", &[("key", word), ("line", &line)]));
            is_twice[index] = true;
        } else {
            first = at;
        }
    }
    let mut is_twice = is_twice.into_iter();
    entries.retain(|_| is_twice.next() == Some(false));
}

/// Notes a flaw, unless there are as many as will be told.
fn tell(flaws: &mut Vec<Flaw>, place: Place, what: impl FnOnce() -> String) {
    if flaws.len() < MAX_MISTAKES {
        flaws.push(Flaw::at(place, what()));
    }
}
