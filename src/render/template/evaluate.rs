//! Fills a template with a value.

use serde_json::Value;

use super::parse::{Branch, Definitions, Operand, Pipe, TemplateNode};
use super::{function, zero};

/// The maximum depth of templates that use one another.
const MAX_DEPTH: usize = 100;

/// A value, and the names of the fields by which it was found. They tell whether it is a map or a struct of Go.
#[derive(Debug, Clone)]
struct FoundValue {
    value: Value,
    path: Vec<String>,
}

impl FoundValue {
    /// A value that is in no document.
    fn made(value: Value) -> FoundValue {
        FoundValue { value, path: Vec::new() }
    }

    /// As it is printed.
    fn printed(&self) -> String {
        let null =
            self.path.last().filter(|_| self.value.is_null()).and_then(|name| zero::printed_null(name));
        null.map_or_else(|| function::printed(&self.value), str::to_owned)
    }

    fn is_true(&self) -> bool {
        function::is_true(&self.value)
    }
}

/// The values that a template has names for.
pub(super) struct Scope<'a> {
    whole: FoundValue,
    variables: Vec<(String, FoundValue)>,
    definitions: &'a Definitions,
    /// How many templates are around this one.
    depth: usize,
    /// Whether the line of titles is printed.
    is_header: bool,
}

/// What happens after a node.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterNode {
    Next,
    Break,
    Continue,
}

