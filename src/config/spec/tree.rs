//! A YAML document as a tree in which each value has its place in the text. It refuses documents that no reader should
//! get: with duplicate keys, too many aliases, or too many levels.
//!
//! No crate that reads YAML into types does this. They use the last of two equal keys, expand any number of aliases, or
//! lose the place of a value.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::flaw::Flaw;
use crate::error::MAX_MISTAKES;
use crate::text::{text, text_with};

/// The maximum number of levels of lists and maps.
const MAX_LEVELS: usize = 64;
/// The maximum number of values that all anchors and aliases stand for. Without a limit, nine lines with nine aliases
/// each could mean a thousand million values.
const MAX_ALIASED: usize = 4096;

/// A place in the text. Lines are counted from 1, columns and lengths in characters, columns from 0.
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
    /// Set when a fault of the value has been reported. Later reads skip the value.
    pub(super) is_reported: Cell<bool>,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(super) enum NodeKind<'t> {
    /// A scalar. Only a plain one, without quotes, can be a number, a boolean or null.
    Scalar {
        text: Cow<'t, str>,
        is_plain: bool,
    },
    List(Vec<Node<'t>>),
    /// Keys and values. Each key is there only once.
    Map(Vec<(Node<'t>, Node<'t>)>),
}

impl<'t> Node<'t> {
    fn new(kind: NodeKind<'t>, place: Place) -> Self {
        Node { kind, place, is_reported: Cell::new(false) }
    }

    /// The text of a scalar.
    pub(super) fn scalar(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The number of values in it, itself included, and the number of levels.
    fn extent(&self) -> (usize, usize) {
        let parts: Vec<(usize, usize)> = match &self.kind {
            NodeKind::Scalar { .. } => Vec::new(),
            NodeKind::List(items) => items.iter().map(Node::extent).collect(),
            NodeKind::Map(entries) => entries.iter().map(|(_, value)| value.extent()).collect(),
        };
        let count = 1 + parts.iter().map(|(count, _)| count).sum::<usize>();
        (count, 1 + parts.iter().map(|(_, levels)| *levels).max().unwrap_or_default())
    }
}

/// Reads a document, and adds what is wrong to `flaws`. Returns a tree unless none can be made.
pub(super) fn parse<'t>(document: &'t str, flaws: &mut Vec<Flaw>) -> Option<Node<'t>> {
    let mut tree = Builder { open: Vec::new(), root: None, anchors: HashMap::new(), aliased: 0, flaws };
    let mut documents = 0;
    for event in Parser::new_from_str(document) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let mark = error.marker();
                let place = Place { line: mark.line(), column: mark.col(), length: 1 };
                tree.flaws.push(Flaw::syntax(place, document, error.info()));
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

/// Builds the tree from the events of the parser.
struct Builder<'t, 'f> {
    /// The lists and maps that are open, the outermost first. Each has its anchor, and the key that waits for its
    /// value.
    open: Vec<(Node<'t>, usize, Option<Node<'t>>)>,
    root: Option<Node<'t>>,
    anchors: HashMap<usize, Node<'t>>,
    aliased: usize,
    flaws: &'f mut Vec<Flaw>,
}

/// The rest of the document cannot be read.
struct Stopped;

impl<'t> Builder<'t, '_> {
    fn take(&mut self, event: Event<'t>, place: Place) -> Result<(), Stopped> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), place);
                let is_plain = style == ScalarStyle::Plain;
                // Of a block of several lines, only the first character is marked.
                let length = if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
                    1
                } else {
                    place.length
                };
                let node = Node::new(NodeKind::Scalar { text, is_plain }, Place { length, ..place });
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
                        refuse_duplicates(entries, self.flaws);
                    }
                    self.put(node, anchor)?;
                }
            }
            Event::Alias(anchor) => {
                // The value of an anchor that is still open would contain itself.
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return self.stop(place, text("spec.alias.itself"));
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

    fn push(&mut self, kind: NodeKind<'t>, place: Place, anchor: usize) -> Result<(), Stopped> {
        self.limit_depth(self.open.len() + 1, place)?;
        // Of a list or map, only the first character is marked.
        self.open.push((Node::new(kind, Place { length: 1, ..place }), anchor, None));
        Ok(())
    }

    fn limit_depth(&mut self, depth: usize, place: Place) -> Result<(), Stopped> {
        if depth <= MAX_LEVELS {
            return Ok(());
        }
        self.stop(place, text_with("spec.deep", &[("most", &MAX_LEVELS.to_string())]))
    }

    fn stop(&mut self, place: Place, what: String) -> Result<(), Stopped> {
        self.flaws.push(Flaw::at(place, what));
        Err(Stopped)
    }

    fn refuse_tag(&mut self, has_tag: bool, place: Place) {
        if has_tag {
            add_flaw(self.flaws, place, || text("spec.tag"));
        }
    }

    fn limit_aliased(&mut self, count: usize, place: Place) -> Result<(), Stopped> {
        self.aliased += count;
        if self.aliased <= MAX_ALIASED {
            return Ok(());
        }
        self.stop(place, text_with("spec.alias.bomb", &[("most", &MAX_ALIASED.to_string())]))
    }

    /// Adds a finished value to the list or map that is open.
    fn put(&mut self, node: Node<'t>, anchor: usize) -> Result<(), Stopped> {
        if anchor > 0 {
            self.limit_aliased(node.extent().0, node.place)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some((Node { kind: NodeKind::List(items), .. }, ..)) => items.push(node),
            Some((Node { kind: NodeKind::Map(entries), .. }, _, key)) => match key.take() {
                None => *key = Some(node),
                Some(key) if key.scalar().is_some() => entries.push((key, node)),
                Some(key) => add_flaw(self.flaws, key.place, || text("spec.key.form")),
            },
            // A scalar is never open.
            Some(_) => {}
        }
        Ok(())
    }
}

/// Removes the entries whose key is already there.
fn refuse_duplicates(entries: &mut Vec<(Node<'_>, Node<'_>)>, flaws: &mut Vec<Flaw>) {
    let mut order: Vec<usize> = (0..entries.len()).collect();
    // The sort is stable, so the first of equal keys in the text comes first.
    order.sort_by_key(|&at| entries[at].0.scalar());
    let mut first = 0;
    let mut is_duplicate = vec![false; entries.len()];
    for (at, &index) in order.iter().enumerate().skip(1) {
        let (key, earlier) = (&entries[index].0, &entries[order[first]].0);
        if key.scalar() == earlier.scalar() {
            let (name, line) = (key.scalar().unwrap_or_default(), earlier.place.line.to_string());
            add_flaw(flaws, key.place, || text_with("spec.key.twice", &[("key", name), ("line", &line)]));
            is_duplicate[index] = true;
        } else {
            first = at;
        }
    }
    let mut is_duplicate = is_duplicate.into_iter();
    entries.retain(|_| is_duplicate.next() == Some(false));
}

/// Adds a flaw, unless the maximum is reached.
fn add_flaw(flaws: &mut Vec<Flaw>, place: Place, what: impl FnOnce() -> String) {
    if flaws.len() < MAX_MISTAKES {
        flaws.push(Flaw::at(place, what()));
    }
}