impl<'a> Scope<'a> {
    pub(super) fn new(whole: &Value, definitions: &'a Definitions, is_header: bool) -> Scope<'a> {
        Scope {
            whole: FoundValue::made(whole.clone()),
            variables: Vec::new(),
            definitions,
            depth: 0,
            is_header,
        }
    }

    /// Prints nodes. The dot is the whole value.
    pub(super) fn fill(mut self, nodes: &[TemplateNode], out: &mut String) -> Result<(), String> {
        let dot = self.whole.clone();
        self.print(nodes, &dot, out).map(|_| ())
    }

    fn print(
        &mut self,
        nodes: &[TemplateNode],
        dot: &FoundValue,
        out: &mut String,
    ) -> Result<AfterNode, String> {
        let outer = self.variables.len();
        let flow = self.print_in(nodes, dot, out);
        self.variables.truncate(outer);
        flow
    }

    fn print_in(
        &mut self,
        nodes: &[TemplateNode],
        dot: &FoundValue,
        out: &mut String,
    ) -> Result<AfterNode, String> {
        for node in nodes {
            let flow = match node {
                TemplateNode::Text(text) => {
                    out.push_str(text);
                    AfterNode::Next
                }
                TemplateNode::Print(pipe) => {
                    out.push_str(&self.value(pipe, dot)?.printed());
                    AfterNode::Next
                }
                TemplateNode::Declare(name, pipe) => {
                    let value = self.value(pipe, dot)?;
                    self.variables.push((name.clone(), value));
                    AfterNode::Next
                }
                TemplateNode::Assign(name, pipe) => {
                    let value = self.value(pipe, dot)?;
                    let known = self.variables.iter_mut().rev().find(|(known, _)| known == name);
                    known.ok_or_else(|| undefined(name))?.1 = value;
                    AfterNode::Next
                }
                TemplateNode::If(branches, other) => {
                    let outer = self.variables.len();
                    let flow = self.print_branch(branches, other, dot, out);
                    self.variables.truncate(outer);
                    flow?
                }
                TemplateNode::Range(names, pipe, body, other) => {
                    let elements = elements(&self.value(pipe, dot)?)?;
                    if elements.is_empty() {
                        self.print(other, dot, out)?
                    } else {
                        self.each(names, &elements, body, out)?;
                        AfterNode::Next
                    }
                }
                TemplateNode::Template(name, pipe) => {
                    let none = || Ok(FoundValue::made(Value::Null));
                    let value = pipe.as_ref().map_or_else(none, |pipe| self.value(pipe, dot))?;
                    self.print_named(name, value, out)?;
                    AfterNode::Next
                }
                TemplateNode::Break => AfterNode::Break,
                TemplateNode::Continue => AfterNode::Continue,
            };
            if flow != AfterNode::Next {
                return Ok(flow);
            }
        }
        Ok(AfterNode::Next)
    }

    /// Prints the first branch whose condition is true, or else the other. The variables of all conditions before are known there.
    fn print_branch(
        &mut self,
        branches: &[Branch],
        other: &[TemplateNode],
        dot: &FoundValue,
        out: &mut String,
    ) -> Result<AfterNode, String> {
        for Branch { name, condition, sets_dot, body } in branches {
            let value = self.value(condition, dot)?;
            self.variables.extend(name.iter().map(|name| (name.clone(), value.clone())));
            if value.is_true() {
                return self.print(body, if *sets_dot { &value } else { dot }, out);
            }
        }
        self.print(other, dot, out)
    }

    /// Prints the template with this name. It has no variables of the one around it.
    fn print_named(&self, name: &str, dot: FoundValue, out: &mut String) -> Result<(), String> {
        let nodes = self.definitions.get(name).ok_or_else(|| format!("template {name:?} not defined"))?;
        if self.depth == MAX_DEPTH {
            return Err(format!("exceeded maximum template depth ({MAX_DEPTH})"));
        }
        let (definitions, is_header) = (self.definitions, self.is_header);
        let inner =
            Scope { whole: dot, variables: Vec::new(), definitions, depth: self.depth + 1, is_header };
        inner.fill(nodes, out)
    }

    fn each(
        &mut self,
        names: &[Option<String>; 2],
        elements: &[(FoundValue, FoundValue)],
        body: &[TemplateNode],
        out: &mut String,
    ) -> Result<(), String> {
        for (index, element) in elements {
            let outer = self.variables.len();
            for (name, value) in names.iter().zip([index, element]) {
                self.variables.extend(name.iter().map(|name| (name.clone(), value.clone())));
            }
            let flow = self.print(body, element, out);
            self.variables.truncate(outer);
            if flow? == AfterNode::Break {
                break;
            }
        }
        Ok(())
    }

    fn value(&self, pipe: &Pipe, dot: &FoundValue) -> Result<FoundValue, String> {
        let mut last = None;
        for command in pipe {
            last = Some(self.command(command, dot, last)?);
        }
        Ok(last.unwrap_or_else(|| FoundValue::made(Value::Null)))
    }

    /// The value of a command. `last` is that of the command before it.
    fn command(
        &self,
        words: &[Operand],
        dot: &FoundValue,
        last: Option<FoundValue>,
    ) -> Result<FoundValue, String> {
        let Some((first, rest)) = words.split_first() else { return Ok(FoundValue::made(Value::Null)) };
        let mut arguments = rest.iter().map(|word| self.operand(word, dot)).collect::<Result<Vec<_>, _>>()?;
        arguments.extend(last);
        match first {
            Operand::Function(name) => self.call(name, arguments),
            // The one method of Docker's rows.
            Operand::Dot(fields) if fields[..] == ["Label"] => match &arguments[..] {
                [FoundValue { value: Value::String(name), .. }] => {
                    Ok(FoundValue::made(label(&dot.value, name).into()))
                }
                _ => Err("wrong number or type of args for Label".to_owned()),
            },
            _ if arguments.is_empty() => self.operand(first, dot),
            _ => Err("can't give argument to non-function".to_owned()),
        }
    }

    fn call(&self, name: &str, mut arguments: Vec<FoundValue>) -> Result<FoundValue, String> {
        // In the line of titles, Docker's functions return the title as it is.
        if self.is_header && function::KEEP_TITLES.contains(&name) && !arguments.is_empty() {
            return Ok(arguments.swap_remove(0));
        }
        // What is found in a list or a map has a place too.
        let path = match (name, &arguments[..]) {
            ("index", [found, keys @ ..]) => {
                extended(&found.path, keys.iter().map(|key| function::printed(&key.value)))
            }
            _ => Vec::new(),
        };
        let values: Vec<Value> = arguments.into_iter().map(|found| found.value).collect();
        Ok(FoundValue { value: function::call(name, &values)?, path })
    }

    fn operand(&self, operand: &Operand, dot: &FoundValue) -> Result<FoundValue, String> {
        match operand {
            Operand::Dot(fields) => field(dot, fields),
            Operand::Literal(value) => Ok(FoundValue::made(value.clone())),
            Operand::Function(name) => self.call(name, Vec::new()),
            Operand::Group(pipe, fields) => field(&self.value(pipe, dot)?, fields),
            Operand::Variable(name, fields) if name.is_empty() => field(&self.whole, fields),
            Operand::Variable(name, fields) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                let (_, value) = known.ok_or_else(|| undefined(name))?;
                field(value, fields)
            }
        }
    }
}

fn undefined(name: &str) -> String {
    format!("undefined variable \"${name}\"")
}

/// A path with more names.
fn extended(path: &[String], names: impl IntoIterator<Item = String>) -> Vec<String> {
    path.iter().cloned().chain(names).collect()
}

/// The value of a label of a row, whose labels are written `a=1,b=2`. A comma before a part without `=` belongs to the value. The
/// row of titles has no labels: the title is the end of the name, as in Docker.
fn label(row: &Value, name: &str) -> String {
    let all = row["Labels"].as_str().unwrap_or_default();
    if !all.is_empty() && !all.contains('=') {
        return name.rsplit('.').next().unwrap_or_default().replace(['-', '_'], " ");
    }
    let mut parts = all.split(',').skip_while(|part| part.split_once('=').is_none_or(|(own, _)| own != name));
    let first = parts.next().and_then(|part| part.split_once('=')).map(|(_, value)| value);
    first.into_iter().chain(parts.take_while(|part| !part.contains('='))).collect::<Vec<_>>().join(",")
}

/// The field of a field of a value.
fn field(found: &FoundValue, fields: &[String]) -> Result<FoundValue, String> {
    let mut at = &found.value;
    let place = |index: usize| extended(&found.path, fields[..index].iter().cloned());
    for (index, name) in fields.iter().enumerate() {
        let (path, above) = (|| fields.join("."), place(index));
        at = match at {
            Value::Object(map) => {
                // Docker takes the name of Go's field too, where the JSON has another case: `.ID` for `Id`, `.Time` for `time`.
                let of_go = || {
                    let is_field = name.starts_with(char::is_uppercase);
                    map.iter()
                        .find(|(key, _)| is_field && key.eq_ignore_ascii_case(name))
                        .map(|(_, value)| value)
                };
                match (map.get(name).or_else(of_go), zero::of_missing(&above, map, name)) {
                    (Some(found), _) => found,
                    (None, Some(zero)) if index + 1 == fields.len() => {
                        return Ok(FoundValue { value: zero, path: place(index + 1) });
                    }
                    (None, Some(_)) => &Value::Null,
                    (None, None) => {
                        return Err(format!("at <.{}>: map has no entry for key {name:?}", path()));
                    }
                }
            }
            Value::Null if zero::is_map(&above) => &Value::Null,
            Value::Null => return Err(format!("at <.{}>: nil pointer evaluating .{name}", path())),
            _ => return Err(format!("at <.{}>: can't evaluate field {name}", path())),
        };
    }
    Ok(FoundValue { value: at.clone(), path: place(fields.len()) })
}

/// The elements of a value, each with its index or key. A map is in the order of its keys.
fn elements(found: &FoundValue) -> Result<Vec<(FoundValue, FoundValue)>, String> {
    let element = |key: Value, value: &Value| {
        let path = extended(&found.path, [function::printed(&key)]);
        (FoundValue::made(key), FoundValue { value: value.clone(), path })
    };
    match &found.value {
        Value::Array(all) => {
            Ok(all.iter().enumerate().map(|(at, one)| element(Value::from(at), one)).collect())
        }
        Value::Object(map) => {
            let mut all: Vec<(&String, &Value)> = map.iter().collect();
            all.sort_by_key(|(key, _)| *key);
            Ok(all.into_iter().map(|(key, one)| element(Value::from(key.as_str()), one)).collect())
        }
        Value::Null => Ok(Vec::new()),
        other => Err(format!("range can't iterate over {}", function::printed(other))),
    }
}
